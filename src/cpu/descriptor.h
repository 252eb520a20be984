/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/descriptor.h - descriptors of GDT, LDT and IDT as read from memory (SDM vol. 3A, 3.4.5, 3.5).
 *
 * Private to the files that implement cpu/segments.h and cpu_deliver.
 */
#pragma once
#include "cpu/access.h"
#include "cpu/segments.h"

/* Types of system descriptors (S = 0); SDM vol. 3A, table 3-2. */
enum {
	SYS_tss16 = 1, SYS_ldt = 2, SYS_tss16_busy = 3, SYS_call16 = 4, SYS_task_gate = 5,
	SYS_int16 = 6, SYS_trap16 = 7, SYS_tss32 = 9, SYS_tss32_busy = 11, SYS_call32 = 12,
	SYS_int32 = 14, SYS_trap32 = 15
};
enum { SYS_BUSY = 2, SYS_IS32 = 8 };	/* bits of those types */

enum { SEL_rpl = 3, SEL_ti = 4 };
/* Bits of a selector error code (SDM vol. 3A, figure 6-7). */
enum { ERR_ext = 1, ERR_idt = 2 };

struct desc {
	uint64_t addr;		/* linear address of the descriptor */
	uint32_t lo, hi;	/* its first eight bytes */
	uint32_t upper;		/* bits 63:32 of base or offset: 16-byte descriptors, else 0 */
	uint64_t base;
	uint32_t limit;		/* bytes */
	uint32_t attr;		/* as segreg.attr */
};

/* What the descriptor of a gate says. */
struct gate {
	uint16_t sel;
	uint64_t off;
	unsigned params;	/* call gates: words to copy; long-mode interrupt gates: IST */
};

static inline bool sel_null(uint16_t sel) { return (sel & ~SEL_rpl) == 0; }
static inline unsigned desc_dpl(const struct desc *d) { return d->attr >> ATTR_dpl_shift & 3; }
static inline unsigned desc_type(const struct desc *d) { return d->attr & ATTR_type; }
static inline bool desc_is_code(const struct desc *d)
	{ return (d->attr & (ATTR_s | ATTR_code)) == (ATTR_s | ATTR_code); }
static inline bool desc_is_conforming(const struct desc *d)
	{ return desc_is_code(d) && (d->attr & ATTR_down) != 0; }
static inline bool desc_is_writable_data(const struct desc *d)
	{ return (d->attr & (ATTR_s | ATTR_code | ATTR_write)) == (ATTR_s | ATTR_write); }
static inline bool lin_canonical(uint64_t lin) { return (lin + (1ull << 47)) >> 48 == 0; }

/* A fault with a selector error code; its RPL bits give way to ext (ERR_ext or 0). */
int seg_fault(struct cpu *c, uint8_t vec, uint16_t sel, unsigned ext);

/* Read the descriptor of a selector; outside its table: vec(sel). The null selector is the
 * caller's. */
int MUST_CHECK desc_read(struct cpu *c, uint16_t sel, uint8_t vec, unsigned ext, struct desc *d);
/* In long mode: the second half of a system descriptor. vec(sel) outside the table or malformed. */
int MUST_CHECK desc_read_upper(
	struct cpu *c, uint16_t sel, uint8_t vec, unsigned ext, struct desc *d);
/* The same without faults but #PF: *found false when outside of the table. */
int MUST_CHECK desc_find(struct cpu *c, uint16_t sel, struct desc *d, bool *found);
void desc_parse(struct desc *d, uint64_t raw);
void desc_gate(const struct desc *d, struct gate *g);

/* Set or clear bits of the type field in memory, by a locked access. */
int MUST_CHECK desc_change_type(struct cpu *c, const struct desc *d, unsigned set, unsigned clear);
/* Set the accessed bit, in memory and in d, unless it is. */
int MUST_CHECK desc_mark_accessed(struct cpu *c, struct desc *d);

/* Implicit supervisor reads and writes of system structures, any size. */
int MUST_CHECK sys_read(struct cpu *c, uint64_t lin, void *to, unsigned size);
int MUST_CHECK sys_write(struct cpu *c, uint64_t lin, const void *from, unsigned size);
/* Linear address of a table entry: wraps at 4 GiB outside long mode. */
static inline uint64_t
sys_lin(const struct cpu *c, uint64_t lin)
{
	return c->lma ? lin : (uint32_t)lin;
}

/* Fill a segment register. */
void seg_set_desc(struct segreg *s, uint16_t sel, const struct desc *d);
void seg_set_null(struct segreg *s, uint16_t sel, unsigned dpl);
void seg_set_real(struct segreg *s, uint16_t sel);	/* keeps limit and rights */
void seg_set_v86(struct segreg *s, uint16_t sel);
/* ES DS FS GS after a change to an outer level: what it may not use becomes null. */
void seg_null_inner(struct cpu *c, unsigned cpl);

/* Checks that end in `vec`(sel), for a stack segment to be used at level cpl. */
int MUST_CHECK seg_check_stack(
	struct cpu *c, uint16_t sel, unsigned cpl, uint8_t vec, unsigned ext, struct desc *d);

/* Limit check alone (expand-down included). */
bool seg_limit_allows(const struct segreg *s, uint64_t off, unsigned size);
