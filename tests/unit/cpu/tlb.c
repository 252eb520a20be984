/* SPDX-License-Identifier: Apache-2.0 */
/* unit/cpu/tlb.c - the TLB and the accesses through it: flushes, crossings, devices, code pages, shootdown. */
#include "mmu.h"
#include <pthread.h>
#include <unistd.h>

enum { LOW = 0x400000, PAGE = 0x5000, OTHER = 0x9000 };
#define HIGH (KERNEL + 0x3000)	/* not in the same place of the TLB as LOW */

static uint64_t
read64(uint64_t lin)
{
	uint64_t val = 0;

	CHECK_EQ(lin_read64(c, lin, &val), OK);
	return val;
}

static void
crossing(void)
{
	uint64_t val = 0x8877665544332211ull;

	open_cpu("regent-v1");
	long_mode();
	map(LOW, PAGE | PWU);
	map(LOW + PAGE_SIZE, OTHER | PWU);
	CHECK_EQ(lin_write64(c, LOW + 0xffd, val), OK);
	CHECK_EQ(phys_read(PAGE + 0xffd, 3), 0x332211);
	CHECK_EQ(phys_read(OTHER, 5), 0x8877665544);
	CHECK_EQ(read64(LOW + 0xffd), val);
	CHECK_EQ(phys_read(entry_of(LOW + PAGE_SIZE, 1), 8) & (A | D), A | D);
	/* The second page is read-only: nothing of the first may change. */
	map(LOW + PAGE_SIZE, OTHER | P | U);
	tlb_flush_page(c, LOW + PAGE_SIZE);
	CHECK_EQ(lin_write64(c, LOW + 0xffd, 0), FAULT);
	CHECK_EQ(c->fault.addr, LOW + PAGE_SIZE);
	CHECK_EQ(c->fault.error, 3);
	CHECK_EQ(phys_read(PAGE + 0xffd, 3), 0x332211);
	CHECK_EQ(lin_probe(c, LOW + 0xffd, 8, ACC_write), FAULT);
	CHECK_EQ(lin_probe(c, LOW + 0xffd, 3, ACC_write), OK);
	CHECK_EQ(lin_probe(c, LOW + 0xff0, PAGE_SIZE, ACC_read), OK);
	CHECK_EQ(lin_probe(c, LOW + 0xff0, PAGE_SIZE + 17, ACC_read), FAULT);
	close_cpu();
}

/* Without 64-bit mode linear addresses wrap at 4 GiB; the top of memory is no RAM here. */
static void
wrap(void)
{
	uint32_t val;

	open_cpu("regent-v1");
	c->r.cr0 |= cr0_pe_MASK;
	c->r.cs_attr |= ATTR_db;
	cpu_mode_update(c);
	phys_write(0, 0xaabb, 2);
	CHECK_EQ(lin_read32(c, 0xfffffffe, &val), OK);
	CHECK_EQ(val >> 16, 0xaabb);
	CHECK_EQ(last_io.addr, 0xfffffffe);
	CHECK_EQ(last_io.size, 2);
	close_cpu();
}

static void
devices(void)
{
	uint8_t buf[16];
	uint64_t val;

	open_cpu("regent-v1");
	long_mode();
	map(LOW, DEVICE | PWU);
	CHECK_EQ(lin_read64(c, LOW, &val), OK);
	CHECK_EQ(val, 0x1122334455667788ull + DEVICE);
	CHECK_EQ(ios, 1);
	CHECK_EQ(lin_read64(c, LOW, &val), OK);
	CHECK_EQ(ios, 2);			/* never from the TLB */
	CHECK_EQ(lin_write32(c, LOW + 4, 0x12345678), OK);
	CHECK_EQ(last_io.addr, DEVICE + 4);
	CHECK_EQ(last_io.data, 0x12345678);
	CHECK_EQ(last_io.size, 4);
	ios = 0;
	CHECK_EQ(lin_read_slow(c, LOW + 1, buf, 16, ACC_read), OK);
	CHECK_EQ(ios, 5);			/* 1 2 4 8 1 */
	int res;
	CHECK(lin_hva(c, LOW, 8, ACC_write, &res) == NULL);
	CHECK_EQ(res, OK);
	close_cpu();
}

