/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/sysreg.h - guest reads and writes of control, debug and model-specific registers and CPUID.
 *
 * Privilege is checked here. OK or FAULT (#GP, #UD, #DB for general detect); nothing changed on FAULT.
 */
#pragma once
#include "cpu/cpu.h"

/* One decision for every engine: may the guest do this to that register? (policy.c) */
enum reg_access { REG_read, REG_write };
enum verdict { VERDICT_allow, VERDICT_deny, VERDICT_hide };
enum verdict policy_check(struct cpu *c, int id, enum reg_access access, uint64_t val);

int MUST_CHECK cr_read(struct cpu *c, unsigned n, uint64_t *val);
int MUST_CHECK cr_write(struct cpu *c, unsigned n, uint64_t val);
int MUST_CHECK cpu_clts(struct cpu *c);
int MUST_CHECK cpu_lmsw(struct cpu *c, uint16_t val);
int MUST_CHECK dr_read(struct cpu *c, unsigned n, uint64_t *val);
int MUST_CHECK dr_write(struct cpu *c, unsigned n, uint64_t val);
int MUST_CHECK msr_read(struct cpu *c, uint32_t msr, uint64_t *val);	/* RDMSR: CPL checked */
int MUST_CHECK msr_write(struct cpu *c, uint32_t msr, uint64_t val);
int MUST_CHECK xcr_read(struct cpu *c, uint32_t n, uint64_t *val);
int MUST_CHECK xcr_write(struct cpu *c, uint32_t n, uint64_t val);
int MUST_CHECK cpu_rdtsc(struct cpu *c, uint64_t *tsc);			/* CR4.TSD checked */
int MUST_CHECK cpu_rdpmc(struct cpu *c, uint32_t n, uint64_t *val);
int MUST_CHECK cpu_cpuid(struct cpu *c);		/* reads eax, ecx; writes eax..edx */
int MUST_CHECK cpu_invlpg(struct cpu *c, uint64_t lin);
int MUST_CHECK cpu_invpcid(struct cpu *c, uint64_t type, uint64_t pcid, uint64_t lin);

/* A write that the masks of registers.def judge, without privilege checks: the host's own sets
 * (debugger, library, restore) use it too. Returns OK or FAULT (#GP). */
int MUST_CHECK reg_guest_write(struct cpu *c, int id, uint64_t val);
