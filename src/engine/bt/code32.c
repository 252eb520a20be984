/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/code32.c - 32-bit code: protected mode and compatibility mode with flat segments.
 *
 * Guest registers are the low halves of the host's; their upper halves are 0, which mode.c makes
 * sure of before such code is entered and every 32-bit write keeps. Addresses are worked out with
 * 32 bits and used from a register; through the stack pointer with 64, where what does not stay
 * below 4 GiB matches no TLB entry and is the interpreter's. Linear addresses are offsets: CS, DS,
 * ES and SS have base 0 and no limit in this mode, FS and GS have a base and are looked at when used.
 */
#include "engine/bt/tr.h"

enum { WORD = 4, PUSHA_SIZE = 8 * WORD, ESP_PLACE = 3 /* of POPA's words */, MODRM_DISP32 = 5, MODRM_REG = 0xc0,
	GROUP_INC = 0xff, OPCODE_INC = 0x40, OPCODE_MOFFS = 0xa0, OPCODE_GROUP1 = 0x80, REX_W = 8, VEX_REGS = 7,
	HIGH_REG = 0x80 /* of a register number in an immediate: means nothing here */ };
static const uint64_t LIMIT_FLAT = 0xffffffff;

/* ---- what mode.c asks ---- */

static bool
flat_data(const struct segreg *s)
{
	const uint64_t want = ATTR_s | ATTR_p | ATTR_write;

	return s->limit == LIMIT_FLAT && (s->attr & (want | ATTR_code | ATTR_down | ATTR_unusable)) == want;
}

/* Whether 32-bit code may run here: what the head of this file says. */
bool
bt_code32_fits(const struct cpu *c)
{
	const struct segreg *cs = &c->r.seg[SEG_cs];
	uint64_t upper = 0;
	unsigned k;

	if (c->mode != MODE_prot32 || cs->base != 0 || cs->limit != LIMIT_FLAT || !(c->r.ss_attr & ATTR_db))
		return false;
	for (k = SEG_es; k <= SEG_ds; k++)
		if (k != SEG_cs && (c->r.seg[k].base != 0 || !flat_data(&c->r.seg[k])))
			return false;
	for (k = 0; k < 8; k++)
		upper |= c->r.gpr[k];
	return upper >> 32 == 0;
}

/* Before 32-bit code is entered. An entry for the stack that 64-bit code left above 4 GiB would
 * match an address that must wrap. */
void
bt_code32_enter(struct bt_state *bt)
{
	struct cpu *c = bt->c;
	struct tlb_entry *stack = &c->tlb[c->tlb_view].stack;

	if ((stack->tag + PAGE_SIZE - 1) >> 32 != 0)
		stack->tag = TLB_EMPTY;
	bt->flat_fs = flat_data(&c->r.seg[SEG_fs]);
	bt->flat_gs = flat_data(&c->r.seg[SEG_gs]);
}

/* ---- decoded instructions, as 64-bit mode can encode them ---- */

/* One operand is, or stands for, a general register. */
static bool
has_gpr(const struct insn *in)
{
	unsigned k;

	switch (in->id) {
	case INSN_vmovd: case INSN_vcvtsi2ss: case INSN_vcvtsi2sd: case INSN_vpextrd: case INSN_vpinsrd:
	case INSN_vpcmpestri: case INSN_vpcmpestrm:
		return true;
	default:
		break;
	}
	for (k = 0; k < in->nopnds; k++)
		if (in->op[k].kind == OPND_reg)
			return true;
	return false;
}

/* VEX.B, the high bit of VEX.vvvv, and VEX.W of general registers mean nothing here. */
static void
normalise_vex(struct insn *in)
{
	in->rex = has_gpr(in) ? 0 : in->rex & REX_W;
	in->vvvv &= VEX_REGS;
}

/* INC and DEC of a register in one byte, MOV with an address and no ModRM, group 1 by opcode 82. */
void
tr32_normalise(struct insn *in)
{
	if (in->prefixes & PFX_vex)
		normalise_vex(in);
	if (in->map != MAP_1)
		return;
	if ((in->id == INSN_inc || in->id == INSN_dec) && (in->opcode & 0xf0) == OPCODE_INC) {
		in->modrm = (uint8_t)(MODRM_REG | (in->opcode & 0xf));	/* /0 is INC, /1 DEC */
		in->opcode = GROUP_INC;
		in->has_modrm = true;
	} else if (in->id == INSN_mov && (in->opcode & 0xfc) == OPCODE_MOFFS) {
		in->modrm = MODRM_DISP32;
		in->opcode = (uint8_t)((in->opcode & 2 ? 0x88 : 0x8a) | (in->opcode & 1));
		in->has_modrm = true;
	} else if (in->opcode == OPCODE_GROUP1 + 2) {
		in->opcode = OPCODE_GROUP1;
	}
}

