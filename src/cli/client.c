/* SPDX-License-Identifier: Apache-2.0 */
/* cli/client.c - talking to the control sockets of running machines: HTTP/1.1, one request a connection. */
#include "cli/client.h"

#include "cli/cli.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD_MAX = 8 << 10, REPLY_MAX = 8 << 20, TIMEOUT_S = 20, SWITCHING = 101, SUCCESS = 200, PATH_SIZE = 256 };
static const char suffix[] = ".sock";

static int
connect_to(const char *name)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = TIMEOUT_S };
	int fd;

	if (regent_control_path(name, un.sun_path, sizeof(un.sun_path)) != 0)
		return -1;
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool
send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t got = send(fd, p, n, MSG_NOSIGNAL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

static bool
send_request(int fd, const char *method, const char *path, const char *body, const char *connection)
{
	char *rq;
	bool ok;
	int n = asprintf(&rq, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\nAccept: application/json\r\n"
	    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", method, path, connection,
	    body == NULL ? 0 : strlen(body), body == NULL ? "" : body);

	if (n < 0)
		return false;
	ok = send_all(fd, rq, (size_t)n);
	free(rq);
	return ok;
}

/* Everything up to the end of the connection, NUL-terminated; NULL: it failed. */
static char *
receive_all(int fd)
{
	size_t size = 16 << 10, n = 0;
	char *buf = malloc(size), *more;
	ssize_t got = 1;

	while (buf != NULL && got != 0 && n < REPLY_MAX) {
		got = recv(fd, buf + n, size - n - 1, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		n += (size_t)got;
		if (size - n < size / 4) {
			if ((more = realloc(buf, size * 2)) == NULL)
				break;
			buf = more;
			size *= 2;
		}
	}
	if (buf == NULL || got != 0) {
		free(buf);
		return NULL;
	}
	buf[n] = '\0';
	return buf;
}

static int
status_of(const char *reply)
{
	int status;

	return sscanf(reply, "HTTP/1.1 %3d", &status) == 1 ? status : 0;
}

struct client_reply
client_try(const char *name, const char *method, const char *path, const char *body)
{
	struct client_reply rep = { 0 };
	int fd = connect_to(name);
	char *text, *content;

	if (fd < 0)
		return rep;
	if (send_request(fd, method, path, body, "close") && (text = receive_all(fd)) != NULL) {
		rep.status = status_of(text);
		if ((content = strstr(text, "\r\n\r\n")) != NULL)
			rep.body = json_loads(content + 4, 0, NULL);
		free(text);
	}
	close(fd);
	return rep;
}

/* Nobody answers: because the name cannot be one, or because none of that name runs. */
static int
nobody(const char *name)
{
	char path[PATH_SIZE];

	if (regent_control_path(name, path, sizeof(path)) != 0 && strstr(regent_open_error(), "is no name") != NULL)
		return cli_fail(STATUS_usage, "%s", regent_open_error());
	return cli_fail(STATUS_usage, "%s: no machine of that name runs; `regent ps` lists them", name);
}

static int
fault_of(const char *name, const struct client_reply *rep)
{
	const char *why = json_string_value(json_object_get(rep->body, "fault_message"));

	return cli_fail(STATUS_usage, "%s: %s", name, why != NULL ? why : "the machine refused");
}

int
client_ask(const char *name, const char *method, const char *path, const char *body, json_t **reply)
{
	struct client_reply rep = client_try(name, method, path, body);
	int status = 0;

	if (rep.status == 0)
		status = nobody(name);
	else if (rep.status / 100 != SUCCESS / 100)
		status = fault_of(name, &rep);
	if (reply != NULL && status == 0)
		*reply = rep.body;
	else
		json_decref(rep.body);
	return status;
}

/* Reads the head byte by byte: what follows it is the console's. */
static int
head_status(int fd)
{
	char head[HEAD_MAX];
	size_t n = 0;

	while (n + 1 < sizeof(head) && recv(fd, head + n, 1, 0) == 1) {
		head[++n] = '\0';
		if (n >= 4 && strcmp(head + n - 4, "\r\n\r\n") == 0)
			return status_of(head);
	}
	return 0;
}

int
client_upgrade(const char *name, const char *path, const char *refused, int *status)
{
	int fd = connect_to(name);
	struct timeval none = { 0 };

	if (fd < 0) {
		*status = nobody(name);
		return -1;
	}
	if (send_request(fd, "GET", path, NULL, "Upgrade\r\nUpgrade: tcp") && head_status(fd) == SWITCHING) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
		return fd;
	}
	close(fd);
	*status = cli_fail(STATUS_monitor, "%s: %s", name, refused);
	return -1;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Without its suffix; NULL: it is no socket's name. */
static char *
name_of(const char *file)
{
	size_t n = strlen(file), s = sizeof(suffix) - 1;

	return n > s && strcmp(file + n - s, suffix) == 0 ? strndup(file, n - s) : NULL;
}

char **
client_names(unsigned *n)
{
	char dir[PATH_SIZE], **names = calloc(1, sizeof(*names)), **more, *name;
	const struct dirent *d;
	DIR *in = regent_control_dir(dir, sizeof(dir)) == 0 ? opendir(dir) : NULL;

	*n = 0;
	while (in != NULL && names != NULL && (d = readdir(in)) != NULL) {
		if ((name = name_of(d->d_name)) == NULL)
			continue;
		if ((more = realloc(names, (*n + 2) * sizeof(*names))) == NULL) {
			free(name);
			break;
		}
		names = more;
		names[(*n)++] = name;
		names[*n] = NULL;
	}
	if (in != NULL)
		closedir(in);
	if (names != NULL)
		qsort(names, *n, sizeof(*names), by_name);
	return names;
}

void
client_names_free(char **names)
{
	for (unsigned i = 0; names != NULL && names[i] != NULL; i++)
		free(names[i]);
	free(names);
}
