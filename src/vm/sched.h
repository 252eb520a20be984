/* SPDX-License-Identifier: Apache-2.0 */
/* vm/sched.h - many vCPUs on few threads.
 *
 * Runnable vCPUs wait in one queue, by the time they have had over their VM's weight; each of the
 * pool's threads takes the one that had least. A slice ends after the quantum when others wait.
 * Blocked vCPUs (HLT) are in no queue and cost nothing; vcpu_kick() puts them back. One thread more
 * fires the timers of all VMs, one ends slices and sees who idles.
 */
#pragma once
#include "vm/vm.h"

struct sched;

enum { SCHED_QUANTUM_US = 4000, SCHED_WEIGHT_MAX = 1000, SCHED_THREADS_MAX = 64 };

/* threads: at least 1. NULL: out of memory. */
struct sched *sched_open(unsigned threads, unsigned quantum_us);
int sched_begin(struct sched *s);		/* its threads are there; sched_start does it as well. 0, or -1 */
void sched_close(struct sched *s);		/* after vm_wait of every VM on it */

/* Start the VM here instead of on threads of its own (vm_start). weight: 1 to SCHED_WEIGHT_MAX. */
int sched_start(struct sched *s, struct vm *vm, unsigned weight);
void sched_forget(struct sched *s, struct vm *vm);	/* after its end: before vm_close */

/* vm.c's part: a vCPU has been asked something. Any thread. */
void sched_wake(struct vcpu *vc);

uint64_t sched_ran(const struct vcpu *vc);	/* ticks of the host's TSC that it had, the slice that runs included */
uint64_t sched_switches(const struct sched *s);	/* times a thread went from one vCPU to another */
