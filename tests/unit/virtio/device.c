/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/virtio/device.c - PCI, negotiation, pinning, reset in flight, split and packed rings, hostile drivers. */
#include "rig.h"

enum { BLK = 1, RNG = 2, V1 = 1, ACK_ALL = 15 };
#define VERSION_1 ((uint64_t)1 << 32)
#define PACKED ((uint64_t)1 << 34)
#define EVENTS ((uint64_t)1 << 29)
#define INDIRECT ((uint64_t)1 << 28)
#define FLUSH ((uint64_t)1 << 9)

static void
shows_itself_on_pci(void)
{
	unsigned cap, types = 0, msix = 0;

	rig_open();
	CHECK_EQ(cfg_get(BLK, 0, 4), 0x10421af4);
	CHECK_EQ(cfg_get(RNG, 0, 4), 0x10441af4);
	CHECK_EQ(cfg_get(3, 0, 4), UINT32_MAX);
	for (cap = (unsigned)cfg_get(BLK, 0x34, 1); cap != 0; cap = (unsigned)cfg_get(BLK, cap + 1, 1)) {
		if (cfg_get(BLK, cap, 1) == 9)
			types |= 1u << cfg_get(BLK, cap + 3, 1);
		msix += cfg_get(BLK, cap, 1) == 0x11;
	}
	CHECK_EQ(types, 0x3e);			/* common, notify, isr, device, pci */
	CHECK_EQ(msix, 1);
	CHECK_EQ(reg_get(BLK, 0x2000, 8), RIG_DISK / 512);
	CHECK_EQ(reg_get(BLK, 0x12, 2), 2);	/* queues */
	rig_close();
}

static void
bars_move(void)
{
	uint64_t old;

	rig_open();
	old = bar_of(BLK);
	CHECK(old >= 0xc0000000);
	cfg_put(BLK, 0x10, 4, UINT32_MAX);
	CHECK_EQ(cfg_get(BLK, 0x10, 4), (uint32_t)-0x8000);	/* its size */
	cfg_put(BLK, 0x10, 4, 0xd0000000);
	CHECK_EQ(mmio(old + 0x2000, 4, false, 0), UINT32_MAX);
	CHECK_EQ(mmio(0xd0002000, 4, false, 0), RIG_DISK / 512);
	cfg_put(BLK, 0x10, 4, bar_of(RNG));			/* where somebody is */
	CHECK_EQ(reg_get(RNG, 0x12, 2), 1);
	cfg_put(BLK, 4, 2, 0);					/* decoding off */
	cfg_put(BLK, 0x10, 4, 0xd0000000);
	CHECK_EQ(mmio(0xd0002000, 4, false, 0), UINT32_MAX);
	cfg_put(BLK, 4, 2, 2);
	CHECK_EQ(mmio(0xd0002000, 4, false, 0), RIG_DISK / 512);
	rig_close();
}

static void
negotiation(void)
{
	rig_open();
	driver_begin(BLK, FLUSH);				/* without version 1 */
	CHECK_EQ(reg_get(BLK, 0x14, 1), 3);
	driver_begin(BLK, VERSION_1 | (uint64_t)1 << 50);	/* not offered */
	CHECK_EQ(reg_get(BLK, 0x14, 1), 3);
	driver_begin(BLK, VERSION_1);
	CHECK_EQ(reg_get(BLK, 0x14, 1), 11);
	reg_put(BLK, 0x0c, 4, 0);				/* too late */
	CHECK_EQ(rig_blk->features, VERSION_1);
	reg_put(BLK, 0x14, 1, 0);
	CHECK_EQ(reg_get(BLK, 0x14, 1), 0);
	driver_begin(BLK, VERSION_1 | FLUSH | PACKED);		/* once more, otherwise */
	CHECK_EQ(reg_get(BLK, 0x14, 1), 11);
	rig_close();
}

