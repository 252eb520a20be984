/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/alu.c - two-operand arithmetic and logic, INC DEC NEG NOT: every size and form.
 *
 * The host executes the same instruction, so that all flags, undefined ones too, are the hardware's.
 * ALU(add, ...) makes add8 .. add64 (values), add8_at .. (host memory, LOCK or not) and the handlers
 * add8_rr .. add64_lmi; which of them serves an instruction is looked up in alu_table.
 */
#include "engine/interp/iop.h"
#include "engine/interp/families.h"

enum form { FORM_rr, FORM_ri, FORM_rm, FORM_mr, FORM_mi, FORM_lmr /* locked */, FORM_lmi, FORM__COUNT };

#define RMW_SLOW(lin, bits, lock, fn, value) \
	iop_rmw_slow(c, op, lin, (bits) / 8, lock, fn, (struct rmw){ .b = (value) })

/* Operations on values and on host memory. in: assembly that sets CF from fl, where it is an input. */
#define ALU_VALUE(name, in, bits, suffix) \
	static inline uint##bits##_t name##bits(struct cpu *c, uint##bits##_t a, uint##bits##_t b) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__(in #name suffix " %2, %1" FL_SAVE : "+&a"(fl), "+r"(a) : "rm"(b) : "cc"); \
	  c->hot.fl = (uint16_t)fl; return a; }
#define ALU_AT(name, in, bits, suffix, lock, tag) \
	static inline void name##bits##tag(struct cpu *c, uint##bits##_t *p, uint##bits##_t b) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__ volatile(in lock #name suffix " %2, %1" FL_SAVE : "+&a"(fl), "+m"(*p) : "r"(b) : "cc", "memory"); \
	  c->hot.fl = (uint16_t)fl; }
