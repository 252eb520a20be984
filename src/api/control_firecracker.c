/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_firecracker.c - the paths and fields of Firecracker's API, before and after the start. */
#include "api/control_setup.h"

#include "machine/machine.h"
#include <string.h>

enum { MIB_SHIFT = 20, OK_200 = 200, BAD_REQUEST = 400 };

static const char *
state_word(struct regent_vm *v)
{
	static const char *const words[] = { [REGENT_STATE_not_started] = "Not started", [REGENT_STATE_running] = "Running",
		[REGENT_STATE_paused] = "Paused", [REGENT_STATE_ended] = "Ended" };

	return words[v == NULL ? REGENT_STATE_not_started : regent_state(v)];
}

static void
get_root(struct control_call *c)
{
	reply_json(c, OK_200, json_pack("{s:s, s:s, s:s, s:s}", "id", c->control->name, "state", state_word(c->v),
	    "vmm_version", regent_version(), "app_name", "Regent"));
}

static void
get_version(struct control_call *c)
{
	reply_json(c, OK_200, json_pack("{s:s}", "firecracker_version", regent_version()));
}

static json_t *
machine_config(const struct control_call *c)
{
	const struct vm *vm = c->v == NULL ? NULL : c->v->vm;

	if (vm == NULL)
		return setup_machine(c->control->setup);
	return json_pack("{s:i, s:I, s:b, s:b}", "vcpu_count", (int)vm->cpus, "mem_size_mib",
	    (json_int_t)(mem_size(vm->mem) >> MIB_SHIFT), "smt", 0, "track_dirty_pages", 0);
}

static json_t *
boot_source(const struct control_call *c)
{
	const struct control *k = c->control;

	if (k->setup != NULL)
		return setup_boot(k->setup);
	return json_pack("{s:s, s:s*, s:s*}", "kernel_image_path", k->kernel, "initrd_path", k->initrd, "boot_args",
	    k->append);
}

static void
get_machine_config(struct control_call *c)
{
	reply_json(c, OK_200, machine_config(c));
}

static void
get_boot_source(struct control_call *c)
{
	reply_json(c, OK_200, boot_source(c));
}

static void
get_cpu_config(struct control_call *c)
{
	reply_json(c, OK_200, c->v == NULL ? setup_cpu(c->control->setup) :
	    json_pack("{s:s*, s:s}", "model", c->control->cpu, "engine", c->v->engine));
}

static void
get_vm_config(struct control_call *c)
{
	const struct control *k = c->control;

	reply_json(c, OK_200, json_pack("{s:o, s:o, s:o, s:o}", "machine-config", machine_config(c), "boot-source", boot_source(c),
	    "drives", k->setup != NULL ? setup_drives(k->setup) : json_incref(k->drives),
	    "network-interfaces", k->setup != NULL ? setup_nets(k->setup) : json_incref(k->nets)));
}

/* The string of that field, the only one; NULL after a fault. */
static const char *
only_string(struct control_call *c, const char *field)
{
	const char *val = json_string_value(json_object_get(c->body, field));

	if (val == NULL || json_object_size(c->body) != 1) {
		reply_fault(c, BAD_REQUEST, "the body must be {\"%s\": \"...\"}", field);
		return NULL;
	}
	return val;
}

static void
put_actions(struct control_call *c)
{
	const char *action = only_string(c, "action_type");

	if (action == NULL)
		return;
	if (strcmp(action, "InstanceStart") == 0 && c->v == NULL) {
		setup_start(c);
	} else if (strcmp(action, "InstanceStart") == 0) {
		reply_fault(c, BAD_REQUEST, "The requested operation is not supported after starting the microVM: InstanceStart");
	} else if (strcmp(action, "FlushMetrics") == 0) {
		reply_empty(c);
	} else if (strcmp(action, "SendCtrlAltDel") == 0 && c->v == NULL) {
		reply_fault(c, BAD_REQUEST, "The requested operation is not supported before starting the microVM: SendCtrlAltDel");
	} else if (strcmp(action, "SendCtrlAltDel") == 0) {	/* there: how a guest is asked to leave */
		regent_power_button(c->v);
		reply_empty(c);
	} else {
		reply_fault(c, BAD_REQUEST, "action_type %s: is none of FlushMetrics, InstanceStart, SendCtrlAltDel", action);
	}
}

static void
patch_vm(struct control_call *c)
{
	const char *state = only_string(c, "state");
	enum regent_state now = regent_state(c->v);

	if (state == NULL)
		return;
	if (strcmp(state, "Paused") != 0 && strcmp(state, "Resumed") != 0) {
		reply_fault(c, BAD_REQUEST, "state %s: is neither Paused nor Resumed", state);
		return;
	}
	if (now != REGENT_STATE_running && now != REGENT_STATE_paused) {
		reply_fault(c, BAD_REQUEST, "the machine does not run: %s", state_word(c->v));
		return;
	}
	if (strcmp(state, "Paused") == 0)
		regent_pause(c->v);
	else
		regent_resume(c->v);
	reply_empty(c);
}

const struct control_route control_routes_firecracker[] = {
	{ "GET", "/", get_root, WHEN_always },
	{ "GET", "/version", get_version, WHEN_always },
	{ "GET", "/vm/config", get_vm_config, WHEN_always },
	{ "PATCH", "/vm", patch_vm, WHEN_there },
	{ "GET", "/machine-config", get_machine_config, WHEN_always },
	{ "PUT", "/machine-config", setup_put_machine, WHEN_before },
	{ "PATCH", "/machine-config", setup_patch_machine, WHEN_before },
	{ "GET", "/boot-source", get_boot_source, WHEN_always },
	{ "PUT", "/boot-source", setup_put_boot, WHEN_before },
	{ "PUT", "/drives/{drive_id}", setup_put_drive, WHEN_before },
	{ "PUT", "/network-interfaces/{iface_id}", setup_put_net, WHEN_before },
	{ "PUT", "/vsock", setup_put_vsock, WHEN_before },
	{ "PUT", "/entropy", setup_put_entropy, WHEN_before },
	{ "GET", "/cpu-config", get_cpu_config, WHEN_always },
	{ "PUT", "/cpu-config", setup_put_cpu, WHEN_before },
	{ "PUT", "/actions", put_actions, WHEN_always },
	{ NULL, NULL, NULL, 0 },
};
