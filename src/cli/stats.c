/* SPDX-License-Identifier: Apache-2.0 */
/* cli/stats.c - prints struct regent_stats. */
#include "cli/stats.h"
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

static double
cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec)
		+ (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double
mips(const struct regent_stats *st)
{
	return st->seconds > 0 ? (double)st->instructions / st->seconds / 1e6 : 0;
}

static void
print_text(const struct regent_stats *st)
{
	fprintf(stderr, "engine        %s\nseconds       %.3f\ncpu seconds   %.3f\n", st->engine,
		st->seconds, cpu_seconds());
	if (st->instructions != 0)
		fprintf(stderr, "instructions  %" PRIu64 "\nMIPS          %.1f\n", st->instructions,
			mips(st));
	else
		fprintf(stderr, "instructions  not counted by this engine\n");
	for (unsigned i = 0; i < st->nexits; i++)
		fprintf(stderr, "exits %-8s%" PRIu64 "\n", st->exits[i].kind, st->exits[i].count);
	for (unsigned i = 0; i < st->ncounters; i++)
		fprintf(stderr, "%-24s%" PRIu64 "\n", st->counters[i].name, st->counters[i].count);
}

/* Names are identifiers of our tables: nothing in them needs escaping. */
static void
print_json(const struct regent_stats *st)
{
	fprintf(stderr,
		"{\"version\": %d, \"engine\": \"%s\", \"instructions\": %" PRIu64
		", \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"mips\": %.3f, \"exits\": {",
		STATS_VERSION, st->engine, st->instructions, st->seconds, cpu_seconds(), mips(st));
	for (unsigned i = 0; i < st->nexits; i++)
		fprintf(stderr, "%s\"%s\": %" PRIu64, i == 0 ? "" : ", ", st->exits[i].kind,
			st->exits[i].count);
	fprintf(stderr, "}, \"counters\": {");
	for (unsigned i = 0; i < st->ncounters; i++)
		fprintf(stderr, "%s\"%s\": %" PRIu64, i == 0 ? "" : ", ", st->counters[i].name,
			st->counters[i].count);
	fprintf(stderr, "}}\n");
}

void
stats_print(struct regent_vm *vm, enum stats_form form)
{
	struct regent_stats st = { .size = sizeof(st) };

	if (regent_stats(vm, &st) != 0)
		return;
	if (form == STATS_json)
		print_json(&st);
	else
		print_text(&st);
}
