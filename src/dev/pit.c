/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pit.c - 8254 programmable interval timer (Intel 8254 data sheet).
 *
 * A channel is a formula over the ticks since its count was loaded; nothing runs while nobody looks.
 * Only channel 0 has a timer, set to the next rising edge of its output. A new count takes effect
 * at once in every mode.
 */
#include "dev/pit.h"
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

enum { CHANNELS = 3, SPEAKER = 2, FULL = 65536, NS_PER_S = 1000000000 };
enum { SHORTEST_NS = 20000 };		/* between interrupts, so that no guest keeps us busy */
enum { RW_latch, RW_low, RW_high, RW_both };
enum { MODE_terminal, MODE_oneshot, MODE_rate, MODE_square, MODE_strobe, MODE_hw_strobe };
enum { CTRL_READ_BACK = 3, BACK_NO_COUNT = 1 << 5, BACK_NO_STATUS = 1 << 4 };
enum { STATUS_OUT = 1 << 7, STATUS_NULL = 1 << 6 };
enum { B_GATE = 1 << 0, B_SPEAKER = 1 << 1, B_WRITABLE = 0xf, B_REFRESH = 1 << 4, B_OUT = 1 << 5,
	REFRESH_NS = 15085 };

struct pit {
	struct dev dev;			/* first */
	struct clock *clock;		/* borrowed */
	struct irq_line *line;		/* borrowed */
	struct timer timer;

	/* state by table; one element per channel */
	uint32_t count[CHANNELS];	/* 1 to FULL; 0: none written since the control word */
	uint64_t start[CHANNELS];	/* ns at which counting began */
	uint64_t held[CHANNELS];	/* ticks counted before the gate closed */
	uint8_t mode[CHANNELS], bcd[CHANNELS], rw[CHANNELS], gate[CHANNELS];
	uint8_t triggered[CHANNELS];	/* modes 1 and 5: the gate has risen */
	uint8_t low[CHANNELS];		/* first byte of a two-byte write */
	uint8_t write_high[CHANNELS], read_high[CHANNELS];	/* which byte is next */
	uint16_t latch[CHANNELS];
	uint8_t latched[CHANNELS];	/* bytes of latch still to be read */
	uint8_t status[CHANNELS], status_latched[CHANNELS];
	uint8_t port_b;
};

static uint64_t
ticks_of_ns(uint64_t ns)
{
	return (uint64_t)((uint128)ns * PIT_HZ / NS_PER_S);
}

static uint64_t
ns_of_ticks(uint64_t ticks)
{
	return (uint64_t)(((uint128)ticks * NS_PER_S + PIT_HZ - 1) / PIT_HZ);
}

static bool
periodic(const struct pit *p, unsigned c)
{
	return p->mode[c] == MODE_rate || p->mode[c] == MODE_square;
}

static bool
by_trigger(const struct pit *p, unsigned c)
{
	return p->mode[c] == MODE_oneshot || p->mode[c] == MODE_hw_strobe;
}

/* Ticks since the count was loaded; a closed gate holds them (modes 1 and 5 don't care). */
static uint64_t
elapsed(const struct pit *p, unsigned c)
{
	if (by_trigger(p, c) ? !p->triggered[c] : !p->gate[c])
		return p->held[c];
	return ticks_of_ns(clock_now(p->clock) - p->start[c]);
}

static bool
output(const struct pit *p, unsigned c)
{
	uint64_t t = elapsed(p, c), n = p->count[c];

	if (n == 0)
		return p->mode[c] != MODE_terminal;
	switch (p->mode[c]) {
	case MODE_terminal:
		return t >= n;
	case MODE_oneshot:
		return !p->triggered[c] || t >= n;
	case MODE_rate:
		return !p->gate[c] || t % n != n - 1;
	case MODE_square:
		return !p->gate[c] || t % n < (n + 1) / 2;
	default:
		return t != n;
	}
}

static uint16_t
to_bcd(uint32_t n)
{
	return (uint16_t)(n % 10 | n / 10 % 10 << 4 | n / 100 % 10 << 8 | n / 1000 % 10 << 12);
}

static uint32_t
from_bcd(uint32_t n)
{
	return (n & 0xf) + (n >> 4 & 0xf) * 10 + (n >> 8 & 0xf) * 100 + (n >> 12 & 0xf) * 1000;
}

