/* SPDX-License-Identifier: Apache-2.0 */
/* isa/insn.h - one decoded instruction, the form that interpreter, translator, trace and fuzzers share.
 *
 * Decoding is a pure function of bytes and mode; it knows no CPU state. Names are the manual's
 * mnemonics in lower case; families with a condition in the opcode are one id (jcc, setcc, cmovcc)
 * with the condition in .cc.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum insn_id {
	INSN_invalid,			/* #UD */
#define I(name, ...) INSN_##name,
#include "isa/insns.def"
#undef I
	INSN__COUNT
};

/* The bits of enum cpu_mode that decoding needs. */
enum isa_mode { ISA_16, ISA_32, ISA_64 };

enum opnd_kind {
	OPND_none, OPND_reg /* GPR of .size */, OPND_mem, OPND_imm, OPND_rel /* branch target offset in imm */,
	OPND_seg, OPND_cr, OPND_dr, OPND_mm, OPND_xmm, OPND_ymm, OPND_st, OPND_far /* ptr16:16/32 in imm, imm2 */,
	OPND_k /* reserved */
};
enum opnd_access { OPND_r = 1, OPND_w = 2, OPND_rw = 3 };

struct opnd {
	uint8_t kind;		/* enum opnd_kind */
	uint8_t reg;		/* register number 0-15; byte GPRs: 16+4..16+7 are AH CH DH BH */
	uint8_t size;		/* bytes: 1 2 4 8 10 16 32; 0 when the instruction has no one size (fxsave) */
	uint8_t access;		/* enum opnd_access */
};
enum { OPND_HIGH8 = 16 };	/* opnd.reg of AH is OPND_HIGH8 + 4 */
enum { INSN_NOREG = 0xff, INSN_RIP = 0x10 };	/* .base, .index */

enum insn_prefix { PFX_lock = 1 << 0, PFX_rep = 1 << 1 /* F3 */, PFX_repne = 1 << 2 /* F2 */,
	PFX_opsize = 1 << 3 /* 66 */, PFX_adsize = 1 << 4 /* 67 */, PFX_seg = 1 << 5, PFX_rex = 1 << 6, PFX_vex = 1 << 7 };

struct insn {
	uint16_t id;		/* enum insn_id */
	uint8_t len;		/* bytes, 1..15 */
	uint8_t nopnds;
	struct opnd op[4];	/* in the manual's (Intel) order: op[0] is the destination */

	uint8_t prefixes;	/* enum insn_prefix: those present; F2/F3 also when mandatory */
	uint8_t osize;		/* effective operand size in bytes: 2, 4, 8 */
	uint8_t asize;		/* effective address size in bytes: 2, 4, 8 */
	uint8_t cc;		/* condition 0-15 of jcc, setcc, cmovcc */

	/* the memory operand, if there is one: [seg: base + index << scale + disp] */
	uint8_t seg;		/* enum seg_id, default or overridden (64-bit: only fs, gs override) */
	uint8_t base, index;	/* GPR number, INSN_NOREG, or base INSN_RIP (disp counts from the next instruction) */
	uint8_t scale;		/* shift 0-3 */
	int64_t disp;		/* sign-extended; moffs: the whole address */
	uint64_t imm;		/* sign-extended to 64 bits where the instruction does so */
	uint16_t imm2;		/* ENTER's level, far pointer's selector */

	uint8_t map;		/* 0 one byte, 1 0F, 2 0F38, 3 0F3A, 4 3DNow!-free reserved */
	uint8_t opcode, modrm;	/* as in the bytes; modrm 0 when has_modrm is false */
	bool has_modrm;
	uint8_t rex;		/* REX, or the same bits from VEX: W=8 R=4 X=2 B=1 */
	uint8_t pp;		/* the prefix that selects, as in VEX: 0 none, 1 66, 2 F3, 3 F2 */
	uint8_t vex_l, vvvv;	/* VEX: vector length bit, third register (not inverted) */
	uint8_t opcode_at, modrm_at;	/* offsets of opcode and ModRM byte, for those who re-encode */
	uint8_t disp_at, imm_at;	/* offsets; 0: none */
	uint8_t disp_size, imm_size;
};

