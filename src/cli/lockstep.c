/* SPDX-License-Identifier: Apache-2.0 */
/* cli/lockstep.c - `regent lockstep`: the same guest on two engines until they differ. */
#include "cli/cli.h"
#include "cli/options.h"
#include <stdio.h>
#include <string.h>

const char help_lockstep[] =
    "  --engines REF,TEST    interp,bt by default: the first is stepped, the second runs by blocks\n"
    "  --limit N             stop after that many instructions; 100M by default, 0: at the guest's end\n"
    "  --compare-memory N    compare all RAM too, every N instructions\n"
    "  and the options of `regent run` that describe the machine; one vCPU, no console input, time counted\n"
    "  in instructions.\n"
    "\nExit status: 0 no difference, 1 a difference (printed), 2 wrong usage, 4 the monitor failed.\n";

enum { STATUS_differs = 1 };
static const uint64_t LIMIT_DEFAULT = 100000000;

int
cli_lockstep(int argc, char **argv)
{
	struct options q = OPTIONS_INIT;
	struct regent_lockstep l = { .size = sizeof(l) };
	char ref[32];
	const char *test;
	int err, status;

	q.engines = "interp,bt";
	q.limit = LIMIT_DEFAULT;
	if ((status = options_parse(&q, "lockstep", argc, argv)) != 0)
		return status;
	if ((test = strchr(q.engines, ',')) == NULL || (size_t)(test - q.engines) >= sizeof(ref))
		return cli_fail(STATUS_usage, "--engines %s: write it like interp,bt", q.engines);
	snprintf(ref, sizeof(ref), "%.*s", (int)(test - q.engines), q.engines);
	l.limit = q.limit == 0 ? UINT64_MAX : q.limit;
	l.memory_every = q.compare_memory;
	if ((err = regent_lockstep(&q.cfg, ref, test + 1, &l)) != 0)
		return cli_fail(cli_status(err), "%s", regent_open_error());
	printf("%s and %s: %llu instructions, %llu boundaries: %s\n%s", ref, test + 1,
		(unsigned long long)l.instructions, (unsigned long long)l.boundaries,
		l.differs ? "they differ" : "no difference", l.text);
	return cli_finish(l.differs ? STATUS_differs : STATUS_ok);
}
