/* SPDX-License-Identifier: Apache-2.0 */
/* helper/nbd.c - regent-nbd: a disk that is not a raw file here, in a process of its own.
 *
 *	regent-nbd FD uri URI rw|ro
 *	regent-nbd FD FORMAT FILE rw|ro
 *
 * FD is a SOCK_SEQPACKET socket to the monitor; host/remote.h has the messages. libnbd does the rest: it connects to
 * the server that URI names, or starts a qemu-nbd of its own for FILE, which is told the format. Nobody guesses one: a
 * guest could write another format's header into a raw disk and be given files of the host by it.
 * The process ends with the socket, or with the server. Once connected it can open, connect and start nothing (confine.def).
 */
#include "helper/confine.h"
#include "host/remote.h"
#include <errno.h>
#include <grp.h>
#include <libnbd.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { NOBODY = 65534, STATUS_failed = 1, LINE = 256, SECTOR = 512, FILES_MAX = 64, END_MS = 3000, MEMORY_MAX = 256 << 20 };

/* A request of the monitor's on its way to the server and back. */
struct command {
	bool used, done;
	struct remote_request q;
	uint32_t error;
	uint8_t data[REMOTE_PIECE];
};

static struct command commands[REMOTE_FLYING];
static struct nbd_handle *nbd;
static int monitor;
static bool can_flush, can_fua, can_trim;

static bool
say(const char *line)
{
	return send(monitor, line, strlen(line), MSG_NOSIGNAL) > 0;
}

/* ---- requests ---- */

static int
completed(void *ctx, int *error)
{
	struct command *c = ctx;

	c->done = true;
	c->error = (uint32_t)*error;
	return 1;
}

static bool
sane(const struct remote_request *q, size_t data)
{
	if (q->op >= REMOTE__OPS || data != (q->op == REMOTE_write ? q->len : 0))
		return false;
	return (q->op != REMOTE_read && q->op != REMOTE_write) || (q->len > 0 && q->len <= REMOTE_PIECE);
}

/* To the server; -1: it cannot be asked. */
static int64_t
begin(struct command *c)
{
	nbd_completion_callback cb = { .callback = completed, .user_data = c };
	const struct remote_request *q = &c->q;

	switch (q->op) {
	case REMOTE_read:
		return nbd_aio_pread(nbd, c->data, q->len, q->at, cb, 0);
	case REMOTE_write:
		return nbd_aio_pwrite(nbd, c->data, q->len, q->at, cb, q->durable && can_fua ? LIBNBD_CMD_FLAG_FUA : 0);
	case REMOTE_flush:
		return nbd_aio_flush(nbd, cb, 0);
	case REMOTE_discard:
		return nbd_aio_trim(nbd, q->len, q->at, cb, 0);
	case REMOTE_zero:
		return nbd_aio_zero(nbd, q->len, q->at, cb, 0);
	}
	return -1;
}

/* A server that knows no flush has nothing to flush: what it said is done is done. A discard is advice. */
static void
start(struct command *c)
{
	c->done = (c->q.op == REMOTE_flush && !can_flush) || (c->q.op == REMOTE_discard && !can_trim);
	c->error = 0;
	if (!c->done && begin(c) < 0) {
		c->done = true;
		c->error = (uint32_t)(nbd_get_errno() != 0 ? nbd_get_errno() : EIO);
	}
}

/* false: the monitor has gone, or does not keep to what was agreed. */
static bool
take(void)
{
	struct command *c = commands;
	struct iovec iov[2];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	while (c < commands + REMOTE_FLYING && c->used)
		c++;
	if (c == commands + REMOTE_FLYING)
		return false;		/* it has as many as we, and knows which are free */
	iov[0] = (struct iovec){ &c->q, sizeof(c->q) };
	iov[1] = (struct iovec){ c->data, sizeof(c->data) };
	n = recvmsg(monitor, &m, 0);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if ((size_t)n < sizeof(c->q) || !sane(&c->q, (size_t)n - sizeof(c->q)))
		return false;
	c->used = true;
	start(c);
	return true;
}

