/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/system.c - system instructions short enough to be written inline. */
#include "engine/bt/tr.h"

enum { IF_BYTE = 2 /* IF in the second byte of RFLAGS */, AC_BYTE = 4 /* AC in the third */, HALF = 32, SHL = 4, SAR = 7 };

#define REGISTER(name) rm_cpu(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, name))

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
	e_op(e, 0, false, MAP_1, 0xc6, 0, rm_cpu(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, rflags) + 1), false);
	e8(e, byte);
}

static void
sti(struct tr *t, struct tr_insn *i)
{
	struct emit *e = &t->e;

	tr_flags_clobber(t, i);
	e_op(e, 0, false, MAP_1, 0x80, ALU_cmp, rm_cpu(NOREG, offsetof(struct cpu, irq_window)), false);
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
	enum { LOW = RFLAGS_arith & 0xff, RF_VM = 0x30000, OF_AT = 11 };
	int32_t word = (int32_t)tr_word(t);
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
	to = tr_stack(t, i, GSP, -word, (unsigned)word);
	e_load(e, S0, hold);
	e_op(e, 0, !tr_is32(t), MAP_1, 0x89, S0, to, false);
	e_lea(e, !tr_is32(t), GSP, rm_at(GSP, -word));
}

/* MOV from a segment register; a register of 16 bits keeps its upper part. */
static void
segment_selector(struct tr *t, struct tr_insn *i)
{
	struct rm sel = rm_cpu(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, seg) +
		i->in.op[1].reg * sizeof(struct segreg)), rm;
	int to = i->in.op[0].reg, host = tr_homed(to) ? S0 : tr_host(to);
	bool word = i->in.op[0].size == 2;
	struct emit *e = &t->e;

	if (i->in.op[0].kind == OPND_mem) {
		rm = tr_mem(t, i, 2, true, true);
		e_load32(e, t->free_reg, sel);
		e_op(e, 0x66, false, MAP_1, 0x89, t->free_reg, rm, false);
	} else if (tr_homed(to)) {
		e_load32(e, S0, sel);
		e_op(e, word ? 0x66 : 0, !word, MAP_1, 0x89, S0, tr_home(to), false);
	} else {
		e_op(e, word ? 0x66 : 0, false, MAP_1, 0x8b, host, sel, false);
	}
}

/* RDFSBASE, WRFSBASE and of GS. */
static void
segment_base(struct tr *t, struct tr_insn *i)
{
	enum { UNUSED_BITS = 16 };
	bool fs = i->in.id == INSN_rdfsbase || i->in.id == INSN_wrfsbase, wide = i->in.op[0].size == 8;
	struct rm base = fs ? REGISTER(fs_base) : REGISTER(gs_base);
	int reg = i->in.op[0].reg, host = tr_homed(reg) ? S0 : tr_host(reg);
	struct emit *e = &t->e;

	if (i->in.id == INSN_rdfsbase || i->in.id == INSN_rdgsbase) {
		e_op(e, 0, wide, MAP_1, 0x8b, host, base, false);
		if (tr_homed(reg))
			e_store(e, tr_home(reg), S0);
		return;
	}
	tr_flags_clobber(t, i);
	if (tr_homed(reg))
		e_load(e, S0, tr_home(reg));
	e_op(e, 0, wide, MAP_1, 0x8b, S1, rm_reg(host), false);
	if (wide) {		/* #GP when not canonical: C's */
		e_op(e, 0, true, MAP_1, 0xc1, SHL, rm_reg(S1), false);
		e8(e, UNUSED_BITS);
		e_op(e, 0, true, MAP_1, 0xc1, SAR, rm_reg(S1), false);
		e8(e, UNUSED_BITS);
		e_alu(e, true, ALU_cmp, S1, rm_reg(host));
		tr_cold(t, COLD_light, e_jcc(e, CC_ne, NULL));
	}
	e_store(e, base, S1);
}

static void
read_cr2(struct emit *e, int to)
{
	int host = tr_homed(to) ? S0 : tr_host(to);

	e_load(e, host, REGISTER(cr2));
	if (tr_homed(to))
		e_store(e, tr_home(to), S0);
}

