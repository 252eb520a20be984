/* SPDX-License-Identifier: Apache-2.0 */
/* dev/uart.c - National PC16550D serial port (its data sheet).
 *
 * Nothing is lost: host input waits outside until the guest listens and the FIFO has room. A guest
 * listens when it asked for receive interrupts or polls LSR, and has not set up the port in the last
 * moment: a driver that starts clears the FIFO and reads away what is there. Guest output that the host does
 * not take waits in a backlog, and the transmitter looks busy meanwhile. The backlog is there for
 * guests that write without looking; only when it is full too, bytes go overboard. Bytes take no
 * time on the wire.
 */
#include "dev/uart.h"
#include <stdlib.h>
#include <string.h>

enum { FIFO = 16, BACKLOG = 4096, POLLS = 16 /* LSR reads in a row that make a poller */,
	SETTLE_NS = 20000000 /* after the last change of the setup */ };
enum { R_data, R_ier, R_iir_fcr, R_lcr, R_mcr, R_lsr, R_msr, R_scratch };
enum { IER_RX = 1 << 0, IER_TX = 1 << 1, IER_LINE = 1 << 2, IER_MODEM = 1 << 3, IER_MASK = 0xf };
enum { IIR_none = 1, IIR_modem = 0, IIR_tx = 2, IIR_rx = 4, IIR_line = 6, IIR_timeout = 0xc, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1 << 0, FCR_CLEAR_RX = 1 << 1, FCR_CLEAR_TX = 1 << 2, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 1 << 7, LCR_BREAK = 1 << 6 };
enum { MCR_DTR = 1 << 0, MCR_RTS = 1 << 1, MCR_OUT1 = 1 << 2, MCR_OUT2 = 1 << 3, MCR_LOOP = 1 << 4,
	MCR_MASK = 0x1f };
enum { LSR_DATA = 1 << 0, LSR_OVERRUN = 1 << 1, LSR_BREAK = 1 << 4, LSR_ERRORS = 0x1e, LSR_TX_EMPTY = 1 << 5,
	LSR_IDLE = 1 << 6 };
enum { MSR_CTS = 1 << 4, MSR_DSR = 1 << 5, MSR_RI = 1 << 6, MSR_DCD = 1 << 7, MSR_DELTA = 0xf,
	MSR_DELTA_RI = 1 << 2 };
enum { BITS_A_BYTE = 10, CLOCKS_A_BIT = 16, TIMEOUT_BYTES = 4, NS_PER_S = 1000000000 };

struct uart {
	struct dev dev;			/* first */
	uint16_t base;
	struct clock *clock;		/* borrowed */
	struct irq_line *line;		/* borrowed; source 0 */
	struct uart_host host;		/* borrowed */
	struct timer settle;		/* asks for input when the setup is done */
	struct timer timeout;		/* bytes below the trigger level wait no longer than this */
	bool input_waits;		/* uart_input took too few */

	/* state by table */
	uint8_t ier, fcr, lcr, mcr, lsr, msr, scratch;
	uint16_t divisor;
	uint64_t settled;		/* ns from which input may come */
	uint8_t tx_empty_irq;		/* the transmitter went empty and IIR was not read since */
	uint8_t timed_out;
	uint8_t polls;			/* LSR reads since any other access, up to POLLS */
	uint8_t rx[FIFO], rx_at, rx_count;
	uint8_t tx[BACKLOG];
	uint16_t tx_at, tx_count;
};

/* ---- interrupts ---- */

static unsigned
trigger_level(const struct uart *u)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The cause with the highest priority that is enabled. */
static uint8_t
cause(const struct uart *u)
{
	if (u->ier & IER_LINE && u->lsr & LSR_ERRORS)
		return IIR_line;
	if (u->ier & IER_RX && u->timed_out)
		return IIR_timeout;
	if (u->ier & IER_RX && u->rx_count >= trigger_level(u))
		return IIR_rx;
	if (u->ier & IER_TX && u->tx_empty_irq)
		return IIR_tx;
	if (u->ier & IER_MODEM && u->msr & MSR_DELTA)
		return IIR_modem;
	return IIR_none;
}