static void
queue_registers_are_pinned(void)
{
	rig_open();
	driver_ready(BLK, VERSION_1, 8);
	reg_put(BLK, 0x16, 2, 0);
	reg_put(BLK, 0x20, 4, 0xdead0000);
	reg_put(BLK, 0x28, 4, 0xdead0000);
	reg_put(BLK, 0x30, 8, 0xdead0000);
	reg_put(BLK, 0x18, 2, 4);
	reg_put(BLK, 0x1c, 2, 0);
	CHECK_EQ(reg_get(BLK, 0x20, 8), DESC_AT);
	CHECK_EQ(reg_get(BLK, 0x28, 8), DRIVER_AT);
	CHECK_EQ(reg_get(BLK, 0x30, 8), DEVICE_AT);
	CHECK_EQ(reg_get(BLK, 0x18, 2), 8);
	CHECK_EQ(reg_get(BLK, 0x1c, 2), 1);
	driver_queue(BLK, 1, 8, 0x30000, 0x31000, 0x32000);	/* another one, too late */
	CHECK_EQ(reg_get(BLK, 0x20, 8), 0);
	CHECK_EQ(reg_get(BLK, 0x1c, 2), 0);
	rig_close();
}

static void
request_put(unsigned at, uint32_t type, uint64_t sector)
{
	uint32_t head[2] = { type, 0 };

	ram_put(DATA_AT + at, head, 8);
	ram_put(DATA_AT + at + 8, &sector, 8);
}

/* Header at 0, data at 0x1000, status at 0x40, in descriptors 0 to 2. */
static void
transfer_put(bool in, uint64_t sector, uint32_t len)
{
	request_put(0, in ? 0 : 1, sector);
	desc_put(0, DATA_AT, 16, 1, 1);
	desc_put(1, DATA_AT + 0x1000, len, in ? 3 : 1, 2);
	desc_put(2, DATA_AT + 0x40, 1, 2, 0);
	ram_put(DATA_AT + 0x40, "\xee", 1);
}

static void
split_disk(void)
{
	char text[512] = "what the guest wrote", back[512] = "";

	rig_open();
	driver_ready(BLK, VERSION_1 | FLUSH, 8);
	transfer_put(false, 5, 512);
	ram_put(DATA_AT + 0x1000, text, sizeof(text));
	avail_put(0, 8, 0);
	notify(BLK, 0);
	CHECK_EQ(used_idx(), 0);
	CHECK(disk_step());
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 0);
	CHECK_EQ(reg_get(BLK, 0x1000, 1), 1);		/* ISR: read, gone */
	CHECK_EQ(reg_get(BLK, 0x1000, 1), 0);
	CHECK_EQ(pread(rig_fd, back, sizeof(back), 5 * 512), (int)sizeof(back));
	CHECK(memcmp(text, back, sizeof(text)) == 0);
	transfer_put(true, 5, 512);			/* and back */
	ram_put(DATA_AT + 0x1000, (char[512]){ "" }, 512);
	avail_put(1, 8, 0);
	notify(BLK, 0);
	while (disk_step())
		;
	CHECK_EQ(used_idx(), 2);
	CHECK_EQ(ram_get(DEVICE_AT + 4 + 8 + 4, 4), 513);
	mem_read(fake_vm.mem, DATA_AT + 0x1000, back, sizeof(back));
	CHECK(memcmp(text, back, sizeof(text)) == 0);
	rig_close();
}

