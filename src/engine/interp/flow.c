/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/flow.c - jumps, calls and returns.
 *
 * Handlers are for 64-bit mode: imm is the target's distance from the block's start. Exec functions
 * do near transfers of the other modes and all far ones.
 */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"
#include "engine/interp/stack.h"
#include "cpu/segments.h"

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)
enum { CANONICAL_SHIFT = 16 };

static inline bool
is_canonical(uint64_t at)
{
	return (uint64_t)((int64_t)(at << CANONICAL_SHIFT) >> CANONICAL_SHIFT) == at;
}

static int __attribute__((cold, noinline))
bad_target(struct cpu *c, const struct iop *op)
{
	cpu_raise_error(c, VEC_gp, 0);
	return iop_fault(c, op);
}

/* Leave the block for `to`. */
#define GO(to_) do { \
	uint64_t go_ = (to_); \
	if (unlikely(!is_canonical(go_))) return bad_target(c, op); \
	c->r.rip = go_; c->retired += op->idx + 1u; return RUN_next; } while (0)

HANDLER(jmp_rel) { GO(c->r.rip + op->imm); }
HANDLER(jmp_r) { GO(REG64(op->dst)); }
HANDLER(jmp_m) { uint64_t to; LOAD(64, to); GO(to); }

#define JCC(cc, ...) HANDLER(jcc_##cc) { if (flags_cc(c->hot.fl, cc)) GO(c->r.rip + op->imm); NEXT; }
#define JCC_ROW(cc, ...) jcc_##cc,
CC_16(JCC, )
static iop_fn *const jcc_table[16] = { CC_16(JCC_ROW, ) };

/* Outside of 64-bit mode: disp is the mask of the operand size. */
#define GO32(to_) do { \
	uint64_t go_ = (uint32_t)(to_) & (uint32_t)op->disp; \
	if (unlikely(go_ > c->r.cs_limit)) return bad_target(c, op); \
	c->r.rip = go_; c->retired += op->idx + 1u; return RUN_next; } while (0)

HANDLER(jmp32_rel) { GO32(c->r.rip + op->imm); }
#define JCC32(cc, ...) HANDLER(jcc32_##cc) { if (flags_cc(c->hot.fl, cc)) GO32(c->r.rip + op->imm); NEXT; }
#define JCC32_ROW(cc, ...) jcc32_##cc,
CC_16(JCC32, )
static iop_fn *const jcc32_table[16] = { CC_16(JCC32_ROW, ) };

/* Push the return address, which is disp from the block's start, and go. */
static int __attribute__((noinline))
call_slow(struct cpu *c, const struct iop *op, uint64_t to, uint64_t next)
{
	if (stack_push_val(c, next, 8))
		return iop_fault(c, op);
	c->r.rip = to;
	c->retired += op->idx + 1u;
	return RUN_next;
}

#define CALL(to_, next_) do { \
	uint64_t call_ = (to_), ret_ = (next_), sp_ = c->r.rsp - 8; void *p_ = iop_write_ptr(c, sp_, 8); \
	if (unlikely(!is_canonical(call_))) return bad_target(c, op); \
	if (unlikely(p_ == NULL)) return call_slow(c, op, call_, ret_); \
	__builtin_memcpy(p_, &ret_, 8); c->r.rsp = sp_; \
	c->r.rip = call_; c->retired += op->idx + 1u; return RUN_next; } while (0)

/* The length of the instruction is in .src (calls by register or memory have no source register). */
HANDLER(call_rel) { CALL(c->r.rip + op->imm, c->r.rip + (uint64_t)(int64_t)op->disp); }
HANDLER(call_r) { CALL(REG64(op->dst), c->r.rip + op->off + op->src); }
HANDLER(call_m) { uint64_t to; LOAD(64, to); CALL(to, c->r.rip + op->off + op->src); }

static int __attribute__((noinline))
ret_slow(struct cpu *c, const struct iop *op)
{
	uint64_t to, sp = c->r.rsp;

	if (stack_pop_val(c, &to, 8))
		return iop_fault(c, op);
	if (!is_canonical(to)) {
		c->r.rsp = sp;
		return bad_target(c, op);
	}
	c->r.rsp += op->imm;
	c->r.rip = to;
	c->retired += op->idx + 1u;
	return RUN_next;
}

