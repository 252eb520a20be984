/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/move.c - MOV and its relatives: extensions, LEA, CMOVcc, SETcc, XCHG, BSWAP, CBW. */
#include "engine/interp/families.h"

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)

/* ---- MOV ---- */

enum { MOV_rr, MOV_ri, MOV_rm, MOV_mr, MOV_mi, MOV__COUNT };

#define MOV(bits) \
	HANDLER(mov##bits##_rr) { SET##bits(op->dst, REG##bits(op->src)); NEXT; } \
	HANDLER(mov##bits##_ri) { SET##bits(op->dst, (uint##bits##_t)op->imm); NEXT; } \
	HANDLER(mov##bits##_rm) { uint##bits##_t v; LOAD(bits, v); SET##bits(op->dst, v); NEXT; } \
	HANDLER(mov##bits##_mr) { uint##bits##_t v = REG##bits(op->src); STORE_NEXT(bits, v); } \
	HANDLER(mov##bits##_mi) { uint##bits##_t v = (uint##bits##_t)op->imm; STORE_NEXT(bits, v); }
#define MOV_ROW(bits) { mov##bits##_rr, mov##bits##_ri, mov##bits##_rm, mov##bits##_mr, mov##bits##_mi }

MOV(8) MOV(16) MOV(32) MOV(64)
static iop_fn *const mov_table[SIZES][MOV__COUNT] = { MOV_ROW(8), MOV_ROW(16), MOV_ROW(32), MOV_ROW(64) };

bool
lower_mov(struct lower *l)
{
	const struct opnd *to = &l->in->op[0], *from = &l->in->op[1];
	unsigned form;

	if (to->kind == OPND_reg)
		form = from->kind == OPND_reg ? MOV_rr : from->kind == OPND_imm ? MOV_ri :
			from->kind == OPND_mem ? MOV_rm : MOV__COUNT;
	else if (to->kind == OPND_mem)
		form = from->kind == OPND_reg ? MOV_mr : from->kind == OPND_imm ? MOV_mi : MOV__COUNT;
	else
		form = MOV__COUNT;
	if (form == MOV__COUNT)		/* segment, control and debug registers */
		return false;
	l->op->fn = mov_table[size_index(to->size)][form];
	return true;
}

/* ---- MOVZX, MOVSX, MOVSXD: [signed][source size][destination size][memory] ---- */

#define MOVX(tag, type, from, to) \
	HANDLER(tag##from##_##to##_r) { SET##to(op->dst, (uint##to##_t)(type##from##_t)REG##from(op->src)); NEXT; } \
	HANDLER(tag##from##_##to##_m) \
	{ uint##from##_t v; LOAD(from, v); SET##to(op->dst, (uint##to##_t)(type##from##_t)v); NEXT; }
#define MOVX_PAIR(tag, from, to) { tag##from##_##to##_r, tag##from##_##to##_m }

MOVX(zx, uint, 8, 16) MOVX(zx, uint, 8, 32) MOVX(zx, uint, 8, 64)
MOVX(zx, uint, 16, 16) MOVX(zx, uint, 16, 32) MOVX(zx, uint, 16, 64)
MOVX(sx, int, 8, 16) MOVX(sx, int, 8, 32) MOVX(sx, int, 8, 64)
MOVX(sx, int, 16, 16) MOVX(sx, int, 16, 32) MOVX(sx, int, 16, 64)
MOVX(sx, int, 32, 32) MOVX(sx, int, 32, 64)

static iop_fn *const movx_table[2][SIZES][SIZES][2] = {
	[0] = { [0] = { { NULL }, MOVX_PAIR(zx, 8, 16), MOVX_PAIR(zx, 8, 32), MOVX_PAIR(zx, 8, 64) },
		[1] = { { NULL }, MOVX_PAIR(zx, 16, 16), MOVX_PAIR(zx, 16, 32), MOVX_PAIR(zx, 16, 64) } },
	[1] = { [0] = { { NULL }, MOVX_PAIR(sx, 8, 16), MOVX_PAIR(sx, 8, 32), MOVX_PAIR(sx, 8, 64) },
		[1] = { { NULL }, MOVX_PAIR(sx, 16, 16), MOVX_PAIR(sx, 16, 32), MOVX_PAIR(sx, 16, 64) },
		[2] = { { NULL }, { NULL }, MOVX_PAIR(sx, 32, 32), MOVX_PAIR(sx, 32, 64) } },
};

bool
lower_movx(struct lower *l)
{
	const struct opnd *to = &l->in->op[0], *from = &l->in->op[1];
	bool sign = l->in->id != INSN_movzx;

	l->op->fn = movx_table[sign][size_index(from->size)][size_index(to->size)][from->kind == OPND_mem];
	return l->op->fn != NULL;
}

/* ---- LEA: no segment, no access; the address is cut to the address size, then to the operand's ---- */

#define LEA(bits, cut) \
	HANDLER(lea##bits##_a##cut) { SET##bits(op->dst, (uint##bits##_t)(uint##cut##_t)iop_lin(c, op)); NEXT; }
LEA(16, 16) LEA(16, 32) LEA(16, 64) LEA(32, 16) LEA(32, 32) LEA(32, 64) LEA(64, 32) LEA(64, 64)

static iop_fn *const lea_table[SIZES][SIZES] = {
	[1] = { NULL, lea16_a16, lea16_a32, lea16_a64 },
	[2] = { NULL, lea32_a16, lea32_a32, lea32_a64 },
	[3] = { NULL, NULL, lea64_a32, lea64_a64 },
};

bool
lower_lea(struct lower *l)
{
	l->op->fn = lea_table[size_index(l->in->op[0].size)][size_index(l->in->asize)];
	return l->op->fn != NULL;
}

/* ---- by condition ---- */

/* CMOVcc loads its source whatever the condition; 32 bits zero-extend even when it does not move. */
#define CMOV(cc, bits) \
	HANDLER(cmov##bits##_r_##cc) \
	{ uint##bits##_t v = flags_cc(c->hot.fl, cc) ? REG##bits(op->src) : REG##bits(op->dst); \
	  SET##bits(op->dst, v); NEXT; } \
	HANDLER(cmov##bits##_m_##cc) \
	{ uint##bits##_t v; LOAD(bits, v); if (!flags_cc(c->hot.fl, cc)) v = REG##bits(op->dst); \
	  SET##bits(op->dst, v); NEXT; }
#define SETCC(cc, ...) \
	HANDLER(setcc_r_##cc) { REG8(op->dst) = flags_cc(c->hot.fl, cc); NEXT; } \
	HANDLER(setcc_m_##cc) { uint8_t v = flags_cc(c->hot.fl, cc); STORE_NEXT(8, v); }
#define CMOV_PAIR(cc, bits) { cmov##bits##_r_##cc, cmov##bits##_m_##cc },
#define SETCC_PAIR(cc, ...) { setcc_r_##cc, setcc_m_##cc },

CC_16(CMOV, 16) CC_16(CMOV, 32) CC_16(CMOV, 64) CC_16(SETCC, )
static iop_fn *const cmov_table[SIZES][16][2] = {
	[1] = { CC_16(CMOV_PAIR, 16) }, [2] = { CC_16(CMOV_PAIR, 32) }, [3] = { CC_16(CMOV_PAIR, 64) },
};
static iop_fn *const setcc_table[16][2] = { CC_16(SETCC_PAIR, ) };

bool
lower_cmov(struct lower *l)
{
	l->op->fn = cmov_table[size_index(l->in->op[0].size)][l->in->cc][l->in->op[1].kind == OPND_mem];
	return true;
}

bool
lower_setcc(struct lower *l)
{
	l->op->fn = setcc_table[l->in->cc][l->in->op[0].kind == OPND_mem];
	return true;
}

/* ---- XCHG: with memory it always locks ---- */

static uint64_t
swap_later(void *ctx, uint64_t old)
{
	struct rmw *x = ctx;

	x->old = old;
	return x->b;
}

/* The old value is left in hot.val. */
static int MUST_CHECK __attribute__((noinline))
iop_exchange(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size, uint64_t val)
{
	struct rmw x = { .b = val };

	if (iop_check(c, op, lin, size, ACC_write) || lin_rmw_slow(c, lin, size, true, swap_later, &x))
		return FAULT;
	c->hot.val = x.old;
	return OK;
}

#define XCHG(bits) \
	HANDLER(xchg##bits##_r) \
	{ uint##bits##_t a = REG##bits(op->dst), b = REG##bits(op->src); \
	  SET##bits(op->src, a); SET##bits(op->dst, b); NEXT; } \
	HANDLER(xchg##bits##_m) \
	{ uint64_t lin = iop_lin(c, op); uint##bits##_t *p = iop_write_ptr(c, lin, (bits) / 8), v = REG##bits(op->src); \
	  if (unlikely(p == NULL)) { \
		if (iop_exchange(c, op, lin, (bits) / 8, v)) return iop_fault(c, op); \
		SET##bits(op->src, (uint##bits##_t)c->hot.val); return iop_next_slow(c, op); } \
	  SET##bits(op->src, __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)); NEXT; }

XCHG(8) XCHG(16) XCHG(32) XCHG(64)
static iop_fn *const xchg_table[SIZES][2] = {
	{ xchg8_r, xchg8_m }, { xchg16_r, xchg16_m }, { xchg32_r, xchg32_m }, { xchg64_r, xchg64_m },
};

bool
lower_xchg(struct lower *l)
{
	const struct insn *in = l->in;

	/* Memory may be either operand; the register goes to src. */
	if (in->op[1].kind == OPND_mem)
		l->op->src = (uint8_t)opnd_off(&in->op[0]);
	l->op->fn = xchg_table[size_index(in->op[0].size)][in->op[0].kind == OPND_mem || in->op[1].kind == OPND_mem];
	return true;
}

/* ---- BSWAP, CBW/CWDE/CDQE, CWD/CDQ/CQO, NOP ---- */

HANDLER(bswap32) { SET32(op->dst, __builtin_bswap32(REG32(op->dst))); NEXT; }
HANDLER(bswap64) { SET64(op->dst, __builtin_bswap64(REG64(op->dst))); NEXT; }

bool
lower_bswap(struct lower *l)
{
	unsigned size = l->in->op[0].size;

	l->op->fn = size == 8 ? bswap64 : bswap32;
	return size >= 4;	/* 16 bits: undefined by the manual, zero on every processor */
}

HANDLER(cbw) { c->r.rax = (c->r.rax & ~0xffffull) | (uint16_t)(int8_t)c->r.rax; NEXT; }
HANDLER(cwde) { c->r.rax = (uint64_t)(uint32_t)(int16_t)c->r.rax; NEXT; }
HANDLER(cdqe) { c->r.rax = (uint64_t)(int32_t)c->r.rax; NEXT; }
HANDLER(cwd) { c->r.rdx = (c->r.rdx & ~0xffffull) | (uint16_t)((int16_t)c->r.rax >> 15); NEXT; }
HANDLER(cdq) { c->r.rdx = (uint64_t)(uint32_t)((int32_t)c->r.rax >> 31); NEXT; }
HANDLER(cqo) { c->r.rdx = (uint64_t)((int64_t)c->r.rax >> 63); NEXT; }

bool
lower_widen(struct lower *l)
{
	static iop_fn *const table[2][SIZES] = { { NULL, cbw, cwde, cdqe }, { NULL, cwd, cdq, cqo } };
	/* One byte opcodes 98 and 99, whatever name the operand size gives them. */
	bool into_dx = l->in->opcode == 0x99;

	l->op->fn = table[into_dx][size_index(l->in->osize)];
	return true;
}

HANDLER(nop) { NEXT; }

bool
lower_nop(struct lower *l)
{
	l->op->fn = nop;
	return true;
}
