/* SPDX-License-Identifier: Apache-2.0 */
/* api/tables.c - what the library knows without a machine: registers, CPU models, engines. */
#include "cpu/cpuid.h"
#include "cpu/regs.h"
#include "engine/engine.h"
#include "regent.h"
#include <string.h>

static const char *const group_names[] = { "gpr", "ip",  "seg",   "table", "ctl",
					   "dbg", "msr", "event", "fpu" };
static_assert(sizeof(group_names) / sizeof(*group_names) == GROUP__COUNT, "one name per group");

unsigned
regent_reg_count(void)
{
	return REG__COUNT;
}

const char *
regent_reg_name(unsigned id)
{
	return id < REG__COUNT ? reg_desc[id].name : NULL;
}

int
regent_reg_id(const char *name)
{
	int id = reg_by_name(name);

	return id >= 0 ? id : -REGENT_E_noreg;
}

const char *
regent_reg_group(unsigned id)
{
	return id < REG__COUNT ? group_names[reg_desc[id].group] : NULL;
}

unsigned
regent_reg_bits(unsigned id)
{
	return id < REG__COUNT ? reg_desc[id].bits : 0;
}

uint64_t
regent_reg_reset(unsigned id)
{
	return id < REG__COUNT ? reg_desc[id].reset : 0;
}

uint64_t
regent_reg_writable(unsigned id)
{
	return id < REG__COUNT ? reg_desc[id].writable : 0;
}

const char *
regent_reg_feature(unsigned id)
{
	if (id >= REG__COUNT || reg_desc[id].since == CPUF_always)
		return NULL;
	return cpu_feature_name((enum cpu_feature)reg_desc[id].since);
}

int64_t
regent_reg_msr(unsigned id)
{
	return id < REG__COUNT && reg_desc[id].msr != NOMSR ? (int64_t)reg_desc[id].msr : -1;
}

/* The best first: it is what "auto" means. */
static const char *const engine_names[] = { "bt", "interp", "kvm" };

const char *
regent_engine_name(unsigned n)
{
	for (unsigned i = 0; i < sizeof(engine_names) / sizeof(*engine_names); i++)
		if (engine_by_name(engine_names[i]) != NULL && n-- == 0)
			return engine_names[i];
	return NULL;
}

const char *
regent_cpu_model(unsigned n, const char **about)
{
	return cpu_model_name(n, about);
}

const char *
regent_cpu_feature(unsigned n, int *on_host)
{
	for (unsigned f = 0; f < CPUF__COUNT; f++)
		if (cpu_feature_offered((enum cpu_feature)f) && n-- == 0) {
			*on_host = cpu_feature_on_host((enum cpu_feature)f);
			return cpu_feature_name((enum cpu_feature)f);
		}
	return NULL;
}

int
regent_cpu_shows(const char *model, const char *feature)
{
	struct cpu_model m;
	char err[256], lost[512];

	if (cpu_model_make(&m, model, true, err, sizeof(err), lost, sizeof(lost)) != 0)
		return -REGENT_E_usage;
	for (unsigned f = CPUF_always + 1; f < CPUF__COUNT; f++)
		if (strcmp(cpu_feature_name((enum cpu_feature)f), feature) == 0)
			return cpu_has(&m, (enum cpu_feature)f);
	return -REGENT_E_usage;
}
