/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/vm.c - the kernel's side of a virtual machine: made once per guest memory, its slots, its dirty log. */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TSS_BASE 0xfffbd000ul	/* Intel's real mode wants four pages that nobody uses */
#define IDENTITY_BASE 0xfffbc000ul

static pthread_mutex_t vms_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kvm_vm *vms;

static bool
slot_of(const struct kvm_vm *vm, unsigned n, struct kvm_userspace_memory_region *slot)
{
	gpa_t base;
	uint64_t size;
	uint8_t *host;

	if (!mem_region(vm->mem, n, &base, &size, &host))
		return false;
	*slot = (struct kvm_userspace_memory_region){ .slot = n, .guest_phys_addr = base, .memory_size = size,
		.userspace_addr = (uintptr_t)host, .flags = vm->logs_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0 };
	return true;
}

static int
map_memory(struct kvm_vm *vm)
{
	struct kvm_userspace_memory_region slot;

	for (unsigned n = 0; slot_of(vm, n, &slot); n++)
		if (KVM_CALL(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return -1;
	return 0;
}

/* Only Intel's real mode has them; others refuse, and need nothing. */
static void
lend_pages(struct kvm_vm *vm)
{
	uint64_t identity = IDENTITY_BASE;

	ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_BASE);
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

/* The size of the run page, and of an XSAVE image: KVM_CAP_XSAVE2 tells it where state may be larger. */
static int
sizes(struct kvm_vm *vm)
{
	int size = KVM_CALL(vm->sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	int xsave = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	if (size <= 0)
		return -1;
	vm->run_size = (size_t)size;
	vm->xsave_size = xsave > (int)sizeof(struct kvm_xsave) ? (size_t)xsave : sizeof(struct kvm_xsave);
	return 0;
}

static struct kvm_vm *
vm_make(struct mem *mem, bool chips)
{
	struct kvm_vm *vm = calloc(1, sizeof(*vm));

	if (vm == NULL) {
		engine_fail("no memory for a virtual machine; free some");
		return NULL;
	}
	vm->mem = mem;
	vm->fd = -1;
	if ((vm->sys = kvm_device_open()) >= 0 && (vm->fd = KVM_CALL(vm->sys, KVM_CREATE_VM, 0)) >= 0) {
		lend_pages(vm);
		if (sizes(vm) == 0 && map_memory(vm) == 0 && (!chips || !kvm_has_chips(vm->sys) || kvm_chips_make(vm) == 0) &&
		    kvm_msr_know(vm) == 0)
			return vm;
	}
	vm_free(vm);
	return NULL;
}

struct kvm_vm *
kvm_vm_get(struct mem *mem, bool chips)
{
	struct kvm_vm *vm;

	pthread_mutex_lock(&vms_lock);
	for (vm = vms; vm != NULL && vm->mem != mem; vm = vm->next)
		;
	if (vm == NULL && (vm = vm_make(mem, chips)) != NULL) {
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

/* ---- which pages the guest wrote ---- */

int
kvm_dirty_log(struct cpu *c, bool on)
{
	c->kvm->vm->logs_dirty = on;
	return map_memory(c->kvm->vm);
}

static void
mark(struct mem *mem, gpa_t base, const uint64_t *bits, uint64_t words)
{
	for (uint64_t w = 0; w < words; w++)
		for (uint64_t left = bits[w]; left != 0; left &= left - 1)
			mem_page_set(mem, base + ((64 * w + (uint64_t)__builtin_ctzll(left)) << PAGE_SHIFT), MEM_dirty);
}

int
kvm_dirty_collect(struct cpu *c)
{
	struct kvm_vm *vm = c->kvm->vm;
	struct kvm_userspace_memory_region slot;
	int res = 0;

	for (unsigned n = 0; res == 0 && slot_of(vm, n, &slot); n++) {
		uint64_t words = (slot.memory_size / PAGE_SIZE + 63) / 64;
		struct kvm_dirty_log log = { .slot = n, .dirty_bitmap = calloc(words, sizeof(uint64_t)) };

		if (log.dirty_bitmap == NULL)
			return engine_fail("no memory for the dirty log; free some");
		res = KVM_CALL(vm->fd, KVM_GET_DIRTY_LOG, &log);
		if (res == 0)
			mark(vm->mem, slot.guest_phys_addr, log.dirty_bitmap, words);
		free(log.dirty_bitmap);
	}
	return res;
}
