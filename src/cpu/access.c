/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/access.c - the slow ways to guest memory: TLB misses, page crossings, devices, code pages.
 *
 * An access is cut into at most two spans, one a page. Both are translated before either is
 * touched, so that a fault in the second leaves the first as it was.
 */
#include "cpu/paging.h"
#include <string.h>

struct span {
	struct place at;
	unsigned size;
};

/* The address of the second page: linear addresses have 32 bits outside 64-bit mode. */
static uint64_t
next_page(const struct cpu *c, uint64_t lin, unsigned acc)
{
	uint64_t next = (lin & PAGE_MASK) + PAGE_SIZE;
	bool wide = c->mode == MODE_long64 || (c->lma && acc & ACC_system);

	return wide ? next : next & UINT32_MAX;
}

static int MUST_CHECK
spans(struct cpu *c, uint64_t lin, unsigned size, unsigned acc, struct span s[2])
{
	unsigned here = PAGE_SIZE - (unsigned)(lin & ~PAGE_MASK);

	s[0].size = size < here ? size : here;
	s[1].size = size - s[0].size;
	if (tlb_place(c, lin, acc, &s[0].at) != OK)
		return FAULT;
	if (s[1].size != 0 && tlb_place(c, next_page(c, lin, acc), acc, &s[1].at) != OK)
		return FAULT;
	return OK;
}

/* In one piece when the size allows it: another vCPU must not see half of it. */
static void
copy(void *to, const void *from, unsigned size)
{
	size_t left = size;	/* no memcpy: it uses vector registers, which may be the guest's */

	switch (size) {
	case 1: memcpy(to, from, 1); break;
	case 2: memcpy(to, from, 2); break;
	case 4: memcpy(to, from, 4); break;
	case 8: memcpy(to, from, 8); break;
	default: __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(left) : : "memory");
	}
}

/* The largest naturally aligned piece at gpa of at most `left` bytes. */
static unsigned
piece(gpa_t gpa, unsigned left)
{
	unsigned n = 8;

	while (n > left || gpa & (n - 1))
		n /= 2;
	return n;
}

static void
device_read(struct cpu *c, gpa_t gpa, uint8_t *to, unsigned size)
{
	unsigned n;

	for (; size > 0; size -= n, gpa += n, to += n) {
		n = piece(gpa, size);
		struct io io = { .addr = gpa, .size = (uint8_t)n };
		if (c->ops->io(c, &io) == IO_none)
			io.data = UINT64_MAX;
		copy(to, &io.data, n);
	}
}

static void
device_write(struct cpu *c, gpa_t gpa, const uint8_t *from, unsigned size)
{
	unsigned n;

	for (; size > 0; size -= n, gpa += n, from += n) {
		n = piece(gpa, size);
		struct io io = { .addr = gpa, .size = (uint8_t)n, .write = true };
		copy(&io.data, from, n);
		c->ops->io(c, &io);
	}
}

/* Bytes of a page with code were written. What is written again and again is not code any more,
 * or not worth it: the engines forget it, and the TLB may have it, until it is executed again. */
static void
code_written(struct cpu *c, gpa_t gpa, unsigned size)
{
	enum { ENOUGH = 16 };
	struct rewrites *r = &c->paging_state->rewrites[gpa >> PAGE_SHIFT & (REWRITES - 1)];

	mem_dirty(c->mem, gpa, size);
	if (r->page != (gpa & PAGE_MASK))
		*r = (struct rewrites){ .page = gpa & PAGE_MASK };
	if (++r->count < ENOUGH)
		return;
	r->count = 0;
	mem_page_release(c->mem, gpa);
}

static void
span_read(struct cpu *c, const struct span *s, void *to)
{
	if (s->at.host != NULL)
		copy(to, s->at.host, s->size);
	else if (s->size != 0)
		device_read(c, s->at.gpa, to, s->size);
}

static void
span_write(struct cpu *c, const struct span *s, const void *from)
{
	if (s->at.host == NULL) {
		if (s->size != 0)
			device_write(c, s->at.gpa, from, s->size);
		return;
	}
	copy(s->at.host, from, s->size);
	if (s->at.code)
		code_written(c, s->at.gpa, s->size);
}

