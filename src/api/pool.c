/* SPDX-License-Identifier: Apache-2.0 */
/* api/pool.c - many machines on few threads: the library's handle of vm/sched.c. */
#include "api/pool.h"

#include "api/vm.h"
#include "host/serial_hub.h"
#include "vm/sched.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct regent_pool {
	struct sched *sched;		/* owned */
	struct serial_hub *hub;		/* owned */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct regent_vm *ended, **last;	/* not yet told by regent_pool_wait, in order */
	unsigned live;			/* started, and not yet told */
	struct sandbox_config sandbox;	/* of all machines that want one; roles 0: none does */
	bool closed_off;
};

static unsigned
processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

int
regent_pool_open(struct regent_pool **pool, unsigned threads, unsigned quantum_us)
{
	struct regent_pool *p = calloc(1, sizeof(*p));

	*pool = NULL;
	if (p == NULL)
		return -REGENT_E_memory;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->last = &p->ended;
	p->hub = serial_hub_open();
	p->sched = sched_open(threads == 0 ? processors() : threads, quantum_us == 0 ? SCHED_QUANTUM_US : quantum_us);
	if (p->hub == NULL || p->sched == NULL) {
		regent_pool_close(p);
		return -REGENT_E_host;
	}
	*pool = p;
	return 0;
}

void
regent_pool_close(struct regent_pool *p)
{
	if (p == NULL)
		return;
	sched_close(p->sched);
	serial_hub_close(p->hub);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct regent_vm *
regent_pool_wait(struct regent_pool *p)
{
	struct regent_vm *v;

	pthread_mutex_lock(&p->lock);
	while (p->ended == NULL && p->live > 0)
		pthread_cond_wait(&p->changed, &p->lock);
	if ((v = p->ended) != NULL) {
		p->ended = v->next_ended;
		if (p->ended == NULL)
			p->last = &p->ended;
		p->live--;
	}
	pthread_mutex_unlock(&p->lock);
	return v;
}

uint64_t
regent_pool_switches(const struct regent_pool *p)
{
	return sched_switches(p->sched);
}

struct serial_hub *
pool_hub(struct regent_pool *p)
{
	return p == NULL ? NULL : p->hub;
}

/* Its last vCPU has left the pool; the machine's lock is held. */
static void
note_ended(void *ctx)
{
	struct regent_vm *v = ctx;
	struct regent_pool *p = v->pool;

	pthread_mutex_lock(&p->lock);
	v->next_ended = NULL;
	*p->last = v;
	p->last = &v->next_ended;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* Threads share memory: what one machine needs all may do. */
void
pool_sandbox(struct regent_pool *p, const struct sandbox_config *of)
{
	p->sandbox.roles |= of->roles;
}

/* Before the first machine runs. The pool's threads begin in between: some rights are each thread's own. */
static int
close_off(struct regent_pool *p)
{
	if (p->closed_off || p->sandbox.roles == 0)
		return 0;
	sandbox_prepare(&p->sandbox);
	if (sched_begin(p->sched) != 0)
		return -1;
	p->closed_off = sandbox_close(&p->sandbox) == 0;
	return p->closed_off ? 0 : -1;
}

int
pool_start(struct regent_pool *p, struct regent_vm *v)
{
	int err;

	pthread_mutex_lock(&p->lock);
	err = close_off(p);
	pthread_mutex_unlock(&p->lock);
	if (err != 0) {
		snprintf(v->error, sizeof(v->error), "sandbox: %s; choose --no-sandbox to go without", strerror(errno));
		return -REGENT_E_host;
	}

	v->vm->off_pool = note_ended;
	v->vm->off_pool_ctx = v;
	pthread_mutex_lock(&p->lock);
	p->live++;
	pthread_mutex_unlock(&p->lock);
	if ((err = sched_start(p->sched, v->vm, v->weight)) == 0)
		return 0;
	pthread_mutex_lock(&p->lock);
	p->live--;
	pthread_mutex_unlock(&p->lock);
	return err;
}

void
pool_forget(struct regent_pool *p, struct regent_vm *v)
{
	struct regent_vm **at;

	if (p == NULL || v->vm == NULL)
		return;
	sched_forget(p->sched, v->vm);
	pthread_mutex_lock(&p->lock);
	for (at = &p->ended; *at != NULL && *at != v; at = &(*at)->next_ended)
		;
	if (*at != NULL) {		/* closed before it was told */
		*at = v->next_ended;
		p->live--;
		for (p->last = &p->ended; *p->last != NULL; p->last = &(*p->last)->next_ended)
			;
	}
	pthread_mutex_unlock(&p->lock);
}
