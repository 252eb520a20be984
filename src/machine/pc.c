/* SPDX-License-Identifier: Apache-2.0 */
/* machine/pc.c - the wiring diagram of "regent-1": which chip answers where, which line goes to which pin. */
#include "machine/machine.h"

#include "dev/acpi_pm.h"
#include "dev/debugexit.h"
#include "dev/fwcfg.h"
#include "dev/i8042.h"
#include "dev/ioapic.h"
#include "dev/lapic.h"
#include "dev/pci.h"
#include "dev/pic.h"
#include "dev/pit.h"
#include "dev/rtc.h"
#include "dev/testdev.h"
#include "dev/uart.h"
#include "machine/acpi.h"
#include "machine/kernel_chips.h"
#include "machine/smbios.h"
#include "virtio/virtio.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IRQ_TIMER = 0, IRQ_COM1 = 4, IRQ_RTC = 8, IRQ_SCI = 9, ISA_IRQS = 16, TIMER_PIN = 2, COM1 = 0x3f8, PCI_GSI = 16 };
enum { ACPI_ROOM = MACHINE_SMBIOS_BASE - MACHINE_ACPI_BASE, SMBIOS_ROOM = 0x100000 - MACHINE_SMBIOS_BASE };

static_assert((int)IOAPIC_PINS == (int)MACHINE_GSIS && (int)TESTDEV_IRQS == (int)MACHINE_GSIS, "one line a pin");

/* The board is the VM's first device, so that it is closed after all that is soldered to it. */
struct board {
	struct dev dev;			/* first */
	struct vm *vm;			/* borrowed */
	struct apics apics;
	struct irq_line gsi[MACHINE_GSIS];
	struct irq_line *line[MACHINE_GSIS];	/* &gsi[n]: what ISA devices and the test device drive */
	struct irq_line *pin_line[MACHINE_GSIS];	/* which of them arrives at that IOAPIC pin */
	struct dev *pic, *ioapic, *pm, *uart, *fwcfg, *testdev, *pci;	/* owned by the VM */
	unsigned slot;			/* the last one that is taken */
	uint64_t window;		/* where the next BAR goes */
	struct kernel_chips kernel;	/* which of them have a counterpart in the host's kernel */
	const char *failed;		/* the first part that could not be had */
};

/* The first vCPU, when the chips that are at work are the host kernel's; else NULL. */
static struct cpu *
kernel_cpu(const struct board *b)
{
	struct cpu *c = &b->vm->vcpu[0]->cpu;

	return c->kernel_chips ? c : NULL;
}

/* ---- interrupts: each ISA line goes to both controllers; the timer's to IOAPIC pin 2 ---- */

static void
gsi_changed(void *ctx, unsigned n, bool level)
{
	struct board *b = ctx;

	if (kernel_cpu(b) != NULL) {
		if (n != IRQ_TIMER)		/* that line is the kernel's PIT's */
			kvm_line(kernel_cpu(b), n, level);
		return;
	}
	if (n < ISA_IRQS)
		pic_set(b->pic, n, level);
	if (n != TIMER_PIN)
		ioapic_set(b->ioapic, n == IRQ_TIMER ? TIMER_PIN : n, level);
}

static void
gsi_wire(struct board *b)
{
	for (unsigned n = 0; n < MACHINE_GSIS; n++) {
		b->gsi[n] = (struct irq_line){ .changed = gsi_changed, .ctx = b, .n = n };
		b->line[n] = &b->gsi[n];
		b->pin_line[n] = &b->gsi[n];
	}
	b->pin_line[TIMER_PIN] = &b->gsi[IRQ_TIMER];
	b->pin_line[IRQ_TIMER] = NULL;
}

static void board_intr(void *ctx, bool level) { apics_intr(&((struct board *)ctx)->apics, level); }
static void board_pic_eoi(void *ctx, unsigned irq) { irq_resample(&((struct board *)ctx)->gsi[irq]); }
static int board_pic_ack(void *ctx) { return pic_ack(((struct board *)ctx)->pic); }
/* Only the local APICs listen to what a device writes there; anywhere else it is lost. */
static void
board_msi(void *ctx, uint64_t addr, uint32_t data)
{
	struct board *b = ctx;

	if (addr >> 20 != MACHINE_LAPIC_BASE >> 20)
		return;
	if (kernel_cpu(b) != NULL)
		kvm_msi(kernel_cpu(b), addr, data);
	else
		apics_msi(&b->apics, addr, data);
}