/* ---- classification ---- */

static bool
string_fits(const struct tr *t, const struct insn *in)
{
	return (in->prefixes & (PFX_rep | PFX_repne)) == PFX_rep && !(t->mode & BM_counted) &&
		(in->id == INSN_stos || in->seg == SEG_ds || in->seg == SEG_es || in->seg == SEG_ss);
}

static unsigned
kind_of_flow(const struct insn *in)
{
	unsigned op = in->op[0].kind;

	if (in->osize != WORD || (in->prefixes & PFX_adsize))
		return TK_interp;
	switch (in->id) {
	case INSN_pop:
		return op == OPND_reg ? TK_code32 : TK_interp;
	case INSN_push: case INSN_leave: case INSN_pusha: case INSN_popa: case INSN_push_seg:
		return TK_code32;
	case INSN_pushf:
		return TK_pushf;
	default:
		return tr_kind_of_branch(in);
	}
}

/* Whether 32-bit code has its own say in how i is translated: *kind. */
bool
tr32_kind(const struct tr *t, const struct tr_insn *i, unsigned *kind)
{
	const struct insn *in = &i->in;
	bool mem = false;
	unsigned k;

	*kind = TK_interp;
	for (k = 0; k < in->nopnds; k++)
		mem |= in->op[k].kind == OPND_mem;
	if (mem && (in->asize != WORD || in->seg == SEG_cs))
		return true;
	if (insn_info[in->id].flags & (IF_branch | IF_stack)) {
		*kind = kind_of_flow(in);
		return true;
	}
	switch (in->id) {
	case INSN_vzeroupper: case INSN_vzeroall:	/* of eight registers only */
		return true;
	case INSN_vblendvps: case INSN_vblendvpd: case INSN_vpblendvb:
		return (in->imm & HIGH_REG) != 0;
	case INSN_movs: case INSN_stos:
		if (tr_string_one_fits(t, in))
			return false;
		*kind = in->asize == WORD && string_fits(t, in) ? TK_string : TK_interp;
		return true;
	case INSN_lea:
		*kind = in->asize == WORD && in->osize == WORD ? TK_lea : TK_interp;
		return true;
	case INSN_bt: case INSN_bts: case INSN_btr: case INSN_btc:
		if (!mem || in->op[1].kind == OPND_imm)
			return false;
		*kind = in->osize == WORD && in->seg != SEG_fs && in->seg != SEG_gs ? TK_bits : TK_interp;
		return true;
	default:
		return false;
	}
}

/* ---- writing ---- */

static void
load(struct emit *e, int to, struct rm from)
{
	e_op(e, 0, false, MAP_1, 0x8b, to, from, false);
}

static void
store(struct emit *e, struct rm to, int from)
{
	e_op(e, 0, false, MAP_1, 0x89, from, to, false);
}

static void
store_imm(struct emit *e, struct rm to, uint64_t val)
{
	e_op(e, 0, false, MAP_1, 0xc7, 0, to, false);
	e32(e, (uint32_t)val);
}

static void
move_esp(struct tr *t, int32_t by)
{
	e_lea(&t->e, false, GSP, rm_at(GSP, by));
}

/* S0 = the linear address of an operand through FS or GS: of the whole address space, or it is the
 * interpreter's; so is an offset that would wrap, which the base hides from what comes. */
void
tr32_address(struct tr *t, struct tr_insn *i, unsigned size)
{
	bool fs = i->in.seg == SEG_fs;
	const bool *flat = fs ? &t->bt->flat_fs : &t->bt->flat_gs;
	struct insn offset = i->in;
	struct emit *e = &t->e;

	e_op(e, 0, false, MAP_1, 0x80, ALU_cmp, rm_abs(bt_abs(flat)), false);
	e8(e, 0);
	tr_cold(t, COLD_light, e_jcc(e, CC_e, NULL));
	offset.seg = SEG_ds;
	tr_address(t, &offset, tr_next(t, i), S0);
	e_alu_imm(e, false, ALU_cmp, rm_reg(S0), -(int32_t)size);
	tr_cold(t, COLD_light, e_jcc(e, CC_a, NULL));
	e_alu(e, false, ALU_add, S0, rm_cpu(NOREG, offsetof(struct cpu, r) +
		(fs ? offsetof(union regfile, fs_base) : offsetof(union regfile, gs_base))));
}

