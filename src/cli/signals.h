/* SPDX-License-Identifier: Apache-2.0 */
/* cli/signals.h - the signals that end a machine, and what this process then does with its own. */
#pragma once
#include <signal.h>

void signals_of_end(sigset_t *set);
/* Die of the signal that ended the machines, so that a shell sees it; 0: none. Returns when it is ignored. */
void signal_pass_on(int sig);
