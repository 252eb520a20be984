/* SPDX-License-Identifier: Apache-2.0 */
/* cli/host_file.c - the JSON file of `regent host`: what machines there are.
 *
 * A machine's keys are the names of the options of `regent run`: one that is added there can be used
 * here. A string or number is the option's value, true stands for an option without one, an array
 * for an option given several times.
 */
#include "cli/host_file.h"

#include "cli/cli.h"
#include "cli/json_where.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 16 << 20, WHERE_MAX = 4200, THREADS_MAX = 64, QUANTUM_MS_MAX = 1000, VMS_MAX = 4096, WORD_MAX = 32 };
static const uint64_t HOST_CODE_CACHE = 16 << 20;

/* Options of `regent run` that are about the run of one machine, not the machine. */
static const char *const not_here[] = { "stats", "engines", "limit", "compare-memory", "counted-clock", "trace-regs",
	"trace-file", "trace-format", "no-sandbox", "wait", NULL };

static const char *
where(const struct host_file *f, const struct json_step *steps, unsigned n)
{
	static char buf[WHERE_MAX];
	struct json_place at = json_where(f->text, steps, n);

	snprintf(buf, sizeof(buf), "%s:%u:%u", f->path, at.line, at.column);
	return buf;
}

const char *
host_file_where(const struct host_file *f, const struct host_vm *vm, const char *line)
{
	char key[WORD_MAX];
	struct json_step steps[3] = { { "vms", 0 }, { NULL, vm->index }, { key, 0 } };
	size_t n = 0;

	if (strncmp(line, "--", 2) == 0)
		while (n + 1 < sizeof(key) && (isalnum((unsigned char)line[2 + n]) || line[2 + n] == '-'))
			n++;
	snprintf(key, sizeof(key), "%.*s", (int)n, line + 2);
	return where(f, steps, n > 0 ? 3 : 2);
}

static int
read_text(struct host_file *f)
{
	FILE *in = fopen(f->path, "re");
	size_t n = 0, got;

	if (in == NULL)
		return cli_fail(STATUS_usage, "%s: %s; name a host file", f->path, strerror(errno));
	if ((f->text = malloc(FILE_MAX + 1)) != NULL)
		while (n < FILE_MAX && (got = fread(f->text + n, 1, FILE_MAX - n, in)) > 0)
			n += got;
	if (f->text == NULL || ferror(in) || n == FILE_MAX) {
		int err = errno;
		bool bad = ferror(in) != 0;

		fclose(in);
		return cli_fail(STATUS_usage, "%s: %s", f->path,
		    f->text == NULL ? "no memory for it" : bad ? strerror(err) : "is longer than 16 MiB");
	}
	fclose(in);
	f->text[n] = '\0';
	if (strlen(f->text) != n)
		return cli_fail(STATUS_usage, "%s: holds a zero byte; it must be JSON text", f->path);
	return 0;
}

static int
parse_text(struct host_file *f)
{
	json_error_t e;

	f->root = json_loads(f->text, JSON_REJECT_DUPLICATES, &e);
	if (f->root != NULL)
		return 0;
	return cli_fail(STATUS_usage, "%s:%d:%d: %s", f->path, e.line, e.column, e.text);
}

/* ---- machines ---- */

/* A value as the command line would spell it; NULL: it has no such form. */
static const char *
word_of(struct host_file *f, const json_t *val)
{
	char buf[WORD_MAX], **words;

	if (json_is_string(val))
		return json_string_value(val);
	if (!json_is_integer(val))
		return NULL;
	snprintf(buf, sizeof(buf), "%lld", (long long)json_integer_value(val));
	if ((words = realloc(f->words, (f->nwords + 1) * sizeof(*words))) == NULL)
		return NULL;
	f->words = words;
	return f->words[f->nwords++] = strdup(buf);
}

static bool
is_here(const char *key)
{
	for (unsigned i = 0; not_here[i] != NULL; i++)
		if (strcmp(not_here[i], key) == 0)
			return false;
	return options_takes(key) >= 0;
}

/* One value of a key; at: where it stands, for error lines. */
static int
set_one(struct host_file *f, struct host_vm *vm, const char *key, const json_t *val, const char *at)
{
	bool takes = options_takes(key) > 0;
	const char *word = word_of(f, val);

	cli_error_where(at);
	if (!takes && json_is_boolean(val))
		return json_is_true(val) ? options_set(&vm->q, key, NULL) : 0;
	if (!takes)
		return cli_fail(STATUS_usage, "%s: must be true or false", key);
	if (word == NULL)
		return cli_fail(STATUS_usage, "%s: must be a string or a whole number", key);
	return options_set(&vm->q, key, word);
}

static int
set_weight(struct host_vm *vm, const json_t *val, const char *at)
{
	json_int_t n = json_integer_value(val);

	cli_error_where(at);
	if (!json_is_integer(val) || n < 1 || n > 1000)
		return cli_fail(STATUS_usage, "weight: must be a whole number from 1 to 1000");
	vm->q.cfg.weight = (unsigned)n;
	return 0;
}

