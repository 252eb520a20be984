/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/bt.h - what the translator's files share. The contracts stand in doc/translator.md. */
#pragma once
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "engine/bt/emit.h"
#include "engine/engine.h"
#include "host/code.h"
#include "host/low.h"
#include "isa/insn.h"
#include <pthread.h>

/* ---- register map ---- */
enum {
	S0 = R10, S1 = R11,	/* scratch */
	GSP = R9		/* guest rsp */
};
/* Guest r9, r10 and r11, which compiled code uses least, have no host register: they live in the register file. */
enum { HOMED_FIRST = R9, HOMED_LAST = R11, HOMED = 1 << R9 | 1 << R10 | 1 << R11 };

/* C called from translated code leaves vector registers alone; a sanitizer's library may not. */
#ifndef BT_LIGHT_C
#define BT_LIGHT_C 1
#endif

/* ---- modes: what a block's translation depends on beside its bytes and addresses ---- */
enum bt_mode {
	BM_code32 = 1 << 0,	/* flat 32-bit code (code32.c); else 64-bit */
	BM_user = 1 << 1,	/* CPL 3 */
	BM_view = 3 << 2,	/* enum tlb_view */
	BM_x87 = 1 << 4,	/* x87 and MMX may run: CR0.EM, TS clear */
	BM_sse = 1 << 5,	/* and SSE: CR4.OSFXSR */
	BM_avx = 1 << 6,	/* and AVX: CR4.OSXSAVE, XCR0 */
	BM_fsgsbase = 1 << 7,	/* CR4.FSGSBASE */
	BM_counted = 1 << 8,	/* instructions are counted, flags exact at every fault (lockstep) */
	BM_plain_if = 1 << 9,	/* CPL 0, IOPL 0, NT 0: IF is all there is in the second byte of RFLAGS */
	BM_tsc = 1 << 10,	/* RDTSC is allowed, and the host's TSC plus bt->tsc_delta */
	BM_smap = 1 << 12,	/* CPL 0, CR4.SMAP: AC chooses the TLB view */
	BM_plain_ac = 1 << 13,	/* CPL 0: AC is all there is in the third byte of RFLAGS */
	BM_none = 1 << 30	/* not for the translator: interpret */
};
enum { BM_VIEW_SHIFT = 2 };

enum { BT_CTXS = 16, BT_SLOTS = 8192, BT_TARGETS_MAX = 65536, BT_TIRED = 1 << 16 };

/* Per mode: where indirect branches find translations, and which page instance each page is. */
struct bt_target { uint64_t rip; const uint8_t *code; };
enum { BT_TARGET_SHIFT = 4 };
static_assert(sizeof(struct bt_target) == 1 << BT_TARGET_SHIFT, "their index is a shift");
enum { BT_NO_TARGET = 1 };		/* in target[0]: 0 is an address like any other, 1 never stands there */
struct bt_ctx {
	uint32_t slot[BT_SLOTS];	/* id of the page instance mapped at a virtual page; 0: not known */
	uint32_t mode;			/* enum bt_mode */
	bool used;
	uint64_t returns;		/* RSP in its code, when another is bt->now; see returns.c */
	/* Slots that a CR3 write empties: those of pages that are not global. */
	unsigned nlocal;		/* over BT_LOCALS: all */
	uint16_t local[128];
	struct bt_target target[];	/* bt->targets of them */
};
#define BT_CTX_BYTES(bt) (sizeof(struct bt_ctx) + (bt)->targets * sizeof(struct bt_target))
enum { BT_LOCALS = 128 };

/* A page of guest code at one virtual address in one mode. id is its index + 1. */
struct bt_page {
	uint64_t vpage, ppage;		/* linear address; mem_page_index */
	gpa_t gpa;
	uint32_t mode, blocks;		/* first block, index + 1 */
	uint32_t hash_next, phys_next;	/* index + 1 */
	uint32_t swept;			/* by which chunk's dropping last */
	bool held;			/* counted in bt->held */
	bool warm;			/* its code runs much: ranges are worth it (near.c) */
	bool many_cross;		/* more than crossing[] can have */
	uint64_t begins;		/* a bit per 64 bytes: blocks begin there */
	uint32_t crossing[4];		/* instances that have a block whose last instruction ends here */
};

