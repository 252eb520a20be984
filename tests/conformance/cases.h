/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/cases.h - random cases: an encoding of a form, registers and memory that suit it.
 *
 * Values are biased to edges. A memory operand always lands in the places of state.h or just
 * beside them, since the host runs the instruction too.
 */
#pragma once
#include "conformance/forms.h"


static uint64_t
rnd_int(void)
{
	static const uint64_t edge[] = { 0, 1, 2, 3, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~1ull };
	uint64_t v = rnd();

	switch (v & 7) {
	case 0: case 1:
		return edge[rnd_below(sizeof(edge) / sizeof(edge[0]))];
	case 2:
		return rnd_below(256);
	case 3:
		return rnd() >> rnd_below(64);
	case 4:
		return (uint64_t)-(int64_t)rnd_below(64);
	case 5:
		return 1ull << rnd_below(64);
	default:
		return rnd();
	}
}

static uint32_t
rnd_float(void)
{
	static const uint32_t edge[] = { 0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
		0x7fa00000, 0xffc12345, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x3f000000,
		0x4f000000, 0xcf000000, 0x5f000000, 0xdf000000, 0x3f7fffff, 0x40400000, 0x33800000 };
	uint32_t v = (uint32_t)rnd();

	if ((v & 3) == 0)
		return edge[rnd_below(sizeof(edge) / sizeof(edge[0]))];
	if ((v & 3) == 1)	/* near 1, or a small integer */
		return (uint32_t)(rnd() & 0x807fffff) | (120 + rnd_below(16)) << 23;
	return (uint32_t)rnd();
}

static uint64_t
rnd_double(void)
{
	static const uint64_t edge[] = { 0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
		0xfff0000000000000, 0x7ff8000000000000, 0x7ff4000000000000, 0xfff8000000000123, 1, 0x8000000000000001,
		0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 0x3fe0000000000000,
		0x41e0000000000000, 0xc1e0000000000000, 0x43e0000000000000, 0xc3e0000000000000, 0x380fffffffffffff,
		0x36a0000000000000, 0x47efffffe0000000, 0x47f0000000000000, 0x3ca0000000000000 };
	uint64_t v = rnd();

	if ((v & 3) == 0)
		return edge[rnd_below(sizeof(edge) / sizeof(edge[0]))];
	if ((v & 3) == 1)
		return (rnd() & 0x800fffffffffffff) | (uint64_t)(1016 + rnd_below(16)) << 52;
	if ((v & 15) == 2)	/* in the range of floats, at its ends */
		return (rnd() & 0x800fffffffffffff) | (uint64_t)(896 - 26 + rnd_below(30)) << 52;
	return rnd();
}

/* 10 bytes; also unnormals, pseudo-denormals and pseudo-infinities. */
static void
rnd_extended(uint8_t *to)
{
	static const uint16_t exponents[] = { 0, 1, 0x3ffe, 0x3fff, 0x4000, 0x403e, 0x403d, 0x7ffe, 0x7fff, 0x3fbf,
		0x3c00, 0x43ff, 0x3f80, 0x407f };
	uint64_t m = rnd_int();
	uint16_t e = exponents[rnd_below(sizeof(exponents) / sizeof(exponents[0]))];
	unsigned v = rnd_below(16);

	if (v < 12)
		m |= 1ull << 63;
	if (v & 1)
		e = (uint16_t)(0x3fff - 40 + (int)rnd_below(80));
	if (v == 13)
		e = (uint16_t)(rnd() & 0x7fff);
	if (v == 14)
		e = 0, m = 0;
	if (rnd() & 1)
		e |= 0x8000;
	memcpy(to, &m, 8);
	memcpy(to + 8, &e, 2);
}

/* Fills n bytes with numbers of one kind. */
static void
rnd_fill(uint8_t *to, unsigned n)
{
	unsigned kind = rnd_below(8), i;
	uint64_t v;
	uint32_t f;

	for (i = 0; i < n; i += 8) {
		switch (kind) {
		case 0: case 1:
			f = rnd_float();
			memcpy(to + i, &f, 4);
			f = rnd_float();
			memcpy(to + i + 4, &f, n - i < 8 ? n - i - 4 : 4);
			continue;
		case 2: case 3:
			v = rnd_double();
			break;
		case 4:
			v = rnd();
			break;
		case 5:
			v = (rnd() & 0x0101010101010101) * 0xff;	/* byte masks; short strings */
			break;
		default:
			v = rnd_int();
			break;
		}
		memcpy(to + i, &v, n - i < 8 ? n - i : 8);
	}
}

