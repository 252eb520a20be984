/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/descriptor.c - reading, judging and marking descriptors of the GDT and LDT. */
#include "cpu/descriptor.h"
#include <string.h>

int
seg_fault(struct cpu *c, uint8_t vec, uint16_t sel, unsigned ext)
{
	return cpu_raise_error(c, vec, (uint32_t)(sel & ~SEL_rpl) | ext);
}

/* Descriptors, gates and TSS words by what the TLB has of their page: false when that is nothing. */
static bool
sys_read_near(struct cpu *c, uint64_t lin, void *to, unsigned size)
{
	const struct tlb *t = &c->tlb[cr4_smap(&c->r) ? TLB_super : TLB_super_ac];
	const struct tlb_entry *e = &t->read[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
	const uint64_t *from = (const uint64_t *)(uintptr_t)(lin + e->delta);

	if (e->tag != (lin & PAGE_MASK) || e->tag != ((lin + size - 1) & PAGE_MASK))
		return false;
	switch (size) {
	case 2: memcpy(to, from, 2); return true;
	case 8: memcpy(to, from, 8); return true;
	case 16:
		memcpy(to, from, 8);
		memcpy((uint64_t *)to + 1, from + 1, 8);
		return true;
	default: return false;
	}
}

static __attribute__((noinline)) int
sys_read_far(struct cpu *c, uint64_t lin, void *to, unsigned size)
{
	uint8_t *p = to;
	unsigned n;

	for (; size > 0; size -= n, lin += n, p += n) {
		n = size < 64 ? size : 64;
		if (lin_read_slow(c, sys_lin(c, lin), p, n, ACC_read | ACC_system) != OK)
			return FAULT;
	}
	return OK;
}

int
sys_read(struct cpu *c, uint64_t lin, void *to, unsigned size)
{
	return sys_read_near(c, sys_lin(c, lin), to, size) ? OK : sys_read_far(c, lin, to, size);
}

int
sys_write(struct cpu *c, uint64_t lin, const void *from, unsigned size)
{
	const uint8_t *p = from;
	unsigned n;

	for (; size > 0; size -= n, lin += n, p += n) {
		n = size < 64 ? size : 64;
		if (lin_write_slow(c, sys_lin(c, lin), p, n, ACC_write | ACC_system) != OK)
			return FAULT;
	}
	return OK;
}

void
desc_parse(struct desc *d, uint64_t raw)
{
	d->lo = (uint32_t)raw;
	d->hi = (uint32_t)(raw >> 32);
	d->upper = 0;
	d->base = d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000);
	d->limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
	d->attr = d->hi >> 8 & 0xf0ff;
	if (d->attr & ATTR_g)
		d->limit = d->limit << 12 | 0xfff;
}

void
desc_gate(const struct desc *d, struct gate *g)
{
	g->sel = (uint16_t)(d->lo >> 16);
	g->off = (uint64_t)d->upper << 32 | (d->hi & 0xffff0000) | (d->lo & 0xffff);
	g->params = d->hi & 0x1f;
	if (!(desc_type(d) & SYS_IS32))
		g->off &= 0xffff;
}

/* Where `size` bytes of the selector's descriptor are; false outside of the table. */
static bool
desc_place(const struct cpu *c, uint16_t sel, unsigned size, uint64_t *addr)
{
	uint64_t at = sel & 0xfff8, base = c->r.gdtr_base, limit = c->r.gdtr_limit;

	if (sel & SEL_ti) {
		if (c->r.ldtr_attr & ATTR_unusable)
			return false;
		base = c->r.ldtr_base;
		limit = c->r.ldtr_limit;
	}
	*addr = sys_lin(c, base + at);
	return at + size - 1 <= limit;
}

int
desc_find(struct cpu *c, uint16_t sel, struct desc *d, bool *found)
{
	uint64_t raw;

	*found = desc_place(c, sel, 8, &d->addr);
	if (!*found)
		return OK;
	if (sys_read(c, d->addr, &raw, 8) != OK)
		return FAULT;
	desc_parse(d, raw);
	return OK;
}

