/* SPDX-License-Identifier: Apache-2.0 */
/* cli/signals.c - the signals that end a machine: one list for `regent run` and `regent host`. */
#include "cli/signals.h"
#include <stdbool.h>

#include <pthread.h>

enum { SIGNAL_OVER = SIGUSR1 };		/* to ourselves: is_over */
static _Atomic bool is_over;

static void
of_end(sigset_t *set, int also)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
	if (also != 0)
		sigaddset(set, also);
}

void
signals_block(int also)
{
	sigset_t set;

	of_end(&set, also);
	sigaddset(&set, SIGNAL_OVER);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int
signals_wait(int also)
{
	sigset_t set;
	int sig;

	of_end(&set, also);
	sigaddset(&set, SIGNAL_OVER);
	for (;;) {
		if (sigwait(&set, &sig) != 0)
			continue;
		if (sig != SIGNAL_OVER)
			return sig;
		if (is_over)
			return 0;
	}
}

/* Not pthread_cancel: it sets up a signal handler, which a sandbox does not let it. */
void
signals_over(pthread_t waiter)
{
	is_over = true;
	pthread_kill(waiter, SIGNAL_OVER);
	pthread_join(waiter, NULL);
	is_over = false;
}

void
signal_pass_on(int sig)
{
	sigset_t set;

	of_end(&set, 0);
	if (sig == 0)
		return;
	signal(sig, SIG_DFL);
	raise(sig);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
