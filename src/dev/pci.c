/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pci.c - PCI host bridge: two ways into configuration space, the bridge itself at 00:00.0, and the
 * chipset's reset register, a byte within the address register, which takes only 32 bits. */
#include "dev/pci.h"
#include <stdlib.h>
#include <string.h>

#define ADDRESS_ENABLE (1u << 31)
#define ADDRESS_KEPT 0x80fffffcu
enum { RESET_CPU = 1 << 2, RESET_KEPT = 0xa };
enum { BUS_SHIFT = 16, SLOT_SHIFT = 11, FUNCTION_SHIFT = 8, ECAM_BUS_SHIFT = 20, ECAM_SLOT_SHIFT = 15,
	ECAM_FUNCTION_SHIFT = 12 };
/* The identity that Linux knows as a generic PCIe host bridge without quirks. */
enum { BRIDGE_VENDOR = 0x1b36, BRIDGE_DEVICE = 0x0008, BRIDGE_SUBSYSTEM = 0x1100, CLASS_BRIDGE = 6 };

struct pci {
	struct dev dev;			/* first */
	struct vm *vm;			/* borrowed */
	struct pci_function *slot[PCI_SLOTS];	/* borrowed */
	struct pci_function bridge;
	uint64_t ecam, ecam_size;
	struct pci_host host;

	/* state by table */
	uint32_t address;
	uint8_t reset_control;
};

static struct pci_function *
function_at(struct pci *p, unsigned bus, unsigned slot, unsigned function)
{
	return bus == 0 && function == 0 ? p->slot[slot % PCI_SLOTS] : NULL;
}

static void
config_write(struct pci_function *f, unsigned at, unsigned size, uint64_t val)
{
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = f->writable[at + i], byte = (uint8_t)(val >> 8 * i);

		f->config[at + i] = (uint8_t)((f->config[at + i] & ~mask) | (byte & mask));
	}
	pci_function_written(f, at, size);
	if (f->written != NULL)
		f->written(f, at, size);
}

/* Nobody there: reads give all ones, as a master abort does, writes vanish. */
static void
config_access(struct pci_function *f, unsigned at, struct io *io)
{
	if (f == NULL || at + io->size > PCI_CONFIG)
		return;
	if (io->write) {
		config_write(f, at, io->size, io->data);
		return;
	}
	if (f->reading != NULL)
		f->reading(f, at, io->size);
	io->data = 0;
	memcpy(&io->data, f->config + at, io->size);
}

static enum io_result
reset_io(struct pci *p, struct io *io)
{
	if (!io->write) {
		io->data = p->reset_control;
		return IO_done;
	}
	p->reset_control = io->data & RESET_KEPT;
	if ((io->data & RESET_CPU) == 0)
		return IO_done;
	vm_request_end(p->vm, VM_reset);
	return IO_stop;
}

static enum io_result
address_io(struct pci *p, struct io *io)
{
	if (io->size == 1 && io->addr == PCI_RESET_PORT)
		return reset_io(p, io);
	if (io->size != 4 || io->addr != PCI_ADDRESS)
		return IO_none;
	if (io->write)
		p->address = (uint32_t)io->data & ADDRESS_KEPT;
	else
		io->data = p->address;
	return IO_done;
}

static enum io_result
pci_io(struct dev *d, struct io *io)
{
	struct pci *p = (struct pci *)d;
	uint64_t at = io->addr - p->ecam;
	uint32_t a = p->address;

	if (!io->write)
		io->data = UINT64_MAX;
	if (!io->port && at < p->ecam_size) {
		config_access(function_at(p, (unsigned)(at >> ECAM_BUS_SHIFT), at >> ECAM_SLOT_SHIFT & 31,
		    at >> ECAM_FUNCTION_SHIFT & 7), at & (PCI_CONFIG - 1), io);
	} else if (io->port && io->addr - PCI_DATA < 4) {
		if (a & ADDRESS_ENABLE)
			config_access(function_at(p, a >> BUS_SHIFT & 0xff, a >> SLOT_SHIFT & 31,
			    a >> FUNCTION_SHIFT & 7), (a & 0xfc) + (io->addr & 3), io);
	} else {
		return address_io(p, io);
	}
	return IO_done;
}

int
pci_add(struct dev *d, unsigned slot, struct pci_function *f)
{
	struct pci *p = (struct pci *)d;

	if (slot >= PCI_SLOTS || p->slot[slot] != NULL)
		return -1;
	p->slot[slot] = f;
	return 0;
}

const struct pci_host *
pci_host_of(struct dev *d)
{
	return &((struct pci *)d)->host;
}

static void pci_close(struct dev *d) { free(d); }

static const struct dev_field pci_fields[] = {
	DEV_FIELD(struct pci, address, 1, 0),
	DEV_FIELD(struct pci, reset_control, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops pci_ops = {
	.name = "pci", .io = pci_io, .close = pci_close, .fields = pci_fields,
};

static void
bridge_init(struct pci_function *f)
{
	pci_put16(f->config + PCI_vendor, BRIDGE_VENDOR);
	pci_put16(f->config + PCI_device, BRIDGE_DEVICE);
	f->config[PCI_class] = CLASS_BRIDGE;
	pci_put16(f->config + PCI_subsystem_vendor, BRIDGE_VENDOR);
	pci_put16(f->config + PCI_subsystem, BRIDGE_SUBSYSTEM);
	pci_put16(f->writable + PCI_command, 0x0547);
}

struct dev *
pci_open(struct vm *vm, uint64_t ecam, uint64_t ecam_size, const struct pci_host *host)
{
	struct pci *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->dev.ops = &pci_ops;
	strcpy(p->dev.id, "pci");
	p->vm = vm;
	p->ecam = ecam;
	p->ecam_size = ecam_size;
	p->host = *host;
	bridge_init(&p->bridge);
	pci_add(&p->dev, 0, &p->bridge);
	dev_reset(&p->dev);
	return &p->dev;
}
