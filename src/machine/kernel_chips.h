/* SPDX-License-Identifier: Apache-2.0 */
/* machine/kernel_chips.h - the board's interrupt controllers and PIT as the host kernel's, and back.
 *
 * With cpu->kernel_chips the kernel's are at work, the board's are pictures of them: filled by
 * kernel_chips_fetch before somebody looks, given by kernel_chips_store after somebody wrote.
 */
#pragma once
#include "dev/lapic.h"
#include "engine/kvm/chips.h"
#include "vm/bus.h"

struct kernel_chips {
	struct vm *vm;
	struct dev *lapic[VM_CPUS_MAX];
	struct dev *ioapic, *pic, *pit;
};

/* 0, or -1 with engine_why(). VM lock held, vCPUs stand still. */
int kernel_chips_store(const struct kernel_chips *k);
int kernel_chips_fetch(const struct kernel_chips *k);

/* The pictures themselves, field by field; what the other side lacks is left alone. `now` and `host_now`
 * are the VM's clock and the host's monotonic one, in ns. */
void lapic_to_kernel(const struct dev *d, struct kvm_lapic_state *s, uint64_t now);
void lapic_from_kernel(struct dev *d, const struct kvm_lapic_state *s, uint64_t now);
void ioapic_to_kernel(const struct dev *d, struct kvm_ioapic_state *s);
void ioapic_from_kernel(struct dev *d, const struct kvm_ioapic_state *s);
void pic_to_kernel(const struct dev *d, unsigned chip, struct kvm_pic_state *s);
void pic_from_kernel(struct dev *d, unsigned chip, const struct kvm_pic_state *s);
void pit_to_kernel(const struct dev *d, struct kvm_pit_state2 *s);
void pit_from_kernel(struct dev *d, const struct kvm_pit_state2 *s, uint64_t now, uint64_t host_now);
