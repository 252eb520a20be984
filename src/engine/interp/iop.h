/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/iop.h - decoded guest code: iops, the blocks they stand in, and how handlers are written.
 *
 *	guest bytes --insn_decode--> struct insn --lower--> iop, iop, ... in a block --run--> next block
 *
 * An iop is a handler and its operands, as byte offsets into struct cpu. Handlers end by calling the
 * next one (a jump, when optimised); the last of a block returns to run.c with an enum run_code.
 * While a block runs, r.rip is the address of its first instruction, and the arithmetic flags are
 * in hot.fl instead of r.rflags (flags_out, flags_in). Whoever leaves the block puts both right.
 */
#pragma once
#include "cpu/access.h"
#include "cpu/cpu.h"
#include "engine/interp/interp.h"
#include <pthread.h>

struct iop;
typedef int iop_fn(struct cpu *c, const struct iop *op);

struct iop {
	iop_fn *fn;
	union {
		uint64_t imm;
		const struct insn *in;	/* handlers that go by the whole instruction */
	};
	int32_t disp;
	uint16_t base, index, segbase;	/* memory operand: offsets of 64-bit values in struct cpu */
	uint8_t dst, src;		/* offsets of GPRs in struct cpu; AH is 1 */
	uint8_t scale;
	uint8_t idx;			/* number of the instruction in its block */
	uint16_t off;			/* of the instruction from the block's start */
};
static_assert(sizeof(struct iop) == 32, "two iops a cache line");

/* What the last handler of a block returns. r.rip, retired and the fault are final. */
enum run_code {
	RUN_next = OK,		/* go on at r.rip */
	RUN_fault = FAULT,	/* c->fault is to be delivered */
	RUN_sync,		/* go on, but mode, flags or TLB may have changed */
	RUN_again,		/* exec_fn: a REP was interrupted: same instruction again */
	RUN_hlt, RUN_stop, RUN_attend
};

/* ---- blocks (block.c) ---- */

enum { BLOCK_INSNS = 64, BLOCK_IOPS = 2 * BLOCK_INSNS + 2, INSN_MAX = 15 };

/* The bits of a block's key beside its address: cpu->mode, and these. */
enum { KEY_one = 1 << 3 /* a single instruction */, KEY_ac = 1 << 4 /* alignment is checked */,
	KEY_user = 1 << 5 /* of jump keys: CPL 3 */, KEY_BITS = 6 };

struct block {
	uint64_t gpa, gpa2;		/* of the first byte; of the second page, or 0 */
	uint16_t key, bytes, niops;
	bool dead;
	const struct insn *in;		/* KEY_one: the instruction; else NULL */
	struct block *hash_next, *page_next, *page2_next;
	struct iop op[];
};

/* Found by virtual address while the epoch, mode and privilege stand. */
struct jump { uint64_t rip, key; struct block *block; };
enum { JUMP_BITS = 12, HASH_BITS = 14, PAGE_BITS = 12, WRITTEN_MAX = 64 };

struct written { gpa_t gpa; uint64_t len; };

struct interp {
	struct cpu *cpu;
	uint64_t jump_key;		/* of entries that hold now */
	uint64_t drops;			/* part of jump_key: counts dropped blocks */
	bool careful;			/* one instruction at a time: TF, RF, shadow, breakpoints */
	bool stepwise;			/* ... and one iteration of a REP: TF, breakpoints */

	uint8_t *arena;			/* owned: blocks and their insns */
	size_t arena_used, arena_size;
	struct block *scratch;		/* owned: the block being built, or one that is not kept */
	uint64_t cs_base, cs_limit;	/* as of jump_key */
	struct block *hash[1 << HASH_BITS], *page[1 << PAGE_BITS];
	struct jump jump[1 << JUMP_BITS];

	struct mem_watcher watcher;
	pthread_mutex_t lock;		/* written, nwritten */
	struct written written[WRITTEN_MAX];
	unsigned nwritten;		/* WRITTEN_MAX + 1: too many to list */
	_Atomic bool any_written;
	uint64_t held_dr6;		/* data breakpoints met by MOV SS, told after the next instruction */
	_Atomic uint8_t has_code[1 << PAGE_BITS];	/* by page, as page[]: blocks are or are being made */
	struct interp *next;		/* all of the process; under `building` */
	uint64_t built, lookups, dropped, flushed, faults, careful_steps;
};

int interp_blocks_open(struct cpu *c);
void interp_blocks_close(struct cpu *c);

