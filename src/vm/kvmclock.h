/* SPDX-License-Identifier: Apache-2.0 */
/* vm/kvmclock.h - the KVM paravirtual clock: pvclock structures in guest memory. */
#pragma once
#include "vm/vm.h"

/* The guest wrote KVM_WALL_CLOCK or KVM_SYSTEM_TIME (new numbers 0x4b564d00/1). */
void kvmclock_write(struct vcpu *vc, uint32_t msr, uint64_t val);
/* The vCPU's TSC moved: publish again. Nothing when the guest uses no kvmclock. */
void kvmclock_update(struct vcpu *vc);
