/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/agree.h - random programs on the translator and on the interpreter, which must agree.
 *
 * All registers and all memory are compared at the end. What may differ is here, each with its reason.
 */
#pragma once
#include "engine/bt/bt.h"
#include "engine/programs.h"
#include <signal.h>
#include <sys/time.h>

/* ---- running ---- */

static struct rig *twin[2];		/* the translator's, the interpreter's */
static volatile sig_atomic_t ticks;

enum { UCS32 = 0x23, TICK_US = 5000, TICKS_MAX = 20, STEPS = 200000 };

static void
tick(int sig)
{
	(void)sig;
	ticks++;
	cpu_ask(&twin[0]->cpu, ATT_timer);
	cpu_ask(&twin[1]->cpu, ATT_timer);
}

static void
twins_open(void)
{
	struct itimerval every = { .it_interval.tv_usec = TICK_US, .it_value.tv_usec = TICK_US };

	rig_code_cache = 1 << 20;	/* so little that it overflows now and then */
	twin[0] = rig_open(&bt_engine, RIG_long);
	twin[1] = rig_open(&interp_engine, RIG_long);
	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &every, NULL);
}

/* The first 2 MiB by small pages; those behind the data are read-only, absent, the supervisor's, clean. */
static void
map_pages(struct rig *g)
{
	static const uint64_t odd[ODD_PAGES] = { 0x65, 0, 0x63, 0x27 };
	uint64_t at;

	for (at = 0; at < 2 << 20; at += PAGE_SIZE) {
		uint64_t n = (at - RIG_DATA - DATA_SIZE) / PAGE_SIZE;

		rig_put(g, PAGES + at / PAGE_SIZE * 8, at | (n < ODD_PAGES ? odd[n] : 0x67), 8);
	}
	rig_put(g, RIG_TABLES + 0x2000, PAGES | 0x67, 8);
}

static void
renew(struct rig *g, const struct program *p)
{
	static const uint8_t zeros[PAGE_SIZE];
	union regfile *r = &g->cpu.r;
	struct fpu_state *f = &g->cpu.fpu;
	unsigned i;
	gpa_t at;

	for (at = 0; at < RIG_MEMORY; at += PAGE_SIZE)
		if (mem_page_flags(g->mem, at) & MEM_dirty) {
			mem_write(g->mem, at, zeros, PAGE_SIZE);
			mem_page_clear(g->mem, at, MEM_dirty);
		}
	tlb_flush_all(&g->cpu, true);
	reg_reset(r, f);
	atomic_store(&g->cpu.attention, 0);
	rig_tables(g);
	map_pages(g);
	put_system(g);
	rig_mode_set(g, RIG_long);
	rig_put(g, RIG_GDT + (UCS32 & ~7), 0x00cffb000000ffff, 8);
	if (p->isa == ISA_32)
		rig_segment(g, SEG_cs, p->user ? UCS32 : RIG_CS32, p->user ? 0xc0fb : 0xc09b);
	else if (p->user)
		rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
	if (p->user) {
		rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	}
	r->cr4 |= cr4_osxsave_MASK | cr4_osxmmexcpt_MASK | cr4_fsgsbase_MASK;
	r->cr0 |= p->wp ? cr0_wp_MASK : 0;
	r->cr4 |= p->smap ? cr4_smap_MASK : 0;
	r->xcr0 = 7;
	memcpy(r->gpr, p->gpr, sizeof(p->gpr));
	r->rflags = p->flags;
	r->fs_base = p->fs_base;
	r->gs_base = p->gs_base;
	r->kernel_gs_base = p->fs_base;
	r->rip = RIG_CODE + p->offset;
	f->fcw = 0x37f;
	f->mxcsr = p->mxcsr;
	f->ftw = 0xf;
	f->xstate_bv = 7;
	memcpy(f->xmm, p->xmm, sizeof(p->xmm));
	memcpy(f->ymmh, p->ymmh, sizeof(p->ymmh));
	for (i = 0; i < 8; i++)
		memcpy(f->st[i], p->st[i], 10);
	for (i = 0; i < DATA_SIZE; i += 32)
		mem_write(g->mem, RIG_DATA + i, p->xmm[i / 32 % 16], 16);
	mem_write(g->mem, RIG_CODE + p->offset, p->code, p->len);
	if (g->cpu.bt != NULL)
		bt_warm_all(g->cpu.bt, p->user && p->wp);	/* CR0.WP is nothing to a user */
	g->cpu.retired = 0;
	g->cpu.retire_limit = p->counted ? COUNTED : UINT64_MAX;
	cpu_mode_update(&g->cpu);
}

