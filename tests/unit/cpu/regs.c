/* SPDX-License-Identifier: Apache-2.0 */
/* unit/cpu/regs.c - walks every row of registers.def and bits.def: names, reset, INIT, writable masks. */
#include "mmu.h"

#define ALL UINT64_MAX

static uint64_t
width_mask(int id)
{
	return reg_desc[id].bits == 64 ? ALL : (1ull << reg_desc[id].bits) - 1;
}

static void
names_and_numbers(void)
{
	int id;

	CHECK_EQ(reg_by_name("rax"), REG_rax);
	CHECK_EQ(reg_by_name("no_such"), -1);
	CHECK_EQ(reg_by_msr(0xc0000080), REG_ia32_efer);
	CHECK_EQ(reg_by_msr(0x12345), -1);
	CHECK_EQ(reg_by_msr(NOMSR), -1);
	for (id = 0; id < REG__COUNT; id++) {
		CHECK_EQ(reg_by_name(reg_desc[id].name), id);
		if (reg_desc[id].msr != NOMSR)
			CHECK_EQ(reg_by_msr(reg_desc[id].msr), id);
		CHECK(reg_desc[id].group < GROUP__COUNT && reg_desc[id].bits != 0);
		CHECK_EQ(reg_desc[id].reset & ~width_mask(id), 0);
		/* A constant can't be written; what KVM keeps as an MSR has a number. */
		if (reg_desc[id].kind == KIND_fixed && id != REG_ia32_pred_cmd)
			CHECK_EQ(reg_desc[id].writable, 0);
		if (reg_desc[id].kvm == KVM_msr)
			CHECK(reg_desc[id].msr != NOMSR);
	}
}

static void
fields(void)
{
	unsigned i, k;

	for (i = 0; i < bit_desc_count; i++) {
		const struct bit_desc *b = &bit_desc[i];

		CHECK_EQ(reg_by_name(b->reg_name), b->reg);
		CHECK(b->len > 0 && b->at + b->len <= reg_desc[b->reg].bits);
		for (k = 0; k < i; k++)
			CHECK(bit_desc[k].reg != b->reg || strcmp(bit_desc[k].name, b->name) != 0);
	}
	CHECK_EQ(cr4_smep_MASK, 1 << 20);
	CHECK_EQ(cr4_smep_SHIFT, 20);
}

static void
layout(void)
{
	union regfile r = { 0 };

	r.v[REG_rsp] = 1;
	r.v[REG_gs_base] = 2;
	r.v[REG_tr_attr] = 3;
	CHECK_EQ(r.gpr[4], 1);
	CHECK_EQ(r.seg[SEG_gs].base, 2);
	CHECK_EQ(r.seg[SEG_tr].attr, 3);
	CHECK_EQ(offsetof(union regfile, rax), 0);
}

/* The values of SDM vol. 3A, table 10-1, that software relies on. */
static void
reset_values(void)
{
	int id;

	open_cpu("regent-v1");
	for (id = 0; id < REG__COUNT; id++)
		CHECK_EQ(c->r.v[id], reg_desc[id].reset);
	CHECK_EQ(c->r.cr0, 0x60000010);
	CHECK_EQ(c->r.cs_base + c->r.rip, 0xfffffff0);
	CHECK_EQ(c->r.rflags, 2);
	CHECK_EQ(c->r.dr6, 0xffff0ff0);
	CHECK_EQ(c->r.dr7, 0x400);
	CHECK_EQ(c->fpu.fcw, 0x40);
	CHECK_EQ(c->fpu.mxcsr, 0x1f80);
	CHECK_EQ(c->mode, MODE_real);
	CHECK_EQ(c->cpl, 0);
	close_cpu();
}

static void
init_keeps(void)
{
	union regfile before;
	int id;

	open_cpu("regent-v1");
	for (id = 0; id < REG__COUNT; id++)
		c->r.v[id] ^= 0x5a5a5a5a & width_mask(id);
	before = c->r;
	reg_init(&c->r);
	for (id = 0; id < REG__COUNT; id++)
		if (id == REG_cr0)
			CHECK_EQ(c->r.cr0, 0x10 | (before.cr0 & (cr0_cd_MASK | cr0_nw_MASK)));
		else
			CHECK_EQ(c->r.v[id], reg_desc[id].keep_on_init ? before.v[id] : reg_desc[id].reset);
	CHECK_EQ(c->r.ia32_pat, before.ia32_pat);
	CHECK_EQ(c->r.ia32_efer, 0);
	CHECK_EQ(c->r.ia32_tsc_adjust, before.ia32_tsc_adjust);
	close_cpu();
}

/* Rows whose writes the masks alone judge: each bit by itself. */
static void
masks(void)
{
	static const char *const judge[REG__COUNT] = {
#define R(name, group, bits, reset, init, writable, rest, since, policy, msr, kvm, gdb, kind, check) #check,
#include "cpu/registers.def"
#undef R
	};
	uint64_t bit, old, want;
	int id, res;

	open_cpu("regent-v1");
	for (id = 0; id < REG__COUNT; id++) {
		if (strcmp(judge[id], "none") != 0)
			continue;
		for (bit = 1; bit != 0; bit <<= 1) {
			old = c->r.v[id];
			res = reg_guest_write(c, id, old ^ bit);
			want = reg_desc[id].writable & bit ? old ^ bit : old;
			CHECK_EQ(res, want == old && reg_desc[id].rest == REST_gp ? FAULT : OK);
			CHECK_EQ(c->r.v[id], want);
			c->r.v[id] = old;
		}
		if (check_bad) {
			printf("# in row %s\n", reg_desc[id].name);
			break;
		}
	}
	close_cpu();
}

