/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/deliver.c - frames, stacks and error codes of exceptions and interrupts. */
#include "machine.h"

enum {
	INT_GATE32 = 0x8e,
	TRAP_GATE32 = 0x8f,
	INT_GATE16 = 0x86,
	TASK_GATE = 0x85,
	DPL3 = 0x60,
	HANDLER = 0x41000
};

static int
deliver(enum event_kind kind, uint8_t vec, bool has_error, uint32_t error, uint64_t addr)
{
	m_cpu->fault = (struct cpu_fault){ .kind = (uint8_t)kind,
		.vec = vec,
		.has_error = has_error,
		.error = error,
		.addr = addr };
	return cpu_deliver(m_cpu);
}

static void
real_mode(void)
{
	struct cpu *c = machine(MODE_real, 0);

	put(4 * 0x21, 0x20000100, 4);
	c->r.rflags |= rflags_if_MASK | rflags_tf_MASK;
	CHECK_EQ(cpu_int(c, 0x21, 0x102), OK);
	CHECK_EQ(c->r.cs_base, 0x20000);
	CHECK_EQ(c->r.rip, 0x100);
	CHECK_EQ(c->r.rsp, 0x8000 - 6);
	CHECK_EQ(get(c->r.rsp, 2), 0x102);
	CHECK_EQ(get(c->r.rsp + 2, 2), 0x1000);
	CHECK_EQ(get(c->r.rsp + 4, 2), 0x302);
	CHECK_EQ(c->r.rflags, 2);
	/* A vector beyond the IDT is #GP, then #DF, then shutdown. */
	c = machine(MODE_real, 0);
	c->r.idtr_limit = 0;
	CHECK_EQ(deliver(EVENT_fault, VEC_ud, false, 0, 0), FAULT);
	/* SP 1: pushing wraps, odd: the first push at 0xffff crosses the limit. */
	c = machine(MODE_real, 0);
	c->r.rsp = 1;
	CHECK_EQ(deliver(EVENT_fault, VEC_ud, false, 0, 0), FAULT);
}

/* From CPL 3 in 32-bit mode: stack of the TSS, five words, IF cleared by an interrupt gate only. */
static void
protected_inner(void)
{
	struct cpu *c = machine(MODE_prot32, 3);

	idt(VEC_gp, SEL_code32, HANDLER, INT_GATE32, 0);
	idt(VEC_bp, SEL_code32, HANDLER, TRAP_GATE32 | DPL3, 0);
	c->r.rflags |= rflags_if_MASK | rflags_nt_MASK;
	CHECK_EQ(deliver(EVENT_fault, VEC_gp, true, 0x1234, 0), OK);
	CHECK_EQ(c->cpl, 0);
	CHECK_EQ(c->r.cs, SEL_code32);
	CHECK_EQ(c->r.ss, SEL_data32);
	CHECK_EQ(c->r.rip, HANDLER);
	CHECK_EQ(c->r.rsp, STACK0 - 24);
	CHECK_EQ(on_stack(0, 4), 0x1234);
	CHECK_EQ(on_stack(1, 4), CODE);
	CHECK_EQ(on_stack(2, 4), at_level(SEL_code32, 3));
	CHECK_EQ(on_stack(3, 4), 0x14202);		/* RF: a fault */
	CHECK_EQ(on_stack(4, 4), STACK3);
	CHECK_EQ(on_stack(5, 4), at_level(SEL_data32, 3));
	CHECK_EQ(c->r.rflags, 2);
	c = machine(MODE_prot32, 3);
	idt(VEC_bp, SEL_code32, HANDLER, TRAP_GATE32 | DPL3, 0);
	c->r.rflags |= rflags_if_MASK;
	CHECK_EQ(cpu_int3(c, CODE + 1), OK);
	CHECK_EQ(on_stack(0, 4), CODE + 1);
	CHECK_EQ(on_stack(2, 4), 0x202);
	CHECK_EQ(c->r.rflags, 0x202);
}

/* Same level: three words on the stack there is; a 16-bit gate pushes words of two bytes. */
static void
protected_same_level(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	idt(0x80, SEL_code32, HANDLER, INT_GATE16, 0);
	CHECK_EQ(cpu_int(c, 0x80, CODE + 2), OK);
	CHECK_EQ(c->r.rsp, STACK0 - 6);
	CHECK_EQ(c->r.rip, HANDLER & 0xffff);
	CHECK_EQ(on_stack(0, 2), (CODE + 2) & 0xffff);
	c = machine(MODE_prot32, 3);
	idt(0x80, at_level(SEL_code32, 3), HANDLER, INT_GATE32 | DPL3, 0);
	CHECK_EQ(cpu_int(c, 0x80, CODE + 2), OK);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.rsp, STACK3 - 12);
}

