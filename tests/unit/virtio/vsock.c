/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/virtio/vsock.c - the vsock device on its rings, and its helper: connections, credit, guests that lie. */
#include "rig.h"
#include "host/helper.h"
#include "virtio/vsock.h"
#include <limits.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { VSOCK = 3, H = sizeof(struct virtio_vsock_hdr), GUEST_CID = 5, WAIT_MS = 5000, QUIET_MS = 100, CREDIT = 256 << 10,
	OP_req = VIRTIO_VSOCK_OP_REQUEST, OP_resp = VIRTIO_VSOCK_OP_RESPONSE, OP_rst = VIRTIO_VSOCK_OP_RST,
	OP_shut = VIRTIO_VSOCK_OP_SHUTDOWN, OP_rw = VIRTIO_VSOCK_OP_RW, OP_credit = VIRTIO_VSOCK_OP_CREDIT_UPDATE };
#define VERSION_1 ((uint64_t)1 << 32)

struct packet {
	struct virtio_vsock_hdr h;
	uint8_t data[65536];
};
static struct packet in, out;
static char dir[] = "/tmp/regent-vsock-XXXXXX", path[64];
static int fd = -1;
static pid_t pid;

/* ---- the device ---- */

static int pair[2];

static void
device_open(void)
{
	char err[64];
	struct wire *w = NULL;

	rig_open();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0)
		w = wire_open_fd(pair[0], err, sizeof(err));
	CHECK_EQ(machine_attach(&fake_vm, vsock_open(&fake_vm, "vsock0", w, GUEST_CID)), 0);
	driver_begin(VSOCK, VERSION_1);
	driver_queue(VSOCK, 0, 8, DESC_AT, DRIVER_AT, DEVICE_AT);
	driver_queue(VSOCK, 1, 8, DESC_AT + 0x800, DRIVER_AT + 0x800, DEVICE_AT + 0x800);
	reg_put(VSOCK, 0x14, 1, 15);
}

/* The next message but resets, into in. */
static size_t
device_message(void)
{
	struct pollfd p = { .fd = pair[1], .events = POLLIN };

	for (;;) {
		ssize_t n = poll(&p, 1, WAIT_MS) == 1 ? recv(pair[1], &in, sizeof(in), 0) : -1;

		if (n != 1)
			return n < 0 ? 0 : (size_t)n;
	}
}

static void
device_close(void)
{
	rig_close();
	close(pair[1]);
}

static void
used_wait(unsigned n)
{
	for (unsigned i = 0; i < WAIT_MS && used_idx() != n; i++)
		usleep(1000);
	CHECK_EQ(used_idx(), n);
}

static void
config_has_the_cid(void)
{
	device_open();
	CHECK_EQ(cfg_get(VSOCK, 0, 4), 0x10531af4);
	CHECK_EQ(reg_get(VSOCK, 0x2000, 8), GUEST_CID);
	device_close();
}

static void
cuts_packets_to_the_guests_buffers(void)
{
	device_open();
	for (unsigned i = 0; i < 3; i++) {
		desc_put(i, DATA_AT + 0x1000 * i, H + 40, 2, 0);
		avail_put(i, 8, (uint16_t)i);
	}
	notify(VSOCK, 0);
	out.h = (struct virtio_vsock_hdr){ .len = 100, .op = OP_rw };
	for (unsigned i = 0; i < 100; i++)
		out.data[i] = (uint8_t)i;
	CHECK_EQ(send(pair[1], &out, H + 100, 0), H + 100);
	used_wait(3);
	CHECK_EQ(ram_get(DATA_AT + 24, 4), 40);			/* its len */
	CHECK_EQ(ram_get(DATA_AT + 0x1000 + H, 1), 40);
	CHECK_EQ(ram_get(DATA_AT + 0x2000 + 24, 4), 20);
	CHECK_EQ(ram_get(DATA_AT + 0x2000 + H + 19, 1), 99);
	CHECK_EQ(ram_get(DEVICE_AT + 4 + 8 * 2 + 4, 4), H + 20);
	device_close();
}

