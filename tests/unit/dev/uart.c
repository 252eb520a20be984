/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/uart.c - the 16550A: interrupts in order, FIFOs, loopback, nothing lost. */
#include "dev/uart.h"
#include "fake.h"

enum { THR = 0x3f8, RBR = 0x3f8, IER, IIR, FCR = 0x3fa, LCR, MCR, LSR, MSR, SCR };
enum { SETTLE = 20000000 };		/* ns after a change of the setup until input may come */
static struct dev *uart;
static char out[8192];
static size_t out_len, out_room, wanted;

static size_t
fake_write(void *ctx, const void *bytes, size_t n)
{
	(void)ctx;
	n = n < out_room ? n : out_room;
	memcpy(out + out_len, bytes, n);
	out_len += n;
	out_room -= n;
	return n;
}

static void fake_want(void *ctx) { (void)ctx; wanted++; }

static void
setup(void)
{
	fake_open();
	out_len = wanted = 0;
	out_room = sizeof(out);
	uart = uart_open("uart0", 0x3f8, fake_vm.clock, fake_line(),
	    (struct uart_host){ fake_write, fake_want, NULL });
}

static void
teardown(void)
{
	uart->ops->close(uart);
	fake_close();
}

static void
poll(void)
{
	for (int i = 0; i < 16; i++)
		INB(uart, LSR);
}

static void
reset_and_plain_registers(void)
{
	setup();
	CHECK_EQ(INB(uart, LSR), 0x60);
	CHECK_EQ(INB(uart, IIR), 1);
	CHECK_EQ(INB(uart, MSR), 0xb0);
	OUTB(uart, SCR, 0xa5);
	CHECK_EQ(INB(uart, SCR), 0xa5);
	OUTB(uart, IER, 0xff);
	CHECK_EQ(INB(uart, IER), 0x0f);
	OUTB(uart, LCR, 0x83);
	OUTB(uart, THR, 0x34);
	OUTB(uart, IER, 0x12);
	CHECK_EQ(INB(uart, THR), 0x34);
	CHECK_EQ(INB(uart, IER), 0x12);
	OUTB(uart, LCR, 0x03);
	CHECK_EQ(INB(uart, IER), 0x0f);
	CHECK_EQ(out_len, 0);
	OUTB(uart, FCR, 1);
	CHECK_EQ(INB(uart, IIR) & 0xc0, 0xc0);
	CHECK_EQ(INB(uart, IIR) & 0x30, 0);
	teardown();
}

static void
transmit_interrupts(void)
{
	setup();
	OUTB(uart, MCR, 8);
	OUTB(uart, IER, 2);
	CHECK(fake_level);			/* empty already */
	CHECK_EQ(INB(uart, IIR), 2);
	CHECK(!fake_level);			/* reading IIR took it */
	CHECK_EQ(INB(uart, IIR), 1);
	OUTB(uart, THR, 'x');
	CHECK(fake_level);
	OUTB(uart, THR, 'y');			/* each emptying is an edge */
	CHECK_EQ(fake_edges, 3);
	CHECK_EQ(out_len, 2);
	CHECK(out[0] == 'x' && out[1] == 'y');
	OUTB(uart, MCR, 0);			/* OUT2 closes the gate */
	CHECK(!fake_level);
	teardown();
}

static void
receive_by_trigger_level(void)
{
	setup();
	CHECK_EQ(uart_input(uart, "early", 5), 0);	/* nobody listens yet */
	OUTB(uart, MCR, 8);
	OUTB(uart, IER, 5);
	OUTB(uart, FCR, 0x81);			/* 8 bytes */
	CHECK_EQ(uart_input(uart, "early", 5), 0);	/* it is still setting up */
	fake_advance(SETTLE);
	CHECK_EQ(wanted, 1);
	CHECK_EQ(uart_input(uart, "abcdefg", 7), 7);
	CHECK(!fake_level);
	CHECK_EQ(INB(uart, LSR), 0x61);
	fake_advance(10000000);			/* four byte times at 9600 baud: 4.2 ms */
	CHECK(fake_level);
	CHECK_EQ(INB(uart, IIR), 0xcc);
	CHECK_EQ(INB(uart, RBR), 'a');
	CHECK(!fake_level);
	CHECK_EQ(uart_input(uart, "hi", 2), 2);
	CHECK(fake_level);
	CHECK_EQ(INB(uart, IIR), 0xc4);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(INB(uart, RBR), 'b' + i);
	CHECK_EQ(INB(uart, LSR), 0x60);
	CHECK(!fake_level);
	teardown();
}

