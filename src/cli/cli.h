/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli.h - what the subcommands share. Only here may a process end itself, and only main does. */
#pragma once
#include "regent.h"

/* The exit statuses of `regent`. With --debug-exit the guest's own wins. */
enum { STATUS_ok = 0, STATUS_usage = 2, STATUS_guest = 3 /* reset, panicked */, STATUS_monitor = 4 };

struct command {
	const char *name, *about;
	int (*run)(int argc, char **argv);	/* argv[0] is the subcommand; an exit status */
	const char *help;
};
extern const struct command commands[];

int cli_run(int argc, char **argv);
int cli_host(int argc, char **argv);
int cli_ps(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_console(int argc, char **argv);
int cli_pause(int argc, char **argv);
int cli_resume(int argc, char **argv);
int cli_stop(int argc, char **argv);
int cli_kill(int argc, char **argv);
int cli_trace(int argc, char **argv);
int cli_ask(int argc, char **argv);
int cli_lockstep(int argc, char **argv);
int cli_image(int argc, char **argv);
int cli_regs(int argc, char **argv);
int cli_policy(int argc, char **argv);
int cli_cpus(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_help(int argc, char **argv);

extern const char help_host[], help_ps[], help_top[], help_console[], help_pause[], help_resume[], help_stop[],
	help_kill[], help_trace[], help_ask[];
extern const char help_run[], help_image[], help_lockstep[], help_regs[], help_cpus[], help_doctor[], help_policy[];

/* One line "regent: ..." on stderr; returns status. */
int cli_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What cli_fail puts before its lines: "FILE:LINE:COLUMN"; copied. NULL: nothing. */
void cli_error_where(const char *where);
/* For getopt_long's '?' and ':' (opterr is 0): the line that names the bad option. */
int cli_bad_option(const char *command, int c, char **argv);
/* After printing results: a full disk or closed pipe is a failure too. */
int cli_finish(int status);
/* The status that a library error comes to: what the user can correct is 2. */
int cli_status(int err);