struct int_case { unsigned sel, attr; int vec; unsigned error; };

/* INT 0x40 at CPL 3 through bad gates: error codes name the gate (IDT bit) or the segment, without
 * EXT. */
static void
bad_gates(void)
{
	static const struct int_case cases[] = {
		{ SEL_code32, INT_GATE32, VEC_gp, 0x40 * 8 + 2 },		/* DPL 0 */
		{ SEL_code32, (INT_GATE32 | DPL3) & ~0x80, VEC_np, 0x40 * 8 + 2 },
		{ SEL_code32, 0x8c | DPL3, VEC_gp, 0x40 * 8 + 2 },		/* a call gate */
		{ 0, INT_GATE32 | DPL3, VEC_gp, 0 },
		{ SEL_data32, INT_GATE32 | DPL3, VEC_gp, SEL_data32 },
		{ SEL_absent_code, INT_GATE32 | DPL3, VEC_np, SEL_absent_code },
		{ SEL_end, INT_GATE32 | DPL3, VEC_gp, SEL_end },
		{ SEL_tss, TASK_GATE | DPL3, VEC_gp, SEL_tss },			/* busy */
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cpu *c = machine(MODE_prot32, 3);

		idt(0x40, (uint16_t)cases[i].sel, HANDLER, cases[i].attr, 0);
		CHECK_FAULT(cpu_int(c, 0x40, CODE + 2), cases[i].vec, cases[i].error);
		if (check_bad)
			printf("# case %u\n", i);
	}
}

/* INT3 and INTO ask the gate's DPL, exceptions and INT1 do not. */
static void
who_asks_the_gate(void)
{
	struct cpu *c = machine(MODE_prot32, 3);

	idt(VEC_bp, SEL_code32, HANDLER, INT_GATE32, 0);
	idt(VEC_of, SEL_code32, HANDLER, INT_GATE32, 0);
	idt(VEC_db, SEL_code32, HANDLER, INT_GATE32, 0);
	CHECK_FAULT(cpu_int3(c, CODE + 1), VEC_gp, VEC_bp * 8 + 2);
	c->r.rflags |= rflags_of_MASK;
	CHECK_FAULT(cpu_into(c, CODE + 1), VEC_gp, VEC_of * 8 + 2);
	CHECK_EQ(cpu_icebp(c, CODE + 1), OK);
	CHECK_EQ(c->cpl, 0);
	CHECK_EQ(on_stack(0, 4), CODE + 1);
	c = machine(MODE_prot32, 3);
	CHECK_EQ(cpu_into(c, CODE + 1), OK);	/* OF clear: on to the next */
	CHECK_EQ(c->r.rip, CODE + 1);
}

/* The inner stack of the TSS, one fault for each way it can be wrong. */
static void
bad_inner_stacks(void)
{
	static const struct {
		unsigned ss;
		int vec;
		unsigned error;
	} cases[] = {
		{ 0, VEC_ts, 0 },
		{ SEL_code32, VEC_ts, SEL_code32 },
		{ SEL_end, VEC_ts, SEL_end },
		{ SEL_data32 + SEL_per_level * 3 + 3, VEC_ts, SEL_data32 + SEL_per_level * 3 },
		{ SEL_test, VEC_ss, SEL_test },
	};
	struct cpu *c;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		c = machine(MODE_prot32, 3);
		idt(0x40, SEL_code32, HANDLER, INT_GATE32 | DPL3, 0);
		gdt(SEL_test, desc_bits(0, 0xfffff, 0x13));		/* not present */
		put(TSS + 8, cases[i].ss, 2);
		CHECK_FAULT(cpu_int(c, 0x40, CODE + 2), cases[i].vec, cases[i].error);
	}
	c = machine(MODE_prot32, 3);
	idt(0x40, SEL_code32, HANDLER, INT_GATE32 | DPL3, 0);
	c->r.tr_limit = 8;
	CHECK_FAULT(cpu_int(c, 0x40, CODE + 2), VEC_ts, SEL_tss);
	c->r.tr_limit = 9;					/* ESP0 and SS0, no more */
	CHECK_EQ(cpu_int(c, 0x40, CODE + 2), OK);
	c = machine(MODE_prot32, 3);
	idt(0x40, SEL_code32, HANDLER, INT_GATE32 | DPL3, 0);
	gdt(SEL_test, desc_bits(0, 0xfff, 0x93 | A_db)); /* too small for the frame */
	put(TSS + 8, SEL_test, 2);
	CHECK_FAULT(cpu_int(c, 0x40, CODE + 2), VEC_ss, SEL_test);
}