static void
rnd_fpu(struct fpu_state *f)
{
	unsigned i;

	memset(f, 0, sizeof(*f));
	f->fcw = 0x37f;
	if (rnd_below(4) == 0)
		f->fcw = (uint16_t)((rnd() & 0xf00) | 0x40 | (rnd_below(4) ? 0x3f : rnd() & 0x3f));
	f->fsw = (uint16_t)(rnd() & 0x7f00);
	if (rnd_below(4) == 0)
		f->fsw |= (uint16_t)(rnd() & 0x7f);
	if (rnd_below(16) != 0)
		f->fsw &= (uint16_t)(~0x3fu | f->fcw);		/* mostly nothing pending */
	if (f->fsw & ~f->fcw & 0x3f)
		f->fsw |= 0x8080;
	f->ftw = rnd_below(3) ? 0xff : (uint8_t)rnd();
	f->mxcsr = 0x1f80;
	if (rnd_below(4) == 0)
		f->mxcsr = (uint32_t)((rnd() & 0xe07f) | (rnd_below(3) ? 0x1f80 : rnd() & 0x1f80));
	for (i = 0; i < 8; i++) {
		rnd_extended(f->st[i]);
		if (rnd_below(8) == 0) {
			rnd_fill(f->st[i], 8);
			f->st[i][8] = f->st[i][9] = 0xff;
		}
	}
	for (i = 0; i < 16; i++) {
		rnd_fill(f->xmm[i], 16);
		if (rnd_below(4))
			rnd_fill(f->ymmh[i], 16);
	}
	f->xstate_bv = 7;
}

/* ---- encodings ---- */

static void
case_encode(struct test_case *t, const struct form *f)
{
	static const uint8_t segs[] = { 0x2e, 0x36, 0x3e, 0x26 };
	uint8_t *p = t->bytes, head[20];
	unsigned n = 0, k, rxb, modrm;
	uint64_t tail[2] = { rnd(), rnd() };

	if (rnd_below(32) == 0)
		p[n++] = segs[rnd_below(4)];
	if (rnd_below(24) == 0)
		p[n++] = 0x67;
	if (!f->vex && f->mem && insn_info[f->id].flags & IF_lockable && rnd_below(6) == 0)
		p[n++] = 0xf0;
	rxb = t->mode != ISA_64 ? 0 : (unsigned)rnd() & 7;
	if (!f->vex && rnd_below(3) == 0)
		rxb = 0;
	k = form_head(f, head, rxb, rnd_below(3) == 0 ? 0 : (unsigned)rnd() & (t->mode == ISA_64 ? 15 : 7),
		t->mode == ISA_64 && rnd_below(4) == 0);
	memcpy(p + n, head, k);
	n += k;
	if (f->has_modrm) {
		modrm = (unsigned)f->reg << 3;
		if (!f->mem)
			modrm |= 0xc0 | (f->fixed_rm ? f->rm : (unsigned)rnd() & 7);
		else
			modrm |= rnd_below(3) << 6 | (f->vsib ? 4u : (unsigned)rnd() & 7);
		if (f->vsib)
			modrm |= (unsigned)rnd() & 0x38;
		p[n++] = (uint8_t)modrm;
	}
	if (rnd_below(2))		/* small displacements and immediates as often as any */
		tail[0] &= 0x0f0f0f0f0f0f0f0f;
	memcpy(p + n, tail, 16 - n);
}

/* ---- addresses ---- */

static bool
in_data(uint64_t at)
{
	return at >= PLACE_DATA && at < PLACE_DATA + DATA_SIZE - 8;
}

static uint64_t
target_address(unsigned size, bool aligned)
{
	unsigned where = rnd_below(100);
	uint64_t at;

	if (where < 2)
		return PLACE_DATA + DATA_SIZE - 1 - rnd_below(size > 1 ? size : 2);	/* across the end */
	if (where < 4)
		return PLACE_RO + rnd_below(4096 - 64);
	if (where < 5)
		return PLACE_DATA - 4096 + rnd_below(4096);
	if (where < 9)
		return PLACE_DATA + 4096 - rnd_below(64);			/* across pages */
	at = PLACE_DATA + 1024 + rnd_below(DATA_SIZE - 2048);
	if (aligned || where < 60)
		at &= ~(uint64_t)63;
	return at;
}

static uint64_t
mask_address(uint64_t v, unsigned asize)
{
	return asize == 8 ? v : asize == 4 ? (uint32_t)v : (uint16_t)v;
}

/* Inverse of an odd number modulo 2^64. */
static uint64_t
odd_inverse(uint64_t a)
{
	uint64_t x = a;
	unsigned i;

	for (i = 0; i < 6; i++)
		x *= 2 - a * x;
	return x;
}

static const struct opnd *
mem_operand(const struct insn *in)
{
	unsigned i;

	for (i = 0; i < in->nopnds && i < 4; i++)
		if (in->op[i].kind == OPND_mem)
			return &in->op[i];
	return NULL;
}

