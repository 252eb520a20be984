/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/shift.c - shifts and rotates, SHLD and SHRD.
 *
 * All flags go in, because a count of zero keeps them and rotates keep most; the host does the rest.
 */
#include "engine/interp/families.h"

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)

#define SHIFT_SLOW(lin, bits, fn, by, b_) \
	iop_rmw_slow(c, op, lin, (bits) / 8, false, fn, (struct rmw){ .count = (uint8_t)(by), .b = (b_) })

/* `by` is where the count is: the immediate or CL. */
#define SHIFT_VALUE(name, bits, suffix) \
	static inline uint##bits##_t name##bits(struct cpu *c, uint##bits##_t a, uint8_t count) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__(FL_LOAD #name suffix " %%cl, %1" FL_SAVE : "+&a"(fl), "+r"(a) : "c"(count) : "cc"); \
	  c->hot.fl = (uint16_t)fl; return a; } \
	static uint64_t name##bits##_later(void *ctx, uint64_t old) \
	{ struct rmw *x = ctx; x->c->hot.fl = x->fl; return name##bits(x->c, (uint##bits##_t)old, x->count); }
#define SHIFT_FORM(name, bits, tag, by) \
	HANDLER(name##bits##_r##tag) { SET##bits(op->dst, name##bits(c, REG##bits(op->dst), (uint8_t)(by))); NEXT; } \
	HANDLER(name##bits##_m##tag) \
	{ uint64_t lin = iop_lin(c, op); uint##bits##_t *p = iop_write_ptr(c, lin, (bits) / 8), v; \
	  if (unlikely(p == NULL)) return SHIFT_SLOW(lin, bits, name##bits##_later, by, 0); \
	  __builtin_memcpy(&v, p, sizeof(v)); v = name##bits(c, v, (uint8_t)(by)); \
	  __builtin_memcpy(p, &v, sizeof(v)); NEXT; }
#define SHIFT_SIZE(name, bits, suffix) SHIFT_VALUE(name, bits, suffix) \
	SHIFT_FORM(name, bits, i, op->imm) SHIFT_FORM(name, bits, c, c->r.rcx)
#define SHIFT(name) SHIFT_SIZE(name, 8, "b") SHIFT_SIZE(name, 16, "w") SHIFT_SIZE(name, 32, "l") SHIFT_SIZE(name, 64, "q")
#define SHIFT_ROW(name, bits) { { name##bits##_ri, name##bits##_rc }, { name##bits##_mi, name##bits##_mc } }
#define SHIFT_ROWS(name) { SHIFT_ROW(name, 8), SHIFT_ROW(name, 16), SHIFT_ROW(name, 32), SHIFT_ROW(name, 64) }

SHIFT(rol) SHIFT(ror) SHIFT(rcl) SHIFT(rcr) SHIFT(shl) SHIFT(shr) SHIFT(sar)

/* By ModRM.reg; 6 is another SHL. [operation][size][memory][count in CL] */
static iop_fn *const shift_table[8][SIZES][2][2] = {
	SHIFT_ROWS(rol), SHIFT_ROWS(ror), SHIFT_ROWS(rcl), SHIFT_ROWS(rcr),
	SHIFT_ROWS(shl), SHIFT_ROWS(shr), SHIFT_ROWS(shl), SHIFT_ROWS(sar),
};

bool
lower_shift(struct lower *l)
{
	const struct insn *in = l->in;
	bool by_cl = in->nopnds > 1 && in->op[1].kind == OPND_reg;

	if (!by_cl && (in->nopnds < 2 || in->op[1].kind != OPND_imm))
		l->op->imm = 1;
	/* The low three bits of D0-D3 opcodes with the immediate 1 in no byte. */
	if (in->opcode == 0xd0 || in->opcode == 0xd1)
		l->op->imm = 1;
	l->op->fn = shift_table[in->modrm >> 3 & 7][size_index(in->op[0].size)][in->op[0].kind == OPND_mem][by_cl];
	return true;
}

/* ---- SHLD, SHRD: b shifts in ---- */

#define SHIFTD_VALUE(name, bits, suffix) \
	static inline uint##bits##_t name##bits(struct cpu *c, uint##bits##_t a, uint##bits##_t b, uint8_t count) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__(FL_LOAD #name suffix " %%cl, %2, %1" FL_SAVE : "+&a"(fl), "+r"(a) : "r"(b), "c"(count) : "cc"); \
	  c->hot.fl = (uint16_t)fl; return a; } \
	static uint64_t name##bits##_later(void *ctx, uint64_t old) \
	{ struct rmw *x = ctx; x->c->hot.fl = x->fl; \
	  return name##bits(x->c, (uint##bits##_t)old, (uint##bits##_t)x->b, x->count); }
#define SHIFTD_FORM(name, bits, tag, by) \
	HANDLER(name##bits##_r##tag) \
	{ SET##bits(op->dst, name##bits(c, REG##bits(op->dst), REG##bits(op->src), (uint8_t)(by))); NEXT; } \
	HANDLER(name##bits##_m##tag) \
	{ return SHIFT_SLOW(iop_lin(c, op), bits, name##bits##_later, by, REG##bits(op->src)); }
#define SHIFTD_SIZE(name, bits, suffix) SHIFTD_VALUE(name, bits, suffix) \
	SHIFTD_FORM(name, bits, i, op->imm) SHIFTD_FORM(name, bits, c, c->r.rcx)
#define SHIFTD(name) SHIFTD_SIZE(name, 16, "w") SHIFTD_SIZE(name, 32, "l") SHIFTD_SIZE(name, 64, "q")
#define SHIFTD_ROWS(name) { { { NULL } }, SHIFT_ROW(name, 16), SHIFT_ROW(name, 32), SHIFT_ROW(name, 64) }

SHIFTD(shld) SHIFTD(shrd)
static iop_fn *const shiftd_table[2][SIZES][2][2] = { SHIFTD_ROWS(shld), SHIFTD_ROWS(shrd) };

bool
lower_shiftd(struct lower *l)
{
	const struct insn *in = l->in;

	l->op->fn = shiftd_table[in->id == INSN_shrd][size_index(in->op[0].size)][in->op[0].kind == OPND_mem]
		[in->op[2].kind == OPND_reg];
	return true;
}