static void
long_mode(void)
{
	struct cpu *c = machine(MODE_long64, 3);

	idt(VEC_pf, SEL_code64, 0xffff800000001000, INT_GATE32, 0);
	c->r.rsp = STACK3 + 4;
	CHECK_EQ(deliver(EVENT_fault, VEC_pf, true, 6, 0xdeadbeef), OK);
	CHECK_EQ(c->r.cr2, 0xdeadbeef);
	CHECK_EQ(c->r.rip, 0xffff800000001000);
	CHECK_EQ(c->r.ss, 0);
	CHECK_EQ(c->cpl, 0);
	CHECK_EQ(c->r.rsp, STACK0 - 48);
	CHECK_EQ(on_stack(0, 8), 6);
	CHECK_EQ(on_stack(1, 8), CODE);
	CHECK_EQ(on_stack(2, 8), at_level(SEL_code64, 3));
	CHECK_EQ(on_stack(4, 8), STACK3 + 4);
	CHECK_EQ(on_stack(5, 8), at_level(SEL_data32, 3));
	/* Same level: SS:RSP pushed all the same, aligned to 16; with IST, on that stack and SS
	 * kept. */
	c = machine(MODE_long64, 0);
	idt(0x30, SEL_code64, HANDLER, TRAP_GATE32, 0);
	c->r.rsp = STACK0 - 4;
	CHECK_EQ(cpu_int(c, 0x30, CODE + 2), OK);
	CHECK_EQ(c->r.rsp, STACK0 - 16 - 40);
	CHECK_EQ(on_stack(3, 8), STACK0 - 4);
	c = machine(MODE_long64, 0);
	idt(VEC_nmi, SEL_code64, HANDLER, INT_GATE32, 1);
	c->r.activity = ACTIVITY_hlt;
	CHECK_EQ(deliver(EVENT_nmi, VEC_nmi, false, 0, 0), OK);
	CHECK_EQ(c->r.activity, ACTIVITY_run);
	CHECK_EQ(c->r.rsp, IST1 - 40);
	CHECK_EQ(c->r.ss, SEL_data32);
	CHECK_EQ(c->r.nmi_blocked, 1);
	CHECK_EQ(cpu_iret(c, 8, 0), OK);
	CHECK_EQ(c->r.nmi_blocked, 0);
	CHECK_EQ(c->r.rsp, STACK0);
	/* Only 64-bit code, only 32-bit style gates. */
	c = machine(MODE_long64, 0);
	idt(0x30, SEL_code32, HANDLER, TRAP_GATE32, 0);
	CHECK_FAULT(cpu_int(c, 0x30, CODE + 2), VEC_gp, SEL_code32);
	idt(0x30, SEL_code64, HANDLER, INT_GATE16, 0);
	CHECK_FAULT(cpu_int(c, 0x30, CODE + 2), VEC_gp, 0x30 * 8 + 2);
	idt(0x30, SEL_code64, 0x800000000000, INT_GATE32, 0);
	CHECK_FAULT(cpu_int(c, 0x30, CODE + 2), VEC_gp, 0);
	c->r.idtr_limit = 0x30 * 16 + 14;
	CHECK_FAULT(cpu_int(c, 0x30, CODE + 2), VEC_gp, 0x30 * 8 + 2);
}

/* Table 6-5 of SDM vol. 3A, with #GP as contributory. */
static void
double_faults(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	/* #UD's gate absent: #NP with EXT, not #DF. */
	idt(VEC_np, SEL_code32, HANDLER, INT_GATE32, 0);
	idt(VEC_df, SEL_code32, HANDLER + 8, INT_GATE32, 0);
	idt(VEC_ud, SEL_code32, HANDLER, INT_GATE32 - 0x80, 0);
	CHECK_EQ(deliver(EVENT_fault, VEC_ud, false, 0, 0), OK);
	CHECK_EQ(c->r.rip, HANDLER);
	CHECK_EQ(on_stack(0, 4), VEC_ud * 8 + 3);
	/* An external interrupt with vector 13 is no exception. */
	c = machine(MODE_prot32, 0);
	idt(VEC_np, SEL_code32, HANDLER, INT_GATE32, 0);
	idt(13, SEL_code32, HANDLER, INT_GATE32 - 0x80, 0);
	CHECK_EQ(deliver(EVENT_extint, 13, false, 0, 0), OK);
	CHECK_EQ(on_stack(0, 4), 13 * 8 + 3);
	/* #GP with its gate absent: #DF with error code 0. */
	c = machine(MODE_prot32, 0);
	idt(VEC_np, SEL_code32, HANDLER, INT_GATE32, 0);
	idt(VEC_df, SEL_code32, HANDLER + 8, INT_GATE32, 0);
	idt(VEC_gp, SEL_code32, HANDLER, INT_GATE32 - 0x80, 0);
	CHECK_EQ(deliver(EVENT_fault, VEC_gp, true, 4, 0), OK);
	CHECK_EQ(c->r.rip, HANDLER + 8);
	CHECK_EQ(on_stack(0, 4), 0);
	CHECK_EQ(on_stack(1, 4), CODE);
	/* and with #DF's absent too: shutdown, registers as they were. */
	c = machine(MODE_prot32, 0);
	idt(VEC_gp, SEL_code32, HANDLER, INT_GATE32 - 0x80, 0);
	CHECK_EQ(deliver(EVENT_fault, VEC_gp, true, 4, 0), FAULT);
	CHECK_EQ(c->r.rip, CODE);
	CHECK_EQ(c->r.rsp, STACK0);
}

