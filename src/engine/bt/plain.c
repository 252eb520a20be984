/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/plain.c - instructions that run as they are, with registers and memory renamed.
 *
 * The ModRM fields are rebuilt: guest rsp becomes GSP, guest r9-r11 are loaded from the register
 * file into scratch registers and stored back, a memory operand becomes what tr_mem() returned.
 */
#include "engine/bt/tr.h"

enum { MOD_REG_BITS = 0xc0, REX_R = 4, REX_B = 1, REX_W = 8, HIGH8_FIRST = 4 /* AH's number in ModRM */ };

static bool
in_list(unsigned op, const char *list, unsigned n)
{
	unsigned k;

	for (k = 0; k < n; k++)
		if ((uint8_t)list[k] == op)
			return true;
	return false;
}
#define IN(op, list) in_list(op, list, sizeof(list) - 1)

/* ModRM.reg is part of the opcode. */
static bool
is_group(const struct insn *in)
{
	unsigned op = in->opcode;

	if (in->map == MAP_1)
		return (op & 0xfc) == 0x80 || op == 0x8f || IN(op, "\xc0\xc1\xc6\xc7\xd0\xd1\xd2\xd3\xf6\xf7\xfe\xff") ||
			(op & 0xf8) == 0xd8;
	if (in->map == MAP_0f)
		return IN(op, "\x01\x0d\x71\x72\x73\xae\xba\xc7") || (op & 0xf8) == 0x18 || (op & 0xf0) == 0x90 || op == 0;
	return in->map == MAP_0f38 && op == 0xf3 && (in->prefixes & PFX_vex);
}

static bool
is_vector_op(const struct insn *in)
{
	unsigned k;

	for (k = 0; k < in->nopnds; k++)
		if (in->op[k].kind == OPND_mm || in->op[k].kind == OPND_xmm || in->op[k].kind == OPND_ymm ||
		    in->op[k].kind == OPND_st)
			return true;
	return false;
}

static struct tr_fields
fields_of(const struct insn *in)
{
	bool vector = is_vector_op(in), gpr_in_reg;
	struct tr_fields f = { .modrm = in->has_modrm };
	unsigned k;

	for (k = 0; k < in->nopnds; k++)
		f.high8 |= in->op[k].kind == OPND_reg && in->op[k].reg >= OPND_HIGH8;
	f.mem = in->has_modrm && (in->modrm & MOD_REG_BITS) != MOD_REG_BITS;
	f.reg = (int8_t)((in->modrm >> 3 & 7) | (in->rex & REX_R ? 8 : 0));
	f.rm = (int8_t)((in->has_modrm ? in->modrm & 7 : in->opcode & 7) | (in->rex & REX_B ? 8 : 0));
	if (!in->has_modrm) {	/* a register in the opcode: MOV r, imm; BSWAP; XCHG */
		f.rm_gpr = (in->map == MAP_1 && (in->opcode >> 4 == 0xb || (in->opcode & 0xf8) == 0x90)) ||
			(in->map == MAP_0f && (in->opcode & 0xf8) == 0xc8);
		return f;
	}
	if (!vector) {
		f.reg_gpr = !is_group(in);
		f.rm_gpr = !f.mem && !((in->opcode & 0xf8) == 0xd8 && in->map == MAP_1);
		f.v_gpr = (in->prefixes & PFX_vex) != 0;
		return f;
	}
	gpr_in_reg = in->map == MAP_0f && IN(in->opcode, "\x2c\x2d\x50\xd7\xc5");
	for (k = 0; k < in->nopnds; k++) {
		if (in->op[k].kind != OPND_reg)
			continue;
		if (gpr_in_reg)
			f.reg_gpr = true;
		else
			f.rm_gpr = !f.mem;
	}
	return f;
}

static uint32_t
homed_fields(const struct insn *in, const struct tr_fields *f)
{
	uint32_t set = 0;

	if (f->reg_gpr && tr_homed(f->reg))
		set |= 1u << f->reg;
	if (f->rm_gpr && tr_homed(f->rm))
		set |= 1u << f->rm;
	if (f->v_gpr && tr_homed(in->vvvv))
		set |= 1u << in->vvvv;
	return set;
}

