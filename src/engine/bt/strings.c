/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/strings.c - LODS, STOS, MOVS, SCAS, CMPS without a REP prefix: one element, forward.
 *
 * Each is an instruction with an ordinary memory operand at [rSI] or [rDI], and the step behind it.
 */
#include "engine/bt/tr.h"

enum { MOV_TO = 0x88, MOV_FROM = 0x8a, CMP_FROM = 0x3a };

bool
tr_string_one_fits(const struct tr *t, const struct insn *in)
{
	return !(in->prefixes & (PFX_rep | PFX_repne)) && in->asize == tr_word(t);
}

/* An opcode pair for operands of `size` bytes. */
static void
op(struct emit *e, unsigned opcode, unsigned size, int reg, struct rm rm)
{
	e_op(e, size == 2 ? 0x66 : 0, size == 8, MAP_1, opcode | (size != 1), reg, rm, false);
}

/* The element at [rSI] or [rDI], checked. */
static struct rm
element(struct tr *t, struct tr_insn *i, int reg, unsigned size, bool write)
{
	struct insn in = i->in;
	struct rm rm;

	i->in.base = (uint8_t)reg;
	i->in.index = INSN_NOREG;
	i->in.disp = 0;
	if (reg == RDI)
		i->in.seg = SEG_es;
	rm = tr_mem(t, i, size, write, false);
	i->in = in;
	return rm;
}

static void
step(struct tr *t, int reg, unsigned size)
{
	e_lea(&t->e, !tr_is32(t), reg, rm_at(reg, (int32_t)size));
}

/* Store to [rDI]: rAX, or what is held. */
static void
store(struct tr *t, struct tr_insn *i, unsigned size, bool held)
{
	struct rm to = element(t, i, RDI, size, true);
	int from = held ? t->free_reg : RAX;

	tr_flags_for(t, i, t->free_reg);
	if (held)
		e_load(&t->e, from, rm_abs(bt_abs(&t->bt->hold)));
	op(&t->e, MOV_TO, size, from, to);
	tr_split_store(t, i);
	step(t, RDI, size);
}

/* Compare with [rDI]: rAX, or what is held. */
static void
compare(struct tr *t, struct tr_insn *i, unsigned size, bool held)
{
	struct rm with = element(t, i, RDI, size, false);
	int what = held ? t->free_reg : RAX;

	tr_flags_for(t, i, t->free_reg);
	if (held)
		e_load(&t->e, what, rm_abs(bt_abs(&t->bt->hold)));
	op(&t->e, CMP_FROM, size, what, with);
	step(t, RDI, size);
}

/* [rSI] to be held until the other address is checked, too. */
static void
hold(struct tr *t, struct tr_insn *i, unsigned size)
{
	struct rm from = element(t, i, RSI, size, false);

	op(&t->e, MOV_FROM, size, S0, from);
	e_store(&t->e, rm_abs(bt_abs(&t->bt->hold)), S0);
}

void
tr_string_one(struct tr *t, struct tr_insn *i)
{
	unsigned size = i->in.op[0].size;
	struct rm from;

	switch (i->in.id) {
	case INSN_lods:
		size = i->in.op[1].size;
		from = element(t, i, RSI, size, false);
		op(&t->e, MOV_FROM, size, RAX, from);
		break;
	case INSN_stos:
		store(t, i, size, false);
		return;
	case INSN_scas:
		compare(t, i, i->in.op[1].size, false);
		return;
	case INSN_movs:
		hold(t, i, size);
		store(t, i, size, true);
		break;
	default:
		hold(t, i, size);
		compare(t, i, size, true);
	}
	step(t, RSI, size);
}
