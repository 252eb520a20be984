/* SPDX-License-Identifier: Apache-2.0 */
/* vm/irq.h - interrupt lines from devices to controllers, and MSIs.
 *
 * A device holds an irq_line and calls irq_set; who listens (8259, IOAPIC, both) is the board's
 * wiring (machine/pc.c). VM lock held.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Several devices may drive one line: it is high while any of up to 32 sources holds it. */
struct irq_line {
	void (*changed)(void *ctx, unsigned n, bool level);	/* level after merging */
	void *ctx;
	unsigned n;			/* GSI, or input number: as the listener wants */
	uint32_t sources;		/* bit per source that holds the line high */
	/* Level-triggered devices that must be asked again after EOI. */
	void (*resample)(void *ctx);
	void *resample_ctx;
};

void irq_set(struct irq_line *l, unsigned source, bool level);
void irq_pulse(struct irq_line *l, unsigned source);	/* an edge */
void irq_resample(struct irq_line *l);			/* a controller saw EOI on it */