static void board_apic_eoi(void *ctx, uint8_t vector) { ioapic_eoi(((struct board *)ctx)->ioapic, vector); }

/* ---- building ---- */

static struct dev *
own(struct board *b, struct dev *d, const char *what)
{
	if (vm_add_dev(b->vm, d) == 0)
		return d;
	if (b->failed == NULL)
		b->failed = what;
	return NULL;
}

static void
at_port(struct board *b, struct dev *d, uint16_t port, unsigned n)
{
	if (d != NULL && bus_add(b->vm->bus, d, true, port, n) != 0 && b->failed == NULL)
		b->failed = d->id;
}

static void
at_memory(struct board *b, struct dev *d, uint64_t base, uint64_t size)
{
	if (d != NULL && bus_add(b->vm->bus, d, false, base, size) != 0 && b->failed == NULL)
		b->failed = d->id;
}

/* One chip with one range of ports. */
static struct dev *
chip(struct board *b, struct dev *d, const char *what, uint16_t port, unsigned n)
{
	d = own(b, d, what);
	at_port(b, d, port, n);
	return d;
}

static void
build_interrupts(struct board *b)
{
	struct pic_host ph = { .intr = board_intr, .eoi = board_pic_eoi, .ctx = b };

	b->apics = (struct apics){ .clock = b->vm->clock, .pic_ack = board_pic_ack, .eoi = board_apic_eoi,
		.ctx = b };
	for (unsigned i = 0; i < b->vm->cpus; i++) {
		b->kernel.lapic[i] = own(b, lapic_open(&b->apics, b->vm->vcpu[i]), "lapic");
		if (kernel_cpu(b) != NULL)
			b->vm->vcpu[i]->apic_ops = NULL;	/* this one is a picture only */
	}
	gsi_wire(b);
	b->pic = chip(b, pic_open(ph), "pic", PIC_MASTER, 2);
	at_port(b, b->pic, PIC_SLAVE, 2);
	at_port(b, b->pic, PIC_ELCR, 2);
	b->ioapic = own(b, ioapic_open(&b->apics, MACHINE_IOAPIC_BASE, b->pin_line), "ioapic");
	at_memory(b, b->ioapic, MACHINE_IOAPIC_BASE, IOAPIC_SIZE);
	b->kernel.vm = b->vm;
	b->kernel.pic = b->pic;
	b->kernel.ioapic = b->ioapic;
}

static void
build_timers(struct board *b)
{
	struct clock *k = b->vm->clock;
	struct rtc_memory mem = { .low = mem_low_end(b->vm->mem), .cpus = b->vm->cpus,
		.high = mem_high_end(b->vm->mem) - (1ull << 32) };
	struct dev *pit = chip(b, pit_open(k, b->line[IRQ_TIMER]), "pit", PIT_BASE, PIT_PORTS);

	at_port(b, pit, PIT_PORT_B, 1);
	b->kernel.pit = pit;
	chip(b, rtc_open(k, b->line[IRQ_RTC], mem), "rtc", RTC_BASE, RTC_PORTS);
	b->pm = chip(b, acpi_pm_open(b->vm, b->line[IRQ_SCI]), "acpi-pm", ACPI_PM_BASE, ACPI_PM_PORTS);
}

static void
build_pci(struct board *b)
{
	struct pci_host ph = { .msi = board_msi, .intx = &b->line[PCI_GSI], .ctx = b };

	b->pci = chip(b, pci_open(b->vm, MACHINE_ECAM_BASE, MACHINE_ECAM_SIZE, &ph), "pci", PCI_DATA, 4);
	at_port(b, b->pci, PCI_ADDRESS, 4);
	at_memory(b, b->pci, MACHINE_ECAM_BASE, MACHINE_ECAM_SIZE);
	b->window = MACHINE_MMIO32_BASE;
}

