/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/compare.h - the first difference between host and guest after a case.
 *
 * The exceptions to "all equal" are in the functions named may_differ: what manuals leave open, or
 * where this host does what its manual does not say. Each is said in CAVEATS.md, too.
 */
#pragma once
#include "conformance/cases.h"

struct diff {
	const char *what;		/* NULL: none */
	int number;			/* of the register */
	uint64_t host, guest, before;
};

/* bt: flags that the instruction would have overwritten are lost when it faults instead. */
static bool flags_lost_at_faults;

static bool
set_diff(struct diff *d, const char *what, unsigned number, uint64_t host, uint64_t guest, uint64_t before)
{
	*d = (struct diff){ what, (int)number, host, guest, before };
	return true;
}

static uint64_t
u64_at(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* MASKMOV: a page of which no byte is selected may fault all the same, and which byte is named in CR2
 * is not said (SDM vol. 2, MASKMOVDQU). */
static bool
masked_store_may_differ(const struct test_case *t, const struct state *h)
{
	unsigned id = t->in.id;

	return h->vec == VEC_pf && (id == INSN_maskmovq || id == INSN_maskmovdqu || id == INSN_vmaskmovdqu);
}

/* Instructions of many accesses: which part of the operand faults first is not said, nor what was
 * written before. */
static bool
fault_place_may_differ(const struct test_case *t, const struct state *h)
{
	switch (t->in.id) {
	case INSN_fxsave: case INSN_fxrstor: case INSN_xsave: case INSN_xsaveopt: case INSN_xsavec: case INSN_xrstor:
	case INSN_fnstenv: case INSN_fldenv: case INSN_fnsave: case INSN_frstor: case INSN_fbstp: case INSN_fstp: case INSN_enter:
	case INSN_pusha: case INSN_popa: case INSN_vmaskmovps: case INSN_vmaskmovpd: case INSN_vpmaskmovd:
	case INSN_vpmaskmovq: case INSN_cmps:
		return h->vec == VEC_pf;
	case INSN_call:
		return h->vec == VEC_gp;	/* to a non-canonical address: this host has pushed by then */
	default:
		return false;
	}
}

/* A faulting MMX instruction may have reset TOP and tags on this host. */
static bool
x87_may_differ(const struct test_case *t, const struct state *h)
{
	return insn_info[t->in.id].flags & IF_mmx && h->vec != DONE;
}

static bool
is_dot_product(unsigned id)
{
	return id == INSN_dpps || id == INSN_dppd || id == INSN_vdpps || id == INSN_vdppd;
}

/* Unmasked overflow or underflow: PE then tells of the result with unbounded exponent, which interp
 * does not compute. A dot product stops at the step that raises. VCVTPS2PH to a page that faults sets flags on this host. */
static uint32_t
mxcsr_may_differ(const struct test_case *t, const struct state *h)
{
	if (h->vec == VEC_xm && is_dot_product(t->in.id))
		return 0x3f;
	if (h->vec == VEC_xm && h->fpu.mxcsr & ~h->fpu.mxcsr >> 7 & 0x18)
		return 0x20;
	return t->in.id == INSN_vcvtps2ph && h->vec != DONE && h->vec != VEC_xm ? 0x3f : 0;
}

static bool
compare_vectors(const struct test_case *t, const struct state *h, const struct state *g, struct diff *d)
{
	const struct fpu_state *a = &h->fpu, *b = &g->fpu, *c = &t->s.fpu;
	unsigned i;

	for (i = 0; i < 16; i++) {
		if (memcmp(a->xmm[i], b->xmm[i], 8) != 0)
			return set_diff(d, "xmm low", i, u64_at(a->xmm[i]), u64_at(b->xmm[i]), u64_at(c->xmm[i]));
		if (memcmp(a->xmm[i], b->xmm[i], 16) != 0)
			return set_diff(d, "xmm high", i, u64_at(a->xmm[i] + 8), u64_at(b->xmm[i] + 8), u64_at(c->xmm[i] + 8));
		if (memcmp(a->ymmh[i], b->ymmh[i], 16) != 0)
			return set_diff(d, "ymm upper", i, u64_at(a->ymmh[i]), u64_at(b->ymmh[i]), u64_at(c->ymmh[i]));
	}
	if ((a->mxcsr ^ b->mxcsr) & ~mxcsr_may_differ(t, h))
		return set_diff(d, "mxcsr", 0, a->mxcsr, b->mxcsr, c->mxcsr);
	return false;
}

static bool
compare_x87(const struct test_case *t, const struct state *h, const struct state *g, struct diff *d)
{
	const struct fpu_state *a = &h->fpu, *b = &g->fpu, *c = &t->s.fpu;
	unsigned i;

	if (x87_may_differ(t, h))
		return false;
	if (a->fcw != b->fcw)
		return set_diff(d, "fcw", 0, a->fcw, b->fcw, c->fcw);
	if (a->fsw != b->fsw)
		return set_diff(d, "fsw", 0, a->fsw, b->fsw, c->fsw);
	if (a->ftw != b->ftw)
		return set_diff(d, "ftw", 0, a->ftw, b->ftw, c->ftw);
	for (i = 0; i < 8; i++)
		if (memcmp(a->st[i], b->st[i], 10) != 0)
			return set_diff(d, "st", i, u64_at(a->st[i]), u64_at(b->st[i]), u64_at(c->st[i]));
	return false;
}

/* A REP with 32-bit addresses that faults: this host may have cleared the upper halves by then. */
static uint64_t
gpr_compared(const struct test_case *t, const struct state *h, unsigned i)
{
	bool counter = i == REG_rcx || i == REG_rsi || i == REG_rdi;

	return counter && repeats(t) && t->in.asize == 4 && h->vec != DONE ? UINT32_MAX : UINT64_MAX;
}

static bool
compare_integer(const struct test_case *t, const struct state *h, const struct state *g, struct diff *d)
{
	const uint64_t flags = RFLAGS_arith | rflags_df_MASK | rflags_nt_MASK | rflags_id_MASK;
	uint64_t undefined = h->vec == DONE ? insn_info[t->in.id].fl_undef : 0;
	unsigned i;

	for (i = 0; i < 16; i++)
		if ((h->gpr[i] ^ g->gpr[i]) & gpr_compared(t, h, i))
			return set_diff(d, "gpr", i, h->gpr[i], g->gpr[i], t->s.gpr[i]);
	if (h->rip != g->rip)
		return set_diff(d, "rip", 0, h->rip, g->rip, t->s.rip);
	if (h->vec != DONE && flags_lost_at_faults)
		return false;
	if ((h->rflags ^ g->rflags) & flags & ~undefined)
		return set_diff(d, "rflags", 0, h->rflags, g->rflags, t->s.rflags);
	return false;
}

/* A call to a bad address on a bad stack: which one is noticed first. DPPS and DPPD with underflow
 * unmasked: interp does not see an exact tiny product that is no result. */
static bool
vector_may_differ(const struct test_case *t, const struct state *h, const struct state *g)
{
	unsigned id = t->in.id;

	if (is_dot_product(id))
		return h->vec == VEC_xm && h->fpu.mxcsr & 0x10;
	/* Misaligned and beyond the limit of SS. */
	if (h->vec == VEC_gp && g->vec == VEC_ss && insn_info[id].flags & (IF_sse | IF_mmx | IF_avx))
		return true;
	/* To a non-canonical address: AMD's #GP comes at the target, Intel's at the branch. */
	if (insn_info[id].flags & IF_branch && h->vec == VEC_gp && g->vec == DONE && (g->rip + (1ull << 47)) >> 48 != 0)
		return true;
	if (id == INSN_vcvtps2ph && h->vec == VEC_xm && g->vec == VEC_gp)
		return true;		/* into a segment that can't be written */
	if (id == INSN_bound)
		return h->vec == VEC_br && g->vec == VEC_pf;	/* the lower bound is judged first */
	return id == INSN_call && h->vec == VEC_pf && g->vec == VEC_gp;
}

static bool
compare_end(const struct test_case *t, const struct state *h, const struct state *g, struct diff *d)
{
	if (h->vec != g->vec)
		return set_diff(d, "vector (rip before)", 0, (uint64_t)(int64_t)h->vec, (uint64_t)(int64_t)g->vec, g->rip);
	if (h->vec == VEC_pf && h->cr2 != g->cr2 && !fault_place_may_differ(t, h))
		return set_diff(d, "cr2", 0, h->cr2, g->cr2, 0);
	if (h->vec != DONE && h->vec != VEC_mf && h->vec != VEC_xm && h->error != g->error
	    && !fault_place_may_differ(t, h))
		return set_diff(d, "error", 0, h->error, g->error, 0);
	return false;
}

/* Whether the bytes of a component that is in its initial state are touched at all is the processor's choice:
 * where they lie on another page, one has a page fault and one has none, or what its header deserves. */
static bool
end_of_area_may_differ(const struct test_case *t, const struct state *h, const struct state *g)
{
	unsigned id = t->in.id;

	return (id == INSN_xrstor || id == INSN_xsave || id == INSN_xsavec || id == INSN_xsaveopt) &&
		h->vec != g->vec && (h->vec == VEC_pf || g->vec == VEC_pf);
}

static void
compare(const struct test_case *t, const struct state *h, const struct state *g, const uint8_t *hmem,
	const uint8_t *gmem, struct diff *d)
{
	unsigned i;

	d->what = NULL;
	if (t->in.id == INSN_xrstor && h->vec != DONE && h->vec == g->vec)
		return;			/* a part of the state may have been loaded before the fault */
	if (end_of_area_may_differ(t, h, g))
		return;
	if (masked_store_may_differ(t, h) || vector_may_differ(t, h, g))
		return;
	if (compare_end(t, h, g, d) || compare_integer(t, h, g, d) || compare_vectors(t, h, g, d)
	    || compare_x87(t, h, g, d))
		return;
	if (fault_place_may_differ(t, h) || memcmp(hmem, gmem, DATA_SIZE) == 0)
		return;
	for (i = 0; hmem[i] == gmem[i]; i++)
		;
	set_diff(d, "memory", i, u64_at(hmem + (i & ~7u)), u64_at(gmem + (i & ~7u)), t->s.gpr[4]);
}
