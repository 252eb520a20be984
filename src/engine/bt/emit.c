/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/emit.c - encodings of host instructions. */
#include "engine/bt/emit.h"
#include <string.h>

enum { PFX_GS = 0x65, SIB_NONE = 4, MOD_DISP8 = 0x40, MOD_DISP32 = 0x80, MOD_REG = 0xc0 };

void
e32(struct emit *e, uint32_t v)
{
	memcpy(e->p, &v, sizeof(v));
	e->p += sizeof(v);
}

void
e64(struct emit *e, uint64_t v)
{
	memcpy(e->p, &v, sizeof(v));
	e->p += sizeof(v);
}

static uint8_t *
put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/* ModRM, SIB and displacement; register numbers' fourth bits are in REX or VEX. The cursor is in a
 * local here and below: a byte stored through it might be the cursor itself for all the compiler knows. */
static uint8_t *
e_modrm(uint8_t *p, int reg, struct rm rm)
{
	unsigned field = (unsigned)(reg & 7) << 3, mod;
	bool sib;

	if (!rm.mem) {
		*p++ = (uint8_t)(MOD_REG | field | (unsigned)(rm.reg & 7));
		return p;
	}
	if (rm.base == NOREG) {		/* [index << scale + disp32], or [disp32] */
		*p++ = (uint8_t)(field | SIB_NONE);
		*p++ = (uint8_t)((unsigned)rm.scale << 6 | (rm.index == NOREG ? SIB_NONE : (unsigned)(rm.index & 7)) << 3 | 5);
		return put32(p, (uint32_t)rm.disp);
	}
	sib = rm.index != NOREG || (rm.base & 7) == RSP;
	mod = rm.disp == 0 && (rm.base & 7) != RBP ? 0 : rm.disp == (int8_t)rm.disp ? MOD_DISP8 : MOD_DISP32;
	*p++ = (uint8_t)(mod | field | (sib ? SIB_NONE : (unsigned)(rm.base & 7)));
	if (sib)
		*p++ = (uint8_t)((unsigned)rm.scale << 6 | (rm.index == NOREG ? SIB_NONE : (unsigned)(rm.index & 7)) << 3 |
			(unsigned)(rm.base & 7));
	if (mod == MOD_DISP8)
		*p++ = (uint8_t)rm.disp;
	else if (mod == MOD_DISP32)
		p = put32(p, (uint32_t)rm.disp);
	return p;
}

/* R, X, B as in the low bits of REX. */
static unsigned
rxb(int reg, struct rm rm)
{
	unsigned bits = reg >= R8 ? 4 : 0;

	if (!rm.mem)
		return bits | (rm.reg >= R8);
	return bits | (rm.index >= R8 ? 2 : 0) | (rm.base >= R8 ? 1 : 0);
}

void
e_op(struct emit *e, uint32_t prefixes, bool w, unsigned map, unsigned opcode, int reg, struct rm rm, bool byte_reg)
{
	unsigned rex = rxb(reg, rm) | (w ? 8 : 0);
	uint8_t *p = e->p;

	if (rm.mem && rm.gs)
		*p++ = PFX_GS;
	for (; prefixes != 0; prefixes >>= 8)
		*p++ = (uint8_t)prefixes;
	if (rex != 0 || byte_reg)
		*p++ = (uint8_t)(0x40 | rex);
	if (map != MAP_1)
		*p++ = 0x0f;
	if (map == MAP_0f38)
		*p++ = 0x38;
	else if (map == MAP_0f3a)
		*p++ = 0x3a;
	*p++ = (uint8_t)opcode;
	e->p = e_modrm(p, reg, rm);
}

void
e_vex(struct emit *e, unsigned pp, bool w, bool l, unsigned map, unsigned opcode, int reg, int vvvv, struct rm rm)
{
	uint8_t *p = e->p;

	if (rm.mem && rm.gs)
		*p++ = PFX_GS;
	*p++ = 0xc4;
	*p++ = (uint8_t)((~rxb(reg, rm) & 7) << 5 | map);
	*p++ = (uint8_t)((w ? 0x80u : 0) | (~(unsigned)vvvv & 15) << 3 | (l ? 4u : 0) | pp);
	*p++ = (uint8_t)opcode;
	e->p = e_modrm(p, reg, rm);
}

