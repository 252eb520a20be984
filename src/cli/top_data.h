/* SPDX-License-Identifier: Apache-2.0 */
/* cli/top_data.h - what `regent top` knows of each machine: two readings of its counters, and their difference. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

enum { TOP_EXITS = 16, TOP_NAME = 64, TOP_HOT = 48 };

struct top_reading {
	double when, cpu_seconds;	/* when: of the machine's own seconds */
	double instructions, switches;
	double exits[TOP_EXITS];
};

struct top_vm {
	char name[TOP_NAME], state[16], engine[16];
	unsigned cpus, nexits;
	char kind[TOP_EXITS][12];
	struct top_reading now, before;
	bool seen, fresh;		/* answered this time; has no earlier reading */
	/* a second of its own: */
	double cpu_percent, mips, switch_rate, exit_rate[TOP_EXITS];
};

struct top {
	struct top_vm *vms;		/* owned, by name */
	unsigned n;
	/* registers of one vCPU of the selected machine that changed between the last two readings */
	char hot_of[TOP_NAME];
	json_t *regs;
	unsigned nhot;
	struct { const char *name; char val[24]; } hot[TOP_HOT];
};

void top_read(struct top *t);
void top_read_hot(struct top *t, const char *name);
void top_free(struct top *t);
