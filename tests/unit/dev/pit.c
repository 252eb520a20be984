/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/pit.c - the 8254: modes, latches, read-back, gate, interrupts. */
#include "dev/pit.h"
#include "fake.h"

enum { TICK = 839 };			/* ns, rounded up */
static struct dev *pit;

static void
setup(void)
{
	fake_open();
	pit = pit_open(fake_vm.clock, fake_line());
}

static void
teardown(void)
{
	pit->ops->close(pit);
	fake_close();
}

static void
program(unsigned c, unsigned mode, uint16_t count)
{
	OUTB(pit, 0x43, (uint8_t)(c << 6 | 0x30 | mode << 1));
	OUTB(pit, 0x40 + c, count & 0xff);
	OUTB(pit, 0x40 + c, count >> 8);
}

static unsigned
count16(unsigned c)
{
	unsigned low = (unsigned)INB(pit, 0x40 + c);

	return low | (unsigned)INB(pit, 0x40 + c) << 8;
}

static void
terminal_count(void)
{
	setup();
	program(0, 0, 1000);
	CHECK(!fake_level);
	fake_advance(100 * TICK);
	CHECK(count16(0) <= 900 && count16(0) >= 895);
	fake_advance(890 * TICK);
	CHECK(!fake_level);
	fake_advance(12 * TICK);
	CHECK(fake_level);
	CHECK_EQ(fake_edges, 1);
	fake_advance(100000 * TICK);
	CHECK_EQ(fake_edges, 1);
	program(0, 0, 10);		/* a new count takes it down again */
	CHECK(!fake_level);
	teardown();
}

static void
rate_generator(void)
{
	unsigned before;

	setup();
	program(0, 2, 11932);		/* 100 Hz */
	before = fake_edges;
	fake_advance(1000000000);
	CHECK(fake_edges - before >= 99 && fake_edges - before <= 100);
	program(0, 3, 0);		/* 65536: 18.2 Hz */
	before = fake_edges;
	fake_advance(1000000000);
	CHECK_EQ(fake_edges - before, 18);
	OUTB(pit, 0x43, 0x30);		/* a control word alone stops it */
	before = fake_edges;
	fake_advance(1000000000);
	CHECK_EQ(fake_edges, before);
	teardown();
}

static void
too_fast_is_slowed_down(void)
{
	setup();
	OUTB(pit, 0x43, 0x14);
	OUTB(pit, 0x40, 1);
	fake_edges = 0;
	fake_advance(10000000);
	CHECK(fake_edges <= 501);	/* one in 20 us at most */
	teardown();
}

static void
latches(void)
{
	unsigned first;

	setup();
	program(2, 2, 50000);
	OUTB(pit, 0x61, 1);
	fake_advance(1000 * TICK);
	OUTB(pit, 0x43, 0x80);		/* latch channel 2 */
	fake_advance(1000 * TICK);
	OUTB(pit, 0x43, 0x80);		/* a second latch changes nothing */
	first = count16(2);
	CHECK(first <= 49000 && first > 48990);
	CHECK(count16(2) < 48001);
	OUTB(pit, 0x43, 0xc8);		/* read back count and status of channel 2 */
	CHECK_EQ(INB(pit, 0x42), 0x80 | 0x30 | 4);
	CHECK(count16(2) < 48001);
	OUTB(pit, 0x43, 0xb0);
	OUTB(pit, 0x43, 0xe8);		/* status only: null count */
	CHECK_EQ(INB(pit, 0x42), 0x40 | 0x30);
	teardown();
}

static void
gate_and_speaker(void)
{
	unsigned held;

	setup();
	program(2, 0, 20000);
	CHECK_EQ(INB(pit, 0x61) & 0x23, 0);
	fake_advance(1000 * TICK);
	CHECK_EQ(count16(2), 20000);	/* gate closed: no counting */
	OUTB(pit, 0x61, 1);
	fake_advance(1000 * TICK);
	OUTB(pit, 0x61, 0);
	held = count16(2);
	CHECK(held <= 19001 && held >= 18990);
	fake_advance(1000 * TICK);
	CHECK_EQ(count16(2), held);
	OUTB(pit, 0x61, 3);
	fake_advance(20000 * TICK);
	CHECK_EQ(INB(pit, 0x61) & 0x23, 0x23);	/* out is high */
	teardown();
}

static void
hardware_one_shot(void)
{
	setup();
	program(2, 1, 1000);
	CHECK_EQ(INB(pit, 0x61) & 0x20, 0x20);
	OUTB(pit, 0x61, 1);
	CHECK_EQ(INB(pit, 0x61) & 0x20, 0);
	fake_advance(1001 * TICK);
	CHECK_EQ(INB(pit, 0x61) & 0x20, 0x20);
	OUTB(pit, 0x61, 0);
	OUTB(pit, 0x61, 1);			/* again */
	CHECK_EQ(INB(pit, 0x61) & 0x20, 0);
	teardown();
}

static void
bcd_counts(void)
{
	setup();
	OUTB(pit, 0x43, 0x31);			/* channel 0, mode 0, BCD */
	OUTB(pit, 0x40, 0x34);
	OUTB(pit, 0x40, 0x12);
	CHECK_EQ(count16(0), 0x1234);
	fake_advance(35 * TICK);
	CHECK(count16(0) <= 0x1200 && count16(0) >= 0x1190);
	teardown();
}

static void
one_byte_counts(void)
{
	setup();
	OUTB(pit, 0x43, 0x10);			/* low byte only */
	OUTB(pit, 0x40, 200);
	CHECK_EQ(INB(pit, 0x40), 200);
	OUTB(pit, 0x43, 0x20);			/* high byte only */
	OUTB(pit, 0x40, 2);
	CHECK_EQ(INB(pit, 0x40), 2);
	CHECK_EQ(INB(pit, 0x43), 0xff);
	teardown();
}

int
main(void)
{
	RUN(terminal_count);
	RUN(rate_generator);
	RUN(too_fast_is_slowed_down);
	RUN(latches);
	RUN(gate_and_speaker);
	RUN(hardware_one_shot);
	RUN(bcd_counts);
	RUN(one_byte_counts);
	return check_done();
}
