/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/emit.h - bytes of host code: a cursor and the encodings that the translator needs. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most of what is written has constant operands: inlined, it comes down to a few stores. */
#define E_INLINE static inline __attribute__((always_inline))

enum host_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NOREG = -1 };

/* What is written at `p` will run at `p + to_rx`, for the vCPU whose struct cpu is at `cpu`. */
struct emit {
	uint8_t *p;
	ptrdiff_t to_rx;
	int32_t cpu;
};

/* A ModRM operand: a register, or memory [base + index << scale + disp], from struct cpu or not.
 * Without base and index it is an absolute 32-bit address. */
struct rm {
	bool mem, cpu;
	int8_t reg;
	int8_t base, index;
	uint8_t scale;
	int32_t disp;
};

static inline struct rm rm_reg(int r) { return (struct rm){ .reg = (int8_t)r }; }
static inline struct rm rm_at(int base, int32_t disp)
	{ return (struct rm){ .mem = true, .base = (int8_t)base, .index = NOREG, .disp = disp }; }
static inline struct rm rm_sum(int base, int index, unsigned scale, int32_t disp)
	{ return (struct rm){ .mem = true, .base = (int8_t)base, .index = (int8_t)index,
		.scale = (uint8_t)scale, .disp = disp }; }
static inline struct rm rm_abs(int32_t addr) { return rm_at(NOREG, addr); }
static inline struct rm rm_cpu(int index, size_t disp)
	{ return (struct rm){ .mem = true, .cpu = true, .base = (int8_t)index, .index = NOREG, .disp = (int32_t)disp }; }

static inline void e8(struct emit *e, unsigned b) { *e->p++ = (uint8_t)b; }
/* n bytes of the E_COPY that can be read there, and written. */
enum { E_COPY = 16 };
static inline void
e_copy(struct emit *e, const uint8_t *from, unsigned n)
{
	uint64_t word[2];

	__builtin_memcpy(word, from, sizeof(word[0]));
	__builtin_memcpy(word + 1, from + 8, sizeof(word[1]));
	__builtin_memcpy(e->p, word, sizeof(word[0]));
	__builtin_memcpy(e->p + 8, word + 1, sizeof(word[1]));
	e->p += n;
}
E_INLINE uint8_t *
e_put32(uint8_t *p, uint32_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}
E_INLINE void e32(struct emit *e, uint32_t v) { e->p = e_put32(e->p, v); }
void e64(struct emit *e, uint64_t v);

/* Opcode maps, as in struct insn. */
enum { MAP_1, MAP_0f, MAP_0f38, MAP_0f3a };

enum { SIB_NONE = 4, MOD_DISP8 = 0x40, MOD_DISP32 = 0x80, MOD_REG = 0xc0 };

/* ModRM, SIB and displacement; register numbers' fourth bits are in REX or VEX. The cursor is in a
 * local here and below: a byte stored through it might be the cursor itself for all the compiler knows. */
E_INLINE uint8_t *
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
		return e_put32(p, (uint32_t)rm.disp);
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
		p = e_put32(p, (uint32_t)rm.disp);
	return p;
}

/* R, X, B as in the low bits of REX. */
E_INLINE unsigned
e_rxb(int reg, struct rm rm)
{
	unsigned bits = reg >= R8 ? 4 : 0;

	if (!rm.mem)
		return bits | (rm.reg >= R8);
	return bits | (rm.index >= R8 ? 2 : 0) | (rm.base >= R8 ? 1 : 0);
}

E_INLINE uint8_t *
e_op_inline(uint8_t *p, uint32_t prefixes, bool w, unsigned map, unsigned opcode, int reg, struct rm rm, bool byte_reg)
{
	unsigned rex = e_rxb(reg, rm) | (w ? 8 : 0);

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
	return e_modrm(p, reg, rm);
}

void e_op_any(struct emit *e, uint32_t prefixes, bool w, unsigned map, unsigned opcode, int reg, struct rm rm, bool byte_reg);

