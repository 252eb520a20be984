/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_own.c - the paths of our own: what Firecracker has no word for. */
#include "api/control_ask.h"
#include "api/control_setup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK_200 = 200, BAD_REQUEST = 400, MIB_SHIFT = 20, RECORDS_MAX = 256, RECORD_MAX = 1024, HEX_MAX = 24 };

static const char *const state_words[] = { [REGENT_STATE_not_started] = "not started",
	[REGENT_STATE_running] = "running", [REGENT_STATE_paused] = "paused", [REGENT_STATE_ended] = "ended" };

/* The same fields of a machine that is not there yet. */
static void
info_before(struct control_call *c)
{
	json_t *m = setup_machine(c->control->setup), *cpu = setup_cpu(c->control->setup);

	reply_json(c, OK_200, json_pack("{s:s, s:i, s:s, s:O, s:O, s:I, s:i, s:b, s:f, s:f, s:i}", "name", c->control->name,
	    "pid", (int)getpid(), "state", state_words[REGENT_STATE_not_started], "engine", json_object_get(cpu, "engine"), "cpus",
	    json_object_get(m, "vcpu_count"), "memory", json_integer_value(json_object_get(m, "mem_size_mib")) << MIB_SHIFT,
	    "weight", 1, "pool", 0, "seconds", 0.0, "cpu_seconds", 0.0, "switches", 0));
	json_decref(m);
	json_decref(cpu);
}

static void
get_info(struct control_call *c)
{
	struct regent_stats st = { .size = sizeof(st) };
	const struct vm *vm;

	if (c->v == NULL) {
		info_before(c);
		return;
	}
	vm = c->v->vm;
	regent_stats(c->v, &st);
	reply_json(c, OK_200, json_pack("{s:s, s:i, s:s, s:s, s:i, s:I, s:i, s:b, s:f, s:f, s:I}", "name", c->control->name,
	    "pid", (int)getpid(), "state", state_words[regent_state(c->v)], "engine", st.engine, "cpus", (int)vm->cpus,
	    "memory", (json_int_t)mem_size(vm->mem), "weight", (int)c->v->weight, "pool", c->v->pool != NULL,
	    "seconds", st.seconds, "cpu_seconds", st.cpu_seconds, "switches", (json_int_t)st.switches));
}

static void
get_metrics(struct control_call *c)
{
	struct regent_stats st = { .size = sizeof(st) };
	json_t *exits = json_object(), *counters = json_object();

	regent_stats(c->v, &st);
	for (unsigned i = 0; i < st.nexits; i++)
		json_object_set_new(exits, st.exits[i].kind, json_integer((json_int_t)st.exits[i].count));
	for (unsigned i = 0; i < st.ncounters; i++)
		json_object_set_new(counters, st.counters[i].name, json_integer((json_int_t)st.counters[i].count));
	reply_json(c, OK_200, json_pack("{s:s, s:f, s:f, s:I, s:I, s:o, s:o}", "engine", st.engine, "seconds", st.seconds,
	    "cpu_seconds", st.cpu_seconds, "instructions", (json_int_t)st.instructions, "switches",
	    (json_int_t)st.switches, "exits", exits, "counters", counters));
}

static bool
query_number(struct control_call *c, const char *key, uint64_t least, uint64_t most, uint64_t *val)
{
	const char *s = c->rq->query(c->rq, key);
	char *end;

	if (s == NULL)
		return true;
	errno = 0;
	*val = strtoull(s, &end, 10);
	if (*s >= '0' && *s <= '9' && *end == '\0' && errno == 0 && *val >= least && *val <= most)
		return true;
	reply_fault(c, BAD_REQUEST, "%s=%s: choose %" PRIu64 " to %" PRIu64, key, s, least, most);
	return false;
}

static void
reg_put(json_t *regs, struct regent_vm *v, unsigned cpu, unsigned id)
{
	char hex[HEX_MAX];
	uint64_t val;

	if (regent_reg_get(v, cpu, id, &val) != 0)
		return;
	snprintf(hex, sizeof(hex), "%#" PRIx64, val);
	json_object_set_new(regs, regent_reg_name(id), json_string(hex));
}

/* All of one vCPU at one moment: the machine stands still for it. */
static void
get_regs(struct control_call *c)
{
	bool running = regent_state(c->v) == REGENT_STATE_running;
	uint64_t cpu = 0;
	json_t *regs;

	if (!query_number(c, "cpu", 0, c->v->vm->cpus - 1, &cpu))
		return;
	regs = json_object();
	if (running)
		regent_pause(c->v);
	for (unsigned id = 0; id < regent_reg_count(); id++)
		reg_put(regs, c->v, (unsigned)cpu, id);
	if (running)
		regent_resume(c->v);
	reply_json(c, OK_200, json_pack("{s:i, s:o}", "cpu", (int)cpu, "registers", regs));
}

