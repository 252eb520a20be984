/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/emit.h - bytes of host code: a cursor and the encodings that the translator needs. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum host_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NOREG = -1 };

/* What is written at `p` will run at `p + to_rx`. */
struct emit {
	uint8_t *p;
	ptrdiff_t to_rx;
};

/* A ModRM operand: a register, or memory [base + index << scale + disp], GS-relative or not.
 * Without base and index it is an absolute 32-bit address. */
struct rm {
	bool mem, gs;
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
static inline struct rm rm_gs(int index, size_t disp)
	{ return (struct rm){ .mem = true, .gs = true, .base = (int8_t)index, .index = NOREG, .disp = (int32_t)disp }; }

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
void e32(struct emit *e, uint32_t v);
void e64(struct emit *e, uint64_t v);

/* Opcode maps, as in struct insn. */
enum { MAP_1, MAP_0f, MAP_0f38, MAP_0f3a };

/* Legacy encoding. `prefixes`: up to four bytes, lowest first, 0 ends. byte_reg: SPL.. need a REX. */
void e_op(struct emit *e, uint32_t prefixes, bool w, unsigned map, unsigned opcode, int reg, struct rm rm,
	bool byte_reg);
/* VEX encoding; pp 0-3, vvvv a register number. */
void e_vex(struct emit *e, unsigned pp, bool w, bool l, unsigned map, unsigned opcode, int reg, int vvvv,
	struct rm rm);

void e_mov(struct emit *e, int to, int from);				/* 64 bits */
void e_load(struct emit *e, int to, struct rm from);			/* 64 bits */
void e_store(struct emit *e, struct rm to, int from);
void e_load32(struct emit *e, int to, struct rm from);
void e_lea(struct emit *e, bool w, int to, struct rm rm);
void e_mov_imm(struct emit *e, int to, uint64_t val);			/* shortest; no flags */
/* ADD OR ADC SBB AND SUB XOR CMP (0-7) */
enum alu { ALU_add, ALU_or, ALU_adc, ALU_sbb, ALU_and, ALU_sub, ALU_xor, ALU_cmp };
void e_alu(struct emit *e, bool w, enum alu op, int to, struct rm from);
void e_alu_imm(struct emit *e, bool w, enum alu op, struct rm to, int32_t imm);
void e_rorx32(struct emit *e, int to, int from, unsigned by);		/* BMI2 */
void e_rorx64(struct emit *e, int to, int from, unsigned by);

/* Branches: to a known place, or to be patched. Positions are in the writable mapping. */
enum cc { CC_o, CC_no, CC_b, CC_ae, CC_e, CC_ne, CC_be, CC_a, CC_s, CC_ns, CC_p, CC_np, CC_l, CC_ge, CC_le, CC_g };
uint8_t *e_jmp(struct emit *e, const uint8_t *to);			/* returns where the rel32 is */
uint8_t *e_jcc(struct emit *e, unsigned cc, const uint8_t *to);
void e_call(struct emit *e, const uint8_t *to);				/* generated code */
void e_call_c(struct emit *e, const void *fn);				/* through RAX */
void e_patch(uint8_t *rel32, const uint8_t *to);
void e_jmp_rm(struct emit *e, struct rm rm);
