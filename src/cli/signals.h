/* SPDX-License-Identifier: Apache-2.0 */
/* cli/signals.h - the signals that end a machine, and what this process then does with its own. */
#pragma once
#include <pthread.h>
#include <signal.h>

/* also: one signal more that is waited for, or 0. */
void signals_block(int also);		/* before there are threads */
int signals_wait(int also);		/* of a thread: the signal that came, or 0: signals_over */
void signals_over(pthread_t waiter);	/* it comes back, and is joined */
/* Die of the signal that ended the machines, so that a shell sees it; 0: none. Returns when it is ignored. */
void signal_pass_on(int sig);
