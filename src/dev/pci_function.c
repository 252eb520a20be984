/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pci_function.c - what every PCI function needs: BARs that a guest may move, capabilities, MSI-X, INTx.
 *
 * PCI Local Bus 3.0, chapter 6: 6.2.5 base addresses, 6.7 capabilities, 6.8.2 MSI-X. A BAR answers where the
 * guest put it as long as nobody else is there; where somebody is, it answers nowhere.
 */
#include "dev/pci.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CAP_FIRST = PCI_header_end, CAP_ALIGN = 4, CAPS_END = 0x100 };
enum { MSIX_CONTROL = 2, MSIX_TABLE = 4, MSIX_PENDING = 8, MSIX_CAP_SIZE = 12, MSIX_ENTRY = 16 };
enum { MSIX_ENABLE = 1 << 15, MSIX_MASK_ALL = 1 << 14 };
#define ENTRY_MASKED ((uint64_t)1 << 32)	/* in the entry's second half */
enum { COMMAND_WRITABLE = 0x0546 };		/* memory, master, parity, SERR, INTx disable */

void
pci_function_init(struct pci_function *f, struct dev *dev, const struct pci_identity *id)
{
	uint8_t *c = f->config;

	f->dev = dev;
	pci_put16(c + PCI_vendor, id->vendor);
	pci_put16(c + PCI_device, id->device);
	c[PCI_revision] = id->revision;
	c[PCI_class_prog] = id->prog;
	c[PCI_class_sub] = id->sub;
	c[PCI_class] = id->class;
	pci_put16(c + PCI_subsystem_vendor, id->subsystem_vendor);
	pci_put16(c + PCI_subsystem, id->subsystem);
	pci_put16(c + PCI_status, PCI_STATUS_capabilities);
	pci_put16(f->writable + PCI_command, COMMAND_WRITABLE);
	c[PCI_pin] = 1;			/* INTA */
	f->writable[PCI_line] = 0xff;
	f->caps_end = CAP_FIRST;
}

void
pci_function_bar(struct pci_function *f, unsigned n, uint32_t size)
{
	assert(n < PCI_BARS && size >= PAGE_SIZE && (size & (size - 1)) == 0);
	f->bar[n].size = size;
	pci_put32(f->writable + PCI_bar0 + 4 * n, ~(size - 1));
}

unsigned
pci_function_cap(struct pci_function *f, uint8_t id, unsigned len)
{
	unsigned at = f->caps_end;

	assert(at + len <= CAPS_END);
	f->config[at] = id;
	f->config[f->last_cap == 0 ? PCI_capabilities : f->last_cap + 1] = (uint8_t)at;
	f->last_cap = at;
	f->caps_end = (at + len + CAP_ALIGN - 1) & ~(CAP_ALIGN - 1u);
	return at;
}

void
pci_function_msix(struct pci_function *f, unsigned vectors, unsigned bar, uint32_t table, uint32_t pending)
{
	unsigned at = pci_function_cap(f, PCI_CAP_msix, MSIX_CAP_SIZE);

	assert(vectors <= PCI_VECTORS_MAX);
	f->vectors = vectors;
	f->msix_cap = at;
	pci_put16(f->config + at + MSIX_CONTROL, (uint16_t)(vectors - 1));
	pci_put16(f->writable + at + MSIX_CONTROL, MSIX_ENABLE | MSIX_MASK_ALL);
	pci_put32(f->config + at + MSIX_TABLE, table | bar);
	pci_put32(f->config + at + MSIX_PENDING, pending | bar);
}

/* ---- base addresses ---- */

static void
bar_unmap(struct pci_function *f, struct pci_bar *b)
{
	if (b->mapped != 0)
		bus_remove(f->bus, f->dev, false, b->mapped);
	b->mapped = 0;
}

static void
bars_map(struct pci_function *f)
{
	bool on = (pci_get16(f->config + PCI_command) & PCI_COMMAND_memory) != 0;

	for (unsigned n = 0; n < PCI_BARS; n++) {
		struct pci_bar *b = &f->bar[n];
		uint64_t at = pci_get32(f->config + PCI_bar0 + 4 * n) & ~(uint64_t)(b->size - 1);

		if (b->size == 0 || (on && at == b->mapped))
			continue;
		bar_unmap(f, b);
		if (on && at != 0 && bus_add(f->bus, f->dev, false, at, b->size) == 0)
			b->mapped = at;
	}
}

int
pci_function_born(struct pci_function *f, struct dev *pci, struct bus *bus, unsigned slot, uint64_t *window,
    uint64_t window_end)
{
	f->bus = bus;
	f->slot = slot;
	f->host = pci_host_of(pci);
	for (unsigned n = 0; n < PCI_BARS; n++) {
		uint64_t size = f->bar[n].size, at = (*window + size - 1) & ~(size - 1);

		if (size == 0)
			continue;
		if (at + size > window_end)
			return -1;
		pci_put32(f->config + PCI_bar0 + 4 * n, (uint32_t)at);
		*window = at + size;
	}
	pci_put16(f->config + PCI_command, PCI_COMMAND_memory);
	if ((f->birth = malloc(PCI_CONFIG)) == NULL || pci_add(pci, slot, f) != 0)
		return -1;
	memcpy(f->birth, f->config, PCI_CONFIG);
	return 0;
}

