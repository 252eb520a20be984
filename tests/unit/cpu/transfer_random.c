/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/transfer_random.c - random tables, selectors and frames: what must hold whatever a
 *guest does.
 *
 *	A refused transfer leaves every register alone (but for a task switch that faults in the new
 *task). CPL, SS.DPL and (outside virtual-8086 mode) CS.RPL agree; control never moves inwards but
 *through gates.
 */
#include "machine.h"

enum { ROUNDS = 100000 };

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t
below(uint64_t n)
{
	return rnd() % n;
}

/* Half of them what the table began with. */
static uint16_t
random_sel(void)
{
	static const uint16_t usual[] = { SEL_code32, SEL_data32, SEL_code64, SEL_code16,
		SEL_data16, SEL_conforming };

	if (below(2))
		return at_level(usual[below(sizeof(usual) / sizeof(*usual))], (unsigned)below(4));
	return (uint16_t)(below(52) * 8 + below(8));
}

/* Often plausible: present, flat or small, any type and level. */
static uint64_t
random_desc(void)
{
	static const uint8_t types[] = { 0x9b, 0x9f, 0x93, 0x92, 0x97, 0x89, 0x8b, 0x81, 0x82, 0x84,
		0x85, 0x8c, 0x8e, 0x8f, 0x86 };
	unsigned attr = types[below(sizeof(types))] | (unsigned)below(4) << 5 |
		(unsigned)below(16) << 12;

	if (below(12) == 0)
		attr = (unsigned)rnd() & 0xf0ff;
	if ((attr & 0x1f) >= 4 && (attr & 0x1f) != 9 && (attr & 0x1f) != 11 && !(attr & 0x10))
		return gate_bits((uint16_t)(below(40) * 8 + below(4)), (uint32_t)below(0x50000),
			attr, (unsigned)below(32));
	return desc_bits(below(3) ? 0 : (uint32_t)below(0x60000),
		below(2) ? 0xfffff : (uint32_t)below(0x3000), attr);
}

static void
random_tables(void)
{
	unsigned size = m_cpu->lma ? 8 : 4;

	for (unsigned i = 1; i < SEL_end / 8; i++)
		if (below(3) == 0)
			put(GDT + i * 8, random_desc(), 8);
	for (unsigned i = 0; i < 32; i++)
		put(LDT + i * 8, random_desc(), 8);
	for (unsigned i = 4; m_cpu->lma && i < 0x5c; i += 8)
		put(TSS + i, below(0x50000), 8);
	for (unsigned i = 0; i < 64; i++)
		idt(i, random_sel(), below(0x50000),
			(below(2) ? 0x8e : 0x84 | (unsigned)below(12)) | (unsigned)below(4) << 5,
			(unsigned)below(8));
	for (unsigned i = 0; i < 0x70; i += 4)
		put(TSS + i, below(2) ? random_sel() : below(0x50000), 4);
	for (unsigned i = 0; i < 0x70; i += 4)
		put(TSS_B + i, below(2) ? random_sel() : below(0x50000), 4);
	if (m_cpu->r.rsp < STACK0 || m_cpu->r.rsp > MEM_SIZE - 0x100)
		m_cpu->r.rsp = STACK0;
	for (unsigned i = 0; i < 12; i++)
		put(m_cpu->r.rsp + i * size, below(4) ? random_sel() : rnd() & 0x3ffff, size);
	if (below(2))
		m_cpu->r.seg[SEG_ldtr] =
			(struct segreg){ .sel = SEL_ldt, .base = LDT, .limit = 0xff, .attr = 0x82 };
}

static const uint8_t sizes[] = { 2, 4, 8 };

