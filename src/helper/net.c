/* SPDX-License-Identifier: Apache-2.0 */
/* helper/net.c - regent-net: the user-mode network of one guest, in a process of its own.
 *
 *	regent-net FD MTU [tcp|udp:ADDR:PORT-[ADDR]:PORT]..
 *
 * FD is a SOCK_SEQPACKET socket to the monitor: a message is a virtio_net_hdr (12 bytes) and an Ethernet frame. The
 * first message from here is "ok", or the line that says why not. libslirp does the rest: it is NAT, DHCP and DNS
 * (10.0.2.2 is the host, 10.0.2.3 the name server, 10.0.2.15 the guest). The process ends with the socket.
 * Once the ports are bound it can talk to the network and do nothing else (confine.def).
 */
#include "helper/confine.h"
#include "helper/resolver.h"
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 12, FRAME_MAX = 65550, POLLS_MAX = 4096, NOBODY = 65534, FRAMES_A_TURN = 64, STATUS_failed = 1,
	FILES_MAX = 1024, MEMORY_MAX = 768 << 20 /* buffers for as many connections: libslirp ends where there is no memory */ };

struct net {
	Slirp *slirp;
	int fd;
	struct pollfd *poll;		/* [0] is fd */
	int polls, room;
};

/* ---- frames to and from the monitor ---- */

static ssize_t
send_packet(const void *frame, size_t n, void *opaque)
{
	struct net *t = opaque;
	/* We are no wire that could have damaged it: the guest need not add up again. */
	struct virtio_net_hdr_mrg_rxbuf h = { .hdr.flags = VIRTIO_NET_HDR_F_DATA_VALID };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)frame, n } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	_Static_assert(sizeof(h) == HEADER, "virtio 1.2, 5.1.6");
	if (n > FRAME_MAX)
		return -1;
	/* Waits: the monitor is slow only when its guest is, and TCP shall feel that. One that has ended is seen by the loop. */
	return sendmsg(t->fd, &m, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET ? -1 : (ssize_t)n;
}

