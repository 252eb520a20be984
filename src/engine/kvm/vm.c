/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/vm.c - the kernel's side of a virtual machine: memory slots and CPUID.
 *
 * Interrupt controllers and timers are the board's own, as with every engine, so that their state
 * and their behaviour are the same; the kernel only enters guest mode.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TSS_BASE 0xfffbd000ul	/* Intel's real mode wants four pages that nobody uses */
#define IDENTITY_BASE 0xfffbc000ul

enum { CPUID_ENTRIES = 200 };

static pthread_mutex_t vms_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kvm_vm *vms;

static int
map_memory(struct kvm_vm *vm)
{
	struct kvm_userspace_memory_region slot = { 0 };
	gpa_t base;
	uint64_t size;
	uint8_t *host;

	for (unsigned n = 0; mem_region(vm->mem, n, &base, &size, &host); n++) {
		slot.slot = n;
		slot.guest_phys_addr = base;
		slot.memory_size = size;
		slot.userspace_addr = (uintptr_t)host;
		if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return -1;
	}
	return 0;
}

/* MSRs that the kernel does not know come to us instead of faulting the guest, and AMD's own always. */
static int
want_msr_exits(struct kvm_vm *vm)
{
	static uint8_t none[KVM_OUR_MSRS / 8];
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW, .ranges = { {
		.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .base = KVM_OUR_MSR_BASE,
		.nmsrs = KVM_OUR_MSRS, .bitmap = none } } };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = { KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_FILTER } };

	return ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0 ? -1 : ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter);
}

static void
vm_free(struct kvm_vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->sys >= 0)
		close(vm->sys);
	free(vm);
}

static struct kvm_vm *
vm_make(struct mem *mem)
{
	struct kvm_vm *vm = calloc(1, sizeof(*vm));
	uint64_t identity = IDENTITY_BASE;
	int size, saved;

	if (vm == NULL)
		return NULL;
	vm->mem = mem;
	vm->fd = -1;
	vm->sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->sys >= 0 && (vm->fd = ioctl(vm->sys, KVM_CREATE_VM, 0)) >= 0 &&
	    (size = ioctl(vm->sys, KVM_GET_VCPU_MMAP_SIZE, 0)) > 0 && map_memory(vm) == 0 &&
	    want_msr_exits(vm) == 0) {
		ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);	/* only Intel has them */
		ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_BASE);
		vm->run_size = (size_t)size;
		return vm;
	}
	saved = errno;
	vm_free(vm);
	errno = saved;
	return NULL;
}

struct kvm_vm *
kvm_vm_get(struct mem *mem)
{
	struct kvm_vm *vm;

	pthread_mutex_lock(&vms_lock);
	for (vm = vms; vm != NULL && vm->mem != mem; vm = vm->next)
		;
	if (vm == NULL && (vm = vm_make(mem)) != NULL) {
		vm->next = vms;
		vms = vm;
	}
	if (vm != NULL)
		vm->users++;
	pthread_mutex_unlock(&vms_lock);
	return vm;
}

void
kvm_vm_put(struct kvm_vm *vm)
{
	struct kvm_vm **at;

	pthread_mutex_lock(&vms_lock);
	if (--vm->users == 0) {
		for (at = &vms; *at != vm; at = &(*at)->next)
			;
		*at = vm->next;
		vm_free(vm);
	}
	pthread_mutex_unlock(&vms_lock);
}

/* The board's own, whatever the kernel supports: local APIC and what is made of it. */
static bool
is_ours(enum cpu_feature f)
{
	return f == CPUF_apic || f == CPUF_x2apic || f == CPUF_tsc_deadline || f == CPUF_hypervisor;
}

static bool
kvm_has(void *ctx, enum cpu_feature f)
{
	const struct kvm_cpuid2 *table = ctx;
	uint32_t leaf, sub;
	unsigned reg, bit;

	cpu_feature_place(f, &leaf, &sub, &reg, &bit);
	for (unsigned i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &table->entries[i];
		const uint32_t regs[] = { e->eax, e->ebx, e->ecx, e->edx };

		if (e->function == leaf && e->index == sub && regs[reg] >> bit & 1)
			return true;
	}
	return is_ours(f);
}

/* The model, cut down to what this kernel can show a guest. Says nothing when it can't be asked: open will. */
void
kvm_limit(struct cpu_model *m, char *lost, size_t lost_size)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + CPUID_ENTRIES * sizeof(table->entries[0]));
	int sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (table != NULL && sys >= 0) {
		table->nent = CPUID_ENTRIES;
		if (ioctl(sys, KVM_GET_SUPPORTED_CPUID, table) == 0)
			cpu_model_limit(m, kvm_has, table, lost, lost_size);
	}
	if (sys >= 0)
		close(sys);
	free(table);
}

/* Leaves with their subleaves, as the model answers them. */
static const struct {
	uint32_t first, last, subleaves;	/* subleaves 0: the leaf has none */
} leaves[] = {
	{ 0x0, 0x3, 0 }, { 0x4, 0x4, 4 }, { 0x5, 0x6, 0 }, { 0x7, 0x7, 2 }, { 0x9, 0xa, 0 }, { 0xb, 0xb, 3 },
	{ 0xd, 0xd, 3 }, { 0x14, 0x16, 0 }, { 0x40000000, 0x40000001, 0 }, { 0x40000010, 0x40000010, 0 },
	{ 0x80000000, 0x80000008, 0 }, { 0x8000001a, 0x8000001a, 0 }, { 0x8000001d, 0x8000001d, 4 },
	{ 0x8000001e, 0x80000021, 0 },
};

int
kvm_cpuid_set(struct cpu *c)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + CPUID_ENTRIES * sizeof(table->entries[0]));
	int err;

	if (table == NULL)
		return -1;
	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		for (uint32_t leaf = leaves[i].first; leaf <= leaves[i].last; leaf++)
			for (uint32_t sub = 0; sub == 0 || sub < leaves[i].subleaves; sub++) {
				struct kvm_cpuid_entry2 *e = &table->entries[table->nent++];
				struct cpuid_regs r;

				cpuid_answer(c, leaf, sub, &r);
				e->function = leaf;
				e->index = sub;
				e->flags = leaves[i].subleaves > 0 ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
				e->eax = r.eax, e->ebx = r.ebx, e->ecx = r.ecx, e->edx = r.edx;
			}
	err = kvm_do(c->kvm, KVM_SET_CPUID2, table);
	free(table);
	return err;
}
