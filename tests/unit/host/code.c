/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/host/code.c - code memory: what is written at one address runs at the other, before and after it got huge pages. */
#include "check.h"
#include "host/code.h"
#include <string.h>

enum { PARTS = 3, RET_LEN = 6 };

static int
run_at(const struct code_map *m, size_t off)
{
	return ((int (*)(void))(uintptr_t)(m->rx + off))();
}

static void
put(const struct code_map *m, size_t off, uint32_t val)
{
	m->rw[off] = 0xb8;				/* mov eax, val; ret */
	memcpy(m->rw + off + 1, &val, sizeof(val));
	m->rw[off + RET_LEN - 1] = 0xc3;
}

static void
settled_code_runs_and_is_rewritten(void)
{
	struct code_map m;
	size_t k, end = PARTS * CODE_HUGE;

	CHECK_EQ(code_map_open(&m, end - 4096 + 1), 0);
	CHECK_EQ(m.size, end);
	CHECK_EQ((uintptr_t)m.rw % CODE_HUGE, 0);
	CHECK_EQ((uintptr_t)m.rx % CODE_HUGE, 0);
	for (k = 0; k < end; k += CODE_HUGE / 8)
		put(&m, k, (uint32_t)k);
	code_map_settle(&m, CODE_HUGE);
	CHECK_EQ(m.huge, CODE_HUGE);
	for (k = 0; k < end; k += CODE_HUGE / 8)
		CHECK_EQ(run_at(&m, k), (int)k);
	code_map_settle(&m, end);
	CHECK_EQ(m.huge, end);
	code_map_settle(&m, end + CODE_HUGE);
	CHECK_EQ(m.huge, end);
	for (k = 0; k < end; k += CODE_HUGE / 8)
		put(&m, k, (uint32_t)k + 7);
	for (k = 0; k < end; k += CODE_HUGE / 8)
		CHECK_EQ(run_at(&m, k), (int)k + 7);
	code_map_close(&m);
	CHECK(m.rw == NULL);
}

int
main(void)
{
	RUN(settled_code_runs_and_is_rewritten);
	return check_done();
}
