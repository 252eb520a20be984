/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/bt.c - the translator as an engine: its run loop, and what it hears of the world.
 *
 *	find or make the block at rip -> enter -> translated code -> left: why -> again
 */
#include "engine/bt/bt.h"

#include "engine/interp/interp.h"

#include "cpu/debug.h"

#include "regent.h"
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

static const uint64_t LAST_PAGE32 = 0xfffff000;		/* 32-bit code that may wrap is interpreted */

/* ---- finding translations ---- */

static void
serve_written(struct bt_state *bt)
{
	static __thread gpa_t pages[sizeof(bt->written_page) / sizeof(gpa_t)];
	unsigned n, i;

	pthread_mutex_lock(&bt->written_lock);
	n = bt->nwritten;
	memcpy(pages, bt->written_page, sizeof(pages));
	bt->nwritten = 0;
	bt->written = false;
	pthread_mutex_unlock(&bt->written_lock);
	if (n > sizeof(pages) / sizeof(*pages))
		bt_flush(bt);
	else
		for (i = 0; i < n; i++) {
			bt_drop_phys(bt, mem_page_index(bt->c->mem, pages[i]));
			interp_page_forget(bt->c, pages[i]);
		}
}

/* The instance of the page of rip as it is mapped now; NULL: fetching faults, or is not from RAM. */
struct bt_page *
bt_page_at(struct bt_state *bt, uint64_t rip)
{
	uint32_t *slot = &bt->now->slot[bt_slot(rip)];
	const struct code_entry *e;
	struct bt_page *pg;

	if (bt_code32(bt) && rip >= LAST_PAGE32)
		return NULL;
	if (*slot != 0 && bt->pages[*slot - 1].vpage == (rip & PAGE_MASK))
		return &bt->pages[*slot - 1];
	if (lin_code(bt->c, rip, &e) != OK || e->host == NULL)
		return NULL;
	pg = bt_page_get(bt, rip & PAGE_MASK, e->gpa);
	if (pg == NULL) {
		bt_fpu_unload(bt);
		bt_flush(bt);
		pg = bt_page_get(bt, rip & PAGE_MASK, e->gpa);
	}
	*slot = bt_page_id(bt, pg);
	if (!lin_code_global(bt->c, rip) && bt->now->nlocal++ < BT_LOCALS)
		bt->now->local[bt->now->nlocal - 1] = (uint16_t)bt_slot(rip);
	return pg;
}

/* The translation of the code at rip, made with an entry for others than its page when `land`; NULL: interpret one instruction. */
static struct bt_block *
block_at(struct bt_state *bt, uint64_t rip, bool narrow, bool land)
{
	struct bt_page *pg = bt_page_at(bt, rip);
	struct bt_block *b;

	if (pg == NULL)
		return NULL;
	b = bt_block_find(bt, pg, rip, narrow);
	if (b != NULL)
		return b;
	bt_fpu_unload(bt);
	b = bt_translate(bt, pg, rip, narrow, land);
	if (b == BT_FULL) {
		bt_chunk_next(bt);
		b = bt_translate(bt, pg, rip, narrow, land);
	}
	return b == BT_FULL ? NULL : b;
}

/* ---- running ---- */

static void
flags_in(struct bt_state *bt)
{
	uint64_t fl = bt->c->r.rflags;

	bt->flags_saved = (uint16_t)((fl & 0xd5) << 8 | (fl >> rflags_of_SHIFT & 1));
}

static void
flags_out(struct bt_state *bt)
{
	uint64_t arith = (bt->flags_saved >> 8 & 0xd5) | (uint64_t)(bt->flags_saved & 1) << rflags_of_SHIFT;

	bt->c->r.rflags = (bt->c->r.rflags & ~(uint64_t)RFLAGS_arith) | arith;
}

static bool
is_translatable(const struct cpu *c)
{
	return bt_mode_of(c) != BM_none;
}

