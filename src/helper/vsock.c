/* SPDX-License-Identifier: Apache-2.0 */
/* helper/vsock.c - regent-vsock: the host's end of a guest's vsock, as Unix sockets, in a process of its own.
 *
 *	regent-vsock FD PATH CID
 *
 * FD is a SOCK_SEQPACKET socket to the monitor: a message is one packet (virtio 1.2, 5.10.6), one byte alone says that
 * the guest's driver has reset. The first message from here is "ok", or the line that says why not. Who connects to
 * PATH and writes "CONNECT PORT" reaches the guest's PORT; a guest that connects to port P of CID 2 reaches PATH_P.
 *
 * Packets are the guest's and may be lies. What a connection may take up is bounded by the credit that we give, and
 * what we owe the guest is a set of flags per connection, not a queue; resets for connections that are none are a
 * short queue, and while it is full nothing more is taken from the guest.
 */
#include "helper/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNS_MAX = 256, CREDIT = 256 << 10, TELL = CREDIT / 4, DATA_MAX = 65536, HEADER = sizeof(struct virtio_vsock_hdr),
	REPLIES_MAX = 256, TURN = 64, LINE = 32, HOST_CID = 2, FIRST_PORT = 1 << 30, STATUS_failed = 1, PORT_TEXT = 12,
	FILES_MORE = 16, MEMORY_MAX = 256 << 20,
	SHUT_both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND };

enum state {
	CONN_free,
	CONN_draining,		/* over for the guest; the host has yet to read its last bytes */
	CONN_greeting,		/* connected to PATH, has not said where to */
	CONN_asked,		/* the guest was asked */
	CONN_open,
	CONN_closing,		/* the host's end is gone; the guest has not agreed yet */
};

/* What the guest is owed. Sent in this order. */
enum { OWE_request = 1, OWE_response = 2, OWE_credit = 4, OWE_shutdown = 8, OWE_reset = 16 };

struct conn {
	enum state state;
	int fd;
	uint32_t host_port, guest_port;
	unsigned owed;
	uint32_t got, fwd, told;	/* from the guest: received, passed on, and what it knows of that */
	uint32_t sent, peer_alloc, peer_fwd;
	uint8_t *buf;			/* CREDIT bytes, a ring of got - fwd bytes from fwd on; owned */
	bool host_done, guest_done;	/* will write no more */
	char line[LINE];
	unsigned line_len;
};

struct vsock {
	int fd, listener;
	uint32_t cid, next_port;
	const char *path;
	struct conn conn[CONNS_MAX];
	struct virtio_vsock_hdr reply[REPLIES_MAX];
	unsigned replies;
};

/* ---- to the guest ---- */

