/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/msr.c - MSRs: which the kernel keeps, which come to us, and the TSC.
 *
 * The kernel keeps those whose row in registers.def says so, whose policy is to allow them, and that it
 * knows; the guest reaches those without us. All others are denied by KVM's filter, which makes each
 * access an exit: the table and the policy decide, as on every engine. x2APIC's can't be filtered.
 */
#include "engine/kvm/kvm.h"

#include "cpu/sysreg.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

enum { RANGE = 0x2000, INDEX_MAX = 1024 };
#define TSC_ROUND ((uint64_t)1 << 14)	/* so that all vCPUs get the same offset */

/* Where MSRs are at all. */
static const uint32_t range_base[] = { 0, 0xc0000000, 0xc0010000 };
enum { RANGES = sizeof(range_base) / sizeof(range_base[0]) };

/* What the kernel itself knows; the TSC's and the clocks' are ours on every kernel. */
int
kvm_msr_know(struct kvm_vm *vm)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + INDEX_MAX * sizeof(list->indices[0]));
	int id, res;

	if (list == NULL)
		return engine_fail("no memory for a list of MSRs; free some");
	list->nmsrs = INDEX_MAX;
	if ((res = KVM_CALL(vm->sys, KVM_GET_MSR_INDEX_LIST, list)) == 0)
		for (uint32_t i = 0; i < list->nmsrs; i++)
			if ((id = reg_by_msr(list->indices[i])) >= 0)
				vm->known[id] = 1;
	free(list);
	return res;
}

bool
kvm_msr_is_kernels(const struct kvm_vm *vm, int id)
{
	if (id == REG_ia32_tsc_deadline)
		return vm->chips;
	return reg_desc[id].kvm == KVM_msr && reg_desc[id].kind == KIND_saved && vm->known[id];
}

/* Whether the guest may go straight to the kernel's. */
static bool
passes(const struct cpu *c, int id)
{
	const struct kvm_vm *vm = c->kvm->vm;

	if (c->policed != NULL && c->policed[id] != 0)
		return false;
	if (id == REG_ia32_apic_base)
		return vm->chips;
	return kvm_msr_is_kernels(vm, id) || id == REG_ia32_pred_cmd || id == REG_ia32_efer || id == REG_fs_base ||
		id == REG_gs_base;
}

int
kvm_msr_filter(struct cpu *c)
{
	static const uint32_t reasons = KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL |
		KVM_MSR_EXIT_REASON_FILTER;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { reasons } };
	struct kvm_vm *vm = c->kvm->vm;
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };
	uint8_t allowed[RANGES][RANGE / 8] = { 0 };

	for (int id = 0; id < REG__COUNT; id++)
		for (unsigned n = 0; n < RANGES; n++) {
			uint32_t at = reg_desc[id].msr - range_base[n];

			if (reg_desc[id].msr != NOMSR && at < RANGE && passes(c, id))
				allowed[n][at / 8] |= (uint8_t)(1u << at % 8);
		}
	for (unsigned n = 0; n < RANGES; n++)
		filter.ranges[n] = (struct kvm_msr_filter_range){ .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.base = range_base[n], .nmsrs = RANGE, .bitmap = allowed[n] };
	if (KVM_CALL(vm->fd, KVM_ENABLE_CAP, &cap) < 0 || KVM_CALL(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return -1;
	c->kvm->filtered = true;
	c->kvm->policy = c->policy;
	return 0;
}

/* A struct kvm_msrs with room for all. */
struct all_msrs {
	__u32 nmsrs, pad;
	struct kvm_msr_entry entry[REG__COUNT];
};
static_assert(offsetof(struct all_msrs, entry) == sizeof(struct kvm_msrs), "the kernel's layout");

/* All in one ioctl. The kernel stops at the first that it refuses. */
int
kvm_msr_move(struct cpu *c, bool store)
{
	struct all_msrs all = { 0 };
	uint16_t ids[REG__COUNT];
	int done;

	for (int id = 0; id < REG__COUNT; id++) {
		if (!kvm_msr_is_kernels(c->kvm->vm, id) || !cpu_has(c->model, reg_desc[id].since))
			continue;
		ids[all.nmsrs] = (uint16_t)id;
		all.entry[all.nmsrs++] = (struct kvm_msr_entry){ .index = reg_desc[id].msr, .data = c->r.v[id] };
	}
	done = store ? VCPU_CALL(c->kvm, KVM_SET_MSRS, &all) : VCPU_CALL(c->kvm, KVM_GET_MSRS, &all);
	if (done < 0)
		return -1;
	if ((unsigned)done < all.nmsrs)
		return engine_fail("KVM_%s_MSRS: refuses %s (MSR %#x) = %#llx; choose --engine bt, or take away what needs it by --cpu",
			store ? "SET" : "GET", reg_desc[ids[done]].name, all.entry[done].index,
			(unsigned long long)all.entry[done].data);
	for (unsigned i = 0; !store && i < all.nmsrs; i++)
		c->r.v[ids[i]] = all.entry[i].data;
	return 0;
}

/* The groups that must be fetched before an access to that MSR, and given back after a write: none when it is ours. */
static uint32_t
kernels_groups(const struct cpu *c, int id)
{
	if (id < 0 || (id == REG_ia32_apic_base && !c->kernel_chips))
		return 0;
	return kvm_msr_is_kernels(c->kvm->vm, id) || reg_desc[id].kvm == KVM_sregs ? GROUP_BIT(reg_desc[id].group) : 0;
}

/* An MSR the kernel leaves to us. That the guest was at CPL 0 is already seen to. One that a policy is about
 * may be the kernel's all the same: then it is fetched before and given back behind. */
void
kvm_msr_exit(struct cpu *c, struct kvm_run *run)
{
	uint64_t val = run->msr.data;
	bool write = run->exit_reason == KVM_EXIT_X86_WRMSR;
	int id = reg_by_msr(run->msr.index);
	uint32_t group = kernels_groups(c, id);

	run->msr.error = 1;
	if (kvm_fetch(c, group) != 0)
		return;
	c->cpl = 0;
	if (write)
		run->msr.error = msr_write(c, run->msr.index, val) != OK;
	else
		run->msr.error = msr_read(c, run->msr.index, &val) != OK;
	run->msr.data = val;
	if (write && group != 0 && run->msr.error == 0)
		run->msr.error = kvm_store(c, group) != 0;
	if (write && (id == REG_ia32_tsc || id == REG_ia32_tsc_adjust))
		kvm_tsc_give(c);
}

int
kvm_tsc_give(struct cpu *c)
{
	uint64_t now = c->ops->tsc(c), offset = (now - __rdtsc() + TSC_ROUND / 2) & ~(TSC_ROUND - 1);
	struct kvm_device_attr tsc = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset };
	struct { __u32 nmsrs, pad; struct kvm_msr_entry entry; } old = { .nmsrs = 1, .entry = {
		.index = reg_desc[REG_ia32_tsc].msr, .data = now } };

	c->kvm->ioctls++;
	if (ioctl(c->kvm->fd, KVM_SET_DEVICE_ATTR, &tsc) == 0)
		return 0;
	return VCPU_CALL(c->kvm, KVM_SET_MSRS, &old) == 1 ? 0 : -1;	/* kernels before 5.16 */
}
