/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/virtio/console.c - the console on its rings: a host without room, a window that changes, guests that lie. */
#include "rig.h"
#include "virtio/console.h"
#include <string.h>

enum { SLOT = 3, RNG_SLOT = 2, RX_DESC = DESC_AT + 0x800, RX_DRIVER = DRIVER_AT + 0x800, RX_DEVICE = DEVICE_AT + 0x800, SIZE = 8 };
#define VERSION_1 ((uint64_t)1 << 32)
#define EVENT_IDX ((uint64_t)1 << 29)
#define F_SIZE 1

static uint8_t said[8192];
static size_t nsaid, room;
static unsigned wanted;
static struct virtio *con;

static size_t
host_write(void *ctx, const void *bytes, size_t n)
{
	(void)ctx;
	n = n < room ? n : room;
	if (nsaid + n <= sizeof(said))
		memcpy(said + nsaid, bytes, n);
	nsaid += n;
	room -= n;
	return n;
}

static void
host_want(void *ctx)
{
	(void)ctx;
	wanted++;
}

static void
board(void)
{
	struct console_host host = { host_write, host_want, NULL };

	nsaid = wanted = 0;
	room = SIZE_MAX;
	rig_open();
	con = console_open(&fake_vm, "console0", &host);
	CHECK_EQ(machine_attach(&fake_vm, con), 0);
}

/* The driver's transmit queue is where rig.h has the first one. */
static void
begin(uint64_t more)
{
	driver_begin(SLOT, VERSION_1 | more);
	driver_queue(SLOT, 0, SIZE, RX_DESC, RX_DRIVER, RX_DEVICE);
	driver_queue(SLOT, 1, SIZE, DESC_AT, DRIVER_AT, DEVICE_AT);
	reg_put(SLOT, 0x14, 1, 15);
}

static void
rx_put(unsigned n, uint64_t addr, uint32_t len)
{
	struct vring_desc d = { addr, len, DESC_write, 0 };
	uint16_t head = (uint16_t)(n % SIZE), idx = (uint16_t)(n + 1);

	ram_put(RX_DESC + 16ull * head, &d, sizeof(d));
	ram_put(RX_DRIVER + 4 + 2ull * head, &head, 2);
	ram_put(RX_DRIVER + 2, &idx, 2);
}

static void
shows_itself(void)
{
	board();
	CHECK_EQ(cfg_get(SLOT, 0, 4), 0x10431af4);
	CHECK_EQ(reg_get(SLOT, 0x12, 2), 2);			/* queues */
	reg_put(SLOT, 0, 4, 0);
	CHECK_EQ(reg_get(SLOT, 4, 4) & 7, F_SIZE);		/* no F_MULTIPORT, no F_EMERG_WRITE */
	rig_close();
}

/* A host that has no room keeps the rest in the ring, and gets each byte once. */
static void
waits_for_the_host(void)
{
	static const char text[] = "the quick brown fox";

	board();
	begin(0);
	room = 7;
	ram_put(DATA_AT, text, sizeof(text));
	desc_put(0, DATA_AT, 10, 1, 1);
	desc_put(1, DATA_AT + 10, sizeof(text) - 10, 0, 0);
	avail_put(0, SIZE, 0);
	notify(SLOT, 1);
	CHECK_EQ(used_idx(), 0);
	CHECK_EQ(nsaid, 7);
	room = 5;
	console_ready(con);
	CHECK_EQ(used_idx(), 0);
	room = SIZE_MAX;
	console_ready(con);
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(nsaid, sizeof(text));
	CHECK(memcmp(said, text, sizeof(text)) == 0);
	rig_close();
}

/* A reset while a buffer is half written: the next driver's bytes begin at the beginning. */
static void
reset_in_the_middle(void)
{
	board();
	begin(0);
	room = 3;
	ram_put(DATA_AT, "abcdefgh", 8);
	desc_put(0, DATA_AT, 8, 0, 0);
	avail_put(0, SIZE, 0);
	notify(SLOT, 1);
	CHECK_EQ(nsaid, 3);
	reg_put(SLOT, 0x14, 1, 0);
	CHECK_EQ(reg_get(SLOT, 0x14, 1), 0);
	room = SIZE_MAX;
	console_ready(con);				/* nobody's */
	CHECK_EQ(nsaid, 3);
	nsaid = 0;
	begin(0);
	notify(SLOT, 1);
	CHECK_EQ(nsaid, 8);
	CHECK(memcmp(said, "abcdefgh", 8) == 0);
	rig_close();
}

static void
input_fills_buffers(void)
{
	char back[16] = "";

	board();
	CHECK_EQ(console_input(con, "x", 1), 0);		/* no driver */
	begin(0);
	CHECK_EQ(wanted, 1);
	CHECK_EQ(console_input(con, "hello", 5), 0);		/* no buffer */
	rx_put(0, DATA_AT, 2);
	rx_put(1, DATA_AT + 0x100, 8);
	notify(SLOT, 0);
	CHECK_EQ(wanted, 2);
	CHECK_EQ(console_input(con, "hello", 5), 5);
	CHECK_EQ(ram_get(RX_DEVICE + 2, 2), 2);
	CHECK_EQ(ram_get(RX_DEVICE + 4 + 4, 4), 2);		/* bytes in the first, in the second */
	CHECK_EQ(ram_get(RX_DEVICE + 12 + 4, 4), 3);
	mem_read(fake_vm.mem, DATA_AT, back, 2);
	mem_read(fake_vm.mem, DATA_AT + 0x100, back + 2, 3);
	CHECK(strcmp(back, "hello") == 0);
	CHECK_EQ(console_input(con, "more", 4), 0);
	rig_close();
}

