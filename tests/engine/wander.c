/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/wander.c - user code that wanders over scattered pages: shared checks, ranges and windows of the translator.
 *
 * Linear pages from HERE on lie in RAM in no order. What the interpreter does with them, the translator
 * does: when a group of accesses reaches into a page that is absent or read-only, when pages that have a
 * second mapping (window.c) change, and when one is written that holds code.
 */
#include "engine/bt/bt.h"
#include "engine/rig.h"
#include <pthread.h>
#include <unistd.h>

enum { HERE = 0x200000, PAGES = 16, TABLE = RIG_TABLES + 0x3000, PHYS = 0x100000, LOOPS = 20000, US_RW = 7, US_RO = 5, FREE_LINE = 0x800 };

static uint64_t
phys_of(unsigned n)
{
	return PHYS + (n * 7 + 3) % PAGES * PAGE_SIZE;
}

static void
map(struct rig *g, unsigned n, uint64_t phys, unsigned bits)
{
	rig_put(g, TABLE + 8 * n, bits == 0 ? 0 : phys | bits | 0x60, 8);
	tlb_flush_page(&g->cpu, HERE + n * PAGE_SIZE);
}

static bool cold;	/* pages of rigs opened from now on do not begin warm (near.c) */

static struct rig *
open_with(const struct engine *e)
{
	struct rig *g = rig_open(e, RIG_long);
	unsigned n;

	rig_put(g, RIG_TABLES + 0x2000 + 8 * (HERE >> 21), TABLE | US_RW | 0x20, 8);
	for (n = 0; n < PAGES; n++)
		map(g, n, phys_of(n), US_RW);
	if (e == &bt_engine)
		bt_warm_all(g->cpu.bt, !cold);
	return g;
}

/* From the start of the code at CPL 3; the vector that ended it. HLT is #GP there. */
static int
run_user(struct rig *g)
{
	union regfile *r = &g->cpu.r;

	rig_mode_set(g, RIG_long);
	rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
	rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	cpu_mode_update(&g->cpu);
	CHECK_EQ(rig_run(g), EXIT_hlt);
	r->activity = ACTIVITY_run;
	return rig_vector(g);
}

/* A ring of pointers through all pages, in no order: each step another page. */
static void
ring(struct rig *g, unsigned lines)
{
	unsigned k, n = PAGES * lines;

	for (k = 0; k < n; k++) {
		unsigned at = k * 5 % PAGES, next = (k + 1) % n * 5 % PAGES;
		uint64_t here = phys_of(at) + k / PAGES * 64, to = HERE + next * PAGE_SIZE + (k + 1) % n / PAGES * 64;

		rig_put(g, here, to, 8);
	}
}

/* mov ecx,LOOPS; 1: mov rbx,[rbx]; mov rbx,[rbx]; dec ecx; jnz 1b; hlt */
static const char chase[] = "\xb9\x20\x4e\x00\x00\x48\x8b\x1b\x48\x8b\x1b\xff\xc9\x75\xf6\xf4";

static uint64_t
chased(struct rig *g)
{
	g->cpu.r.rbx = HERE;
	CHECK_EQ(run_user(g), VEC_gp);
	return g->cpu.r.rbx;
}

/* Whether a window is worth it is decided by the clock, once: on a busy host a new rig may have to try. */
enum { ATTEMPTS = 20 };

static struct rig *
open_chasing(const struct engine *e)
{
	struct rig *g = open_with(e);

	rig_code(g, chase, sizeof(chase) - 1);
	ring(g, 7);
	return g;
}