static int
set_key(struct host_file *f, struct host_vm *vm, const char *key, const json_t *val)
{
	struct json_step steps[4] = { { "vms", 0 }, { NULL, vm->index }, { key, 0 }, { NULL, 0 } };
	int rc = 0;

	if (strcmp(key, "weight") == 0)
		return set_weight(vm, val, where(f, steps, 3));
	cli_error_where(where(f, steps, 3));
	if (!is_here(key))
		return cli_fail(STATUS_usage, "%s: unknown key; they are the options of `regent run --help`, and weight", key);
	if (!json_is_array(val))
		return set_one(f, vm, key, val, where(f, steps, 3));
	for (unsigned i = 0; rc == 0 && i < json_array_size(val); i++) {
		steps[3].index = i;
		rc = set_one(f, vm, key, json_array_get(val, i), where(f, steps, 4));
	}
	return rc;
}

static int
check_name(struct host_file *f, const struct host_vm *vm)
{
	char path[256];

	cli_error_where(host_file_where(f, vm, vm->q.cfg.name == NULL ? "" : "--name"));
	if (vm->q.cfg.name == NULL)
		return cli_fail(STATUS_usage, "the machine has no name; give it one: \"name\": \"a\"");
	for (const struct host_vm *other = f->vms; other < vm; other++)
		if (strcmp(other->q.cfg.name, vm->q.cfg.name) == 0)
			return cli_fail(STATUS_usage, "name %s: another machine of the file has it", vm->q.cfg.name);
	if (regent_control_path(vm->q.cfg.name, path, sizeof(path)) != 0 && strstr(regent_open_error(), "is no name") != NULL)
		return cli_fail(STATUS_usage, "name %s", regent_open_error());
	return 0;
}

static int
read_vm(struct host_file *f, struct host_vm *vm, json_t *obj)
{
	struct options q = OPTIONS_INIT;
	const char *key;
	json_t *val;
	int rc;

	vm->q = q;
	vm->q.cfg.serial = REGENT_SERIAL_null;
	vm->q.cfg.bt_cache = HOST_CODE_CACHE;
	vm->q.cfg.control = 1;
	if (!json_is_object(obj)) {
		cli_error_where(host_file_where(f, vm, ""));
		return cli_fail(STATUS_usage, "a machine must be an object: {\"name\": ..., \"kernel\": ...}");
	}
	json_object_foreach(obj, key, val)
		if ((rc = set_key(f, vm, key, val)) != 0)
			return rc;
	options_finish(&vm->q);
	return check_name(f, vm);
}

/* ---- the whole ---- */

static int
read_count(const struct host_file *f, const char *key, unsigned most, unsigned *to)
{
	const json_t *val = json_object_get(f->root, key);
	struct json_step step = { key, 0 };

	if (val == NULL)
		return 0;
	cli_error_where(where(f, &step, 1));
	if (!json_is_integer(val) || json_integer_value(val) < 1 || json_integer_value(val) > most)
		return cli_fail(STATUS_usage, "%s: must be a whole number from 1 to %u", key, most);
	*to = (unsigned)json_integer_value(val);
	return 0;
}

static int
check_keys(const struct host_file *f)
{
	const char *key;
	json_t *val;

	cli_error_where(where(f, NULL, 0));
	if (!json_is_object((json_t *)f->root))
		return cli_fail(STATUS_usage, "must be an object: {\"vms\": [...]}");
	json_object_foreach(f->root, key, val) {
		struct json_step step = { key, 0 };

		cli_error_where(where(f, &step, 1));
		if (strcmp(key, "vms") != 0 && strcmp(key, "threads") != 0 && strcmp(key, "quantum") != 0)
			return cli_fail(STATUS_usage, "%s: unknown key; choose vms, threads or quantum", key);
	}
	return 0;
}

static int
read_vms(struct host_file *f)
{
	json_t *vms = json_object_get(f->root, "vms");
	struct json_step step = { "vms", 0 };
	int rc = 0;

	cli_error_where(where(f, &step, 1));
	if (!json_is_array(vms) || json_array_size(vms) == 0 || json_array_size(vms) > VMS_MAX)
		return cli_fail(STATUS_usage, "vms: must be an array of 1 to %d machines", VMS_MAX);
	if ((f->vms = calloc(json_array_size(vms), sizeof(*f->vms))) == NULL)
		return cli_fail(STATUS_monitor, "no memory for so many machines");
	for (; rc == 0 && f->nvms < json_array_size(vms); f->nvms++) {
		f->vms[f->nvms].index = f->nvms;
		rc = read_vm(f, &f->vms[f->nvms], json_array_get(vms, f->nvms));
	}
	return rc;
}

int
host_file_read(struct host_file *f, const char *path)
{
	int rc;

	*f = (struct host_file){ .path = strdup(path) };
	if ((rc = read_text(f)) == 0 && (rc = parse_text(f)) == 0 && (rc = check_keys(f)) == 0 &&
	    (rc = read_count(f, "threads", THREADS_MAX, &f->threads)) == 0 &&
	    (rc = read_count(f, "quantum", QUANTUM_MS_MAX, &f->quantum_ms)) == 0)
		rc = read_vms(f);
	cli_error_where(NULL);
	return rc;
}

void
host_file_free(struct host_file *f)
{
	for (unsigned i = 0; i < f->nwords; i++)
		free(f->words[i]);
	free(f->words);
	free(f->vms);
	json_decref(f->root);
	free(f->text);
	free(f->path);
}
