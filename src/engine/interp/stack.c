/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/stack.c - PUSH and POP of everything, ENTER, LEAVE.
 *
 * Handlers are for 64-bit mode with 8-byte operands; the exec functions do all the rest. An
 * instruction commits rSP after its last access.
 */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"
#include "engine/interp/stack.h"
#include "cpu/segments.h"

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)

/* ---- any mode: SS with its own width of rSP ---- */

static uint64_t
sp_mask(const struct cpu *c)
{
	if (c->mode == MODE_long64)
		return UINT64_MAX;
	return c->r.ss_attr & ATTR_db ? 0xffffffff : 0xffff;
}

/* 32-bit stacks zero the upper half as every 32-bit write does. */
static void
sp_set_masked(struct cpu *c, uint64_t sp, uint64_t mask)
{
	c->r.rsp = mask == 0xffff ? (c->r.rsp & ~mask) | (sp & mask) : sp & mask;
}

static void
sp_set(struct cpu *c, uint64_t sp)
{
	sp_set_masked(c, sp, sp_mask(c));
}

/* Write `val` below sp; rSP stays. */
static int MUST_CHECK
stack_put(struct cpu *c, uint64_t sp, uint64_t val, unsigned size)
{
	uint64_t lin;

	if (offset_lin(c, SEG_ss, sp & sp_mask(c), size, ACC_write, &lin))
		return FAULT;
	return lin_write_slow(c, lin, &val, size, ACC_write);
}

static int MUST_CHECK
stack_get(struct cpu *c, uint64_t sp, uint64_t *val, unsigned size)
{
	uint64_t lin;

	*val = 0;
	if (offset_lin(c, SEG_ss, sp & sp_mask(c), size, ACC_read, &lin))
		return FAULT;
	return lin_read_slow(c, lin, val, size, ACC_read);
}

int
stack_push_val(struct cpu *c, uint64_t val, unsigned size)
{
	if (stack_put(c, c->r.rsp - size, val, size))
		return FAULT;
	sp_set(c, c->r.rsp - size);
	return OK;
}

int
stack_pop_val(struct cpu *c, uint64_t *val, unsigned size)
{
	if (stack_get(c, c->r.rsp, val, size))
		return FAULT;
	sp_set(c, c->r.rsp + size);
	return OK;
}

void
stack_skip(struct cpu *c, uint64_t bytes)
{
	sp_set(c, c->r.rsp + bytes);
}

/* ---- PUSH, POP ---- */

int
exec_push(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	if (opnd_get(c, in, 0, &val))
		return FAULT;
	return stack_push_val(c, val, in->osize);
}

/* The address of POP m is formed with rSP already moved; a fault moves it back. */
int
exec_pop(struct cpu *c, const struct insn *in)
{
	uint64_t val, sp = c->r.rsp;

	if (stack_pop_val(c, &val, in->osize))
		return FAULT;
	if (opnd_set(c, in, 0, val)) {
		c->r.rsp = sp;
		return FAULT;
	}
	return OK;
}

/* Of a 32-bit push only the selector's 16 bits are written; of a 64-bit one all. */
int
exec_push_seg(struct cpu *c, const struct insn *in)
{
	uint64_t val = c->r.seg[in->op[0].reg].sel & 0xffff, lin;

	if (in->osize != 4)
		return stack_push_val(c, val, in->osize);
	if (offset_lin(c, SEG_ss, (c->r.rsp - 4) & sp_mask(c), 4, ACC_write, &lin) ||
	    lin_write_slow(c, lin, &val, 2, ACC_write))
		return FAULT;
	sp_set(c, c->r.rsp - 4);
	return OK;
}

/* The width of rSP is that of the old SS, even when SS is popped. */
int
exec_pop_seg(struct cpu *c, const struct insn *in)
{
	uint64_t val, mask = sp_mask(c), sp = c->r.rsp;
	bool inhibited = c->r.interruptibility & SHADOW_mov_ss;

	if (stack_get(c, sp, &val, in->osize) || seg_load(c, (enum seg_id)in->op[0].reg, (uint16_t)val))
		return FAULT;
	sp_set_masked(c, sp + in->osize, mask);
	if (in->op[0].reg == SEG_ss && !inhibited)
		c->r.interruptibility |= SHADOW_mov_ss;
	return OK;
}

