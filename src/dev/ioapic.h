/* SPDX-License-Identifier: Apache-2.0 */
/* dev/ioapic.h - the I/O APIC: 24 interrupt pins to messages for local APICs. */
#pragma once
#include "dev/lapic.h"

enum { IOAPIC_PINS = 24, IOAPIC_SIZE = 0x1000 };

/* lines: IOAPIC_PINS pointers, told to resample at EOI; NULL where there is none. Borrowed. */
struct dev *ioapic_open(struct apics *bus, uint64_t base, struct irq_line *const *lines);
void ioapic_set(struct dev *d, unsigned pin, bool level);
void ioapic_eoi(struct dev *d, uint8_t vector);		/* a local APIC's broadcast */
