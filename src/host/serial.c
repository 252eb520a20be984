/* SPDX-License-Identifier: Apache-2.0 */
/* host/serial.c - the threads behind the guest's serial port.
 *
 * Both descriptors are waited for with poll beside an eventfd, so that neither a silent keyboard
 * nor a stopped window keeps the machine from ending.
 */
#include "host/serial.h"
#include "host/serial_hub.h"
#include "host/terminal.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { RING = 64 << 10, READ_MAX = 256, PENDING_MAX = 4096, DRAIN_MS = 1000, POLL_MS = 100 };

struct serial {
	struct serial_config cfg;
	struct serial_client client;
	pthread_t reader, writer;
	bool reader_started, writer_started;
	int wake_reader;		/* eventfd: closing, or the guest wants input */

	pthread_mutex_t lock;		/* guards the rest */
	pthread_cond_t filled;
	uint8_t ring[RING];
	size_t head, tail;		/* bytes ever written to and taken from the ring */
	bool wanted;			/* serial_write took too few */
	bool closing, failed;
	struct serial_link link;	/* the hub's, under its lock */
};

struct serial *
serial_open(const struct serial_config *cfg, const struct serial_client *client)
{
	struct serial *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->cfg = *cfg;
	s->client = *client;
	s->wake_reader = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->filled, NULL);
	return s;
}

size_t
serial_write(struct serial *s, const void *bytes, size_t n)
{
	size_t room, first;

	pthread_mutex_lock(&s->lock);
	if (s->cfg.out_fd < 0 || s->failed) {
		pthread_mutex_unlock(&s->lock);
		return n;
	}
	room = RING - (s->head - s->tail);
	s->wanted = n > room;
	n = n > room ? room : n;
	first = RING - s->head % RING < n ? RING - s->head % RING : n;
	memcpy(s->ring + s->head % RING, bytes, first);
	memcpy(s->ring, (const uint8_t *)bytes + first, n - first);
	s->head += n;
	pthread_cond_signal(&s->filled);
	pthread_mutex_unlock(&s->lock);
	if (s->cfg.hub != NULL)
		serial_hub_note(s->cfg.hub, s);
	return n;
}

void
serial_want_input(struct serial *s)
{
	eventfd_write(s->wake_reader, 1);
}

static bool
is_closing(struct serial *s)
{
	bool c;

	pthread_mutex_lock(&s->lock);
	c = s->closing;
	pthread_mutex_unlock(&s->lock);
	return c;
}

