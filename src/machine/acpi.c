/* SPDX-License-Identifier: Apache-2.0 */
/* machine/acpi.c - RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG and DSDT (ACPI 6.4, chapter 5).
 *
 * Order in memory: RSDP, FACS, then tables as they are needed by those behind them; the two root
 * tables come last and the RSDP is filled in then.
 */
#include "machine/acpi.h"

#include "dev/acpi_pm.h"
#include "dev/debugexit.h"
#include "dev/fwcfg.h"
#include "dev/pci.h"
#include "dev/rtc.h"
#include "machine/aml.h"
#include "machine/machine.h"
#include <stdio.h>
#include <string.h>

enum { ALIGN = 64, HEADER = 36, RSDP_SIZE = 36, FACS_SIZE = 64, RSDP_V1_SIZE = 20 };
enum { SPACE_IO = 1 };
enum { FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLP_BUTTON = 1 << 5, FADT_FIX_RTC = 1 << 6,
	FADT_TMR_VAL_EXT = 1 << 8, FADT_RESET_REG_SUP = 1 << 10 };
enum { ARCH_LEGACY = 1 << 0, ARCH_NO_VGA = 1 << 2 };	/* and no bit 1: no 8042 to look for */
enum { MADT_lapic = 0, MADT_ioapic = 1, MADT_override = 2, MADT_nmi = 4, MADT_PCAT = 1 };
enum { INTI_BUS = 0 /* as the bus does */, INTI_HIGH_LEVEL = 0xd };
enum { SCI_IRQ = 9, PCI_GSI = 16, OP_return = 0xa4, OP_arg3 = 0x6b };

struct tables {
	struct aml out;			/* all tables; offsets are from gpa */
	uint64_t gpa;
	uint64_t root[8];		/* addresses of the tables that the root tables list */
	unsigned roots;
};

static uint8_t
checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n-- > 0)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static void
align(struct tables *t)
{
	while (t->out.len % ALIGN != 0 && !t->out.full)
		aml_put(&t->out, 0, 1);
}

static void
zeros(struct aml *a, unsigned n)
{
	while (n-- > 0)
		aml_put(a, 0, 1);
}

/* A table's header; its offset, for table_end. */
static size_t
table_begin(struct tables *t, const char *signature, uint8_t revision)
{
	size_t begin;

	align(t);
	begin = t->out.len;
	aml_bytes(&t->out, signature, 4);
	aml_put(&t->out, 0, 4);		/* length, by table_end */
	aml_put(&t->out, revision, 1);
	aml_put(&t->out, 0, 1);		/* checksum, by table_end */
	aml_bytes(&t->out, "REGENT", 6);
	aml_bytes(&t->out, "REGENT-1", 8);
	aml_put(&t->out, 1, 4);
	aml_bytes(&t->out, "RGNT", 4);
	aml_put(&t->out, 1, 4);
	return begin;
}

/* Its address. */
static uint64_t
table_end(struct tables *t, size_t begin)
{
	uint8_t *p = t->out.buf + begin;
	uint32_t len = (uint32_t)(t->out.len - begin);

	if (!t->out.full) {
		memcpy(p + 4, &len, sizeof(len));
		p[9] = checksum(p, len);
	}
	return t->gpa + begin;
}

static void
list(struct tables *t, uint64_t table)
{
	t->root[t->roots++] = table;
}

/* ---- DSDT ---- */

static void
identify(struct aml *a, const char *eisaid, unsigned uid)
{
	aml_name(a, "_HID");
	aml_eisaid(a, eisaid);
	aml_name(a, "_UID");
	aml_int(a, uid);
}

/* Slot s, pin p: GSI 16 to 19 in turn, as they are wired. */
static void
pci_routing(struct aml *a)
{
	size_t table, row;

	aml_name(a, "_PRT");
	table = aml_package(a, (PCI_SLOTS - 1) * PCI_PINS);
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < PCI_PINS; pin++) {
			row = aml_package(a, 4);
			aml_int(a, slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_int(a, 0);
			aml_int(a, PCI_GSI + (slot + pin) % PCI_PINS);
			aml_end(a, row);
		}
	}
	aml_end(a, table);
}