static void
waits_for_buffers(void)
{
	device_open();
	out.h = (struct virtio_vsock_hdr){ .len = 60, .op = OP_rw };
	CHECK_EQ(send(pair[1], &out, H + 60, 0), H + 60);
	for (unsigned i = 0; i < 2; i++) {
		desc_put(i, DATA_AT + 0x1000 * i, H + 40, 2, 0);
		avail_put(i, 8, (uint16_t)i);
		notify(VSOCK, 0);
		used_wait(i + 1);
	}
	CHECK_EQ(ram_get(DATA_AT + 0x1000 + 24, 4), 20);
	device_close();
}

static void
small_buffer_breaks_it(void)
{
	device_open();
	desc_put(0, DATA_AT, H - 1, 2, 0);
	avail_put(0, 8, 0);
	notify(VSOCK, 0);
	CHECK_EQ(send(pair[1], &out, H, 0), H);
	for (unsigned i = 0; i < WAIT_MS && (reg_get(VSOCK, 0x14, 1) & VIRTIO_STATUS_needs_reset) == 0; i++)
		usleep(1000);
	CHECK(reg_get(VSOCK, 0x14, 1) & VIRTIO_STATUS_needs_reset);
	device_close();
}

/* Offers [DATA_AT, DATA_AT + len) as the n-th packet of the guest. */
static void
tx_put(unsigned n, uint32_t len)
{
	struct vring_desc d = { DATA_AT, len, 0, 0 };
	uint16_t head = 0, idx = (uint16_t)(n + 1);

	ram_put(DESC_AT + 0x800, &d, sizeof(d));
	ram_put(DRIVER_AT + 0x804 + 2 * n, &head, 2);
	ram_put(DRIVER_AT + 0x802, &idx, 2);
	notify(VSOCK, 1);
	CHECK_EQ(ram_get(DEVICE_AT + 0x802, 2), n + 1);
}

static void
passes_whole_packets_only(void)
{
	device_open();
	tx_put(0, H - 1);
	tx_put(1, H + 65537);
	tx_put(2, H + 65536);
	CHECK_EQ(device_message(), H + 65536);
	device_close();
}

static void
reset_is_told(void)
{
	device_open();
	tx_put(0, H);
	CHECK_EQ(device_message(), H);
	reg_put(VSOCK, 0x14, 1, 0);
	CHECK_EQ(recv(pair[1], &in, sizeof(in), 0), 1);
	device_close();
}

/* ---- the helper ---- */

static void
helper_open(void)
{
	char self[PATH_MAX], err[256] = "", *argv[] = { "regent-vsock", "3", path, "5", NULL };
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	if (strstr(self, "/tests/unit/") != NULL)
		*strstr(self, "/tests/unit/") = '\0';
	setenv("REGENT_HELPERS", self, 1);
	snprintf(path, sizeof(path), "%s/s", dir);
	CHECK_EQ(helper_start(argv[0], argv, &fd, &pid, err, sizeof(err)), 0);
	CHECK_EQ(helper_ready(fd, argv[0], err, sizeof(err)), 0);
	if (err[0] != '\0')
		printf("# %s\n", err);
}

static void
helper_close(void)
{
	close(fd);
	helper_end(pid);
	CHECK(access(path, F_OK) != 0);
}

/* The next packet's op, or 0: none comes. */
static unsigned
next(int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && recv(fd, &in, sizeof(in), 0) >= H ? in.h.op : 0;
}

static void
say(unsigned op, uint32_t from, uint32_t to, uint32_t alloc, uint32_t fwd, size_t len)
{
	out.h = (struct virtio_vsock_hdr){ .src_cid = GUEST_CID, .dst_cid = 2, .src_port = from, .dst_port = to,
		.len = (uint32_t)len, .type = 1, .op = (uint16_t)op, .flags = op == OP_shut ? 3 : 0, .buf_alloc = alloc,
		.fwd_cnt = fwd };
	CHECK_EQ(send(fd, &out, H + len, 0), H + len);
}

