/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/pcid.c - address spaces with PCIDs: code, data and page tables change while a guest switches between more
 * of them than are kept; whatever is invalidated as the manual asks is as its tables say (cpu/pcid.c, bt's slots).
 */
#include "engine/bt/bt.h"
#include "engine/engines.h"
#include "cpu/sysreg.h"

enum { SPACES = FLUSH_ASIDES + 3, PAGES = 4, GLOBAL = PAGES - 1, FRAMES = 8, STEPS = 3000, ROUNDS = 12,
	WIN = 0x40000000, TABLES_AT = 0x100000, FRAME_AT = 0x200000, SCRIPT_AT = 0x300000, LOG_AT = 0x380000, DESC_AT = 0x2f0000,
	LEVELS = 5 /* of the last two: for the global page */, SAME_SLOT = BT_SLOTS * PAGE_SIZE, PTE_RW = 3, PTE_GLOBAL = 0x100, AD = 0x60, IMM = 1 };
enum op { OP_end, OP_cr3, OP_invlpg, OP_invpcid, OP_put, OP_call, OP_read, OP_write };
enum { INV_page, INV_context, INV_all, INV_nonglobal };
#define NOFLUSH (1ull << 63)

/* Takes {op, rcx, rdx} from [r8] and appends what CALL and READ give to [r9]. */
static const char program[] =
	"\x49\x8b\x00\x49\x8b\x48\x08\x49\x8b\x50\x10\x49\x83\xc0\x18\xff\xc8\x78\x40\x74\x18\xff\xc8"	/* 1: mov rax,[r8].. */
	"\x74\x19\xff\xc8\x74\x1a\xff\xc8\x74\x1d\xff\xc8\x74\x1e\xff\xc8\x74\x1e\x89\x11\xeb\xd3"	/* mov [rcx],edx; jmp 1b */
	"\x0f\x22\xd9\xeb\xce\x0f\x01\x39\xeb\xc9\x66\x0f\x38\x82\x0a\xeb\xc2"	/* mov cr3,rcx; invlpg [rcx]; invpcid rcx,[rdx] */
	"\x48\x89\x11\xeb\xbd\xff\xd1\xeb\x03\x8b\x41\x01"			/* mov [rcx],rdx; call rcx; mov eax,[rcx+1] */
	"\x41\x89\x01\x49\x83\xc1\x04\xeb\xad\xf4";				/* mov [r9],eax; add r9,4; jmp 1b; hlt */

static struct {
	unsigned now, frame[SPACES][PAGES];
	uint32_t value[FRAMES], want[STEPS];
	bool stale[SPACES];		/* may be entered with a flush only */
	unsigned wants;
	uint64_t at, seed;
	struct rig *g;
} m;

static unsigned
any(unsigned n)
{
	m.seed = m.seed * 6364136223846793005 + 1442695040888963407;
	return (unsigned)(m.seed >> 33) % n;
}

static uint64_t table(unsigned space, unsigned level) { return TABLES_AT + (space * LEVELS + level) * PAGE_SIZE; }
/* The global page has the translator's slot of page 0. */
static uint64_t page(unsigned n) { return n == GLOBAL ? WIN + SAME_SLOT : WIN + n * PAGE_SIZE; }
static uint64_t pte_at(unsigned space, unsigned n) { return n == GLOBAL ? table(space, 4) : table(space, 3) + 8 * n; }
static uint64_t frame(unsigned k) { return FRAME_AT + k * PAGE_SIZE; }
static uint64_t cr3_of(unsigned space) { return table(space, 0) | (space + 1); }

static uint64_t
pte(unsigned n, unsigned k)
{
	return frame(k) | PTE_RW | AD | (n == GLOBAL ? PTE_GLOBAL : 0);
}

static void
step(enum op op, uint64_t rcx, uint64_t rdx)
{
	rig_put(m.g, m.at, op, 8);
	rig_put(m.g, m.at + 8, rcx, 8);
	rig_put(m.g, m.at + 16, rdx, 8);
	m.at += 24;
}

static void
go(unsigned space, bool flush)
{
	step(OP_cr3, cr3_of(space) | (flush || m.stale[space] ? 0 : NOFLUSH), 0);
	m.stale[space] = false;
	m.now = space;
}

static void
invpcid(unsigned type, unsigned space, unsigned n)
{
	step(OP_invpcid, type, DESC_AT + (space * PAGES + n) * 16);
}

/* After a change of page n in `space`: one of the ways that do. */
static void
invalidate(unsigned space, unsigned n)
{
	if (n == GLOBAL) {
		if (any(2))
			step(OP_invlpg, page(n), 0);
		else
			invpcid(INV_all, 0, 0);
		return;
	}
	switch (any(6)) {
	case 0:
		if (space == m.now) {
			go(space, true);
			return;
		}
		m.stale[space] = true;
		return;
	case 1: case 2:
		if (space == m.now) {
			step(OP_invlpg, page(n), 0);
			return;
		} /* fall through */
	case 3:
		invpcid(INV_page, space, n);
		return;
	case 4:
		invpcid(INV_context, space, any(PAGES));
		return;
	default:
		invpcid(any(2) ? INV_all : INV_nonglobal, any(SPACES), any(PAGES));
	}
}

static void
remap(void)
{
	unsigned n = any(PAGES), space = any(3) ? m.now : any(SPACES), k = any(FRAMES), s;

	for (s = 0; s < SPACES; s++)
		if (s == space || n == GLOBAL) {
			step(OP_put, pte_at(s, n), pte(n, k));
			m.frame[s][n] = k;
		}
	invalidate(space, n);
}

static void
change(void)
{
	unsigned n = any(PAGES), k = any(FRAMES);
	bool mapped = any(2);

	k = mapped ? m.frame[m.now][n] : k;
	m.value[k] = any(1 << 30);
	step(OP_write, (mapped ? page(n) : frame(k)) + IMM, m.value[k]);
}

static void
look(void)
{
	unsigned n = any(PAGES);

	step(any(3) ? OP_call : OP_read, page(n), 0);
	m.want[m.wants++] = m.value[m.frame[m.now][n]];
}

static void
tables(struct rig *g)
{
	unsigned s, n, k;

	for (s = 0; s < SPACES; s++) {
		rig_put(g, table(s, 0), table(s, 1) | PTE_RW, 8);
		rig_put(g, table(s, 1), (RIG_TABLES + 0x2000) | PTE_RW, 8);
		rig_put(g, table(s, 1) + 8, table(s, 2) | PTE_RW, 8);
		rig_put(g, table(s, 2), table(s, 3) | PTE_RW, 8);
		rig_put(g, table(s, 2) + 8 * (SAME_SLOT >> 21), table(s, 4) | PTE_RW, 8);
		for (n = 0; n < PAGES; n++) {
			m.frame[s][n] = n == GLOBAL ? 0 : any(FRAMES);
			rig_put(g, pte_at(s, n), pte(n, m.frame[s][n]), 8);
			rig_put(g, DESC_AT + (s * PAGES + n) * 16, s + 1, 8);
			rig_put(g, DESC_AT + (s * PAGES + n) * 16 + 8, page(n), 8);
		}
	}
	for (k = 0; k < FRAMES; k++) {		/* mov eax,imm32; ret */
		m.value[k] = k;
		rig_put(g, frame(k), 0xb8, 1);
		rig_put(g, frame(k) + IMM, k, 4);
		rig_put(g, frame(k) + IMM + 4, 0xc3, 1);
	}
}

/* A script, and what it must find. */
static void
script(void)
{
	unsigned i;

	m.at = SCRIPT_AT;
	m.wants = 0;
	memset(m.stale, 0, sizeof(m.stale));
	tables(m.g);
	go(0, true);
	for (i = 0; i < STEPS; i++)
		switch (any(8)) {
		case 0: remap(); break;
		case 1: change(); break;
		case 2: case 3: go(any(4) ? any(3) : any(SPACES), any(16) == 0); break;
		default: look();
		}
	step(OP_end, 0, 0);
}

static void
mappings_are_what_tables_say(void)
{
	unsigned round, i;

	if (engine == &kvm_engine)
		SKIP("the translator's and the interpreter's");
	for (round = 0; round < ROUNDS && !check_bad; round++) {
		struct rig *g = m.g = rig_open(engine, RIG_long);

		m.seed = round;
		rig_code(g, program, sizeof(program) - 1);
		script();
		g->cpu.r.cr4 |= cr4_pcide_MASK | cr4_pge_MASK;
		g->cpu.r.r8 = SCRIPT_AT;
		g->cpu.r.r9 = LOG_AT;
		CHECK_EQ(rig_run(g), EXIT_hlt);
		CHECK_EQ(g->cpu.r.rip, RIG_CODE + sizeof(program) - 1);
		CHECK_EQ(g->cpu.r.r9, LOG_AT + 4 * m.wants);
		for (i = 0; i < m.wants && !check_bad; i++) {
			CHECK_EQ(rig_get(g, LOG_AT + 4 * i, 4), m.want[i]);
			if (check_bad)
				printf("# round %u, look %u\n", round, i);
		}
		if (engine == &bt_engine)
			CHECK(g->cpu.bt->stats.back > STEPS / 16);
		rig_close(g);
	}
}

static bool
has_entry(const struct rig *g, uint64_t lin)
{
	return g->cpu.tlb[g->cpu.tlb_view].read[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)].tag == lin;
}