void
pci_function_fini(struct pci_function *f)
{
	free(f->birth);
}

/* ---- interrupts ---- */

static unsigned
msix_control(const struct pci_function *f)
{
	return f->msix_cap == 0 ? 0 : pci_get16(f->config + f->msix_cap + MSIX_CONTROL);
}

bool
pci_msix_on(const struct pci_function *f)
{
	return (msix_control(f) & MSIX_ENABLE) != 0;
}

bool
pci_may_dma(const struct pci_function *f)
{
	return (pci_get16(f->config + PCI_command) & PCI_COMMAND_master) != 0;
}

/* Sends what is pending and may go. */
static void
msix_flush(struct pci_function *f)
{
	if ((msix_control(f) & (MSIX_ENABLE | MSIX_MASK_ALL)) != MSIX_ENABLE || !pci_may_dma(f))
		return;
	for (unsigned v = 0; f->msix_pending != 0 && v < f->vectors; v++) {
		const uint64_t *e = &f->msix_table[2 * v];

		if ((f->msix_pending >> v & 1) == 0 || (e[1] & ENTRY_MASKED) != 0)
			continue;
		f->msix_pending &= ~((uint64_t)1 << v);
		f->host->msi(f->host->ctx, e[0], (uint32_t)e[1]);
	}
}

void
pci_msix_send(struct pci_function *f, unsigned vector)
{
	if (vector >= f->vectors || !pci_msix_on(f))
		return;
	f->msix_pending |= (uint64_t)1 << vector;
	msix_flush(f);
}

static void
intx_update(struct pci_function *f)
{
	bool off = (pci_get16(f->config + PCI_command) & PCI_COMMAND_intx_off) != 0 || pci_msix_on(f);
	uint8_t *status = f->config + PCI_status;

	*status = (uint8_t)(f->line_up ? *status | PCI_STATUS_interrupt : *status & ~PCI_STATUS_interrupt);
	if (f->host->intx != NULL)
		irq_set(f->host->intx[f->slot % PCI_PINS], f->slot, f->line_up && !off);
}

void
pci_intx(struct pci_function *f, bool level)
{
	if (f->line_up == level)
		return;
	f->line_up = level;
	intx_update(f);
}

/* 4 or 8 bytes, aligned, as 6.8.2 wants; others read as ones. */
void
pci_msix_table_io(struct pci_function *f, uint64_t at, struct io *io)
{
	unsigned shift = at & 4 ? 32 : 0;
	uint64_t *e;

	if ((io->size != 4 && io->size != 8) || at % io->size != 0 || at / MSIX_ENTRY >= f->vectors)
		return;
	e = &f->msix_table[at / 8];
	if (!io->write)
		io->data = *e >> shift;
	else if (io->size == 8)
		*e = io->data;
	else
		*e = (*e & ~((uint64_t)UINT32_MAX << shift)) | (io->data & UINT32_MAX) << shift;
	if (io->write)
		msix_flush(f);
}

void
pci_msix_pending_io(struct pci_function *f, uint64_t at, struct io *io)
{
	if (!io->write)
		io->data = at < 8 ? f->msix_pending >> 8 * at : 0;
}

/* ---- changes ---- */

static bool
touches(unsigned at, unsigned size, unsigned begin, unsigned end)
{
	return at < end && begin < at + size;
}

void
pci_function_written(struct pci_function *f, unsigned at, unsigned size)
{
	if (f->dev == NULL)
		return;
	if (touches(at, size, PCI_command, PCI_command + 2) ||
	    touches(at, size, PCI_bar0, PCI_bar0 + 4 * PCI_BARS))
		bars_map(f);
	if (touches(at, size, PCI_command, PCI_command + 2) ||
	    (f->msix_cap != 0 && touches(at, size, f->msix_cap, f->msix_cap + MSIX_TABLE))) {
		msix_flush(f);
		intx_update(f);
	}
}

void
pci_function_reset(struct pci_function *f)
{
	memcpy(f->config, f->birth, PCI_CONFIG);
	for (unsigned v = 0; v < PCI_VECTORS_MAX; v++) {
		f->msix_table[2 * v] = 0;
		f->msix_table[2 * v + 1] = ENTRY_MASKED;
	}
	f->msix_pending = 0;
	f->line_up = 0;
	pci_function_loaded(f);
}

void
pci_function_loaded(struct pci_function *f)
{
	f->line_up = f->line_up != 0;
	bars_map(f);
	intx_update(f);
}
