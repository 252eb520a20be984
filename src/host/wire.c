/* SPDX-License-Identifier: Apache-2.0 */
/* host/wire.c - one thread per network card, that sleeps until a frame comes, or room for one. */
#include "host/wire.h"
#include "host/helper.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { FORWARDS_MAX = 64, BATCH = 64 };

struct wire {
	int fd, wake;			/* owned */
	pid_t helper;			/* 0: none */
	bool tap;
	struct wire_client client;
	pthread_t thread;
	bool started;
	_Atomic bool closing, lost, want_write;
	size_t held;			/* bytes of a message that found no room */
	uint8_t message[WIRE_BUFFER];
};

static struct wire *
wire_new(char *err, size_t err_size)
{
	struct wire *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		snprintf(err, err_size, "no memory for a network");
		return NULL;
	}
	w->fd = -1;
	if ((w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0)
		return w;
	snprintf(err, err_size, "no eventfd: %s", strerror(errno));
	free(w);
	return NULL;
}

/* argv[1] is filled in: the number of the helper's socket. */
static struct wire *
wire_open_helper(char **argv, char *err, size_t err_size)
{
	struct wire *w = wire_new(err, err_size);
	char fd[16];

	if (w == NULL)
		return NULL;
	snprintf(fd, sizeof(fd), "%d", HELPER_FD);
	argv[1] = fd;
	if (helper_start(argv[0], argv, &w->fd, &w->helper, err, err_size) != 0) {
		w->helper = 0;
		wire_close(w);
		return NULL;
	}
	if (helper_ready(w->fd, argv[0], err, err_size) == 0 && fcntl(w->fd, F_SETFL, O_NONBLOCK) == 0)
		return w;
	wire_close(w);
	return NULL;
}

struct wire *
wire_open_user(const char *const *forwards, unsigned mtu, char *err, size_t err_size)
{
	char mtu_text[16], *argv[FORWARDS_MAX + 4] = { "regent-net", NULL, mtu_text };

	snprintf(mtu_text, sizeof(mtu_text), "%u", mtu);
	for (unsigned i = 0; forwards[i] != NULL && i < FORWARDS_MAX; i++)
		argv[3 + i] = (char *)(uintptr_t)forwards[i];
	return wire_open_helper(argv, err, err_size);
}

struct wire *
wire_open_share(const char *dir, bool read_only, char *err, size_t err_size)
{
	char *argv[] = { "regent-share", NULL, (char *)(uintptr_t)dir, read_only ? "ro" : "rw", NULL };

	return wire_open_helper(argv, err, err_size);
}

struct wire *
wire_open_vsock(const char *path, uint32_t cid, char *err, size_t err_size)
{
	char number[16], *argv[] = { "regent-vsock", NULL, (char *)(uintptr_t)path, number, NULL };

	snprintf(number, sizeof(number), "%u", cid);
	return wire_open_helper(argv, err, err_size);
}

struct wire *
wire_open_fd(int fd, char *err, size_t err_size)
{
	struct wire *w = wire_new(err, err_size);

	if (w == NULL || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
		close(fd);
		wire_close(w);
		return NULL;
	}
	w->fd = fd;
	return w;
}

/* false, with errno: not to be had like that. */
static bool
tap_attach_queue(struct wire *w, const char *name, short flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags) };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(w->fd, TUNSETIFF, &ifr) == 0;
}

/* One queue of the device; *flags: whether it may have several. */
static struct wire *
tap_queue(const char *name, short *flags, bool several, char *err, size_t err_size)
{
	struct wire *w = wire_new(err, err_size);
	int header = WIRE_HEADER;
	short first = several ? IFF_MULTI_QUEUE : 0, got = first;

	if (w == NULL)
		return NULL;
	w->tap = true;
	if ((w->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)) < 0)
		snprintf(err, err_size, "/dev/net/tun: %s; use --net user, or be allowed to use it", strerror(errno));
	else if (strlen(name) >= IFNAMSIZ || (!tap_attach_queue(w, name, first) &&
	    (errno != EINVAL || !tap_attach_queue(w, name, got = first ^ IFF_MULTI_QUEUE))))
		snprintf(err, err_size, "%.64s: %s; make it first: ip tuntap add %.64s mode tap user NAME", name,
		    strerror(errno), name);
	else if (ioctl(w->fd, TUNSETVNETHDRSZ, &header) != 0)
		snprintf(err, err_size, "%.64s: %s; this kernel is too old", name, strerror(errno));
	else
		return *flags = got, w;
	wire_close(w);
	return NULL;
}