static void
out_of_range_is_an_error_and_no_more(void)
{
	static const uint64_t sectors[] = { RIG_DISK / 512, RIG_DISK / 512 - 1, UINT64_MAX, UINT64_MAX / 512 };

	rig_open();
	driver_ready(BLK, VERSION_1, 8);
	for (unsigned i = 0; i < 4; i++) {
		transfer_put(true, sectors[i], 1024);
		avail_put(i, 8, 0);
		notify(BLK, 0);
		CHECK_EQ(used_idx(), i + 1);
		CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 1);
	}
	transfer_put(true, 0, 100);			/* no whole sector */
	avail_put(4, 8, 0);
	notify(BLK, 0);
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 1);
	request_put(0, 77, 0);				/* no such request */
	ram_put(DATA_AT + 0x40, "\xee", 1);
	avail_put(5, 8, 0);
	notify(BLK, 0);
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 2);
	CHECK_EQ(reg_get(BLK, 0x14, 1), ACK_ALL);
	rig_close();
}

static void
file_cut_short_is_an_error(void)
{
	rig_open();
	driver_ready(BLK, VERSION_1, 8);
	CHECK_EQ(ftruncate(rig_fd, 4096), 0);
	transfer_put(true, 1000, 512);
	avail_put(0, 8, 0);
	notify(BLK, 0);
	while (disk_step())
		;
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 1);
	rig_close();
}

static void
discard_and_zeroes(void)
{
	struct { uint64_t sector; uint32_t n, flags; } seg = { 2, 2, 1 };
	uint8_t byte = 0xaa, back = 0;

	rig_open();
	driver_ready(BLK, VERSION_1 | (uint64_t)1 << 13 | (uint64_t)1 << 14, 8);
	CHECK_EQ(pwrite(rig_fd, &byte, 1, 1024), 1);
	request_put(0, 13, 0);
	ram_put(DATA_AT + 16, &seg, sizeof(seg));
	desc_put(0, DATA_AT, 32, 1, 1);
	desc_put(1, DATA_AT + 0x40, 1, 2, 0);
	avail_put(0, 8, 0);
	notify(BLK, 0);
	CHECK(disk_step());
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 0);
	CHECK_EQ(pread(rig_fd, &back, 1, 1024), 1);
	CHECK_EQ(back, 0);
	request_put(0, 11, 0);				/* discard knows no flag */
	avail_put(1, 8, 0);
	notify(BLK, 0);
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 2);
	rig_close();
}

static void
reset_waits_for_what_is_in_flight(void)
{
	rig_open();
	driver_ready(BLK, VERSION_1, 8);
	transfer_put(false, 1, 512);
	avail_put(0, 8, 0);
	notify(BLK, 0);
	reg_put(BLK, 0x14, 1, 0);
	CHECK_EQ(reg_get(BLK, 0x14, 1), ACK_ALL);	/* not yet */
	reg_put(BLK, 0x14, 1, 1);			/* nobody listens */
	notify(BLK, 0);
	CHECK(disk_step());
	CHECK_EQ(reg_get(BLK, 0x14, 1), 0);
	CHECK_EQ(used_idx(), 0);			/* the ring is the driver's again */
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 0xee);
	ram_put(DRIVER_AT, (uint8_t[32]){ 0 }, 32);
	driver_ready(BLK, VERSION_1, 4);
	avail_put(0, 4, 0);
	notify(BLK, 0);
	CHECK(disk_step());
	CHECK_EQ(used_idx(), 1);
	rig_close();
}

/* What a driver may not do: the device stops, says so by its status, and comes back by reset. */
static void
breaks(void (*what)(void), uint64_t features)
{
	rig_open();
	driver_ready(BLK, VERSION_1 | features, 8);
	transfer_put(true, 0, 512);
	what();
	if ((features & PACKED) == 0 && ram_get(DRIVER_AT + 2, 2) == 0)
		avail_put(0, 8, 0);
	notify(BLK, 0);
	CHECK_EQ(reg_get(BLK, 0x14, 1), ACK_ALL | 64);
	CHECK_EQ(used_idx(), 0);
	reg_put(BLK, 0x14, 1, 0);
	CHECK_EQ(reg_get(BLK, 0x14, 1), 0);
	rig_close();
}

