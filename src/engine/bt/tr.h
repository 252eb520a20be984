/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/tr.h - one translation in progress. */
#pragma once
#include "engine/bt/bt.h"

enum { TR_INSNS = 64, TR_GROUPS = BT_DELTAS, NO_GROUP = -1, STACK_REACH = 1024 };

/* How an instruction is translated; the rest of `enum` order does not matter. */
enum tr_kind {
	TK_interp,	/* leave, interpret it, go on behind it */
	TK_plain,	/* re-encode, with its memory operand checked */
	TK_verbatim,	/* copy: it has no operand that is elsewhere than in the guest */
	TK_nothing, TK_lea, TK_push, TK_pop, TK_leave, TK_jcc, TK_loop, TK_jmp, TK_call, TK_jmp_reg, TK_call_reg,
	TK_ret, TK_swapgs, TK_cli, TK_sti, TK_rdtsc, TK_pushf, TK_segsel, TK_base, TK_acflag, TK_cr2, TK_cpuid, TK_syscall, TK_sysret, TK_bits, TK_string, TK_string_one, TK_code32 /* as code32.c does */,
	TK__COUNT
};
static_assert(TK__COUNT <= 64, "a set of them is one number");

enum tr_flags { FL_native, FL_saved };

/* What follows from form and mode. */
enum tr_trait {
	TRAIT_ends = 1,			/* control never goes on behind it within the block */
	TRAIT_direct = 2,		/* it goes to a known address */
	TRAIT_open = 4,			/* whoever comes next may read all flags */
	TRAIT_copy = 8,			/* its bytes are all there is to it */
	TRAIT_shares = 16,		/* its access may have a check in common with others */
	TRAIT_quiet = 32,		/* nothing that it does can come between a check and what it is for */
	TRAIT_stack = 64,		/* its code refills the stack entry, or uses what that was filled with */
	TRAIT_branch = 128,
	TRAIT_fpu = 256,		/* the FPU's state must be loaded */
	TRAIT_holds = 512,		/* it leaves S1 alone */
	TRAIT_fixed = 1024		/* its kind follows from form and mode alone */
};
/* Where an instruction stands in its block. */
enum tr_mark {
	MARK_label = 1,			/* a jump of this block goes here */
	MARK_checks = 2,		/* a group's check stands before it */
	MARK_poll = 4,			/* look at cpu->attention before it */
	MARK_poll_late = 8,		/* a backward branch that found no place for that */
	MARK_cross = 16			/* it ends in the next page */
};

struct tr_insn {
	union {
		struct { TR_KNOWN; };
		struct tr_known known;
	};
	uint16_t off;			/* in the page */
	uint16_t live, live_out;	/* arithmetic flags needed before it, behind it */
	int16_t target;			/* direct branch: index in this block, or -1 */
	uint8_t marks;			/* enum tr_mark */
	int8_t group;			/* whose check is good for its access, or NO_GROUP */
	uint32_t cross;			/* MARK_cross: the next page's instance's id */
	const uint8_t *raw;		/* its bytes */
	uint8_t *host;			/* where its code begins (writable mapping) */
};
static_assert(sizeof(struct tr_insn) == 128, "their index is a shift");

/* Code to be written behind the block's body. */
enum cold_kind { COLD_tlb, COLD_tlb_const, COLD_stack, COLD_near, COLD_range, COLD_exit, COLD_land, COLD_jcc_land, COLD_jcc_poll, COLD_fpu,
	COLD_light, COLD_cross, COLD_call };
enum cold_split { SPLIT_no, SPLIT_read, SPLIT_store, SPLIT_narrow, SPLIT_based /* the entry was that of the base register */ };
struct cold {
	uint8_t kind, fl;		/* enum cold_kind, enum tr_flags there */
	uint8_t splits, end_fl;		/* enum cold_split; flags at `end` */
	uint8_t *resume, *end;		/* with another address in its place; behind the instruction */
	uint8_t exit_kind;
	uint16_t insn;
	uint8_t *from, *back;		/* rel32 to patch; where to go back */
	uint32_t info;
	uint64_t addr;
	size_t tag;
	struct bt_site *site;
};