int
exec_pusha(struct cpu *c, const struct insn *in)
{
	unsigned size = in->osize, i;
	uint64_t sp = c->r.rsp, lin;

	if ((sp_mask(c) & sp) >= 8 * size &&
	    (offset_lin(c, SEG_ss, (sp - 8 * size) & sp_mask(c), 8 * size, ACC_write, &lin) ||
	     lin_probe(c, lin, 8 * size, ACC_write)))
		return FAULT;
	for (i = 0; i < 8; i++)
		if (stack_put(c, sp - (i + 1) * size, i == REG_rsp ? sp : c->r.gpr[i], size))
			return FAULT;
	sp_set(c, sp - 8 * size);
	return OK;
}

int
exec_popa(struct cpu *c, const struct insn *in)
{
	unsigned size = in->osize, i;
	uint64_t val[8], sp = c->r.rsp;
	struct opnd o = { .kind = OPND_reg, .size = (uint8_t)size };

	for (i = 0; i < 8; i++)
		if (stack_get(c, sp + i * size, &val[i], size))
			return FAULT;
	for (i = 0; i < 8; i++) {
		o.reg = (uint8_t)(7 - i);
		if (o.reg != REG_rsp)
			reg_set(c, &o, val[i]);
	}
	sp_set(c, sp + 8 * size);
	return OK;
}

int
exec_pushf(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	if (cpu_pushf_image(c, in->osize, &val))
		return FAULT;
	return stack_push_val(c, val, in->osize);
}

int
exec_popf(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	if (stack_get(c, c->r.rsp, &val, in->osize) || cpu_popf(c, val, in->osize))
		return FAULT;
	sp_set(c, c->r.rsp + in->osize);
	return OK;
}

/* SDM vol. 2, ENTER. rBP and rSP change after the last access. */
int
exec_enter(struct cpu *c, const struct insn *in)
{
	unsigned size = in->osize, level = in->imm2 % 32, i;
	uint64_t sp = c->r.rsp, bp = c->r.rbp, frame, val;
	struct opnd rbp = { .kind = OPND_reg, .reg = REG_rbp, .size = (uint8_t)size };

	sp -= size;
	if (stack_put(c, sp, bp, size))
		return FAULT;
	frame = sp;
	for (i = 1; i < level; i++) {
		bp -= size;
		if (stack_get(c, bp, &val, size))
			return FAULT;
		sp -= size;
		if (stack_put(c, sp, val, size))
			return FAULT;
	}
	if (level > 0) {
		sp -= size;
		if (stack_put(c, sp, frame, size))
			return FAULT;
	}
	sp -= (uint16_t)in->imm;
	/* The new top must be writable: a fault is due here, not at the next push. */
	if (offset_lin(c, SEG_ss, sp & sp_mask(c), size, ACC_write, &val) || lin_probe(c, val, size, ACC_write))
		return FAULT;
	reg_set(c, &rbp, frame);
	sp_set(c, sp);
	return OK;
}

int
exec_leave(struct cpu *c, const struct insn *in)
{
	struct opnd rbp = { .kind = OPND_reg, .reg = REG_rbp, .size = in->osize };
	uint64_t sp = c->r.rbp, val;

	if (stack_get(c, sp, &val, in->osize))
		return FAULT;
	sp_set(c, sp + in->osize);
	reg_set(c, &rbp, val);
	return OK;
}

/* ---- 64-bit mode, 8 bytes ---- */

/* Finish a push that missed the TLB. */
static int __attribute__((noinline))
push_slow(struct cpu *c, const struct iop *op, uint64_t val)
{
	if (stack_push_val(c, val, 8))
		return iop_fault(c, op);
	return iop_next_slow(c, op);
}

#define PUSH(val_) do { \
	uint64_t v_ = (val_), sp_ = c->r.rsp - 8; void *p_ = iop_write_ptr(c, sp_, 8); \
	if (unlikely(p_ == NULL)) return push_slow(c, op, v_); \
	__builtin_memcpy(p_, &v_, 8); c->r.rsp = sp_; NEXT; } while (0)