static void bad_loop(void) { desc_put(2, DATA_AT + 0x40, 1, 3, 1); }
static void bad_next(void) { desc_put(1, DATA_AT, 512, 3, 8); }
static void bad_head(void) { avail_put(0, 8, 8); }
static void bad_index(void) { ram_put(DRIVER_AT + 2, "\x09\x00", 2); }
static void bad_ram(void) { desc_put(1, RIG_RAM - 256, 512, 3, 2); }
static void bad_far(void) { desc_put(1, UINT64_MAX - 8, 512, 3, 2); }
static void bad_huge(void) { desc_put(1, 0, UINT32_MAX, 3, 2); }
static void bad_order(void) { desc_put(2, DATA_AT + 0x40, 1, 0, 0); }
static void bad_indirect(void) { desc_put(0, DATA_AT + 0x2000, 32, 4, 0); }
static void bad_no_header(void) { desc_put(0, DATA_AT, 8, 1, 2); }
static void bad_no_status(void) { desc_put(0, DATA_AT, 16, 0, 0); }

static void
indirect_of_indirect(void)
{
	struct vring_desc d = { DATA_AT + 0x3000, 16, 4, 0 };

	ram_put(DATA_AT + 0x2000, &d, sizeof(d));
	desc_put(0, DATA_AT + 0x2000, 16, 4, 0);
}

static void
indirect_loop(void)
{
	struct vring_desc d = { DATA_AT, 16, 1, 0 };

	ram_put(DATA_AT + 0x2000, &d, sizeof(d));
	desc_put(0, DATA_AT + 0x2000, 16, 4, 0);
}

static void indirect_odd(void) { desc_put(0, DATA_AT + 0x2000, 17, 4, 0); }
static void indirect_none(void) { desc_put(0, DATA_AT + 0x2000, 0, 4, 0); }
static void indirect_far(void) { desc_put(0, RIG_RAM - 16, 32, 4, 0); }
static void indirect_next(void) { desc_put(0, DATA_AT + 0x2000, 32, 5, 1); }

static void
hostile_drivers(void)
{
	static void (*const plain[])(void) = { bad_loop, bad_next, bad_head, bad_index, bad_ram, bad_far, bad_huge, bad_order,
		bad_indirect, bad_no_header, bad_no_status };
	static void (*const indirect[])(void) = { indirect_of_indirect, indirect_loop, indirect_odd, indirect_none,
		indirect_far, indirect_next };

	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		breaks(plain[i], 0);
	for (unsigned i = 0; i < sizeof(indirect) / sizeof(indirect[0]); i++)
		breaks(indirect[i], INDIRECT);
}

static void
bad_queue_addresses(void)
{
	static const uint64_t at[][3] = { { RIG_RAM - 64, DRIVER_AT, DEVICE_AT }, { DESC_AT + 8, DRIVER_AT, DEVICE_AT },
		{ DESC_AT, RIG_RAM, DEVICE_AT }, { DESC_AT, DRIVER_AT, UINT64_MAX - 3 }, { DESC_AT, DRIVER_AT + 1, DEVICE_AT } };

	for (unsigned i = 0; i < 5; i++) {
		rig_open();
		driver_begin(BLK, VERSION_1);
		driver_queue(BLK, 0, 8, at[i][0], at[i][1], at[i][2]);
		reg_put(BLK, 0x14, 1, 15);
		CHECK_EQ(reg_get(BLK, 0x14, 1), ACK_ALL | 64);
		notify(BLK, 0);
		rig_close();
	}
	rig_open();
	driver_begin(BLK, VERSION_1);
	driver_queue(BLK, 0, 6, DESC_AT, DRIVER_AT, DEVICE_AT);	/* a split queue of no power of two */
	reg_put(BLK, 0x14, 1, 15);
	CHECK_EQ(reg_get(BLK, 0x14, 1), ACK_ALL | 64);
	rig_close();
}

