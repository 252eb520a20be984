/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/transfer.c - far JMP, CALL, RET and IRET: legal and illegal forms with their error
 * codes. */
#include "machine.h"

enum { CALL_GATE32 = 0x8c, CALL_GATE16 = 0x84, DPL3 = 0x60, TARGET = 0x42000, ALLOWED = -1 };

struct far_case { unsigned cpl, sel; uint64_t off; int vec; unsigned error; };

static void
direct_jumps(void)
{
	static const struct far_case cases[] = {
		{ 0, SEL_code32, TARGET, ALLOWED, 0 },
		{ 0, 0, TARGET, VEC_gp, 0 },
		{ 0, 3, TARGET, VEC_gp, 0 },
		{ 0, SEL_data32, TARGET, VEC_gp, SEL_data32 },
		{ 0, SEL_end, TARGET, VEC_gp, SEL_end },
		{ 0, SEL_absent_code, TARGET, VEC_np, SEL_absent_code },
		{ 0, SEL_code32 | 3, TARGET, VEC_gp, SEL_code32 }, /* RPL > CPL */
		{ 3, SEL_code32, TARGET, VEC_gp, SEL_code32 }, /* DPL < CPL, not conforming */
		{ 3, SEL_conforming, TARGET, ALLOWED, 0 },
		{ 0, SEL_conforming + 3 * SEL_per_level, TARGET, VEC_gp,
			SEL_conforming + 3 * SEL_per_level },
		{ 0, SEL_code16, 0x10000, VEC_gp, 0 }, /* beyond the limit */
		{ 0, SEL_ldt, TARGET, VEC_gp, SEL_ldt },
		{ 0, SEL_tss, TARGET, VEC_gp, SEL_tss },			/* busy */
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct far_case *k = &cases[i];
		struct cpu *c = machine(MODE_prot32, k->cpl);

		if (k->vec == ALLOWED) {
			CHECK_EQ(cpu_jmp_far(c, (uint16_t)k->sel, k->off, 4, CODE + 7), OK);
			CHECK_EQ(c->r.rip, k->off);
			CHECK_EQ(c->r.cs, (k->sel & 0xfffc) | k->cpl);
			CHECK_EQ(c->cpl, k->cpl);
		} else {
			CHECK_FAULT(cpu_jmp_far(c, (uint16_t)k->sel, k->off, 4, CODE + 7), k->vec,
				k->error);
		}
		if (check_bad)
			printf("# case %u\n", i);
	}
}

static void
long_mode_jumps(void)
{
	struct cpu *c = machine(MODE_long64, 0);

	CHECK_EQ(cpu_jmp_far(c, SEL_code32, TARGET, 4, 0), OK);
	CHECK_EQ(c->mode, MODE_prot32);
	CHECK_EQ(cpu_jmp_far(c, SEL_code64, TARGET, 4, 0), OK);
	CHECK_EQ(c->mode, MODE_long64);
	gdt(SEL_test, desc_bits(0, 0xfffff, A_code | A_l | A_db | A_g));
	CHECK_FAULT(cpu_jmp_far(c, SEL_test, TARGET, 4, 0), VEC_gp, SEL_test);
	gdt(SEL_gate, gate_bits(SEL_code64, 0x1000, CALL_GATE32, 0));
	put(GDT + SEL_gate + 8, 0xffff8000, 8);
	CHECK_EQ(cpu_call_far(c, SEL_gate, 0, 4, CODE + 7), OK);
	CHECK_EQ(c->r.rip, 0xffff800000001000);
	CHECK_EQ(on_stack(0, 8), CODE + 7);
	CHECK_EQ(on_stack(1, 8), SEL_code64);
	put(GDT + SEL_gate + 8, 0x0c00ull << 32, 8);
	CHECK_FAULT(cpu_call_far(c, SEL_gate, 0, 4, CODE + 7), VEC_gp, SEL_gate);
	put(GDT + SEL_gate + 8, 0x8000, 8);
	CHECK_FAULT(cpu_call_far(c, SEL_gate, 0, 4, CODE + 7), VEC_gp, 0);
	gdt(SEL_gate, gate_bits(SEL_code32, 0x1000, CALL_GATE32, 0));
	put(GDT + SEL_gate + 8, 0, 8);
	CHECK_FAULT(cpu_call_far(c, SEL_gate, 0, 4, CODE + 7), VEC_gp, SEL_code32);
	CHECK_FAULT(cpu_jmp_far(c, SEL_tss_b, 0, 4, CODE + 7), VEC_gp, SEL_tss_b);
	/* From CPL 3 to an inner level: a null SS, RSP of the TSS. */
	c = machine(MODE_long64, 3);
	gdt(SEL_gate, gate_bits(SEL_code64, 0x1000, CALL_GATE32 | DPL3, 0));
	put(GDT + SEL_gate + 8, 0, 8);
	CHECK_EQ(cpu_call_far(c, SEL_gate | 3, 0, 4, CODE + 7), OK);
	CHECK_EQ(c->r.ss, 0);
	CHECK_EQ(c->r.rsp, STACK0 - 32);
	CHECK_EQ(on_stack(2, 8), STACK3);
	CHECK_EQ(cpu_ret_far(c, 8, 0), OK);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.rsp, STACK3);
}

