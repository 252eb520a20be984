/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/skip.h - what cannot be compared with the host, and why; and what needs special care. */
#pragma once
#include "conformance/cases.h"

/* NULL: it can. */
static const char *
why_skipped(unsigned id)
{
	switch (id) {
	case INSN_syscall: case INSN_sysenter: case INSN_sysret: case INSN_sysexit: case INSN_int: case INSN_int1:
	case INSN_int3: case INSN_into: case INSN_iret: case INSN_ret_far: case INSN_jmp_far: case INSN_call_far:
		return "enters or leaves the host's kernel";
	case INSN_sgdt: case INSN_sidt: case INSN_sldt: case INSN_str: case INSN_smsw: case INSN_lar: case INSN_lsl:
	case INSN_verr: case INSN_verw: case INSN_mov_to_seg: case INSN_pop_seg: case INSN_lds: case INSN_les:
	case INSN_lss: case INSN_lfs: case INSN_lgs: case INSN_mov_from_seg: case INSN_push_seg:
		return "depends on the host's descriptor tables";
	case INSN_rdtsc: case INSN_rdtscp: case INSN_rdpmc: case INSN_cpuid: case INSN_rdpid: case INSN_rdrand:
	case INSN_rdseed: case INSN_xgetbv: case INSN_rdpkru: case INSN_wrpkru:
		return "differs by design";
	case INSN_rdfsbase: case INSN_rdgsbase: case INSN_wrfsbase: case INSN_wrgsbase:
		return "the host process needs its own";
	case INSN_vmcall: case INSN_vmmcall: case INSN_vmrun: case INSN_vmload: case INSN_vmsave: case INSN_stgi:
	case INSN_clgi: case INSN_skinit: case INSN_invlpga: case INSN_rsm: case INSN_monitor: case INSN_mwait:
	case INSN_monitorx: case INSN_mwaitx: case INSN_clzero: case INSN_wbnoinvd: case INSN_hlt:
		return "virtualization, or AMD's only";
	case INSN_xsaves: case INSN_xrstors:
		return "not in the CPU model";
	case INSN_cli: case INSN_sti: case INSN_in: case INSN_out: case INSN_ins: case INSN_outs:
		return "tested by guests: depends on IOPL";
	default:
		return NULL;
	}
}

/* Ends elsewhere than at the next instruction: must be run with TF. */
static bool
needs_trap(const struct test_case *t)
{
	return insn_info[t->in.id].flags & IF_branch || t->in.id == INSN_popf;
}

/* Not every case of an instruction may run on the host, or is the same on all hosts. */
static bool
case_allowed(const struct test_case *t)
{
	const struct insn *in = &t->in;
	unsigned i;

	/* The host's XCR0 has more components: EDX:EAX must stay as point_implicit made them. */
	if (t->s.gpr[0] > 7 || t->s.gpr[2] != 0)
		if (in->id == INSN_xsave || in->id == INSN_xsaveopt || in->id == INSN_xsavec || in->id == INSN_xrstor)
			return false;
	/* 66 on near branches: AMD makes them 16-bit, Intel ignores it; the guest is an AMD. */
	if (t->mode == ISA_64 && insn_info[in->id].flags & IF_branch && in->prefixes & PFX_opsize)
		return false;
	for (i = 0; i < t->in.nopnds && i < 4; i++)
		if (t->in.op[i].kind == OPND_seg)
			return false;
	return true;
}

/* Memory that must not be random. */
static void
prepare_memory(struct test_case *t, uint8_t *host, uint8_t *guest)
{
	uint64_t sp = stack_lin(t, t->s.gpr[4]), at, bv;
	uint32_t v;

	if (t->in.id == INSN_popf && sp >= PLACE_DATA && sp <= PLACE_DATA + DATA_SIZE - 8) {
		/* TF, AC, NT would go on to act on the test program. */
		memcpy(&v, host + sp - PLACE_DATA, 4);
		v &= ~0x44100u;
		memcpy(host + sp - PLACE_DATA, &v, 4);
		memcpy(guest + sp - PLACE_DATA, &v, 4);
	}
	if (!t->in.has_modrm || mem_operand(&t->in) == NULL)
		return;
	at = data_lin(t, address_of(t));
	if (at < PLACE_DATA || at + 832 > PLACE_DATA + DATA_SIZE)
		return;
	at -= PLACE_DATA;
	switch (t->in.id) {
	case INSN_fxrstor: case INSN_xrstor:
		memcpy(host + at, &t->s.fpu, sizeof(t->s.fpu));
		for (bv = 0; bv < 16; bv++)
			rnd_fill(host + at + 160 + 16 * bv, 16);
		v = (uint32_t)rnd() & (rnd_below(8) ? 0xffff : 0x1ffff);
		memcpy(host + at + 24, &v, 4);
		bv = rnd_below(8) ? rnd() & 7 : rnd() & 15;
		memcpy(host + at + 512, &bv, 8);
		bv = rnd_below(4) ? 0 : 1ull << 63 | (rnd() & 7);
		memcpy(host + at + 520, &bv, 8);
		memset(host + at + 528, 0, 48);
		if (rnd_below(16) == 0)
			host[at + 528 + rnd_below(48)] = 1;
		break;
	case INSN_ldmxcsr: case INSN_vldmxcsr:
		v = (uint32_t)rnd() & (rnd_below(8) ? 0xffff : 0x1ffff);
		memcpy(host + at, &v, 4);
		break;
	default:
		return;
	}
	memcpy(guest, host, DATA_SIZE);
}
