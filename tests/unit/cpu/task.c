/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/task.c - hardware task switches: what is saved, loaded, linked, and where faults
 * land. */
#include "machine.h"

enum { ENTRY = 0x43000 };

/* A 32-bit TSS at TSS_B, of a task at level 3 with its own stack. */
static void
task_b(void)
{
	for (unsigned i = 0; i < 0x68; i += 4)
		put(TSS_B + i, 0, 4);
	put(TSS_B + 0x20, ENTRY, 4);
	put(TSS_B + 0x24, 0x202, 4);
	for (unsigned i = 0; i < 8; i++)
		put(TSS_B + 0x28 + 4 * i, 0xb0000000 + i, 4);
	put(TSS_B + 0x28 + 16, STACK3, 4);
	for (unsigned i = 0; i < 6; i++)
		put(TSS_B + 0x48 + 4 * i, at_level(SEL_data32, 3), 4);
	put(TSS_B + 0x4c, at_level(SEL_code32, 3), 4);
}

static void
jump_and_back(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	task_b();
	c->r.rax = 0xa0;
	CHECK_EQ(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), OK);
	CHECK_EQ(c->r.rip, ENTRY);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.rsp, STACK3);
	CHECK_EQ(c->r.rdi, 0xb0000007);
	CHECK_EQ(c->r.rflags, 0x202);
	CHECK_EQ(c->r.tr, SEL_tss_b);
	CHECK(cr0_ts(&c->r));
	CHECK_EQ(get(TSS + 0x20, 4), CODE + 7);
	CHECK_EQ(get(TSS + 0x28, 4), 0xa0);
	CHECK_EQ(get(TSS + 0x4c, 2), SEL_code32);
	CHECK_EQ(get(GDT + SEL_tss + 5, 1), 0x89);		/* no longer busy */
	CHECK_EQ(get(GDT + SEL_tss_b + 5, 1), 0x8b);
	/* CPL 3 may not use a TSS of DPL 0. */
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss, 0, 4, ENTRY + 7), VEC_gp, SEL_tss);
}

static void
call_and_iret(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	task_b();
	gdt(SEL_gate, gate_bits(SEL_tss_b, 0, 0x85, 0));
	CHECK_EQ(cpu_call_far(c, SEL_gate, 0, 4, CODE + 7), OK);
	CHECK_EQ(get(TSS_B, 2), SEL_tss);			/* back link */
	CHECK_EQ(c->r.rflags, 0x4202);				/* NT */
	CHECK_EQ(get(GDT + SEL_tss + 5, 1), 0x8b);		/* still busy */
	put(TSS + 0x1c, 0x5000, 4);
	CHECK_EQ(cpu_iret(c, 4, ENTRY + 1), OK);
	CHECK_EQ(c->r.rip, CODE + 7);
	CHECK_EQ(c->cpl, 0);
	CHECK_EQ(get(TSS_B + 0x20, 4), ENTRY + 1);
	CHECK_EQ(get(TSS_B + 0x24, 4), 0x202);			/* NT cleared in the image */
	CHECK_EQ(get(GDT + SEL_tss_b + 5, 1), 0x89);
	/* IRET to a task that is not busy. */
	c->r.rflags |= rflags_nt_MASK;
	put(TSS, SEL_tss_b, 2);
	CHECK_FAULT(cpu_iret(c, 4, CODE + 1), VEC_ts, SEL_tss_b);
}

