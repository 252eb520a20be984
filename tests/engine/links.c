/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/links.c - links between translations must not outlive what they were made for; a check in common that is
 * given up must not be used. Each case fails when its rule is taken out of the translator.
 */
#include "engine/bt/bt.h"
#include "engine/rig.h"

enum { WIN = 0x40000000, PD = RIG_TABLES + 0x3000, PT = RIG_TABLES + 0x4000, FAR_PT = RIG_TABLES + 0x5000, FRAME1 = 0x100000, FRAME2 = 0x101000,
	SAME_TLB = CODE_ENTRIES * PAGE_SIZE /* further on: the same entry of the code TLB, another slot */, AD = 0x60, SUPER = 3, USER = 7,
	ONLY_HLT = 0x100, JUMP = RIG_CODE + 0x100 };
static_assert((int)CODE_ENTRIES < (int)BT_SLOTS, "SAME_TLB");

static void
map(struct rig *g, uint64_t frame, unsigned bits)
{
	rig_put(g, PT, frame | bits | AD, 8);
}

static struct rig *
open_bt(void)
{
	struct rig *g = rig_open(&bt_engine, RIG_long);

	rig_put(g, RIG_TABLES + 0x1000 + 8, PD | USER, 8);
	rig_put(g, PD, PT | USER, 8);
	rig_put(g, PD + 8 * (SAME_TLB >> 21), FAR_PT | USER, 8);
	rig_put(g, FAR_PT, FRAME2 | SUPER | AD, 8);
	return g;
}

/* From rip to a HLT; what is in eax then. */
static uint32_t
run_at(struct rig *g, uint64_t rip)
{
	g->cpu.r.rip = rip;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	g->cpu.r.activity = ACTIVITY_run;
	return (uint32_t)g->cpu.r.rax;
}

/* STAC goes on in another context, by a link that checks no mapping: never to another page of RAM (linkable).
 *	stac; mov eax,imm; clac; hlt */
static void
stac_stays_in_its_page(void)
{
	struct rig *g = open_bt();
	unsigned n;

	for (n = 0; n < 2; n++) {
		mem_write(g->mem, FRAME1 + n * PAGE_SIZE, "\x0f\x01\xcb\xb8\x00\x00\x00\x00\x0f\x01\xca\xf4", 12);
		rig_put(g, FRAME1 + n * PAGE_SIZE + 4, n + 1, 4);
		rig_put(g, FRAME1 + n * PAGE_SIZE + ONLY_HLT, 0xf4, 1);
	}
	g->cpu.r.cr4 |= cr4_smap_MASK;
	cpu_mode_update(&g->cpu);
	map(g, FRAME1, SUPER);
	run_at(g, WIN + ONLY_HLT);			/* without AC the page is known, with AC it is not */
	map(g, FRAME2, SUPER);				/* the TLB need not know */
	run_at(g, WIN + SAME_TLB + ONLY_HLT);		/* but loses its entry, so with AC the new page is found: */
	CHECK_EQ(run_at(g, WIN), 2);
	map(g, FRAME1, SUPER);
	tlb_flush_page(&g->cpu, WIN);
	CHECK_EQ(run_at(g, WIN), 1);
	CHECK_EQ(run_at(g, WIN), 1);
	rig_close(g);
}

/* A jump to another page is linked; INVLPG and CR3 writes change where it leads.
 *	JUMP: jmp rel32 to WIN; there: mov eax,imm; hlt */
static void
jumps_follow_the_mapping(void)
{
	struct rig *g = open_bt();
	unsigned n, k;

	for (n = 0; n < 2; n++) {
		mem_write(g->mem, FRAME1 + n * PAGE_SIZE, "\xb8\x00\x00\x00\x00\xf4", 6);
		rig_put(g, FRAME1 + n * PAGE_SIZE + 1, n + 1, 4);
	}
	mem_write(g->mem, JUMP, "\xe9", 1);
	rig_put(g, JUMP + 1, (uint32_t)(WIN - (JUMP + 5)), 4);
	for (k = 0; k < 8; k++) {
		map(g, k & 1 ? FRAME2 : FRAME1, USER);
		if (k & 2)
			tlb_flush_all(&g->cpu, false);
		else
			tlb_flush_page(&g->cpu, WIN);
		for (n = 0; n < 3; n++)
			CHECK_EQ(run_at(g, JUMP), 1 + (k & 1));
	}
	CHECK(g->cpu.bt->stats.links > 0);
	rig_close(g);
}

/* When places for entries have run out a group is given up; its members, each checked for itself, use the register
 * that held the delta of the stack's group (keeps_held, and tr_mem).
 *	mov rax,[rsp]; mov rdx,[rbx]; mov [rsp+8],rax; mov rcx,[rbx+8]; mov [rsp+16],rdx; hlt */
