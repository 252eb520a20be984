/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_console.c - attached consoles: a connection carries a serial port's bytes both ways.
 *
 * One thread for all of them, started before the sandbox closes. It knows only taps, not the machines,
 * which may end. Who does not read misses what the guest prints meanwhile; nobody waits for him.
 * The connections of control_ask.c are served here as well.
 */
#include "api/control_ask.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SWITCHING = 101, TOO_MANY = 429, BACKLOG = 4096, PIECE = 4096, RETRY_MS = 20, SESSIONS_MAX = 128 };

struct session {
	struct session *next;
	struct http_upgraded u;
	struct tap_reader reader;
	uint8_t typed[PIECE];		/* not yet taken by the guest */
	size_t ntyped;
	uint8_t out[PIECE];		/* not yet taken by the client */
	size_t nout;
};

static struct {
	pthread_mutex_t lock;		/* arriving, count, quit */
	pthread_t thread;
	int wake;			/* eventfd: output of any tap, a new session, quit */
	struct session *arriving;
	struct session *first;		/* the thread's own */
	unsigned count;
	bool quit;
} consoles = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* To the client what it takes now. *more: there may come more. */
static bool
pass_output(struct session *s, bool *more)
{
	bool end = false;
	ssize_t got;

	*more = true;
	for (;;) {
		if (s->nout == 0)
			s->nout = tap_read(&s->reader, s->out, sizeof(s->out), &end);
		if (s->nout == 0) {
			*more = !end;
			return true;
		}
		got = send(s->u.fd, s->out, s->nout, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (got <= 0)
			return got < 0 && (errno == EAGAIN || errno == EINTR);
		s->nout -= (size_t)got;
		memmove(s->out, s->out + got, s->nout);
	}
}

static bool
take_input(struct session *s)
{
	ssize_t got = recv(s->u.fd, s->typed + s->ntyped, sizeof(s->typed) - s->ntyped, MSG_DONTWAIT);

	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR);
	s->ntyped += (size_t)got;
	return true;
}

static void
give_input(struct session *s)
{
	size_t took = s->ntyped == 0 ? 0 : tap_input(s->reader.tap, s->typed, s->ntyped);

	s->ntyped -= took;
	memmove(s->typed, s->typed + took, s->ntyped);
}

static void
session_end(struct session **at)
{
	struct session *s = *at;

	*at = s->next;
	pthread_mutex_lock(&consoles.lock);
	consoles.count--;
	pthread_mutex_unlock(&consoles.lock);
	tap_detach(&s->reader);
	http_upgraded_close(&s->u);
	free(s);
}

static bool
let_in(void)
{
	struct session *s;
	bool quit;

	pthread_mutex_lock(&consoles.lock);
	while ((s = consoles.arriving) != NULL) {
		consoles.arriving = s->next;
		s->next = consoles.first;
		consoles.first = s;
	}
	quit = consoles.quit;
	pthread_mutex_unlock(&consoles.lock);
	return quit;
}

/* What poll() waits for; the number of descriptors. */
static unsigned
prepare(struct pollfd *pfd, int *timeout)
{
	unsigned n = 0;

	*timeout = -1;
	pfd[n++] = (struct pollfd){ .fd = consoles.wake, .events = POLLIN };
	for (struct session *s = consoles.first; s != NULL && n <= SESSIONS_MAX; s = s->next) {
		short events = (short)((s->ntyped < sizeof(s->typed) ? POLLIN : 0) | (s->nout > 0 ? POLLOUT : 0));

		pfd[n++] = (struct pollfd){ .fd = s->u.fd, .events = events };
		if (s->ntyped > 0)
			*timeout = RETRY_MS;
	}
	return n;
}

static void
serve(void)
{
	bool fine, more;

	for (struct session **at = &consoles.first; *at != NULL;) {
		fine = pass_output(*at, &more) && ((*at)->ntyped == sizeof((*at)->typed) || take_input(*at));
		give_input(*at);
		if (fine && more)
			at = &(*at)->next;
		else
			session_end(at);
	}
}

static void *
console_thread(void *arg)
{
	struct pollfd pfd[SESSIONS_MAX + 1 + ASKERS_MAX];
	eventfd_t val;
	unsigned n;
	int timeout;
	sigset_t all;

	(void)arg;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, "console");
	while (!let_in()) {
		serve();
		asks_serve();
		n = prepare(pfd, &timeout);
		n += asks_prepare(pfd + n, &timeout);
		poll(pfd, n, timeout);
		if (pfd[0].revents != 0)
			eventfd_read(consoles.wake, &val);
	}
	return NULL;
}

int
consoles_open(void)
{
	consoles.quit = false;
	consoles.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	asks_open(consoles.wake);
	if (consoles.wake >= 0 && pthread_create(&consoles.thread, NULL, console_thread, NULL) == 0)
		return 0;
	if (consoles.wake >= 0)
		close(consoles.wake);
	return -1;
}

void
consoles_close(void)
{
	pthread_mutex_lock(&consoles.lock);
	consoles.quit = true;
	pthread_mutex_unlock(&consoles.lock);
	eventfd_write(consoles.wake, 1);
	pthread_join(consoles.thread, NULL);
	close(consoles.wake);
}

/* On the server's thread. */
static void
on_upgrade(void *ctx, struct http_upgraded u, const void *early, size_t n)
{
	struct tap *tap = ctx;
	struct session *s = u.fd < 0 ? NULL : calloc(1, sizeof(*s));

	if (s == NULL) {
		http_upgraded_close(&u);
	} else {
		s->u = u;
		s->ntyped = n < sizeof(s->typed) ? n : sizeof(s->typed);
		memcpy(s->typed, early, s->ntyped);
		tap_attach(tap, &s->reader, consoles.wake, BACKLOG);
		pthread_mutex_lock(&consoles.lock);
		s->next = consoles.arriving;
		consoles.arriving = s;
		consoles.count++;
		pthread_mutex_unlock(&consoles.lock);
		eventfd_write(consoles.wake, 1);
	}
	tap_unref(tap);
}

void
control_console(struct control_call *c)
{
	bool full;

	pthread_mutex_lock(&consoles.lock);
	full = consoles.count == SESSIONS_MAX;
	pthread_mutex_unlock(&consoles.lock);
	if (full) {
		reply_fault(c, TOO_MANY, "too many consoles are attached");
		return;
	}
	c->rep->status = SWITCHING;
	c->rep->upgrade = on_upgrade;
	c->rep->upgrade_ctx = tap_ref(c->v->tap);
}