static void
sixteen_bit(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	gdt(SEL_tss_b, desc_bits(TSS_B, 0x2b, 0x81));
	for (unsigned i = 0; i < 0x2c; i += 4)
		put(TSS_B + i, 0, 4);
	put(TSS_B + 0x0e, 0x1234, 2);
	put(TSS_B + 0x10, 0x0202, 2);
	put(TSS_B + 0x12, 0xaaaa, 2);
	put(TSS_B + 0x1a, 0x8000, 2);
	put(TSS_B + 0x24, SEL_code16, 2);
	put(TSS_B + 0x26, SEL_data16, 2);
	c->r.rax = 0x11112222;
	CHECK_EQ(cpu_call_far(c, SEL_tss_b, 0, 4, CODE + 7), OK);
	CHECK_EQ(c->mode, MODE_prot16);
	CHECK_EQ(c->r.rip, 0x1234);
	CHECK_EQ(c->r.rax & 0xffff, 0xaaaa);
	CHECK_EQ(c->r.fs, 0);
	CHECK(c->r.ds_attr & ATTR_unusable);
	CHECK_EQ(cpu_iret(c, 2, 0x1235), OK);
	CHECK_EQ(c->r.rip, CODE + 7);
	CHECK_EQ(c->r.rax, 0x11112222);
}

/* An exception through a task gate: error code on the new stack. */
static void
exception(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	task_b();
	idt(VEC_df, SEL_tss_b, 0, 0x85, 0);
	c->fault = (struct cpu_fault){ .kind = EVENT_fault, .vec = VEC_df, .has_error = true };
	CHECK_EQ(cpu_deliver(c), OK);
	CHECK_EQ(c->r.rsp, STACK3 - 4);
	CHECK_EQ(on_stack(0, 4), 0);
	CHECK_EQ(get(TSS + 0x20, 4), CODE);
	CHECK_EQ(get(TSS + 0x24, 4), 0x10002);			/* RF: a fault */
}

static void
refused(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	task_b();
	gdt(SEL_tss_b, desc_bits(TSS_B, 0x66, 0x89));
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), VEC_ts, SEL_tss_b);
	gdt(SEL_tss_b, desc_bits(TSS_B, 0x67, 0x09));
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), VEC_np, SEL_tss_b);
	gdt(SEL_tss_b, desc_bits(TSS_B, 0x67, 0x89));
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss_b | 3, 0, 4, CODE + 7), VEC_gp, SEL_tss_b);
	c->r.tr_limit = 0x66;			/* the old one must hold its registers, too */
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), VEC_ts, SEL_tss);
	c->r.tr_limit = 0x67;
	bad_page(TSS);
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), VEC_pf, 2);
	c->r.cr0 &= ~cr0_pg_MASK;
	bad_page(TSS_B);
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), VEC_pf, 0);
}

/* Bad selectors fault in the new task, which is current by then. */
static void
new_context(void)
{
	static const struct {
		unsigned at, sel;
		int vec;
	} cases[] = {
		{ 0x60, SEL_data32, VEC_ts },
		{ 0x4c, SEL_data32, VEC_ts },
		{ 0x4c, SEL_absent_code, VEC_np },
		{ 0x50, SEL_data32, VEC_ts },
		{ 0x54, SEL_data32, VEC_ts },
		{ 0x58, SEL_end, VEC_ts },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cpu *c = machine(MODE_prot32, 0);

		task_b();
		put(TSS_B + cases[i].at, cases[i].sel, 2);
		CHECK_EQ(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), FAULT);
		CHECK_EQ(c->fault.vec, cases[i].vec);
		CHECK_EQ(c->fault.error, cases[i].sel);
		CHECK_EQ(c->r.rip, ENTRY);
		CHECK_EQ(c->r.tr, SEL_tss_b);
		if (check_bad)
			printf("# case %u\n", i);
	}
}

static void
debug_trap(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	task_b();
	put(TSS_B + 0x64, 1, 2);
	c->r.dr7 = 0x7ff;
	CHECK_EQ(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), FAULT);
	CHECK_EQ(c->fault.kind, EVENT_trap);
	CHECK_EQ(c->fault.vec, VEC_db);
	CHECK_EQ(c->fault.addr, dr6_bt_MASK);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.dr7, 0x6aa);
}

int
main(void)
{
	RUN(jump_and_back);
	RUN(call_and_iret);
	RUN(sixteen_bit);
	RUN(exception);
	RUN(refused);
	RUN(new_context);
	RUN(debug_trap);
	return check_done();
}
