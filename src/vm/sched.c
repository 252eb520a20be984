/* SPDX-License-Identifier: Apache-2.0 */
/* vm/sched.c - the pool that runs many vCPUs on few threads.
 *
 * Lock order: a VM's lock, then the pool's. Neither is held while guest code runs.
 */
#include "vm/sched.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

enum { NS_PER_US = 1000, NS_PER_S = 1000000000, THREADS_MAX = 64 };

struct worker {
	struct sched *sched;
	pthread_t thread;
	struct vcpu *now;		/* what it runs, NULL: idle */
	const struct vcpu *before;
	uint64_t slice_end;		/* monotonic ns */
};

struct sched {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* the queue has something, or quit */
	pthread_cond_t crowd;		/* somebody waits while all threads are busy, or quit */
	struct vcpu *queue;		/* by vcpu->spent */
	uint64_t quantum, least;	/* least: the smallest `spent` that was ever taken */
	uint64_t switches;
	bool quit;
	unsigned workers;
	struct worker worker[THREADS_MAX];
	pthread_t ticker;
};

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Who slept gets no credit for it: it starts level with those that ran. */
static void
enqueue(struct sched *s, struct vcpu *vc)
{
	struct vcpu **at;

	if (vc->spent < s->least)
		vc->spent = s->least;
	for (at = &s->queue; *at != NULL && (*at)->spent <= vc->spent; at = &(*at)->next_runnable)
		;
	vc->next_runnable = *at;
	*at = vc;
	vc->sched_state = VCPU_queued;
	pthread_cond_signal(&s->work);
	pthread_cond_signal(&s->crowd);
}

static struct vcpu *
dequeue(struct sched *s)
{
	struct vcpu *vc;

	while (s->queue == NULL && !s->quit)
		pthread_cond_wait(&s->work, &s->lock);
	if (s->quit)
		return NULL;
	vc = s->queue;
	s->queue = vc->next_runnable;
	s->least = vc->spent;
	vc->sched_state = VCPU_running;
	return vc;
}

/* Back from a slice: where does it go? Pool's lock held. */
static void
put_back(struct sched *s, struct vcpu *vc, enum step step)
{
	if (step == STEP_ended)
		vc->sched_state = VCPU_ended;
	else if (step == STEP_again || atomic_load(&vc->cpu.attention) != 0)
		enqueue(s, vc);
	else
		vc->sched_state = VCPU_sleeping;
}

static void
note_end(struct vcpu *vc)
{
	struct vm *vm = vc->vm;

	pthread_mutex_lock(&vm->lock);
	vm->on_pool--;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

static enum step
run_slice(struct worker *w, struct vcpu *vc)
{
	uint64_t from = now_ns(), to = from, end = w->slice_end;
	enum step step;

	do {
		step = vcpu_step(vc);
		to = now_ns();
	} while (step == STEP_again && to < end);
	vc->spent += (to - from) * SCHED_WEIGHT_ONE / vc->vm->weight;
	return step;
}

static void *
worker_thread(void *arg)
{
	struct worker *w = arg;
	struct sched *s = w->sched;
	struct vcpu *vc;
	enum step step;

	prctl(PR_SET_NAME, "pool");
	pthread_mutex_lock(&s->lock);
	while ((vc = dequeue(s)) != NULL) {
		s->switches += vc != w->before;
		w->now = vc;
		w->slice_end = now_ns() + s->quantum;
		pthread_mutex_unlock(&s->lock);
		step = run_slice(w, vc);
		pthread_mutex_lock(&s->lock);
		w->before = vc;
		w->now = NULL;
		put_back(s, vc, step);
		if (step == STEP_ended) {
			pthread_mutex_unlock(&s->lock);
			note_end(vc);
			pthread_mutex_lock(&s->lock);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Ends slices that are over, but only while somebody waits for a thread. */
static void *
ticker_thread(void *arg)
{
	struct sched *s = arg;
	struct timespec ts = { 0, (long)(s->quantum / 2) };

	prctl(PR_SET_NAME, "quantum");
	pthread_mutex_lock(&s->lock);
	while (!s->quit) {
		if (s->queue == NULL) {
			pthread_cond_wait(&s->crowd, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		nanosleep(&ts, NULL);
		pthread_mutex_lock(&s->lock);
		for (unsigned i = 0; i < s->workers; i++) {
			struct vcpu *vc = s->worker[i].now;

			if (vc == NULL || now_ns() < s->worker[i].slice_end)
				continue;
			cpu_ask(&vc->cpu, ATT_kick);
			if (vc->engine->kick != NULL)
				vc->engine->kick(&vc->cpu);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

struct sched *
sched_open(unsigned threads, unsigned quantum_us)
{
	struct sched *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	pthread_cond_init(&s->crowd, NULL);
	s->quantum = (uint64_t)quantum_us * NS_PER_US;
	if (pthread_create(&s->ticker, NULL, ticker_thread, s) != 0) {
		free(s);
		return NULL;
	}
	for (; s->workers < threads && s->workers < THREADS_MAX; s->workers++) {
		struct worker *w = &s->worker[s->workers];

		w->sched = s;
		if (pthread_create(&w->thread, NULL, worker_thread, w) != 0)
			break;
	}
	if (s->workers > 0)
		return s;
	sched_close(s);
	return NULL;
}

void
sched_close(struct sched *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_broadcast(&s->work);
	pthread_cond_broadcast(&s->crowd);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->ticker, NULL);
	for (unsigned i = 0; i < s->workers; i++)
		pthread_join(s->worker[i].thread, NULL);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->crowd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int
sched_start(struct sched *s, struct vm *vm, unsigned weight)
{
	int err = vm_start_clock(vm);

	if (err != 0)
		return err;
	vm->weight = weight;
	vm->on_pool = vm->cpus;
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < vm->cpus; i++) {
		vm->vcpu[i]->sched = s;
		enqueue(s, vm->vcpu[i]);
	}
	pthread_mutex_unlock(&s->lock);
	return 0;
}

void
sched_wake(struct vcpu *vc)
{
	struct sched *s = vc->sched;

	pthread_mutex_lock(&s->lock);
	if (vc->sched_state == VCPU_sleeping)
		enqueue(s, vc);
	pthread_mutex_unlock(&s->lock);
}

uint64_t
sched_switches(const struct sched *s)
{
	return s->switches;
}