/* Accesses with one check; see share.c. */
struct tr_group {
	uint16_t at, last;		/* instruction before which the check is made; last access */
	uint16_t members;		/* accesses; 0: there is no such group */
	int8_t base;			/* guest register */
	bool write, table;		/* table: checked by the TLB's own entry, of which the delta is kept */
	int32_t lo, hi;			/* what they touch, from the register's value at `at` */
	size_t entry;			/* TLB entry, offset in struct cpu */
	struct bt_site *site;		/* NULL: the stack's */
};

struct tr {
	struct emit e;
	struct bt_state *bt;
	struct cpu *c;
	struct bt_page *pg;
	struct bt_block *b;
	uint32_t mode;
	const uint8_t *bytes;		/* guest page */
	uint8_t straddle[32];		/* the bytes of an instruction that ends in the next page */
	unsigned n, ndirect;
	unsigned traits;		/* of all of them, */
	uint64_t kinds;			/* and 1 << kind */
	uint16_t direct[TR_INSNS];	/* instructions that are direct jumps and calls */
	uint8_t *body_end;		/* where the cold part begins */
	bool falls;			/* the last instruction runs on to the next address */
	enum tr_flags fl;
	unsigned fpu_checked;		/* LIVE_*: loaded, for sure */
	struct cold *site;		/* of the last memory check */
	int free_reg;			/* scratch left over by the last memory check */
	bool narrow;			/* no groups, no near entries */
	size_t held;			/* S1 holds the delta of this entry; 0: of none */
	unsigned ncold, nfix, ngroups;
	struct tr_group group[TR_GROUPS];
	struct tr_insn i[TR_INSNS];
	struct cold cold[TR_INSNS * 6];
	struct { uint8_t *at; int16_t insn; } fix[TR_INSNS * 2];
};