static void
build_rest(struct board *b, const struct machine_config *cfg)
{
	struct vm *vm = b->vm;
	struct uart_host uh = { cfg->serial.write, cfg->serial.want_input, cfg->serial.ctx };
	struct dev *kbd;

	b->uart = chip(b, uart_open("uart0", COM1, vm->clock, b->line[IRQ_COM1], uh), "uart0", COM1, UART_PORTS);
	kbd = chip(b, i8042_open(vm), "i8042", I8042_DATA, 1);
	at_port(b, kbd, I8042_COMMAND, 1);
	chip(b, port92_open(vm), "port92", PORT92, 1);
	chip(b, post_open(), "post", POST_PORT, 1);
	chip(b, pvpanic_open(vm), "pvpanic", PVPANIC_PORT, 1);
	b->fwcfg = chip(b, fwcfg_open(mem_size(vm->mem), vm->cpus), "fwcfg", FWCFG_SELECT, 2);
	if (cfg->test_device) {
		b->testdev = chip(b, testdev_open(MACHINE_TESTDEV_BASE, b->line), "testdev", TESTDEV_ECHO,
		    TESTDEV_PORTS);
		at_port(b, b->testdev, TESTDEV_FLUSH, TESTDEV_PORTS);
		at_port(b, b->testdev, TESTDEV_BYTE, TESTDEV_PORTS);
		at_port(b, b->testdev, TESTDEV_IRQ, TESTDEV_IRQS);
		at_memory(b, b->testdev, MACHINE_TESTDEV_BASE, TESTDEV_MEMORY);
	}
}

/* What firmware would leave below 1 MiB for the guest to find. */
static int
build_tables(struct board *b)
{
	struct mem *m = b->vm->mem;
	uint8_t *acpi = mem_put(m, MACHINE_ACPI_BASE, ACPI_ROOM), *smbios = mem_put(m, MACHINE_SMBIOS_BASE, SMBIOS_ROOM);

	if (acpi == NULL || smbios == NULL ||
	    acpi_build(acpi, ACPI_ROOM, MACHINE_ACPI_BASE, b->vm->cpus) == 0 ||
	    smbios_build(smbios, SMBIOS_ROOM, MACHINE_SMBIOS_BASE, mem_size(m), b->vm->cpus) == 0)
		return -1;
	mem_dirty(m, MACHINE_ACPI_BASE, ACPI_ROOM + SMBIOS_ROOM);
	return 0;
}

static void board_close(struct dev *d) { free(d); }
static enum io_result board_io(struct dev *d, struct io *io) { (void)d, (void)io; return IO_none; }
static const struct dev_ops board_ops = { .name = "board", .io = board_io, .close = board_close };

int
machine_build(struct vm *vm, const struct machine_config *cfg, char *err, size_t err_size)
{
	struct board *b = calloc(1, sizeof(*b));
	int port = cfg->debug_exit_port;

	if (b == NULL) {
		snprintf(err, err_size, "out of memory");
		return -1;
	}
	b->dev.ops = &board_ops;
	strcpy(b->dev.id, "board");
	b->vm = vm;
	if (vm_add_dev(vm, &b->dev) != 0) {
		snprintf(err, err_size, "the VM has devices already");
		return -1;
	}
	vm->machine = b;
	build_interrupts(b);
	build_timers(b);
	build_pci(b);
	build_rest(b, cfg);
	if (b->failed != NULL) {
		snprintf(err, err_size, "can't build the machine: %s", b->failed);
		return -1;
	}
	if (port != 0) {
		chip(b, debugexit_open(vm), "debug-exit", (uint16_t)port, 1);
		if (port < 0 || port > 0xffff || b->failed != NULL) {
			snprintf(err, err_size, "the debug exit port %#x is not free: choose another, as 0xf4",
			    (unsigned)port);
			return -1;
		}
	}
	if (build_tables(b) != 0) {
		snprintf(err, err_size, "%llu KiB of memory are too few: choose 2M or more",
		    (unsigned long long)mem_size(vm->mem) >> 10);
		return -1;
	}
	return 0;
}

/* ---- what the host does with a board ---- */

static struct board *
lock(const struct vm *vm)
{
	pthread_mutex_lock((pthread_mutex_t *)&vm->lock);
	return vm->machine;
}

static void
unlock(const struct vm *vm)
{
	pthread_mutex_unlock((pthread_mutex_t *)&vm->lock);
}

int
machine_attach(struct vm *vm, struct virtio *v)
{
	struct board *b = lock(vm);
	int err = -1;

	if (vm_add_dev(vm, &v->dev) == 0 && b->slot + 1 < PCI_SLOTS)
		err = virtio_attach(v, b->pci, ++b->slot, &b->window, MACHINE_MMIO32_END);
	unlock(vm);
	return err;
}