static void
pages_in_windows_follow_their_mapping(void)
{
	struct rig *bt = open_chasing(&bt_engine), *ref = open_chasing(&interp_engine), *g;
	uint64_t end = chased(ref);
	unsigned k, i;

	static_assert(LOOPS == 0x4e20, "in the code above");
	CHECK_EQ(chased(bt), end);
	for (k = 0; k < ATTEMPTS && bt->cpu.bt->stats.mapped < PAGES; k++) {
		rig_close(bt);
		bt = open_chasing(&bt_engine);
		CHECK_EQ(chased(bt), end);
	}
	printf("# %lu pages in windows after %u attempts, %lu checks given up\n", (unsigned long)bt->cpu.bt->stats.mapped, k + 1,
		(unsigned long)bt->cpu.bt->stats.tired);
	CHECK_EQ(chased(bt), end);
	/* another page of RAM at an address that has a window: from there to page 3 and back, for ever */
	for (i = 0; i < 2; i++) {
		g = i == 0 ? bt : ref;
		rig_put(g, PHYS + PAGES * PAGE_SIZE, HERE + 3 * PAGE_SIZE + FREE_LINE, 8);
		rig_put(g, phys_of(3) + FREE_LINE, HERE + 5 * PAGE_SIZE, 8);
		map(g, 5, PHYS + PAGES * PAGE_SIZE, US_RW);
	}
	CHECK_EQ(chased(ref), HERE + 3 * PAGE_SIZE + FREE_LINE);
	CHECK_EQ(chased(bt), HERE + 3 * PAGE_SIZE + FREE_LINE);
	map(bt, 5, 0, 0);
	bt->cpu.r.rbx = HERE;
	CHECK_EQ(run_user(bt), VEC_pf);
	CHECK_EQ(bt->cpu.r.cr2, HERE + 5 * PAGE_SIZE);
	rig_close(bt);
	rig_close(ref);
}

/* mov ecx,LOOPS; 1: inc dword [rbx]; inc dword [rbx+rdx]; xchg rbx,rsi; dec ecx; jnz 1b; hlt */
static const char writes[] = "\xb9\x20\x4e\x00\x00\xff\x03\xff\x04\x13\x48\x87\xf3\xff\xc9\x75\xf4\xf4";
/* mov eax,imm32; hlt */
static const char code_before[] = "\xb8\x01\x00\x00\x00\xf4";

/* A page with a window that gets code: a write through the window must not pass unseen. */
static void
code_in_a_window(void)
{
	struct rig *g = NULL;
	unsigned k;

	for (k = 0; k < ATTEMPTS && (g == NULL || g->cpu.bt->stats.mapped == 0); k++) {
		if (g != NULL)
			rig_close(g);
		g = open_with(&bt_engine);
		rig_code(g, writes, sizeof(writes) - 1);
		g->cpu.r.rbx = HERE, g->cpu.r.rsi = HERE + 3 * PAGE_SIZE, g->cpu.r.rdx = 2 * PAGE_SIZE;
		CHECK_EQ(run_user(g), VEC_gp);
		CHECK_EQ(rig_get(g, phys_of(0), 4) + rig_get(g, phys_of(2), 4), LOOPS);
		CHECK_EQ(rig_get(g, phys_of(3), 4) + rig_get(g, phys_of(5), 4), LOOPS);
	}
	mem_write(g->mem, phys_of(3), code_before, sizeof(code_before) - 1);
	/* call the code, change it through [rsi], call it again: mov edi,HERE+0x3000; call; the patch; call; hlt */
	for (k = 1; k < 4; k++) {
		static const char patch[] = "\xc7\x43\x01\x02\x00\x00\x00\xff\xe3";	/* mov dword [rbx+1],2; jmp rbx */
		static const char call[] = "\xff\xe3";					/* jmp rbx */

		mem_write(g->mem, phys_of(3) + 1, "\x01\x00\x00\x00", 4);
		mem_dirty(g->mem, phys_of(3) + 1, 4);
		g->cpu.r.rbx = HERE + 3 * PAGE_SIZE;
		rig_code(g, call, sizeof(call) - 1);
		mem_dirty(g->mem, RIG_CODE, PAGE_SIZE);
		CHECK_EQ(run_user(g), VEC_gp);
		CHECK_EQ(g->cpu.r.rax, 1);
		rig_code(g, patch, sizeof(patch) - 1);
		mem_dirty(g->mem, RIG_CODE, PAGE_SIZE);
		g->cpu.r.rbx = HERE + 3 * PAGE_SIZE;
		CHECK_EQ(run_user(g), VEC_gp);
		CHECK_EQ(g->cpu.r.rax, 2);
	}
	rig_close(g);
}