/* One instruction by the interpreter, or what comes until a mode that is translated. True: leave
 * the engine with *err and *x. */
static bool
interpret(struct bt_state *bt, struct vexit *x, int *err)
{
	bt_fpu_unload(bt);	/* fpu.c works on cpu->fpu */
	bt_learned_forget(bt);
	bt->stats.steps++;
	x->kind = EXIT_attend;
	*err = bt->c->mode == MODE_long64 || bt_code32_fits(bt->c) ? interp_step(bt->c, x) :
		interp_run_legacy(bt->c, x, is_translatable);
	return *err != 0 || x->kind != EXIT_attend;
}

/* Events that wait for the loop can be taken now. */
static bool
wants_out(const struct cpu *c)
{
	return atomic_load_explicit(&c->attention, memory_order_acquire) != 0 || c->retired >= c->retire_limit ||
		(c->irq_window && c->r.interruptibility == 0 &&
		(rflags_if(&c->r) || (c->r.nmi_pending && !c->r.nmi_blocked)));
}

/* Serve what needs no loop. */
static void
attend(struct bt_state *bt)
{
	struct cpu *c = bt->c;

	bt_fpu_unload(bt);
	bt->next = NULL;
	if (bt->now != NULL && (bt->now->mode & (BM_user | BM_counted)) == BM_user && bt_mode_of(c) == bt->now->mode)
		bt_heat_note(bt);
	if (atomic_load(&c->attention) & ATT_code)
		atomic_fetch_and(&c->attention, ~(uint32_t)ATT_code);
	if (atomic_load(&c->attention) & ATT_tlb) {
		atomic_fetch_and(&c->attention, ~(uint32_t)ATT_tlb);
		cpu_shootdown_serve(c);
	}
	if (bt->written)
		serve_written(bt);
}

/* An instruction for C, which needs no interpreter. True: it does. */
static bool
light(struct bt_state *bt, const struct bt_exit *x)
{
	struct cpu *c = bt->c;

	if (x->begun && (bt->now->mode & BM_counted))
		c->retired--;
	switch (bt_light(c, &bt->light[x->patch])) {
	case LIGHT_stop:
		bt->stop = true;
		/* fallthrough */
	case LIGHT_done:
		bt->stats.light++;
		bt->stats.lights[x->insn_id]++;
		if (x->insn_id == INSN_wrmsr)
			bt_learned_forget(bt);
		else if (x->cross != CROSS__COUNT)
			bt_learn(bt, x->cross);
		c->retired++;
		return false;
	case LIGHT_fault:
		bt->fault_ready = true;
		return false;
	default:
		bt->stats.light_refused++;
		bt->stats.interp[x->insn_id]++;
		return true;
	}
}

/* The second page of an instruction was unmapped or another; look. True: not the one translated. */
static bool
crossing_changed(struct bt_state *bt, const struct bt_exit *x)
{
	const struct bt_page *pg = bt_page_at(bt, (bt_exit_rip(bt, x) & PAGE_MASK) + PAGE_SIZE);

	return pg == NULL || bt_page_id(bt, pg) != x->patch;
}

/* A link within a page checks no mapping: both sides must be the same page of RAM at the same place,
 * and the target of the mode that code sets before it goes there. */
static bool
linkable(const struct bt_state *bt, const struct bt_exit *x, const struct bt_block *to)
{
	const struct bt_page *a = &bt->pages[bt->blocks[x->from].page - 1], *b = &bt->pages[to->page - 1];

	if (b->mode != bt_mode_of(bt->c))
		return false;
	return x->kind == BX_link_land || (a->vpage == b->vpage && a->ppage == b->ppage);
}

