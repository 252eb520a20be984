/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/deliver.c - exceptions and interrupts through IVT and IDT (SDM vol. 3A, chapter 6). */
#include "cpu/transfer.h"

/* ---- which event it is ---- */

/* INT n, INT3, INTO: the guest's own doing. Gates check its CPL, error codes have EXT clear. */
static bool
is_software(const struct cpu_fault *e)
{
	return e->kind == EVENT_int ||
		(e->kind == EVENT_trap && (e->vec == VEC_bp || e->vec == VEC_of));
}

/* The RFLAGS image to push: RF set by faults but instruction breakpoints (SDM 3B, 17.3.1.1). */
static uint64_t
pushed_flags(const struct cpu *c, const struct cpu_fault *e)
{
	uint64_t flags = c->r.rflags;

	if (e->kind == EVENT_fault && e->vec != VEC_db)
		flags |= rflags_rf_MASK;
	return flags;
}

/* What the handler starts with; an interrupt gate clears IF as well. */
static uint64_t
handler_flags(const struct cpu *c, bool interrupt_gate)
{
	uint64_t clear = rflags_tf_MASK | rflags_nt_MASK | rflags_rf_MASK | rflags_vm_MASK;

	return c->r.rflags & ~(clear | (interrupt_gate ? rflags_if_MASK : 0));
}

static int
idt_fault(struct cpu *c, uint8_t vec, const struct cpu_fault *e)
{
	return cpu_raise_error(c, vec, e->vec * 8u | ERR_idt | (is_software(e) ? 0 : ERR_ext));
}

/* ---- real-address mode, and VME's redirection ---- */

int
deliver_ivt(struct cpu *c, uint64_t table, uint8_t vec, uint64_t flags, uint64_t rip)
{
	struct stack s;
	struct target t;
	uint32_t entry;

	if (sys_read(c, table + 4u * vec, &entry, 4) != OK)
		return FAULT;
	stack_current(c, &s);
	if (stack_push(c, &s, flags, 2) != OK || stack_push(c, &s, c->r.cs, 2) != OK ||
	    stack_push(c, &s, rip, 2) != OK)
		return FAULT;
	if (target_make_real(c, (uint16_t)(entry >> 16), entry & 0xffff, &t) != OK)
		return FAULT;
	stack_commit(c, &s);
	transfer_commit(c, &t);
	return OK;
}

static int
deliver_real(struct cpu *c, const struct cpu_fault *e, uint64_t rip)
{
	if (e->vec * 4u + 3 > c->r.idtr_limit)
		return idt_fault(c, VEC_gp, e);
	if (deliver_ivt(c, c->r.idtr_base, e->vec, c->r.rflags, rip) != OK)
		return FAULT;
	c->r.rflags &= ~(rflags_if_MASK | rflags_tf_MASK | rflags_rf_MASK | rflags_ac_MASK);
	return OK;
}

/* ---- protected and long mode ---- */

/* Read and judge the IDT's entry. types: the legal ones, bit n for type n. */
static int
idt_entry(struct cpu *c, const struct cpu_fault *e, unsigned types, struct desc *d)
{
	unsigned size = c->lma ? 16 : 8;
	uint64_t raw[2];

	if (e->vec * size + size - 1 > c->r.idtr_limit)
		return idt_fault(c, VEC_gp, e);
	if (sys_read(c, c->r.idtr_base + e->vec * size, raw, size) != OK)
		return FAULT;
	desc_parse(d, raw[0]);
	if (c->lma)
		d->upper = (uint32_t)raw[1];
	if ((d->attr & ATTR_s) || !(types >> desc_type(d) & 1))
		return idt_fault(c, VEC_gp, e);
	if (is_software(e) && desc_dpl(d) < c->cpl)
		return idt_fault(c, VEC_gp, e);
	return d->attr & ATTR_p ? OK : idt_fault(c, VEC_np, e);
}

