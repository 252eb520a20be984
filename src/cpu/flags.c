/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/flags.c - what IOPL decides: PUSHF, POPF, CLI, STI (SDM 3B, 20.3). */
#include "cpu/transfer.h"

uint64_t
flags_poppable(const struct cpu *c, unsigned osz)
{
	(void)c;
	return RFLAGS_arith | rflags_tf_MASK | rflags_df_MASK | rflags_nt_MASK |
		(osz > 2 ? rflags_rf_MASK | rflags_ac_MASK | rflags_id_MASK : 0);
}

/* Virtual-8086 mode below IOPL 3: only the 16-bit forms, and those only with CR4.VME. */
static int
vme_allowed(struct cpu *c, unsigned osz)
{
	return cr4_vme(&c->r) && osz == 2 ? OK : cpu_raise_error(c, VEC_gp, 0);
}

static bool
v86_below_iopl3(const struct cpu *c)
{
	return c->mode == MODE_v86 && rflags_iopl(&c->r) < 3;
}

static int
popf_vme(struct cpu *c, uint64_t val)
{
	bool want_if = (val & rflags_if_MASK) != 0;

	if ((want_if && rflags_vip(&c->r)) || (val & rflags_tf_MASK))
		return cpu_raise_error(c, VEC_gp, 0);
	flags_set(c, flags_poppable(c, 2), val);
	flags_set(c, rflags_vif_MASK, want_if ? rflags_vif_MASK : 0);
	return OK;
}

int
cpu_popf(struct cpu *c, uint64_t val, unsigned osz)
{
	uint64_t mask = flags_poppable(c, osz);

	if (v86_below_iopl3(c))
		return vme_allowed(c, osz) == OK ? popf_vme(c, val) : FAULT;
	val &= ~rflags_rf_MASK;
	if (c->cpl <= rflags_iopl(&c->r))
		mask |= rflags_if_MASK;
	if (c->cpl == 0)
		mask |= rflags_iopl_MASK;
	flags_set(c, mask, val);
	cpu_mode_update(c);		/* AC decides which pages SMAP allows */
	return OK;
}

int
cpu_pushf_image(struct cpu *c, unsigned osz, uint64_t *val)
{
	*val = c->r.rflags & ~(rflags_rf_MASK | rflags_vm_MASK);
	if (!v86_below_iopl3(c))
		return OK;
	if (vme_allowed(c, osz) != OK)
		return FAULT;
	*val = (*val & ~rflags_if_MASK) | rflags_iopl_MASK |
		(rflags_vif(&c->r) ? rflags_if_MASK : 0);
	return OK;
}

/* Which flag CLI and STI work on here: IF, VIF, or neither. */
static int
interrupt_flag(struct cpu *c, uint64_t *mask)
{
	bool virtual_ok = c->mode == MODE_v86 ? cr4_vme(&c->r) : c->cpl == 3 && cr4_pvi(&c->r);

	*mask = c->cpl <= rflags_iopl(&c->r) ? rflags_if_MASK : virtual_ok ? rflags_vif_MASK : 0;
	return *mask != 0 ? OK : cpu_raise_error(c, VEC_gp, 0);
}

int
cpu_cli(struct cpu *c)
{
	uint64_t mask;

	if (interrupt_flag(c, &mask) != OK)
		return FAULT;
	c->r.rflags &= ~mask;
	return OK;
}

int
cpu_sti(struct cpu *c)
{
	uint64_t mask;

	if (interrupt_flag(c, &mask) != OK)
		return FAULT;
	if (mask == rflags_vif_MASK && rflags_vip(&c->r))
		return cpu_raise_error(c, VEC_gp, 0);
	if (mask == rflags_if_MASK && !rflags_if(&c->r))
		c->r.interruptibility |= SHADOW_sti;
	c->r.rflags |= mask;
	return OK;
}
