/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/guest.h - a guest at CPL 3 whose linear addresses are those of native.h, for the engines.
 *
 * It has page tables, a GDT with Linux's selectors, a TSS and an IDT, so that an exception is
 * delivered as in an operating system and told by the handler that RIP points to.
 */
#pragma once
#include "conformance/state.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "engine/engine.h"
#include "host/low.h"
#include <stdlib.h>

enum { KERNEL_LIN = 0x30000000, GDT_AT = 0, IDT_AT = 0x1000, TSS_AT = 0x2000, STACK_AT = 0x3000, HANDLERS_AT = 0x4000,
	KERNEL_PAGES = 5, GUEST_PAGES_AT = 0x200000, GUEST_RAM = 4 << 20 };
enum { CS_KERNEL = 0x10, CS_64 = 0x33, CS_32 = 0x23, DS_USER = 0x2b, CS_16 = 0x0f, DS_16 = 0x17, TSS_SEL = 0x40 };
enum { PTE_p = 1, PTE_w = 2, PTE_u = 4, PTE_ad = 0x60, HLT = 0xf4 };

static struct {
	struct cpu *c;
	const struct engine *engine;
	bool whole;			/* run the engine freely; a HLT behind the instruction stops it */
	struct mem *mem;
	struct cpu_model model;
	uint64_t next_page;		/* of physical memory */
	uint64_t kernel, code, data;	/* physical addresses */
	enum isa_mode mode;
} gst;

static uint64_t
guest_page(void)
{
	gst.next_page += 4096;
	return gst.next_page - 4096;
}

static uint64_t *
guest_table(uint64_t gpa)
{
	return (uint64_t *)(void *)mem_put(gst.mem, gpa, 4096);
}

static void
guest_map(uint64_t lin, uint64_t gpa, uint64_t rights)
{
	uint64_t *t = guest_table(gst.c->r.cr3);
	unsigned shift;

	for (shift = 39; shift > 12; shift -= 9) {
		uint64_t *e = &t[lin >> shift & 511];

		if (!(*e & PTE_p))
			*e = guest_page() | PTE_p | PTE_w | PTE_u | PTE_ad;
		t = guest_table(*e & PAGE_MASK);
	}
	t[lin >> 12 & 511] = gpa | rights | PTE_p | PTE_ad;
}

static uint64_t
guest_map_pages(uint64_t lin, unsigned pages, uint64_t rights)
{
	uint64_t first = gst.next_page;
	unsigned i;

	gst.next_page += 4096ull * pages;
	for (i = 0; i < pages; i++)
		guest_map(lin + 4096ull * i, first + 4096ull * i, rights);
	return first;
}

static void
guest_tables(void)
{
	uint8_t *k = mem_put(gst.mem, gst.kernel, KERNEL_PAGES * 4096);
	uint64_t *gdt = (uint64_t *)(void *)(k + GDT_AT), *idt = (uint64_t *)(void *)(k + IDT_AT);
	const uint64_t tss = KERNEL_LIN + TSS_AT, rsp0 = KERNEL_LIN + STACK_AT + 4096;
	unsigned v;

	gdt[CS_KERNEL / 8] = 0x00af9b000000ffff;
	gdt[CS_32 / 8] = 0x00cffb000000ffff;
	gdt[DS_USER / 8] = 0x00cff3000000ffff;
	gdt[CS_64 / 8] = 0x00affb000000ffff;
	gdt[TSS_SEL / 8] = 0x0000890000000067 | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
	gdt[TSS_SEL / 8 + 1] = tss >> 32;
	for (v = 0; v < 32; v++) {
		uint64_t h = KERNEL_LIN + HANDLERS_AT + 16 * v;

		idt[2 * v] = (h & 0xffff) | (uint64_t)CS_KERNEL << 16 | (v == 3 || v == 4 ? 0xee00ull : 0x8e00ull) << 32
			| (h >> 16 & 0xffff) << 48;
		idt[2 * v + 1] = h >> 32;
	}
	memcpy(k + TSS_AT + 4, &rsp0, 8);
	memset(k + HANDLERS_AT, HLT, 4096);
}

