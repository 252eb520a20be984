/* SPDX-License-Identifier: Apache-2.0 */
/* cli/ask.c - `regent ask`: whom a policy's `ask` rules ask. */
#include "cli/cli.h"
#include "cli/client.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char help_ask[] =
    "  regent ask [--timeout SECONDS] [--json] NAME\n\n"
    "Prints what the guest wants to do where its policy says `ask`, and reads the answer: y allows, all else denies.\n"
    "  --timeout SECONDS   until it is denied; 10 by default\n"
    "  --json              for programs: each question is an object on a line; answer with\n"
    "                      {\"question\": N, \"answer\": \"allow\"} or \"deny\"\n"
    "The processor that asks stands still meanwhile. While nobody runs `regent ask`, and when it ends, all is denied.\n";

enum { LINES_SIZE = 64 << 10, PATH_SIZE = 64, ANSWER_SIZE = 96 };

struct lines {
	char buf[LINES_SIZE];
	size_t n;
};

struct ask {
	int fd;
	bool json, asked;		/* asked: the question `number` waits for the user */
	long long number;
	struct lines from, typed;
};

/* false: the other side is done. */
static bool
more(struct lines *l, int fd)
{
	ssize_t got = read(fd, l->buf + l->n, sizeof(l->buf) - l->n);

	if (got > 0)
		l->n += (size_t)got;
	return got > 0 || (got < 0 && errno == EINTR);
}

/* The next whole line, to be freed; NULL: there is none yet. */
static char *
take(struct lines *l)
{
	char *end = memchr(l->buf, '\n', l->n), *line;

	if (end == NULL)
		return NULL;
	line = strndup(l->buf, (size_t)(end - l->buf));
	l->n -= (size_t)(end + 1 - l->buf);
	memmove(l->buf, end + 1, l->n);
	return line;
}

static bool
put(int fd, const char *line)
{
	size_t n = strlen(line);

	return send(fd, line, n, MSG_NOSIGNAL) == (ssize_t)n && send(fd, "\n", 1, MSG_NOSIGNAL) == 1;
}

static const char *
text(const json_t *q, const char *key)
{
	const char *s = json_string_value(json_object_get(q, key));

	return s != NULL ? s : "?";
}

static void
show(struct ask *a, const char *line)
{
	json_t *q = json_loads(line, 0, NULL);

	a->asked = true;
	a->number = json_integer_value(json_object_get(q, "question"));
	printf("%s %s: %s -> %s, by vcpu %lld at %s, cpl %lld (%s). Allow? [y/N] ", text(q, "access"), text(q, "object"),
	       text(q, "old"), text(q, "value"), json_integer_value(json_object_get(q, "cpu")), text(q, "rip"),
	       json_integer_value(json_object_get(q, "cpl")), text(q, "rule"));
	fflush(stdout);
	json_decref(q);
}

/* One question at a time; the next when that is answered. */
static bool
converse(struct ask *a)
{
	char *line, answer[ANSWER_SIZE];
	bool fine = true;

	while (fine && (a->json || !a->asked) && (line = take(&a->from)) != NULL) {
		if (a->json)
			fine = puts(line) >= 0 && fflush(stdout) == 0;
		else
			show(a, line);
		free(line);
	}
	while (fine && (a->json || a->asked) && (line = take(&a->typed)) != NULL) {
		if (a->json) {
			fine = put(a->fd, line);
		} else {
			snprintf(answer, sizeof(answer), "{\"question\": %lld, \"answer\": \"%s\"}", a->number,
				 line[0] == 'y' || line[0] == 'Y' ? "allow" : "deny");
			fine = put(a->fd, answer);
			a->asked = false;
		}
		free(line);
	}
	return fine;
}

static bool
has_line(const struct lines *l)
{
	return memchr(l->buf, '\n', l->n) != NULL;
}

/* Until the machine leaves, or the user, whose answers are all used then. */
static void
attend(struct ask *a)
{
	bool typing = true;

	while (converse(a) && (typing || has_line(&a->typed))) {
		struct pollfd pfd[2] = { { .fd = a->fd, .events = POLLIN }, { .fd = typing ? STDIN_FILENO : -1, .events = POLLIN } };

		if (!a->json && !a->asked && has_line(&a->from))
			continue;
		if (poll(pfd, 2, -1) < 0)
			continue;
		if (pfd[0].revents != 0 && !more(&a->from, a->fd))
			return;
		if (pfd[1].revents != 0)
			typing = more(&a->typed, STDIN_FILENO);
	}
}

int
cli_ask(int argc, char **argv)
{
	static const struct option options[] = { { "timeout", required_argument, NULL, 't' }, { "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 } };
	static struct ask a;
	const char *timeout = "10";
	char path[PATH_SIZE];
	int c, status;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c == 't')
			timeout = optarg;
		else if (c == 'j')
			a.json = true;
		else
			return cli_bad_option("ask", c, argv);
	}
	if (strspn(timeout, "0123456789") != strlen(timeout) || atoi(timeout) < 1 || atoi(timeout) > 3600 || strlen(timeout) > 4)
		return cli_fail(STATUS_usage, "--timeout %s: choose 1 to 3600 seconds", timeout);
	if (argc - optind != 1)
		return cli_fail(STATUS_usage, "name one machine; see `regent ask --help`");
	snprintf(path, sizeof(path), "/regent/ask?timeout=%s", timeout);
	if ((a.fd = client_upgrade(argv[optind], path, "somebody answers for it already, or it has not started", &status)) < 0)
		return status;
	if (!a.json)
		fprintf(stderr, "answering for %s; when this ends all is denied\n", argv[optind]);
	attend(&a);
	close(a.fd);
	return cli_finish(STATUS_ok);
}
