/* SPDX-License-Identifier: Apache-2.0 */
/* control/lockstep.h - the same guest on two engines, registers compared at every block boundary. */
#pragma once
#include "vm/vm.h"

struct lockstep_result {
	uint64_t instructions, boundaries;	/* compared so far */
	bool differs;
	enum vm_end end;			/* of the reference, VM_running when the limit came first */
	char text[8192];			/* the first difference, for people */
};

/* Two machines built alike (counted clock, one vCPU, nothing started): `ref` is stepped by
 * instructions, `test` runs by blocks. Until `limit` instructions or the guest's end. Every
 * `memory_every` instructions (0: only at the end) all RAM is compared too. 0, or a negative error. */
int lockstep_run(struct vm *ref, struct vm *test, uint64_t limit, uint64_t memory_every, struct lockstep_result *res);