int
lin_read_slow(struct cpu *c, uint64_t lin, void *to, unsigned size, unsigned acc)
{
	struct span s[2] = { 0 };

	if (spans(c, lin, size, acc, s) != OK)
		return FAULT;
	span_read(c, &s[0], to);
	span_read(c, &s[1], (uint8_t *)to + s[0].size);
	return OK;
}

int
lin_write_slow(struct cpu *c, uint64_t lin, const void *from, unsigned size, unsigned acc)
{
	struct span s[2] = { 0 };

	if (spans(c, lin, size, acc, s) != OK)
		return FAULT;
	span_write(c, &s[0], from);
	span_write(c, &s[1], (const uint8_t *)from + s[0].size);
	return OK;
}

/* Any size, so more than two pages. */
int
lin_probe(struct cpu *c, uint64_t lin, unsigned size, unsigned acc)
{
	struct place p;
	unsigned here;

	while (size > 0) {
		here = PAGE_SIZE - (unsigned)(lin & ~PAGE_MASK);
		if (tlb_place(c, lin, acc, &p) != OK)
			return FAULT;
		if (here >= size)
			break;
		size -= here;
		lin = next_page(c, lin, acc);
	}
	return OK;
}

uint8_t *
lin_hva_slow(struct cpu *c, uint64_t lin, unsigned size, unsigned acc, int *res)
{
	struct place p;

	*res = OK;
	if ((lin & ~PAGE_MASK) + size > PAGE_SIZE)
		return NULL;
	*res = tlb_place(c, lin, acc, &p);
	return *res != OK || p.code ? NULL : p.host;
}

/* The host's own locked instructions do what the guest's would, alignment or not. */
#define RMW_LOCKED(bits) \
	static void rmw_locked##bits(uint8_t *p, lin_rmw_fn *fn, void *ctx) \
	{ uint##bits##_t old, new; uint8_t done; \
	  do { memcpy(&old, p, sizeof(old)); new = (uint##bits##_t)fn(ctx, old); \
	    __asm__ volatile("lock cmpxchg %3, (%2)" : "=@ccz"(done), "+a"(old) : "r"(p), "r"(new) : "memory"); \
	  } while (!done); }
RMW_LOCKED(8) RMW_LOCKED(16) RMW_LOCKED(32) RMW_LOCKED(64)

static void
rmw_locked(uint8_t *p, unsigned size, lin_rmw_fn *fn, void *ctx)
{
	switch (size) {
	case 1: rmw_locked8(p, fn, ctx); break;
	case 2: rmw_locked16(p, fn, ctx); break;
	case 4: rmw_locked32(p, fn, ctx); break;
	default: rmw_locked64(p, fn, ctx); break;
	}
}

/* A locked access to two pages is atomic among its like only: a locked access to one of the pages
 * may fall between its halves; one to a device is not atomic at all (CAVEATS.md). The split lock is
 * innermost: it is not held while a device runs, which takes the VM's. */
static int
rmw(struct cpu *c, const struct span *s, unsigned size, bool lock, lin_rmw_fn *fn, void *ctx)
{
	uint64_t val = 0;

	if (lock && s[0].at.host != NULL && s[1].size == 0) {
		rmw_locked(s[0].at.host, size, fn, ctx);
		if (s[0].at.code)
			code_written(c, s[0].at.gpa, size);
		return OK;
	}
	lock = lock && s[0].at.host != NULL && s[1].at.host != NULL;
	if (lock)
		shootdown_split_lock(c);
	span_read(c, &s[0], &val);
	span_read(c, &s[1], (uint8_t *)&val + s[0].size);
	val = fn(ctx, val);
	span_write(c, &s[0], &val);
	span_write(c, &s[1], (uint8_t *)&val + s[0].size);
	if (lock)
		shootdown_split_unlock(c);
	return OK;
}

int
lin_rmw_slow(struct cpu *c, uint64_t lin, unsigned size, bool lock, lin_rmw_fn *fn, void *ctx)
{
	struct span s[2] = { 0 };

	return spans(c, lin, size, ACC_write, s) != OK ? FAULT : rmw(c, s, size, lock, fn, ctx);
}

int
lin_rmw_system(struct cpu *c, uint64_t lin, unsigned size, lin_rmw_fn *fn, void *ctx)
{
	struct span s[2] = { 0 };

	return spans(c, lin, size, ACC_write | ACC_system, s) != OK ? FAULT : rmw(c, s, size, true, fn, ctx);
}
