/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/all.c - the whole board: every device's table, random accesses, ACPI tables, memory map. */
#include "fake.h"
#include "machine/machine.h"

static uint64_t seed = 88172645463325252ull;

static uint64_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static size_t
sink(void *ctx, const void *bytes, size_t n)
{
	(void)ctx, (void)bytes;
	return n < 3 ? n : rnd() % n;
}

static void want(void *ctx) { (void)ctx; }

static void
setup(void)
{
	struct machine_config cfg = { .serial = { sink, want, NULL }, .debug_exit_port = 0xf4,
		.test_device = true };
	char err[128] = "";

	fake_open();
	CHECK_EQ(machine_build(&fake_vm, &cfg, err, sizeof(err)), 0);
	if (err[0] != '\0')
		printf("# %s\n", err);
}

/* A field whose value after reset its device computes (time, identity, wiring). */
static bool
computed(const struct dev *d, const struct dev_field *f)
{
	static const char *const names[][2] = { { "lapic", "xid" }, { "lapic", "base" }, { "pit", "gate" },
		{ "rtc", "reg" }, { "rtc", "seen" }, { "acpi-pm", "half" } };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(d->ops->name, names[i][0]) == 0 && strcmp(f->name, names[i][1]) == 0)
			return true;
	return false;
}

static void
check_fields(struct dev *d)
{
	for (const struct dev_field *f = d->ops->fields; f != NULL && f->name != NULL; f++) {
		CHECK(f->size == 1 || f->size == 2 || f->size == 4 || f->size == 8);
		CHECK(f->offset % f->size == 0);
		CHECK(f->offset >= sizeof(struct dev));
		for (unsigned i = 0; i < f->count && !computed(d, f); i++)
			if (memcmp((uint8_t *)d + f->offset + i * f->size, &f->reset, f->size) != 0) {
				printf("# %s: %s[%u]\n", d->id, f->name, i);
				CHECK_EQ(i, UINT32_MAX);
			}
	}
}

static void
reset_is_the_table(void)
{
	setup();
	CHECK(fake_vm.ndevs > 15);
	for (unsigned n = 0; n < fake_vm.ndevs; n++) {
		struct dev *d = fake_vm.devs[n];

		for (const struct dev_field *f = d->ops->fields; f != NULL && f->name != NULL; f++)
			memset((uint8_t *)d + f->offset, 0xa5, (size_t)f->size * f->count);
		dev_reset(d);
	}
	for (unsigned n = 0; n < fake_vm.ndevs; n++)
		check_fields(fake_vm.devs[n]);
	fake_close();
}

static uint64_t
random_address(bool port)
{
	static const uint64_t memory[] = { 0xfec00000, 0xfee00000, 0xe0000000, 0xff000000, 0xd0000000 };

	if (port)
		return rnd() % 4 == 0 ? rnd() & 0xffff : rnd() & 0x7ff;
	return memory[rnd() % 5] + (rnd() % 3 == 0 ? rnd() & 0xffff : rnd() & 0x3ff);
}

static void
poke(unsigned cpu)
{
	static const uint8_t sizes[] = { 1, 1, 1, 2, 4, 8 };
	struct io io = { .port = rnd() & 1, .write = rnd() & 1, .data = rnd() >> (rnd() & 63) };
	struct vcpu *vc = fake_vm.vcpu[cpu];

	io.size = sizes[rnd() % (io.port ? 5 : 6)];
	io.addr = random_address(io.port);
	if (io.port || vc->apic_ops->mmio(vc->apic, &io) == IO_none)
		bus_access(fake_vm.bus, &io);
	fake_vm.end = VM_running;
}

static void
msr(unsigned cpu)
{
	struct vcpu *vc = fake_vm.vcpu[cpu];
	uint64_t val = rnd() >> (rnd() & 63);

	switch (rnd() % 6) {
	case 0:
		vc->apic_ops->base(vc->apic, 0xfee00000 | (rnd() & 0xc00));
		break;
	case 1:
		vc->apic_ops->deadline(vc->apic, clock_now(fake_vm.clock) + (rnd() & 0xffff));
		break;
	case 2:
		vc->apic_ops->tpr_set(vc->apic, rnd() & 15);
		break;
	case 3:
		CHECK(vc->apic_ops->ack(vc->apic) < 256);
		break;
	default:
		vc->apic_ops->msr(vc->apic, 0x800 + (rnd() & 0x3f), rnd() & 1, &val);
		break;
	}
}

static void
random_accesses_do_no_harm(void)
{
	char bytes[32] = "";

	setup();
	for (int i = 0; i < 400000; i++) {
		poke(rnd() % FAKE_CPUS);
		if (i % 8 == 0)
			msr(rnd() % FAKE_CPUS);
		if (i % 16 == 0)
			fake_advance(rnd() & 0xfffff);
		if (i % 64 == 0)
			machine_serial_input(&fake_vm, bytes, rnd() % sizeof(bytes));
		if (i % 128 == 0)
			machine_serial_ready(&fake_vm);
		if (i % 1024 == 0)
			machine_power_button(&fake_vm);
	}
	fake_close();
}

static void
timers_survive_a_reload(void)
{
	setup();
	for (int i = 0; i < 20000; i++) {
		poke(rnd() % FAKE_CPUS);
		if (i % 100 == 0)
			for (unsigned n = 0; n < fake_vm.ndevs; n++)
				if (fake_vm.devs[n]->ops->loaded != NULL)
					fake_vm.devs[n]->ops->loaded(fake_vm.devs[n]);
	}
	fake_close();
}