static int
dial(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	CHECK_EQ(connect(s, (struct sockaddr *)&to, sizeof(to)), 0);
	return s;
}

static int
listen_on(unsigned port)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%.80s_%u", path, port);
	CHECK_EQ(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	CHECK_EQ(listen(s, 5), 0);
	return s;
}

static void
unlink_port(unsigned port)
{
	char name[96];

	snprintf(name, sizeof(name), "%s_%u", path, port);
	unlink(name);
}

static void
host_connects(void)
{
	char line[32] = "", want[32];
	uint32_t port;
	int s;

	helper_open();
	s = dial();
	CHECK_EQ(write(s, "CONNECT 7\nearly and more than ten", 33), 33);
	CHECK_EQ(next(WAIT_MS), OP_req);
	CHECK_EQ(in.h.dst_port, 7);
	CHECK_EQ(in.h.dst_cid, GUEST_CID);
	CHECK_EQ(in.h.src_cid, 2);
	CHECK_EQ(in.h.buf_alloc, CREDIT);
	port = in.h.src_port;
	say(OP_resp, 7, port, 10, 0, 0);
	snprintf(want, sizeof(want), "OK %u\n", port);
	CHECK_EQ(read(s, line, sizeof(line) - 1), strlen(want));
	CHECK(strcmp(line, want) == 0);
	CHECK_EQ(next(WAIT_MS), OP_rw);				/* no more than the guest has room for */
	CHECK_EQ(in.h.len, 10);
	CHECK(memcmp(in.data, "early and ", 10) == 0);
	CHECK_EQ(next(QUIET_MS), 0);
	say(OP_credit, 7, port, 10, 4, 0);
	CHECK_EQ(next(WAIT_MS), OP_rw);
	CHECK_EQ(in.h.len, 4);
	say(OP_credit, 7, port, 1000, 14, 0);
	CHECK_EQ(next(WAIT_MS), OP_rw);
	CHECK_EQ(in.h.len, 9);
	close(s);
	CHECK_EQ(next(WAIT_MS), OP_shut);
	while (in.h.flags != 3 && next(WAIT_MS) == OP_shut)
		;
	CHECK_EQ(in.h.flags, 3);
	say(OP_rst, 7, port, 0, 0, 0);
	say(OP_rw, 7, port, 0, 0, 1);				/* it is gone */
	CHECK_EQ(next(WAIT_MS), OP_rst);
	helper_close();
}

static void
guest_refuses_or_the_line_is_bad(void)
{
	static const char *const bad[] = { "CONNECT x\n", "HELLO\n", "CONNECT 4294967295\n", "CONNECT 1 2\n",
		"CONNECT 00000000000000000000000000000000000001\n" };
	char line[32];
	int s;

	helper_open();
	s = dial();
	CHECK_EQ(write(s, "CONNECT 7\n", 10), 10);
	CHECK_EQ(next(WAIT_MS), OP_req);
	say(OP_rst, 7, in.h.src_port, 0, 0, 0);
	CHECK_EQ(read(s, line, sizeof(line)), 0);
	close(s);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		s = dial();
		CHECK(write(s, bad[i], strlen(bad[i])) > 0);
		CHECK(read(s, line, sizeof(line)) <= 0);
		close(s);
	}
	CHECK_EQ(next(QUIET_MS), 0);
	helper_close();
}

