/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/task.c - hardware task switching between 16- and 32-bit TSSs (SDM vol. 3A, chapter 7). */
#include "cpu/sysreg.h"
#include "cpu/transfer.h"
#include <string.h>

/* Where things stand in a TSS; segments in sreg order (ES CS SS DS FS GS). */
struct layout { uint8_t word, size, ip, flags, gpr, seg, nseg, ldt; };
static const struct layout layouts[2] = {
	/* word size  ip    flags gpr   seg   nseg ldt */
	{ 2,   0x2c, 0x0e, 0x10, 0x12, 0x22, 4,   0x2a },
	{ 4,   0x68, 0x20, 0x24, 0x28, 0x48, 6,   0x60 },
};
enum { TSS32_CR3 = 0x1c, TSS32_TRAP = 0x64, TSS_SIZE = 0x68, DR7_LOCAL = 0x155 };

static const struct layout *
layout_of(uint64_t attr)
{
	return &layouts[(attr & SYS_IS32) != 0];
}

static uint32_t
field(const uint8_t *image, unsigned at, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, image + at, size);
	return v;
}

/* The TSS to switch to: #GP (IRET: #TS), #NP or #TS with its selector. */
static int
new_tss(struct cpu *c, uint16_t sel, enum task_reason why, unsigned ext, struct desc *d)
{
	uint8_t vec = why == TASK_iret ? VEC_ts : VEC_gp;
	unsigned want = why == TASK_iret ? SYS_tss16_busy : SYS_tss16;

	if (sel_null(sel) || (sel & SEL_ti))
		return seg_fault(c, vec, sel, ext);
	if (desc_read(c, sel, vec, ext, d) != OK)
		return FAULT;
	if ((d->attr & ATTR_s) || (desc_type(d) & ~(unsigned)SYS_IS32) != want)
		return seg_fault(c, vec, sel, ext);
	if (!(d->attr & ATTR_p))
		return seg_fault(c, VEC_np, sel, ext);
	return d->limit < layout_of(d->attr)->size - 1u ? seg_fault(c, VEC_ts, sel, ext) : OK;
}

/* Write the outgoing task's registers into its TSS: of selectors, only the low words. */
static int
save_state(struct cpu *c, uint64_t ip, uint64_t flags)
{
	const struct layout *l = layout_of(c->r.tr_attr);
	uint8_t image[40];
	unsigned n = l->word;

	memcpy(image, &ip, n);
	memcpy(image + n, &flags, n);
	for (unsigned i = 0; i < 8; i++)
		memcpy(image + (2 + i) * n, &c->r.gpr[i], n);
	if (sys_write(c, c->r.tr_base + l->ip, image, 10 * n) != OK)
		return FAULT;
	for (unsigned i = 0; i < l->nseg; i++)
		if (sys_write(c, c->r.tr_base + l->seg + i * n, &c->r.seg[i].sel, 2) != OK)
			return FAULT;
	return OK;
}

/* Everything that the switch will write must be writable before it begins. */
static int
probe(struct cpu *c, const struct desc *to, const struct layout *from)
{
	const unsigned acc = ACC_write | ACC_system;

	if (c->r.tr_limit < from->size - 1u || (c->r.tr_attr & ATTR_unusable))
		return seg_fault(c, VEC_ts, (uint16_t)c->r.tr, 0);
	if (lin_probe(c, sys_lin(c, c->r.tr_base + from->ip), from->ldt - from->ip, acc) != OK)
		return FAULT;
	return lin_probe(c, sys_lin(c, to->base), 2, acc);
}

/* Busy bits and back link, by reason (SDM vol. 3A, table 7-2). */
static int
link_tasks(struct cpu *c, const struct desc *to, enum task_reason why)
{
	struct desc old = { .addr = c->r.gdtr_base + (c->r.tr & ~(uint64_t)7) };
	uint16_t back = (uint16_t)c->r.tr;
	bool nested = why == TASK_call || why == TASK_int;

	if (!nested && desc_change_type(c, &old, 0, SYS_BUSY) != OK)
		return FAULT;
	if (nested && sys_write(c, to->base, &back, 2) != OK)
		return FAULT;
	return why == TASK_iret ? OK : desc_change_type(c, to, SYS_BUSY, 0);
}