static void
call_gates(void)
{
	struct cpu *c = machine(MODE_prot32, 3);

	/* Two parameters, from the outer stack. */
	gdt(SEL_gate, gate_bits(SEL_code32, TARGET, CALL_GATE32 | DPL3, 2));
	c->r.rsp = STACK3 - 8;
	put(STACK3 - 8, 0x11111111, 4);
	put(STACK3 - 4, 0x22222222, 4);
	CHECK_EQ(cpu_call_far(c, SEL_gate | 3, 0x9999, 4, CODE + 7), OK);
	CHECK_EQ(c->cpl, 0);
	CHECK_EQ(c->r.rip, TARGET);
	CHECK_EQ(c->r.rsp, STACK0 - 24);
	CHECK_EQ(on_stack(0, 4), CODE + 7);
	CHECK_EQ(on_stack(1, 4), at_level(SEL_code32, 3));
	CHECK_EQ(on_stack(2, 4), 0x11111111);
	CHECK_EQ(on_stack(3, 4), 0x22222222);
	CHECK_EQ(on_stack(4, 4), STACK3 - 8);
	CHECK_EQ(on_stack(5, 4), at_level(SEL_data32, 3));
	/* RET 8 drops them from both stacks; segments of level 0 become null. */
	CHECK_EQ(seg_load(c, SEG_ds, SEL_data32), OK);
	CHECK_EQ(cpu_ret_far(c, 4, 8), OK);
	CHECK_EQ(c->r.rsp, STACK3);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.ds, 0);
	CHECK(c->r.ds_attr & ATTR_unusable);
	CHECK_EQ(c->r.es, at_level(SEL_data32, 3));
	/* A 16-bit gate; the same level through a gate. */
	c = machine(MODE_prot32, 0);
	gdt(SEL_gate, gate_bits(SEL_code32, TARGET, CALL_GATE16, 2));
	CHECK_EQ(cpu_call_far(c, SEL_gate, 0, 4, CODE + 7), OK);
	CHECK_EQ(c->r.rip, TARGET & 0xffff);
	CHECK_EQ(c->r.rsp, STACK0 - 4);
}

struct gate_case { unsigned cpl, sel, target, attr; bool jmp; int vec; unsigned error; };

