/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/fpu.c - the guest's x87, SSE and AVX state: in the host's registers, or in cpu->fpu.
 *
 * Translated code loads it when it first needs it (gate_fpu). C code that may use vector registers
 * or look at cpu->fpu has it put back first.
 */
#include "engine/bt/bt.h"

enum { STATE_ALL = 7 };

static void
save(struct fpu_state *f)
{
	uint32_t lo = STATE_ALL, hi = 0;

	__asm__ volatile("xsave64 %0" : "+m"(*f) : "a"(lo), "d"(hi) : "memory");
}

void
bt_fpu_unload(struct bt_state *bt)
{
	struct fpu_state *f = &bt->c->fpu;

	if (!bt->fpu_live)
		return;
	bt->fpu_live = 0;
	save(f);
	f->fip = f->fdp = 0;	/* host addresses */
	f->fop = 0;
	f->xstate_bv |= STATE_ALL;
	__asm__ volatile("fninit; ldmxcsr %0" : : "m"(bt->host_mxcsr));
}

void
bt_fpu_load(struct bt_state *bt)
{
	uint32_t lo = STATE_ALL, hi = 0;

	__asm__ volatile("xrstor64 %0" : : "m"(bt->c->fpu), "a"(lo), "d"(hi) : "memory");
	bt->fpu_live = 1;
}