/* ---- loading the new task: faults from here on are its own ---- */

static int
load_ldt(struct cpu *c, uint16_t sel, unsigned ext)
{
	struct desc d;

	seg_set_null(&c->r.seg[SEG_ldtr], sel, 0);
	if (sel_null(sel))
		return OK;
	if (sel & SEL_ti)
		return seg_fault(c, VEC_ts, sel, ext);
	if (desc_read(c, sel, VEC_ts, ext, &d) != OK)
		return FAULT;
	if ((d.attr & (ATTR_s | ATTR_type | ATTR_p)) != (ATTR_p | SYS_ldt))
		return seg_fault(c, VEC_ts, sel, ext);
	seg_set_desc(&c->r.seg[SEG_ldtr], sel, &d);
	return OK;
}

static int
load_code(struct cpu *c, uint16_t sel, unsigned ext)
{
	unsigned rpl = sel & SEL_rpl;
	struct desc d;

	if (sel_null(sel))
		return seg_fault(c, VEC_ts, sel, ext);
	if (desc_read(c, sel, VEC_ts, ext, &d) != OK)
		return FAULT;
	if (!desc_is_code(&d) ||
		(desc_is_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl))
		return seg_fault(c, VEC_ts, sel, ext);
	if (!(d.attr & ATTR_p))
		return seg_fault(c, VEC_np, sel, ext);
	if (desc_mark_accessed(c, &d) != OK)
		return FAULT;
	seg_set_desc(&c->r.seg[SEG_cs], sel, &d);
	return OK;
}

static int
load_data(struct cpu *c, enum seg_id seg, uint16_t sel, unsigned ext)
{
	unsigned rpl = sel & SEL_rpl;
	struct desc d;

	if (sel_null(sel))
		return OK;
	if (desc_read(c, sel, VEC_ts, ext, &d) != OK)
		return FAULT;
	if (!(d.attr & ATTR_s) || (desc_is_code(&d) && !(d.attr & ATTR_write)))
		return seg_fault(c, VEC_ts, sel, ext);
	if (!desc_is_conforming(&d) && (desc_dpl(&d) < rpl || desc_dpl(&d) < c->cpl))
		return seg_fault(c, VEC_ts, sel, ext);
	if (!(d.attr & ATTR_p))
		return seg_fault(c, VEC_np, sel, ext);
	if (desc_mark_accessed(c, &d) != OK)
		return FAULT;
	seg_set_desc(&c->r.seg[seg], sel, &d);
	return OK;
}

static int
load_segments(struct cpu *c, unsigned ext)
{
	static const uint8_t data[] = { SEG_es, SEG_ds, SEG_fs, SEG_gs };
	struct desc d;

	if (load_code(c, (uint16_t)c->r.cs, ext) != OK)
		return FAULT;
	if (seg_check_stack(c, (uint16_t)c->r.ss, c->cpl, VEC_ts, ext, &d) != OK)
		return FAULT;
	seg_set_desc(&c->r.seg[SEG_ss], (uint16_t)c->r.ss, &d);
	for (unsigned i = 0; i < sizeof(data); i++)
		if (load_data(c, data[i], (uint16_t)c->r.seg[data[i]].sel, ext) != OK)
			return FAULT;
	return OK;
}