static void
pci_host(struct aml *a)
{
	size_t dev = aml_device(a, "PCI0"), res, method;

	identify(a, "PNP0A08", 0);
	aml_name(a, "_CID");
	aml_eisaid(a, "PNP0A03");
	aml_name(a, "_SEG");
	aml_int(a, 0);
	aml_name(a, "_BBN");
	aml_int(a, 0);
	aml_name(a, "_CRS");
	res = aml_resources(a);
	aml_bus_range(a, 0, 0xff);
	aml_io(a, PCI_ADDRESS, 8);
	aml_io_range(a, 0, PCI_ADDRESS - 1);
	aml_io_range(a, PCI_ADDRESS + 8, 0xffff);
	aml_memory_range(a, (uint32_t)MACHINE_MMIO32_BASE, (uint32_t)(MACHINE_MMIO32_END - 1));
	aml_resources_end(a, res);
	pci_routing(a);
	method = aml_method(a, "_OSC", 4);	/* the guest may have all that it asks for */
	aml_put(a, OP_return, 1);
	aml_put(a, OP_arg3, 1);
	aml_end(a, method);
	aml_end(a, dev);
}

/* A device with a range of ports and perhaps an interrupt (0: none). */
static void
port_device(struct aml *a, const char *name, const char *eisaid, uint16_t base, uint8_t len, unsigned irq)
{
	size_t dev = aml_device(a, name), res;

	identify(a, eisaid, 0);
	aml_name(a, "_CRS");
	res = aml_resources(a);
	aml_io(a, base, len);
	if (irq != 0)
		aml_irq(a, irq);
	aml_resources_end(a, res);
	aml_end(a, dev);
}

static void
panic_device(struct aml *a)
{
	size_t dev = aml_device(a, "PEVT"), res;

	aml_name(a, "_HID");
	aml_string(a, "QEMU0001");
	aml_name(a, "_CRS");
	res = aml_resources(a);
	aml_io(a, PVPANIC_PORT, 1);
	aml_resources_end(a, res);
	aml_end(a, dev);
}

/* What the board keeps for itself, so that nobody puts anything there. */
static void
board_device(struct aml *a)
{
	size_t dev = aml_device(a, "MBRD"), res;

	identify(a, "PNP0C02", 0);
	aml_name(a, "_CRS");
	res = aml_resources(a);
	aml_memory_fixed(a, (uint32_t)MACHINE_ECAM_BASE, (uint32_t)MACHINE_ECAM_SIZE);
	aml_io(a, FWCFG_SELECT, 2);
	aml_io(a, ACPI_PM_BASE, ACPI_PM_PORTS);
	aml_resources_end(a, res);
	aml_end(a, dev);
}

static void
processors(struct aml *a, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		char name[16];
		size_t dev;

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		dev = aml_device(a, name);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		aml_name(a, "_UID");
		aml_int(a, i);
		aml_end(a, dev);
	}
}

static void
sleep_state(struct aml *a)
{
	size_t p;

	aml_name(a, "\\_S5_");
	p = aml_package(a, 4);
	aml_int(a, ACPI_S5_TYPE);
	aml_int(a, ACPI_S5_TYPE);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a, p);
}

static uint64_t
dsdt(struct tables *t, unsigned cpus)
{
	size_t begin = table_begin(t, "DSDT", 2), scope;
	struct aml *a = &t->out;

	scope = aml_scope(a, "\\_SB_");
	pci_host(a);
	port_device(a, "COM1", "PNP0501", 0x3f8, 8, 4);
	port_device(a, "RTC0", "PNP0B00", RTC_BASE, RTC_PORTS, 8);
	panic_device(a);
	board_device(a);
	processors(a, cpus);
	aml_end(a, scope);
	sleep_state(a);
	return table_end(t, begin);
}

