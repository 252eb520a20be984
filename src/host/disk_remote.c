/* SPDX-License-Identifier: Apache-2.0 */
/* host/disk_remote.c - a disk behind the helper regent-nbd: one thread cuts requests into messages and joins answers.
 *
 * The helper may lie or go at any moment: an answer counts only for what was asked, and when the socket ends all that
 * waits, and all that comes later, fails.
 */
#include "host/disk_parts.h"
#include "host/helper.h"
#include "host/remote.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HELLO_MS = 10000, END_SECONDS = 5, POLL_MS = 1000, IOV_ROOM = 260 };

/* A part of a request, on its way. */
struct piece {
	struct disk_request *r;		/* borrowed; NULL: free */
	uint64_t at, len;		/* in its data */
};

struct disk_remote {
	int fd, wake;			/* owned */
	pid_t helper;
	struct remote_hello hello;
	struct piece piece[REMOTE_FLYING];
	unsigned flying;
	bool full, lost;		/* the socket takes no more now; it has ended */
	bool closing;
	time_t since;			/* when the last answer came, while we close */
	struct { struct remote_answer a; uint8_t data[REMOTE_PIECE]; } in;
};

/* ---- pieces of a request's data ---- */

/* [at, at + len) of the request's segments as segments: how many. */
static unsigned
slice(const struct disk_request *r, uint64_t at, uint64_t len, struct iovec out[IOV_ROOM])
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->niov && len > 0 && n < IOV_ROOM; i++) {
		size_t has = r->iov[i].iov_len, take;

		if (at >= has) {
			at -= has;
			continue;
		}
		take = has - at < len ? (size_t)(has - at) : (size_t)len;
		out[n++] = (struct iovec){ (uint8_t *)r->iov[i].iov_base + at, take };
		len -= take;
		at = 0;
	}
	return n;
}

static void
fill(const struct disk_request *r, const struct piece *p, const uint8_t *from)
{
	struct iovec iov[IOV_ROOM];
	unsigned n = slice(r, p->at, p->len, iov);

	for (unsigned i = 0; i < n; i++) {
		memcpy(iov[i].iov_base, from, iov[i].iov_len);
		from += iov[i].iov_len;
	}
}

/* Whether the helper is sent the data in pieces; else it hears of the range once. */
static bool
in_pieces(const struct disk_remote *m, const struct disk_request *r)
{
	return r->op == DISK_read || r->op == DISK_write ||
	    (r->op == DISK_zero && (m->hello.can & REMOTE_CAN_zero) == 0);
}

static uint32_t
remote_op(const struct disk_remote *m, enum disk_op op)
{
	static const uint32_t ops[] = { [DISK_read] = REMOTE_read, [DISK_write] = REMOTE_write,
		[DISK_flush] = REMOTE_flush, [DISK_discard] = REMOTE_discard, [DISK_zero] = REMOTE_zero };

	return op == DISK_zero && (m->hello.can & REMOTE_CAN_zero) == 0 ? REMOTE_write : ops[op];
}

/* ---- sending ---- */

static bool
send_piece(struct disk_remote *m, unsigned n)
{
	static uint8_t zeros[REMOTE_PIECE];
	struct piece *p = &m->piece[n];
	struct remote_request q = { .op = remote_op(m, p->r->op), .durable = p->r->durable, .cookie = n,
		.at = p->r->at + p->at, .len = p->len };
	struct iovec iov[IOV_ROOM + 1] = { { &q, sizeof(q) } };
	unsigned niov = 1;

	if (p->r->op == DISK_write)
		niov += slice(p->r, p->at, p->len, iov + 1);
	else if (q.op == REMOTE_write)
		iov[niov++] = (struct iovec){ zeros, p->len };
	while (writev(m->fd, iov, (int)niov) < 0) {
		if (errno == EINTR)
			continue;
		m->full = errno == EAGAIN || errno == ENOBUFS;
		m->lost = !m->full;
		return false;
	}
	return true;
}

/* The next part of the first request that waits; false: there is nothing to send, or no room. d->lock held. */
static bool
send_next(struct disk *d, struct disk_remote *m)
{
	struct disk_request *r = d->first;
	uint64_t left;
	unsigned n = 0;

	if (r == NULL || m->flying == REMOTE_FLYING || m->full || m->lost)
		return false;
	while (m->piece[n].r != NULL)
		n++;
	left = r->len - r->sent;
	m->piece[n] = (struct piece){ r, r->sent, !in_pieces(m, r) || left < REMOTE_PIECE ? left : REMOTE_PIECE };
	if (!send_piece(m, n)) {
		m->piece[n].r = NULL;
		return false;
	}
	m->flying++;
	r->pieces++;
	r->sent += m->piece[n].len;
	if (r->sent == r->len || r->error != 0) {
		r->sent = r->len;
		disk_take(d);
	}
	return true;
}

/* ---- answers ---- */

/* Calls done() for a request with nothing on its way and nothing left to send. */
static void
settle(struct disk *d, struct disk_request *r)
{
	bool over;

	pthread_mutex_lock(&d->lock);
	if (r->error != 0 && d->first == r) {
		r->sent = r->len;	/* what has not been sent need not be */
		disk_take(d);
	}
	over = r->pieces == 0 && d->first != r;
	pthread_mutex_unlock(&d->lock);
	if (over)
		r->done(r, r->error);
}

