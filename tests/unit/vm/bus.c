/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/vm/bus.c - who answers, splitting, and interrupt lines with several sources. */
#include "check.h"
#include "vm/bus.h"
#include "vm/irq.h"

/* Answers any size up to `widest` with its own address in the low byte; counts accesses. */
struct echo {
	struct dev dev;
	uint8_t widest;
	unsigned calls;
	uint64_t written;
	uint8_t reg[4];
	bool was_reset;
};

static enum io_result
echo_io(struct dev *d, struct io *io)
{
	struct echo *e = (struct echo *)d;

	if (io->size > e->widest)
		return IO_none;
	e->calls++;
	if (io->write)
		e->written = io->data;
	else
		io->data = ~0xffull | (io->addr & 0xff);
	return IO_done;
}

static void echo_reset(struct dev *d) { ((struct echo *)d)->was_reset = true; }

static const struct dev_field echo_fields[] = {
	DEV_FIELD(struct echo, widest, 1, 1),
	DEV_FIELD(struct echo, reg, 4, 0x5a),
	{ .name = NULL },
};
static const struct dev_ops echo_ops = { .name = "echo", .io = echo_io, .reset = echo_reset,
	.fields = echo_fields };

static uint64_t
in(struct bus *b, bool port, uint64_t addr, uint8_t size, enum io_result want)
{
	struct io io = { .addr = addr, .size = size, .port = port };

	CHECK_EQ(bus_access(b, &io), want);
	return io.data;
}

static void
ranges_must_not_overlap(void)
{
	struct bus *b = bus_open();
	struct echo e = { .dev.ops = &echo_ops, .widest = 1 };

	CHECK_EQ(bus_add(b, &e.dev, true, 0x10, 0x10), 0);
	CHECK_EQ(bus_add(b, &e.dev, true, 0x1f, 1), -1);
	CHECK_EQ(bus_add(b, &e.dev, true, 0x0, 0x11), -1);
	CHECK_EQ(bus_add(b, &e.dev, true, 0x0, 0x10), 0);
	CHECK_EQ(bus_add(b, &e.dev, true, 0x20, 0), -1);
	CHECK_EQ(bus_add(b, &e.dev, true, 0xffff, 2), -1);
	CHECK_EQ(bus_add(b, &e.dev, false, 0x10, 0x10), 0);	/* another space */
	CHECK_EQ(bus_add(b, &e.dev, false, UINT64_MAX, 2), -1);
	bus_remove(b, &e.dev, true, 0x10);
	CHECK_EQ(in(b, true, 0x10, 1, IO_none), 0xff);
	CHECK_EQ(bus_add(b, &e.dev, true, 0x1f, 1), 0);
	bus_close(b);
}

static void
nobody_reads_all_ones(void)
{
	struct bus *b = bus_open();

	CHECK_EQ(in(b, true, 0x99, 1, IO_none), 0xff);
	CHECK_EQ(in(b, true, 0x99, 4, IO_none), 0xffffffff);
	CHECK_EQ(in(b, false, 0xd0000000, 8, IO_none), UINT64_MAX);
	bus_close(b);
}

static void
ports_split_memory_does_not(void)
{
	struct bus *b = bus_open();
	struct echo e = { .dev.ops = &echo_ops, .widest = 1 };

	bus_add(b, &e.dev, true, 0x40, 2);
	bus_add(b, &e.dev, false, 0x40, 2);
	CHECK_EQ(in(b, true, 0x40, 2, IO_done), 0x4140);	/* the device takes bytes only */
	CHECK_EQ(in(b, true, 0x3f, 4, IO_done), 0xff4140ff);	/* its neighbours are nobody */
	CHECK_EQ(in(b, true, 0xffff, 2, IO_none), 0xffff);
	CHECK_EQ(in(b, false, 0x40, 2, IO_none), 0xffff);
	CHECK_EQ(in(b, false, 0x3f, 4, IO_none), 0xffffffff);
	e.widest = 4;
	e.calls = 0;
	CHECK_EQ(in(b, true, 0x40, 2, IO_done), 0xff40);
	CHECK_EQ(e.calls, 1);
	bus_close(b);
}

static void
data_is_cut_to_size(void)
{
	struct bus *b = bus_open();
	struct echo e = { .dev.ops = &echo_ops, .widest = 4 };
	struct io io = { .addr = 0x40, .size = 2, .port = true, .write = true, .data = 0x12345678 };

	bus_add(b, &e.dev, true, 0x40, 4);
	CHECK_EQ(bus_access(b, &io), IO_done);
	CHECK_EQ(e.written, 0x5678);
	CHECK_EQ(in(b, true, 0x40, 1, IO_done), 0x40);
	bus_close(b);
}

static void
reset_follows_the_table(void)
{
	struct echo e = { .dev.ops = &echo_ops, .widest = 9, .calls = 3 };

	dev_reset(&e.dev);
	CHECK_EQ(e.widest, 1);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(e.reg[i], 0x5a);
	CHECK_EQ(e.calls, 3);		/* not in the table */
	CHECK(e.was_reset);
}

static void
state_can_be_shown(void)
{
	struct echo e = { .dev.ops = &echo_ops, .dev.id = "echo0" };
	char text[128], little[8];
	size_t len;

	dev_reset(&e.dev);
	e.reg[1] = e.reg[2] = 0;
	len = dev_show(&e.dev, text, sizeof(text));
	CHECK_EQ(len, strlen(text));
	CHECK(strcmp(text, "echo0.widest 0x1\necho0.reg[0] 0x5a\necho0.reg[3] 0x5a\n") == 0);
	CHECK_EQ(dev_show(&e.dev, little, sizeof(little)), len);
	CHECK(strcmp(little, "echo0.w") == 0);
	CHECK_EQ(dev_show(&e.dev, NULL, 0), len);
}

static unsigned changes;
static bool level_now;

static void
heard(void *ctx, unsigned n, bool level)
{
	(void)ctx;
	CHECK_EQ(n, 5);
	changes++;
	level_now = level;
}

static void
lines_merge_their_sources(void)
{
	struct irq_line l = { .changed = heard, .n = 5 };

	changes = 0;
	irq_set(&l, 0, true);
	irq_set(&l, 31, true);
	irq_set(&l, 0, true);
	CHECK_EQ(changes, 1);
	irq_set(&l, 0, false);
	CHECK(level_now);
	irq_set(&l, 31, false);
	CHECK(!level_now);
	CHECK_EQ(changes, 2);
	irq_pulse(&l, 3);
	CHECK_EQ(changes, 4);
	irq_resample(&l);		/* nobody to ask: nothing */
}

int
main(void)
{
	RUN(ranges_must_not_overlap);
	RUN(nobody_reads_all_ones);
	RUN(ports_split_memory_does_not);
	RUN(data_is_cut_to_size);
	RUN(reset_follows_the_table);
	RUN(state_can_be_shown);
	RUN(lines_merge_their_sources);
	return check_done();
}
