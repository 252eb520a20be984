/* SPDX-License-Identifier: Apache-2.0 */
/* cli/regs.c - `regent regs`: the register table, as the processor is after RESET. */
#include "cli/cli.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char help_regs[] =
    "  regent regs [--group GROUP] [NAME..]\n\n"
    "Prints one line a register: name, group, width in bits, value after RESET, bits that a guest may\n"
    "change, MSR number. Groups: gpr ip seg table ctl dbg msr event fpu.\n";

static void
print_row(unsigned id)
{
	int64_t msr = regent_reg_msr(id);

	printf("%-24s%-7s%4u  0x%-18" PRIx64 "0x%-18" PRIx64, regent_reg_name(id),
	       regent_reg_group(id), regent_reg_bits(id), regent_reg_reset(id),
	       regent_reg_writable(id));
	if (msr >= 0)
		printf("0x%" PRIx64, (uint64_t)msr);
	putchar('\n');
}

static void
print_head(void)
{
	printf("%-24s%-7s%4s  %-20s%-20s%s\n", "name", "group", "bits", "reset", "writable", "msr");
}

static int
print_named(int n, char **names)
{
	for (int i = 0; i < n; i++)
		if (regent_reg_id(names[i]) < 0)
			return cli_fail(STATUS_usage,
					"%s: no register of that name; `regent regs` lists them",
					names[i]);
	print_head();
	for (int i = 0; i < n; i++)
		print_row((unsigned)regent_reg_id(names[i]));
	return cli_finish(STATUS_ok);
}

int
cli_regs(int argc, char **argv)
{
	static const struct option options[] = { { "group", required_argument, NULL, 'g' },
						 { NULL, 0, NULL, 0 } };
	const char *group = NULL;
	unsigned shown = 0;
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":g:", options, NULL)) != -1) {
		if (c != 'g')
			return cli_bad_option("regs", c, argv);
		group = optarg;
	}
	if (optind < argc)
		return print_named(argc - optind, argv + optind);
	for (unsigned id = 0; id < regent_reg_count(); id++) {
		if (group != NULL && strcmp(group, regent_reg_group(id)) != 0)
			continue;
		if (shown++ == 0)
			print_head();
		print_row(id);
	}
	if (shown == 0)
		return cli_fail(STATUS_usage, "--group %s: unknown; see `regent regs --help`",
				group);
	return cli_finish(STATUS_ok);
}
