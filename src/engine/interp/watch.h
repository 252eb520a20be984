/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/watch.h - breakpoints: DR0-DR3 and the debugger's watchpoints, around one instruction. */
#pragma once
#include "engine/interp/iop.h"

enum { WATCH_ACCESSES = 3 };

/* What an instruction is about to touch. */
struct watch {
	uint16_t id;			/* enum insn_id */
	unsigned n;
	struct { uint64_t lin; unsigned size; bool write, port; } at[WATCH_ACCESSES];
};

bool watch_needed(const struct cpu *c);
/* An enabled instruction breakpoint is at r.rip: FAULT, with #DB raised. */
int MUST_CHECK watch_code(struct cpu *c);
void watch_before(struct cpu *c, const struct block *b, struct watch *w);
/* The DR6 bits that the instruction, now completed, has earned; tells the debugger as well. */
uint64_t watch_after(struct cpu *c, const struct watch *w);