/* Groups: mov rax,[rbx]; add rax,[rbx+8]; mov [rbx+16],rax; add rbx,8; mov [rbx+16],cl; hlt */
static const char group[] = "\x48\x8b\x03\x48\x03\x43\x08\x48\x89\x43\x10\x48\x83\xc3\x08\x88\x4b\x10\xf4";
/* the stack: sub rsp,16; push rax; mov [rsp+16],rcx; cmp rax,rcx; pop rdx; pop rdx; setc al; hlt */
static const char stack[] = "\x48\x83\xec\x10\x50\x48\x89\x4c\x24\x10\x48\x39\xc8\x5a\x5a\x0f\x92\xc0\xf4";
/* across a page: movups xmm0,[rbx]; add [rbx+3],rax; movups [rbx+5],xmm0; xadd [rbx+1],rcx; hlt */
static const char split[] = "\x0f\x10\x03\x48\x01\x43\x03\x0f\x11\x43\x05\x48\x0f\xc1\x4b\x01\xf4";

static void
compare(struct rig *const two[2], const char *code, size_t n, uint64_t at, unsigned bits)
{
	uint8_t pages[2][2 * PAGE_SIZE];
	int vec[2];
	unsigned i, r;

	for (i = 0; i < 2; i++) {
		struct rig *g = two[i];

		map(g, 1, phys_of(1), bits);
		rig_code(g, code, n);
		mem_dirty(g->mem, RIG_CODE, PAGE_SIZE);
		for (r = 0; r < 16; r++)
			g->cpu.r.gpr[r] = r * 0x0101010101010101;
		g->cpu.r.rbx = at;
		g->cpu.r.cr2 = 0;
		rig_mode_set(g, RIG_long);
		rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
		rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
		g->cpu.r.rsp = at;
		cpu_mode_update(&g->cpu);
		CHECK_EQ(rig_run(g), EXIT_hlt);
		g->cpu.r.activity = ACTIVITY_run;
		vec[i] = rig_vector(g);
		mem_read(g->mem, phys_of(0), pages[i], PAGE_SIZE);
		mem_read(g->mem, phys_of(1), pages[i] + PAGE_SIZE, PAGE_SIZE);
	}
	CHECK_EQ(vec[0], vec[1]);
	CHECK_EQ(two[0]->cpu.r.cr2, two[1]->cpu.r.cr2);
	for (r = 0; r < 16; r++)
		CHECK_EQ(two[0]->cpu.r.gpr[r], two[1]->cpu.r.gpr[r]);
	CHECK(memcmp(pages[0], pages[1], sizeof(pages[0])) == 0);
	/* where the fault found it: RIP in the frame */
	if (vec[0] == VEC_pf)
		CHECK_EQ(rig_get(two[0], two[0]->cpu.r.rsp + 8, 8), rig_get(two[1], two[1]->cpu.r.rsp + 8, 8));
}

static void
groups_end_where_the_page_does(void)
{
	static const unsigned rights[] = { US_RW, US_RO, 0, 3 /* the supervisor's */ };
	struct rig *two[2] = { open_with(&bt_engine), open_with(&interp_engine) };
	unsigned k;
	int off;

	for (k = 0; k < sizeof(rights) / sizeof(*rights); k++) {
		for (off = -48; off < 48; off++) {
			compare(two, group, sizeof(group) - 1, HERE + PAGE_SIZE + (uint64_t)off, rights[k]);
			compare(two, stack, sizeof(stack) - 1, HERE + PAGE_SIZE + (uint64_t)off, rights[k]);
			compare(two, split, sizeof(split) - 1, HERE + PAGE_SIZE + (uint64_t)off, rights[k]);
		}
	}
	CHECK(two[0]->cpu.bt->stats.narrow > 0);
	CHECK(two[0]->cpu.bt->stats.splits > 0);
	rig_close(two[0]);
	rig_close(two[1]);
}

