/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/control.c - what may be written to CR0, CR3, CR4, CR8, XCR0, DR6, DR7 and EFER, and what
 * follows from it (SDM vol. 3A, 2.5, 4.10.4; vol. 2B, "MOV - Move to/from Control Registers").
 */
#include "cpu/checks.h"
#include "cpu/cpuid.h"
#include "cpu/paging.h"

/* The old value of a register, and back to it when something later fails. */
static int
undo(struct cpu *c, int id, uint64_t old)
{
	c->r.v[id] = old;
	return raise_gp(c);
}

static bool
pae_paging(const struct cpu *c)
{
	return cr0_pg(&c->r) && cr4_pae(&c->r) && !ia32_efer_lma(&c->r);
}

int
check_cr0(struct cpu *c, int id, uint64_t val)
{
	const uint64_t caches = cr0_cd_MASK | cr0_nw_MASK;
	union regfile *r = &c->r;
	uint64_t old = r->cr0, changed, old_efer = r->ia32_efer;

	if (val >> 32 || (val & cr0_pg_MASK && !(val & cr0_pe_MASK)) ||
	    (val & cr0_nw_MASK && !(val & cr0_cd_MASK)))
		return raise_gp(c);
	val = (val & reg_desc[id].writable) | cr0_et_MASK;
	changed = val ^ old;
	if (changed & val & cr0_pg_MASK && ia32_efer_lme(r)) {
		if (!cr4_pae(r) || r->cs_attr & ATTR_l)
			return raise_gp(c);
		r->ia32_efer |= ia32_efer_lma_MASK;
	}
	if (changed & old & cr0_pg_MASK) {
		if (c->mode == MODE_long64 || cr4_pcide(r))
			return raise_gp(c);
		r->ia32_efer &= ~ia32_efer_lma_MASK;
	}
	r->cr0 = val;
	if (pae_paging(c) && changed & (cr0_pg_MASK | caches) && !paging_load_pdptes(c, r->cr3)) {
		r->ia32_efer = old_efer;
		return undo(c, id, old);
	}
	cpu_mode_update(c);
	if (changed & cr0_pg_MASK) {
		tlb_flush_all(c, true);
	} else if (changed & cr0_wp_MASK) {
		tlb_flush_view(c, TLB_super);
		tlb_flush_view(c, TLB_super_ac);
	}
	return OK;
}

int
check_cr3(struct cpu *c, int id, uint64_t val)
{
	const uint64_t noflush = 1ull << 63;
	uint64_t old = c->r.v[id];
	bool keep = val & noflush;

	if (cr4_pcide(&c->r))
		val &= ~noflush;
	if (val >> c->model->phys_bits)
		return raise_gp(c);
	if (pae_paging(c) && !paging_load_pdptes(c, val))
		return raise_gp(c);
	c->r.v[id] = val;
	if (cr4_pcide(&c->r))
		pcid_switch(c, old, keep);
	else
		tlb_flush_all(c, false);
	return OK;
}

/* Which CPU feature gives which bits. */
static const struct { uint64_t bits; uint16_t reg, feature; } bit_row[] = {
	{ 1 << cr4_vme_SHIFT | 1 << cr4_pvi_SHIFT, REG_cr4, CPUF_vme },
	{ 1 << cr4_tsd_SHIFT, REG_cr4, CPUF_tsc },
	{ 1 << cr4_de_SHIFT, REG_cr4, CPUF_de },
	{ 1 << cr4_pse_SHIFT, REG_cr4, CPUF_pse },
	{ 1 << cr4_pae_SHIFT, REG_cr4, CPUF_pae },
	{ 1 << cr4_mce_SHIFT, REG_cr4, CPUF_mce },
	{ 1 << cr4_pge_SHIFT, REG_cr4, CPUF_pge },
	{ 1 << cr4_pce_SHIFT, REG_cr4, CPUF_always },
	{ 1 << cr4_osfxsr_SHIFT, REG_cr4, CPUF_fxsr },
	{ 1 << cr4_osxmmexcpt_SHIFT, REG_cr4, CPUF_sse },
	{ 1 << cr4_umip_SHIFT, REG_cr4, CPUF_umip },
	{ 1 << cr4_fsgsbase_SHIFT, REG_cr4, CPUF_fsgsbase },
	{ 1 << cr4_pcide_SHIFT, REG_cr4, CPUF_pcid },
	{ 1 << cr4_osxsave_SHIFT, REG_cr4, CPUF_xsave },
	{ 1 << cr4_smep_SHIFT, REG_cr4, CPUF_smep },
	{ 1 << cr4_smap_SHIFT, REG_cr4, CPUF_smap },
	{ 1 << ia32_efer_sce_SHIFT, REG_ia32_efer, CPUF_syscall },
	{ 1 << ia32_efer_lme_SHIFT | 1 << ia32_efer_lma_SHIFT, REG_ia32_efer, CPUF_lm },
	{ 1 << ia32_efer_nxe_SHIFT, REG_ia32_efer, CPUF_nx },
	{ 1 << ia32_efer_autoibrs_SHIFT, REG_ia32_efer, CPUF_autoibrs },
	{ 1 << xcr0_avx_SHIFT, REG_xcr0, CPUF_avx },
	{ 1 << ia32_apic_base_extd_SHIFT, REG_ia32_apic_base, CPUF_x2apic },
};
enum { BIT_ROWS = sizeof(bit_row) / sizeof(bit_row[0]) };