static void
indirect_request(void)
{
	struct vring_desc t[3] = { { DATA_AT, 16, 1, 2 }, { DATA_AT + 0x40, 1, 2, 0 }, { DATA_AT + 0x1000, 512, 3, 1 } };

	rig_open();
	driver_ready(BLK, VERSION_1 | INDIRECT, 2);
	request_put(0, 0, 0);
	ram_put(DATA_AT + 0x2000, t, sizeof(t));
	desc_put(1, DATA_AT + 0x2000, sizeof(t), 4, 0);
	avail_put(0, 2, 1);
	notify(BLK, 0);
	disk_step();
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(ram_get(DEVICE_AT + 4, 4), 1);		/* by its head */
	CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 0);
	rig_close();
}

/* Thirteen requests of three descriptors through a packed ring of seven: wraps in the middle of a chain. */
static void
packed_disk(void)
{
	unsigned size = 7, at = 0, wrap = 1;

	rig_open();
	driver_ready(BLK, VERSION_1 | PACKED, size);
	for (unsigned n = 0; n < 13; n++) {
		unsigned first = at, first_wrap = wrap;

		request_put(0, 0, n);
		ram_put(DATA_AT + 0x40, "\xee", 1);
		for (unsigned i = 0; i < 3; i++) {
			static const uint64_t where[] = { DATA_AT, DATA_AT + 0x1000, DATA_AT + 0x40 };
			static const uint32_t len[] = { 16, 512, 1 };
			static const uint16_t flags[] = { 1, 3, 2 };

			packed_put(at, where[i], len[i], (uint16_t)(100 + n),
			    (uint16_t)(flags[i] | (wrap ? 0x80 : 0x8000)));
			if (++at == size) {
				at = 0;
				wrap ^= 1;
			}
		}
		notify(BLK, 0);
		disk_step();
		CHECK_EQ(ram_get(DATA_AT + 0x40, 1), 0);
		CHECK_EQ(ram_get(DESC_AT + 16 * first + 8, 4), 513);
		CHECK_EQ(ram_get(DESC_AT + 16 * first + 12, 2), 100 + n);
		CHECK_EQ(ram_get(DESC_AT + 16 * first + 14, 2) & 0x8080, first_wrap ? 0x8080 : 0);
	}
	CHECK_EQ(reg_get(BLK, 0x14, 1), ACK_ALL);
	rig_close();
}

static void
packed_loop(void)
{
	rig_open();
	driver_ready(BLK, VERSION_1 | PACKED, 4);
	for (unsigned i = 0; i < 4; i++)
		packed_put(i, DATA_AT, 16, 0, 0x81);	/* each says that there is another */
	notify(BLK, 0);
	CHECK_EQ(reg_get(BLK, 0x14, 1), ACK_ALL | 64);
	rig_close();
}

/* The driver wants to hear of the third buffer only. */
static void
event_index_split(void)
{
	uint16_t third = 2;

	rig_open();
	driver_ready(RNG, VERSION_1 | EVENTS, 8);
	ram_put(DRIVER_AT + 4 + 2 * 8, &third, 2);
	desc_put(0, DATA_AT, 64, 2, 0);
	for (unsigned n = 0; n < 4; n++) {
		avail_put(n, 8, 0);
		notify(RNG, 0);
		CHECK_EQ(used_idx(), n + 1);
		/* The first interrupt after start comes in any case: nothing is known of what was before. */
		CHECK_EQ(reg_get(RNG, 0x1000, 1), n == 0 || n == 2);
	}
	rig_close();
}

