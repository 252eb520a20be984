/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/ioapic.c - edge and level pins, masks, remote IRR, both ways to say EOI. */
#include "dev/ioapic.h"
#include "dev/lapic_state.h"
#include "fake.h"

static struct apics bus;
static struct dev *apic, *io;
static unsigned resampled;

static void fake_eoi(void *ctx, uint8_t v) { (void)ctx; ioapic_eoi(io, v); }
static void resample(void *ctx) { (void)ctx; resampled++; }
static struct irq_line line5 = { .resample = resample };
static struct irq_line *lines[IOAPIC_PINS] = { [5] = &line5 };

static uint32_t rd(unsigned r) { dev_out(io, false, 0xfec00000, 4, r); return (uint32_t)dev_in(io, false, 0xfec00010, 4); }
static void wr(unsigned r, uint32_t v) { dev_out(io, false, 0xfec00000, 4, r); dev_out(io, false, 0xfec00010, 4, v); }
static int taken(void) { return fake_vm.vcpu[0]->apic_ops->ack(apic); }
static void eoi(void) { dev_out(apic, false, 0xfee000b0, 4, 0); }

static void
setup(void)
{
	fake_open();
	bus = (struct apics){ .clock = fake_vm.clock, .eoi = fake_eoi };
	apic = lapic_open(&bus, fake_vm.vcpu[0]);
	lapic_firmware(bus.apic[0]);
	io = ioapic_open(&bus, 0xfec00000, lines);
	resampled = 0;
}

static void
teardown(void)
{
	io->ops->close(io);
	apic->ops->close(apic);
	fake_close();
}

static void
registers(void)
{
	setup();
	CHECK_EQ(rd(1), 0x00170020);
	CHECK_EQ(rd(0x10), 0x10000);
	wr(0, 0xffffffff);
	CHECK_EQ(rd(0), 0x0f000000);
	CHECK_EQ(rd(2), 0x0f000000);
	wr(0x11, 0xffffffff);
	CHECK_EQ(rd(0x11), 0xff000000);
	wr(0x12, 0xffffffff);
	CHECK_EQ(rd(0x12), 0x1afff);		/* status and remote IRR are read-only */
	CHECK_EQ(rd(0x40), 0);
	teardown();
}

static void
edges(void)
{
	setup();
	ioapic_set(io, 3, true);		/* masked: lost */
	wr(0x16, 0x33);
	CHECK_EQ(taken(), -1);
	ioapic_set(io, 3, false);
	ioapic_set(io, 3, true);
	CHECK_EQ(taken(), 0x33);
	eoi();
	ioapic_set(io, 3, true);		/* no edge */
	CHECK_EQ(taken(), -1);
	teardown();
}

static void
levels(void)
{
	setup();
	ioapic_set(io, 5, true);
	wr(0x1a, 0x8045);			/* unmasking a high line sends */
	CHECK_EQ(rd(0x1a), 0xc045);
	CHECK_EQ(taken(), 0x45);
	ioapic_set(io, 5, true);
	CHECK_EQ(taken(), -1);			/* one at a time */
	eoi();
	CHECK_EQ(resampled, 1);
	CHECK_EQ(taken(), 0x45);		/* still high: again */
	ioapic_set(io, 5, false);
	eoi();
	CHECK_EQ(taken(), -1);
	CHECK_EQ(rd(0x1a), 0x8045);
	ioapic_set(io, 5, true);
	CHECK_EQ(taken(), 0x45);
	wr(0x1a, 0x10045);			/* edge for a moment clears remote IRR */
	CHECK_EQ(rd(0x1a), 0x10045);
	teardown();
}

static void
eoi_register(void)
{
	setup();
	wr(0x1a, 0x8045);
	ioapic_set(io, 5, true);
	CHECK_EQ(taken(), 0x45);
	ioapic_set(io, 5, false);
	dev_out(io, false, 0xfec00040, 4, 0x46);
	CHECK_EQ(rd(0x1a), 0xc045);
	dev_out(io, false, 0xfec00040, 4, 0x45);
	CHECK_EQ(rd(0x1a), 0x8045);
	teardown();
}

static void
other_deliveries(void)
{
	setup();
	wr(0x16, 0x400);			/* NMI */
	ioapic_set(io, 3, true);
	CHECK(fake_take_kicks(0) & ATT_nmi);
	wr(0x19, 0x07000000);			/* to APIC 7: nobody */
	wr(0x18, 0x44);
	ioapic_set(io, 4, true);
	CHECK_EQ(taken(), -1);
	ioapic_set(io, 24, true);		/* no such pin */
	teardown();
}

int
main(void)
{
	RUN(registers);
	RUN(edges);
	RUN(levels);
	RUN(eoi_register);
	RUN(other_deliveries);
	return check_done();
}
