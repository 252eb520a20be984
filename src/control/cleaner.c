/* SPDX-License-Identifier: Apache-2.0 */
/* control/cleaner.c - removes the control sockets of a process that is in a sandbox, and of one that was killed.
 *
 * It believes nothing: a name must be one, and nobody may answer behind it, so that whoever has taken
 * over the process that it serves can at most have a stale socket removed.
 */
#include "control/cleaner.h"

#include "control/socket.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum order { ORDER_note = '+', ORDER_remove = '-' };
enum { NAMES_MAX = 4096, OUR_SOCKET = 0 };

struct cleaner {
	int fd;
};

/* What is sent, and its answer: one byte. */
struct message {
	char order;
	char name[CONTROL_NAME_MAX + 1];
};

/* ---- the process: async-signal-safe calls only, its parent may have threads ---- */

static char names[NAMES_MAX][CONTROL_NAME_MAX + 1];
static char dir_path[CONTROL_PATH_MAX];

static void
remember(const char *name)
{
	for (unsigned i = 0; i < NAMES_MAX; i++)
		if (names[i][0] == '\0') {
			memcpy(names[i], name, sizeof(names[i]));
			return;
		}
}

static void
forget(const char *name)
{
	for (unsigned i = 0; i < NAMES_MAX; i++)
		if (strcmp(names[i], name) == 0)
			names[i][0] = '\0';
}

/* Others that look at names wait meanwhile. */
static void
remove_stale(const char *name)
{
	char path[CONTROL_PATH_MAX], lock[CONTROL_PATH_MAX + 8], *end;
	int names_fd, fd;

	end = stpcpy(lock, dir_path);
	memcpy(end, control_lock, strlen(control_lock) + 1);
	if (strlen(dir_path) + 1 + strlen(name) + strlen(control_suffix) >= sizeof(path))
		return;
	end = stpcpy(stpcpy(stpcpy(path, dir_path), "/"), name);
	memcpy(end, control_suffix, strlen(control_suffix) + 1);
	names_fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (names_fd >= 0)
		flock(names_fd, LOCK_EX);
	if ((fd = control_connect(path)) < 0 && errno == ECONNREFUSED)
		unlink(path);
	if (fd >= 0)
		close(fd);
	if (names_fd >= 0)
		close(names_fd);
}

static void
serve(void)
{
	struct message m;
	ssize_t n;

	for (;;) {
		n = recv(OUR_SOCKET, &m, sizeof(m), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(m))
			return;
		m.name[CONTROL_NAME_MAX] = '\0';
		if (!control_name_ok(m.name))
			continue;
		if (m.order == ORDER_note) {
			remember(m.name);
		} else {
			forget(m.name);
			remove_stale(m.name);
		}
		send(OUR_SOCKET, &m.order, 1, MSG_NOSIGNAL);
	}
}

static void
run(int fd)
{
	static const int signals[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM };

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
	if (fd != OUR_SOCKET)
		dup2(fd, OUR_SOCKET);
	close_range(OUR_SOCKET + 1, ~0u, 0);
	serve();
	for (unsigned i = 0; i < NAMES_MAX; i++)
		if (names[i][0] != '\0')
			remove_stale(names[i]);
	_exit(0);
}

/* ---- whom it serves ---- */

struct cleaner *
cleaner_open(const char *dir)
{
	struct cleaner *c = calloc(1, sizeof(*c));
	int p[2];
	pid_t pid;

	if (c == NULL || strlen(dir) >= sizeof(dir_path) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) != 0) {
		free(c);
		return NULL;
	}
	strcpy(dir_path, dir);
	pid = fork();
	if (pid == 0 && fork() != 0)	/* nobody's child: it need not be waited for */
		_exit(0);
	if (pid == 0)
		run(p[1]);
	close(p[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	c->fd = p[0];
	return c;
}

void
cleaner_close(struct cleaner *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	free(c);
}

static void
order(struct cleaner *c, enum order what, const char *name)
{
	struct message m = { .order = (char)what };
	char answer;

	snprintf(m.name, sizeof(m.name), "%s", name);
	if (send(c->fd, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
		return;
	while (recv(c->fd, &answer, 1, 0) < 0 && errno == EINTR)
		;
}

void
cleaner_note(struct cleaner *c, const char *name)
{
	order(c, ORDER_note, name);
}

void
cleaner_remove(struct cleaner *c, const char *name)
{
	order(c, ORDER_remove, name);
}
