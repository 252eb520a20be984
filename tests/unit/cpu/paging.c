/* SPDX-License-Identifier: Apache-2.0 */
/* unit/cpu/paging.c - page walks: each format, each right, each error code, A and D bits. */
#include "mmu.h"
#include "cpu/paging.h"

enum { LOW = 0x400000, PAGE = 0x5000, EP = 1, EW = 2, EU = 4, ERSVD = 8, EI = 16 };

static void
no_paging(void)
{
	gpa_t gpa;

	open_cpu("regent-v1");
	CHECK_EQ(paging_walk(c, 0x12345, ACC_write, &gpa), OK);
	CHECK_EQ(gpa, 0x12345);
	close_cpu();
}

static void
not_present(void)
{
	open_cpu("regent-v1");
	long_mode();
	CHECK_EQ(try(LOW, ACC_read), PF(0));
	CHECK_EQ(try(LOW, ACC_write), PF(EW));
	CHECK_EQ(try(LOW, ACC_exec), PF(EI));
	map(LOW, PAGE);
	CHECK_EQ(try(LOW, ACC_read), PF(0));
	set_cpl(3);
	CHECK_EQ(try(LOW, ACC_read), PF(EU));
	CHECK_EQ(try(LOW, ACC_write), PF(EU | EW));
	CHECK_EQ(try(LOW, ACC_system), PF(0));
	c->r.ia32_efer &= ~ia32_efer_nxe_MASK;
	CHECK_EQ(try(LOW, ACC_exec), PF(EU));	/* no I bit without NXE and SMEP */
	c->r.cr4 |= cr4_smep_MASK;
	CHECK_EQ(try(LOW, ACC_exec), PF(EU | EI));
	close_cpu();
}

/* Every combination of U/S and R/W at two levels, as user and supervisor, WP on and off. */
static void
rights(void)
{
	unsigned upper, lower, acc, cpl, wp;
	bool u, w, ok;

	for (upper = 0; upper < 4; upper++)
		for (lower = 0; lower < 4; lower++) {
			open_cpu("regent-v1");
			long_mode();
			map(LOW, PAGE | P | lower << 1);
			phys_write(entry_of(LOW, 3), (phys_read(entry_of(LOW, 3), 8) & ~(uint64_t)(W | U)) | upper << 1, 8);
			w = (upper & lower & 1) != 0;
			u = (upper & lower & 2) != 0;
			for (acc = ACC_read; acc <= ACC_write; acc++)
				for (cpl = 0; cpl <= 3; cpl += 3)
					for (wp = 0; wp < 2; wp++) {
						c->r.cr0 = (c->r.cr0 & ~cr0_wp_MASK) | wp << cr0_wp_SHIFT;
						set_cpl(cpl);
						tlb_flush_all(c, true);
						ok = (cpl == 0 || u) && (acc == ACC_read || w || (cpl == 0 && !wp));
						CHECK_EQ(try(LOW, acc), ok ? (uint32_t)OK :
							PF(EP | (acc ? EW : 0) | (cpl ? EU : 0)));
					}
			close_cpu();
		}
}

static void
no_execute(void)
{
	unsigned level;

	for (level = 1; level <= 4; level++) {
		open_cpu("regent-v1");
		long_mode();
		map(LOW, PAGE | PWU);
		phys_write(entry_of(LOW, level), phys_read(entry_of(LOW, level), 8) | NX, 8);
		CHECK_EQ(try(LOW, ACC_exec), PF(EP | EI));
		CHECK_EQ(try(LOW, ACC_read), OK);
		tlb_flush_all(c, true);
		c->r.ia32_efer &= ~ia32_efer_nxe_MASK;	/* now the bit is reserved */
		CHECK_EQ(try(LOW, ACC_read), PF(EP | ERSVD));
		close_cpu();
	}
}

