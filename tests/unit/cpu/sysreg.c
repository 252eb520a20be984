/* SPDX-License-Identifier: Apache-2.0 */
/* unit/cpu/sysreg.c - what system-register instructions allow, refuse and change. */
#include "mmu.h"

/* FAULT with #GP(0) and the register as before. */
#define GP(call) do { CHECK_EQ(call, FAULT); CHECK_EQ(c->fault.vec, VEC_gp); CHECK_EQ(c->fault.error, 0); } while (0)
#define UD(call) do { CHECK_EQ(call, FAULT); CHECK_EQ(c->fault.vec, VEC_ud); } while (0)

static const uint64_t PE = 1, PG = 1ull << 31;

static void
cr0_rules(void)
{
	uint64_t val;

	open_cpu("regent-v1");
	UD(cr_read(c, 1, &val));
	UD(cr_write(c, 5, 0));
	UD(cr_write(c, 15, 0));
	GP(cr_write(c, 0, PG));
	GP(cr_write(c, 0, cr0_nw_MASK));
	GP(cr_write(c, 0, PE | 1ull << 32));
	CHECK_EQ(cr_write(c, 0, PE | 0x1ffaff80), OK);	/* reserved bits below 32 are ignored */
	CHECK_EQ(c->r.cr0, PE | cr0_et_MASK);
	CHECK_EQ(c->mode, MODE_prot16);
	set_cpl(3);
	GP(cr_write(c, 0, 0));
	GP(cr_read(c, 0, &val));
	GP(cpu_clts(c));
	GP(cpu_lmsw(c, 0));
	set_cpl(0);
	CHECK_EQ(cpu_lmsw(c, 0xfffe), OK);		/* can't clear PE, sets MP EM TS only */
	CHECK_EQ(c->r.cr0, PE | cr0_et_MASK | 0xe);
	CHECK_EQ(cpu_clts(c), OK);
	CHECK_EQ(c->r.cr0, PE | cr0_et_MASK | 0x6);
	close_cpu();
}

/* Into long mode and out of it, with every wrong step on the way. */
static void
long_mode_switch(void)
{
	const uint64_t lme = ia32_efer_lme_MASK;

	open_cpu("regent-v1");
	CHECK_EQ(msr_write(c, 0xc0000080, lme), OK);
	GP(cr_write(c, 0, PE | PG));			/* no PAE */
	CHECK_EQ(c->r.ia32_efer, lme);
	CHECK_EQ(cr_write(c, 4, cr4_pae_MASK), OK);
	GP(cr_write(c, 4, cr4_pae_MASK | cr4_pcide_MASK));	/* not in long mode yet */
	c->r.cs_attr |= ATTR_l;
	GP(cr_write(c, 0, PE | PG));			/* CS.L */
	c->r.cs_attr &= ~(uint64_t)ATTR_l;
	CHECK_EQ(cr_write(c, 0, PE | PG), OK);
	CHECK_EQ(c->r.ia32_efer, lme | ia32_efer_lma_MASK);
	CHECK(c->lma && c->paging);
	CHECK_EQ(c->mode, MODE_prot16);			/* compatibility mode */
	GP(msr_write(c, 0xc0000080, 0));		/* LME while paging */
	GP(cr_write(c, 4, 0));				/* PAE while in long mode */
	c->r.cs_attr |= ATTR_l;
	cpu_mode_update(c);
	GP(cr_write(c, 0, PE));				/* not from 64-bit code */
	c->r.cs_attr &= ~(uint64_t)ATTR_l;
	cpu_mode_update(c);
	CHECK_EQ(cr_write(c, 3, 5), OK);
	GP(cr_write(c, 4, cr4_pae_MASK | cr4_pcide_MASK));	/* CR3[11:0] is not 0 */
	CHECK_EQ(cr_write(c, 3, 0), OK);
	CHECK_EQ(cr_write(c, 4, cr4_pae_MASK | cr4_pcide_MASK), OK);
	GP(cr_write(c, 0, PE));				/* PCIDE */
	CHECK_EQ(cr_write(c, 4, cr4_pae_MASK), OK);
	GP(cr_write(c, 3, 1ull << 63));
	GP(cr_write(c, 3, 1ull << 40));
	CHECK_EQ(cr_write(c, 0, PE), OK);
	CHECK_EQ(c->r.ia32_efer, lme);
	CHECK(!c->lma && !c->paging);
	CHECK_EQ(msr_write(c, 0xc0000080, ia32_efer_lma_MASK), OK);	/* LMA is not for writing */
	CHECK_EQ(c->r.ia32_efer, 0);
	close_cpu();
}