/* What the counting element shows. */
static uint16_t
counter(const struct pit *p, unsigned c)
{
	uint64_t t = elapsed(p, c);
	uint32_t n = p->count[c], wrap = p->bcd[c] ? 10000 : FULL, now;

	if (n == 0)
		return 0;
	if (p->mode[c] == MODE_rate)
		now = n - (uint32_t)(t % n);
	else if (p->mode[c] == MODE_square)
		now = n - (uint32_t)(2 * (t % ((n + 1) / 2))) % n;
	else
		now = (uint32_t)((n + wrap - t % wrap) % wrap);
	return p->bcd[c] ? to_bcd(now) : (uint16_t)now;
}

/* ---- channel 0: its output is an interrupt line ---- */

/* Ticks from loading the count to the first rising edge of the output after tick t; 0: none. */
static uint64_t
next_edge(const struct pit *p, uint64_t t)
{
	uint64_t n = p->count[0];

	if (periodic(p, 0))
		return (t / n + 1) * n;
	if (p->mode[0] == MODE_terminal)
		return t < n ? n : 0;
	return t <= n ? n + 1 : 0;	/* strobes go down for one tick */
}

static void
arm(struct pit *p)
{
	uint64_t at;

	timer_cancel(p->clock, &p->timer);
	if (p->count[0] == 0 || by_trigger(p, 0))
		return;			/* channel 0's gate is always open: it never triggers */
	if ((at = next_edge(p, elapsed(p, 0))) != 0)
		timer_set(p->clock, &p->timer, p->start[0] + ns_of_ticks(at));
}

static void
pit_fired(void *ctx)
{
	struct pit *p = ctx;
	uint64_t soonest = clock_now(p->clock) + SHORTEST_NS;

	irq_set(p->line, 0, false);
	irq_set(p->line, 0, true);
	arm(p);
	if (p->timer.armed && p->timer.deadline < soonest)
		timer_set(p->clock, &p->timer, soonest);
}

/* ---- registers ---- */

static void
load(struct pit *p, unsigned c, uint32_t val)
{
	if (p->bcd[c])
		val = from_bcd(val);
	p->count[c] = val != 0 ? val : p->bcd[c] ? 10000 : FULL;
	if (p->count[c] == 1 && periodic(p, c))
		p->count[c] = 2;	/* 1 is illegal there */
	p->start[c] = clock_now(p->clock);
	p->held[c] = 0;
	p->triggered[c] = 0;
	if (c == 0) {
		irq_set(p->line, 0, p->mode[0] != MODE_terminal);
		arm(p);
	}
}

static void
write_count(struct pit *p, unsigned c, uint8_t val)
{
	switch (p->rw[c]) {
	case RW_low:
		load(p, c, val);
		break;
	case RW_high:
		load(p, c, (uint32_t)val << 8);
		break;
	default:
		if (p->write_high[c])
			load(p, c, (uint32_t)val << 8 | p->low[c]);
		p->low[c] = val;
		p->write_high[c] ^= 1;
		break;
	}
}

static void
latch_count(struct pit *p, unsigned c)
{
	if (p->latched[c] != 0)
		return;			/* the first latch stands until it is read */
	p->latch[c] = counter(p, c);
	p->latched[c] = p->rw[c] == RW_both ? 2 : 1;
}

static void
latch_status(struct pit *p, unsigned c)
{
	if (p->status_latched[c])
		return;
	p->status[c] = (uint8_t)((output(p, c) ? STATUS_OUT : 0) | (p->count[c] == 0 ? STATUS_NULL : 0) |
		p->rw[c] << 4 | p->mode[c] << 1 | p->bcd[c]);
	p->status_latched[c] = 1;
}

static void
read_back(struct pit *p, uint8_t val)
{
	for (unsigned c = 0; c < CHANNELS; c++) {
		if ((val >> (c + 1) & 1) == 0)
			continue;
		if ((val & BACK_NO_COUNT) == 0)
			latch_count(p, c);
		if ((val & BACK_NO_STATUS) == 0)
			latch_status(p, c);
	}
}

static void
write_control(struct pit *p, uint8_t val)
{
	unsigned c = val >> 6, rw = val >> 4 & 3, mode = val >> 1 & 7;

	if (c == CTRL_READ_BACK) {
		read_back(p, val);
		return;
	}
	if (rw == RW_latch) {
		latch_count(p, c);
		return;
	}
	p->rw[c] = (uint8_t)rw;
	p->mode[c] = (uint8_t)(mode > MODE_hw_strobe ? mode & 3 : mode);
	p->bcd[c] = val & 1;
	p->count[c] = 0;
	p->write_high[c] = p->read_high[c] = p->latched[c] = p->status_latched[c] = p->triggered[c] = 0;
	if (c == 0) {
		arm(p);
		irq_set(p->line, 0, p->mode[0] != MODE_terminal);
	}
}

