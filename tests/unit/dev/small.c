/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/small.c - PM registers, PCI configuration space, fw_cfg, 8042, ports that end a VM, testdev. */
#include "dev/acpi_pm.h"
#include "dev/debugexit.h"
#include "dev/fwcfg.h"
#include "dev/i8042.h"
#include "dev/pci.h"
#include "dev/testdev.h"
#include "fake.h"

static void
pm_timer_and_s5(void)
{
	struct dev *d;

	fake_open();
	d = acpi_pm_open(&fake_vm, fake_line());
	CHECK_EQ(dev_in(d, true, 0x604, 2), 1);		/* SCI_EN: always on */
	fake_advance(1000000000);
	CHECK_EQ(dev_in(d, true, 0x608, 4), 3579545);
	CHECK_EQ(dev_in(d, true, 0x609, 1), 3579545 >> 8 & 0xff);
	CHECK_EQ(dev_out(d, true, 0x604, 2, 0x2000 | 3 << 10), IO_done);
	CHECK_EQ(fake_vm.end, VM_running);
	CHECK_EQ(dev_out(d, true, 0x604, 2, 0x2000 | 5 << 10), IO_stop);
	CHECK_EQ(fake_vm.end, VM_poweroff);
	d->ops->close(d);
	fake_close();
}

static void
power_button_and_overflow(void)
{
	struct dev *d;

	fake_open();
	d = acpi_pm_open(&fake_vm, fake_line());
	acpi_pm_power_button(d);
	CHECK(!fake_level);
	dev_out(d, true, 0x602, 2, 0x100);
	CHECK(fake_level);
	CHECK_EQ(dev_in(d, true, 0x600, 2), 0x100);
	dev_out(d, true, 0x600, 2, 0x100);
	CHECK(!fake_level);
	dev_out(d, true, 0x602, 2, 0x001);		/* 2^31 ticks: 600 s */
	fake_advance(601ull * 1000000000);
	CHECK(fake_level);
	CHECK_EQ(dev_in(d, true, 0x600, 4), 0x00010001);
	d->ops->close(d);
	fake_close();
}

static const struct pci_host no_host;

static void
pci_configuration(void)
{
	static struct pci_function f;
	struct dev *d;

	fake_open();
	d = pci_open(&fake_vm, 0xe0000000, 0x10000000, &no_host);
	CHECK_EQ(dev_in(d, false, 0xe0000000, 4), 0x00081b36);
	CHECK_EQ(dev_in(d, false, 0xe0000008, 4), 0x06000000);
	dev_out(d, true, 0xcf8, 4, 0x80000000);
	CHECK_EQ(dev_in(d, true, 0xcfc, 4), 0x00081b36);
	CHECK_EQ(dev_in(d, true, 0xcfe, 2), 0x0008);
	CHECK_EQ(dev_in(d, true, 0xcff, 1), 0x00);
	dev_out(d, true, 0xcfc, 4, 0);			/* read-only */
	CHECK_EQ(dev_in(d, true, 0xcfc, 4), 0x00081b36);
	dev_out(d, true, 0xcf8, 4, 0x80000800);		/* 00:01.0: nobody */
	CHECK_EQ(dev_in(d, true, 0xcfc, 4), 0xffffffff);
	dev_out(d, true, 0xcf8, 4, 0x00000000);		/* not enabled */
	CHECK_EQ(dev_in(d, true, 0xcfc, 4), 0xffffffff);
	CHECK_EQ(dev_in(d, false, 0xe0100000, 4), 0xffffffff);	/* bus 1 */
	CHECK_EQ(dev_in(d, false, 0xeffffffc, 4), 0xffffffff);
	CHECK_EQ(dev_in(d, false, 0xe0000fff, 8), UINT64_MAX);	/* over the end */
	f.config[0] = 0x34;
	f.writable[4] = 0x07;
	CHECK_EQ(pci_add(d, 0, &f), -1);
	CHECK_EQ(pci_add(d, 32, &f), -1);
	CHECK_EQ(pci_add(d, 1, &f), 0);
	dev_out(d, false, 0xe0008004, 2, 0xffff);
	CHECK_EQ(dev_in(d, false, 0xe0008004, 4), 7);
	d->ops->close(d);
	fake_close();
}

static void
reset_register(void)
{
	struct dev *d;

	fake_open();
	d = pci_open(&fake_vm, 0xe0000000, 0x10000000, &no_host);
	CHECK_EQ(OUTB(d, 0xcf9, 2), IO_done);
	CHECK_EQ(INB(d, 0xcf9), 2);
	CHECK_EQ(fake_vm.end, VM_running);
	CHECK_EQ(OUTB(d, 0xcf9, 6), IO_stop);
	CHECK_EQ(fake_vm.end, VM_reset);
	d->ops->close(d);
	fake_close();
}

static uint64_t
fw(struct dev *d, uint16_t key, unsigned n)
{
	uint64_t val = 0;

	dev_out(d, true, 0x510, 2, key);
	for (unsigned i = 0; i < n; i++)
		val |= (uint64_t)INB(d, 0x511) << 8 * i;
	return val;
}

