/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/stack.h - the guest's stack, in any mode, for near calls and returns. */
#pragma once
#include "engine/interp/iop.h"

int MUST_CHECK stack_push_val(struct cpu *c, uint64_t val, unsigned size);
int MUST_CHECK stack_pop_val(struct cpu *c, uint64_t *val, unsigned size);
void stack_skip(struct cpu *c, uint64_t bytes);