static uint64_t
add_ctx(void *ctx, uint64_t old)
{
	return old + *(uint64_t *)ctx;
}

static void
read_modify_write(void)
{
	uint64_t one = 1;
	unsigned size, lock;

	open_cpu("regent-v1");
	long_mode();
	map(LOW, PAGE | PWU);
	map(LOW + PAGE_SIZE, OTHER | PWU);
	for (lock = 0; lock < 2; lock++)
		for (size = 1; size <= 8; size *= 2) {
			phys_write(PAGE + 0x103, UINT64_MAX, 8);
			CHECK_EQ(lin_rmw_slow(c, LOW + 0x103, size, lock, add_ctx, &one), OK);
			CHECK_EQ(phys_read(PAGE + 0x103, size), 0);
			if (size < 8)
				CHECK_EQ(phys_read(PAGE + 0x103 + size, 1), 0xff);
		}
	phys_write(PAGE + 0xffe, 0xffff, 2);
	phys_write(OTHER, 0x0001, 2);
	CHECK_EQ(lin_rmw_slow(c, LOW + 0xffe, 4, true, add_ctx, &one), OK);
	CHECK_EQ(phys_read(PAGE + 0xffe, 2), 0);
	CHECK_EQ(phys_read(OTHER, 2), 2);
	map(LOW, PAGE | P | U);
	tlb_flush_all(c, true);
	CHECK_EQ(lin_rmw_slow(c, LOW, 4, true, add_ctx, &one), FAULT);
	CHECK_EQ(c->fault.error, 3);		/* as a write, though it reads first */
	close_cpu();
}

/* What each flush drops, and what it keeps. */
static void
flushes(void)
{
	uint64_t old;

	open_cpu("regent-v1");
	long_mode();
	phys_write(PAGE, 1, 8);
	phys_write(OTHER, 2, 8);
	map(LOW, PAGE | PWU);
	map(HIGH, PAGE | P | W | G);
	CHECK_EQ(read64(LOW), 1);
	CHECK_EQ(read64(HIGH), 1);
	map(LOW, OTHER | PWU);
	map(HIGH, OTHER | P | W | G);
	CHECK_EQ(read64(LOW), 1);		/* cached */
	CHECK_EQ(cr_write(c, 3, c->r.cr3), OK);
	CHECK_EQ(read64(LOW), 2);
	CHECK_EQ(read64(HIGH), 1);		/* global */
	CHECK_EQ(cpu_invlpg(c, HIGH + 0x123), OK);
	CHECK_EQ(read64(HIGH), 2);
	map(HIGH, PAGE | P | W | G);
	old = c->r.cr4;
	CHECK_EQ(cr_write(c, 4, old & ~cr4_pge_MASK), OK);
	CHECK_EQ(cr_write(c, 4, old), OK);
	CHECK_EQ(read64(HIGH), 1);
	close_cpu();
}

/* INVLPG of one address of a large page forgets all of it. */
static void
invlpg_large(void)
{
	open_cpu("regent-v1");
	long_mode();
	phys_write(0x600000, 1, 8);
	phys_write(0x800000, 2, 8);
	phys_write(0x605000, 3, 8);
	phys_write(0x805000, 4, 8);
	phys_write(entry_of(LOW, 2), 0x600000 | PWU | PS, 8);
	CHECK_EQ(read64(LOW), 1);
	CHECK_EQ(read64(LOW + 0x5000), 3);
	phys_write(entry_of(LOW, 2), 0x800000 | PWU | PS, 8);
	CHECK_EQ(cpu_invlpg(c, LOW + 0x5000), OK);
	CHECK_EQ(read64(LOW), 2);
	CHECK_EQ(read64(LOW + 0x5000), 4);
	close_cpu();
}

