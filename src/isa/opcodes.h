/* SPDX-License-Identifier: Apache-2.0 */
/* isa/opcodes.h - the form of the opcode maps; private to isa/.
 *
 * A map has a row for each opcode byte. A row is an instruction with its operand forms, or a
 * choice (by ModRM.reg, by prefix, ...) among further rows. The notation is that of the opcode
 * maps in SDM vol. 2, appendix A: Ev is a register or memory operand of operand size.
 */
#pragma once
#include "isa/insn.h"

struct opdef {
	uint16_t id;		/* enum insn_id, or INSN__COUNT + enum opdef_choice */
	uint8_t access;		/* enum opnd_access of the operands, two bits each */
	union {
		struct {
			uint32_t flags;		/* enum opdef_flag */
			uint8_t op[4];		/* enum form */
		};
		const struct opdef *sub;	/* the rows to choose from */
	};
};

/* What the next row is chosen by. */
enum opdef_choice {
	BY_reg,			/* ModRM.reg */
	BY_rm,			/* ModRM.rm */
	BY_mod,			/* memory, register */
	BY_pfx,			/* none, 66, F3, F2 */
	BY_mode,		/* other, 64-bit mode */
	BY_w,			/* REX.W or VEX.W as it is in the bytes */
	BY_w64,			/* the same, 0 outside 64-bit mode */
	BY_l			/* VEX.L */
};

enum opdef_flag {
	R = OPND_r, W = OPND_w, RW = OPND_rw,	/* op[0]; the others are only read, but for: */
	W1 = OPND_w << 2, RW1 = OPND_rw << 2,	/* op[1] */
	NOACC = 1 << 4,		/* memory is not accessed: lea, prefetch, nop */
	/* 64-bit mode only, at most one of them: */
	D64 = 1 << 5,		/* operand size 8 by default, 2 with 66, never 4 */
	F64 = 1 << 6,		/* operand size 8 whatever the prefixes */
	NEAR = 1 << 7,		/* a near branch */
	FARPTR = 1 << 8,	/* m16:16 or m16:32 */
	OSIZE_RULES = D64 | F64 | NEAR | FARPTR,
	OSIZE_SHIFT = 5,

	N64 = 1 << 9,		/* #UD in 64-bit mode */
	O64 = 1 << 10,		/* #UD outside 64-bit mode */
	VW0 = 1 << 11, VW1 = 1 << 12,	/* VEX.W must be that */
	VL0 = 1 << 13, VL1 = 1 << 14,	/* VEX.L must be that */
	GATHER = 1 << 15,	/* op[2] is the mask, read and written; three different registers */
	W2 = 1 << 16,		/* op[2] is written, where the mask says so */
	NOPFX = 1 << 17,	/* #UD with 66, F3 or F2 */
	ANYMOD = 1 << 18,	/* ModRM.rm is a register whatever ModRM.mod says */
	CHECK = 1 << 19		/* more to check: check() */
};

/* Operand forms. Those from FORM_MODRM on need the ModRM byte. */
enum form {
	_,			/* no operand */
	/* name, how, kind, size of memory, size of register: see forms.def */
#define FIXED(name, ...) name,
#define FORM(name, ...) name,
#define FORM_MODRM_BELOW FORM_MODRM = 0x7f,
#include "isa/forms.def"
#undef FIXED
#undef FORM
#undef FORM_MODRM_BELOW
	FORM__COUNT
};

#define OP(name, flags_, ...) \
	{ .id = INSN_##name, .access = ACCESS(flags_), .flags = (flags_), .op = { __VA_ARGS__ } }
#define ACCESS(f) (uint8_t)(((f) & 3) | \
	((f) & NOACC ? 0 : (f) & RW1 ? (f) & RW1 : R << 2) | \
	((f) & GATHER ? RW : (f) & W2 ? W : R) << 4 | R << 6)
#define UD { .id = INSN_invalid }
#define BY(what, n, ...) \
	{ .id = INSN__COUNT + BY_##what, .sub = (const struct opdef[n]){ __VA_ARGS__ } }
#define REG(...) BY(reg, 8, __VA_ARGS__)
#define RM(...) BY(rm, 8, __VA_ARGS__)
#define MOD(mem, reg) BY(mod, 2, mem, reg)
#define PFX(np, p66, pf3, pf2) BY(pfx, 4, np, p66, pf3, pf2)
#define NP(...) BY(pfx, 4, __VA_ARGS__)
#define MODE(other, m64) BY(mode, 2, other, m64)

extern const struct opdef isa_map0[256], isa_map1[256], isa_map2[256], isa_map3[256];
extern const struct opdef isa_vex1[256], isa_vex2[256], isa_vex3[256];
