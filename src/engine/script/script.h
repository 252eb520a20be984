/* SPDX-License-Identifier: Apache-2.0 */
/* engine/script/script.h - an engine that plays exits from a list: the loop, the handlers and the
 * devices are tested with it, without a guest. */
#pragma once
#include "engine/engine.h"

struct script {
	const struct vexit *next;	/* the exits to come; the last one is EXIT_down or EXIT_stop */
	union regfile hw;		/* what "the hardware" holds between store and fetch */
	unsigned runs, stores;		/* calls seen */
	uint32_t stored;		/* groups of the last store */
};

/* The script of the vCPUs that the test opens next on this thread; borrowed. */
void script_use(struct script *s);
