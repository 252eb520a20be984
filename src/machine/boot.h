/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot.h - from files to a machine that is about to run its first guest instruction. */
#pragma once
#include "machine/machine.h"

struct boot_config {
	const char *kernel;		/* bzImage, vmlinux, PVH or multiboot ELF */
	const char *initrd;		/* NULL: none. For multiboot it is the first module */
	const char *append;		/* NULL: empty */
	const char *const *modules;	/* multiboot: "FILE ARGUMENTS"; NULL-terminated; NULL: none */
	const char *protocol;		/* "auto" or NULL: by what the file is; "linux", "decompress"
					 * (bzImage unpacks itself), "pvh", "multiboot" */
	uint64_t rsdp;			/* ACPI root pointer; 0: none */
	const struct machine_range *map;	/* the guest's physical memory, ascending */
	unsigned nmap;			/* at most MACHINE_MAP_MAX */
};

/* Fills RAM and the bootstrap processor's register file. 0, or -REGENT_E_* with one line in err
 * that names the file and what to do. The VM must not have been started. */
int boot_load(struct vm *vm, const struct boot_config *cfg, char *err, size_t err_size);