static void
bad_call_gates(void)
{
	static const struct gate_case cases[] = {
		{ 3, SEL_gate, SEL_code32, CALL_GATE32, false, VEC_gp,
			SEL_gate }, /* gate DPL < CPL */
		{ 0, SEL_gate | 3, SEL_code32, CALL_GATE32, false, VEC_gp,
			SEL_gate }, /* gate DPL < RPL */
		{ 0, SEL_gate, SEL_code32, CALL_GATE32 & ~0x80, false, VEC_np, SEL_gate },
		{ 0, SEL_gate, 0, CALL_GATE32, false, VEC_gp, 0 },
		{ 0, SEL_gate, SEL_data32, CALL_GATE32, false, VEC_gp, SEL_data32 },
		{ 0, SEL_gate, SEL_absent_code, CALL_GATE32, false, VEC_np, SEL_absent_code },
		{ 0, SEL_gate, SEL_code32 + 3 * SEL_per_level, CALL_GATE32, false, VEC_gp,
			SEL_code32 + 3 * SEL_per_level },
		{ 3, SEL_gate, SEL_code32, CALL_GATE32 | DPL3, true, VEC_gp,
			SEL_code32 }, /* JMP can't go inwards */
		{ 0, SEL_gate, SEL_code32, 0x8e, false, VEC_gp, SEL_gate }, /* an interrupt gate */
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct gate_case *k = &cases[i];
		struct cpu *c = machine(MODE_prot32, k->cpl);

		gdt(SEL_gate, gate_bits((uint16_t)k->target, TARGET, k->attr, 0));
		CHECK_FAULT(k->jmp ? cpu_jmp_far(c, (uint16_t)k->sel, 0, 4, CODE + 7) :
			cpu_call_far(c, (uint16_t)k->sel, 0, 4, CODE + 7), k->vec, k->error);
		if (check_bad)
			printf("# case %u\n", i);
	}
}

/* Push an IRET image of elements of `size` bytes. */
static void
frame(unsigned size, const uint64_t *vals, unsigned n)
{
	m_cpu->r.rsp -= (uint64_t)size * n;
	for (unsigned i = 0; i < n; i++)
		put(m_cpu->r.ss_base + m_cpu->r.rsp + i * size, vals[i], size);
}
#define FRAME(size, ...) do { const uint64_t vals_[] = { __VA_ARGS__ }; \
	frame(size, vals_, sizeof(vals_) / sizeof(*vals_)); } while (0)

static void
iret_levels(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	FRAME(4, TARGET, SEL_code32, 0x10246);
	CHECK_EQ(cpu_iret(c, 4, 0), OK);
	CHECK_EQ(c->r.rip, TARGET);
	CHECK_EQ(c->r.rflags, 0x10246);
	CHECK_EQ(c->r.rsp, STACK0);
	FRAME(4, TARGET, at_level(SEL_code32, 3), 0x3202, STACK3, at_level(SEL_data32, 3));
	CHECK_EQ(cpu_iret(c, 4, 0), OK);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.rsp, STACK3);
	CHECK_EQ(rflags_iopl(&c->r), 3);
	/* At CPL 3 with IOPL 0 neither IF nor IOPL change. */
	c = machine(MODE_prot32, 3);
	FRAME(4, TARGET, at_level(SEL_code32, 3), 0x3202);
	CHECK_EQ(cpu_iret(c, 4, 0), OK);
	CHECK_EQ(c->r.rflags, 2);
	/* To an inner level: never. A wrong SS, a wrong IP. */
	FRAME(4, TARGET, SEL_code32, 2);
	CHECK_FAULT(cpu_iret(c, 4, 0), VEC_gp, SEL_code32);
	c = machine(MODE_prot32, 0);
	FRAME(4, TARGET, at_level(SEL_code32, 3), 2, STACK3, SEL_data32);
	CHECK_FAULT(cpu_iret(c, 4, 0), VEC_gp, SEL_data32);
	c = machine(MODE_prot32, 0);
	FRAME(4, TARGET, at_level(SEL_code32, 3), 2, STACK3, 0);
	CHECK_FAULT(cpu_iret(c, 4, 0), VEC_gp, 0);
	c = machine(MODE_prot32, 0);
	FRAME(4, 0x10000, SEL_code16, 2);
	CHECK_FAULT(cpu_iret(c, 4, 0), VEC_gp, 0);
}

