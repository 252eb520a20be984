/* SPDX-License-Identifier: Apache-2.0 */
/* host/helper.c - helper programs: found, started with nothing but a socket, ended. */
#include "host/helper.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_MS = 10000, END_STEPS = 50, STEP_NS = 10000000, BUFFER = 4 << 20, EXEC_FAILED = 127 };

static int
helper_find(const char *name, char *path, size_t size)
{
	const char *dir = getenv("REGENT_HELPERS");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	if (dir != NULL && snprintf(path, size, "%s/%s", dir, name) < (int)size)
		return access(path, X_OK);
	*(strrchr(self, '/') != NULL ? strrchr(self, '/') : self) = '\0';
	if (snprintf(path, size, "%s/%s", self, name) < (int)size && access(path, X_OK) == 0)
		return 0;
	snprintf(path, size, "/usr/libexec/regent/%s", name);
	return access(path, X_OK);
}

/* Between fork and exec: async-signal-safe calls only, the parent may have threads. */
static void
child(const char *path, char *const argv[], int fd)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);			/* Ctrl-C is the monitor's; it ends us */
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (fd == HELPER_FD)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, HELPER_FD);
	close_range(HELPER_FD + 1, ~0u, 0);
	execv(path, argv);
	_exit(EXEC_FAILED);
}

int
helper_start(const char *name, char *const argv[], int *fd, pid_t *pid, char *err, size_t err_size)
{
	char path[PATH_MAX];
	int pair[2], size = BUFFER;

	if (helper_find(name, path, sizeof(path)) != 0) {
		snprintf(err, err_size, "the program %s is missing; it belongs beside regent", name);
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		snprintf(err, err_size, "no socket: %s", strerror(errno));
		return -1;
	}
	/* As much as the host allows: a few large frames on the way keep both sides busy. */
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*pid = fork();
	if (*pid == 0)
		child(path, argv, pair[1]);
	close(pair[1]);
	if (*pid < 0) {
		snprintf(err, err_size, "cannot start %s: %s", name, strerror(errno));
		close(pair[0]);
		return -1;
	}
	*fd = pair[0];
	return 0;
}

int
helper_ready(int fd, const char *name, char *err, size_t err_size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char line[256];
	ssize_t n = -1;

	if (poll(&p, 1, READY_MS) == 1)
		n = recv(fd, line, sizeof(line) - 1, 0);
	if (n == 2 && memcmp(line, "ok", 2) == 0)
		return 0;
	if (n > 0)
		snprintf(err, err_size, "%.*s", (int)n, line);
	else
		snprintf(err, err_size, "%s ended at once or does not answer", name);
	return -1;
}

void
helper_end(pid_t pid)
{
	struct timespec step = { .tv_nsec = STEP_NS };

	for (int i = 0; i < END_STEPS; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		nanosleep(&step, NULL);
	}
	if (kill(pid, SIGKILL) != 0)	/* a sandbox forbids it; the helper's socket is closed all the same */
		return;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
