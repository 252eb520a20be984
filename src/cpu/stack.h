/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/stack.h - a stack used by a transfer of control, apart from SS:RSP until it commits.
 *
 *	stack_current(c, &s);
 *	if (stack_push(c, &s, c->r.rflags, 4) != OK || ...) return FAULT;
 *	stack_commit(c, &s);
 *
 * Private to the files that implement cpu/segments.h and cpu_deliver.
 */
#pragma once
#include "cpu/descriptor.h"

struct stack {
	struct segreg ss;
	uint64_t sp;
	uint64_t mask;		/* of the bits of sp in use */
	uint32_t error;		/* of the #SS when it overflows */
	bool flat;		/* 64-bit addressing: no limits, canonical checks instead */
	bool checked;		/* protected: type and limit checks */
};

/* SS:RSP as it stands. */
void stack_current(const struct cpu *c, struct stack *s);
/* A new stack segment; flat: the code will run in 64-bit mode. error: the error code of its #SS. */
void stack_new(struct stack *s, const struct segreg *ss, uint64_t sp, bool flat, uint32_t error);

int MUST_CHECK stack_push(struct cpu *c, struct stack *s, uint64_t val, unsigned size);
int MUST_CHECK stack_pop(struct cpu *c, struct stack *s, uint64_t *val, unsigned size);
/* The n-th element of `size` bytes above sp, without popping. */
int MUST_CHECK stack_peek(
	struct cpu *c, const struct stack *s, unsigned n, uint64_t *val, unsigned size);
void stack_drop(struct stack *s, uint64_t bytes);
/* SS:RSP := s. Does not call cpu_mode_update. */
void stack_commit(struct cpu *c, const struct stack *s);

/* Accesses from here on are those of level cpl, until cpu_mode_update() or privilege_restore. */
struct privilege { uint8_t cpl, view; };
struct privilege privilege_assume(struct cpu *c, unsigned cpl);
void privilege_restore(struct cpu *c, struct privilege p);

/* The stack pointer of an inner level, or (64-bit TSS) of an IST entry: from the TSS, unchecked but
 * for the TSS's limit, #TS(TR). sel is 0 in long mode. */
int MUST_CHECK tss_stack(struct cpu *c, unsigned level, unsigned ext, uint16_t *sel, uint64_t *sp);
int MUST_CHECK tss_ist(struct cpu *c, unsigned ist, unsigned ext, uint64_t *sp);
/* The whole way to an inner legacy stack: TSS, descriptor, checks. Long mode: a null SS. */
int MUST_CHECK stack_inner(struct cpu *c, unsigned level, unsigned ext, struct stack *s);
