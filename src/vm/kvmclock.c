/* SPDX-License-Identifier: Apache-2.0 */
/* vm/kvmclock.c - the KVM paravirtual clock: how the guest turns its TSC into nanoseconds.
 *
 * Guest time is a fixed multiple of the TSC from the start of the VM, so each vCPU's structure says
 * "0 ns at the TSC value that was this vCPU's at time 0" and never goes stale: only a guest that
 * moves its TSC makes us publish again. Hence all vCPUs agree and the "TSC stable" flag is honest.
 */
#include "vm/kvmclock.h"
#include <string.h>

enum { MSR_WALL_CLOCK = 0x4b564d00, MSR_SYSTEM_TIME = 0x4b564d01 };
enum { SYSTEM_TIME_ENABLE = 1 << 0 };
enum { PVCLOCK_TSC_STABLE = 1 << 0 };
enum { NS_PER_S = 1000000000, US_PER_S = 1000000 };

/* The guest's side of the contract (Linux Documentation/virt/kvm/x86/msr.rst). */
struct pvclock {
	uint32_t version;		/* odd while we write */
	uint32_t pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time;		/* ns at tsc_timestamp */
	uint32_t tsc_to_system_mul;	/* ns = (delta shifted by tsc_shift) * mul >> 32 */
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};
static_assert(sizeof(struct pvclock) == 32, "pvclock layout");

struct wall_clock {
	uint32_t version, sec, nsec;	/* 1970-based time at system time 0 */
};

/* mul and shift for a TSC of khz: mul / 2^32 * 2^shift ns a tick, mul with its top bit set. */
static void
pvclock_scale(uint64_t khz, uint32_t *mul, int8_t *shift)
{
	uint64_t ns = US_PER_S;		/* per khz ticks */
	int8_t s = 0;

	while (ns >= khz) {
		khz <<= 1;
		s++;
	}
	while (ns * 2 < khz) {
		ns <<= 1;
		s--;
	}
	*mul = (uint32_t)((ns << 32) / khz);
	*shift = s;
}

static void
publish(struct mem *mem, uint64_t gpa, const struct pvclock *new)
{
	uint8_t *at = mem_put(mem, gpa, sizeof(*new));
	uint32_t version;

	if (at == NULL)
		return;			/* a guest that names no RAM gets no clock */
	memcpy(&version, at, sizeof(version));
	version = (version | 1) + (version & 1 ? 2 : 0);
	/* An exchange, not a store: nothing below may become visible before it. */
	__atomic_exchange_n((uint32_t *)(void *)at, version, __ATOMIC_ACQ_REL);
	memcpy(at + sizeof(version), (const uint8_t *)new + sizeof(version), sizeof(*new) - sizeof(version));
	__atomic_store_n((uint32_t *)(void *)at, version + 1, __ATOMIC_RELEASE);
	mem_dirty(mem, gpa, sizeof(*new));
}

void
kvmclock_update(struct vcpu *vc)
{
	struct pvclock p = { .flags = PVCLOCK_TSC_STABLE, .tsc_timestamp = vc->tsc_offset };

	if (vc->kvmclock_gpa == 0)
		return;
	pvclock_scale(clock_tsc_khz(vc->vm->clock), &p.tsc_to_system_mul, &p.tsc_shift);
	publish(vc->vm->mem, vc->kvmclock_gpa, &p);
}

static void
wall_write(struct vm *vm, uint64_t gpa)
{
	uint64_t wall = clock_wall(vm->clock) - clock_now(vm->clock);
	struct wall_clock w = { .sec = (uint32_t)(wall / NS_PER_S), .nsec = (uint32_t)(wall % NS_PER_S) };
	uint32_t version;

	if (!mem_read(vm->mem, gpa, &version, sizeof(version)))
		return;
	w.version = (version | 1) + 1;
	mem_write(vm->mem, gpa, &w, sizeof(w));
}

void
kvmclock_write(struct vcpu *vc, uint32_t msr, uint64_t val)
{
	if (msr == MSR_WALL_CLOCK) {
		wall_write(vc->vm, val & ~3ull);
	} else if (msr == MSR_SYSTEM_TIME) {
		vc->kvmclock_gpa = val & SYSTEM_TIME_ENABLE ? val & ~3ull : 0;
		kvmclock_update(vc);
	}
}