static int
run_to_end(struct rig *g)
{
	int kind;

	do {
		atomic_store(&g->cpu.attention, 0);
		kind = rig_run(g);
	} while (kind == EXIT_attend && ticks <= TICKS_MAX && g->cpu.retired < g->cpu.retire_limit);
	return kind;
}

/* ---- comparing ---- */

static const char *
compare_fpu(const struct fpu_state *a, const struct fpu_state *b)
{
	unsigned i;

	if (a->fcw != b->fcw || a->fsw != b->fsw || a->ftw != b->ftw)
		return "x87 control, status or tags";
	if (a->mxcsr != b->mxcsr)
		return "mxcsr";
	for (i = 0; i < 8; i++)
		if (memcmp(a->st[i], b->st[i], 10) != 0)
			return "st";
	if (memcmp(a->xmm, b->xmm, sizeof(a->xmm)) != 0)
		return "xmm";
	return memcmp(a->ymmh, b->ymmh, sizeof(a->ymmh)) != 0 ? "ymm" : NULL;
}

static const char *
compare_memory(void)
{
	gpa_t at;

	for (at = 0; at < RIG_MEMORY; at += PAGE_SIZE)
		if (((mem_page_flags(twin[0]->mem, at) | mem_page_flags(twin[1]->mem, at)) & MEM_dirty) &&
		    memcmp(mem_get(twin[0]->mem, at, PAGE_SIZE), mem_get(twin[1]->mem, at, PAGE_SIZE), PAGE_SIZE) != 0)
			return "memory";
	return NULL;
}

/* Where a fault has pushed the flags; where the last one did that shut the processor down as the rest of its
 * frame could not be pushed. */
static uint64_t
flags_in_frame(const struct rig *g, int kind)
{
	enum { FRAME_ALIGN = 16, BELOW = 24 /* SS, RSP, RFLAGS */ };
	static const uint32_t with_error = 1 << VEC_df | 1 << VEC_ts | 1 << VEC_np | 1 << VEC_ss | 1 << VEC_gp | 1 << VEC_pf |
		1 << VEC_ac;

	if (kind == EXIT_down)
		return (g->cpu.r.rsp & ~(uint64_t)(FRAME_ALIGN - 1)) - BELOW;
	return g->cpu.r.rsp + (with_error >> rig_vector(g) & 1 ? 24 : 16);
}

/* The translator does not keep arithmetic flags that nothing reads before they are overwritten, and
 * a fault in between shows others (CAVEATS.md). */
static void
forgive_flags(const int kind[2])
{
	uint64_t at = flags_in_frame(twin[1], kind[1]);
	uint16_t fl[2];
	unsigned k;

	if (kind[0] != kind[1] || rig_vector(twin[0]) != rig_vector(twin[1]) || flags_in_frame(twin[0], kind[0]) != at)
		return;
	if (mem_read(twin[0]->mem, at, &fl[0], 2) && mem_read(twin[1]->mem, at, &fl[1], 2) &&
	    ((fl[0] ^ fl[1]) & ~RFLAGS_arith) == 0)
		for (k = 0; k < 2; k++)		/* it may lie in two pages */
			mem_write(twin[0]->mem, at + k, (uint8_t *)&fl[1] + k, 1);
	twin[0]->cpu.r.rflags = (twin[0]->cpu.r.rflags & ~(uint64_t)RFLAGS_arith) | (twin[1]->cpu.r.rflags & RFLAGS_arith);
}

/* Whether instruction in, executed, may have other results on the two. Most are not chosen, but code
 * that changes itself, or is jumped into, can be anything. */
static bool
may_differ(const struct insn *in, const struct rig *after)
{
	switch (in->id) {
	case INSN_rol: case INSN_ror: case INSN_rcl: case INSN_rcr:
		return in->opcode != 0xd0 && in->opcode != 0xd1;
	case INSN_rdtsc: case INSN_rdtscp: case INSN_rdrand: case INSN_rdseed: case INSN_rdpmc: case INSN_aad:
	case INSN_fnstenv: case INSN_fnsave: case INSN_fxsave: case INSN_xsave: case INSN_xsavec: case INSN_xsaveopt:
		return true;
	case INSN_ret: case INSN_jmp: case INSN_call:	/* to a non-canonical address: the translator faults there (CAVEATS.md) */
		return rig_vector(after) == VEC_gp || rig_vector(after) == VEC_ss || after->cpu.r.activity == ACTIVITY_shutdown;
	default:
		return false;
	}
}

