/* SPDX-License-Identifier: Apache-2.0 */
/* host/serial_hub.c - one thread that writes out the serial ports of many VMs.
 *
 * Ports with bytes stand in a queue. A descriptor that takes nothing now (a full pipe) is tried again
 * a little later and keeps no other waiting.
 */
#include "host/serial_hub.h"
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

enum { RETRY_MS = 20, DRAIN_MS = 1000 };

struct serial_hub {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* the queue is not empty, or quit */
	pthread_cond_t done;		/* a port's turn is over */
	pthread_t thread;
	struct serial *first, **last;
	struct serial *now;		/* whose turn it is */
	bool quit;
};

/* Lock held. */
static void
queue(struct serial_hub *h, struct serial *s)
{
	struct serial_link *l = serial_link(s);

	if (l->listed)
		return;
	l->listed = true;
	l->next = NULL;
	*h->last = s;
	h->last = &l->next;
	pthread_cond_signal(&h->work);
}

static struct serial *
take(struct serial_hub *h)
{
	struct serial *s = h->first;

	if (s == NULL)
		return NULL;
	h->first = serial_link(s)->next;
	if (h->first == NULL)
		h->last = &h->first;
	serial_link(s)->listed = false;
	return s;
}

static void
nap(struct serial_hub *h)
{
	struct timespec ts = { 0, RETRY_MS * 1000000 };

	pthread_mutex_unlock(&h->lock);
	nanosleep(&ts, NULL);
	pthread_mutex_lock(&h->lock);
}

static void *
hub_thread(void *arg)
{
	struct serial_hub *h = arg;
	bool moved = true;		/* since the last nap */
	enum serial_flush res;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, "serial-out");
	pthread_mutex_lock(&h->lock);
	while (!h->quit) {
		if ((h->now = take(h)) == NULL) {
			pthread_cond_wait(&h->work, &h->lock);
			continue;
		}
		pthread_mutex_unlock(&h->lock);
		res = serial_flush(h->now);
		pthread_mutex_lock(&h->lock);
		if (res != SERIAL_empty)
			queue(h, h->now);
		h->now = NULL;
		pthread_cond_broadcast(&h->done);
		if (res == SERIAL_stuck && !moved)
			nap(h);
		moved = res != SERIAL_stuck;
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

struct serial_hub *
serial_hub_open(void)
{
	struct serial_hub *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->work, NULL);
	pthread_cond_init(&h->done, NULL);
	h->last = &h->first;
	if (pthread_create(&h->thread, NULL, hub_thread, h) == 0)
		return h;
	free(h);
	return NULL;
}

void
serial_hub_close(struct serial_hub *h)
{
	if (h == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->quit = true;
	pthread_cond_signal(&h->work);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->work);
	pthread_cond_destroy(&h->done);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void
serial_hub_note(struct serial_hub *h, struct serial *s)
{
	pthread_mutex_lock(&h->lock);
	queue(h, s);
	pthread_mutex_unlock(&h->lock);
}

static void
unlist(struct serial_hub *h, struct serial *s)
{
	struct serial **p = &h->first;

	while (*p != NULL && *p != s)
		p = &serial_link(*p)->next;
	if (*p == NULL)
		return;
	*p = serial_link(s)->next;
	serial_link(s)->listed = false;
	for (h->last = &h->first; *h->last != NULL; h->last = &serial_link(*h->last)->next)
		;
}

void
serial_hub_drain(struct serial_hub *h, struct serial *s)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DRAIN_MS / 1000;
	pthread_mutex_lock(&h->lock);
	while (serial_link(s)->listed || h->now == s)
		if (pthread_cond_timedwait(&h->done, &h->lock, &until) != 0)
			break;
	unlist(h, s);
	while (h->now == s)
		pthread_cond_wait(&h->done, &h->lock);
	unlist(h, s);
	pthread_mutex_unlock(&h->lock);
}