static void
groups_given_up_leave_nothing_behind(void)
{
	static const char code[] = "\x48\x8b\x04\x24\x48\x8b\x13\x48\x89\x44\x24\x08\x48\x8b\x4b\x08\x48\x89\x54\x24\x10\xf4";
	enum { STACK = WIN, DATA = RIG_DATA };
	struct rig *g = open_bt();

	g->cpu.bt->nsites = g->cpu.bt->limit.sites;
	rig_code(g, code, sizeof(code) - 1);
	map(g, FRAME2, USER);
	rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
	rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	cpu_mode_update(&g->cpu);
	rig_put(g, FRAME2, 11, 8);
	rig_put(g, DATA, 12, 8);
	rig_put(g, DATA + 8, 13, 8);
	g->cpu.r.rsp = STACK;
	g->cpu.r.rbx = DATA;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_gp);
	CHECK_EQ(g->cpu.r.rcx, 13);
	CHECK_EQ(rig_get(g, FRAME2 + 8, 8), 11);
	CHECK_EQ(rig_get(g, FRAME2 + 16, 8), 12);
	rig_close(g);
}

/* The tables grow with the code cache; by default a chunk's part of them would be full here.
 *	mov eax,1; hlt */
static void
a_larger_cache_has_larger_tables(void)
{
	for (unsigned times = 1; times <= 4; times += 3) {
		struct rig *g;
		struct bt_state *bt;

		rig_code_cache = times * (uint64_t)BT_CODE_SIZE;
		g = open_bt();
		rig_code_cache = 0;
		bt = g->cpu.bt;
		bt->nside = SIDE_MAX / BT_CHUNKS;
		bt->nexits = EXITS_MAX / BT_CHUNKS;
		bt->nblocks = BLOCKS_MAX / BT_CHUNKS;
		rig_code(g, "\xb8\x01\x00\x00\x00\xf4", 6);
		CHECK_EQ(rig_run(g), EXIT_hlt);
		CHECK_EQ(g->cpu.r.rax, 1);
		CHECK_EQ(bt->stats.evicted, times == 1);
		rig_close(g);
	}
}

/* ---- chunks of the code cache ---- */

enum { PIECES = 2000, PIECE = 256, PIECES_AT = 2 << 20, LOADS = 16, HUB = RIG_CODE, WAY = RIG_DATA + PAGE_SIZE, BACK = 150 };

/* add rax,k; LOADS times add rax,[rbx]; mov r8d,[r9]; add r9,4; jmp HUB */
static void
put_piece(struct rig *g, unsigned k)
{
	uint64_t at = PIECES_AT + k * PIECE;
	unsigned j;

	rig_put(g, at, 0x0548 | (uint64_t)k << 16, 6);
	for (at += 6, j = 0; j < LOADS; j++, at += 3)
		rig_put(g, at, 0x030348, 3);
	mem_write(g->mem, at, "\x45\x8b\x01\x49\x83\xc1\x04\xe9", 8);
	rig_put(g, at + 8, (uint32_t)(HUB - (at + 12)), 4);
}

/* Each piece is linked to the hub, and goes on where the table says: to a new one, then to one of those before, which
 * are still there when the hub, older, has gone. Several times what the cache holds. */
static void
chunks_go_with_their_links(void)
{
	uint64_t at = WAY, sum = 0;
	struct rig *g;
	unsigned k, n;

	rig_code_cache = 1 << 20;
	g = open_bt();
	rig_code_cache = 0;
	rig_code(g, "\xff\xc2\x41\xff\xe0", 5);			/* inc edx; jmp r8 */
	rig_put(g, HUB + 5, 0xf4, 1);
	for (k = 0; k < PIECES; k++) {
		put_piece(g, k);
		for (n = 0; n < 2; n++, at += 4) {
			unsigned to = n == 0 || k < BACK ? k : k - k * 7 % BACK;

			rig_put(g, at, PIECES_AT + to * PIECE, 4);
			sum += to;
		}
	}
	rig_put(g, at, HUB + 5, 4);
	g->cpu.r.rax = g->cpu.r.rdx = 0;
	g->cpu.r.rbx = RIG_DATA;
	g->cpu.r.r9 = WAY + 4;
	g->cpu.r.r8 = PIECES_AT;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rip, HUB + 6);
	CHECK_EQ(g->cpu.r.rdx, 2 * PIECES + 1);
	CHECK_EQ(g->cpu.r.rax, sum);
	CHECK(g->cpu.bt->stats.evicted > 4);
	CHECK_EQ(g->cpu.bt->stats.flushes, 1);
	rig_close(g);
}

int
main(void)
{
	RUN(a_larger_cache_has_larger_tables);
	RUN(chunks_go_with_their_links);
	RUN(stac_stays_in_its_page);
	RUN(jumps_follow_the_mapping);
	RUN(groups_given_up_leave_nothing_behind);
	return check_done();
}
