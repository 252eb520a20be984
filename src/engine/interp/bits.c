/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/bits.c - bit tests, bit scans, BMI, ADX, CRC32, CMPXCHG and XADD. */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"
#include <string.h>

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)

/* ---- BT BTS BTR BTC with registers and immediates ---- */

#define BITS_VALUE(name, bits, suffix) \
	static inline uint##bits##_t name##bits(struct cpu *c, uint##bits##_t a, uint##bits##_t n) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__(FL_LOAD #name suffix " %2, %1" FL_SAVE : "+&a"(fl), "+r"(a) : "r"(n) : "cc"); \
	  c->hot.fl = (uint16_t)fl; return a; } \
	static uint64_t name##bits##_later(void *ctx, uint64_t old) \
	{ struct rmw *x = ctx; x->c->hot.fl = x->fl; \
	  return name##bits(x->c, (uint##bits##_t)old, (uint##bits##_t)x->b); }
#define BITS_FORMS(name, bits, set) \
	HANDLER(name##bits##_rr) { set(op->dst, name##bits(c, REG##bits(op->dst), REG##bits(op->src))); NEXT; } \
	HANDLER(name##bits##_ri) { set(op->dst, name##bits(c, REG##bits(op->dst), (uint##bits##_t)op->imm)); NEXT; }
#define BITS(name, s16, s32, s64) \
	BITS_VALUE(name, 16, "w") BITS_VALUE(name, 32, "l") BITS_VALUE(name, 64, "q") \
	BITS_FORMS(name, 16, s16) BITS_FORMS(name, 32, s32) BITS_FORMS(name, 64, s64)
#define BITS_ROWS(name) { { NULL }, { name##16_rr, name##16_ri }, { name##32_rr, name##32_ri }, { name##64_rr, name##64_ri } }
#define BITS_LATER(name) { NULL, name##16_later, name##32_later, name##64_later }
#define DROP(off, val) ((void)(val))

BITS(bt, DROP, DROP, DROP) BITS(bts, SET16, SET32, SET64) BITS(btr, SET16, SET32, SET64) BITS(btc, SET16, SET32, SET64)

enum { BIT_bt, BIT_bts, BIT_btr, BIT_btc, BIT__COUNT };
static iop_fn *const bit_table[BIT__COUNT][SIZES][2] = { BITS_ROWS(bt), BITS_ROWS(bts), BITS_ROWS(btr), BITS_ROWS(btc) };
static lin_rmw_fn *const bit_later[BIT__COUNT][SIZES] = { BITS_LATER(bt), BITS_LATER(bts), BITS_LATER(btr), BITS_LATER(btc) };

static unsigned
bit_of(uint16_t id)
{
	return id == INSN_bt ? BIT_bt : id == INSN_bts ? BIT_bts : id == INSN_btr ? BIT_btr : BIT_btc;
}

bool
lower_bit(struct lower *l)
{
	const struct insn *in = l->in;

	if (in->op[0].kind != OPND_reg)
		return false;
	l->op->fn = bit_table[bit_of(in->id)][size_index(in->op[0].size)][in->op[1].kind == OPND_imm];
	return true;
}

/* In memory: a bit number in a register reaches beyond the operand, signed. */
int
exec_bit(struct cpu *c, const struct insn *in)
{
	unsigned size = in->op[0].size, bits = 8 * size, which = bit_of(in->id);
	uint64_t off = insn_offset(c, in), lin, n, old;
	struct rmw x = { .c = c };
	int res;

	if (in->op[1].kind == OPND_imm) {
		n = in->imm & (bits - 1);
	} else {
		n = reg_get(c, &in->op[1]);
		n = (uint64_t)((int64_t)(n << (64 - bits)) >> (64 - bits));
		off += (uint64_t)((int64_t)n >> (3 + size_index(size))) * size;
		n &= bits - 1;
	}
	off = offset_cut(in, off);
	if (offset_lin(c, in->seg, off, size, which == BIT_bt ? ACC_read : ACC_write, &lin))
		return FAULT;
	flags_in(c);
	x.fl = c->hot.fl;
	x.b = n;
	if (which == BIT_bt) {
		old = 0;
		res = lin_read_slow(c, lin, &old, size, ACC_read);
		if (res == OK)
			bit_later[which][size_index(size)](&x, old);
	} else {
		res = lin_rmw_slow(c, lin, size, in->prefixes & PFX_lock, bit_later[which][size_index(size)], &x);
	}
	if (res == OK)
		flags_out(c);
	return res;
}

/* ---- BSF BSR TZCNT LZCNT POPCNT; a zero source leaves BSF's destination as the host's does ---- */

#define SCAN(name, bits, suffix) \
	static inline uint64_t name##bits(struct cpu *c, uint64_t a, uint##bits##_t b) \
	{ uint64_t fl = c->hot.fl; \
	  __asm__(FL_LOAD #name suffix " %2, %" SCAN_REG_##bits "1" FL_SAVE : "+&a"(fl), "+r"(a) : "rm"(b) : "cc"); \
	  c->hot.fl = (uint16_t)fl; return a; } \
	HANDLER(name##bits##_rr) { REG64(op->dst) = name##bits(c, REG64(op->dst), REG##bits(op->src)); NEXT; } \
	HANDLER(name##bits##_rm) { uint##bits##_t b; LOAD(bits, b); \
	  REG64(op->dst) = name##bits(c, REG64(op->dst), b); NEXT; }
#define SCAN_REG_16 "w"
#define SCAN_REG_32 "k"
#define SCAN_REG_64 ""
#define SCANS(name) SCAN(name, 16, "w") SCAN(name, 32, "l") SCAN(name, 64, "q")
#define SCAN_ROWS(name) { { NULL }, { name##16_rr, name##16_rm }, { name##32_rr, name##32_rm }, { name##64_rr, name##64_rm } }

SCANS(bsf) SCANS(bsr) SCANS(tzcnt) SCANS(lzcnt) SCANS(popcnt)

bool
lower_scan(struct lower *l)
{
	static iop_fn *const table[5][SIZES][2] = { SCAN_ROWS(bsf), SCAN_ROWS(bsr), SCAN_ROWS(tzcnt),
		SCAN_ROWS(lzcnt), SCAN_ROWS(popcnt) };
	const struct insn *in = l->in;
	unsigned which = in->id == INSN_bsf ? 0 : in->id == INSN_bsr ? 1 : in->id == INSN_tzcnt ? 2 :
		in->id == INSN_lzcnt ? 3 : 4;

	l->op->fn = table[which][size_index(in->op[0].size)][in->op[1].kind == OPND_mem];
	return true;
}

/* ---- XADD, CMPXCHG ---- */

#define XADD(bits, suffix) \
	static uint64_t xadd##bits##_later(void *ctx, uint64_t old) \
	{ struct rmw *x = ctx; uint64_t fl = 0; uint##bits##_t a = (uint##bits##_t)old; \
	  __asm__("add" suffix " %2, %1" FL_SAVE : "+&a"(fl), "+r"(a) : "r"((uint##bits##_t)x->b) : "cc"); \
	  x->c->hot.fl = (uint16_t)fl; x->old = old; return a; }
XADD(8, "b") XADD(16, "w") XADD(32, "l") XADD(64, "q")

int
exec_xadd(struct cpu *c, const struct insn *in)
{
	static lin_rmw_fn *const later[SIZES] = { xadd8_later, xadd16_later, xadd32_later, xadd64_later };
	unsigned size = in->op[0].size;
	struct rmw x = { .c = c, .b = reg_get(c, &in->op[1]) };
	uint64_t lin, sum;

	if (in->op[0].kind == OPND_reg) {
		sum = later[size_index(size)](&x, reg_get(c, &in->op[0]));
		reg_set(c, &in->op[1], x.old);
		reg_set(c, &in->op[0], sum);
	} else {
		if (insn_lin(c, in, size, ACC_write, &lin) ||
		    lin_rmw_slow(c, lin, size, in->prefixes & PFX_lock, later[size_index(size)], &x))
			return FAULT;
		reg_set(c, &in->op[1], x.old);
	}
	flags_out(c);
	return OK;
}

#define XADD_M(bits) HANDLER(xadd##bits##_m) \
	{ uint64_t lin = iop_lin(c, op), fl = 0; uint##bits##_t *p = iop_write_ptr(c, lin, (bits) / 8), v = REG##bits(op->src); \
	  if (unlikely(p == NULL)) return iop_exec(c, op, exec_xadd); \
	  __asm__ volatile("lock xadd %2, %1" FL_SAVE : "+&a"(fl), "+m"(*p), "+r"(v) : : "cc", "memory"); \
	  c->hot.fl = (uint16_t)fl; SET##bits(op->src, v); NEXT; }
XADD_M(32) XADD_M(64)

bool
lower_xadd(struct lower *l)
{
	unsigned size = l->in->op[0].size;

	if (l->in->op[0].kind != OPND_mem || size < 4)
		return false;
	l->op->fn = size == 4 ? xadd32_m : xadd64_m;
	l->op->in = lower_keep(l);
	return true;
}

/* x->b: what AL..RAX has to match; x->new. Always writes: the old value when it does not match. */
struct exchange { uint64_t expect, new, old, mask; };

static uint64_t
exchange_later(void *ctx, uint64_t old)
{
	struct exchange *x = ctx;

	x->old = old & x->mask;
	return x->old == x->expect ? x->new : x->old;
}

int
exec_cmpxchg(struct cpu *c, const struct insn *in)
{
	unsigned size = in->op[0].size;
	uint64_t mask = size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1, lin;
	struct exchange x = { .expect = c->r.rax & mask, .new = reg_get(c, &in->op[1]), .mask = mask };
	struct opnd rax = { .kind = OPND_reg, .reg = REG_rax, .size = (uint8_t)size };

	if (in->op[0].kind == OPND_reg) {
		x.old = reg_get(c, &in->op[0]);
		/* Else it is not written at all: 32 bits do not clear the upper half. */
		if (x.old == x.expect)
			reg_set(c, &in->op[0], x.new);
	} else if (insn_lin(c, in, size, ACC_write, &lin) ||
		   lin_rmw_slow(c, lin, size, in->prefixes & PFX_lock, exchange_later, &x)) {
		return FAULT;
	}
	compare_flags(c, x.expect, x.old, size);
	if (x.old != x.expect)
		reg_set(c, &rax, x.old);
	return OK;
}

#define CMPXCHG_M(bits) HANDLER(cmpxchg##bits##_m) \
	{ uint64_t lin = iop_lin(c, op), a = c->r.rax, old; uint##bits##_t *p = iop_write_ptr(c, lin, (bits) / 8); \
	  if (unlikely(p == NULL)) return iop_exec(c, op, exec_cmpxchg); \
	  __asm__ volatile("lock cmpxchg %3, %1\n\tmovq %0, %2" FL_SAVE : "+&a"(a), "+m"(*p), "=&r"(old) \
		: "r"(REG##bits(op->src)) : "cc", "memory"); \
	  c->hot.fl = (uint16_t)a; \
	  if (!(a & FL_zf)) SET##bits(8 * REG_rax, (uint##bits##_t)old); \
	  NEXT; }
CMPXCHG_M(8) CMPXCHG_M(16) CMPXCHG_M(32) CMPXCHG_M(64)

bool
lower_cmpxchg(struct lower *l)
{
	static iop_fn *const table[SIZES] = { cmpxchg8_m, cmpxchg16_m, cmpxchg32_m, cmpxchg64_m };

	if (l->in->op[0].kind != OPND_mem)
		return false;
	l->op->fn = table[size_index(l->in->op[0].size)];
	l->op->in = lower_keep(l);
	return true;
}

/* CMPXCHG8B, CMPXCHG16B: rDX:rAX against memory, rCX:rBX into it. */
static void
exchange_result(struct cpu *c, bool same, uint64_t lo, uint64_t hi, bool wide)
{
	c->r.rflags = (c->r.rflags & ~rflags_zf_MASK) | (same ? rflags_zf_MASK : 0);
	if (same)
		return;
	c->r.rax = wide ? lo : (uint32_t)lo;
	c->r.rdx = wide ? hi : (uint32_t)hi;
}

int
exec_cmpxchg8b(struct cpu *c, const struct insn *in)
{
	struct exchange x = { .expect = c->r.rdx << 32 | (uint32_t)c->r.rax,
		.new = c->r.rcx << 32 | (uint32_t)c->r.rbx, .mask = UINT64_MAX };
	uint64_t lin;

	if (insn_lin(c, in, 8, ACC_write, &lin) ||
	    lin_rmw_slow(c, lin, 8, in->prefixes & PFX_lock, exchange_later, &x))
		return FAULT;
	exchange_result(c, x.old == x.expect, x.old, x.old >> 32, false);
	return OK;
}

int
exec_cmpxchg16b(struct cpu *c, const struct insn *in)
{
	uint64_t lin, lo = c->r.rax, hi = c->r.rdx, old[2];
	uint8_t *p;
	bool same;

	if (insn_lin(c, in, 16, ACC_write, &lin))
		return FAULT;
	if (lin & 15)
		return cpu_raise_error(c, VEC_gp, 0);
	if (lin_probe(c, lin, 16, ACC_write))
		return FAULT;
	p = iop_write_ptr(c, lin, 16);
	if (p != NULL) {
		__asm__ volatile("lock cmpxchg16b %0\n\tsete %b3" : "+m"(*(u128_t *)p), "+a"(lo), "+d"(hi), "=r"(same)
			: "b"(c->r.rbx), "c"(c->r.rcx) : "cc", "memory");
	} else {
		/* A page with code, or a device: in two halves, under no lock but the page's slow path. */
		if (lin_read_slow(c, lin, old, 16, ACC_read))
			return FAULT;
		same = old[0] == lo && old[1] == hi;
		lo = old[0];
		hi = old[1];
		if (same)
			memcpy(old, (uint64_t[2]){ c->r.rbx, c->r.rcx }, sizeof(old));
		if (lin_write_slow(c, lin, old, 16, ACC_write))
			return FAULT;
	}
	exchange_result(c, same, lo, hi, true);
	return OK;
}

/* ---- BMI, ADX, CRC32, MOVBE: by value; r.rflags is complete here ---- */

#define VALUE_OP(name, text) \
	static uint64_t name##_32(struct cpu *c, uint64_t a, uint64_t b) \
	{ uint64_t fl = c->hot.fl; uint32_t r = 0; __asm__(FL_LOAD text("k") FL_SAVE \
		: "+&a"(fl), "+&r"(r) : "r"((uint32_t)a), "r"((uint32_t)b) : "cc"); c->hot.fl = (uint16_t)fl; return r; } \
	static uint64_t name##_64(struct cpu *c, uint64_t a, uint64_t b) \
	{ uint64_t fl = c->hot.fl, r = 0; __asm__(FL_LOAD text("") FL_SAVE \
		: "+&a"(fl), "+&r"(r) : "r"(a), "r"(b) : "cc"); c->hot.fl = (uint16_t)fl; return r; }
#define ANDN(w) "andn %" w "3, %" w "2, %" w "1"
#define BEXTR(w) "bextr %" w "3, %" w "2, %" w "1"
#define BZHI(w) "bzhi %" w "3, %" w "2, %" w "1"
#define BLSR(w) "blsr %" w "2, %" w "1"
#define BLSMSK(w) "blsmsk %" w "2, %" w "1"
#define BLSI(w) "blsi %" w "2, %" w "1"
#define PEXT(w) "pext %" w "3, %" w "2, %" w "1"
#define PDEP(w) "pdep %" w "3, %" w "2, %" w "1"
#define SARX(w) "sarx %" w "3, %" w "2, %" w "1"
#define SHLX(w) "shlx %" w "3, %" w "2, %" w "1"
#define SHRX(w) "shrx %" w "3, %" w "2, %" w "1"
#define ADCX(w) "mov %" w "2, %" w "1\n\tadcx %" w "3, %" w "1"
#define ADOX(w) "mov %" w "2, %" w "1\n\tadox %" w "3, %" w "1"

VALUE_OP(andn, ANDN) VALUE_OP(bextr, BEXTR) VALUE_OP(bzhi, BZHI) VALUE_OP(blsr, BLSR)
VALUE_OP(blsmsk, BLSMSK) VALUE_OP(blsi, BLSI) VALUE_OP(pext, PEXT) VALUE_OP(pdep, PDEP)
VALUE_OP(sarx, SARX) VALUE_OP(shlx, SHLX) VALUE_OP(shrx, SHRX) VALUE_OP(adcx, ADCX) VALUE_OP(adox, ADOX)

typedef uint64_t value_fn(struct cpu *c, uint64_t a, uint64_t b);
#define VALUE_ROW(id, name) { INSN_##id, { name##_32, name##_64 } }
static const struct { uint16_t id; value_fn *fn[2]; } value_table[] = {
	VALUE_ROW(andn, andn), VALUE_ROW(bextr, bextr), VALUE_ROW(bzhi, bzhi), VALUE_ROW(blsr, blsr),
	VALUE_ROW(blsmsk, blsmsk), VALUE_ROW(blsi, blsi), VALUE_ROW(pext, pext), VALUE_ROW(pdep, pdep),
	VALUE_ROW(sarx, sarx), VALUE_ROW(shlx, shlx), VALUE_ROW(shrx, shrx),
	VALUE_ROW(adcx, adcx), VALUE_ROW(adox, adox),
};

/* dst, a, b or dst, a; ADCX and ADOX are dst += b. */
int
exec_value(struct cpu *c, const struct insn *in)
{
	uint64_t a, b = 0;
	bool sum = in->id == INSN_adcx || in->id == INSN_adox;
	unsigned i = 0;

	if (opnd_get(c, in, sum ? 0 : 1, &a))
		return FAULT;
	if ((sum || in->nopnds > 2) && opnd_get(c, in, sum ? 1 : 2, &b))
		return FAULT;
	while (value_table[i].id != in->id)
		i++;
	flags_in(c);
	reg_set(c, &in->op[0], value_table[i].fn[in->op[0].size == 8](c, a, b));
	flags_out(c);
	return OK;
}

int
exec_rorx(struct cpu *c, const struct insn *in)
{
	unsigned bits = 8 * in->op[0].size, n = (unsigned)in->imm & (bits - 1);
	uint64_t v;

	if (opnd_get(c, in, 1, &v))
		return FAULT;
	if (n != 0)
		v = v >> n | v << (bits - n);
	reg_set(c, &in->op[0], v);
	return OK;
}

/* op[0] gets the upper half and is written last: it wins when both are one register. */
int
exec_mulx(struct cpu *c, const struct insn *in)
{
	uint64_t b;

	if (opnd_get(c, in, 2, &b))
		return FAULT;
	if (in->op[0].size == 8) {
		u128_t p = (u128_t)c->r.rdx * b;

		reg_set(c, &in->op[1], (uint64_t)p);
		reg_set(c, &in->op[0], (uint64_t)(p >> 64));
	} else {
		uint64_t p = (uint64_t)(uint32_t)c->r.rdx * (uint32_t)b;

		reg_set(c, &in->op[1], (uint32_t)p);
		reg_set(c, &in->op[0], p >> 32);
	}
	return OK;
}

int
exec_crc32(struct cpu *c, const struct insn *in)
{
	uint64_t crc = (uint32_t)reg_get(c, &in->op[0]), v;

	if (opnd_get(c, in, 1, &v))
		return FAULT;
	switch (in->op[1].size) {
	case 1: __asm__("crc32b %b1, %k0" : "+r"(crc) : "r"(v)); break;
	case 2: __asm__("crc32w %w1, %k0" : "+r"(crc) : "r"(v)); break;
	case 4: __asm__("crc32l %k1, %k0" : "+r"(crc) : "r"(v)); break;
	default: __asm__("crc32q %1, %0" : "+r"(crc) : "r"(v)); break;
	}
	c->r.gpr[in->op[0].reg & 15] = (uint32_t)crc;
	return OK;
}

int
exec_movbe(struct cpu *c, const struct insn *in)
{
	unsigned size = in->op[0].size;
	uint64_t v;

	if (opnd_get(c, in, 1, &v))
		return FAULT;
	v = __builtin_bswap64(v) >> (64 - 8 * size);
	return opnd_set(c, in, 0, v);
}