/* What comes after translated code was left; true: interpret the instruction at rip. */
static bool
left(struct bt_state *bt, uint32_t why)
{
	struct bt_exit *x = &bt->exits[why];
	bool land = x->kind == BX_link_land;
	struct bt_block *b;

	if (why == LEFT_indirect) {
		bt->stats.indirect++;
		return false;
	}
	if (why == LEFT_fault) {
		if (bt->now->mode & BM_counted)
			bt->c->retired--;
		return !bt->fault_ready;
	}
	bt->c->r.rip = bt_exit_rip(bt, x);
	if (x->kind == BX_light)
		return light(bt, x);
	if (x->kind == BX_interp) {
		bt->stats.interp[x->insn_id]++;
		return true;
	}
	if (x->kind == BX_cross)
		return crossing_changed(bt, x);
	if (x->kind == BX_poll) {
		bt->stats.polls++;
		return false;
	}
	bt->narrow_next = x->narrow;
	if (!bt->written && !(bt->now->mode & BM_counted)) {
		uint64_t dropped = bt->stats.flushes + bt->stats.evicted;

		bt->stats.unlinked++;
		b = block_at(bt, bt->c->r.rip, x->narrow, land);
		if (b != NULL && dropped == bt->stats.flushes + bt->stats.evicted && linkable(bt, x, b)) {
			bt_link(bt, x, b);
			bt->next = bt_rx(bt, land && b->land != 0 ? b->land : b->saved);
		}
	}
	return false;
}

/* Deliver cpu->fault, which translated code ran into. False: shutdown. */
static bool
deliver(struct bt_state *bt)
{
	bt->fault_ready = false;
	if (bt->c->fault.kind == EVENT_retry) {		/* the loop waits for the host program's answer */
		cpu_ask(bt->c, ATT_kick);
		return true;
	}
	bt->stats.delivered++;
	bt->c->r.interruptibility = 0;
	return cpu_deliver(bt->c) == OK;
}

/* Where to enter translated code for rip, by the table that indirect branches use, or the slow way.
 * NULL: interpret. `known_bad`: the table's entry has just been found stale. */
static const uint8_t *
entry_at(struct bt_state *bt, uint64_t rip, bool known_bad, bool shadow)
{
	struct bt_target *t = &bt->now->target[bt_target_index(bt, rip)];
	struct bt_block *b;
	const uint8_t *next = bt->next;
	bool narrow = bt->narrow_next;

	bt->next = NULL;
	bt->narrow_next = false;
	if (next != NULL)
		return next;
	if (t->rip == rip && t->code != NULL && !known_bad && !shadow && !narrow)
		return t->code;
	b = block_at(bt, rip, narrow, !narrow);
	if (b == NULL)
		return NULL;
	if (narrow || bt_land(bt, b) == 0)
		return bt_rx(bt, b->saved);
	*t = (struct bt_target){ rip, bt_rx(bt, b->land) };
	return bt_rx(bt, shadow ? b->saved : b->land);	/* behind STI no look at events first */
}

static int
run(struct cpu *c, struct vexit *x)
{
	struct bt_state *bt = c->bt;
	const uint8_t *entry;
	uint64_t start, shadow;
	uint32_t why = LEFT_indirect, m;
	bool step = false, first = true;
	int err = 0;

	x->carried = GROUP_ALL;
	x->kind = EXIT_attend;
	bt->next = NULL;
	bt_learned_forget(bt);
	for (;; first = false) {
		if (bt->written || atomic_load_explicit(&c->attention, memory_order_acquire) != 0)
			attend(bt);
		/* Between an instruction that the host refused, with its mark in MXCSR, and its other try nobody looks. */
		if (first ? atomic_load(&c->attention) != 0 : !step && wants_out(c))
			break;
		m = bt_mode_of(c);
		entry = NULL;
		shadow = c->r.interruptibility;
		if (m == BM_none) {
			bt->stats.nomode++;
		} else if (!step && !(shadow != 0 && c->irq_window)) {	/* else events come behind one instruction */
			bt_mode_set(bt, m);
			if (m & BM_code32)
				bt_code32_enter(bt);
			entry = entry_at(bt, c->r.rip, why == LEFT_indirect, shadow != 0);
		}
		step = false;
		if (entry == NULL) {
			bt->next = NULL;
			why = LEFT_indirect;
			if (interpret(bt, x, &err))
				break;
			continue;
		}
		start = c->r.rip;
		c->r.interruptibility = 0;
		c->r.rflags &= ~rflags_rf_MASK;	/* no instruction breakpoints in this mode */
		flags_in(bt);
		bt->stats.entries++;
		why = bt->enter(entry) & ((1u << LEFT_BITS) - 1);
		if (!BT_LIGHT_C)
			bt_fpu_unload(bt);
		flags_out(bt);
		step = left(bt, why);
		if (step && c->r.rip == start)
			c->r.interruptibility = shadow;
		if (bt->fault_ready && !deliver(bt)) {
			x->kind = EXIT_down;
			break;
		}
		if (bt->stop) {
			bt->stop = false;
			x->kind = EXIT_stop;
			break;
		}
	}
	bt_fpu_unload(bt);
	return err;
}