size_t
machine_serial_input(struct vm *vm, const void *bytes, size_t n)
{
	size_t taken = uart_input(lock(vm)->uart, bytes, n);

	unlock(vm);
	return taken;
}

void
machine_serial_ready(struct vm *vm)
{
	uart_output_ready(lock(vm)->uart);
	unlock(vm);
}

void
machine_power_button(struct vm *vm)
{
	acpi_pm_power_button(lock(vm)->pm);
	unlock(vm);
}

void
machine_nmi(struct vm *vm)
{
	struct board *b = lock(vm);

	if (kernel_cpu(b) == NULL)
		apics_nmi(&b->apics);
	for (unsigned i = 0; kernel_cpu(b) != NULL && i < vm->cpus; i++)
		vcpu_kick(vm->vcpu[i], ATT_nmi);
	unlock(vm);
}

int
machine_fw_file(struct vm *vm, const char *name, const void *data, size_t len)
{
	int res = fwcfg_add_file(lock(vm)->fwcfg, name, data, len);

	unlock(vm);
	return res;
}

uint64_t
machine_rsdp(const struct vm *vm)
{
	(void)vm;
	return MACHINE_ACPI_BASE;
}

static unsigned
map_add(struct machine_range *map, unsigned n, uint64_t base, uint64_t end, uint32_t type)
{
	if (base < end)
		map[n++] = (struct machine_range){ base, end - base, type };
	return n;
}

unsigned
machine_memory_map(const struct vm *vm, struct machine_range map[MACHINE_MAP_MAX])
{
	const uint64_t meg = 1 << 20, dos_end = 0xa0000, four_gig = 1ull << 32;
	unsigned n = 0;

	n = map_add(map, n, 0, MACHINE_EBDA_BASE, RANGE_ram);
	n = map_add(map, n, MACHINE_EBDA_BASE, dos_end, RANGE_reserved);
	n = map_add(map, n, MACHINE_ACPI_BASE, meg, RANGE_reserved);
	n = map_add(map, n, meg, mem_low_end(vm->mem), RANGE_ram);
	n = map_add(map, n, MACHINE_ECAM_BASE, MACHINE_ECAM_BASE + MACHINE_ECAM_SIZE, RANGE_reserved);
	n = map_add(map, n, four_gig, mem_high_end(vm->mem), RANGE_ram);
	return n;
}

/* ---- firmware ---- */

enum { MTRR_WB = 6, MTRR_UC = 0, MTRR_ENABLE = 1 << 11, MTRR_FIXED = 1 << 10, MTRR_VALID = 1 << 11 };
#define MTRR_FIXED_WB 0x0606060606060606ull

/* Write-back everywhere but from MEM_BELOW_4G to 4 GiB; the fixed ranges write-back but for VGA. */
static void
firmware_mtrrs(struct cpu *c)
{
	static const uint16_t fixed[] = { 0x250, 0x258, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };
	uint64_t phys_mask = (1ull << c->model->phys_bits) - 1;
	int id;

	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if ((id = reg_by_msr(fixed[i])) >= 0)
			c->r.v[id] = MTRR_FIXED_WB;
	if ((id = reg_by_msr(0x259)) >= 0)
		c->r.v[id] = 0;		/* 0xa0000-0xbffff */
	c->r.mtrr_physbase0 = MEM_BELOW_4G | MTRR_UC;
	c->r.mtrr_physmask0 = (phys_mask & ~((1ull << 30) - 1)) | MTRR_VALID;
	if ((id = reg_by_msr(0x2ff)) >= 0)
		c->r.v[id] = MTRR_ENABLE | MTRR_FIXED | MTRR_WB;
	c->dirty |= GROUP_BIT(GROUP_msr);
}

int
machine_chips_fetch(struct vm *vm)
{
	struct board *b = lock(vm);
	int err = kernel_cpu(b) != NULL ? kernel_chips_fetch(&b->kernel) : 0;

	unlock(vm);
	return err;
}

int
machine_firmware(struct vm *vm)
{
	struct board *b = lock(vm);
	int err = 0;

	for (unsigned i = 0; i < vm->cpus; i++) {
		firmware_mtrrs(&vm->vcpu[i]->cpu);
		lapic_firmware(b->apics.apic[i]);
	}
	if (kernel_cpu(b) != NULL)
		err = kernel_chips_store(&b->kernel);
	unlock(vm);
	return err;
}
