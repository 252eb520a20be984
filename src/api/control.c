/* SPDX-License-Identifier: Apache-2.0 */
/* api/control.c - a machine's control socket: its name, and which function answers which request. */
#include "api/control_parts.h"

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

static const struct control_route *
route_find(const char *method, const char *path, bool *other_method)
{
	*other_method = false;
	for (unsigned l = 0; l < LISTS; l++)
		for (const struct control_route *r = route_lists[l]; r->path != NULL; r++) {
			if (strcmp(r->path, path) != 0)
				continue;
			if (strcmp(r->method, method) == 0)
				return r;
			*other_method = true;
		}
	return NULL;
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
	const struct control_route *r = route_find(rq->method, rq->path, &other_method);

	if (r == NULL && other_method)
		reply_fault(&c, NOT_ALLOWED, "%s %s: the path takes another method", rq->method, rq->path);
	else if (r == NULL)
		reply_fault(&c, NOT_FOUND, "%s %s: no such path", rq->method, rq->path);
	else if (body_read(&c))
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
	free(k);
}

int
control_open(struct regent_vm *v, const struct regent_config *cfg)
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
	if (k == NULL || (k->http = server_get()) == NULL) {
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
	v->control = k;
	if (cfg->sandbox && (k->cleaner = cleaner_get()) != NULL)
		cleaner_note(k->cleaner, k->name);
	if (http_listen(k->http, fd, path, on_request, k) == 0)
		return 0;
	return regent_open_fail(REGENT_E_host, "--name", strerror(errno));
}

void
control_close(struct regent_vm *v)
{
	struct control *k = v->control;

	if (k == NULL)
		return;
	v->control = NULL;
	http_unlisten(k->http, k);
	if (k->cleaner != NULL)
		cleaner_remove(k->cleaner, k->name);
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
