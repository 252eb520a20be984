/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_setup.c - what Firecracker's clients say before InstanceStart, and the configuration that it makes.
 *
 * Requests come on the control server's thread and only note what they want. The thread that called
 * regent_open makes a machine of it, so that the sandbox and the vCPUs' threads are its own as always.
 */
#include "api/control_setup.h"

#include "vm/vm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAD_REQUEST = 400, MIB_SHIFT = 20, MEM_MIB_MAX = 512 << 10, SPECS_MAX = 16, SPEC_MAX = 4200 };
enum stage { STAGE_open, STAGE_start, STAGE_refused, STAGE_running, STAGE_over };

struct setup {
	struct regent_config base;		/* strings borrowed */
	json_t *machine, *boot, *cpu, *vsock;	/* owned objects, as they were sent; NULL: not yet */
	json_t *drives, *nets;			/* owned arrays of objects */
	bool entropy;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum stage stage;
	char failure[ERROR_MAX];

	char *append, *vsock_spec;		/* owned: what setup_wait's configuration points to */
	char *disk_specs[SPECS_MAX + 1], *net_specs[SPECS_MAX + 1];
};

/* ---- fields ---- */

/* only: the one value that changes nothing here; NULL: any. */
struct field {
	const char *name;
	json_type type;
	bool required;
	const char *only;
};

static const struct field machine_fields[] = {
	{ "vcpu_count", JSON_INTEGER, true, NULL }, { "mem_size_mib", JSON_INTEGER, true, NULL },
	{ "smt", JSON_TRUE, false, "false" }, { "track_dirty_pages", JSON_TRUE, false, "false" },
	{ "cpu_template", JSON_STRING, false, "None" }, { "huge_pages", JSON_STRING, false, "None" }, { NULL, 0, 0, NULL } };
static const struct field boot_fields[] = {
	{ "kernel_image_path", JSON_STRING, true, NULL }, { "initrd_path", JSON_STRING, false, NULL },
	{ "boot_args", JSON_STRING, false, NULL }, { NULL, 0, 0, NULL } };
static const struct field drive_fields[] = {
	{ "drive_id", JSON_STRING, true, NULL }, { "path_on_host", JSON_STRING, true, NULL },
	{ "is_root_device", JSON_TRUE, true, NULL }, { "is_read_only", JSON_TRUE, false, NULL },
	{ "partuuid", JSON_STRING, false, NULL }, { "cache_type", JSON_STRING, false, NULL },
	{ "io_engine", JSON_STRING, false, NULL }, { NULL, 0, 0, NULL } };
static const struct field net_fields[] = {
	{ "iface_id", JSON_STRING, true, NULL }, { "host_dev_name", JSON_STRING, true, NULL },
	{ "guest_mac", JSON_STRING, false, NULL }, { NULL, 0, 0, NULL } };
static const struct field vsock_fields[] = {
	{ "guest_cid", JSON_INTEGER, true, NULL }, { "uds_path", JSON_STRING, true, NULL },
	{ "vsock_id", JSON_STRING, false, NULL }, { NULL, 0, 0, NULL } };
static const struct field cpu_fields[] = {
	{ "model", JSON_STRING, false, NULL }, { "engine", JSON_STRING, false, NULL }, { NULL, 0, 0, NULL } };
static const struct field no_fields[] = { { NULL, 0, 0, NULL } };

static bool
is_of(const json_t *val, const struct field *f)
{
	const char *word = json_is_string(val) ? json_string_value(val) : json_is_true(val) ? "true" : "false";

	if (f->type == JSON_TRUE ? !json_is_boolean(val) : json_typeof(val) != f->type)
		return false;
	return f->only == NULL || strcmp(word, f->only) == 0;
}

/* Whether the body is one of these fields; null is none. Else a fault was answered. */
static bool
fields_check(struct control_call *c, const struct field *fields, bool all)
{
	const struct field *f;
	const char *key;
	json_t *val;

	json_object_foreach(c->body, key, val) {
		for (f = fields; f->name != NULL && strcmp(f->name, key) != 0; f++)
			;
		if (json_is_null(val))
			continue;
		if (f->name == NULL) {
			reply_fault(c, BAD_REQUEST, "%s: unknown field, or one that Regent does not have", key);
			return false;
		}
		if (!is_of(val, f)) {
			reply_fault(c, BAD_REQUEST, "%s: must be %s%s", key, f->only != NULL ? "" : f->type == JSON_STRING ?
			    "a string" : f->type == JSON_INTEGER ? "a whole number" : "true or false", f->only != NULL ? f->only : "");
			return false;
		}
	}
	for (f = fields; all && f->name != NULL; f++)
		if (f->required && (json_object_get(c->body, f->name) == NULL || json_is_null(json_object_get(c->body, f->name)))) {
			reply_fault(c, BAD_REQUEST, "%s: is missing", f->name);
			return false;
		}
	return true;
}