static void
update(struct uart *u)
{
	/* OUT2 opens the gate to the interrupt line on a PC; in loopback it is disconnected. */
	bool gate = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	irq_set(u->line, 0, gate && cause(u) != IIR_none);
}

/* ---- receiver ---- */

static void
timeout_fired(void *ctx)
{
	struct uart *u = ctx;

	u->timed_out = u->rx_count > 0;
	update(u);
}

/* After each byte that comes or goes: the time-out runs while bytes wait below the trigger level. */
static void
timeout_restart(struct uart *u)
{
	uint64_t divisor = u->divisor != 0 ? u->divisor : 1;
	uint64_t ns = TIMEOUT_BYTES * BITS_A_BYTE * CLOCKS_A_BIT * divisor * NS_PER_S / UART_HZ;

	u->timed_out = 0;
	if (u->fcr & FCR_ENABLE && u->rx_count > 0)
		timer_set(u->clock, &u->timeout, clock_now(u->clock) + ns);
	else
		timer_cancel(u->clock, &u->timeout);
}

/* Does the guest take input from outside? */
static bool
listens(const struct uart *u)
{
	return (u->mcr & MCR_LOOP) == 0 && (u->ier & IER_RX || u->polls >= POLLS) &&
		clock_now(u->clock) >= u->settled;
}

/* After anything that may have made room: ask for what uart_input had to refuse. */
static void
want_input(struct uart *u)
{
	if (!u->input_waits || u->rx_count > 0 || !listens(u))
		return;
	u->input_waits = false;
	if (u->host.want_input != NULL)
		u->host.want_input(u->host.ctx);
}

static void
settle_fired(void *ctx)
{
	want_input(ctx);
}

/* The guest changed the port's setup: input waits a moment more. */
static void
unsettle(struct uart *u)
{
	u->settled = clock_now(u->clock) + SETTLE_NS;
	timer_set(u->clock, &u->settle, u->settled);
}

static unsigned
rx_room(const struct uart *u)
{
	return (u->fcr & FCR_ENABLE ? FIFO : 1u) - u->rx_count;
}

static void
rx_push(struct uart *u, uint8_t byte)
{
	if (rx_room(u) == 0) {
		u->lsr |= LSR_OVERRUN;
		return;
	}
	u->rx[(u->rx_at + u->rx_count++) % FIFO] = byte;
	u->lsr |= LSR_DATA;
}

static uint8_t
rx_pop(struct uart *u)
{
	uint8_t byte = 0;

	if (u->rx_count > 0) {
		byte = u->rx[u->rx_at];
		u->rx_at = (uint8_t)((u->rx_at + 1) % FIFO);
		u->rx_count--;
	}
	if (u->rx_count == 0)
		u->lsr &= (uint8_t)~LSR_DATA;
	timeout_restart(u);
	update(u);
	want_input(u);
	return byte;
}

static void
rx_clear(struct uart *u)
{
	u->rx_count = 0;
	u->lsr &= (uint8_t)~LSR_DATA;
	timeout_restart(u);
}

size_t
uart_input(struct dev *d, const void *bytes, size_t n)
{
	struct uart *u = (struct uart *)d;
	size_t done = 0;

	if (listens(u))
		for (; done < n && rx_room(u) > 0; done++)
			rx_push(u, ((const uint8_t *)bytes)[done]);
	u->input_waits = done < n;
	if (done > 0) {
		timeout_restart(u);
		update(u);
	}
	return done;
}

/* ---- transmitter ---- */

static size_t
to_host(struct uart *u, const uint8_t *bytes, size_t n)
{
	return u->host.write == NULL ? n : u->host.write(u->host.ctx, bytes, n);
}

static void
tx_empty(struct uart *u)
{
	u->lsr |= LSR_TX_EMPTY | LSR_IDLE;
	u->tx_empty_irq = 1;
}

static void
tx_flush(struct uart *u)
{
	while (u->tx_count > 0) {
		size_t run = u->tx_count < BACKLOG - u->tx_at ? u->tx_count : (size_t)(BACKLOG - u->tx_at);
		size_t taken = to_host(u, u->tx + u->tx_at, run);

		u->tx_at = (uint16_t)((u->tx_at + taken) % BACKLOG);
		u->tx_count = (uint16_t)(u->tx_count - taken);
		if (taken < run)
			return;
	}
	tx_empty(u);
}