/* ---- windows themselves ---- */

enum { MIDDLE = PAGES / 2 };

static struct tlb_entry *
entry_of(struct rig *g, unsigned n, bool write)
{
	struct tlb *t = &g->cpu.tlb[g->cpu.tlb_view];

	return &(write ? t->write : t->read)[((HERE >> PAGE_SHIFT) + n) & (TLB_ENTRIES - 1)];
}

/* Page n by the TLB's entry, filled when there is none; as translated code and its helper do. */
static uint8_t *
reached(struct rig *g, unsigned n, bool write)
{
	struct tlb_entry *e = entry_of(g, n, write);
	uint64_t lin = HERE + n * PAGE_SIZE;
	int res = OK;

	if (e->tag != lin)
		lin_hva_slow(&g->cpu, lin, 8, write ? ACC_write : ACC_read, &res);
	CHECK_EQ(res, OK);
	CHECK_EQ(e->tag, lin);
	bt_window_prefer(g->cpu.bt, e);
	return (uint8_t *)(uintptr_t)(lin + e->delta);
}

static bool
in_window(const struct rig *g, const uint8_t *p)
{
	return (uintptr_t)p - (uintptr_t)g->cpu.alias < g->cpu.alias_size;
}

/* Who may write to a page that was remapped keeps that page until the flush, and never gets the new one. */
static void
windows_keep_what_was_granted(void)
{
	struct rig *g = open_with(&bt_engine);
	struct tlb_entry *table = g->cpu.tlb[g->cpu.tlb_view].read;
	const uint8_t *old, *stale;
	unsigned n;

	for (n = 0; n < PAGES; n++)
		rig_put(g, phys_of(n), n + 1, 8);
	for (n = 0; n < PAGES; n++)
		reached(g, n, false);
	CHECK(bt_window_around(g->cpu.bt, table, HERE + MIDDLE * PAGE_SIZE));
	for (n = 0; n < PAGES; n++) {
		CHECK(in_window(g, reached(g, n, false)));
		CHECK_EQ(*reached(g, n, false), n + 1);
	}
	old = mem_get(g->mem, phys_of(MIDDLE), PAGE_SIZE);
	stale = reached(g, MIDDLE, true);
	CHECK(in_window(g, stale));

	/* Another page there, read-only and not flushed: a read finds it, the write entry may stay. */
	rig_put(g, TABLE + 8 * MIDDLE, phys_of(0) | US_RO | 0x60, 8);
	entry_of(g, MIDDLE, false)->tag = TLB_EMPTY;
	CHECK_EQ(*reached(g, MIDDLE, false), 1);
	CHECK(!in_window(g, reached(g, MIDDLE, false)));
	CHECK(bt_window_around(g->cpu.bt, table, HERE + MIDDLE * PAGE_SIZE));
	CHECK_EQ(*reached(g, MIDDLE, false), 1);
	CHECK(in_window(g, reached(g, MIDDLE, false)));
	if (entry_of(g, MIDDLE, true)->tag != TLB_EMPTY) {
		*reached(g, MIDDLE, true) = 0x99;
		CHECK_EQ(*old, 0x99);
	}
	CHECK_EQ(rig_get(g, phys_of(0), 8), 1);
	rig_close(g);
}

/* mov ecx,LOOPS; lea rdx,[1f]; 1: mov rax,[rsp-16]; add rax,[rsp+8]; mov [rsp-16],rax; inc qword [rsp+8]; dec ecx; jz 2f
 * jmp rdx; 2: hlt */
