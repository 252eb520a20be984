/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_parts.h - what the files behind the control socket share. */
#pragma once
#include "api/vm.h"
#include "control/http.h"
#include <jansson.h>

struct setup;

struct control {
	struct regent_vm *v;		/* borrowed; NULL: requests still describe it */
	struct setup *setup;		/* owned; NULL: no requests described it */
	json_t *drives, *nets;		/* owned: of one that options describe */
	struct http *http;		/* one for the process, shared */
	struct cleaner *cleaner;	/* one for the process, shared; NULL: the socket is removed by ourselves */
	char *name, *kernel, *initrd, *append, *cpu;	/* owned; NULL: not given */
};

/* A request for this machine, its path matched. */
struct control_call {
	struct control *control;
	struct regent_vm *v;
	const struct http_request *rq;
	const char *id;			/* the last part of the path, where the route has {..}; else NULL */
	json_t *body;			/* an object; NULL: none was sent */
	struct http_reply *rep;
};

void reply_json(struct control_call *c, unsigned status, json_t *body);	/* takes body */
void reply_empty(struct control_call *c);				/* 204 */
/* 400 (or another) with {"fault_message": ...}. */
void reply_fault(struct control_call *c, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* One way in. The list is what doc/control-api.json describes; a test compares them. */
enum control_when { WHEN_there, WHEN_always, WHEN_before };	/* the machine is there, or may be, or is not yet */
struct control_route {
	const char *method, *path;
	void (*fn)(struct control_call *c);
	enum control_when when;
};
extern const struct control_route control_routes_firecracker[], control_routes_own[];

/* api/control_console.c: who is attached to consoles; a thread for all of them. */
int consoles_open(void);			/* 0, or -1 */
void consoles_close(void);			/* behind the last session's end */
void control_console(struct control_call *c);
