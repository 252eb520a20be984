/* SPDX-License-Identifier: Apache-2.0 */
/* vm/sched.c - the pool that runs many vCPUs on few threads.
 *
 * Lock order: a VM's lock, then the pool's. Neither is held while guest code runs. Time is ticks of
 * the host's TSC: a switch reads it once, and no other clock but at the end of long slices, of which
 * other processes may have had a part.
 */
#include "vm/sched.h"

#include "vm/service.h"
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <x86intrin.h>

enum { US_PER_MS = 1000, NS_PER_S = 1000000000, TICK_LEAST_US = 50,
	LONG_US = 200 };
/* Who had less than 1/IDLE_SHARE of a thread between two looks idles; and memory is given back when
 * it ran for TRIM_MS since the last time. */
enum { LOOK_S = 5, IDLE_SHARE = 50, TRIM_MS = 100 };

struct worker {
	struct sched *sched;
	pthread_t thread;
	struct vcpu *now;		/* what it runs, NULL: idle */
	const struct vcpu *before;
	uint64_t slice_end;		/* ticks; 0: its end has been asked for */
	uint64_t cpu_seen;		/* the thread's CPU time when it was last asked for, in ticks */
	uint64_t charged;		/* ticks of slices since then */
};

struct sched {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* the queue has something, or quit */
	pthread_cond_t crowd;		/* somebody waits while all threads are busy, or quit */
	bool ticker_sleeps;		/* on crowd */
	struct heap queue;		/* by vcpu->spent */
	struct vcpu *members;		/* all that have not been forgotten */
	unsigned nmembers;
	uint64_t quantum, least;	/* least: the smallest `spent` that was ever taken */
	uint64_t khz;			/* ticks per ms */
	uint64_t switches;
	bool quit;
	struct service *service;	/* owned; NULL: not begun */
	bool ticking;
	unsigned threads, workers;	/* wanted, and there */
	struct worker worker[SCHED_THREADS_MAX];
	pthread_t ticker;
};

/* Who slept gets no credit for it: it starts level with those that ran. */
static void
enqueue(struct sched *s, struct vcpu *vc)
{
	if (vc->spent < s->least)
		vc->spent = s->least;
	heap_put(&s->queue, &vc->runnable, vc->spent);
	vc->sched_state = VCPU_queued;
	if (s->ticker_sleeps)
		pthread_cond_signal(&s->crowd);
}

static struct vcpu *
dequeue(struct sched *s)
{
	struct vcpu *vc;

	while (s->queue.n == 0 && !s->quit)
		pthread_cond_wait(&s->work, &s->lock);
	if (s->quit)
		return NULL;
	vc = heap_first(&s->queue)->of;
	heap_remove(&s->queue, &vc->runnable);
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
	else if (step == STEP_again || (atomic_load(&vc->cpu.attention) & ~(uint32_t)ATT_quantum) != 0)
		enqueue(s, vc);
	else
		vc->sched_state = VCPU_sleeping;
}

