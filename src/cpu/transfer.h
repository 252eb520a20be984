/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/transfer.h - what jumps, calls, returns and interrupts share: the code segment they go to.
 *
 * Private to the files that implement cpu/segments.h and cpu_deliver. A transfer works on locals
 * and on struct stack; registers change only in transfer_commit and stack_commit, after the last
 * thing that can fault.
 */
#pragma once
#include "cpu/stack.h"

/* How a code segment is reached; decides which privilege levels it may have. */
enum reach { REACH_direct, REACH_gate_jmp, REACH_gate_call, REACH_return };

/* Read and judge the code segment `sel`: vec(sel) or #NP(sel). Marks it accessed. */
int MUST_CHECK code_check(
	struct cpu *c, uint16_t sel, enum reach how, unsigned ext, struct desc *d);

struct target {
	struct segreg cs;
	uint64_t rip;
};
/* Target with CS at level cpl; #GP(ext) when rip is outside of the segment. */
int MUST_CHECK target_make(struct cpu *c, const struct desc *d, uint16_t sel, unsigned cpl,
	uint64_t rip, unsigned ext, struct target *t);
/* The same in real-address and virtual-8086 mode. */
int MUST_CHECK target_make_real(struct cpu *c, uint16_t sel, uint64_t rip, struct target *t);
static inline bool
desc_is_64(const struct cpu *c, const struct desc *d)
{
	return c->lma && (d->attr & ATTR_l);
}

/* CS:RIP := t, mode and CPL follow. SS must be committed before. */
void transfer_commit(struct cpu *c, const struct target *t);
static inline uint64_t
rip_mask(unsigned osz)
{
	return osz == 2 ? 0xffff : osz == 4 ? 0xffffffff : UINT64_MAX;
}

/* Far JMP and CALL to a system descriptor d (gate or TSS). */
int MUST_CHECK gate_jmp(struct cpu *c, uint16_t sel, struct desc *d, uint64_t next);
int MUST_CHECK gate_call(struct cpu *c, uint16_t sel, struct desc *d, uint64_t next);

/* One attempt to deliver e with return address rip; FAULT: c->fault is the next one (deliver.c). */
int MUST_CHECK deliver_once(struct cpu *c, const struct cpu_fault *e, uint64_t rip);
/* INT through the real-mode style vector table at `table` (IDT base, or 0 for VME). */
int MUST_CHECK deliver_ivt(
	struct cpu *c, uint64_t table, uint8_t vec, uint64_t flags, uint64_t rip);

/* The event that a task gate of the IDT delivers: what goes on the new stack, EXT for errors on the
 * way, the RFLAGS image that the old task keeps. */
struct task_event {
	bool has_error;
	uint32_t error;
	unsigned ext;
	uint64_t flags;
};
/* cpu_task_switch; e is NULL unless an event is delivered. */
int MUST_CHECK task_switch(struct cpu *c, uint16_t sel, enum task_reason why, uint64_t next,
	const struct task_event *e);
/* IRET with NT set. */
int MUST_CHECK task_return(struct cpu *c, uint64_t next);

/* RFLAGS bits that IRET and POPF may change, beside IF and IOPL, by operand size. */
uint64_t flags_poppable(const struct cpu *c, unsigned osz);
static inline void
flags_set(struct cpu *c, uint64_t mask, uint64_t val)
{
	c->r.rflags = (c->r.rflags & ~mask) | (val & mask) | RFLAGS_fixed;
}

/* The stack of an outer (or, for a 64-bit IRET, the same) level, as RET and IRET pop it. */
int MUST_CHECK return_outer(struct cpu *c, const struct desc *cs, uint16_t ss_sel, uint64_t sp,
	unsigned cpl, struct stack *s);