#define ALU_LATER(name, bits) \
	static uint64_t name##bits##_later(void *ctx, uint64_t old) \
	{ struct rmw *x = ctx; x->c->hot.fl = x->fl; \
	  return name##bits(x->c, (uint##bits##_t)old, (uint##bits##_t)x->b); }

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)
#define ALU_RR(name, bits, set) HANDLER(name##bits##_rr) \
	{ set(op->dst, name##bits(c, REG##bits(op->dst), REG##bits(op->src))); NEXT; }
#define ALU_RI(name, bits, set) HANDLER(name##bits##_ri) \
	{ set(op->dst, name##bits(c, REG##bits(op->dst), (uint##bits##_t)op->imm)); NEXT; }
#define ALU_RM(name, bits, set) HANDLER(name##bits##_rm) \
	{ uint##bits##_t b; LOAD(bits, b); set(op->dst, name##bits(c, REG##bits(op->dst), b)); NEXT; }
#define ALU_MX(name, bits, form, value, lock, tag) HANDLER(name##bits##form) \
	{ uint64_t lin = iop_lin(c, op); uint##bits##_t *p = iop_write_ptr(c, lin, (bits) / 8); \
	  if (unlikely(p == NULL)) return RMW_SLOW(lin, bits, lock, name##bits##_later, value); \
	  name##bits##tag(c, p, (uint##bits##_t)(value)); NEXT; }

#define ALU_SIZE(name, in, bits, suffix) \
	ALU_VALUE(name, in, bits, suffix) ALU_LATER(name, bits) \
	ALU_AT(name, in, bits, suffix, "", _at) ALU_AT(name, in, bits, suffix, "lock ", _lat) \
	ALU_RR(name, bits, SET##bits) ALU_RI(name, bits, SET##bits) ALU_RM(name, bits, SET##bits) \
	ALU_MX(name, bits, _mr, REG##bits(op->src), false, _at) ALU_MX(name, bits, _mi, op->imm, false, _at) \
	ALU_MX(name, bits, _lmr, REG##bits(op->src), true, _lat) ALU_MX(name, bits, _lmi, op->imm, true, _lat)
#define ALU(name, in) \
	ALU_SIZE(name, in, 8, "b") ALU_SIZE(name, in, 16, "w") ALU_SIZE(name, in, 32, "l") ALU_SIZE(name, in, 64, "q")
#define CF_IN "bt $8, %k0\n\t"

ALU(add, "") ALU(or, "") ALU(adc, CF_IN) ALU(sbb, CF_IN) ALU(and, "") ALU(sub, "") ALU(xor, "")

/* CMP and TEST write no operand. */
#define DROP(off, val) ((void)(val))
#define CMP_MX(name, bits, form, value) HANDLER(name##bits##form) \
	{ uint##bits##_t a; LOAD(bits, a); name##bits(c, a, (uint##bits##_t)(value)); NEXT; }
#define CMP_SIZE(name, bits, suffix) ALU_VALUE(name, "", bits, suffix) \
	ALU_RR(name, bits, DROP) ALU_RI(name, bits, DROP) ALU_RM(name, bits, DROP) \
	CMP_MX(name, bits, _mr, REG##bits(op->src)) CMP_MX(name, bits, _mi, op->imm)
#define CMP(name) CMP_SIZE(name, 8, "b") CMP_SIZE(name, 16, "w") CMP_SIZE(name, 32, "l") CMP_SIZE(name, 64, "q")

CMP(cmp) CMP(test)

#define ROW(name, bits) { name##bits##_rr, name##bits##_ri, name##bits##_rm, name##bits##_mr, name##bits##_mi, \
	name##bits##_lmr, name##bits##_lmi }
#define ROWS(name) { ROW(name, 8), ROW(name, 16), ROW(name, 32), ROW(name, 64) }
#define CMP_ROW(name, bits) { name##bits##_rr, name##bits##_ri, name##bits##_rm, name##bits##_mr, name##bits##_mi, \
	NULL, NULL }
#define CMP_ROWS(name) { CMP_ROW(name, 8), CMP_ROW(name, 16), CMP_ROW(name, 32), CMP_ROW(name, 64) }

enum { ALU_add, ALU_or, ALU_adc, ALU_sbb, ALU_and, ALU_sub, ALU_xor, ALU_cmp, ALU_test, ALU__COUNT };
static iop_fn *const alu_table[ALU__COUNT][SIZES][FORM__COUNT] = {
	[ALU_add] = ROWS(add), [ALU_or] = ROWS(or), [ALU_adc] = ROWS(adc), [ALU_sbb] = ROWS(sbb),
	[ALU_and] = ROWS(and), [ALU_sub] = ROWS(sub), [ALU_xor] = ROWS(xor),
	[ALU_cmp] = CMP_ROWS(cmp), [ALU_test] = CMP_ROWS(test),
};

static unsigned
alu_of(uint16_t id)
{
	switch (id) {
	case INSN_add: return ALU_add;
	case INSN_or: return ALU_or;
	case INSN_adc: return ALU_adc;
	case INSN_sbb: return ALU_sbb;
	case INSN_and: return ALU_and;
	case INSN_sub: return ALU_sub;
	case INSN_xor: return ALU_xor;
	case INSN_cmp: return ALU_cmp;
	default: return ALU_test;
	}
}

static enum form
form_of(const struct insn *in)
{
	bool imm = in->op[1].kind == OPND_imm, lock = in->prefixes & PFX_lock;

	if (in->op[0].kind == OPND_reg)
		return imm ? FORM_ri : in->op[1].kind == OPND_reg ? FORM_rr : FORM_rm;
	if (lock)
		return imm ? FORM_lmi : FORM_lmr;
	return imm ? FORM_mi : FORM_mr;
}

static uint64_t
fl_of_zero(void)
{
	uint64_t fl = 0, a = 0;

	__asm__("xorl %k1, %k1" FL_SAVE : "+&a"(fl), "+r"(a) : : "cc");
	return (uint16_t)fl;
}

/* XOR r, r of 32 or 64 bits: the idiom for zero. */
HANDLER(zero_r)
{
	REG64(op->dst) = 0;
	c->hot.fl = (uint32_t)op->imm;
	NEXT;
}

bool
lower_alu(struct lower *l)
{
	const struct insn *in = l->in;
	unsigned alu = alu_of(in->id), size = size_index(in->op[0].size);

	if (alu == ALU_xor && size >= 2 && in->op[1].kind == OPND_reg && in->op[0].kind == OPND_reg &&
	    in->op[0].reg == in->op[1].reg) {
		l->op->imm = fl_of_zero();
		l->op->fn = zero_r;
		return true;
	}
	l->op->fn = alu_table[alu][size][form_of(in)];
	return l->op->fn != NULL;
}

/* ---- one operand ---- */

#define UNARY_VALUE(name, in, bits, suffix) \
	static inline uint##bits##_t name##bits(struct cpu *c, uint##bits##_t a) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__(in #name suffix " %1" FL_SAVE : "+&a"(fl), "+r"(a) : : "cc"); \
	  c->hot.fl = (uint16_t)fl; return a; }
#define UNARY_AT(name, in, bits, suffix, lock, tag) \
	static inline void name##bits##tag(struct cpu *c, uint##bits##_t *p) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__ volatile(in lock #name suffix " %1" FL_SAVE : "+&a"(fl), "+m"(*p) : : "cc", "memory"); \
	  c->hot.fl = (uint16_t)fl; }
#define UNARY_LATER(name, bits) \
	static uint64_t name##bits##_later(void *ctx, uint64_t old) \
	{ struct rmw *x = ctx; x->c->hot.fl = x->fl; return name##bits(x->c, (uint##bits##_t)old); }
#define UNARY_R(name, bits, set) HANDLER(name##bits##_r) { set(op->dst, name##bits(c, REG##bits(op->dst))); NEXT; }
#define UNARY_M(name, bits, form, lock, tag) HANDLER(name##bits##form) \
	{ uint64_t lin = iop_lin(c, op); uint##bits##_t *p = iop_write_ptr(c, lin, (bits) / 8); \
	  if (unlikely(p == NULL)) return RMW_SLOW(lin, bits, lock, name##bits##_later, 0); \
	  name##bits##tag(c, p); NEXT; }
#define UNARY_SIZE(name, in, bits, suffix) \
	UNARY_VALUE(name, in, bits, suffix) UNARY_LATER(name, bits) \
	UNARY_AT(name, in, bits, suffix, "", _at) UNARY_AT(name, in, bits, suffix, "lock ", _lat) \
	UNARY_R(name, bits, SET##bits) UNARY_M(name, bits, _m, false, _at) UNARY_M(name, bits, _lm, true, _lat)
#define UNARY(name, in) UNARY_SIZE(name, in, 8, "b") UNARY_SIZE(name, in, 16, "w") \
	UNARY_SIZE(name, in, 32, "l") UNARY_SIZE(name, in, 64, "q")

/* INC and DEC keep CF; NOT keeps all flags. */
UNARY(inc, CF_IN) UNARY(dec, CF_IN) UNARY(neg, "") UNARY(not, FL_LOAD)

#define UNARY_ROW(name, bits) { name##bits##_r, name##bits##_m, name##bits##_lm }
#define UNARY_ROWS(name) { UNARY_ROW(name, 8), UNARY_ROW(name, 16), UNARY_ROW(name, 32), UNARY_ROW(name, 64) }
enum { UNARY_inc, UNARY_dec, UNARY_neg, UNARY_not, UNARY__COUNT };
static iop_fn *const unary_table[UNARY__COUNT][SIZES][3] = {
	[UNARY_inc] = UNARY_ROWS(inc), [UNARY_dec] = UNARY_ROWS(dec),
	[UNARY_neg] = UNARY_ROWS(neg), [UNARY_not] = UNARY_ROWS(not),
};

bool
lower_unary(struct lower *l)
{
	const struct insn *in = l->in;
	unsigned form = in->op[0].kind == OPND_reg ? 0 : in->prefixes & PFX_lock ? 2 : 1;
	unsigned which = in->id == INSN_inc ? UNARY_inc : in->id == INSN_dec ? UNARY_dec :
		in->id == INSN_neg ? UNARY_neg : UNARY_not;

	l->op->fn = unary_table[which][size_index(in->op[0].size)][form];
	return true;
}
