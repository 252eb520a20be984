/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/debug.h - what the host's debugger asks of one vCPU.
 *
 * While anything is asked, the vCPU loop goes by single steps (engine->step) and looks at this
 * list before each; engines need not know of breakpoints. Watchpoints are compared where the
 * interpreter compares DR0-DR3: it calls debug_data for each data access while nwatches != 0.
 * Written by the debugger only while the vCPU is paused.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { DEBUG_BREAKS_MAX = 256, DEBUG_WATCHES_MAX = 16 };

struct debug_watch {
	uint64_t lin;
	uint32_t len;
	bool read, write;
};

struct debug_state {
	bool step;			/* stop after one instruction */
	bool resumed;			/* do not stop again at the breakpoint just left */
	unsigned nbreaks, nwatches;
	uint64_t breaks[DEBUG_BREAKS_MAX];	/* linear addresses */
	struct debug_watch watches[DEBUG_WATCHES_MAX];
	bool hit;			/* a watchpoint was met ... */
	uint64_t hit_lin;		/* ... here */
	bool hit_write;
};

static inline bool
debug_active(const struct debug_state *d)
{
	return d != NULL && (d->step || d->nbreaks != 0 || d->nwatches != 0);
}

static inline bool
debug_break_at(const struct debug_state *d, uint64_t lin)
{
	for (unsigned i = 0; i < d->nbreaks; i++)
		if (d->breaks[i] == lin)
			return true;
	return false;
}

/* An instruction read or wrote [lin, lin + len). */
static inline void
debug_data(struct debug_state *d, uint64_t lin, unsigned len, bool write)
{
	for (unsigned i = 0; i < d->nwatches; i++) {
		const struct debug_watch *w = &d->watches[i];

		if ((write ? w->write : w->read) && lin < w->lin + w->len && w->lin < lin + len) {
			d->hit = true;
			d->hit_lin = w->lin;
			d->hit_write = write;
		}
	}
}
