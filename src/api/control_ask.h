/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_ask.h - a policy's `ask`, put to a client of the control socket. */
#pragma once
#include "api/control_parts.h"
#include <poll.h>

enum { ASKERS_MAX = 128 };

/* A machine that is there: its questions go to who is attached; nobody is no. */
void asks_begin(struct regent_vm *v);
void asks_end(struct regent_vm *v);		/* it ends: whoever is attached leaves */

/* The consoles' thread serves these connections too. wake: its eventfd. */
void asks_open(int wake);
/* Descriptors to wait for, and for how long at most (ms, -1: ever); how many. */
unsigned asks_prepare(struct pollfd *pfd, int *timeout);
void asks_serve(void);

void control_ask(struct control_call *c);
