/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pic.c - two cascaded 8259A interrupt controllers (Intel 8259A data sheet).
 *
 * Chip 0 is the master, chip 1 hangs on its input 2. An edge stays latched in the IRR until it is
 * acknowledged, whatever the line does meanwhile.
 */
#include "dev/pic.h"
#include <stdlib.h>
#include <string.h>

enum { CASCADE = 2, SPURIOUS = 7 };
enum { ICW1 = 1 << 4, ICW1_LEVEL = 1 << 3, ICW1_SINGLE = 1 << 1, ICW1_ICW4 = 1 << 0 };
enum { ICW4_AUTO_EOI = 1 << 1, ICW4_NESTED = 1 << 4 };
enum { OCW3 = 1 << 3, OCW3_POLL = 1 << 2, OCW3_READ = 1 << 1, OCW3_ISR = 1 << 0, OCW3_SET_MASK = 1 << 6,
	OCW3_MASK = 1 << 5 };
enum { EXPECT_ocw, EXPECT_icw2, EXPECT_icw3, EXPECT_icw4 };
enum ocw2 { OCW2_no_rotate_auto, OCW2_eoi, OCW2_nop, OCW2_eoi_this, OCW2_rotate_auto, OCW2_eoi_rotate,
	OCW2_set_priority, OCW2_eoi_rotate_this };

struct pic {
	struct dev dev;			/* first */
	struct pic_host host;		/* borrowed */
	bool out;			/* INTR as last told */

	/* state by table; one element per chip */
	uint8_t line[2];		/* inputs now */
	uint8_t irr[2], isr[2], imr[2], elcr[2];
	uint8_t base[2], top[2];	/* vector of input 0; the input with the highest priority */
	uint8_t expect[2], icw1[2], icw4[2];
	uint8_t read_isr[2], poll[2], special_mask[2], rotate_auto[2];
};

static const uint8_t elcr_mask[2] = { 0xf8, 0xde };	/* timer, keyboard, cascade, RTC, FPU are edges */

static uint8_t
level_inputs(const struct pic *p, unsigned c)
{
	return p->icw1[c] & ICW1_LEVEL ? 0xff : p->elcr[c];
}

/* Steps from the top priority to the first bit set; 8: none. */
static unsigned
rank(const struct pic *p, unsigned c, uint8_t set)
{
	unsigned n = 0;

	while (n < 8 && (set >> ((n + p->top[c]) & 7) & 1) == 0)
		n++;
	return n;
}

/* The input that would interrupt now, or -1. */
static int
best(const struct pic *p, unsigned c)
{
	unsigned want = rank(p, c, p->irr[c] & (uint8_t)~p->imr[c]);
	uint8_t busy = p->isr[c];

	if (p->special_mask[c])
		busy &= (uint8_t)~p->imr[c];
	if (c == 0 && p->icw4[0] & ICW4_NESTED)
		busy &= (uint8_t)~(1u << CASCADE);
	return want < rank(p, c, busy) ? (int)((want + p->top[c]) & 7) : -1;
}

static void
update(struct pic *p)
{
	bool out;

	if (best(p, 1) >= 0)
		p->irr[0] |= 1 << CASCADE;
	else
		p->irr[0] &= (uint8_t)~(1u << CASCADE);
	out = best(p, 0) >= 0;
	if (out != p->out) {
		p->out = out;
		p->host.intr(p->host.ctx, out);
	}
}

void
pic_set(struct dev *d, unsigned irq, bool level)
{
	struct pic *p = (struct pic *)d;
	unsigned c = irq >> 3 & 1;
	uint8_t bit = (uint8_t)(1u << (irq & 7));

	if (irq == CASCADE || irq > 15)
		return;
	if (level && ((p->line[c] & bit) == 0 || level_inputs(p, c) & bit))
		p->irr[c] |= bit;
	else if (!level && level_inputs(p, c) & bit)
		p->irr[c] &= (uint8_t)~bit;
	p->line[c] = (uint8_t)(level ? p->line[c] | bit : p->line[c] & ~bit);
	update(p);
}

