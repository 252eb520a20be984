/* SPDX-License-Identifier: Apache-2.0 */
/* api/control.c - a machine's control socket: its name, and which function answers which request. */
#include "api/control_parts.h"

#include "api/control_ask.h"
#include "api/control_setup.h"
#include "control/cleaner.h"
#include "control/socket.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK_200 = 200, NO_CONTENT = 204, BAD_REQUEST = 400, NOT_FOUND = 404, NOT_ALLOWED = 405, FAULT_MAX = 512 };

/* One server for all machines of the process. */
static pthread_mutex_t server_lock = PTHREAD_MUTEX_INITIALIZER;
static struct http *server;
static struct cleaner *cleaner;		/* when one of them is to be in a sandbox */
static unsigned server_users;

static struct http *
server_get(void)
{
	struct http *h;

	pthread_mutex_lock(&server_lock);
	if (server == NULL && consoles_open() == 0 && (server = http_open()) == NULL)
		consoles_close();
	server_users += server != NULL;
	h = server;
	pthread_mutex_unlock(&server_lock);
	return h;
}

static void
server_put(void)
{
	pthread_mutex_lock(&server_lock);
	if (--server_users == 0) {
		http_close(server);
		consoles_close();
		cleaner_close(cleaner);
		server = NULL;
		cleaner = NULL;
	}
	pthread_mutex_unlock(&server_lock);
}

/* Holding the server. */
static struct cleaner *
cleaner_get(void)
{
	char dir[CONTROL_PATH_MAX], err[ERROR_MAX];
	struct cleaner *c;

	pthread_mutex_lock(&server_lock);
	if (cleaner == NULL && control_dir(dir, false, err, sizeof(err)) == 0)
		cleaner = cleaner_open(dir);
	c = cleaner;
	pthread_mutex_unlock(&server_lock);
	return c;
}

/* ---- replies ---- */

void
reply_json(struct control_call *c, unsigned status, json_t *body)
{
	c->rep->status = status;
	c->rep->body = json_dumps(body, JSON_COMPACT);
	json_decref(body);
}

void
reply_empty(struct control_call *c)
{
	c->rep->status = NO_CONTENT;
}