static bool
answered(struct disk *d, struct disk_remote *m, size_t n)
{
	const struct remote_answer *a = &m->in.a;
	struct disk_request *r;
	struct piece *p;

	if (n < sizeof(*a) || a->cookie >= REMOTE_FLYING || (r = m->piece[a->cookie].r) == NULL)
		return false;
	p = &m->piece[a->cookie];
	if (a->len != n - sizeof(*a) || a->len != (r->op == DISK_read && a->error == 0 ? p->len : 0))
		return false;
	if (a->len > 0)
		fill(r, p, m->in.data);
	if (a->error != 0 && r->error == 0)
		r->error = a->error < UINT16_MAX ? (int)a->error : EIO;
	p->r = NULL;
	m->flying--;
	r->pieces--;
	settle(d, r);
	return true;
}

static void
receive(struct disk *d, struct disk_remote *m)
{
	ssize_t n;

	do {
		n = read(m->fd, &m->in, sizeof(m->in));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		m->since = time(NULL);
		m->lost = n <= 0 || !answered(d, m, (size_t)n);
	} while (!m->lost);
}

/* The helper has gone, or its server. */
static void
fail_all(struct disk *d, struct disk_remote *m)
{
	struct disk_request *r;

	for (unsigned n = 0; n < REMOTE_FLYING; n++) {
		if ((r = m->piece[n].r) == NULL)
			continue;
		m->piece[n].r = NULL;
		m->flying--;
		r->pieces--;
		r->error = ECONNRESET;
		settle(d, r);
	}
	for (;;) {
		pthread_mutex_lock(&d->lock);
		r = disk_take(d);
		pthread_mutex_unlock(&d->lock);
		if (r == NULL)
			return;
		r->done(r, ECONNRESET);
	}
}

/* ---- the thread ---- */

/* A server that does not answer holds up our end only so long. */
static bool
remote_goes_on(struct disk *d, struct disk_remote *m)
{
	bool on, before = m->closing;

	pthread_mutex_lock(&d->lock);
	m->closing = d->closing;
	on = !m->closing || d->first != NULL || m->flying > 0;
	pthread_mutex_unlock(&d->lock);
	if (!before)
		m->since = time(NULL);
	else if (time(NULL) > m->since + END_SECONDS)
		m->lost = true;
	return on;
}

static void
send_all(struct disk *d, struct disk_remote *m)
{
	pthread_mutex_lock(&d->lock);
	while (send_next(d, m))
		;
	pthread_mutex_unlock(&d->lock);
}

void *
disk_remote_thread(void *arg)
{
	struct disk *d = arg;
	struct disk_remote *m = d->remote;
	eventfd_t val;

	disk_thread_setup("disk-remote");
	while (remote_goes_on(d, m)) {
		struct pollfd p[2] = { { .fd = m->wake, .events = POLLIN } };

		send_all(d, m);
		if (m->lost)
			fail_all(d, m);
		p[1] = (struct pollfd){ .fd = m->fd, .events = (short)(POLLIN | (m->full ? POLLOUT : 0)) };
		poll(p, m->lost ? 1 : 2, m->closing ? POLL_MS : -1);
		if (p[0].revents != 0)
			eventfd_read(m->wake, &val);
		m->full = m->full && (p[1].revents & POLLOUT) == 0;
		if (!m->lost && (p[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
			receive(d, m);
	}
	return NULL;
}

void
disk_remote_wake(struct disk_remote *m)
{
	eventfd_write(m->wake, 1);
}

/* ---- opening ---- */

static bool
hello(struct disk_remote *m)
{
	struct pollfd p = { .fd = m->fd, .events = POLLIN };

	return poll(&p, 1, HELLO_MS) == 1 && read(m->fd, &m->hello, sizeof(m->hello)) == sizeof(m->hello);
}

struct disk_remote *
disk_remote_open(const char *path, const char *format, bool read_only, uint64_t *size, char *err, size_t err_size)
{
	char fd[16], line[200], *argv[] = { "regent-nbd", fd, (char *)(uintptr_t)(format != NULL ? format : "uri"),
		(char *)(uintptr_t)path, read_only ? "ro" : "rw", NULL };
	struct disk_remote *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return snprintf(err, err_size, "%s: no memory for a disk", path), NULL;
	snprintf(fd, sizeof(fd), "%d", HELPER_FD);
	m->fd = -1;
	if ((m->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
		snprintf(line, sizeof(line), "no eventfd: %s", strerror(errno));
	} else if (helper_start(argv[0], argv, &m->fd, &m->helper, line, sizeof(line)) != 0) {
		m->helper = 0;
	} else if (helper_ready(m->fd, argv[0], line, sizeof(line)) == 0) {
		if (hello(m) && fcntl(m->fd, F_SETFL, O_NONBLOCK) == 0) {
			*size = m->hello.size;
			return m;
		}
		snprintf(line, sizeof(line), "%s does not answer", argv[0]);
	}
	snprintf(err, err_size, "%s: %s", path, line);
	disk_remote_close(m);
	return NULL;
}

void
disk_remote_close(struct disk_remote *m)
{
	if (m == NULL)
		return;
	if (m->fd >= 0)
		close(m->fd);
	if (m->wake >= 0)
		close(m->wake);
	if (m->helper > 0)
		helper_end(m->helper);
	free(m);
}