/* The stack the handler gets: inner level, IST, or the one there is. */
static int
handler_stack(struct cpu *c, const struct gate *g, unsigned level, unsigned ext, struct stack *s)
{
	uint64_t sp;

	if (c->lma && (g->params & 7) != 0) {
		if (tss_ist(c, g->params & 7, ext, &sp) != OK)
			return FAULT;
		stack_current(c, s);
		if (level < c->cpl)
			seg_set_null(&s->ss, (uint16_t)level, level);
		stack_new(s, &s->ss, sp, true, ext);
	} else if (level < c->cpl) {
		if (stack_inner(c, level, ext, s) != OK)
			return FAULT;
	} else {
		stack_current(c, s);
		if (c->lma)
			stack_new(s, &c->r.seg[SEG_ss], c->r.rsp, true, ext);
		s->error = ext;
	}
	if (c->lma)
		s->sp &= ~(uint64_t)15;
	return OK;
}

/* GS, FS, DS, ES below the ordinary frame when virtual-8086 mode was interrupted. */
static int
push_v86(struct cpu *c, struct stack *s, unsigned size)
{
	static const uint8_t order[] = { SEG_gs, SEG_fs, SEG_ds, SEG_es };

	for (unsigned i = 0; i < sizeof(order); i++)
		if (stack_push(c, s, c->r.seg[order[i]].sel, size) != OK)
			return FAULT;
	return OK;
}

static int
push_frame(struct cpu *c, struct stack *s, const struct cpu_fault *e, bool with_stack, uint64_t rip,
	unsigned size)
{
	if (c->mode == MODE_v86 && push_v86(c, s, size) != OK)
		return FAULT;
	if (with_stack &&
		(stack_push(c, s, c->r.ss, size) != OK || stack_push(c, s, c->r.rsp, size) != OK))
		return FAULT;
	if (stack_push(c, s, pushed_flags(c, e), size) != OK ||
		stack_push(c, s, c->r.cs, size) != OK || stack_push(c, s, rip, size) != OK)
		return FAULT;
	return e->has_error ? stack_push(c, s, e->error, size) : OK;
}

/* Through an interrupt or trap gate d. */
static int
deliver_gate(struct cpu *c, const struct cpu_fault *e, const struct desc *d, uint64_t rip)
{
	unsigned ext = is_software(e) ? 0 : ERR_ext, type = desc_type(d), level;
	unsigned size = c->lma ? 8 : type & SYS_IS32 ? 4 : 2;
	bool v86 = c->mode == MODE_v86;
	struct privilege old;
	struct target t;
	struct stack s;
	struct gate g;
	struct desc cs;
	int res;

	desc_gate(d, &g);
	if (code_check(c, g.sel, REACH_gate_call, ext, &cs) != OK)
		return FAULT;
	level = desc_is_conforming(&cs) ? c->cpl : desc_dpl(&cs);
	if (v86 && level != 0)
		return seg_fault(c, VEC_gp, g.sel, ext);
	if (handler_stack(c, &g, level, ext, &s) != OK ||
	    target_make(c, &cs, g.sel, level, g.off, ext, &t) != OK)
		return FAULT;
	old = privilege_assume(c, level);
	res = push_frame(c, &s, e, c->lma || level < old.cpl, rip, size);
	privilege_restore(c, old);
	if (res != OK)
		return FAULT;
	if (v86)
		for (unsigned i = 0; i < SEG__COUNT - 2; i++)
			if (i != SEG_cs && i != SEG_ss)
				seg_set_null(&c->r.seg[i], 0, 0);
	c->r.rflags = handler_flags(c, type == SYS_int16 || type == SYS_int32);
	stack_commit(c, &s);
	transfer_commit(c, &t);
	return OK;
}

