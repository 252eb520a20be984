/* SPDX-License-Identifier: Apache-2.0 */
/* engine/engine.c - the engines by name. */
#include "engine/engine.h"
#include <string.h>

static const struct engine *const engines[] = { &interp_engine, &bt_engine, &kvm_engine };

const struct engine *
engine_by_name(const char *name)
{
	unsigned i;

	for (i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}
