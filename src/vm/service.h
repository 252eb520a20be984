/* SPDX-License-Identifier: Apache-2.0 */
/* vm/service.h - the thread that fires the timers of any number of VMs, and the one that settles their RAM
 * (mem/settle.h).
 *
 * The first sleeps until the earliest deadline of all. Lock order: a VM's lock, then the service's.
 */
#pragma once
#include "vm/vm.h"

struct service *service_open(void);		/* NULL: out of memory or threads */
void service_close(struct service *s);		/* NULL is fine; no VM may be left on it */

/* The VM's timers are looked after from now on; 0, or -1: out of memory. */
int service_add(struct service *s, struct vm *vm);
void service_remove(struct service *s, struct vm *vm);	/* returns when nothing of it runs; VM lock not held */
/* The VM's earliest deadline has changed. VM lock held. */
void service_note(struct service *s, struct vm *vm);
