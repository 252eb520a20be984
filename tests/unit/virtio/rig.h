/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/virtio/rig.h - a board with a disk and a source of entropy, and what a driver does, as functions.
 *
 * The disk's threads are not started: disk_step() does one request of those that wait.
 */
#pragma once
#include "host/disk_parts.h"
#include "machine/machine.h"
#include "unit/dev/fake.h"
#include "virtio/blk.h"
#include "virtio/rng.h"
#include <sys/mman.h>
#include <unistd.h>

enum { RIG_DISK = 1 << 20, SLOT_SHIFT = 15, DESC_AT = 0x10000, DRIVER_AT = 0x11000,
	DEVICE_AT = 0x12000, DATA_AT = 0x20000, RIG_RAM = 2 << 20 };
#define ECAM 0xe0000000u
static struct disk *rig_disk;
static struct virtio *rig_blk, *rig_rng;
static int rig_fd = -1;

static uint64_t
mmio(uint64_t at, uint8_t size, bool write, uint64_t data)
{
	struct io io = { .addr = at, .size = size, .write = write, .data = data };

	pthread_mutex_lock(&fake_vm.lock);	/* as a vCPU does: a wire has a thread of its own */
	bus_access(fake_vm.bus, &io);
	pthread_mutex_unlock(&fake_vm.lock);
	return io.data;
}

static inline uint64_t cfg_get(unsigned slot, unsigned at, uint8_t n) { return mmio(ECAM + (slot << SLOT_SHIFT) + at, n, false, 0); }
static inline void cfg_put(unsigned slot, unsigned at, uint8_t n, uint64_t v) { mmio(ECAM + (slot << SLOT_SHIFT) + at, n, true, v); }
static inline uint64_t bar_of(unsigned slot) { return cfg_get(slot, 0x10, 4) & ~15ull; }
static inline uint64_t reg_get(unsigned slot, unsigned at, uint8_t n) { return mmio(bar_of(slot) + at, n, false, 0); }
static inline void reg_put(unsigned slot, unsigned at, uint8_t n, uint64_t v) { mmio(bar_of(slot) + at, n, true, v); }
static inline void notify(unsigned slot, unsigned queue) { reg_put(slot, 0x3000 + 4 * queue, 2, queue); }

static void
rig_open(void)
{
	struct machine_config cfg = { .debug_exit_port = 0 };
	char err[256] = "", path[64];

	fake_open();
	CHECK_EQ(machine_build(&fake_vm, &cfg, err, sizeof(err)), 0);
	rig_fd = memfd_create("disk", 0);
	CHECK_EQ(ftruncate(rig_fd, RIG_DISK), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", rig_fd);
	rig_disk = disk_open(path, false, "threads", err, sizeof(err));
	if (rig_disk == NULL)
		printf("# %s\n", err);
	rig_blk = blk_open(&fake_vm, "disk0", rig_disk, 2);
	rig_rng = rng_open(&fake_vm, "rng0");
	CHECK_EQ(machine_attach(&fake_vm, rig_blk), 0);
	CHECK_EQ(machine_attach(&fake_vm, rig_rng), 0);
}

static void
rig_close(void)
{
	fake_close();
	close(rig_fd);
}

/* One of the disk's waiting requests; false: there is none. */
__attribute__((unused)) static bool
disk_step(void)
{
	struct disk_request *r;

	pthread_mutex_lock(&rig_disk->lock);
	r = disk_take(rig_disk);
	pthread_mutex_unlock(&rig_disk->lock);
	if (r == NULL)
		return false;
	r->done(r, disk_run(rig_disk, r));
	return true;
}

/* Up to FEATURES_OK with these (version 1 among them), bus master on. */
static void
driver_begin(unsigned slot, uint64_t features)
{
	cfg_put(slot, 4, 2, 6);
	reg_put(slot, 0x14, 1, 0);
	reg_put(slot, 0x14, 1, 1);
	reg_put(slot, 0x14, 1, 3);
	for (unsigned i = 0; i < 2; i++) {
		reg_put(slot, 0x08, 4, i);
		reg_put(slot, 0x0c, 4, (uint32_t)(features >> 32 * i));
	}
	reg_put(slot, 0x14, 1, 11);
}

static void
driver_queue(unsigned slot, unsigned queue, unsigned size, uint64_t desc, uint64_t driver, uint64_t device)
{
	reg_put(slot, 0x16, 2, queue);
	reg_put(slot, 0x18, 2, size);
	reg_put(slot, 0x20, 4, (uint32_t)desc);
	reg_put(slot, 0x24, 4, desc >> 32);
	reg_put(slot, 0x28, 4, (uint32_t)driver);
	reg_put(slot, 0x2c, 4, driver >> 32);
	reg_put(slot, 0x30, 8, device);
	reg_put(slot, 0x1c, 2, 1);
}

__attribute__((unused)) static void
driver_ready(unsigned slot, uint64_t features, unsigned size)
{
	driver_begin(slot, features);
	driver_queue(slot, 0, size, DESC_AT, DRIVER_AT, DEVICE_AT);
	reg_put(slot, 0x14, 1, 15);
}

static inline void ram_put(uint64_t at, const void *p, size_t n) { mem_write(fake_vm.mem, at, p, n); }
static inline uint64_t
ram_get(uint64_t at, size_t n)
{
	uint64_t v = 0;

	mem_read(fake_vm.mem, at, &v, n);
	return v;
}

static inline void
desc_put(unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = { addr, len, flags, next };

	ram_put(DESC_AT + 16 * i, &d, sizeof(d));
}

static inline void
packed_put(unsigned i, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
	struct vring_packed_desc d = { addr, len, id, flags };

	ram_put(DESC_AT + 16 * i, &d, sizeof(d));
}

/* Offers head as the n-th buffer of a split queue, and makes it available. */
__attribute__((unused)) static void
avail_put(unsigned n, unsigned size, uint16_t head)
{
	uint16_t idx = (uint16_t)(n + 1);

	ram_put(DRIVER_AT + 4 + 2 * (n % size), &head, 2);
	ram_put(DRIVER_AT + 2, &idx, 2);
}
static inline unsigned used_idx(void) { return (unsigned)ram_get(DEVICE_AT + 2, 2); }
