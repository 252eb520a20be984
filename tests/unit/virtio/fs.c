/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/virtio/fs.c - the shared folder's rings: a reset while requests are away, a helper that dies, guests that lie. */
#include "rig.h"
#include "virtio/fs.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { FS = 3, SIZE = 8, WAIT_MS = 5000, QUIET_MS = 50, IN_HEADER = 40, OUT_HEADER = 16, NUMBER = 4, STATUS_all = 15 };
#define VERSION_1 ((uint64_t)1 << 32)
enum { Q_DESC = DESC_AT, Q_DRIVER = DRIVER_AT, Q_DEVICE = DEVICE_AT, ANSWER_AT = DATA_AT + 0x1000 };

static int pair[2];
static unsigned offered;

static void
driver(void)
{
	uint16_t none = 0;

	driver_begin(FS, VERSION_1);
	ram_put(Q_DRIVER + 2, &none, 2);
	ram_put(Q_DEVICE + 2, &none, 2);
	driver_queue(FS, 1, SIZE, Q_DESC, Q_DRIVER, Q_DEVICE);
	offered = 0;
	reg_put(FS, 0x14, 1, STATUS_all);
}

static void
board(void)
{
	struct wire *w = NULL;
	char err[64];

	rig_open();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0)
		w = wire_open_fd(pair[0], err, sizeof(err));
	CHECK_EQ(machine_attach(&fake_vm, fs_open(&fake_vm, "share0", w, "tag")), 0);
	driver();
}

static void
unboard(void)
{
	rig_close();
	close(pair[1]);
}

/* A request of len bytes with room for an answer. */
static void
request(uint64_t unique, uint32_t len)
{
	uint32_t head[2] = { len, 3 };
	unsigned i = offered % (SIZE / 2);
	uint64_t at = DATA_AT + 0x100 * i;

	ram_put(at, head, sizeof(head));
	ram_put(at + 8, &unique, sizeof(unique));
	desc_put(2 * i, at, len, 1, (uint16_t)(2 * i + 1));
	desc_put(2 * i + 1, ANSWER_AT + 0x100 * i, 0x100, 2, 0);
	avail_put(offered++, SIZE, (uint16_t)(2 * i));
	notify(FS, 1);
}

/* What the helper gets; its slot's number, or -1. */
static int
helper_takes(size_t *len)
{
	struct pollfd p = { .fd = pair[1], .events = POLLIN };
	static uint8_t message[70000];
	ssize_t n = poll(&p, 1, WAIT_MS) == 1 ? recv(pair[1], message, sizeof(message), 0) : -1;
	uint32_t number;

	memcpy(&number, message, sizeof(number));
	*len = n < NUMBER ? 0 : (size_t)n - NUMBER;
	return n < NUMBER ? -1 : (int)number;
}

static void
helper_answers(int number, size_t len)
{
	uint8_t message[NUMBER + 0x400] = { 0 };

	memcpy(message, &number, NUMBER);
	memset(message + NUMBER, 0x5a, len);
	CHECK(send(pair[1], message, NUMBER + len, 0) > 0);
}

static void
used_wait(unsigned n)
{
	for (unsigned i = 0; i < WAIT_MS && used_idx() != n; i++)
		usleep(1000);
	CHECK_EQ(used_idx(), n);
}

static void
there_and_back(void)
{
	size_t len;
	int number;

	board();
	CHECK_EQ(reg_get(FS, 0x2000, 4), 'g' << 16 | 'a' << 8 | 't');
	request(7, IN_HEADER + 8);
	number = helper_takes(&len);
	CHECK_EQ(len, IN_HEADER + 8);
	CHECK_EQ(used_idx(), 0);
	helper_answers(number, OUT_HEADER);
	used_wait(1);
	CHECK_EQ(ram_get(ANSWER_AT, 1), 0x5a);
	CHECK_EQ(ram_get(Q_DEVICE + 8, 4), OUT_HEADER);
	unboard();
}