/* A register operand of 64 bits (or one only read) can be used in place, in the register file. */
static bool
rm_in_place(const struct tr_insn *i, const struct tr_fields *f)
{
	const struct insn *in = &i->in;

	if (f->mem || !f->modrm || !f->rm_gpr || !tr_homed(f->rm) || (f->reg_gpr && f->reg == f->rm) ||
	    (in->prefixes & PFX_vex) || is_vector_op(in) || f->high8)
		return false;
	switch (in->id) {
	case INSN_bt: case INSN_bts: case INSN_btr: case INSN_btc: case INSN_xchg:
		return false;	/* mean something else in memory */
	case INSN_rol: case INSN_ror: case INSN_rcl: case INSN_rcr: case INSN_shl: case INSN_shr: case INSN_sar:
	case INSN_shld: case INSN_shrd:
		return false;	/* leave another undefined OF there */
	default:
		break;
	}
	return !(i->use.gpr_write >> f->rm & 1) || in->osize == 8;
}

/* Whether tr_plain can do it. */
bool
tr_plain_fits(const struct tr *t, struct tr_insn *i)
{
	const struct insn *in = &i->in;
	struct tr_fields f = i->f = fields_of(in);
	uint32_t homed = homed_fields(in, &f);
	unsigned k;

	(void)t;
	if ((in->prefixes & (PFX_rep | PFX_repne)) == (PFX_rep | PFX_repne) || in->nopnds > 4)
		return false;
	for (k = 0; k < in->nopnds; k++) {
		if (in->op[k].kind == OPND_mem && (in->op[k].size == 0 || in->op[k].size > 32 || !f.mem ||
		    (in->op[k].reg != 0 && (in->op[k].reg == OPND_xmm || in->op[k].reg == OPND_ymm))))
			return false;
		if (in->op[k].kind == OPND_seg || in->op[k].kind == OPND_cr || in->op[k].kind == OPND_dr)
			return false;
	}
	if (f.high8 && f.mem && in->id == INSN_cmpxchg)
		return false;	/* AL at the same time */
	if (f.high8 && in->op[0].size > 1 && (in->op[0].reg == RSP || in->rex != 0))
		return false;
	if (rm_in_place(i, &f))
		homed &= ~(1u << f.rm);
	homed &= homed - 1;	/* more than one; more than two */
	return homed == 0 || (!f.mem && (homed & (homed - 1)) == 0);
}

/* Write-only operands need no load before; of the others who knows. */
static bool
overwrites(const struct insn *in)
{
	return in->osize >= 4 && (in->id == INSN_mov || in->id == INSN_movzx || in->id == INSN_movsx ||
		in->id == INSN_movsxd || in->id == INSN_lea);
}

static void
encode(struct tr *t, const struct insn *in, const uint8_t *raw, const struct tr_fields *f, int reg, struct rm rm, int v)
{
	struct emit *e = &t->e;
	uint32_t prefixes = 0;
	bool byte_reg = false;
	unsigned k;

	if ((in->prefixes & PFX_vex) && !f->modrm) {	/* vzeroupper */
		for (k = 0; k < in->len; k++)
			e8(e, raw[k]);
		return;
	}
	if (in->prefixes & PFX_vex) {
		e_vex(e, raw[in->opcode_at - 1] & 3, (in->rex & REX_W) != 0, in->vex_l != 0, in->map, in->opcode, reg, v, rm);
	} else {
		for (k = 0; k < in->nopnds; k++)
			byte_reg |= in->op[k].kind == OPND_reg && in->op[k].size == 1 && in->op[k].reg < OPND_HIGH8 &&
				in->op[k].reg >= RSP;
		if (in->prefixes & PFX_opsize)
			prefixes = prefixes << 8 | 0x66;
		if (in->prefixes & PFX_repne)
			prefixes = prefixes << 8 | 0xf2;
		if (in->prefixes & PFX_rep)
			prefixes = prefixes << 8 | 0xf3;
		if (in->prefixes & PFX_lock)
			prefixes = prefixes << 8 | 0xf0;
		if (f->modrm) {
			e_op(e, prefixes, (in->rex & REX_W) != 0, in->map, in->opcode, reg, rm, byte_reg && !f->high8);
		} else {
			for (; prefixes != 0; prefixes >>= 8)
				e8(e, prefixes & 0xff);
			k = (in->rex & REX_W) | (f->rm_gpr && rm.reg >= R8 ? REX_B : 0u);
			if (k != 0 || byte_reg)
				e8(e, 0x40 | k);
			if (in->map == MAP_0f)
				e8(e, 0x0f);
			e8(e, f->rm_gpr ? (in->opcode & 0xf8u) | (unsigned)(rm.reg & 7) : in->opcode);
		}
	}
	if (in->imm_at != 0)
		for (k = 0; k < in->imm_size; k++)
			e8(e, raw[in->imm_at + k]);
}