static void
eoi(struct pic *p, unsigned c, unsigned n)
{
	p->isr[c] &= (uint8_t)~(1u << n);
	if (level_inputs(p, c) >> n & 1 && p->host.eoi != NULL)
		p->host.eoi(p->host.ctx, 8 * c + n);
}

/* Input n of chip c is being served. */
static void
take(struct pic *p, unsigned c, unsigned n)
{
	uint8_t bit = (uint8_t)(1u << n);

	if ((level_inputs(p, c) & bit) == 0)
		p->irr[c] &= (uint8_t)~bit;
	if ((p->icw4[c] & ICW4_AUTO_EOI) == 0) {
		p->isr[c] |= bit;
		return;
	}
	if (p->rotate_auto[c])
		p->top[c] = (uint8_t)((n + 1) & 7);
	eoi(p, c, n);
}

int
pic_ack(struct dev *d)
{
	struct pic *p = (struct pic *)d;
	int n = best(p, 0), m = SPURIOUS;
	unsigned c = 0;

	if (n >= 0) {
		take(p, 0, (unsigned)n);
		m = n;
	}
	if (n == CASCADE) {
		c = 1;
		if ((m = best(p, 1)) >= 0)
			take(p, 1, (unsigned)m);
		else
			m = SPURIOUS;
	} else if (n < 0) {
		m = SPURIOUS;
	}
	update(p);
	return p->base[c] + m;
}

static void
write_icw1(struct pic *p, unsigned c, uint8_t val)
{
	p->icw1[c] = val;
	p->expect[c] = EXPECT_icw2;
	p->imr[c] = p->isr[c] = p->top[c] = 0;
	p->special_mask[c] = p->read_isr[c] = p->poll[c] = p->rotate_auto[c] = p->icw4[c] = 0;
	p->irr[c] = p->line[c] & level_inputs(p, c);	/* edges must come again */
}

static void
write_ocw2(struct pic *p, unsigned c, uint8_t val)
{
	unsigned what = val >> 5, n = val & 7, first;

	switch (what) {
	case OCW2_no_rotate_auto:
	case OCW2_rotate_auto:
		p->rotate_auto[c] = what == OCW2_rotate_auto;
		break;
	case OCW2_eoi:
	case OCW2_eoi_rotate:
		first = rank(p, c, p->special_mask[c] ? p->isr[c] & (uint8_t)~p->imr[c] : p->isr[c]);
		if (first == 8)
			break;
		n = (first + p->top[c]) & 7;
		if (what == OCW2_eoi_rotate)
			p->top[c] = (uint8_t)((n + 1) & 7);
		eoi(p, c, n);
		break;
	case OCW2_eoi_this:
		eoi(p, c, n);
		break;
	case OCW2_eoi_rotate_this:
		eoi(p, c, n);
		p->top[c] = (uint8_t)((n + 1) & 7);
		break;
	case OCW2_set_priority:
		p->top[c] = (uint8_t)((n + 1) & 7);
		break;
	default:
		break;
	}
}

static void
write_ocw3(struct pic *p, unsigned c, uint8_t val)
{
	if (val & OCW3_POLL)
		p->poll[c] = 1;
	if (val & OCW3_READ)
		p->read_isr[c] = val & OCW3_ISR;
	if (val & OCW3_SET_MASK)
		p->special_mask[c] = (val & OCW3_MASK) != 0;
}

static void
write_data(struct pic *p, unsigned c, uint8_t val)
{
	switch (p->expect[c]) {
	case EXPECT_ocw:
		p->imr[c] = val;
		break;
	case EXPECT_icw2:
		p->base[c] = val & 0xf8;
		p->expect[c] = p->icw1[c] & ICW1_SINGLE ? EXPECT_icw4 : EXPECT_icw3;
		if (p->icw1[c] & ICW1_SINGLE && (p->icw1[c] & ICW1_ICW4) == 0)
			p->expect[c] = EXPECT_ocw;
		break;
	case EXPECT_icw3:		/* how we are cascaded is soldered */
		p->expect[c] = p->icw1[c] & ICW1_ICW4 ? EXPECT_icw4 : EXPECT_ocw;
		break;
	case EXPECT_icw4:
		p->icw4[c] = val;
		p->expect[c] = EXPECT_ocw;
		break;
	}
}

