/* SPDX-License-Identifier: Apache-2.0 */
/* dev/apics.c - messages between local APICs: who is meant, and what arrives (SDM vol. 3A, 10.6). */
#include "dev/lapic_state.h"

enum { DFR_FLAT = 0xf, BROADCAST8 = 0xff };
enum { ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15, ICR_SHORTHAND_SHIFT = 18,
	ICR_DEST8_SHIFT = 56, ICR_DEST32_SHIFT = 32 };
enum shorthand { TO_dest, TO_self, TO_all, TO_others };
enum { MSI_LOGICAL = 1 << 2, MSI_DEST_SHIFT = 12, MSI_LEVEL = 1 << 15, MSI_ASSERT = 1 << 14 };

/* Logical destination of an APIC in xAPIC mode: flat or cluster by DFR. */
static bool
match_logical8(const struct lapic *l, uint32_t dest)
{
	uint32_t ldr = l->ldr >> 24;

	if (dest == BROADCAST8)
		return true;
	if (l->dfr >> 28 == DFR_FLAT)
		return (ldr & dest) != 0;
	return (ldr >> 4 == dest >> 4 || dest >> 4 == 0xf) && (ldr & dest & 0xf) != 0;
}

static bool
match(const struct lapic *l, const struct apic_msg *m)
{
	if (m->dest == (m->wide ? UINT32_MAX : BROADCAST8))
		return true;
	if (m->logical) {
		if (!lapic_x2(l))
			return m->dest <= 0xff && match_logical8(l, m->dest);
		return l->ldr >> 16 == m->dest >> 16 && (l->ldr & m->dest & 0xffff) != 0;
	}
	return m->dest == (lapic_x2(l) ? l->id : l->xid >> 24);
}

/* One APIC gets one message. SMIs go nowhere: there is no SMM. */
static void
deliver(struct lapic *l, uint8_t delivery, uint8_t vector, bool level)
{
	if ((l->base & APIC_BASE_ENABLE) == 0)
		return;
	switch (delivery) {
	case APIC_fixed:
	case APIC_lowest:
		lapic_accept(l, vector, level);
		break;
	case APIC_nmi:
		vcpu_kick(l->vc, ATT_nmi);
		break;
	case APIC_init:
		vcpu_kick(l->vc, ATT_init);
		break;
	case APIC_sipi:
		vcpu_start_ipi(l->vc, vector);
		break;
	case APIC_extint:
		l->extint = 1;
		lapic_changed(l);
		break;
	default:
		break;
	}
}

/* Of those meant, the one that is least busy; ties take turns. */
static struct lapic *
lowest(struct apics *bus, const struct apic_msg *m)
{
	struct lapic *best = NULL;

	for (unsigned i = 0; i < bus->count; i++) {
		struct lapic *l = bus->apic[(bus->turn + i) % bus->count];

		if (lapic_on(l) && match(l, m) && (best == NULL || lapic_ppr(l) < lapic_ppr(best)))
			best = l;
	}
	bus->turn++;
	return best;
}

void
apics_send(struct apics *bus, const struct apic_msg *m)
{
	if (m->delivery == APIC_lowest) {
		struct lapic *l = lowest(bus, m);

		if (l != NULL)
			deliver(l, m->delivery, m->vector, m->level);
		return;
	}
	for (unsigned i = 0; i < bus->count; i++)
		if (match(bus->apic[i], m))
			deliver(bus->apic[i], m->delivery, m->vector, m->level);
}

void
apics_msi(struct apics *bus, uint64_t addr, uint32_t data)
{
	struct apic_msg m = {
		.dest = (uint32_t)(addr >> MSI_DEST_SHIFT) & 0xff, .logical = (addr & MSI_LOGICAL) != 0,
		.vector = (uint8_t)data, .delivery = data >> 8 & 7, .level = (data & MSI_LEVEL) != 0,
	};

	if (!m.level || (data & MSI_ASSERT) != 0)
		apics_send(bus, &m);
}

/* The interrupt command register was written (SDM vol. 3A, 10.6.1). */
void
lapic_send_icr(struct lapic *l)
{
	struct apics *bus = l->bus;
	uint32_t low = (uint32_t)l->icr;
	enum shorthand to = low >> ICR_SHORTHAND_SHIFT & 3;
	struct apic_msg m = {
		.vector = (uint8_t)low, .delivery = low >> 8 & 7, .logical = (low & ICR_LOGICAL) != 0,
		.wide = lapic_x2(l),
		.dest = (uint32_t)(l->icr >> (lapic_x2(l) ? ICR_DEST32_SHIFT : ICR_DEST8_SHIFT)),
	};

	if (m.delivery == APIC_init && (low & (ICR_LEVEL | ICR_ASSERT)) == ICR_LEVEL)
		return;			/* INIT level de-assert: arbitration IDs, long gone */
	if (m.delivery == APIC_fixed || m.delivery == APIC_lowest) {
		if (m.vector < VECTOR_FIRST) {
			lapic_error(l, ESR_SEND_VECTOR);
			return;
		}
	}
	if (to == TO_dest) {
		apics_send(bus, &m);
		return;
	}
	for (unsigned i = 0; i < bus->count; i++) {
		bool self = bus->apic[i] == l;

		if (to == TO_all || self == (to == TO_self))
			deliver(bus->apic[i], m.delivery, m.vector, false);
	}
}

void
lapic_local(struct lapic *l, enum lvt n)
{
	uint32_t lvt = l->lvt[n];

	if ((lvt & LVT_MASKED) == 0)
		deliver(l, lvt >> LVT_DELIVERY_SHIFT & 7, (uint8_t)lvt, false);
}

/* Without an APIC, or with LINT0 as ExtINT, the 8259 speaks to the processor itself. */
bool
lapic_takes_intr(const struct lapic *l)
{
	uint32_t lint0 = l->lvt[LVT_lint0];

	if ((l->base & APIC_BASE_ENABLE) == 0)
		return l->id == 0;
	return (lint0 & LVT_MASKED) == 0 && (lint0 >> LVT_DELIVERY_SHIFT & 7) == APIC_extint;
}

void
apics_intr(struct apics *bus, bool level)
{
	bool rose = level && !bus->intr;

	bus->intr = level;
	for (unsigned i = 0; i < bus->count; i++) {
		struct lapic *l = bus->apic[i];

		if (lapic_takes_intr(l))
			lapic_changed(l);
		else if (rose && (l->base & APIC_BASE_ENABLE) != 0)
			lapic_local(l, LVT_lint0);
	}
}

void
apics_nmi(struct apics *bus)
{
	for (unsigned i = 0; i < bus->count; i++) {
		if (bus->apic[i]->base & APIC_BASE_ENABLE)
			lapic_local(bus->apic[i], LVT_lint1);
		else
			vcpu_kick(bus->apic[i]->vc, ATT_nmi);
	}
}
