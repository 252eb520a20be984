/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/chips.h - interrupt controllers and PIT in the host's kernel, for the board's wiring.
 *
 * All of the VM, through any of its vCPUs (cpu->kernel_chips). Results: 0, or -1 with engine_why().
 */
#pragma once
#include "cpu/cpu.h"
#include <linux/kvm.h>

int kvm_line(struct cpu *c, unsigned gsi, bool level);
int kvm_msi(struct cpu *c, uint64_t addr, uint32_t data);

/* A counter's writes raise a GSI (an edge), a guest's writes to a port or a page of a device count it: no
 * exit to us in between. add false takes it away again. */
int kvm_irqfd(struct cpu *c, int eventfd, unsigned gsi, bool add);
int kvm_ioeventfd(struct cpu *c, int eventfd, const struct io *match, bool any_data, bool add);

/* The kernel's own pictures of the chips. machine/kernel_chips.c turns them into the board's. */
int kvm_lapic_state(struct cpu *c, struct kvm_lapic_state *s, bool store);
int kvm_irqchip_state(struct cpu *c, struct kvm_irqchip *s, bool store);	/* s->chip_id chooses */
int kvm_pit_state(struct cpu *c, struct kvm_pit_state2 *s, bool store);
int kvm_clock_state(struct cpu *c, uint64_t *ns, bool store);			/* kvmclock's time */