static void
iret_long(void)
{
	struct cpu *c = machine(MODE_long64, 0);

	c->r.rflags |= rflags_nt_MASK;
	CHECK_FAULT(cpu_iret(c, 8, 0), VEC_gp, 0);
	c = machine(MODE_long64, 0);
	FRAME(8, TARGET, SEL_code64, 0x202, 0xffff800000000008, 0);	/* a null SS */
	CHECK_EQ(cpu_iret(c, 8, 0), OK);
	CHECK_EQ(c->r.rsp, 0xffff800000000008);
	CHECK_EQ(c->cpl, 0);
	c = machine(MODE_long64, 0);
	FRAME(8, TARGET, at_level(SEL_code32, 3), 0x202, 0x1ffffffff, at_level(SEL_data32, 3));
	CHECK_EQ(cpu_iret(c, 8, 0), OK);
	CHECK_EQ(c->mode, MODE_prot32);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->r.rsp, 0xffffffff);
	c = machine(MODE_long64, 0);
	FRAME(8, TARGET, at_level(SEL_code64, 3), 0x202, STACK3, 3);	/* null SS at CPL 3 */
	CHECK_FAULT(cpu_iret(c, 8, 0), VEC_gp, 0);
	c = machine(MODE_long64, 0);
	FRAME(8, 0x800000000000, SEL_code64, 0x202, STACK0, 0);
	CHECK_FAULT(cpu_iret(c, 8, 0), VEC_gp, 0);
}

/* A page fault in the middle of a frame leaves everything alone. */
static void
faults_in_the_middle(void)
{
	struct cpu *c = machine(MODE_prot32, 3);

	gdt(SEL_gate, gate_bits(SEL_code32, TARGET, CALL_GATE32 | DPL3, 0));
	put(TSS + 4, STACK0 + 8, 4);
	bad_page(STACK0 - 0x1000);
	CHECK_FAULT(cpu_call_far(c, SEL_gate | 3, 0, 4, CODE + 7), VEC_pf, 2);
	CHECK_EQ(c->fault.addr, STACK0 - 4);
	CHECK_EQ(c->cpl, 3);
	CHECK_EQ(c->tlb_view, TLB_user);
}

static void
real_and_v86(void)
{
	struct cpu *c = machine(MODE_real, 0);

	c->r.cs_limit = 0x1ffff;		/* kept, as all of the hidden part but the base */
	CHECK_EQ(cpu_call_far(c, 0x2000, 0x30, 2, 0x105), OK);
	CHECK_EQ(c->r.cs_limit, 0x1ffff);
	CHECK_EQ(c->r.cs_attr, 0x93);
	c->r.cs_limit = 0xffff;
	CHECK_EQ(c->r.cs_base, 0x20000);
	CHECK_EQ(get(0x7ffe, 2), 0x1000);
	CHECK_EQ(get(0x7ffc, 2), 0x105);
	CHECK_EQ(cpu_ret_far(c, 2, 4), OK);
	CHECK_EQ(c->r.rip, 0x105);
	CHECK_EQ(c->r.rsp, 0x8004);
	CHECK_FAULT(cpu_jmp_far(c, 0, 0x10000, 4, 0), VEC_gp, 0);
	c = machine(MODE_v86, 3);
	CHECK_FAULT(cpu_iret(c, 2, 0), VEC_gp, 0);
	c->r.rflags |= rflags_iopl_MASK;
	FRAME(2, 0x1234, 0x5678, 0xffff & ~0x3000);
	CHECK_EQ(cpu_iret(c, 2, 0), OK);
	CHECK_EQ(c->r.cs_base, 0x56780);
	CHECK_EQ(c->r.cs_attr, 0xf3);
	CHECK_EQ(rflags_iopl(&c->r), 3);
	CHECK_EQ(c->mode, MODE_v86);
}

int
main(void)
{
	RUN(direct_jumps);
	RUN(long_mode_jumps);
	RUN(call_gates);
	RUN(bad_call_gates);
	RUN(iret_levels);
	RUN(iret_long);
	RUN(faults_in_the_middle);
	RUN(real_and_v86);
	return check_done();
}
