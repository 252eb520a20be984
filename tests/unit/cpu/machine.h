/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/cpu/machine.h - one vCPU with tables in real guest memory, for tests of segmentation.
 *
 * Paging is off in legacy modes until bad_page; long mode gets identity page tables of 2 MiB pages.
 * Every level has its code, data and stack segments; everything else is set by the test.
 */
#pragma once
#include "check.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/segments.h"
#include "cpu/sysreg.h"
#include <stdlib.h>

enum {
	MEM_SIZE = 4 << 20,
	GDT = 0x1000,
	LDT = 0x2000,
	IDT = 0x3000,
	TSS = 0x4000,
	TSS_B = 0x5000,
	TABLES = 0x10000,
	STACK0 = 0x20000,
	STACK3 = 0x30000,
	IST1 = 0x28000,
	CODE = 0x40000
};

/* Selectors; the RPL is added by the test. Those up to SEL_per_level exist at every level. */
enum { SEL_code32 = 0x08, SEL_data32 = 0x10, SEL_code64 = 0x18, SEL_code16 = 0x20, SEL_data16 = 0x28,
	SEL_conforming = 0x30, SEL_absent_code = 0x38, SEL_per_level = 0x40,
	SEL_ldt = 0x140, SEL_tss = 0x150, SEL_tss_b = 0x160, SEL_gate = 0x170, SEL_test = 0x180, SEL_end = 0x1a0 };
enum { A_code = 0x9b, A_data = 0x93, A_ro = 0x91, A_down = 0x97, A_xo = 0x99, A_conf = 0x9f, A_db = 0x4000, A_g = 0x8000,
	A_l = 0x2000 };

static struct cpu *m_cpu;
static struct cpu_model m_model = { .phys_bits = 40, .lin_bits = 48 };
static const uint8_t m_zeros[0x60000];

static enum io_result
no_device(struct cpu *c, struct io *io)
{
	(void)c;
	(void)io;
	return IO_none;
}
static const struct cpu_ops m_ops = { .io = no_device };

static inline void
put(uint64_t gpa, uint64_t val, unsigned size)
{
	if (!mem_write(m_cpu->mem, gpa, &val, size))
		abort();
}

static inline uint64_t
get(uint64_t gpa, unsigned size)
{
	uint64_t val = 0;

	if (!mem_read(m_cpu->mem, gpa, &val, size))
		abort();
	return val;
}