static void
smep_and_smap(void)
{
	open_cpu("regent-v1");
	long_mode();
	map(LOW, PAGE | PWU);
	map(LOW + PAGE_SIZE, PAGE | P | W);
	c->r.cr4 |= cr4_smep_MASK | cr4_smap_MASK;
	cpu_mode_update(c);
	CHECK_EQ(try(LOW, ACC_exec), PF(EP | EI));
	CHECK_EQ(try(LOW, ACC_read), PF(EP));
	CHECK_EQ(try(LOW, ACC_write), PF(EP | EW));
	CHECK_EQ(try(LOW + PAGE_SIZE, ACC_exec), OK);
	CHECK_EQ(try(LOW + PAGE_SIZE, ACC_write), OK);
	c->r.rflags |= rflags_ac_MASK;
	cpu_mode_update(c);
	CHECK_EQ(try(LOW, ACC_write), OK);
	CHECK_EQ(try(LOW, ACC_write | ACC_system), PF(EP | EW));	/* AC is not for implicit accesses */
	CHECK_EQ(try(LOW, ACC_exec), PF(EP | EI));
	set_cpl(3);
	CHECK_EQ(try(LOW, ACC_exec), OK);
	CHECK_EQ(try(LOW, ACC_write), OK);
	CHECK_EQ(try(LOW + PAGE_SIZE, ACC_write), PF(EP | EW | EU));
	CHECK_EQ(try(LOW + PAGE_SIZE, ACC_write | ACC_system), OK);
	c->r.rflags &= ~rflags_ac_MASK;
	set_cpl(0);
	CHECK_EQ(try(LOW, ACC_read), PF(EP));	/* no entry of another view is used */
	close_cpu();
}

static void
reserved_bits(void)
{
	static const struct { unsigned level; uint64_t bits; bool bad; } row[] = {
		{ 4, PS, true }, { 4, 1ull << 51, true }, { 4, 1ull << 40, true }, { 4, 1ull << 52, false },
		{ 3, 1ull << 40, true }, { 3, PS | 1 << 13, true }, { 3, PS | 1 << 29, true }, { 3, PS | 1 << 12, false },
		{ 2, 1ull << 45, true }, { 2, PS | 1 << 13, true }, { 2, PS | 1 << 20, true }, { 2, PS | 1 << 12, false },
		{ 1, 1ull << 40, true }, { 1, PS, false }, { 1, 1ull << 62, false }, { 3, 1ull << 62, false },
	};
	uint64_t at, old;
	unsigned i;

	open_cpu("regent-v1");
	long_mode();
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		map(LOW, PAGE | PWU);
		at = entry_of(LOW, row[i].level);
		old = phys_read(at, 8);
		/* A large page's address must be aligned but for the bits under test. */
		phys_write(at, (row[i].bits & PS && row[i].level > 1 ? PWU : old) | row[i].bits, 8);
		CHECK_EQ(try(LOW, ACC_read), row[i].bad ? PF(EP | ERSVD) : (uint32_t)OK);
		set_cpl(3);
		tlb_flush_all(c, true);
		CHECK_EQ(try(LOW, ACC_write), row[i].bad ? PF(EP | ERSVD | EU | EW) : (uint32_t)OK);
		set_cpl(0);
		phys_write(at, old, 8);
		tlb_flush_all(c, true);
	}
	close_cpu();
	open_cpu("regent-v1,-pdpe1gb");
	long_mode();
	map(LOW, PAGE | PWU);
	phys_write(entry_of(LOW, 3), PWU | PS, 8);
	CHECK_EQ(try(LOW, ACC_read), PF(EP | ERSVD));
	close_cpu();
}

