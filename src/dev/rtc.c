/* SPDX-License-Identifier: Apache-2.0 */
/* dev/rtc.c - Motorola MC146818A real-time clock (its data sheet; PC: index at 0x70, data at 0x71).
 *
 * Time is the VM's wall clock plus an offset that the guest sets; registers are computed when looked
 * at, UTC. Flags in register C are brought up to date lazily, and a timer runs only while an
 * interrupt is enabled.
 */
#include "dev/rtc.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { R_second, R_second_alarm, R_minute, R_minute_alarm, R_hour, R_hour_alarm, R_weekday, R_day, R_month,
	R_year, R_a, R_b, R_c, R_d, R_base_low = 0x15, R_ext_low = 0x17, R_ext_low2 = 0x30,
	R_above_16m = 0x34, R_above_4g = 0x5b, R_cpus = 0x5f };
enum { A_UPDATING = 1 << 7, A_WRITABLE = 0x7f, A_RATE = 0xf };
enum { B_SET = 1 << 7, B_PERIODIC = 1 << 6, B_ALARM = 1 << 5, B_UPDATE = 1 << 4, B_BINARY = 1 << 2,
	B_24H = 1 << 1, B_ENABLES = B_PERIODIC | B_ALARM | B_UPDATE };
enum { C_IRQ = 1 << 7, D_VALID = 1 << 7, HOUR_PM = 1 << 7, ALARM_ANY = 0xc0 };
enum { INDEX_MASK = 0x7f, NVRAM = 128, NS_PER_S = 1000000000, HZ = 32768, DAY_S = 86400,
	UPDATE_NS = 244000 + 1984000 };	/* warning before an update, and the update */

struct rtc {
	struct dev dev;			/* first */
	struct clock *clock;		/* borrowed */
	struct irq_line *line;		/* borrowed; source 0 */
	struct rtc_memory mem;
	struct timer timer;

	/* state by table */
	uint8_t index;
	uint8_t reg[NVRAM];		/* time registers only while B_SET holds them */
	int64_t offset;			/* ns that the guest's clock is ahead of the VM's */
	uint64_t seen;			/* ns of rtc time up to which register C is correct */
};

static uint64_t
rtc_now(const struct rtc *r)
{
	return clock_wall(r->clock) + (uint64_t)r->offset;
}

/* ---- time to registers and back ---- */

static uint8_t
encode(const struct rtc *r, int n)
{
	return (uint8_t)(r->reg[R_b] & B_BINARY ? n : n / 10 % 10 << 4 | n % 10);
}

static int
decode(const struct rtc *r, uint8_t v)
{
	return r->reg[R_b] & B_BINARY ? v : (v >> 4) * 10 + (v & 0xf);
}

static uint8_t
encode_hour(const struct rtc *r, int hour)
{
	if (r->reg[R_b] & B_24H)
		return encode(r, hour);
	return (uint8_t)(encode(r, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? HOUR_PM : 0));
}

static int
decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->reg[R_b] & B_24H)
		return decode(r, v);
	return decode(r, v & (uint8_t)~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static void
time_to_regs(struct rtc *r)
{
	time_t t = (time_t)(rtc_now(r) / NS_PER_S);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL)
		return;
	r->reg[R_second] = encode(r, tm.tm_sec);
	r->reg[R_minute] = encode(r, tm.tm_min);
	r->reg[R_hour] = encode_hour(r, tm.tm_hour);
	r->reg[R_weekday] = encode(r, tm.tm_wday + 1);
	r->reg[R_day] = encode(r, tm.tm_mday);
	r->reg[R_month] = encode(r, tm.tm_mon + 1);
	r->reg[R_year] = encode(r, tm.tm_year % 100);
	r->reg[RTC_CENTURY] = encode(r, (tm.tm_year + 1900) / 100);
}

/* Nonsense in the registers becomes some time or other. */
static void
regs_to_time(struct rtc *r)
{
	struct tm tm = {
		.tm_sec = decode(r, r->reg[R_second]), .tm_min = decode(r, r->reg[R_minute]),
		.tm_hour = decode_hour(r, r->reg[R_hour]), .tm_mday = decode(r, r->reg[R_day]),
		.tm_mon = decode(r, r->reg[R_month]) - 1,
		.tm_year = decode(r, r->reg[R_year]) + 100 * decode(r, r->reg[RTC_CENTURY]) - 1900,
	};
	time_t t = timegm(&tm);

	r->offset = (int64_t)((uint64_t)t * NS_PER_S - clock_wall(r->clock));
	r->seen = rtc_now(r);
}

