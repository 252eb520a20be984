/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/rig.h - one processor, 4 MiB of memory and a port that stops it, for a few bytes of guest code.
 *
 *	struct rig *g = rig_open(engine, RIG_long);
 *	rig_code(g, "\x48\xff\xc0\xf4", 4);		inc rax; hlt
 *	CHECK_EQ(rig_run(g), EXIT_hlt);
 *	rig_close(g);
 *
 * Memory is mapped one to one with 2 MiB pages, user and writable; the GDT has flat segments of
 * every kind. Faults end in an IDT whose gates lead to HLTs: rig_vector says which was taken.
 */
#pragma once
#include "check.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/segments.h"
#include "engine/engine.h"
#include "host/low.h"
#include <stdlib.h>

enum rig_mode { RIG_long, RIG_prot32, RIG_real };
enum { RIG_GDT = 0x1000, RIG_IDT = 0x2000, RIG_TSS = 0x3000, RIG_VECTORS = 0x4000, RIG_TABLES = 0x10000,
	RIG_CODE = 0x20000, RIG_DATA = 0x30000, RIG_STACK = 0x40000, RIG_MEMORY = 4 << 20, RIG_STOP_PORT = 0xf4 };
enum { RIG_GATES = 32, RIG_HLT = 0xf4 /* what their handlers are */ };
enum { RIG_CS64 = 0x08, RIG_DS = 0x10, RIG_CS32 = 0x18, RIG_UDS = 0x2b, RIG_UCS64 = 0x33, RIG_TR = 0x38 };

struct rig {
	struct cpu cpu;			/* first */
	struct cpu_model model;
	struct mem *mem;
	const struct engine *engine;
	struct io last;			/* the last port or device access */
	unsigned ios;
	uint64_t answer;		/* what reads get */
};

static inline enum io_result
rig_io(struct cpu *c, struct io *io)
{
	struct rig *g = (struct rig *)c;

	if (!io->write)
		io->data = g->answer;
	g->last = *io;
	g->ios++;
	return io->port && io->addr == RIG_STOP_PORT ? IO_stop : IO_done;
}

static inline uint64_t
rig_tsc(struct cpu *c)
{
	return c->retired;
}

static inline void
rig_put(struct rig *g, uint64_t gpa, uint64_t val, unsigned size)
{
	if (!mem_write(g->mem, gpa, &val, size))
		abort();
}

static inline uint64_t
rig_get(struct rig *g, uint64_t gpa, unsigned size)
{
	uint64_t val = 0;

	if (!mem_read(g->mem, gpa, &val, size))
		abort();
	return val;
}

static inline void
rig_code(struct rig *g, const char *bytes, size_t n)
{
	mem_write(g->mem, RIG_CODE, bytes, n);
}

static inline void
rig_segment(struct rig *g, enum seg_id seg, uint16_t sel, uint64_t attr)
{
	g->cpu.r.seg[seg] = (struct segreg){ .sel = sel, .limit = attr & ATTR_g ? UINT32_MAX : 0xffff, .attr = attr };
}

/* Gate v leads to a HLT at RIG_VECTORS + v. */
static inline void
rig_tables(struct rig *g)
{
	static const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff, 0,
		0x00cff3000000ffff, 0x00affb000000ffff, 0x0000890000000067 | (uint64_t)RIG_TSS << 16, 0 };
	unsigned i;

	mem_write(g->mem, RIG_GDT, gdt, sizeof(gdt));
	for (i = 0; i < RIG_GATES; i++) {
		uint64_t at = RIG_VECTORS + i;

		rig_put(g, RIG_IDT + 16 * i, (at & 0xffff) | RIG_CS64 << 16 | 0x8e00ull << 32, 8);
		rig_put(g, RIG_VECTORS + i, RIG_HLT, 1);
	}
	rig_put(g, RIG_TSS + 4, RIG_STACK - 0x1000, 8);
	rig_put(g, RIG_TABLES, (RIG_TABLES + 0x1000) | 7, 8);
	rig_put(g, RIG_TABLES + 0x1000, (RIG_TABLES + 0x2000) | 7, 8);
	for (i = 0; i < RIG_MEMORY >> 21; i++)
		rig_put(g, RIG_TABLES + 0x2000 + 8 * i, (uint64_t)i << 21 | 0xe7, 8);
}

