/* SPDX-License-Identifier: Apache-2.0 */
/* cli/doctor.c - `regent doctor`: which engine this host gives, what is in the way of a better one, what to do. */
#include "cli/cli.h"
#include <stdio.h>

const char help_doctor[] =
	"  regent doctor\n\n"
	"A line for each thing that decides about engines: \"ok\", \"no\" when it stands in the way of one, \"--\" when\n"
	"it costs features or speed; below it what to do. The exit status is 1 when something stands in the way.\n";

int
cli_doctor(int argc, char **argv)
{
	struct regent_finding f = { .size = sizeof(f) };
	int good = 1;

	if (argc > 1)
		return cli_fail(STATUS_usage, "%s: `regent doctor` takes nothing", argv[1]);
	for (unsigned n = 0; regent_doctor(n, &f) != 0; n++) {
		printf("%s  %-36s%s\n", f.ok == 1 ? "ok" : f.ok == 0 ? "no" : "--", f.what, f.how);
		if (f.remedy[0] != '\0')
			printf("      %s\n", f.remedy);
		good = good && f.ok != 0;
	}
	return cli_finish(good ? STATUS_ok : 1);
}
