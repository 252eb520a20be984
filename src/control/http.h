/* SPDX-License-Identifier: Apache-2.0 */
/* control/http.h - HTTP/1.1 on any number of Unix sockets, by one thread and libmicrohttpd. */
#pragma once
#include <stddef.h>

struct http;

enum { HTTP_BODY_MAX = 64 << 10 };

struct http_request {
	const char *method, *path;
	const char *body;		/* NUL-terminated; "" when there is none */
	size_t size;
	const char *(*query)(const struct http_request *rq, const char *key);	/* NULL: not given */
	void *connection;		/* http.c's own */
};

/* A connection that left HTTP (101 Switching Protocols). Ends with http_upgraded_close. */
struct http_upgraded {
	int fd;				/* borrowed */
	struct http *http;
	void *handle;			/* http.c's own */
};
void http_upgraded_close(struct http_upgraded *u);

struct http_reply {
	unsigned status;
	char *body;			/* malloc'd, becomes the server's; NULL: none */
	const char *type;		/* NULL: application/json */
	/* Takes the connection over (status 101); begins with bytes the client sent already. Called once;
	 * u.fd is -1 when the client has left meanwhile: only close it then. */
	void (*upgrade)(void *ctx, struct http_upgraded u, const void *early, size_t n);
	void *upgrade_ctx;
};

/* One request at a time is answered, on the server's thread. */
typedef void http_fn(void *ctx, const struct http_request *rq, struct http_reply *rep);

struct http *http_open(void);		/* NULL: no memory or threads */
void http_close(struct http *h);	/* waits for upgraded connections to be closed; NULL is fine */
/* Serve the listening socket fd, bound to path; both become the server's. 0, or -1 with errno. */
int http_listen(struct http *h, int fd, const char *path, http_fn *fn, void *ctx);
/* Removes the socket. When it returns fn(ctx) does not run and never will; not from within fn. */
void http_unlisten(struct http *h, const void *ctx);
