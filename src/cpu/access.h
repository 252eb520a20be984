/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/access.h - how instructions reach memory: linear addresses through paging and the TLB.
 *
 * All return OK or FAULT (with cpu->fault set: #PF, or nothing else; segment checks are done by
 * seg_lin in cpu/segments.h before). Accesses may cross pages and may reach devices. A write is
 * all or nothing: both pages of a crossing one are checked first.
 */
#pragma once
#include "cpu/cpu.h"

/* What an access is; ACC_user and ACC_implicit are worked out from CPL unless given. */
enum access {
	ACC_read = 0,
	ACC_write = 1 << 0,
	ACC_exec = 1 << 1,
	ACC_system = 1 << 2	/* implicit supervisor access (GDT, LDT, IDT, TSS): CPL and AC ignored */
};

/* Page walk with all checks and A/D updates; *gpa gets the physical address. No TLB. */
int MUST_CHECK paging_walk(struct cpu *c, uint64_t lin, unsigned acc, gpa_t *gpa);

/* As a debugger: no faults, no A/D updates, no permission checks. False: not mapped. */
bool paging_peek(struct cpu *c, uint64_t lin, gpa_t *gpa);

/* Host address of [lin, lin + size) for a RAM access that does not cross a page, else NULL with
 * *res OK (device, page crossing, or a write to a page with code: use lin_read, lin_write or
 * lin_rmw) or FAULT. Good until the next safe point or flush. Fast path in line below. */
uint8_t *lin_hva_slow(struct cpu *c, uint64_t lin, unsigned size, unsigned acc, int *res);

/* Where the instruction bytes of the page of lin are, after the checks of a fetch; host is NULL for
 * what is not RAM (then use lin_read_slow with ACC_exec). Good until c->remaps of the
 * view (CPL 3 or not) changes. */
int MUST_CHECK lin_code_slow(struct cpu *c, uint64_t lin, const struct code_entry **e);

/* Whether the entry that lin_code has just given for lin outlives CR3 writes. */
bool lin_code_global(const struct cpu *c, uint64_t lin);

static inline unsigned code_index(uint64_t lin) { return lin >> PAGE_SHIFT & (CODE_ENTRIES - 1); }
static inline int MUST_CHECK
lin_code(struct cpu *c, uint64_t lin, const struct code_entry **e)
{
	*e = &c->code[c->cpl == 3 ? CODE_user : CODE_super][code_index(lin)];
	return (*e)->tag == (lin & PAGE_MASK) ? OK : lin_code_slow(c, lin, e);
}

/* size bytes (1..64) from or to guest memory at linear address lin. */
int MUST_CHECK lin_read_slow(struct cpu *c, uint64_t lin, void *to, unsigned size, unsigned acc);
int MUST_CHECK lin_write_slow(struct cpu *c, uint64_t lin, const void *from, unsigned size, unsigned acc);

/* For instructions that must not write in part (PUSHA, FXSAVE, ENTER): raises the fault the access would. */
int MUST_CHECK lin_probe(struct cpu *c, uint64_t lin, unsigned size, unsigned acc);

/* Read-modify-write of 1, 2, 4 or 8 bytes, atomic with regard to other vCPUs when `lock`.
 * fn gets the old value and ctx, returns the new value; it may be called again when the
 * exchange lost a race (fn must be pure but for ctx). Access rights are those of a write. */
typedef uint64_t lin_rmw_fn(void *ctx, uint64_t old);
int MUST_CHECK lin_rmw_slow(struct cpu *c, uint64_t lin, unsigned size, bool lock, lin_rmw_fn *fn, void *ctx);
/* The same as an implicit supervisor access (descriptors), always locked. */
int MUST_CHECK lin_rmw_system(struct cpu *c, uint64_t lin, unsigned size, lin_rmw_fn *fn, void *ctx);

/* Flushes; allowed to drop more than asked. A page given to INVLPG; one PCID; everything but globals; everything. */
void tlb_flush_page(struct cpu *c, uint64_t lin);
void tlb_flush_all(struct cpu *c, bool globals);
void tlb_trim(struct cpu *c);	/* and gives the memory back, of a vCPU that idles */
/* What was put aside for a PCID that is not the present one, or for any. pcid.c */
void pcid_forget(struct cpu *c, uint64_t pcid);
void pcid_forget_all(struct cpu *c);
void tlb_flush_view(struct cpu *c, enum tlb_view view);

/* Take away all write entries for the RAM page of gpa on every vCPU of this memory, so that later
 * writes are seen by mem_watcher. Returns when no vCPU can still write unseen. Called by an engine
 * before it reads code bytes from a page that is not yet MEM_code; sets MEM_code. */
void cpu_code_protect(struct cpu *c, gpa_t gpa);

/* A vCPU in guest code calls this at a safe point when ATT_tlb is set. */
void cpu_shootdown_serve(struct cpu *c);

/* Between these two a vCPU may use lin_* and its TLB (engine->run and step, event delivery), and
 * must come to a safe point soon after ATT_tlb is set; outside of them others need not wait for it. */
void cpu_guest_enter(struct cpu *c);
void cpu_guest_leave(struct cpu *c);

static inline uint8_t *
lin_hva(struct cpu *c, uint64_t lin, unsigned size, unsigned acc, int *res)
{
	struct tlb *t = &c->tlb[c->tlb_view];
	struct tlb_entry *e = &((acc & ACC_write) ? t->write : t->read)[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];

	if (!(acc & (ACC_exec | ACC_system)) && e->tag == ((lin + size - 1) & PAGE_MASK)) {
		*res = OK;
		return (uint8_t *)(uintptr_t)(lin + e->delta);
	}
	return lin_hva_slow(c, lin, size, acc, res);
}

#define LIN_READ(bits) \
	static inline int MUST_CHECK lin_read##bits(struct cpu *c, uint64_t lin, uint##bits##_t *to) \
	{ const struct tlb_entry *e = &c->tlb[c->tlb_view].read[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)]; \
	  if (e->tag != ((lin + (bits) / 8 - 1) & PAGE_MASK)) return lin_read_slow(c, lin, to, (bits) / 8, ACC_read); \
	  __builtin_memcpy(to, (const void *)(uintptr_t)(lin + e->delta), (bits) / 8); return OK; }
#define LIN_WRITE(bits) \
	static inline int MUST_CHECK lin_write##bits(struct cpu *c, uint64_t lin, uint##bits##_t val) \
	{ const struct tlb_entry *e = &c->tlb[c->tlb_view].write[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)]; \
	  if (e->tag != ((lin + (bits) / 8 - 1) & PAGE_MASK)) return lin_write_slow(c, lin, &val, (bits) / 8, ACC_write); \
	  __builtin_memcpy((void *)(uintptr_t)(lin + e->delta), &val, (bits) / 8); return OK; }
LIN_READ(8) LIN_READ(16) LIN_READ(32) LIN_READ(64)
LIN_WRITE(8) LIN_WRITE(16) LIN_WRITE(32) LIN_WRITE(64)
