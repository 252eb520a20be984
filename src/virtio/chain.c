/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/chain.c - the walk along descriptors, the only one for all devices and both ring formats. */
#include "virtio/chain.h"
#include <string.h>

static const char not_in_ram[] = "a buffer that is not in RAM", too_long[] = "a chain longer than its queue",
	disorder[] = "a buffer to read behind one to write", bad_table[] = "an indirect table that cannot be one";

static void
chain_begin(struct chain *c, uint16_t id)
{
	c->id = id;
	c->slots = 0;
	c->outs = c->ins = 0;
	c->out_len = c->in_len = 0;
}

/* One segment behind those before. A length of 0 is allowed, and is nothing. */
static const char *
chain_add(struct chain *c, struct mem *m, uint64_t addr, uint32_t len, bool write)
{
	unsigned n = c->outs + c->ins;
	uint8_t *p;

	if (!write && c->ins > 0)
		return disorder;
	if (len == 0)
		return NULL;
	if (n == CHAIN_MAX)
		return too_long;
	if ((p = mem_put(m, addr, len)) == NULL)
		return not_in_ram;
	c->iov[n] = (struct iovec){ p, len };
	c->gpa[n] = addr;
	*(write ? &c->ins : &c->outs) += 1;
	*(write ? &c->in_len : &c->out_len) += len;
	return NULL;
}

/* An indirect table's entries; 0 when it is none. */
static unsigned
table_entries(const struct chain_ring *r, uint64_t addr, uint32_t len, const uint8_t **table)
{
	if (!r->indirect || len == 0 || len % sizeof(struct vring_desc) != 0)
		return 0;
	if (len / sizeof(struct vring_desc) > CHAIN_MAX)
		return 0;
	*table = mem_get(r->mem, addr, len);
	return *table == NULL ? 0 : len / (unsigned)sizeof(struct vring_desc);
}

/* A list of split descriptors within a table of `size`, beginning at `at`; an indirect one may end it. */
static const char *
walk_list(struct chain *c, const struct chain_ring *r, const uint8_t *table, unsigned size, unsigned at, bool nested)
{
	const char *why;
	struct vring_desc d;

	for (unsigned n = 0; n < size; n++) {
		if (at >= size)
			return "a descriptor outside its table";
		memcpy(&d, table + at * sizeof(d), sizeof(d));
		if (d.flags & DESC_indirect) {
			const uint8_t *inner;
			unsigned entries = table_entries(r, d.addr, d.len, &inner);

			if (nested || (d.flags & DESC_next) || entries == 0)
				return bad_table;
			return walk_list(c, r, inner, entries, 0, true);
		}
		if ((why = chain_add(c, r->mem, d.addr, d.len, d.flags & DESC_write)) != NULL)
			return why;
		if ((d.flags & DESC_next) == 0)
			return NULL;
		at = d.next;
	}
	return too_long;
}

const char *
chain_walk_split(struct chain *c, const struct chain_ring *r, uint16_t head)
{
	chain_begin(c, head);
	c->slots = 1;
	return walk_list(c, r, r->desc, r->size, head, false);
}

static const char *
walk_packed_table(struct chain *c, const struct chain_ring *r, const struct vring_packed_desc *d)
{
	const uint8_t *table;
	unsigned entries = table_entries(r, d->addr, d->len, &table);
	const char *why = entries == 0 || (d->flags & DESC_next) ? bad_table : NULL;

	for (unsigned i = 0; why == NULL && i < entries; i++) {
		struct vring_packed_desc e;

		memcpy(&e, table + i * sizeof(e), sizeof(e));
		why = chain_add(c, r->mem, e.addr, e.len, e.flags & DESC_write);
	}
	return why;
}

const char *
chain_walk_packed(struct chain *c, const struct chain_ring *r, uint16_t at)
{
	struct vring_packed_desc d;
	const char *why;

	chain_begin(c, 0);
	while (c->slots < r->size) {
		memcpy(&d, r->desc + at * sizeof(d), sizeof(d));
		c->slots++;
		c->id = d.id;		/* the last one's counts */
		if (d.flags & DESC_indirect)
			return c->slots > 1 ? bad_table : walk_packed_table(c, r, &d);
		if ((why = chain_add(c, r->mem, d.addr, d.len, d.flags & DESC_write)) != NULL)
			return why;
		if ((d.flags & DESC_next) == 0)
			return NULL;
		at = (uint16_t)(at + 1 == r->size ? 0 : at + 1);
	}
	return too_long;
}

/* ---- use ---- */

unsigned
chain_slice(const struct chain *c, bool in, uint64_t at, uint64_t n, struct iovec iov[CHAIN_MAX])
{
	const struct iovec *s = in ? c->iov + c->outs : c->iov, *end = s + (in ? c->ins : c->outs);
	unsigned count = 0;

	for (; s < end && n > 0; s++) {
		uint64_t here = s->iov_len;

		if (at >= here) {
			at -= here;
			continue;
		}
		here = here - at < n ? here - at : n;
		iov[count++] = (struct iovec){ (uint8_t *)s->iov_base + at, here };
		n -= here;
		at = 0;
	}
	return n > 0 ? 0 : count;
}

size_t
chain_read(const struct chain *c, uint64_t at, void *to, size_t n)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->outs && done < n; i++) {
		size_t here = c->iov[i].iov_len;

		if (at >= here) {
			at -= here;
			continue;
		}
		here = here - at < n - done ? here - at : n - done;
		memcpy((uint8_t *)to + done, (const uint8_t *)c->iov[i].iov_base + at, here);
		done += here;
		at = 0;
	}
	return done;
}

size_t
chain_write(struct chain *c, struct mem *m, uint64_t at, const void *from, size_t n)
{
	size_t done = 0;

	for (unsigned i = c->outs; i < c->outs + c->ins && done < n; i++) {
		size_t here = c->iov[i].iov_len;

		if (at >= here) {
			at -= here;
			continue;
		}
		here = here - at < n - done ? here - at : n - done;
		memcpy((uint8_t *)c->iov[i].iov_base + at, (const uint8_t *)from + done, here);
		mem_dirty(m, c->gpa[i] + at, here);
		done += here;
		at = 0;
	}
	return done;
}

void
chain_dirty(const struct chain *c, struct mem *m, uint64_t at, uint64_t n)
{
	for (unsigned i = c->outs; i < c->outs + c->ins && n > 0; i++) {
		uint64_t here = c->iov[i].iov_len;

		if (at >= here) {
			at -= here;
			continue;
		}
		here = here - at < n ? here - at : n;
		mem_dirty(m, c->gpa[i] + at, here);
		n -= here;
		at = 0;
	}
}
