/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/families.h - what each family's file offers to lower_table. */
#pragma once
#include "engine/interp/iop.h"

enum { SIZES = 4 };

/* 1, 2, 4, 8 bytes to 0 .. 3. */
static inline unsigned
size_index(unsigned size)
{
	return (unsigned)__builtin_ctz(size | 8);
}

/* 64-bit mode, 8-byte operands, no alignment checks: what the handlers of stack and flow are for. */
static inline bool
is_plain64(const struct lower *l)
{
	return l->c->mode == MODE_long64 && l->in->osize == 8 && !(l->block->key & KEY_ac);
}

/* X(cc, ...) for each condition: one handler each, so that the host predicts each on its own. */
#define CC_16(X, ...) X(0, __VA_ARGS__) X(1, __VA_ARGS__) X(2, __VA_ARGS__) X(3, __VA_ARGS__) \
	X(4, __VA_ARGS__) X(5, __VA_ARGS__) X(6, __VA_ARGS__) X(7, __VA_ARGS__) X(8, __VA_ARGS__) \
	X(9, __VA_ARGS__) X(10, __VA_ARGS__) X(11, __VA_ARGS__) X(12, __VA_ARGS__) X(13, __VA_ARGS__) \
	X(14, __VA_ARGS__) X(15, __VA_ARGS__)

lower_fn lower_alu, lower_unary;					/* alu.c */
lower_fn lower_mov, lower_movx, lower_lea, lower_cmov, lower_setcc,	/* move.c */
	lower_xchg, lower_bswap, lower_widen, lower_nop;
lower_fn lower_shift, lower_shiftd;					/* shift.c */
lower_fn lower_imul, lower_bit, lower_scan, lower_xadd, lower_cmpxchg;	/* muldiv.c, bits.c */
lower_fn lower_push, lower_pop, lower_leave;				/* stack.c */
lower_fn lower_jmp, lower_call, lower_ret, lower_jcc;			/* flow.c */
lower_fn lower_flag;							/* system.c */
lower_fn lower_vector;							/* fpu_iop.c */
