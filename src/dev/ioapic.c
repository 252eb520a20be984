/* SPDX-License-Identifier: Apache-2.0 */
/* dev/ioapic.c - I/O APIC (Intel 82093AA data sheet; version 20h adds the EOI register).
 *
 * An edge on a masked pin is lost. A level pin sends one message and waits, by its remote IRR bit,
 * for the EOI of that vector; if the line is still up then, it sends again.
 */
#include "dev/ioapic.h"
#include <stdlib.h>
#include <string.h>

enum { AT_select = 0x00, AT_window = 0x10, AT_eoi = 0x40 };
enum { R_id, R_version, R_arbitration, R_table = 0x10 };
enum { VERSION = 0x20 | (IOAPIC_PINS - 1) << 16, ID_SHIFT = 24 };
enum { RTE_DELIVERY_SHIFT = 8, RTE_LOGICAL = 1 << 11, RTE_STATUS = 1 << 12, RTE_REMOTE_IRR = 1 << 14,
	RTE_LEVEL = 1 << 15, RTE_MASKED = 1 << 16, RTE_LOW_WRITABLE = 0x1afff };
enum { RTE_DEST_SHIFT = 56 };

struct ioapic {
	struct dev dev;			/* first */
	struct apics *bus;		/* borrowed */
	struct irq_line *const *lines;	/* borrowed */
	uint64_t base;

	/* state by table */
	uint32_t select, id;
	uint32_t up;			/* bit per pin: its line is high */
	uint64_t rte[IOAPIC_PINS];
};

static void
pin_send(struct ioapic *a, unsigned pin)
{
	uint64_t rte = a->rte[pin];
	struct apic_msg m = {
		.dest = (uint32_t)(rte >> RTE_DEST_SHIFT), .vector = (uint8_t)rte,
		.delivery = rte >> RTE_DELIVERY_SHIFT & 7, .logical = (rte & RTE_LOGICAL) != 0,
		.level = (rte & RTE_LEVEL) != 0,
	};

	if (m.level)
		a->rte[pin] |= RTE_REMOTE_IRR;
	apics_send(a->bus, &m);
}

static void
pin_level(struct ioapic *a, unsigned pin)
{
	uint64_t rte = a->rte[pin];

	if ((rte & RTE_LEVEL) != 0 && (rte & (RTE_MASKED | RTE_REMOTE_IRR)) == 0 && a->up >> pin & 1)
		pin_send(a, pin);
}

void
ioapic_set(struct dev *d, unsigned pin, bool level)
{
	struct ioapic *a = (struct ioapic *)d;
	bool was;

	if (pin >= IOAPIC_PINS)
		return;
	was = a->up >> pin & 1;
	a->up = level ? a->up | 1u << pin : a->up & ~(1u << pin);
	if ((a->rte[pin] & RTE_LEVEL) != 0)
		pin_level(a, pin);
	else if (level && !was && (a->rte[pin] & RTE_MASKED) == 0)
		pin_send(a, pin);
}

void
ioapic_eoi(struct dev *d, uint8_t vector)
{
	struct ioapic *a = (struct ioapic *)d;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if ((uint8_t)a->rte[pin] != vector || (a->rte[pin] & RTE_REMOTE_IRR) == 0)
			continue;
		a->rte[pin] &= ~(uint64_t)RTE_REMOTE_IRR;
		if (a->lines != NULL && a->lines[pin] != NULL)
			irq_resample(a->lines[pin]);
		pin_level(a, pin);
	}
}

static void
write_rte(struct ioapic *a, unsigned n, uint32_t val)
{
	uint64_t *rte = &a->rte[n / 2];

	if (n & 1) {
		*rte = (uint32_t)*rte | (uint64_t)(val & 0xff000000) << 32;
		return;
	}
	*rte = (*rte & ~(uint64_t)RTE_LOW_WRITABLE) | (val & RTE_LOW_WRITABLE);
	if ((val & RTE_LEVEL) == 0)
		*rte &= ~(uint64_t)RTE_REMOTE_IRR;	/* how software clears it without an EOI register */
	pin_level(a, n / 2);
}

static void
window_write(struct ioapic *a, uint32_t val)
{
	unsigned n = a->select - R_table;

	if (a->select == R_id)
		a->id = val & 0xf << ID_SHIFT;
	else if (n < 2 * IOAPIC_PINS)
		write_rte(a, n, val);
}

static uint32_t
window_read(const struct ioapic *a)
{
	unsigned n = a->select - R_table;

	if (n < 2 * IOAPIC_PINS)
		return (uint32_t)(a->rte[n / 2] >> (n & 1 ? 32 : 0));
	switch (a->select) {
	case R_id:
	case R_arbitration:
		return a->id;
	case R_version:
		return VERSION;
	default:
		return 0;
	}
}

static enum io_result
ioapic_io(struct dev *d, struct io *io)
{
	struct ioapic *a = (struct ioapic *)d;
	uint64_t at = io->addr - a->base;

	if (io->port || at >= IOAPIC_SIZE)
		return IO_none;
	if (!io->write)
		io->data = at == AT_select ? a->select : at == AT_window ? window_read(a) : 0;
	else if (at == AT_select)
		a->select = io->data & 0xff;
	else if (at == AT_window)
		window_write(a, (uint32_t)io->data);
	else if (at == AT_eoi)
		ioapic_eoi(d, (uint8_t)io->data);
	return IO_done;
}

static void ioapic_close(struct dev *d) { free(d); }

static const struct dev_field ioapic_fields[] = {
	DEV_FIELD(struct ioapic, select, 1, 0),
	DEV_FIELD(struct ioapic, id, 1, 0),
	DEV_FIELD(struct ioapic, up, 1, 0),
	DEV_FIELD(struct ioapic, rte, IOAPIC_PINS, RTE_MASKED),
	{ .name = NULL },
};

static const struct dev_ops ioapic_ops = {
	.name = "ioapic", .io = ioapic_io, .close = ioapic_close, .fields = ioapic_fields,
};

struct dev *
ioapic_open(struct apics *bus, uint64_t base, struct irq_line *const *lines)
{
	struct ioapic *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->dev.ops = &ioapic_ops;
	strcpy(a->dev.id, "ioapic");
	a->bus = bus;
	a->base = base;
	a->lines = lines;
	dev_reset(&a->dev);
	return &a->dev;
}
