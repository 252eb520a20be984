/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/smp.c - two processors in one memory: locked counters, and code that the other rewrites. */
#include "engine/rig.h"
#include <pthread.h>

static const struct engine *const engines[] = { &interp_engine, &bt_engine };
static const struct engine *engine;

/* Run until HLT; engines may leave for attention (shootdowns) before. */
static void *
run_to_halt(void *ctx)
{
	struct rig *g = ctx;
	int kind;

	do {
		atomic_fetch_and(&g->cpu.attention, ~(uint32_t)(ATT_tlb | ATT_code));
		kind = rig_run(g);
	} while (kind == EXIT_attend);
	CHECK_EQ(kind, EXIT_hlt);
	return NULL;
}

static void
run_both(struct rig *a, struct rig *b)
{
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, run_to_halt, b), 0);
	run_to_halt(a);
	pthread_join(t, NULL);
}

/* mov ecx,100000; l: lock inc qword [rsi]; mov eax,2; lock xadd [rsi+8],rax; dec ecx; jnz l; hlt */
static void
locked_operations_are_atomic(void)
{
	struct rig *a = rig_open(engine, RIG_long), *b = rig_open_second(a, engine, RIG_long);

	a->model.cpus = 2;
	rig_code(a, "\xb9\xa0\x86\x01\x00\xf0\x48\xff\x06\xb8\x02\x00\x00\x00\xf0\x48\x0f\xc1\x46\x08\xff\xc9\x75\xed\xf4", 25);
	a->cpu.r.rsi = b->cpu.r.rsi = RIG_DATA;
	b->cpu.r.rsp -= 0x2000;
	run_both(a, b);
	CHECK_EQ(rig_get(a, RIG_DATA, 8), 200000);
	CHECK_EQ(rig_get(a, RIG_DATA + 8, 8), 400000);
	rig_close_second(b);
	rig_close(a);
}

/* One calls f (mov eax,imm; ret) until it returns 20000; the other counts the immediate up. Values never fall.
 *	a: l: call f; cmp eax,ebx; jb bad; mov ebx,eax; cmp eax,20000; jne l; hlt; bad: ud2
 *	b: l: inc ecx; mov [f+1],ecx; cmp ecx,20000; jne l; hlt */
static void
code_changes_are_seen(void)
{
	struct rig *a = rig_open(engine, RIG_long), *b = rig_open_second(a, engine, RIG_long);

	a->model.cpus = 2;
	mem_write(a->mem, RIG_CODE, "\xe8\xfb\x0f\x00\x00\x39\xd8\x72\x0a\x89\xc3\x3d\x20\x4e\x00\x00\x75\xee\xf4\x0f\x0b", 21);
	mem_write(a->mem, RIG_CODE + 0x1000, "\xb8\x00\x00\x00\x00\xc3", 6);
	mem_write(a->mem, RIG_CODE + 0x2000, "\xff\xc1\x89\x0c\x25\x01\x10\x02\x00\x81\xf9\x20\x4e\x00\x00\x75\xef\xf4", 18);
	b->cpu.r.rip = RIG_CODE + 0x2000;
	b->cpu.r.rsp -= 0x2000;
	run_both(a, b);
	CHECK_EQ(a->cpu.r.rbx, 20000);
	CHECK_EQ(rig_vector(a), -1);
	rig_close_second(b);
	rig_close(a);
}

int
main(void)
{
	unsigned i;

	for (i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		engine = engines[i];
		printf("# %s\n", engine->name);
		RUN(locked_operations_are_atomic);
		RUN(code_changes_are_seen);
	}
	return check_done();
}