static void
features_decide_bits(void)
{
	uint64_t bit;

	open_cpu("regent-v1,-smep,-nx,-umip");
	GP(cr_write(c, 4, cr4_smep_MASK));
	GP(cr_write(c, 4, cr4_umip_MASK));
	GP(msr_write(c, 0xc0000080, ia32_efer_nxe_MASK));
	GP(msr_write(c, 0xc0000080, ia32_efer_autoibrs_MASK));
	close_cpu();
	open_cpu("regent-bt-v1");
	CHECK_EQ(msr_write(c, 0xc0000080, ia32_efer_autoibrs_MASK | ia32_efer_nxe_MASK | 1), OK);
	for (bit = 1; bit != 0; bit <<= 1) {
		bool known = bit & 0x350fff;	/* PCIDE needs long mode */

		c->r.cr4 = 0;
		CHECK_EQ(cr_write(c, 4, bit), known ? OK : FAULT);
		CHECK_EQ(c->r.cr4, known ? bit : 0);
	}
	close_cpu();
}

static void
debug_registers(void)
{
	uint64_t val;

	open_cpu("regent-v1");
	CHECK_EQ(dr_write(c, 4, 0xffffffff), OK);	/* DR6 */
	CHECK_EQ(c->r.dr6, 0xffffeff0 | 0xf);
	CHECK_EQ(dr_write(c, 7, 0xffffdfff), OK);
	CHECK_EQ(c->r.dr7, 0xffff07ff);
	CHECK_EQ(dr_read(c, 5, &val), OK);
	CHECK_EQ(val, c->r.dr7);
	GP(dr_write(c, 6, 1ull << 32));
	GP(dr_write(c, 7, 1ull << 63));
	CHECK_EQ(dr_write(c, 3, UINT64_MAX), OK);
	CHECK_EQ(cr_write(c, 4, cr4_de_MASK), OK);
	UD(dr_read(c, 4, &val));
	UD(dr_write(c, 5, 0));
	UD(dr_write(c, 8, 0));
	CHECK_EQ(dr_write(c, 7, dr7_gd_MASK), OK);
	CHECK_EQ(dr_read(c, 0, &val), FAULT);
	CHECK_EQ(c->fault.vec, VEC_db);
	CHECK_EQ(c->fault.addr, dr6_bd_MASK);
	c->r.cr0 |= PE;
	set_cpl(3);
	GP(dr_read(c, 0, &val));
	close_cpu();
}

static uint64_t tsc = 1000;
static uint64_t deadline, apic_base, written_tsc;

static uint64_t fake_tsc(struct cpu *cpu) { (void)cpu; return tsc; }
static void fake_deadline(struct cpu *cpu, uint64_t val) { (void)cpu; deadline = val; }
static void fake_apic_base(struct cpu *cpu, uint64_t val) { (void)cpu; apic_base = val; }
static void fake_tsc_write(struct cpu *cpu, uint64_t val) { (void)cpu; written_tsc = tsc = val; }
static void fake_tsc_adjust(struct cpu *cpu, uint64_t delta) { (void)cpu; tsc += delta; }

static bool
fake_apic_msr(struct cpu *cpu, uint32_t msr, bool write, uint64_t *val)
{
	(void)cpu;
	if (!write)
		*val = msr;
	return msr == 0x802;
}

static const struct cpu_ops clock_ops = { .io = fake_io, .tsc = fake_tsc, .deadline = fake_deadline,
	.apic_base = fake_apic_base, .tsc_write = fake_tsc_write, .tsc_adjust = fake_tsc_adjust,
	.apic_msr = fake_apic_msr };