static bool
is_vsib(const struct opnd *o)
{
	return o->reg == OPND_xmm || o->reg == OPND_ymm;
}

static void
set_low16(uint64_t *reg, uint64_t val)
{
	*reg = (*reg & ~(uint64_t)0xffff) | (uint16_t)val;
}

/* Sets registers or displacement so that the ModRM memory operand is at offset `at`. False: can't be. */
static bool
point_at(struct test_case *t, uint64_t at)
{
	struct insn *in = &t->in;
	uint64_t *g = t->s.gpr, rest = at - (uint64_t)in->disp, d;
	bool vsib = is_vsib(mem_operand(in));

	if ((in->asize == 2 && t->mode != ISA_16) || (in->seg == SEG_cs && t->mode == ISA_16))
		return false;
	if (in->base == INSN_NOREG && (in->index == INSN_NOREG || vsib)) {
		if (in->disp_size >= 2) {
			memcpy(t->bytes + in->disp_at, &at, in->disp_size);
			return true;
		}
		return false;
	}
	if (in->base == INSN_RIP) {
		d = at - (t->s.rip + in->len);
		memcpy(t->bytes + in->disp_at, &d, 4);
		return true;
	}
	if (vsib) {
		g[in->base] = rest;
		return true;
	}
	if (in->asize == 2) {
		if (in->base == INSN_NOREG)
			set_low16(&g[in->index], rest);
		else
			set_low16(&g[in->base], rest - (in->index == INSN_NOREG ? 0 : g[in->index]));
	} else if (in->index == INSN_NOREG) {
		g[in->base] = rest;
	} else if (in->base == INSN_NOREG) {
		g[in->index] = rest >> in->scale;
		return g[in->index] << in->scale == rest;
	} else if (in->index != in->base) {
		if (rnd_below(2))
			g[in->index] = (uint64_t)((int64_t)rnd_below(256) - 128);
		g[in->base] = rest - (g[in->index] << in->scale);
	} else if (in->scale == 0) {
		g[in->base] = rest / 2;
		return rest % 2 == 0;
	} else {
		g[in->base] = rest * odd_inverse(1 + (1ull << in->scale));
	}
	if (in->asize == 4 && t->mode == ISA_64 && rnd_below(2))
		g[in->base] |= in->index == in->base ? 0 : rnd() << 32;
	return true;
}

/* The offset that the operand has with the registers as they are; checks point_at. */
static uint64_t
address_of(const struct test_case *t)
{
	const struct insn *in = &t->in;
	uint64_t a = (uint64_t)in->disp;

	if (in->base == INSN_RIP)
		a += t->s.rip + in->len;
	else if (in->base != INSN_NOREG)
		a += t->s.gpr[in->base];
	if (in->index != INSN_NOREG && !is_vsib(mem_operand(in)))
		a += t->s.gpr[in->index] << in->scale;
	return mask_address(a, in->asize);
}

static void
small_indexes(struct test_case *t)
{
	struct fpu_state *f = &t->s.fpu;
	int64_t q;
	int32_t d;
	unsigned i;

	for (i = 0; i < 4; i++) {
		uint8_t *to = i < 2 ? f->xmm[t->in.index] + 8 * i : f->ymmh[t->in.index] + 8 * (i - 2);

		q = (int64_t)rnd_below(128) - 64;
		memcpy(to, &q, 8);
		if (t->in.opcode & 1)
			continue;
		d = (int32_t)rnd_below(128) - 64;
		memcpy(to, &d, 4);
		d = (int32_t)rnd_below(128) - 64;
		memcpy(to + 4, &d, 4);
	}
}

/* Implicit memory: stack and strings. */
static void
point_implicit(struct test_case *t)
{
	uint64_t *g = t->s.gpr, base = t->mode == ISA_16 ? BASE_16 : 0;
	unsigned id = t->in.id;

	g[4] = DATA_MID + (rnd_below(8) == 0 ? rnd_below(64) : 8 * rnd_below(16));
	if (rnd_below(64) == 0)
		g[4] = PLACE_DATA + rnd_below(16);		/* a push that faults */
	if (id == INSN_enter || id == INSN_leave)
		g[5] = DATA_MID + 8 * rnd_below(32);
	if (insn_info[id].flags & IF_string || id == INSN_maskmovq || id == INSN_maskmovdqu
	    || id == INSN_vmaskmovdqu) {
		g[6] = DATA_MID + rnd_below(512) - 256;
		g[7] = rnd_below(3) ? DATA_MID + rnd_below(512) - 256 : g[6] + rnd_below(16);
		if (rnd_below(32) == 0)
			g[7] = PLACE_DATA + DATA_SIZE - rnd_below(64);
		if (t->in.prefixes & (PFX_rep | PFX_repne))
			g[1] = rnd_below(24);
		if (t->in.asize == 4 && t->mode == ISA_64)
			g[1] |= rnd() << 32;
	}
	if (id == INSN_xlat)
		g[3] = DATA_MID;
	if (t->mode == ISA_16) {
		g[4] = (g[4] - base) | ESP_HIGH_16;
		if (id == INSN_enter || id == INSN_leave)
			g[5] = (g[5] - base) | (rnd() & 0xffff0000);
		if (insn_info[id].flags & IF_string || id == INSN_maskmovq || id == INSN_maskmovdqu || id == INSN_vmaskmovdqu)
			g[6] -= base, g[7] -= base;
		if (id == INSN_xlat)
			g[3] -= base;
	}
	if (id == INSN_xsave || id == INSN_xsaveopt || id == INSN_xsavec || id == INSN_xrstor)
		g[0] = rnd_below(8), g[2] = 0;			/* the host has further components */
}

