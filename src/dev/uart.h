/* SPDX-License-Identifier: Apache-2.0 */
/* dev/uart.h - 16550A serial port whose other end is the host. */
#pragma once
#include "vm/bus.h"
#include "vm/clock.h"
#include "vm/irq.h"

enum { UART_PORTS = 8, UART_HZ = 1843200 };

/* Callbacks run with the VM's lock held and must not block. */
struct uart_host {
	size_t (*write)(void *ctx, const void *bytes, size_t n);	/* bytes taken; NULL: all vanish */
	void (*want_input)(void *ctx);		/* room again after uart_input took too few; may be NULL */
	void *ctx;
};

struct dev *uart_open(const char *id, uint16_t base, struct clock *clock, struct irq_line *line,
	struct uart_host host);
size_t uart_input(struct dev *d, const void *bytes, size_t n);	/* bytes taken */
void uart_output_ready(struct dev *d);		/* host.write may take bytes again */
