/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/board.c - libFuzzer target: any sequence of accesses to the board, time going by.
 *
 * Six bytes a step: what, where (two bytes), size and direction, value; the value is spread over 64 bits.
 */
#include "unit/dev/fake.h"
#include "machine/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STEP = 6, STEPS_MAX = 4096 };
enum { DO_port, DO_memory, DO_apic_msr, DO_apic, DO_time, DO_host, DO__COUNT };

static const uint64_t places[] = { 0xfec00000, 0xfee00000, 0xe0000000, 0xff000000, 0xe0008000, 0xfed00000, 0xa0000,
	0xc0000000 };

static size_t
take_some(void *ctx, const void *bytes, size_t n)
{
	static unsigned turn;

	(void)ctx, (void)bytes;
	return turn++ % 7 == 0 ? n / 2 : n;
}

static void
access_one(struct vcpu *vc, bool port, uint64_t addr, uint8_t how, uint64_t val)
{
	static const uint8_t sizes[4] = { 1, 2, 4, 8 };
	struct io io = { .addr = addr, .size = sizes[how & 3], .port = port, .write = (how & 4) != 0, .data = val };

	if (port && io.size == 8)
		io.size = 4;
	if (port || vc->apic_ops->mmio(vc->apic, &io) == IO_none)
		bus_access(fake_vm.bus, &io);
	fake_vm.end = VM_running;
}

static void
apic_one(struct vcpu *vc, unsigned what, uint64_t val)
{
	switch (what % 6) {
	case 0: vc->apic_ops->base(vc->apic, 0xfee00000 | (val & 0xc00)); break;
	case 1: vc->apic_ops->deadline(vc->apic, val); break;
	case 2: vc->apic_ops->tpr_set(vc->apic, val & 15); break;
	case 3: vc->apic_ops->ack(vc->apic); break;
	case 4: vc->apic_ops->init(vc->apic); break;
	default: vc->apic_ops->pending(vc->apic); break;
	}
}

static void
host_one(unsigned what, uint64_t val)
{
	static const char bytes[64];

	switch (what % 4) {
	case 0: machine_serial_input(&fake_vm, bytes, val % sizeof(bytes)); break;
	case 1: machine_serial_ready(&fake_vm); break;
	case 2: machine_power_button(&fake_vm); break;
	default: machine_nmi(&fake_vm); break;
	}
}

static void
step(const uint8_t *p)
{
	struct vcpu *vc = fake_vm.vcpu[p[0] >> 6];
	uint64_t at = (uint64_t)p[1] | (uint64_t)p[2] << 8, val = (uint64_t)p[4] * 0x0101010101010101u + p[5];

	switch (p[0] % 64 % DO__COUNT) {
	case DO_port:	access_one(vc, true, at, p[3], val); break;
	case DO_memory:	access_one(vc, false, places[p[3] >> 5] + at, p[3], val); break;
	case DO_apic_msr:
		vc->apic_ops->msr(vc->apic, 0x800 + (uint32_t)(at & 0xff), p[3] & 1, &val);
		break;
	case DO_apic:	apic_one(vc, p[3], val); break;
	case DO_time:	fake_advance(at << (p[3] & 7)); break;
	default:	host_one(p[3], val); break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct machine_config cfg = { .serial.write = take_some, .debug_exit_port = 0xf4, .test_device = true };
	char err[128];

	fake_open();
	if (machine_build(&fake_vm, &cfg, err, sizeof(err)) != 0)
		__builtin_trap();
	machine_firmware(&fake_vm);
	for (size_t i = 0; i + STEP <= n && i < STEP * (size_t)STEPS_MAX; i += STEP)
		step(data + i);
	fake_close();
	return 0;
}
