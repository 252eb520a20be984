/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/msr.c - RDMSR and WRMSR: by row of registers.def, and the checks that masks can't express. */
#include "cpu/checks.h"
#include "cpu/cpuid.h"
#include "cpu/sysreg.h"

enum { X2APIC_FIRST = 0x800, X2APIC_LAST = 0x8ff };

static bool
is_x2apic(const struct cpu *c, uint32_t msr)
{
	return msr >= X2APIC_FIRST && msr <= X2APIC_LAST && ia32_apic_base_extd(&c->r);
}

/* The row of that MSR, when this model has it; else -1. */
static int
msr_row(const struct cpu *c, uint32_t msr)
{
	int id = reg_by_msr(msr);

	return id < 0 || (reg_desc[id].since != CPUF_always && !cpu_has(c->model, reg_desc[id].since)) ? -1 : id;
}

/* An MSR that no row describes: what does the policy say? done: all is said. */
static int
unlisted(struct cpu *c, uint32_t msr, enum reg_access access, uint64_t *val, bool *done)
{
	*done = false;
	if (c->policy == NULL || !(is_x2apic(c, msr) ? c->policy->x2apic : c->policy->odd_msrs))
		return OK;
	return policy_msr(c, msr, access, val, done);
}

static int
unlisted_access(struct cpu *c, uint32_t msr, enum reg_access access, uint64_t *val)
{
	bool done;

	if (unlisted(c, msr, access, val, &done) != OK)
		return FAULT;
	if (done)
		return OK;
	return is_x2apic(c, msr) && c->ops->apic_msr(c, msr, access == REG_write, val) ? OK : raise_gp(c);
}

static uint64_t
tsc_now(struct cpu *c)
{
	return c->ops != NULL && c->ops->tsc != NULL ? c->ops->tsc(c) : c->r.ia32_tsc;
}

/* What is not simply in the register file. */
static int
msr_value(struct cpu *c, int id, uint64_t *val)
{
	switch (id) {
	case REG_ia32_pred_cmd: return raise_gp(c);	/* write only */
	case REG_ia32_tsc: *val = tsc_now(c); break;
	case REG_ia32_tsc_deadline:
		*val = c->r.ia32_tsc_deadline;
		if (*val != 0 && tsc_now(c) >= *val)
			*val = 0;	/* it went off */
		break;
	default: *val = c->r.v[id];
	}
	return OK;
}

int
msr_read(struct cpu *c, uint32_t msr, uint64_t *val)
{
	int id;

	if (c->cpl != 0)
		return raise_gp(c);
	if (is_x2apic(c, msr) || (id = msr_row(c, msr)) < 0)
		return unlisted_access(c, msr, REG_read, val);
	if (msr_value(c, id, val) != OK)
		return FAULT;
	return policy_refuse(c, policy_reg(c, id, REG_read, val), false);
}

int
msr_write(struct cpu *c, uint32_t msr, uint64_t val)
{
	enum verdict v;
	int id;

	if (c->cpl != 0)
		return raise_gp(c);
	if (is_x2apic(c, msr) || (id = msr_row(c, msr)) < 0)
		return unlisted_access(c, msr, REG_write, &val);
	v = policy_reg(c, id, REG_write, &val);
	return v == VERDICT_allow ? reg_guest_write(c, id, val) : policy_refuse(c, v, false);
}

int
check_tsc(struct cpu *c, int id, uint64_t val)
{
	c->r.ia32_tsc_adjust += val - tsc_now(c);
	if (c->ops != NULL && c->ops->tsc_write != NULL)
		c->ops->tsc_write(c, val);
	c->r.v[id] = val;
	return OK;
}

int
check_tsc_adjust(struct cpu *c, int id, uint64_t val)
{
	uint64_t delta = val - c->r.v[id];

	c->r.v[id] = val;
	if (c->ops != NULL && c->ops->tsc_adjust != NULL)
		c->ops->tsc_adjust(c, delta);
	return OK;
}