struct bt_block {
	uint64_t rip;
	uint32_t page;			/* id */
	uint32_t begin, end;		/* offsets into the code, as are the entries */
	uint32_t land, saved, native;	/* land: 0 when nobody needed it yet */
	uint32_t front;			/* index + 1: of a block that is no more than this one's `land`; there, of this one */
	uint32_t side;			/* first row of the side table */
	uint32_t incoming;		/* an exit that jumps here */
	uint16_t rows;
	uint8_t insns;
	bool dead : 1, narrow : 1;	/* narrow: without checks in common (share.c) */
	bool is_front : 1;
};
static_assert(sizeof(struct bt_block) == 48, "there are many");

/* A place where translated code leaves its block for a known address. */
enum bt_exit_kind { BX_link, BX_link_saved, BX_link_land, BX_interp, BX_light, BX_poll,
	BX_cross /* the mapping of the next page, where the instruction ends, is not known */ };
enum { BX_AWAY = 40, BX_ID = 14 /* bits */ };
struct bt_exit {
	uint64_t away : BX_AWAY;		/* rip minus that of its block */
	uint64_t kind : 4;
	uint64_t cross : 4;		/* BX_light: enum bt_cross, CROSS__COUNT: neither */
	uint64_t begun : 1;		/* BX_light: the instruction was counted already (BM_counted) */
	uint64_t narrow : 1;		/* the target is to be a narrow block */
	uint64_t insn_id : BX_ID;		/* BX_interp, BX_light: for statistics */
	uint32_t patch, stub;		/* offsets: the rel32, and where it points when not linked; 0: none */
	uint32_t from;			/* block index */
	uint32_t to;			/* linked to block, index + 1 */
};
static_assert(sizeof(struct bt_exit) == 24 && INSN__COUNT <= 1 << BX_ID, "there are many");

/* Where a block is found, by a hash of its address and page: in the first free place from there. */
struct bt_place { uint32_t block /* index + 1; 0: free */, key; };

/* What the register fields of an instruction mean. */
struct tr_fields {
	bool modrm, mem, reg_gpr, rm_gpr, v_gpr, high8;
	int8_t reg, rm;		/* numbers; rm only without memory operand, or the opcode's register */
};

/* What an instruction's form says about it: by its first bytes and the mode, whatever its displacement and immediate are. */
#define TR_KNOWN \
	struct insn in; \
	struct insn_use use; \
	struct tr_fields f;		/* of TK_plain */ \
	uint16_t maybe;			/* flags that it may write, or leave: in use.fl_write, not in use.fl_read */ \
	uint16_t needs, kills;		/* arithmetic flags: live before it = (live behind it & ~kills) | needs */ \
	uint16_t traits;		/* enum tr_trait */ \
	uint8_t kind			/* enum tr_kind */
struct tr_known { TR_KNOWN; };

/* Forms that were met; see forms.c. */
enum { BT_FORMS = 4096, BT_FORM_PLACES = 8192 };
struct bt_form {
	uint64_t key, mask;		/* the bytes that make it, and which of the first eight they are */
	uint32_t mode;
	bool imm_signed;
	struct tr_known known;
} __attribute__((aligned(64)));
static_assert(sizeof(struct bt_form) == 128, "two cache lines");

/* What leaving translated code means: an exit's index, or one of these. */
enum { LEFT_indirect, LEFT_fault, LEFT__EXITS = 16, LEFT_BITS = 24, LEFT_BYTES = LEFT_BITS / 8 };

/* The stack's entry is of a page, or of as many bytes from a multiple of this. */
enum { BT_SLIDE = 1024 };