/* ---- the others ---- */

static uint64_t
facs(struct tables *t)
{
	size_t begin;

	align(t);
	begin = t->out.len;
	aml_bytes(&t->out, "FACS", 4);
	aml_put(&t->out, FACS_SIZE, 4);
	zeros(&t->out, 24);
	aml_put(&t->out, 2, 1);		/* version */
	zeros(&t->out, FACS_SIZE - 33);
	return t->gpa + begin;
}

/* Generic address structure for an I/O port. */
static void
gas(struct aml *a, uint16_t port, uint8_t bits, uint8_t access)
{
	aml_put(a, port != 0 ? SPACE_IO : 0, 1);
	aml_put(a, bits, 1);
	aml_put(a, 0, 1);
	aml_put(a, access, 1);
	aml_put(a, port, 8);
}

/* The part that ACPI 1.0 had: 32-bit addresses and lengths of the register blocks. */
static void
fadt_old(struct aml *a, uint64_t facs_at, uint64_t dsdt_at)
{
	aml_put(a, facs_at, 4);
	aml_put(a, dsdt_at, 4);
	zeros(a, 2);			/* reserved, preferred profile: unspecified */
	aml_put(a, SCI_IRQ, 2);
	zeros(a, 8);			/* no SMI command: ACPI is on and stays on */
	aml_put(a, ACPI_PM_BASE + ACPI_PM_EVENT, 4);
	aml_put(a, 0, 4);
	aml_put(a, ACPI_PM_BASE + ACPI_PM_CONTROL, 4);
	zeros(a, 8);			/* PM1b control, PM2 */
	aml_put(a, ACPI_PM_BASE + ACPI_PM_TIMER, 4);
	zeros(a, 8);			/* no GPE blocks */
	aml_put(a, 4, 1);		/* PM1 event, PM1 control, PM2, PM timer: bytes */
	aml_put(a, 2, 1);
	aml_put(a, 0, 1);
	aml_put(a, 4, 1);
	zeros(a, 4);			/* GPE lengths and base, C state control */
	aml_put(a, 0xfff, 2);		/* no C2, no C3 */
	aml_put(a, 0xfff, 2);
	zeros(a, 8);			/* cache flush and duty cycle: none; day and month alarms: none */
	aml_put(a, RTC_CENTURY, 1);
	aml_put(a, ARCH_LEGACY | ARCH_NO_VGA, 2);
	aml_put(a, 0, 1);
	aml_put(a, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_TMR_VAL_EXT |
	    FADT_RESET_REG_SUP, 4);
}

static uint64_t
fadt(struct tables *t, uint64_t facs_at, uint64_t dsdt_at)
{
	size_t begin = table_begin(t, "FACP", 6);
	struct aml *a = &t->out;

	fadt_old(a, facs_at, dsdt_at);
	gas(a, PCI_RESET_PORT, 8, 1);
	aml_put(a, PCI_RESET_VALUE, 1);
	zeros(a, 3);			/* ARM flags, minor version */
	aml_put(a, 0, 8);		/* the 32-bit FACS address counts */
	aml_put(a, dsdt_at, 8);
	gas(a, ACPI_PM_BASE + ACPI_PM_EVENT, 32, 2);
	gas(a, 0, 0, 0);
	gas(a, ACPI_PM_BASE + ACPI_PM_CONTROL, 16, 2);
	gas(a, 0, 0, 0);
	gas(a, 0, 0, 0);
	gas(a, ACPI_PM_BASE + ACPI_PM_TIMER, 32, 3);
	gas(a, 0, 0, 0);
	gas(a, 0, 0, 0);
	gas(a, 0, 0, 0);		/* sleep control and status: not hardware-reduced */
	gas(a, 0, 0, 0);
	aml_bytes(a, "REGENT\0", 8);	/* hypervisor vendor */
	return table_end(t, begin);
}

