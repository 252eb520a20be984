/* SPDX-License-Identifier: Apache-2.0 */
/* control/http.c - HTTP/1.1 on any number of Unix sockets, by one thread and libmicrohttpd.
 *
 * The library listens on one socket at most, so a thread here accepts and hands connections over;
 * whom a request is for tells the connection's own address.
 */
#include "control/http.h"
#include "control/socket.h"
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 16, IDLE_S = 300, LINGER_S = 1, CONNECTIONS = 256, NOT_FOUND = 404, TOO_LARGE = 413, SWITCHING = 101 };

struct endpoint {
	struct endpoint *next;
	int fd;
	char path[CONTROL_PATH_MAX];
	http_fn *fn;
	void *ctx;
};

struct http {
	struct MHD_Daemon *daemon;
	pthread_t acceptor;
	int epoll, wake;		/* wake: eventfd, quit */
	pthread_mutex_t lock;		/* the list, and held while a request is answered */
	pthread_cond_t closed;		/* an upgraded connection; or an answer is out */
	struct endpoint *endpoints;
	unsigned upgraded;
	unsigned unsent;		/* answers that are on their way to the client */
};

/* A request whose body is arriving. */
struct incoming {
	char *body;
	size_t size;
	bool too_large, answered;
	struct upgrade *upgrade;	/* owned; NULL: none */
};

/* ---- accepting ---- */

static void
take_connection(struct http *h, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (fd >= 0)
		MHD_add_connection(h->daemon, fd, (struct sockaddr *)&un, sizeof(un));
}

static void *
acceptor_thread(void *arg)
{
	struct http *h = arg;
	struct epoll_event ev[EVENTS];
	sigset_t all;
	int n;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, "control");
	for (;;) {
		n = epoll_wait(h->epoll, ev, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == h->wake)
				return NULL;
			take_connection(h, ev[i].data.fd);
		}
	}
}

/* ---- answering ---- */

/* The endpoint that the connection was made to; NULL: it is gone. Lock held. */
static struct endpoint *
endpoint_of(struct http *h, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct sockaddr_un un = { 0 };
	socklen_t len = sizeof(un) - 1;

	if (info == NULL || getsockname(info->connect_fd, (struct sockaddr *)&un, &len) != 0)
		return NULL;
	for (struct endpoint *e = h->endpoints; e != NULL; e = e->next)
		if (strcmp(e->path, un.sun_path) == 0)
			return e;
	return NULL;
}

static const char *
query(const struct http_request *rq, const char *key)
{
	return MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, key);
}

/* What the library hands to on_upgrade. */
struct upgrade {
	struct http *http;
	void (*fn)(void *ctx, struct http_upgraded u, const void *early, size_t n);
	void *ctx;
	bool ran;
};

static void
on_upgrade(void *cls, struct MHD_Connection *c, void *con_cls, const char *extra, size_t n, MHD_socket sock,
	struct MHD_UpgradeResponseHandle *urh)
{
	struct upgrade *up = cls;
	struct http_upgraded u = { .fd = sock, .http = up->http, .handle = urh };

	(void)c, (void)con_cls;
	up->ran = true;
	up->fn(up->ctx, u, extra, n);
}

void
http_upgraded_close(struct http_upgraded *u)
{
	if (u->handle != NULL)
		MHD_upgrade_action(u->handle, MHD_UPGRADE_ACTION_CLOSE);
	pthread_mutex_lock(&u->http->lock);
	u->http->upgraded--;
	pthread_cond_broadcast(&u->http->closed);
	pthread_mutex_unlock(&u->http->lock);
}

static struct MHD_Response *
upgrade_response(struct http *h, const struct http_reply *rep, struct incoming *in)
{
	struct upgrade *up = malloc(sizeof(*up));
	struct MHD_Response *r;

	if (up == NULL)
		return NULL;
	*up = (struct upgrade){ .http = h, .fn = rep->upgrade, .ctx = rep->upgrade_ctx };
	in->upgrade = up;
	h->upgraded++;
	if ((r = MHD_create_response_for_upgrade(on_upgrade, up)) != NULL)
		MHD_add_response_header(r, MHD_HTTP_HEADER_UPGRADE, "tcp");
	return r;
}

static struct MHD_Response *
plain_response(const struct http_reply *rep)
{
	size_t n = rep->body == NULL ? 0 : strlen(rep->body);
	struct MHD_Response *r = MHD_create_response_from_buffer(n, rep->body, MHD_RESPMEM_MUST_FREE);

	if (r != NULL && n > 0)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
		    rep->type == NULL ? "application/json" : rep->type);
	return r;
}

