/* SPDX-License-Identifier: Apache-2.0 */
/* host/tap.c - the last of what a guest printed, for those who attach to its console later. */
#include "host/tap.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { RING = 64 << 10 };

struct tap {
	pthread_mutex_t lock;
	unsigned refs;
	uint64_t head;			/* bytes ever written */
	bool ended;
	struct tap_reader *readers;
	pthread_mutex_t in_lock;	/* the input, and held while it is called */
	size_t (*input)(void *ctx, const void *bytes, size_t n);
	void *input_ctx;
	uint8_t ring[RING];		/* pages that nobody wrote to take no memory */
};

struct tap *
tap_open(void)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->in_lock, NULL);
	t->refs = 1;
	return t;
}

struct tap *
tap_ref(struct tap *t)
{
	pthread_mutex_lock(&t->lock);
	t->refs++;
	pthread_mutex_unlock(&t->lock);
	return t;
}

void
tap_unref(struct tap *t)
{
	bool last;

	if (t == NULL)
		return;
	pthread_mutex_lock(&t->lock);
	last = --t->refs == 0;
	pthread_mutex_unlock(&t->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&t->lock);
	pthread_mutex_destroy(&t->in_lock);
	free(t);
}

void
tap_set_input(struct tap *t, size_t (*input)(void *ctx, const void *bytes, size_t n), void *ctx)
{
	pthread_mutex_lock(&t->in_lock);
	t->input = input;
	t->input_ctx = ctx;
	pthread_mutex_unlock(&t->in_lock);
}

size_t
tap_input(struct tap *t, const void *bytes, size_t n)
{
	pthread_mutex_lock(&t->in_lock);
	if (t->input != NULL)
		n = t->input(t->input_ctx, bytes, n);
	pthread_mutex_unlock(&t->in_lock);
	return n;
}

static void
tell_readers(struct tap *t)
{
	for (struct tap_reader *r = t->readers; r != NULL; r = r->next)
		eventfd_write(r->fd, 1);
}

void
tap_write(struct tap *t, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	size_t first;

	pthread_mutex_lock(&t->lock);
	if (n > RING) {
		t->head += n - RING;
		p += n - RING;
		n = RING;
	}
	first = RING - t->head % RING < n ? RING - t->head % RING : n;
	memcpy(t->ring + t->head % RING, p, first);
	memcpy(t->ring, p + first, n - first);
	t->head += n;
	tell_readers(t);
	pthread_mutex_unlock(&t->lock);
}

void
tap_end(struct tap *t)
{
	pthread_mutex_lock(&t->lock);
	t->ended = true;
	tell_readers(t);
	pthread_mutex_unlock(&t->lock);
}

void
tap_attach(struct tap *t, struct tap_reader *r, int fd, size_t backlog)
{
	*r = (struct tap_reader){ .tap = tap_ref(t), .fd = fd };
	pthread_mutex_lock(&t->lock);
	r->at = t->head > backlog ? t->head - backlog : 0;
	r->next = t->readers;
	t->readers = r;
	pthread_mutex_unlock(&t->lock);
}

void
tap_detach(struct tap_reader *r)
{
	struct tap *t = r->tap;
	struct tap_reader **p;

	pthread_mutex_lock(&t->lock);
	for (p = &t->readers; *p != r; p = &(*p)->next)
		;
	*p = r->next;
	pthread_mutex_unlock(&t->lock);
	tap_unref(t);
}

size_t
tap_read(struct tap_reader *r, void *to, size_t n, bool *end)
{
	struct tap *t = r->tap;
	size_t at;

	pthread_mutex_lock(&t->lock);
	if (t->head - r->at > RING)
		r->at = t->head - RING;
	at = r->at % RING;
	n = t->head - r->at < n ? t->head - r->at : n;
	n = RING - at < n ? RING - at : n;
	memcpy(to, t->ring + at, n);
	r->at += n;
	*end = t->ended && r->at == t->head;
	pthread_mutex_unlock(&t->lock);
	return n;
}