/* Why an access could not be done inline though its address was looked up. */
enum bt_refused { REFUSED_fault, REFUSED_crossing, REFUSED_device, REFUSED_code, REFUSED_other, REFUSED__COUNT };

struct bt_stats {
	uint64_t refused[REFUSED__COUNT];
	uint64_t blocks, insns, flushes, dropped, entries, links, indirect, polls, fills, fills_slow, splits, tired, narrow, mapped, delivered, crossed, unreturned, light, light_refused,
		steps, fpu_loads, host_faults, evicted, first, nomode, flushed, back, unlinked, interp[INSN__COUNT], lights[INSN__COUNT];
};

/* An access that crosses a page, in flight; see split.c. */
struct bt_split {
	uint8_t *first, *second;	/* host addresses of its two parts */
	unsigned n, size;		/* bytes in the first, and of both */
	uint64_t host, delta;		/* of the buffer: host address, and that minus the linear one */
	uint8_t bytes[2 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
};

/* A GiB of linear addresses with second mappings of some of its pages; see window.c. */
enum { BT_WINDOWS = 16 };
struct bt_window {
	uint64_t lin;			/* which GiB */
	uint8_t *host;			/* in cpu->alias */
	uint64_t *page;			/* owned: for each page the first host address of what is mapped, 0: nothing */
};

/* A check by a near entry; see near.c. The offsets are in struct cpu. */
struct bt_site {
	int32_t left;			/* misses until it is looked at */
	uint32_t info;			/* FILL_* */
	uint32_t table, entry, used;	/* where entries come from; its own; the mask of those in use */
	uint32_t since;			/* when it was looked at last; 0: never */
	uint64_t mask;			/* its bit of `used` */
	uint32_t bit;			/* of bt->tired */
	uint8_t tries;			/* times that its pages got a window */
};

/* Where events found translated code, and how often more than anything else; see near.c. */
enum { BT_HEATS = 64 };
struct bt_heat { uint64_t rip; unsigned n; };

enum { BT_DELTAS = 24 };

/* Slots of an address space that was left, by its number (pcid.c). */
enum { ASIDE_SLOTS = 256 };
struct bt_aside {
	unsigned n;
	struct { uint32_t id; uint16_t slot, ctx; } slot[ASIDE_SLOTS];
};

/* What SYSCALL and SYSRET make of the registers; see cross.c. */
enum bt_cross { CROSS_syscall, CROSS_sysret, CROSS__COUNT };
struct bt_learned {
	uint8_t ok, cpl, view;
	struct bt_ctx *ctx;
	struct segreg cs, ss;
};

/* What CPUID answered, by the low bits of the leaf; see cross.c. */
enum { BT_ANSWERS = 8, BT_ANSWER_SHIFT = 5 };
struct bt_answer {
	uint64_t asked;			/* subleaf << 32 | leaf; of a leaf that does not belong here: none */
	uint32_t eax, ebx, ecx, edx;
	uint64_t unused;
};
static_assert(sizeof(struct bt_answer) == 1 << BT_ANSWER_SHIFT, "their index is a shift");

/* Components of the FPU's state. With x87 or AVX, SSE is live as well. */
enum fpu_component { FPU_x87, FPU_sse, FPU_avx, FPU__COUNT };
enum { LIVE_x87 = 1 << FPU_x87, LIVE_sse = 1 << FPU_sse, LIVE_avx = 1 << FPU_avx, BT_STATE_ALL = 7 /* as XSAVE numbers them */ };

/* How far the code area and the tables are written; see chunk.c. */
enum { BT_CHUNKS = 8 };
struct bt_fill_level { uint32_t code, blocks, exits, side, light, sites; };

/* From an address, rotated, to the offset of its entry in a table of the TLB. */
enum { TLB_INDEX_SHIFT = PAGE_SHIFT - 4, TLB_INDEX_MASK = (TLB_ENTRIES - 1) << 4 };
static_assert(sizeof(struct tlb_entry) == 1 << 4, "as the shift says");

/* Everything that translated code addresses absolutely lies in the low 2 GiB. */
struct bt_state {
	struct bt_ctx *ctx[BT_CTXS];	/* owned, in the low 2 GiB; NULL: not needed yet */
	uint32_t ctx_mode[BT_CTXS];	/* the mode of each, side by side to be looked through; 0: not used */
	/* How many there are, by the size of the code cache. */
	uint32_t targets, sites_max, pages_max, blocks_max, exits_max, side_max, light_max, block_hashes;

