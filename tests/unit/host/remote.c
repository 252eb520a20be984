/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/host/remote.c - a disk behind a helper that is honest, slow, a liar, or gone.
 *
 * The helper is this program itself, started under the name regent-nbd; what it is to do stands where a URI would.
 */
#include "check.h"
#include "host/disk.h"
#include "host/remote.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 1 << 20, ODD = 77 * 512, SEGMENTS = 5, CLOSE_SECONDS = 20, WAIT_SECONDS = 30 };

/* ---- the helper ---- */

static uint8_t medium[SIZE];
static struct { struct remote_request q; uint8_t data[REMOTE_PIECE]; } in;
static struct { struct remote_answer a; uint8_t data[REMOTE_PIECE + 1]; } out;

static void
reply(int fd, size_t n)
{
	if (send(fd, &out, sizeof(out.a) + n, MSG_NOSIGNAL) < 0)
		_exit(0);
}

static void
obey(void)
{
	out.a = (struct remote_answer){ .cookie = in.q.cookie };
	if (in.q.op == REMOTE_write)
		memcpy(medium + in.q.at, in.data, in.q.len);
	if (in.q.op == REMOTE_zero || in.q.op == REMOTE_discard)
		out.a.error = ENOTSUP;
	if (in.q.op != REMOTE_read)
		return;
	out.a.len = (uint32_t)in.q.len;
	memcpy(out.data, medium + in.q.at, in.q.len);
}

static int
helper(int fd, const char *way)
{
	struct remote_hello h = { .size = SIZE };

	if (strcmp(way, "refuses") == 0)
		return send(fd, "does not like you", 17, 0) != 17;
	if (send(fd, "ok", 2, 0) != 2 || send(fd, &h, sizeof(h), 0) != sizeof(h))
		return 1;
	if (strcmp(way, "unasked") == 0)
		reply(fd, 0);
	while (recv(fd, &in, sizeof(in), 0) > 0) {
		obey();
		if (strcmp(way, "hangs up") == 0)
			return 0;
		if (strcmp(way, "silent") == 0)
			continue;
		if (strcmp(way, "fails") == 0)
			out.a = (struct remote_answer){ .cookie = in.q.cookie, .error = ENOSPC };
		if (strcmp(way, "far cookie") == 0)
			out.a.cookie = UINT64_MAX;
		if (strcmp(way, "free cookie") == 0)
			out.a.cookie = (out.a.cookie + 1) % REMOTE_FLYING;
		if (strcmp(way, "long") == 0)
			out.a.len++;
		if (strcmp(way, "short") == 0)
			reply(fd, 3);
		reply(fd, out.a.len);
	}
	return 0;
}

/* ---- the disk's user ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static unsigned answers;

static void
done(struct disk_request *r, int error)
{
	pthread_mutex_lock(&lock);
	*(int *)r->ctx = error;
	answers++;
	pthread_cond_signal(&came);
	pthread_mutex_unlock(&lock);
}

/* One request, and its error; -1: no answer at all. */
static int
ask(struct disk *d, enum disk_op op, uint64_t at, uint8_t *data, size_t len)
{
	static struct iovec iov[SEGMENTS];	/* of five unequal lengths */
	static int error;
	static struct disk_request r;
	struct timespec end = { .tv_sec = time(NULL) + WAIT_SECONDS };
	size_t cut = 0;

	for (unsigned i = 0; i < SEGMENTS; i++) {
		size_t n = i == SEGMENTS - 1 ? len - cut : len / 16 * (i + 1);

		iov[i] = (struct iovec){ data + cut, n };
		cut += n;
	}
	error = -1;
	answers = 0;
	r = (struct disk_request){ .op = op, .at = at, .len = len, .iov = data == NULL ? NULL : iov,
		.niov = data == NULL ? 0 : SEGMENTS, .done = done, .ctx = &error };
	disk_submit(d, &r);
	pthread_mutex_lock(&lock);
	while (answers == 0 && pthread_cond_timedwait(&came, &lock, &end) == 0)
		;
	pthread_mutex_unlock(&lock);
	return answers == 1 ? error : -1;
}