/* ---- interrupts ---- */

/* ns between periodic interrupts, 0: off. */
static uint64_t
period_ns(const struct rtc *r)
{
	unsigned rate = r->reg[R_a] & A_RATE;

	if (rate == 0)
		return 0;
	if (rate <= 2)
		rate += 7;
	return (uint64_t)NS_PER_S * (1u << (rate - 1)) / HZ;
}

static bool
alarm_byte(uint8_t alarm, int want, int now)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || want == now;
}

/* Does the alarm match a second in (from, to]? A day at most: then every alarm has come. */
static bool
alarm_between(const struct rtc *r, uint64_t from, uint64_t to)
{
	if (to - from > DAY_S)
		from = to - DAY_S;
	for (uint64_t s = from + 1; s <= to; s++)
		if (alarm_byte(r->reg[R_second_alarm], decode(r, r->reg[R_second_alarm]), (int)(s % 60)) &&
		    alarm_byte(r->reg[R_minute_alarm], decode(r, r->reg[R_minute_alarm]), (int)(s / 60 % 60)) &&
		    alarm_byte(r->reg[R_hour_alarm], decode_hour(r, r->reg[R_hour_alarm]),
			(int)(s / 3600 % 24)))
			return true;
	return false;
}

static void
irq_update(struct rtc *r)
{
	bool irq = (r->reg[R_c] & r->reg[R_b] & B_ENABLES) != 0;

	r->reg[R_c] = (uint8_t)((r->reg[R_c] & ~C_IRQ) | (irq ? C_IRQ : 0));
	irq_set(r->line, 0, irq);
}

/* Set the flags of register C for what happened since we last looked. */
static void
catch_up(struct rtc *r)
{
	uint64_t now = rtc_now(r), was = r->seen, period = period_ns(r);

	if (now <= was)
		return;
	if (period != 0 && now / period != was / period)
		r->reg[R_c] |= B_PERIODIC;
	if ((r->reg[R_b] & B_SET) == 0 && now / NS_PER_S != was / NS_PER_S) {
		r->reg[R_c] |= B_UPDATE;
		if (alarm_between(r, was / NS_PER_S, now / NS_PER_S))
			r->reg[R_c] |= B_ALARM;
	}
	r->seen = now;
	irq_update(r);
}

static void
arm(struct rtc *r)
{
	uint64_t now = rtc_now(r), period = period_ns(r), next = UINT64_MAX;

	if (r->reg[R_b] & B_PERIODIC && period != 0)
		next = (now / period + 1) * period;
	if (r->reg[R_b] & (B_ALARM | B_UPDATE) && (r->reg[R_b] & B_SET) == 0) {
		uint64_t second = (now / NS_PER_S + 1) * NS_PER_S;

		next = second < next ? second : next;
	}
	if (next == UINT64_MAX)
		timer_cancel(r->clock, &r->timer);
	else
		timer_set(r->clock, &r->timer, clock_now(r->clock) + (next - now));
}

static void
rtc_fired(void *ctx)
{
	struct rtc *r = ctx;

	catch_up(r);
	arm(r);
}

/* ---- registers ---- */

static bool
is_time(unsigned n)
{
	return n == R_second || n == R_minute || n == R_hour || (n >= R_weekday && n <= R_year) ||
		n == RTC_CENTURY;
}

static uint8_t
read_a(const struct rtc *r)
{
	bool soon = rtc_now(r) % NS_PER_S >= NS_PER_S - UPDATE_NS;

	return (uint8_t)(r->reg[R_a] | (soon && (r->reg[R_b] & B_SET) == 0 ? A_UPDATING : 0));
}

static uint8_t
rtc_read(struct rtc *r, unsigned n)
{
	uint8_t val;

	if (is_time(n) && (r->reg[R_b] & B_SET) == 0)
		time_to_regs(r);
	if (n == R_a)
		return read_a(r);
	if (n != R_c)
		return r->reg[n];
	catch_up(r);
	val = r->reg[R_c];
	r->reg[R_c] = 0;
	irq_update(r);
	return val;
}

