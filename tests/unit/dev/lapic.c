/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/lapic.c - local APICs: priorities, destinations, timer, modes. */
#include "dev/lapic_state.h"
#include "fake.h"

static struct apics bus;
static struct dev *apic[FAKE_CPUS];
static int eoi_vector, pic_vector;

static int fake_pic_ack(void *ctx) { (void)ctx; bus.intr = false; return pic_vector; }
static void fake_eoi(void *ctx, uint8_t v) { (void)ctx; eoi_vector = v; }

static void
open_all(void)
{
	fake_open();
	bus = (struct apics){ .clock = fake_vm.clock, .pic_ack = fake_pic_ack, .eoi = fake_eoi };
	eoi_vector = -1;
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		apic[i] = lapic_open(&bus, fake_vm.vcpu[i]);
}

static void
close_all(void)
{
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		apic[i]->ops->close(apic[i]);
	fake_close();
}

static const struct vcpu_apic_ops *ops(unsigned i) { return fake_vm.vcpu[i]->apic_ops; }
static int pending(unsigned i) { return ops(i)->pending(apic[i]); }
static int ack(unsigned i) { return ops(i)->ack(apic[i]); }

static uint32_t
rd(unsigned i, unsigned offset)
{
	return (uint32_t)dev_in(apic[i], false, 0xfee00000u + offset, 4);
}

static void
wr(unsigned i, unsigned offset, uint32_t val)
{
	dev_out(apic[i], false, 0xfee00000u + offset, 4, val);
}

static bool
wrmsr(unsigned i, uint32_t msr, uint64_t val)
{
	return ops(i)->msr(apic[i], msr, true, &val);
}

static uint64_t
rdmsr(unsigned i, uint32_t msr)
{
	uint64_t val = 0xdead;

	CHECK(ops(i)->msr(apic[i], msr, false, &val));
	return val;
}

static void
enable_all(bool x2)
{
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		if (x2)
			ops(i)->base(apic[i], 0xfee00c00 | (i == 0 ? 0x100 : 0));
		if (x2)
			CHECK(wrmsr(i, 0x80f, 0x1ff));
		else
			wr(i, 0xf0, 0x1ff);
	}
}

static void
reset_values(void)
{
	open_all();
	CHECK_EQ(rd(2, 0x20), 2u << 24);
	CHECK_EQ(rd(0, 0x30) & 0xff, 0x14);
	CHECK_EQ(rd(0, 0x30) >> 16 & 0xff, 5);
	CHECK_EQ(rd(0, 0xf0), 0xff);
	CHECK_EQ(rd(0, 0xe0), 0xffffffff);
	CHECK_EQ(rd(0, 0x320), 0x10000);
	CHECK_EQ(rd(0, 0x370), 0x10000);
	CHECK_EQ(rd(0, 0x80), 0);
	close_all();
}

static void
priorities(void)
{
	open_all();
	enable_all(false);
	apics_msi(&bus, 0xfee00000, 0x41);
	apics_msi(&bus, 0xfee00000, 0x52);
	CHECK(fake_take_kicks(0) & ATT_intr);
	CHECK_EQ(ack(0), 0x52);
	CHECK_EQ(pending(0), -1);		/* 0x41 is below what is in service */
	CHECK_EQ(rd(0, 0xa0), 0x50);
	apics_msi(&bus, 0xfee00000, 0x53);
	CHECK_EQ(pending(0), -1);		/* the same class waits */
	apics_msi(&bus, 0xfee00000, 0x61);
	CHECK_EQ(ack(0), 0x61);
	wr(0, 0xb0, 0);
	wr(0, 0xb0, 0);
	CHECK_EQ(ack(0), 0x53);
	wr(0, 0xb0, 0);
	ops(0)->tpr_set(apic[0], 4);
	CHECK_EQ(rd(0, 0x80), 0x40);
	CHECK_EQ(pending(0), -1);
	fake_take_kicks(0);
	ops(0)->tpr_set(apic[0], 3);
	CHECK(fake_take_kicks(0) & ATT_intr);	/* a lower TPR opens the door */
	CHECK_EQ(ack(0), 0x41);
	CHECK_EQ(eoi_vector, -1);
	close_all();
}