/* The driver reads its old status until the helper has answered; the answer goes nowhere. */
static void
reset_in_flight(void)
{
	size_t len;
	int first, second;

	board();
	request(1, IN_HEADER);
	request(2, IN_HEADER);
	first = helper_takes(&len);
	second = helper_takes(&len);
	CHECK(first >= 0 && second >= 0 && first != second);
	reg_put(FS, 0x14, 1, 0);
	CHECK_EQ(reg_get(FS, 0x14, 1), STATUS_all);
	helper_answers(first, OUT_HEADER);
	usleep(QUIET_MS * 1000);
	CHECK_EQ(reg_get(FS, 0x14, 1), STATUS_all);
	helper_answers(second, OUT_HEADER);
	for (unsigned i = 0; i < WAIT_MS && reg_get(FS, 0x14, 1) != 0; i++)
		usleep(1000);
	CHECK_EQ(reg_get(FS, 0x14, 1), 0);
	CHECK_EQ(used_idx(), 0);
	CHECK_EQ(ram_get(ANSWER_AT, 1), 0);
	driver();					/* and the next driver finds it working */
	request(3, IN_HEADER);
	helper_answers(helper_takes(&len), OUT_HEADER);
	used_wait(1);
	unboard();
}

static void
helper_dies(void)
{
	size_t len;

	board();
	request(0x1234, IN_HEADER);
	helper_takes(&len);
	close(pair[1]);
	used_wait(1);
	CHECK_EQ((int32_t)ram_get(ANSWER_AT + 4, 4), -ENOTCONN);
	CHECK_EQ(ram_get(ANSWER_AT + 8, 8), 0x1234);
	request(0x5678, IN_HEADER);			/* at once */
	CHECK_EQ(used_idx(), 2);
	CHECK_EQ(ram_get(ANSWER_AT + 0x100 + 8, 8), 0x5678);
	reg_put(FS, 0x14, 1, 0);
	CHECK_EQ(reg_get(FS, 0x14, 1), 0);
	rig_close();
}

/* The helper dies while a reset waits for it. */
static void
dies_in_reset(void)
{
	size_t len;

	board();
	request(1, IN_HEADER);
	helper_takes(&len);
	reg_put(FS, 0x14, 1, 0);
	CHECK_EQ(reg_get(FS, 0x14, 1), STATUS_all);
	close(pair[1]);
	for (unsigned i = 0; i < WAIT_MS && reg_get(FS, 0x14, 1) != 0; i++)
		usleep(1000);
	CHECK_EQ(reg_get(FS, 0x14, 1), 0);
	rig_close();
}

/* Answers that nobody asked for, or that are larger than their room. */
static void
helper_lies(void)
{
	size_t len;
	int number;

	board();
	helper_answers(0, OUT_HEADER);
	helper_answers(31, OUT_HEADER);
	helper_answers(32, OUT_HEADER);
	helper_answers(-1, OUT_HEADER);
	usleep(QUIET_MS * 1000);
	CHECK_EQ(used_idx(), 0);
	request(1, IN_HEADER);
	number = helper_takes(&len);
	helper_answers(number, 0x400);
	used_wait(1);
	CHECK_EQ(ram_get(Q_DEVICE + 8, 4), 0x100);
	CHECK_EQ(ram_get(ANSWER_AT + 0x100, 1), 0);	/* behind the room */
	helper_answers(number, OUT_HEADER);		/* twice */
	usleep(QUIET_MS * 1000);
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(reg_get(FS, 0x14, 1), STATUS_all);
	unboard();
}

static void
hostile_requests(void)
{
	static const struct { uint32_t len; bool broken; } bad[] = {
		{ 0, true }, { 1, true }, { IN_HEADER - 1, true }, { 65537, true }, { RIG_RAM, true }, { IN_HEADER, false },
	};
	size_t len;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		board();
		request(1, bad[i].len);
		CHECK_EQ((reg_get(FS, 0x14, 1) & VIRTIO_STATUS_needs_reset) != 0, bad[i].broken);
		if (!bad[i].broken)
			CHECK(helper_takes(&len) >= 0);
		unboard();
	}
}

int
main(void)
{
	RUN(there_and_back);
	RUN(reset_in_flight);
	RUN(helper_dies);
	RUN(dies_in_reset);
	RUN(helper_lies);
	RUN(hostile_requests);
	return check_done();
}