static void
pcids(void)
{
	const uint64_t noflush = 1ull << 63;
	uint64_t first, second;

	open_cpu("regent-v1");
	long_mode();
	phys_write(PAGE, 1, 8);
	phys_write(OTHER, 2, 8);
	map(LOW, PAGE | PWU);
	first = c->r.cr3;
	second = c->r.cr3 = new_table();
	map(LOW, OTHER | PWU);
	CHECK_EQ(cr_write(c, 3, first), OK);
	CHECK_EQ(cr_write(c, 3, first | noflush), FAULT);	/* PCIDE is clear */
	CHECK_EQ(cr_write(c, 4, c->r.cr4 | cr4_pcide_MASK), OK);
	CHECK_EQ(read64(LOW), 1);
	CHECK_EQ(cr_write(c, 3, second | 5 | noflush), OK);
	CHECK_EQ(c->r.cr3, second | 5);
	CHECK_EQ(read64(LOW), 2);
	CHECK_EQ(cr_write(c, 3, first | noflush), OK);
	CHECK_EQ(read64(LOW), 1);
	map(LOW, OTHER | PWU);
	CHECK_EQ(cpu_invpcid(c, 1, 0, 0), OK);
	CHECK_EQ(read64(LOW), 2);
	map(LOW, PAGE | PWU);
	CHECK_EQ(cpu_invpcid(c, 0, 0, LOW), OK);
	CHECK_EQ(read64(LOW), 1);
	CHECK_EQ(cpu_invpcid(c, 4, 0, 0), FAULT);
	CHECK_EQ(cpu_invpcid(c, 1, 0x1000, 0), FAULT);
	CHECK_EQ(cpu_invpcid(c, 0, 0, 1ull << 63), FAULT);
	CHECK_EQ(cpu_invpcid(c, 2, 0, 1ull << 63), OK);
	CHECK_EQ(cr_write(c, 0, c->r.cr0 & ~cr0_pg_MASK), FAULT);
	close_cpu();
}

/* Clearing CR0.WP or setting it changes what a supervisor may write. */
static void
write_protect_changes(void)
{
	open_cpu("regent-v1");
	long_mode();
	map(LOW, PAGE | P | U);
	CHECK_EQ(cr_write(c, 0, c->r.cr0 & ~cr0_wp_MASK), OK);
	CHECK_EQ(lin_write64(c, LOW, 1), OK);
	CHECK_EQ(cr_write(c, 0, c->r.cr0 | cr0_wp_MASK), OK);
	CHECK_EQ(lin_write64(c, LOW, 1), FAULT);
	set_cpl(3);
	CHECK_EQ(lin_write64(c, LOW, 1), FAULT);
	CHECK_EQ(c->fault.error, 7);
	close_cpu();
}

struct seen { unsigned calls; gpa_t gpa; size_t len; };

static void
code_written(void *ctx, gpa_t gpa, size_t len)
{
	struct seen *s = ctx;

	s->calls++;
	s->gpa = gpa;
	s->len = len;
}

static void
code_pages(void)
{
	struct seen seen = { 0 };
	struct mem_watcher w = { .code_written = code_written, .ctx = &seen };
	const struct code_entry *e;
	uint64_t one = 1;
	int res;

	open_cpu("regent-v1");
	long_mode();
	mem_watch(c->mem, &w);
	map(LOW, PAGE | PWU);
	CHECK_EQ(lin_write64(c, LOW + 8, 1), OK);
	CHECK(lin_hva(c, LOW + 8, 8, ACC_write, &res) != NULL);
	CHECK_EQ(mem_page_flags(c->mem, PAGE), MEM_dirty);
	CHECK_EQ(lin_code(c, LOW + 0x10, &e), OK);
	CHECK_EQ(e->gpa, PAGE);
	cpu_code_protect(c, e->gpa);
	CHECK_EQ(mem_page_flags(c->mem, PAGE), MEM_dirty | MEM_code | MEM_sealed);
	CHECK(lin_hva(c, LOW + 8, 8, ACC_write, &res) == NULL);
	CHECK_EQ(res, OK);
	CHECK_EQ(lin_write32(c, LOW + 16, 1), OK);
	CHECK_EQ(seen.calls, 1);
	CHECK_EQ(seen.gpa, PAGE + 16);
	CHECK_EQ(seen.len, 4);
	CHECK_EQ(lin_rmw_slow(c, LOW + 24, 2, true, add_ctx, &one), OK);
	CHECK_EQ(seen.calls, 2);
	CHECK_EQ(seen.gpa, PAGE + 24);
	CHECK_EQ(mem_page_generation(c->mem, PAGE), 3);
	/* The walk's own writes of A and D count as well. */
	cpu_code_protect(c, entry_of(LOW, 1));
	map(LOW + PAGE_SIZE, OTHER | PWU);
	seen.calls = 0;
	CHECK_EQ(lin_write8(c, LOW + PAGE_SIZE, 1), OK);
	CHECK_EQ(seen.calls, 1);
	/* An engine gives the page back. */
	mem_page_clear(c->mem, PAGE, MEM_code);
	CHECK_EQ(lin_write8(c, LOW, 1), OK);
	CHECK(lin_hva(c, LOW, 8, ACC_write, &res) != NULL);
	mem_unwatch(c->mem, &w);
	close_cpu();
}

