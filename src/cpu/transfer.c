/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/transfer.c - checks on the code segment that control is to reach (SDM vol. 3A, 5.8). */
#include "cpu/transfer.h"

static bool
level_allows(const struct cpu *c, const struct desc *d, unsigned rpl, enum reach how)
{
	unsigned dpl = desc_dpl(d), cpl = c->cpl;

	if (how == REACH_return)
		return desc_is_conforming(d) ? dpl <= rpl : dpl == rpl;
	if (desc_is_conforming(d) || how == REACH_gate_call)
		return dpl <= cpl;
	return dpl == cpl && (how == REACH_gate_jmp || rpl <= cpl);
}

int
code_check(struct cpu *c, uint16_t sel, enum reach how, unsigned ext, struct desc *d)
{
	bool by_gate = how == REACH_gate_jmp || how == REACH_gate_call;

	if (sel_null(sel))
		return seg_fault(c, VEC_gp, 0, ext);
	if (desc_read(c, sel, VEC_gp, ext, d) != OK)
		return FAULT;
	if (!desc_is_code(d) || (how == REACH_return && (sel & SEL_rpl) < c->cpl))
		return seg_fault(c, VEC_gp, sel, ext);
	/* L and D together are reserved; a gate of long mode leads only to 64-bit code. */
	if (c->lma && (d->attr & ATTR_l) && (d->attr & ATTR_db))
		return seg_fault(c, VEC_gp, sel, ext);
	if (c->lma && by_gate && !(d->attr & ATTR_l))
		return seg_fault(c, VEC_gp, sel, ext);
	if (!level_allows(c, d, sel & SEL_rpl, how))
		return seg_fault(c, VEC_gp, sel, ext);
	if (!(d->attr & ATTR_p))
		return seg_fault(c, VEC_np, sel, ext);
	return desc_mark_accessed(c, d);
}

int
target_make(struct cpu *c, const struct desc *d, uint16_t sel, unsigned cpl, uint64_t rip,
	unsigned ext, struct target *t)
{
	seg_set_desc(&t->cs, (uint16_t)((sel & 0xfffc) | cpl), d);
	t->rip = rip;
	if (desc_is_64(c, d) ? lin_canonical(rip) : rip <= t->cs.limit)
		return OK;
	return cpu_raise_error(c, VEC_gp, ext);
}

int
target_make_real(struct cpu *c, uint16_t sel, uint64_t rip, struct target *t)
{
	t->cs = c->r.seg[SEG_cs];
	if (c->mode == MODE_v86)
		seg_set_v86(&t->cs, sel);
	else
		seg_set_real(&t->cs, sel);
	t->rip = rip;
	return rip <= t->cs.limit ? OK : cpu_raise_error(c, VEC_gp, 0);
}

void
transfer_commit(struct cpu *c, const struct target *t)
{
	c->r.seg[SEG_cs] = t->cs;
	c->r.rip = t->rip;
	cpu_mode_update(c);
}
