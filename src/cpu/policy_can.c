/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy_can.c - which rules an engine can keep. Software engines see every access; a processor in guest
 * mode shows its monitor only what its kernel asks for.
 */
#include "cpu/cpuid.h"
#include "cpu/policy.h"
#include <string.h>

enum what { WHAT_msr, WHAT_base_msr, WHAT_x2apic, WHAT_reg, WHAT_feature, WHAT_cpuid, WHAT_port, WHAT_insn, WHAT_init, WHAT_device };

/* KVM, by what the rule is about and by verb. `log` and `ask` need an exit as `deny` does. */
static const struct {
	uint8_t what, verb, can;	/* verb VERB__COUNT: any other */
	const char *why;
} kvm_row[] = {
	{ WHAT_msr,      VERB__COUNT, CAN_yes,    "by KVM's MSR filter" },
	{ WHAT_base_msr, VERB__COUNT, CAN_partly, "RDMSR and WRMSR only: SWAPGS and WRGSBASE are not seen" },
	{ WHAT_x2apic,   VERB__COUNT, CAN_no,     "KVM's filter does not apply to x2APIC MSRs" },
	{ WHAT_feature,  VERB_hide,   CAN_hiding, "CPUID does not show it, and KVM keeps its bits clear" },
	{ WHAT_reg,      VERB_hide,   CAN_no,     "KVM gives no exit for this register" },
	{ WHAT_feature,  VERB__COUNT, CAN_no,     "KVM gives no exit for control registers" },
	{ WHAT_reg,      VERB__COUNT, CAN_no,     "KVM gives no exit for this register" },
	{ WHAT_cpuid,    VERB__COUNT, CAN_hiding, "CPUID answers so; an instruction that is not shown may still run" },
	{ WHAT_port,     VERB_deny,   CAN_hiding, "reads give all ones, writes are lost; KVM can't raise #GP here" },
	{ WHAT_port,     VERB_ask,    CAN_no,     "KVM can't try a port access again" },
	{ WHAT_port,     VERB__COUNT, CAN_yes,    "every port access is an exit" },
	{ WHAT_insn,     VERB__COUNT, CAN_no,     "KVM gives no exit for this instruction" },
	{ WHAT_device,   VERB__COUNT, CAN_yes,    "the device is the board's" },
	{ WHAT_init,     VERB__COUNT, CAN_no,     "INIT is delivered by the kernel's interrupt controllers" },
};

static enum what
what_of_reg(const struct policy_rule *r)
{
	const struct reg_desc *d = &reg_desc[r->obj.first];

	if (r->verb == VERB_hide && r->feature != CPUF_always)
		return WHAT_feature;
	if (r->obj.first == REG_fs_base || r->obj.first == REG_gs_base || r->obj.first == REG_kernel_gs_base)
		return WHAT_base_msr;
	if (d->msr != NOMSR)
		return WHAT_msr;
	return r->feature != CPUF_always ? WHAT_feature : WHAT_reg;
}

static enum what
what_of(const struct policy_rule *r)
{
	enum { X2APIC_FIRST = 0x800, X2APIC_LAST = 0x8ff };

	switch (r->obj.kind) {
	case OBJ_reg: return what_of_reg(r);
	case OBJ_msr: return r->obj.first >= X2APIC_FIRST && r->obj.last <= X2APIC_LAST ? WHAT_x2apic : WHAT_msr;
	case OBJ_cpuid: return WHAT_cpuid;
	case OBJ_device: return WHAT_device;
	case OBJ_port: return WHAT_port;
	case OBJ_insn: return r->verb == VERB_hide && r->feature != CPUF_always ? WHAT_cpuid : WHAT_insn;
	default: return WHAT_init;
	}
}

enum policy_can
policy_engine_can(const char *engine, const struct policy_rule *r, const char **why)
{
	enum what what = what_of(r);
	unsigned i;

	*why = "";
	if (strcmp(engine, "kvm") != 0 || r->verb == VERB_allow)
		return CAN_yes;
	for (i = 0; kvm_row[i].what != what || (kvm_row[i].verb != r->verb && kvm_row[i].verb != VERB__COUNT); i++)
		;
	*why = kvm_row[i].why;
	if (kvm_row[i].can == CAN_yes && r->after) {
		*why = "from the first exit that finds the guest at CPL 3";
		return CAN_partly;
	}
	return (enum policy_can)kvm_row[i].can;
}