void
uart_output_ready(struct dev *d)
{
	struct uart *u = (struct uart *)d;

	if (u->tx_count > 0)
		tx_flush(u);
	update(u);
}

static void
tx_byte(struct uart *u, uint8_t byte)
{
	u->tx_empty_irq = 0;
	update(u);			/* the next "empty" must be an edge */
	if (u->mcr & MCR_LOOP) {
		rx_push(u, byte);
		timeout_restart(u);
		tx_empty(u);
	} else if (u->tx_count == 0 && to_host(u, &byte, 1) == 1) {
		tx_empty(u);
	} else if (u->tx_count < BACKLOG) {
		u->tx[(u->tx_at + u->tx_count++) % BACKLOG] = byte;
		u->lsr &= (uint8_t)~(LSR_TX_EMPTY | LSR_IDLE);
	}
	update(u);
}

/* ---- registers ---- */

/* The modem lines: a cable with both ends ready, or in loopback our own outputs. */
static void
modem_lines(struct uart *u)
{
	uint8_t now = MSR_CTS | MSR_DSR | MSR_DCD, changed;

	if (u->mcr & MCR_LOOP)
		now = (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
			(u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
	changed = (u->msr ^ now) >> 4;
	if (now & MSR_RI)
		changed &= (uint8_t)~MSR_DELTA_RI;	/* only the trailing edge of a ring counts */
	u->msr = now | (u->msr & MSR_DELTA) | changed;
}

static void
write_ier(struct uart *u, uint8_t val)
{
	bool asks = (val & IER_TX) != 0 && (u->ier & IER_TX) == 0;

	if ((val & IER_RX) != 0 && (u->ier & IER_RX) == 0)
		unsettle(u);
	u->ier = val & IER_MASK;
	if (asks && u->lsr & LSR_TX_EMPTY)
		u->tx_empty_irq = 1;	/* enabling it while empty interrupts at once */
}

static void
write_fcr(struct uart *u, uint8_t val)
{
	bool toggled = ((u->fcr ^ val) & FCR_ENABLE) != 0;

	unsettle(u);
	u->fcr = val & FCR_ENABLE ? val & FCR_KEPT : 0;
	if (toggled || val & FCR_CLEAR_RX)
		rx_clear(u);
	/* FCR_CLEAR_TX: what is in our backlog has left the chip as far as the guest can tell. */
}

static void
uart_write(struct uart *u, unsigned r, uint8_t val)
{
	bool dlab = (u->lcr & LCR_DLAB) != 0;

	switch (r) {
	case R_data:
		if (!dlab) {
			tx_byte(u, val);
			return;
		}
		u->divisor = (uint16_t)((u->divisor & 0xff00) | val);
		break;
	case R_ier:
		if (dlab)
			u->divisor = (uint16_t)((u->divisor & 0xff) | val << 8);
		else
			write_ier(u, val);
		break;
	case R_iir_fcr:
		write_fcr(u, val);
		break;
	case R_lcr:
		unsettle(u);
		u->lcr = val;
		break;
	case R_mcr:
		unsettle(u);
		u->mcr = val & MCR_MASK;
		modem_lines(u);
		break;
	case R_scratch:
		u->scratch = val;
		break;
	default:			/* LSR and MSR are for reading */
		break;
	}
	update(u);
}

static uint8_t
read_iir(struct uart *u)
{
	uint8_t c = cause(u);

	if (c == IIR_tx) {
		u->tx_empty_irq = 0;
		update(u);
	}
	return (uint8_t)(c | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0));
}

static uint8_t
read_lsr(struct uart *u)
{
	uint8_t val = u->lsr;

	if (u->polls < POLLS && ++u->polls == POLLS)
		want_input(u);
	u->lsr &= (uint8_t)~LSR_ERRORS;
	update(u);
	return val;
}

static uint8_t
read_msr(struct uart *u)
{
	uint8_t val = u->msr;

	u->msr &= (uint8_t)~MSR_DELTA;
	update(u);
	return val;
}

static uint8_t
uart_read(struct uart *u, unsigned r)
{
	bool dlab = (u->lcr & LCR_DLAB) != 0;

	switch (r) {
	case R_data:	return dlab ? (uint8_t)u->divisor : rx_pop(u);
	case R_ier:	return dlab ? (uint8_t)(u->divisor >> 8) : u->ier;
	case R_iir_fcr:	return read_iir(u);
	case R_lcr:	return u->lcr;
	case R_mcr:	return u->mcr;
	case R_lsr:	return read_lsr(u);
	case R_msr:	return read_msr(u);
	default:	return u->scratch;
	}
}

static enum io_result
uart_io(struct dev *d, struct io *io)
{
	struct uart *u = (struct uart *)d;
	unsigned r = (unsigned)(io->addr - u->base);

	if (!io->port || io->size != 1 || r >= UART_PORTS)
		return IO_none;
	if (r != R_lsr && u->rx_count == 0)
		u->polls = 0;
	if (io->write)
		uart_write(u, r, (uint8_t)io->data);
	else
		io->data = uart_read(u, r);
	return IO_done;
}

static void
uart_reset(struct dev *d)
{
	struct uart *u = (struct uart *)d;

	timer_cancel(u->clock, &u->timeout);
	timer_cancel(u->clock, &u->settle);
	update(u);
}

static void
uart_loaded(struct dev *d)
{
	struct uart *u = (struct uart *)d;

	u->rx_at %= FIFO;
	u->rx_count = u->rx_count > FIFO ? FIFO : u->rx_count;
	u->tx_at %= BACKLOG;
	u->tx_count = u->tx_count > BACKLOG ? BACKLOG : u->tx_count;
	timeout_restart(u);
	update(u);
}

static void
uart_close(struct dev *d)
{
	struct uart *u = (struct uart *)d;

	timer_cancel(u->clock, &u->timeout);
	timer_cancel(u->clock, &u->settle);
	free(u);
}

static const struct dev_field uart_fields[] = {
	DEV_FIELD(struct uart, ier, 1, 0),
	DEV_FIELD(struct uart, fcr, 1, 0),
	DEV_FIELD(struct uart, lcr, 1, 0),
	DEV_FIELD(struct uart, mcr, 1, 0),
	DEV_FIELD(struct uart, lsr, 1, LSR_TX_EMPTY | LSR_IDLE),
	DEV_FIELD(struct uart, msr, 1, MSR_CTS | MSR_DSR | MSR_DCD),
	DEV_FIELD(struct uart, scratch, 1, 0),
	DEV_FIELD(struct uart, divisor, 1, 12),
	DEV_FIELD(struct uart, settled, 1, 0),
	DEV_FIELD(struct uart, tx_empty_irq, 1, 0),
	DEV_FIELD(struct uart, timed_out, 1, 0),
	DEV_FIELD(struct uart, polls, 1, 0),
	DEV_FIELD(struct uart, rx, FIFO, 0),
	DEV_FIELD(struct uart, rx_at, 1, 0),
	DEV_FIELD(struct uart, rx_count, 1, 0),
	DEV_FIELD(struct uart, tx, BACKLOG, 0),
	DEV_FIELD(struct uart, tx_at, 1, 0),
	DEV_FIELD(struct uart, tx_count, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops uart_ops = {
	.name = "uart", .io = uart_io, .reset = uart_reset, .loaded = uart_loaded, .close = uart_close,
	.fields = uart_fields,
};

struct dev *
uart_open(const char *id, uint16_t base, struct clock *clock, struct irq_line *line, struct uart_host host)
{
	struct uart *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->dev.ops = &uart_ops;
	strncpy(u->dev.id, id, sizeof(u->dev.id) - 1);
	u->base = base;
	u->clock = clock;
	u->line = line;
	u->host = host;
	u->settle = (struct timer){ .fire = settle_fired, .ctx = u };
	u->timeout = (struct timer){ .fire = timeout_fired, .ctx = u };
	dev_reset(&u->dev);
	return &u->dev;
}
