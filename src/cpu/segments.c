/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/segments.c - addresses through segments, loading segment registers (SDM vol. 3A, 3.4, 5). */
#include "cpu/segments.h"
#include "cpu/descriptor.h"
#include "cpu/sysreg.h"

int
seg_violation(struct cpu *c, enum seg_id seg)
{
	return cpu_raise_error(c, seg == SEG_ss ? VEC_ss : VEC_gp, 0);
}

/* Does the segment's type allow the access? Real-address and virtual-8086 mode don't ask. */
static bool
type_allows(const struct segreg *s, unsigned acc)
{
	if (s->attr & ATTR_unusable)
		return false;
	if (acc & ACC_write)
		return (s->attr & (ATTR_code | ATTR_write)) == ATTR_write;
	if (acc & ACC_exec)
		return true;
	return (s->attr & (ATTR_code | ATTR_write)) != ATTR_code;
}

bool
seg_limit_allows(const struct segreg *s, uint64_t off, unsigned size)
{
	uint64_t last = off + size - 1;

	if ((s->attr & (ATTR_s | ATTR_code | ATTR_down)) == (ATTR_s | ATTR_down))
		return off > s->limit && last <= (s->attr & ATTR_db ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

int
seg_lin_slow(
	struct cpu *c, enum seg_id seg, uint64_t off, unsigned size, unsigned acc, uint64_t *lin)
{
	const struct segreg *s = &c->r.seg[seg];

	if (c->mode == MODE_long64) {
		*lin = off + (seg >= SEG_fs ? s->base : 0);
		if (!lin_canonical(*lin) || !lin_canonical(*lin + size - 1))
			return seg_violation(c, seg);
		return OK;
	}
	off = (uint32_t)off;
	if (c->mode >= MODE_prot16 && !type_allows(s, acc))
		return seg_violation(c, seg);
	if (!seg_limit_allows(s, off, size))
		return seg_violation(c, seg);
	*lin = (uint32_t)(s->base + off);
	return OK;
}

/* A null selector: an unusable register; for SS only in 64-bit mode at an inner level. */
static int
load_null(struct cpu *c, enum seg_id seg, uint16_t sel)
{
	if (seg == SEG_ss && (c->mode != MODE_long64 || c->cpl == 3 || (sel & SEL_rpl) != c->cpl))
		return cpu_raise_error(c, VEC_gp, 0);
	seg_set_null(&c->r.seg[seg], sel, seg == SEG_ss ? c->cpl : 0);
	return OK;
}

static int
check_data(struct cpu *c, uint16_t sel, struct desc *d)
{
	unsigned rpl = sel & SEL_rpl;

	if (desc_read(c, sel, VEC_gp, 0, d) != OK)
		return FAULT;
	if (!(d->attr & ATTR_s) || (desc_is_code(d) && !(d->attr & ATTR_write)))
		return seg_fault(c, VEC_gp, sel, 0);
	if (!desc_is_conforming(d) && (rpl > desc_dpl(d) || c->cpl > desc_dpl(d)))
		return seg_fault(c, VEC_gp, sel, 0);
	if (!(d->attr & ATTR_p))
		return seg_fault(c, VEC_np, sel, 0);
	return desc_mark_accessed(c, d);
}

int
seg_load(struct cpu *c, enum seg_id seg, uint16_t sel)
{
	struct segreg *s = &c->r.seg[seg];
	struct desc d;
	int res;

	if (c->mode == MODE_real)
		seg_set_real(s, sel);
	if (c->mode == MODE_v86)
		seg_set_v86(s, sel);
	if (c->mode <= MODE_v86)
		return OK;
	if (sel_null(sel))
		return load_null(c, seg, sel);
	if (seg == SEG_ss)
		res = seg_check_stack(c, sel, c->cpl, VEC_gp, 0, &d);
	else
		res = check_data(c, sel, &d);
	if (res == OK)
		seg_set_desc(s, sel, &d);
	return res;
}

/* What LLDT and LTR share: privilege, table, type, presence. types: bit n for type n. */
static int
load_system(struct cpu *c, uint16_t sel, unsigned types, struct desc *d)
{
	if (desc_read(c, sel, VEC_gp, 0, d) != OK)
		return FAULT;
	if ((d->attr & ATTR_s) || !(types >> desc_type(d) & 1))
		return seg_fault(c, VEC_gp, sel, 0);
	if (!(d->attr & ATTR_p))
		return seg_fault(c, VEC_np, sel, 0);
	if (desc_read_upper(c, sel, VEC_gp, 0, d) != OK)
		return FAULT;
	return c->lma && !lin_canonical(d->base) ? seg_fault(c, VEC_gp, sel, 0) : OK;
}

static int
system_load_allowed(struct cpu *c, uint16_t sel)
{
	if (c->mode <= MODE_v86)
		return cpu_raise(c, VEC_ud);
	if (c->cpl != 0)
		return cpu_raise_error(c, VEC_gp, 0);
	return sel & SEL_ti ? seg_fault(c, VEC_gp, sel, 0) : OK;
}

int
seg_lldt(struct cpu *c, uint16_t sel)
{
	struct desc d;

	if (system_load_allowed(c, sel) != OK)
		return FAULT;
	if (sel_null(sel)) {
		if (segment_write(c, SEG_ldtr, sel, c->r.ldtr_base) != OK)
			return FAULT;
		seg_set_null(&c->r.seg[SEG_ldtr], sel, 0);
		return OK;
	}
	if (load_system(c, sel, 1 << SYS_ldt, &d) != OK || segment_write(c, SEG_ldtr, sel, d.base) != OK)
		return FAULT;
	seg_set_desc(&c->r.seg[SEG_ldtr], sel, &d);
	return OK;
}

int
seg_ltr(struct cpu *c, uint16_t sel)
{
	struct desc d;

	if (system_load_allowed(c, sel) != OK)
		return FAULT;
	if (sel_null(sel))
		return cpu_raise_error(c, VEC_gp, 0);
	if (load_system(c, sel, 1 << SYS_tss32 | (c->lma ? 0 : 1 << SYS_tss16), &d) != OK ||
	    segment_write(c, SEG_tr, sel, d.base) != OK)
		return FAULT;
	if (desc_change_type(c, &d, SYS_BUSY, 0) != OK)
		return FAULT;
	d.attr |= SYS_BUSY;
	seg_set_desc(&c->r.seg[SEG_tr], sel, &d);
	return OK;
}

/* System types that LAR and LSL know, legacy and long mode (SDM vol. 2A, LAR and LSL, tables). */
static const uint16_t known_types[2][2] = {
	[QUERY_lar] = { 0x1a3e, 0x1a04 },
	[QUERY_lsl] = { 0x0a0e, 0x0a04 },
};

static bool
query_type_ok(const struct cpu *c, enum seg_query what, const struct desc *d)
{
	switch (what) {
	case QUERY_verr:
		return (d->attr & ATTR_s) && (!desc_is_code(d) || (d->attr & ATTR_write));
	case QUERY_verw:
		return desc_is_writable_data(d);
	default:
		return (d->attr & ATTR_s) || (known_types[what][c->lma] >> desc_type(d) & 1);
	}
}

int
seg_query(struct cpu *c, enum seg_query what, uint16_t sel, bool *ok, uint32_t *val)
{
	struct desc d;

	if (c->mode <= MODE_v86)
		return cpu_raise(c, VEC_ud);
	*ok = false;
	if (sel_null(sel))
		return OK;
	if (desc_find(c, sel, &d, ok) != OK)
		return FAULT;
	if (!*ok)
		return OK;
	*ok = query_type_ok(c, what, &d) && (desc_is_conforming(&d) ||
		((sel & SEL_rpl) <= desc_dpl(&d) && c->cpl <= desc_dpl(&d)));
	*val = what == QUERY_lsl ? d.limit : d.hi & 0x00f0ff00;
	return OK;
}
