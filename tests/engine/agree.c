/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/agree.c - thousands of random programs on two engines. usage: agree [programs] [seed] [32] */
#include "engine/agree_show.h"

static unsigned long programs = 4000;
static uint64_t seed = 1;

static void
programs_agree(enum isa_mode mode)
{
	static struct program p;
	unsigned long i, halted = 0, bad = 0;
	const char *why;

	isa = mode;
	for (i = 0; i < programs && bad < 5; i++) {
		struct source s = { .x = (seed + i) * 0x9e3779b97f4a7c15ull | 1 };

		draw(&s, 2);
		make_program(&s, &p);
		if ((why = disagreement(&p)) != NULL) {
			printf("# seed %" PRIu64 ":\n", seed + i);
			show(&p, why);
			bad++;
		}
		halted += rig_vector(twin[1]) < 0;
	}
	printf("# %lu programs, %lu to their end, %lu disagree\n", i, halted, bad);
	CHECK_EQ(bad, 0);
	CHECK(i < 1000 || halted > i / 8);
}

static void engines_agree(void) { programs_agree(ISA_64); }
static void engines_agree_in_32_bit_code(void) { programs_agree(ISA_32); }

enum { OTHER = TLB_ENTRIES * PAGE_SIZE };

/* An empty TLB entry is not that of page 0: stores there after a flush go the long way, which
 * notes that the page is dirty. */
static void
dirties_page_zero(const char *code, size_t n, uint64_t at)
{
	struct rig *g = rig_open(&bt_engine, RIG_long);
	unsigned i;

	rig_code(g, code, n);
	/* a page elsewhere that shares the entry */
	rig_put(g, RIG_TABLES + 0x2000 + 8 * (OTHER >> 21), (RIG_MEMORY / 2) | 0xe7, 8);
	for (i = 0; i < 50; i++) {
		rig_mode_set(g, RIG_long);
		g->cpu.r.rax = 0x1234 + i;
		mem_page_clear(g->mem, 0, MEM_dirty);
		tlb_flush_all(&g->cpu, true);
		CHECK_EQ(rig_run(g), EXIT_hlt);
		CHECK(mem_page_flags(g->mem, 0) & MEM_dirty);
		CHECK_EQ(rig_get(g, at, 4), 0x1234 + i);
	}
	rig_close(g);
}

/* mov ebx,OTHER; mov [rbx],eax; mov rcx,cr3; mov cr3,rcx; mov ebx,0x80; mov [rbx],eax; hlt
 * push rax; mov rcx,cr3; mov cr3,rcx; mov esp,0x88; push rax; hlt
 * and from registers that point to the pages beside it: mov ebx,0x1000; mov [rbx-0x80],eax; hlt
 * mov rbx,-0x10; mov [rbx+0x60],eax; hlt */
static void
page_zero(void)
{
	static const char store[] = "\xbb\x00\x00\x00\x02\x89\x03\x0f\x20\xd9\x0f\x22\xd9\xbb\x80\x00\x00\x00\x89\x03\xf4";
	static const char stack[] = "\x50\x0f\x20\xd9\x0f\x22\xd9\xbc\x88\x00\x00\x00\x50\xf4";
	static const char below[] = "\xbb\x00\x10\x00\x00\x89\x43\x80\xf4", above[] = "\x48\xc7\xc3\xf0\xff\xff\xff\x89\x43\x60\xf4";

	static_assert(OTHER == 0x2000000, "in the code above");
	dirties_page_zero(store, sizeof(store) - 1, 0x80);
	dirties_page_zero(stack, sizeof(stack) - 1, 0x80);
	dirties_page_zero(below, sizeof(below) - 1, 0xf80);
	dirties_page_zero(above, sizeof(above) - 1, 0x50);
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		programs = strtoul(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	RUN(page_zero);
	twins_open();
	if (argc <= 3 || strcmp(argv[3], "32") != 0)
		RUN(engines_agree);
	RUN(engines_agree_in_32_bit_code);
	return check_done();
}
