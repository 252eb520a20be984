/* SPDX-License-Identifier: Apache-2.0 */
/* cli/top.c - `regent top`: the machines that run, a second at a time. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/top_data.h"
#include <curses.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char help_top[] =
    "  regent top [--json]\n\n"
    "Once a second: each machine's engine, share of a processor, MIPS (of engines that count instructions),\n"
    "changes of the pool's threads to it and exits by kind, a second; below, the registers of the selected\n"
    "one that changed. Up and Down select, p pauses, r resumes, k kills, q leaves. Not on a terminal, or\n"
    "with --json: one reading over a second, as text or for programs.\n";

enum { DELAY_MS = 1000, LINE_MAX_ = 256, HOT_ROWS = 5, HOT_WIDTH = 40, KIND_WIDTH = 9 };

/* The kinds that a row shows: those that any machine has had. */
static void
line_of(const struct top_vm *vm, char *line, size_t size)
{
	size_t n = 0;

	if (vm == NULL)
		n += (size_t)snprintf(line, size, "%-20s %-11s %-7s %4s %6s %7s %8s", "NAME", "STATE", "ENGINE", "CPUS", "CPU%",
				      "MIPS", "SWITCH/S");
	else
		n += (size_t)snprintf(line, size, "%-20.20s %-11s %-7s %4u %6.1f ", vm->name, vm->state, vm->engine, vm->cpus,
				      vm->cpu_percent);
	if (vm != NULL && vm->now.instructions > 0)
		n += (size_t)snprintf(line + n, size - n, "%7.1f", vm->mips);
	else if (vm != NULL)
		n += (size_t)snprintf(line + n, size - n, "%7s", "-");
	if (vm != NULL)
		snprintf(line + n, size - n, " %8.0f", vm->switch_rate);
}

static void
add_exits(const struct top *t, const struct top_vm *vm, char *line, size_t size)
{
	size_t n = strlen(line);

	for (unsigned k = 0; t->n > 0 && k < t->vms[0].nexits && n + KIND_WIDTH < size; k++) {
		if (vm == NULL)
			n += (size_t)snprintf(line + n, size - n, " %*s", KIND_WIDTH - 1, t->vms[0].kind[k]);
		else
			n += (size_t)snprintf(line + n, size - n, " %*.0f", KIND_WIDTH - 1, vm->exit_rate[k]);
	}
}

static void
print_text(const struct top *t)
{
	char line[LINE_MAX_];

	for (unsigned i = 0; i <= t->n; i++) {
		const struct top_vm *vm = i == 0 ? NULL : &t->vms[i - 1];

		line_of(vm, line, sizeof(line));
		add_exits(t, vm, line, sizeof(line));
		puts(line);
	}
}

static void
print_json(const struct top *t)
{
	json_t *all = json_array(), *exits;

	for (unsigned i = 0; i < t->n; i++) {
		const struct top_vm *vm = &t->vms[i];

		exits = json_object();
		for (unsigned k = 0; k < vm->nexits; k++)
			json_object_set_new(exits, vm->kind[k], json_real(vm->exit_rate[k]));
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:i, s:f, s:o*, s:f, s:o}", "name", vm->name, "state",
		    vm->state, "engine", vm->engine, "cpus", (int)vm->cpus, "cpu_percent", vm->cpu_percent, "mips",
		    vm->now.instructions > 0 ? json_real(vm->mips) : NULL, "switches_per_second", vm->switch_rate,
		    "exits_per_second", exits));
	}
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

static int
once(bool json)
{
	struct timespec pause = { DELAY_MS / 1000, 0 };
	struct top t = { 0 };

	top_read(&t);
	nanosleep(&pause, NULL);
	top_read(&t);
	if (json)
		print_json(&t);
	else
		print_text(&t);
	top_free(&t);
	return cli_finish(STATUS_ok);
}

/* ---- on a terminal ---- */

static void
draw_hot(const struct top *t, int row)
{
	unsigned across = (unsigned)COLS / HOT_WIDTH;

	mvprintw(row, 0, "registers of %s that changed:", t->hot_of);
	clrtoeol();
	for (unsigned i = 0; across > 0 && i < t->nhot && i / across < HOT_ROWS - 1; i++)
		mvprintw(row + 1 + (int)(i / across), (int)(i % across) * HOT_WIDTH, "%-18.18s %s", t->hot[i].name,
			 t->hot[i].val);
}

/* So much of the list that the selected machine is in it. */
static void
draw(const struct top *t, unsigned selected)
{
	unsigned rows = LINES > HOT_ROWS + 3 ? (unsigned)LINES - HOT_ROWS - 2 : 1;
	unsigned first = selected >= rows ? selected - rows + 1 : 0;
	char line[LINE_MAX_];

	erase();
	line_of(NULL, line, sizeof(line));
	add_exits(t, NULL, line, sizeof(line));
	attron(A_REVERSE);
	mvprintw(0, 0, "%-*.*s", COLS, COLS, line);
	attroff(A_REVERSE);
	for (unsigned i = first; i < t->n && i < first + rows; i++) {
		line_of(&t->vms[i], line, sizeof(line));
		add_exits(t, &t->vms[i], line, sizeof(line));
		if (i == selected)
			attron(A_BOLD);
		mvprintw((int)(i - first) + 1, 0, "%.*s", COLS, line);
		attroff(A_BOLD);
	}
	if (t->n == 0)
		mvprintw(1, 0, "no machine runs");
	else
		draw_hot(t, LINES - HOT_ROWS);
	refresh();
}

/* A key's order to the selected machine. false: leave. */
static bool
obey(int key, const struct top *t, unsigned *selected)
{
	const char *name = *selected < t->n ? t->vms[*selected].name : NULL;
	struct client_reply rep = { 0 };

	if (key == 'q')
		return false;
	if (key == KEY_DOWN && *selected + 1 < t->n)
		++*selected;
	if (key == KEY_UP && *selected > 0)
		--*selected;
	if (key == 'p' && name != NULL)
		rep = client_try(name, "PATCH", "/vm", "{\"state\": \"Paused\"}");
	if (key == 'r' && name != NULL)
		rep = client_try(name, "PATCH", "/vm", "{\"state\": \"Resumed\"}");
	if (key == 'k' && name != NULL)
		rep = client_try(name, "POST", "/regent/kill", NULL);
	json_decref(rep.body);
	return true;
}

static int
interactive(void)
{
	struct top t = { 0 };
	unsigned selected = 0;
	bool more = true;

	if (initscr() == NULL)
		return cli_fail(STATUS_usage, "this terminal is unknown; see TERM");
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	timeout(DELAY_MS);
	while (more) {
		top_read(&t);
		if (selected >= t.n)
			selected = t.n == 0 ? 0 : t.n - 1;
		if (t.n > 0)
			top_read_hot(&t, t.vms[selected].name);
		draw(&t, selected);
		more = obey(getch(), &t, &selected);
	}
	endwin();
	top_free(&t);
	return STATUS_ok;
}

int
cli_top(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;

	if (argc > 1 && !json)
		return cli_fail(STATUS_usage, "%s: unknown; see `regent top --help`", argv[1]);
	return json || !isatty(STDOUT_FILENO) ? once(json) : interactive();
}