int
desc_read(struct cpu *c, uint16_t sel, uint8_t vec, unsigned ext, struct desc *d)
{
	bool found;

	if (desc_find(c, sel, d, &found) != OK)
		return FAULT;
	return found ? OK : seg_fault(c, vec, sel, ext);
}

int
desc_read_upper(struct cpu *c, uint16_t sel, uint8_t vec, unsigned ext, struct desc *d)
{
	uint64_t raw, addr;

	if (!c->lma)
		return OK;
	if (!desc_place(c, sel, 16, &addr))
		return seg_fault(c, vec, sel, ext);
	if (sys_read(c, addr + 8, &raw, 8) != OK)
		return FAULT;
	if (raw >> 40 & 0x1f)		/* where a type would be: must be zero */
		return seg_fault(c, vec, sel, ext);
	d->upper = (uint32_t)raw;
	d->base |= (uint64_t)d->upper << 32;
	return OK;
}

struct type_change { uint8_t set, clear; };

static uint64_t
type_change(void *ctx, uint64_t old)
{
	const struct type_change *t = ctx;

	return (old | t->set) & ~(uint64_t)t->clear;
}

int
desc_change_type(struct cpu *c, const struct desc *d, unsigned set, unsigned clear)
{
	struct type_change t = { (uint8_t)set, (uint8_t)clear };

	return lin_rmw_system(c, sys_lin(c, d->addr + 5), 1, type_change, &t);
}

int
desc_mark_accessed(struct cpu *c, struct desc *d)
{
	if (d->attr & ATTR_accessed)
		return OK;
	d->attr |= ATTR_accessed;
	return desc_change_type(c, d, ATTR_accessed, 0);
}

void
seg_set_desc(struct segreg *s, uint16_t sel, const struct desc *d)
{
	*s = (struct segreg){ .sel = sel, .base = d->base, .limit = d->limit, .attr = d->attr };
}

void
seg_set_null(struct segreg *s, uint16_t sel, unsigned dpl)
{
	*s = (struct segreg){ .sel = sel, .attr = ATTR_unusable | dpl << ATTR_dpl_shift };
}

void
seg_set_real(struct segreg *s, uint16_t sel)
{
	s->sel = sel;
	s->base = (uint64_t)sel << 4;
}

void
seg_set_v86(struct segreg *s, uint16_t sel)
{
	*s = (struct segreg){ .sel = sel, .base = (uint64_t)sel << 4, .limit = 0xffff,
		.attr = ATTR_p | ATTR_dpl | ATTR_s | ATTR_write | ATTR_accessed };
}

void
seg_null_inner(struct cpu *c, unsigned cpl)
{
	static const uint8_t ids[] = { SEG_es, SEG_ds, SEG_fs, SEG_gs };
	struct segreg *s;

	for (unsigned i = 0; i < sizeof(ids); i++) {
		s = &c->r.seg[ids[i]];
		if (s->attr & ATTR_unusable) {
			/* A null selector keeps FS and GS bases: they may have come from WRMSR. */
			if (sel_null((uint16_t)s->sel))
				s->sel = 0;
			continue;
		}
		if ((s->attr & (ATTR_code | ATTR_down)) == (ATTR_code | ATTR_down))
			continue;
		if ((s->attr >> ATTR_dpl_shift & 3) < cpl)
			seg_set_null(s, 0, 0);
	}
}

int
seg_check_stack(
	struct cpu *c, uint16_t sel, unsigned cpl, uint8_t vec, unsigned ext, struct desc *d)
{
	if (sel_null(sel))
		return seg_fault(c, vec, 0, ext);
	if (desc_read(c, sel, vec, ext, d) != OK)
		return FAULT;
	if ((sel & SEL_rpl) != cpl || !desc_is_writable_data(d) || desc_dpl(d) != cpl)
		return seg_fault(c, vec, sel, ext);
	if (!(d->attr & ATTR_p))
		return seg_fault(c, VEC_ss, sel, ext);
	return desc_mark_accessed(c, d);
}