static uint16_t
sum_of(const uint8_t *p, size_t n)
{
	uint64_t sum = 0;
	uint16_t word;

	for (; n >= 8; p += 8, n -= 8) {
		uint32_t two[2];

		memcpy(two, p, 8);
		sum += (uint64_t)two[0] + two[1];
	}
	for (; n > 1; p += 2, n -= 2) {
		memcpy(&word, p, 2);
		sum += word;
	}
	if (n == 1)
		sum += *p;
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Completes the checksum that the guest left to us. false: what it says cannot be. */
static bool
finish_sum(const struct virtio_net_hdr_mrg_rxbuf *h, uint8_t *frame, size_t n)
{
	size_t start = h->hdr.csum_start, at = start + h->hdr.csum_offset;
	uint16_t sum;

	if ((h->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
		return true;
	if (start >= n || at + sizeof(sum) > n)
		return false;
	sum = sum_of(frame + start, n - start);
	if (sum == 0)
		sum = 0xffff;		/* 0 means "none" in UDP */
	memcpy(frame + at, &sum, sizeof(sum));
	return true;
}

/* What waits on the socket. false: the monitor is gone. */
static bool
take_frames(struct net *t)
{
	static uint8_t message[HEADER + FRAME_MAX];
	struct virtio_net_hdr_mrg_rxbuf h;

	for (int i = 0; i < FRAMES_A_TURN; i++) {
		ssize_t n = recv(t->fd, message, sizeof(message), MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		if (n <= HEADER)
			continue;
		memcpy(&h, message, sizeof(h));
		if (h.hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE && finish_sum(&h, message + HEADER, (size_t)n - HEADER))
			slirp_input(t->slirp, message + HEADER, (int)n - HEADER);
	}
	return true;
}

/* ---- what libslirp asks of us ---- */

static void guest_error(const char *text, void *opaque) { (void)text, (void)opaque; }
static void watch_fd(int fd, void *opaque) { (void)fd, (void)opaque; }
static void notify(void *opaque) { (void)opaque; }

static int64_t
clock_ns(void *opaque)
{
	struct timespec ts;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Timers are for IPv6 router advertisements only, and IPv6 is off. */
static void *
timer_new(SlirpTimerCb fn, void *ctx, void *opaque)
{
	(void)fn, (void)ctx, (void)opaque;
	return calloc(1, 1);
}
static void timer_free(void *timer, void *opaque) { (void)opaque; free(timer); }
static void timer_mod(void *timer, int64_t ms, void *opaque) { (void)timer, (void)ms, (void)opaque; }

static const SlirpCb callbacks = {
	.send_packet = send_packet, .guest_error = guest_error, .clock_get_ns = clock_ns, .timer_new = timer_new,
	.timer_free = timer_free, .timer_mod = timer_mod, .register_poll_fd = watch_fd,
	.unregister_poll_fd = watch_fd, .notify = notify,
};

static int
add_poll(int fd, int events, void *opaque)
{
	struct net *t = opaque;

	if (t->polls == t->room)
		return -1;
	t->poll[t->polls] = (struct pollfd){ .fd = fd, .events = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) |
	    (events & SLIRP_POLL_OUT ? POLLOUT : 0) | (events & SLIRP_POLL_PRI ? POLLPRI : 0)) };
	return t->polls++;
}

static int
get_revents(int i, void *opaque)
{
	short got = i < 0 ? 0 : ((struct net *)opaque)->poll[i].revents;

	return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
	    (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
	    (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void
run(struct net *t)
{
	for (;;) {
		uint32_t ms = UINT32_MAX;
		int n;

		t->polls = 1;
		t->poll[0] = (struct pollfd){ .fd = t->fd, .events = POLLIN };
		slirp_pollfds_fill(t->slirp, &ms, add_poll, t);
		n = poll(t->poll, (nfds_t)t->polls, ms > INT32_MAX ? -1 : (int)ms);
		if (n < 0 && errno != EINTR)
			return;
		if (n > 0 && t->poll[0].revents != 0 && !take_frames(t))
			return;
		slirp_pollfds_poll(t->slirp, n < 0, get_revents, t);
	}
}

/* ---- beginning ---- */

static bool
say(struct net *t, const char *line)
{
	return send(t->fd, line, strlen(line), MSG_NOSIGNAL) >= 0;
}

static bool
parse_port(const char *s, int *port)
{
	char *end;
	long n = strtol(s, &end, 10);

	*port = (int)n;
	return *s >= '0' && *s <= '9' && *end == '\0' && n >= 1 && n <= 65535;
}

/* ADDR:PORT, cut in place; an empty ADDR leaves *addr as it is. */
static bool
parse_end(char *s, struct in_addr *addr, int *port)
{
	char *colon = strrchr(s, ':');

	if (colon == NULL || !parse_port(colon + 1, port))
		return false;
	*colon = '\0';
	return *s == '\0' || inet_pton(AF_INET, s, addr) == 1;
}

static const char *
forward(struct net *t, const char *given)
{
	struct in_addr host = { htonl(INADDR_LOOPBACK) }, guest = { inet_addr("10.0.2.15") };
	char text[128], *to;
	int host_port, guest_port;
	bool udp = strncmp(given, "udp:", 4) == 0;

	if (!udp && strncmp(given, "tcp:", 4) != 0)
		return "must begin with tcp: or udp:";
	snprintf(text, sizeof(text), "%s", given + 4);
	if ((to = strchr(text, '-')) == NULL)
		return "write it like tcp:127.0.0.1:2222-:22";
	*to++ = '\0';
	if (!parse_end(text, &host, &host_port) || !parse_end(to, &guest, &guest_port))
		return "write it like tcp:127.0.0.1:2222-:22";
	if (slirp_add_hostfwd(t->slirp, udp, host, host_port, guest, guest_port) != 0)
		return errno == EADDRINUSE ? "that port is in use: choose another" : strerror(errno);
	return NULL;
}

/* Nothing of root is needed once the ports are bound. */
static void
drop_root(void)
{
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) != 0))
		fprintf(stderr, "regent-net: stays root: %s\n", strerror(errno));
}

int
main(int argc, char **argv)
{
	SlirpConfig cfg = { .version = 1, .in_enabled = true, .vnetwork.s_addr = inet_addr("10.0.2.0"),
		.vnetmask.s_addr = inet_addr("255.255.255.0"), .vhost.s_addr = inet_addr("10.0.2.2"),
		.vdhcp_start.s_addr = inet_addr("10.0.2.15"), .vnameserver.s_addr = inet_addr("10.0.2.3") };
	static struct pollfd polls[POLLS_MAX];
	struct net t = { .poll = polls, .room = POLLS_MAX };
	struct confine c = { .who = CONFINE_net, .own_user = true, .dir = -1, .files = FILES_MAX, .memory = MEMORY_MAX };
	char line[256];
	bool rooted;

	if (argc < 3) {
		fprintf(stderr, "regent-net is for the monitor to start; see --net in `regent run --help`\n");
		return STATUS_failed;
	}
	t.fd = atoi(argv[1]);
	cfg.if_mtu = cfg.if_mru = (size_t)atoi(argv[2]);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "regent-net");
	if ((t.slirp = slirp_new(&cfg, &callbacks, &t)) == NULL)
		return say(&t, "libslirp does not start"), STATUS_failed;
	for (int i = 3; i < argc; i++) {
		const char *why = forward(&t, argv[i]);

		if (why == NULL)
			continue;
		snprintf(line, sizeof(line), "hostfwd=%.100s: %s", argv[i], why);
		say(&t, line);
		slirp_cleanup(t.slirp);
		return STATUS_failed;
	}
	drop_root();
	resolver_start();
	if (confine(&c, &rooted) != 0)
		say(&t, "regent-net: this host's kernel does not take its seccomp filter");
	else if (say(&t, "ok"))
		run(&t);
	slirp_cleanup(t.slirp);
	return 0;
}