HANDLER(push_r) { PUSH(REG64(op->dst)); }
HANDLER(push_i) { PUSH(op->imm); }
HANDLER(push_m) { uint64_t v; LOAD(64, v); PUSH(v); }

static int __attribute__((noinline))
pop_slow(struct cpu *c, const struct iop *op)
{
	uint64_t val;

	if (stack_pop_val(c, &val, 8))
		return iop_fault(c, op);
	REG64(op->dst) = val;
	NEXT;
}

HANDLER(pop_r)
{
	uint64_t sp = c->r.rsp, v;
	const void *p = iop_read_ptr(c, sp, 8);

	if (unlikely(p == NULL))
		return pop_slow(c, op);
	__builtin_memcpy(&v, p, 8);
	c->r.rsp = sp + 8;
	REG64(op->dst) = v;
	NEXT;
}

static int __attribute__((noinline))
leave_slow(struct cpu *c, const struct iop *op)
{
	uint64_t val;

	if (stack_get(c, c->r.rbp, &val, 8))
		return iop_fault(c, op);
	c->r.rsp = c->r.rbp + 8;
	c->r.rbp = val;
	NEXT;
}

HANDLER(leave)
{
	const void *p = iop_read_ptr(c, c->r.rbp, 8);

	if (unlikely(p == NULL))
		return leave_slow(c, op);
	c->r.rsp = c->r.rbp + 8;
	__builtin_memcpy(&c->r.rbp, p, 8);
	NEXT;
}

/* ---- 32-bit stacks, 4 bytes: an ordinary SS, else by the exec function ---- */

static inline bool
stack_is_plain32(const struct cpu *c, uint32_t sp)
{
	return (c->r.ss_attr & ATTR_db) && seg_is_plain(&c->r.seg[SEG_ss], sp, 4);
}

#define PUSH32(val_) do { \
	uint32_t v_ = (uint32_t)(val_), sp_ = (uint32_t)c->r.rsp - 4; void *p_; \
	if (unlikely(!stack_is_plain32(c, sp_))) return iop_exec(c, op, exec_push); \
	p_ = iop_write_ptr(c, (uint32_t)(c->r.ss_base + sp_), 4); \
	if (unlikely(p_ == NULL)) return iop_exec(c, op, exec_push); \
	__builtin_memcpy(p_, &v_, 4); c->r.rsp = sp_; NEXT; } while (0)

HANDLER(push32_r) { PUSH32(REG32(op->dst)); }
HANDLER(push32_i) { PUSH32(op->in->imm); }

HANDLER(pop32_r)
{
	uint32_t sp = (uint32_t)c->r.rsp, v;
	const void *p;

	if (unlikely(!stack_is_plain32(c, sp)) ||
	    unlikely((p = iop_read_ptr(c, (uint32_t)(c->r.ss_base + sp), 4)) == NULL))
		return iop_exec(c, op, exec_pop);
	__builtin_memcpy(&v, p, 4);
	c->r.rsp = sp + 4;
	SET32(op->dst, v);
	NEXT;
}

static bool
is_plain32(struct lower *l)
{
	if (l->c->mode == MODE_long64 || l->in->osize != 4 || (l->block->key & KEY_ac))
		return false;
	l->op->in = lower_keep(l);
	return true;
}

bool
lower_push(struct lower *l)
{
	uint8_t kind = l->in->op[0].kind;

	if (kind != OPND_mem && is_plain32(l)) {
		l->op->fn = kind == OPND_reg ? push32_r : push32_i;
		return true;
	}
	l->op->fn = kind == OPND_reg ? push_r : kind == OPND_mem ? push_m : push_i;
	return is_plain64(l);
}

bool
lower_pop(struct lower *l)
{
	if (l->in->op[0].kind == OPND_reg && is_plain32(l)) {
		l->op->fn = pop32_r;
		return true;
	}
	l->op->fn = pop_r;
	return is_plain64(l) && l->in->op[0].kind == OPND_reg;
}

bool
lower_leave(struct lower *l)
{
	l->op->fn = leave;
	return is_plain64(l);
}