static int
deliver_protected(struct cpu *c, const struct cpu_fault *e, uint64_t rip)
{
	const unsigned types = 1 << SYS_int32 | 1 << SYS_trap32 |
		(c->lma ? 0 : 1 << SYS_int16 | 1 << SYS_trap16 | 1 << SYS_task_gate);
	unsigned ext = is_software(e) ? 0 : ERR_ext;
	struct task_event t;
	struct desc d;
	struct gate g;

	if (idt_entry(c, e, types, &d) != OK)
		return FAULT;
	if (desc_type(&d) != SYS_task_gate)
		return deliver_gate(c, e, &d, rip);
	desc_gate(&d, &g);
	t = (struct task_event){ e->has_error, e->error, ext, pushed_flags(c, e) };
	return task_switch(c, g.sel, TASK_int, rip, &t);
}

/* What the processor does when it meets the event, whether or not delivery succeeds. */
static void
note_event(struct cpu *c, const struct cpu_fault *e)
{
	if (e->kind == EVENT_nmi)
		c->r.nmi_blocked = 1;
	if (e->kind != EVENT_fault && e->kind != EVENT_trap)
		return;
	if (e->vec == VEC_pf)
		c->r.cr2 = e->addr;
	if (e->vec == VEC_db) {
		c->r.dr6 = (c->r.dr6 & ~dr6_b0_MASK) | e->addr;
		c->r.dr7 &= ~dr7_gd_MASK;
	}
}

int
deliver_once(struct cpu *c, const struct cpu_fault *e, uint64_t rip)
{
	int res;

	note_event(c, e);
	res = cr0_pe(&c->r) ? deliver_protected(c, e, rip) : deliver_real(c, e, rip);
	if (res == OK)
		c->r.interruptibility = 0;
	return res;
}

/* ---- a fault while delivering ---- */

enum severity { SEVERITY_benign, SEVERITY_contributory, SEVERITY_page, SEVERITY_double };

static enum severity
severity_of(const struct cpu_fault *e)
{
	const uint32_t contributory = 1u << VEC_de | 1u << VEC_ts | 1u << VEC_np | 1u << VEC_ss |
		1u << VEC_gp;

	if (e->kind != EVENT_fault)
		return SEVERITY_benign;
	if (e->vec == VEC_df)
		return SEVERITY_double;
	if (e->vec == VEC_pf)
		return SEVERITY_page;
	if (e->vec < 32 && (contributory >> e->vec & 1))
		return SEVERITY_contributory;
	return SEVERITY_benign;
}

/* [first][second] (SDM vol. 3A, table 6-5). */
enum combined { SERIAL, DOUBLE, TRIPLE };
static const uint8_t combined[4][4] = {
	[SEVERITY_benign]       = { SERIAL, SERIAL, SERIAL, SERIAL },
	[SEVERITY_contributory] = { SERIAL, DOUBLE, SERIAL, DOUBLE },
	[SEVERITY_page]         = { SERIAL, DOUBLE, DOUBLE, DOUBLE },
	[SEVERITY_double]       = { SERIAL, TRIPLE, TRIPLE, TRIPLE },
};

int
cpu_deliver(struct cpu *c)
{
	/* A guest may chain benign faults for ever only by its own tables; a few rounds are a
	 * machine's patience. */
	enum { ROUNDS = 8 };
	const struct cpu_fault double_fault = { EVENT_fault, .vec = VEC_df, .has_error = true };
	struct cpu_fault e = c->fault;
	uint64_t rip;

	if (c->r.activity == ACTIVITY_hlt)
		c->r.activity = ACTIVITY_run;
	for (unsigned i = 0; i < ROUNDS; i++) {
		/* A task switch may have changed rip before it met its fault. */
		rip = c->r.rip;
		if (deliver_once(c, &e, rip) == OK)
			return OK;
		switch (combined[severity_of(&e)][severity_of(&c->fault)]) {
		case TRIPLE:
			return FAULT;
		case DOUBLE:
			if (c->fault.vec == VEC_pf)
				c->r.cr2 = c->fault.addr;
			e = double_fault;
			break;
		default:
			e = c->fault;
		}
	}
	return FAULT;
}