int
check_tsc_deadline(struct cpu *c, int id, uint64_t val)
{
	c->r.v[id] = val;
	if (c->ops != NULL && c->ops->deadline != NULL)
		c->ops->deadline(c, val);
	return OK;
}

/* The legal steps between off, xAPIC and x2APIC (SDM vol. 3A, 11.12.5). */
static bool
apic_step_legal(uint64_t old, uint64_t val)
{
	const uint64_t en = ia32_apic_base_en_MASK, extd = ia32_apic_base_extd_MASK;

	if (!(val & en))
		return !(val & extd);
	if (old & extd)
		return val & extd;
	return !(val & extd) || old & en;
}

int
check_apic_base(struct cpu *c, int id, uint64_t val)
{
	uint64_t old = c->r.v[id], known = ia32_apic_base_bsp_MASK | ia32_apic_base_en_MASK;

	known |= ((1ull << c->model->phys_bits) - 1) & PAGE_MASK;
	if (cpu_has(c->model, CPUF_x2apic))
		known |= ia32_apic_base_extd_MASK;
	if (val & ~known || !apic_step_legal(old, val))
		return raise_gp(c);
	c->r.v[id] = (val & ~ia32_apic_base_bsp_MASK) | (old & ia32_apic_base_bsp_MASK);
	if (c->ops != NULL && c->ops->apic_base != NULL)
		c->ops->apic_base(c, c->r.v[id]);
	return OK;
}

/* A command, not a register: nothing to flush in here. */
int
check_pred_cmd(struct cpu *c, int id, uint64_t val)
{
	return val & ~reg_desc[id].writable ? raise_gp(c) : OK;
}

/* Memory types (SDM vol. 3A, 11.3): UC WC - - WT WP WB, and UC- in the PAT only. */
static bool
is_mtrr_type(uint64_t type)
{
	return type <= 6 && type != 2 && type != 3;
}

static bool
all_types(uint64_t val, uint64_t also)
{
	unsigned i;

	for (i = 0; i < 64; i += 8)
		if (!is_mtrr_type(val >> i & 0xff) && (val >> i & 0xff) != also)
			return false;
	return true;
}

int
check_mtrr_fixed(struct cpu *c, int id, uint64_t val)
{
	return all_types(val, 0) ? check_none(c, id, val) : raise_gp(c);
}

int
check_pat(struct cpu *c, int id, uint64_t val)
{
	enum { UC_MINUS = 7 };

	return all_types(val, UC_MINUS) ? check_none(c, id, val) : raise_gp(c);
}

int
check_mtrr_def(struct cpu *c, int id, uint64_t val)
{
	return is_mtrr_type(val & 0xff) ? check_none(c, id, val) : raise_gp(c);
}

int
check_mtrr_mask(struct cpu *c, int id, uint64_t val)
{
	return val >> c->model->phys_bits ? raise_gp(c) : check_none(c, id, val);
}

int
check_mtrr_base(struct cpu *c, int id, uint64_t val)
{
	return is_mtrr_type(val & 0xff) ? check_mtrr_mask(c, id, val) : raise_gp(c);
}

/* Software clears it; more than that only with HWCR.McStatusWrEn (AMD APM vol. 2, 9.3.2). */
int
check_mc_status(struct cpu *c, int id, uint64_t val)
{
	if (val != 0 && !amd_hwcr_mcstatuswren(&c->r))
		return raise_gp(c);
	c->r.v[id] = val;
	return OK;
}

static int
kvm_msr(struct cpu *c, int id, uint64_t val)
{
	c->r.v[id] = val;
	if (c->ops != NULL && c->ops->kvm_clock != NULL)
		c->ops->kvm_clock(c, reg_desc[id].msr, val);
	return OK;
}

int
check_kvm_wall_clock(struct cpu *c, int id, uint64_t val)
{
	return kvm_msr(c, id, val);
}

int
check_kvm_system_time(struct cpu *c, int id, uint64_t val)
{
	return kvm_msr(c, id, val);
}