static void
madt_override(struct aml *a, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	aml_put(a, MADT_override, 1);
	aml_put(a, 10, 1);
	aml_put(a, 0, 1);		/* ISA */
	aml_put(a, irq, 1);
	aml_put(a, gsi, 4);
	aml_put(a, flags, 2);
}

static uint64_t
madt(struct tables *t, unsigned cpus)
{
	size_t begin = table_begin(t, "APIC", 4);
	struct aml *a = &t->out;

	aml_put(a, MACHINE_LAPIC_BASE, 4);
	aml_put(a, MADT_PCAT, 4);
	for (unsigned i = 0; i < cpus; i++) {
		aml_put(a, MADT_lapic, 1);
		aml_put(a, 8, 1);
		aml_put(a, i, 1);	/* processor _UID, APIC ID */
		aml_put(a, i, 1);
		aml_put(a, 1, 4);	/* enabled */
	}
	aml_put(a, MADT_ioapic, 1);
	aml_put(a, 12, 1);
	zeros(a, 2);			/* its ID: 0 */
	aml_put(a, MACHINE_IOAPIC_BASE, 4);
	aml_put(a, 0, 4);
	madt_override(a, 0, 2, INTI_BUS);
	madt_override(a, SCI_IRQ, SCI_IRQ, INTI_HIGH_LEVEL);
	aml_put(a, MADT_nmi, 1);
	aml_put(a, 6, 1);
	aml_put(a, 0xff, 1);		/* all processors */
	aml_put(a, INTI_BUS, 2);
	aml_put(a, 1, 1);		/* LINT1 */
	return table_end(t, begin);
}

static uint64_t
mcfg(struct tables *t)
{
	size_t begin = table_begin(t, "MCFG", 1);
	struct aml *a = &t->out;

	zeros(a, 8);
	aml_put(a, MACHINE_ECAM_BASE, 8);
	aml_put(a, 0, 2);		/* segment, first and last bus */
	aml_put(a, 0, 1);
	aml_put(a, 0xff, 1);
	zeros(a, 4);
	return table_end(t, begin);
}

static uint64_t
root_table(struct tables *t, const char *signature, unsigned pointer)
{
	size_t begin = table_begin(t, signature, 1);

	for (unsigned i = 0; i < t->roots; i++)
		aml_put(&t->out, t->root[i], pointer);
	return table_end(t, begin);
}

static void
rsdp(uint8_t *p, uint64_t rsdt, uint64_t xsdt)
{
	struct aml a = { .buf = p, .room = RSDP_SIZE };

	aml_bytes(&a, "RSD PTR ", 8);
	aml_put(&a, 0, 1);
	aml_bytes(&a, "REGENT", 6);
	aml_put(&a, 2, 1);		/* revision */
	aml_put(&a, rsdt, 4);
	aml_put(&a, RSDP_SIZE, 4);
	aml_put(&a, xsdt, 8);
	aml_put(&a, 0, 4);
	p[8] = checksum(p, RSDP_V1_SIZE);
	p[32] = checksum(p, RSDP_SIZE);
}

size_t
acpi_build(uint8_t *buf, size_t room, uint64_t gpa, unsigned cpus)
{
	struct tables t = { .out = { .buf = buf, .room = room }, .gpa = gpa };
	uint64_t facs_at, dsdt_at, rsdt, xsdt;

	zeros(&t.out, RSDP_SIZE);
	facs_at = facs(&t);
	dsdt_at = dsdt(&t, cpus);
	list(&t, fadt(&t, facs_at, dsdt_at));
	list(&t, madt(&t, cpus));
	list(&t, mcfg(&t));
	rsdt = root_table(&t, "RSDT", 4);
	xsdt = root_table(&t, "XSDT", 8);
	if (t.out.full)
		return 0;
	rsdp(buf, rsdt, xsdt);
	return t.out.len;
}
