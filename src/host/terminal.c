/* SPDX-License-Identifier: Apache-2.0 */
/* host/terminal.c - raw mode, its guardian, and the Ctrl-A keys. */
#include "host/terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { KEY_PREFIX = 0x01 };

const char terminal_help[] =
	"\r\nCtrl-A x  leave: ends the machine\r\n"
	"Ctrl-A a  send Ctrl-A to the guest\r\n"
	"Ctrl-A h  this help\r\n";

struct terminal {
	int fd;
	int guardian_pipe;	/* a byte: restored already; end of file: we died */
	pid_t guardian;
	struct termios saved;
};

/* Child: async-signal-safe calls only, the parent may have had threads. */
static void
guardian_run(int fd, int pipe_fd, const struct termios *saved)
{
	char byte;
	ssize_t n;

	signal(SIGTTOU, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	if (pipe_fd != STDERR_FILENO + 1)
		dup2(pipe_fd, STDERR_FILENO + 1);
	if (fd != STDIN_FILENO)
		dup2(fd, STDIN_FILENO);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	close_range(STDERR_FILENO + 2, ~0u, 0);
	do {
		n = read(STDERR_FILENO + 1, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		tcsetattr(STDIN_FILENO, TCSANOW, saved);
	_exit(0);
}

struct terminal *
terminal_open(int fd)
{
	struct terminal *t;
	struct termios raw;
	int p[2];

	if (!isatty(fd) || tcgetpgrp(fd) != getpgrp() || (t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	t->fd = fd;
	if (tcgetattr(fd, &t->saved) != 0 || pipe2(p, O_CLOEXEC) != 0) {
		free(t);
		return NULL;
	}
	t->guardian_pipe = p[1];
	t->guardian = fork();
	if (t->guardian == 0) {
		close(p[1]);
		guardian_run(fd, p[0], &t->saved);
	}
	close(p[0]);
	if (t->guardian < 0) {
		close(p[1]);
		free(t);
		return NULL;
	}
	raw = t->saved;
	cfmakeraw(&raw);
	raw.c_oflag = t->saved.c_oflag;	/* our own lines on stderr still begin at the left */
	tcsetattr(fd, TCSANOW, &raw);
	return t;
}

void
terminal_close(struct terminal *t)
{
	ssize_t told;

	if (t == NULL)
		return;
	tcsetattr(t->fd, TCSANOW, &t->saved);
	told = write(t->guardian_pipe, "q", 1);
	(void)told;		/* if it is gone, there is nothing left to tell */
	close(t->guardian_pipe);
	while (waitpid(t->guardian, NULL, 0) < 0 && errno == EINTR)
		;
	free(t);
}

size_t
terminal_filter(struct terminal_keys *k, uint8_t *bytes, size_t n, enum terminal_wish *wish)
{
	size_t out = 0;

	*wish = TERMINAL_nothing;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = bytes[i];

		if (!k->prefix && c == KEY_PREFIX) {
			k->prefix = true;
			continue;
		}
		if (!k->prefix) {
			bytes[out++] = c;
			continue;
		}
		k->prefix = false;
		if (c == 'x' || c == 'X')
			*wish = TERMINAL_leave;
		else if (c == 'h' || c == 'H' || c == '?')
			*wish = *wish == TERMINAL_leave ? TERMINAL_leave : TERMINAL_help;
		else if (c == 'a' || c == 'A' || c == KEY_PREFIX)
			bytes[out++] = KEY_PREFIX;
	}
	return out;
}
