/* SPDX-License-Identifier: Apache-2.0 */
/* unit/cpu/mmu.h - one vCPU on a few MiB of RAM, and page tables built by hand, for tests of paging.
 *
 * Tables are taken from TABLES upward; entry_of() finds the entry of a linear address at a level so
 * that a test can change it.
 */
#pragma once
#include "check.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/sysreg.h"
#include <stdlib.h>

enum { RAM = 16 << 20, TABLES = 1 << 20, DEVICE = 0x40000000 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100, PWU = P | W | U };
#define NX (1ull << 63)
#define KERNEL 0xffff888000000000ull

static struct cpu_model model;
static struct cpu *c;
static uint64_t next_table;
static struct io last_io;
static unsigned ios;

static enum io_result
fake_io(struct cpu *cpu, struct io *io)
{
	(void)cpu;
	ios++;
	last_io = *io;
	if (!io->write)
		io->data = 0x1122334455667788ull + io->addr;
	return IO_done;
}

static const struct cpu_ops fake_ops = { .io = fake_io };

static inline struct cpu *
cpu_on(struct mem *mem, unsigned index)
{
	struct cpu *n = aligned_alloc(64, (sizeof(*n) + 63) & ~(size_t)63);

	memset(n, 0, sizeof(*n));
	if (cpu_open(n, mem, &model, index) != 0)
		abort();
	n->ops = &fake_ops;
	return n;
}

static inline void
open_cpu(const char *spec)
{
	char err[200], lost[200];

	if (cpu_model_make(&model, spec, true, err, sizeof(err), lost, sizeof(lost)) != 0) {
		printf("# %s\n", err);
		abort();
	}
	c = cpu_on(mem_open(RAM), 0);
	next_table = TABLES;
	ios = 0;
}

static inline void
close_cpu(void)
{
	struct mem *m = c->mem;

	cpu_close(c);
	free(c);
	mem_close(m);
}

static inline uint64_t
phys_read(uint64_t gpa, unsigned size)
{
	uint64_t val = 0;

	CHECK(mem_read(c->mem, gpa, &val, size));
	return val;
}

static inline void
phys_write(uint64_t gpa, uint64_t val, unsigned size)
{
	CHECK(mem_write(c->mem, gpa, &val, size));
}

static inline uint64_t
new_table(void)
{
	next_table += PAGE_SIZE;
	return next_table - PAGE_SIZE;
}

/* Sets the CPL as a segment load would. */
static inline void
set_cpl(unsigned cpl)
{
	c->r.ss_attr = (c->r.ss_attr & ~(uint64_t)ATTR_dpl) | cpl << ATTR_dpl_shift;
	cpu_mode_update(c);
}

static inline void
long_mode(void)
{
	c->r.cr4 = cr4_pae_MASK | cr4_pge_MASK;
	c->r.cr0 = cr0_pe_MASK | cr0_pg_MASK | cr0_wp_MASK | cr0_et_MASK;
	c->r.ia32_efer = ia32_efer_lme_MASK | ia32_efer_lma_MASK | ia32_efer_nxe_MASK;
	c->r.cs_attr |= ATTR_l;
	c->r.cr3 = new_table();
	cpu_mode_update(c);
}

/* Where the entry of lin stands at that level of 4-level tables (4 is the top), making what is missing. */
static inline uint64_t
entry_of(uint64_t lin, unsigned level)
{
	uint64_t table = c->r.cr3 & ~0xfffull, at;
	unsigned l;

	for (l = 4;; l--) {
		at = table + 8 * (lin >> (12 + 9 * (l - 1)) & 511);
		if (l == level)
			return at;
		if (!(phys_read(at, 8) & P))
			phys_write(at, new_table() | PWU, 8);
		table = phys_read(at, 8) & 0xffffffffff000ull;
	}
}

static inline void
map(uint64_t lin, uint64_t entry)
{
	phys_write(entry_of(lin, 1), entry, 8);
}

/* One access of 8 bytes: OK, or the error code of the #PF with bit 31 set; UINT32_MAX for another fault. */
static inline uint32_t
try(uint64_t lin, unsigned acc)
{
	uint64_t val = 0;
	int res = acc & ACC_write ? lin_write_slow(c, lin, &val, 8, acc) : lin_read_slow(c, lin, &val, 8, acc);

	if (res == OK)
		return OK;
	if (c->fault.vec != VEC_pf || c->fault.kind != EVENT_fault || !c->fault.has_error)
		return UINT32_MAX;
	CHECK_EQ(c->fault.addr, lin);
	return 1u << 31 | c->fault.error;
}
#define PF(code) (1u << 31 | (code))
