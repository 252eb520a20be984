/* SPDX-License-Identifier: Apache-2.0 */
/* engine/engine.h - the contract between the vCPU loop and whatever runs guest code.
 *
 * An engine turns register file and memory into the next exit. It knows no device and no policy
 * text. interp and bt work on cpu->r in place, so store and fetch cost them nothing.
 */
#pragma once
#include "cpu/cpu.h"

enum exit_kind {
#define X(kind, handler) EXIT_##kind,
#include "vm/exits.def"
#undef X
	EXIT__COUNT
};

/* Why the engine stopped, and what the handler needs. */
struct vexit {
	uint8_t kind;		/* enum exit_kind */
	uint32_t carried;	/* groups of the register file that are current now */
	union {
		struct io io;					/* EXIT_io: for engines that do not call ops->io */
		struct { uint32_t num; bool write; } msr;	/* EXIT_msr */
		struct { uint64_t rip; } debug;			/* EXIT_debug */
	};
};

/* A number that an engine counts, for `--stats`. */
struct counter { const char *name; uint64_t count; };

struct engine {
	const char *name;
	const char *model;		/* its default CPU model; NULL: regent-v1 */
	bool software;			/* may claim regent-bt-* models; policy enforced in full */
	bool kernel_chips;		/* open heeds cpu->kernel_chips */
	bool counts;			/* cpu->retired is complete without a counted clock, too */
	/* Take out of a CPU model what this engine can't give; NULL: nothing. Before open. */
	void (*limit)(struct cpu_model *m, char *lost, size_t lost_size);
	int (*open)(struct cpu *c);	/* 0, or -1 with engine_why() or errno */
	void (*close)(struct cpu *c);
	int (*store)(struct cpu *c, uint32_t groups);
	int (*fetch)(struct cpu *c, uint32_t groups);
	/* Run guest code until something needs the loop: 0 and *x filled, or -REGENT_E_*. Returns
	 * EXIT_attend soon after cpu->attention becomes nonzero; must not be called while the
	 * activity is not ACTIVITY_run. */
	int (*run)(struct cpu *c, struct vexit *x);
	/* Exactly one instruction (or one delivered fault); for debuggers and lockstep. */
	int (*step)(struct cpu *c, struct vexit *x);
	/* Forget what was made of guest code: the policy says other things of it now. On the vCPU's thread,
	 * between runs. NULL: nothing is kept. */
	void (*forget)(struct cpu *c);
	/* Give memory back that only makes guest code faster: the vCPU idles. On its thread; may be NULL. */
	void (*trim)(struct cpu *c);
	void (*kick)(struct cpu *c);	/* from any thread, after cpu_ask(); may be NULL */
	/* Board and boot are done, nothing has run: the last place to refuse. NULL: always ready. */
	int (*ready)(struct cpu *c);
	/* Deliver cpu->fault (an external interrupt that can be taken now, or an NMI that may have to wait
	 * in the engine); NULL: cpu_deliver, and NMIs wait in the register file. */
	int (*inject)(struct cpu *c);
	/* Fill out[0..max) with the engine's own counts, each name once; how many. Any thread: the
	 * counts may be a little old. NULL: none. */
	unsigned (*counters)(const struct cpu *c, struct counter *out, unsigned max);
};

extern const struct engine interp_engine, bt_engine, kvm_engine, script_engine;

/* Why an engine's last function on this thread failed: one line, with what to do; "": it did not say. */
const char *engine_why(void);
int engine_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));	/* says it; -1 */

/* Can the host's /dev/kvm run an unmodified kernel? 0; or -1, and why not, what to do about it. */
struct kvm_answer { char why[128], remedy[128]; };
int kvm_usable(struct kvm_answer *a);
/* What kvm_usable looks at, a row each, for `regent doctor`; false behind the last. */
struct kvm_finding { const char *what; bool needed, has; };
bool kvm_finding(unsigned n, struct kvm_finding *f);

/* The engine of that name, or NULL. */
const struct engine *engine_by_name(const char *name);

/* The interpreter's single step, which the translator uses for what it does not translate:
 * executes the instruction at r.rip (or delivers the fault it raises). */
int interp_step(struct cpu *c, struct vexit *x);

/* The interpreter's run, which returns as soon as `until` is true of the processor: what the
 * translator does with the modes that it does not translate. */
int interp_run_legacy(struct cpu *c, struct vexit *x, bool (*until)(const struct cpu *));
