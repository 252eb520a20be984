/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/rtc.c - MC146818: reading and setting time, formats, the three interrupts. */
#include "dev/rtc.h"
#include "fake.h"

#define SECOND 1000000000ull
static struct dev *rtc;

static unsigned rd(uint8_t n) { OUTB(rtc, 0x70, n); return (unsigned)INB(rtc, 0x71); }
static void wr(uint8_t n, uint8_t v) { OUTB(rtc, 0x70, n); OUTB(rtc, 0x71, v); }

/* The counted clock's wall time starts at 1700000000: 2023-11-14 22:13:20 UTC, a Tuesday. */
static void
setup(void)
{
	struct rtc_memory mem = { .low = 512ull << 20, .high = 1ull << 30, .cpus = 4 };

	fake_open();
	rtc = rtc_open(fake_vm.clock, fake_line(), mem);
}

static void
teardown(void)
{
	rtc->ops->close(rtc);
	fake_close();
}

static void
tells_the_time(void)
{
	setup();
	CHECK_EQ(rd(0), 0x20);
	CHECK_EQ(rd(2), 0x13);
	CHECK_EQ(rd(4), 0x22);
	CHECK_EQ(rd(6), 3);
	CHECK_EQ(rd(7), 0x14);
	CHECK_EQ(rd(8), 0x11);
	CHECK_EQ(rd(9), 0x23);
	CHECK_EQ(rd(0x32), 0x20);
	CHECK_EQ(rd(0x0a), 0x26);
	CHECK_EQ(rd(0x0b), 2);
	CHECK_EQ(rd(0x0d), 0x80);
	fake_advance(3600 * SECOND * 2);
	CHECK_EQ(rd(4), 0);
	CHECK_EQ(rd(7), 0x15);
	wr(0x0b, 6);			/* binary */
	CHECK_EQ(rd(2), 13);
	CHECK_EQ(rd(9), 23);
	wr(0x0b, 4);			/* 12 hours */
	CHECK_EQ(rd(4), 12);
	fake_advance(13 * 3600 * SECOND);
	CHECK_EQ(rd(4), 0x81);
	teardown();
}

static void
can_be_set(void)
{
	setup();
	wr(0x0b, 0x82);
	wr(0, 0x59), wr(2, 0x59), wr(4, 0x23), wr(7, 0x28), wr(8, 0x02), wr(9, 0x24), wr(0x32, 0x20);
	fake_advance(10 * SECOND);
	CHECK_EQ(rd(0), 0x59);		/* held */
	wr(0x0b, 0x02);
	CHECK_EQ(rd(0), 0x59);
	fake_advance(SECOND);
	CHECK_EQ(rd(0), 0);
	CHECK_EQ(rd(7), 0x29);		/* a leap year */
	CHECK_EQ(rd(8), 0x02);
	wr(9, 0x70);			/* without SET, too */
	CHECK_EQ(rd(9), 0x70);
	wr(0x32, 0x99);
	wr(8, 0xff);
	rd(8);				/* nonsense is survived */
	teardown();
}

static void
update_flag_warns(void)
{
	setup();
	CHECK_EQ(rd(0x0a) & 0x80, 0);
	fake_advance(SECOND - 1000000);
	CHECK_EQ(rd(0x0a) & 0x80, 0x80);
	fake_advance(1000000);
	CHECK_EQ(rd(0x0a) & 0x80, 0);
	teardown();
}

static void
update_interrupts(void)
{
	setup();
	wr(0x0b, 0x12);
	fake_advance(SECOND);
	CHECK(fake_level);
	CHECK_EQ(rd(0x0c) & 0x90, 0x90);
	CHECK(!fake_level);
	CHECK_EQ(rd(0x0c) & 0x90, 0);
	fake_advance(SECOND);
	CHECK(fake_level);
	wr(0x0b, 0x02);
	CHECK(!fake_level);
	rd(0x0c);
	fake_advance(2 * SECOND);
	CHECK(!fake_level);
	CHECK_EQ(rd(0x0c) & 0x90, 0x10);	/* the flag is set without an interrupt */
	CHECK_EQ(clock_next(fake_vm.clock), UINT64_MAX);
	teardown();
}

static void
alarm_interrupts(void)
{
	setup();
	wr(1, 0x00), wr(3, 0x15), wr(5, 0x22);	/* 22:15:00: in 100 s */
	rd(0x0c);
	wr(0x0b, 0x22);
	fake_advance(99 * SECOND);
	CHECK(!fake_level);
	fake_advance(SECOND);
	CHECK(fake_level);
	CHECK_EQ(rd(0x0c) & 0xa0, 0xa0);
	fake_advance(3600 * SECOND);
	CHECK(!fake_level);
	wr(1, 0x07), wr(3, 0xff), wr(5, 0xff);	/* any minute and hour */
	fake_advance(60 * SECOND);
	CHECK(fake_level);
	teardown();
}

static void
periodic_interrupts(void)
{
	unsigned n = 0;

	setup();
	wr(0x0a, 0x2d);				/* 8 Hz */
	rd(0x0c);
	wr(0x0b, 0x42);
	for (int i = 0; i < 1000; i++) {
		fake_advance(SECOND / 1000);
		if (fake_level) {
			n++;
			CHECK_EQ(rd(0x0c) & 0xc0, 0xc0);
		}
	}
	CHECK_EQ(n, 8);
	wr(0x0a, 0x20);				/* rate 0: none */
	fake_advance(SECOND);
	CHECK(!fake_level);
	teardown();
}

static void
memory_bytes(void)
{
	setup();
	CHECK_EQ(rd(0x15) | rd(0x16) << 8, 640);
	CHECK_EQ(rd(0x17) | rd(0x18) << 8, 0xffff);
	CHECK_EQ(rd(0x34) | rd(0x35) << 8, (512 - 16) * 16);
	CHECK_EQ(rd(0x5b) | rd(0x5c) << 8 | rd(0x5d) << 16, (1u << 30) >> 16);
	CHECK_EQ(rd(0x5f), 3);
	wr(0x7f, 0x5a);
	CHECK_EQ(rd(0xff), 0x5a);		/* bit 7 of the index masks NMIs */
	wr(0x0d, 0);
	CHECK_EQ(rd(0x0d), 0x80);
	teardown();
}

int
main(void)
{
	RUN(tells_the_time);
	RUN(can_be_set);
	RUN(update_flag_warns);
	RUN(update_interrupts);
	RUN(alarm_interrupts);
	RUN(periodic_interrupts);
	RUN(memory_bytes);
	return check_done();
}