static const char *
text(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

static bool
in_range(struct control_call *c, const char *key, json_int_t least, json_int_t most)
{
	const json_t *val = json_object_get(c->body, key);

	if (!json_is_integer(val) || (json_integer_value(val) >= least && json_integer_value(val) <= most))
		return true;
	reply_fault(c, BAD_REQUEST, "%s: choose %lld to %lld", key, (long long)least, (long long)most);
	return false;
}

static bool
is_readable(struct control_call *c, const char *key)
{
	const char *path = text(c->body, key);

	if (path == NULL || access(path, R_OK) == 0)
		return true;
	reply_fault(c, BAD_REQUEST, "%s: %s: %s", key, path, strerror(errno));
	return false;
}

static bool
has_no_comma(struct control_call *c, const char *key)
{
	const char *s = text(c->body, key);

	if (s == NULL || strchr(s, ',') == NULL)
		return true;
	reply_fault(c, BAD_REQUEST, "%s: %s: must be without a comma", key, s);
	return false;
}

static void
keep(json_t **at, json_t *obj)
{
	json_decref(*at);
	*at = json_incref(obj);
}

/* One of a list, by its id, which the path names as well. */
static void
keep_one(struct control_call *c, json_t *list, const char *id)
{
	const char *name = text(c->body, id);
	size_t n = json_array_size(list), i;

	if (strcmp(name, c->id) != 0) {
		reply_fault(c, BAD_REQUEST, "%s: %s: the path says %s", id, name, c->id);
		return;
	}
	for (i = 0; i < n && strcmp(text(json_array_get(list, i), id), name) != 0; i++)
		;
	if (i == SPECS_MAX) {
		reply_fault(c, BAD_REQUEST, "%s: %s: at most %d", id, name, SPECS_MAX);
		return;
	}
	if (i < n)
		json_array_set(list, i, c->body);
	else
		json_array_append(list, c->body);
	reply_empty(c);
}

/* ---- requests ---- */

void
setup_put_machine(struct control_call *c)
{
	if (!fields_check(c, machine_fields, true) || !in_range(c, "vcpu_count", 1, VM_CPUS_MAX) || !in_range(c, "mem_size_mib", 2, MEM_MIB_MAX))
		return;
	keep(&c->control->setup->machine, c->body);
	reply_empty(c);
}

void
setup_patch_machine(struct control_call *c)
{
	json_t *now;

	if (!fields_check(c, machine_fields, false) || !in_range(c, "vcpu_count", 1, VM_CPUS_MAX) || !in_range(c, "mem_size_mib", 2, MEM_MIB_MAX))
		return;
	now = setup_machine(c->control->setup);
	json_object_update(now, c->body);
	keep(&c->control->setup->machine, now);
	json_decref(now);
	reply_empty(c);
}

void
setup_put_boot(struct control_call *c)
{
	if (!fields_check(c, boot_fields, true) || !is_readable(c, "kernel_image_path") || !is_readable(c, "initrd_path"))
		return;
	keep(&c->control->setup->boot, c->body);
	reply_empty(c);
}

void
setup_put_drive(struct control_call *c)
{
	if (fields_check(c, drive_fields, true) && has_no_comma(c, "path_on_host") && is_readable(c, "path_on_host"))
		keep_one(c, c->control->setup->drives, "drive_id");
}

void
setup_put_net(struct control_call *c)
{
	if (fields_check(c, net_fields, true) && has_no_comma(c, "host_dev_name") && has_no_comma(c, "guest_mac"))
		keep_one(c, c->control->setup->nets, "iface_id");
}

void
setup_put_vsock(struct control_call *c)
{
	if (!fields_check(c, vsock_fields, true) || !has_no_comma(c, "uds_path") || !in_range(c, "guest_cid", 3, UINT32_MAX))
		return;
	keep(&c->control->setup->vsock, c->body);
	reply_empty(c);
}

void
setup_put_entropy(struct control_call *c)
{
	if (!fields_check(c, no_fields, true))
		return;
	c->control->setup->entropy = true;
	reply_empty(c);
}

void
setup_put_cpu(struct control_call *c)
{
	if (!fields_check(c, cpu_fields, true))
		return;
	keep(&c->control->setup->cpu, c->body);
	reply_empty(c);
}

/* Answers when the machine runs, or why it does not; then it may be described anew. */
void
setup_start(struct control_call *c)
{
	struct setup *s = c->control->setup;

	pthread_mutex_lock(&s->lock);
	if (s->stage != STAGE_over)
		s->stage = STAGE_start;
	pthread_cond_broadcast(&s->changed);
	while (s->stage == STAGE_start)
		pthread_cond_wait(&s->changed, &s->lock);
	if (s->stage == STAGE_running)
		reply_empty(c);
	else
		reply_fault(c, BAD_REQUEST, "%s", s->stage == STAGE_refused ? s->failure : "it ended before it started");
	pthread_mutex_unlock(&s->lock);
}

/* ---- as it stands ---- */

json_t *
setup_machine(const struct setup *s)
{
	json_t *m = json_pack("{s:i, s:I, s:b, s:b}", "vcpu_count", (int)s->base.cpus, "mem_size_mib",
	    (json_int_t)(s->base.memory >> MIB_SHIFT), "smt", 0, "track_dirty_pages", 0);

	for (const struct field *f = machine_fields; s->machine != NULL && f->name != NULL; f++)
		if (f->type == JSON_INTEGER && json_is_integer(json_object_get(s->machine, f->name)))
			json_object_set(m, f->name, json_object_get(s->machine, f->name));
	return m;
}

json_t *
setup_boot(const struct setup *s)
{
	if (s->boot != NULL)
		return json_incref(s->boot);
	return json_pack("{s:s, s:s*, s:s*}", "kernel_image_path", s->base.kernel != NULL ? s->base.kernel : "", "initrd_path",
	    s->base.initrd, "boot_args", s->base.append);
}

json_t *
setup_cpu(const struct setup *s)
{
	const char *model = text(s->cpu, "model"), *engine = text(s->cpu, "engine");

	return json_pack("{s:s*, s:s}", "model", model != NULL ? model : s->base.cpu, "engine", engine != NULL ? engine : s->base.engine);
}

json_t *setup_drives(const struct setup *s) { return json_incref(s->drives); }
json_t *setup_nets(const struct setup *s) { return json_incref(s->nets); }

/* "FILE,ro" as an object; the option's other words say nothing that the object has a field for. */
static json_t *
described(const char *spec, const char *name_key, const char *what_key, const char *kind, unsigned n)
{
	const char *comma = strchrnul(spec, ',');
	char name[16];

	snprintf(name, sizeof(name), "%s%u", kind, n);
	return json_pack("{s:s, s:s%}", name_key, name, what_key, spec, (size_t)(comma - spec));
}

json_t *
setup_drives_of(const struct regent_config *cfg)
{
	json_t *list = json_array();

	for (unsigned i = 0; cfg->disks != NULL && cfg->disks[i] != NULL; i++) {
		json_t *one = described(cfg->disks[i], "drive_id", "path_on_host", "disk", i);

		json_object_set_new(one, "is_root_device", json_false());
		json_object_set_new(one, "is_read_only", json_boolean(strstr(cfg->disks[i], ",ro") != NULL));
		json_array_append_new(list, one);
	}
	return list;
}

json_t *
setup_nets_of(const struct regent_config *cfg)
{
	json_t *list = json_array();

	for (unsigned i = 0; cfg->nets != NULL && cfg->nets[i] != NULL; i++)
		json_array_append_new(list, described(cfg->nets[i] + (strncmp(cfg->nets[i], "tap=", 4) == 0 ? 4 : 0),
		    "iface_id", "host_dev_name", "net", i));
	return list;
}

/* ---- the configuration that it makes ---- */

static void
specs_free(struct setup *s)
{
	for (unsigned i = 0; i < SPECS_MAX; i++) {
		free(s->disk_specs[i]);
		free(s->net_specs[i]);
		s->disk_specs[i] = s->net_specs[i] = NULL;
	}
	free(s->append);
	free(s->vsock_spec);
	s->append = s->vsock_spec = NULL;
}

static char *
disk_spec(const json_t *d)
{
	const char *io = text(d, "io_engine");
	char spec[SPEC_MAX];

	snprintf(spec, sizeof(spec), "%s%s%s", text(d, "path_on_host"), json_is_true(json_object_get(d, "is_read_only")) ? ",ro" : "",
	    io != NULL && strcmp(io, "Sync") == 0 ? ",io=threads" : "");
	return strdup(spec);
}

static char *
net_spec(const json_t *d)
{
	const char *mac = text(d, "guest_mac");
	char spec[SPEC_MAX];

	snprintf(spec, sizeof(spec), "tap=%s%s%s", text(d, "host_dev_name"), mac != NULL ? ",mac=" : "", mac != NULL ? mac : "");
	return strdup(spec);
}

/* The root device is the first disk, and the kernel is told, as Firecracker does. */
static const json_t *
disk_specs(struct setup *s)
{
	const json_t *root = NULL, *d;
	unsigned n = 0;
	size_t i;

	json_array_foreach(s->drives, i, d)
		if (json_is_true(json_object_get(d, "is_root_device")) && root == NULL)
			root = d;
	if (root != NULL)
		s->disk_specs[n++] = disk_spec(root);
	json_array_foreach(s->drives, i, d)
		if (d != root)
			s->disk_specs[n++] = disk_spec(d);
	return root;
}

/* Without pci=off, which is for a machine that has no PCI: here disks and networks are on it. */
static char *
boot_args(const char *given, const json_t *root)
{
	static const char no_pci[] = "pci=off";
	const char *uuid = text(root, "partuuid"), *mode = json_is_true(json_object_get(root, "is_read_only")) ? "ro" : "rw";
	char *args = malloc(strlen(given) + SPEC_MAX), *end = args;

	if (args == NULL)
		return NULL;
	for (size_t n; *given != '\0'; given += n + (given[n] != '\0')) {
		n = strcspn(given, " ");
		if (n == 0 || (n == sizeof(no_pci) - 1 && strncmp(given, no_pci, n) == 0))
			continue;
		end += sprintf(end, "%s%.*s", end == args ? "" : " ", (int)n, given);
	}
	*end = '\0';
	if (root != NULL && uuid != NULL)
		snprintf(end, SPEC_MAX, " root=PARTUUID=%.100s %s", uuid, mode);
	else if (root != NULL)
		snprintf(end, SPEC_MAX, " root=/dev/vda %s", mode);
	return args;
}

static void
config_make(struct setup *s, struct regent_config *cfg)
{
	const json_t *root, *d;
	char spec[SPEC_MAX];
	size_t i;

	specs_free(s);
	*cfg = s->base;
	if (s->machine != NULL) {
		cfg->cpus = (unsigned)json_integer_value(json_object_get(s->machine, "vcpu_count"));
		cfg->memory = (uint64_t)json_integer_value(json_object_get(s->machine, "mem_size_mib")) << MIB_SHIFT;
	}
	if (text(s->cpu, "model") != NULL)
		cfg->cpu = text(s->cpu, "model");
	if (text(s->cpu, "engine") != NULL)
		cfg->engine = text(s->cpu, "engine");
	if (s->boot != NULL) {
		cfg->kernel = text(s->boot, "kernel_image_path");
		cfg->initrd = text(s->boot, "initrd_path");
		cfg->append = text(s->boot, "boot_args");
	}
	root = disk_specs(s);
	if (s->disk_specs[0] != NULL)
		cfg->disks = (const char *const *)s->disk_specs;
	if (root != NULL || s->boot != NULL)
		cfg->append = s->append = boot_args(cfg->append != NULL ? cfg->append : "", root);
	json_array_foreach(s->nets, i, d)
		s->net_specs[i] = net_spec(d);
	if (s->net_specs[0] != NULL)
		cfg->nets = (const char *const *)s->net_specs;
	if (s->vsock != NULL) {
		snprintf(spec, sizeof(spec), "%s,cid=%lld", text(s->vsock, "uds_path"),
		    (long long)json_integer_value(json_object_get(s->vsock, "guest_cid")));
		cfg->vsock = s->vsock_spec = strdup(spec);
	}
	cfg->rng |= s->entropy;
}

/* ---- the thread that opens the machine ---- */

int
setup_wait(struct setup *s, struct regent_config *cfg)
{
	bool start;

	pthread_mutex_lock(&s->lock);
	while (s->stage != STAGE_start && s->stage != STAGE_over)
		pthread_cond_wait(&s->changed, &s->lock);
	start = s->stage == STAGE_start;
	pthread_mutex_unlock(&s->lock);
	if (!start)
		return -1;
	config_make(s, cfg);		/* who asked waits: nobody changes it meanwhile */
	return 0;
}

static void
stage_set(struct setup *s, enum stage stage, const char *failure)
{
	pthread_mutex_lock(&s->lock);
	if (s->stage != STAGE_over) {
		s->stage = stage;
		snprintf(s->failure, sizeof(s->failure), "%s", failure);
	}
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void
setup_tell(struct setup *s, const char *failure)
{
	stage_set(s, failure == NULL ? STAGE_running : STAGE_refused, failure == NULL ? "" : failure);
}

void
setup_cancel(struct setup *s)
{
	stage_set(s, STAGE_over, "");
}

struct setup *
setup_open(const struct regent_config *cfg)
{
	struct setup *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->base = *cfg;
	s->drives = json_array();
	s->nets = json_array();
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	return s;
}

void
setup_close(struct setup *s)
{
	if (s == NULL)
		return;
	specs_free(s);
	json_decref(s->machine);
	json_decref(s->boot);
	json_decref(s->cpu);
	json_decref(s->vsock);
	json_decref(s->drives);
	json_decref(s->nets);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
