/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/kvm.h - what the parts of the KVM engine share: files, the run page, state conversion. */
#pragma once
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "engine/engine.h"
#include <linux/kvm.h>
#include <pthread.h>

/* One KVM virtual machine: shared by the vCPUs of one guest memory. kvm/vm.c */
struct kvm_vm {
	int sys, fd;			/* /dev/kvm; the VM */
	struct mem *mem;		/* borrowed: its key */
	unsigned users;
	size_t run_size;
	struct kvm_vm *next;
};

struct kvm_vcpu {
	struct kvm_vm *vm;
	int fd;
	struct kvm_run *run;		/* shared with the kernel, run_size bytes */
	pthread_t thread;		/* who runs it; valid while in_run */
	_Atomic bool in_run;
	bool prepared;			/* CPUID and TSC were given */
	uint64_t ioctls;		/* beside KVM_RUN: counted for `--stats` and tests */
};

struct kvm_vm *kvm_vm_get(struct mem *mem);	/* NULL with errno */
void kvm_vm_put(struct kvm_vm *vm);
void kvm_limit(struct cpu_model *m, char *lost, size_t lost_size);
int kvm_cpuid_set(struct cpu *c);		/* from c->model; 0 or -1 with errno */

/* Groups of the register file to KVM and back; 0 or -1 with errno. kvm/state.c */
int kvm_store(struct cpu *c, uint32_t groups);
int kvm_fetch(struct cpu *c, uint32_t groups);
/* AMD's own MSRs: the kernel knows only some bits of some, so all of them come to us. */
enum { KVM_OUR_MSRS = 0x2000 };
#define KVM_OUR_MSR_BASE 0xc0010000u
enum { KVM_CARRIED = GROUP_BIT(GROUP_gpr) | GROUP_BIT(GROUP_ip) | GROUP_BIT(GROUP_seg) | GROUP_BIT(GROUP_table) |
	GROUP_BIT(GROUP_event) };	/* what each exit brings along */
void kvm_carry(struct cpu *c);			/* from the run page */

/* ioctl on the vCPU, counted. */
int kvm_do(struct kvm_vcpu *k, unsigned long request, void *arg);