/* Rows with a function: every bit, and what must come of it: -1 #GP, 0 ignored, 1 stored. */
static void
judged(void)
{
	static const struct { int id; uint64_t from, stored, ignored; } row[] = {
		{ REG_dr6, 0xffff0ff0, 0xe00f, 0xffff1ff0 },
		{ REG_dr7, 0x400, 0xffff23ff, 0xdc00 },
		{ REG_cr8, 0, 0xf, 0 },
		{ REG_mtrr_physmask0, 0, 0xfffffff800, 0 },
		{ REG_mtrr_physbase0, 0, 0xfffffff0ff & ~0xffull, 0 },
		{ REG_ia32_efer, 0, 0x901, 0x400 },
		{ REG_ia32_apic_base, 0xfee00900, 0xfffffff000, 0x100 },
		{ REG_ia32_mc0_status, 0, 0, 0 },
		{ REG_ia32_mtrrcap, 0x508, 0, 0 },
		{ REG_ia32_pred_cmd, 0, 0, 1 },
	};
	const uint64_t vary = 0xff;	/* memory types: tested below */
	uint64_t bit;
	unsigned i;
	int res;

	open_cpu("regent-v1");
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		for (bit = 1; bit != 0; bit <<= 1) {
			if (row[i].id == REG_mtrr_physbase0 && bit & vary)
				continue;
			if (row[i].id == REG_ia32_apic_base && bit & 0xc00)
				continue;
			c->r.v[row[i].id] = row[i].from;
			res = reg_guest_write(c, row[i].id, row[i].from ^ bit);
			CHECK_EQ(res, (row[i].stored | row[i].ignored) & bit ? OK : FAULT);
			CHECK_EQ(c->r.v[row[i].id], row[i].stored & bit ? row[i].from ^ bit : row[i].from);
			if (check_bad) {
				printf("# %s bit %d\n", reg_desc[row[i].id].name, __builtin_ctzll(bit));
				close_cpu();
				return;
			}
		}
	close_cpu();
}

static void
memory_types(void)
{
	unsigned type;
	bool mtrr;

	open_cpu("regent-v1");
	for (type = 0; type < 256; type++) {
		mtrr = type == 0 || type == 1 || (type >= 4 && type <= 6);
		CHECK_EQ(reg_guest_write(c, REG_mtrr_physbase1, type), mtrr ? OK : FAULT);
		CHECK_EQ(reg_guest_write(c, REG_mtrr_def_type, type | 0xc00), mtrr ? OK : FAULT);
		CHECK_EQ(reg_guest_write(c, REG_mtrr_fix4k_c0000, (uint64_t)type << 56), mtrr ? OK : FAULT);
		CHECK_EQ(reg_guest_write(c, REG_ia32_pat, (uint64_t)type << 32), mtrr || type == 7 ? OK : FAULT);
	}
	close_cpu();
}

/* mode and CPL out of CR0, EFER, CS, SS, RFLAGS. */
static void
modes(void)
{
	open_cpu("regent-v1");
	c->r.cr0 |= cr0_pe_MASK;
	cpu_mode_update(c);
	CHECK_EQ(c->mode, MODE_prot16);
	c->r.cs_attr |= ATTR_db;
	set_cpl(3);
	CHECK_EQ(c->mode, MODE_prot32);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->tlb_view, TLB_user);
	c->r.rflags |= rflags_vm_MASK;
	set_cpl(0);
	CHECK_EQ(c->mode, MODE_v86);
	CHECK_EQ(c->cpl, 3);
	c->r.rflags &= ~rflags_vm_MASK;
	c->r.cs_attr = (c->r.cs_attr & ~(uint64_t)ATTR_db) | ATTR_l;
	cpu_mode_update(c);
	CHECK_EQ(c->mode, MODE_prot16);		/* L means nothing without LMA */
	c->r.ia32_efer = ia32_efer_lme_MASK | ia32_efer_lma_MASK;
	cpu_mode_update(c);
	CHECK_EQ(c->mode, MODE_long64);
	CHECK_EQ(c->tlb_view, TLB_super_ac);
	c->r.cr4 |= cr4_smap_MASK;
	cpu_mode_update(c);
	CHECK_EQ(c->tlb_view, TLB_super);
	c->r.rflags |= rflags_ac_MASK;
	cpu_mode_update(c);
	CHECK_EQ(c->tlb_view, TLB_super_ac);
	close_cpu();
}

int
main(void)
{
	RUN(names_and_numbers);
	RUN(fields);
	RUN(layout);
	RUN(reset_values);
	RUN(init_keeps);
	RUN(masks);
	RUN(judged);
	RUN(memory_types);
	RUN(modes);
	return check_done();
}