int
reg_bit_feature(int id, uint64_t bits)
{
	unsigned i;

	for (i = 0; i < BIT_ROWS; i++)
		if (bit_row[i].reg == id && bit_row[i].bits & bits)
			return bit_row[i].feature;
	return CPUF_always;
}

/* The bits of a register that the model has. */
static uint64_t
bits_known(const struct cpu_model *m, int id)
{
	uint64_t known = 0;
	unsigned i;

	for (i = 0; i < BIT_ROWS; i++)
		if (bit_row[i].reg == id && (bit_row[i].feature == CPUF_always ||
		    cpu_has(m, (enum cpu_feature)bit_row[i].feature)))
			known |= bit_row[i].bits;
	return known;
}

int
check_cr4(struct cpu *c, int id, uint64_t val)
{
	union regfile *r = &c->r;
	uint64_t old = r->cr4, changed = val ^ old;
	const uint64_t format = cr4_pse_MASK | cr4_pae_MASK | cr4_pge_MASK;

	if (val & ~bits_known(c->model, REG_cr4))
		return raise_gp(c);
	if (c->lma && !(val & cr4_pae_MASK))
		return raise_gp(c);
	if (changed & val & cr4_pcide_MASK && (!c->lma || cr3_pcid(r) != 0))
		return raise_gp(c);
	r->cr4 = val;
	if (pae_paging(c) && changed & (format | cr4_smep_MASK) && !paging_load_pdptes(c, r->cr3))
		return undo(c, id, old);
	cpu_mode_update(c);
	if (changed & (format | cr4_pcide_MASK | cr4_smep_MASK | cr4_smap_MASK))
		tlb_flush_all(c, true);
	return OK;
}

int
check_cr8(struct cpu *c, int id, uint64_t val)
{
	if (val & ~reg_desc[id].writable)
		return raise_gp(c);
	c->r.v[id] = val;
	if (c->ops != NULL && c->ops->tpr_set != NULL)
		c->ops->tpr_set(c, (uint8_t)val);
	return OK;
}

int
check_xcr0(struct cpu *c, int id, uint64_t val)
{
	if (val & ~c->model->xcr0 || !(val & xcr0_x87_MASK) || (val & xcr0_avx_MASK && !(val & xcr0_sse_MASK)))
		return raise_gp(c);
	c->r.v[id] = val;
	return OK;
}

int
check_dr6(struct cpu *c, int id, uint64_t val)
{
	return val >> 32 ? raise_gp(c) : check_none(c, id, val);
}

int
check_dr7(struct cpu *c, int id, uint64_t val)
{
	return val >> 32 ? raise_gp(c) : check_none(c, id, val);
}

/* LMA follows from LME and CR0.PG; what is written to it is ignored. */
int
check_efer(struct cpu *c, int id, uint64_t val)
{
	uint64_t old = c->r.v[id], changed;

	if (val & ~bits_known(c->model, REG_ia32_efer))
		return raise_gp(c);
	val = (val & ~ia32_efer_lma_MASK) | (old & ia32_efer_lma_MASK);
	changed = val ^ old;
	if (changed & ia32_efer_lme_MASK && cr0_pg(&c->r))
		return raise_gp(c);
	c->r.v[id] = val;
	cpu_mode_update(c);
	if (changed & ia32_efer_nxe_MASK)
		tlb_flush_all(c, true);
	return OK;
}
