/* SPDX-License-Identifier: Apache-2.0 */
/* isa/decode.c - bytes to struct insn: prefixes, opcode maps, ModRM, operands. */
#include "isa/opcodes.h"
#include "cpu/regs.h"
#include <string.h>

enum { LEN_MAX = 15, READ_MAX = 32 /* bytes that may be looked at, whatever they are */ };

/* ---- operand forms ---- */

enum how {
	HOW_none, HOW_fixed, HOW_opcode, HOW_one, HOW_imm8, HOW_imm8s, HOW_imm16, HOW_immz, HOW_immv,
	HOW_imm2, HOW_rel8, HOW_relz, HOW_far, HOW_is4, HOW_moffs, HOW_rsi, HOW_rdi, HOW_rbx, HOW_rax,
	HOW_ds_rdi, HOW_vvvv, HOW_reg, HOW_rm, HOW_mem, HOW_vsib, HOW_rmreg, HOW_anyreg
};

/* Sizes that depend on operand size 2, 4, 8 or on VEX.L, as SDM vol. 2 appendix A names them. */
enum size {
	SZ_0, SZ_1, SZ_2, SZ_4, SZ_8, SZ_10, SZ_16, SZ_v, SZ_z, SZ_y, SZ_p, SZ_s, SZ_a, SZ_e, SZ_f,
	SZ_x, SZ_xh, SZ_xq, SZ_xe, SZ_dd, SZ__COUNT,
	SZ_n0 = 0, SZ_n1, SZ_n2, SZ_n3, SZ_n4, SZ_n5	/* numbers of fixed registers */
};
#define BY_OSIZE(a, b, c) { a, b, c, 0, a, b, c, 0 }
#define BY_LENGTH(a, b) { a, a, a, 0, b, b, b, 0 }
static const uint8_t sizes[SZ__COUNT][8] = {
	[SZ_0] = BY_LENGTH(0, 0), [SZ_1] = BY_LENGTH(1, 1), [SZ_2] = BY_LENGTH(2, 2),
	[SZ_4] = BY_LENGTH(4, 4), [SZ_8] = BY_LENGTH(8, 8), [SZ_10] = BY_LENGTH(10, 10),
	[SZ_16] = BY_LENGTH(16, 16),
	[SZ_v] = BY_OSIZE(2, 4, 8), [SZ_z] = BY_OSIZE(2, 4, 4), [SZ_y] = BY_OSIZE(4, 4, 8),
	[SZ_p] = BY_OSIZE(4, 6, 10), [SZ_s] = BY_OSIZE(6, 6, 10), [SZ_a] = BY_OSIZE(4, 8, 8),
	[SZ_e] = BY_OSIZE(14, 28, 28), [SZ_f] = BY_OSIZE(94, 108, 108),
	[SZ_x] = BY_LENGTH(16, 32), [SZ_xh] = BY_LENGTH(8, 16), [SZ_xq] = BY_LENGTH(4, 8),
	[SZ_xe] = BY_LENGTH(2, 4), [SZ_dd] = BY_LENGTH(8, 32),
};

