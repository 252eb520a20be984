/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/system.c - system instructions short enough to be written inline. */
#include "engine/bt/tr.h"

enum { IF_BYTE = 2 /* IF in the second byte of RFLAGS */, HALF = 32 };

#define REGISTER(name) rm_gs(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, name))

static void
swapgs(struct emit *e)
{
	e_load(e, S0, REGISTER(gs_base));
	e_load(e, S1, REGISTER(kernel_gs_base));
	e_store(e, REGISTER(kernel_gs_base), S0);
	e_store(e, REGISTER(gs_base), S1);
}

/* With BM_plain_if all other bits of that byte are 0, but OF, which is kept elsewhere. */
static void
set_if(struct emit *e, unsigned byte)
{
	e_op(e, 0, false, MAP_1, 0xc6, 0, rm_gs(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, rflags) + 1), false);
	e8(e, byte);
}

static void
sti(struct tr *t, struct tr_insn *i)
{
	struct emit *e = &t->e;

	tr_flags_clobber(t, i);
	e_op(e, 0, false, MAP_1, 0x80, ALU_cmp, rm_gs(NOREG, offsetof(struct cpu, irq_window)), false);
	e8(e, 0);
	tr_cold(t, COLD_light, e_jcc(e, CC_ne, NULL));
	set_if(e, IF_BYTE);
}

static void
rorx64(struct emit *e, int to, int from)
{
	e_vex(e, 3, true, false, MAP_0f3a, 0xf0, to, 0, rm_reg(from));
	e8(e, HALF);
}

static void
rdtsc(struct tr *t, bool with_aux)
{
	struct emit *e = &t->e;

	if (with_aux) {		/* RDTSCP waits for what is before it */
		e8(e, 0x0f), e8(e, 0xae), e8(e, 0xe8);
		e_load32(e, RCX, REGISTER(ia32_tsc_aux));
	}
	e8(e, 0x0f), e8(e, 0x31);
	rorx64(e, S0, RDX);
	e_lea(e, true, S0, rm_sum(S0, RAX, 0, 0));
	e_load(e, S1, rm_abs(bt_abs(&t->bt->tsc_delta)));
	e_lea(e, true, S0, rm_sum(S0, S1, 0, 0));
	e_op(e, 0, false, MAP_1, 0x8b, RAX, rm_reg(S0), false);
	rorx64(e, S0, S0);
	e_op(e, 0, false, MAP_1, 0x8b, RDX, rm_reg(S0), false);
}

/* The image of RFLAGS: arithmetic flags as saved (AH of lahf, AL of seto), the others as kept. */
static void
pushf(struct tr *t, struct tr_insn *i)
{
	enum { LOW = RFLAGS_arith & 0xff, RF_VM = 0x30000, WORD = 8, OF_AT = 11 };
	struct rm hold = rm_abs(bt_abs(&t->bt->hold)), to;
	struct emit *e = &t->e;

	if (t->fl == FL_native)
		tr_flags_save(t, S0);
	e_op(e, 0, false, MAP_0f, 0xb7, S0, rm_abs(bt_abs(&t->bt->flags_saved)), false);
	e_rorx32(e, S1, S0, 8);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), LOW);
	e_alu_imm(e, false, ALU_and, rm_reg(S0), 1);
	e_op(e, 0, false, MAP_1, 0xc1, 4, rm_reg(S0), false);		/* shl */
	e8(e, OF_AT);
	e_alu(e, false, ALU_or, S1, rm_reg(S0));
	e_load(e, S0, REGISTER(rflags));
	e_alu_imm(e, true, ALU_and, rm_reg(S0), ~(RFLAGS_arith | RF_VM));
	e_alu(e, true, ALU_or, S0, rm_reg(S1));
	e_store(e, hold, S0);
	to = tr_stack(t, i, GSP, -WORD, WORD);
	e_load(e, S0, hold);
	e_store(e, to, S0);
	e_lea(e, true, GSP, rm_at(GSP, -WORD));
}

static void
segment_selector(struct emit *e, const struct insn *in)
{
	int to = in->op[0].reg, host = tr_homed(to) ? S0 : tr_host(to);

	e_load32(e, host, rm_gs(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, seg) +
		in->op[1].reg * sizeof(struct segreg)));
	if (tr_homed(to))
		e_store(e, tr_home(to), host);
}

void
tr_system(struct tr *t, struct tr_insn *i)
{
	switch (i->kind) {
	case TK_swapgs:
		swapgs(&t->e);
		break;
	case TK_cli:
		set_if(&t->e, 0);
		break;
	case TK_sti:
		sti(t, i);
		break;
	case TK_pushf:
		pushf(t, i);
		break;
	case TK_segsel:
		segment_selector(&t->e, &i->in);
		break;
	default:
		rdtsc(t, i->in.id == INSN_rdtscp);
	}
}