static void
level_eoi_is_broadcast(void)
{
	struct apic_msg m = { .dest = 0, .vector = 0x71, .level = true };

	open_all();
	enable_all(false);
	apics_send(&bus, &m);
	CHECK_EQ(rd(0, 0x180 + 0x30), 1u << 17);	/* TMR bit 0x71 */
	CHECK_EQ(ack(0), 0x71);
	wr(0, 0xb0, 0);
	CHECK_EQ(eoi_vector, 0x71);
	eoi_vector = -1;
	wr(0, 0xf0, 0x11ff);				/* suppress */
	apics_send(&bus, &m);
	CHECK_EQ(ack(0), 0x71);
	wr(0, 0xb0, 0);
	CHECK_EQ(eoi_vector, -1);
	close_all();
}

static void
xapic_destinations(void)
{
	open_all();
	enable_all(false);
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		wr(i, 0xd0, 1u << (24 + i));
	wr(0, 0x310, 0x6u << 24);			/* flat: 1 and 2 */
	wr(0, 0x300, 0x4800 | 0x44);
	CHECK_EQ(pending(0), -1);
	CHECK_EQ(pending(1), 0x44);
	CHECK_EQ(pending(2), 0x44);
	CHECK_EQ(pending(3), -1);
	for (unsigned i = 0; i < FAKE_CPUS; i++) {	/* two clusters of two */
		wr(i, 0xe0, 0x0fffffff);
		wr(i, 0xd0, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	wr(0, 0x310, 0x13u << 24);
	wr(0, 0x300, 0x4800 | 0x55);
	CHECK_EQ(pending(0), -1);
	CHECK_EQ(pending(1), 0x44);
	CHECK_EQ(pending(2), 0x55);
	CHECK_EQ(pending(3), 0x55);
	wr(1, 0x300, 0x000c4000 | 0x66);		/* all but self */
	CHECK_EQ(pending(0), 0x66);
	CHECK_EQ(pending(1), 0x44);
	wr(1, 0x300, 0x00044000 | 0x67);		/* self */
	CHECK_EQ(pending(1), 0x67);
	wr(1, 0x310, 0xff000000);
	wr(1, 0x300, 0x4000 | 0x88);			/* physical broadcast */
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		CHECK_EQ(pending(i), 0x88);
	close_all();
}

static void
x2apic_destinations(void)
{
	open_all();
	enable_all(true);
	CHECK_EQ(rdmsr(3, 0x802), 3);
	CHECK_EQ(rdmsr(3, 0x80d), 8);
	CHECK(wrmsr(0, 0x830, 3ull << 32 | 0x44));	/* physical */
	CHECK_EQ(pending(3), 0x44);
	CHECK(wrmsr(0, 0x830, 6ull << 32 | 0x845));	/* logical: 1 and 2 */
	CHECK_EQ(pending(1), 0x45);
	CHECK_EQ(pending(2), 0x45);
	CHECK_EQ(pending(3), 0x44);
	CHECK(wrmsr(0, 0x830, 0xffffffffull << 32 | 0x46));
	CHECK_EQ(pending(0), 0x46);
	CHECK(wrmsr(2, 0x83f, 0x70));			/* self IPI */
	CHECK_EQ(pending(2), 0x70);
	CHECK_EQ(rdmsr(2, 0x823), 1u << 16);		/* IRR */
	close_all();
}

static void
x2apic_refuses(void)
{
	uint64_t val = 0;

	open_all();
	CHECK(!ops(0)->msr(apic[0], 0x802, false, &val));	/* still xAPIC */
	enable_all(true);
	CHECK(!wrmsr(0, 0x802, 0));
	CHECK(!wrmsr(0, 0x80b, 1));
	CHECK(!wrmsr(0, 0x828, 1));
	CHECK(!wrmsr(0, 0x808, 0x100));
	CHECK(!wrmsr(0, 0x80d, 1));
	CHECK(!wrmsr(0, 0x831, 0));
	CHECK(!wrmsr(0, 0x840, 0));
	CHECK(!ops(0)->msr(apic[0], 0x80e, false, &val));
	CHECK(!ops(0)->msr(apic[0], 0x80b, false, &val));
	CHECK(!ops(0)->msr(apic[0], 0x83f, false, &val));
	CHECK(!ops(0)->msr(apic[0], 0x8ff, false, &val));
	CHECK_EQ(dev_in(apic[0], false, 0xfee00020, 4), 0xffffffff);	/* no page any more */
	close_all();
}

static void
init_sipi_nmi(void)
{
	open_all();
	enable_all(true);
	CHECK(wrmsr(0, 0x830, 1ull << 32 | 0xc500));
	CHECK_EQ(fake_take_kicks(1), ATT_init);
	CHECK(wrmsr(0, 0x830, 1ull << 32 | 0x8500));	/* de-assert: nothing */
	CHECK_EQ(fake_take_kicks(1), 0);
	CHECK(wrmsr(0, 0x830, 1ull << 32 | 0x699));
	CHECK_EQ(fake_sipi[1], 0x99);
	CHECK_EQ(fake_sipi[2], -1);
	CHECK(wrmsr(0, 0x830, 2ull << 32 | 0x400));
	CHECK_EQ(fake_take_kicks(2), ATT_nmi);
	ops(1)->init(apic[1]);
	CHECK_EQ(rdmsr(1, 0x80f), 0xff);
	CHECK_EQ(rdmsr(1, 0x802), 1);
	CHECK_EQ(rdmsr(1, 0x80d), 2);
	close_all();
}

static void
lowest_priority_picks_one(void)
{
	open_all();
	enable_all(true);
	ops(0)->tpr_set(apic[0], 5);
	ops(1)->tpr_set(apic[1], 2);
	ops(2)->tpr_set(apic[2], 5);
	ops(3)->tpr_set(apic[3], 5);
	apics_msi(&bus, 0xfee0f004, 0x161);		/* logical, 0-3 */
	CHECK_EQ(pending(0), -1);
	CHECK_EQ(pending(1), 0x61);
	CHECK_EQ(pending(2), -1);
	CHECK_EQ(pending(3), -1);
	close_all();
}

static void
timer_modes(void)
{
	open_all();
	enable_all(false);
	wr(0, 0x3e0, 0xb);				/* divide by 1: 1 ns */
	wr(0, 0x320, 0x40);
	wr(0, 0x380, 100000);
	fake_advance(40000);
	CHECK_EQ(rd(0, 0x390), 60000);
	CHECK_EQ(pending(0), -1);
	fake_advance(60000);
	CHECK_EQ(ack(0), 0x40);
	wr(0, 0xb0, 0);
	CHECK_EQ(rd(0, 0x390), 0);
	fake_advance(1000000);
	CHECK_EQ(pending(0), -1);			/* one shot */
	wr(0, 0x320, 0x20041);
	wr(0, 0x3e0, 0x3);				/* by 16 */
	wr(0, 0x380, 10000);
	for (int i = 0; i < 5; i++) {
		fake_advance(160000);
		CHECK_EQ(ack(0), 0x41);
		wr(0, 0xb0, 0);
	}
	fake_advance(80000);
	CHECK_EQ(rd(0, 0x390), 5000);
	wr(0, 0x380, 0);
	fake_advance(1000000);
	CHECK_EQ(pending(0), -1);
	wr(0, 0x320, 0x10042);				/* masked */
	wr(0, 0x380, 100);
	fake_advance(10000);
	CHECK_EQ(pending(0), -1);
	close_all();
}

static void
timer_changes_mode(void)
{
	open_all();
	enable_all(false);
	wr(0, 0x3e0, 0xb);
	wr(0, 0x320, 0x20040);				/* periodic */
	wr(0, 0x380, 100000);
	fake_advance(150000);
	CHECK_EQ(rd(0, 0x390), 50000);
	wr(0, 0x320, 0x40);				/* one-shot from now on: this period is the last */
	CHECK_EQ(rd(0, 0x390), 50000);
	fake_advance(60000);
	CHECK_EQ(rd(0, 0x390), 0);
	CHECK_EQ(rd(0, 0x380), 100000);
	wr(0, 0x320, 0x20040);				/* expired: making it periodic starts nothing */
	fake_advance(60000);
	CHECK_EQ(rd(0, 0x390), 0);
	CHECK_EQ(clock_next(fake_vm.clock), UINT64_MAX);
	wr(0, 0x380, 100000);
	wr(0, 0x320, 0x40040);				/* TSC deadline: the count is gone */
	CHECK_EQ(rd(0, 0x380), 0);
	CHECK_EQ(rd(0, 0x390), 0);
	CHECK_EQ(clock_next(fake_vm.clock), UINT64_MAX);
	close_all();
}

static void
tsc_deadline(void)
{
	open_all();
	enable_all(true);
	fake_vm.vcpu[0]->tsc_offset = 5000;
	ops(0)->deadline(apic[0], 1000);		/* ignored: not in that mode */
	CHECK(wrmsr(0, 0x832, 0x40044));
	fake_advance(10000);
	CHECK_EQ(pending(0), -1);
	ops(0)->deadline(apic[0], 35000);		/* guest TSC is 15000 */
	CHECK(!wrmsr(0, 0x838, 5) || rdmsr(0, 0x838) == 0);
	fake_advance(19000);
	CHECK_EQ(pending(0), -1);
	fake_advance(1010);
	fake_vm.vcpu[0]->cpu.r.ia32_tsc_deadline = 35000;
	CHECK_EQ(ack(0), 0x44);
	CHECK_EQ(fake_vm.vcpu[0]->cpu.r.ia32_tsc_deadline, 0);
	CHECK(wrmsr(0, 0x80b, 0));
	ops(0)->deadline(apic[0], 1);			/* in the past: at once */
	fake_advance(10);
	CHECK_EQ(ack(0), 0x44);
	CHECK(wrmsr(0, 0x80b, 0));
	ops(0)->deadline(apic[0], ~0ull);		/* never */
	fake_advance(1ull << 40);
	CHECK_EQ(pending(0), -1);
	ops(0)->deadline(apic[0], 0);
	CHECK_EQ(clock_next(fake_vm.clock), UINT64_MAX);
	close_all();
}

static void
errors_are_reported(void)
{
	open_all();
	enable_all(false);
	wr(0, 0x370, 0xfe);
	wr(0, 0x300, 0x44005);				/* vector 5 to self */
	CHECK_EQ(rd(0, 0x280), 0);
	wr(0, 0x280, 0);
	CHECK_EQ(rd(0, 0x280), ESR_SEND_VECTOR);
	CHECK_EQ(ack(0), 0xfe);
	wr(0, 0x280, 0);
	CHECK_EQ(rd(0, 0x280), 0);
	apics_msi(&bus, 0xfee00000, 0x0f);
	wr(0, 0x280, 0);
	CHECK_EQ(rd(0, 0x280), ESR_RECEIVE_VECTOR);
	wr(0, 0x370, 0x05);				/* an illegal error vector ends here */
	wr(0, 0x300, 0x44005);
	wr(0, 0x3f0, 1);
	close_all();
}

static void
disabled_means_deaf(void)
{
	open_all();
	apics_msi(&bus, 0xfee00000, 0x41);		/* SVR says disabled */
	CHECK_EQ(pending(0), -1);
	CHECK_EQ(rd(0, 0x220), 0);
	wr(0, 0x320, 0x40);
	CHECK_EQ(rd(0, 0x320), 0x10040);		/* LVTs stay masked */
	ops(0)->base(apic[0], 0xfee00100);
	CHECK_EQ(dev_in(apic[0], false, 0xfee00020, 4), 0xffffffff);
	pic_vector = 0x20;
	apics_intr(&bus, true);				/* no APIC: INTR is a wire */
	CHECK_EQ(pending(0) >= 0, 1);
	CHECK_EQ(pending(1), -1);
	CHECK_EQ(ack(0), 0x20);
	close_all();
}

static void
extint_through_lint0(void)
{
	open_all();
	pic_vector = 0x28;
	apics_intr(&bus, true);
	CHECK_EQ(pending(0), -1);
	lapic_firmware(bus.apic[0]);
	lapic_firmware(bus.apic[1]);
	CHECK(pending(0) >= 0);
	CHECK_EQ(pending(1), -1);
	CHECK_EQ(ack(0), 0x28);
	apics_nmi(&bus);
	CHECK(fake_take_kicks(0) & ATT_nmi);
	CHECK_EQ(fake_take_kicks(2), 0);		/* LINT1 masked */
	wr(0, 0x350, 0x31);				/* LINT0 as fixed: an edge is an interrupt */
	apics_intr(&bus, true);
	CHECK_EQ(ack(0), 0x31);
	close_all();
}

static void
odd_accesses_are_harmless(void)
{
	open_all();
	enable_all(false);
	CHECK_EQ(dev_in(apic[1], false, 0xfee00023, 1), 1);
	CHECK_EQ(dev_in(apic[1], false, 0xfee00024, 4), 0);
	dev_out(apic[1], false, 0xfee000f0, 1, 0);
	dev_out(apic[1], false, 0xfee000f4, 4, 0);
	CHECK_EQ(rd(1, 0xf0), 0x1ff);
	CHECK_EQ(rd(1, 0xff0), 0);
	close_all();
}

int
main(void)
{
	RUN(reset_values);
	RUN(priorities);
	RUN(level_eoi_is_broadcast);
	RUN(xapic_destinations);
	RUN(x2apic_destinations);
	RUN(x2apic_refuses);
	RUN(init_sipi_nmi);
	RUN(lowest_priority_picks_one);
	RUN(timer_modes);
	RUN(timer_changes_mode);
	RUN(tsc_deadline);
	RUN(errors_are_reported);
	RUN(disabled_means_deaf);
	RUN(extint_through_lint0);
	RUN(odd_accesses_are_harmless);
	return check_done();
}
