/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/share.c - which memory accesses of a block have a check in common.
 *
 * Accesses at constant distances from a register that nothing else changes between them form a
 * group: one check over all that they touch, made before the first of them, or sooner, where flags
 * are dead. It says that the span is in one page that all may touch. When it is not, the block goes
 * on at that instruction in a translation without groups, which finds out who faults, and where.
 */
#include "engine/bt/tr.h"

enum { SPAN = 512, SPAN_STACK = 1024 };
static_assert(SPAN_STACK <= PAGE_SIZE - BT_SLIDE, "an entry that was moved has the whole of the frame for which it was");

/* What is known of a register while a block is looked through. */
struct base {
	struct tr_group *g;	/* open */
	int64_t moved;		/* by how much since the group's first access */
};

struct touch { int64_t disp; unsigned size; bool write; };

/* Whether i's access can be in a group, wherever its displacement leads. A kernel goes from one object to the next: there
 * the stack alone is worth it. */
bool
tr_may_share(const struct tr *t, const struct tr_insn *i)
{
	const struct insn *in = &i->in;
	unsigned k, n = 0;

	switch (i->kind) {
	case TK_push:
		return in->op[0].kind != OPND_mem;
	case TK_call_reg:
		return in->op[0].kind == OPND_reg;
	case TK_call: case TK_pop: case TK_ret:
		return true;
	case TK_plain:
		break;
	default:
		return false;
	}
	if (in->base >= INSN_RIP || tr_homed(in->base) || tr_turns(i, in->base) || in->index != INSN_NOREG || in->asize != 8 ||
	    in->seg == SEG_fs || in->seg == SEG_gs || (!(t->mode & BM_user) && in->base != RSP))
		return false;
	for (k = 0; k < in->nopnds; k++)
		n += in->op[k].kind == OPND_mem;
	return n == 1;
}

/* The access of i, one of those, when it is near enough. */
static bool
access_of(const struct tr_insn *i, int *base, struct touch *a)
{
	const struct insn *in = &i->in;
	const struct opnd *op = in->op;

	*base = RSP;
	switch (i->kind) {
	case TK_push: case TK_call: case TK_call_reg:
		*a = (struct touch){ -8, 8, true };
		return true;
	case TK_pop: case TK_ret:
		*a = (struct touch){ 0, 8, false };
		return true;
	default:
		while (op->kind != OPND_mem)
			op++;
		*base = in->base;
		*a = (struct touch){ in->disp, op->size, (op->access & OPND_w) != 0 };
		return in->disp >= -STACK_REACH && in->disp <= STACK_REACH;
	}
}

/* i changes reg by a constant, if at all: that, else false. */
static bool
moves_by(const struct tr_insn *i, int reg, int64_t *by)
{
	const struct insn *in = &i->in;
	bool itself = in->op[0].kind == OPND_reg && in->op[0].reg == reg && in->op[0].size == 8;

	*by = 0;
	if (!(i->use.gpr_write >> reg & 1))
		return true;
	if (reg == RSP && (i->kind == TK_push || (i->kind == TK_pop && in->op[0].reg != RSP))) {
		*by = i->kind == TK_push ? -8 : 8;
		return true;
	}
	if (in->id == INSN_lea && itself && in->osize == 8 && in->asize == 8 && in->base == reg && in->index == INSN_NOREG)
		*by = in->disp;
	else if (itself && (in->id == INSN_add || in->id == INSN_sub) && in->op[1].kind == OPND_imm)
		*by = in->id == INSN_add ? (int64_t)in->imm : -(int64_t)in->imm;
	else
		return false;
	return *by == (int32_t)*by;
}

static bool
grows_too_far(const struct tr_group *g, int64_t lo, int64_t hi)
{
	int64_t span = (hi > g->hi ? hi : g->hi) - (lo < g->lo ? lo : g->lo);

	return span > (g->base == RSP ? SPAN_STACK : SPAN);
}