/* A page that is written all the time is given up as code, and everybody hears of it. */
static void
rewritten_pages(void)
{
	struct seen seen = { 0 };
	struct mem_watcher w = { .code_written = code_written, .ctx = &seen };
	uint32_t generation = 0;
	unsigned i;
	int res;

	open_cpu("regent-v1");
	long_mode();
	mem_watch(c->mem, &w);
	map(LOW, PAGE | PWU);
	cpu_code_protect(c, PAGE);
	for (i = 0; i < 100 && mem_page_flags(c->mem, PAGE) & MEM_code; i++) {
		generation = mem_page_generation(c->mem, PAGE);
		CHECK_EQ(lin_write8(c, LOW + i, 1), OK);
	}
	CHECK(i > 1 && i < 100);
	CHECK_EQ(seen.calls, i + 1);
	CHECK_EQ(seen.gpa, PAGE);
	CHECK_EQ(seen.len, PAGE_SIZE);
	CHECK(mem_page_generation(c->mem, PAGE) > generation);
	CHECK_EQ(lin_write8(c, LOW, 1), OK);
	CHECK(lin_hva(c, LOW, 8, ACC_write, &res) != NULL);
	cpu_code_protect(c, PAGE);
	CHECK(lin_hva(c, LOW, 8, ACC_write, &res) == NULL);
	mem_unwatch(c->mem, &w);
	close_cpu();
}

static void
fetches(void)
{
	const struct code_entry *e;

	open_cpu("regent-v1");
	long_mode();
	map(LOW, PAGE | P | U);
	map(KERNEL, PAGE | P | G);
	map(LOW + PAGE_SIZE, DEVICE | PWU);
	CHECK_EQ(lin_code(c, KERNEL, &e), OK);
	set_cpl(3);
	CHECK_EQ(lin_code(c, KERNEL, &e), FAULT);
	CHECK_EQ(c->fault.error, 0x15);
	CHECK_EQ(lin_code(c, LOW, &e), OK);
	CHECK(e->host == mem_get(c->mem, PAGE, PAGE_SIZE));
	CHECK_EQ(lin_code(c, LOW + PAGE_SIZE, &e), OK);
	CHECK(e->host == NULL);
	CHECK_EQ(e->gpa, DEVICE);
	map(LOW, OTHER | P | U);
	CHECK_EQ(lin_code(c, LOW, &e), OK);
	CHECK_EQ(e->gpa, PAGE);
	set_cpl(0);
	CHECK_EQ(cpu_invlpg(c, LOW), OK);
	set_cpl(3);
	CHECK_EQ(lin_code(c, LOW, &e), OK);
	CHECK_EQ(e->gpa, OTHER);
	set_cpl(0);
	CHECK_EQ(cr_write(c, 4, c->r.cr4 | cr4_smep_MASK), OK);
	CHECK_EQ(lin_code(c, LOW, &e), FAULT);
	CHECK_EQ(c->fault.error, 0x11);
	close_cpu();
}