/* Bit instructions with a register offset reach far from their operand: keep it near. */
static void
tame_bits(struct test_case *t)
{
	unsigned id = t->in.id;

	if ((id == INSN_bt || id == INSN_bts || id == INSN_btr || id == INSN_btc) && t->in.op[1].kind == OPND_reg)
		t->s.gpr[t->in.op[1].reg] = (uint64_t)((int64_t)rnd_below(8192) - 4096);
}

/* A case of form f; false: this try came to nothing, try again. */
static bool
case_make(struct test_case *t, const struct form *f)
{
	const struct opnd *m;
	uint64_t at;
	unsigned i;
	int len;

	case_encode(t, f);
	len = insn_decode(t->bytes, 15, t->mode, &t->in);
	if (len <= 0 || t->in.id == INSN_invalid)
		return false;
	t->len = (unsigned)len;
	t->s.rip = (t->mode == ISA_16 ? 0u : (unsigned)PLACE_CODE) + 1024 + rnd_below(64);
	t->s.rflags = 0x202 | (rnd() & RFLAGS_arith) | (rnd_below(2) ? rflags_df_MASK : 0);
	t->s.vec = DONE;
	t->s.error = 0;
	t->s.cr2 = 0;
	for (i = 0; i < 16; i++)
		t->s.gpr[i] = t->mode != ISA_64 ? (uint32_t)rnd_int() : rnd_int();
	rnd_fpu(&t->s.fpu);
	point_implicit(t);
	tame_bits(t);
	m = mem_operand(&t->in);
	if (m != NULL && t->in.has_modrm) {
		if (t->in.asize == 2 && t->mode != ISA_16)
			return false;
		if (is_vsib(m))
			small_indexes(t);
		at = target_address(m->size, m->size == 0 || rnd_below(8) != 0);
		if ((t->in.id == INSN_bt || t->in.id == INSN_bts || t->in.id == INSN_btr || t->in.id == INSN_btc || is_vsib(m))
		    && (at < PLACE_DATA + 1024 || at >= PLACE_DATA + DATA_SIZE - 1024))
			at = DATA_MID;
		at -= t->mode == ISA_16 ? BASE_16 : 0;
		if (!point_at(t, at))
			return false;
		len = insn_decode(t->bytes, 15, t->mode, &t->in);
		if (len <= 0)
			return false;
		if (t->in.id == INSN_bt || t->in.id == INSN_bts || t->in.id == INSN_btr || t->in.id == INSN_btc)
			if (t->in.op[1].kind == OPND_reg && (t->s.gpr[t->in.op[1].reg] + 4096 > 8192))
				return false;		/* also the base: points too far */
		if (address_of(t) != at && t->in.id != INSN_lea)
			return false;
		if (insn_info[t->in.id].flags & IF_stack && !in_data(stack_lin(t, t->s.gpr[4])))
			return false;
	} else if (m != NULL && t->in.base == INSN_NOREG && t->in.disp_size != 0) {
		if ((t->in.asize == 2 && t->mode != ISA_16) || (t->in.seg == SEG_cs && t->mode == ISA_16))
			return false;
		at = target_address(m->size, false);		/* mov with an absolute address */
		at -= t->mode == ISA_16 ? BASE_16 : 0;
		memcpy(t->bytes + t->in.disp_at, &at, t->in.disp_size);
		len = insn_decode(t->bytes, 15, t->mode, &t->in);
		if (len <= 0)
			return false;
	} else if (insn_info[t->in.id].flags & IF_string && (t->mode == ISA_16 ? t->in.seg == SEG_cs : t->in.asize == 2)) {
		return false;
	}
	for (i = 0; t->mode != ISA_64 && i < 16; i++)
		t->s.gpr[i] = (uint32_t)t->s.gpr[i];
	return t->mode != ISA_16 || (t->s.gpr[4] & 0xffff0000) == ESP_HIGH_16;
}
