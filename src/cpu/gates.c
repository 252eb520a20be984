/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/gates.c - far JMP and CALL through call gates, task gates, TSSs (SDM vol. 3A, 5.8.3). */
#include "cpu/transfer.h"

enum { PARAMS_MAX = 31 };

/* May CPL and RPL use this gate or TSS? And is it there? */
static int
gate_usable(struct cpu *c, uint16_t sel, const struct desc *d)
{
	unsigned dpl = desc_dpl(d);

	if (dpl < c->cpl || dpl < (sel & SEL_rpl))
		return seg_fault(c, VEC_gp, sel, 0);
	return d->attr & ATTR_p ? OK : seg_fault(c, VEC_np, sel, 0);
}

static int
task_gate(struct cpu *c, uint16_t sel, const struct desc *d, enum task_reason why, uint64_t next)
{
	struct gate g;

	if (gate_usable(c, sel, d) != OK)
		return FAULT;
	desc_gate(d, &g);
	return task_switch(c, g.sel, why, next, NULL);
}

static int
tss_direct(struct cpu *c, uint16_t sel, const struct desc *d, enum task_reason why, uint64_t next)
{
	if (gate_usable(c, sel, d) != OK)
		return FAULT;
	return task_switch(c, sel, why, next, NULL);
}

/* Everything but call gates. *handled false: it is a call gate of this mode, with g filled. */
static int
gate_dispatch(struct cpu *c, uint16_t sel, struct desc *d, enum task_reason why, uint64_t next,
	struct gate *g, bool *handled)
{
	unsigned type = desc_type(d);

	*handled = true;
	if (!c->lma && type == SYS_task_gate)
		return task_gate(c, sel, d, why, next);
	if (!c->lma && (type == SYS_tss16 || type == SYS_tss32))
		return tss_direct(c, sel, d, why, next);
	if (type != SYS_call32 && (c->lma || type != SYS_call16))
		return seg_fault(c, VEC_gp, sel, 0);
	if (gate_usable(c, sel, d) != OK || desc_read_upper(c, sel, VEC_gp, 0, d) != OK)
		return FAULT;
	desc_gate(d, g);
	*handled = false;
	return OK;
}

int
gate_jmp(struct cpu *c, uint16_t sel, struct desc *d, uint64_t next)
{
	struct target t;
	struct gate g;
	struct desc cs;
	bool handled;
	int res = gate_dispatch(c, sel, d, TASK_jmp, next, &g, &handled);

	if (res != OK || handled)
		return res;
	if (code_check(c, g.sel, REACH_gate_jmp, 0, &cs) != OK ||
	    target_make(c, &cs, g.sel, c->cpl, g.off, 0, &t) != OK)
		return FAULT;
	transfer_commit(c, &t);
	return OK;
}

static int
push_return(struct cpu *c, struct stack *s, uint64_t next, unsigned size)
{
	if (stack_push(c, s, c->r.cs, size) != OK)
		return FAULT;
	return stack_push(c, s, next, size);
}

/* The frame of a call to an inner level: old SS:SP, copied parameters, return address. */
static int
push_inner(struct cpu *c, struct stack *s, const uint64_t *params, unsigned n, uint64_t next,
	unsigned size)
{
	if (stack_push(c, s, c->r.ss, size) != OK || stack_push(c, s, c->r.rsp, size) != OK)
		return FAULT;
	while (n > 0)
		if (stack_push(c, s, params[--n], size) != OK)
			return FAULT;
	return push_return(c, s, next, size);
}

static int
call_inner(struct cpu *c, const struct desc *cs, const struct gate *g, uint64_t next, unsigned size)
{
	unsigned level = desc_dpl(cs), n = c->lma ? 0 : g->params;
	uint64_t params[PARAMS_MAX];
	struct privilege old;
	struct stack from, to;
	struct target t;
	int res;

	if (stack_inner(c, level, 0, &to) != OK)
		return FAULT;
	stack_current(c, &from);
	for (unsigned i = 0; i < n; i++)
		if (stack_peek(c, &from, i, &params[i], size) != OK)
			return FAULT;
	if (target_make(c, cs, g->sel, level, g->off, 0, &t) != OK)
		return FAULT;
	old = privilege_assume(c, level);
	res = push_inner(c, &to, params, n, next, size);
	privilege_restore(c, old);
	if (res != OK)
		return FAULT;
	stack_commit(c, &to);
	transfer_commit(c, &t);
	return OK;
}

int
gate_call(struct cpu *c, uint16_t sel, struct desc *d, uint64_t next)
{
	unsigned size = c->lma ? 8 : desc_type(d) == SYS_call32 ? 4 : 2;
	struct target t;
	struct stack s;
	struct gate g;
	struct desc cs;
	bool handled;
	int res = gate_dispatch(c, sel, d, TASK_call, next, &g, &handled);

	if (res != OK || handled)
		return res;
	if (code_check(c, g.sel, REACH_gate_call, 0, &cs) != OK)
		return FAULT;
	if (!desc_is_conforming(&cs) && desc_dpl(&cs) < c->cpl)
		return call_inner(c, &cs, &g, next, size);
	stack_current(c, &s);
	/* In long mode the frame is one of 64-bit mode, even from compatibility mode. */
	if (c->lma)
		stack_new(&s, &c->r.seg[SEG_ss], c->r.rsp, true, 0);
	if (push_return(c, &s, next, size) != OK ||
		target_make(c, &cs, g.sel, c->cpl, g.off, 0, &t) != OK)
		return FAULT;
	stack_commit(c, &s);
	transfer_commit(c, &t);
	return OK;
}