/* what is known of an instruction: forms.c */
const struct tr_known *tr_form_look(const struct tr *t, const uint8_t *raw);
unsigned tr_form_read(const struct tr *t, struct tr_insn *i);
void tr_form_keep(const struct tr *t, const struct tr_insn *i);
/* liveness and classification: plan.c */
void tr_plan(struct tr *t, unsigned start);
unsigned tr_kind_of_branch(const struct insn *in);
/* memory operands: memop.c */
struct rm tr_mem(struct tr *t, struct tr_insn *i, unsigned size, bool write, bool single);
void tr_string(struct tr *t, struct tr_insn *i);
struct rm tr_stack(struct tr *t, struct tr_insn *i, int base, int32_t disp, unsigned size);
void tr_flags_clobber(struct tr *t, struct tr_insn *i);
void tr_flags_save(struct tr *t, int tmp);
void tr_flags_restore(struct tr *t, int tmp);
void tr_flags_for(struct tr *t, struct tr_insn *i, int tmp);
struct cold *tr_cold(struct tr *t, unsigned kind, uint8_t *from);
/* checks in common: share.c; near entries: near.c */
void tr_share(struct tr *t);
bool tr_may_share(const struct tr *t, const struct tr_insn *i);
void tr_group_checks(struct tr *t, unsigned k);	/* when the instruction has .checks */
struct rm tr_group_member(struct tr *t, const struct tr_insn *i, int32_t disp);
struct bt_site *tr_range_site(struct tr *t, const struct tr_insn *i, unsigned size, bool write, uint32_t info);
bool tr_is_tired(const struct tr *t, unsigned k, bool group);
/* accesses across pages: split.c */
bool tr_crosses(const struct tr *t, const struct tr_insn *i);
void tr_split_store(struct tr *t, const struct tr_insn *i);
void tr_split_emit(struct tr *t, const struct cold *c);
/* re-encoding: plain.c */
bool tr_plain_fits(const struct tr *t, struct tr_insn *i);	/* sets i->f */
void tr_plain(struct tr *t, struct tr_insn *i);
bool tr_turns(const struct tr_insn *i, int guest);	/* its second byte is an operand beside memory: no base meanwhile */
void tr_lea(struct tr *t, struct tr_insn *i);
void tr_address(struct tr *t, const struct insn *in, uint64_t next, int to);
/* stack and flow: flow.c */
void tr_push(struct tr *t, struct tr_insn *i);
void tr_pop(struct tr *t, struct tr_insn *i);
void tr_leave(struct tr *t, struct tr_insn *i);
void tr_branch(struct tr *t, struct tr_insn *i);
void tr_exit(struct tr *t, struct tr_insn *i, uint64_t target);
void tr_exit_by(struct tr *t, struct tr_insn *i, uint64_t target, uint8_t *(*by)(struct emit *, const uint8_t *));
void tr_exit_later(struct tr *t, uint8_t *from, unsigned kind, uint64_t target);
void tr_interp(struct tr *t, struct tr_insn *i);
void tr_poll(struct tr *t, struct tr_insn *i);
void tr_hold(struct bt_state *bt, struct bt_page *pg);		/* translate.c */
void tr_cold_emit(struct tr *t);
void tr_side_row(struct tr *t, uint16_t insn, bool saved);
int32_t tr_indirect_find(struct tr *t);
/* returns.c */
void tr_call(struct tr *t, struct tr_insn *i);
void tr_call_indirect(struct tr *t, struct tr_insn *i);
void tr_return(struct tr *t);
void tr_indirect(struct tr *t);					/* S0 has the target, flags are saved or dead */
/* 32-bit code: code32.c */
void tr32_normalise(struct insn *in);
bool tr32_kind(const struct tr *t, const struct tr_insn *i, unsigned *kind);
void tr32_address(struct tr *t, struct tr_insn *i, unsigned size);	/* through FS or GS, to S0 */
bool tr32_branch(struct tr *t, struct tr_insn *i);
void tr32(struct tr *t, struct tr_insn *i);
bool tr_string_one_fits(const struct tr *t, const struct insn *in);	/* strings.c */
void tr_string_one(struct tr *t, struct tr_insn *i);
void tr_system(struct tr *t, struct tr_insn *i);		/* system.c */
void tr_bits(struct tr *t, struct tr_insn *i);			/* bits.c */
void tr_show(const struct tr *t);				/* show.c: somebody has asked for it */
uint32_t tr_exit_light(struct tr *t, struct tr_insn *i);

static inline size_t tr_range_last(size_t entry, unsigned size)
	{ return entry + offsetof(struct tlb_range, last) + (unsigned)__builtin_ctz(size) * sizeof(uint64_t); }
static inline bool tr_in_group(const struct tr *t, const struct tr_insn *i)
	{ return i->group != NO_GROUP && t->group[i->group].members != 0; }
static inline enum isa_mode tr_isa(const struct tr *t) { return t->mode & BM_code32 ? ISA_32 : ISA_64; }
static inline uint64_t tr_rip(const struct tr *t, const struct tr_insn *i) { return t->pg->vpage + i->off; }
static inline uint64_t tr_next(const struct tr *t, const struct tr_insn *i)
	{ return t->pg->vpage + i->off + i->in.len; }
static inline bool tr_is32(const struct tr *t) { return (t->mode & BM_code32) != 0; }
static inline unsigned tr_word(const struct tr *t) { return tr_is32(t) ? 4 : 8; }
static inline uint64_t tr_wrap(const struct tr *t, uint64_t at) { return tr_is32(t) ? (uint32_t)at : at; }
/* Where a direct branch leads. */
static inline uint64_t tr_target(const struct tr *t, const struct tr_insn *i)
	{ return tr_wrap(t, tr_next(t, i) + i->in.imm); }
static inline bool tr_homed(int guest) { return guest >= HOMED_FIRST && guest <= HOMED_LAST; }
static inline int tr_host(int guest) { return guest == RSP ? GSP : guest; }
static inline struct rm tr_home(int guest) { return rm_cpu(NOREG, (size_t)guest * 8); }
