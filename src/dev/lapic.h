/* SPDX-License-Identifier: Apache-2.0 */
/* dev/lapic.h - the local APICs of a VM and the messages between them.
 *
 * `struct apics` is the bus that interrupt messages travel on: IPIs, the IOAPIC's and MSIs are all
 * `struct apic_msg`. VM lock held.
 */
#pragma once
#include "vm/vm.h"

enum apic_delivery { APIC_fixed, APIC_lowest, APIC_smi, APIC_reserved, APIC_nmi, APIC_init, APIC_sipi,
	APIC_extint };

struct apic_msg {
	uint32_t dest;
	uint8_t vector, delivery;	/* delivery: enum apic_delivery */
	bool logical, level;		/* level: remembered in TMR, so that EOI goes to the IOAPIC */
	bool wide;			/* dest has 32 bits (sender in x2APIC mode), else 8 */
};

struct lapic;
struct apics {
	struct clock *clock;		/* borrowed */
	struct lapic *apic[VM_CPUS_MAX];	/* borrowed */
	unsigned count;
	unsigned turn;			/* lowest priority: who is asked first */
	bool intr;			/* the 8259's INTR line, wired to every LINT0 */
	/* The rest of the board; set by machine/pc.c, may be NULL. */
	int (*pic_ack)(void *ctx);	/* the 8259's vector */
	void (*eoi)(void *ctx, uint8_t vector);	/* to the IOAPIC */
	void *ctx;
};

/* Another local APIC on the bus, for this vCPU; it becomes vc->apic. The VM owns the device. */
struct dev *lapic_open(struct apics *bus, struct vcpu *vc);

void apics_send(struct apics *bus, const struct apic_msg *msg);
void apics_msi(struct apics *bus, uint64_t addr, uint32_t data);	/* a write to 0xfeexxxxx */
void apics_intr(struct apics *bus, bool level);				/* the 8259's INTR changed */
void apics_nmi(struct apics *bus);					/* LINT1 of everyone, once */

/* As firmware leaves it: enabled, LINT0 ExtINT on the bootstrap processor, LINT1 NMI. */
void lapic_firmware(struct lapic *l);