/* The block at r.rip: FAULT (fetch fault), or OK. key: KEY_one or 0. */
int MUST_CHECK block_find(struct cpu *c, unsigned key, struct block **b);
void blocks_flush(struct interp *it);
void blocks_drop_written(struct cpu *c);	/* what mem_watcher noted */

static inline uint64_t
jump_hash(uint64_t rip)
{
	return (rip ^ rip >> JUMP_BITS) & ((1 << JUMP_BITS) - 1);
}

/* ---- lowering: one instruction becomes one or more iops (lower.c and each family's file) ---- */

struct lower {
	struct block *block;
	unsigned n;			/* iops so far */
	struct iop *op;			/* the iop being made; operands and position are filled in */
	struct insn *in;
	const struct cpu *c;
	uint16_t off;			/* of the instruction */
	uint8_t idx;
};

/* Instructions by a function of the whole instruction, for what is rare or long. On entry r.rip is
 * the instruction's address and r.rflags complete. EXEC_next: the caller sets r.rip behind it. */
typedef int exec_fn(struct cpu *c, const struct insn *in);

/* One of these for each instruction id: lower_table[]. */
typedef bool lower_fn(struct lower *l);
struct lower_row {
	lower_fn *lower;		/* makes l->op; false, or NULL: by exec */
	exec_fn *exec;
	bool flow;			/* exec sets r.rip itself, and ends the block */
};
extern const struct lower_row lower_table[INSN__COUNT];	/* table.c */

void lower_insn(struct lower *l);	/* appends the iops of l->in */
bool lower_ends(const struct lower *l);	/* nothing follows l->in in its block */
void lower_finish(struct lower *l);	/* the end of a block that goes on behind itself */
void *lower_take(struct lower *l, size_t size);	/* memory that lives as long as the block */
const struct insn *lower_keep(struct lower *l);	/* a copy of l->in that lives as long as the block */

/* ---- guest registers by offset ---- */

#define REG8(off)  (*(uint8_t *)((char *)c + (off)))
#define REG16(off) (*(uint16_t *)((char *)c + (off)))
#define REG32(off) (*(uint32_t *)((char *)c + (off)))
#define REG64(off) (*(uint64_t *)((char *)c + (off)))
#define SET8(off, val)  (REG8(off) = (val))
#define SET16(off, val) (REG16(off) = (val))
#define SET32(off, val) (REG64(off) = (uint64_t)(uint32_t)(val))
#define SET64(off, val) (REG64(off) = (val))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- flags: hot.fl is AH << 8 | OF ---- */

enum { FL_of = 1 << 0, FL_cf = 1 << 8, FL_pf = 1 << 10, FL_af = 1 << 12, FL_zf = 1 << 14, FL_sf = 1 << 15 };

static inline void
flags_out(struct cpu *c)
{
	uint64_t fl = c->hot.fl;

	c->r.rflags = (c->r.rflags & ~(uint64_t)RFLAGS_arith) | (fl >> 8 & 0xd5) | (fl & FL_of) << rflags_of_SHIFT;
}

static inline void
flags_in(struct cpu *c)
{
	c->hot.fl = (uint32_t)((c->r.rflags & 0xd5) << 8 | rflags_of(&c->r));
}

/* Condition cc (Jcc's opcode's low 4 bits) of flags fl. */
static inline bool
flags_cc(uint32_t fl, unsigned cc)
{
	bool yes;

	switch (cc >> 1) {
	case 0: yes = fl & FL_of; break;
	case 1: yes = fl & FL_cf; break;
	case 2: yes = fl & FL_zf; break;
	case 3: yes = fl & (FL_cf | FL_zf); break;
	case 4: yes = fl & FL_sf; break;
	case 5: yes = fl & FL_pf; break;
	case 6: yes = (fl >> 15 ^ fl) & 1; break;
	default: yes = ((fl >> 15 ^ fl) & 1) || (fl & FL_zf); break;
	}
	return yes != (cc & 1);
}

/* Assembly around an instruction that sets all flags; %%al and %%ah are operand `fl`, "=&a". */
#define FL_SAVE "\n\tseto %%al\n\tlahf"
/* ... and before one that needs or keeps some of them ("+&a"). */
#define FL_LOAD "addb $0x7f, %%al\n\tsahf\n\t"

/* ---- leaving a handler ---- */

#define NEXT return op[1].fn(c, op + 1)

/* The instruction of op faulted. */
int iop_fault(struct cpu *c, const struct iop *op);
/* The next iop, after an access that went the slow way: the block may have been overwritten. */
int iop_next_slow(struct cpu *c, const struct iop *op);

/* ---- memory operands: offset from what lower.c prepared ---- */

