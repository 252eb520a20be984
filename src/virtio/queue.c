/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/queue.c - split and packed rings behind one interface.
 *
 * The guest writes the same memory at the same time: indices are loaded once, in order, and the two moments where
 * each side publishes and then looks at the other have a full fence between.
 */
#include "virtio/queue.h"
#include <string.h>

enum { SPLIT_IDX = 2, SPLIT_RING = 4, USED_ELEM = 8, AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };
enum { EVENT_OFF = 0, EVENT_FLAGS = 2, EVENT_SIZE = 4, EVENT_enable = 0, EVENT_disable = 1, EVENT_desc = 2 };
enum { WRAP_BIT = 1 << 15 };

/* Guest memory is aligned here: vq_start saw to it. */
static uint16_t
get16(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void
put16(struct vq *q, gpa_t gpa, uint8_t *p, uint16_t val)
{
	__atomic_store_n((uint16_t *)(void *)p, val, __ATOMIC_RELEASE);
	mem_dirty(q->mem, gpa, sizeof(val));
}

static size_t driver_size(const struct vq *q) { return q->packed ? EVENT_SIZE : 6 + 2u * q->s->size; }
static size_t device_size(const struct vq *q) { return q->packed ? EVENT_SIZE : 6 + 8u * q->s->size; }

const char *
vq_start(struct vq *q, struct vq_state *s, struct mem *mem, bool packed, bool event_idx, bool indirect)
{
	size_t desc_size = (size_t)s->size * sizeof(struct vring_desc);

	*q = (struct vq){ .s = s, .packed = packed, .event_idx = event_idx, .indirect = indirect };
	if (s->size == 0 || s->size > VQ_SIZE_MAX || (!packed && (s->size & (s->size - 1)) != 0))
		return "a queue of a size that cannot be";
	if (s->desc % 16 != 0 || s->driver % (packed ? 4 : 2) != 0 || s->device % 4 != 0)
		return "a queue that is not aligned";
	q->desc_p = q->desc_w = mem_put(mem, s->desc, desc_size);
	q->driver_p = mem_get(mem, s->driver, driver_size(q));
	q->device_p = mem_put(mem, s->device, device_size(q));
	if (q->desc_p == NULL || q->driver_p == NULL || q->device_p == NULL)
		return "a queue that is not in RAM";
	q->mem = mem;
	return NULL;
}

void
vq_stop(struct vq *q)
{
	q->mem = NULL;
}

/* ---- taking ---- */

static enum vq_result
split_take(struct vq *q, struct chain *c, const char **why)
{
	struct vq_state *s = q->s;
	uint16_t idx = get16(q->driver_p + SPLIT_IDX), waiting = (uint16_t)(idx - s->avail), head;
	struct chain_ring r = { q->mem, q->desc_p, s->size, q->indirect };

	if (waiting == 0)
		return VQ_empty;
	if (waiting > s->size) {
		*why = "an available index from nowhere";
		return VQ_bad;
	}
	head = get16(q->driver_p + SPLIT_RING + 2 * (s->avail & (s->size - 1)));
	if ((*why = chain_walk_split(c, &r, head)) != NULL)
		return VQ_bad;
	s->avail++;
	return VQ_taken;
}

static bool
packed_available(const struct vq *q)
{
	uint16_t flags = get16(q->desc_p + q->s->avail * sizeof(struct vring_packed_desc) +
	    offsetof(struct vring_packed_desc, flags));

	return ((flags & DESC_avail) != 0) == q->s->avail_wrap && ((flags & DESC_used) != 0) != q->s->avail_wrap;
}

static void
advance(uint16_t *at, uint8_t *wrap, uint16_t slots, uint16_t size)
{
	unsigned next = *at + slots;

	if (next >= size) {
		next -= size;
		*wrap ^= 1;
	}
	*at = (uint16_t)next;
}

static enum vq_result
packed_take(struct vq *q, struct chain *c, const char **why)
{
	struct vq_state *s = q->s;
	struct chain_ring r = { q->mem, q->desc_p, s->size, q->indirect };

	if (!packed_available(q))
		return VQ_empty;
	if ((*why = chain_walk_packed(c, &r, s->avail)) != NULL)
		return VQ_bad;
	advance(&s->avail, &s->avail_wrap, c->slots, s->size);
	return VQ_taken;
}

enum vq_result
vq_take(struct vq *q, struct chain *c, const char **why)
{
	if (q->mem == NULL)
		return VQ_empty;
	return q->packed ? packed_take(q, c, why) : split_take(q, c, why);
}

bool
vq_any(const struct vq *q)
{
	if (q->mem == NULL)
		return false;
	return q->packed ? packed_available(q) : get16(q->driver_p + SPLIT_IDX) != q->s->avail;
}

void
vq_untake_slots(struct vq *q, uint16_t slots)
{
	struct vq_state *s = q->s;

	if (!q->packed) {
		s->avail--;
	} else if (s->avail >= slots) {
		s->avail = (uint16_t)(s->avail - slots);
	} else {
		s->avail = (uint16_t)(s->avail + s->size - slots);
		s->avail_wrap ^= 1;
	}
}

void
vq_untake(struct vq *q, const struct chain *c)
{
	vq_untake_slots(q, c->slots);
}

/* ---- giving ---- */

static void
split_give(struct vq *q, const struct vq_used *u, unsigned n)
{
	struct vq_state *s = q->s;

	for (unsigned i = 0; i < n; i++) {
		unsigned at = SPLIT_RING + USED_ELEM * ((s->used + i) & (s->size - 1u));
		uint32_t elem[2] = { u[i].id, u[i].len };

		memcpy(q->device_p + at, elem, sizeof(elem));
		mem_dirty(q->mem, s->device + at, sizeof(elem));
	}
	s->used = (uint16_t)(s->used + n);
	put16(q, s->device + SPLIT_IDX, q->device_p + SPLIT_IDX, s->used);
}

/* One used descriptor, as `used` stands; its flags, which make it one, are left to the caller. */
static size_t
packed_fill(struct vq *q, const struct vq_used *u, uint16_t *flags)
{
	struct vq_state *s = q->s;
	size_t at = s->used * sizeof(struct vring_packed_desc);
	struct vring_packed_desc d = { .len = u->len, .id = u->id };
	enum { LEN = offsetof(struct vring_packed_desc, len), FLAGS = offsetof(struct vring_packed_desc, flags) };

	memcpy(q->desc_w + at + LEN, (uint8_t *)&d + LEN, FLAGS - LEN);
	mem_dirty(q->mem, s->desc + at, sizeof(d));
	*flags = s->used_wrap ? DESC_avail | DESC_used : 0;
	if (s->used + u->slots >= s->size)
		s->signalled_valid = 0;		/* slots before and after a wrap do not compare */
	advance(&s->used, &s->used_wrap, u->slots, s->size);
	return at + FLAGS;
}

/* The first one's flags last: the driver stops there until all are written. */
static void
packed_give(struct vq *q, const struct vq_used *u, unsigned n)
{
	uint16_t first_flags, flags;
	size_t first = packed_fill(q, u, &first_flags), at;

	for (unsigned i = 1; i < n; i++) {
		at = packed_fill(q, &u[i], &flags);
		put16(q, q->s->desc + at, q->desc_w + at, flags);
	}
	put16(q, q->s->desc + first, q->desc_w + first, first_flags);
}

void
vq_give_many(struct vq *q, const struct vq_used *u, unsigned n)
{
	if (q->mem == NULL || n == 0)
		return;
	if (q->packed)
		packed_give(q, u, n);
	else
		split_give(q, u, n);
}

void
vq_give(struct vq *q, uint16_t id, uint16_t slots, uint32_t len)
{
	struct vq_used u = { id, slots, len };

	vq_give_many(q, &u, 1);
}

/* ---- who wants to be told ---- */

/* Whether `event` lies in (old, new], counting round. */
static bool
passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static bool
split_wants(struct vq *q, uint16_t old, bool valid)
{
	struct vq_state *s = q->s;

	if (!q->event_idx)
		return (get16(q->driver_p) & AVAIL_NO_INTERRUPT) == 0;
	return !valid || passed(get16(q->driver_p + SPLIT_RING + 2 * s->size), s->used, old);
}

/* The event's slot and ours are made comparable by the wrap counters, as 2.8.10 does. */
static bool
packed_wants(struct vq *q, uint16_t old, bool valid)
{
	struct vq_state *s = q->s;
	uint16_t flags = get16(q->driver_p + EVENT_FLAGS), off;

	if (flags != EVENT_desc || !q->event_idx)
		return flags != EVENT_disable;
	off = get16(q->driver_p + EVENT_OFF);
	if ((off & WRAP_BIT) >> 15 != s->used_wrap)
		off = (uint16_t)((off & ~WRAP_BIT) - s->size);
	else
		off = off & (uint16_t)~WRAP_BIT;
	return !valid || passed(off, s->used, old);
}

bool
vq_wants_interrupt(struct vq *q)
{
	struct vq_state *s = q->s;
	bool valid, wants;
	uint16_t old;

	if (q->mem == NULL)		/* reset meanwhile */
		return false;
	old = s->signalled;
	valid = s->signalled_valid;
	if (valid && old == s->used)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wants = q->packed ? packed_wants(q, old, valid) : split_wants(q, old, valid);
	s->signalled = s->used;
	s->signalled_valid = 1;
	return wants;
}

static void
split_listen(struct vq *q, bool on)
{
	struct vq_state *s = q->s;
	unsigned event = (unsigned)SPLIT_RING + (unsigned)USED_ELEM * s->size;

	if (!q->event_idx)
		put16(q, s->device, q->device_p, on ? 0 : USED_NO_NOTIFY);
	else if (on)
		put16(q, s->device + event, q->device_p + event, s->avail);
}

static void
packed_listen(struct vq *q, bool on)
{
	struct vq_state *s = q->s;

	if (on && q->event_idx)
		put16(q, s->device, q->device_p, (uint16_t)(s->avail | s->avail_wrap << 15));
	put16(q, s->device + EVENT_FLAGS, q->device_p + EVENT_FLAGS,
	    !on ? EVENT_disable : q->event_idx ? EVENT_desc : EVENT_enable);
}

void
vq_listen(struct vq *q, bool on)
{
	if (q->mem == NULL)
		return;
	if (q->packed)
		packed_listen(q, on);
	else
		split_listen(q, on);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
