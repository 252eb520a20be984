/* SPDX-License-Identifier: Apache-2.0 */
/* vm/clock.c - the one virtual clock of a VM and its timers.
 *
 * Guest time is the host's TSC, scaled: one multiplication gives nanoseconds, so that TSC,
 * kvmclock and timers can never disagree. In counted mode it is a number of instructions.
 */
#include "vm/clock.h"

#include <cpuid.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

enum {
	NS_PER_S = 1000000000,
	CALIBRATE_NS = 20000000,	/* long enough for an error of a few ppm */
	COUNTED_KHZ = 1000000,		/* counted mode: one instruction, one tick, one nanosecond */
	SCALE_SHIFT = 32,
	TSC_LEAF = 0x15, HYPERVISOR_LEAF = 0x40000000, HYPERVISOR_TIMING_LEAF = 0x40000010
};
#define HYPERVISOR_BIT (1u << 31)	/* CPUID 1 ECX */

__extension__ typedef unsigned __int128 uint128;	/* for products of 64-bit numbers */

struct sample {
	uint64_t ns, tsc;
};

struct clock {
	bool counted;
	uint64_t count;			/* counted mode: the time */
	uint64_t tsc_start;		/* host TSC at which guest TSC and time are 0 */
	uint64_t tsc_khz;
	uint64_t ns_per_tick;		/* fixed point, SCALE_SHIFT */
	uint64_t wall_start;		/* ns since 1970 at time 0 */
	struct timer *timers;		/* by deadline */
	void (*earlier)(void *ctx);
	void *earlier_ctx;
};

static uint64_t
host_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* A pair of monotonic time and TSC read as close together as this host lets us. */
static struct sample
sample_take(void)
{
	struct sample best = { 0, 0 };
	uint64_t before, after, ns, narrowest = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		before = __rdtsc();
		ns = host_ns(CLOCK_MONOTONIC);
		after = __rdtsc();
		if (after - before < narrowest) {
			narrowest = after - before;
			best = (struct sample){ ns, before + (after - before) / 2 };
		}
	}
	return best;
}

/* What the processor or the hypervisor below us says of the TSC's rate; 0: nothing. */
static uint64_t
khz_from_cpuid(void)
{
	unsigned a, b, c, d;

	if (__get_cpuid_count(TSC_LEAF, 0, &a, &b, &c, &d) && a != 0 && b != 0 && c != 0)
		return (uint64_t)c * b / a / 1000;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & HYPERVISOR_BIT))
		return 0;
	__cpuid(HYPERVISOR_LEAF, a, b, c, d);
	if (a < HYPERVISOR_TIMING_LEAF)
		return 0;
	__cpuid(HYPERVISOR_TIMING_LEAF, a, b, c, d);
	return a;
}

static uint64_t
khz_measure(void)
{
	struct sample from = sample_take(), to;

	do {
		struct timespec pause = { 0, CALIBRATE_NS / 4 };

		nanosleep(&pause, NULL);
		to = sample_take();
	} while (to.ns - from.ns < CALIBRATE_NS);
	return (uint64_t)((uint128)(to.tsc - from.tsc) * (NS_PER_S / 1000) / (to.ns - from.ns));
}

static uint64_t host_khz;
static pthread_once_t host_khz_once = PTHREAD_ONCE_INIT;

static void
learn_host_khz(void)
{
	host_khz = khz_from_cpuid();
	if (host_khz == 0)
		host_khz = khz_measure();
}

uint64_t
clock_host_khz(void)
{
	pthread_once(&host_khz_once, learn_host_khz);
	return host_khz;
}

struct clock *
clock_open(bool counted)
{
	struct clock *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	k->counted = counted;
	k->tsc_khz = counted ? COUNTED_KHZ : clock_host_khz();
	k->ns_per_tick = (uint64_t)(((uint128)(NS_PER_S / 1000) << SCALE_SHIFT) / k->tsc_khz);
	k->tsc_start = __rdtsc();
	k->wall_start = counted ? (uint64_t)NS_PER_S * 1700000000 : host_ns(CLOCK_REALTIME);
	return k;
}

void
clock_close(struct clock *k)
{
	free(k);
}

uint64_t
clock_tsc(struct clock *k)
{
	return k->counted ? k->count : __rdtsc() - k->tsc_start;
}

bool
clock_tsc_delta(const struct clock *k, uint64_t *delta)
{
	*delta = 0 - k->tsc_start;
	return !k->counted;
}

uint64_t
clock_tsc_khz(const struct clock *k)
{
	return k->tsc_khz;
}

static uint64_t
ns_of_ticks(const struct clock *k, uint64_t ticks)
{
	return (uint64_t)((uint128)ticks * k->ns_per_tick >> SCALE_SHIFT);
}

uint64_t
clock_now(struct clock *k)
{
	return ns_of_ticks(k, clock_tsc(k));
}

uint64_t
clock_ns_of_tsc(struct clock *k, uint64_t tsc)
{
	return ns_of_ticks(k, tsc) + 1;		/* not before that tick */
}

uint64_t
clock_wall(struct clock *k)
{
	return k->wall_start + clock_now(k);
}

uint64_t
clock_host_tsc_start(const struct clock *k)
{
	return k->tsc_start;
}

void
clock_advance(struct clock *k, uint64_t instructions)
{
	k->count += instructions;
}

void
clock_advance_to(struct clock *k, uint64_t ns)
{
	if (ns > k->count)
		k->count = ns;			/* a tick is a nanosecond in counted mode */
}

static void
timer_unlink(struct timer *t)
{
	*t->prev = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	t->armed = false;
}

void
timer_set(struct clock *k, struct timer *t, uint64_t deadline)
{
	struct timer **at;

	if (t->armed)
		timer_unlink(t);
	for (at = &k->timers; *at != NULL && (*at)->deadline <= deadline; at = &(*at)->next)
		;
	t->deadline = deadline;
	t->next = *at;
	t->prev = at;
	if (t->next != NULL)
		t->next->prev = &t->next;
	*at = t;
	t->armed = true;
	if (k->timers == t && k->earlier != NULL)
		k->earlier(k->earlier_ctx);
}

void
timer_cancel(struct clock *k, struct timer *t)
{
	(void)k;
	if (t->armed)
		timer_unlink(t);
}

uint64_t
clock_next(const struct clock *k)
{
	return k->timers == NULL ? UINT64_MAX : k->timers->deadline;
}

/* A callback may set timers again, also for now: each round looks at the clock once, so that a
 * timer that always re-arms in the past can't keep us here. */
uint64_t
clock_run(struct clock *k)
{
	uint64_t now = clock_now(k);
	struct timer *t;

	while ((t = k->timers) != NULL && t->deadline <= now) {
		timer_unlink(t);
		t->fire(t->ctx);
		if (t->armed && t->deadline <= now && k->timers == t)
			break;
	}
	return clock_next(k);
}

void
clock_on_earlier(struct clock *k, void (*fn)(void *ctx), void *ctx)
{
	k->earlier = fn;
	k->earlier_ctx = ctx;
}
