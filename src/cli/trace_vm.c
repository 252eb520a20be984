/* SPDX-License-Identifier: Apache-2.0 */
/* cli/trace_vm.c - `regent trace NAME`: the register trace of a machine that runs, as it comes. */
#include "cli/cli.h"
#include "cli/client.h"
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char help_trace[] =
    "  regent trace [--format text|json] [--count N] NAME [REGISTERS..]\n\n"
    "Accesses to REGISTERS ('cr*', 'msr:*', idtr) and those that the policy's rules name or refuse: who\n"
    "(vCPU, rip, CPL), what (old and new value), when. Ends after N records, with the machine, or by Ctrl-C.\n";

enum { POLL_NS = 100000000, PATH_SIZE = 128, WORDS_SIZE = 1024 };

static volatile sig_atomic_t leave_now;

static void
on_signal(int sig)
{
	leave_now = sig;
}

/* What to record beside the policy's own; "" for no more. */
static int
choose(const char *name, const char *registers, bool quiet)
{
	json_t *body = json_pack("{s:s}", "registers", registers);
	char *text = json_dumps(body, JSON_COMPACT);
	int rc = 0;

	if (quiet)
		json_decref(client_try(name, "PUT", "/regent/trace", text).body);
	else
		rc = client_ask(name, "PUT", "/regent/trace", text, NULL);
	free(text);
	json_decref(body);
	return rc;
}

/* The records since *next, at most `most`; how many; -1: the machine has ended. */
static long
print_new(const char *name, const char *format, int64_t *next, long most)
{
	struct client_reply rep;
	const json_t *line, *records;
	char path[PATH_SIZE];
	long n = 0;
	size_t i;

	snprintf(path, sizeof(path), *next < 0 ? "/regent/trace?format=%s" : "/regent/trace?format=%s&next=%" PRId64, format,
		 *next);
	rep = client_try(name, "GET", path, NULL);
	records = json_object_get(rep.body, "records");
	json_array_foreach(records, i, line)
		if (n < most) {
			puts(json_string_value(line));
			n++;
		}
	if (json_integer_value(json_object_get(rep.body, "dropped")) > 0)
		fprintf(stderr, "regent: %" JSON_INTEGER_FORMAT " records were lost\n",
			json_integer_value(json_object_get(rep.body, "dropped")));
	*next = json_integer_value(json_object_get(rep.body, "next"));
	json_decref(rep.body);
	fflush(stdout);
	return rep.status == 200 ? n : -1;
}

static int
follow(const char *name, const char *registers, const char *format, long count)
{
	struct timespec pause = { 0, POLL_NS };
	struct sigaction sa = { .sa_handler = on_signal };
	int64_t next = -1;
	long left = count, n;
	int rc;

	if ((rc = client_ask(name, "GET", "/", NULL, NULL)) != 0)
		return rc;
	print_new(name, format, &next, 0);
	if ((rc = choose(name, registers, false)) != 0)
		return rc;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	while (leave_now == 0 && left > 0 && (n = print_new(name, format, &next, left)) >= 0 && !ferror(stdout)) {
		left -= n;
		if (n == 0)
			nanosleep(&pause, NULL);
	}
	choose(name, "", true);
	return cli_finish(STATUS_ok);
}

/* The words after the name, with commas between. */
static int
join(char *to, size_t size, int n, char **words)
{
	size_t used = 0;

	to[0] = '\0';
	for (int i = 0; i < n; i++) {
		used += (size_t)snprintf(to + used, size - used, "%s%s", i == 0 ? "" : ",", words[i]);
		if (used >= size)
			return cli_fail(STATUS_usage, "%s: too many registers", words[i]);
	}
	return 0;
}

int
cli_trace(int argc, char **argv)
{
	static const struct option options[] = { { "format", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
	const char *format = "text";
	char registers[WORDS_SIZE], *end = NULL;
	long count = INT32_MAX;
	int c, rc;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":f:n:", options, NULL)) != -1) {
		if (c == 'f')
			format = optarg;
		else if (c == 'n')
			count = strtol(optarg, &end, 10);
		else
			return cli_bad_option("trace", c, argv);
	}
	if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
		return cli_fail(STATUS_usage, "--format %s: unknown; choose text or json", format);
	if (count < 1 || (end != NULL && *end != '\0'))
		return cli_fail(STATUS_usage, "--count: is no number of records");
	if (optind == argc)
		return cli_fail(STATUS_usage, "name a machine; see `regent trace --help`");
	if ((rc = join(registers, sizeof(registers), argc - optind - 1, argv + optind + 1)) != 0)
		return rc;
	return follow(argv[optind], registers, format, count);
}