static void
accessed_and_dirty(void)
{
	unsigned level;

	open_cpu("regent-v1");
	long_mode();
	map(LOW, PAGE | P | U);
	CHECK_EQ(try(LOW, ACC_write), PF(EP | EW));
	for (level = 1; level <= 4; level++)	/* a fault sets nothing */
		CHECK_EQ(phys_read(entry_of(LOW, level), 8) & (A | D), 0);
	CHECK_EQ(try(LOW, ACC_read), OK);
	for (level = 1; level <= 4; level++)
		CHECK_EQ(phys_read(entry_of(LOW, level), 8) & (A | D), A);
	phys_write(entry_of(LOW, 1), PAGE | PWU, 8);
	tlb_flush_all(c, true);
	CHECK_EQ(try(LOW, ACC_read), OK);
	CHECK_EQ(phys_read(entry_of(LOW, 1), 8) & (A | D), A);
	CHECK_EQ(try(LOW, ACC_write), OK);
	CHECK_EQ(phys_read(entry_of(LOW, 1), 8) & (A | D), A | D);
	for (level = 2; level <= 4; level++)
		CHECK_EQ(phys_read(entry_of(LOW, level), 8) & D, 0);
	/* Cleared by software: set again only after INVLPG. */
	phys_write(entry_of(LOW, 1), PAGE | PWU, 8);
	CHECK_EQ(cpu_invlpg(c, LOW), OK);
	CHECK_EQ(try(LOW, ACC_write), OK);
	CHECK_EQ(phys_read(entry_of(LOW, 1), 8) & (A | D), A | D);
	close_cpu();
}

static void
large_pages(void)
{
	gpa_t gpa;

	open_cpu("regent-v1");
	long_mode();
	phys_write(entry_of(KERNEL, 3), 0x40000000 | PWU | PS, 8);
	phys_write(entry_of(LOW, 2), 0x600000 | PWU | PS, 8);
	CHECK_EQ(paging_walk(c, KERNEL + 0x12345678, ACC_read, &gpa), OK);
	CHECK_EQ(gpa, 0x52345678);
	CHECK_EQ(paging_walk(c, LOW + 0x12345, ACC_write, &gpa), OK);
	CHECK_EQ(gpa, 0x612345);
	CHECK_EQ(phys_read(entry_of(LOW, 2), 8) & (A | D), A | D);
	CHECK(paging_peek(c, LOW + 0x1ffff0, &gpa));
	CHECK_EQ(gpa, 0x7ffff0);
	CHECK(!paging_peek(c, LOW + 0x200000, &gpa));
	close_cpu();
}

static void
not_canonical(void)
{
	open_cpu("regent-v1");
	long_mode();
	CHECK_EQ(try(1ull << 47, ACC_read), UINT32_MAX);
	CHECK_EQ(c->fault.vec, VEC_gp);
	CHECK_EQ(try(0x7ffffffffffcull, ACC_read), PF(0));
	close_cpu();
}

/* A table outside RAM reads as all ones: reserved bits in it, so a fault and no crash. */
static void
tables_outside_ram(void)
{
	open_cpu("regent-v1");
	long_mode();
	phys_write(entry_of(LOW, 4), 0x80000000 | PWU, 8);
	CHECK_EQ(try(LOW, ACC_read), PF(EP | ERSVD));
	c->r.cr3 = 0xfffffff000;
	CHECK_EQ(try(LOW, ACC_write), PF(EP | ERSVD | EW));
	close_cpu();
}

static void
two_level(void)
{
	uint64_t pd, pt;
	gpa_t gpa;

	open_cpu("regent-v1");
	pd = new_table();
	pt = new_table();
	c->r.cr3 = pd;
	c->r.cr4 = cr4_pge_MASK;
	c->r.cr0 = cr0_pe_MASK | cr0_pg_MASK | cr0_wp_MASK;
	cpu_mode_update(c);
	phys_write(pd + 4 * (LOW >> 22), pt | PWU | PS, 4);	/* PS means nothing without CR4.PSE */
	phys_write(pt + 4 * 3, PAGE | P | U, 4);
	CHECK_EQ(try(LOW + 0x3008, ACC_read), OK);
	CHECK_EQ(try(LOW + 0x3008, ACC_write), PF(EP | EW));
	CHECK_EQ(try(LOW + 0x4000, ACC_exec), PF(0));
	CHECK_EQ(phys_read(pt + 4 * 3, 4), PAGE | P | U | A);
	c->r.cr4 |= cr4_pse_MASK;
	tlb_flush_all(c, true);
	phys_write(pd + 4 * (LOW >> 22), 0x800000 | PWU | PS, 4);
	CHECK_EQ(paging_walk(c, LOW + 0x3fff8, ACC_write, &gpa), OK);
	CHECK_EQ(gpa, 0x83fff8);
	CHECK_EQ(phys_read(pd + 4 * (LOW >> 22), 4), 0x800000 | PWU | PS | A | D);
	phys_write(pd + 4 * (LOW >> 22), 0x800000 | PWU | PS | 0x5a << 13, 4);	/* PSE-36 */
	CHECK_EQ(paging_walk(c, LOW, ACC_read, &gpa), OK);
	CHECK_EQ(gpa, 0x5a00800000ull);
	phys_write(pd + 4 * (LOW >> 22), 0x800000 | PWU | PS | 1 << 21, 4);
	CHECK_EQ(try(LOW, ACC_read), PF(EP | ERSVD));
	CHECK_EQ(phys_read(pd + 4 * (LOW >> 22) + 4, 4), 0);	/* 32-bit writes of A and D */
	close_cpu();
}