/* Properties of an instruction that do not depend on its operands (insns.def). */
enum insn_flag {
	IF_branch = 1 << 0,	/* ends a block: may set RIP elsewhere */
	IF_end = 1 << 1,	/* ends a block for another reason: mode, flags IF, TLB may change */
	IF_lockable = 1 << 2,	/* LOCK allowed with a memory destination */
	IF_priv = 1 << 3,	/* CPL 0 only: table-checked #GP(0) */
	IF_string = 1 << 4,	/* REP repeats it */
	IF_x87 = 1 << 5,
	IF_mmx = 1 << 6,
	IF_sse = 1 << 7,	/* legacy SSE encoding */
	IF_avx = 1 << 8,	/* VEX encoding with vector registers (BMI has neither this nor XCR0 to obey) */
	IF_mem_align = 1 << 9,	/* a memory operand of 16 or 32 bytes must be aligned to its size */
	IF_no64 = 1 << 10,	/* #UD in 64-bit mode */
	IF_only64 = 1 << 11,	/* #UD outside 64-bit mode */
	IF_prot = 1 << 12,	/* #UD in real and V86 mode */
	IF_implicit = 1 << 13,	/* touches registers beyond its operands (insn_regs tells which) */
	IF_io = 1 << 14,
	IF_stack = 1 << 15,	/* pushes or pops */
	IF_l256_avx2 = 1 << 16	/* .feature is for 128 bits; with a YMM operand it needs AVX2 */
};
struct insn_info {
	const char *name;
	uint32_t flags;			/* enum insn_flag */
	uint16_t fl_read;		/* flags read (RFLAGS positions); jcc and the like: of all conditions */
	uint16_t fl_write;		/* set, cleared or left undefined */
	uint16_t fl_undef;		/* of those, undefined by the manual */
	uint16_t feature;		/* enum cpu_feature that it needs, or 0 */
};
extern const struct insn_info insn_info[INSN__COUNT];

/* Operands that are not in ModRM:
 * - strings: op[0], op[1] are OPND_mem in the manual's order, .reg 6 is [seg:rSI], 7 is [es:rDI];
 *   .seg and .base of the instruction describe [seg:rSI] when there is one, else [es:rDI];
 * - xlat: op[0] is the byte at [seg:rBX + AL], base RBX; maskmovq, maskmovdqu: op[2] is [seg:rDI];
 *   monitor, clzero: op[0] is [seg:rAX];
 * - gathers: op[1] is OPND_mem, its .reg is OPND_xmm or OPND_ymm, the kind of .index; .size is
 *   that of one element;
 * - op[2] of blendv*, sha256rnds2 is xmm0. Other implicit registers are only in insn_uses().
 */

/* Decode up to `avail` bytes. The length (1..15), 0 when more bytes are needed (avail < 15), or
 * -1 with id INSN_invalid and len set to the bytes looked at: #UD, or #GP for over 15 bytes
 * (len > 15). Legal encodings of features the guest lacks decode normally. */
int insn_decode(const uint8_t *bytes, size_t avail, enum isa_mode mode, struct insn *in);

/* GPRs (bit n: register n) and flags read and written, implicit ones included. What is written
 * only in part (8 and 16 bits) or only sometimes (cmovcc, a shift by CL, rep with rCX 0), and
 * undefined flags that hardware may leave alone, count as read and written: live before =
 * (live after & ~written) | read. */
struct insn_use { uint32_t gpr_read, gpr_write; uint16_t fl_read, fl_write; };
void insn_uses(const struct insn *in, struct insn_use *use);

/* Undefined flags of an instruction that hardware may leave as they were: all of them, or only
 * those that this host does leave, after it was asked (once, by whoever wants to know better). */
uint16_t insn_undefined_live(unsigned id);
void insn_probe_host(void);

/* Text for people, by Zydis: AT&T-free Intel syntax. Returns the length, 0 for undecodable bytes. */
unsigned insn_text(const uint8_t *bytes, size_t avail, enum isa_mode mode, uint64_t rip, char *buf, size_t size);
