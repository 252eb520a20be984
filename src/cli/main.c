/* SPDX-License-Identifier: Apache-2.0 */
/* cli/main.c - the table of subcommands. */
#include "cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ERROR_WHERE_MAX = 4352 };

const struct command commands[] = {
	{ "run", "boot a kernel in a virtual machine", cli_run, help_run },
	{ "image", "make a disk image with Debian", cli_image, help_image },
	{ "host", "run many virtual machines in one process", cli_host, help_host },
	{ "ps", "list running machines", cli_ps, help_ps },
	{ "top", "watch running machines", cli_top, help_top },
	{ "console", "attach to a machine's console", cli_console, help_console },
	{ "pause", "make machines stand still", cli_pause, help_pause },
	{ "resume", "let paused machines go on", cli_resume, help_resume },
	{ "stop", "ask machines to power off", cli_stop, help_stop },
	{ "kill", "end machines at once", cli_kill, help_kill },
	{ "trace", "watch a machine's register accesses", cli_trace, help_trace },
	{ "ask", "answer what a machine's policy asks", cli_ask, help_ask },
	{ "lockstep", "run a guest on two engines until they differ", cli_lockstep, help_lockstep },
	{ "regs", "every register there is, or those of a running machine", cli_regs, help_regs },
	{ "policy", "register policies: what they come to", cli_policy, help_policy },
	{ "cpus", "CPU models, features, engines, and what this host lacks", cli_cpus, help_cpus },
	{ "doctor", "which engine this host gives, what is in the way of a better one", cli_doctor, help_doctor },
	{ "version", "the version", cli_version, NULL },
	{ "help", "this list, or `regent help COMMAND`", cli_help, NULL },
	{ NULL, NULL, NULL, NULL },
};

static char error_where[ERROR_WHERE_MAX];

void
cli_error_where(const char *where)
{
	snprintf(error_where, sizeof(error_where), "%s", where == NULL ? "" : where);
}

int
cli_fail(int status, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("regent: ", stderr);
	if (error_where[0] != '\0')
		fprintf(stderr, "%s: ", error_where);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

/* optopt is 0 for an unknown long option: its word is then the last one looked at. */
int
cli_bad_option(const char *command, int c, char **argv)
{
	const char *word = argv[optind - 1];

	if (c == ':')
		return cli_fail(STATUS_usage, "%s: needs a value; see `regent %s --help`", word,
				command);
	if (optopt > 0 && optopt < 128)
		return cli_fail(STATUS_usage, "-%c: unknown option; see `regent %s --help`", optopt,
				command);
	return cli_fail(STATUS_usage, "%s: %s; see `regent %s --help`", word,
		optopt != 0 ? "takes no value" : "unknown or ambiguous option", command);
}

int
cli_status(int err)
{
	switch (-err) {
	case REGENT_E_usage:
	case REGENT_E_io:
	case REGENT_E_memory:
	case REGENT_E_format:
	case REGENT_E_engine:
	case REGENT_E_noreg:
		return STATUS_usage;
	default:
		return STATUS_monitor;
	}
}

int
cli_finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return cli_fail(STATUS_usage, "standard output: %s; make room or name another place",
			strerror(errno));
}

int
cli_version(int argc, char **argv)
{
	if (argc > 1)
		return cli_fail(STATUS_usage, "%s: `regent version` takes nothing", argv[1]);
	printf("regent %s\n", regent_version());
	return cli_finish(STATUS_ok);
}

static const struct command *
command_find(const char *name)
{
	for (const struct command *c = commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int
cli_help(int argc, char **argv)
{
	const struct command *c = argc > 1 ? command_find(argv[1]) : NULL;

	if (argc > 1 && c == NULL)
		return cli_fail(STATUS_usage, "%s: unknown command; see `regent help`", argv[1]);
	if (c != NULL) {
		printf("regent %s: %s\n\n%s", c->name, c->about,
		       c->help != NULL ? c->help : "It has no options.\n");
		return cli_finish(STATUS_ok);
	}
	printf("usage: regent COMMAND [OPTION..]\n\n");
	for (c = commands; c->name != NULL; c++)
		printf("  %-10s%s\n", c->name, c->about);
	printf(
	    "\n`regent COMMAND --help` shows a command's options. Exit status: 0 the guest powered off,\n"
	    "2 wrong usage or unreadable input, 3 the guest reset or panicked, 4 the monitor failed.\n");
	return cli_finish(STATUS_ok);
}

/* Standard descriptors must exist, or the next open() would take their numbers. */
static void
open_standard_fds(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    freopen("/dev/null", "r+", fd == 0 ? stdin : stdout) == NULL)
			return;
}

/* Commands that only print end as such tools do when nobody reads any more; others have pipes and sockets of their own. */
static bool
only_prints(const char *command)
{
	static const char *const all[] = { "ps", "regs", "trace", "policy", "cpus", "doctor" };

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i], command) == 0)
			return true;
	return false;
}

int
main(int argc, char **argv)
{
	const struct command *c;

	open_standard_fds();
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		cli_help(1, argv);
		return STATUS_usage;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cli_help(1, argv);
	if (strcmp(argv[1], "--version") == 0)
		return cli_version(1, argv);
	if ((c = command_find(argv[1])) == NULL)
		return cli_fail(STATUS_usage, "%s: unknown command; see `regent help`", argv[1]);
	for (int i = 2; i < argc && c->help != NULL; i++) {
		char *help[] = { argv[0], argv[1], NULL };

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return cli_help(2, help);
	}
	if (only_prints(argv[1]))
		signal(SIGPIPE, SIG_DFL);
	return c->run(argc - 1, argv + 1);
}