void
e_mov(struct emit *e, int to, int from)
{
	e_op(e, 0, true, MAP_1, 0x8b, to, rm_reg(from), false);
}

void
e_load(struct emit *e, int to, struct rm from)
{
	e_op(e, 0, true, MAP_1, 0x8b, to, from, false);
}

void
e_store(struct emit *e, struct rm to, int from)
{
	e_op(e, 0, true, MAP_1, 0x89, from, to, false);
}

void
e_load32(struct emit *e, int to, struct rm from)
{
	e_op(e, 0, false, MAP_1, 0x8b, to, from, false);
}

void
e_lea(struct emit *e, bool w, int to, struct rm rm)
{
	e_op(e, 0, w, MAP_1, 0x8d, to, rm, false);
}

void
e_mov_imm(struct emit *e, int to, uint64_t val)
{
	if (val <= UINT32_MAX) {
		if (to >= R8)
			e8(e, 0x41);
		e8(e, 0xb8 | (unsigned)(to & 7));
		e32(e, (uint32_t)val);
	} else if ((uint64_t)(int64_t)(int32_t)val == val) {
		e_op(e, 0, true, MAP_1, 0xc7, 0, rm_reg(to), false);
		e32(e, (uint32_t)val);
	} else {
		e8(e, to >= R8 ? 0x49 : 0x48);
		e8(e, 0xb8 | (unsigned)(to & 7));
		e64(e, val);
	}
}

void
e_alu(struct emit *e, bool w, enum alu op, int to, struct rm from)
{
	e_op(e, 0, w, MAP_1, (unsigned)op << 3 | 3, to, from, false);
}

void
e_alu_imm(struct emit *e, bool w, enum alu op, struct rm to, int32_t imm)
{
	bool small = imm == (int8_t)imm;

	e_op(e, 0, w, MAP_1, small ? 0x83 : 0x81, (int)op, to, false);
	if (small)
		e8(e, (uint8_t)imm);
	else
		e32(e, (uint32_t)imm);
}

void
e_rorx32(struct emit *e, int to, int from, unsigned by)
{
	e_vex(e, 3, false, false, MAP_0f3a, 0xf0, to, 0, rm_reg(from));
	e8(e, by);
}

void
e_rorx64(struct emit *e, int to, int from, unsigned by)
{
	e_vex(e, 3, true, false, MAP_0f3a, 0xf0, to, 0, rm_reg(from));
	e8(e, by);
}

void
e_patch(uint8_t *rel32, const uint8_t *to)
{
	int32_t rel = (int32_t)(to - (rel32 + 4));

	__atomic_store_n((int32_t *)(void *)rel32, rel, __ATOMIC_RELAXED);
}

/* A rel32 to `to`, or to be patched when NULL. */
static uint8_t *
e_rel(struct emit *e, const uint8_t *to)
{
	uint8_t *at = e->p;

	e->p += 4;
	if (to != NULL)
		e_patch(at, to);
	return at;
}

uint8_t *
e_jmp(struct emit *e, const uint8_t *to)
{
	e8(e, 0xe9);
	return e_rel(e, to);
}

uint8_t *
e_jcc(struct emit *e, unsigned cc, const uint8_t *to)
{
	e8(e, 0x0f);
	e8(e, 0x80 | cc);
	return e_rel(e, to);
}

void
e_call(struct emit *e, const uint8_t *to)
{
	e8(e, 0xe8);
	e_rel(e, to);
}

void
e_call_c(struct emit *e, const void *fn)
{
	e_mov_imm(e, RAX, (uint64_t)(uintptr_t)fn);
	e8(e, 0xff);
	e8(e, 0xd0);
}

void
e_jmp_rm(struct emit *e, struct rm rm)
{
	e_op(e, 0, false, MAP_1, 0xff, 4, rm, false);
}