/* STAC, CLAC: with SMAP what follows runs in another TLB view, so in another context. The page is
 * the same, so its mapping needs no check (see left() for the link). */
static void
access_flag(struct tr *t, struct tr_insn *i)
{
	bool set = i->in.id == INSN_stac;
	unsigned view = set || !(t->mode & BM_smap) ? TLB_super_ac : TLB_super;
	uint32_t mode = (t->mode & ~(uint32_t)BM_view) | view << BM_VIEW_SHIFT;
	struct bt_ctx *ctx = bt_ctx_for(t->bt, mode);
	struct emit *e = &t->e;

	if (ctx == NULL) {
		tr_interp(t, i);
		return;
	}
	e_op(e, 0, false, MAP_1, 0xc6, 0, rm_cpu(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, rflags) + 2), false);
	e8(e, set ? AC_BYTE : 0);
	if (mode != t->mode) {
		e_op(e, 0, false, MAP_1, 0xc6, 0, rm_cpu(NOREG, offsetof(struct cpu, tlb_view)), false);
		e8(e, view);
		e_op(e, 0, true, MAP_1, 0xc7, 0, rm_abs(bt_abs(&t->bt->now)), false);
		e32(e, (uint32_t)bt_abs(ctx));
		e_store(e, rm_abs(bt_abs(&t->bt->now->returns)), RSP);
		e_load(e, RSP, rm_abs(bt_abs(&ctx->returns)));
	}
	tr_exit(t, i, tr_next(t, i));
}

/* From the answers that C gave last, if the question is among them. */
static void
cpuid(struct tr *t, struct tr_insn *i)
{
	int32_t table = bt_abs(t->bt->answer), at = table + (int32_t)offsetof(struct bt_answer, eax);
	static const uint8_t to[] = { RAX, RBX, RCX, RDX };
	struct emit *e = &t->e;

	tr_flags_clobber(t, i);
	e_op(e, 0, false, MAP_1, 0x8b, S1, rm_reg(RAX), false);
	e_op(e, 0, false, MAP_1, 0x8b, S0, rm_reg(RCX), false);
	e_op(e, 0, true, MAP_1, 0xc1, SHL, rm_reg(S0), false);
	e8(e, HALF);
	e_alu(e, true, ALU_or, S0, rm_reg(S1));
	e_alu_imm(e, false, ALU_and, rm_reg(S1), BT_ANSWERS - 1);
	e_op(e, 0, false, MAP_1, 0xc1, SHL, rm_reg(S1), false);
	e8(e, BT_ANSWER_SHIFT);
	e_alu(e, true, ALU_cmp, S0, rm_at(S1, table));
	tr_cold(t, COLD_light, e_jcc(e, CC_ne, NULL));
	for (unsigned k = 0; k < sizeof(to); k++, at += (int32_t)sizeof(uint32_t))
		e_load32(e, to[k], rm_at(S1, at));
}

/* By a gate, or when that refuses by C. */
static void
cross(struct tr *t, struct tr_insn *i, enum bt_cross which)
{
	uint32_t id = tr_exit_light(t, i);

	t->bt->exits[id].cross = (unsigned)which & 15;
	if (t->fl == FL_native)
		tr_flags_save(t, S0);		/* SYSRET may be #UD */
	if (which == CROSS_syscall)
		e_mov_imm(&t->e, S0, tr_next(t, i));
	e_mov_imm(&t->e, S1, id);
	e_jmp(&t->e, t->bt->gate_cross[which] - t->e.to_rx);
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
		segment_selector(t, i);
		break;
	case TK_cr2:		/* what a page fault's handler begins with */
		read_cr2(&t->e, i->in.op[0].reg);
		break;
	case TK_cpuid:
		cpuid(t, i);
		break;
	case TK_base:
		segment_base(t, i);
		break;
	case TK_syscall:
		cross(t, i, CROSS_syscall);
		break;
	case TK_sysret:
		cross(t, i, CROSS_sysret);
		break;
	case TK_acflag:
		access_flag(t, i);
		break;
	default:
		rdtsc(t, i->in.id == INSN_rdtscp);
	}
}
