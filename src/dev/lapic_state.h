/* SPDX-License-Identifier: Apache-2.0 */
/* dev/lapic_state.h - what lapic.c (registers, timer) and apics.c (messages) share. */
#pragma once
#include "dev/lapic.h"

enum { APIC_BASE_BSP = 1 << 8, APIC_BASE_X2 = 1 << 10, APIC_BASE_ENABLE = 1 << 11 };
enum { SVR_ENABLE = 1 << 8, SVR_NO_BROADCAST = 1 << 12 };
enum lvt { LVT_timer, LVT_thermal, LVT_perf, LVT_lint0, LVT_lint1, LVT_error, LVT__COUNT };
enum { LVT_MASKED = 1 << 16, LVT_LEVEL = 1 << 15, LVT_DELIVERY_SHIFT = 8, LVT_MODE_SHIFT = 17 };
enum { ESR_SEND_VECTOR = 1 << 5, ESR_RECEIVE_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7 };
enum { VECTOR_FIRST = 16 };		/* below: illegal vectors */

struct lapic {
	struct dev dev;			/* first */
	struct apics *bus;		/* borrowed */
	struct vcpu *vc;		/* borrowed */
	struct timer timer;
	uint32_t id;			/* x2APIC ID; the xAPIC ID is a register */

	/* state, by table */
	uint64_t base;			/* IA32_APIC_BASE */
	uint32_t xid, tpr, ldr, dfr, svr, esr, esr_seen;
	uint32_t isr[8], tmr[8], irr[8];
	uint64_t icr;
	uint32_t lvt[LVT__COUNT];
	uint32_t count0, divide;	/* initial count, divide configuration */
	uint8_t running;		/* one-shot or periodic, and not expired */
	uint64_t started;		/* ns at which count0 was loaded */
	uint64_t deadline;		/* TSC; 0: not armed */
	uint8_t extint;			/* an ExtINT message waits */
	uint8_t fired;			/* the deadline has passed, IA32_TSC_DEADLINE does not show it yet */
};

static inline bool
lapic_x2(const struct lapic *l)
{
	return (l->base & APIC_BASE_X2) != 0;
}

static inline bool
lapic_on(const struct lapic *l)		/* enabled by hardware and software */
{
	return (l->base & APIC_BASE_ENABLE) != 0 && (l->svr & SVR_ENABLE) != 0;
}

/* lapic.c */
void lapic_accept(struct lapic *l, uint8_t vector, bool level);	/* a fixed interrupt arrives */
void lapic_error(struct lapic *l, uint32_t bit);
void lapic_changed(struct lapic *l);				/* tell the vCPU if something is deliverable */
uint32_t lapic_ppr(const struct lapic *l);

/* apics.c */
void lapic_send_icr(struct lapic *l);
void lapic_local(struct lapic *l, enum lvt n);			/* a pin or a source with an LVT entry fires */
bool lapic_takes_intr(const struct lapic *l);			/* LINT0 passes the 8259 through */
