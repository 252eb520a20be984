/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/kvm.h - what the parts of the KVM engine share: files, the run page, state conversion. */
#pragma once
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "engine/engine.h"
#include "engine/kvm/ioctl.h"
#include <linux/kvm.h>
#include <pthread.h>

/* One KVM virtual machine: shared by the vCPUs of one guest memory. kvm/vm.c */
struct kvm_vm {
	int sys, fd;			/* /dev/kvm; the VM */
	struct mem *mem;		/* borrowed: its key */
	unsigned users;
	bool chips;			/* interrupt controllers and PIT are the kernel's */
	bool logs_dirty;
	size_t run_size, xsave_size;
	uint8_t known[REG__COUNT];	/* the kernel has this MSR */
	struct kvm_vm *next;
};

/* Where KVM keeps what: the `kvm` column of registers.def, and whether a vCPU waits. */
enum { PLACE_activity = KVM_none + 1, PLACE__COUNT };
#define PLACE_BIT(p) (1u << (p))
#define PLACE_ALL (PLACE_BIT(PLACE__COUNT) - 1)

struct kvm_vcpu {
	struct kvm_vm *vm;
	int fd;
	struct kvm_run *run;		/* shared with the kernel, vm->run_size bytes */
	void *xsave;			/* owned, vm->xsave_size bytes */
	uint32_t have;			/* places whose registers are current in cpu->r */
	pthread_t thread;		/* who runs it; valid while in_run */
	_Atomic bool in_run;
	bool prepared;			/* CPUID and TSC were given */
	bool filtered;			/* and a filter by this policy: */
	const struct policy *policy;
	uint64_t entries, ioctls;	/* KVM_RUN; all others on this vCPU */
	uint64_t exits[64];		/* by KVM_EXIT_ number */
};

struct kvm_vm *kvm_vm_get(struct mem *mem, bool chips);	/* NULL, engine_why() */
void kvm_vm_put(struct kvm_vm *vm);

/* kvm/cpuid.c */
void kvm_limit(struct cpu_model *m, char *lost, size_t lost_size);
int kvm_cpuid_set(struct cpu *c);		/* from c->model; 0, or -1 with engine_why() */

/* kvm/chips.c: 0, or -1 with engine_why() */
int kvm_chips_make(struct kvm_vm *vm);
bool kvm_has_chips(int sys);			/* the kernel has all that takes; kvm/probe.c */

/* kvm/msr.c */
int kvm_msr_know(struct kvm_vm *vm);		/* asks the kernel which it has */
int kvm_msr_filter(struct cpu *c);		/* by the table and the policy of c, for all of the VM */
int kvm_msr_move(struct cpu *c, bool store);
bool kvm_msr_is_kernels(const struct kvm_vm *vm, int id);
void kvm_msr_exit(struct cpu *c, struct kvm_run *run);
int kvm_tsc_give(struct cpu *c);		/* the guest's TSC, as the vCPU's owner has it */

/* kvm/vm.c: MEM_dirty from the kernel's log of what the guest wrote. 0, or -1 with engine_why() */
int kvm_dirty_log(struct cpu *c, bool on);
int kvm_dirty_collect(struct cpu *c);

/* Groups of the register file to KVM and back; 0, or -1 with engine_why(). kvm/state.c */
int kvm_store(struct cpu *c, uint32_t groups);
int kvm_fetch(struct cpu *c, uint32_t groups);
void kvm_carry(struct cpu *c);			/* from the run page: what KVM_RUN brought along */

/* ioctls of a vCPU, counted. */
#define VCPU_CALL(k, request, arg) ((k)->ioctls++, kvm_call((k)->fd, request, (void *)(uintptr_t)(arg), #request))
