/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/run.c - the interpreter's loop: blocks one after another, faults, single steps.
 *
 *	find block -> run it -> run_code -> (deliver fault | leave) -> find block ...
 */
#include "engine/engine.h"
#include "engine/interp/fpu.h"
#include "engine/interp/iop.h"
#include "engine/interp/watch.h"
#include "cpu/cpuid.h"
#include "regent.h"

/* Everything that is worked out from the register file and may have changed. */
static void
run_sync(struct cpu *c)
{
	struct interp *it = c->interp;
	bool user = c->cpl == 3;
	bool ac = user && cr0_am(&c->r) && rflags_ac(&c->r);
	uint64_t remaps = c->remaps[user ? CODE_user : CODE_super];

	if (c->mode != MODE_long64 && (it->cs_base != c->r.cs_base || it->cs_limit != c->r.cs_limit)) {
		it->cs_base = c->r.cs_base;
		it->cs_limit = c->r.cs_limit;
		it->drops++;
	}
	it->jump_key = (remaps + it->drops) << KEY_BITS | c->mode | (user ? KEY_user : 0) | (ac ? KEY_ac : 0);
	it->stepwise = (c->r.rflags & rflags_tf_MASK) || watch_needed(c);
	it->careful = it->stepwise || c->r.interruptibility != 0 || (c->r.rflags & rflags_rf_MASK);
}

/* Deliver c->fault; false: shutdown. */
static bool
run_deliver(struct cpu *c)
{
	bool ok;

	if (c->fault.kind == EVENT_retry) {	/* the loop waits for the host program's answer */
		cpu_ask(c, ATT_kick);
		return true;
	}
	c->interp->faults++;
	flags_out(c);
	c->r.interruptibility = 0;
	c->r.activity = ACTIVITY_run;	/* a trap behind HLT ends its wait */
	ok = cpu_deliver(c) == OK;
	flags_in(c);
	run_sync(c);
	return ok;
}

/* An event that the loop holds back could be taken now. */
static bool
window_open(const struct cpu *c)
{
	return c->irq_window && c->r.interruptibility == 0 &&
		(rflags_if(&c->r) || (c->r.nmi_pending && !c->r.nmi_blocked));
}

static bool
is_soft_int(uint16_t id)
{
	return id == INSN_int || id == INSN_int3 || id == INSN_into || id == INSN_int1;
}

/* One instruction, with all that costs time: breakpoints, TF, RF, shadows. Flags are in r.rflags. */
static int
run_one(struct cpu *c)
{
	uint64_t rf = c->r.rflags & rflags_rf_MASK, shadow = c->r.interruptibility;
	bool tf = rflags_tf(&c->r);
	struct watch w;
	struct block *b;
	uint64_t dr6, held = c->interp->held_dr6;
	int code;

	c->interp->careful_steps++;
	c->interp->held_dr6 = 0;
	if (rf == 0 && watch_code(c)) {
		flags_in(c);
		return RUN_fault;
	}
	if (block_find(c, KEY_one, &b)) {
		flags_in(c);
		return RUN_fault;
	}
	watch_before(c, b, &w);
	c->r.rflags &= ~rflags_rf_MASK;
	c->r.interruptibility = 0;
	flags_in(c);
	code = b->op->fn(c, b->op);
	flags_out(c);
	if (code == RUN_fault || code == RUN_again)
		c->r.rflags |= rf;
	if (code == RUN_again)
		c->r.interruptibility = shadow;
	if (code == RUN_fault)
		return code;
	dr6 = watch_after(c, &w) | held;
	if (tf && !is_soft_int(w.id) && !(w.id == INSN_syscall && !rflags_tf(&c->r)))
		dr6 |= dr6_bs_MASK;
	/* MOV SS and POP SS hold a trap back until the next instruction is done. */
	if (c->r.interruptibility & SHADOW_mov_ss) {
		c->interp->held_dr6 = dr6 & dr6_b0_MASK;
		dr6 = 0;
	}
	if (dr6 == 0)
		return code == RUN_next ? RUN_sync : code;
	c->fault = (struct cpu_fault){ .kind = EVENT_trap, .vec = VEC_db, .addr = dr6 };
	return RUN_fault;
}

static int
run_block(struct cpu *c)
{
	struct interp *it = c->interp;
	uint64_t rip = c->r.rip;
	const struct jump *j = &it->jump[jump_hash(rip)];
	struct block *b;

	if (likely(j->rip == rip && j->key == it->jump_key))
		return j->block->op->fn(c, j->block->op);
	if (block_find(c, 0, &b))
		return RUN_fault;
	return b->op->fn(c, b->op);
}