static void
fw_cfg_items_and_files(void)
{
	struct dev *d = fwcfg_open(512ull << 20, 3);

	CHECK_EQ(fw(d, 0, 4), 0x554d4551);		/* "QEMU" */
	CHECK_EQ(fw(d, 3, 8), 512ull << 20);
	CHECK_EQ(fw(d, 5, 2), 3);
	CHECK_EQ(fw(d, 0x0f, 2), 3);
	CHECK_EQ(fw(d, 0x19, 4), 0);
	CHECK_EQ(fwcfg_add_file(d, "etc/e820", "abc", 3), 0);
	CHECK_EQ(fwcfg_add_file(d, "etc/e820", "abc", 3), -1);
	CHECK_EQ(fw(d, 0x19, 4), 0x01000000);		/* big endian */
	CHECK_EQ(INB(d, 0x511) | INB(d, 0x511) | INB(d, 0x511) | INB(d, 0x511), 3);
	CHECK_EQ(fw(d, 0x20, 4), 0x00636261);		/* zeros behind the end */
	CHECK_EQ(fw(d, 0x21, 1), 0);
	CHECK_EQ(fw(d, 0xffff, 1), 0);
	d->ops->close(d);
}

static void
keyboard_controller(void)
{
	struct dev *d;

	fake_open();
	d = i8042_open(&fake_vm);
	CHECK_EQ(INB(d, 0x64) & 1, 0);
	OUTB(d, 0x64, 0xaa);
	CHECK_EQ(INB(d, 0x64) & 1, 1);
	CHECK_EQ(INB(d, 0x60), 0x55);
	CHECK_EQ(INB(d, 0x64) & 1, 0);
	OUTB(d, 0x64, 0x60);
	OUTB(d, 0x60, 0x47);
	OUTB(d, 0x64, 0x20);
	CHECK_EQ(INB(d, 0x60), 0x47);
	OUTB(d, 0x64, 0xd0);
	CHECK_EQ(INB(d, 0x60) & 3, 3);			/* A20 is open */
	CHECK_EQ(fake_vm.end, VM_running);
	CHECK_EQ(OUTB(d, 0x64, 0xfe), IO_stop);
	CHECK_EQ(fake_vm.end, VM_reset);
	d->ops->close(d);
	fake_close();
}

static void
port_92(void)
{
	struct dev *d;

	fake_open();
	d = port92_open(&fake_vm);
	CHECK_EQ(INB(d, 0x92), 2);
	CHECK_EQ(OUTB(d, 0x92, 0), IO_done);
	CHECK_EQ(INB(d, 0x92), 0);
	CHECK_EQ(OUTB(d, 0x92, 1), IO_stop);
	CHECK_EQ(fake_vm.end, VM_reset);
	d->ops->close(d);
	fake_close();
}

static void
debug_exit_and_panic(void)
{
	struct dev *d;

	fake_open();
	d = debugexit_open(&fake_vm);
	CHECK_EQ(dev_out(d, true, 0xf4, 4, 0x10), IO_stop);
	CHECK_EQ(fake_vm.end, VM_debug_exit);
	CHECK_EQ(fake_vm.exit_status, 0x21);
	dev_out(d, true, 0xf4, 1, 0);			/* the first one counts */
	CHECK_EQ(fake_vm.exit_status, 0x21);
	d->ops->close(d);
	fake_vm.end = VM_running;
	d = pvpanic_open(&fake_vm);
	CHECK_EQ(INB(d, 0x505), 3);
	CHECK_EQ(OUTB(d, 0x505, 2), IO_done);
	CHECK_EQ(OUTB(d, 0x505, 1), IO_stop);
	CHECK_EQ(fake_vm.end, VM_panic);
	d->ops->close(d);
	fake_close();
}

static void
test_device(void)
{
	struct irq_line *line = fake_line(), *lines[TESTDEV_IRQS] = { [14] = line };
	struct dev *d = testdev_open(0xff000000, lines);

	dev_out(d, true, 0xe0, 4, 0x12345678);
	CHECK_EQ(dev_in(d, true, 0xe0, 4), 0x12345678);
	CHECK_EQ(dev_in(d, true, 0xe2, 2), 0x1234);
	CHECK_EQ(INB(d, 0xe8), 0x78);
	dev_out(d, true, 0xe1, 1, 0xff);
	CHECK_EQ(dev_in(d, true, 0xe0, 4), 0x1234ff78);
	dev_out(d, true, 0x200e, 1, 1);
	CHECK(fake_level);
	dev_out(d, true, 0x200e, 1, 0);
	CHECK(!fake_level);
	dev_out(d, true, 0x2000, 1, 1);			/* no line there */
	dev_out(d, false, 0xff000008, 8, 0x1122334455667788);
	CHECK_EQ(dev_in(d, false, 0xff00000c, 4), 0x11223344);
	CHECK_EQ(dev_in(d, false, 0xff00ffff, 4), 0xffffffff);
	d->ops->close(d);
}

int
main(void)
{
	RUN(pm_timer_and_s5);
	RUN(power_button_and_overflow);
	RUN(pci_configuration);
	RUN(reset_register);
	RUN(fw_cfg_items_and_files);
	RUN(keyboard_controller);
	RUN(port_92);
	RUN(debug_exit_and_panic);
	RUN(test_device);
	return check_done();
}