/* While SET holds the registers the guest fills them in; releasing them sets the time. */
static void
write_b(struct rtc *r, uint8_t val)
{
	bool set = (r->reg[R_b] & B_SET) != 0;

	catch_up(r);
	if (!set && val & B_SET)
		time_to_regs(r);
	r->reg[R_b] = val & B_SET ? val & (uint8_t)~B_UPDATE : val;
	if (set && (val & B_SET) == 0)
		regs_to_time(r);
	irq_update(r);
	arm(r);
}

static void
rtc_write(struct rtc *r, unsigned n, uint8_t val)
{
	if (n == R_c || n == R_d)
		return;
	if (n == R_b) {
		write_b(r, val);
	} else if (n == R_a) {
		catch_up(r);
		r->reg[R_a] = val & A_WRITABLE;
		arm(r);
	} else if (is_time(n) && (r->reg[R_b] & B_SET) == 0) {
		time_to_regs(r);
		r->reg[n] = val;
		regs_to_time(r);
	} else {
		r->reg[n] = val;
	}
}

static enum io_result
rtc_io(struct dev *d, struct io *io)
{
	struct rtc *r = (struct rtc *)d;

	if (!io->port || io->size != 1)
		return IO_none;
	if (io->addr == RTC_BASE && io->write)
		r->index = io->data & INDEX_MASK;
	else if (io->addr == RTC_BASE)
		io->data = r->index;
	else if (io->write)
		rtc_write(r, r->index, (uint8_t)io->data);
	else
		io->data = rtc_read(r, r->index);
	return IO_done;
}

static void
put16(struct rtc *r, unsigned at, uint64_t val)
{
	val = val > 0xffff ? 0xffff : val;
	r->reg[at] = (uint8_t)val;
	r->reg[at + 1] = (uint8_t)(val >> 8);
}

/* Where firmware notes the memory sizes: KiB of base and extended memory, 64 KiB units above. */
static void
note_memory(struct rtc *r)
{
	uint64_t low = r->mem.low, ext = low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0;
	uint64_t above = low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0;

	put16(r, R_base_low, 640);
	put16(r, R_ext_low, ext);
	put16(r, R_ext_low2, ext);
	put16(r, R_above_16m, above);
	put16(r, R_above_4g, r->mem.high >> 16);
	r->reg[R_above_4g + 2] = (uint8_t)(r->mem.high >> 32);
	r->reg[R_cpus] = (uint8_t)(r->mem.cpus - 1);
}

static void
rtc_reset(struct dev *d)
{
	struct rtc *r = (struct rtc *)d;

	r->reg[R_a] = 0x26;		/* 32768 Hz crystal, 1024 Hz periodic rate */
	r->reg[R_b] = B_24H;
	r->reg[R_d] = D_VALID;
	note_memory(r);
	time_to_regs(r);
	r->seen = rtc_now(r);
	timer_cancel(r->clock, &r->timer);
	irq_update(r);
}

static void rtc_loaded(struct dev *d) { arm((struct rtc *)d); }

static void
rtc_close(struct dev *d)
{
	struct rtc *r = (struct rtc *)d;

	timer_cancel(r->clock, &r->timer);
	free(r);
}

static const struct dev_field rtc_fields[] = {
	DEV_FIELD(struct rtc, index, 1, 0),
	DEV_FIELD(struct rtc, reg, NVRAM, 0),
	DEV_FIELD(struct rtc, offset, 1, 0),
	DEV_FIELD(struct rtc, seen, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops rtc_ops = {
	.name = "rtc", .io = rtc_io, .reset = rtc_reset, .loaded = rtc_loaded, .close = rtc_close,
	.fields = rtc_fields,
};

struct dev *
rtc_open(struct clock *clock, struct irq_line *line, struct rtc_memory mem)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->dev.ops = &rtc_ops;
	strcpy(r->dev.id, "rtc");
	r->clock = clock;
	r->line = line;
	r->mem = mem;
	r->timer = (struct timer){ .fire = rtc_fired, .ctx = r };
	dev_reset(&r->dev);
	return &r->dev;
}