static int
bt_run(struct cpu *c, struct vexit *x)
{
	int err;

	bt_ops_wrap(c->bt);
	c->fpu.xstate_bv |= BT_STATE_ALL;	/* its fields are current; XRSTOR goes by this */
	bt_signals_here();
	bt_running = c->bt;
	err = run(c, x);
	bt_running = NULL;
	return err;
}

static int
bt_step(struct cpu *c, struct vexit *x)
{
	return interp_engine.step(c, x);
}

/* ---- what others tell ---- */

/* memset without vector registers. */
static void
forget(void *p, size_t n)
{
	n /= sizeof(uint64_t);
	__asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(0ull) : "memory");
}

static void
ctx_forget(struct bt_ctx *x)
{
	forget(x->slot, sizeof(x->slot));
	x->nlocal = 0;
}

static void
ctx_forget_locals(struct bt_ctx *x)
{
	if (x->nlocal > BT_LOCALS) {
		ctx_forget(x);
		return;
	}
	while (x->nlocal > 0)
		x->slot[x->local[--x->nlocal]] = 0;
}

/* The local slots of every context, under that number. What does not fit is looked up again. */
static void
slots_aside(struct bt_state *bt, struct bt_aside *a)
{
	struct bt_ctx *x;
	unsigned i, k;

	a->n = 0;
	for (i = 0; i < BT_CTXS; i++) {
		x = bt->ctx[i];
		if (x == NULL || !x->used || x->nlocal > BT_LOCALS)
			continue;
		for (k = 0; k < x->nlocal && a->n < ASIDE_SLOTS; k++)
			if (x->slot[x->local[k]] != 0) {
				a->slot[a->n].id = x->slot[x->local[k]];
				a->slot[a->n].slot = x->local[k];
				a->slot[a->n++].ctx = (uint16_t)i;
			}
	}
}

static void
slots_back(struct bt_state *bt, struct bt_aside *a)
{
	struct bt_ctx *x;
	unsigned k;

	for (k = 0; k < a->n; k++) {
		x = bt->ctx[a->slot[k].ctx];
		if (x->slot[a->slot[k].slot] != 0 || x->nlocal >= BT_LOCALS)
			continue;
		x->slot[a->slot[k].slot] = a->slot[k].id;
		x->local[x->nlocal++] = a->slot[k].slot;
	}
	a->n = 0;
}

/* A page of the lower half may have been one of 4 KiB or large, never global in practice: all local
 * slots go, and its own. */