static void
guest_segment(enum seg_id s, uint16_t sel, uint64_t base, uint64_t limit, uint64_t attr)
{
	gst.c->r.seg[s] = (struct segreg){ .sel = sel, .base = base, .limit = limit, .attr = attr };
}

/* Back to user mode. */
static void
guest_user(enum isa_mode mode)
{
	unsigned s;

	gst.mode = mode;
	if (mode == ISA_16)
		guest_segment(SEG_cs, CS_16, PLACE_CODE, 0xffff, 0x00fb);
	else
		guest_segment(SEG_cs, mode == ISA_32 ? CS_32 : CS_64, 0, 0xffffffff, mode == ISA_32 ? 0xc0fb : 0xa0fb);
	for (s = 0; s < SEG_fs; s++)
		if (s == SEG_cs)
			continue;
		else if (mode == ISA_16)
			guest_segment((enum seg_id)s, DS_16, BASE_16, 0xffff, 0x00f3);
		else
			guest_segment((enum seg_id)s, DS_USER, 0, 0xffffffff, 0xc0f3);
	cpu_mode_update(gst.c);
}

static uint64_t guest_tsc(struct cpu *c) { (void)c; return 0; }
static enum io_result guest_io(struct cpu *c, struct io *io) { (void)c, (void)io; return IO_none; }
static const struct cpu_ops guest_ops = { .tsc = guest_tsc, .io = guest_io };

/* engine: "interp" in single steps, "interp-run" and "bt" as they run an operating system. */
static bool
guest_open(const char *engine)
{
	char err[160], lost[512];
	struct cpu *c = low_map(sizeof(*c));

	gst.mem = mem_open(GUEST_RAM);
	if (c == NULL || gst.mem == NULL)
		return false;
	gst.c = c;
	gst.whole = strcmp(engine, "interp") != 0;
	gst.engine = strcmp(engine, "bt") == 0 ? &bt_engine : &interp_engine;
	c->ops = &guest_ops;
	if (cpu_model_make(&gst.model, NULL, true, err, sizeof(err), lost, sizeof(lost)) != 0
	    || cpu_open(c, gst.mem, &gst.model, 0) != 0 || gst.engine->open(c) != 0)
		return false;
	gst.next_page = GUEST_PAGES_AT;
	c->r.cr3 = guest_page();
	gst.kernel = guest_map_pages(KERNEL_LIN, KERNEL_PAGES, PTE_w);
	gst.code = guest_map_pages(PLACE_CODE, CODE_PAGES, PTE_w | PTE_u);
	gst.data = guest_map_pages(PLACE_DATA, DATA_PAGES, PTE_w | PTE_u);
	guest_map_pages(PLACE_RO, 1, PTE_u);
	guest_tables();
	c->r.gdtr_base = KERNEL_LIN + GDT_AT;
	c->r.gdtr_limit = 0xfff;
	c->r.idtr_base = KERNEL_LIN + IDT_AT;
	c->r.idtr_limit = 0xfff;
	c->r.seg[SEG_tr] = (struct segreg){ .sel = TSS_SEL, .base = KERNEL_LIN + TSS_AT, .limit = 0x67, .attr = 0x8b };
	c->r.cr0 = 0x80050033;
	c->r.cr4 = cr4_pae_MASK | cr4_pge_MASK | cr4_osfxsr_MASK | cr4_osxmmexcpt_MASK | cr4_osxsave_MASK
		| cr4_fsgsbase_MASK | cr4_umip_MASK;
	c->r.ia32_efer = ia32_efer_sce_MASK | ia32_efer_lme_MASK | ia32_efer_lma_MASK | ia32_efer_nxe_MASK;
	c->r.xcr0 = 7;
	memset(mem_put(gst.mem, gst.code, CODE_PAGES * 4096), HLT, CODE_PAGES * 4096);
	tlb_flush_all(c, true);
	guest_user(ISA_64);
	return true;
}

static uint8_t *
guest_data(void)
{
	return mem_put(gst.mem, gst.data, DATA_SIZE);
}

