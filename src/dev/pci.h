/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pci.h - one PCI Express bus: configuration space by ports and by memory (ECAM), and what a function needs. */
#pragma once
#include "vm/vm.h"

enum { PCI_ADDRESS = 0xcf8, PCI_RESET_PORT = 0xcf9, PCI_DATA = 0xcfc, PCI_RESET_VALUE = 6,
	PCI_SLOTS = 32, PCI_CONFIG = 4096, PCI_PINS = 4, PCI_BARS = 6, PCI_VECTORS_MAX = 64 };

/* Configuration registers of type 0 (PCI Local Bus 3.0, 6.1). */
enum { PCI_vendor = 0x00, PCI_device = 0x02, PCI_command = 0x04, PCI_status = 0x06, PCI_revision = 0x08,
	PCI_class_prog = 0x09, PCI_class_sub = 0x0a, PCI_class = 0x0b, PCI_bar0 = 0x10,
	PCI_subsystem_vendor = 0x2c, PCI_subsystem = 0x2e, PCI_capabilities = 0x34, PCI_line = 0x3c, PCI_pin = 0x3d,
	PCI_header_end = 0x40 };
enum { PCI_COMMAND_memory = 1 << 1, PCI_COMMAND_master = 1 << 2, PCI_COMMAND_intx_off = 1 << 10,
	PCI_STATUS_interrupt = 1 << 3, PCI_STATUS_capabilities = 1 << 4 };
enum { PCI_CAP_vendor = 0x09, PCI_CAP_msix = 0x11 };
enum { PCI_NO_VECTOR = 0xffff };

/* What the board gives to the functions on its bus. */
struct pci_host {
	void (*msi)(void *ctx, uint64_t addr, uint32_t data);
	struct irq_line *const *intx;	/* PCI_PINS of them; by (slot + pin) in turn */
	void *ctx;
};

struct pci_bar {
	uint64_t size;			/* 0: there is none */
	uint64_t mapped;		/* where it answers now; 0: nowhere */
};

/* A function's configuration space; the device that has it embeds this. What the guest writes goes
 * through `writable` and then to pci_function_written and to written(). */
struct pci_function {
	uint8_t config[PCI_CONFIG] __attribute__((aligned(8)));
	uint8_t writable[PCI_CONFIG];
	void (*written)(struct pci_function *f, unsigned at, unsigned size);	/* may be NULL */
	void (*reading)(struct pci_function *f, unsigned at, unsigned size);	/* before; may be NULL */
	void *ctx;

	/* of dev/pci_function.c */
	struct dev *dev;		/* borrowed: answers in the BARs; NULL: a bridge */
	struct bus *bus;		/* borrowed */
	const struct pci_host *host;	/* borrowed */
	unsigned slot, caps_end, last_cap;
	uint8_t *birth;			/* owned: config after reset */
	struct pci_bar bar[PCI_BARS];
	unsigned vectors, msix_cap;	/* 0: no MSI-X */
	uint64_t msix_table[PCI_VECTORS_MAX * 2];	/* address; data and control, as the guest sees it */
	uint64_t msix_pending;		/* bit per vector */
	uint8_t line_up;		/* INTx is asserted by the device */
};

struct dev *pci_open(struct vm *vm, uint64_t ecam, uint64_t ecam_size, const struct pci_host *host);
/* slot's function 0 on bus 0; borrowed. -1: taken. */
int pci_add(struct dev *d, unsigned slot, struct pci_function *f);
const struct pci_host *pci_host_of(struct dev *d);

/* ---- a function is made in this order, then pci_function_born ends it ---- */
struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision, class, sub, prog;
};
void pci_function_init(struct pci_function *f, struct dev *dev, const struct pci_identity *id);
/* A memory BAR of 32 bits; size is a power of two. */
void pci_function_bar(struct pci_function *f, unsigned n, uint32_t size);
/* Room for a capability of len bytes, its first two filled in: its offset in config. */
unsigned pci_function_cap(struct pci_function *f, uint8_t id, unsigned len);
void pci_function_msix(struct pci_function *f, unsigned vectors, unsigned bar, uint32_t table, uint32_t pending);
/* Puts it into its slot, BARs from *window on, and remembers how it was born. -1: no memory, no room. */
int pci_function_born(struct pci_function *f, struct dev *pci, struct bus *bus, unsigned slot, uint64_t *window,
    uint64_t window_end);
void pci_function_fini(struct pci_function *f);

void pci_function_reset(struct pci_function *f);
void pci_function_loaded(struct pci_function *f);	/* after config was loaded: BARs, lines */
void pci_function_written(struct pci_function *f, unsigned at, unsigned size);

/* Accesses to the MSI-X table and pending bits, at an offset into each. */
void pci_msix_table_io(struct pci_function *f, uint64_t at, struct io *io);
void pci_msix_pending_io(struct pci_function *f, uint64_t at, struct io *io);
bool pci_msix_on(const struct pci_function *f);
void pci_msix_send(struct pci_function *f, unsigned vector);	/* or PCI_NO_VECTOR: nothing */
void pci_intx(struct pci_function *f, bool level);
bool pci_may_dma(const struct pci_function *f);

static inline void
pci_put16(uint8_t *at, uint16_t val)
{
	at[0] = (uint8_t)val;
	at[1] = (uint8_t)(val >> 8);
}

static inline void
pci_put32(uint8_t *at, uint32_t val)
{
	pci_put16(at, (uint16_t)val);
	pci_put16(at + 2, (uint16_t)(val >> 16));
}

static inline uint16_t
pci_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t
pci_get32(const uint8_t *at)
{
	return pci_get16(at) | (uint32_t)pci_get16(at + 2) << 16;
}