static inline void
rig_mode_set(struct rig *g, enum rig_mode mode)
{
	union regfile *r = &g->cpu.r;
	uint64_t code = mode == RIG_long ? 0xa09b : mode == RIG_prot32 ? 0xc09b : 0x9b, data = mode == RIG_real ? 0x93 : 0xc093;
	int seg;

	for (seg = 0; seg <= SEG_gs; seg++)
		rig_segment(g, (enum seg_id)seg, mode == RIG_real ? 0 : RIG_DS, data);
	rig_segment(g, SEG_cs, mode == RIG_long ? RIG_CS64 : mode == RIG_prot32 ? RIG_CS32 : 0, code);
	r->tr = RIG_TR;
	r->tr_base = RIG_TSS;
	r->tr_limit = 0x67;
	r->tr_attr = 0x8b;
	r->gdtr_base = RIG_GDT;
	r->gdtr_limit = 0x47;
	r->idtr_base = RIG_IDT;
	r->idtr_limit = 0x1ff;
	if (mode != RIG_real)
		r->cr0 |= cr0_pe_MASK | cr0_mp_MASK | cr0_ne_MASK;
	if (mode == RIG_long) {
		r->cr3 = RIG_TABLES;
		r->cr4 |= cr4_pae_MASK | cr4_osfxsr_MASK;
		r->ia32_efer |= ia32_efer_lme_MASK | ia32_efer_lma_MASK | ia32_efer_sce_MASK | ia32_efer_nxe_MASK;
		r->cr0 |= cr0_pg_MASK;
	}
	r->rip = RIG_CODE;
	r->rsp = RIG_STACK;
	r->rflags = RFLAGS_fixed;
	cpu_mode_update(&g->cpu);
}

static uint64_t rig_code_cache;		/* bytes for translations, of rigs opened from now on; 0: as the engine likes */

static const struct cpu_ops rig_ops = { .io = rig_io, .tsc = rig_tsc };

/* Where the translator has 32-bit addresses for it. */
static inline struct rig *
rig_room(void)
{
	struct rig *g = low_map(sizeof(*g));

	if (g == NULL)
		abort();
	return g;
}

/* Another processor in the memory of g. */
static inline struct rig *
rig_open_second(struct rig *first, const struct engine *engine, enum rig_mode mode)
{
	struct rig *g = rig_room();

	g->model = first->model;
	g->mem = first->mem;
	g->engine = engine;
	if (cpu_open(&g->cpu, g->mem, &g->model, 1) != 0)
		abort();
	g->cpu.r.activity = ACTIVITY_run;
	g->cpu.ops = &rig_ops;
	rig_mode_set(g, mode);
	if (engine->open(&g->cpu) != 0)
		abort();
	return g;
}

static inline void
rig_close_second(struct rig *g)
{
	g->engine->close(&g->cpu);
	cpu_close(&g->cpu);
	low_unmap(g, sizeof(*g));
}

static inline struct rig *
rig_open(const struct engine *engine, enum rig_mode mode)
{
	struct rig *g = rig_room();
	char lost[2048] = "";

	memset(g->model.features, 0xff, sizeof(g->model.features));
	g->model.cpus = 1;
	g->model.phys_bits = 40;
	g->model.lin_bits = 48;
	g->model.xcr0 = 7;
	if (engine->limit != NULL)
		engine->limit(&g->model, lost, sizeof(lost));
	g->mem = mem_open(RIG_MEMORY);
	g->engine = engine;
	if (g->mem == NULL || cpu_open(&g->cpu, g->mem, &g->model, 0) != 0)
		abort();
	g->cpu.ops = &rig_ops;
	g->cpu.code_cache = rig_code_cache;
	rig_tables(g);
	rig_mode_set(g, mode);
	if (engine->open(&g->cpu) != 0)
		abort();
	return g;
}

static inline void
rig_close(struct rig *g)
{
	g->engine->close(&g->cpu);
	cpu_close(&g->cpu);
	mem_close(g->mem);
	low_unmap(g, sizeof(*g));
}

/* One call of the engine, with the registers taken there and back as the vCPU loop does; its exit kind. */
static inline int
rig_enter(struct rig *g, int (*enter)(struct cpu *c, struct vexit *x))
{
	struct vexit x = { .kind = EXIT__COUNT };
	struct cpu *c = &g->cpu;

	cpu_guest_enter(c);
	if (g->engine->store(c, GROUP_ALL) != 0 || enter(c, &x) != 0 || g->engine->fetch(c, GROUP_ALL & ~x.carried) != 0) {
		x.kind = EXIT__COUNT;
		printf("# %s\n", engine_why());
	}
	cpu_guest_leave(c);
	c->dirty = 0;
	return x.kind;
}

static inline int
rig_run(struct rig *g)
{
	int kind = rig_enter(g, g->engine->run);

	g->cpu.r.activity = ACTIVITY_run;
	return kind;
}

static inline int
rig_step(struct rig *g)
{
	return rig_enter(g, g->engine->step);
}

/* The exception whose handler halted, or -1. */
static inline int
rig_vector(const struct rig *g)
{
	uint64_t at = g->cpu.r.rip - 1 - RIG_VECTORS;

	return at < RIG_GATES ? (int)at : -1;
}