static struct disk *
open_way(const char *way)
{
	char err[256] = "";
	struct disk *d = disk_open_remote(way, NULL, false, err, sizeof(err));

	if (d == NULL)
		printf("# %s\n", err);
	else
		CHECK_EQ(disk_start(d), 0);
	return d;
}

static void
honest(void)
{
	enum { LEN = 300 << 10 };
	static uint8_t was[LEN], is[LEN];
	struct disk *d = open_way("honest");

	CHECK(d != NULL && disk_size(d) == SIZE);
	for (unsigned i = 0; i < LEN; i++)
		was[i] = (uint8_t)(i * 7 + i / 256 * 31);
	CHECK_EQ(ask(d, DISK_write, ODD, was, LEN), 0);
	CHECK_EQ(ask(d, DISK_flush, 0, NULL, 0), 0);
	CHECK_EQ(ask(d, DISK_read, ODD, is, LEN), 0);
	CHECK(memcmp(was, is, LEN) == 0);
	/* It said that it cannot do zeroes: it is sent some. */
	CHECK_EQ(ask(d, DISK_zero, ODD + 512, NULL, 200 << 10), 0);
	CHECK_EQ(ask(d, DISK_read, ODD, is, LEN), 0);
	memset(was + 512, 0, 200 << 10);
	CHECK(memcmp(was, is, LEN) == 0);
	CHECK_EQ(ask(d, DISK_discard, 0, NULL, 4096), ENOTSUP);
	disk_close(d);
}

static void
liars(void)
{
	static const char *const ways[] = { "unasked", "hangs up", "far cookie", "free cookie", "long", "short" };
	static uint8_t data[100 << 10];

	for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		struct disk *d = open_way(ways[i]);

		CHECK(d != NULL);
		if (ask(d, DISK_read, 0, data, sizeof(data)) != ECONNRESET || ask(d, DISK_write, 0, data, sizeof(data)) != ECONNRESET)
			check_fail(__FILE__, __LINE__, ways[i], 0, ECONNRESET);
		disk_close(d);
	}
}

/* A server's own errors come through, and the next request is asked all the same. */
static void
failing(void)
{
	static uint8_t data[500 << 10];
	struct disk *d = open_way("fails");

	CHECK(d != NULL);
	CHECK_EQ(ask(d, DISK_write, 0, data, sizeof(data)), ENOSPC);
	CHECK_EQ(ask(d, DISK_read, 0, data, sizeof(data)), ENOSPC);
	disk_close(d);
}

static void
refused(void)
{
	char err[256] = "";

	CHECK(disk_open_remote("refuses", NULL, false, err, sizeof(err)) == NULL);
	CHECK(strcmp(err, "refuses: does not like you") == 0);
}

/* Who ends does not wait for a server that says nothing. */
static void
silent(void)
{
	struct disk *d = open_way("silent");
	struct disk_request r = { .op = DISK_flush, .done = done };
	time_t from = time(NULL);
	int error = -1;

	CHECK(d != NULL);
	r.ctx = &error;
	disk_submit(d, &r);
	disk_close(d);
	CHECK_EQ(error, ECONNRESET);
	CHECK(time(NULL) - from >= 2 && time(NULL) - from < CLOSE_SECONDS);
}

int
main(int argc, char **argv)
{
	char dir[] = "/tmp/regent-remote-XXXXXX", name[64], self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc == 5)
		return helper(atoi(argv[1]), argv[3]);
	self[n > 0 ? n : 0] = '\0';
	if (mkdtemp(dir) == NULL || snprintf(name, sizeof(name), "%s/regent-nbd", dir) < 0 || symlink(self, name) != 0)
		return 1;
	setenv("REGENT_HELPERS", dir, 1);
	RUN(honest);
	RUN(liars);
	RUN(failing);
	RUN(refused);
	RUN(silent);
	unlink(name);
	rmdir(dir);
	return check_done();
}