static inline uint64_t
iop_lin(const struct cpu *c, const struct iop *op)
{
	const char *p = (const char *)c;
	uint64_t base, index, seg;

	__builtin_memcpy(&base, p + op->base, 8);
	__builtin_memcpy(&index, p + op->index, 8);
	__builtin_memcpy(&seg, p + op->segbase, 8);
	return base + (index << op->scale) + (uint64_t)(int64_t)op->disp + seg;
}

/* The slow ways: check for a canonical address, then the page walk. They save all registers, so that
 * handlers need no stack frame on their fast path. iop_load_slow's value is in hot.val. */
#define COLD __attribute__((cold, no_caller_saved_registers, target("general-regs-only")))
int MUST_CHECK COLD iop_load_slow(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size);
/* These finish the handler: fault, or the next iop. Of rmw, `b` is a value for fn. */
struct rmw { struct cpu *c; uint64_t b, old; uint32_t fl; uint8_t count; };
int iop_store_slow(struct cpu *c, const struct iop *op, uint64_t lin, uint64_t val, unsigned size);
int iop_rmw_slow(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size, bool lock,
	lin_rmw_fn *fn, struct rmw x);

/* The segment's say on an access whose TLB entry is not there: a canonical address. */
int MUST_CHECK iop_check(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size, unsigned acc);

/* Host address for a write in one page whose TLB entry is there, else NULL. */
static inline void *
iop_write_ptr(struct cpu *c, uint64_t lin, unsigned size)
{
	const struct tlb_entry *e = &c->tlb[c->tlb_view].write[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];

	return likely(e->tag == ((lin + size - 1) & PAGE_MASK)) ? (void *)(uintptr_t)(lin + e->delta) : NULL;
}

static inline const void *
iop_read_ptr(struct cpu *c, uint64_t lin, unsigned size)
{
	const struct tlb_entry *e = &c->tlb[c->tlb_view].read[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];

	return likely(e->tag == ((lin + size - 1) & PAGE_MASK)) ? (const void *)(uintptr_t)(lin + e->delta) : NULL;
}

/* Load `bits` bits of op's memory operand into var, or leave the handler with the fault. */
#define LOAD(bits, var) do { \
	uint64_t lin_ = iop_lin(c, op); const void *p_ = iop_read_ptr(c, lin_, (bits) / 8); \
	if (likely(p_ != NULL)) __builtin_memcpy(&(var), p_, (bits) / 8); \
	else { if (iop_load_slow(c, op, lin_, (bits) / 8)) return iop_fault(c, op); \
		(var) = (uint##bits##_t)c->hot.val; } } while (0)

/* Store var as the last act of the handler. */
#define STORE_NEXT(bits, var) do { \
	uint64_t lin_ = iop_lin(c, op); void *p_ = iop_write_ptr(c, lin_, (bits) / 8); \
	if (unlikely(p_ == NULL)) return iop_store_slow(c, op, lin_, (var), (bits) / 8); \
	__builtin_memcpy(p_, &(var), (bits) / 8); NEXT; } while (0)

/* ---- outside of 64-bit mode ---- */

/* The usual segment: present, data, writable, expand-up, with [off, off + size) within its limit. */
static inline bool
seg_is_plain(const struct segreg *s, uint64_t off, unsigned size)
{
	enum { LOOK = ATTR_unusable | ATTR_p | ATTR_s | ATTR_code | ATTR_down | ATTR_write,
		PLAIN = ATTR_p | ATTR_s | ATTR_write };

	return (s->attr & LOOK) == PLAIN && off + size - 1 <= s->limit;
}

/* ---- for exec functions: operands of an instruction ---- */

static inline unsigned
opnd_off(const struct opnd *o)
{
	return o->reg & OPND_HIGH8 ? 1 + 8u * (o->reg & 3) : 8u * o->reg;
}

uint64_t reg_get(const struct cpu *c, const struct opnd *o);
void reg_set(struct cpu *c, const struct opnd *o, uint64_t val);	/* 4 bytes zero-extend */
/* Register, immediate or memory operand n. */
int MUST_CHECK opnd_get(struct cpu *c, const struct insn *in, unsigned n, uint64_t *val);
int MUST_CHECK opnd_set(struct cpu *c, const struct insn *in, unsigned n, uint64_t val);

/* The address behind the instruction at r.rip. */
static inline uint64_t
insn_next(const struct cpu *c, const struct insn *in)
{
	uint64_t next = c->r.rip + in->len;

	return c->mode == MODE_long64 ? next : (uint32_t)next;
}
