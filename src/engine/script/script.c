/* SPDX-License-Identifier: Apache-2.0 */
/* engine/script/script.c - plays exits from a list, for tests. */
#include "engine/script/script.h"

static _Thread_local struct script *current;

void
script_use(struct script *s)
{
	current = s;
}

static int
script_open(struct cpu *c)
{
	(void)c;
	return current == NULL ? -1 : 0;
}

static void
script_close(struct cpu *c)
{
	(void)c;
}

static int
script_store(struct cpu *c, uint32_t groups)
{
	current->stores++;
	current->stored = groups;
	for (unsigned id = 0; id < REG__COUNT; id++)
		if (groups & GROUP_BIT(reg_desc[id].group))
			current->hw.v[id] = c->r.v[id];
	return 0;
}

static int
script_fetch(struct cpu *c, uint32_t groups)
{
	for (unsigned id = 0; id < REG__COUNT; id++)
		if (groups & GROUP_BIT(reg_desc[id].group))
			c->r.v[id] = current->hw.v[id];
	return 0;
}

static int
script_run(struct cpu *c, struct vexit *x)
{
	current->runs++;
	*x = *current->next;
	if (x->kind != EXIT_down && x->kind != EXIT_stop)
		current->next++;
	return script_fetch(c, x->carried);
}

const struct engine script_engine = {
	.name = "script", .software = true, .open = script_open, .close = script_close, .store = script_store,
	.fetch = script_fetch, .run = script_run, .step = script_run,
};
