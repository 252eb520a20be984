/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/vm/kvmclock.c - what a guest computes from the published structure is the clock's time. */
#include "check.h"
#include "vm/kvmclock.h"

enum { WALL = 0x4b564d00, SYSTEM = 0x4b564d01, AT = 0x1000, SECOND = 1000000000 };

static struct vm vm;
static struct vcpu vc = { .vm = &vm };

static void
machine_open(void)
{
	vm.mem = mem_open(64 << 10);
	vm.clock = clock_open(false);
	vc.tsc_offset = 0;
	vc.kvmclock_gpa = 0;
}

static void
machine_close(void)
{
	mem_close(vm.mem);
	clock_close(vm.clock);
}

/* As Linux's __pvclock_read_cycles. */
static uint64_t
guest_ns(uint64_t guest_tsc)
{
	const uint8_t *p = mem_get(vm.mem, AT, 32);
	uint64_t stamp, time, delta;
	uint32_t mul;
	int8_t shift = (int8_t)p[28];

	memcpy(&stamp, p + 8, 8);
	memcpy(&time, p + 16, 8);
	memcpy(&mul, p + 24, 4);
	delta = guest_tsc - stamp;
	delta = shift < 0 ? delta >> -shift : delta << shift;
	return time + (uint64_t)((__uint128_t)delta * mul >> 32);
}

static void
guest_time_is_clock_time(void)
{
	uint64_t tsc, ns;

	machine_open();
	kvmclock_write(&vc, SYSTEM, AT | 1);
	for (int i = 0; i < 3; i++) {
		tsc = clock_tsc(vm.clock) + 1000ull * (unsigned)i * clock_tsc_khz(vm.clock);
		ns = clock_ns_of_tsc(vm.clock, tsc);
		CHECK((int64_t)(guest_ns(tsc) - ns) < 1000 && (int64_t)(guest_ns(tsc) - ns) > -1000);
	}
	CHECK_EQ(mem_get(vm.mem, AT, 32)[29], 1);	/* stable */
	machine_close();
}

static void
a_moved_tsc_changes_nothing(void)
{
	uint64_t tsc = 5ull * SECOND, before;

	machine_open();
	kvmclock_write(&vc, SYSTEM, AT | 1);
	before = guest_ns(tsc);
	vc.tsc_offset = 0 - (uint64_t)12345678;		/* the guest wrote a smaller TSC */
	kvmclock_update(&vc);
	CHECK_EQ(guest_ns(tsc + vc.tsc_offset), before);
	machine_close();
}

static void
versions_are_even_and_grow(void)
{
	uint32_t v1, v2;

	machine_open();
	kvmclock_write(&vc, SYSTEM, AT | 1);
	mem_read(vm.mem, AT, &v1, 4);
	kvmclock_update(&vc);
	mem_read(vm.mem, AT, &v2, 4);
	CHECK_EQ(v1 & 1, 0);
	CHECK_EQ(v2, v1 + 2);
	machine_close();
}

static void
disabled_or_outside_ram_is_quiet(void)
{
	uint64_t zero = 0;

	machine_open();
	kvmclock_write(&vc, SYSTEM, AT);		/* bit 0 clear: off */
	kvmclock_update(&vc);
	mem_read(vm.mem, AT, &zero, 8);
	CHECK_EQ(zero, 0);
	kvmclock_write(&vc, SYSTEM, ~0ull);
	kvmclock_write(&vc, SYSTEM, 0xfffffff1);
	kvmclock_write(&vc, WALL, ~0ull);
	kvmclock_write(&vc, SYSTEM, (64 << 10) - 15);	/* runs over the end */
	machine_close();
}

static void
wall_clock_is_the_start(void)
{
	uint32_t w[3];

	machine_open();
	kvmclock_write(&vc, WALL, AT);
	mem_read(vm.mem, AT, w, sizeof(w));
	CHECK_EQ(w[0] & 1, 0);
	CHECK_EQ(w[1], (clock_wall(vm.clock) - clock_now(vm.clock)) / SECOND);
	machine_close();
}

int
main(void)
{
	RUN(guest_time_is_clock_time);
	RUN(a_moved_tsc_changes_nothing);
	RUN(versions_are_even_and_grow);
	RUN(disabled_or_outside_ram_is_quiet);
	RUN(wall_clock_is_the_start);
	return check_done();
}