static int
random_operation(struct cpu *c, unsigned *what)
{
	uint16_t sel = random_sel();
	unsigned osz = sizes[below(c->mode == MODE_long64 ? 3 : 2)];
	uint64_t next = (c->r.rip + 7) & 0xffff;
	uint32_t val;
	bool ok;

	*what = (unsigned)below(14);
	switch (*what) {
	case 0: return cpu_jmp_far(c, sel, below(0x50000), osz, next);
	case 1: return cpu_call_far(c, sel, below(0x50000), osz, next);
	case 2: return cpu_ret_far(c, osz, (uint16_t)below(64));
	case 3: return cpu_iret(c, osz, next);
	case 4: return cpu_int(c, (uint8_t)below(64), next);
	case 5: return cpu_int3(c, next);
	case 6: return seg_load(c, (enum seg_id)(below(2) ? SEG_ss : SEG_ds + below(3)), sel);
	case 7: return seg_lldt(c, sel);
	case 8: return seg_ltr(c, sel);
	case 9: return seg_query(c, (enum seg_query)below(4), sel, &ok, &val);
	case 10: return cpu_popf(c, rnd(), osz);
	case 11: return cpu_io_allowed(c, (uint16_t)rnd(), 1u << below(3));
	case 12: return cpu_syscall(c, next);
	default: return cpu_sysret(c, osz);
	}
}

static bool
agrees(const struct cpu *c)
{
	unsigned dpl = c->r.ss_attr >> ATTR_dpl_shift & 3;

	if (c->mode == MODE_v86)
		return c->cpl == 3;
	return c->mode == MODE_real || (c->cpl == dpl && c->cpl == (c->r.cs & 3));
}

static void
check_round(struct cpu *c, unsigned what, int res, const union regfile *before, unsigned cpl)
{
	if (res == OK) {
		CHECK(agrees(c));
		/* Returns and direct transfers never go inwards. */
		if ((what == 0 || what == 2 || what == 13) && c->r.cr0 == before->cr0)
			CHECK(c->cpl >= cpl);
		CHECK((c->r.rflags & ~(uint64_t)0x3f7fd5) == RFLAGS_fixed);
	} else if (c->r.cr0 == before->cr0) {
		CHECK(memcmp(before, &c->r, sizeof(*before)) == 0);
		CHECK_EQ(c->cpl, cpl);
	}
}

static void
in_mode(enum cpu_mode mode)
{
	union regfile before;
	struct cpu *c;
	unsigned what = 0, cpl;
	int res;

	for (unsigned i = 0; i < ROUNDS / 100 && !check_bad; i++) {
		cpl = mode == MODE_real ? 0 : mode == MODE_v86 ? 3 : (unsigned)below(4);
		c = machine(mode, cpl);
		c->r.ia32_efer |= ia32_efer_sce_MASK;
		c->r.ia32_star = (uint64_t)0x23 << 48 | (uint64_t)0x08 << 32 | 0x1000;
		c->r.rflags |= below(4) << 12 | (below(8) == 0 ? rflags_nt_MASK : 0);
		c->r.cr4 |= below(2) ? cr4_vme_MASK : 0;
		random_tables();
		for (unsigned k = 0; k < 100 && !check_bad; k++) {
			c->r.cr0 &= ~cr0_ts_MASK;	/* a task switch sets it */
			before = c->r;
			cpl = c->cpl;
			res = random_operation(c, &what);
			check_round(c, what, res, &before, cpl);
			if (res != OK && cpu_deliver(c) != OK)
				random_tables(); /* shutdown: this one goes on with new tables */
		}
	}
	if (check_bad)
		printf("# operation %u\n", what);
}

static void real_mode(void) { in_mode(MODE_real); }
static void virtual_8086(void) { in_mode(MODE_v86); }
static void protected_16(void) { in_mode(MODE_prot16); }
static void protected_32(void) { in_mode(MODE_prot32); }
static void long_mode(void) { in_mode(MODE_long64); }

int
main(void)
{
	RUN(real_mode);
	RUN(virtual_8086);
	RUN(protected_16);
	RUN(protected_32);
	RUN(long_mode);
	return check_done();
}