static void
pae(void)
{
	uint64_t pdpt, pd, pt;

	open_cpu("regent-v1");
	pdpt = new_table() + 0x20;
	pd = new_table();
	pt = new_table();
	phys_write(pdpt + 8 * 2, pd | P, 8);
	phys_write(pd, pt | PWU, 8);
	phys_write(pt, PAGE | PWU | NX, 8);
	CHECK_EQ(cr_write(c, 4, cr4_pae_MASK), OK);
	CHECK_EQ(cr_write(c, 3, pdpt), OK);
	CHECK_EQ(cr_write(c, 0, cr0_pe_MASK | cr0_pg_MASK | cr0_wp_MASK), OK);
	CHECK_EQ(try(0x80000000, ACC_read), PF(EP | ERSVD));	/* NX without NXE */
	c->r.ia32_efer |= ia32_efer_nxe_MASK;
	CHECK_EQ(try(0x80000000, ACC_write), OK);
	CHECK_EQ(try(0x80000000, ACC_exec), PF(EP | EI));
	CHECK_EQ(phys_read(pdpt + 8 * 2, 8), pd | P);		/* no A bit in a PDPTE */
	CHECK_EQ(phys_read(pd, 8), pt | PWU | A);
	CHECK_EQ(try(0, ACC_read), PF(0));
	/* The PDPTEs are loaded with CR3, not read by walks. */
	phys_write(pdpt, pd | P, 8);
	CHECK_EQ(try(0, ACC_read), PF(0));
	CHECK_EQ(cr_write(c, 3, pdpt), OK);
	CHECK_EQ(try(0, ACC_read), OK);
	phys_write(pdpt, pd | P | W, 8);
	CHECK_EQ(cr_write(c, 3, pdpt), FAULT);
	CHECK_EQ(c->fault.vec, VEC_gp);
	CHECK_EQ(try(0, ACC_read), OK);
	/* Bits 62:52 are reserved here. */
	tlb_flush_all(c, true);
	phys_write(pt, PAGE | PWU | 1ull << 62, 8);
	CHECK_EQ(try(0, ACC_read), PF(EP | ERSVD));
	phys_write(pd, 0x200000 | PWU | PS, 8);
	CHECK_EQ(try(0x80001000, ACC_write), OK);
	close_cpu();
}

/* Tables of random bits, pointing everywhere, into themselves too: every answer is a fault or a
 * translation within the physical address width. */