/* General registers, flags, and selectors whose hidden parts are not loaded yet. */
static void
load_registers(struct cpu *c, const struct layout *l, const uint8_t *image, bool nested)
{
	uint64_t high = l->word == 2 ? 0xffff0000 : 0;
	uint16_t sel, cs = (uint16_t)field(image, l->seg + SEG_cs * l->word, 2);

	c->r.rip = field(image, l->ip, l->word);
	c->r.rflags = (field(image, l->flags, l->word) & 0x3f7fd5) | RFLAGS_fixed;
	if (nested)
		c->r.rflags |= rflags_nt_MASK;
	for (unsigned i = 0; i < 8; i++)
		c->r.gpr[i] = (c->r.gpr[i] & high) | field(image, l->gpr + i * l->word, l->word);
	for (unsigned i = 0; i <= SEG_gs; i++) {
		sel = i < l->nseg ? (uint16_t)field(image, l->seg + i * l->word, 2) : 0;
		if (rflags_vm(&c->r))
			seg_set_v86(&c->r.seg[i], sel);
		else
			seg_set_null(&c->r.seg[i], sel, cs & SEL_rpl);
	}
	cpu_mode_update(c);
	c->cpl = rflags_vm(&c->r) ? 3 : cs & SEL_rpl;
}

static int
push_error(struct cpu *c, const struct layout *l, uint32_t error)
{
	struct stack s;

	stack_current(c, &s);
	if (stack_push(c, &s, error, l->word) != OK)
		return FAULT;
	stack_commit(c, &s);
	return OK;
}

/* The new task runs; its LDT, segments, EIP and T bit may fault in its own context. */
static int
enter_task(struct cpu *c, const struct layout *l, const uint8_t *image, const struct task_event *e)
{
	unsigned ext = e->ext;

	if (load_ldt(c, (uint16_t)field(image, l->ldt, 2), ext) != OK)
		return FAULT;
	if (!rflags_vm(&c->r) && load_segments(c, ext) != OK)
		return FAULT;
	cpu_mode_update(c);
	if (c->r.rip > c->r.cs_limit)
		return cpu_raise_error(c, VEC_gp, ext);
	if (e->has_error && push_error(c, l, e->error) != OK)
		return FAULT;
	if (l->word == 4 && (image[TSS32_TRAP] & 1)) {
		c->fault = (struct cpu_fault){ EVENT_trap, .vec = VEC_db, .addr = dr6_bt_MASK };
		return FAULT;
	}
	return OK;
}

int
task_switch(struct cpu *c, uint16_t sel, enum task_reason why, uint64_t next,
	const struct task_event *e)
{
	const struct task_event none = { .flags = c->r.rflags };
	bool nested = why == TASK_call || why == TASK_int;
	const struct layout *l;
	uint64_t flags;
	uint8_t image[TSS_SIZE];
	struct desc d;

	e = e != NULL ? e : &none;
	flags = e->flags;
	if (new_tss(c, sel, why, e->ext, &d) != OK)
		return FAULT;
	l = layout_of(d.attr);
	if (sys_read(c, d.base, image, l->size) != OK ||
		probe(c, &d, layout_of(c->r.tr_attr)) != OK)
		return FAULT;
	if (why == TASK_iret)
		flags &= ~rflags_nt_MASK;
	if (save_state(c, next, flags) != OK || link_tasks(c, &d, why) != OK)
		return FAULT;
	d.attr |= SYS_BUSY;
	seg_set_desc(&c->r.seg[SEG_tr], sel, &d);
	c->r.cr0 |= cr0_ts_MASK;
	c->r.dr7 &= ~(uint64_t)DR7_LOCAL;
	if (why == TASK_iret)
		c->r.nmi_blocked = 0;
	load_registers(c, l, image, nested);
	if (l->word == 4 && c->paging &&
		reg_guest_write(c, REG_cr3, field(image, TSS32_CR3, 4)) != OK)
		return FAULT;
	return enter_task(c, l, image, e);
}

int
task_return(struct cpu *c, uint64_t next)
{
	uint16_t sel;

	if (sys_read(c, c->r.tr_base, &sel, 2) != OK)
		return FAULT;
	return task_switch(c, sel, TASK_iret, next, NULL);
}

int
cpu_task_switch(struct cpu *c, uint16_t tss_sel, enum task_reason why, uint64_t next,
	bool has_error, uint32_t error)
{
	return task_switch(c, tss_sel, why, next,
		&(struct task_event){ has_error, error, 0, c->r.rflags });
}
