/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/chips.c - interrupt controllers and PIT in the host's kernel: made, driven, read and set. */
#include "engine/kvm/chips.h"
#include "engine/kvm/kvm.h"

#include <string.h>
#include <sys/ioctl.h>

enum { ISA = 16, PINS = 24, PIC_INPUTS = 8, TIMER_GSI = 0, TIMER_PIN = 2 };

struct routing {
	__u32 nr, flags;
	struct kvm_irq_routing_entry entry[ISA + PINS];
};
static_assert(offsetof(struct routing, entry) == sizeof(struct kvm_irq_routing), "the kernel's layout");

static void
route(struct routing *r, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	r->entry[r->nr++] = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin } };
}

/* As the board is wired: ISA lines to both controllers, the timer to IOAPIC pin 2 (machine/pc.c). */
static int
wire(struct kvm_vm *vm)
{
	struct routing r = { .nr = 0 };

	for (uint32_t gsi = 0; gsi < PINS; gsi++) {
		if (gsi < ISA && gsi != TIMER_PIN)
			route(&r, gsi, gsi < PIC_INPUTS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % PIC_INPUTS);
		if (gsi != TIMER_PIN)
			route(&r, gsi, KVM_IRQCHIP_IOAPIC, gsi == TIMER_GSI ? TIMER_PIN : gsi);
	}
	return KVM_CALL(vm->fd, KVM_SET_GSI_ROUTING, &r);
}

int
kvm_chips_make(struct kvm_vm *vm)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_enable_cap x2apic = { .cap = KVM_CAP_X2APIC_API,
		.args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK } };

	if (KVM_CALL(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0 || KVM_CALL(vm->fd, KVM_CREATE_PIT2, &pit) < 0 ||
	    KVM_CALL(vm->fd, KVM_ENABLE_CAP, &x2apic) < 0 || wire(vm) < 0)
		return -1;
	vm->chips = true;
	return 0;
}

int
kvm_line(struct cpu *c, unsigned gsi, bool level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	return KVM_CALL(c->kvm->vm->fd, KVM_IRQ_LINE, &irq);
}

int
kvm_msi(struct cpu *c, uint64_t addr, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data };

	return KVM_CALL(c->kvm->vm->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -1 : 0;
}

int
kvm_irqfd(struct cpu *c, int eventfd, unsigned gsi, bool add)
{
	struct kvm_irqfd q = { .fd = (uint32_t)eventfd, .gsi = gsi, .flags = add ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	return KVM_CALL(c->kvm->vm->fd, KVM_IRQFD, &q);
}

int
kvm_ioeventfd(struct cpu *c, int eventfd, const struct io *match, bool any_data, bool add)
{
	struct kvm_ioeventfd q = { .fd = eventfd, .addr = match->addr, .len = match->size, .datamatch = match->data,
		.flags = (match->port ? KVM_IOEVENTFD_FLAG_PIO : 0u) | (any_data ? 0u : KVM_IOEVENTFD_FLAG_DATAMATCH) |
			(add ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN) };

	return KVM_CALL(c->kvm->vm->fd, KVM_IOEVENTFD, &q);
}

int
kvm_lapic_state(struct cpu *c, struct kvm_lapic_state *s, bool store)
{
	return store ? VCPU_CALL(c->kvm, KVM_SET_LAPIC, s) : VCPU_CALL(c->kvm, KVM_GET_LAPIC, s);
}

int
kvm_irqchip_state(struct cpu *c, struct kvm_irqchip *s, bool store)
{
	return store ? KVM_CALL(c->kvm->vm->fd, KVM_SET_IRQCHIP, s) : KVM_CALL(c->kvm->vm->fd, KVM_GET_IRQCHIP, s);
}

int
kvm_pit_state(struct cpu *c, struct kvm_pit_state2 *s, bool store)
{
	return store ? KVM_CALL(c->kvm->vm->fd, KVM_SET_PIT2, s) : KVM_CALL(c->kvm->vm->fd, KVM_GET_PIT2, s);
}

int
kvm_clock_state(struct cpu *c, uint64_t *ns, bool store)
{
	struct kvm_clock_data k = { .clock = *ns };

	if (store)
		return KVM_CALL(c->kvm->vm->fd, KVM_SET_CLOCK, &k);
	if (KVM_CALL(c->kvm->vm->fd, KVM_GET_CLOCK, &k) != 0)
		return -1;
	*ns = k.clock;
	return 0;
}