/* c->remaps tells what became of fetches, and only of those. */
static void
remaps(void)
{
	const struct code_entry *e;
	uint64_t user, super;

	open_cpu("regent-v1");
	long_mode();
	map(LOW, PAGE | PWU);
	map(LOW + PAGE_SIZE, OTHER | PWU);
	map(HIGH, PAGE | P | G);
	phys_write(entry_of(KERNEL + (7 << 21), 2), 0x600000 | P | G | PS, 8);
	CHECK_EQ(lin_code(c, HIGH, &e), OK);
	CHECK_EQ(lin_code(c, KERNEL + (7 << 21) + 0x5000, &e), OK);
	set_cpl(3);
	CHECK_EQ(lin_code(c, LOW, &e), OK);
	CHECK_EQ(read64(LOW + PAGE_SIZE), 0);
	set_cpl(0);
	user = c->remaps[CODE_user];
	super = c->remaps[CODE_super];
	tlb_flush_page(c, LOW + PAGE_SIZE);		/* data */
	CHECK_EQ(c->remaps[CODE_user], user);
	tlb_flush_page(c, LOW);
	CHECK_EQ(c->remaps[CODE_user], ++user);
	CHECK_EQ(c->remaps[CODE_super], super);
	CHECK_EQ(cr_write(c, 3, c->r.cr3), OK);		/* the kernel's are global */
	CHECK_EQ(c->remaps[CODE_user], ++user);
	CHECK_EQ(c->remaps[CODE_super], super);
	tlb_flush_page(c, KERNEL + (7 << 21) + 0x9000);	/* the same large page */
	CHECK_EQ(c->remaps[CODE_super], ++super);
	tlb_flush_page(c, HIGH);
	CHECK_EQ(c->remaps[CODE_super], ++super);
	CHECK_EQ(lin_code(c, LOW, &e), OK);		/* one that is not global */
	CHECK_EQ(cr_write(c, 3, c->r.cr3), OK);
	CHECK_EQ(c->remaps[CODE_super], ++super);
	tlb_flush_all(c, true);
	CHECK_EQ(c->remaps[CODE_super], ++super);
	close_cpu();
}

/* ---- any sequence of changes, each followed by the flush that the manual asks for ---- */

enum { SLOTS = 64, FRAMES = 8, STEPS = 60000 };
static uint64_t seed = 88172645463325252ull;

static uint64_t
next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* The n-th page: four to each 2 MiB, half of them the kernel's, global and shared by both spaces. */
static uint64_t
slot_lin(unsigned n)
{
	return (n & 1 ? KERNEL : 0) + ((uint64_t)(n >> 1 & 7) << 21) + ((uint64_t)(n >> 4) << 12) + (n & 1 ? 0 : LOW);
}

/* Exchanges the table at that entry and a large page; tables come back as they were. */
static void
swap_table(uint64_t at, uint64_t rights)
{
	static struct { uint64_t at, table; } kept[32];
	uint64_t old = phys_read(at, 8);
	unsigned i;

	for (i = 0; kept[i].at != 0 && kept[i].at != at; i++)
		;
	CHECK(i < 31);
	if (!(old & PS))
		kept[i].table = old;
	kept[i].at = at;
	phys_write(at, old & PS ? kept[i].table : (0x800000 + (next() % 3 << 21)) | rights | PS, 8);
}

static void
remap_slot(unsigned n)
{
	uint64_t lin = slot_lin(n), at = entry_of(lin, 2), rights = P | W | (n & 1 ? G : U);
	unsigned other;

	if (next() % 8 == 0) {
		swap_table(at, rights);
		for (other = n % 16; other < SLOTS; other += 16)
			CHECK_EQ(cpu_invlpg(c, slot_lin(other)), OK);
	} else if (!(phys_read(at, 8) & PS)) {
		map(lin, next() % 5 == 0 ? 0 : (0x400000 + (next() % FRAMES << 12)) | rights);
		CHECK_EQ(cpu_invlpg(c, lin), OK);
	}
}

/* What a read gives is what the tables say, always. */
static void
coherent(unsigned n)
{
	uint64_t lin = slot_lin(n) + next() % 512 * 8, val = 0;
	bool user = next() & 1, mapped;
	gpa_t gpa = 0;
	int res;

	set_cpl(user ? 3 : 0);
	mapped = paging_peek(c, lin, &gpa) && !(user && n & 1);
	res = next() & 1 ? lin_read64(c, lin, &val) : lin_write64(c, lin, gpa & PAGE_MASK);
	CHECK_EQ(res, mapped ? OK : FAULT);
	if (mapped)
		CHECK(val == 0 || val == (gpa & PAGE_MASK));
	set_cpl(0);
}