static const struct form_info {
	uint8_t how, kind, mem, reg;
} forms[FORM__COUNT] = {
#define FORM(name, how_, kind_, mem_, reg_) \
	[name] = { HOW_##how_, OPND_##kind_, SZ_##mem_, SZ_##reg_ },
#define FORM_MODRM_BELOW
#include "isa/forms.def"
#undef FORM
#undef FORM_MODRM_BELOW
};

/* ---- prefixes ---- */

enum prefix_byte { NOT_PREFIX, P_seg /* + enum seg_id */, P_66 = P_seg + SEG_gs + 1, P_67, P_lock, P_f2,
	P_f3, P_rex };
static const uint8_t prefix_byte[256] = {
	[0x26] = P_seg + SEG_es, [0x2e] = P_seg + SEG_cs, [0x36] = P_seg + SEG_ss,
	[0x3e] = P_seg + SEG_ds, [0x64] = P_seg + SEG_fs, [0x65] = P_seg + SEG_gs,
	[0x66] = P_66, [0x67] = P_67, [0xf0] = P_lock, [0xf2] = P_f2, [0xf3] = P_f3,
	[0x40] = P_rex, [0x41] = P_rex, [0x42] = P_rex, [0x43] = P_rex,
	[0x44] = P_rex, [0x45] = P_rex, [0x46] = P_rex, [0x47] = P_rex,
	[0x48] = P_rex, [0x49] = P_rex, [0x4a] = P_rex, [0x4b] = P_rex,
	[0x4c] = P_rex, [0x4d] = P_rex, [0x4e] = P_rex, [0x4f] = P_rex,
};

enum { REX_W = 8, REX_R = 4, REX_X = 2, REX_B = 1 };
enum { PP_none, PP_66, PP_f3, PP_f2 };

/* Decoding in flight. */
struct decoder {
	const uint8_t *p;	/* READ_MAX bytes */
	unsigned pos;		/* of the next byte; may come to lie behind the last valid one */
	enum isa_mode mode;
	struct insn *in;
	uint8_t seg;		/* override, or SEG__COUNT */
	uint8_t pp;		/* mandatory prefix, or VEX.pp */
	uint8_t os;		/* operand size as index: 2 << os bytes */
	uint8_t reg, rm;	/* ModRM fields with REX */
	bool used_vvvv;
};

/* False: more than 15 bytes. */
static bool
take_prefixes(struct decoder *d)
{
	struct insn *in = d->in;

	for (;;) {
		uint8_t b = d->p[d->pos], kind = prefix_byte[b];

		if (kind == NOT_PREFIX || (kind == P_rex && d->mode != ISA_64))
			return true;
		/* REX counts only right before the opcode */
		in->rex = 0;
		in->prefixes &= (uint8_t)~PFX_rex;
		switch (kind) {
		case P_rex:
			in->rex = b & 0xf;
			in->prefixes |= PFX_rex;
			break;
		case P_66:
			in->prefixes |= PFX_opsize;
			if (d->pp == PP_none)
				d->pp = PP_66;
			break;
		case P_67:
			in->prefixes |= PFX_adsize;
			break;
		case P_lock:
			in->prefixes |= PFX_lock;
			break;
		case P_f2:
			in->prefixes |= PFX_repne;
			d->pp = PP_f2;
			break;
		case P_f3:
			in->prefixes |= PFX_rep;
			d->pp = PP_f3;
			break;
		default:
			in->prefixes |= PFX_seg;
			if (d->mode != ISA_64 || kind - P_seg >= SEG_fs)
				d->seg = (uint8_t)(kind - P_seg);
		}
		if (++d->pos >= LEN_MAX)
			return false;
	}
}

/* The bytes behind C4 or C5 into rex, vvvv, vex_l, pp. NULL: no such map. */
static const struct opdef *
take_vex(struct decoder *d, uint8_t first)
{
	static const struct opdef *const maps[4] = { NULL, isa_vex1, isa_vex2, isa_vex3 };
	struct insn *in = d->in;
	unsigned map = 1;
	uint8_t b = d->p[d->pos++];

	if (in->prefixes & (PFX_opsize | PFX_lock | PFX_rep | PFX_repne | PFX_rex))
		return NULL;
	in->prefixes |= PFX_vex;
	in->rex = b & 0x80 ? 0 : REX_R;
	if (first == 0xc4) {
		in->rex |= (uint8_t)((b & 0x40 ? 0 : REX_X) | (b & 0x20 ? 0 : REX_B));
		map = b & 0x1f;
		b = d->p[d->pos++];
		in->rex |= b & 0x80 ? REX_W : 0;
	}
	in->vvvv = ~b >> 3 & 0xf;
	in->vex_l = b >> 2 & 1;
	d->pp = b & 3;
	if (d->mode != ISA_64)
		in->rex &= REX_W;
	in->map = (uint8_t)map;
	return map > 3 ? NULL : maps[map];
}

/* The map for the opcode at hand; d->pos then points at the last opcode byte. */
static const struct opdef *
take_map(struct decoder *d)
{
	uint8_t b = d->p[d->pos];

	if (b == 0x0f) {
		b = d->p[++d->pos];
		d->in->map = b == 0x38 ? 2 : b == 0x3a ? 3 : 1;
		d->pos += d->in->map > 1;
		return b == 0x38 ? isa_map2 : b == 0x3a ? isa_map3 : isa_map1;
	}
	if ((b & 0xfe) == 0xc4 && (d->mode == ISA_64 || d->p[d->pos + 1] >= 0xc0)) {
		d->pos++;
		return take_vex(d, b);
	}
	return isa_map0;
}

static const struct opdef *
choose(struct decoder *d, const struct opdef *row)
{
	struct insn *in = d->in;
	uint8_t modrm = d->p[d->pos];

	while (row->id >= INSN__COUNT) {
		switch (row->id - INSN__COUNT) {
		case BY_reg:
			in->has_modrm = true;
			row = &row->sub[modrm >> 3 & 7];
			break;
		case BY_rm:
			in->has_modrm = true;
			row = &row->sub[modrm & 7];
			break;
		case BY_mod:
			in->has_modrm = true;
			row = &row->sub[modrm >= 0xc0];
			break;
		case BY_pfx:
			row = &row->sub[d->pp];
			break;
		case BY_mode:
			row = &row->sub[d->mode == ISA_64];
			break;
		case BY_w:
			row = &row->sub[in->rex >> 3];
			break;
		case BY_w64:
			row = &row->sub[in->rex >> 3 && d->mode == ISA_64];
			break;
		default:
			row = &row->sub[in->vex_l];
		}
	}
	return row;
}

/* ---- sizes ---- */

/* The one place where vendors differ in decoding. AMD (ours): a near branch with a 66 prefix in
 * 64-bit mode has 16-bit operand size, and REX.W does not widen a far pointer. Intel ignores the
 * 66 and knows m16:64. */
static uint8_t
vendor_osize(uint32_t flags, uint8_t prefixes, uint8_t os)
{
	if (flags & NEAR)
		return prefixes & PFX_opsize && os != 2 ? 0 : 2;
	return os == 2 ? 1 : os;
}

static uint8_t
operand_size(const struct decoder *d, uint32_t flags)
{
	uint8_t prefixes = d->in->prefixes, os;

	if (d->mode != ISA_64)
		return (d->mode == ISA_32) ^ !!(prefixes & PFX_opsize);
	os = d->in->rex & REX_W ? 2 : !(prefixes & PFX_opsize);
	if (flags & (D64 | F64 | NEAR | FARPTR)) {
		if (flags & F64)
			return 2;
		if (flags & D64)
			return os ? 2 : 0;
		return vendor_osize(flags, prefixes, os);
	}
	return os;
}

/* ---- ModRM ---- */

static int64_t
take_signed(struct decoder *d, unsigned size)
{
	const uint8_t *p = d->p + d->pos;
	int16_t w;
	int32_t l;
	int64_t q;

	d->pos += size;
	switch (size) {
	case 1:
		return (int8_t)*p;
	case 2:
		memcpy(&w, p, 2);
		return w;
	case 4:
		memcpy(&l, p, 4);
		return l;
	default:
		memcpy(&q, p, 8);
		return q;
	}
}

static void
take_disp(struct decoder *d, unsigned size)
{
	d->in->disp_at = (uint8_t)d->pos;
	d->in->disp_size = (uint8_t)size;
	d->in->disp = take_signed(d, size);
}

static void
take_address16(struct decoder *d, uint8_t modrm)
{
	static const uint8_t base[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
	static const uint8_t index[8] = { 6, 7, 6, 7, INSN_NOREG, INSN_NOREG, INSN_NOREG, INSN_NOREG };
	struct insn *in = d->in;
	unsigned mod = modrm >> 6, rm = modrm & 7;

	if (mod == 0 && rm == 6) {
		take_disp(d, 2);
	} else {
		in->base = base[rm];
		in->index = index[rm];
		if (mod != 0)
			take_disp(d, mod);
	}
	in->seg = in->base == 5 ? SEG_ss : SEG_ds;
}

static void
take_address(struct decoder *d, uint8_t modrm)
{
	struct insn *in = d->in;
	unsigned mod = modrm >> 6, rm = modrm & 7, rex = in->rex;

	if (rm == 4) {
		uint8_t sib = d->p[d->pos++];
		unsigned index = (sib >> 3 & 7) | (rex & REX_X) << 2;

		in->scale = sib >> 6;
		in->index = index == 4 ? INSN_NOREG : (uint8_t)index;
		rm = sib & 7;
	}
	in->base = (uint8_t)(rm | (rex & REX_B) << 3);
	if (mod == 0) {
		if (rm == 5) {
			/* no base; without SIB in 64-bit mode relative to RIP */
			in->base = d->mode == ISA_64 && (modrm & 7) == 5 ? INSN_RIP : INSN_NOREG;
			take_disp(d, 4);
		}
	} else {
		take_disp(d, mod == 1 ? 1 : 4);
	}
	in->seg = in->base == 4 || in->base == 5 ? SEG_ss : SEG_ds;
}

static void
take_modrm(struct decoder *d, uint32_t flags)
{
	struct insn *in = d->in;
	uint8_t modrm = d->p[d->pos];

	in->has_modrm = true;
	in->modrm = modrm;
	in->modrm_at = (uint8_t)d->pos++;
	d->reg = (uint8_t)((modrm >> 3 & 7) | (in->rex & REX_R) << 1);
	if (modrm >= 0xc0 || flags & ANYMOD) {
		d->rm = (uint8_t)((modrm & 7) | (in->rex & REX_B) << 3);
		return;
	}
	if (in->asize == 2)
		take_address16(d, modrm);
	else
		take_address(d, modrm);
	if (d->seg != SEG__COUNT)
		in->seg = d->seg;
}

/* ---- operands ---- */

static void
set_imm(struct decoder *d, unsigned size, bool sign)
{
	struct insn *in = d->in;

	in->imm_at = (uint8_t)d->pos;
	in->imm_size = (uint8_t)size;
	in->imm = (uint64_t)take_signed(d, size);
	if (!sign && size < 8)
		in->imm &= (1ull << 8 * size) - 1;
}

static void
set_far(struct decoder *d)
{
	set_imm(d, d->os ? 4 : 2, false);
	d->in->imm2 = (uint16_t)take_signed(d, 2);
	d->in->imm_size = (uint8_t)(d->in->imm_size + 2);
}

static void
set_moffs(struct decoder *d)
{
	struct insn *in = d->in;

	take_disp(d, in->asize);
	if (in->asize < 8)
		in->disp &= (int64_t)((1ull << 8 * in->asize) - 1);
	in->seg = d->seg != SEG__COUNT ? d->seg : SEG_ds;
}

/* Memory at [seg:base] that no ModRM byte tells of. */
static void
set_implicit(struct decoder *d, struct opnd *o, uint8_t base)
{
	d->in->base = base;
	d->in->seg = d->seg != SEG__COUNT ? d->seg : SEG_ds;
	o->kind = OPND_mem;
	o->reg = base;
}

static void
set_reg(const struct decoder *d, struct opnd *o, const struct form_info *f, unsigned n)
{
	o->kind = f->kind;
	if (f->kind == OPND_ymm)
		o->kind = (uint8_t)(OPND_xmm + d->in->vex_l);
	else if (f->kind == OPND_mm || f->kind == OPND_st || f->kind == OPND_seg)
		n &= 7;
	else if (o->size == 1 && n >= 4 && n < 8 && !(d->in->prefixes & (PFX_rex | PFX_vex)))
		n += OPND_HIGH8;
	o->reg = (uint8_t)n;
}

/* False: no such operand (#UD). */
static bool
set_operand(struct decoder *d, struct opnd *o, uint8_t form)
{
	const struct form_info *f = &forms[form];
	struct insn *in = d->in;
	unsigned ctx = d->os | (unsigned)in->vex_l << 2;

	o->kind = f->kind;
	o->size = sizes[f->mem][ctx];
	switch (f->how) {
	case HOW_rm:
		if (in->modrm >= 0xc0) {
			o->size = sizes[f->reg][ctx];
			set_reg(d, o, f, d->rm);
		} else {
			o->kind = OPND_mem;
		}
		return true;
	case HOW_reg:
		set_reg(d, o, f, d->reg);
		return true;
	case HOW_mem:
		o->kind = OPND_mem;
		return in->modrm < 0xc0;
	case HOW_vsib:
		o->kind = OPND_mem;
		o->reg = f->kind == OPND_ymm ? (uint8_t)(OPND_xmm + in->vex_l) : f->kind;
		if (in->modrm >= 0xc0 || (in->modrm & 7) != 4 || in->asize == 2)
			return false;
		if (in->index == INSN_NOREG)	/* 4 is a register like others here */
			in->index = 4;
		return true;
	case HOW_rmreg:
		set_reg(d, o, f, d->rm);
		return in->modrm >= 0xc0;
	case HOW_anyreg:
		set_reg(d, o, f, d->rm);
		return true;
	case HOW_fixed:
		o->reg = f->reg;
		return true;
	case HOW_opcode:
		set_reg(d, o, f, (in->opcode & 7u) | (in->rex & REX_B) << 3);
		return true;
	case HOW_vvvv:
		d->used_vvvv = true;
		set_reg(d, o, f, d->mode == ISA_64 ? in->vvvv : in->vvvv & 7);
		return true;
	case HOW_one:
		in->imm = 1;
		return true;
	case HOW_imm8:
		set_imm(d, 1, false);
		return true;
	case HOW_imm8s:
	case HOW_rel8:
		set_imm(d, 1, true);
		return true;
	case HOW_imm16:
		set_imm(d, 2, false);
		return true;
	case HOW_immz:
	case HOW_relz:
		set_imm(d, d->os ? 4 : 2, true);
		return true;
	case HOW_immv:
		set_imm(d, 2u << d->os, true);
		return true;
	case HOW_imm2:
		in->imm2 = d->p[d->pos++];
		in->imm_size++;
		return true;
	case HOW_far:
		set_far(d);
		return true;
	case HOW_is4:
		set_imm(d, 1, false);
		set_reg(d, o, f, (unsigned)in->imm >> 4 & (d->mode == ISA_64 ? 15 : 7));
		return true;
	case HOW_moffs:
		o->kind = OPND_mem;
		set_moffs(d);
		return true;
	case HOW_rsi:
		set_implicit(d, o, 6);
		return true;
	case HOW_rdi:
		o->kind = OPND_mem;
		o->reg = 7;
		if (in->base == INSN_NOREG) {
			in->base = 7;
			in->seg = SEG_es;
		}
		return true;
	case HOW_rbx:
		set_implicit(d, o, 3);
		return true;
	case HOW_rax:
		set_implicit(d, o, 0);
		return true;
	case HOW_ds_rdi:
		set_implicit(d, o, 7);
		return true;
	default:
		return false;
	}
}

/* ---- legality beyond the tables ---- */

static bool
vex_legal(const struct decoder *d, const struct opdef *row)
{
	const struct insn *in = d->in;
	uint32_t f = row->flags;

	if (f & (VW0 | VW1 | VL0 | VL1)) {
		if (f & (in->rex & REX_W ? VW0 : VW1))
			return false;
		if (f & (in->vex_l ? VL0 : VL1))
			return false;
	}
	if (!d->used_vvvv && in->vvvv != 0)
		return false;
	if (f & GATHER)
		return in->op[0].reg != in->op[2].reg && in->op[0].reg != in->index &&
			in->op[2].reg != in->index;
	return true;
}

/* Registers that do not exist, LOCK where it may not be. */
static bool
legal(const struct decoder *d)
{
	const struct insn *in = d->in;

	if (in->prefixes & PFX_lock &&
	    (!(insn_info[in->id].flags & IF_lockable) || in->op[0].kind != OPND_mem))
		return false;
	switch (in->id) {
	case INSN_mov_to_seg:
		return in->op[0].reg < 6 && in->op[0].reg != SEG_cs;
	case INSN_mov_from_seg:
		return in->op[1].reg < 6;
	case INSN_mov_to_cr:
	case INSN_mov_from_cr:
		return 0x11d >> d->reg & 1;
	case INSN_mov_to_dr:
	case INSN_mov_from_dr:
		return d->reg < 8;
	default:
		return true;
	}
}

/* 90 is XCHG rAX, rAX, which must not clear the upper half of RAX; F3 90 is PAUSE, even with REX.B. */
static void
nop_or_pause(struct insn *in, uint8_t pp)
{
	if (in->rex & REX_B && pp != PP_f3)
		return;
	in->id = pp == PP_f3 ? INSN_pause : INSN_nop;
	in->nopnds = 0;
	memset(in->op, 0, sizeof in->op);
}

static bool
decode_row(struct decoder *d, const struct opdef *row)
{
	struct insn *in = d->in;
	uint32_t f = row->flags;
	uint8_t access[4] = { f & 3, f >> 2 & 3, OPND_r, OPND_r };
	unsigned i;

	if (row->id == INSN_invalid || (f & (d->mode == ISA_64 ? N64 : O64)) ||
	    ((f & NOPFX) && d->pp != PP_none))
		return false;
	in->id = row->id;
	d->os = operand_size(d, f);
	in->osize = (uint8_t)(2 << d->os);
	if (in->has_modrm || (row->op[0] | row->op[1]) > FORM_MODRM)
		take_modrm(d, f);
	if (access[1] == 0)
		access[1] = OPND_r;
	if (f & (GATHER | W2))
		access[2] = f & GATHER ? OPND_rw : OPND_w;
	for (i = 0; i < 4 && row->op[i] != _; i++) {
		if (!set_operand(d, &in->op[i], row->op[i]))
			return false;
		in->op[i].access = access[i];
		if (f & NOACC && in->op[i].kind == OPND_mem)
			in->op[i].access = 0;
	}
	in->nopnds = (uint8_t)i;
	if (in->prefixes & PFX_vex && !vex_legal(d, row))
		return false;
	return legal(d);
}

/* All of it, on READ_MAX readable bytes. */
static bool
decode(struct decoder *d)
{
	struct insn *in = d->in;
	const struct opdef *map, *row;

	if (!take_prefixes(d)) {
		d->pos = LEN_MAX + 1;
		return false;
	}
	in->asize = (uint8_t)(2 << d->mode);
	if (in->prefixes & PFX_adsize)
		in->asize = d->mode == ISA_32 ? 2 : 4;
	map = take_map(d);
	in->pp = d->pp;
	in->opcode_at = (uint8_t)d->pos;
	if (map == NULL) {
		d->pos++;
		return false;
	}
	in->opcode = d->p[d->pos++];
	in->cc = in->opcode & 15;
	row = choose(d, &map[in->opcode]);
	if (!decode_row(d, row)) {
		d->pos += in->has_modrm && in->modrm_at == 0;
		return false;
	}
	if (in->opcode == 0x90 && in->map == 0)
		nop_or_pause(in, d->pp);
	return true;
}

int
insn_decode(const uint8_t *bytes, size_t avail, enum isa_mode mode, struct insn *in)
{
	uint8_t copy[READ_MAX];
	struct decoder d = { .p = bytes, .mode = mode, .in = in, .seg = SEG__COUNT };
	unsigned valid = LEN_MAX;
	bool ok;

	memset(in, 0, sizeof *in);
	in->base = in->index = INSN_NOREG;
	in->seg = SEG_ds;
	if (avail < READ_MAX) {
		memset(copy, 0, sizeof copy);
		memcpy(copy, bytes, avail);
		d.p = copy;
		valid = avail < LEN_MAX ? (unsigned)avail : LEN_MAX;
	}
	ok = decode(&d);
	if (d.pos > valid && avail < LEN_MAX)
		return 0;
	in->len = (uint8_t)d.pos;
	if (ok && d.pos <= LEN_MAX)
		return in->len;
	in->id = INSN_invalid;
	in->len = (uint8_t)(d.pos > LEN_MAX ? LEN_MAX + 1 : d.pos);
	return -1;
}