static uint8_t
read_count(struct pit *p, unsigned c)
{
	uint16_t now;
	bool high;

	if (p->status_latched[c]) {
		p->status_latched[c] = 0;
		return p->status[c];
	}
	now = p->latched[c] != 0 ? p->latch[c] : counter(p, c);
	high = p->rw[c] == RW_high || (p->rw[c] == RW_both && p->read_high[c]);
	if (p->rw[c] == RW_both)
		p->read_high[c] ^= 1;
	if (p->latched[c] != 0)
		p->latched[c]--;
	return (uint8_t)(high ? now >> 8 : now);
}

static void
set_gate(struct pit *p, unsigned c, bool open)
{
	if (open == p->gate[c])
		return;
	if (open && (periodic(p, c) || by_trigger(p, c))) {
		p->start[c] = clock_now(p->clock);	/* a rising gate starts over */
		p->triggered[c] = by_trigger(p, c) && p->count[c] != 0;
	} else if (open) {
		p->start[c] = clock_now(p->clock) - ns_of_ticks(p->held[c]);
	} else {
		p->held[c] = elapsed(p, c);
	}
	p->gate[c] = open;
}

static uint8_t
read_port_b(const struct pit *p)
{
	return (uint8_t)(p->port_b | (output(p, SPEAKER) ? B_OUT : 0) |
		(clock_now(p->clock) / REFRESH_NS & 1 ? B_REFRESH : 0));
}

static enum io_result
pit_io(struct dev *d, struct io *io)
{
	struct pit *p = (struct pit *)d;
	unsigned c = io->addr & 3;

	if (!io->port || io->size != 1)
		return IO_none;
	if (io->addr == PIT_PORT_B && io->write) {
		p->port_b = io->data & B_WRITABLE;
		set_gate(p, SPEAKER, (io->data & B_GATE) != 0);
	} else if (io->addr == PIT_PORT_B) {
		io->data = read_port_b(p);
	} else if (io->write && c == CHANNELS) {
		write_control(p, (uint8_t)io->data);
	} else if (io->write) {
		write_count(p, c, (uint8_t)io->data);
	} else {
		io->data = c == CHANNELS ? 0xff : read_count(p, c);
	}
	return IO_done;
}

static void
pit_reset(struct dev *d)
{
	struct pit *p = (struct pit *)d;

	timer_cancel(p->clock, &p->timer);
	p->gate[SPEAKER] = 0;
	irq_set(p->line, 0, false);
}

static void pit_loaded(struct dev *d) { arm((struct pit *)d); }

static void
pit_close(struct dev *d)
{
	struct pit *p = (struct pit *)d;

	timer_cancel(p->clock, &p->timer);
	free(p);
}

static const struct dev_field pit_fields[] = {
	DEV_FIELD(struct pit, count, CHANNELS, 0),
	DEV_FIELD(struct pit, start, CHANNELS, 0),
	DEV_FIELD(struct pit, held, CHANNELS, 0),
	DEV_FIELD(struct pit, mode, CHANNELS, 0),
	DEV_FIELD(struct pit, bcd, CHANNELS, 0),
	DEV_FIELD(struct pit, rw, CHANNELS, RW_both),
	DEV_FIELD(struct pit, gate, CHANNELS, 1),
	DEV_FIELD(struct pit, triggered, CHANNELS, 0),
	DEV_FIELD(struct pit, low, CHANNELS, 0),
	DEV_FIELD(struct pit, write_high, CHANNELS, 0),
	DEV_FIELD(struct pit, read_high, CHANNELS, 0),
	DEV_FIELD(struct pit, latch, CHANNELS, 0),
	DEV_FIELD(struct pit, latched, CHANNELS, 0),
	DEV_FIELD(struct pit, status, CHANNELS, 0),
	DEV_FIELD(struct pit, status_latched, CHANNELS, 0),
	DEV_FIELD(struct pit, port_b, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops pit_ops = {
	.name = "pit", .io = pit_io, .reset = pit_reset, .loaded = pit_loaded, .close = pit_close,
	.fields = pit_fields,
};

struct dev *
pit_open(struct clock *clock, struct irq_line *line)
{
	struct pit *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->dev.ops = &pit_ops;
	strcpy(p->dev.id, "pit");
	p->clock = clock;
	p->line = line;
	p->timer = (struct timer){ .fire = pit_fired, .ctx = p };
	dev_reset(&p->dev);
	return &p->dev;
}
