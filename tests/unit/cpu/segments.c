/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/segments.c - segment limits and types, loading segment registers, LAR and
 * relatives. */
#include "machine.h"

struct lin_case {
	unsigned attr, limit;
	enum seg_id seg;
	uint64_t off;
	unsigned size, acc;
	bool ok;
};

/* Limit, expand-down and type checks of protected mode; #GP(0), or #SS(0) through SS. */
static void
limits_and_types(void)
{
	static const struct lin_case cases[] = {
		{ A_data, 0xfff, SEG_ds, 0xffc, 4, ACC_read, true },
		{ A_data, 0xfff, SEG_ds, 0xffd, 4, ACC_read, false },
		{ A_data, 0xfff, SEG_ds, 0xfff, 1, ACC_write, true },
		{ A_data, 0xfff, SEG_ss, 0x1000, 1, ACC_read, false },
		{ A_data, 0xffffffff, SEG_ds, 0xfffffffe, 4, ACC_read, false },
		{ A_ro, 0xfff, SEG_es, 0, 4, ACC_read, true },
		{ A_ro, 0xfff, SEG_es, 0, 4, ACC_write, false },
		{ A_xo, 0xfff, SEG_cs, 0, 4, ACC_read, false },
		{ A_xo, 0xfff, SEG_cs, 0, 4, ACC_exec, true },
		{ A_code, 0xfff, SEG_cs, 0, 4, ACC_read, true },
		{ A_code, 0xfff, SEG_cs, 0, 4, ACC_write, false },
		{ A_down, 0xfff, SEG_ds, 0xfff, 1, ACC_read, false },
		{ A_down, 0xfff, SEG_ds, 0x1000, 1, ACC_write, true },
		{ A_down, 0xfff, SEG_ds, 0xffff, 1, ACC_read, true },
		{ A_down, 0xfff, SEG_ds, 0xffff, 2, ACC_read, false },
		{ A_down | A_db, 0xfff, SEG_ds, 0x10000, 4, ACC_read, true },
		{ A_down | A_db, 0xfff, SEG_ds, 0xfffffffd, 4, ACC_read, false },
		{ ATTR_unusable, 0, SEG_ds, 0, 1, ACC_read, false },
		{ ATTR_unusable, 0, SEG_ss, 0, 1, ACC_read, false },
	};
	struct cpu *c = machine(MODE_prot32, 0);
	uint64_t lin;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct lin_case *k = &cases[i];

		c->r.seg[k->seg] =
			(struct segreg){ .base = 0x100000, .limit = k->limit, .attr = k->attr };
		if (k->ok) {
			CHECK_EQ(seg_lin(c, k->seg, k->off, k->size, k->acc, &lin), OK);
			CHECK_EQ(lin, 0x100000 + k->off);
		} else {
			CHECK_FAULT(seg_lin(c, k->seg, k->off, k->size, k->acc, &lin),
				k->seg == SEG_ss ? VEC_ss : VEC_gp, 0);
		}
		if (check_bad)
			printf("# case %u\n", i);
	}
}

/* 64-bit mode: no limits, bases only of FS and GS, canonical addresses. */
static void
canonical(void)
{
	struct cpu *c = machine(MODE_long64, 0);
	uint64_t lin;

	c->r.fs_base = 0xffff800000000000;
	c->r.ds_base = 0x5000;
	CHECK_EQ(seg_lin(c, SEG_ds, 0x1234, 8, ACC_write, &lin), OK);
	CHECK_EQ(lin, 0x1234);
	CHECK_EQ(seg_lin(c, SEG_fs, 0x10, 8, ACC_read, &lin), OK);
	CHECK_EQ(lin, 0xffff800000000010);
	CHECK_EQ(seg_lin(c, SEG_ds, 0x7ffffffffff8, 8, ACC_read, &lin), OK);
	CHECK_FAULT(seg_lin(c, SEG_ds, 0x7ffffffffff9, 8, ACC_read, &lin), VEC_gp, 0);
	CHECK_FAULT(seg_lin(c, SEG_ss, 0x800000000000, 8, ACC_read, &lin), VEC_ss, 0);
	c->r.fs_base = 0x700000000000;
	CHECK_FAULT(seg_lin(c, SEG_fs, 0x100000000000, 1, ACC_read, &lin), VEC_gp, 0);
}

