/* SPDX-License-Identifier: Apache-2.0 */
/* cli/top_data.c - what `regent top` knows of each machine: two readings of its counters, and their difference. */
#include "cli/top_data.h"

#include "cli/client.h"
#include "regent.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 200 };

static double
number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void
text(char *to, size_t size, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(to, size, "%s", s == NULL ? "-" : s);
}

static struct top_vm *
vm_find(struct top *t, const char *name)
{
	struct top_vm *more;

	for (unsigned i = 0; i < t->n; i++)
		if (strcmp(t->vms[i].name, name) == 0)
			return &t->vms[i];
	if ((more = realloc(t->vms, (t->n + 1) * sizeof(*more))) == NULL)
		return NULL;
	t->vms = more;
	memset(&t->vms[t->n], 0, sizeof(*t->vms));
	snprintf(t->vms[t->n].name, TOP_NAME, "%s", name);
	t->vms[t->n].fresh = true;
	return &t->vms[t->n++];
}

static void
read_exits(struct top_vm *vm, json_t *metrics)
{
	json_t *exits = json_object_get(metrics, "exits"), *count;
	const char *kind;

	vm->nexits = 0;
	json_object_foreach(exits, kind, count) {
		if (vm->nexits == TOP_EXITS)
			break;
		snprintf(vm->kind[vm->nexits], sizeof(vm->kind[0]), "%s", kind);
		vm->now.exits[vm->nexits++] = json_number_value(count);
	}
}

static void
rates(struct top_vm *vm)
{
	double s = vm->now.when - vm->before.when;

	if (s <= 0)
		return;
	vm->cpu_percent = (vm->now.cpu_seconds - vm->before.cpu_seconds) / s * 100;
	vm->mips = (vm->now.instructions - vm->before.instructions) / s / 1e6;
	vm->switch_rate = (vm->now.switches - vm->before.switches) / s;
	for (unsigned i = 0; i < vm->nexits; i++)
		vm->exit_rate[i] = (vm->now.exits[i] - vm->before.exits[i]) / s;
}

static void
read_vm(struct top *t, const char *name)
{
	struct client_reply info = client_try(name, "GET", "/regent/info", NULL);
	struct client_reply metrics = client_try(name, "GET", "/metrics", NULL);
	struct top_vm *vm = info.status == SUCCESS && metrics.status == SUCCESS ? vm_find(t, name) : NULL;

	if (vm != NULL) {
		vm->seen = true;
		vm->before = vm->now;
		text(vm->state, sizeof(vm->state), info.body, "state");
		text(vm->engine, sizeof(vm->engine), info.body, "engine");
		vm->cpus = (unsigned)number(info.body, "cpus");
		vm->now.when = number(metrics.body, "seconds");
		vm->now.cpu_seconds = number(metrics.body, "cpu_seconds");
		vm->now.instructions = number(metrics.body, "instructions");
		vm->now.switches = number(metrics.body, "switches");
		read_exits(vm, metrics.body);
		if (!vm->fresh)
			rates(vm);
		vm->fresh = false;
	}
	json_decref(info.body);
	json_decref(metrics.body);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct top_vm *)a)->name, ((const struct top_vm *)b)->name);
}

void
top_read(struct top *t)
{
	unsigned n, left = 0;
	char **names = client_names(&n);

	for (unsigned i = 0; i < t->n; i++)
		t->vms[i].seen = false;
	for (unsigned i = 0; i < n; i++)
		read_vm(t, names[i]);
	for (unsigned i = 0; i < t->n; i++)
		if (t->vms[i].seen)
			t->vms[left++] = t->vms[i];
	t->n = left;
	if (t->vms != NULL)
		qsort(t->vms, t->n, sizeof(*t->vms), by_name);
	client_names_free(names);
}

void
top_read_hot(struct top *t, const char *name)
{
	struct client_reply rep = client_try(name, "GET", "/regent/regs", NULL);
	json_t *regs = json_incref(json_object_get(rep.body, "registers"));
	const char *now, *was;

	t->nhot = 0;
	for (unsigned id = 0; strcmp(t->hot_of, name) == 0 && id < regent_reg_count() && t->nhot < TOP_HOT; id++) {
		now = json_string_value(json_object_get(regs, regent_reg_name(id)));
		was = json_string_value(json_object_get(t->regs, regent_reg_name(id)));
		if (now == NULL || was == NULL || strcmp(now, was) == 0)
			continue;
		t->hot[t->nhot].name = regent_reg_name(id);
		snprintf(t->hot[t->nhot++].val, sizeof(t->hot[0].val), "%s", now);
	}
	snprintf(t->hot_of, sizeof(t->hot_of), "%s", name);
	json_decref(t->regs);
	t->regs = regs;
	json_decref(rep.body);
}

void
top_free(struct top *t)
{
	json_decref(t->regs);
	free(t->vms);
}