static void
window_changes(void)
{
	uint8_t generation;

	board();
	console_size(con, 80, 25);
	begin(F_SIZE);
	CHECK_EQ(reg_get(SLOT, 0x2000, 2), 80);
	CHECK_EQ(reg_get(SLOT, 0x2002, 2), 25);
	CHECK_EQ(reg_get(SLOT, 0x1000, 1) & 2, 2);	/* told at once: Linux looks only then */
	generation = (uint8_t)reg_get(SLOT, 0x15, 1);
	console_size(con, 132, 43);
	CHECK(generation != (uint8_t)reg_get(SLOT, 0x15, 1));
	CHECK_EQ(reg_get(SLOT, 0x1000, 1), 2);
	CHECK_EQ(reg_get(SLOT, 0x2000, 4), 43u << 16 | 132);
	console_size(con, 132, 43);			/* the same: no word */
	CHECK_EQ(reg_get(SLOT, 0x1000, 1), 0);
	reg_put(SLOT, 0x2000, 2, 1);			/* not the guest's to write */
	CHECK_EQ(reg_get(SLOT, 0x2000, 2), 132);
	reg_put(SLOT, 0x14, 1, 0);			/* the window is the host's: a reset does not change it */
	CHECK_EQ(reg_get(SLOT, 0x2000, 2), 132);
	rig_close();
}

static void
hostile_rings(void)
{
	static const struct { uint64_t addr; uint32_t len; uint16_t flags, next; bool broken; } bad[] = {
		{ RIG_RAM - 8, 64, 0, 0, true },		/* runs out of RAM */
		{ UINT64_MAX - 3, 64, 0, 0, true },
		{ DATA_AT, 16, 1, 0, true },			/* a loop */
		{ DATA_AT, 16, 1, 200, true },			/* a descriptor that is none */
		{ DATA_AT, 0, 0, 0, false },			/* nothing at all */
		{ DATA_AT, 16, 2, 0, false },			/* to write, where it is to be read: nothing */
		{ 0, RIG_RAM / 2, 0, 0, false },		/* all that there is */
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		board();
		begin(0);
		desc_put(0, bad[i].addr, bad[i].len, bad[i].flags, bad[i].next);
		avail_put(0, SIZE, 0);
		notify(SLOT, 1);
		CHECK_EQ((reg_get(SLOT, 0x14, 1) & 64) != 0, bad[i].broken);
		CHECK(nsaid <= 1 << 20);
		CHECK_EQ(console_input(con, "x", 1), 0);
		rig_close();
	}
}

/* Far more in one buffer than any driver sends: a bounded time under the lock. */
static void
endless_buffer(void)
{
	struct vring_desc d = { 0, RIG_RAM / 2, 0, 0 };

	board();
	begin((uint64_t)1 << 28);
	for (unsigned i = 0; i < 200; i++) {
		d.flags = i == 199 ? 0 : 1;
		d.next = (uint16_t)(i + 1);
		ram_put(DATA_AT + 16 * i, &d, sizeof(d));
	}
	desc_put(0, DATA_AT, 200 * 16, 4, 0);
	avail_put(0, SIZE, 0);
	notify(SLOT, 1);
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(nsaid, 1 << 20);
	rig_close();
}

/* With the event index a device that does not say what it has seen hears of the first buffer only. */
static void
event_index_moves(void)
{
	board();
	driver_ready(RNG_SLOT, VERSION_1 | EVENT_IDX, SIZE);
	for (unsigned n = 0; n < 20; n++) {
		CHECK_EQ(ram_get(DEVICE_AT + 4 + 8 * SIZE, 2), n);
		desc_put(n % SIZE, DATA_AT, 16, 2, 0);
		avail_put(n, SIZE, (uint16_t)(n % SIZE));
		notify(RNG_SLOT, 0);
		CHECK_EQ(used_idx(), n + 1);
	}
	rig_close();
	board();
	begin(EVENT_IDX);
	for (unsigned n = 0; n < 20; n++) {
		CHECK_EQ(ram_get(DEVICE_AT + 4 + 8 * SIZE, 2), n);
		desc_put(n % SIZE, DATA_AT, 16, 0, 0);
		avail_put(n, SIZE, (uint16_t)(n % SIZE));
		notify(SLOT, 1);
	}
	CHECK_EQ(nsaid, 320);
	rig_close();
}

int
main(void)
{
	RUN(shows_itself);
	RUN(waits_for_the_host);
	RUN(reset_in_the_middle);
	RUN(input_fills_buffers);
	RUN(window_changes);
	RUN(hostile_rings);
	RUN(endless_buffer);
	RUN(event_index_moves);
	return check_done();
}
