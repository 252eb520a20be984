/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pci.h - one PCI Express bus: configuration space by ports and by memory (ECAM). */
#pragma once
#include "vm/vm.h"

enum { PCI_ADDRESS = 0xcf8, PCI_RESET_PORT = 0xcf9, PCI_DATA = 0xcfc, PCI_RESET_VALUE = 6,
	PCI_SLOTS = 32, PCI_CONFIG = 4096 };

/* A function's configuration space; the device that has it embeds this. What the guest writes goes
 * through `writable` and then to written(), which moves BARs and the like. */
struct pci_function {
	uint8_t config[PCI_CONFIG], writable[PCI_CONFIG];
	void (*written)(struct pci_function *f, unsigned at, unsigned size);	/* may be NULL */
	void *ctx;
};

struct dev *pci_open(struct vm *vm, uint64_t ecam, uint64_t ecam_size);
/* slot's function 0 on bus 0; borrowed. -1: taken. */
int pci_add(struct dev *d, unsigned slot, struct pci_function *f);

static inline void
pci_put16(uint8_t *at, uint16_t val)
{
	at[0] = (uint8_t)val;
	at[1] = (uint8_t)(val >> 8);
}
