/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/transfer_far.c - far JMP, CALL and RET (SDM vol. 2, JMP, CALL, RET; vol. 3A, 5.8). */
#include "cpu/transfer.h"

/* The segment that a far pointer names: a code segment's target, or a system descriptor for
 * gates.c. */
static int
far_descriptor(struct cpu *c, uint16_t sel, struct desc *d)
{
	if (sel_null(sel))
		return cpu_raise_error(c, VEC_gp, 0);
	if (desc_read(c, sel, VEC_gp, 0, d) != OK)
		return FAULT;
	return (d->attr & ATTR_s) ? code_check(c, sel, REACH_direct, 0, d) : OK;
}

int
cpu_jmp_far(struct cpu *c, uint16_t sel, uint64_t off, unsigned osz, uint64_t next)
{
	struct target t;
	struct desc d;

	off &= rip_mask(osz);
	if (c->mode <= MODE_v86) {
		if (target_make_real(c, sel, off, &t) != OK)
			return FAULT;
		transfer_commit(c, &t);
		return OK;
	}
	if (far_descriptor(c, sel, &d) != OK)
		return FAULT;
	if (!(d.attr & ATTR_s))
		return gate_jmp(c, sel, &d, next);
	if (target_make(c, &d, sel, c->cpl, off, 0, &t) != OK)
		return FAULT;
	transfer_commit(c, &t);
	return OK;
}

int
cpu_call_far(struct cpu *c, uint16_t sel, uint64_t off, unsigned osz, uint64_t next)
{
	struct target t;
	struct stack s;
	struct desc d;

	off &= rip_mask(osz);
	if (c->mode > MODE_v86) {
		if (far_descriptor(c, sel, &d) != OK)
			return FAULT;
		if (!(d.attr & ATTR_s))
			return gate_call(c, sel, &d, next);
	}
	stack_current(c, &s);
	if (stack_push(c, &s, c->r.cs, osz) != OK || stack_push(c, &s, next, osz) != OK)
		return FAULT;
	if ((c->mode <= MODE_v86 ? target_make_real(c, sel, off, &t) :
	     target_make(c, &d, sel, c->cpl, off, 0, &t)) != OK)
		return FAULT;
	stack_commit(c, &s);
	transfer_commit(c, &t);
	return OK;
}

/* SS of an outer level, for far RET and IRET: ss as the register will be. */
static int
return_stack(struct cpu *c, uint16_t sel, unsigned cpl, bool to64, struct segreg *ss)
{
	struct desc d;

	if (sel_null(sel) && to64 && cpl != 3) {
		seg_set_null(ss, sel, cpl);
		return OK;
	}
	if (seg_check_stack(c, sel, cpl, VEC_gp, 0, &d) != OK)
		return FAULT;
	seg_set_desc(ss, sel, &d);
	return OK;
}

int
return_outer(struct cpu *c, const struct desc *cs, uint16_t ss_sel, uint64_t sp, unsigned cpl,
	struct stack *s)
{
	bool to64 = desc_is_64(c, cs);
	struct segreg ss;

	if (return_stack(c, ss_sel, cpl, to64, &ss) != OK)
		return FAULT;
	stack_new(s, &ss, sp, to64, 0);
	/* A 16-bit stack takes SP only: the rest of ESP stays. */
	s->sp = s->mask == 0xffff ? (c->r.rsp & 0xffff0000) | (sp & 0xffff) : sp & s->mask;
	return OK;
}

static int
ret_real(struct cpu *c, struct stack *s, uint16_t sel, uint64_t rip, uint16_t pop)
{
	struct target t;

	if (target_make_real(c, sel, rip, &t) != OK)
		return FAULT;
	stack_drop(s, pop);
	stack_commit(c, s);
	transfer_commit(c, &t);
	return OK;
}

int
cpu_ret_far(struct cpu *c, unsigned osz, uint16_t pop)
{
	uint64_t rip, sel, sp, ss;
	struct stack s, outer;
	struct target t;
	struct desc d;
	unsigned cpl;

	stack_current(c, &s);
	if (stack_pop(c, &s, &rip, osz) != OK || stack_pop(c, &s, &sel, osz) != OK)
		return FAULT;
	if (c->mode <= MODE_v86)
		return ret_real(c, &s, (uint16_t)sel, rip, pop);
	cpl = sel & SEL_rpl;
	if (code_check(c, (uint16_t)sel, REACH_return, 0, &d) != OK)
		return FAULT;
	stack_drop(&s, pop);
	if (cpl > c->cpl) {
		if (stack_pop(c, &s, &sp, osz) != OK || stack_pop(c, &s, &ss, osz) != OK)
			return FAULT;
		if (return_outer(c, &d, (uint16_t)ss, sp, cpl, &outer) != OK)
			return FAULT;
		stack_drop(&outer, pop);
		s = outer;
	}
	if (target_make(c, &d, (uint16_t)sel, cpl, rip, 0, &t) != OK)
		return FAULT;
	stack_commit(c, &s);
	if (cpl > c->cpl)
		seg_null_inner(c, cpl);
	transfer_commit(c, &t);
	return OK;
}