static void
random_tables(void)
{
	static const uint64_t cr4s[] = { 0, 1 << cr4_pse_SHIFT, 1 << cr4_pae_SHIFT };
	uint64_t x = 88172645463325252ull, val;
	unsigned round, i, mode;
	gpa_t gpa;

	open_cpu("regent-v1");
	for (round = 0; round < 300; round++) {
		mode = round % 4;
		c->r.cr4 = mode == 3 ? cr4_pae_MASK : cr4s[mode];
		c->r.cr0 = cr0_pe_MASK | cr0_pg_MASK;
		c->r.ia32_efer = mode == 3 ? ia32_efer_lma_MASK | ia32_efer_lme_MASK | ia32_efer_nxe_MASK : 0;
		c->r.cr3 = round & 8 ? 0x1000 : x & 0xfffffff000;
		for (i = 0; i < 2048; i++) {
			x ^= x << 13; x ^= x >> 7; x ^= x << 17;
			/* Mostly into the first 64 KiB, so that walks come far. */
			val = x % 5 == 0 ? x : (x & 0xf000) | (x >> 32 & 0xfff) | P;
			phys_write(0x1000 + 8 * (x >> 20 & 0x1fff), val, 8);
		}
		cpu_mode_update(c);
		for (i = 0; i < 4; i++)
			c->paging_state->pdpte[i] = mode == 2 ? 0x1000 * (i + 1) | P : 0;
		tlb_flush_all(c, true);
		for (i = 0; i < 2000; i++) {
			x ^= x << 13; x ^= x >> 7; x ^= x << 17;
			uint64_t lin = mode == 3 ? (uint64_t)((int64_t)(x << 16) >> 16) : x & UINT32_MAX;
			set_cpl(x >> 60 & 1 ? 3 : 0);
			if (paging_walk(c, lin, x >> 50 & 7, &gpa) == OK)
				CHECK(gpa >> 40 == 0);
			else
				CHECK(c->fault.vec == VEC_pf);
			if (lin_read_slow(c, lin, &val, 8, ACC_read) == OK && x & 1)
				(void)!lin_write_slow(c, lin, &val, 8, ACC_write);
		}
	}
	close_cpu();
}

/* A walk from a remembered last-level table and one from the top say the same. */
static void
short_walks_agree(void)
{
	uint64_t x = 1234567890123456789ull;
	unsigned round, i, k, hits = 0;
	struct cpu_fault first;
	struct walk a, b;
	int res;

	open_cpu("regent-v1");
	for (round = 0; round < 200; round++) {
		next_table = TABLES;
		memset(mem_put(c->mem, TABLES, 1 << 20), 0, 1 << 20);
		long_mode();
		tlb_flush_all(c, true);
		c->r.cr4 |= x & (cr4_smep_MASK | cr4_smap_MASK);
		for (i = 0; i < 16; i++)
			for (k = 2; k <= 4; k++) {
				uint64_t at = entry_of((uint64_t)i << 21 | (uint64_t)(i & 3) << 39, k);
				x ^= x << 13; x ^= x >> 7; x ^= x << 17;
				map((uint64_t)i << 21 | (uint64_t)(i & 3) << 39, 0);
				phys_write(at, (phys_read(at, 8) & ~(uint64_t)(x & (W | U))) | ((x >> 9 & 7) == 0 ? NX : 0), 8);
			}
		for (i = 0; i < 2000; i++) {
			x ^= x << 13; x ^= x >> 7; x ^= x << 17;
			uint64_t n = x & 15, lin = n << 21 | (n & 3) << 39 | (x >> 4 & 7) << 12 | 0x123;
			unsigned acc = x >> 20 & 7;
			map(lin & PAGE_MASK, (x >> 24 & 0xff000) | (x >> 50 & 0x1ff & ~(uint64_t)PS) |
				(x >> 60 == 3 ? 1ull << 45 : 0) | (x >> 60 == 4 ? NX : 0) | ((x >> 61) != 0 ? P : 0));
			set_cpl(x >> 30 & 1 ? 3 : 0);
			hits += c->paging_state->table[lin >> 21 & 63].tag == lin >> 21 << 21;
			res = paging_translate(c, lin, acc, &a);
			first = c->fault;
			paging_flush(c);
			CHECK_EQ(paging_translate(c, lin, acc, &b), res);
			if (res == OK)
				CHECK(a.gpa == b.gpa && a.user == b.user && a.writable == b.writable && a.nx == b.nx &&
					a.global == b.global && a.dirty == b.dirty);
			else
				CHECK(first.error == c->fault.error && first.addr == c->fault.addr);
		}
	}
	CHECK(hits > 1000);
	close_cpu();
}

int
main(void)
{
	RUN(no_paging);
	RUN(not_present);
	RUN(rights);
	RUN(no_execute);
	RUN(smep_and_smap);
	RUN(reserved_bits);
	RUN(accessed_and_dirty);
	RUN(large_pages);
	RUN(not_canonical);
	RUN(tables_outside_ram);
	RUN(two_level);
	RUN(pae);
	RUN(random_tables);
	RUN(short_walks_agree);
	return check_done();
}