static void
real_and_v86_loads(void)
{
	struct cpu *c = machine(MODE_real, 0);
	uint64_t lin;

	c->r.ds_limit = 0xffffffff;	/* "unreal" mode: a load keeps the limit */
	CHECK_EQ(seg_load(c, SEG_ds, 0x1234), OK);
	CHECK_EQ(c->r.ds_base, 0x12340);
	CHECK_EQ(c->r.ds_limit, 0xffffffff);
	CHECK_FAULT(seg_lin(c, SEG_es, 0xffff, 2, ACC_read, &lin), VEC_gp, 0);
	CHECK_FAULT(seg_lldt(c, 0), VEC_ud, 0);
	c = machine(MODE_v86, 3);
	c->r.ds_limit = 5;
	CHECK_EQ(seg_load(c, SEG_ds, 0x1234), OK);
	CHECK_EQ(c->r.ds_base, 0x12340);
	CHECK_EQ(c->r.ds_limit, 0xffff);
	CHECK_EQ(c->r.ds_attr, 0xf3);
}

struct load_case {
	unsigned cpl, seg, sel, attr;
	int vec;
}; /* vec -1: legal; the error code is the selector's */

static void
protected_loads(void)
{
	static const struct load_case cases[] = {
		{ 0, SEG_ds, SEL_test, 0x92, -1 },
		{ 0, SEG_ds, SEL_test, 0x90, -1 },
		{ 0, SEG_ds, SEL_test, 0x9a, -1 },
		{ 0, SEG_ds, SEL_test, 0x98, VEC_gp },		/* execute only */
		{ 0, SEG_ds, SEL_test, 0x89, VEC_gp },		/* system */
		{ 0, SEG_ds, SEL_test, 0x12, VEC_np },
		{ 0, SEG_ds, SEL_test | 3, 0x92, VEC_gp },	/* RPL > DPL */
		{ 3, SEG_ds, SEL_test | 3, 0x92, VEC_gp },
		{ 3, SEG_ds, SEL_test, 0xf2, -1 },
		{ 3, SEG_es, SEL_test | 3, 0x9e, -1 },		/* conforming: any level */
		{ 3, SEG_fs, SEL_test | 3, 0x9a, VEC_gp },
		{ 0, SEG_ss, SEL_test, 0x92, -1 },
		{ 0, SEG_ss, SEL_test, 0x90, VEC_gp },
		{ 0, SEG_ss, SEL_test, 0x9a, VEC_gp },
		{ 0, SEG_ss, SEL_test | 3, 0x92, VEC_gp },
		{ 0, SEG_ss, SEL_test, 0xf2, VEC_gp },
		{ 0, SEG_ss, SEL_test, 0x12, VEC_ss },
		{ 3, SEG_ss, SEL_test | 3, 0xf2, -1 },
		{ 0, SEG_ds, SEL_end, 0x92, VEC_gp },		/* beyond the GDT */
		{ 0, SEG_ds, SEL_test | 4, 0x92, VEC_gp },	/* no LDT */
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct load_case *k = &cases[i];
		struct cpu *c = machine(MODE_prot32, k->cpl);

		gdt(SEL_test, desc_bits(0x123456, 0x54321, k->attr));
		if (k->vec < 0) {
			CHECK_EQ(seg_load(c, k->seg, (uint16_t)k->sel), OK);
			CHECK_EQ(c->r.seg[k->seg].base, 0x123456);
			CHECK_EQ(c->r.seg[k->seg].limit, 0x54321);
			CHECK_EQ(get(GDT + SEL_test + 5, 1), k->attr | 1);	/* accessed */
		} else {
			CHECK_FAULT(seg_load(c, k->seg, (uint16_t)k->sel), k->vec, k->sel & 0xfffc);
			CHECK_EQ(get(GDT + SEL_test + 5, 1), k->attr);
		}
		if (check_bad)
			printf("# case %u\n", i);
	}
}

static void
null_selectors(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	CHECK_EQ(seg_load(c, SEG_es, 3), OK);
	CHECK(c->r.es_attr & ATTR_unusable);
	CHECK_EQ(c->r.es, 3);
	CHECK_FAULT(seg_load(c, SEG_ss, 0), VEC_gp, 0);
	c = machine(MODE_long64, 0);
	CHECK_EQ(seg_load(c, SEG_ss, 0), OK);
	CHECK_EQ(c->cpl, 0);
	CHECK_FAULT(seg_load(c, SEG_ss, 3), VEC_gp, 0);
	c = machine(MODE_long64, 3);
	CHECK_FAULT(seg_load(c, SEG_ss, 3), VEC_gp, 0);
}

