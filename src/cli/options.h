/* SPDX-License-Identifier: Apache-2.0 */
/* cli/options.h - what the options of `run` and `lockstep` come to. */
#pragma once
#include "cli/stats.h"
#include "regent.h"

enum { MODULES_MAX = 32, DEVICES_MAX = 24, POLICIES_MAX = 32 };

struct options {
	struct regent_config cfg;
	const char *modules[MODULES_MAX + 1];
	unsigned nmodules;
	const char *disks[DEVICES_MAX + 1], *nets[DEVICES_MAX + 1], *shares[DEVICES_MAX + 1];
	unsigned ndisks, nnets, nshares;
	const char *policies[POLICIES_MAX + 1], *policy_rules[POLICIES_MAX + 1];
	unsigned npolicies, npolicy_rules;
	const char *trace_regs, *trace_file;	/* run: NULL: none */
	bool trace_json, no_sandbox;
	enum stats_form stats;
	const char *engines;			/* lockstep: "REFERENCE,TEST" */
	uint64_t limit, compare_memory;		/* lockstep: instructions */
};
#define OPTIONS_INIT { .cfg = REGENT_CONFIG_INIT }

/* argv[0] is the subcommand. 0, or an exit status after one line on stderr. */
int options_parse(struct options *q, const char *command, int argc, char **argv);
/* The same for commands that take words: *rest is the index of the first, argv is put in order. */
int options_parse_words(struct options *q, const char *command, int argc, char **argv, int *rest);

/* For those who take options from elsewhere: an option by name, value NULL when it takes none; 0, or an
 * exit status after one line. Then options_finish. */
int options_set(struct options *q, const char *name, const char *value);
int options_takes(const char *name);	/* 1: a value; 0: none; -1: there is no such option */
void options_finish(struct options *q);