static void
post_stop(struct control_call *c)
{
	if (c->v == NULL) {
		setup_cancel(c->control->setup);
		reply_empty(c);
		return;
	}
	regent_power_button(c->v);
	reply_empty(c);
}

static void
post_kill(struct control_call *c)
{
	if (c->v == NULL) {
		setup_cancel(c->control->setup);
		reply_empty(c);
		return;
	}
	regent_stop(c->v);
	reply_empty(c);
}

/* {"columns": 80, "rows": 24}: the window of who is attached. */
static void
put_console(struct control_call *c)
{
	json_int_t columns = json_integer_value(json_object_get(c->body, "columns"));
	json_int_t rows = json_integer_value(json_object_get(c->body, "rows"));
	bool fits = columns > 0 && columns <= UINT16_MAX && rows > 0 && rows <= UINT16_MAX;
	int err = fits ? regent_console_size(c->v, (unsigned)columns, (unsigned)rows) : -REGENT_E_usage;

	if (err == -REGENT_E_usage || json_object_size(c->body) != 2)
		reply_fault(c, BAD_REQUEST, "the body must be {\"columns\": 80, \"rows\": 24}, each 1 to 65535");
	else if (err != 0)
		reply_fault(c, BAD_REQUEST, "its console is a serial port, which has no size; --console virtio has");
	else
		reply_empty(c);
}

/* ---- register policy and trace ---- */

/* {"registers": "cr*,msr:*"}: what is recorded beside what the policy's rules name; "": no more. */
static void
put_trace(struct control_call *c)
{
	const char *what = json_string_value(json_object_get(c->body, "registers"));

	if (what == NULL || json_object_size(c->body) != 1)
		reply_fault(c, BAD_REQUEST, "the body must be {\"registers\": \"cr*,msr:*\"}");
	else if (regent_trace(c->v, what) != 0)
		reply_fault(c, BAD_REQUEST, "%s", regent_trace_error());
	else
		reply_empty(c);
}

/* Records from `next` on, as lines of the form asked for; where to go on; how many were lost. */
static void
get_trace(struct control_call *c)
{
	const char *form = c->rq->query(c->rq, "format");
	bool json = form != NULL && strcmp(form, "json") == 0;
	uint64_t next = regent_trace_count(c->v), dropped = 0;
	char line[RECORD_MAX];
	json_t *lines;

	if (!query_number(c, "next", 0, INT64_MAX, &next))
		return;
	lines = json_array();
	while (json_array_size(lines) < RECORDS_MAX &&
	       regent_trace_read(c->v, &next, json, line, sizeof(line), &dropped) == 1)
		json_array_append_new(lines, json_string(line));
	reply_json(c, OK_200, json_pack("{s:I, s:I, s:o}", "next", (json_int_t)next, "dropped", (json_int_t)dropped,
	    "records", lines));
}

static void
add_line(void *ctx, const char *line)
{
	json_array_append_new(ctx, json_string(line));
}

static void
get_policy(struct control_call *c)
{
	const char *object = c->rq->query(c->rq, "object");
	json_t *lines;

	if (object == NULL) {
		reply_fault(c, BAD_REQUEST, "name a register or bit: ?object=cr4.smep");
		return;
	}
	lines = json_array();
	if (regent_policy_why_vm(c->v, object, add_line, lines) == 0) {
		reply_json(c, OK_200, json_pack("{s:s, s:o}", "object", object, "lines", lines));
		return;
	}
	json_decref(lines);
	reply_fault(c, BAD_REQUEST, "%s", regent_open_error());
}

static void
get_routes(struct control_call *c)
{
	static const struct control_route *const lists[] = { control_routes_firecracker, control_routes_own };
	json_t *all = json_array();

	for (unsigned l = 0; l < sizeof(lists) / sizeof(lists[0]); l++)
		for (const struct control_route *r = lists[l]; r->path != NULL; r++)
			json_array_append_new(all, json_pack("[s, s]", r->method, r->path));
	reply_json(c, OK_200, json_pack("{s:o}", "routes", all));
}

const struct control_route control_routes_own[] = {
	{ "GET", "/metrics", get_metrics, WHEN_there },
	{ "GET", "/regent", get_routes, WHEN_always },
	{ "GET", "/regent/info", get_info, WHEN_always },
	{ "GET", "/regent/regs", get_regs, WHEN_there },
	{ "POST", "/regent/stop", post_stop, WHEN_always },
	{ "POST", "/regent/kill", post_kill, WHEN_always },
	{ "GET", "/regent/console", control_console, WHEN_there },
	{ "PUT", "/regent/console", put_console, WHEN_there },
	{ "GET", "/regent/trace", get_trace, WHEN_there },
	{ "PUT", "/regent/trace", put_trace, WHEN_there },
	{ "GET", "/regent/policy", get_policy, WHEN_there },
	{ "GET", "/regent/ask", control_ask, WHEN_there },
	{ NULL, NULL, NULL, 0 },
};
