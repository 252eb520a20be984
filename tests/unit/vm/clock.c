/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/vm/clock.c - the virtual clock agrees with the host's, and timers fire in order. */
#include "check.h"
#include "vm/clock.h"
#include <time.h>

static uint64_t
host_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void
follows_the_host(void)
{
	struct clock *k = clock_open(false);
	uint64_t host = host_now(), guest = clock_now(k), tsc = clock_tsc(k);
	struct timespec pause = { 0, 200000000 };
	int64_t drift;

	nanosleep(&pause, NULL);
	guest = clock_now(k) - guest;
	tsc = clock_tsc(k) - tsc;
	host = host_now() - host;
	drift = (int64_t)(guest - host);
	CHECK(drift < 100000 && drift > -100000);	/* 500 ppm of 0.2 s, preemption included */
	drift = (int64_t)(tsc * 1000000 / clock_tsc_khz(k) - guest);
	CHECK(drift < 100000 && drift > -100000);
	clock_close(k);
}

static void
tsc_and_ns_are_one_scale(void)
{
	struct clock *k = clock_open(false);
	uint64_t hour = clock_tsc_khz(k) * 1000 * 3600, ns = clock_ns_of_tsc(k, hour);

	CHECK(ns > 3600ull * 1000000000 - 1000000 && ns < 3600ull * 1000000000 + 1000000);
	clock_close(k);
}

struct shot {
	struct clock *clock;
	struct timer timer;
	unsigned at, again;
};
static unsigned shots;

static void
shoot(void *ctx)
{
	struct shot *s = ctx;

	s->at = ++shots;
	if (s->again > 0) {
		s->again--;
		timer_set(s->clock, &s->timer, 0);
	}
}

static void
timers_fire_by_deadline(void)
{
	struct clock *k = clock_open(true);
	struct shot s[4] = { 0 };

	shots = 0;
	for (unsigned i = 0; i < 4; i++)
		s[i].clock = k, s[i].timer.fire = shoot, s[i].timer.ctx = &s[i];
	timer_set(k, &s[0].timer, 300);
	timer_set(k, &s[1].timer, 100);
	timer_set(k, &s[2].timer, 200);
	timer_set(k, &s[3].timer, 150);
	timer_set(k, &s[2].timer, 400);		/* moved */
	timer_cancel(k, &s[3].timer);
	CHECK_EQ(clock_run(k), 100);
	clock_advance(k, 350);
	CHECK_EQ(clock_run(k), 400);
	CHECK(s[1].at == 1 && s[0].at == 2 && s[2].at == 0 && s[3].at == 0);
	clock_advance_to(k, 400);
	CHECK_EQ(clock_run(k), UINT64_MAX);
	CHECK_EQ(s[2].at, 3);
	clock_close(k);
}

static void
a_timer_that_rearms_in_the_past_cannot_hold_the_loop(void)
{
	struct clock *k = clock_open(true);
	struct shot s = { .clock = k, .timer.fire = shoot, .again = 1000000 };

	s.timer.ctx = &s;
	shots = 0;
	timer_set(k, &s.timer, 0);
	clock_run(k);
	CHECK(shots < 3 && s.timer.armed);
	clock_close(k);
}

static void
count(void *ctx)
{
	++*(unsigned *)ctx;
}

static void
an_earlier_deadline_wakes_the_sleeper(void)
{
	struct clock *k = clock_open(true);
	struct timer a = { .fire = count }, b = { .fire = count };
	unsigned wakes = 0;

	clock_on_earlier(k, count, &wakes);
	timer_set(k, &a, 500);
	CHECK_EQ(wakes, 1);
	timer_set(k, &b, 600);
	CHECK_EQ(wakes, 1);
	timer_set(k, &b, 100);
	CHECK_EQ(wakes, 2);
	clock_close(k);
}

int
main(void)
{
	RUN(follows_the_host);
	RUN(tsc_and_ns_are_one_scale);
	RUN(timers_fire_by_deadline);
	RUN(a_timer_that_rearms_in_the_past_cannot_hold_the_loop);
	RUN(an_earlier_deadline_wakes_the_sleeper);
	return check_done();
}