	uint16_t flags_saved;		/* AH of lahf, AL of seto */
	uint8_t fpu_live;		/* LIVE_*: what of the guest's FPU state is in the host's registers */
	uint64_t hold;			/* a value within one instruction */
	uint64_t delta[BT_DELTAS];	/* of groups that were checked by the table, within one block */
	uint64_t tmp, tmp2;		/* the gates' own */
	uint64_t host_rsp, rsp;		/* RSP in C and in translated code */
	uint32_t host_mxcsr;
	uint64_t tsc_delta;
	bool tsc_fixed;
	bool flat_fs, flat_gs;		/* 32-bit code may use them without looking at limits */
	bool fault_ready;		/* bt_fill failed with cpu->fault set */
	bool stop;			/* the machine wants the engine left */

	struct cpu *c;			/* borrowed: whose state this is */
	uint8_t *returns;		/* owned: a stack of host return addresses for each context */
	struct bt_ctx *now;		/* of the present mode */
	struct code_map code;		/* owned */
	uint8_t *free, *first;		/* code[]: next free byte, first behind the gates */
	struct bt_page *pages;		/* owned arrays */
	struct bt_block *blocks;
	struct bt_exit *exits;
	uint32_t *side;			/* struct rows: see SIDE_* */
	struct bt_form *form;		/* BT_FORMS; that at 0 is none */
	uint16_t *form_at;		/* BT_FORM_PLACES: by a hash of mode and key, notes of them */
	unsigned nforms;
	struct insn *light;		/* of BX_light exits: exit.patch is the index */
	uint32_t npages, nblocks, nexits, nside, nlight;	/* in use, but for npages those of the present chunk */
	unsigned chunk, chunks;
	struct bt_fill_level limit, written_to[BT_CHUNKS];	/* of the present chunk; of the others as they were left */
	_Atomic uint16_t *held;		/* by physical page, hashed: page instances with blocks; see holds_code */
	struct bt_place *block_hash;
	uint32_t *page_hash, *phys_hash,
		*block_in;		/* by page of the code: the first block that begins there, index + 1 */
	/* Lists, apart from what is in them, as walks would fetch a cache line for each. */
	uint32_t *block_next, *exit_next;	/* the next block of a page, index + 1; exit to the same block */

	/* gates, in the executable mapping */
	uint32_t (*enter)(const uint8_t *code);
	const uint8_t *gate_leave_native, *gate_leave_saved, *gate_exit_saved, *gate_indirect, *gate_tlb, *gate_stack[TLB_VIEWS], *gate_stack32[TLB_VIEWS],
		*gate_stack_group[TLB_VIEWS], *gate_miss[TLB_VIEWS][2], *gate_miss_based[TLB_VIEWS][2], *gate_miss_group[TLB_VIEWS][2],
		*gate_miss_const,
		*gate_fpu[FPU__COUNT], *gate_split_back, *gate_near, *gate_range, *gate_return, *gate_return_base, *gate_lookup, *gate_cross[CROSS__COUNT];

	struct cpu_ops ops;		/* what cpu->ops points to while this engine runs */
	const struct cpu_ops *lower;	/* the machine's */
	struct mem_watcher watcher;
	pthread_mutex_t written_lock;
	_Atomic bool written;		/* written_page[] has something, or overflowed */
	gpa_t written_page[512];
	unsigned nwritten;

