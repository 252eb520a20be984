/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/virtio/net.c - the network card on its rings: frames both ways, pairs of queues, flows, guests that lie. */
#include "rig.h"
#include "virtio/net.h"
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { NET = 3, SIZE = 8, QUEUES = 5, CTRL = 4, WAIT_MS = 5000, QUIET_MS = 50, H = WIRE_HEADER, FRAME = 60, LINK_UP = 1 };
#define VERSION_1 ((uint64_t)1 << 32)
#define F_CSUM 1u
#define F_MRG ((uint64_t)1 << 15)
#define F_STATUS ((uint64_t)1 << 16)
#define F_CTRL ((uint64_t)1 << 17)
#define F_MQ ((uint64_t)1 << 22)

static int pair[2];
static unsigned avail[QUEUES];

/* Queue q has a page of its own: descriptors, available ring, used ring; its buffers are 4 KiB each. */
static uint64_t ring(unsigned q) { return 0x40000 + 0x1000ull * q; }
static uint64_t buffer(unsigned q, unsigned i) { return 0x80000 + 0x10000ull * q + 0x1000ull * i; }
static unsigned used(unsigned q) { return (unsigned)ram_get(ring(q) + 0x800 + 2, 2); }
static uint32_t used_len(unsigned q, unsigned n) { return (uint32_t)ram_get(ring(q) + 0x800 + 4 + 8ull * (n % SIZE) + 4, 4); }

static void
driver(uint64_t features, unsigned queues)
{
	driver_begin(NET, VERSION_1 | features);
	for (unsigned q = 0; q < queues; q++) {
		uint16_t none = 0;

		ram_put(ring(q) + 0x402, &none, 2);
		ram_put(ring(q) + 0x802, &none, 2);
		driver_queue(NET, q, SIZE, ring(q), ring(q) + 0x400, ring(q) + 0x800);
		avail[q] = 0;
	}
	reg_put(NET, 0x14, 1, 15);
}

static void
board(uint64_t features, unsigned queues)
{
	struct wire *w = NULL;
	struct net_setup s = { .wire = &w, .wires = 1, .pairs = 2, .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500 };
	char err[64];

	rig_open();
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	w = wire_open_fd(pair[0], err, sizeof(err));
	CHECK_EQ(machine_attach(&fake_vm, net_open(&fake_vm, "net0", &s)), 0);
	driver(features, queues);
}

static void
unboard(void)
{
	rig_close();
	close(pair[1]);
}

/* Offers a chain of n buffers of len bytes; the last `ins` are for the device to write. Returns the first one's address. */
static uint64_t
offer(unsigned q, unsigned n, unsigned ins, uint32_t len)
{
	unsigned at = avail[q] % SIZE;
	uint16_t head = (uint16_t)at, idx = (uint16_t)(avail[q] + 1);

	for (unsigned i = 0; i < n; i++) {
		unsigned k = (at + i) % SIZE;
		uint16_t flags = (uint16_t)((i + 1 < n ? DESC_next : 0) | (i + ins >= n ? DESC_write : 0));
		struct vring_desc d = { buffer(q, k), len, flags, (uint16_t)((k + 1) % SIZE) };

		ram_put(ring(q) + 16ull * k, &d, sizeof(d));
	}
	ram_put(ring(q) + 0x404 + 2ull * at, &head, 2);
	ram_put(ring(q) + 0x402, &idx, 2);
	avail[q]++;
	return buffer(q, at);
}

/* An Ethernet frame with IPv4 and UDP. */
static void
frame(uint8_t *f, uint8_t from, uint8_t to, uint16_t from_port, uint16_t to_port)
{
	memset(f, 0, FRAME);
	f[12] = 8;
	f[14] = 0x45;
	f[23] = 17;
	f[26] = f[30] = 10;
	f[29] = from;
	f[33] = to;
	f[34] = (uint8_t)(from_port >> 8), f[35] = (uint8_t)from_port;
	f[36] = (uint8_t)(to_port >> 8), f[37] = (uint8_t)to_port;
}

static void
transmit(unsigned q, const uint8_t *f)
{
	uint8_t message[H + FRAME] = { 0 };

	memcpy(message + H, f, FRAME);
	ram_put(offer(q, 1, 0, sizeof(message)), message, sizeof(message));
	notify(NET, q);
}

