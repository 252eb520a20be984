/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/virtio.c - libFuzzer target: a driver that writes anything anywhere, against each kind of device.
 *
 * The first byte chooses the device and the ring's kind; half of what is left becomes the rings and buffers, the rest
 * is steps of four bytes: notify, reset, a register, a descriptor, configuration space, the disk's answer, a frame.
 */
#include "unit/virtio/rig.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/net.h"
#include "virtio/vsock.h"
#include <fcntl.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STEP = 4, RINGS = 0x4000, AREA = DESC_AT };
enum kind { KIND_disk, KIND_rng, KIND_net /* from here on in the third slot */, KIND_vsock, KIND_console, KIND_fs, KIND_balloon, KINDS };

static enum kind kind;
static int pair[2];			/* of those on a wire */
static struct virtio *third;

static bool
on_wire(void)
{
	return kind == KIND_net || kind == KIND_vsock || kind == KIND_fs;
}

/* Those that rings do not decide. */
static uint64_t
features_of(unsigned how)
{
	switch (kind) {
	case KIND_disk:
		return 0x6600;
	case KIND_net:
		return how & 8 ? 0x438003 : 0x18003;
	case KIND_console:
		return 1;
	case KIND_balloon:
		return 0x24;
	default:
		return 0;
	}
}

static void
setup(unsigned slot, unsigned how)
{
	uint64_t features = (uint64_t)1 << 32 | (how & 4 ? (uint64_t)1 << 34 : 0) | (how & 8 ? 1ull << 29 : 0) |
	    (how & 16 ? 1ull << 28 : 0) | features_of(how);
	unsigned size = how & 32 ? 8 : how & 64 ? 256 : 4;

	driver_begin(slot, features);
	driver_queue(slot, 0, size, AREA, AREA + 0x1000, AREA + 0x2000);
	driver_queue(slot, 1, size, AREA + 0x800, AREA + 0x1800, AREA + 0x2c00);
	if (kind == KIND_fs || kind == KIND_balloon || kind == KIND_vsock)
		driver_queue(slot, 2, size, AREA + 0x400, AREA + 0x1400, AREA + 0x2600);
	if (kind == KIND_net)
		driver_queue(slot, 4, size, AREA + 0x400, AREA + 0x1400, AREA + 0x2600);
	reg_put(slot, 0x14, 1, 15);
}

static size_t
host_write(void *ctx, const void *bytes, size_t n)
{
	(void)ctx, (void)bytes;
	return n % 3 == 0 ? n / 2 : n;
}

static struct virtio *
open_third(void)
{
	struct console_host host = { host_write, NULL, NULL };
	struct wire *w;
	struct net_setup net = { .wire = &w, .wires = 1, .pairs = 2, .mac = { 2 }, .mtu = 1500 };
	char err[64];

	if (on_wire() && (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0 || (w = wire_open_fd(pair[0], err, sizeof(err))) == NULL))
		return NULL;
	switch (kind) {
	case KIND_net:
		return net_open(&fake_vm, "net0", &net);
	case KIND_vsock:
		return vsock_open(&fake_vm, "vsock0", w, 3);
	case KIND_fs:
		return fs_open(&fake_vm, "share0", w, "share0");
	case KIND_balloon:
		return balloon_open(&fake_vm, "balloon0");
	default:
		return console_open(&fake_vm, "console0", &host);
	}
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
		if (kind == KIND_console) {
			console_input(third, p, p[1] & 3);
			console_ready(third);
			console_size(third, p[2], p[3]);
		} else if (kind == KIND_balloon) {
			balloon_target(third, val);
		} else if (on_wire()) {
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
	kind = how % KINDS;
	slot = kind < KIND_net ? 1 + (unsigned)kind : 3;
	rig_open();
	if (kind >= KIND_net) {
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
	if (on_wire())
		close(pair[1]);
	return 0;
}
