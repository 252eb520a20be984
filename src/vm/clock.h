/* SPDX-License-Identifier: Apache-2.0 */
/* vm/clock.h - the one virtual clock of a VM and its timers.
 *
 * Time is nanoseconds since the VM started. Normally it follows the host's monotonic clock (through
 * the TSC); in counted mode (lockstep, replay) it is retired instructions times a constant. Timer
 * callbacks run with the VM's lock held, on the service thread (or in counted mode on the vCPU's).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct clock;

struct timer {
	void (*fire)(void *ctx);	/* VM lock held */
	void *ctx;
	uint64_t deadline;		/* ns; owned by clock.c */
	bool armed;
	struct timer *next, **prev;	/* owned by clock.c */
};

struct clock *clock_open(bool counted);
void clock_close(struct clock *k);

uint64_t clock_now(struct clock *k);			/* ns since start */
uint64_t clock_tsc(struct clock *k);			/* guest TSC before per-vCPU offset */
bool clock_tsc_delta(const struct clock *k, uint64_t *delta);	/* clock_tsc minus the host's TSC; false: not fixed */
uint64_t clock_tsc_khz(const struct clock *k);
uint64_t clock_host_khz(void);				/* the rate of the host's TSC */
uint64_t clock_wall(struct clock *k);			/* ns since 1970 of the guest's now */
uint64_t clock_ns_of_tsc(struct clock *k, uint64_t tsc);	/* ns at which clock_tsc reaches tsc */
void clock_advance(struct clock *k, uint64_t instructions);	/* counted mode only */
void clock_advance_to(struct clock *k, uint64_t ns);		/* counted mode only: skip idle time */
uint64_t clock_host_tsc_start(const struct clock *k);	/* guest TSC = host TSC - this + vCPU's offset */

/* Call with the VM's lock held. Setting an armed timer moves it. */
void timer_set(struct clock *k, struct timer *t, uint64_t deadline);
void timer_cancel(struct clock *k, struct timer *t);

/* Fire all that are due; the next deadline, or UINT64_MAX. */
uint64_t clock_run(struct clock *k);
uint64_t clock_next(const struct clock *k);		/* the next deadline, or UINT64_MAX */
/* Called (VM lock held) when a new earliest deadline was set, so that a sleeper can be woken. */
void clock_on_earlier(struct clock *k, void (*fn)(void *ctx), void *ctx);
