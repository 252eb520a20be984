/* SPDX-License-Identifier: Apache-2.0 */
/* isa/decode.c - bytes to struct insn: prefixes, opcode maps, ModRM, operands. */
#include "isa/opcodes.h"
#include "cpu/regs.h"
#include <string.h>

enum { LEN_MAX = 15, READ_MAX = 32 /* bytes that may be looked at, whatever they are */ };

/* ---- operand forms ---- */

enum how {
	/* in a register whose number is at hand, or in memory */
	HOW_reg, HOW_rm, HOW_opcode, HOW_vvvv, HOW_fixed, HOW_rmreg, HOW_mem, HOW_anyreg,
	/* in the bytes behind ModRM */
	HOW_imm8, HOW_imm8s, HOW_imm16, HOW_immz, HOW_immv, HOW_rel8, HOW_relz,
	/* the rare rest */
	HOW_one, HOW_imm2, HOW_far, HOW_is4, HOW_moffs, HOW_rsi, HOW_rdi, HOW_rbx, HOW_rax,
	HOW_ds_rdi, HOW_vsib
};

/* Sizes as SDM vol. 2 appendix A names them, by operand size 2 << os and VEX.L. */
#define SIZE_0(os, l)	0
#define SIZE_1(os, l)	1
#define SIZE_2(os, l)	2
#define SIZE_4(os, l)	4
#define SIZE_8(os, l)	8
#define SIZE_10(os, l)	10
#define SIZE_16(os, l)	16
#define SIZE_v(os, l)	(2 << (os))
#define SIZE_z(os, l)	((os) ? 4 : 2)
#define SIZE_y(os, l)	((os) == 2 ? 8 : 4)
#define SIZE_p(os, l)	(2 + (2 << (os)))
#define SIZE_s(os, l)	((os) == 2 ? 10 : 6)
#define SIZE_a(os, l)	(4 << (os))
#define SIZE_e(os, l)	((os) ? 28 : 14)
#define SIZE_f(os, l)	((os) ? 108 : 94)
#define SIZE_x(os, l)	(16 << (l))
#define SIZE_xh(os, l)	(8 << (l))
#define SIZE_xq(os, l)	(4 << (l))
#define SIZE_xe(os, l)	(2 << (l))
#define SIZE_dd(os, l)	((l) ? 32 : 8)

/* An operand before its register number and access are known, in the bytes of struct opnd. */
#define TEMPLATE(kind, reg, size) (uint32_t)((kind) | (reg) << 8 | (size) << 16)
#define KIND(kind, l)	(OPND_##kind == OPND_ymm ? OPND_xmm + (l) : OPND_##kind)

static const struct form_info {
	uint8_t how;		/* enum how */
	uint8_t number_mask;	/* bits of the register number that count */
	bool byte;		/* 4..7 without REX are AH..BH */
	uint8_t modes;		/* ModRM may say: 1 register, 2 memory */
} forms[FORM__COUNT] = {
#define MASK(kind)	(OPND_##kind == OPND_mm || OPND_##kind == OPND_st || OPND_##kind == OPND_seg ? 7 : 15)
#define MODES(how)	(HOW_##how == HOW_mem ? 2 : HOW_##how == HOW_rmreg ? 1 : 3)
#define FIXED(name, kind, size, n) [name] = { HOW_fixed, 15, false, 3 },
#define FORM(name, how, kind, mem, reg) [name] = { HOW_##how, MASK(kind), SIZE_##reg(0, 0) == 1, MODES(how) },
#define FORM_MODRM_BELOW
#include "isa/forms.def"
#undef FIXED
#undef FORM
};

