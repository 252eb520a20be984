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

lower_fn lower_alu, lower_unary;					/* alu.c */
lower_fn lower_mov, lower_movx, lower_lea, lower_cmov, lower_setcc,	/* move.c */
	lower_xchg, lower_bswap, lower_widen, lower_nop;
lower_fn lower_shift, lower_shiftd;					/* shift.c */
lower_fn lower_imul, lower_bit, lower_scan, lower_xadd, lower_cmpxchg;	/* muldiv.c, bits.c */
lower_fn lower_push, lower_pop, lower_leave;				/* stack.c */
lower_fn lower_jmp, lower_call, lower_ret, lower_jcc;			/* flow.c */
lower_fn lower_flag;							/* system.c */
lower_fn lower_vector;							/* fpu_iop.c */