/* A fault has just been delivered, and its handler, overwritten, does not halt: the flags in the frame, which
 * forgive_flags forgives where a program ends, go on from there. */
static bool
handler_goes_on(struct rig *g)
{
	uint64_t rip = g->cpu.r.rip;

	return rip - RIG_VECTORS < RIG_GATES && rig_get(g, rip, 1) != RIG_HLT;
}

/* Step through the program on the interpreter. */
static bool
has_excuse(const struct program *p)
{
	struct rig *g = twin[1];
	unsigned n, kind;
	struct insn in;
	uint8_t b[32] = { 0 };

	renew(g, p);
	for (n = 0; n < STEPS; n++) {
		uint64_t rip = g->cpu.r.rip;
		bool known = rip < RIG_MEMORY - 16 && mem_read(g->mem, rip, b, 16) &&
			insn_decode(b, 32, g->cpu.mode == MODE_long64 ? ISA_64 : ISA_32, &in) > 0;

		kind = (unsigned)rig_step(g);
		if ((known && may_differ(&in, g)) || (kind == EXIT_attend && handler_goes_on(g)))
			return true;
		if (kind == EXIT_hlt || kind == EXIT_down)
			return known && (in.id == INSN_ret || in.id == INSN_jmp || in.id == INSN_call);
	}
	return false;
}

/* Now and then the translator's places for near entries run out in the middle of a program. */
static void
ration_sites(void)
{
	enum { PROGRAMS = 64 };
	static unsigned n;
	struct bt_state *bt = twin[0]->cpu.bt;

	if (n++ % PROGRAMS != 0)
		return;
	bt_flush(bt);
	if (n % (2 * PROGRAMS) == 1)
		bt->nsites = bt->limit.sites - n / PROGRAMS % 8;
}

/* What differs, or NULL. */
static const char *
difference(const struct program *p)
{
	int kind[2];
	unsigned i;
	const char *why;

	ticks = 0;
	ration_sites();
	for (i = 0; i < 2; i++) {
		renew(twin[i], p);
		kind[i] = run_to_end(twin[i]);
	}
	if (ticks > TICKS_MAX || twin[0]->cpu.retired >= twin[0]->cpu.retire_limit ||
	    twin[1]->cpu.retired >= twin[1]->cpu.retire_limit)
		return NULL;		/* too slow to be compared, or stopped somewhere by the limit */
	if (rig_vector(twin[1]) >= 0 || kind[1] == EXIT_down)
		forgive_flags(kind);
	/* An MMX instruction that faults with #XM may have reset TOP and tags on real hardware. */
	if (rig_vector(twin[1]) == VEC_xm || kind[0] == EXIT_down) {
		twin[0]->cpu.fpu.fsw = twin[1]->cpu.fpu.fsw;
		twin[0]->cpu.fpu.ftw = twin[1]->cpu.fpu.ftw;
		memcpy(twin[0]->cpu.fpu.st, twin[1]->cpu.fpu.st, sizeof(twin[0]->cpu.fpu.st));
	}
	/* The translator sets D before it notices that an operand is not aligned, and when it reads
	 * through its entry for the stack. */
	for (i = 0; i < 2; i++)
		rig_put(twin[i], CLEAN_PTE, rig_get(twin[i], CLEAN_PTE, 1) | 0x40, 1);
	if (kind[0] != kind[1])
		return "exit";
	if (p->counted && twin[0]->cpu.retired != twin[1]->cpu.retired)
		return "retired";
	for (i = 0; i < REG__COUNT; i++)
		if (twin[0]->cpu.r.v[i] != twin[1]->cpu.r.v[i])
			return reg_desc[i].name;
	if ((why = compare_fpu(&twin[0]->cpu.fpu, &twin[1]->cpu.fpu)) != NULL)
		return why;
	return compare_memory();
}

static const char *
disagreement(const struct program *p)
{
	const char *why = difference(p);

	return why == NULL || has_excuse(p) ? NULL : why;
}