static inline uint64_t
desc_bits(uint32_t base, uint32_t limit, unsigned attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
		(uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
		(uint64_t)(attr >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

static inline uint64_t
gate_bits(uint16_t sel, uint32_t off, unsigned attr, unsigned params)
{
	return (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)params << 32 |
		(uint64_t)attr << 40 | (uint64_t)(off >> 16) << 48;
}

static inline void
gdt(unsigned sel, uint64_t bits)
{
	put(GDT + (sel & 0xfff8), bits, 8);
	put(GDT + (sel & 0xfff8) + 8, get(GDT + (sel & 0xfff8) + 8, 8), 8);
}

static inline void
idt(unsigned vec, uint16_t sel, uint64_t off, unsigned attr, unsigned ist)
{
	uint64_t bits = gate_bits(sel, (uint32_t)off, attr, ist);

	if (m_cpu->lma) {
		put(IDT + vec * 16, bits, 8);
		put(IDT + vec * 16 + 8, off >> 32, 8);
	} else {
		put(IDT + vec * 8, bits, 8);
	}
}

static inline void
set_seg(enum seg_id id, uint16_t sel, unsigned attr)
{
	m_cpu->r.seg[id] = (struct segreg){
		.sel = sel, .limit = attr & A_g ? 0xffffffff : 0xffff, .attr = attr
	};
}

static inline uint16_t
at_level(unsigned sel, unsigned level)
{
	return (uint16_t)(sel + SEL_per_level * level + level);
}

static inline void
build_gdt(void)
{
	for (unsigned l = 0; l < 4; l++) {
		unsigned dpl = l << 5, b = SEL_per_level * l;

		gdt(b + SEL_code32, desc_bits(0, 0xfffff, A_code | dpl | A_db | A_g));
		gdt(b + SEL_data32, desc_bits(0, 0xfffff, A_data | dpl | A_db | A_g));
		gdt(b + SEL_code64, desc_bits(0, 0xfffff, A_code | dpl | A_l | A_g));
		gdt(b + SEL_code16, desc_bits(0, 0xffff, A_code | dpl));
		gdt(b + SEL_data16, desc_bits(0, 0xffff, A_data | dpl));
		gdt(b + SEL_conforming, desc_bits(0, 0xfffff, A_conf | dpl | A_db | A_g));
		gdt(b + SEL_absent_code,
			desc_bits(0, 0xfffff, ((A_code | dpl) - 0x80) | A_db | A_g));
	}
	gdt(SEL_ldt, desc_bits(LDT, 0xff, 0x82));
	gdt(SEL_tss, desc_bits(TSS, 0x2fff, 0x89));
	gdt(SEL_tss_b, desc_bits(TSS_B, 0x67, 0x89));
	m_cpu->r.gdtr_base = GDT;
	m_cpu->r.gdtr_limit = SEL_end - 1;
	m_cpu->r.idtr_base = IDT;
	m_cpu->r.idtr_limit = 0xfff;
}

static inline void
build_tables(void)
{
	put(TABLES, (TABLES + 0x1000) | 7, 8);
	put(TABLES + 0x1000, (TABLES + 0x2000) | 7, 8);
	for (uint64_t i = 0; i < MEM_SIZE >> 21; i++)
		put(TABLES + 0x2000 + i * 8, i << 21 | 0x87, 8);
	m_cpu->r.cr3 = TABLES;
	m_cpu->r.cr4 |= cr4_pae_MASK;
	m_cpu->r.ia32_efer |= ia32_efer_lme_MASK | ia32_efer_lma_MASK;
	m_cpu->r.cr0 |= cr0_pg_MASK;
}

/* A 32-bit TSS at TSS with inner stacks and an I/O map at its end; a 64-bit one in long mode. */
static inline void
build_tss(bool lma)
{
	for (unsigned i = 0; i < 0x3000; i += 8)
		put(TSS + i, 0, 8);
	for (unsigned l = 0; l < 3; l++) {
		put(TSS + 4 + 8 * l, STACK0 - 0x1000 * l, lma ? 8 : 4);
		if (!lma)
			put(TSS + 8 + 8 * l, at_level(SEL_data32, l), 4);
	}
	if (lma)
		put(TSS + 0x24, IST1, 8);
	put(TSS + 0x66, 0x68, 2);
	m_cpu->r.seg[SEG_tr] =
		(struct segreg){ .sel = SEL_tss, .base = TSS, .limit = 0x2fff, .attr = 0x8b };
	put(GDT + SEL_tss + 5, 0x8b, 1);
}

/* From scratch: a processor in `mode` at level cpl, with a stack at STACK0 or STACK3. */
static inline struct cpu *
machine(enum cpu_mode mode, unsigned cpl)
{
	static const struct { unsigned sel, attr; } codes[] = {
		[MODE_prot16] = { SEL_code16, A_code },
		[MODE_prot32] = { SEL_code32, A_code | A_db | A_g },
		[MODE_long64] = { SEL_code64, A_code | A_l | A_g },
	};
	static struct mem *mem;
	bool lma = mode == MODE_long64;
	unsigned dpl = cpl << 5;

	if (mem == NULL)
		mem = mem_open(MEM_SIZE);
	if (m_cpu == NULL)
		m_cpu = aligned_alloc(64, (sizeof(struct cpu) + 63) & ~(size_t)63);
	else
		cpu_close(m_cpu);
	mem_write(mem, 0, m_zeros, sizeof(m_zeros));
	memset(m_cpu, 0, sizeof(*m_cpu));
	if (cpu_open(m_cpu, mem, &m_model, 0) != 0)
		abort();
	m_cpu->ops = &m_ops;
	build_gdt();
	set_seg(SEG_ldtr, 0, ATTR_unusable);
	m_cpu->r.rip = CODE;
	m_cpu->r.rsp = cpl == 3 ? STACK3 : STACK0;
	if (mode == MODE_real) {
		m_cpu->r.idtr_base = 0;
		m_cpu->r.idtr_limit = 0x3ff;
		set_seg(SEG_cs, 0x1000, 0x93);
		m_cpu->r.cs_base = 0x10000;
		m_cpu->r.rip = 0x100;
		m_cpu->r.rsp = 0x8000;
		cpu_mode_update(m_cpu);
		return m_cpu;
	}
	m_cpu->r.cr0 |= cr0_pe_MASK;
	if (lma)
		build_tables();
	build_tss(lma);
	if (mode == MODE_v86) {
		m_cpu->r.rflags |= rflags_vm_MASK;
		for (unsigned i = 0; i <= SEG_gs; i++) {
			set_seg(i, (uint16_t)(0x1000 + i), 0xf3);
			m_cpu->r.seg[i].base = (0x1000u + i) << 4;
		}
		m_cpu->r.rip = 0x100;
		m_cpu->r.rsp = 0x8000;
	} else {
		set_seg(SEG_cs, at_level(codes[mode].sel, cpl), codes[mode].attr | dpl);
		for (unsigned i = 0; i <= SEG_gs; i++)
			if (i != SEG_cs)
				set_seg(i, at_level(SEL_data32, cpl), A_data | dpl | A_db | A_g);
	}
	cpu_mode_update(m_cpu);
	return m_cpu;
}

/* Paging of 4 KiB pages, all user and writable, for the first 4 MiB; the page of lin is absent. */
static inline void
bad_page(uint64_t lin)
{
	put(TABLES, (TABLES + 0x1000) | 7, 4);
	for (uint64_t i = 0; i < 1024; i++)
		put(TABLES + 0x1000 + 4 * i, i << 12 | (i == lin >> 12 ? 6 : 7), 4);
	m_cpu->r.cr3 = TABLES;
	m_cpu->r.cr0 |= cr0_pg_MASK;
	cpu_mode_update(m_cpu);
	tlb_flush_all(m_cpu, true);
}

/* The call must fault with this vector and error code, and must not change any register. */
#define CHECK_FAULT(call, vec_, error_) do { \
	union regfile before_ = m_cpu->r; \
	CHECK_EQ(call, FAULT); CHECK_EQ(m_cpu->fault.vec, vec_); CHECK_EQ(m_cpu->fault.error, error_); \
	CHECK(memcmp(&before_, &m_cpu->r, sizeof(before_)) == 0); } while (0)

/* The n-th element of `size` bytes on the present stack (flat). */
static inline uint64_t
on_stack(unsigned n, unsigned size)
{
	bool wide = (m_cpu->r.ss_attr & A_db) || m_cpu->lma;
	uint64_t sp = wide ? m_cpu->r.rsp : m_cpu->r.rsp & 0xffff;

	return get(m_cpu->r.ss_base + sp + n * size, size);
}
