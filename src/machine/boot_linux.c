/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot_linux.c - Linux: bzImage and vmlinux (Documentation/arch/x86/boot.rst of the
 * kernel).
 *
 * A bzImage is a real-mode part (not used), a decompressor and a compressed vmlinux. The vmlinux is
 * unpacked here, on the host, and entered at its own 64-bit entry; what this file cannot unpack
 * starts with its decompressor, in the guest. That also boots what only looks like Linux
 * (memtest86+).
 */
#include "host/log.h"
#include "host/unpack.h"
#include "machine/boot_load.h"
#include "regent.h"
#include <asm/bootparam.h>
#include <stdlib.h>
#include <string.h>

enum {
	SECTOR = 512,
	SETUP_SECTS_OLD = 4,
	HDR_AT = 0x1f1,
	HDR_JUMP_AT = 0x201,
	HDR_MAGIC = 0x53726448,
	PROTOCOL_MIN = 0x206,   /* cmdline_size */
	PROTOCOL_RELOC = 0x20a, /* pref_address, init_size */
	PROTOCOL_64 = 0x20c,    /* xloadflags */
	PROTOCOL_NOW = 0x20f,   /* what we speak ourselves, for a bare vmlinux */
	ENTRY64 = 0x200,
	LOADER_UNKNOWN = 0xff,
	LOW_MIB = 0x100000,
	CMDLINE_BARE = 2047
};

bool
linux_is(const struct blob *f)
{
	uint32_t magic;

	if (f->size < SECTOR + 0x80)
		return false;
	memcpy(&magic, f->data + 0x202, 4);
	return magic == HDR_MAGIC;
}

/* Command line, initrd, memory map: what every Linux wants. */
static int
linux_params(struct boot *b, struct boot_params *bp, uint64_t initrd_lo)
{
	const char *append = b->cfg->append != NULL ? b->cfg->append : "";
	uint64_t limit = bp->hdr.cmdline_size != 0 ? bp->hdr.cmdline_size : 255, gpa, size, hi;
	const struct machine_range *map = b->cfg->map;
	int rc;

	if (strlen(append) > limit)
		return boot_fail(b, REGENT_E_usage, b->cfg->kernel,
				 "takes at most %llu bytes of --append, not %zu",
				 (unsigned long long)limit, strlen(append));
	if ((rc = boot_place(b, append, strlen(append) + 1, &gpa)) != 0)
		return rc;
	bp->hdr.cmd_line_ptr = (uint32_t)gpa;
	if (b->cfg->initrd != NULL) {
		hi = (uint64_t)bp->hdr.initrd_addr_max + 1;
		if ((rc = boot_place_file(b, b->cfg->initrd, initrd_lo, hi, &gpa, &size)) != 0)
			return rc;
		bp->hdr.ramdisk_image = (uint32_t)gpa;
		bp->hdr.ramdisk_size = (uint32_t)size;
	}
	bp->hdr.type_of_loader = LOADER_UNKNOWN;
	bp->acpi_rsdp_addr = b->cfg->rsdp;
	bp->e820_entries = (uint8_t)b->cfg->nmap;
	for (unsigned i = 0; i < bp->e820_entries; i++) {
		struct boot_e820_entry e = { .addr = map[i].base,
					     .size = map[i].size,
					     .type = map[i].type };

		memcpy(&bp->e820_table[i], &e, sizeof(e));
	}
	return 0;
}

/* The last step of every Linux boot: parameters in place, then the entry. */
static int
linux_enter(struct boot *b, struct boot_params *bp, uint64_t initrd_lo, uint64_t rip, bool is64)
{
	union regfile *r = &b->vm->vcpu[0]->cpu.r;
	uint64_t gpa;
	int rc;

	if ((rc = linux_params(b, bp, initrd_lo)) != 0 ||
	    (rc = boot_place(b, bp, sizeof(*bp), &gpa)) != 0)
		return rc;
	if (is64 && (rc = boot_enter_long64(b, rip)) != 0)
		return rc;
	if (!is64)
		boot_enter_flat32(&b->vm->vcpu[0]->cpu, (uint32_t)rip);
	r->rsi = gpa;
	LOG(boot, info, "%s: %s-bit entry %#llx, parameters %#llx", b->cfg->kernel,
	    is64 ? "64" : "32", (unsigned long long)rip, (unsigned long long)gpa);
	return 0;
}

/* The setup header of a bzImage, and where its protected-mode part begins. */
static int
linux_header(struct boot *b, struct boot_params *bp, size_t *code)
{
	const struct blob *f = &b->kernel;
	size_t len = 0x202u + f->data[HDR_JUMP_AT] - HDR_AT;

	memset(bp, 0, sizeof(*bp));
	memcpy(&bp->hdr, f->data + HDR_AT, len < sizeof(bp->hdr) ? len : sizeof(bp->hdr));
	*code = ((size_t)(bp->hdr.setup_sects != 0 ? bp->hdr.setup_sects : SETUP_SECTS_OLD) + 1) *
		SECTOR;
	if (bp->hdr.version < PROTOCOL_MIN || (bp->hdr.loadflags & LOADED_HIGH) == 0)
		return boot_fail(
		    b, REGENT_E_format, b->cfg->kernel,
		    "speaks boot protocol %u.%u; name a bzImage of Linux 2.6.22 or later",
		    bp->hdr.version >> 8, bp->hdr.version & 0xff);
	if (*code >= f->size || (uint64_t)bp->hdr.syssize * 16 > f->size - *code + 15)
		return boot_fail(b, REGENT_E_format, b->cfg->kernel,
				 "is cut short: %zu bytes of %llu; copy it again", f->size,
				 (unsigned long long)(*code + (uint64_t)bp->hdr.syssize * 16));
	return 0;
}