HANDLER(ret)
{
	uint64_t sp = c->r.rsp, to;
	const void *p = iop_read_ptr(c, sp, 8);

	if (unlikely(p == NULL))
		return ret_slow(c, op);
	__builtin_memcpy(&to, p, 8);
	if (unlikely(!is_canonical(to)))
		return bad_target(c, op);
	c->r.rsp = sp + 8 + op->imm;
	c->r.rip = to;
	c->retired += op->idx + 1u;
	return RUN_next;
}

static void
set_target(struct lower *l)
{
	l->op->imm = l->in->imm + l->off + l->in->len;
	l->op->disp = l->off + l->in->len;
}

static void
set_target32(struct lower *l)
{
	l->op->imm = l->in->imm + l->off + l->in->len;
	l->op->disp = l->in->osize == 2 ? 0xffff : -1;
}

bool
lower_jmp(struct lower *l)
{
	uint8_t kind = l->in->op[0].kind;

	if (l->c->mode != MODE_long64 && kind == OPND_rel) {
		set_target32(l);
		l->op->fn = jmp32_rel;
		return true;
	}
	if (!is_plain64(l))
		return false;
	if (kind == OPND_rel)
		set_target(l);
	l->op->fn = kind == OPND_rel ? jmp_rel : kind == OPND_reg ? jmp_r : jmp_m;
	return true;
}

bool
lower_jcc(struct lower *l)
{
	if (l->c->mode != MODE_long64) {
		set_target32(l);
		l->op->fn = jcc32_table[l->in->cc];
		return true;
	}
	set_target(l);
	l->op->fn = jcc_table[l->in->cc];
	return l->in->osize == 8;
}

bool
lower_call(struct lower *l)
{
	uint8_t kind = l->in->op[0].kind;

	if (!is_plain64(l))
		return false;
	if (kind == OPND_rel)
		set_target(l);
	else
		l->op->src = l->in->len;
	l->op->fn = kind == OPND_rel ? call_rel : kind == OPND_reg ? call_r : call_m;
	return true;
}

bool
lower_ret(struct lower *l)
{
	l->op->imm = l->in->nopnds > 0 ? (uint16_t)l->in->imm : 0;
	l->op->fn = ret;
	return is_plain64(l);
}

/* ---- any mode, near ---- */

/* r.rip := to, cut to the operand size, if the code segment has it. */
static int MUST_CHECK
go_near(struct cpu *c, const struct insn *in, uint64_t to)
{
	if (in->osize == 2)
		to = (uint16_t)to;
	else if (c->mode != MODE_long64)
		to = (uint32_t)to;
	if (c->mode == MODE_long64 ? !is_canonical(to) : to > c->r.cs_limit)
		return cpu_raise_error(c, VEC_gp, 0);
	c->r.rip = to;
	return OK;
}

static int MUST_CHECK
go_relative(struct cpu *c, const struct insn *in, bool taken)
{
	uint64_t next = insn_next(c, in);

	if (taken)
		return go_near(c, in, next + in->imm);
	c->r.rip = next;
	return OK;
}

int
exec_jcc(struct cpu *c, const struct insn *in)
{
	flags_in(c);
	return go_relative(c, in, flags_cc(c->hot.fl, in->cc));
}

/* JCXZ and LOOPs count in CX, ECX or RCX by the address size. */
int
exec_loop(struct cpu *c, const struct insn *in)
{
	struct opnd rcx = { .kind = OPND_reg, .reg = REG_rcx, .size = in->asize };
	uint64_t old = c->r.rcx, n = offset_cut(in, old - 1);
	bool taken = n != 0;

	if (in->id == INSN_jcxz)
		return go_relative(c, in, offset_cut(in, old) == 0);
	if (in->id == INSN_loope)
		taken = taken && rflags_zf(&c->r);
	else if (in->id == INSN_loopne)
		taken = taken && !rflags_zf(&c->r);
	if (go_relative(c, in, taken))
		return FAULT;
	reg_set(c, &rcx, n);
	return OK;
}

static int MUST_CHECK
near_target(struct cpu *c, const struct insn *in, uint64_t *to)
{
	if (in->op[0].kind == OPND_rel) {
		*to = insn_next(c, in) + in->imm;
		return OK;
	}
	return opnd_get(c, in, 0, to);
}

int
exec_jmp(struct cpu *c, const struct insn *in)
{
	uint64_t to;

	if (near_target(c, in, &to))
		return FAULT;
	return go_near(c, in, to);
}

