/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_ask.c - a policy's `ask`, put to a client: a line of JSON each way on a connection that left HTTP.
 *
 *	{"question": 1, "cpu": 0, "rip": "0x200026", .. }	->  {"question": 1, "answer": "allow"}
 *
 * No is the answer when nobody is attached, when the client leaves or writes something else, when it has not
 * answered in time, or does not read. Lock order: asks.lock, then a VM's.
 */
#include "api/control_ask.h"

#include "vm/vm.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

enum { SWITCHING = 101, BAD_REQUEST = 400, LINE_SIZE = 256, OUT_SIZE = 32 << 10, SECONDS_MAX = 3600, SECONDS = 10, HEX = 24,
	MS_PER_S = 1000, NS_PER_MS = 1000000 };

struct question {
	bool open;
	uint64_t number, id;		/* the client's, the vCPU's */
	int64_t deadline;		/* ms */
};

struct asker {
	struct asker *next;
	struct regent_vm *v;		/* borrowed; NULL: it has ended */
	struct http_upgraded u;
	bool attached, broken;		/* its connection is there; it is to be closed */
	int64_t patience;		/* ms */
	uint64_t numbers;
	struct question q[VM_CPUS_MAX];	/* by vCPU */
	char in[LINE_SIZE];
	size_t nin;
	char out[OUT_SIZE];		/* not yet taken by the client */
	size_t nout;
};

static struct {
	pthread_mutex_t lock;
	struct asker *first;		/* owned */
	int wake;			/* borrowed eventfd */
} asks = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * MS_PER_S + ts.tv_nsec / NS_PER_MS;
}

static struct asker *
asker_of(const struct regent_vm *v)
{
	struct asker *a = asks.first;

	while (a != NULL && a->v != v)
		a = a->next;
	return a;
}

/* ---- questions, on vCPUs' threads ---- */

/* One line for the client; false: no room, since it does not read. */
static bool
say(struct asker *a, const struct regent_access *acc)
{
	char rip[HEX], old[HEX], value[HEX], *line;
	json_t *obj;
	size_t n;
	bool fits;

	snprintf(rip, sizeof(rip), "%#" PRIx64, acc->rip);
	snprintf(old, sizeof(old), "%#" PRIx64, acc->old);
	snprintf(value, sizeof(value), "%#" PRIx64, acc->val);
	obj = json_pack("{s:I, s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:s}", "question", (json_int_t)a->numbers, "cpu", (int)acc->cpu,
	    "rip", rip, "cpl", (int)acc->cpl, "access", acc->access, "object", acc->object, "old", old, "value", value, "rule", acc->rule);
	line = json_dumps(obj, JSON_COMPACT);
	n = line != NULL ? strlen(line) : 0;
	fits = line != NULL && n + 1 <= sizeof(a->out) - a->nout;
	if (fits) {
		memcpy(a->out + a->nout, line, n);
		a->out[a->nout + n] = '\n';
		a->nout += n + 1;
	}
	free(line);
	json_decref(obj);
	return fits;
}

static enum regent_answer
on_register(void *ctx, struct regent_vm *v, const struct regent_access *acc)
{
	enum regent_answer answer = REGENT_DENY;
	struct asker *a;

	(void)ctx;
	pthread_mutex_lock(&asks.lock);
	a = asker_of(v);
	if (a != NULL && a->attached && !a->broken) {
		a->numbers++;
		if (say(a, acc)) {
			a->q[acc->cpu] = (struct question){ true, a->numbers, acc->id, now_ms() + a->patience };
			answer = REGENT_LATER;
			eventfd_write(asks.wake, 1);
		}
	}
	pthread_mutex_unlock(&asks.lock);
	return answer;
}

/* ---- answers ---- */

static void
answer(struct asker *a, unsigned cpu, enum regent_answer what)
{
	a->q[cpu].open = false;
	if (a->v != NULL)
		regent_answer(a->v, cpu, a->q[cpu].id, what);	/* an engine that can't wait took it for no */
}

static void
deny_all(struct asker *a, int64_t until)
{
	for (unsigned cpu = 0; cpu < VM_CPUS_MAX; cpu++)
		if (a->q[cpu].open && a->q[cpu].deadline <= until)
			answer(a, cpu, REGENT_DENY);
}

/* False: that is no answer. One to a question that is closed by now is late, not wrong. */
static bool
take_line(struct asker *a, const char *line, size_t n)
{
	json_t *obj = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *number = json_object_get(obj, "question");
	const char *word = json_string_value(json_object_get(obj, "answer"));
	bool allow = word != NULL && strcmp(word, "allow") == 0, fine;

	fine = json_is_integer(number) && json_object_size(obj) == 2 && (allow || (word != NULL && strcmp(word, "deny") == 0));
	for (unsigned cpu = 0; fine && cpu < VM_CPUS_MAX; cpu++)
		if (a->q[cpu].open && (json_int_t)a->q[cpu].number == json_integer_value(number))
			answer(a, cpu, allow ? REGENT_ALLOW : REGENT_DENY);
	json_decref(obj);
	return fine;
}