/* An exception was delivered: which, and the state at it, from the stack frame. */
static void
guest_exception(struct state *o)
{
	struct cpu *c = gst.c;
	uint64_t frame[6], at = c->r.rsp - (KERNEL_LIN + STACK_AT);
	unsigned i = 0;

	o->vec = (int)((c->r.rip - KERNEL_LIN - HANDLERS_AT) / 16);
	if (at > 4096 - sizeof(frame) + 8 || c->r.rip < KERNEL_LIN + HANDLERS_AT || c->r.rip >= KERNEL_LIN + HANDLERS_AT + 512) {
		o->vec = 99;		/* nowhere known */
		guest_user(gst.mode);
		return;
	}
	memcpy(frame, mem_get(gst.mem, gst.kernel + STACK_AT + at, 40), 40);
	if (o->vec == VEC_df || (o->vec >= VEC_ts && o->vec <= VEC_pf) || o->vec == VEC_ac) {
		memcpy(frame, mem_get(gst.mem, gst.kernel + STACK_AT + at, 48), 48);
		o->error = (uint32_t)frame[i++];
	}
	o->rip = frame[i];
	o->rflags = frame[i + 2] & ~(uint64_t)rflags_rf_MASK;
	o->gpr[4] = frame[i + 3];
	if (o->vec == VEC_pf)
		o->cr2 = c->r.cr2;
	guest_user(gst.mode);
}

/* What the HLT behind the instruction, or at the target of a branch, or a target that can't be fetched
 * from, has made of an instruction that was done. */
static void
guest_done(const struct test_case *t, struct state *o)
{
	bool halted = o->vec == VEC_gp && o->error == 0, fetch = o->vec == VEC_pf && o->cr2 == code_lin(t, o->rip);

	if (o->rip - t->s.rip < t->len || !(halted || fetch))
		return;
	o->vec = DONE;
	o->error = 0;
	o->cr2 = 0;
}

static void
guest_run_whole(const struct test_case *t)
{
	struct cpu *c = gst.c;
	uint8_t halts[256];
	struct vexit x;
	unsigned n;

	memset(halts, HLT, sizeof(halts));
	for (n = 0; n < 64; n++) {
		atomic_store(&c->attention, 0);
		if (gst.engine->run(c, &x) != 0 || x.kind == EXIT_hlt || x.kind == EXIT_down)
			break;
	}
	mem_write(gst.mem, gst.code + (code_lin(t, t->s.rip) - PLACE_CODE), halts, t->len);
}

static void
guest_run_step(const struct test_case *t)
{
	struct cpu *c = gst.c;
	unsigned steps = 0;
	struct vexit x;

	do {
		if (interp_step(c, &x) != 0 || x.kind == EXIT_down)
			break;
	} while (c->r.rip == t->s.rip && c->cpl == 3 && steps++ < 100000 && repeats(t));
}

/* Runs the case's instruction; *o is the state behind it or at its exception. */
static void
guest_run(const struct test_case *t, struct state *o)
{
	struct cpu *c = gst.c;
	uint64_t at = gst.code + (code_lin(t, t->s.rip) - PLACE_CODE);
	const uint8_t halt = HLT;

	if (t->mode != gst.mode)
		guest_user(t->mode);
	mem_write(gst.mem, at, t->bytes, gst.whole ? t->len : 15);
	if (gst.whole)
		mem_write(gst.mem, at + t->len, &halt, 1);
	memcpy(c->r.gpr, t->s.gpr, sizeof(c->r.gpr));
	c->r.rip = t->s.rip;
	c->r.rflags = t->s.rflags;
	c->fpu = t->s.fpu;
	c->r.cr2 = 0;
	/* A 16-bit branch may go where nothing is mapped: its target must not be fetched. */
	if (gst.whole && !(t->mode == ISA_16 && (insn_info[t->in.id].flags & IF_branch)))
		guest_run_whole(t);
	else
		guest_run_step(t);
	memcpy(o->gpr, c->r.gpr, sizeof(o->gpr));
	o->rip = c->r.rip;
	o->rflags = c->r.rflags & ~(uint64_t)rflags_rf_MASK;
	o->fpu = c->fpu;
	o->vec = DONE;
	o->error = 0;
	o->cr2 = 0;
	if (c->cpl != 3)
		guest_exception(o);
	if (gst.whole)
		guest_done(t, o);
}
