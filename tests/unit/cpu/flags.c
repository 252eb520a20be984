/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/flags.c - IOPL, VME, PVI; the I/O bitmap; SYSCALL, SYSENTER and their returns. */
#include "machine.h"

/* POPF by level: what of IF and IOPL changes. */
static void
popf(void)
{
	static const struct {
		unsigned cpl, iopl;
		uint64_t want;
	} cases[] = {
		{ 0, 0, 0x247ed7 },
		{ 3, 0, 0x244cd7 },
		{ 3, 3, 0x247ed7 },
		{ 1, 0, 0x244cd7 },
		{ 1, 2, 0x246ed7 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cpu *c = machine(MODE_prot32, cases[i].cpl);

		c->r.rflags |= (uint64_t)cases[i].iopl << 12;
		CHECK_EQ(cpu_popf(c, 0xffffffff & ~rflags_tf_MASK, 4), OK);
		CHECK_EQ(c->r.rflags, cases[i].want);
		if (check_bad)
			printf("# case %u\n", i);
	}
}

static void
virtual_flags(void)
{
	struct cpu *c = machine(MODE_v86, 3);
	uint64_t val;

	CHECK_FAULT(cpu_popf(c, 2, 2), VEC_gp, 0);
	CHECK_FAULT(cpu_pushf_image(c, 2, &val), VEC_gp, 0);
	CHECK_FAULT(cpu_cli(c), VEC_gp, 0);
	CHECK_FAULT(cpu_sti(c), VEC_gp, 0);
	c->r.cr4 |= cr4_vme_MASK;
	CHECK_EQ(cpu_sti(c), OK);
	CHECK_EQ(c->r.rflags, 0xa0002);
	CHECK_EQ(c->r.interruptibility, 0);
	CHECK_EQ(cpu_pushf_image(c, 2, &val), OK);
	CHECK_EQ(val & 0xffff, 0x3202);
	CHECK_FAULT(cpu_pushf_image(c, 4, &val), VEC_gp, 0);
	CHECK_EQ(cpu_popf(c, 2, 2), OK);
	CHECK_EQ(rflags_vif(&c->r), 0);
	c->r.rflags |= rflags_vip_MASK;
	CHECK_FAULT(cpu_sti(c), VEC_gp, 0);
	CHECK_FAULT(cpu_popf(c, 0x202, 2), VEC_gp, 0);
	CHECK_FAULT(cpu_popf(c, 0x102, 2), VEC_gp, 0);
	/* PVI: only CLI and STI, only at CPL 3. */
	c = machine(MODE_prot32, 3);
	c->r.cr4 |= cr4_pvi_MASK;
	CHECK_EQ(cpu_sti(c), OK);
	CHECK_EQ(c->r.rflags, 0x80002);
	c = machine(MODE_prot32, 1);
	c->r.cr4 |= cr4_pvi_MASK;
	CHECK_FAULT(cpu_sti(c), VEC_gp, 0);
}

static void
sti_shadow(void)
{
	struct cpu *c = machine(MODE_long64, 0);

	CHECK_EQ(cpu_sti(c), OK);
	CHECK_EQ(c->r.interruptibility, SHADOW_sti);
	c->r.interruptibility = 0;
	CHECK_EQ(cpu_sti(c), OK);		/* already enabled: no shadow */
	CHECK_EQ(c->r.interruptibility, 0);
	CHECK_EQ(cpu_cli(c), OK);
	CHECK_EQ(rflags_if(&c->r), 0);
}

static void
io_bitmap(void)
{
	struct cpu *c = machine(MODE_prot32, 3);

	CHECK_EQ(cpu_io_allowed(c, 0x3f8, 1), OK);	/* the map is all zeros */
	put(TSS + 0x68 + 0x3f9 / 8, 2, 1);		/* deny 0x3f9 */
	CHECK_EQ(cpu_io_allowed(c, 0x3f8, 1), OK);
	CHECK_FAULT(cpu_io_allowed(c, 0x3f8, 2), VEC_gp, 0);
	CHECK_FAULT(cpu_io_allowed(c, 0x3f6, 4), VEC_gp, 0);
	c->r.rflags |= rflags_iopl_MASK;
	CHECK_EQ(cpu_io_allowed(c, 0x3f8, 2), OK);
	c->r.rflags &= ~rflags_iopl_MASK;
	c->r.tr_limit = 0x68 + 0x3f8 / 8;		/* the second byte is beyond */
	CHECK_FAULT(cpu_io_allowed(c, 0x3f8, 1), VEC_gp, 0);
	CHECK_EQ(cpu_io_allowed(c, 0x3e8, 1), OK);
	c->r.tr_attr = 0x83;
	CHECK_FAULT(cpu_io_allowed(c, 0, 1), VEC_gp, 0);
	c = machine(MODE_v86, 3);
	c->r.rflags |= rflags_iopl_MASK;		/* V86 always asks the map */
	put(TSS + 0x68, 1, 1);
	CHECK_FAULT(cpu_io_allowed(c, 0, 1), VEC_gp, 0);
}

static void
syscall_long(void)
{
	struct cpu *c = machine(MODE_long64, 3);

	CHECK_FAULT(cpu_syscall(c, CODE + 2), VEC_ud, 0);
	c->r.ia32_efer |= ia32_efer_sce_MASK;
	c->r.ia32_star = (uint64_t)0x23 << 48 | (uint64_t)0x10 << 32;
	c->r.ia32_lstar = 0xffffffff81000000;
	c->r.ia32_cstar = 0xffffffff82000000;
	c->r.ia32_fmask = 0x300;
	c->r.rflags |= 0x10300;
	CHECK_EQ(cpu_syscall(c, CODE + 2), OK);
	CHECK_EQ(c->r.rip, 0xffffffff81000000);
	CHECK_EQ(c->r.rcx, CODE + 2);
	CHECK_EQ(c->r.r11, 0x302);
	CHECK_EQ(c->r.rflags, 2);
	CHECK_EQ(c->r.cs, 0x10);
	CHECK_EQ(c->r.ss, 0x18);
	CHECK_EQ(c->r.cs_attr, 0xa09b);
	CHECK_EQ(c->r.ss_attr, 0xc093);
	CHECK_EQ(c->cpl, 0);
	CHECK_EQ(cpu_sysret(c, 8), OK);
	CHECK_EQ(c->r.cs, 0x33);
	CHECK_EQ(c->r.ss, 0x2b);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.rip, CODE + 2);
	CHECK_EQ(c->r.rflags, 0x302);
	CHECK_FAULT(cpu_sysret(c, 8), VEC_gp, 0);
	/* To compatibility mode and back through CSTAR; a null SS stays unusable (AMD). */
	c = machine(MODE_long64, 0);
	c->r.ia32_efer |= ia32_efer_sce_MASK;
	c->r.ia32_star = (uint64_t)0x23 << 48 | (uint64_t)0x10 << 32;
	c->r.ia32_cstar = 0xffffffff82000000;
	c->r.rcx = 0x1234567890;
	c->r.r11 = 0x202;
	CHECK_EQ(seg_load(c, SEG_ss, 0), OK);
	CHECK_EQ(cpu_sysret(c, 4), OK);
	CHECK_EQ(c->mode, MODE_prot32);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.rip, 0x34567890);
	CHECK_EQ(c->r.cs, 0x23);
	CHECK(c->r.ss_attr & ATTR_unusable);
	CHECK_EQ(cpu_syscall(c, 0x34567892), OK);
	CHECK_EQ(c->r.rip, 0xffffffff82000000);
	/* A RIP that is not canonical is SYSRET's success and the next fetch's #GP at CPL 3 (AMD).
	 */
	c->r.rcx = 0x800000000000;
	CHECK_EQ(cpu_sysret(c, 8), OK);
	CHECK_EQ(c->r.rip, 0x800000000000);
}

