/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/checks.h - the `check` column of registers.def: functions that judge and store a write.
 *
 * Each gets the value as written, stores what the register then holds, and does what else the
 * manual says of such a write (TLB flushes, mode). OK, or FAULT (#GP) with nothing changed.
 */
#pragma once
#include "cpu/cpu.h"
#include "cpu/cpuid.h"

#define R(name, group, bits, reset, init, writable, rest, since, policy, msr, kvm, gdb, kind, check) \
	int MUST_CHECK check_##check(struct cpu *c, int id, uint64_t val);
#include "cpu/registers.def"
#undef R

/* The CPU feature that gives a control register these bits, or CPUF_always. (control.c) */
int reg_bit_feature(int id, uint64_t bits);

static inline int MUST_CHECK
raise_gp(struct cpu *c)
{
	return cpu_raise_error(c, VEC_gp, 0);
}

static inline bool
is_canonical(const struct cpu *c, uint64_t val)
{
	unsigned unused = 64u - c->model->lin_bits;

	return (uint64_t)((int64_t)(val << unused) >> unused) == val;
}