/* What leads to a second mapping is not put aside: another page may be there until it is back. */
static void
second_mappings_are_not_kept(void)
{
	struct rig *g = m.g = rig_open(&interp_engine, RIG_long);
	uint64_t val;
	int res;

	tables(g);
	g->cpu.r.cr4 |= cr4_pcide_MASK | cr4_pge_MASK;
	CHECK_EQ(cr_write(&g->cpu, 3, cr3_of(0)), OK);
	CHECK_EQ(lin_read64(&g->cpu, page(0), &val), OK);
	CHECK_EQ(lin_read64(&g->cpu, page(1), &val), OK);
	g->cpu.alias = lin_hva(&g->cpu, page(1), 8, ACC_read, &res);
	g->cpu.alias_size = PAGE_SIZE;
	CHECK_EQ(cr_write(&g->cpu, 3, cr3_of(1) | NOFLUSH), OK);
	CHECK(!has_entry(g, page(0)) && !has_entry(g, page(1)));
	CHECK_EQ(cr_write(&g->cpu, 3, cr3_of(0) | NOFLUSH), OK);
	CHECK(has_entry(g, page(0)));
	CHECK(m.frame[0][0] == m.frame[0][1] || !has_entry(g, page(1)));
	g->cpu.alias = NULL;
	g->cpu.alias_size = 0;
	rig_close(g);
}

int
main(void)
{
	static const struct engine_case cases[] = { CASE(mappings_are_what_tables_say) };

	RUN(second_mappings_are_not_kept);
	run_on_engines(cases, sizeof(cases) / sizeof(cases[0]));
	return check_done();
}