static void
interrupts_by_msix(void)
{
	uint64_t table, bar;
	unsigned cap;

	rig_open();
	for (cap = (unsigned)cfg_get(RNG, 0x34, 1); cfg_get(RNG, cap, 1) != 0x11; cap = (unsigned)cfg_get(RNG, cap + 1, 1))
		;
	bar = bar_of(RNG);
	table = bar + (cfg_get(RNG, cap + 4, 4) & ~7ull);
	machine_firmware(&fake_vm);
	cfg_put(RNG, cap + 2, 2, 0x8000);
	mmio(table + 16, 4, true, 0xfee00000);
	mmio(table + 24, 4, true, 0x41);
	mmio(table + 28, 4, true, 1);			/* masked */
	driver_begin(RNG, VERSION_1);
	cfg_put(RNG, 4, 2, 6);
	driver_queue(RNG, 0, 8, DESC_AT, DRIVER_AT, DEVICE_AT);
	reg_put(RNG, 0x14, 1, 0);			/* the vector comes before the queue is enabled */
	driver_begin(RNG, VERSION_1);
	reg_put(RNG, 0x16, 2, 0);
	reg_put(RNG, 0x1a, 2, 77);
	CHECK_EQ(reg_get(RNG, 0x1a, 2), 0xffff);	/* there is no such vector */
	reg_put(RNG, 0x1a, 2, 1);
	driver_queue(RNG, 0, 8, DESC_AT, DRIVER_AT, DEVICE_AT);
	reg_put(RNG, 0x14, 1, 15);
	desc_put(0, DATA_AT, 64, 2, 0);
	avail_put(0, 8, 0);
	notify(RNG, 0);
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(mmio(bar + 0x5000, 4, false, 0), 2);	/* pending */
	CHECK_EQ(fake_vm.vcpu[0]->apic_ops->pending(fake_vm.vcpu[0]->apic) == 0x41, 0);
	mmio(table + 28, 4, true, 0);
	CHECK_EQ(mmio(bar + 0x5000, 4, false, 0), 0);
	CHECK_EQ(fake_vm.vcpu[0]->apic_ops->pending(fake_vm.vcpu[0]->apic), 0x41);
	CHECK_EQ(reg_get(RNG, 0x1000, 1), 0);
	rig_close();
}

/* The way in for who cannot reach the BAR: 4.1.4.9. */
static void
window_in_configuration_space(void)
{
	unsigned cap;

	rig_open();
	for (cap = (unsigned)cfg_get(BLK, 0x34, 1); cfg_get(BLK, cap, 1) != 9 || cfg_get(BLK, cap + 3, 1) != 5;
	    cap = (unsigned)cfg_get(BLK, cap + 1, 1))
		;
	cfg_put(BLK, cap + 8, 4, 0x2000);
	cfg_put(BLK, cap + 12, 4, 4);
	CHECK_EQ(cfg_get(BLK, cap + 16, 4), RIG_DISK / 512);
	cfg_put(BLK, cap + 8, 4, 0x14);
	cfg_put(BLK, cap + 12, 4, 1);
	cfg_put(BLK, cap + 16, 4, 3);
	CHECK_EQ(reg_get(BLK, 0x14, 1), 3);
	cfg_put(BLK, cap + 8, 4, 0x7fff);		/* beyond the end, odd, and of no size: nothing */
	cfg_put(BLK, cap + 12, 4, 4);
	cfg_put(BLK, cap + 16, 4, 1);
	cfg_put(BLK, cap + 12, 4, 3);
	cfg_get(BLK, cap + 16, 4);
	rig_close();
}

int
main(void)
{
	RUN(shows_itself_on_pci);
	RUN(bars_move);
	RUN(negotiation);
	RUN(queue_registers_are_pinned);
	RUN(split_disk);
	RUN(out_of_range_is_an_error_and_no_more);
	RUN(file_cut_short_is_an_error);
	RUN(discard_and_zeroes);
	RUN(reset_waits_for_what_is_in_flight);
	RUN(hostile_drivers);
	RUN(bad_queue_addresses);
	RUN(indirect_request);
	RUN(packed_disk);
	RUN(packed_loop);
	RUN(event_index_split);
	RUN(interrupts_by_msix);
	RUN(window_in_configuration_space);
	return check_done();
}
