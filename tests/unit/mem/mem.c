/* SPDX-License-Identifier: Apache-2.0 */
/* unit/mem/mem.c - guest RAM: the map, bounds, page flags, generations, watchers. */
#include "check.h"
#include "mem/mem.h"
#include <errno.h>
#include <pthread.h>

static const uint64_t MIB = 1 << 20, GIB = 1 << 30;

static void
small_ram(void)
{
	struct mem *m = mem_open(16 * MIB);
	uint32_t v = 0;

	CHECK_EQ(mem_size(m), 16 * MIB);
	CHECK_EQ(mem_low_end(m), 16 * MIB);
	CHECK_EQ(mem_high_end(m), 4 * GIB);
	CHECK(mem_write(m, 16 * MIB - 4, "abcd", 4));
	CHECK(mem_read(m, 16 * MIB - 4, &v, 4));
	CHECK_EQ(v, 0x64636261);
	CHECK(!mem_write(m, 16 * MIB - 3, "abcd", 4));
	CHECK(!mem_read(m, UINT64_MAX - 1, &v, 4));
	CHECK(mem_get(m, 0, 0) == NULL);
	CHECK(mem_get(m, 0, (size_t)(16 * MIB)) != NULL);
	CHECK(mem_get(m, 0, (size_t)(16 * MIB + 1)) == NULL);
	CHECK(mem_get(m, 8, SIZE_MAX - 4) == NULL);
	mem_close(m);
}

static void
ram_above_4g(void)
{
	struct mem *m = mem_open(5 * GIB);

	CHECK_EQ(mem_low_end(m), MEM_BELOW_4G);
	CHECK_EQ(mem_high_end(m), 6 * GIB);
	CHECK(mem_get(m, MEM_BELOW_4G - 1, 1) != NULL);
	CHECK(mem_get(m, MEM_BELOW_4G - 1, 2) == NULL);
	CHECK(mem_get(m, 4 * GIB - 1, 1) == NULL);
	CHECK(mem_write(m, 6 * GIB - 1, "x", 1));
	CHECK(mem_get(m, 6 * GIB, 1) == NULL);
	CHECK_EQ(mem_page_index(m, 4 * GIB), MEM_BELOW_4G >> PAGE_SHIFT);
	mem_close(m);
}

static void
added_regions(void)
{
	struct mem *m = mem_open(MIB);

	CHECK_EQ(mem_add(m, 0xff000000, PAGE_SIZE), 0);
	CHECK_EQ(mem_add(m, 0xff000000, PAGE_SIZE), -1);
	CHECK_EQ(errno, EEXIST);
	CHECK_EQ(mem_add(m, MIB - PAGE_SIZE, 2 * PAGE_SIZE), -1);
	CHECK_EQ(mem_add(m, 0xff001001, PAGE_SIZE), -1);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(mem_add(m, (uint64_t)1 << 63, PAGE_SIZE), -1);
	CHECK(mem_write(m, 0xff000ff8, "12345678", 8));
	CHECK_EQ(mem_page_index(m, 0xff000000), MIB >> PAGE_SHIFT);
	CHECK_EQ(mem_page_index(m, 0xff001000), UINT64_MAX);
	CHECK_EQ(mem_size(m), MIB);
	mem_close(m);
}

struct seen {
	unsigned calls;
	gpa_t gpa;
	size_t len;
};

static void
code_written(void *ctx, gpa_t gpa, size_t len)
{
	struct seen *s = ctx;

	s->calls++;
	s->gpa = gpa;
	s->len = len;
}

static void
code_pages(void)
{
	struct mem *m = mem_open(MIB);
	struct seen seen = { 0 };
	struct mem_watcher w = { .code_written = code_written, .ctx = &seen };

	mem_watch(m, &w);
	CHECK_EQ(mem_page_generation(m, 0x1000), 1);
	CHECK_EQ(mem_page_generation(m, MIB), 0);
	mem_write(m, 0x1000, "a", 1);
	CHECK_EQ(seen.calls, 0);
	CHECK_EQ(mem_page_flags(m, 0x1000), MEM_dirty);
	mem_page_set(m, 0x2000, MEM_code);
	mem_write(m, 0x1ffe, "abcd", 4);	/* the second page only has code */
	CHECK_EQ(seen.calls, 1);
	CHECK_EQ(seen.gpa, 0x2000);
	CHECK_EQ(seen.len, 2);
	CHECK_EQ(mem_page_generation(m, 0x1fff), 1);
	CHECK_EQ(mem_page_generation(m, 0x2fff), 2);
	mem_page_clear(m, 0x2000, MEM_code);
	mem_write(m, 0x2000, "a", 1);
	CHECK_EQ(seen.calls, 1);
	mem_page_set(m, 0x2000, MEM_code);
	mem_unwatch(m, &w);
	mem_write(m, 0x2000, "a", 1);
	CHECK_EQ(seen.calls, 1);
	CHECK_EQ(mem_page_generation(m, 0x2000), 4);
	CHECK(mem_page_seal(m, 0x2000));
	CHECK_EQ(mem_page_flags(m, 0x2000), MEM_code | MEM_dirty | MEM_sealed);
	mem_page_clear(m, 0x2000, MEM_code);
	CHECK(!mem_page_seal(m, 0x2000));
	CHECK_EQ(mem_page_flags(m, 0x2000), MEM_dirty);
	mem_close(m);
}

static void *
flip(void *ctx)
{
	struct mem *m = ctx;
	int i;

	for (i = 0; i < 20000; i++) {
		mem_page_set(m, 0, MEM_code);
		mem_dirty(m, 0, 1);
		mem_page_clear(m, 0, MEM_code);
	}
	return NULL;
}

/* MEM_dirty, set by many, is never lost to another's change of MEM_code. */
static void
flags_are_atomic(void)
{
	struct mem *m = mem_open(MIB);
	pthread_t t[2];
	unsigned i;

	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, flip, m);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(mem_page_flags(m, 0), MEM_dirty);
	mem_close(m);
}

int
main(void)
{
	RUN(small_ram);
	RUN(ram_above_4g);
	RUN(added_regions);
	RUN(code_pages);
	RUN(flags_are_atomic);
	return check_done();
}
