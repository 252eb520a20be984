/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/host/log.c - levels are chosen by name, and a site that floods is held back. */
#include "check.h"
#include "host/log.h"
#include <stdlib.h>
#include <unistd.h>

static char text[1 << 20];

/* What fn prints on stderr. */
static void
captured(void (*fn)(void))
{
	int p[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	if (pipe(p) != 0)
		abort();
	dup2(p[1], STDERR_FILENO);
	close(p[1]);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(p[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(p[0]);
}

static void say_warn(void) { LOG(io, warn, "port %#x", 0x80u); }
static void say_debug(void) { LOG(io, debug, "port %#x", 0x80u); }

static void
flood(void)
{
	for (unsigned i = 0; i < 1000; i++)
		LOG(vm, error, "line %u", i);
}

static void
long_line(void)
{
	static char big[4000];

	memset(big, 'x', sizeof(big) - 1);
	LOG(vm, error, "%s", big);
}

static void
levels_by_name(void)
{
	CHECK_EQ(log_choose("io=debug"), 0);
	CHECK_EQ(log_levels[LOG_io], LOG_LEVEL_debug);
	CHECK_EQ(log_levels[LOG_vm], LOG_LEVEL_warn);
	CHECK_EQ(log_choose("error,vm=info"), 0);
	CHECK_EQ(log_levels[LOG_io], LOG_LEVEL_error);
	CHECK_EQ(log_levels[LOG_vm], LOG_LEVEL_info);
	CHECK_EQ(log_choose("iot=debug"), -1);
	CHECK_EQ(log_choose("io=loud"), -1);
	CHECK_EQ(log_choose(""), -1);
	CHECK_EQ(log_choose("io="), -1);
	CHECK_EQ(log_choose("warn"), 0);
}

static void
only_chosen_levels_print(void)
{
	captured(say_warn);
	CHECK(strcmp(text, "regent: io: warn: port 0x80\n") == 0);
	captured(say_debug);
	CHECK(text[0] == '\0');
	log_choose("io=debug");
	captured(say_debug);
	CHECK(strstr(text, "debug: port 0x80") != NULL);
}

static void
floods_are_held_back(void)
{
	unsigned lines = 0;

	captured(flood);
	for (const char *s = text; *s != '\0'; s++)
		lines += *s == '\n';
	CHECK(lines >= LOG_BURST && lines <= 3 * LOG_BURST);
	sleep(1);
	captured(flood);
	CHECK(strstr(text, "lines dropped here") != NULL);
}

static void
long_lines_are_cut(void)
{
	captured(long_line);
	CHECK(strlen(text) < 520);
	CHECK(text[strlen(text) - 1] == '\n');
}

int
main(void)
{
	RUN(levels_by_name);
	RUN(only_chosen_levels_print);
	RUN(floods_are_held_back);
	RUN(long_lines_are_cut);
	return check_done();
}