/* The host register of guest register n: its own, or the scratch that holds it. */
struct homes { int guest[2], host[2]; unsigned n; };

static int
host_of(const struct homes *h, int guest)
{
	unsigned k;

	for (k = 0; k < h->n; k++)
		if (h->guest[k] == guest)
			return h->host[k];
	return tr_host(guest);
}

static void
homes_choose(struct homes *h, uint32_t set, int first, int second)
{
	int g;

	for (g = HOMED_FIRST; g <= HOMED_LAST; g++) {
		if (!(set >> g & 1))
			continue;
		h->guest[h->n] = g;
		h->host[h->n] = h->n == 0 ? first : second;
		h->n++;
	}
}

/* AH, CH, DH, BH beside a memory operand, whose registers need REX: the register's second byte is its
 * first meanwhile. */
static void
high8_turn(struct tr *t, const struct tr_fields *f, unsigned by)
{
	e_rorx64(&t->e, f->reg - HIGH8_FIRST, f->reg - HIGH8_FIRST, by);
}

bool
tr_turns(const struct tr_insn *i, int guest)
{
	return i->f.high8 && i->f.mem && i->f.reg - HIGH8_FIRST == guest;
}

void
tr_plain(struct tr *t, struct tr_insn *i)
{
	const struct insn *in = &i->in;
	const uint8_t *raw = i->raw;
	const struct tr_fields f = i->f;
	uint32_t homed = homed_fields(in, &f);
	struct homes h = { .n = 0 };
	bool write = false, turned = f.high8 && f.mem;
	unsigned k, size = 0;
	int reg = turned ? f.reg - HIGH8_FIRST : f.reg, v = in->vvvv;
	struct rm rm;

	if (f.mem) {
		for (k = 0; k < in->nopnds; k++) {
			if (in->op[k].kind == OPND_mem) {
				size = in->op[k].size;
				write |= (in->op[k].access & OPND_w) != 0;
			}
		}
		rm = tr_mem(t, i, size, write, tr_turns(i, in->base) || tr_turns(i, in->index));
		homes_choose(&h, homed, t->free_reg, NOREG);
		tr_flags_for(t, i, t->free_reg);
	} else if (rm_in_place(i, &f)) {
		tr_flags_for(t, i, S0);
		homes_choose(&h, homed & ~(1u << f.rm), S0, S1);
		rm = tr_home(f.rm);
	} else {
		tr_flags_for(t, i, S0);
		homes_choose(&h, homed, S0, S1);
		rm = rm_reg(f.rm_gpr && !f.high8 ? host_of(&h, f.rm) : f.rm);
	}
	if (f.reg_gpr && !(f.high8 && in->op[0].size == 1))
		reg = host_of(&h, f.reg);
	if (f.v_gpr)
		v = host_of(&h, v);
	for (k = 0; k < h.n; k++)
		if ((i->use.gpr_read >> h.guest[k] & 1) || !overwrites(in))
			e_load(&t->e, h.host[k], tr_home(h.guest[k]));
	if (turned)
		high8_turn(t, &f, 8);
	encode(t, in, raw, &f, reg, rm, v);
	if (turned)
		high8_turn(t, &f, 64 - 8);
	for (k = 0; k < h.n; k++)
		if (i->use.gpr_write >> h.guest[k] & 1)
			e_store(&t->e, tr_home(h.guest[k]), h.host[k]);
	if (write)
		tr_split_store(t, i);
}

void
tr_lea(struct tr *t, struct tr_insn *i)
{
	const struct insn *in = &i->in;
	int to = in->op[0].reg, dst = tr_homed(to) ? S0 : tr_host(to);
	struct insn address = *in;

	address.seg = SEG_ds;
	if (in->osize == 4)	/* the low half is the same whatever the address size is */
		address.asize = 4;
	tr_address(t, &address, tr_next(t, i), dst);
	if (tr_homed(to))
		e_store(&t->e, tr_home(to), dst);
}