/* Writes all of it. 0, errno, or ETIMEDOUT when closing and nobody reads any more. */
static int
write_all(struct serial *s, const uint8_t *p, size_t n)
{
	unsigned waited = 0;

	while (n > 0) {
		struct pollfd pfd = { .fd = s->cfg.out_fd, .events = POLLOUT };
		ssize_t got;

		if (poll(&pfd, 1, POLL_MS) == 0) {
			waited += is_closing(s) ? POLL_MS : 0;
			if (waited >= DRAIN_MS)
				return ETIMEDOUT;
			continue;
		}
		got = write(s->cfg.out_fd, p, n);
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			return errno;
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
	return 0;
}

/* Takes up to n bytes of the ring, waiting for the first; 0: closing and empty. */
static size_t
ring_take(struct serial *s, uint8_t *to, size_t n)
{
	size_t have;

	pthread_mutex_lock(&s->lock);
	while (s->head == s->tail && !s->closing)
		pthread_cond_wait(&s->filled, &s->lock);
	have = s->head - s->tail;
	n = have < n ? have : n;
	n = RING - s->tail % RING < n ? RING - s->tail % RING : n;
	memcpy(to, s->ring + s->tail % RING, n);
	s->tail += n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* Whether the guest waits for room, and half of the ring is free: asked once per wait. */
static bool
ring_relieved(struct serial *s)
{
	bool yes;

	pthread_mutex_lock(&s->lock);
	yes = s->wanted && s->head - s->tail <= RING / 2;
	if (yes)
		s->wanted = false;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

static void
writer_failed(struct serial *s, int error)
{
	bool wanted, closing;

	pthread_mutex_lock(&s->lock);
	s->failed = true;
	s->tail = s->head;
	wanted = s->wanted;
	closing = s->closing;
	s->wanted = false;
	pthread_mutex_unlock(&s->lock);
	if (error != ETIMEDOUT || !closing)
		s->client.failed(s->client.ctx, error);
	if (wanted)
		s->client.room(s->client.ctx);
}

struct serial_link *
serial_link(struct serial *s)
{
	return &s->link;
}

enum serial_flush
serial_flush(struct serial *s)
{
	size_t n, at;
	ssize_t got;
	bool more;

	pthread_mutex_lock(&s->lock);
	n = s->head - s->tail;
	at = s->tail % RING;
	n = RING - at < n ? RING - at : n;
	pthread_mutex_unlock(&s->lock);
	if (n == 0)
		return SERIAL_empty;
	got = write(s->cfg.out_fd, s->ring + at, n);	/* nobody else takes from the ring */
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return SERIAL_stuck;
	if (got < 0) {
		writer_failed(s, errno);
		return SERIAL_empty;
	}
	pthread_mutex_lock(&s->lock);
	s->tail += (size_t)got;
	more = s->head != s->tail;
	pthread_mutex_unlock(&s->lock);
	if (ring_relieved(s))
		s->client.room(s->client.ctx);
	return more ? SERIAL_more : SERIAL_empty;
}

/* Signals are the main thread's; a closed pipe is an error number here, not a death. */
static void
thread_setup(const char *name)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, name);
}

static void *
writer_thread(void *arg)
{
	struct serial *s = arg;
	uint8_t piece[4096];
	size_t n;
	int error;

	thread_setup("serial-out");
	while ((n = ring_take(s, piece, sizeof(piece))) != 0) {
		if ((error = write_all(s, piece, n)) != 0) {
			writer_failed(s, error);
			break;
		}
		if (ring_relieved(s))
			s->client.room(s->client.ctx);
	}
	return NULL;
}

/* What was read and the guest has not taken yet. */
struct pending {
	uint8_t bytes[PENDING_MAX];
	size_t n;
	struct terminal_keys keys;
};

static void
pending_give(struct serial *s, struct pending *p)
{
	size_t took = p->n == 0 ? 0 : s->client.input(s->client.ctx, p->bytes, p->n);

	p->n -= took;
	memmove(p->bytes, p->bytes + took, p->n);
}

/* A piece from the keyboard or pipe. false: there will be no more. What a guest that takes nothing
 * has no room for is lost, so that the keys that end it still arrive. */
static bool
reader_piece(struct serial *s, struct pending *p)
{
	enum terminal_wish wish = TERMINAL_nothing;
	uint8_t piece[READ_MAX];
	ssize_t n = read(s->cfg.in_fd, piece, sizeof(piece));
	size_t left;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	left = s->cfg.keys ? terminal_filter(&p->keys, piece, (size_t)n, &wish) : (size_t)n;
	if (wish == TERMINAL_leave)
		s->client.leave(s->client.ctx);
	if (wish == TERMINAL_help)
		serial_write(s, terminal_help, strlen(terminal_help));
	if (left > PENDING_MAX - p->n)
		left = PENDING_MAX - p->n;
	memcpy(p->bytes + p->n, piece, left);
	p->n += left;
	return true;
}

static void *
reader_thread(void *arg)
{
	struct serial *s = arg;
	struct pending p = { .n = 0 };
	bool more = true;
	eventfd_t val;

	thread_setup("serial-in");
	while (!is_closing(s) && (more || p.n != 0)) {
		bool listen = more && (s->cfg.keys || p.n <= PENDING_MAX - READ_MAX);
		struct pollfd pfd[2] = {
			{ .fd = listen ? s->cfg.in_fd : -1, .events = POLLIN },
			{ .fd = s->wake_reader, .events = POLLIN },
		};

		if (poll(pfd, 2, p.n != 0 ? POLL_MS : -1) < 0 && errno != EINTR)
			break;
		if (pfd[1].revents != 0)
			eventfd_read(s->wake_reader, &val);
		if (pfd[0].revents != 0)
			more = reader_piece(s, &p);
		pending_give(s, &p);
	}
	return NULL;
}

int
serial_start(struct serial *s)
{
	if (s->wake_reader < 0)
		return -1;
	if (s->cfg.out_fd >= 0 && s->cfg.hub == NULL) {
		if ((errno = pthread_create(&s->writer, NULL, writer_thread, s)) != 0)
			return -1;
		s->writer_started = true;
	}
	if (s->cfg.in_fd >= 0) {
		if ((errno = pthread_create(&s->reader, NULL, reader_thread, s)) != 0)
			return -1;
		s->reader_started = true;
	}
	return 0;
}

void
serial_close(struct serial *s)
{
	if (s == NULL)
		return;
	if (s->cfg.hub != NULL)
		serial_hub_drain(s->cfg.hub, s);
	pthread_mutex_lock(&s->lock);
	s->closing = true;
	pthread_cond_signal(&s->filled);
	pthread_mutex_unlock(&s->lock);
	if (s->wake_reader >= 0)
		eventfd_write(s->wake_reader, 1);
	if (s->reader_started)
		pthread_join(s->reader, NULL);
	if (s->writer_started)
		pthread_join(s->writer, NULL);
	if (s->wake_reader >= 0)
		close(s->wake_reader);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->filled);
	free(s);
}