static void
push(struct tr *t, struct tr_insn *i)
{
	const struct opnd *op = &i->in.op[0];
	struct rm hold = rm_abs(bt_abs(&t->bt->hold)), to;
	struct emit *e = &t->e;

	if (op->kind == OPND_mem) {
		load(e, S0, tr_mem(t, i, WORD, false, false));
		store(e, hold, S0);
	}
	to = tr_stack(t, i, GSP, -WORD, WORD);
	if (op->kind == OPND_imm) {
		store_imm(e, to, i->in.imm);
	} else if (op->kind == OPND_mem) {
		load(e, S0, hold);
		store(e, to, S0);
	} else {
		store(e, to, tr_host(op->reg));
	}
	move_esp(t, -WORD);
}

/* Only the selector is written, to a place of a whole word. */
static void
push_seg(struct tr *t, struct tr_insn *i)
{
	struct rm to = tr_stack(t, i, GSP, -WORD, WORD);

	load(&t->e, S0, rm_cpu(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, seg) +
		i->in.op[0].reg * sizeof(struct segreg)));
	e_op(&t->e, 0x66, false, MAP_1, 0x89, S0, to, false);
	move_esp(t, -WORD);
}

static void
pop(struct tr *t, struct tr_insn *i)
{
	int to = tr_host(i->in.op[0].reg);

	load(&t->e, to, tr_stack(t, i, GSP, 0, WORD));
	if (to != GSP)
		move_esp(t, WORD);
}

static void
leave(struct tr *t, struct tr_insn *i)
{
	struct rm rm = tr_stack(t, i, RBP, 0, WORD);

	e_lea(&t->e, false, GSP, rm_at(RBP, WORD));
	load(&t->e, RBP, rm);
}

/* EDI is the lowest word, EAX the highest. */
static void
push_all(struct tr *t, struct tr_insn *i, bool pops)
{
	struct rm rm = tr_stack(t, i, GSP, pops ? 0 : -PUSHA_SIZE, PUSHA_SIZE);
	int k, reg;

	for (k = 0; k < 8; k++, rm.disp += WORD) {
		reg = tr_host(RDI - k);
		if (!pops)
			store(&t->e, rm, reg);
		else if (k != ESP_PLACE)
			load(&t->e, reg, rm);
	}
	move_esp(t, pops ? PUSHA_SIZE : -PUSHA_SIZE);
}

void
tr32(struct tr *t, struct tr_insn *i)
{
	switch (i->in.id) {
	case INSN_push:
		push(t, i);
		break;
	case INSN_push_seg:
		push_seg(t, i);
		break;
	case INSN_pop:
		pop(t, i);
		break;
	case INSN_leave:
		leave(t, i);
		break;
	default:
		push_all(t, i, i->in.id == INSN_popa);
	}
}

/* ---- calls, returns, indirect jumps ---- */

static void
push_return(struct tr *t, struct tr_insn *i)
{
	store_imm(&t->e, tr_stack(t, i, GSP, -WORD, WORD), tr_next(t, i));
	move_esp(t, -WORD);
}

static void
load_target(struct tr *t, struct tr_insn *i)
{
	const struct opnd *op = &i->in.op[0];

	load(&t->e, S0, op->kind == OPND_mem ? tr_mem(t, i, WORD, false, false) : rm_reg(tr_host(op->reg)));
}

static void
call_reg(struct tr *t, struct tr_insn *i)
{
	struct rm hold = rm_abs(bt_abs(&t->bt->hold));

	load_target(t, i);
	store(&t->e, hold, S0);
	push_return(t, i);
	load(&t->e, S0, hold);
	tr_indirect(t);
}

static void
ret(struct tr *t, struct tr_insn *i)
{
	int32_t more = i->in.nopnds > 0 && i->in.op[0].kind == OPND_imm ? (int32_t)(i->in.imm & 0xffff) : 0;

	load(&t->e, S0, tr_stack(t, i, GSP, 0, WORD));
	move_esp(t, WORD + more);
	tr_indirect(t);
}

/* Branches that differ from those of 64-bit mode; false: i is none. */
bool
tr32_branch(struct tr *t, struct tr_insn *i)
{
	switch (i->kind) {
	case TK_call:
		push_return(t, i);
		tr_exit(t, i, tr_target(t, i));
		return true;
	case TK_jmp_reg:
		tr_flags_clobber(t, i);
		load_target(t, i);
		tr_indirect(t);
		return true;
	case TK_call_reg:
		tr_flags_clobber(t, i);
		call_reg(t, i);
		return true;
	case TK_ret:
		ret(t, i);
		return true;
	default:
		return false;
	}
}