/* A write that has to be on the medium, where the server has no such write: a flush behind it. */
static bool
flush_follows(struct command *c)
{
	if (c->error != 0 || c->q.op != REMOTE_write || !c->q.durable || can_fua || !can_flush)
		return false;
	c->q.op = REMOTE_flush;
	start(c);
	return !c->done;
}

static bool
answer(struct command *c)
{
	struct remote_answer a = { .cookie = c->q.cookie, .error = c->error,
		.len = c->q.op == REMOTE_read && c->error == 0 ? (uint32_t)c->q.len : 0 };
	struct iovec iov[2] = { { &a, sizeof(a) }, { c->data, a.len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = a.len > 0 ? 2 : 1 };

	c->used = false;
	return sendmsg(monitor, &m, MSG_NOSIGNAL) > 0;	/* waits: the monitor always takes them */
}

static bool
answer_all(void)
{
	for (struct command *c = commands; c < commands + REMOTE_FLYING; c++)
		if (c->used && c->done && !flush_follows(c) && !answer(c))
			return false;
	return true;
}

static bool
server_lives(void)
{
	return nbd_aio_is_dead(nbd) != 1 && nbd_aio_is_closed(nbd) != 1;
}

/* What the connection wants to hear of. */
static short
wanted(void)
{
	unsigned dir = nbd_aio_get_direction(nbd);

	return (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) | (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

/* Once what the monitor (if it is to be heard) and the server have to say. false: nothing came in time. */
static bool
turn(struct pollfd *from_monitor, int ms)
{
	struct pollfd p[2] = { { .fd = nbd_aio_get_fd(nbd), .events = wanted() }, { .fd = -1 } };
	int n;

	if (from_monitor != NULL)
		p[1] = *from_monitor;
	if ((n = poll(p, 2, ms)) <= 0)
		return n < 0 && errno == EINTR;
	if (p[0].revents & POLLOUT && wanted() & POLLOUT)
		nbd_aio_notify_write(nbd);
	else if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
		nbd_aio_notify_read(nbd);
	return p[1].revents == 0 || take();
}

static void
run(void)
{
	struct pollfd p = { .fd = monitor, .events = POLLIN };

	/* What a server that has gone leaves behind is not answered: the monitor sees our end, and says so once. */
	while (server_lives() && answer_all() && turn(&p, -1))
		;
}

/* A server that does not answer is left alone. */
static void
take_leave(void)
{
	if (nbd_aio_disconnect(nbd, 0) == 0)
		while (server_lives() && turn(NULL, END_MS))
			;
}

/* ---- being one ---- */

/* A socket that listens, and one that is connected to it already; no name of it is left. */
static bool
socket_ends(int *listener, int *client)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/regent-nbd-XXXXXX";
	bool done;

	if (mkdtemp(dir) == NULL)
		return false;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", dir);
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	done = bind(*listener, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(*listener, 1) == 0 &&
	    connect(*client, (struct sockaddr *)&a, sizeof(a)) == 0;
	unlink(a.sun_path);
	rmdir(dir);
	return done;
}

/* qemu-nbd, which finds its socket as systemd would give it; its words go where they can be read. */
static void
server(const char *format, const char *absolute, bool read_only, int listener, int words)
{
	char *argv[] = { "qemu-nbd", "--format", (char *)(uintptr_t)format, "--discard=unmap",
		read_only ? "--read-only" : "--cache=writeback", (char *)(uintptr_t)absolute, NULL };
	enum { FIRST = 3 };
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	dup2(words, STDERR_FILENO);
	dup2(words, STDOUT_FILENO);
	dup2(listener, FIRST);
	close_range(FIRST + 1, ~0u, 0);
	execvp(argv[0], argv);
	fprintf(stderr, "cannot start qemu-nbd: %s; the package qemu-utils has it\n", strerror(errno));
	_exit(STATUS_failed);
}

/* The first line of what it said, behind its own name. */
static void
say_words(int words)
{
	char line[LINE] = "", *cut, *from;
	ssize_t n = pread(words, line, sizeof(line) - 1, 0);

	line[n > 0 ? n : 0] = '\0';
	if ((cut = strchr(line, '\n')) != NULL)
		*cut = '\0';
	from = strncmp(line, "qemu-nbd: ", 10) == 0 ? line + 10 : line;
	say(*from != '\0' ? from : "qemu-nbd ended at once");
}

static int
serve_file(const char *format, const char *file, bool read_only)
{
	char absolute[PATH_MAX];
	int words = memfd_create("words", MFD_CLOEXEC), listener = -1, client = -1, rc;
	pid_t pid;

	/* A name with a colon would be a protocol's, for qemu-nbd, if it did not begin with a slash. */
	if (realpath(file, absolute) == NULL)
		return say(strerror(errno)), -1;
	if (!socket_ends(&listener, &client) || (pid = fork()) < 0)
		return say("no socket for qemu-nbd"), -1;
	if (pid == 0)
		server(format, absolute, read_only, listener, words);
	close(listener);
	if ((rc = nbd_connect_socket(nbd, client)) != 0)
		say_words(words);
	close(words);
	return rc;
}

static int
connect_uri(const char *uri)
{
	char line[LINE], *cut;

	nbd_set_uri_allow_local_file(nbd, true);	/* keys of TLS, as the user names them */
	if (nbd_connect_uri(nbd, uri) == 0)
		return 0;
	snprintf(line, sizeof(line), "%s", nbd_get_error() != NULL ? nbd_get_error() : "cannot connect");
	if ((cut = strchr(line, '\n')) != NULL)
		*cut = '\0';
	say(line);
	return -1;
}

/* NULL, or why a guest cannot have it. */
static const char *
unfit(bool read_only)
{
	if (nbd_get_size(nbd) < SECTOR)
		return "is smaller than a sector";
	if (nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM) > SECTOR)
		return "is served in blocks larger than a guest's sectors of 512 bytes";
	if (!read_only && nbd_is_read_only(nbd) == 1)
		return "is served read-only; add ,ro";
	return NULL;
}

/* All that is needed is open: the monitor's socket and the server's. */
static bool
give_up_rights(bool served_here)
{
	struct confine c = { .who = CONFINE_nbd, .own_user = true, .dir = -1, .files = FILES_MAX, .memory = MEMORY_MAX };
	bool rooted;

	if (!served_here && geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) != 0))
		fprintf(stderr, "regent-nbd: stays root: %s\n", strerror(errno));
	return confine(&c, &rooted) == 0 || (say("regent-nbd: this host's kernel does not take its seccomp filter"), false);
}