/* false: not now. */
static bool
send_packet(const struct vsock *s, struct virtio_vsock_hdr *h, const void *data, size_t n)
{
	struct iovec iov[2] = { { h, sizeof(*h) }, { (void *)(uintptr_t)data, n } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n != 0 ? 2 : 1 };

	h->src_cid = HOST_CID;
	h->dst_cid = s->cid;
	h->len = (uint32_t)n;
	return sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static bool
send_op(const struct vsock *s, struct conn *c, unsigned op, const void *data, size_t n)
{
	struct virtio_vsock_hdr h = { .src_port = c->host_port, .dst_port = c->guest_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = (uint16_t)op, .buf_alloc = CREDIT, .fwd_cnt = c->fwd };

	if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
		h.flags = c->state == CONN_closing ? (uint32_t)SHUT_both : (uint32_t)VIRTIO_VSOCK_SHUTDOWN_SEND;
	if (!send_packet(s, &h, data, n))
		return false;
	c->told = c->fwd;
	return true;
}

static void
conn_free(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	*c = (struct conn){ .fd = -1 };
}

/* The guest hears that it is over. */
static void
conn_reset(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CONN_closing;
	c->owed = OWE_reset;
}

static void
conn_pay(const struct vsock *s, struct conn *c)
{
	static const struct { unsigned owed, op; } row[] = {
		{ OWE_request, VIRTIO_VSOCK_OP_REQUEST }, { OWE_response, VIRTIO_VSOCK_OP_RESPONSE },
		{ OWE_credit, VIRTIO_VSOCK_OP_CREDIT_UPDATE }, { OWE_shutdown, VIRTIO_VSOCK_OP_SHUTDOWN },
		{ OWE_reset, VIRTIO_VSOCK_OP_RST },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		if ((c->owed & row[i].owed) == 0)
			continue;
		if (!send_op(s, c, row[i].op, NULL, 0))
			return;
		c->owed &= ~row[i].owed;
		if (row[i].owed == OWE_reset)
			conn_free(c);
	}
}

static void
pay_all(struct vsock *s)
{
	unsigned n = 0;

	while (n < s->replies && send_packet(s, &s->reply[n], NULL, 0))
		n++;
	s->replies -= n;
	memmove(s->reply, s->reply + n, s->replies * sizeof(s->reply[0]));
	for (unsigned i = 0; i < CONNS_MAX && s->replies == 0; i++)
		if (s->conn[i].owed != 0)
			conn_pay(s, &s->conn[i]);
}

/* A reset for what is no connection. There is room: nothing is taken from the guest without. */
static void
refuse(struct vsock *s, const struct virtio_vsock_hdr *to)
{
	if (to->op != VIRTIO_VSOCK_OP_RST && s->replies < REPLIES_MAX)
		s->reply[s->replies++] = (struct virtio_vsock_hdr){ .src_port = to->dst_port, .dst_port = to->src_port,
			.type = to->type, .op = VIRTIO_VSOCK_OP_RST };
}

/* ---- connections ---- */

static struct conn *
conn_find(struct vsock *s, uint32_t host_port, uint32_t guest_port)
{
	for (unsigned i = 0; i < CONNS_MAX; i++) {
		struct conn *c = &s->conn[i];

		if (c->state > CONN_greeting && c->host_port == host_port && c->guest_port == guest_port)
			return c;
	}
	return NULL;
}

/* A free one, or one that only waits for the guest's word; NULL: all are in use. */
static struct conn *
conn_new(struct vsock *s, int fd, enum state state)
{
	struct conn *c = NULL;

	for (unsigned i = 0; i < CONNS_MAX && (c == NULL || c->state != CONN_free); i++)
		if (s->conn[i].state == CONN_free || (s->conn[i].state == CONN_closing && s->conn[i].owed == 0))
			c = &s->conn[i];
	if (c == NULL)
		return NULL;
	conn_free(c);
	c->fd = fd;
	c->state = state;
	if ((c->buf = malloc(CREDIT)) != NULL)
		return c;
	c->fd = -1;
	conn_free(c);
	return NULL;
}

/* The host's end has gone: the guest is told, and agrees with a reset. */
static void
conn_hangup(struct conn *c)
{
	if (c->state == CONN_greeting || c->state == CONN_draining) {
		conn_free(c);
	} else if (c->state != CONN_open) {
		conn_reset(c);
	} else {
		close(c->fd);
		c->fd = -1;
		c->state = CONN_closing;
		c->owed = (c->owed & OWE_response) | OWE_shutdown;
	}
}

/* Passes on what the guest has sent. */
static void
conn_flush(struct conn *c)
{
	while (c->got != c->fwd) {
		size_t at = c->fwd % CREDIT, n = c->got - c->fwd;
		ssize_t done = send(c->fd, c->buf + at, n < CREDIT - at ? n : CREDIT - at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (done < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (done < 0) {
			conn_hangup(c);
			return;
		}
		c->fwd += (uint32_t)done;
	}
	if (c->state == CONN_open && c->fwd - c->told >= TELL)
		c->owed |= OWE_credit;
	if (c->guest_done && c->got == c->fwd)
		shutdown(c->fd, SHUT_WR);
}

static uint32_t
conn_room(const struct conn *c)
{
	uint32_t flying = c->sent - c->peer_fwd;

	return flying < c->peer_alloc ? c->peer_alloc - flying : 0;
}

static bool
conn_reads(const struct conn *c)
{
	return c->state == CONN_greeting || (c->state == CONN_open && !c->host_done && c->owed == 0 && conn_room(c) != 0);
}

/* One packet from the host's program to the guest. */
static void
conn_pass(struct vsock *s, struct conn *c)
{
	static uint8_t data[DATA_MAX];
	size_t room = conn_room(c);
	ssize_t n = recv(c->fd, data, room < DATA_MAX ? room : DATA_MAX, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_hangup(c);
	} else if (n == 0) {
		c->host_done = true;
		c->owed |= OWE_shutdown;
	} else if (send_op(s, c, VIRTIO_VSOCK_OP_RW, data, (size_t)n)) {
		c->sent += (uint32_t)n;
		recv(c->fd, data, (size_t)n, MSG_DONTWAIT);	/* the same bytes: nobody else reads them */
	}
}

/* "CONNECT PORT\n" */
static void
conn_greet(struct vsock *s, struct conn *c)
{
	unsigned long port;
	char *end;

	for (;;) {
		ssize_t n = recv(c->fd, c->line + c->line_len, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
			break;
		if (c->line[c->line_len] == '\n') {
			c->line[c->line_len] = '\0';
			port = strtoul(c->line + 8, &end, 10);
			if (strncmp(c->line, "CONNECT ", 8) != 0 || c->line[8] < '0' || c->line[8] > '9' || *end != '\0' ||
			    port >= UINT32_MAX)
				break;
			do
				c->host_port = s->next_port = s->next_port < UINT32_MAX - 1 ? s->next_port + 1 : FIRST_PORT;
			while (conn_find(s, c->host_port, (uint32_t)port) != NULL);
			c->guest_port = (uint32_t)port;
			c->state = CONN_asked;
			c->owed = OWE_request;
			return;
		}
		if (++c->line_len == LINE - 1)
			break;
	}
	conn_free(c);
}

/* ---- from the guest ---- */

static void
guest_asks(struct vsock *s, const struct virtio_vsock_hdr *h)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct conn *c = NULL;

	snprintf(to.sun_path, sizeof(to.sun_path), "%s_%u", s->path, h->dst_port);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		c = conn_new(s, fd, CONN_open);
	if (c == NULL) {
		if (fd >= 0)
			close(fd);
		refuse(s, h);
		return;
	}
	c->host_port = h->dst_port;
	c->guest_port = h->src_port;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	c->owed = OWE_response;
}

static void
guest_answers(struct conn *c)
{
	char line[LINE];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	if (c->state != CONN_asked) {
		conn_reset(c);
		return;
	}
	c->state = CONN_open;
	if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		conn_hangup(c);
}

/* More than we gave credit for, or out of turn, is the end of the connection. */
static void
guest_writes(struct conn *c, const uint8_t *data, uint32_t n)
{
	uint32_t at = c->got % CREDIT, first = n < CREDIT - at ? n : CREDIT - at;

	if (c->state != CONN_open || c->guest_done || n > CREDIT - (c->got - c->fwd)) {
		conn_reset(c);
		return;
	}
	memcpy(c->buf + at, data, first);
	memcpy(c->buf, data + first, n - first);
	c->got += n;
	conn_flush(c);
}

static void
guest_shuts(struct conn *c, uint32_t flags)
{
	if (c->state != CONN_open) {
		conn_reset(c);
		return;
	}
	c->guest_done |= (flags & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
	if ((flags & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0) {
		c->host_done = true;
		c->owed &= ~(unsigned)OWE_shutdown;
	}
	conn_flush(c);
}

/* Who has closed waits some seconds only, and resets. What it wrote is not lost by that. */
static void
guest_resets(struct conn *c)
{
	if (c->state == CONN_open && c->guest_done && c->got != c->fwd) {
		c->state = CONN_draining;
		c->owed = 0;
	} else {
		conn_free(c);
	}
}

/* Both of the guest's directions are shut and all is passed on. */
static bool
conn_over(const struct conn *c)
{
	return c->state == CONN_open && c->guest_done && c->host_done && c->got == c->fwd && (c->owed & ~(unsigned)OWE_credit) == 0;
}

static void
packet(struct vsock *s, const struct virtio_vsock_hdr *h, const uint8_t *data)
{
	struct conn *c = conn_find(s, h->dst_port, h->src_port);

	if (h->op == VIRTIO_VSOCK_OP_REQUEST && c == NULL) {
		guest_asks(s, h);
		return;
	}
	if (c == NULL) {
		refuse(s, h);
		return;
	}
	if (c->owed & OWE_reset)
		return;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		guest_answers(c);
		break;
	case VIRTIO_VSOCK_OP_RST:
		guest_resets(c);
		break;
	case VIRTIO_VSOCK_OP_RW:
		guest_writes(c, data, h->len);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		guest_shuts(c, h->flags);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->owed |= c->state == CONN_open ? OWE_credit : 0;
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	default:
		conn_reset(c);
	}
}

/* false: the monitor is gone. */
static bool
take_packets(struct vsock *s)
{
	static uint8_t message[HEADER + DATA_MAX];
	struct virtio_vsock_hdr h;

	for (unsigned i = 0; i < TURN && s->replies < REPLIES_MAX; i++) {
		ssize_t n = recv(s->fd, message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		for (unsigned k = 0; n == 1 && k < CONNS_MAX; k++)
			if (s->conn[k].state > CONN_greeting)
				conn_free(&s->conn[k]);
		if (n == 1)
			s->replies = 0;
		if (n < HEADER)
			continue;
		memcpy(&h, message, sizeof(h));
		if (h.src_cid != s->cid || h.dst_cid != HOST_CID)
			continue;
		if (n > (ssize_t)sizeof(message) || h.len > (size_t)n - HEADER)
			h.op = VIRTIO_VSOCK_OP_INVALID;
		if (h.type != VIRTIO_VSOCK_TYPE_STREAM)
			refuse(s, &h);
		else
			packet(s, &h, message + HEADER);
	}
	return true;
}

/* ---- the loop ---- */

static void
host_connects(struct vsock *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && conn_new(s, fd, CONN_greeting) == NULL)
		close(fd);
}

static void
conn_turn(struct vsock *s, struct conn *c, short got)
{
	if (c->fd < 0)
		return;
	if ((got & POLLOUT) != 0)
		conn_flush(c);
	if (c->fd >= 0 && (got & (POLLIN | POLLHUP | POLLERR)) != 0) {
		if (c->state == CONN_greeting)
			conn_greet(s, c);
		else if (conn_reads(c))
			conn_pass(s, c);
		else if ((got & (POLLHUP | POLLERR)) != 0 && (c->state == CONN_asked || c->host_done))
			conn_hangup(c);
	}
}

/* With nothing to be done about it, a socket's end is not looked for either: it would be found again and again. */
static struct pollfd
conn_poll(const struct conn *c, bool *owes)
{
	bool writes = (c->state == CONN_open || c->state == CONN_draining) && c->got != c->fwd, reads = conn_reads(c);
	bool ends = c->state == CONN_asked || (c->state == CONN_open && c->host_done);

	*owes |= c->owed != 0;
	return (struct pollfd){ .fd = writes || reads || ends ? c->fd : -1,
		.events = (short)((writes ? POLLOUT : 0) | (reads ? POLLIN : 0)) };
}

static void
run(struct vsock *s)
{
	static struct pollfd p[2 + CONNS_MAX];

	for (;;) {
		bool owes = false;

		for (unsigned i = 0; i < CONNS_MAX; i++) {
			if (s->conn[i].state == CONN_draining && s->conn[i].got == s->conn[i].fwd)
				conn_free(&s->conn[i]);
			else if (conn_over(&s->conn[i]))
				conn_reset(&s->conn[i]);
		}
		pay_all(s);
		for (unsigned i = 0; i < CONNS_MAX; i++)
			p[2 + i] = conn_poll(&s->conn[i], &owes);
		owes |= s->replies != 0;
		p[0] = (struct pollfd){ .fd = s->fd,
			.events = (short)((s->replies < REPLIES_MAX ? POLLIN : 0) | (owes ? POLLOUT : 0)) };
		p[1] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
		if (poll(p, 2 + CONNS_MAX, -1) < 0 && errno != EINTR)
			return;
		if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (!take_packets(s) || (p[0].revents & POLLIN) == 0))
			return;
		for (unsigned i = 0; i < CONNS_MAX; i++)
			conn_turn(s, &s->conn[i], p[2 + i].revents);
		if (p[1].revents != 0)
			host_connects(s);
	}
}

/* ---- beginning ---- */

static int
listen_at(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), probe;
	struct stat st;

	if (fd < 0)
		return -1;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	/* What a monitor that was killed has left behind, nobody listens on. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0) {
		if (connect(probe, (struct sockaddr *)&at, sizeof(at)) != 0 && errno == ECONNREFUSED)
			unlink(path);
		close(probe);
	}
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, CONNS_MAX) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The directory of its sockets becomes all that there is, where the host lets it. */
static int
confine_vsock(struct vsock *s)
{
	const char *slash = strrchr(s->path, '/');
	struct confine c = { .who = CONFINE_vsock, .own_user = true, .files = CONNS_MAX + FILES_MORE, .memory = MEMORY_MAX };
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	bool rooted;

	snprintf(dir, sizeof(dir), "%.*s", slash == NULL ? 1 : slash == s->path ? 1 : (int)(slash - s->path),
	    slash == NULL ? "." : s->path);
	c.root = dir;
	if ((c.dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 || confine(&c, &rooted) != 0)
		return -1;
	close(c.dir);
	if (rooted && slash != NULL)
		s->path = slash + 1;
	return 0;
}

int
main(int argc, char **argv)
{
	static struct vsock s = { .next_port = FIRST_PORT };
	char line[256];

	if (argc != 4) {
		fprintf(stderr, "regent-vsock is for the monitor to start; see --vsock in `regent run --help`\n");
		return STATUS_failed;
	}
	s.fd = atoi(argv[1]);
	s.path = argv[2];
	s.cid = (uint32_t)strtoul(argv[3], NULL, 10);
	for (unsigned i = 0; i < CONNS_MAX; i++)
		s.conn[i].fd = -1;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "regent-vsock");
	umask(077);
	if (strlen(s.path) + PORT_TEXT > sizeof(((struct sockaddr_un *)0)->sun_path))
		errno = ENAMETOOLONG, s.listener = -1;
	else
		s.listener = listen_at(s.path);
	if (s.listener < 0) {
		snprintf(line, sizeof(line), "%.120s: %s", s.path, strerror(errno));
		send(s.fd, line, strlen(line), MSG_NOSIGNAL);
		return STATUS_failed;
	}
	if (confine_vsock(&s) != 0) {
		snprintf(line, sizeof(line), "regent-vsock: this host's kernel does not take its seccomp filter");
		send(s.fd, line, strlen(line), MSG_NOSIGNAL);
	} else if (send(s.fd, "ok", 2, MSG_NOSIGNAL) == 2) {
		run(&s);
	}
	unlink(s.path);
	return 0;
}
