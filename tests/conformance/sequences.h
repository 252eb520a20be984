/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/sequences.h - several random instructions in a row, with jumps over some and a loop around.
 *
 * For what single instructions can't show of an engine: flags and vector registers that live from one
 * to the next, blocks and links between them. Memory operands are relative to RIP, RSP or R13, and
 * nothing else writes the last two.
 */
#pragma once
#include "conformance/cases.h"
#include "conformance/skip.h"

enum { SEQ_MAX = 10, SEQ_BASE = 13, SEQ_COUNTER = PLACE_DATA + 16, SEQ_MEM = PLACE_DATA + 1024 };

struct sequence {
	struct test_case all;		/* the whole, as one case */
	struct test_case part[SEQ_MAX];
	uint64_t at[SEQ_MAX];		/* addresses of the parts */
	unsigned n;
};

static bool
seq_allowed(unsigned id)
{
	const struct insn_info *i = &insn_info[id];

	switch (id) {
	case INSN_push: case INSN_pop: case INSN_pushf:
		return true;
	case INSN_rol: case INSN_ror:			/* the host's undefined flags depend on the form */
	case INSN_ldmxcsr: case INSN_vldmxcsr: case INSN_fldcw: case INSN_fldenv: case INSN_frstor: case INSN_fxrstor:
	case INSN_xrstor: case INSN_xsave: case INSN_xsaveopt: case INSN_xsavec: case INSN_fxsave: case INSN_fnsave:
	case INSN_fnstenv: case INSN_maskmovq: case INSN_maskmovdqu: case INSN_vmaskmovdqu: case INSN_ud0: case INSN_ud1:
	case INSN_ud2: case INSN_xlat: case INSN_std:
		return false;
	case INSN_div: case INSN_idiv:
		return rnd_below(8) == 0;
	default:
		return !(i->flags & (IF_branch | IF_string | IF_priv | IF_stack | IF_io | IF_no64));
	}
}

/* One instruction of form f for address rip; rsp: what it will be about. False: try again. */
static bool
part_make(struct test_case *p, const struct form *f, uint64_t rip, uint64_t rsp)
{
	const uint32_t kept = 1u << 4 | 1u << SEQ_BASE;
	unsigned rxb = (unsigned)rnd() & 7, how = rnd_below(3), n, modrm;
	uint64_t tail[2] = { rnd(), rnd() }, at, disp;
	struct insn_use use;
	const struct opnd *m;

	if (f->mem)
		rxb = (rxb & 4) | (how == 0);
	n = form_head(f, p->bytes, rxb, rnd_below(3) == 0 ? 0 : (unsigned)rnd() & 15, false);
	if (f->has_modrm) {
		modrm = (unsigned)f->reg << 3;
		if (!f->mem)
			modrm |= 0xc0 | (f->fixed_rm ? f->rm : (unsigned)rnd() & 7);
		else
			modrm |= how == 0 ? 0x85 : how == 1 ? 0x84 : 0x05;	/* [r13 + d], [rsp + d], [rip + d] */
		p->bytes[n++] = (uint8_t)modrm;
		if (f->mem && how == 1)
			p->bytes[n++] = 0x24;
	}
	memcpy(p->bytes + n, tail, 16);
	if (insn_decode(p->bytes, 15, ISA_64, &p->in) <= 0 || !seq_allowed(p->in.id) || !case_allowed(p))
		return false;
	p->len = p->in.len;
	p->mode = ISA_64;
	insn_uses(&p->in, &use);
	if (use.gpr_write & kept && !(insn_info[p->in.id].flags & IF_stack && !(use.gpr_write & 1u << SEQ_BASE)
				      && p->in.op[0].kind == OPND_reg && p->in.op[0].reg != 4))
		if (p->in.id != INSN_pushf)
			return false;
	m = mem_operand(&p->in);
	if (m == NULL)
		return true;
	if (!f->mem || is_vsib(m) || insn_info[p->in.id].flags & IF_stack
	    || (p->in.id >= INSN_bt && p->in.id <= INSN_btc && p->in.op[1].kind == OPND_reg))
		return false;
	at = SEQ_MEM + 32 * rnd_below(16) + (rnd_below(8) == 0 ? rnd_below(32) : 0);
	disp = at - (how == 0 ? SEQ_MEM : how == 1 ? rsp : rip + p->len);
	memcpy(p->bytes + p->in.disp_at, &disp, 4);
	return insn_decode(p->bytes, 15, ISA_64, &p->in) > 0;
}

static void
seq_append(struct test_case *t, const void *bytes, unsigned n)
{
	memcpy(t->bytes + t->len, bytes, n);
	t->len += n;
}

/* ids: the instructions to choose from. */
static void
seq_make(struct sequence *q, const struct forms *fs, const uint16_t *ids, unsigned nids)
{
	struct test_case *t = &q->all;
	uint32_t counter = SEQ_COUNTER;
	bool loop = rnd_below(3) == 0;
	unsigned want = 2 + rnd_below(SEQ_MAX - 2), id, tries, i;
	int32_t back;
	uint8_t jcc[2];

	memset(t, 0, sizeof(*t));
	t->mode = ISA_64;
	t->s.rip = PLACE_CODE + 1024 + rnd_below(64);
	t->s.rflags = 0x202 | (rnd() & RFLAGS_arith);
	t->s.vec = DONE;
	for (i = 0; i < 16; i++)
		t->s.gpr[i] = rnd_int();
	t->s.gpr[4] = DATA_MID;
	t->s.gpr[SEQ_BASE] = SEQ_MEM;
	rnd_fpu(&t->s.fpu);
	if (rnd_below(8) != 0) {
		t->s.fpu.fcw |= 0x3f;
		t->s.fpu.fsw &= 0x7f00;
		t->s.fpu.mxcsr |= 0x1f80;
	}
	for (q->n = tries = 0; q->n < want && tries < 400; tries++) {
		struct test_case *p = &q->part[q->n];
		bool skip = rnd_below(6) == 0;

		id = ids[rnd_below(nids)];
		if (!part_make(p, &fs->form[fs->first[id] + rnd_below(fs->first[id + 1] - fs->first[id])],
			       t->s.rip + t->len + (skip ? 2 : 0), t->s.gpr[4]))
			continue;
		if (skip) {
			jcc[0] = (uint8_t)(0x70 | ((unsigned)rnd() & 15));
			jcc[1] = (uint8_t)p->len;
			seq_append(t, jcc, 2);
		}
		q->at[q->n++] = t->s.rip + t->len;
		seq_append(t, p->bytes, p->len);
	}
	if (loop) {		/* dec dword [counter]; jnz start */
		seq_append(t, "\xff\x0c\x25", 3);
		seq_append(t, &counter, 4);
		back = -(int32_t)t->len - 6;
		seq_append(t, "\x0f\x85", 2);
		seq_append(t, &back, 4);
	}
	t->in.id = INSN_nop;
}

/* The rules of comparison are those of the instruction that the host stopped at. */
static void
seq_stopped_at(struct sequence *q, uint64_t rip)
{
	unsigned i;

	for (i = 0; i < q->n; i++)
		if (q->at[i] == rip)
			q->all.in = q->part[i].in;
}
