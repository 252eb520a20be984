/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/iret.c - IRET in every mode (SDM vol. 2A, IRET/IRETD/IRETQ). */
#include "cpu/transfer.h"

/* What IRET pops first, at every level. */
struct image { uint64_t rip, sel, flags; };

static int
pop_image(struct cpu *c, struct stack *s, struct image *im, unsigned osz)
{
	if (stack_pop(c, s, &im->rip, osz) != OK || stack_pop(c, s, &im->sel, osz) != OK)
		return FAULT;
	return stack_pop(c, s, &im->flags, osz);
}

static int
iret_finish(struct cpu *c, const struct stack *s, const struct target *t, uint64_t flags_mask,
	uint64_t flags)
{
	stack_commit(c, s);
	flags_set(c, flags_mask, flags);
	transfer_commit(c, t);
	c->r.nmi_blocked = 0;
	return OK;
}

static int
iret_real(struct cpu *c, unsigned osz)
{
	struct image im;
	struct target t;
	struct stack s;

	stack_current(c, &s);
	if (pop_image(c, &s, &im, osz) != OK ||
		target_make_real(c, (uint16_t)im.sel, im.rip, &t) != OK)
		return FAULT;
	return iret_finish(
		c, &s, &t, flags_poppable(c, osz) | rflags_if_MASK | rflags_iopl_MASK, im.flags);
}

/* Virtual-8086 mode with IOPL below 3 and CR4.VME: VIF stands for IF. */
static int
iret_vme(struct cpu *c)
{
	struct image im;
	struct target t;
	struct stack s;
	bool want_if;

	stack_current(c, &s);
	if (pop_image(c, &s, &im, 2) != OK ||
		target_make_real(c, (uint16_t)im.sel, im.rip, &t) != OK)
		return FAULT;
	want_if = (im.flags & rflags_if_MASK) != 0;
	if ((want_if && rflags_vip(&c->r)) || (im.flags & rflags_tf_MASK))
		return cpu_raise_error(c, VEC_gp, 0);
	if (want_if)
		im.flags |= rflags_vif_MASK;
	return iret_finish(c, &s, &t, flags_poppable(c, 2) | rflags_vif_MASK, im.flags);
}

static int
iret_v86(struct cpu *c, unsigned osz)
{
	struct image im;
	struct target t;
	struct stack s;

	if (rflags_iopl(&c->r) < 3)
		return cr4_vme(&c->r) && osz == 2 ? iret_vme(c) : cpu_raise_error(c, VEC_gp, 0);
	stack_current(c, &s);
	if (pop_image(c, &s, &im, osz) != OK ||
		target_make_real(c, (uint16_t)im.sel, im.rip, &t) != OK)
		return FAULT;
	return iret_finish(c, &s, &t, flags_poppable(c, osz) | rflags_if_MASK, im.flags);
}

/* CPL 0 to virtual-8086 mode: ESP, SS, ES, DS, FS, GS follow the image. */
static int
iret_to_v86(struct cpu *c, struct stack *s, const struct image *im)
{
	static const uint8_t order[] = { SEG_es, SEG_ds, SEG_fs, SEG_gs };
	uint64_t sp, sel[5];

	if (stack_pop(c, s, &sp, 4) != OK)
		return FAULT;
	for (unsigned i = 0; i < 5; i++)
		if (stack_pop(c, s, &sel[i], 4) != OK)
			return FAULT;
	if (im->rip > 0xffff)
		return cpu_raise_error(c, VEC_gp, 0);
	seg_set_v86(&c->r.seg[SEG_cs], (uint16_t)im->sel);
	seg_set_v86(&c->r.seg[SEG_ss], (uint16_t)sel[0]);
	for (unsigned i = 0; i < sizeof(order); i++)
		seg_set_v86(&c->r.seg[order[i]], (uint16_t)sel[i + 1]);
	c->r.rip = im->rip;
	c->r.rsp = sp;
	c->r.rflags = (im->flags & 0x3f7fd5) | RFLAGS_fixed;
	c->r.nmi_blocked = 0;
	cpu_mode_update(c);
	return OK;
}

static uint64_t
protected_flags(const struct cpu *c, unsigned osz)
{
	uint64_t mask = flags_poppable(c, osz);

	if (c->cpl <= rflags_iopl(&c->r))
		mask |= rflags_if_MASK;
	if (c->cpl == 0)
		mask |= rflags_iopl_MASK | (osz > 2 ? rflags_vif_MASK | rflags_vip_MASK : 0);
	return mask;
}

static int
iret_protected(struct cpu *c, unsigned osz)
{
	struct stack s, to;
	struct image im;
	struct target t;
	struct desc d;
	uint64_t sp, ss;
	unsigned cpl, from = c->cpl;

	stack_current(c, &s);
	if (pop_image(c, &s, &im, osz) != OK)
		return FAULT;
	if (!c->lma && osz == 4 && (im.flags & rflags_vm_MASK) && c->cpl == 0)
		return iret_to_v86(c, &s, &im);
	cpl = im.sel & SEL_rpl;
	if (code_check(c, (uint16_t)im.sel, REACH_return, 0, &d) != OK)
		return FAULT;
	/* In 64-bit mode the stack pointer is always part of the frame. */
	if (cpl > from || c->mode == MODE_long64) {
		if (stack_pop(c, &s, &sp, osz) != OK || stack_pop(c, &s, &ss, osz) != OK)
			return FAULT;
		if (return_outer(c, &d, (uint16_t)ss, sp, cpl, &to) != OK)
			return FAULT;
		s = to;
	}
	if (target_make(c, &d, (uint16_t)im.sel, cpl, im.rip, 0, &t) != OK)
		return FAULT;
	if (cpl > from)
		seg_null_inner(c, cpl);
	return iret_finish(c, &s, &t, protected_flags(c, osz), im.flags);
}

int
cpu_iret(struct cpu *c, unsigned osz, uint64_t next)
{
	switch (c->mode) {
	case MODE_real:
		return iret_real(c, osz);
	case MODE_v86:
		return iret_v86(c, osz);
	default:
		if (!rflags_nt(&c->r))
			return iret_protected(c, osz);
		return c->lma ? cpu_raise_error(c, VEC_gp, 0) : task_return(c, next);
	}
}