static uint8_t
sum(uint64_t gpa, size_t n)
{
	const uint8_t *p = mem_get(fake_vm.mem, gpa, n);
	uint8_t s = 0;

	while (p != NULL && n-- > 0)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint64_t
number(uint64_t gpa, size_t n)
{
	uint64_t val = 0;

	mem_read(fake_vm.mem, gpa, &val, n);
	return val;
}

static void
acpi_tables_add_up(void)
{
	uint64_t rsdp, xsdt, table;
	unsigned found = 0;

	setup();
	rsdp = machine_rsdp(&fake_vm);
	CHECK_EQ(rsdp % 16, 0);
	CHECK_EQ(number(rsdp, 8), 0x2052545020445352);		/* "RSD PTR " */
	CHECK_EQ(sum(rsdp, 20), 0);
	CHECK_EQ(sum(rsdp, 36), 0);
	xsdt = number(rsdp + 24, 8);
	CHECK_EQ(number(xsdt, 4), 0x54445358);
	CHECK_EQ(sum(xsdt, number(xsdt + 4, 4)), 0);
	for (uint64_t at = xsdt + 36; at < xsdt + number(xsdt + 4, 4); at += 8) {
		table = number(at, 8);
		CHECK_EQ(sum(table, number(table + 4, 4)), 0);
		if (number(table, 4) == 0x50434146) {		/* FACP */
			uint64_t dsdt = number(table + 140, 8);

			found++;
			CHECK_EQ(number(table + 4, 4), 276);
			CHECK_EQ(number(dsdt, 4), 0x54445344);
			CHECK_EQ(sum(dsdt, number(dsdt + 4, 4)), 0);
			CHECK_EQ(number(number(table + 36, 4), 4), 0x53434146);
		} else if (number(table, 4) == 0x43495041) {	/* APIC: header, four processors, ... */
			found++;
			CHECK_EQ(number(table + 4, 4), 44 + FAKE_CPUS * 8 + 12 + 2 * 10 + 6);
		}
	}
	CHECK_EQ(found, 2);
	fake_close();
}

static void
smbios_adds_up(void)
{
	uint64_t at, left;
	unsigned count = 0;

	setup();
	CHECK_EQ(number(0xf0000, 4), 0x5f4d535f);		/* "_SM_" */
	CHECK_EQ(sum(0xf0000, number(0xf0005, 1)), 0);
	CHECK_EQ(sum(0xf0010, 15), 0);
	left = number(0xf0016, 2);
	for (at = number(0xf0018, 4); left > 0; count++) {
		uint64_t skip = number(at + 1, 1), last = number(at, 1);

		while (skip < left && number(at + skip, 2) != 0)
			skip++;
		skip += 2;
		CHECK(skip <= left);
		left -= skip <= left ? skip : left;
		at += skip;
		CHECK_EQ(last == 127, left == 0);
	}
	CHECK_EQ(count, number(0xf001c, 2));
	fake_close();
}

static void
memory_map(void)
{
	struct machine_range map[MACHINE_MAP_MAX];
	unsigned n;

	setup();
	n = machine_memory_map(&fake_vm, map);
	for (unsigned i = 1; i < n; i++)
		CHECK(map[i - 1].base + map[i - 1].size <= map[i].base);
	CHECK_EQ(map[3].base + map[3].size, 2 << 20);
	fake_close();
}

static void
isa_lines_reach_both_controllers(void)
{
	struct io sel = { .addr = 0xfec00000, .size = 4, .write = true, .data = 0x14 };
	struct io win = { .addr = 0xfec00010, .size = 4, .write = true, .data = 0x31 };
	struct io mode = { .addr = 0x43, .size = 1, .port = true, .write = true, .data = 0x34 };
	struct io count = { .addr = 0x40, .size = 1, .port = true, .write = true, .data = 0x10 };
	struct vcpu *vc;

	setup();
	vc = fake_vm.vcpu[0];
	machine_firmware(&fake_vm);
	bus_access(fake_vm.bus, &sel);			/* the timer is on pin 2 */
	bus_access(fake_vm.bus, &win);
	bus_access(fake_vm.bus, &mode);
	bus_access(fake_vm.bus, &count);
	bus_access(fake_vm.bus, &count);
	fake_advance(10000000);
	CHECK_EQ(vc->apic_ops->ack(vc->apic), 0);	/* ExtINT first; the 8259's base is 0 at reset */
	CHECK_EQ(vc->apic_ops->ack(vc->apic), 0x31);
	fake_close();
}

static void
port_clash_is_said(void)
{
	struct machine_config cfg = { .debug_exit_port = 0x3f8 };
	char err[128] = "";

	fake_open();
	CHECK_EQ(machine_build(&fake_vm, &cfg, err, sizeof(err)), -1);
	CHECK(strstr(err, "0x3f8") != NULL);
	fake_close();
}

int
main(void)
{
	RUN(reset_is_the_table);
	RUN(random_accesses_do_no_harm);
	RUN(timers_survive_a_reload);
	RUN(acpi_tables_add_up);
	RUN(smbios_adds_up);
	RUN(memory_map);
	RUN(isa_lines_reach_both_controllers);
	RUN(port_clash_is_said);
	return check_done();
}