static void
clocks(void)
{
	uint64_t val;

	open_cpu("regent-v1");
	c->ops = &clock_ops;
	CHECK_EQ(msr_read(c, 0x10, &val), OK);
	CHECK_EQ(val, 1000);
	CHECK_EQ(msr_write(c, 0x10, 5000), OK);
	CHECK_EQ(written_tsc, 5000);
	CHECK_EQ(msr_read(c, 0x3b, &val), OK);
	CHECK_EQ(val, 4000);
	CHECK_EQ(msr_write(c, 0x3b, 100), OK);
	CHECK_EQ(cpu_rdtsc(c, &val), OK);
	CHECK_EQ(val, 1100);
	CHECK_EQ(msr_write(c, 0x6e0, 2000), OK);
	CHECK_EQ(deadline, 2000);
	CHECK_EQ(msr_read(c, 0x6e0, &val), OK);
	CHECK_EQ(val, 2000);
	tsc = 2000;
	CHECK_EQ(msr_read(c, 0x6e0, &val), OK);
	CHECK_EQ(val, 0);
	c->r.cr0 |= PE;
	set_cpl(3);
	CHECK_EQ(cpu_rdtsc(c, &val), OK);
	c->r.cr4 |= cr4_tsd_MASK;
	GP(cpu_rdtsc(c, &val));
	GP(cpu_rdpmc(c, 0, &val));
	GP(msr_read(c, 0x10, &val));
	GP(msr_write(c, 0x10, 0));
	close_cpu();
}

static void
apic_modes(void)
{
	const uint64_t base = 0xfee00100, en = 0x800, extd = 0x400;
	uint64_t val;

	open_cpu("regent-v1");
	c->ops = &clock_ops;
	GP(msr_read(c, 0x802, &val));			/* xAPIC mode */
	GP(msr_write(c, 0x1b, base | extd));
	CHECK_EQ(msr_write(c, 0x1b, base | en | extd), OK);
	CHECK_EQ(apic_base, base | en | extd);
	CHECK_EQ(msr_read(c, 0x802, &val), OK);
	CHECK_EQ(val, 0x802);
	GP(msr_read(c, 0x803, &val));
	GP(msr_write(c, 0x803, 0));
	GP(msr_write(c, 0x1b, base | en));		/* x2APIC ends only by switching off */
	CHECK_EQ(msr_write(c, 0x1b, base), OK);
	GP(msr_write(c, 0x1b, base | en | extd));
	CHECK_EQ(msr_write(c, 0x1b, base | en), OK);
	GP(msr_write(c, 0x1b, base | en | 1ull << 40));
	GP(msr_write(c, 0x1b, base | en | 1));
	close_cpu();
	open_cpu("regent-v1,-x2apic");
	GP(msr_write(c, 0x1b, base | en | extd));
	close_cpu();
}

/* Without a row, and without the feature of the row, there is no MSR. */
static void
msrs_exist_by_row(void)
{
	uint64_t val;
	uint32_t msr;
	int id;

	open_cpu("regent-v1,-mca,-syscall");
	for (msr = 0; msr < 0x2000; msr++)
		if (reg_by_msr(msr) < 0)
			GP(msr_read(c, msr, &val));
	for (id = 0; id < REG__COUNT; id++)
		if (reg_desc[id].msr != NOMSR && reg_desc[id].since == CPUF_always)
			CHECK_EQ(msr_read(c, reg_desc[id].msr, &val), OK);
	GP(msr_read(c, 0x179, &val));
	GP(msr_write(c, 0xc0000082, 0));
	GP(msr_read(c, 0x48, &val));
	close_cpu();
	open_cpu("regent-v1");
	GP(msr_read(c, 0x49, &val));			/* PRED_CMD is write only */
	CHECK_EQ(msr_write(c, 0x49, 1), OK);
	GP(msr_write(c, 0x49, 2));
	CHECK_EQ(msr_write(c, 0xc0000082, 1ull << 46), OK);
	GP(msr_write(c, 0xc0000082, 1ull << 47));
	GP(msr_write(c, 0xc0000101, 1ull << 63));
	CHECK_EQ(msr_write(c, 0x401, 0), OK);
	GP(msr_write(c, 0x401, 1));
	CHECK_EQ(msr_write(c, 0xc0010015, 1 << 18), OK);
	CHECK_EQ(msr_write(c, 0x401, 1), OK);
	close_cpu();
}