/* Run the bzImage's own decompressor: everything it needs lies at [at, at + init_size). */
static int
linux_in_guest(struct boot *b, struct boot_params *bp, size_t code)
{
	bool reloc = bp->hdr.version >= PROTOCOL_RELOC && bp->hdr.relocatable_kernel != 0;
	bool is64 = bp->hdr.version >= PROTOCOL_64 && (bp->hdr.xloadflags & XLF_KERNEL_64) != 0;
	uint64_t at = reloc && bp->hdr.pref_address >= LOW_MIB ? bp->hdr.pref_address : LOW_MIB;
	uint64_t size = b->kernel.size - code, room = size;

	if (bp->hdr.version >= PROTOCOL_RELOC && bp->hdr.init_size > room)
		room = bp->hdr.init_size;
	if (at > UINT32_MAX || boot_take(b, at, room) != 0)
		return boot_too_small(b, b->cfg->kernel, at + room);
	mem_write(b->vm->mem, at, b->kernel.data + code, size);
	bp->hdr.code32_start = (uint32_t)at;
	return linux_enter(b, bp, at + room, is64 ? at + ENTRY64 : at, is64);
}

/* Unpack the payload straight to its place. 1: not possible here, nothing was written. */
static int
linux_unpack(struct boot *b, const struct boot_params *bp, size_t code, struct elf_load *e)
{
	uint64_t off = bp->hdr.payload_offset, len = bp->hdr.payload_length;
	const char *format;
	int rc;

	if (off == 0 || len == 0 || off + len > b->kernel.size - code)
		return 1;
	switch (unpack(b->kernel.data + code + off, len, elf_load_put, e, &format)) {
	case UNPACK_done:
		if ((rc = elf_load_end(e)) == 0)
			LOG(boot, info, "%s: %s, unpacked to %#llx-%#llx", b->cfg->kernel, format,
				(unsigned long long)e->low, (unsigned long long)e->high);
		return rc;
	case UNPACK_unknown:
		return 1;
	case UNPACK_corrupt:
		return boot_fail(b, REGENT_E_format, b->cfg->kernel,
				 "has a damaged %s payload; copy it again", format);
	case UNPACK_memory:
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel,
				 "no memory to unpack its %s payload", format);
	case UNPACK_refused:
		break;			/* elf_load_put wrote the line */
	}
	return -REGENT_E_format;
}

int
boot_linux(struct boot *b, bool in_guest)
{
	struct boot_params *bp = malloc(sizeof(*bp));
	struct elf_load *e = malloc(sizeof(*e));
	uint64_t end;
	size_t code;
	int rc;

	if (bp == NULL || e == NULL || elf_load_open(e, b, b->cfg->kernel) != 0) {
		free(bp), free(e);
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel, "no memory to load it");
	}
	if ((rc = linux_header(b, bp, &code)) != 0)
		goto out;
	rc = in_guest ? 1 : linux_unpack(b, bp, code, e);
	if (rc == 0 && !e->is64)
		rc = boot_fail(b, REGENT_E_format, b->cfg->kernel,
			       "holds a 32-bit kernel; add --boot decompress");
	if (rc == 0) {
		end = e->low + bp->hdr.init_size > e->high ? e->low + bp->hdr.init_size : e->high;
		rc = end > mem_low_end(b->vm->mem) ? boot_too_small(b, b->cfg->kernel, end)
			: linux_enter(b, bp, end, e->entry, true);
	} else if (rc == 1) {
		rc = linux_in_guest(b, bp, code);
	}
out:
	elf_load_close(e);
	free(e);
	free(bp);
	return rc;
}

/* A bare vmlinux has no setup header: say what we know. */
int
boot_vmlinux(struct boot *b, struct elf_load *e)
{
	struct boot_params *bp = calloc(1, sizeof(*bp));
	int rc;

	if (bp == NULL)
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel, "no memory to load it");
	bp->hdr.boot_flag = 0xaa55;
	bp->hdr.header = HDR_MAGIC;
	bp->hdr.version = PROTOCOL_NOW;
	bp->hdr.loadflags = LOADED_HIGH;
	bp->hdr.kernel_alignment = 2 << 20;
	bp->hdr.initrd_addr_max = INT32_MAX;
	bp->hdr.cmdline_size = CMDLINE_BARE;
	rc = linux_enter(b, bp, e->high, e->entry, true);
	free(bp);
	return rc;
}