static ssize_t
host_takes(void *to, size_t n, int ms)
{
	struct pollfd p = { .fd = pair[1], .events = POLLIN };

	return poll(&p, 1, ms) == 1 ? recv(pair[1], to, n, 0) : -1;
}

static void
host_sends(const uint8_t *f, size_t n)
{
	static uint8_t message[H + 8192];

	memcpy(message + H, f, n);
	CHECK(send(pair[1], message, H + n, 0) == (ssize_t)(H + n));
}

static void
used_wait(unsigned q, unsigned n)
{
	for (unsigned i = 0; i < WAIT_MS && used(q) != n; i++)
		usleep(1000);
	CHECK_EQ(used(q), n);
}

static uint8_t
command(unsigned q, uint8_t class, uint8_t cmd, uint16_t pairs, uint32_t len)
{
	uint64_t at = offer(q, 2, 1, len);
	uint8_t bytes[4] = { class, cmd, (uint8_t)pairs, (uint8_t)(pairs >> 8) };

	ram_put(at, bytes, sizeof(bytes));
	ram_put(buffer(q, (avail[q] - 1 + 1) % SIZE), "\xee", 1);
	notify(NET, q);
	return (uint8_t)ram_get(buffer(q, (avail[q] - 1 + 1) % SIZE), 1);
}

static void
shows_itself(void)
{
	board(0, 0);
	CHECK_EQ(reg_get(NET, 0x12, 2), 2 * 2 + 1);
	CHECK_EQ(reg_get(NET, 0x2008, 2), 2);			/* max_virtqueue_pairs */
	reg_put(NET, 0, 4, 0);
	CHECK_EQ(reg_get(NET, 4, 4) & (F_MQ | F_CTRL), F_MQ | F_CTRL);
	unboard();
}

static void
frames_both_ways(void)
{
	uint8_t f[FRAME], back[H + FRAME + 1];

	board(F_MRG, 2);
	frame(f, 1, 2, 1000, 53);
	transmit(1, f);
	CHECK_EQ(host_takes(back, sizeof(back), WAIT_MS), H + FRAME);
	CHECK(memcmp(back + H, f, FRAME) == 0);
	CHECK_EQ(used(1), 1);
	offer(0, 1, 1, 256);
	notify(NET, 0);
	host_sends(f, FRAME);
	used_wait(0, 1);
	CHECK_EQ(used_len(0, 0), H + FRAME);
	unboard();
}

/* More than a buffer: as many as it takes, and their number in the first one's header. */
static void
merged_buffers(void)
{
	static uint8_t big[600];

	board(F_MRG, 2);
	frame(big, 1, 2, 3, 4);
	for (unsigned i = 0; i < 3; i++)
		offer(0, 1, 1, 256);
	notify(NET, 0);
	host_sends(big, sizeof(big));
	used_wait(0, 3);
	CHECK_EQ(ram_get(buffer(0, 0) + 10, 2), 3);
	CHECK_EQ(used_len(0, 0) + used_len(0, 1) + used_len(0, 2), H + sizeof(big));
	offer(0, 1, 1, 256);				/* one of three: none is used, until there are three */
	notify(NET, 0);
	host_sends(big, sizeof(big));
	usleep(QUIET_MS * 1000);
	CHECK_EQ(used(0), 3);
	offer(0, 1, 1, 256);
	offer(0, 1, 1, 256);
	notify(NET, 0);
	used_wait(0, 6);
	unboard();
}

/* With the event index: a frame that lacks buffers waits for the one behind those that are there, since the driver says
 * nothing again of those. */
static void
waits_for_the_buffer_that_lacks(void)
{
	static uint8_t big[600];

	board(F_MRG | (uint64_t)1 << 29, 2);
	frame(big, 1, 2, 3, 4);
	offer(0, 1, 1, 256);
	offer(0, 1, 1, 256);
	notify(NET, 0);
	host_sends(big, sizeof(big));
	for (unsigned i = 0; i < WAIT_MS && ram_get(ring(0) + 0x804 + 8 * SIZE, 2) != 2; i++)
		usleep(1000);
	CHECK_EQ(ram_get(ring(0) + 0x804 + 8 * SIZE, 2), 2);	/* "tell me of the third" */
	CHECK_EQ(used(0), 0);
	offer(0, 1, 1, 256);
	notify(NET, 0);
	used_wait(0, 3);
	unboard();
}

