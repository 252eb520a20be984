/* SPDX-License-Identifier: Apache-2.0 */
/* cli/policy.c - `regent policy`: what a register policy comes to, before anything runs. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/options.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char help_policy[] =
	"  regent policy check [POLICY..] [--engine E]  what that engine keeps of each rule; status 2 when a\n"
	"                                               `must` rule is not kept\n"
	"  regent policy why NAME OBJECT..              the rule that decides, with file and line; NAME: a policy, or a\n"
	"                                               machine that runs\n"
	"  regent policy vocabulary                     every name that a rule may use\n"
	"  regent policy list                           the shipped profiles\n"
	"  regent policy show PROFILE                   a shipped profile's text\n"
	"\n"
	"POLICY is a shipped profile or a file; --policy-rule 'RULE' adds one rule above it. A file has one rule\n"
	"a line: [must] allow|deny|hide|fix|pin|ask|log [read|write|execute] OBJECT.. [= VALUE] [after userspace]\n";

static void
print_line(void *ctx, const char *line)
{
	(void)ctx;
	puts(line);
}

static int
finish(int err)
{
	return err == 0 ? cli_finish(STATUS_ok) : cli_fail(cli_status(err), "%s", regent_open_error());
}

static int
policy_check_command(struct options *q, int argc, char **argv)
{
	(void)argc;
	if (argv[0] != NULL)
		q->cfg.policies = (const char *const *)argv;
	return finish(regent_policy_check(&q->cfg, print_line, NULL));
}

/* A machine of that name has a socket, and no shipped profile has the name. */
static bool
is_machine(const char *name)
{
	char **names;
	const char *profile;
	unsigned n = 0;
	bool found = false;

	for (unsigned i = 0; (profile = regent_policy_profile(i, NULL, NULL)) != NULL; i++)
		if (strcmp(profile, name) == 0)
			return false;
	names = client_names(&n);
	for (unsigned i = 0; names != NULL && i < n; i++)
		found = found || strcmp(names[i], name) == 0;
	client_names_free(names);
	return found;
}

static int
why_of_machine(const char *name, const char *object)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:*-";
	char path[160];
	json_t *reply = NULL;
	const json_t *line;
	size_t i;
	int rc;

	if (object[strspn(object, plain)] != '\0' ||
	    snprintf(path, sizeof(path), "/regent/policy?object=%s", object) >= (int)sizeof(path))
		return cli_fail(STATUS_usage, "%s: nothing has that name; see `regent policy vocabulary`", object);
	if ((rc = client_ask(name, "GET", path, NULL, &reply)) != 0)
		return rc;
	json_array_foreach(json_object_get(reply, "lines"), i, line)
		puts(json_string_value(line) != NULL ? json_string_value(line) : "");
	json_decref(reply);
	return 0;
}

static int
policy_why_command(struct options *q, int argc, char **argv)
{
	const char *policy[] = { argv[0], NULL };
	int err = 0;

	if (argc < 2)
		return cli_fail(STATUS_usage, "policy why: name a policy and an object, as in `regent policy why hardened cr4.smep`");
	if (is_machine(argv[0])) {
		for (int i = 1; err == 0 && i < argc; i++)
			err = why_of_machine(argv[0], argv[i]);
		return err != 0 ? err : cli_finish(STATUS_ok);
	}
	q->cfg.policies = policy;
	for (int i = 1; err == 0 && i < argc; i++)
		err = regent_policy_why(&q->cfg, argv[i], print_line, NULL);
	return finish(err);
}

static int
policy_vocabulary_command(struct options *q, int argc, char **argv)
{
	(void)q;
	if (argc > 0)
		return cli_fail(STATUS_usage, "%s: `regent policy vocabulary` takes nothing", argv[0]);
	return finish(regent_policy_words(print_line, NULL));
}

static int
policy_list_command(struct options *q, int argc, char **argv)
{
	const char *name, *about;

	(void)q;
	if (argc > 0)
		return cli_fail(STATUS_usage, "%s: `regent policy list` takes nothing", argv[0]);
	for (unsigned n = 0; (name = regent_policy_profile(n, &about, NULL)) != NULL; n++)
		printf("%-12s%s\n", name, about);
	return cli_finish(STATUS_ok);
}

static int
policy_show_command(struct options *q, int argc, char **argv)
{
	const char *name, *text;

	(void)q;
	for (unsigned n = 0; argc == 1 && (name = regent_policy_profile(n, NULL, &text)) != NULL; n++)
		if (strcmp(name, argv[0]) == 0) {
			fputs(text, stdout);
			return cli_finish(STATUS_ok);
		}
	return cli_fail(STATUS_usage, "%s: no shipped profile; `regent policy list` lists them", argc > 0 ? argv[0] : "policy show");
}

static const struct {
	const char *name;
	int (*run)(struct options *q, int argc, char **argv);	/* argv: the words behind, NULL-terminated */
} action[] = {
	{ "check", policy_check_command }, { "why", policy_why_command }, { "vocabulary", policy_vocabulary_command },
	{ "list", policy_list_command }, { "show", policy_show_command },
};

int
cli_policy(int argc, char **argv)
{
	struct options q = OPTIONS_INIT;
	int status, rest;

	if (argc < 2)
		return cli_fail(STATUS_usage, "policy: do what? see `regent policy --help`");
	if ((status = options_parse_words(&q, "policy", argc - 1, argv + 1, &rest)) != 0)
		return status;
	for (unsigned n = 0; n < sizeof(action) / sizeof(action[0]); n++)
		if (strcmp(action[n].name, argv[1]) == 0)
			return action[n].run(&q, argc - 1 - rest, argv + 1 + rest);
	return cli_fail(STATUS_usage, "policy %s: unknown; see `regent policy --help`", argv[1]);
}