int
exec_call(struct cpu *c, const struct insn *in)
{
	uint64_t to, start = c->r.rip, next = insn_next(c, in);

	if (near_target(c, in, &to) || go_near(c, in, to))
		return FAULT;
	if (stack_push_val(c, next, in->osize)) {
		c->r.rip = start;
		return FAULT;
	}
	return OK;
}

int
exec_ret(struct cpu *c, const struct insn *in)
{
	uint64_t to, sp = c->r.rsp;

	if (stack_pop_val(c, &to, in->osize))
		return FAULT;
	if (go_near(c, in, to)) {
		c->r.rsp = sp;
		return FAULT;
	}
	if (in->nopnds > 0)
		stack_skip(c, (uint16_t)in->imm);
	return OK;
}

/* ---- far, and software interrupts ---- */

/* Selector and offset of a direct or memory far pointer. */
static int MUST_CHECK
far_pointer(struct cpu *c, const struct insn *in, uint16_t *sel, uint64_t *off)
{
	uint64_t lin;

	*off = in->imm;
	*sel = in->imm2;
	if (in->op[0].kind != OPND_mem)
		return OK;
	*off = 0;
	if (insn_lin(c, in, in->osize + 2u, ACC_read, &lin) ||
	    lin_read_slow(c, lin, off, in->osize, ACC_read) ||
	    lin_read_slow(c, lin + in->osize, sel, 2, ACC_read))
		return FAULT;
	return OK;
}

int
exec_jmp_far(struct cpu *c, const struct insn *in)
{
	uint16_t sel;
	uint64_t off;

	if (far_pointer(c, in, &sel, &off))
		return FAULT;
	return cpu_jmp_far(c, sel, off, in->osize, insn_next(c, in));
}

int
exec_call_far(struct cpu *c, const struct insn *in)
{
	uint16_t sel;
	uint64_t off;

	if (far_pointer(c, in, &sel, &off))
		return FAULT;
	return cpu_call_far(c, sel, off, in->osize, insn_next(c, in));
}

int
exec_ret_far(struct cpu *c, const struct insn *in)
{
	return cpu_ret_far(c, in->osize, in->nopnds > 0 ? (uint16_t)in->imm : 0);
}

int
exec_iret(struct cpu *c, const struct insn *in)
{
	return cpu_iret(c, in->osize, insn_next(c, in));
}

int
exec_int(struct cpu *c, const struct insn *in)
{
	return cpu_int(c, (uint8_t)in->imm, insn_next(c, in));
}

int
exec_int1(struct cpu *c, const struct insn *in)
{
	return cpu_icebp(c, insn_next(c, in));
}

int
exec_int3(struct cpu *c, const struct insn *in)
{
	return cpu_int3(c, insn_next(c, in));
}

int
exec_into(struct cpu *c, const struct insn *in)
{
	return cpu_into(c, insn_next(c, in));
}

int
exec_syscall(struct cpu *c, const struct insn *in)
{
	return cpu_syscall(c, insn_next(c, in));
}

int
exec_sysret(struct cpu *c, const struct insn *in)
{
	return cpu_sysret(c, in->osize);
}

int
exec_sysenter(struct cpu *c, const struct insn *in)
{
	(void)in;
	return cpu_sysenter(c);
}

int
exec_sysexit(struct cpu *c, const struct insn *in)
{
	return cpu_sysexit(c, in->osize);
}

int
exec_bound(struct cpu *c, const struct insn *in)
{
	unsigned size = in->osize, shift = 64 - 8 * size;
	uint64_t lin, lo = 0, hi = 0;
	int64_t index, low, high;

	if (insn_lin(c, in, 2 * size, ACC_read, &lin) || lin_read_slow(c, lin, &lo, size, ACC_read) ||
	    lin_read_slow(c, lin + size, &hi, size, ACC_read))
		return FAULT;
	index = (int64_t)(reg_get(c, &in->op[0]) << shift) >> shift;
	low = (int64_t)(lo << shift) >> shift;
	high = (int64_t)(hi << shift) >> shift;
	return index < low || index > high ? cpu_raise(c, VEC_br) : OK;
}

int
exec_ud(struct cpu *c, const struct insn *in)
{
	(void)in;
	return cpu_raise(c, VEC_ud);
}