static enum MHD_Result
answer(struct http *h, struct MHD_Connection *c, const char *path, const char *method, struct incoming *in)
{
	struct http_request rq = { .method = method, .path = path, .query = query, .connection = c,
		.body = in->body == NULL ? "" : in->body, .size = in->size };
	struct http_reply rep = { .status = NOT_FOUND };
	struct MHD_Response *r;
	struct endpoint *e;
	enum MHD_Result res;

	pthread_mutex_lock(&h->lock);
	e = endpoint_of(h, c);
	if (in->too_large)
		rep.status = TOO_LARGE;
	else if (e != NULL)
		e->fn(e->ctx, &rq, &rep);
	r = rep.status == SWITCHING ? upgrade_response(h, &rep, in) : plain_response(&rep);
	in->answered = r != NULL && rep.status != SWITCHING;
	h->unsent += in->answered;
	pthread_mutex_unlock(&h->lock);
	if (r == NULL)
		return MHD_NO;
	res = MHD_queue_response(c, rep.status, r);
	MHD_destroy_response(r);
	return res;
}

static void
collect(struct incoming *in, const char *piece, size_t n)
{
	char *body;

	if (in->size + n > HTTP_BODY_MAX || (body = realloc(in->body, in->size + n + 1)) == NULL) {
		in->too_large = true;
		return;
	}
	in->body = body;
	memcpy(body + in->size, piece, n);
	in->size += n;
	body[in->size] = '\0';
}

/* Called once for the head, for each piece of the body, and at the end. */
static enum MHD_Result
on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method, const char *version,
	const char *piece, size_t *n, void **own)
{
	(void)version;
	if (*own == NULL)
		return (*own = calloc(1, sizeof(struct incoming))) == NULL ? MHD_NO : MHD_YES;
	if (*n == 0)
		return answer(cls, c, path, method, *own);
	collect(*own, piece, *n);
	*n = 0;
	return MHD_YES;
}

static void
on_done(void *cls, struct MHD_Connection *c, void **own, enum MHD_RequestTerminationCode why)
{
	struct incoming *in = *own;
	struct http *h = cls;

	(void)c, (void)why;
	*own = NULL;
	if (in == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->unsent -= in->answered;
	pthread_cond_broadcast(&h->closed);
	pthread_mutex_unlock(&h->lock);
	if (in->upgrade != NULL && !in->upgrade->ran)	/* the client left before */
		in->upgrade->fn(in->upgrade->ctx, (struct http_upgraded){ .fd = -1, .http = cls }, "", 0);
	free(in->upgrade);
	free(in->body);
	free(in);
}

/* ---- opening ---- */

static int
watch(struct http *h, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = { .fd = fd } };

	return epoll_ctl(h->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* Its thread inherits blocked signals: they are the host program's. */
static struct MHD_Daemon *
daemon_open(struct http *h)
{
	struct MHD_Daemon *d;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	d = MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_UPGRADE,
	    0, NULL, NULL, on_request, h, MHD_OPTION_NOTIFY_COMPLETED, on_done, h,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
	    MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return d;
}

struct http *
http_open(void)
{
	struct http *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->closed, NULL);
	h->epoll = epoll_create1(EPOLL_CLOEXEC);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->epoll >= 0 && h->wake >= 0 && watch(h, h->wake) == 0 && (h->daemon = daemon_open(h)) != NULL &&
	    pthread_create(&h->acceptor, NULL, acceptor_thread, h) == 0)
		return h;
	if (h->daemon != NULL)
		MHD_stop_daemon(h->daemon);
	close(h->epoll);
	close(h->wake);
	free(h);
	return NULL;
}

/* Who asked for the end hears that it comes; who does not read is not waited for. */
static void
let_answers_out(struct http *h)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LINGER_S;
	pthread_mutex_lock(&h->lock);
	while (h->unsent > 0 && pthread_cond_timedwait(&h->closed, &h->lock, &until) == 0)
		;
	pthread_mutex_unlock(&h->lock);
}

void
http_close(struct http *h)
{
	if (h == NULL)
		return;
	let_answers_out(h);
	eventfd_write(h->wake, 1);
	pthread_join(h->acceptor, NULL);
	pthread_mutex_lock(&h->lock);
	while (h->upgraded > 0)
		pthread_cond_wait(&h->closed, &h->lock);
	pthread_mutex_unlock(&h->lock);
	MHD_stop_daemon(h->daemon);
	while (h->endpoints != NULL)
		http_unlisten(h, h->endpoints->ctx);
	close(h->epoll);
	close(h->wake);
	pthread_cond_destroy(&h->closed);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

int
http_listen(struct http *h, int fd, const char *path, http_fn *fn, void *ctx)
{
	struct endpoint *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -1;
	e->fd = fd;
	e->fn = fn;
	e->ctx = ctx;
	memcpy(e->path, path, strnlen(path, sizeof(e->path) - 1));
	pthread_mutex_lock(&h->lock);
	e->next = h->endpoints;
	h->endpoints = e;
	pthread_mutex_unlock(&h->lock);
	if (watch(h, fd) == 0)
		return 0;
	http_unlisten(h, ctx);
	return -1;
}

void
http_unlisten(struct http *h, const void *ctx)
{
	struct endpoint **p, *e;

	pthread_mutex_lock(&h->lock);
	for (p = &h->endpoints; *p != NULL && (*p)->ctx != ctx; p = &(*p)->next)
		;
	if ((e = *p) != NULL) {
		*p = e->next;
		unlink(e->path);
		close(e->fd);
		free(e);
	}
	pthread_mutex_unlock(&h->lock);
}