static bool
greet(bool read_only)
{
	struct remote_hello h = { .size = (uint64_t)nbd_get_size(nbd),
		.can = nbd_can_zero(nbd) == 1 ? REMOTE_CAN_zero : 0u };
	const char *why = unfit(read_only);

	if (why != NULL)
		return say(why), false;
	can_flush = nbd_can_flush(nbd) == 1;
	can_fua = nbd_can_fua(nbd) == 1;
	can_trim = nbd_can_trim(nbd) == 1;
	return say("ok") && send(monitor, &h, sizeof(h), MSG_NOSIGNAL) == sizeof(h);
}

int
main(int argc, char **argv)
{
	bool uri, read_only;

	if (argc != 5) {
		fprintf(stderr, "regent-nbd is for the monitor to start; see --disk in `regent run --help`\n");
		return STATUS_failed;
	}
	monitor = atoi(argv[1]);
	uri = strcmp(argv[2], "uri") == 0;
	read_only = strcmp(argv[4], "ro") == 0;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "regent-nbd");
	if ((nbd = nbd_create()) == NULL)
		return say("libnbd does not start"), STATUS_failed;
	if ((uri ? connect_uri(argv[3]) : serve_file(argv[2], argv[3], read_only)) == 0 && give_up_rights(!uri) &&
	    greet(read_only))
		run();
	take_leave();
	nbd_close(nbd);
	return 0;
}
