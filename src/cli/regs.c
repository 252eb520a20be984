/* SPDX-License-Identifier: Apache-2.0 */
/* cli/regs.c - `regent regs`: the register table, as the processor is after RESET; or those of a machine. */
#include "cli/cli.h"
#include "cli/regs_vm.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char help_regs[] =
	"  regent regs [--group GROUP] [--cpu MODEL] [--engine ENGINE] [NAME..]\n\n"
	"Prints one line a register: name, group, width in bits, value after RESET, bits that a guest\n"
	"may change, MSR number. Groups: gpr ip seg table ctl dbg msr event fpu. With --cpu only those\n"
	"that exist on that CPU model; `regent cpus` lists them. With --engine the values after RESET are those of\n"
	"a processor of that engine.\n"
	"\n  regent regs [--group GROUP] [--vcpu N] [--watch] [--json] MACHINE [NAME..]\n\n"
	"The values that they have in a running machine, of vCPU 0 or N; --watch: twice a second.\n";

enum { VCPUS_MAX = 64 };

struct choice {
	const char *group, *model;	/* NULL: any */
	const char *engine;		/* NULL: the table's values after RESET */
	uint64_t *values;		/* owned: the engine's */
	char **names;			/* nnames of them; 0: any */
	int nnames;
};

static void
print_row(unsigned id, uint64_t reset)
{
	int64_t msr = regent_reg_msr(id);

	printf("%-24s%-7s%4u  0x%-18" PRIx64 "0x%-18" PRIx64, regent_reg_name(id),
	       regent_reg_group(id), regent_reg_bits(id), reset,
	       regent_reg_writable(id));
	if (msr >= 0)
		printf("0x%" PRIx64, (uint64_t)msr);
	putchar('\n');
}

static bool
chosen(const struct choice *c, unsigned id)
{
	const char *feature = regent_reg_feature(id);
	bool named = c->nnames == 0;

	for (int i = 0; i < c->nnames; i++)
		named = named || strcmp(c->names[i], regent_reg_name(id)) == 0;
	return named && (c->group == NULL || strcmp(c->group, regent_reg_group(id)) == 0) &&
	       (c->model == NULL || feature == NULL || regent_cpu_shows(c->model, feature) == 1);
}

/* Names that are no register, a model that is none: 0, or an exit status. */
static int
check(const struct choice *c)
{
	int host;

	for (int i = 0; i < c->nnames; i++)
		if (regent_reg_id(c->names[i]) < 0)
			return cli_fail(STATUS_usage,
					"%s: no register of that name; `regent regs` lists them",
					c->names[i]);
	if (c->model != NULL && regent_cpu_shows(c->model, regent_cpu_feature(0, &host)) < 0)
		return cli_fail(STATUS_usage, "--cpu %s: unknown; `regent cpus` lists the models",
				c->model);
	return 0;
}

/* The values after RESET from a processor of the engine; 0, or an exit status. */
static int
ask_engine(struct choice *c)
{
	int err;

	if (c->engine == NULL)
		return 0;
	if ((c->values = calloc(regent_reg_count(), sizeof(*c->values))) == NULL)
		return cli_fail(STATUS_monitor, "no memory for the registers; free some");
	if ((err = regent_reset_state(c->engine, c->model, c->values)) != 0)
		return cli_fail(cli_status(err), "%s", regent_open_error());
	return 0;
}

/* The rows; an exit status. */
static int
show(const struct choice *c, const char *command)
{
	unsigned shown = 0;

	for (unsigned id = 0; id < regent_reg_count(); id++) {
		if (!chosen(c, id))
			continue;
		if (shown++ == 0)
			printf("%-24s%-7s%4s  %-20s%-20s%s\n", "name", "group", "bits", "reset",
			       "writable", "msr");
		print_row(id, c->values != NULL ? c->values[id] : regent_reg_reset(id));
	}
	if (shown == 0)
		return cli_fail(STATUS_usage, "%s: no register to show; see `regent regs --help`",
				c->group != NULL ? c->group : command);
	return STATUS_ok;
}

static int
parse_vcpu(unsigned *vcpu)
{
	char *end;
	unsigned long n = strtoul(optarg, &end, 10);

	*vcpu = (unsigned)n;
	return *optarg >= '0' && *optarg <= '9' && *end == '\0' && n < VCPUS_MAX ? 0 : -1;
}

int
cli_regs(int argc, char **argv)
{
	static const struct option options[] = {
		{ "group", required_argument, NULL, 'g' },
		{ "cpu", required_argument, NULL, 'c' },
		{ "engine", required_argument, NULL, 'e' },
		{ "vcpu", required_argument, NULL, 'v' },
		{ "watch", no_argument, NULL, 'w' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	struct choice choice = { .group = NULL };
	struct regs_vm machine = { .machine = NULL };
	int c, status;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":g:c:e:", options, NULL)) != -1) {
		if (c == 'g')
			choice.group = optarg;
		else if (c == 'c')
			choice.model = optarg;
		else if (c == 'e')
			choice.engine = optarg;
		else if (c == 'v' && parse_vcpu(&machine.vcpu) != 0)
			return cli_fail(STATUS_usage, "--vcpu %s: choose 0 to 63", optarg);
		else if (c == 'w')
			machine.watch = true;
		else if (c == 'j')
			machine.json = true;
		else if (c != 'v')
			return cli_bad_option("regs", c, argv);
	}
	choice.names = argv + optind;
	choice.nnames = argc - optind;
	if (choice.model == NULL && choice.engine == NULL && choice.nnames > 0 && regent_reg_id(choice.names[0]) < 0) {
		machine.machine = *choice.names++;
		choice.nnames--;
	}
	if ((status = check(&choice)) != 0)
		return status;
	if (machine.machine != NULL) {
		machine.group = choice.group;
		machine.names = choice.names;
		machine.nnames = choice.nnames;
		return regs_vm_show(&machine);
	}
	if (machine.watch || machine.json || machine.vcpu != 0)
		return cli_fail(STATUS_usage, "--watch, --json, --vcpu: name a machine; `regent ps` lists them");
	if ((status = ask_engine(&choice)) == 0)
		status = show(&choice, argv[0]);
	free(choice.values);
	return status != STATUS_ok ? status : cli_finish(STATUS_ok);
}