/* Legacy encoding. `prefixes`: up to four bytes, lowest first, 0 ends. byte_reg: SPL.. need a REX. */
E_INLINE void
e_op(struct emit *e, uint32_t prefixes, bool w, unsigned map, unsigned opcode, int reg, struct rm rm, bool byte_reg)
{
	rm.disp += rm.cpu ? e->cpu : 0;
	if (__builtin_constant_p(prefixes) && __builtin_constant_p(w) && __builtin_constant_p(map) && __builtin_constant_p(rm.mem) &&
	    __builtin_constant_p(rm.base) && __builtin_constant_p(rm.index))
		e->p = e_op_inline(e->p, prefixes, w, map, opcode, reg, rm, byte_reg);
	else
		e_op_any(e, prefixes, w, map, opcode, reg, rm, byte_reg);
}
/* VEX encoding; pp 0-3, vvvv a register number. */
void e_vex(struct emit *e, unsigned pp, bool w, bool l, unsigned map, unsigned opcode, int reg, int vvvv,
	struct rm rm);

/* 64 bits, but for e_load32. */
E_INLINE void e_mov(struct emit *e, int to, int from)
	{ e->p = e_op_inline(e->p, 0, true, MAP_1, 0x8b, to, rm_reg(from), false); }
E_INLINE void e_load(struct emit *e, int to, struct rm from) { e_op(e, 0, true, MAP_1, 0x8b, to, from, false); }
E_INLINE void e_store(struct emit *e, struct rm to, int from) { e_op(e, 0, true, MAP_1, 0x89, from, to, false); }
E_INLINE void e_load32(struct emit *e, int to, struct rm from) { e_op(e, 0, false, MAP_1, 0x8b, to, from, false); }
E_INLINE void e_lea(struct emit *e, bool w, int to, struct rm rm) { e_op(e, 0, w, MAP_1, 0x8d, to, rm, false); }
void e_mov_imm(struct emit *e, int to, uint64_t val);			/* shortest; no flags */
/* ADD OR ADC SBB AND SUB XOR CMP (0-7) */
enum alu { ALU_add, ALU_or, ALU_adc, ALU_sbb, ALU_and, ALU_sub, ALU_xor, ALU_cmp };
E_INLINE void e_alu(struct emit *e, bool w, enum alu op, int to, struct rm from)
	{ e_op(e, 0, w, MAP_1, (unsigned)op << 3 | 3, to, from, false); }
E_INLINE void
e_alu_imm(struct emit *e, bool w, enum alu op, struct rm to, int32_t imm)
{
	bool small = imm == (int8_t)imm;

	e_op(e, 0, w, MAP_1, small ? 0x83 : 0x81, (int)op, to, false);
	if (small)
		e8(e, (uint8_t)imm);
	else
		e32(e, (uint32_t)imm);
}
void e_rorx32(struct emit *e, int to, int from, unsigned by);		/* BMI2 */
void e_rorx64(struct emit *e, int to, int from, unsigned by);

/* Branches: to a known place, or to be patched. Positions are in the writable mapping. */
enum cc { CC_o, CC_no, CC_b, CC_ae, CC_e, CC_ne, CC_be, CC_a, CC_s, CC_ns, CC_p, CC_np, CC_l, CC_ge, CC_le, CC_g };
void e_patch(uint8_t *rel32, const uint8_t *to);
/* A rel32 to `to`, or to be patched when NULL. Both return where it is. */
E_INLINE uint8_t *
e_rel(struct emit *e, const uint8_t *to)
{
	uint8_t *at = e->p;

	e->p += 4;
	if (to != NULL)
		e_patch(at, to);
	return at;
}
E_INLINE uint8_t *
e_jmp(struct emit *e, const uint8_t *to)
{
	e8(e, 0xe9);
	return e_rel(e, to);
}
/* The shorter form where that will do. */
E_INLINE void
e_jmp_near(struct emit *e, const uint8_t *to)
{
	ptrdiff_t by = to - (e->p + 2);

	if (by != (int8_t)by) {
		e_jmp(e, to);
		return;
	}
	e8(e, 0xeb);
	e8(e, (uint8_t)by);
}
E_INLINE uint8_t *
e_jcc(struct emit *e, unsigned cc, const uint8_t *to)
{
	uint8_t *p = e->p;

	p[0] = 0x0f;
	p[1] = (uint8_t)(0x80 | cc);
	e->p = p + 2;
	return e_rel(e, to);
}
E_INLINE uint8_t *
e_call(struct emit *e, const uint8_t *to)			/* generated code */
{
	e8(e, 0xe8);
	return e_rel(e, to);
}
void e_call_c(struct emit *e, const void *fn);				/* through RAX */
void e_jmp_rm(struct emit *e, struct rm rm);
void e_call_rm(struct emit *e, struct rm rm);