static void
ldt_and_task_register(void)
{
	struct cpu *c = machine(MODE_prot32, 0);

	put(LDT + 8, desc_bits(0x777000, 0xff, 0x92), 8);
	CHECK_EQ(seg_lldt(c, SEL_ldt), OK);
	CHECK_EQ(seg_load(c, SEG_ds, 0xc), OK);
	CHECK_EQ(c->r.ds_base, 0x777000);
	CHECK_FAULT(seg_lldt(c, SEL_data32), VEC_gp, SEL_data32);
	CHECK_FAULT(seg_lldt(c, 0xc), VEC_gp, 0xc);
	CHECK_EQ(seg_lldt(c, 0), OK);
	CHECK_FAULT(seg_load(c, SEG_ds, 0xc), VEC_gp, 0xc);
	CHECK_EQ(seg_ltr(c, SEL_tss_b), OK);
	CHECK_EQ(get(GDT + SEL_tss_b + 5, 1), 0x8b);
	CHECK_FAULT(seg_ltr(c, SEL_tss_b), VEC_gp, SEL_tss_b);	/* busy */
	CHECK_FAULT(seg_ltr(c, 0), VEC_gp, 0);
	c = machine(MODE_prot32, 3);
	CHECK_FAULT(seg_ltr(c, SEL_tss_b), VEC_gp, 0);
	c = machine(MODE_long64, 0);
	put(GDT + SEL_ldt + 8, 0xffff8000, 8);
	CHECK_EQ(seg_lldt(c, SEL_ldt), OK);
	CHECK_EQ(c->r.ldtr_base, 0xffff800000000000 | LDT);
	put(GDT + SEL_ldt + 8, 0x8000, 8);			/* not canonical */
	CHECK_FAULT(seg_lldt(c, SEL_ldt), VEC_gp, SEL_ldt);
	put(GDT + SEL_ldt + 8, 0x0100ull << 32, 8);		/* a type in the upper half */
	CHECK_FAULT(seg_lldt(c, SEL_ldt), VEC_gp, SEL_ldt);
}

static void
queries(void)
{
	struct cpu *c = machine(MODE_prot32, 3);
	uint32_t val = 0;
	bool ok;

	gdt(SEL_test, desc_bits(0, 0x12345, 0xf3 | A_g | A_db));
	CHECK_EQ(seg_query(c, QUERY_lar, SEL_test, &ok, &val), OK);
	CHECK(ok);
	CHECK_EQ(val, 0xc0f300);
	CHECK_EQ(seg_query(c, QUERY_lsl, SEL_test, &ok, &val), OK);
	CHECK_EQ(val, 0x12345fff);
	CHECK_EQ(seg_query(c, QUERY_verw, SEL_test, &ok, &val), OK);
	CHECK(ok);
	CHECK_EQ(seg_query(c, QUERY_verr, SEL_data32, &ok, &val), OK);
	CHECK(!ok);					/* DPL 0 */
	CHECK_EQ(seg_query(c, QUERY_lar, SEL_conforming, &ok, &val), OK);
	CHECK(ok);
	CHECK_EQ(seg_query(c, QUERY_lar, 0, &ok, &val), OK);
	CHECK(!ok);
	CHECK_EQ(seg_query(c, QUERY_lar, SEL_end, &ok, &val), OK);
	CHECK(!ok);
	c = machine(MODE_prot32, 0);
	gdt(SEL_test, gate_bits(8, 0, 0x8c, 0));
	CHECK_EQ(seg_query(c, QUERY_lar, SEL_test, &ok, &val), OK);
	CHECK(ok);
	CHECK_EQ(seg_query(c, QUERY_lsl, SEL_test, &ok, &val), OK);
	CHECK(!ok);
	c = machine(MODE_v86, 3);
	CHECK_FAULT(seg_query(c, QUERY_lar, 8, &ok, &val), VEC_ud, 0);
}

int
main(void)
{
	RUN(limits_and_types);
	RUN(canonical);
	RUN(real_and_v86_loads);
	RUN(protected_loads);
	RUN(null_selectors);
	RUN(ldt_and_task_register);
	RUN(queries);
	return check_done();
}