static void
coherence(void)
{
	uint64_t space[2], *word;
	unsigned i, n;

	open_cpu("regent-v1");
	word = (uint64_t *)(void *)mem_put(c->mem, 0, RAM);
	for (i = 0x400000 / 8; i < RAM / 8; i++)	/* each page is full of its own address */
		word[i] = 8ull * i & PAGE_MASK;
	long_mode();
	c->r.cr4 |= cr4_pcide_MASK;
	space[0] = c->r.cr3;
	for (n = 1; n < SLOTS; n += 2)
		entry_of(slot_lin(n), 1);
	space[1] = new_table() | 7;
	phys_write((space[1] & PAGE_MASK) + 8 * (KERNEL >> 39 & 511), phys_read(entry_of(KERNEL, 4), 8), 8);
	for (i = 0; i < STEPS && !check_bad; i++) {
		n = next() % SLOTS;
		switch (next() % 16) {
		case 0: case 1: remap_slot(n); break;
		case 2: CHECK_EQ(cr_write(c, 3, space[next() & 1] | next() << 63), OK); break;
		case 3: tlb_flush_all(c, next() & 1); break;
		default: coherent(n);
		}
	}
	close_cpu();
}

/* ---- two vCPUs ---- */

enum { ROUNDS = 3000, HAMMERED = 4 };
static _Atomic bool stop;
static _Atomic unsigned unseen;

struct writer { struct cpu *cpu; _Atomic uint64_t bells; };

static void
bell(void *ctx, gpa_t gpa, size_t len)
{
	struct writer *w = ctx;

	(void)gpa, (void)len;
	atomic_fetch_add(&w->bells, 1);
}

/* Writes through its TLB, with a safe point after each write, as an engine would. */
static void *
write_loop(void *ctx)
{
	struct writer *w = ctx;
	uint64_t n = 0;

	cpu_guest_enter(w->cpu);
	while (!atomic_load(&stop)) {
		(void)!lin_write64(w->cpu, (n % HAMMERED + 1) << PAGE_SHIFT, n);
		n++;
		if (atomic_load(&w->cpu->attention) & ATT_tlb) {
			atomic_fetch_and(&w->cpu->attention, ~(uint32_t)ATT_tlb);
			cpu_shootdown_serve(w->cpu);
		}
	}
	cpu_guest_leave(w->cpu);
	return NULL;
}

/* After cpu_code_protect no write is unseen: a page that is still code and whose generation stood
 * still did not change. */
static void
shootdown(void)
{
	struct writer w = { 0 };
	struct mem_watcher watch = { .code_written = bell, .ctx = &w };
	pthread_t t;
	unsigned i;

	open_cpu("regent-v1");
	w.cpu = cpu_on(c->mem, 1);
	mem_watch(c->mem, &watch);
	atomic_store(&stop, false);
	pthread_create(&t, NULL, write_loop, &w);
	cpu_guest_enter(c);
	for (i = 0; i < ROUNDS || (w.bells < 100 && i < 1000 * ROUNDS); i++) {
		gpa_t page = (gpa_t)(i % HAMMERED + 1) << PAGE_SHIFT;
		const volatile uint64_t *p;
		uint64_t before, gen;
		unsigned spin;

		cpu_code_protect(c, page);
		p = (const volatile uint64_t *)(const void *)mem_get(c->mem, page, 8);
		gen = mem_page_generation(c->mem, page);
		before = *p;
		for (spin = 0; spin < 100; spin++)
			if (*p != before && mem_page_generation(c->mem, page) == gen) {
				/* The byte comes before the count: give it the time. */
				usleep(1000);
				if (mem_page_flags(c->mem, page) & MEM_code && mem_page_generation(c->mem, page) == gen)
					atomic_fetch_add(&unseen, 1);
				break;
			}
		mem_page_clear(c->mem, page, MEM_code);
	}
	cpu_guest_leave(c);
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	CHECK_EQ(unseen, 0);
	CHECK(w.bells > 0);
	mem_unwatch(c->mem, &watch);
	cpu_close(w.cpu);
	free(w.cpu);
	close_cpu();
}