/* Larger than all buffers that the ring can have: lost, but the card goes on. */
static void
larger_than_the_ring(void)
{
	static uint8_t big[1200];

	board(F_MRG, 2);
	frame(big, 1, 2, 3, 4);
	for (unsigned i = 0; i < SIZE; i++)
		offer(0, 1, 1, 128);
	notify(NET, 0);
	host_sends(big, sizeof(big));
	used_wait(0, SIZE);
	CHECK_EQ(used_len(0, 0), 0);
	offer(0, 1, 1, 256);
	notify(NET, 0);
	host_sends(big, FRAME);
	used_wait(0, SIZE + 1);
	CHECK_EQ(used_len(0, SIZE), H + FRAME);
	unboard();
}

static void
control_queue(void)
{
	board(F_MQ | F_CTRL, QUEUES);
	CHECK_EQ(command(CTRL, 4, 0, 2, 16), 0);
	CHECK_EQ(command(CTRL, 4, 0, 1, 16), 0);
	CHECK_EQ(command(CTRL, 4, 0, 0, 16), 1);
	CHECK_EQ(command(CTRL, 4, 0, 3, 16), 1);
	CHECK_EQ(command(CTRL, 4, 0, 0x8000, 16), 1);
	CHECK_EQ(command(CTRL, 4, 1, 2, 16), 1);		/* RSS: not offered */
	CHECK_EQ(command(CTRL, 0, 0, 1, 16), 1);
	CHECK_EQ(command(CTRL, 4, 0, 2, 3), 1);		/* cut short */
	CHECK_EQ(reg_get(NET, 0x14, 1), 15);
	offer(CTRL, 1, 0, 16);					/* no room for an answer: none, and no harm */
	notify(NET, CTRL);
	CHECK_EQ(used(CTRL), 9);
	CHECK_EQ(used_len(CTRL, 8), 0);
	unboard();
	board(F_CTRL, 3);				/* without F_MQ it is behind the first pair */
	CHECK_EQ(command(2, 4, 0, 1, 16), 1);
	CHECK_EQ(used(2), 1);
	unboard();
	board(F_MQ, QUEUES);				/* not agreed on: nobody listens */
	CHECK_EQ(command(CTRL, 4, 0, 2, 16), 0xee);
	unboard();
}

/* What was sent on the second pair is answered there; what nobody asked for comes on the first. */
static void
flows_stay_on_their_pair(void)
{
	uint8_t f[FRAME], message[H + FRAME];

	board(F_MQ | F_CTRL, QUEUES);
	for (unsigned i = 0; i < 4; i++) {
		offer(0, 1, 1, 256);
		offer(2, 1, 1, 256);
	}
	notify(NET, 0);
	notify(NET, 2);
	frame(f, 2, 15, 53, 4000);
	host_sends(f, FRAME);
	used_wait(0, 1);
	CHECK_EQ(command(CTRL, 4, 0, 2, 16), 0);
	frame(f, 15, 2, 4000, 53);
	transmit(3, f);
	CHECK_EQ(host_takes(message, sizeof(message), WAIT_MS), H + FRAME);
	frame(f, 2, 15, 53, 4000);
	host_sends(f, FRAME);
	used_wait(2, 1);
	frame(f, 2, 15, 80, 5000);			/* another flow */
	host_sends(f, FRAME);
	used_wait(0, 2);
	frame(f, 15, 2, 4000, 53);			/* the first one moves */
	transmit(1, f);
	CHECK_EQ(host_takes(message, sizeof(message), WAIT_MS), H + FRAME);
	frame(f, 2, 15, 53, 4000);
	host_sends(f, FRAME);
	used_wait(0, 3);
	CHECK_EQ(used(2), 1);
	unboard();
}