static const char frame[] = "\xb9\x20\x4e\x00\x00\x48\x8d\x15\x00\x00\x00\x00\x48\x8b\x44\x24\xf0\x48\x03\x44\x24\x08\x48\x89\x44\x24\xf0\x48\xff\x44\x24\x08\xff\xc9\x74\x02\xff\xe2\xf4";

static int
run_frame(struct rig *g)
{
	g->cpu.r.rcx = g->cpu.r.rax = 0;
	rig_mode_set(g, RIG_long);
	rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
	rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	cpu_mode_update(&g->cpu);
	g->cpu.r.rsp = HERE + 5 * PAGE_SIZE;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	g->cpu.r.activity = ACTIVITY_run;
	return rig_vector(g);
}

/* A stack frame that lies across two pages is looked up seldom, and follows the mapping of both. */
static void
frames_across_pages(void)
{
	struct rig *bt = NULL, *ref = open_with(&interp_engine), *g;
	unsigned k, i, n;

	for (k = 0; k < ATTEMPTS && (bt == NULL || bt->cpu.bt->stats.mapped == 0); k++) {
		if (bt != NULL)
			rig_close(bt);
		bt = open_with(&bt_engine);
		rig_code(bt, frame, sizeof(frame) - 1);
		CHECK_EQ(run_frame(bt), VEC_gp);
	}
	printf("# %lu pages in windows after %u attempts, left for a narrow block %lu times\n", (unsigned long)bt->cpu.bt->stats.mapped, k,
		(unsigned long)bt->cpu.bt->stats.narrow);
	CHECK(bt->cpu.bt->stats.mapped > 0 && bt->cpu.bt->stats.narrow < LOOPS / 10);
	rig_code(ref, frame, sizeof(frame) - 1);
	CHECK_EQ(run_frame(ref), VEC_gp);
	for (n = 4; n <= 5; n++)
		for (i = 0; i < 2; i++) {
			g = i == 0 ? bt : ref;
			CHECK_EQ(run_frame(g), VEC_gp);
			map(g, n, PHYS + (PAGES + n) * PAGE_SIZE, US_RW);	/* another page */
			CHECK_EQ(run_frame(g), VEC_gp);
			map(g, n, PHYS + (PAGES + n) * PAGE_SIZE, US_RO);
			CHECK_EQ(run_frame(g), VEC_pf);
			CHECK_EQ(g->cpu.r.cr2, HERE + 5 * PAGE_SIZE + (n == 4 ? -16 : 8));
			map(g, n, 0, 0);
			CHECK_EQ(run_frame(g), VEC_pf);
			map(g, n, phys_of(n), US_RW);
		}
	for (n = 0; n < PAGES + 6; n++)
		for (k = 0; k < PAGE_SIZE; k += 8)
			CHECK_EQ(rig_get(bt, PHYS + n * PAGE_SIZE + k, 8), rig_get(ref, PHYS + n * PAGE_SIZE + k, 8));
	rig_close(bt);
	rig_close(ref);
}

/* add [rax],ah; add [rax+8],ah; mov [rax+0x10],ah; inc dword [rax+0x18]; hlt */
static const char second_byte[] = "\x00\x20\x00\x60\x08\x88\x60\x10\xff\x40\x18\xf4";

/* A register that is base and, by its second byte, operand. */
static void
second_byte_of_the_base(void)
{
	struct rig *g = open_with(&bt_engine);
	uint64_t at = PHYS + 3 * PAGE_SIZE + 0x300;

	rig_code(g, second_byte, sizeof(second_byte) - 1);
	g->cpu.r.rax = HERE + 0x300;
	CHECK_EQ(phys_of(0), PHYS + 3 * PAGE_SIZE);
	CHECK_EQ(run_user(g), VEC_gp);
	CHECK_EQ(g->cpu.r.rax, HERE + 0x300);
	CHECK_EQ(rig_get(g, at, 8), 3);
	CHECK_EQ(rig_get(g, at + 8, 8), 3);
	CHECK_EQ(rig_get(g, at + 0x10, 8), 3);
	CHECK_EQ(rig_get(g, at + 0x18, 8), 1);
	rig_close(g);
}