static void
virtual_8086(void)
{
	struct cpu *c = machine(MODE_v86, 3);

	idt(VEC_gp, SEL_code32, HANDLER, INT_GATE32, 0);
	CHECK_EQ(deliver(EVENT_fault, VEC_gp, true, 0, 0), OK);
	CHECK_EQ(c->r.rsp, STACK0 - 40);
	CHECK_EQ(on_stack(1, 4), 0x100);
	CHECK_EQ(on_stack(2, 4), 0x1001);
	CHECK_EQ(on_stack(3, 4), 0x30002);
	CHECK_EQ(on_stack(4, 4), 0x8000);
	CHECK_EQ(on_stack(5, 4), 0x1002);
	CHECK_EQ(on_stack(6, 4), 0x1000);
	CHECK_EQ(on_stack(9, 4), 0x1005);
	CHECK_EQ(c->mode, MODE_prot32);
	CHECK(c->r.ds_attr & ATTR_unusable);
	/* and back */
	c->r.rsp += 4;
	CHECK_EQ(cpu_iret(c, 4, 0), OK);
	CHECK_EQ(c->mode, MODE_v86);
	CHECK_EQ(c->r.gs_base, 0x10050);
	CHECK_EQ(c->r.rsp, 0x8000);
	/* INT n: #GP(0) below IOPL 3; through the virtual IVT with VME. */
	CHECK_FAULT(cpu_int(c, 0x21, 0x102), VEC_gp, 0);
	c->r.cr4 |= cr4_vme_MASK;
	put(TSS + 0x66, 0x88, 2);
	put(4 * 0x21, 0x22220333, 4);
	c->r.rflags |= rflags_vif_MASK;
	CHECK_EQ(cpu_int(c, 0x21, 0x102), OK);
	CHECK_EQ(c->r.cs_base, 0x22220);
	CHECK_EQ(c->r.rip, 0x333);
	CHECK_EQ(get(c->r.ss_base + c->r.rsp + 4, 2), 0x3202);	/* IF = VIF, IOPL 3 */
	CHECK_EQ(rflags_vif(&c->r), 0);
	put(TSS + 0x68 + 0x21 / 8, 0xff, 1);
	CHECK_FAULT(cpu_int(c, 0x21, 0x102), VEC_gp, 0);
	/* The redirection map must lie in the TSS, before the I/O map. */
	put(TSS + 0x66, 0x1f, 2);
	CHECK_FAULT(cpu_int(c, 0x21, 0x102), VEC_gp, 0);
	put(TSS + 0x66, 0x3000 + 0x20, 2);
	CHECK_FAULT(cpu_int(c, 0x21, 0x102), VEC_gp, 0);
	/* A handler that is not at level 0. */
	c = machine(MODE_v86, 3);
	c->r.rflags |= rflags_iopl_MASK;
	idt(0x21, at_level(SEL_code32, 1), HANDLER, INT_GATE32 | DPL3, 0);
	CHECK_FAULT(cpu_int(c, 0x21, 0x102), VEC_gp, at_level(SEL_code32, 1) & 0xfffc);
}

static void
debug_registers(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	idt(VEC_db, SEL_code32, HANDLER, INT_GATE32, 0);
	c->r.dr7 |= dr7_gd_MASK;
	c->r.interruptibility = SHADOW_mov_ss;
	CHECK_EQ(deliver(EVENT_trap, VEC_db, false, 0, dr6_bs_MASK), OK);
	CHECK(c->r.dr6 & dr6_bs_MASK);
	CHECK(!(c->r.dr7 & dr7_gd_MASK));
	CHECK_EQ(c->r.interruptibility, 0);
	CHECK_EQ(on_stack(2, 4), 2);			/* no RF */
}

int
main(void)
{
	RUN(real_mode);
	RUN(protected_inner);
	RUN(protected_same_level);
	RUN(bad_gates);
	RUN(who_asks_the_gate);
	RUN(bad_inner_stacks);
	RUN(long_mode);
	RUN(double_faults);
	RUN(virtual_8086);
	RUN(debug_registers);
	return check_done();
}