static void
join(struct tr *t, unsigned k, struct base *b, int base, const struct touch *a)
{
	int64_t lo, hi;

	if (b->g != NULL && grows_too_far(b->g, b->moved + a->disp, b->moved + a->disp + a->size))
		b->g = NULL;
	if (b->g == NULL) {
		if (t->ngroups == TR_GROUPS)
			return;
		b->g = &t->group[t->ngroups++];
		b->moved = 0;
		*b->g = (struct tr_group){ .at = (uint16_t)k, .base = (int8_t)base, .lo = (int32_t)a->disp,
			.hi = (int32_t)a->disp + (int32_t)a->size };
	}
	lo = b->moved + a->disp, hi = lo + a->size;
	b->g->lo = lo < b->g->lo ? (int32_t)lo : b->g->lo;
	b->g->hi = hi > b->g->hi ? (int32_t)hi : b->g->hi;
	b->g->write |= a->write || base == RSP;
	b->g->members++;
	b->g->last = (uint16_t)k;
	t->i[k].group = (int8_t)(b->g - t->group);
}

static void
collect(struct tr *t)
{
	struct base bases[16] = { { 0 } };
	uint32_t open = 0, moved;	/* bases with a group; of those, what an instruction writes */
	struct touch a;
	int64_t by;
	unsigned k;
	int r, base;

	for (k = 0; k < t->n; k++) {
		struct tr_insn *i = &t->i[k];

		if (open != 0 && ((i->marks & MARK_label) || !(i->traits & TRAIT_quiet)))
			for (; open != 0; open &= open - 1)
				bases[__builtin_ctz(open)].g = NULL;
		if ((i->traits & TRAIT_shares) && access_of(i, &base, &a)) {
			join(t, k, &bases[base], base, &a);
			open |= 1u << base;
		} else if (i->traits & TRAIT_stack) {
			bases[RSP].g = NULL;
		}
		for (moved = i->use.gpr_write & open; moved != 0; moved &= moved - 1) {
			r = __builtin_ctz(moved);
			if (moves_by(i, r, &by))
				bases[r].moved += by;
			else
				bases[r].g = NULL;
		}
	}
}

/* Move the check to where it costs no saved flags. */
static bool
hoist(const struct tr *t, struct tr_group *g)
{
	int32_t lo = g->lo, hi = g->hi;
	unsigned k = g->at;
	int64_t by;

	while (t->i[k].live != 0) {
		if (k == 0 || (t->i[k].marks & MARK_label) || !(t->i[k - 1].traits & TRAIT_quiet) || t->i[k - 1].kind == TK_jcc ||
		    !moves_by(&t->i[k - 1], g->base, &by) || (g->base == RSP && (t->i[k - 1].traits & TRAIT_stack)))
			return false;
		lo += (int32_t)by, hi += (int32_t)by;
		k--;
	}
	if (lo < -STACK_REACH * 2 || hi > STACK_REACH * 2)
		return false;
	g->lo = lo, g->hi = hi;
	g->at = (uint16_t)k;
	return true;
}

static void
dissolve(struct tr *t, unsigned n)
{
	unsigned k;

	for (k = t->group[n].at; k <= t->group[n].last; k++)
		if (t->i[k].group == (int)n)
			t->i[k].group = NO_GROUP;
	t->group[n].members = 0;
}

/* Near entries are for code that runs much: others' checks are by the table, as are those that miss too often. */
static bool
by_table(const struct tr *t, const struct tr_group *g)
{
	return g->base != RSP && (!t->pg->warm || tr_is_tired(t, g->at, true));
}

void
tr_share(struct tr *t)
{
	struct tr_group *g;
	unsigned k;

	t->ngroups = 0;
	if (t->narrow || (t->mode & BM_code32) || !(t->traits & TRAIT_shares))
		return;
	collect(t);
	for (k = 0; k < t->ngroups; k++) {
		g = &t->group[k];
		if (t->i[g->at].live != 0 && !hoist(t, g) && g->members == 1) {
			dissolve(t, k);
			continue;
		}
		g->table = by_table(t, g);
		if (g->members == 1 && (g->table || t->i[g->at].group == (int)k))
			dissolve(t, k);
		else
			t->i[g->at].marks |= MARK_checks;
	}
}
