/* SPDX-License-Identifier: Apache-2.0 */
/* cli/regs_vm.c - `regent regs NAME`: the registers of a machine that runs, once or again and again. */
#include "cli/regs_vm.h"

#include "cli/cli.h"
#include "cli/client.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATH_SIZE = 64, WATCH_NS = 500000000, REGS_MAX = 1024, COLUMNS = 3 };

static volatile sig_atomic_t leave_now;

static void
on_signal(int sig)
{
	leave_now = sig;
}

static bool
wanted(const struct regs_vm *w, unsigned id)
{
	bool named = w->nnames == 0;

	for (int i = 0; i < w->nnames; i++)
		named = named || strcmp(w->names[i], regent_reg_name(id)) == 0;
	return named && (w->group == NULL || strcmp(w->group, regent_reg_group(id)) == 0);
}

static int
fetch(const struct regs_vm *w, json_t **reply)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/regent/regs?cpu=%u", w->vcpu);
	return client_ask(w->machine, "GET", path, NULL, reply);
}

/* By group, a few side by side; those that differ from `before` (NULL: none) stand out. */
static void
print_text(const struct regs_vm *w, const json_t *regs, const json_t *before, bool color)
{
	const char *group = "", *val, *old;
	unsigned column = 0;

	for (unsigned id = 0; id < regent_reg_count(); id++) {
		val = json_string_value(json_object_get(regs, regent_reg_name(id)));
		if (val == NULL || !wanted(w, id))
			continue;
		if (strcmp(group, regent_reg_group(id)) != 0) {
			group = regent_reg_group(id);
			printf("%s%s:\n", column != 0 ? "\n" : "", group);
			column = 0;
		}
		old = json_string_value(json_object_get(before, regent_reg_name(id)));
		printf("%s%-20s %-18s%s", old != NULL && strcmp(old, val) != 0 ? (color ? "\033[1m" : "*") : (color ? "" : " "),
		       regent_reg_name(id), val, color ? "\033[0m" : "");
		if (++column == COLUMNS)
			putchar('\n'), column = 0;
	}
	if (column != 0)
		putchar('\n');
}

static int
print_json(const struct regs_vm *w, json_t *reply)
{
	json_t *regs = json_object_get(reply, "registers");

	for (unsigned id = 0; id < regent_reg_count(); id++)
		if (!wanted(w, id))
			json_object_del(regs, regent_reg_name(id));
	json_dumpf(reply, stdout, w->watch ? JSON_COMPACT : JSON_INDENT(2));
	putchar('\n');
	return fflush(stdout);
}

/* Twice a second, on a terminal in place, until the machine or the user leaves. */
static int
watch(const struct regs_vm *w)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct timespec pause = { 0, WATCH_NS };
	json_t *reply, *before = NULL;
	bool color = isatty(STDOUT_FILENO) != 0;
	int rc = 0;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	while (leave_now == 0 && (rc = fetch(w, &reply)) == 0 && !ferror(stdout)) {
		if (w->json) {
			print_json(w, reply);
		} else {
			printf("%s%s, vCPU %u\n", color ? "\033[H\033[2J" : "", w->machine, w->vcpu);
			print_text(w, json_object_get(reply, "registers"), json_object_get(before, "registers"), color);
			fflush(stdout);
		}
		json_decref(before);
		before = reply;
		nanosleep(&pause, NULL);
	}
	json_decref(before);
	return cli_finish(rc);
}

int
regs_vm_show(const struct regs_vm *w)
{
	json_t *reply;
	int rc;

	if (w->watch)
		return watch(w);
	if ((rc = fetch(w, &reply)) != 0)
		return rc;
	if (w->json)
		print_json(w, reply);
	else
		print_text(w, json_object_get(reply, "registers"), NULL, isatty(STDOUT_FILENO) != 0);
	json_decref(reply);
	return cli_finish(STATUS_ok);
}