static void
syscall_legacy(void)
{
	struct cpu *c = machine(MODE_prot32, 3);

	c->r.ia32_efer |= ia32_efer_sce_MASK;
	c->r.ia32_star = (uint64_t)0x23 << 48 | (uint64_t)0x10 << 32 | 0x80001000;
	c->r.rflags |= rflags_if_MASK;
	CHECK_EQ(cpu_syscall(c, CODE + 2), OK);
	CHECK_EQ(c->r.rip, 0x80001000);
	CHECK_EQ(c->r.rcx, CODE + 2);
	CHECK_EQ(c->r.rflags, 2);
	CHECK_EQ(c->cpl, 0);
	CHECK_EQ(cpu_sysret(c, 4), OK);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.cs, 0x23);
	CHECK_EQ(c->r.rflags, 0x202);
}

static void
sysenter(void)
{
	struct cpu *c = machine(MODE_prot32, 3);

	CHECK_FAULT(cpu_sysenter(c), VEC_gp, 0);
	c->r.ia32_sysenter_cs = 0x08;
	c->r.ia32_sysenter_esp = 0x9000;
	c->r.ia32_sysenter_eip = 0x81000000;
	CHECK_FAULT(cpu_sysexit(c, 4), VEC_gp, 0);
	c->r.rflags |= rflags_if_MASK | rflags_df_MASK | 1;
	CHECK_EQ(cpu_sysenter(c), OK);
	CHECK_EQ(c->r.rflags, 0x403);
	CHECK_EQ(c->r.cs, 8);
	CHECK_EQ(c->r.ss, 0x10);
	CHECK_EQ(c->r.rsp, 0x9000);
	c->r.rdx = 0x1000;
	c->r.rcx = 0x2000;
	CHECK_EQ(cpu_sysexit(c, 4), OK);
	CHECK_EQ(c->r.cs, 0x1b);
	CHECK_EQ(c->r.ss, 0x23);
	CHECK_EQ(c->cpl, 3);
	c = machine(MODE_long64, 3);
	CHECK_FAULT(cpu_sysenter(c), VEC_ud, 0);	/* AMD */
	c = machine(MODE_long64, 3);
	CHECK_FAULT(cpu_swapgs(c), VEC_gp, 0);
	c = machine(MODE_prot32, 0);
	CHECK_FAULT(cpu_swapgs(c), VEC_ud, 0);
}

int
main(void)
{
	RUN(popf);
	RUN(virtual_flags);
	RUN(sti_shadow);
	RUN(io_bitmap);
	RUN(syscall_long);
	RUN(syscall_legacy);
	RUN(sysenter);
	return check_done();
}
