/* SPDX-License-Identifier: Apache-2.0 */
/* engine/engine.c - the engines by name, and what they say when they fail. */
#include "engine/engine.h"
#include <stdarg.h>
#include <stdio.h>
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

static _Thread_local char why[256];

const char *
engine_why(void)
{
	return why;
}

int
engine_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return -1;
}