/* A device that was made for one queue has one, whatever is wanted. */
unsigned
wire_open_tap(const char *name, struct wire **wires, unsigned want, char *err, size_t err_size)
{
	short flags = 0;
	unsigned n = 0;

	if ((wires[n] = tap_queue(name, &flags, want > 1, err, err_size)) == NULL)
		return 0;
	for (n = 1; n < want && flags != 0; n++)
		if ((wires[n] = tap_queue(name, &flags, true, err, err_size)) == NULL)
			break;
	return n;
}

void
wire_offload(struct wire *w, bool csum, bool tso4, bool tso6)
{
	unsigned flags = csum ? TUN_F_CSUM | (tso4 ? TUN_F_TSO4 : 0u) | (tso6 ? TUN_F_TSO6 : 0u) : 0;

	if (w->tap)
		ioctl(w->fd, TUNSETOFFLOAD, (unsigned long)flags);
}

bool
wire_segments(const struct wire *w)
{
	return w->tap;
}

enum wire_sent
wire_send(struct wire *w, const struct iovec *iov, unsigned n)
{
	if (atomic_load(&w->lost))
		return WIRE_lost;
	while (writev(w->fd, iov, (int)n) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != ENOBUFS)
			return WIRE_lost;
		atomic_store(&w->want_write, true);
		wire_room(w);
		return WIRE_full;
	}
	return WIRE_sent;
}

void
wire_room(struct wire *w)
{
	eventfd_write(w->wake, 1);
}

/* Takes what has come. false: the other end is gone. */
static bool
receive(struct wire *w)
{
	for (int i = 0; i < BATCH; i++) {
		if (w->held == 0) {
			ssize_t n = read(w->fd, w->message, sizeof(w->message));

			if (n < 0)
				return errno == EAGAIN || errno == EINTR;
			if (n == 0)
				return false;
			w->held = (size_t)n;
		}
		if (!w->client.message(w->client.ctx, w->message, w->held))
			return true;
		w->held = 0;
	}
	return true;
}

static void *
wire_thread(void *arg)
{
	struct wire *w = arg;
	sigset_t all;
	eventfd_t val;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, "net");
	while (!atomic_load(&w->closing)) {
		bool lost = atomic_load(&w->lost), write = atomic_load(&w->want_write);
		struct pollfd p[2] = { { .fd = w->wake, .events = POLLIN }, { .fd = lost ? -1 : w->fd } };

		/* With a message in hand only the guest can bring us further. */
		p[1].events = (short)((w->held == 0 ? POLLIN : 0) | (write ? POLLOUT : 0));
		if (poll(p, p[1].events == 0 ? 1 : 2, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents != 0)
			eventfd_read(w->wake, &val);
		if (lost)
			continue;
		if ((p[1].revents & POLLOUT) != 0 && atomic_exchange(&w->want_write, false))
			w->client.writable(w->client.ctx);
		if ((w->held != 0 || (p[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) && !receive(w)) {
			atomic_store(&w->lost, true);
			w->client.gone(w->client.ctx);
		}
	}
	return NULL;
}

int
wire_start(struct wire *w, const struct wire_client *c)
{
	w->client = *c;
	if ((errno = pthread_create(&w->thread, NULL, wire_thread, w)) != 0)
		return -1;
	w->started = true;
	return 0;
}

void
wire_close(struct wire *w)
{
	if (w == NULL)
		return;
	atomic_store(&w->closing, true);
	wire_room(w);
	if (w->started)
		pthread_join(w->thread, NULL);
	if (w->fd >= 0)
		close(w->fd);
	close(w->wake);
	if (w->helper > 0)
		helper_end(w->helper);
	free(w);
}
