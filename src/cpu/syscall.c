/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/syscall.c - SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS as AMD's processors do (APM vol. 3).
 *
 * Where AMD differs from Intel: SYSENTER and SYSEXIT are #UD in long mode; SYSCALL exists in legacy
 * mode; SYSRET checks no address (the fetch after it does, at CPL 3) and leaves SS's base, limit
 * and rights as they were. SS's DPL follows CPL all the same: it is our copy of CPL.
 */
#include "cpu/transfer.h"

enum {
	FLAT_CODE = ATTR_code | ATTR_write | ATTR_accessed | ATTR_s | ATTR_p | ATTR_g,
	FLAT_DATA = ATTR_write | ATTR_accessed | ATTR_s | ATTR_p | ATTR_g | ATTR_db
};

static struct segreg
flat(uint64_t sel, unsigned attr, unsigned dpl)
{
	return (struct segreg){
		.sel = sel & 0xffff, .limit = 0xffffffff, .attr = attr | dpl << ATTR_dpl_shift
	};
}

static uint64_t
star_syscall(const struct cpu *c)
{
	return c->r.ia32_star >> 32 & 0xfffc;
}

static uint64_t
star_sysret(const struct cpu *c)
{
	return c->r.ia32_star >> 48;
}

int
cpu_syscall(struct cpu *c, uint64_t next)
{
	bool from64 = c->mode == MODE_long64;

	if (!ia32_efer_sce(&c->r))
		return cpu_raise(c, VEC_ud);
	if (c->lma) {
		c->r.rcx = next;
		c->r.r11 = c->r.rflags & ~rflags_rf_MASK;
		c->r.rip = from64 ? c->r.ia32_lstar : c->r.ia32_cstar;
		c->r.rflags &= ~(c->r.ia32_fmask | rflags_rf_MASK);
		c->r.rflags |= RFLAGS_fixed;
	} else {
		c->r.rcx = (uint32_t)next;
		c->r.rip = (uint32_t)c->r.ia32_star;
		c->r.rflags &= ~(rflags_vm_MASK | rflags_if_MASK | rflags_rf_MASK);
	}
	c->r.seg[SEG_cs] = flat(star_syscall(c), FLAT_CODE | (c->lma ? ATTR_l : ATTR_db), 0);
	c->r.seg[SEG_ss] = flat(star_syscall(c) + 8, FLAT_DATA, 0);
	cpu_mode_update(c);
	return OK;
}

int
cpu_sysret(struct cpu *c, unsigned osz)
{
	bool to64 = c->lma && osz == 8;

	if (!ia32_efer_sce(&c->r))
		return cpu_raise(c, VEC_ud);
	if (!cr0_pe(&c->r) || c->cpl != 0)
		return cpu_raise_error(c, VEC_gp, 0);
	if (c->lma)
		c->r.rflags = (c->r.r11 & 0x3c7fd5) | RFLAGS_fixed;
	else
		c->r.rflags |= rflags_if_MASK;
	c->r.rip = to64 ? c->r.rcx : (uint32_t)c->r.rcx;
	c->r.seg[SEG_cs] = flat(
		(star_sysret(c) + (to64 ? 16 : 0)) | 3, FLAT_CODE | (to64 ? ATTR_l : ATTR_db), 3);
	c->r.ss = (star_sysret(c) + 8) & 0xffff;
	c->r.ss_attr |= ATTR_dpl;
	cpu_mode_update(c);
	return OK;
}

/* What both directions of SYSENTER check. */
static int
sysenter_usable(struct cpu *c)
{
	if (c->lma)
		return cpu_raise(c, VEC_ud);
	if (!cr0_pe(&c->r) || (c->r.ia32_sysenter_cs & 0xfffc) == 0)
		return cpu_raise_error(c, VEC_gp, 0);
	return OK;
}

int
cpu_sysenter(struct cpu *c)
{
	uint64_t sel = c->r.ia32_sysenter_cs & 0xfffc;

	if (sysenter_usable(c) != OK)
		return FAULT;
	c->r.seg[SEG_cs] = flat(sel, FLAT_CODE | ATTR_db, 0);
	c->r.seg[SEG_ss] = flat(sel + 8, FLAT_DATA, 0);
	c->r.rip = (uint32_t)c->r.ia32_sysenter_eip;
	c->r.rsp = (uint32_t)c->r.ia32_sysenter_esp;
	c->r.rflags &= ~(rflags_vm_MASK | rflags_if_MASK | rflags_rf_MASK);
	cpu_mode_update(c);
	return OK;
}

int
cpu_sysexit(struct cpu *c, unsigned osz)
{
	uint64_t sel = c->r.ia32_sysenter_cs & 0xfffc;

	(void)osz;		/* no 64-bit form: #UD in long mode */
	if (sysenter_usable(c) != OK)
		return FAULT;
	if (c->cpl != 0)
		return cpu_raise_error(c, VEC_gp, 0);
	c->r.seg[SEG_cs] = flat((sel + 16) | 3, FLAT_CODE | ATTR_db, 3);
	c->r.seg[SEG_ss] = flat((sel + 24) | 3, FLAT_DATA, 3);
	c->r.rip = (uint32_t)c->r.rdx;
	c->r.rsp = (uint32_t)c->r.rcx;
	cpu_mode_update(c);
	return OK;
}

int
cpu_swapgs(struct cpu *c)
{
	uint64_t base = c->r.gs_base;

	if (c->mode != MODE_long64)
		return cpu_raise(c, VEC_ud);
	if (c->cpl != 0)
		return cpu_raise_error(c, VEC_gp, 0);
	c->r.gs_base = c->r.kernel_gs_base;
	c->r.kernel_gs_base = base;
	return OK;
}