static void
note_end(struct vcpu *vc)
{
	struct vm *vm = vc->vm;

	pthread_mutex_lock(&vm->lock);
	if (--vm->on_pool == 0 && vm->off_pool != NULL)
		vm->off_pool(vm->off_pool_ctx);
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

static void
trim(struct vcpu *vc)
{
	vc->trim = false;
	vc->ran_trimmed = vc->ran;
	if (vc->engine->trim != NULL)
		vc->engine->trim(&vc->cpu);
}

/* A thread's CPU time in ticks. */
static uint64_t
cpu_ticks(const struct sched *s, clockid_t of)
{
	struct timespec ts;

	clock_gettime(of, &ts);
	return (uint64_t)ts.tv_sec * 1000 * s->khz + (uint64_t)ts.tv_nsec * s->khz / (NS_PER_S / 1000);
}

/* What a thread had since it was last asked beyond what was charged; at most these ticks of the clock. */
static uint64_t
used(const struct worker *w, uint64_t now, uint64_t ticks)
{
	uint64_t since = now - w->cpu_seen, more = since > w->charged ? since - w->charged : 0;

	return more < ticks ? more : ticks;
}

/* How many of a slice's ticks this thread had. To ask is a system call: short slices are believed. */
static uint64_t
had(struct worker *w, uint64_t ticks)
{
	uint64_t now;

	if (ticks < w->sched->khz * LONG_US / US_PER_MS) {
		w->charged += ticks;
		return ticks;
	}
	now = cpu_ticks(w->sched, CLOCK_THREAD_CPUTIME_ID);
	ticks = used(w, now, ticks);
	w->cpu_seen = now;
	w->charged = 0;
	return ticks;
}

/* Pool's lock held. */
static void
charge(struct worker *w, struct vcpu *vc, uint64_t ticks)
{
	ticks = had(w, ticks);
	vc->ran += ticks;
	vc->spent += ticks * SCHED_WEIGHT_ONE / vc->vm->weight;
}

/* From tick `from` on until it blocks or its time is over; *end: when that was. */
static enum step
run_slice(struct worker *w, struct vcpu *vc, uint64_t from, uint64_t *end)
{
	uint64_t over = from + w->sched->quantum;
	enum step step;

	if (vc->trim)
		trim(vc);
	if (atomic_load_explicit(&vc->cpu.attention, memory_order_relaxed) & ATT_quantum)
		atomic_fetch_and(&vc->cpu.attention, ~(uint32_t)ATT_quantum);
	do {
		step = vcpu_step(vc);
		*end = __rdtsc();
	} while (step == STEP_again && *end < over);
	return step;
}

static void *
worker_thread(void *arg)
{
	struct worker *w = arg;
	struct sched *s = w->sched;
	struct vcpu *vc;
	uint64_t from, end;
	enum step step;

	prctl(PR_SET_NAME, "pool");
	w->cpu_seen = cpu_ticks(s, CLOCK_THREAD_CPUTIME_ID);
	pthread_mutex_lock(&s->lock);
	while ((vc = dequeue(s)) != NULL) {
		s->switches += vc != w->before;
		vc->switches += vc != w->before;
		w->now = vc;
		from = __rdtsc();
		w->slice_end = from + s->quantum;
		pthread_mutex_unlock(&s->lock);
		step = run_slice(w, vc, from, &end);
		pthread_mutex_lock(&s->lock);
		charge(w, vc, end - from);
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

/* ---- the ticker: ends slices while somebody waits, and looks who idles ---- */

static uint64_t
host_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * US_PER_MS * 1000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Ask for the end of what is over; ticks until the next slice is. */
static uint64_t
end_slices(struct sched *s)
{
	uint64_t now = __rdtsc(), next = s->quantum;

	for (unsigned i = 0; i < s->workers; i++) {
		struct worker *w = &s->worker[i];

		if (w->now == NULL || w->slice_end == 0)
			continue;
		if (now < w->slice_end) {
			next = w->slice_end - now < next ? w->slice_end - now : next;
			continue;
		}
		w->slice_end = 0;
		cpu_ask(&w->now->cpu, ATT_quantum);
		if (w->now->engine->kick != NULL)
			w->now->engine->kick(&w->now->cpu);
	}
	return next;
}

/* Those that idle give memory back, on a thread of the pool. */
static void
look_for_idle(struct sched *s)
{
	for (struct vcpu *vc = s->members; vc != NULL; vc = vc->next_member) {
		uint64_t ran = vc->ran, had = ran - vc->ran_seen;

		vc->ran_seen = ran;
		if (vc->sched_state != VCPU_sleeping || had > s->khz * 1000 * LOOK_S / IDLE_SHARE ||
		    ran - vc->ran_trimmed < s->khz * TRIM_MS)
			continue;
		vc->trim = true;
		enqueue(s, vc);
		pthread_cond_signal(&s->work);
	}
}

/* Lock held, but not while asleep. */
static void
ticker_sleep(struct sched *s, uint64_t look_us)
{
	struct timespec ts = { 0 };

	if (s->queue.n == 0) {
		ts.tv_sec = (time_t)(look_us / 1000000);
		ts.tv_nsec = (long)(look_us % 1000000 * 1000);
		s->ticker_sleeps = true;
		pthread_cond_timedwait(&s->crowd, &s->lock, &ts);
		s->ticker_sleeps = false;
		return;
	}
	ts.tv_nsec = (long)((end_slices(s) * US_PER_MS / s->khz + TICK_LEAST_US) * 1000);
	ts.tv_sec = ts.tv_nsec / NS_PER_S;
	ts.tv_nsec %= NS_PER_S;
	pthread_mutex_unlock(&s->lock);
	nanosleep(&ts, NULL);
	pthread_mutex_lock(&s->lock);
}

static void *
ticker_thread(void *arg)
{
	struct sched *s = arg;
	uint64_t look = host_us() + LOOK_S * 1000000ull;

	prctl(PR_SET_NAME, "quantum");
	pthread_mutex_lock(&s->lock);
	while (!s->quit) {
		ticker_sleep(s, look);
		if (host_us() < look)
			continue;
		look_for_idle(s);
		look = host_us() + LOOK_S * 1000000ull;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- opening and starting ---- */

static void
sched_free(struct sched *s)
{
	service_close(s->service);
	heap_close(&s->queue);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->crowd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct sched *
sched_open(unsigned threads, unsigned quantum_us)
{
	struct sched *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	vm_cond_init(&s->work);
	vm_cond_init(&s->crowd);
	s->khz = clock_host_khz();
	s->quantum = s->khz * quantum_us / US_PER_MS;
	s->threads = threads < SCHED_THREADS_MAX ? threads : SCHED_THREADS_MAX;
	return s;
}

int
sched_begin(struct sched *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->service == NULL)
		s->service = service_open();
	if (!s->ticking)
		s->ticking = pthread_create(&s->ticker, NULL, ticker_thread, s) == 0;
	while (s->service != NULL && s->ticking && s->workers < s->threads) {
		struct worker *w = &s->worker[s->workers];

		w->sched = s;
		if (pthread_create(&w->thread, NULL, worker_thread, w) != 0)
			break;
		s->workers++;
	}
	pthread_mutex_unlock(&s->lock);
	return s->workers > 0 ? 0 : -1;
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
	if (s->ticking)
		pthread_join(s->ticker, NULL);
	for (unsigned i = 0; i < s->workers; i++)
		pthread_join(s->worker[i].thread, NULL);
	sched_free(s);
}

int
sched_start(struct sched *s, struct vm *vm, unsigned weight)
{
	int err;

	if (sched_begin(s) != 0)
		return vm_fail(vm, -1, "cannot start the pool's threads");
	if ((err = vm_start_clock(vm, s->service)) != 0)
		return err;
	vm->weight = weight;
	pthread_mutex_lock(&vm->lock);
	pthread_mutex_lock(&s->lock);
	if ((err = heap_room(&s->queue, s->nmembers + vm->cpus)) == 0)
		vm->on_pool = vm->cpus;
	for (unsigned i = 0; err == 0 && i < vm->cpus; i++) {
		struct vcpu *vc = vm->vcpu[i];

		vc->sched = s;
		vc->runnable.of = vc;
		vc->next_member = s->members;
		s->members = vc;
		s->nmembers++;
		enqueue(s, vc);
	}
	pthread_cond_broadcast(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&vm->lock);
	return err == 0 ? 0 : vm_fail(vm, err, "no memory for the pool's queue");
}

void
sched_forget(struct sched *s, struct vm *vm)
{
	struct vcpu **p;

	pthread_mutex_lock(&s->lock);
	for (p = &s->members; *p != NULL;) {
		if ((*p)->vm != vm) {
			p = &(*p)->next_member;
			continue;
		}
		heap_remove(&s->queue, &(*p)->runnable);
		*p = (*p)->next_member;
		s->nmembers--;
	}
	for (unsigned i = 0; i < s->workers; i++)
		if (s->worker[i].before != NULL && s->worker[i].before->vm == vm)
			s->worker[i].before = NULL;
	pthread_mutex_unlock(&s->lock);
}

void
sched_wake(struct vcpu *vc)
{
	struct sched *s = vc->sched;

	pthread_mutex_lock(&s->lock);
	if (vc->sched_state == VCPU_sleeping) {
		enqueue(s, vc);
		pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->lock);
}

uint64_t
sched_ran(const struct vcpu *vc)
{
	struct sched *s = vc->sched;
	clockid_t clock;
	uint64_t ran;

	pthread_mutex_lock(&s->lock);
	ran = vc->ran;
	for (unsigned i = 0; i < s->workers; i++)
		if (s->worker[i].now == vc && pthread_getcpuclockid(s->worker[i].thread, &clock) == 0)
			ran += used(&s->worker[i], cpu_ticks(s, clock), UINT64_MAX);
	pthread_mutex_unlock(&s->lock);
	return ran;
}

uint64_t
sched_switches(const struct sched *s)
{
	return s->switches;
}
