/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/muldiv.c - MUL, IMUL, DIV, IDIV and the decimal adjustments. */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)

/* ---- IMUL with two or three operands ---- */

#define IMUL(bits, suffix) \
	static inline uint##bits##_t imul##bits(struct cpu *c, uint##bits##_t a, uint##bits##_t b) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__(FL_LOAD "imul" suffix " %2, %1" FL_SAVE : "+&a"(fl), "+r"(a) : "rm"(b) : "cc"); \
	  c->hot.fl = (uint16_t)fl; return a; } \
	HANDLER(imul##bits##_rr) { SET##bits(op->dst, imul##bits(c, REG##bits(op->dst), REG##bits(op->src))); NEXT; } \
	HANDLER(imul##bits##_rm) { uint##bits##_t b; LOAD(bits, b); \
	  SET##bits(op->dst, imul##bits(c, REG##bits(op->dst), b)); NEXT; } \
	HANDLER(imul##bits##_rri) { SET##bits(op->dst, imul##bits(c, REG##bits(op->src), (uint##bits##_t)op->imm)); NEXT; } \
	HANDLER(imul##bits##_rmi) { uint##bits##_t b; LOAD(bits, b); \
	  SET##bits(op->dst, imul##bits(c, b, (uint##bits##_t)op->imm)); NEXT; }
#define IMUL_ROW(bits) { { imul##bits##_rr, imul##bits##_rm }, { imul##bits##_rri, imul##bits##_rmi } }

IMUL(16, "w") IMUL(32, "l") IMUL(64, "q")

bool
lower_imul(struct lower *l)
{
	static iop_fn *const table[SIZES][2][2] = { { { NULL } }, IMUL_ROW(16), IMUL_ROW(32), IMUL_ROW(64) };
	const struct insn *in = l->in;

	if (in->nopnds < 2)
		return false;
	l->op->fn = table[size_index(in->op[0].size)][in->nopnds > 2][in->op[1].kind == OPND_mem];
	return l->op->fn != NULL;
}

/* ---- one operand: rDX:rAX or AX, by the host's own instruction on copies ---- */

/* Guest flags into the host's, the instruction, and back; rAX and rDX are a and d. */
#define WITH_FLAGS(c, text, a, d, src) do { \
	uint64_t fl_; \
	flags_in(c); \
	fl_ = (c)->hot.fl; \
	__asm__("movl %k3, %%eax\n\t" FL_LOAD "movq %0, %%rax\n\t" text \
		"\n\tmovq %%rax, %0" FL_SAVE "\n\tmovl %%eax, %k3" \
		: "+&r"(a), "+&d"(d), "+&r"(src), "+&r"(fl_) : : "rax", "cc"); \
	(c)->hot.fl = (uint16_t)fl_; \
	flags_out(c); } while (0)

static void
set_ax_dx(struct cpu *c, unsigned size, uint64_t a, uint64_t d)
{
	if (size == 1) {
		SET16(8 * REG_rax, (uint16_t)a);
	} else if (size == 2) {
		SET16(8 * REG_rax, (uint16_t)a);
		SET16(8 * REG_rdx, (uint16_t)d);
	} else if (size == 4) {
		SET32(8 * REG_rax, a);
		SET32(8 * REG_rdx, d);
	} else {
		c->r.rax = a;
		c->r.rdx = d;
	}
}

#define BY_SIZE(c, name, size, a, d, src) do { \
	if ((size) == 1) WITH_FLAGS(c, name "b %b2", a, d, src); \
	else if ((size) == 2) WITH_FLAGS(c, name "w %w2", a, d, src); \
	else if ((size) == 4) WITH_FLAGS(c, name "l %k2", a, d, src); \
	else WITH_FLAGS(c, name "q %2", a, d, src); } while (0)

static int
exec_multiply(struct cpu *c, const struct insn *in, bool sign)
{
	uint64_t a = c->r.rax, d = c->r.rdx, src;

	if (opnd_get(c, in, 0, &src))
		return FAULT;
	if (sign)
		BY_SIZE(c, "imul", in->op[0].size, a, d, src);
	else
		BY_SIZE(c, "mul", in->op[0].size, a, d, src);
	set_ax_dx(c, in->op[0].size, a, d);
	return OK;
}

int
exec_mul(struct cpu *c, const struct insn *in)
{
	return exec_multiply(c, in, false);
}

int
exec_imul(struct cpu *c, const struct insn *in)
{
	return exec_multiply(c, in, true);
}

typedef u128_t u128;
typedef s128_t s128;

/* The dividend of a division by `size` bytes, zero-extended. */
static u128
dividend(const struct cpu *c, unsigned size)
{
	if (size == 1)
		return (uint16_t)c->r.rax;
	if (size == 2)
		return (uint32_t)c->r.rdx << 16 | (uint16_t)c->r.rax;
	if (size == 4)
		return c->r.rdx << 32 | (uint32_t)c->r.rax;
	return (u128)c->r.rdx << 64 | c->r.rax;
}

static uint64_t
sign_extend(uint64_t val, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (uint64_t)((int64_t)(val << shift) >> shift);
}

int
exec_div(struct cpu *c, const struct insn *in)
{
	unsigned size = in->op[0].size;
	uint64_t a = c->r.rax, d = c->r.rdx, src;

	if (opnd_get(c, in, 0, &src))
		return FAULT;
	/* The quotient fits when the upper half of the dividend is below the divisor. */
	if ((uint64_t)(dividend(c, size) >> 8 * size) >= src)
		return cpu_raise(c, VEC_de);
	BY_SIZE(c, "div", size, a, d, src);
	set_ax_dx(c, size, a, d);
	return OK;
}

/* Would the host's IDIV trap? q = |n| / |m| must be in range for its sign. */
static bool
idiv_overflows(u128 n, unsigned size, int64_t m)
{
	unsigned shift = 128 - 16 * size;
	s128 sn = (s128)(n << shift) >> shift;
	u128 an = sn < 0 ? -(u128)sn : (u128)sn;
	u128 am = m < 0 ? -(u128)(s128)m : (u128)m;
	u128 most = (u128)1 << (8 * size - 1);
	bool negative = (sn < 0) != (m < 0);

	if (m == 0)
		return true;
	return negative ? an / am > most : an / am >= most;
}

int
exec_idiv(struct cpu *c, const struct insn *in)
{
	unsigned size = in->op[0].size;
	uint64_t a = c->r.rax, d = c->r.rdx, src;

	if (opnd_get(c, in, 0, &src))
		return FAULT;
	if (idiv_overflows(dividend(c, size), size, (int64_t)sign_extend(src, size)))
		return cpu_raise(c, VEC_de);
	BY_SIZE(c, "idiv", size, a, d, src);
	set_ax_dx(c, size, a, d);
	return OK;
}

/* ---- decimal and ASCII adjustments (SDM vol. 2; the host has them in no 64-bit mode) ---- */

/* SF, ZF, PF of a byte; the other arithmetic flags as given. */
static void
set_flags8(struct cpu *c, uint8_t val, uint64_t others)
{
	uint64_t f = others;

	f |= val == 0 ? rflags_zf_MASK : 0;
	f |= val & 0x80 ? rflags_sf_MASK : 0;
	f |= __builtin_parity(val) ? 0 : rflags_pf_MASK;
	c->r.rflags = (c->r.rflags & ~(uint64_t)RFLAGS_arith) | f;
}

static int
exec_daa_das(struct cpu *c, bool subtract)
{
	uint8_t old = (uint8_t)c->r.rax, al = old;
	bool cf = rflags_cf(&c->r), af = (old & 0xf) > 9 || rflags_af(&c->r), carry = false;

	if (af) {
		carry = cf || (subtract ? old < 6 : old > 0xff - 6);
		al = (uint8_t)(subtract ? al - 6 : al + 6);
	}
	if (old > 0x99 || cf) {
		al = (uint8_t)(subtract ? al - 0x60 : al + 0x60);
		carry = true;
	}
	SET8(8 * REG_rax, al);
	set_flags8(c, al, (af ? rflags_af_MASK : 0) | (carry ? rflags_cf_MASK : 0));
	return OK;
}

int
exec_daa(struct cpu *c, const struct insn *in)
{
	(void)in;
	return exec_daa_das(c, false);
}

int
exec_das(struct cpu *c, const struct insn *in)
{
	(void)in;
	return exec_daa_das(c, true);
}

static int
exec_aaa_aas(struct cpu *c, int by)
{
	bool adjust = (c->r.rax & 0xf) > 9 || rflags_af(&c->r);

	if (adjust)
		SET16(8 * REG_rax, (uint16_t)(c->r.rax + (uint64_t)(int64_t)by));
	SET8(8 * REG_rax, c->r.rax & 0xf);
	set_flags8(c, (uint8_t)c->r.rax, adjust ? rflags_af_MASK | rflags_cf_MASK : 0);
	return OK;
}

int
exec_aaa(struct cpu *c, const struct insn *in)
{
	(void)in;
	return exec_aaa_aas(c, 0x106);
}

int
exec_aas(struct cpu *c, const struct insn *in)
{
	(void)in;
	return exec_aaa_aas(c, -0x106);
}

int
exec_aam(struct cpu *c, const struct insn *in)
{
	uint8_t al = (uint8_t)c->r.rax, by = (uint8_t)in->imm;

	if (by == 0)
		return cpu_raise(c, VEC_de);
	SET16(8 * REG_rax, (uint16_t)(al / by << 8 | al % by));
	set_flags8(c, (uint8_t)c->r.rax, 0);
	return OK;
}

int
exec_aad(struct cpu *c, const struct insn *in)
{
	uint8_t a = (uint8_t)c->r.rax, b = (uint8_t)((c->r.rax >> 8 & 0xff) * (uint8_t)in->imm), al = (uint8_t)(a + b);
	uint64_t others = al < a ? rflags_cf_MASK : 0;

	/* The undefined flags are those of the addition, as on hardware. */
	others |= (a ^ b ^ al) & rflags_af_MASK;
	others |= (a ^ al) & (b ^ al) & 0x80 ? rflags_of_MASK : 0;
	SET16(8 * REG_rax, al);
	set_flags8(c, al, others);
	return OK;
}
