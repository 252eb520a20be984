/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/sysreg.c - the system-register instructions: who may execute them, on which registers. */
#include "cpu/sysreg.h"
#include "cpu/access.h"
#include "cpu/checks.h"
#include "cpu/cpuid.h"

/* The row of CRn, or -1: there is none. */
static int
cr_row(unsigned n)
{
	switch (n) {
	case 0: return REG_cr0;
	case 2: return REG_cr2;
	case 3: return REG_cr3;
	case 4: return REG_cr4;
	case 8: return REG_cr8;
	default: return -1;
	}
}

/* Existence and privilege: the same for all moves to and from CRn and DRn. */
static int MUST_CHECK
may_access(struct cpu *c, int id)
{
	if (id < 0)
		return cpu_raise(c, VEC_ud);
	return c->cpl != 0 ? raise_gp(c) : OK;
}

/* A write that privilege allows, as far as policy does. */
static int MUST_CHECK
reg_write(struct cpu *c, int id, uint64_t val)
{
	enum verdict v = policy_reg(c, id, REG_write, &val);

	return v == VERDICT_allow ? reg_guest_write(c, id, val) : policy_refuse(c, v, true);
}

static int MUST_CHECK
reg_read(struct cpu *c, int id, uint64_t *val)
{
	return policy_refuse(c, policy_reg(c, id, REG_read, val), true);
}

int
cr_read(struct cpu *c, unsigned n, uint64_t *val)
{
	int id = cr_row(n);

	if (may_access(c, id) != OK)
		return FAULT;
	if (id == REG_cr8 && c->ops != NULL && c->ops->tpr_get != NULL)
		*val = c->ops->tpr_get(c);
	else
		*val = c->r.v[id];
	return reg_read(c, id, val);
}

int
cr_write(struct cpu *c, unsigned n, uint64_t val)
{
	int id = cr_row(n);

	return may_access(c, id) == OK ? reg_write(c, id, val) : FAULT;
}

int
cpu_clts(struct cpu *c)
{
	uint64_t val = c->r.cr0 & ~cr0_ts_MASK;

	enum verdict v;

	if (may_access(c, REG_cr0) != OK)
		return FAULT;
	if ((v = policy_reg(c, REG_cr0, REG_write, &val)) != VERDICT_allow)
		return policy_refuse(c, v, true);
	c->r.cr0 = val;
	return OK;
}

/* Sets PE, but can't clear it. */
int
cpu_lmsw(struct cpu *c, uint16_t val)
{
	const uint64_t movable = cr0_mp_MASK | cr0_em_MASK | cr0_ts_MASK;
	uint64_t cr0 = (c->r.cr0 & ~movable) | (val & (movable | cr0_pe_MASK));

	return cr_write(c, 0, cr0);
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE. */
static int
dr_row(const struct cpu *c, unsigned n)
{
	switch (n) {
	case 0: case 1: case 2: case 3: return REG_dr0 + (int)n;
	case 4: case 5: return cr4_de(&c->r) ? -1 : n == 4 ? REG_dr6 : REG_dr7;
	case 6: return REG_dr6;
	case 7: return REG_dr7;
	default: return -1;
	}
}

static int MUST_CHECK
dr_access(struct cpu *c, int id)
{
	if (may_access(c, id) != OK)
		return FAULT;
	return dr7_gd(&c->r) ? cpu_raise_db(c, dr6_bd_MASK) : OK;
}

int
dr_read(struct cpu *c, unsigned n, uint64_t *val)
{
	int id = dr_row(c, n);

	if (dr_access(c, id) != OK)
		return FAULT;
	*val = c->r.v[id];
	return reg_read(c, id, val);
}

int
dr_write(struct cpu *c, unsigned n, uint64_t val)
{
	int id = dr_row(c, n);

	return dr_access(c, id) == OK ? reg_write(c, id, val) : FAULT;
}

enum { XCR_INUSE = 1 };

int
xcr_read(struct cpu *c, uint32_t n, uint64_t *val)
{
	if (!cr4_osxsave(&c->r))
		return cpu_raise(c, VEC_ud);
	if (n == XCR_INUSE && cpu_has(c->model, CPUF_xgetbv1)) {
		*val = c->r.xcr0;	/* "in use" may be said of what is not */
		return OK;
	}
	if (n != 0)
		return raise_gp(c);
	*val = c->r.xcr0;
	return policy_refuse(c, policy_reg(c, REG_xcr0, REG_read, val), false);
}

int
xcr_write(struct cpu *c, uint32_t n, uint64_t val)
{
	enum verdict v;

	if (!cr4_osxsave(&c->r))
		return cpu_raise(c, VEC_ud);
	if (c->cpl != 0 || n != 0)
		return raise_gp(c);
	v = policy_reg(c, REG_xcr0, REG_write, &val);
	return v == VERDICT_allow ? reg_guest_write(c, REG_xcr0, val) : policy_refuse(c, v, false);
}

int
cpu_rdtsc(struct cpu *c, uint64_t *tsc)
{
	if (cr4_tsd(&c->r) && c->cpl != 0)
		return raise_gp(c);
	*tsc = c->ops != NULL && c->ops->tsc != NULL ? c->ops->tsc(c) : c->r.ia32_tsc;
	return OK;
}

/* The four counters that every AMD processor has stand still here. */
int
cpu_rdpmc(struct cpu *c, uint32_t n, uint64_t *val)
{
	enum { COUNTERS = 4 };

	if (n >= COUNTERS || (c->cpl != 0 && cr0_pe(&c->r) && !cr4_pce(&c->r)))
		return raise_gp(c);
	*val = 0;
	return OK;
}

int
cpu_cpuid(struct cpu *c)
{
	struct cpuid_regs r;

	cpuid_answer(c, (uint32_t)c->r.rax, (uint32_t)c->r.rcx, &r);
	c->r.rax = r.eax;
	c->r.rbx = r.ebx;
	c->r.rcx = r.ecx;
	c->r.rdx = r.edx;
	return OK;
}

int
cpu_invlpg(struct cpu *c, uint64_t lin)
{
	if (c->cpl != 0)
		return raise_gp(c);
	tlb_flush_page(c, lin);
	return OK;
}

enum invpcid { INVPCID_page, INVPCID_context, INVPCID_all, INVPCID_nonglobal };

int
cpu_invpcid(struct cpu *c, uint64_t type, uint64_t pcid, uint64_t lin)
{
	uint64_t current = cr4_pcide(&c->r) ? cr3_pcid(&c->r) : 0;

	if (c->cpl != 0 || type > INVPCID_nonglobal)
		return raise_gp(c);
	if (pcid & ~cr3_pcid_MASK || (type == INVPCID_page && !is_canonical(c, lin)))
		return raise_gp(c);
	if (type <= INVPCID_context && !cr4_pcide(&c->r) && pcid != 0)
		return raise_gp(c);
	if (type <= INVPCID_context && pcid != current)
		pcid_forget(c, pcid);
	else if (type == INVPCID_page)
		tlb_flush_page(c, lin);
	else
		tlb_flush_all(c, type == INVPCID_all);
	if (type == INVPCID_nonglobal)
		pcid_forget_all(c);
	return OK;
}