/* The pair is given up while frames are on their way to it. */
static void
fewer_pairs(void)
{
	uint8_t f[FRAME], message[H + FRAME];

	board(F_MQ | F_CTRL, QUEUES);
	CHECK_EQ(command(CTRL, 4, 0, 2, 16), 0);
	frame(f, 15, 2, 4000, 53);
	transmit(3, f);
	CHECK_EQ(host_takes(message, sizeof(message), WAIT_MS), H + FRAME);
	frame(f, 2, 15, 53, 4000);
	host_sends(f, FRAME);				/* waits: that pair has no buffer */
	usleep(QUIET_MS * 1000);
	offer(0, 1, 1, 256);
	CHECK_EQ(command(CTRL, 4, 0, 1, 16), 0);
	used_wait(0, 1);
	unboard();
}

static void
reset_in_flight(void)
{
	uint8_t f[FRAME], message[H + FRAME];

	board(F_MQ | F_CTRL, QUEUES);
	CHECK_EQ(command(CTRL, 4, 0, 2, 16), 0);
	frame(f, 2, 15, 53, 4000);
	for (unsigned i = 0; i < 3; i++)
		host_sends(f, FRAME);			/* no buffers: the first is held */
	usleep(QUIET_MS * 1000);
	reg_put(NET, 0x14, 1, 0);
	CHECK_EQ(reg_get(NET, 0x14, 1), 0);
	usleep(QUIET_MS * 1000);			/* and dropped with those behind it: there is no driver */
	driver(F_MQ | F_CTRL, QUEUES);
	offer(0, 1, 1, 256);
	notify(NET, 0);
	usleep(QUIET_MS * 1000);
	CHECK_EQ(used(0), 0);
	host_sends(f, FRAME);
	used_wait(0, 1);
	transmit(1, f);
	CHECK_EQ(host_takes(message, sizeof(message), WAIT_MS), H + FRAME);
	unboard();
}

static void
cable_out(void)
{
	uint8_t f[FRAME];

	board(F_STATUS, 2);
	CHECK_EQ(reg_get(NET, 0x2006, 2), LINK_UP);
	close(pair[1]);
	for (unsigned i = 0; i < WAIT_MS && reg_get(NET, 0x2006, 2) == LINK_UP; i++)
		usleep(1000);
	CHECK_EQ(reg_get(NET, 0x2006, 2), 0);
	CHECK_EQ(reg_get(NET, 0x1000, 1) & 2, 2);	/* and says so */
	frame(f, 1, 2, 3, 4);
	transmit(1, f);					/* lost, and given back */
	CHECK_EQ(used(1), 1);
	reg_put(NET, 0x14, 1, 0);
	driver(F_STATUS, 2);
	CHECK_EQ(reg_get(NET, 0x2006, 2), 0);		/* it stays out */
	rig_close();
}

/* What the driver did not agree on, or what is no frame, does not reach the host, and each buffer comes back. */
static void
hostile_frames(void)
{
	uint8_t message[H + FRAME] = { 0 };
	static const struct { uint8_t flags, gso; uint32_t len; } bad[] = {
		{ 1, 0, H + FRAME }, { 0, 1, H + FRAME }, { 0, 0xff, H + FRAME }, { 0, 0, 0 }, { 0, 0, H }, { 0, 0, H + 13 },
		{ 0, 0, 0x20000 },
	};

	board(0, 2);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		message[0] = bad[i].flags;
		message[1] = bad[i].gso;
		ram_put(offer(1, 1, 0, bad[i].len), message, sizeof(message));
		notify(NET, 1);
		CHECK_EQ(used(1), i + 1);
	}
	CHECK_EQ(host_takes(message, sizeof(message), QUIET_MS), -1);
	offer(0, 1, 1, 8);				/* smaller than a header, and nothing to merge with */
	notify(NET, 0);
	host_sends(message, FRAME);
	used_wait(0, 1);
	CHECK_EQ(used_len(0, 0), 0);
	CHECK_EQ(reg_get(NET, 0x14, 1), 15);
	unboard();
}

int
main(void)
{
	RUN(shows_itself);
	RUN(frames_both_ways);
	RUN(merged_buffers);
	RUN(waits_for_the_buffer_that_lacks);
	RUN(larger_than_the_ring);
	RUN(control_queue);
	RUN(flows_stay_on_their_pair);
	RUN(fewer_pairs);
	RUN(reset_in_flight);
	RUN(cable_out);
	RUN(hostile_frames);
	return check_done();
}
