/* SPDX-License-Identifier: Apache-2.0 */
/* vm/bus.c - who answers at a port or a physical address: sorted ranges, binary search. */
#include "vm/bus.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct range {
	uint64_t base, len;
	struct dev *dev;		/* borrowed */
};

/* Sorted by base, never overlapping. */
struct space {
	struct range *range;
	unsigned count, room;
	unsigned last;			/* where the last access was found: devices are polled in loops */
};

struct bus {
	struct space port, mmio;
	uint8_t unknown[65536 / 8];	/* ports nobody has that were already reported */
	bool log;			/* REGENT_DEBUG_BUS is set */
};

struct bus *
bus_open(void)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (b != NULL)
		b->log = getenv("REGENT_DEBUG_BUS") != NULL;
	return b;
}

void
bus_close(struct bus *b)
{
	if (b == NULL)
		return;
	free(b->port.range);
	free(b->mmio.range);
	free(b);
}

/* How many ranges begin at or below addr. */
static unsigned
space_upper(const struct space *s, uint64_t addr)
{
	unsigned lo = 0, hi = s->count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (s->range[mid].base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool
range_has(const struct range *r, uint64_t addr)
{
	return addr - r->base < r->len;		/* wraps to huge below base */
}

static const struct range *
space_find(struct space *s, uint64_t addr)
{
	unsigned n;

	if (s->last < s->count && range_has(&s->range[s->last], addr))
		return &s->range[s->last];
	n = space_upper(s, addr);
	if (n == 0 || !range_has(&s->range[n - 1], addr))
		return NULL;
	s->last = n - 1;
	return &s->range[n - 1];
}

static int
space_grow(struct space *s)
{
	unsigned room = s->room == 0 ? 32 : s->room * 2;
	struct range *r = realloc(s->range, room * sizeof(*r));

	if (r == NULL)
		return -1;
	s->range = r;
	s->room = room;
	return 0;
}

int
bus_add(struct bus *b, struct dev *d, bool port, uint64_t base, uint64_t len)
{
	struct space *s = port ? &b->port : &b->mmio;
	unsigned n = space_upper(s, base);

	if (len == 0 || base + len - 1 < base || (port && base + len > 65536))
		return -1;
	if (n > 0 && range_has(&s->range[n - 1], base))
		return -1;
	if (n < s->count && s->range[n].base - base < len)
		return -1;
	if (s->count == s->room && space_grow(s) != 0)
		return -1;
	memmove(&s->range[n + 1], &s->range[n], (s->count - n) * sizeof(s->range[0]));
	s->range[n] = (struct range){ base, len, d };
	s->count++;
	return 0;
}

void
bus_remove(struct bus *b, struct dev *d, bool port, uint64_t base)
{
	struct space *s = port ? &b->port : &b->mmio;
	unsigned n = space_upper(s, base);

	if (n == 0 || s->range[n - 1].base != base || s->range[n - 1].dev != d)
		return;
	s->count--;
	memmove(&s->range[n - 1], &s->range[n], (s->count - n + 1) * sizeof(s->range[0]));
}

static uint64_t
ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

static void
report_unknown(struct bus *b, const struct io *io)
{
	uint8_t bit = (uint8_t)(1u << (io->addr & 7));

	if (!b->log || !io->port || io->addr > 0xffff || (b->unknown[io->addr / 8] & bit) != 0)
		return;
	b->unknown[io->addr / 8] |= bit;
	fprintf(stderr, "bus: nobody at port %#llx (%s, %u bytes)\n", (unsigned long long)io->addr,
		io->write ? "write" : "read", io->size);
}

/* The whole access, if one range holds all of it and its device takes this size. */
static enum io_result
access_whole(struct bus *b, struct io *io)
{
	const struct range *r = space_find(io->port ? &b->port : &b->mmio, io->addr);
	enum io_result res;

	if (r == NULL || io->addr - r->base > r->len - io->size || io->size > r->len)
		return IO_none;
	res = r->dev->ops->io(r->dev, io);
	if (!io->write && res != IO_none)
		io->data &= ones(io->size);
	return res;
}

/* As an ISA bridge does for 8-bit devices: one byte after the other. */
static enum io_result
access_bytes(struct bus *b, struct io *io)
{
	enum io_result all = IO_none;
	uint64_t data = 0;

	for (unsigned i = 0; i < io->size; i++) {
		struct io one = { .addr = (io->addr + i) & 0xffff, .size = 1, .port = true, .write = io->write };
		enum io_result res;

		one.data = io->write ? io->data >> (8 * i) & 0xff : 0xff;
		res = access_whole(b, &one);
		data |= (res == IO_none ? 0xff : one.data & 0xff) << (8 * i);
		if (res == IO_stop || all == IO_none)
			all = res;
	}
	if (!io->write)
		io->data = data;
	return all;
}

enum io_result
bus_access(struct bus *b, struct io *io)
{
	enum io_result res;

	assert(io->size == 1 || io->size == 2 || io->size == 4 || io->size == 8);
	if (!io->write)
		io->data = ones(io->size);
	else
		io->data &= ones(io->size);
	res = access_whole(b, io);
	if (res == IO_none && io->port && io->size > 1)
		res = access_bytes(b, io);
	if (res == IO_none) {
		report_unknown(b, io);
		if (!io->write)
			io->data = ones(io->size);
	}
	return res;
}

static void
field_reset(uint8_t *at, const struct dev_field *f)
{
	for (unsigned i = 0; i < f->count; i++)
		memcpy(at + (size_t)i * f->size, &f->reset, f->size);	/* little endian */
}

void
dev_reset(struct dev *d)
{
	for (const struct dev_field *f = d->ops->fields; f != NULL && f->name != NULL; f++)
		field_reset((uint8_t *)d + f->offset, f);
	if (d->ops->reset != NULL)
		d->ops->reset(d);
}

/* printf at the end of text; len goes on counting when it is full. */
__attribute__((format(printf, 4, 5))) static void
show(char *text, size_t n, size_t *len, const char *fmt, ...)
{
	va_list ap;
	int more;

	va_start(ap, fmt);
	more = vsnprintf(*len < n ? text + *len : NULL, *len < n ? n - *len : 0, fmt, ap);
	va_end(ap);
	*len += more > 0 ? (size_t)more : 0;
}

size_t
dev_show(const struct dev *d, char *text, size_t n)
{
	size_t len = 0;

	if (n > 0)
		text[0] = '\0';
	for (const struct dev_field *f = d->ops->fields; f != NULL && f->name != NULL; f++) {
		for (unsigned i = 0; i < f->count; i++) {
			uint64_t val = 0;

			memcpy(&val, (const uint8_t *)d + f->offset + (size_t)i * f->size, f->size);
			if (f->count == 1)
				show(text, n, &len, "%s.%s %#llx\n", d->id, f->name, (unsigned long long)val);
			else if (val != 0)
				show(text, n, &len, "%s.%s[%u] %#llx\n", d->id, f->name, i,
				    (unsigned long long)val);
		}
	}
	return len;
}
