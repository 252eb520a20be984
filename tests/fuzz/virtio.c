/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/virtio.c - libFuzzer target: a driver that writes anything anywhere, against disk, network, vsock, console and entropy.
 *
 * The first byte chooses the device and the ring's kind; half of what is left becomes the rings and buffers, the rest
 * is steps of four bytes: notify, reset, a register, a descriptor, configuration space, the disk's answer, a frame.
 */
#include "unit/virtio/rig.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/vsock.h"
#include <fcntl.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STEP = 4, KINDS = 5, NET = 3 /* or another, in its place */, KIND_vsock = 4, KIND_console = 5, RINGS = 0x4000, AREA = DESC_AT };

static int pair[2];
static bool vsock, console;
static struct virtio *third;	/* in slot NET */

static void
setup(unsigned slot, unsigned how)
{
	uint64_t features = (uint64_t)1 << 32 | (how & 4 ? (uint64_t)1 << 34 : 0) | (how & 8 ? 1ull << 29 : 0) |
	    (how & 16 ? 1ull << 28 : 0) | (slot == NET && console ? 1 : slot == NET && !vsock ? (how & 8 ? 0x438003u : 0x18003u) : slot == 1 ? 0x6600 : 0);
	unsigned size = how & 32 ? 8 : how & 64 ? 256 : 4;

	driver_begin(slot, features);
	driver_queue(slot, 0, size, AREA, AREA + 0x1000, AREA + 0x2000);
	driver_queue(slot, 1, size, AREA + 0x800, AREA + 0x1800, AREA + 0x2c00);
	if (slot == NET && !console && !vsock)
		driver_queue(slot, 4, size, AREA + 0x400, AREA + 0x1400, AREA + 0x2600);
	reg_put(slot, 0x14, 1, 15);
}

static size_t
host_write(void *ctx, const void *bytes, size_t n)
{
	(void)ctx, (void)bytes;
	return n % 3 == 0 ? n / 2 : n;
}

/* The console, or the network or vsock on a socket whose other end is ours. */
static struct virtio *
open_third(void)
{
	struct console_host host = { host_write, NULL, NULL };
	struct wire *w;
	struct net_setup setup = { .wire = &w, .wires = 1, .pairs = 2, .mac = { 2 }, .mtu = 1500 };
	char err[64];

	if (console)
		return console_open(&fake_vm, "console0", &host);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0 || (w = wire_open_fd(pair[0], err, sizeof(err))) == NULL)
		return NULL;
	return vsock ? vsock_open(&fake_vm, "vsock0", w, 3) : net_open(&fake_vm, "net0", &setup);
}

static void
step(unsigned slot, unsigned how, const uint8_t *p)
{
	uint32_t val = (uint32_t)(p[1] | p[2] << 8 | p[3] << 16);

	switch (p[0] % 13) {
	case 0: case 1: case 2:
		notify(slot, p[1] & 7);
		break;
	case 3:
		reg_put(slot, p[1] & 0x3f, (uint8_t)(1u << (p[2] & 3)), p[3]);
		break;
	case 4:
		ram_put(AREA + (val & 0x3ffc), &p[3], 1);
		break;
	case 5: {				/* the next available index, or the packed flags of a slot */
		uint16_t idx = (uint16_t)p[2];

		ram_put(p[1] & 1 ? AREA + 0x1002 : AREA + 0x1802, &idx, 2);
		break;
	}
	case 6:
		cfg_put(slot, p[1], (uint8_t)(1u << (p[2] & 1)), p[3]);
		break;
	case 7: case 8:
		disk_step();
		break;
	case 9:
		reg_get(slot, (val & 0x7fff) & ~3u, (uint8_t)(1u << (p[3] >> 6)));
		break;
	case 10:
		if (p[1] & 1)
			reg_put(slot, 0x14, 1, 0);
		while ((p[1] & 1) && disk_step())
			;
		setup(slot, p[2] | how);
		break;
	case 11:
		if (console) {
			console_input(third, p, p[1] & 3);
			console_ready(third);
			console_size(third, p[2], p[3]);
		} else if (slot == NET) {
			static char frame[2048];

			send(pair[1], frame, p[2] * 8u + 1, MSG_DONTWAIT);
			recv(pair[1], frame, sizeof(frame), MSG_DONTWAIT);
		}
		break;
	default:
		reg_put(slot, 0x4000 + (val & 0xffc), 4, val << 8);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	unsigned how, slot;
	size_t half;

	if (n < 1 + STEP)
		return 0;
	how = data[0];
	slot = 1 + how % KINDS;
	vsock = slot == KIND_vsock;
	console = slot == KIND_console;
	slot = vsock || console ? NET : slot;
	rig_open();
	if (slot == NET) {
		third = open_third();
		if (third == NULL || machine_attach(&fake_vm, third) != 0)
			__builtin_trap();
	}
	setup(slot, how);
	half = (n - 1) / 2 < RINGS ? (n - 1) / 2 : RINGS;
	ram_put(AREA, data + 1, half);
	for (size_t i = 1 + half; i + STEP <= n; i += STEP)
		step(slot, how, data + i);
	while (disk_step())
		;
	rig_close();
	if (slot == NET && !console)
		close(pair[1]);
	return 0;
}
