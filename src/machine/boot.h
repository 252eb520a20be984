/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot.h - from files to a machine that is about to run its first guest instruction. */
#pragma once
#include "vm/vm.h"

struct boot_config {
	const char *kernel;		/* bzImage, vmlinux, PVH or multiboot ELF */
	const char *initrd;		/* NULL: none. For multiboot it is the first module */
	const char *append;		/* NULL: empty */
	const char *const *modules;	/* multiboot: "FILE ARGUMENTS"; NULL-terminated; NULL: none */
	const char *protocol;		/* "auto" or NULL: by what the file is; "linux", "decompress"
					 * (bzImage unpacks itself), "pvh", "multiboot" */
	uint64_t acpi_rsdp;		/* 0: none */
	uint64_t acpi_base, acpi_size;	/* tables in RAM above 1 MiB that the guest must keep; size 0: none */
};

/* Fills RAM and the bootstrap processor's register file. 0, or -REGENT_E_* with one line in err
 * that names the file and what to do. The VM must not have been started. */
int boot_load(struct vm *vm, const struct boot_config *cfg, char *err, size_t err_size);

/* The guest's physical memory as firmware would tell it. Rows in ascending order; the number used. */
enum boot_range_type { RANGE_ram = 1, RANGE_reserved = 2, RANGE_acpi = 3 };	/* e820's numbers */
enum { BOOT_RANGES_MAX = 8 };
struct boot_range {
	uint64_t base, size;
	uint32_t type;
};
unsigned boot_memory_map(const struct mem *m, uint64_t acpi_base, uint64_t acpi_size,
	struct boot_range out[BOOT_RANGES_MAX]);