void
reply_fault(struct control_call *c, unsigned status, const char *fmt, ...)
{
	char line[FAULT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	reply_json(c, status, json_pack("{s:s}", "fault_message", line));
}

/* ---- finding who answers ---- */

static const struct control_route *const route_lists[] = { control_routes_firecracker, control_routes_own };
enum { LISTS = sizeof(route_lists) / sizeof(route_lists[0]) };

/* The path of a route with {..} at its end has anything but nothing there; *id: what. */
static bool
path_fits(const char *route, const char *path, const char **id)
{
	size_t n = strcspn(route, "{");

	*id = route[n] == '{' ? path + n : NULL;
	if (*id == NULL)
		return strcmp(route, path) == 0;
	return strncmp(route, path, n) == 0 && path[n] != '\0' && strchr(path + n, '/') == NULL;
}

static const struct control_route *
route_find(const char *method, const char *path, const char **id, bool *other_method)
{
	*other_method = false;
	for (unsigned l = 0; l < LISTS; l++)
		for (const struct control_route *r = route_lists[l]; r->path != NULL; r++) {
			if (!path_fits(r->path, path, id))
				continue;
			if (strcmp(r->method, method) == 0)
				return r;
			*other_method = true;
		}
	return NULL;
}

/* Not every request suits a machine that is not there yet, or is there already. Firecracker's words. */
static bool
in_time(struct control_call *c, const struct control_route *r)
{
	if (r->when == WHEN_always || (r->when == WHEN_before) == (c->v == NULL))
		return true;
	reply_fault(c, BAD_REQUEST, "The requested operation is not supported %s the microVM: %s %s",
	    c->v == NULL ? "before starting" : "after starting", c->rq->method, c->rq->path);
	return false;
}

/* What was sent, if anything, is one JSON object. */
static bool
body_read(struct control_call *c)
{
	json_error_t e;

	if (c->rq->size == 0)
		return true;
	c->body = json_loadb(c->rq->body, c->rq->size, JSON_REJECT_DUPLICATES, &e);
	if (c->body == NULL)
		reply_fault(c, BAD_REQUEST, "line %d, column %d: %s", e.line, e.column, e.text);
	else if (!json_is_object(c->body))
		reply_fault(c, BAD_REQUEST, "the body is no JSON object");
	return json_is_object(c->body);
}

static void
on_request(void *ctx, const struct http_request *rq, struct http_reply *rep)
{
	struct control *k = ctx;
	struct control_call c = { .control = k, .v = k->v, .rq = rq, .rep = rep };
	bool other_method;
	const struct control_route *r = route_find(rq->method, rq->path, &c.id, &other_method);

	if (r == NULL && other_method)
		reply_fault(&c, NOT_ALLOWED, "%s %s: the path takes another method", rq->method, rq->path);
	else if (r == NULL)
		reply_fault(&c, NOT_FOUND, "%s %s: no such path", rq->method, rq->path);
	else if (in_time(&c, r) && body_read(&c))
		r->fn(&c);
	json_decref(c.body);
}

/* ---- opening ---- */

static char *
copy(const char *s)
{
	return s == NULL ? NULL : strdup(s);
}

static void
control_free(struct control *k)
{
	free(k->name);
	free(k->kernel);
	free(k->initrd);
	free(k->append);
	free(k->cpu);
	json_decref(k->drives);
	json_decref(k->nets);
	setup_close(k->setup);
	free(k);
}

/* Listens under the name; v is NULL when requests are to describe the machine. */
static int
control_make(struct control **made, struct regent_vm *v, const struct regent_config *cfg)
{
	char path[CONTROL_PATH_MAX], err[ERROR_MAX - 64];
	struct control *k;
	int fd;

	if (cfg->name == NULL)
		return regent_open_fail(REGENT_E_usage, "--name", "is missing; a control socket needs one");
	if ((fd = control_claim(path, cfg->name, err, sizeof(err))) < 0)
		return regent_open_fail(REGENT_E_usage, "--name", err);
	json_object_seed(0);		/* opens a file: now, before the sandbox */
	k = calloc(1, sizeof(*k));
	if (k == NULL || (v == NULL && (k->setup = setup_open(cfg)) == NULL) || (k->http = server_get()) == NULL) {
		if (k != NULL)
			setup_close(k->setup);
		free(k);
		unlink(path);
		close(fd);
		return regent_open_fail(REGENT_E_host, "--name", "cannot start the control server");
	}
	k->v = v;
	k->name = copy(cfg->name);
	k->kernel = copy(cfg->kernel);
	k->initrd = copy(cfg->initrd);
	k->append = copy(cfg->append);
	k->cpu = copy(cfg->cpu);
	k->drives = setup_drives_of(cfg);
	k->nets = setup_nets_of(cfg);
	*made = k;
	if (cfg->sandbox && (k->cleaner = cleaner_get()) != NULL)
		cleaner_note(k->cleaner, k->name);
	if (http_listen(k->http, fd, path, on_request, k) == 0)
		return 0;
	return regent_open_fail(REGENT_E_host, "--name", strerror(errno));
}

int
control_open(struct regent_vm *v, const struct regent_config *cfg)
{
	asks_begin(v);
	return control_make(&v->control, v, cfg);
}

/* ---- a machine that requests describe ---- */

static pthread_mutex_t awaited_lock = PTHREAD_MUTEX_INITIALIZER;
static struct control *awaited;		/* the last; regent_open_cancel */

int
control_await(struct control **k, const struct regent_config *cfg)
{
	int rc;

	*k = NULL;
	pthread_mutex_lock(&awaited_lock);
	rc = control_make(k, NULL, cfg);
	awaited = rc == 0 ? *k : NULL;
	pthread_mutex_unlock(&awaited_lock);
	if (rc != 0 && *k != NULL)
		control_leave(*k);
	return rc;
}

int
control_told(struct control *k, struct regent_config *cfg)
{
	return setup_wait(k->setup, cfg);
}

void
control_refuse(struct control *k, const char *why)
{
	setup_tell(k->setup, why);
}

/* Who asked for the start waits in its request, so nobody looks at k->v now. */
void
control_adopt(struct control *k, struct regent_vm *v)
{
	k->v = v;
	v->control = k;
	asks_begin(v);
}

void
control_started(struct regent_vm *v, int rc)
{
	if (v->control != NULL && v->control->setup != NULL)
		setup_tell(v->control->setup, rc == 0 ? NULL : v->error);
}

void
regent_open_cancel(void)
{
	pthread_mutex_lock(&awaited_lock);
	if (awaited != NULL)
		setup_cancel(awaited->setup);
	pthread_mutex_unlock(&awaited_lock);
}

/* Nobody hears it any more. */
static void
silence(struct control *k)
{
	pthread_mutex_lock(&awaited_lock);
	if (awaited == k)
		awaited = NULL;
	pthread_mutex_unlock(&awaited_lock);
	if (k->setup != NULL)
		setup_cancel(k->setup);		/* a request that waits holds the server */
	http_unlisten(k->http, k);
	if (k->cleaner != NULL)
		cleaner_remove(k->cleaner, k->name);
}

void
control_leave(struct control *k)
{
	silence(k);
	server_put();
	control_free(k);
}

void
control_close(struct regent_vm *v)
{
	struct control *k = v->control;

	if (k == NULL)
		return;
	v->control = NULL;
	silence(k);
	asks_end(v);
	if (v->tap != NULL)
		tap_end(v->tap);	/* who is attached to the console leaves */
	server_put();
	control_free(k);
}

int
regent_control_dir(char *buf, size_t size)
{
	char dir[CONTROL_PATH_MAX], err[ERROR_MAX - 64];

	if (control_dir(dir, false, err, sizeof(err)) != 0)
		return regent_open_line(REGENT_E_io, err);
	return snprintf(buf, size, "%s", dir) < (int)size ? 0 : -REGENT_E_usage;
}

int
regent_control_path(const char *name, char *buf, size_t size)
{
	char path[CONTROL_PATH_MAX], err[ERROR_MAX - 64];

	if (control_path(path, name, false, err, sizeof(err)) != 0)
		return regent_open_line(REGENT_E_usage, err);
	return snprintf(buf, size, "%s", path) < (int)size ? 0 : -REGENT_E_usage;
}