static void
and_so_in_cold_pages(void)
{
	cold = true;
	second_byte_of_the_base();
	groups_end_where_the_page_does();
	frames_across_pages();
	cold = false;
}

/* mov rax,[rbx]; mov rcx,rdx; lea rsi,[rcx+rax]; mov rdi,[rbx+8]; add rdi,rcx; mov rbp,[rbx+0x10]; hlt: instructions that are copied end no
 * group, so there is one check, and leave its delta where it is, so that is loaded once. */
static void
copies_end_no_group(void)
{
	static const char code[] = "\x48\x8b\x03\x48\x89\xd1\x48\x8d\x34\x01\x48\x8b\x7b\x08\x48\x01\xcf\x48\x8b\x6b\x10\xf4";
	static const uint8_t load_delta[] = { 0x4c, 0x8b, 0x1c, 0x25 };	/* mov r11,[absolute] */
	const struct bt_block *b;
	struct bt_state *bt;
	unsigned loads = 0;
	struct rig *g;
	uint32_t at;

	g = open_with(&bt_engine);
	bt = g->cpu.bt;
	rig_code(g, code, sizeof(code) - 1);
	g->cpu.r.rbx = HERE;
	CHECK_EQ(run_user(g), VEC_gp);
	bt_mode_set(bt, bt->pages[0].mode);
	b = bt_block_find(bt, &bt->pages[0], RIG_CODE, false);
	CHECK(b != NULL);
	CHECK_EQ(bt->nsites - bt_chunk_begin(bt, bt->chunk).sites, 1);
	for (at = b->begin; at < b->end; at++)
		loads += memcmp(bt_rw(bt, at), load_delta, sizeof(load_delta)) == 0;
	CHECK_EQ(loads, 1);
	rig_close(g);
}

static void *
event_later(void *ctx)
{
	struct rig *g = ctx;

	usleep(2000);
	cpu_ask(&g->cpu, ATT_timer);
	return NULL;
}

/* l: mov rax,[rbx]; jmp l: events find it there, so its page gets ranges; one that runs as long but is not found does not. */
static void
pages_grow_warm(void)
{
	unsigned k, warm = 0;
	struct bt_state *bt;
	struct rig *g;
	pthread_t t;

	cold = true;
	g = open_with(&bt_engine);
	bt = g->cpu.bt;
	rig_code(g, "\x48\x8b\x03\xeb\xfb", 5);
	g->cpu.r.rbx = HERE;
	rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
	rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	cpu_mode_update(&g->cpu);
	for (k = 0; k < 10; k++) {
		CHECK_EQ(pthread_create(&t, NULL, event_later, g), 0);
		CHECK_EQ(rig_run(g), EXIT_attend);
		pthread_join(t, NULL);
		atomic_store(&g->cpu.attention, 0);
		if (k == 0)
			CHECK(!bt_page_at(bt, RIG_CODE)->warm);
	}
	CHECK(bt_page_at(bt, RIG_CODE)->warm);
	for (k = 0; k < bt->npages; k++)
		warm += bt->pages[k].warm;
	CHECK_EQ(warm, 1);
	CHECK(bt->nsites > bt_chunk_begin(bt, bt->chunk).sites);
	rig_close(g);
	cold = false;
}

int
main(void)
{
	RUN(second_byte_of_the_base);
	RUN(groups_end_where_the_page_does);
	RUN(pages_in_windows_follow_their_mapping);
	RUN(code_in_a_window);
	RUN(windows_keep_what_was_granted);
	RUN(frames_across_pages);
	RUN(and_so_in_cold_pages);
	RUN(copies_end_no_group);
	RUN(pages_grow_warm);
	return check_done();
}
