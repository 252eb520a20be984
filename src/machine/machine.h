/* SPDX-License-Identifier: Apache-2.0 */
/* machine/machine.h - the board "regent-1": what is where, and its few buttons.
 *
 * Frozen: a guest that ran on regent-1 finds the same addresses, lines and tables on every later
 * version of Regent.
 */
#pragma once
#include "vm/vm.h"

/* Physical addresses; RAM ends at MEM_BELOW_4G (mem.h) and goes on at 4 GiB. */
#define MACHINE_MMIO32_BASE	0xc0000000ull	/* PCI memory window ... */
#define MACHINE_MMIO32_END	0xe0000000ull
#define MACHINE_ECAM_BASE	0xe0000000ull	/* PCI configuration space, 256 buses */
#define MACHINE_ECAM_SIZE	0x10000000ull
#define MACHINE_IOAPIC_BASE	0xfec00000ull
#define MACHINE_LAPIC_BASE	0xfee00000ull
#define MACHINE_TESTDEV_BASE	0xff000000ull
#define MACHINE_EBDA_BASE	0x9fc00ull	/* reserved from here to 640 KiB */
#define MACHINE_ACPI_BASE	0xe0000ull	/* ACPI tables, RSDP first; reserved up to 1 MiB */
#define MACHINE_SMBIOS_BASE	0xf0000ull	/* SMBIOS entry point and tables */
enum { MACHINE_GSIS = 24 };

/* What the host lends; callbacks run with the VM's lock held and must not block. */
struct machine_config {
	struct {
		/* Bytes from the guest's COM1; the number taken. When it took fewer than n, call
		 * machine_serial_ready() later: the guest sees a busy transmitter until then. NULL: all
		 * output is thrown away. */
		size_t (*write)(void *ctx, const void *bytes, size_t n);
		/* The guest has room for input again after machine_serial_input() took too few. May be NULL. */
		void (*want_input)(void *ctx);
		void *ctx;
	} serial;
	int debug_exit_port;	/* 0: none */
	bool test_device;	/* QEMU-compatible pc-testdev */
};

/* Builds the board around the VM's vCPUs and memory and resets its devices. 0, or -1 with a line in err. */
int machine_build(struct vm *vm, const struct machine_config *cfg, char *err, size_t err_size);

/* Puts a device into the next slot of the PCI bus. The VM owns it, also when this fails (-1: no room). */
struct virtio;
int machine_attach(struct vm *vm, struct virtio *v);

/* All four take the VM's lock themselves; any thread. */
size_t machine_serial_input(struct vm *vm, const void *bytes, size_t n);	/* bytes taken */
void machine_serial_ready(struct vm *vm);
void machine_power_button(struct vm *vm);
void machine_nmi(struct vm *vm);		/* the front panel's NMI button: all vCPUs */

/* The board's layer of the register policy. */
extern const char machine_policy[];

/* The memory map for boot protocols; types as in e820 (1 RAM, 2 reserved, 3 ACPI). */
enum { MACHINE_MAP_MAX = 16 };
struct machine_range {
	uint64_t base, size;
	uint32_t type;
};
enum { RANGE_ram = 1, RANGE_reserved = 2, RANGE_acpi = 3 };
unsigned machine_memory_map(const struct vm *vm, struct machine_range map[MACHINE_MAP_MAX]);
uint64_t machine_rsdp(const struct vm *vm);	/* guest-physical address of the ACPI root pointer */

/* What firmware leaves behind besides registers of the boot protocol: MTRRs (write-back default, the
 * PCI hole uncached) on every vCPU, virtual-wire LINT pins on the first. Before vm_start, after reset.
 * -1 when the engine refuses its share, with engine_why(). */
int machine_firmware(struct vm *vm);

/* Fill the board's interrupt controllers and PIT from the host kernel's, where those are at work: before
 * their state is shown or saved. vCPUs stand still. 0, or -1 with engine_why(). */
int machine_chips_fetch(struct vm *vm);

/* A file in fw_cfg's directory; data is copied. -1: no room or name taken. */
int machine_fw_file(struct vm *vm, const char *name, const void *data, size_t len);
