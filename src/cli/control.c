/* SPDX-License-Identifier: Apache-2.0 */
/* cli/control.c - `regent pause`, `resume`, `stop`, `kill`: one request for each machine named. */
#include "cli/cli.h"
#include "cli/client.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char help_pause[] = "  regent pause NAME..\n\nTheir processors stand still until `regent resume`; guest time goes on.\n";
const char help_resume[] = "  regent resume NAME..\n";
const char help_stop[] =
    "  regent stop [--time SECONDS] NAME..\n\n"
    "Presses the power button. A machine that still runs after SECONDS (10 by default) is killed.\n";
const char help_kill[] = "  regent kill NAME..\n\nEnds them at once, as if the power failed.\n";

enum { STOP_SECONDS = 10, STOP_SECONDS_MAX = 3600, POLLS_A_SECOND = 20 };

struct order {
	const char *command, *method, *path, *body;
	int (*after)(const char *name, unsigned seconds);	/* NULL: nothing */
	unsigned seconds;
};

static bool
is_gone(const char *name)
{
	struct client_reply rep = client_try(name, "GET", "/", NULL);

	json_decref(rep.body);
	return rep.status == 0 || rep.status == 404;
}

static bool
wait_gone(const char *name, unsigned seconds)
{
	struct timespec pause = { 0, 1000000000 / POLLS_A_SECOND };

	for (unsigned i = 0; i < seconds * POLLS_A_SECOND; i++) {
		if (is_gone(name))
			return true;
		nanosleep(&pause, NULL);
	}
	return is_gone(name);
}

static int
kill_if_it_stays(const char *name, unsigned seconds)
{
	if (wait_gone(name, seconds))
		return 0;
	client_try(name, "POST", "/regent/kill", NULL);
	return wait_gone(name, STOP_SECONDS) ? 0 : cli_fail(STATUS_monitor, "%s: does not end", name);
}

static int
see_it_end(const char *name, unsigned seconds)
{
	return wait_gone(name, seconds) ? 0 : cli_fail(STATUS_monitor, "%s: does not end", name);
}

/* Each name that it was done for is printed, as docker does. The first failure is the status. */
static int
give(const struct order *o, int n, char **names)
{
	int status = STATUS_ok, rc;

	if (n == 0)
		return cli_fail(STATUS_usage, "name a machine; see `regent %s --help`", o->command);
	for (int i = 0; i < n; i++) {
		rc = client_ask(names[i], o->method, o->path, o->body, NULL);
		if (rc == 0 && o->after != NULL)
			rc = o->after(names[i], o->seconds);
		if (rc == 0)
			puts(names[i]);
		status = status == STATUS_ok ? rc : status;
	}
	return cli_finish(status);
}

static int
names_only(const struct order *o, int argc, char **argv)
{
	if (argc > 1 && argv[1][0] == '-')
		return cli_fail(STATUS_usage, "%s: unknown option; see `regent %s --help`", argv[1], o->command);
	return give(o, argc - 1, argv + 1);
}

int
cli_pause(int argc, char **argv)
{
	return names_only(&(struct order){ "pause", "PATCH", "/vm", "{\"state\": \"Paused\"}", NULL, 0 }, argc, argv);
}

int
cli_resume(int argc, char **argv)
{
	return names_only(&(struct order){ "resume", "PATCH", "/vm", "{\"state\": \"Resumed\"}", NULL, 0 }, argc, argv);
}

int
cli_kill(int argc, char **argv)
{
	return names_only(&(struct order){ "kill", "POST", "/regent/kill", NULL, see_it_end, STOP_SECONDS }, argc, argv);
}

int
cli_stop(int argc, char **argv)
{
	static const struct option options[] = { { "time", required_argument, NULL, 't' }, { NULL, 0, NULL, 0 } };
	struct order o = { "stop", "POST", "/regent/stop", NULL, kill_if_it_stays, STOP_SECONDS };
	char *end;
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":t:", options, NULL)) != -1) {
		if (c != 't')
			return cli_bad_option("stop", c, argv);
		o.seconds = (unsigned)strtoul(optarg, &end, 10);
		if (*optarg < '0' || *optarg > '9' || *end != '\0' || o.seconds > STOP_SECONDS_MAX)
			return cli_fail(STATUS_usage, "--time %s: choose 0 to %d seconds", optarg, STOP_SECONDS_MAX);
	}
	return give(&o, argc - optind, argv + optind);
}
