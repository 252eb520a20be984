/* SPDX-License-Identifier: Apache-2.0 */
/* vm/trace.c - the ring behind the register trace. */
#include "vm/trace.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct trace {
	pthread_mutex_t lock;
	pthread_cond_t more;
	uint64_t next;				/* number of the next record */
	struct policy_record ring[TRACE_RECORDS];	/* record n is at n % TRACE_RECORDS */
};

struct trace *
trace_open(void)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->more, NULL);
	return t;
}

void
trace_close(struct trace *t)
{
	if (t == NULL)
		return;
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->more);
	free(t);
}

void
trace_put(struct trace *t, struct policy_record *r)
{
	pthread_mutex_lock(&t->lock);
	r->seq = t->next++;
	t->ring[r->seq % TRACE_RECORDS] = *r;
	pthread_cond_broadcast(&t->more);
	pthread_mutex_unlock(&t->lock);
}

static uint64_t
oldest(const struct trace *t)
{
	return t->next < TRACE_RECORDS ? 0 : t->next - TRACE_RECORDS;
}

unsigned
trace_get(struct trace *t, uint64_t *next, struct policy_record *out, unsigned max, uint64_t *dropped)
{
	unsigned n = 0;

	pthread_mutex_lock(&t->lock);
	*dropped = *next < oldest(t) ? oldest(t) - *next : 0;
	*next += *dropped;
	for (; n < max && *next < t->next; n++, ++*next)
		out[n] = t->ring[*next % TRACE_RECORDS];
	pthread_mutex_unlock(&t->lock);
	return n;
}

uint64_t
trace_seq(struct trace *t)
{
	uint64_t n;

	pthread_mutex_lock(&t->lock);
	n = t->next;
	pthread_mutex_unlock(&t->lock);
	return n;
}

void
trace_rebase(struct trace *t, const struct policy *from, const struct policy *to, unsigned common)
{
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < TRACE_RECORDS; i++) {
		const struct policy_rule **r = &t->ring[i].rule;

		if (*r >= from->rule && *r < from->rule + from->nrules)
			*r = *r - from->rule < (ptrdiff_t)common ? &to->rule[*r - from->rule] : NULL;
	}
	pthread_mutex_unlock(&t->lock);
}

void
trace_wait(struct trace *t, uint64_t next, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000)
		until.tv_nsec -= 1000000000, until.tv_sec++;
	pthread_mutex_lock(&t->lock);
	while (t->next <= next && pthread_cond_timedwait(&t->more, &t->lock, &until) == 0)
		;
	pthread_mutex_unlock(&t->lock);
}
