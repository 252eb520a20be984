/* SPDX-License-Identifier: Apache-2.0 */
/* host/leftover.c - the child that removes a name when its parent ends. */
#include "host/leftover.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct leftover {
	int pipe;		/* closed: remove it */
	pid_t child;
};

/* Async-signal-safe calls only: the parent may have threads. */
static void
wait_and_remove(int pipe_fd, const char *path)
{
	char byte;
	ssize_t n;

	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	if (pipe_fd != STDIN_FILENO)
		dup2(pipe_fd, STDIN_FILENO);
	close_range(STDIN_FILENO + 1, ~0u, 0);
	do
		n = read(STDIN_FILENO, &byte, 1);
	while (n < 0 && errno == EINTR);
	unlink(path);
	_exit(0);
}

struct leftover *
leftover_open(const char *path)
{
	struct leftover *l = calloc(1, sizeof(*l));
	int p[2];

	if (l == NULL)
		return NULL;
	if (pipe2(p, O_CLOEXEC) != 0) {
		free(l);
		return NULL;
	}
	l->pipe = p[1];
	l->child = fork();
	if (l->child == 0) {
		close(p[1]);
		wait_and_remove(p[0], path);
	}
	close(p[0]);
	if (l->child > 0)
		return l;
	close(p[1]);
	free(l);
	return NULL;
}

void
leftover_close(struct leftover *l)
{
	if (l == NULL)
		return;
	close(l->pipe);
	while (waitpid(l->child, NULL, 0) < 0 && errno == EINTR)
		;
	free(l);
}