static void
flushed(struct cpu *c, enum tlb_flush what, uint64_t lin)
{
	struct bt_state *bt = c->bt;
	unsigned i;

	switch (what) {
	case FLUSH_aside:
		slots_aside(bt, &bt->aside[lin]);
		return;
	case FLUSH_back:
		slots_back(bt, &bt->aside[lin]);
		bt->stats.back++;
		return;
	case FLUSH_forget:
		bt->aside[lin].n = 0;
		return;
	case FLUSH_page:		/* of another page of the same slot, or a global one */
		bt_asides_forget(bt);
		break;
	default:
		break;
	}
	bt->stats.flushed++;
	for (i = 0; i < BT_CTXS; i++) {
		if (bt->ctx[i] == NULL || !bt->ctx[i]->used)
			continue;
		if (what == FLUSH_all || (what == FLUSH_page && (lin >> 63) != 0)) {
			ctx_forget(bt->ctx[i]);
		} else {
			ctx_forget_locals(bt->ctx[i]);
			bt->ctx[i]->slot[bt_slot(lin)] = 0;
		}
	}
}

static void
code_written(void *ctx, gpa_t gpa, size_t len)
{
	struct bt_state *bt = ctx;
	enum { MAX = sizeof(bt->written_page) / sizeof(*bt->written_page) };

	(void)len;
	pthread_mutex_lock(&bt->written_lock);
	if (bt->nwritten == 0 || bt->nwritten > MAX || bt->written_page[bt->nwritten - 1] != (gpa & PAGE_MASK)) {
		if (bt->nwritten < MAX)
			bt->written_page[bt->nwritten] = gpa & PAGE_MASK;
		if (bt->nwritten <= MAX)
			bt->nwritten++;
	}
	bt->written = true;
	pthread_mutex_unlock(&bt->written_lock);
	if (bt_running != bt)
		cpu_ask(bt->c, ATT_tlb);
}

/* ---- opening ---- */

static void
bt_close(struct cpu *c)
{
	struct bt_state *bt = c->bt;

	if (bt == NULL)
		return;
	c->flushed = NULL;
	c->holds_code = NULL;
	if (c->ops == &bt->ops)
		c->ops = bt->lower;
	c->bt = NULL;
	if (bt->watcher.code_written != NULL)
		mem_unwatch(c->mem, &bt->watcher);
	bt_cache_close(bt);
	pthread_mutex_destroy(&bt->written_lock);
	low_unmap(bt, sizeof(*bt));
	interp_engine.close(c);
}

static bool
host_fits(void)
{
	return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx");
}

static int
bt_open(struct cpu *c)
{
	struct bt_state *bt;
	int err;

	assert((uintptr_t)c <= INT32_MAX);	/* translated code has 32-bit addresses for it */
	if (!host_fits())
		return -REGENT_E_host;
	insn_probe_host();
	if ((err = interp_engine.open(c)) != 0)
		return err;
	if ((bt = low_map(sizeof(*bt))) == NULL) {
		interp_engine.close(c);
		return -REGENT_E_memory;
	}
	c->bt = bt;
	bt->c = c;
	pthread_mutex_init(&bt->written_lock, NULL);
	__asm__ volatile("stmxcsr %0" : "=m"(bt->host_mxcsr));
	if (bt_cache_open(bt) != 0 || bt_signals_open() != 0) {
		bt_close(c);
		return -REGENT_E_memory;
	}
	bt_gates_emit(bt);
	if (c->code_log != NULL)
		bt_show_gates(bt);
	bt_flush(bt);
	bt->watcher.code_written = code_written;
	bt->watcher.ctx = bt;
	mem_watch(c->mem, &bt->watcher);
	c->flushed = flushed;
	c->holds_code = bt_holds;
	return 0;
}

static int
bt_nothing(struct cpu *c, uint32_t groups)
{
	(void)c, (void)groups;
	return 0;
}

static void
bt_forget(struct cpu *c)
{
	struct bt_state *bt = c->bt;

	bt_flush(bt);
	bt_ctxs_forget(bt);
	interp_engine.forget(c);
}

const struct engine bt_engine = {
	.name = "bt", .model = "regent-bt-v1", .software = true, .open = bt_open, .close = bt_close,
	.store = bt_nothing, .fetch = bt_nothing, .forget = bt_forget, .trim = bt_trim,
	.run = bt_run, .step = bt_step, .counters = bt_counters,
};
