/* SPDX-License-Identifier: Apache-2.0 */
/* cli/console.c - `regent console NAME`: this terminal becomes the guest's, until one leaves. */
#include "cli/cli.h"
#include "cli/client.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

const char help_console[] =
    "  regent console NAME\n\n"
    "Shows the last that the guest printed and what it prints from now on; keys go to the guest.\n"
    "The guest of --console virtio is told this window's size. Ctrl-A x detaches (the machine runs on), Ctrl-A a sends Ctrl-A, Ctrl-A h helps.\n";

enum { KEY_PREFIX = 1, PIECE = 4096 };
static const char keys[] = "\r\nCtrl-A x  detach: the machine runs on\r\nCtrl-A a  send Ctrl-A to the guest\r\n"
	"Ctrl-A h  this help\r\n";

static volatile sig_atomic_t leave_now, resized = 1;

struct console {
	const char *name;
	int fd;
	sigset_t mask;			/* while it waits: every signal is let in then, and only then */
	bool raw, prefix;
	struct termios saved;
};

static void
on_signal(int sig)
{
	if (sig == SIGWINCH)
		resized = 1;
	else
		leave_now = sig;
}

static void
terminal_take(struct console *c)
{
	struct sigaction sa = { .sa_handler = on_signal };
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH };
	struct termios raw;
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i], &sa, NULL);
		sigaddset(&set, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &set, &c->mask);
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &c->saved) != 0)
		return;
	raw = c->saved;
	cfmakeraw(&raw);
	c->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void
terminal_return(struct console *c)
{
	if (c->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &c->saved);
}

static bool
put(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t got = write(fd, p, n);

		if (got < 0 && errno != EINTR)
			return false;
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
	return true;
}

/* Keys for us are taken out of buf; the rest's length. *leave: detach. */
static size_t
filter(struct console *c, char *buf, size_t n, bool *leave)
{
	size_t out = 0;

	for (size_t i = 0; i < n && !*leave; i++) {
		char key = buf[i];

		if (!c->raw || (!c->prefix && key != KEY_PREFIX)) {
			buf[out++] = key;
			continue;
		}
		if (!c->prefix) {
			c->prefix = true;
			continue;
		}
		c->prefix = false;
		if (key == 'x' || key == 'd')
			*leave = true;
		else if (key == 'h' || key == '?')
			put(STDERR_FILENO, keys, sizeof(keys) - 1);
		else if (key == 'a' || key == KEY_PREFIX)
			buf[out++] = KEY_PREFIX;
	}
	return out;
}

/* From the keyboard or pipe to the guest. false: there will be no more; *leave: detach. */
static bool
pass_keys(struct console *c, bool *leave)
{
	char buf[PIECE];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	size_t left;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	left = filter(c, buf, (size_t)n, leave);
	return put(c->fd, buf, left);
}

static bool
pass_output(struct console *c)
{
	char buf[PIECE];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n <= 0)
		return n < 0 && errno == EINTR;
	return put(STDOUT_FILENO, buf, (size_t)n);
}

/* A serial port has no use for it: that it refuses is fine. */
static void
size_tell(const struct console *c)
{
	struct client_reply rep;
	struct winsize w;
	char body[64];

	resized = 0;
	if (!c->raw || ioctl(STDIN_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0)
		return;
	snprintf(body, sizeof(body), "{\"columns\": %u, \"rows\": %u}", w.ws_col, w.ws_row);
	rep = client_try(c->name, "PUT", "/regent/console", body);
	json_decref(rep.body);
}

/* Until the machine or the user leaves. true: the user did. */
static bool
attend(struct console *c)
{
	bool typing = true, leave = false;

	while (!leave && leave_now == 0) {
		struct pollfd pfd[2] = { { .fd = c->fd, .events = POLLIN },
			{ .fd = typing ? STDIN_FILENO : -1, .events = POLLIN } };

		if (resized)
			size_tell(c);
		if (ppoll(pfd, 2, NULL, &c->mask) < 0)
			continue;
		if (pfd[0].revents != 0 && !pass_output(c))
			return false;
		if (pfd[1].revents != 0)
			typing = pass_keys(c, &leave);
	}
	return true;
}

int
cli_console(int argc, char **argv)
{
	struct console c = { 0 };
	int status = 0;
	bool left;

	if (argc != 2 || argv[1][0] == '-')
		return cli_fail(STATUS_usage, "name one machine; see `regent console --help`");
	if ((c.fd = client_upgrade(argv[1], "/regent/console", "its console cannot be attached", &status)) < 0)
		return status;
	c.name = argv[1];
	terminal_take(&c);
	if (c.raw)
		fprintf(stderr, "attached to %s; Ctrl-A x detaches\r\n", argv[1]);
	left = attend(&c);
	terminal_return(&c);
	close(c.fd);
	if (c.raw)
		fprintf(stderr, "\n%s %s\n", left ? "detached from" : "the machine has ended:", argv[1]);
	return STATUS_ok;
}