/* Templates of each form: in a register, in memory; by VEX.L, by operand size (enum context). */
enum context { CTX_l = 4, CTX_mem = 8 };
static const uint32_t templates[FORM__COUNT][16] = {
#define SIZES(kind, n, size, l) \
	TEMPLATE(kind, n, size(0, l)), TEMPLATE(kind, n, size(1, l)), TEMPLATE(kind, n, size(2, l)), 0
#define ROW(name, kind, n, m, r) [name] = { \
	SIZES(KIND(kind, 0), n, SIZE_##r, 0), SIZES(KIND(kind, 1), n, SIZE_##r, 1), \
	SIZES(OPND_mem, 0, SIZE_##m, 0), SIZES(OPND_mem, 0, SIZE_##m, 1) },
#define FIXED(name, kind, size, n) ROW(name, kind, n, size, size)
#define FORM(name, how, kind, mem, reg) ROW(name, kind, 0, mem, reg)
#include "isa/forms.def"
#undef FIXED
#undef FORM
#undef FORM_MODRM_BELOW
};

/* ---- prefixes ---- */

enum prefix_byte { NOT_PREFIX, P_seg /* + enum seg_id */, P_66 = P_seg + SEG_gs + 1, P_67, P_lock, P_f2,
	P_f3 };
static const uint8_t prefix_byte[256] = {
	[0x26] = P_seg + SEG_es, [0x2e] = P_seg + SEG_cs, [0x36] = P_seg + SEG_ss,
	[0x3e] = P_seg + SEG_ds, [0x64] = P_seg + SEG_fs, [0x65] = P_seg + SEG_gs,
	[0x66] = P_66, [0x67] = P_67, [0xf0] = P_lock, [0xf2] = P_f2, [0xf3] = P_f3,
};

enum { REX_W = 8, REX_R = 4, REX_X = 2, REX_B = 1 };
enum { PP_none, PP_66, PP_f3, PP_f2 };
enum { NO_SEG = SEG__COUNT };

/* Decoding in flight. It is a local of decode() and all below is inlined there, so that most of
 * it lives in registers; struct insn is only written. */
struct decoder {
	const uint8_t *p;	/* READ_MAX bytes */
	struct insn *in;
	enum isa_mode mode;
	unsigned pos;		/* of the next byte; may come to lie behind the last valid one */
	unsigned prefixes;	/* enum insn_prefix */
	unsigned rex;		/* W R X B */
	unsigned seg;		/* override, or NO_SEG */
	unsigned pp;		/* mandatory prefix, or VEX.pp */
	unsigned map, opcode;
	unsigned os;		/* operand size as index: 2 << os bytes */
	unsigned ctx;		/* os and CTX_l */
	unsigned asize;
	unsigned vex_l, vvvv;
	unsigned modrm;
	bool has_modrm;
	unsigned is_mem;	/* ModRM says memory: 1 */
	uint8_t number[8];	/* of the register, by enum how up to HOW_anyreg */
};
#define HOT static inline __attribute__((always_inline))
/* A rare function works on a copy, so that the address of the decoder never escapes. */
#define COLD static __attribute__((noinline))

#define COPIED(d, call) do { struct decoder copy = *(d); call; *(d) = copy; } while (0)

COLD void
take_prefix(struct decoder *d, unsigned kind)
{
	switch (kind) {
	case P_66:
		d->prefixes |= PFX_opsize;
		if (d->pp == PP_none)
			d->pp = PP_66;
		break;
	case P_67:
		d->prefixes |= PFX_adsize;
		break;
	case P_lock:
		d->prefixes |= PFX_lock;
		break;
	case P_f2:
		d->prefixes |= PFX_repne;
		d->pp = PP_f2;
		break;
	case P_f3:
		d->prefixes |= PFX_rep;
		d->pp = PP_f3;
		break;
	default:
		d->prefixes |= PFX_seg;
		if (d->mode != ISA_64 || kind - P_seg >= SEG_fs)
			d->seg = kind - P_seg;
	}
}

/* False: more than 15 bytes. */
HOT bool
take_prefixes(struct decoder *d)
{
	for (;;) {
		unsigned b = d->p[d->pos], kind;
		unsigned rex = (b >> 4 == 4) & (d->mode == ISA_64);

		d->pos += rex;
		d->rex = b & 0xf & (0 - rex);	/* counts only right before the opcode */
		d->prefixes = (d->prefixes & ~(unsigned)PFX_rex) | rex * PFX_rex;
		if (d->pos >= LEN_MAX)
			return false;
		b = d->p[d->pos];
		kind = prefix_byte[b];
		if (__builtin_expect(kind == NOT_PREFIX, true)) {
			if (__builtin_expect(!(rex & (b >> 4 == 4)), true))
				return true;
			continue;
		}
		COPIED(d, take_prefix(&copy, kind));
		if (++d->pos >= LEN_MAX)
			return false;
	}
}

/* The bytes behind C4 or C5 into rex, vvvv, vex_l, pp. NULL: no such map. */
COLD const struct opdef *
take_vex(struct decoder *d, unsigned first)
{
	static const struct opdef *const maps[4] = { NULL, isa_vex1, isa_vex2, isa_vex3 };
	unsigned b = d->p[d->pos++];

	d->map = 1;
	if (d->prefixes & (PFX_opsize | PFX_lock | PFX_rep | PFX_repne | PFX_rex))
		return NULL;
	d->prefixes |= PFX_vex;
	d->rex = b & 0x80 ? 0 : REX_R;
	if (first == 0xc4) {
		d->rex |= (b & 0x40 ? 0 : REX_X) | (b & 0x20 ? 0 : REX_B);
		d->map = b & 0x1f;
		b = d->p[d->pos++];
		d->rex |= b & 0x80 ? REX_W : 0;
	}
	d->vvvv = ~b >> 3 & 0xf;
	d->vex_l = b >> 2 & 1;
	d->pp = b & 3;
	if (d->mode != ISA_64)
		d->rex &= REX_W;
	return d->map > 3 ? NULL : maps[d->map];
}

/* The map for the opcode at hand; d->pos then points at the last opcode byte. */
HOT const struct opdef *
take_map(struct decoder *d)
{
	const struct opdef *map;
	unsigned b = d->p[d->pos];

	if (b == 0x0f) {
		b = d->p[++d->pos];
		d->map = 1;
		if (__builtin_expect((b & 0xfd) == 0x38, false)) {
			d->pos++;
			d->map = b == 0x38 ? 2 : 3;
			return b == 0x38 ? isa_map2 : isa_map3;
		}
		return isa_map1;
	}
	if (__builtin_expect((b & 0xfe) == 0xc4, false) &&
	    (d->mode == ISA_64 || d->p[d->pos + 1] >= 0xc0)) {
		d->pos++;
		COPIED(d, map = take_vex(&copy, b));
		return map;
	}
	return isa_map0;
}

HOT const struct opdef *
choose(struct decoder *d, const struct opdef *row)
{
	unsigned modrm = d->p[d->pos];

	while (row->id >= INSN__COUNT) {
		switch (row->id - INSN__COUNT) {
		case BY_reg:
			d->has_modrm = true;
			row = &row->sub[modrm >> 3 & 7];
			break;
		case BY_rm:
			d->has_modrm = true;
			row = &row->sub[modrm & 7];
			break;
		case BY_mod:
			d->has_modrm = true;
			row = &row->sub[modrm >= 0xc0];
			break;
		case BY_pfx:
			row = &row->sub[d->pp];
			break;
		case BY_mode:
			row = &row->sub[d->mode == ISA_64];
			break;
		case BY_w:
			row = &row->sub[d->rex >> 3];
			break;
		case BY_w64:
			row = &row->sub[d->rex >> 3 && d->mode == ISA_64];
			break;
		default:
			row = &row->sub[d->vex_l];
		}
	}
	return row;
}

/* ---- sizes ---- */

/* Operand size (2 << n bytes) by rule, REX.W and 66. This is the one place where vendors differ in
 * decoding. AMD (ours): a near branch with a 66 prefix in 64-bit mode has 16-bit operand size, and
 * REX.W does not widen a far pointer. Intel ignores the 66 there and knows m16:64. */
static const uint8_t osize64[1 + (OSIZE_RULES >> OSIZE_SHIFT)][2][2] = {
	[0] = { { 1, 0 }, { 2, 2 } },
	[D64 >> OSIZE_SHIFT] = { { 2, 0 }, { 2, 2 } },
	[F64 >> OSIZE_SHIFT] = { { 2, 2 }, { 2, 2 } },
	[NEAR >> OSIZE_SHIFT] = { { 2, 0 }, { 2, 2 } },
	[FARPTR >> OSIZE_SHIFT] = { { 1, 0 }, { 1, 1 } },
};

HOT unsigned
operand_size(const struct decoder *d, uint32_t flags)
{
	unsigned small = (d->prefixes & PFX_opsize) / PFX_opsize;

	if (d->mode != ISA_64)
		return (d->mode == ISA_32) ^ small;
	return osize64[(flags & OSIZE_RULES) >> OSIZE_SHIFT][d->rex / REX_W][small];
}

/* ---- ModRM ---- */

/* 0, 1, 2 or 4 bytes. */
HOT void
take_disp(struct decoder *d, unsigned size)
{
	unsigned shift = 32 - 8 * size;
	uint32_t v;

	memcpy(&v, d->p + d->pos, 4);
	d->in->disp = (int64_t)(int32_t)(uint32_t)((uint64_t)v << shift) >> shift;
	d->in->disp_at = (uint8_t)(size ? d->pos : 0);
	d->in->disp_size = (uint8_t)size;
	d->pos += size;
}

COLD void
take_address16(struct decoder *d)
{
	static const uint8_t base[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
	static const uint8_t index[8] = { 6, 7, 6, 7, INSN_NOREG, INSN_NOREG, INSN_NOREG, INSN_NOREG };
	struct insn *in = d->in;
	unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

	if (mod == 0 && rm == 6) {
		take_disp(d, 2);
		return;
	}
	in->base = base[rm];
	in->index = index[rm];
	take_disp(d, mod);
	if (in->base == 5)
		in->seg = SEG_ss;
}

HOT void
take_address(struct decoder *d)
{
	static const uint8_t disp_size[4] = { 0, 1, 4, 0 };
	struct insn *in = d->in;
	unsigned mod = d->modrm >> 6, rm = d->modrm & 7, base, size = disp_size[mod];

	if (rm == 4) {
		unsigned sib = d->p[d->pos++];
		unsigned index = (sib >> 3 & 7) | (d->rex & REX_X) << 2;

		in->scale = (uint8_t)(sib >> 6);
		in->index = index == 4 ? INSN_NOREG : (uint8_t)index;
		rm = sib & 7;
	}
	base = rm | (d->rex & REX_B) << 3;
	if (rm == 5 && mod == 0) {
		/* no base; without SIB in 64-bit mode relative to RIP */
		base = d->mode == ISA_64 && (d->modrm & 7) == 5 ? INSN_RIP : INSN_NOREG;
		size = 4;
	}
	in->base = (uint8_t)base;
	in->seg = (base & ~1u) == 4 ? SEG_ss : SEG_ds;
	take_disp(d, size);
}

HOT void
take_modrm(struct decoder *d, uint32_t flags)
{
	unsigned modrm = d->p[d->pos];
	d->modrm = modrm;
	d->in->has_modrm = true;
	d->in->modrm = (uint8_t)modrm;
	d->in->modrm_at = (uint8_t)d->pos++;
	d->number[HOW_reg] = (uint8_t)((modrm >> 3 & 7) | (d->rex & REX_R) << 1);
	d->is_mem = modrm < 0xc0 && !(flags & ANYMOD);
	if (!d->is_mem) {
		d->number[HOW_rm] = (uint8_t)((modrm & 7) | (d->rex & REX_B) << 3);
		d->number[HOW_rmreg] = d->number[HOW_anyreg] = d->number[HOW_rm];
		return;
	}
	if (__builtin_expect(d->asize == 2, false))
		COPIED(d, take_address16(&copy));
	else
		take_address(d);
	if (__builtin_expect(d->seg != NO_SEG, false))
		d->in->seg = (uint8_t)d->seg;
}

/* ---- operands ---- */

HOT void
put_operand(struct opnd *o, uint32_t template, unsigned reg, unsigned access)
{
	uint32_t v = template | reg << 8 | access << 24;

	static_assert(sizeof *o == 4 && offsetof(struct opnd, kind) == 0 && offsetof(struct opnd, reg) == 1 &&
	    offsetof(struct opnd, size) == 2 && offsetof(struct opnd, access) == 3, "one store");
	memcpy(o, &v, 4);
}

/* A register, or memory instead of one: with few branches, they would not be predictable.
 * False: #UD. */
HOT bool
set_reg_or_mem(struct decoder *d, struct opnd *o, unsigned form, unsigned access)
{
	const struct form_info *f = &forms[form];
	unsigned how = f->how, n = d->number[how] & f->number_mask, ctx = d->ctx;

	if (d->is_mem && (how == HOW_rm || how == HOW_mem)) {
		n = 0;
		ctx |= CTX_mem;
	} else if (f->byte && n >> 2 == 1 && !(d->prefixes & (PFX_rex | PFX_vex))) {
		n += OPND_HIGH8;
	}
	put_operand(o, templates[form][ctx], n, access);
	return f->modes >> d->is_mem & 1;
}

/* 1, 2, 4 or 8 bytes. */
HOT void
take_imm(struct decoder *d, unsigned size, bool sign)
{
	unsigned shift = 64 - 8 * size;
	uint64_t v;

	memcpy(&v, d->p + d->pos, 8);
	v <<= shift;
	d->in->imm = sign ? (uint64_t)((int64_t)v >> shift) : v >> shift;
	d->in->imm_at = (uint8_t)d->pos;
	d->in->imm_size = (uint8_t)size;
	d->pos += size;
}

HOT void
set_imm(struct decoder *d, struct opnd *o, unsigned form, unsigned access)
{
	static const struct { uint8_t size[3], sign; } imm[] = {
		[HOW_imm8 - HOW_imm8] = { { 1, 1, 1 }, 0 }, [HOW_imm8s - HOW_imm8] = { { 1, 1, 1 }, 1 },
		[HOW_imm16 - HOW_imm8] = { { 2, 2, 2 }, 0 }, [HOW_immz - HOW_imm8] = { { 2, 4, 4 }, 1 },
		[HOW_immv - HOW_imm8] = { { 2, 4, 8 }, 1 }, [HOW_rel8 - HOW_imm8] = { { 1, 1, 1 }, 1 },
		[HOW_relz - HOW_imm8] = { { 2, 4, 4 }, 1 },
	};
	unsigned i = forms[form].how - HOW_imm8;

	take_imm(d, imm[i].size[d->os], imm[i].sign);
	put_operand(o, templates[form][d->os], 0, access);
}

static void
take_moffs(struct decoder *d)
{
	struct insn *in = d->in;
	uint64_t v;

	memcpy(&v, d->p + d->pos, 8);
	in->disp = (int64_t)(v << (64 - 8 * d->asize) >> (64 - 8 * d->asize));
	in->disp_at = (uint8_t)d->pos;
	in->disp_size = (uint8_t)d->asize;
	in->seg = d->seg != NO_SEG ? (uint8_t)d->seg : SEG_ds;
	d->pos += d->asize;
}

/* Memory at [seg:base] that no ModRM byte tells of. */
static unsigned
implicit_base(struct decoder *d, unsigned base)
{
	d->in->base = (uint8_t)base;
	d->in->seg = d->seg != NO_SEG ? (uint8_t)d->seg : SEG_ds;
	return base;
}

/* The forms that few instructions have. False: #UD. */
COLD bool
set_rare(struct decoder *d, struct opnd *o, unsigned form, unsigned access)
{
	struct insn *in = d->in;
	uint32_t template = templates[form][d->ctx | CTX_mem];
	unsigned reg = 0;

	switch (forms[form].how) {
	case HOW_one:
		template = templates[form][d->os];
		in->imm = 1;
		break;
	case HOW_imm2:
		template = templates[form][d->os];
		in->imm2 = d->p[d->pos++];
		in->imm_size++;
		break;
	case HOW_far:
		template = templates[form][d->os];
		take_imm(d, d->os ? 4 : 2, false);
		memcpy(&in->imm2, d->p + d->pos, 2);
		in->imm_size = (uint8_t)(in->imm_size + 2);
		d->pos += 2;
		break;
	case HOW_is4:
		template = templates[form][d->ctx];
		take_imm(d, 1, false);
		reg = (unsigned)in->imm >> 4 & (d->mode == ISA_64 ? 15 : 7);
		break;
	case HOW_moffs:
		take_moffs(d);
		break;
	case HOW_rsi:
		reg = implicit_base(d, 6);
		break;
	case HOW_rdi:
		reg = 7;
		if (in->base == INSN_NOREG) {
			in->base = 7;
			in->seg = SEG_es;
		}
		break;
	case HOW_rbx:
		reg = implicit_base(d, 3);
		break;
	case HOW_rax:
		reg = implicit_base(d, 0);
		break;
	case HOW_ds_rdi:
		reg = implicit_base(d, 7);
		break;
	default:	/* HOW_vsib */
		reg = templates[form][d->ctx] & 0xff;	/* the kind of the index */
		if (d->modrm >= 0xc0 || (d->modrm & 7) != 4 || d->asize == 2)
			return false;
		if (in->index == INSN_NOREG)	/* 4 is a register like others here */
			in->index = 4;
	}
	put_operand(o, template, reg, access);
	return true;
}

HOT bool
set_operands(struct decoder *d, const struct opdef *row)
{
	unsigned access = row->access, i;
	bool ok;

	for (i = 0; i < 4 && row->op[i] != _; i++, access >>= 2) {
		unsigned form = row->op[i], how = forms[form].how;
		struct opnd *o = &d->in->op[i];

		if (how <= HOW_anyreg) {
			if (!set_reg_or_mem(d, o, form, access & 3))
				return false;
		} else if (how <= HOW_relz) {
			set_imm(d, o, form, access & 3);
		} else {
			COPIED(d, ok = set_rare(&copy, o, form, access & 3));
			if (!ok)
				return false;
		}
	}
	d->in->nopnds = (uint8_t)i;
	return true;
}

/* ---- legality beyond the tables ---- */

static bool
uses_vvvv(const struct opdef *row)
{
	unsigned i;

	for (i = 0; i < 4 && row->op[i] != _; i++)
		if (forms[row->op[i]].how == HOW_vvvv)
			return true;
	return false;
}

COLD bool
vex_legal(struct decoder d, const struct opdef *row)
{
	const struct insn *in = d.in;
	uint32_t f = row->flags;

	static const uint32_t wrong_w[2] = { VW1, VW0 }, wrong_l[2] = { VL1, VL0 };

	if (f & (wrong_w[d.rex >> 3] | wrong_l[d.vex_l]))
		return false;
	if (d.vvvv != 0 && !uses_vvvv(row))
		return false;
	return !(f & GATHER) || (in->op[0].reg != in->op[2].reg && in->op[0].reg != in->index &&
	    in->op[2].reg != in->index);
}

static bool
lock_legal(const struct insn *in)
{
	return insn_info[in->id].flags & IF_lockable && in->op[0].kind == OPND_mem;
}

/* Registers that do not exist; and 90, which is XCHG rAX, rAX but must not clear the upper half
 * of RAX, or with F3 PAUSE, even with REX.B. */
COLD bool
check(struct insn *in, bool xchg_r8, bool pause)
{
	switch (in->id) {
	case INSN_mov_to_seg:
		return in->op[0].reg < 6 && in->op[0].reg != SEG_cs;
	case INSN_mov_from_seg:
		return in->op[1].reg < 6;
	case INSN_mov_to_cr:
		return 0x11d >> in->op[0].reg & 1;
	case INSN_mov_from_cr:
		return 0x11d >> in->op[1].reg & 1;
	case INSN_mov_to_dr:
		return in->op[0].reg < 8;
	case INSN_mov_from_dr:
		return in->op[1].reg < 8;
	default:
		if (xchg_r8)
			return true;
		in->id = pause ? INSN_pause : INSN_nop;
		in->nopnds = 0;
		memset(in->op, 0, sizeof in->op);
		return true;
	}
}

HOT bool
decode_row(struct decoder *d, const struct opdef *row)
{
	struct insn *in = d->in;
	uint32_t f = row->flags;

	if (row->id == INSN_invalid || (f & (d->mode == ISA_64 ? N64 : O64)) ||
	    ((f & NOPFX) && d->pp != PP_none))
		return false;
	in->id = row->id;
	d->os = operand_size(d, f);
	d->ctx = d->os | d->vex_l * CTX_l;
	in->osize = (uint8_t)(2 << d->os);
	if (d->has_modrm || (row->op[0] | row->op[1]) > FORM_MODRM)
		take_modrm(d, f);
	if (!set_operands(d, row))
		return false;
	if (__builtin_expect(d->prefixes & PFX_vex, false) && !vex_legal(*d, row))
		return false;
	if (__builtin_expect(d->prefixes & PFX_lock, false) && !lock_legal(in))
		return false;
	return !(f & CHECK) || check(in, d->rex & REX_B && d->pp != PP_f3, d->pp == PP_f3);
}

/* All of it, on READ_MAX readable bytes. */
HOT bool
decode(struct decoder *d, enum isa_mode mode)
{
	struct insn *in = d->in;
	const struct opdef *map, *row;
	bool ok;

	d->mode = mode;		/* a constant here: one copy of all this for each mode */
	if (!take_prefixes(d)) {
		d->pos = LEN_MAX + 1;
		return false;
	}
	d->asize = 2u << d->mode;
	if (__builtin_expect(d->prefixes & PFX_adsize, false))
		d->asize = d->mode == ISA_32 ? 2 : 4;
	map = take_map(d);
	d->opcode = d->p[d->pos];
	in->opcode_at = (uint8_t)d->pos++;
	in->opcode = (uint8_t)d->opcode;
	in->cc = (uint8_t)(d->opcode & 15);
	in->map = (uint8_t)d->map;
	in->prefixes = (uint8_t)d->prefixes;
	in->rex = (uint8_t)d->rex;
	in->asize = (uint8_t)d->asize;
	in->vex_l = (uint8_t)d->vex_l;
	in->pp = (uint8_t)d->pp;
	in->vvvv = (uint8_t)d->vvvv;
	if (map == NULL)
		return false;
	d->number[HOW_opcode] = (uint8_t)((d->opcode & 7) | (d->rex & REX_B) << 3);
	d->number[HOW_vvvv] = (uint8_t)(d->mode == ISA_64 ? d->vvvv : d->vvvv & 7);
	d->number[HOW_fixed] = 0;	/* it is in the template */
	d->number[HOW_mem] = 0;
	row = choose(d, &map[d->opcode]);
	ok = decode_row(d, row);
	if (!ok && d->has_modrm && in->modrm_at == 0)
		d->pos++;	/* a choice has looked at it */
	return ok;
}

int
insn_decode(const uint8_t *bytes, size_t avail, enum isa_mode mode, struct insn *in)
{
	uint8_t copy[READ_MAX];
	struct decoder d;
	bool ok;

	/* one by one: clearing all of it at once costs more than half of a decode */
	d.p = bytes;
	d.in = in;
	d.pos = d.prefixes = d.pp = d.map = d.vex_l = d.vvvv = d.is_mem = 0;
	d.seg = NO_SEG;
	d.has_modrm = false;
	memset(in, 0, sizeof *in);
	in->base = in->index = INSN_NOREG;
	in->seg = SEG_ds;
	if (__builtin_expect(avail < READ_MAX, false)) {
		memset(copy, 0, sizeof copy);
		memcpy(copy, bytes, avail);
		d.p = copy;
	}
	ok = mode == ISA_64 ? decode(&d, ISA_64) : mode == ISA_32 ? decode(&d, ISA_32) : decode(&d, ISA_16);
	if (d.pos > avail && avail < LEN_MAX)
		return 0;
	in->len = (uint8_t)d.pos;
	if (__builtin_expect(ok && d.pos <= LEN_MAX, true))
		return in->len;
	in->id = INSN_invalid;
	in->len = (uint8_t)(d.pos > LEN_MAX ? LEN_MAX + 1 : d.pos);
	return -1;
}
