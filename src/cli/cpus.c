/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cpus.c - `regent cpus`: models, features, engines, and what this host lacks. */
#include "cli/cli.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char help_cpus[] =
    "  regent cpus [MODEL[,+FEATURE][,-FEATURE]]\n\n"
    "Without MODEL: the engines, the models, and the features that --cpu may add or take away, by whether\n"
    "this host has them. With MODEL: the features that a guest with it sees here.\n";

enum { COLUMNS = 96 };

/* Words side by side, a new line when one is full. */
static void
print_word(const char *word, const char *mark, unsigned *column)
{
	unsigned len = (unsigned)(strlen(word) + strlen(mark)) + 1;

	if (*column + len > COLUMNS)
		*column = 0, printf("\n ");
	else if (*column == 0)
		printf(" ");
	printf(" %s%s", word, mark);
	*column += len;
}

static int
print_model(const char *model)
{
	unsigned column = 0;
	const char *name;
	int host;

	for (unsigned i = 0; (name = regent_cpu_feature(i, &host)) != NULL; i++) {
		int shows = regent_cpu_shows(model, name);

		if (shows < 0)
			return cli_fail(
			    STATUS_usage,
			    "%s: no such CPU model or feature; `regent cpus` lists them", model);
		if (i == 0)
			printf("features of %s on this host:\n", model);
		if (shows != 0)
			print_word(name, "", &column);
	}
	putchar('\n');
	return cli_finish(STATUS_ok);
}

static void
print_features(bool on_host)
{
	unsigned column = 0;
	const char *name;
	int host;

	for (unsigned i = 0; (name = regent_cpu_feature(i, &host)) != NULL; i++)
		if ((host != 0) == on_host)
			print_word(name, "", &column);
	if (column == 0)
		printf("  (none)");
	putchar('\n');
}

int
cli_cpus(int argc, char **argv)
{
	struct regent_finding chosen = { .size = sizeof(chosen) };
	const char *name, *about;

	if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
		return cli_fail(STATUS_usage, "%s: unknown; see `regent cpus --help`",
				argv[argc - 1]);
	if (argc == 2)
		return print_model(argv[1]);
	regent_doctor(0, &chosen);		/* its first row is what auto comes to */
	printf("engines (--engine):\n ");
	for (unsigned i = 0; (name = regent_engine_name(i)) != NULL; i++)
		printf(" %s%s", name, strcmp(name, chosen.how) == 0 ? " (auto)" : "");
	printf("\n\nmodels (--cpu):\n");
	for (unsigned i = 0; (name = regent_cpu_model(i, &about)) != NULL; i++)
		printf("  %-16s%s\n", name, about);
	printf("\nfeatures that this host has:\n");
	print_features(true);
	printf("\nfeatures that this host lacks:\n");
	print_features(false);
	return cli_finish(STATUS_ok);
}