static void
guest_connects(void)
{
	int l, s;
	size_t total = 0;

	helper_open();
	l = listen_on(9);
	say(OP_req, 1000, 9, 65536, 0, 0);
	CHECK_EQ(next(WAIT_MS), OP_resp);
	CHECK_EQ(in.h.dst_port, 1000);
	s = accept(l, NULL, NULL);
	for (unsigned i = 0; i < 12; i++) {			/* far beyond one credit: it comes back as the host reads */
		memset(out.data, (int)i, sizeof(out.data));
		say(OP_rw, 1000, 9, 65536, 0, 65536);
		for (size_t got = 0; got < 65536;) {
			ssize_t n = read(s, in.data, sizeof(in.data));

			if (n <= 0 || in.data[0] != i)
				break;
			got += (size_t)n;
			total += (size_t)n;
		}
	}
	CHECK_EQ(total, 12 * 65536);
	while (next(QUIET_MS) == OP_credit)
		total = in.h.fwd_cnt;
	CHECK(total >= 11 * 65536);
	say(OP_shut, 1000, 9, 65536, 0, 0);
	CHECK_EQ(next(WAIT_MS), OP_rst);
	CHECK_EQ(read(s, in.data, 1), 0);
	close(s);
	close(l);
	unlink_port(9);
	helper_close();
}

/* A guest that closes, waits and resets has its bytes delivered all the same. */
static void
last_bytes_are_delivered(void)
{
	size_t total = 0, sent = 0;
	ssize_t n;
	int l, s;

	helper_open();
	l = listen_on(9);
	say(OP_req, 1000, 9, 65536, 0, 0);
	CHECK_EQ(next(WAIT_MS), OP_resp);
	s = accept(l, NULL, NULL);
	for (uint32_t fwd = 0; sent < (1 << 20) && sent - fwd <= CREDIT - 65536; sent += 65536) {
		say(OP_rw, 1000, 9, 65536, 0, 65536);
		while (next(QUIET_MS) == OP_credit)
			fwd = in.h.fwd_cnt;
	}
	say(OP_shut, 1000, 9, 65536, 0, 0);
	say(OP_rst, 1000, 9, 65536, 0, 0);
	usleep(QUIET_MS * 1000);
	while ((n = read(s, in.data, sizeof(in.data))) > 0)
		total += (size_t)n;
	CHECK(sent > CREDIT);
	CHECK_EQ(total, sent);
	close(s);
	close(l);
	unlink_port(9);
	helper_close();
}

static void
more_than_its_credit_ends_it(void)
{
	unsigned n = 0, op = 0;
	int l, s;

	helper_open();
	l = listen_on(9);
	say(OP_req, 1000, 9, 65536, 0, 0);
	CHECK_EQ(next(WAIT_MS), OP_resp);
	s = accept(l, NULL, NULL);
	for (; n < 64 && op != OP_rst; n++) {			/* nobody reads */
		say(OP_rw, 1000, 9, 65536, 0, 65536);
		while ((op = next(20)) == OP_credit)
			;
	}
	CHECK_EQ(op, OP_rst);
	CHECK(n > CREDIT / 65536 && n < 64);
	close(s);
	close(l);
	unlink_port(9);
	helper_close();
}

static void
what_is_no_connection_is_reset(void)
{
	helper_open();
	say(OP_req, 1, 99, 100, 0, 0);				/* nobody listens */
	CHECK_EQ(next(WAIT_MS), OP_rst);
	CHECK_EQ(in.h.src_port, 99);
	CHECK_EQ(in.h.dst_port, 1);
	say(OP_rw, 1, 99, 100, 0, 10);
	CHECK_EQ(next(WAIT_MS), OP_rst);
	out.h.type = 2;
	out.h.op = OP_req;
	CHECK_EQ(send(fd, &out, H, 0), H);
	CHECK_EQ(next(WAIT_MS), OP_rst);
	CHECK_EQ(in.h.type, 2);
	out.h.type = 1;
	out.h.op = OP_rw;
	out.h.len = 1;						/* it has none */
	CHECK_EQ(send(fd, &out, H, 0), H);
	CHECK_EQ(next(WAIT_MS), OP_rst);
	say(OP_rst, 1, 99, 0, 0, 0);				/* no answer: it would go on for ever */
	out.h.op = OP_req;
	out.h.src_cid = GUEST_CID + 1;				/* nor for others */
	CHECK_EQ(send(fd, &out, H, 0), H);
	CHECK_EQ(next(QUIET_MS), 0);
	helper_close();
}

