/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/stack.c - pushes and pops of a transfer of control, and the stacks that a TSS names. */
#include "cpu/stack.h"

enum { SP_16 = 0xffff };
static const uint64_t SP_32 = 0xffffffff, SP_64 = UINT64_MAX;

void
stack_new(struct stack *s, const struct segreg *ss, uint64_t sp, bool flat, uint32_t error)
{
	*s = (struct stack){ .ss = *ss, .sp = sp, .error = error, .flat = flat, .checked = true };
	s->mask = flat ? SP_64 : ss->attr & ATTR_db ? SP_32 : SP_16;
}

void
stack_current(const struct cpu *c, struct stack *s)
{
	stack_new(s, &c->r.seg[SEG_ss], c->r.rsp, c->mode == MODE_long64, 0);
	s->checked = c->mode >= MODE_prot16;
	if (c->mode == MODE_v86)
		s->mask = SP_16;
}

static int
stack_lin(struct cpu *c, const struct stack *s, uint64_t off, unsigned size, uint64_t *lin)
{
	if (s->flat) {
		*lin = off;
		if (lin_canonical(off) && lin_canonical(off + size - 1))
			return OK;
		return cpu_raise_error(c, VEC_ss, s->error & ERR_ext);
	}
	*lin = (uint32_t)(s->ss.base + off);
	if (!(s->checked && (s->ss.attr & ATTR_unusable)) && seg_limit_allows(&s->ss, off, size))
		return OK;
	return cpu_raise_error(c, VEC_ss, s->error);
}

static void
stack_move(struct stack *s, uint64_t by)
{
	s->sp = (s->sp & ~s->mask) | ((s->sp + by) & s->mask);
	if (s->mask == SP_32)
		s->sp = (uint32_t)s->sp;
}

static int
write_word(struct cpu *c, uint64_t lin, uint64_t val, unsigned size)
{
	switch (size) {
	case 8:
		return lin_write64(c, lin, val);
	case 4:
		return lin_write32(c, lin, (uint32_t)val);
	default:
		return lin_write16(c, lin, (uint16_t)val);
	}
}

int
stack_push(struct cpu *c, struct stack *s, uint64_t val, unsigned size)
{
	uint64_t lin, old = s->sp;
	int res;

	stack_move(s, (uint64_t)0 - size);
	res = stack_lin(c, s, s->sp & s->mask, size, &lin);
	if (res == OK)
		res = write_word(c, lin, val, size);
	if (res != OK)
		s->sp = old;
	return res;
}

int
stack_peek(struct cpu *c, const struct stack *s, unsigned n, uint64_t *val, unsigned size)
{
	uint64_t lin;

	*val = 0;
	if (stack_lin(c, s, (s->sp + (uint64_t)n * size) & s->mask, size, &lin) != OK)
		return FAULT;
	if (size == 8)
		return lin_read64(c, lin, val);
	return lin_read_slow(c, lin, val, size, ACC_read);
}

int
stack_pop(struct cpu *c, struct stack *s, uint64_t *val, unsigned size)
{
	if (stack_peek(c, s, 0, val, size) != OK)
		return FAULT;
	stack_move(s, size);
	return OK;
}

void
stack_drop(struct stack *s, uint64_t bytes)
{
	stack_move(s, bytes);
}

void
stack_commit(struct cpu *c, const struct stack *s)
{
	c->r.seg[SEG_ss] = s->ss;
	c->r.rsp = s->sp;
}

struct privilege
privilege_assume(struct cpu *c, unsigned cpl)
{
	struct privilege old = { c->cpl, c->tlb_view };

	if (cpl == c->cpl)
		return old;
	c->cpl = (uint8_t)cpl;
	if (cpl == 3)
		c->tlb_view = TLB_user;
	else
		c->tlb_view = cr4_smap(&c->r) && !rflags_ac(&c->r) ? TLB_super : TLB_super_ac;
	return old;
}

void
privilege_restore(struct cpu *c, struct privilege p)
{
	c->cpl = p.cpl;
	c->tlb_view = p.view;
}

/* size bytes at `at` of the current TSS; #TS(TR) beyond its limit. */
static int
tss_read(struct cpu *c, uint64_t at, unsigned size, unsigned ext, uint64_t *val)
{
	*val = 0;
	if (at + size - 1 > c->r.tr_limit || (c->r.tr_attr & ATTR_unusable))
		return seg_fault(c, VEC_ts, (uint16_t)c->r.tr, ext);
	return sys_read(c, c->r.tr_base + at, val, size);
}

int
tss_stack(struct cpu *c, unsigned level, unsigned ext, uint16_t *sel, uint64_t *sp)
{
	bool is32 = (c->r.tr_attr & SYS_IS32) != 0;
	unsigned size = c->lma ? 8 : is32 ? 4 : 2;
	unsigned at = c->lma || is32 ? 4 + 8 * level : 2 + 4 * level;
	uint64_t word = 0;

	/* The limit must hold SP and SS. */
	if (at + size + (c->lma ? 0 : 2) - 1 > c->r.tr_limit)
		return seg_fault(c, VEC_ts, (uint16_t)c->r.tr, ext);
	if (tss_read(c, at, size, ext, sp) != OK)
		return FAULT;
	if (!c->lma && tss_read(c, at + size, 2, ext, &word) != OK)
		return FAULT;
	*sel = (uint16_t)word;
	return OK;
}

int
tss_ist(struct cpu *c, unsigned ist, unsigned ext, uint64_t *sp)
{
	return tss_read(c, 0x24 + 8 * (ist - 1), 8, ext, sp);
}

int
stack_inner(struct cpu *c, unsigned level, unsigned ext, struct stack *s)
{
	struct segreg ss;
	struct desc d;
	uint16_t sel;
	uint64_t sp;

	if (tss_stack(c, level, ext, &sel, &sp) != OK)
		return FAULT;
	if (c->lma) {
		seg_set_null(&ss, (uint16_t)level, level);
		stack_new(s, &ss, sp, true, ext);
		return OK;
	}
	if (seg_check_stack(c, sel, level, VEC_ts, ext, &d) != OK)
		return FAULT;
	seg_set_desc(&ss, sel, &d);
	stack_new(s, &ss, sp, false, (uint32_t)(sel & ~SEL_rpl) | ext);
	return OK;
}