static void
xcr0(void)
{
	uint64_t val;

	open_cpu("regent-v1");
	UD(xcr_read(c, 0, &val));
	UD(xcr_write(c, 0, 1));
	CHECK_EQ(cr_write(c, 4, cr4_osxsave_MASK), OK);
	CHECK_EQ(xcr_read(c, 0, &val), OK);
	CHECK_EQ(val, 1);
	GP(xcr_write(c, 0, 0));
	GP(xcr_write(c, 0, 2));
	GP(xcr_write(c, 0, 5));
	GP(xcr_write(c, 0, 0xf));
	GP(xcr_write(c, 1, 1));
	GP(xcr_read(c, 2, &val));
	CHECK_EQ(xcr_write(c, 0, 3), OK);
	CHECK_EQ(xcr_write(c, 0, 7), cpu_has(&model, CPUF_avx) ? OK : FAULT);
	c->r.cr0 |= PE;
	set_cpl(3);
	CHECK_EQ(xcr_read(c, 0, &val), OK);
	GP(xcr_write(c, 0, 3));
	close_cpu();
}

static uint64_t seed = 88172645463325252ull;

static uint64_t
next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Mostly values with few bits set or few bits changed, since others fail at once. */
static uint64_t
value(uint64_t old)
{
	switch (next() % 4) {
	case 0: return next();
	case 1: return next() & next() & next() & 0xffffffff;
	default: return old ^ 1ull << next() % 34;
	}
}

static void
invariants(void)
{
	const union regfile *r = &c->r;

	CHECK(!cr0_pg(r) || cr0_pe(r));
	CHECK(!cr0_nw(r) || cr0_cd(r));
	CHECK(cr0_et(r) && r->cr0 >> 32 == 0);
	CHECK_EQ(ia32_efer_lma(r), ia32_efer_lme(r) && cr0_pg(r));
	CHECK(!ia32_efer_lma(r) || cr4_pae(r));
	CHECK(!cr4_pcide(r) || ia32_efer_lma(r));
	CHECK((r->cr4 & ~0x370fffull) == 0 && r->cr3 >> 40 == 0);
	CHECK((r->xcr0 & ~7ull) == 0 && r->xcr0 & 1 && (r->xcr0 & 6) != 4);
	CHECK((r->dr6 & 0xffff1ff0) == 0xffff0ff0 && (r->dr7 & 0xffffffff0000dc00) == 0x400);
	CHECK(ia32_apic_base_en(r) || !ia32_apic_base_extd(r));
	CHECK(c->lma == ia32_efer_lma(r) && c->paging == cr0_pg(r));
}

/* Any sequence of writes leaves a state that the manual allows. */
static void
random_writes(void)
{
	static const uint32_t msrs[] = { 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000100, 0x1b, 0x277, 0x2ff, 0x6e0,
		0x3b, 0x10, 0x200, 0x201, 0x250, 0x802, 0xc0010015, 0x401, 0x4b564d01 };
	unsigned i, n, reached = 0;
	uint64_t val;
	int res;

	open_cpu("regent-v1");
	c->ops = &clock_ops;
	for (i = 0; i < 300000 && !check_bad; i++) {
		n = (unsigned)next();
		switch (n % 8) {
		case 0: case 1: n = n >> 3 & 4 ? 4 : 0; res = cr_write(c, n, value(n ? c->r.cr4 : c->r.cr0)); break;
		case 2: res = cr_write(c, 3, value(c->r.cr3) & (n & 8 ? ~0xfffull : UINT64_MAX)); break;
		case 3: res = msr_write(c, msrs[(n >> 3) % (sizeof(msrs) / sizeof(msrs[0]))], value(0)); break;
		case 4: res = msr_write(c, 0xc0000080, value(c->r.ia32_efer)); break;
		case 5: res = dr_write(c, n >> 3 & 7, value(c->r.dr7)); break;
		case 6: res = xcr_write(c, 0, value(c->r.xcr0)); break;
		default:
			c->r.cs_attr ^= n >> 8 & 1 ? ATTR_l : 0;
			cpu_mode_update(c);
			res = lin_read64(c, n >> 8, &val);
		}
		(void)res;
		invariants();
		reached |= c->lma ? 1 : c->paging ? 2 : 4;
		reached |= (unsigned)cr4_pcide(&c->r) << 3 | (unsigned)cr4_pae(&c->r) << 4 |
			(c->mode == MODE_long64 ? 32 : 0);
	}
	CHECK_EQ(reached, 0x3f);
	close_cpu();
}

int
main(void)
{
	RUN(cr0_rules);
	RUN(long_mode_switch);
	RUN(features_decide_bits);
	RUN(debug_registers);
	RUN(clocks);
	RUN(apic_modes);
	RUN(msrs_exist_by_row);
	RUN(xcr0);
	RUN(random_writes);
	return check_done();
}