/* A packet that says it has more than came with it ends its connection: the host gets nothing of it. */
static void
lying_length_ends_it(void)
{
	int l, s;

	helper_open();
	l = listen_on(9);
	say(OP_req, 1000, 9, 65536, 0, 0);
	CHECK_EQ(next(WAIT_MS), OP_resp);
	s = accept(l, NULL, NULL);
	say(OP_rw, 1000, 9, 65536, 0, 5);
	out.h.len = 4000;
	CHECK_EQ(send(fd, &out, H + 6, 0), H + 6);
	CHECK_EQ(next(WAIT_MS), OP_rst);
	CHECK_EQ(recv(s, in.data, sizeof(in.data), MSG_DONTWAIT), 5);
	CHECK_EQ(recv(s, in.data, 1, MSG_DONTWAIT), 0);
	close(s);
	close(l);
	unlink_port(9);
	helper_close();
}

/* Each is answered, though nobody takes the answers for a while. */
static void
floods_wait(void)
{
	unsigned sent = 0, answers = 0;

	helper_open();
	out.h = (struct virtio_vsock_hdr){ .src_cid = GUEST_CID, .dst_cid = 2, .type = 1, .op = OP_credit };
	while (sent < 1000000 && send(fd, &out, H, MSG_DONTWAIT) == H)
		sent++;
	usleep(QUIET_MS * 1000);
	while (send(fd, &out, H, MSG_DONTWAIT) == H)		/* it had room again: but not for ever */
		sent++;
	while (answers < sent && next(WAIT_MS) == OP_rst)
		answers++;
	CHECK(sent > 300 && sent < 1000000);
	CHECK_EQ(answers, sent);
	helper_close();
}

/* Numbers by chance, and nobody who takes the answers: bounded, alive, and right afterwards. */
static void
hostile_packets(void)
{
	uint64_t x = 88172645463325252;
	int l, s = -1;

	helper_open();
	l = listen_on(3);
	s = dial();
	CHECK_EQ(write(s, "CONNECT 2\n", 10), 10);
	for (unsigned i = 0; i < 30000; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		out.h = (struct virtio_vsock_hdr){ .src_cid = GUEST_CID, .dst_cid = 2, .src_port = x & 3, .dst_port = x >> 8 & 3,
			.type = (x >> 16 & 31) != 0, .op = x >> 24 & 7, .flags = x >> 32 & 3, .len = x >> 40 & 0x3ff,
			.buf_alloc = (uint32_t)(x >> 20), .fwd_cnt = (uint32_t)(x >> 10) & 0xffff };
		if (send(fd, &out, H + (x >> 48 & 0x3ff), MSG_DONTWAIT) < 0)
			while (next(0) != 0)
				;
	}
	while (next(QUIET_MS) != 0)
		;
	CHECK_EQ(send(fd, "R", 1, 0), 1);
	say(OP_rw, 77, 77, 0, 0, 0);
	CHECK_EQ(next(WAIT_MS), OP_rst);
	CHECK_EQ(in.h.src_port, 77);
	close(s);
	close(l);
	unlink_port(3);
	helper_close();
}

int
main(void)
{
	RUN(config_has_the_cid);
	RUN(cuts_packets_to_the_guests_buffers);
	RUN(waits_for_buffers);
	RUN(small_buffer_breaks_it);
	RUN(passes_whole_packets_only);
	RUN(reset_is_told);
	if (mkdtemp(dir) == NULL)
		return 1;
	RUN(host_connects);
	RUN(guest_refuses_or_the_line_is_bad);
	RUN(guest_connects);
	RUN(last_bytes_are_delivered);
	RUN(more_than_its_credit_ends_it);
	RUN(what_is_no_connection_is_reset);
	RUN(lying_length_ends_it);
	RUN(floods_wait);
	RUN(hostile_packets);
	rmdir(dir);
	return check_done();
}