static void
input_waits_outside(void)
{
	setup();
	CHECK_EQ(uart_input(uart, "ab", 2), 0);
	fake_advance(SETTLE);
	CHECK_EQ(wanted, 0);
	poll();					/* a guest without interrupts */
	CHECK_EQ(wanted, 1);
	CHECK_EQ(uart_input(uart, "ab", 2), 1);	/* no FIFO: one byte */
	CHECK_EQ(INB(uart, RBR), 'a');
	CHECK_EQ(wanted, 2);
	OUTB(uart, FCR, 1);
	fake_advance(SETTLE);
	poll();
	CHECK_EQ(uart_input(uart, "0123456789abcdefXYZ", 19), 16);
	CHECK_EQ(INB(uart, LSR) & 2, 0);	/* no overrun */
	for (int i = 0; i < 16; i++)
		CHECK_EQ(INB(uart, RBR), "0123456789abcdef"[i]);
	CHECK_EQ(wanted, 3);
	OUTB(uart, IER, 1);
	CHECK_EQ(uart_input(uart, "0123456789abcdefXYZ", 19), 0);
	fake_advance(SETTLE);
	CHECK_EQ(wanted, 4);
	CHECK_EQ(uart_input(uart, "0123456789abcdefXYZ", 19), 16);
	OUTB(uart, FCR, 3);			/* a cleared FIFO has room, too */
	fake_advance(SETTLE);
	CHECK_EQ(wanted, 5);
	CHECK_EQ(INB(uart, RBR), 0);
	teardown();
}

static void
a_slow_host_loses_nothing(void)
{
	setup();
	OUTB(uart, MCR, 8);
	OUTB(uart, IER, 2);
	INB(uart, IIR);
	out_room = 1;
	OUTB(uart, THR, 'a');
	CHECK_EQ(INB(uart, LSR), 0x60);
	OUTB(uart, THR, 'b');
	CHECK_EQ(INB(uart, LSR), 0);		/* busy */
	CHECK(!fake_level);
	for (int i = 0; i < 100; i++)		/* a guest that does not look */
		OUTB(uart, THR, (uint8_t)(i + 1));
	out_room = 50;
	uart_output_ready(uart);
	CHECK_EQ(INB(uart, LSR), 0);
	out_room = 1000;
	uart_output_ready(uart);
	CHECK_EQ(INB(uart, LSR), 0x60);
	CHECK(fake_level);
	CHECK_EQ(out_len, 102);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(out[2 + i], i + 1);
	out_room = 0;
	for (int i = 0; i < 100000; i++)	/* and one that floods: bounded */
		OUTB(uart, THR, 'f');
	out_room = sizeof(out) - out_len;
	uart_output_ready(uart);
	CHECK_EQ(out_len, 102 + 4096);
	teardown();
}

static void
loopback(void)
{
	setup();
	OUTB(uart, MCR, 0x10);
	CHECK_EQ(INB(uart, MSR), 0x0b);		/* three lines fell */
	CHECK_EQ(INB(uart, MSR), 0);
	OUTB(uart, MCR, 0x1f);
	CHECK_EQ(INB(uart, MSR), 0xfb);
	OUTB(uart, MCR, 0x1b);
	CHECK_EQ(INB(uart, MSR), 0xb4);		/* a ring has ended */
	OUTB(uart, THR, 0x5a);
	CHECK_EQ(out_len, 0);
	CHECK_EQ(uart_input(uart, "x", 1), 0);
	OUTB(uart, THR, 0x5b);
	CHECK_EQ(INB(uart, LSR), 0x63);		/* overrun */
	CHECK_EQ(INB(uart, LSR), 0x61);
	CHECK_EQ(INB(uart, RBR), 0x5a);
	teardown();
}

static void
interrupt_priorities(void)
{
	setup();
	OUTB(uart, MCR, 0x10);			/* modem lines change */
	OUTB(uart, THR, 1);
	OUTB(uart, THR, 2);			/* overrun */
	OUTB(uart, IER, 0xf);
	CHECK_EQ(INB(uart, IIR), 6);
	INB(uart, LSR);
	CHECK_EQ(INB(uart, IIR), 4);
	INB(uart, RBR);
	CHECK_EQ(INB(uart, IIR), 2);
	CHECK_EQ(INB(uart, IIR), 0);
	INB(uart, MSR);
	CHECK_EQ(INB(uart, IIR), 1);
	teardown();
}

int
main(void)
{
	RUN(reset_and_plain_registers);
	RUN(transmit_interrupts);
	RUN(receive_by_trigger_level);
	RUN(input_waits_outside);
	RUN(a_slow_host_loses_nothing);
	RUN(loopback);
	RUN(interrupt_priorities);
	return check_done();
}
