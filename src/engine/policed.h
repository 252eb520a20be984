/* SPDX-License-Identifier: Apache-2.0 */
/* engine/policed.h - which decoded instructions a policy may govern by name (cpu/policy_insns.def). */
#pragma once
#include "cpu/cpu.h"
#include "isa/insn.h"

/* The row, or PINSN__COUNT. */
static inline enum policy_insn
policed_row(uint16_t id)
{
	switch (id) {
	case INSN_cpuid: return PINSN_cpuid;
	case INSN_rdtsc: return PINSN_rdtsc;
	case INSN_rdtscp: return PINSN_rdtscp;
	case INSN_rdpmc: return PINSN_rdpmc;
	case INSN_rdrand: return PINSN_rdrand;
	case INSN_rdseed: return PINSN_rdseed;
	case INSN_sgdt: return PINSN_sgdt;
	case INSN_sidt: return PINSN_sidt;
	case INSN_sldt: return PINSN_sldt;
	case INSN_str: return PINSN_str;
	case INSN_smsw: return PINSN_smsw;
	case INSN_invd: return PINSN_invd;
	case INSN_wbinvd: case INSN_wbnoinvd: return PINSN_wbinvd;
	case INSN_monitor: case INSN_monitorx: return PINSN_monitor;
	case INSN_mwait: case INSN_mwaitx: return PINSN_mwait;
	case INSN_vmcall: case INSN_vmmcall: return PINSN_vmmcall;
	case INSN_hlt: return PINSN_hlt;
	default: return PINSN__COUNT;
	}
}

/* Some rule of c's policy is about the instruction: it goes through policy_insn, nothing shorter. */
static inline bool
is_policed(const struct cpu *c, uint16_t id)
{
	enum policy_insn n;

	if (__builtin_expect(c->police_insns == 0, 1))
		return false;
	n = policed_row(id);
	return n != PINSN__COUNT && c->police_insns >> n & 1;
}
