/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/fake_mmu.h - linear = physical, one page that faults; until cpu/paging.c is there. */
#pragma once
static uint64_t fake_bad_page = UINT64_MAX;
static int fake_check(struct cpu *c, uint64_t lin, unsigned acc)
{
	if ((lin & PAGE_MASK) == fake_bad_page)
		return cpu_raise_pf(c, lin, ((acc & ACC_write) ? 2u : 0u) | (c->cpl == 3 && !(acc & ACC_system) ? 4u : 0u));
	return OK;
}
__attribute__((weak)) int lin_read_slow(struct cpu *c, uint64_t lin, void *to, unsigned size, unsigned acc)
{
	if (fake_check(c, lin, acc) != OK) return FAULT;
	memset(to, 0xff, size);
	(void)!mem_read(c->mem, lin, to, size);
	return OK;
}
__attribute__((weak)) int lin_write_slow(struct cpu *c, uint64_t lin, const void *from, unsigned size, unsigned acc)
{
	if (fake_check(c, lin, acc | ACC_write) != OK) return FAULT;
	(void)!mem_write(c->mem, lin, from, size);
	return OK;
}
__attribute__((weak)) int lin_probe(struct cpu *c, uint64_t lin, unsigned size, unsigned acc)
{
	(void)size;
	return fake_check(c, lin, acc);
}
__attribute__((weak)) int lin_rmw_slow(struct cpu *c, uint64_t lin, unsigned size, bool lock, lin_rmw_fn *fn, void *ctx)
{
	uint64_t v = 0;

	(void)lock;
	if (lin_read_slow(c, lin, &v, size, ACC_write) != OK) return FAULT;
	v = fn(ctx, v);
	return lin_write_slow(c, lin, &v, size, ACC_write);
}
__attribute__((weak)) int reg_guest_write(struct cpu *c, int id, uint64_t val) { c->r.v[id] = val; return OK; }
static inline void
MACHINE_INIT(struct cpu *c)
{
	fake_bad_page = UINT64_MAX;
	for (unsigned v = 0; v < TLB_VIEWS; v++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			c->tlb[v].read[i].tag = c->tlb[v].write[i].tag = TLB_EMPTY;
}
static inline void bad_page(uint64_t lin) { fake_bad_page = lin; }
