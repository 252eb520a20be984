/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/pic.c - the 8259 pair: initialisation, priorities, every kind of EOI, modes. */
#include "dev/pic.h"
#include "fake.h"

static struct dev *pic;
static bool intr;

static void fake_intr(void *ctx, bool level) { (void)ctx; intr = level; }

static void
setup(uint8_t icw4)
{
	intr = false;
	pic = pic_open((struct pic_host){ .intr = fake_intr });
	OUTB(pic, 0x20, 0x11), OUTB(pic, 0x21, 0x20), OUTB(pic, 0x21, 4), OUTB(pic, 0x21, icw4);
	OUTB(pic, 0xa0, 0x11), OUTB(pic, 0xa1, 0x28), OUTB(pic, 0xa1, 2), OUTB(pic, 0xa1, icw4);
}

static void teardown(void) { pic->ops->close(pic); }

static void
pulse(unsigned irq)
{
	pic_set(pic, irq, true);
	pic_set(pic, irq, false);
}

static void
vectors_and_cascade(void)
{
	setup(1);
	CHECK(!intr);
	pulse(1);
	CHECK(intr);
	CHECK_EQ(pic_ack(pic), 0x21);
	CHECK(!intr);
	pulse(3);
	CHECK(!intr);			/* lower than 1, which is in service */
	pulse(0);
	CHECK(intr);			/* higher */
	CHECK_EQ(pic_ack(pic), 0x20);
	OUTB(pic, 0x20, 0x20);
	OUTB(pic, 0x20, 0x20);
	CHECK_EQ(pic_ack(pic), 0x23);
	OUTB(pic, 0x20, 0x20);
	pulse(8);
	CHECK(intr);
	CHECK_EQ(pic_ack(pic), 0x28);
	OUTB(pic, 0xa0, 0x0b);
	CHECK_EQ(INB(pic, 0xa0), 1);	/* ISR of the slave */
	OUTB(pic, 0x20, 0x0b);
	CHECK_EQ(INB(pic, 0x20), 4);	/* and its input on the master */
	OUTB(pic, 0xa0, 0x60);		/* specific EOIs */
	OUTB(pic, 0x20, 0x62);
	CHECK_EQ(INB(pic, 0x20), 0);
	teardown();
}

static void
masks_and_spurious(void)
{
	setup(1);
	OUTB(pic, 0x21, 0xfe);
	pulse(1);
	CHECK(!intr);
	CHECK_EQ(INB(pic, 0x21), 0xfe);
	CHECK_EQ(INB(pic, 0x20), 2);	/* latched in IRR */
	CHECK_EQ(pic_ack(pic), 0x27);	/* nothing there: spurious, no ISR bit */
	OUTB(pic, 0x20, 0x0b);
	CHECK_EQ(INB(pic, 0x20), 0);
	OUTB(pic, 0x21, 0xfc);
	CHECK(intr);
	OUTB(pic, 0x21, 0xfb);
	pulse(9);
	CHECK(intr);
	OUTB(pic, 0xa1, 0xff);
	CHECK(!intr);
	pic_set(pic, 2, true);		/* the cascade is not an input of ours */
	CHECK(!intr);
	teardown();
}

static void
level_inputs_follow_the_line(void)
{
	setup(1);
	OUTB(pic, 0x4d0, 0xff);
	OUTB(pic, 0x4d1, 0xff);
	CHECK_EQ(INB(pic, 0x4d0), 0xf8);
	CHECK_EQ(INB(pic, 0x4d1), 0xde);
	pic_set(pic, 5, true);
	CHECK_EQ(pic_ack(pic), 0x25);
	OUTB(pic, 0x20, 0x20);
	CHECK(intr);			/* still high */
	pic_set(pic, 5, false);
	CHECK(!intr);
	pic_set(pic, 1, true);		/* an edge input latches */
	pic_set(pic, 1, false);
	CHECK(intr);
	teardown();
}

static void
auto_eoi_and_rotation(void)
{
	setup(3);			/* automatic EOI */
	pulse(1);
	CHECK_EQ(pic_ack(pic), 0x21);
	OUTB(pic, 0x20, 0x0b);
	CHECK_EQ(INB(pic, 0x20), 0);
	teardown();
	setup(1);
	pulse(3);
	CHECK_EQ(pic_ack(pic), 0x23);
	OUTB(pic, 0x20, 0xa0);		/* rotate: 3 is the lowest now, 4 the highest */
	pulse(1);
	pulse(4);
	CHECK_EQ(pic_ack(pic), 0x24);
	OUTB(pic, 0x20, 0x20);
	CHECK_EQ(pic_ack(pic), 0x21);
	OUTB(pic, 0x20, 0x61);
	OUTB(pic, 0x20, 0xc7);		/* set priority: 7 lowest */
	pulse(7);
	pulse(0);
	CHECK_EQ(pic_ack(pic), 0x20);
	teardown();
}

static void
special_mask_mode(void)
{
	setup(1);
	pulse(1);
	CHECK_EQ(pic_ack(pic), 0x21);
	pulse(4);
	CHECK(!intr);
	OUTB(pic, 0x20, 0x68);
	OUTB(pic, 0x21, 0x02);		/* 1 is masked: it no longer blocks 4 */
	CHECK(intr);
	CHECK_EQ(pic_ack(pic), 0x24);
	OUTB(pic, 0x20, 0x48);
	teardown();
}

static void
polling(void)
{
	setup(1);
	OUTB(pic, 0x20, 0x0c);
	CHECK_EQ(INB(pic, 0x20), 0);
	pulse(6);
	OUTB(pic, 0x20, 0x0c);
	CHECK_EQ(INB(pic, 0x20), 0x86);
	OUTB(pic, 0x20, 0x0b);
	CHECK_EQ(INB(pic, 0x20), 0x40);
	teardown();
}

static void
specially_nested_master(void)
{
	setup(0x11);
	pulse(12);
	CHECK_EQ(pic_ack(pic), 0x2c);
	pulse(8);			/* higher on the same slave: gets through */
	CHECK(intr);
	CHECK_EQ(pic_ack(pic), 0x28);
	teardown();
}

int
main(void)
{
	RUN(vectors_and_cascade);
	RUN(masks_and_spurious);
	RUN(level_inputs_follow_the_line);
	RUN(auto_eoi_and_rotation);
	RUN(special_mask_mode);
	RUN(polling);
	RUN(specially_nested_master);
	return check_done();
}
