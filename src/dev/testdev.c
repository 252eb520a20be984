/* SPDX-License-Identifier: Apache-2.0 */
/* dev/testdev.c - pc-testdev: an echo port in three widths, interrupt lines by hand, slow memory.
 *
 * The memory is a device on purpose: each access is an exit, so that a guest can test what an
 * instruction does to memory that is not RAM.
 */
#include "dev/testdev.h"
#include <stdlib.h>
#include <string.h>

struct testdev {
	struct dev dev;			/* first */
	struct irq_line *const *lines;	/* borrowed */
	uint64_t base;

	/* state by table */
	uint8_t echo[4];
	uint8_t memory[TESTDEV_MEMORY] __attribute__((aligned(8)));
};

static enum io_result
bytes_io(uint8_t *at, size_t room, struct io *io)
{
	if (io->size > room)
		return IO_none;
	if (io->write) {
		memcpy(at, &io->data, io->size);
	} else {
		io->data = 0;
		memcpy(&io->data, at, io->size);
	}
	return IO_done;
}

static enum io_result
port_io(struct testdev *t, struct io *io)
{
	uint64_t irq = io->addr - TESTDEV_IRQ;

	if (irq < TESTDEV_IRQS) {
		if (io->write && t->lines[irq] != NULL)
			irq_set(t->lines[irq], TESTDEV_SOURCE, io->data != 0);
		else
			io->data = 0;
		return IO_done;
	}
	if (io->addr >= TESTDEV_FLUSH && io->addr < TESTDEV_FLUSH + TESTDEV_PORTS)
		return IO_done;		/* drop the host's mapping of a page: there is none to drop */
	return bytes_io(t->echo + (io->addr & 3), 4 - (io->addr & 3), io);
}

static enum io_result
testdev_io(struct dev *d, struct io *io)
{
	struct testdev *t = (struct testdev *)d;
	uint64_t at = io->addr - t->base;

	if (io->port)
		return port_io(t, io);
	return at < TESTDEV_MEMORY ? bytes_io(t->memory + at, TESTDEV_MEMORY - at, io) : IO_none;
}

static void testdev_close(struct dev *d) { free(d); }

static const struct dev_field testdev_fields[] = {
	DEV_FIELD(struct testdev, echo, 4, 0),
	/* The memory as 64-bit words: a field has at most 65535 elements. */
	{ "memory", offsetof(struct testdev, memory), 8, TESTDEV_MEMORY / 8, 0 },
	{ .name = NULL },
};

static const struct dev_ops testdev_ops = {
	.name = "testdev", .io = testdev_io, .close = testdev_close, .fields = testdev_fields,
};

struct dev *
testdev_open(uint64_t memory_base, struct irq_line *const *lines)
{
	struct testdev *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->dev.ops = &testdev_ops;
	strcpy(t->dev.id, "testdev");
	t->base = memory_base;
	t->lines = lines;
	dev_reset(&t->dev);
	return &t->dev;
}