static bool
take_lines(struct asker *a)
{
	char *end;
	size_t n;

	while ((end = memchr(a->in, '\n', a->nin)) != NULL) {
		n = (size_t)(end - a->in);
		if (!take_line(a, a->in, n))
			return false;
		a->nin -= n + 1;
		memmove(a->in, end + 1, a->nin);
	}
	return a->nin < sizeof(a->in);
}

static bool
receive(struct asker *a)
{
	ssize_t got = recv(a->u.fd, a->in + a->nin, sizeof(a->in) - a->nin, MSG_DONTWAIT);

	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR);
	a->nin += (size_t)got;
	return take_lines(a);
}

static bool
transmit(struct asker *a)
{
	ssize_t got = a->nout == 0 ? 0 : send(a->u.fd, a->out, a->nout, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	a->nout -= (size_t)got;
	memmove(a->out, a->out + got, a->nout);
	return true;
}

/* ---- the consoles' thread ---- */

void
asks_open(int wake)
{
	asks.wake = wake;
}

unsigned
asks_prepare(struct pollfd *pfd, int *timeout)
{
	int64_t now = now_ms(), left;
	unsigned n = 0;

	pthread_mutex_lock(&asks.lock);
	for (struct asker *a = asks.first; a != NULL && n < ASKERS_MAX; a = a->next) {
		if (!a->attached)
			continue;
		pfd[n++] = (struct pollfd){ .fd = a->u.fd, .events = (short)(POLLIN | (a->nout > 0 ? POLLOUT : 0)) };
		for (unsigned cpu = 0; cpu < VM_CPUS_MAX; cpu++) {
			left = a->q[cpu].deadline > now ? a->q[cpu].deadline - now : 0;
			if (a->q[cpu].open && (*timeout < 0 || left < *timeout))
				*timeout = (int)left;
		}
	}
	pthread_mutex_unlock(&asks.lock);
	return n;
}

void
asks_serve(void)
{
	struct asker **at = &asks.first, *gone = NULL, *a;
	int64_t now = now_ms();

	pthread_mutex_lock(&asks.lock);
	while ((a = *at) != NULL) {
		a->broken = a->broken || a->v == NULL || (a->attached && (!receive(a) || !transmit(a)));
		deny_all(a, a->broken ? INT64_MAX : now);
		if (!a->broken || !a->attached) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		a->next = gone;
		gone = a;
	}
	pthread_mutex_unlock(&asks.lock);
	while ((a = gone) != NULL) {
		gone = a->next;
		http_upgraded_close(&a->u);
		free(a);
	}
}

/* ---- machines come and go ---- */

void
asks_begin(struct regent_vm *v)
{
	regent_on_register(v, on_register, NULL);
}

void
asks_end(struct regent_vm *v)
{
	struct asker *a;

	pthread_mutex_lock(&asks.lock);
	if ((a = asker_of(v)) != NULL)
		a->v = NULL;
	eventfd_write(asks.wake, 1);
	pthread_mutex_unlock(&asks.lock);
}

/* ---- clients come, on the server's thread ---- */

static void
on_upgrade(void *ctx, struct http_upgraded u, const void *early, size_t n)
{
	struct asker *a = ctx;

	pthread_mutex_lock(&asks.lock);
	a->u = u;
	a->nin = n < sizeof(a->in) ? n : sizeof(a->in);
	memcpy(a->in, early, a->nin);
	a->broken = u.fd < 0 || !take_lines(a);
	a->attached = true;
	eventfd_write(asks.wake, 1);
	pthread_mutex_unlock(&asks.lock);
}

static bool
read_patience(struct control_call *c, int64_t *ms)
{
	const char *s = c->rq->query(c->rq, "timeout");
	char *end;
	long val = s == NULL ? SECONDS : strtol(s, &end, 10);

	*ms = (int64_t)val * MS_PER_S;
	if (s == NULL || (*s >= '0' && *s <= '9' && *end == '\0' && val >= 1 && val <= SECONDS_MAX))
		return true;
	reply_fault(c, BAD_REQUEST, "timeout=%s: choose 1 to %d seconds", s, SECONDS_MAX);
	return false;
}

static unsigned
count(void)
{
	unsigned n = 0;

	for (const struct asker *a = asks.first; a != NULL; a = a->next)
		n++;
	return n;
}

void
control_ask(struct control_call *c)
{
	struct asker *a;
	int64_t patience;
	bool taken, full;

	if (!read_patience(c, &patience))
		return;
	pthread_mutex_lock(&asks.lock);
	taken = asker_of(c->v) != NULL;
	full = count() >= ASKERS_MAX;
	a = taken || full ? NULL : calloc(1, sizeof(*a));
	if (a != NULL) {
		*a = (struct asker){ .next = asks.first, .v = c->v, .patience = patience };
		asks.first = a;
	}
	pthread_mutex_unlock(&asks.lock);
	if (a == NULL) {
		reply_fault(c, BAD_REQUEST, "%s", taken ? "somebody answers for this machine already" : "too many answer for machines");
		return;
	}
	c->rep->status = SWITCHING;
	c->rep->upgrade = on_upgrade;
	c->rep->upgrade_ctx = a;
}