/* attention is not zero, or enough is retired: true to leave. */
static bool
run_attend(struct cpu *c)
{
	/* Cleared before any_written is looked at: whoever writes sets it, then asks. */
	atomic_fetch_and(&c->attention, ~(uint32_t)ATT_code);
	if (atomic_load(&c->interp->any_written)) {
		blocks_drop_written(c);
		run_sync(c);
	}
	if (atomic_load(&c->attention) == ATT_tlb) {
		atomic_fetch_and(&c->attention, ~(uint32_t)ATT_tlb);
		cpu_shootdown_serve(c);
		run_sync(c);
	}
	return (atomic_load(&c->attention) & ~(uint32_t)ATT_code) != 0 || c->retired >= c->retire_limit;
}

static int
run_exit(struct cpu *c, struct vexit *x, enum exit_kind kind)
{
	flags_out(c);
	x->kind = (uint8_t)kind;
	x->carried = GROUP_ALL;
	return 0;
}

/* After a block's code other than RUN_next: -1 to go on, else the exit kind. */
static int
run_after(struct cpu *c, int code)
{
	flags_out(c);
	switch (code) {
	case RUN_fault:
		if (!run_deliver(c))
			return EXIT_down;
		break;
	case RUN_hlt:
		return EXIT_hlt;
	case RUN_stop:
		return EXIT_stop;
	case RUN_attend:
		return EXIT_attend;
	default:
		run_sync(c);
		break;
	}
	return window_open(c) ? EXIT_attend : -1;
}

static void
run_enter(struct cpu *c)
{
	if (atomic_load(&c->interp->any_written))
		blocks_drop_written(c);
	flags_in(c);
	run_sync(c);
}

/* until: also leave, with EXIT_attend, when that is so; looked at where the mode may have changed. */
static inline __attribute__((always_inline)) int
run_loop(struct cpu *c, struct vexit *x, bool (*until)(const struct cpu *))
{
	struct interp *it = c->interp;
	int code, kind;

	run_enter(c);
	for (;;) {
		if (unlikely(atomic_load_explicit(&c->attention, memory_order_acquire) != 0 ||
		    c->retired >= c->retire_limit) && run_attend(c))
			return run_exit(c, x, EXIT_attend);
		if (unlikely(it->careful)) {
			flags_out(c);
			code = run_one(c);
		} else {
			code = run_block(c);
		}
		if (likely(code == RUN_next))
			continue;
		kind = run_after(c, code);
		if (kind >= 0)
			return run_exit(c, x, (enum exit_kind)kind);
		if (until != NULL && until(c))
			return run_exit(c, x, EXIT_attend);
	}
}

static int
interp_run(struct cpu *c, struct vexit *x)
{
	return run_loop(c, x, NULL);
}

int
interp_run_legacy(struct cpu *c, struct vexit *x, bool (*until)(const struct cpu *))
{
	return run_loop(c, x, until);
}

int
interp_step(struct cpu *c, struct vexit *x)
{
	int kind;

	run_enter(c);
	flags_out(c);
	kind = run_after(c, run_one(c));
	return run_exit(c, x, kind < 0 ? EXIT_attend : (enum exit_kind)kind);
}

static int
interp_open(struct cpu *c)
{
	return fpu_cache_open() ? interp_blocks_open(c) : -REGENT_E_memory;
}

static int
interp_move(struct cpu *c, uint32_t groups)
{
	(void)c, (void)groups;		/* works on the register file in place */
	return 0;
}

static unsigned
interp_counters(const struct cpu *c, struct counter *out, unsigned max)
{
	const struct interp *it = c->interp;
	const struct counter all[] = {
		{ "blocks_built", it->built }, { "block_lookups", it->lookups },
		{ "blocks_dropped", it->dropped }, { "block_cache_flushes", it->flushed },
		{ "events_delivered", it->faults }, { "single_steps", it->careful_steps },
	};
	unsigned n = sizeof(all) / sizeof(all[0]), i;

	for (i = 0; i < n && i < max; i++)
		out[i] = all[i];
	return i;
}

static void
interp_forget(struct cpu *c)
{
	blocks_flush(c->interp);
}

const struct engine interp_engine = {
	.name = "interp", .software = true, .open = interp_open, .close = interp_blocks_close,
	.store = interp_move, .fetch = interp_move, .run = interp_run, .step = interp_step,
	.counts = true, .forget = interp_forget,
	.counters = interp_counters,
};
