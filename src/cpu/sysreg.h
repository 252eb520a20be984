/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/sysreg.h - guest reads and writes of control, debug and model-specific registers and CPUID.
 *
 * Privilege is checked here. OK or FAULT (#GP, #UD, #DB for general detect); nothing changed on FAULT.
 */
#pragma once
#include "cpu/cpu.h"

/* One decision for every engine: may the guest do this to that register? What no rule is about costs
 * a load and a branch. After VERDICT_allow *val is what is to be written, or what a read shows (it
 * held the true value). Everything else is answered by policy_refuse. */
enum verdict policy_reg_asked(struct cpu *c, int id, enum reg_access access, uint64_t *val);
static inline enum verdict
policy_reg(struct cpu *c, int id, enum reg_access access, uint64_t *val)
{
	if (__builtin_expect(!(c->policed[id] & access), 1))
		return VERDICT_allow;
	return policy_reg_asked(c, id, access, val);
}
/* What the guest gets instead: #GP(0), #UD for what is hidden (where ud), nothing (OK), or another try. */
int MUST_CHECK policy_refuse(struct cpu *c, enum verdict v, bool ud);
/* LGDT and LIDT: base and limit as one register. */
int MUST_CHECK table_write(struct cpu *c, int base_id, uint64_t base, uint64_t limit);
int MUST_CHECK table_read(struct cpu *c, int base_id, uint64_t *base, uint64_t *limit);
int MUST_CHECK segment_write(struct cpu *c, enum seg_id seg, uint64_t sel, uint64_t base);	/* LLDT, LTR: may it? */
int MUST_CHECK policy_insn(struct cpu *c, enum policy_insn n);	/* one of c->police_insns */
/* done: no device (no register) is to see it; *io (*val) is the answer. */
int MUST_CHECK policy_port(struct cpu *c, struct io *io, bool *done);
int MUST_CHECK policy_msr(struct cpu *c, uint32_t msr, enum reg_access access, uint64_t *val, bool *done);
bool policy_init_refused(struct cpu *c);	/* an INIT arrived for c */

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
