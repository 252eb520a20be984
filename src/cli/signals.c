/* SPDX-License-Identifier: Apache-2.0 */
/* cli/signals.c - the signals that end a machine: one list for `regent run` and `regent host`. */
#include "cli/signals.h"

#include <pthread.h>

void
signals_of_end(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

void
signal_pass_on(int sig)
{
	sigset_t set;

	signals_of_end(&set);
	if (sig == 0)
		return;
	signal(sig, SIG_DFL);
	raise(sig);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