static void *
shoot_loop(void *ctx)
{
	struct cpu *cpu = ctx;
	unsigned i;

	cpu_guest_enter(cpu);
	for (i = 0; i < ROUNDS; i++) {
		gpa_t page = (gpa_t)(i % HAMMERED + 1) << PAGE_SHIFT;

		(void)!lin_write64(cpu, page, i);
		cpu_code_protect(cpu, page);
		mem_page_clear(cpu->mem, page, MEM_code);
	}
	cpu_guest_leave(cpu);
	return NULL;
}

/* Each waits for the other all the time, and a third that is outside guest code for good. */
static void
shoot_at_each_other(void)
{
	struct cpu *other, *halted;
	pthread_t t[2];
	unsigned i;

	open_cpu("regent-v1");
	other = cpu_on(c->mem, 1);
	halted = cpu_on(c->mem, 2);
	(void)!lin_write64(halted, 0x1000, 1);
	pthread_create(&t[0], NULL, shoot_loop, c);
	pthread_create(&t[1], NULL, shoot_loop, other);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	/* The third has served everything before it runs again. */
	cpu_code_protect(c, 0x1000);
	cpu_guest_enter(halted);
	CHECK(halted->tlb[halted->tlb_view].write[1].tag == TLB_EMPTY);
	cpu_guest_leave(halted);
	cpu_close(other);
	cpu_close(halted);
	free(other);
	free(halted);
	close_cpu();
}

/* Write entries that lead to a page are found wherever they are, whatever was in their places before: some share a place. */
static void
entries_of_a_page(void)
{
	enum { LINS = 24, PAGES = 5, TURNS = 20000, FAR = TLB_ENTRIES * PAGE_SIZE };
	unsigned to[LINS] = { 0 }, step, n, k, res = 0, found = 0;
	uint64_t lin[LINS], dice = 12345;
	int err;

	open_cpu("regent-v1");
	long_mode();
	for (n = 0; n < LINS; n++) {
		lin[n] = LOW + (n % 8) * PAGE_SIZE + (uint64_t)(n / 8) * FAR;
		map(lin[n], PAGE | PWU);
	}
	for (step = 0; step < TURNS; step++) {
		dice = dice * 6364136223846793005ull + 1442695040888963407ull;
		n = (unsigned)(dice >> 33) % LINS;
		k = (unsigned)(dice >> 45) % PAGES;
		switch (dice >> 60) {
		case 0:		/* code is fetched from page k */
			cpu_code_protect(c, PAGE + k * PAGE_SIZE);
			for (n = 0; n < LINS; n++) {
				bool is = lin_hva(c, lin[n], 8, ACC_write, &err) != NULL;

				found += to[n] == k;
				res += is != (to[n] != k);
			}
			mem_page_clear(c->mem, PAGE + k * PAGE_SIZE, MEM_code | MEM_sealed);
			break;
		case 1:
			tlb_flush_all(c, true);
			break;
		case 2: case 3: case 4: case 5:
			to[n] = k;
			map(lin[n], (PAGE + k * PAGE_SIZE) | PWU);
			tlb_flush_page(c, lin[n]);
			break;
		default:
			CHECK_EQ(lin_write64(c, lin[n], step), OK);
		}
	}
	CHECK_EQ(res, 0);
	CHECK(found > TURNS / 16);
	close_cpu();
}

int
main(void)
{
	RUN(crossing);
	RUN(wrap);
	RUN(devices);
	RUN(read_modify_write);
	RUN(flushes);
	RUN(invlpg_large);
	RUN(pcids);
	RUN(write_protect_changes);
	RUN(code_pages);
	RUN(entries_of_a_page);
	RUN(rewritten_pages);
	RUN(fetches);
	RUN(remaps);
	RUN(coherence);
	RUN(shootdown);
	RUN(shoot_at_each_other);
	return check_done();
}