static void
chip_write(struct pic *p, unsigned c, bool data, uint8_t val)
{
	if (data)
		write_data(p, c, val);
	else if (val & ICW1)
		write_icw1(p, c, val);
	else if (val & OCW3)
		write_ocw3(p, c, val);
	else
		write_ocw2(p, c, val);
	update(p);
}

/* A poll is an interrupt acknowledge by software. */
static uint8_t
poll_read(struct pic *p, unsigned c)
{
	int n = best(p, c);

	p->poll[c] = 0;
	if (n < 0)
		return 0;
	take(p, c, (unsigned)n);
	update(p);
	return (uint8_t)(0x80 | n);
}

static uint8_t
chip_read(struct pic *p, unsigned c, bool data)
{
	if (p->poll[c])
		return poll_read(p, c);
	if (data)
		return p->imr[c];
	return p->read_isr[c] ? p->isr[c] : p->irr[c];
}

static void
elcr_write(struct pic *p, unsigned c, uint8_t val)
{
	p->elcr[c] = val & elcr_mask[c];
	p->irr[c] |= p->line[c] & p->elcr[c];
	update(p);
}

static enum io_result
pic_io(struct dev *d, struct io *io)
{
	struct pic *p = (struct pic *)d;
	unsigned low = io->addr & 1;

	if (!io->port || io->size != 1)
		return IO_none;
	if ((io->addr & ~1ull) == PIC_ELCR) {
		if (io->write)
			elcr_write(p, low, (uint8_t)io->data);
		else
			io->data = p->elcr[low];
	} else if ((io->addr & ~0x81ull) == PIC_MASTER) {
		unsigned c = io->addr >> 7 & 1;

		if (io->write)
			chip_write(p, c, low, (uint8_t)io->data);
		else
			io->data = chip_read(p, c, low);
	} else {
		return IO_none;
	}
	return IO_done;
}

static void
pic_loaded(struct dev *d)
{
	struct pic *p = (struct pic *)d;

	p->out = false;
	update(p);
}

static void
pic_reset(struct dev *d)
{
	struct pic *p = (struct pic *)d;

	if (p->out) {
		p->out = false;
		p->host.intr(p->host.ctx, false);
	}
}

static void pic_close(struct dev *d) { free(d); }

static const struct dev_field pic_fields[] = {
	DEV_FIELD(struct pic, line, 2, 0),
	DEV_FIELD(struct pic, irr, 2, 0),
	DEV_FIELD(struct pic, isr, 2, 0),
	DEV_FIELD(struct pic, imr, 2, 0),
	DEV_FIELD(struct pic, elcr, 2, 0),
	DEV_FIELD(struct pic, base, 2, 0),
	DEV_FIELD(struct pic, top, 2, 0),
	DEV_FIELD(struct pic, expect, 2, EXPECT_ocw),
	DEV_FIELD(struct pic, icw1, 2, 0),
	DEV_FIELD(struct pic, icw4, 2, 0),
	DEV_FIELD(struct pic, read_isr, 2, 0),
	DEV_FIELD(struct pic, poll, 2, 0),
	DEV_FIELD(struct pic, special_mask, 2, 0),
	DEV_FIELD(struct pic, rotate_auto, 2, 0),
	{ .name = NULL },
};

static const struct dev_ops pic_ops = {
	.name = "pic", .io = pic_io, .reset = pic_reset, .loaded = pic_loaded, .close = pic_close,
	.fields = pic_fields,
};

struct dev *
pic_open(struct pic_host host)
{
	struct pic *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->dev.ops = &pic_ops;
	strcpy(p->dev.id, "pic");
	p->host = host;
	dev_reset(&p->dev);
	return &p->dev;
}
