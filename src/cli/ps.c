/* SPDX-License-Identifier: Apache-2.0 */
/* cli/ps.c - `regent ps`: the machines that run. */
#include "cli/cli.h"
#include "cli/client.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char help_ps[] =
    "  regent ps [--json] [--quiet]\n\n"
    "  --json        an array of objects, for programs\n"
    "  -q, --quiet   names only\n";

enum { SUCCESS = 200, TEXT_MAX = 32 };
enum form { FORM_table, FORM_json, FORM_names };

static const char *
text(const json_t *info, const char *key)
{
	const char *s = json_string_value(json_object_get(info, key));

	return s == NULL ? "-" : s;
}

/* "5 s", "12 min", "3 h", as podman says it. */
static const char *
uptime(double s, char buf[TEXT_MAX])
{
	static const struct { double seconds; const char *unit; } units[] = { { 86400, "days" }, { 3600, "h" }, { 60, "min" } };

	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (s >= 2 * units[i].seconds) {
			snprintf(buf, TEXT_MAX, "%.0f %s", s / units[i].seconds, units[i].unit);
			return buf;
		}
	snprintf(buf, TEXT_MAX, "%.0f s", s);
	return buf;
}

static void
print_row(const json_t *info)
{
	char up[TEXT_MAX];

	printf("%-24s %-12s %-7s %4lld %6lldM %8s %9.2f %7lld\n", text(info, "name"), text(info, "state"),
	       text(info, "engine"), json_integer_value(json_object_get(info, "cpus")),
	       json_integer_value(json_object_get(info, "memory")) >> 20,
	       uptime(json_real_value(json_object_get(info, "seconds")), up),
	       json_real_value(json_object_get(info, "cpu_seconds")), json_integer_value(json_object_get(info, "pid")));
}

static void
print_all(const json_t *all, enum form form)
{
	const json_t *info;
	size_t i;

	if (form == FORM_json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	if (form == FORM_table)
		printf("%-24s %-12s %-7s %4s %7s %8s %9s %7s\n", "NAME", "STATE", "ENGINE", "CPUS", "MEMORY", "UPTIME",
		       "CPU-SEC", "PID");
	json_array_foreach(all, i, info) {
		if (form == FORM_table)
			print_row(info);
		else
			puts(text(info, "name"));
	}
}

/* A socket that nobody serves is what a dead process left: not listed. */
static json_t *
ask_all(void)
{
	json_t *all = json_array();
	unsigned n;
	char **names = client_names(&n);

	for (unsigned i = 0; i < n; i++) {
		struct client_reply rep = client_try(names[i], "GET", "/regent/info", NULL);

		if (rep.status == SUCCESS && json_is_object(rep.body))
			json_array_append_new(all, rep.body);
		else
			json_decref(rep.body);
	}
	client_names_free(names);
	return all;
}

int
cli_ps(int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { "quiet", no_argument, NULL, 'q' },
		{ NULL, 0, NULL, 0 } };
	enum form form = FORM_table;
	json_t *all;
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":q", options, NULL)) != -1) {
		if (c != 'j' && c != 'q')
			return cli_bad_option("ps", c, argv);
		form = c == 'j' ? FORM_json : FORM_names;
	}
	if (optind < argc)
		return cli_fail(STATUS_usage, "%s: `regent ps` takes no names", argv[optind]);
	all = ask_all();
	print_all(all, form);
	json_decref(all);
	return cli_finish(STATUS_ok);
}
