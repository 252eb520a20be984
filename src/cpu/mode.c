/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/mode.c - execution mode, CPL and TLB view out of the registers; and recording a fault. */
#include "cpu/cpu.h"

static enum cpu_mode
mode_of(const union regfile *r, bool lma)
{
	if (!cr0_pe(r))
		return MODE_real;
	if (lma && r->cs_attr & ATTR_l)
		return MODE_long64;
	if (!lma && rflags_vm(r))
		return MODE_v86;
	return r->cs_attr & ATTR_db ? MODE_prot32 : MODE_prot16;
}

/* The privilege level is SS.DPL (SDM vol. 3C, 25.4.1); SS keeps it even when null. */
static uint8_t
cpl_of(const union regfile *r, enum cpu_mode mode)
{
	switch (mode) {
	case MODE_real: return 0;
	case MODE_v86: return 3;
	default: return (r->ss_attr & ATTR_dpl) >> ATTR_dpl_shift;
	}
}

static enum tlb_view
view_of(const union regfile *r, uint8_t cpl)
{
	if (cpl == 3)
		return TLB_user;
	return cr4_smap(r) && !rflags_ac(r) ? TLB_super : TLB_super_ac;
}

/* The upper halves of general registers are undefined outside 64-bit mode (SDM vol. 1, 3.4.1.1);
 * here they are 0, on which translated 32-bit code relies. */
static void
uppers_clear(union regfile *r)
{
	enum { LEGACY = 8 };

	for (unsigned i = 0; i < LEGACY; i++)
		r->gpr[i] = (uint32_t)r->gpr[i];
}

void
cpu_mode_update(struct cpu *c)
{
	enum cpu_mode mode;

	c->lma = ia32_efer_lma(&c->r);
	c->paging = cr0_pg(&c->r);
	mode = mode_of(&c->r, c->lma);
	if (mode != MODE_long64)
		uppers_clear(&c->r);
	c->mode = (uint8_t)mode;
	c->cpl = cpl_of(&c->r, mode);
	c->tlb_view = (uint8_t)view_of(&c->r, c->cpl);
	if (c->cpl == 3 && c->user_watch)
		policy_user_begins(c);
}

static int
raise(struct cpu *c, struct cpu_fault fault)
{
	c->fault = fault;
	c->fault.kind = EVENT_fault;
	return FAULT;
}

int
cpu_raise(struct cpu *c, uint8_t vec)
{
	return raise(c, (struct cpu_fault){ .vec = vec });
}

int
cpu_raise_error(struct cpu *c, uint8_t vec, uint32_t error)
{
	return raise(c, (struct cpu_fault){ .vec = vec, .has_error = true, .error = error });
}

int
cpu_raise_pf(struct cpu *c, uint64_t lin, uint32_t error)
{
	return raise(c, (struct cpu_fault){ .vec = VEC_pf, .has_error = true, .error = error, .addr = lin });
}

int
cpu_raise_db(struct cpu *c, uint64_t dr6_bits)
{
	return raise(c, (struct cpu_fault){ .vec = VEC_db, .addr = dr6_bits });
}