	struct bt_learned learned[CROSS__COUNT];
	struct bt_answer answer[BT_ANSWERS];
	struct bt_aside aside[FLUSH_ASIDES];
	struct bt_stats stats;
	struct bt_split split;

	struct bt_site *sites, *site;	/* owned, in the low 2 GiB; the one that failed */
	uint32_t nsites;
	const uint8_t *next;		/* where the exit just taken leads, by its new link; NULL: look */
	struct bt_window window[BT_WINDOWS];
	int32_t stack_left;		/* stack frames across pages until C looks at one */
	unsigned mapped;		/* pages in them */
	unsigned window_budget;		/* how many more may be mapped now */
	uint64_t window_time;		/* when that was last added to */
	bool narrow_next;		/* the block entered next is to be a narrow one */
	struct bt_heat heat[BT_HEATS];
	bool warm_all;			/* pages begin warm; of tests */
	uint8_t tired[BT_TIRED / 8];	/* checks that near entries are not good for, hashed */
	uint8_t crossed[BT_TIRED / 8];	/* instructions that accessed two pages once, hashed */
};

/* A row of the side table: host offset in the block, whether flags are in flags_saved there, and
 * the guest instruction's offset in its page. */
enum { SIDE_HOST_SHIFT = 13, SIDE_SAVED = 1 << 12, SIDE_OFFSET = SIDE_SAVED - 1 };

/* What of each is full when the code is, going by what gcc's own text needs. */
enum { PAGES_MAX = 1 << 14, BLOCKS_MAX = 13 << 13, EXITS_MAX = 26 << 14, SIDE_MAX = 41 << 15, LIGHT_MAX = 1 << 14,
	HASH_SIZE = 1 << 16, BLOCK_HASH = 1 << 18, SITES_MAX = 1 << 15, BT_CODE_SIZE = 30 << 20, BLOCK_ROOM = 32 << 10 };
static_assert(BT_CODE_SIZE + PAGES_MAX * sizeof(struct bt_page) + BLOCKS_MAX * (sizeof(struct bt_block) + 4) +
	EXITS_MAX * (sizeof(struct bt_exit) + 4) + SIDE_MAX * 4 + LIGHT_MAX * sizeof(struct insn) + HASH_SIZE * 10 + BLOCK_HASH * sizeof(struct bt_place) + BT_FORMS * sizeof(struct bt_form) + BT_FORM_PLACES * 2 +
	SITES_MAX * sizeof(struct bt_site) < 60 << 20, "code cache and tables, with a dozen contexts in use, stay below 64 MiB");

static inline int32_t bt_abs(const void *p) { return (int32_t)(uintptr_t)p; }
static inline uint8_t *bt_rw(const struct bt_state *bt, uint32_t off) { return bt->code.rw + off; }
static inline const uint8_t *bt_rx(const struct bt_state *bt, uint32_t off) { return bt->code.rx + off; }

/* mode.c */
uint32_t bt_mode_of(const struct cpu *c);			/* BM_none: the interpreter's */
void bt_mode_set(struct bt_state *bt, uint32_t m);		/* bt->now becomes the context of mode m */
void bt_asides_forget(struct bt_state *bt);
void bt_ctxs_forget(struct bt_state *bt);	/* none is in use any more */
struct bt_ctx *bt_ctx_for(struct bt_state *bt, uint32_t m);	/* NULL: there are too many */
/* gate.c */
void bt_gates_emit(struct bt_state *bt);
/* forms.c */
void bt_forms_begin(struct bt_state *bt);			/* all are zeros */
/* cache.c */
int bt_cache_open(struct bt_state *bt);
void bt_cache_close(struct bt_state *bt);
void bt_hold(struct bt_state *bt, struct bt_page *pg);		/* before its bytes are read */
struct bt_page *bt_page_at(struct bt_state *bt, uint64_t rip);	/* as mapped now, or NULL */
bool bt_holds(const struct cpu *c, gpa_t gpa);
void bt_trim(struct cpu *c);					/* give back the memory of a large cache */
void bt_flush(struct bt_state *bt);				/* drop every translation */
void bt_drop_phys(struct bt_state *bt, uint64_t ppage);		/* drop those of a physical page */
void bt_page_renew(struct bt_state *bt, struct bt_page *pg);	/* its blocks are to be written again */
struct bt_page *bt_page_get(struct bt_state *bt, uint64_t vpage, gpa_t gpa);
void bt_cross_note(struct bt_state *bt, struct bt_page *second, const struct bt_page *first);
struct bt_block *bt_block_find(struct bt_state *bt, const struct bt_page *pg, uint64_t rip, bool narrow);
void bt_block_forget(struct bt_state *bt, struct bt_block *b);	/* it is not found, nor linked to, any more */
void bt_block_add(struct bt_state *bt, struct bt_block *b);
void bt_block_lies(struct bt_state *bt, const struct bt_block *b);	/* to be found by what it has of the code area */
struct bt_block *bt_block_at(struct bt_state *bt, const uint8_t *pc);	/* which contains host address pc */
bool bt_side_find(struct bt_state *bt, const uint8_t *pc, uint64_t *rip, bool *saved);
void bt_link(struct bt_state *bt, struct bt_exit *x, struct bt_block *to);
static inline uint64_t bt_exit_rip(const struct bt_state *bt, const struct bt_exit *x)
	{ return bt->blocks[x->from].rip + (uint64_t)((int64_t)((uint64_t)x->away << (64 - BX_AWAY)) >> (64 - BX_AWAY)); }
static inline uint32_t bt_page_id(const struct bt_state *bt, const struct bt_page *p)
	{ return (uint32_t)(p - bt->pages) + 1; }
static inline unsigned bt_slot(uint64_t rip) { return rip >> PAGE_SHIFT & (BT_SLOTS - 1); }
static inline unsigned bt_target_index(const struct bt_state *bt, uint64_t rip)
	{ return (uint32_t)rip & (bt->targets - 1); }
/* chunk.c */
void bt_chunks_empty(struct bt_state *bt);
void bt_chunk_next(struct bt_state *bt);
size_t bt_chunks_bytes(const struct bt_state *bt);		/* of code */
unsigned bt_chunk_of(const struct bt_state *bt, uint32_t block);
struct bt_fill_level bt_chunk_begin(const struct bt_state *bt, unsigned n), bt_chunk_end(const struct bt_state *bt, unsigned n);
/* translate.c: NULL when the first instruction must be interpreted, BT_FULL when there is no room */
#define BT_FULL ((struct bt_block *)(uintptr_t)1)
struct bt_block *bt_translate(struct bt_state *bt, struct bt_page *pg, uint64_t rip, bool narrow, bool land);
uint32_t bt_land(struct bt_state *bt, struct bt_block *b);	/* its entry `land`, made when it has none; 0: no room */
/* fpu.c */
void bt_fpu_load(struct bt_state *bt, unsigned live);
void bt_fpu_look(struct bt_state *bt);				/* cpu->fpu is current, whatever is live */
void bt_fpu_gates(struct bt_state *bt, struct emit *e);
void bt_fpu_unload(struct bt_state *bt);			/* guest state to cpu->fpu, host defaults */
/* light.c */
enum light { LIGHT_done, LIGHT_stop /* done, and the engine is to be left */, LIGHT_fault /* cpu->fault is to be delivered */, LIGHT_interp };
static inline enum light
light_jumped(int res)
{
	return res == OK ? LIGHT_done : LIGHT_fault;
}
static inline enum light
light_next(struct cpu *c, const struct insn *in, int res)
{
	if (res == OK)
		c->r.rip += in->len;
	return light_jumped(res);
}
bool bt_is_light(const struct insn *in);
enum light bt_light(struct cpu *c, const struct insn *in);
/* light32.c: the same, before light.c is asked; false: it is */
bool bt_is_light32(const struct insn *in);
bool bt_light32(struct cpu *c, const struct insn *in, enum light *res);
/* cross.c */
void bt_cross_emit(struct bt_state *bt, struct emit *e);
void bt_learn(struct bt_state *bt, enum bt_cross which);
void bt_learn_answer(struct bt_state *bt, uint64_t asked);
void bt_learned_forget(struct bt_state *bt);			/* registers may have changed */
/* returns.c */
int bt_returns_open(struct bt_state *bt);
void bt_returns_close(struct bt_state *bt);
void bt_returns_begin(struct bt_state *bt, unsigned i);
void bt_returns_forget(struct bt_state *bt);
bool bt_returns_fault(struct bt_state *bt, uint64_t at, uint64_t *rsp);
void bt_returns_switch(struct bt_state *bt, struct emit *e, struct rm to);
void bt_returns_emit(struct bt_state *bt, struct emit *e);
void bt_now_set(struct bt_state *bt, struct bt_ctx *to);	/* NULL: none */
/* code32.c */
bool bt_code32_fits(const struct cpu *c);
void bt_code32_enter(struct bt_state *bt);
static inline bool bt_code32(const struct bt_state *bt) { return (bt->now->mode & BM_code32) != 0; }
/* ops.c: the machine's functions, with the guest's FPU state put away first */
void bt_ops_wrap(struct bt_state *bt);
/* show.c */
void bt_show_gates(const struct bt_state *bt);
/* stats.c */
void bt_count_refusal(struct bt_state *bt, uint64_t lin, unsigned size, int res);
unsigned bt_counters(const struct cpu *c, struct counter *out, unsigned max);
/* signal.c */
int bt_signals_open(void);
void bt_signals_here(void);					/* this thread is going to run translated code */
extern __thread struct bt_state *bt_running;
/* near.c */
void bt_range_widen(struct bt_state *bt, const struct bt_site *s, uint64_t page, struct tlb_entry *e);
void bt_heat_note(struct bt_state *bt);				/* an event finds user code at r.rip */
void bt_warm_all(struct bt_state *bt, bool warm);		/* all user code runs much, or none does */
bool bt_near_tired(struct bt_state *bt, struct bt_site *s, uint64_t page, const uint8_t *pc);
/* window.c */
void bt_windows_open(struct bt_state *bt);
void bt_windows_close(struct bt_state *bt);
void bt_window_prefer(struct bt_state *bt, struct tlb_entry *e);
bool bt_stack_widen(struct bt_state *bt, uint64_t page);
bool bt_window_around(struct bt_state *bt, struct tlb_entry *table, uint64_t page);
/* split.c */
void bt_crossed_first(struct bt_state *bt, uint64_t rip, const uint8_t *pc);
bool bt_split(struct bt_state *bt, uint64_t lin, unsigned size, bool write);
void bt_split_back(struct bt_state *bt);
/* helper called by the gates */
enum filled { FILLED, FILLED_not /* interpret the instruction */, FILLED_split /* bt->split has it */ };
uint64_t bt_fill(struct bt_state *bt, uint64_t lin, uint32_t info, const uint8_t *pc);
enum { FILL_SIZE = 0xfff, FILL_write = 1 << 12, FILL_stack = 1 << 13, FILL_fault = 1 << 14 /* deliver a page fault at once */,
	FILL_split = 1 << 15 /* can go on with bt->split */, FILL_narrow = 1 << 16 /* can go on without this check */,
	FILL_near = 1 << 17 /* bt->site failed */,
	FILL_range = 1 << 18 /* and has a range */,
	FILL_based = 1 << 19 /* goes on behind the check, with the delta in S1 */ };
/* Behind the call of a gate stands TEST EAX with what for, or the address of the site: read by the gate, and run when it returns. */
enum { BT_INFO = 0xa9, BT_INFO_LEN = 5 };
