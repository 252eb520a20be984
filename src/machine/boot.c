/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot.c - which protocol a kernel file asks for, and what all protocols share. */
#include "machine/boot.h"
#include "host/log.h"
#include "machine/boot_load.h"
#include "regent.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IVT_END = 0x1000, EBDA = MACHINE_EBDA_BASE, ROM_END = 0x100000 };
enum { GDT_CODE64 = 0x10, GDT_DATA = 0x18 };
enum { CS64 = 0xa09b, CS32 = 0xc09b, DS32 = 0xc093, TSS32_BUSY = 0x8b };
static const uint64_t KERNEL_FILE_MAX = 1ull << 30;

int
boot_fail(struct boot *b, int code, const char *file, const char *fmt, ...)
{
	int n = snprintf(b->err, b->err_size, "%s: ", file);
	va_list ap;

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < b->err_size)
		vsnprintf(b->err + n, b->err_size - (size_t)n, fmt, ap);
	va_end(ap);
	return -code;
}

int
boot_too_small(struct boot *b, const char *file, uint64_t end)
{
	uint64_t low = mem_low_end(b->vm->mem);

	if (end <= low || end > MEM_BELOW_4G)
		return boot_fail(
		    b, REGENT_E_memory, file,
		    "wants to be loaded at addresses that are no RAM (up to %#llx); is it an x86 kernel?",
		    (unsigned long long)end);
	return boot_fail(b, REGENT_E_memory, file,
			 "needs %llu MiB of memory, the machine has %llu; raise --memory",
			 (unsigned long long)((end + (1 << 20) - 1) >> 20),
			 (unsigned long long)(low >> 20));
}

int
boot_take(struct boot *b, uint64_t base, uint64_t size)
{
	uint64_t end = base + size;

	if (size == 0)
		return 0;
	if (end < base || b->nused == BOOT_USED_MAX || mem_get(b->vm->mem, base, size) == NULL)
		return -1;
	for (unsigned i = 0; i < b->nused; i++)
		if (base < b->used[i].end && b->used[i].base < end)
			return -1;
	b->used[b->nused].base = base;
	b->used[b->nused].end = end;
	b->nused++;
	return 0;
}

/* The lowest base of what overlaps [base, end), or end when all of it is free. */
static uint64_t
used_below(const struct boot *b, uint64_t base, uint64_t end)
{
	uint64_t low = end;

	for (unsigned i = 0; i < b->nused; i++)
		if (base < b->used[i].end && b->used[i].base < end && b->used[i].base < low)
			low = b->used[i].base;
	return low;
}

uint64_t
boot_alloc(struct boot *b, uint64_t size, uint64_t align, uint64_t lo, uint64_t hi)
{
	if (hi > mem_low_end(b->vm->mem))
		hi = mem_low_end(b->vm->mem);
	while (size != 0 && hi >= size && hi - size >= lo) {
		uint64_t base = (hi - size) & ~(align - 1), next;

		if (base < lo || base == 0)
			break;
		next = used_below(b, base, base + size);
		if (next == base + size)
			return boot_take(b, base, size) == 0 ? base : 0;
		hi = next;
	}
	return 0;
}

int
boot_place(struct boot *b, const void *bytes, uint64_t size, uint64_t *gpa)
{
	*gpa = boot_alloc(b, size, 16, IVT_END, EBDA);
	if (*gpa == 0 || !mem_write(b->vm->mem, *gpa, bytes, size))
		return boot_fail(
		    b, REGENT_E_memory, b->cfg->kernel,
		    "leaves no room below 640 KiB for its parameters; shorten --append or raise --memory");
	return 0;
}

int
boot_place_file(struct boot *b, const char *path, uint64_t lo, uint64_t hi, uint64_t *gpa,
		uint64_t *size)
{
	uint64_t low = mem_low_end(b->vm->mem);
	int fd, rc;

	rc = file_open_sized(path, low, &fd, size, b->err, b->err_size);
	if (rc != 0)
		return rc;
	*gpa = boot_alloc(b, *size, PAGE_SIZE, lo, hi);
	if (*gpa == 0) {
		rc = boot_fail(b, REGENT_E_memory, path,
			"does not fit: %llu KiB beside the kernel in %llu MiB; raise --memory",
			(unsigned long long)(*size >> 10), (unsigned long long)(low >> 20));
	} else {
		rc = file_read_exact(fd, path, mem_put(b->vm->mem, *gpa, *size), *size, b->err,
				     b->err_size);
		mem_dirty(b->vm->mem, *gpa, *size);
		LOG(boot, info, "%s at %#llx, %llu bytes", path, (unsigned long long)*gpa,
		    (unsigned long long)*size);
	}
	close(fd);
	return rc;
}

static struct segreg
flat(uint16_t sel, uint64_t attr)
{
	return (struct segreg) { .sel = sel, .limit = UINT32_MAX, .attr = attr };
}

static void
enter_segments(union regfile *r, uint64_t cs_attr)
{
	for (unsigned i = 0; i <= SEG_gs; i++)
		r->seg[i] = flat(GDT_DATA, DS32);
	r->seg[SEG_cs] = flat(GDT_CODE64, cs_attr);
	r->seg[SEG_tr] = (struct segreg) { .limit = 0x67, .attr = TSS32_BUSY };
	r->seg[SEG_ldtr].attr = 0x82;
	r->rflags = RFLAGS_fixed;
}

/* 32-bit protected mode, paging off, flat segments, interrupts off. */
void
boot_enter_flat32(struct cpu *c, uint32_t eip)
{
	union regfile *r = &c->r;

	enter_segments(r, CS32);
	r->rip = eip;
	r->cr0 = 0x11;		/* PE, ET */
	cpu_mode_update(c);
}

/* Long mode with the first 4 GiB mapped one to one, flat segments, interrupts off. */
int
boot_enter_long64(struct boot *b, uint64_t rip)
{
	enum { TABLES = 6, ENTRIES = 512, PRESENT_WRITE = 3, LARGE = 0x83 };
	struct cpu *c = &b->vm->vcpu[0]->cpu;
	union regfile *r = &c->r;
	uint64_t root = boot_alloc(b, TABLES * PAGE_SIZE, PAGE_SIZE, IVT_END, EBDA), *t;

	if (root == 0)
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel,
				 "leaves no room for page tables below 640 KiB");
	t = (uint64_t *)(void *)mem_put(b->vm->mem, root, TABLES * PAGE_SIZE);
	memset(t, 0, TABLES * PAGE_SIZE);
	t[0] = (root + PAGE_SIZE) | PRESENT_WRITE;
	for (unsigned i = 0; i < 4; i++)
		t[ENTRIES + i] = (root + (2 + i) * PAGE_SIZE) | PRESENT_WRITE;
	for (uint64_t i = 0; i < 4ull * ENTRIES; i++)
		t[2 * ENTRIES + i] = i << 21 | LARGE;
	mem_dirty(b->vm->mem, root, TABLES * PAGE_SIZE);

	enter_segments(r, CS64);
	r->rip = rip;
	r->cr3 = root;
	r->cr4 = cr4_pae_MASK;
	r->ia32_efer = 0x500;		/* LME, LMA */
	r->cr0 = 0x80000011;		/* PG, ET, PE */
	cpu_mode_update(c);
	return 0;
}

/* A descriptor table that agrees with the segment registers, for guests that reload them. */
static int
firmware_gdt(struct boot *b)
{
	static const uint64_t gdt[] = { 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff,
					0x00af9b000000ffff };
	union regfile *r = &b->vm->vcpu[0]->cpu.r;
	uint64_t gpa;
	int rc = boot_place(b, gdt, sizeof(gdt), &gpa);

	r->gdtr_base = gpa;
	r->gdtr_limit = sizeof(gdt) - 1;
	r->idtr_limit = 0;
	return rc;
}

/* The 64-bit protocol's GDT has a 64-bit code segment at the same selector. */
static void
firmware_gdt64(struct boot *b)
{
	static const uint64_t code64 = 0x00af9b000000ffff;
	union regfile *r = &b->vm->vcpu[0]->cpu.r;

	if ((r->seg[SEG_cs].attr & ATTR_l) != 0)
		mem_write(b->vm->mem, r->gdtr_base + GDT_CODE64, &code64, sizeof(code64));
}

/* The BIOS data area: where the EBDA begins, KiB of base memory. */
static int
firmware_bda(struct boot *b)
{
	uint16_t ebda = EBDA >> 4, kib = EBDA >> 10;

	if (!mem_write(b->vm->mem, 0x40e, &ebda, 2) || !mem_write(b->vm->mem, 0x413, &kib, 2)
	    || mem_low_end(b->vm->mem) < (2 << 20))
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel,
				 "needs more than %llu KiB of memory; raise --memory",
				 (unsigned long long)mem_low_end(b->vm->mem) >> 10);
	boot_take(b, 0, IVT_END);
	boot_take(b, EBDA, ROM_END - EBDA);
	return 0;
}

/* An ELF file: what its notes say, or what the user says. */
static int
boot_elf(struct boot *b, const char *protocol)
{
	struct elf_load *e = malloc(sizeof(*e));
	uint32_t eip;
	int rc;

	if (e == NULL)
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel,
				 "no memory to read its headers");
	if ((rc = elf_load_open(e, b, b->cfg->kernel)) == 0) {
		if ((rc = elf_load_put(e, b->kernel.data, b->kernel.size)) >= 0)
			rc = elf_load_end(e);
		if (rc == 0 && strcmp(protocol, "linux") != 0 && elf_pvh_entry(e, &eip))
			rc = boot_pvh(b, e, eip);
		else if (rc == 0 && strcmp(protocol, "pvh") != 0 && e->is64)
			rc = boot_vmlinux(b, e);
		else if (rc == 0)
			rc = boot_fail(
			    b, REGENT_E_format, b->cfg->kernel,
			    "is an ELF file with neither a multiboot header nor a PVH note; name a kernel that has one");
		elf_load_close(e);
	}
	free(e);
	return rc;
}

static int
boot_by_format(struct boot *b)
{
	const char *p = b->cfg->protocol != NULL ? b->cfg->protocol : "auto";
	bool any = strcmp(p, "auto") == 0, multiboot = multiboot_is(&b->kernel);

	if (linux_is(&b->kernel) &&
	    (any || strcmp(p, "linux") == 0 || strcmp(p, "decompress") == 0))
		return boot_linux(b, strcmp(p, "decompress") == 0);
	if (multiboot && (any || strcmp(p, "multiboot") == 0))
		return boot_multiboot(b);
	if (elf_is(&b->kernel) && (any || strcmp(p, "linux") == 0 || strcmp(p, "pvh") == 0))
		return boot_elf(b, p);
	if (any)
		return boot_fail(
		    b, REGENT_E_format, b->cfg->kernel,
		    "is no kernel that can be booted; name a bzImage, vmlinux, PVH or multiboot file");
	return boot_fail(b, REGENT_E_format, b->cfg->kernel,
			 "cannot be booted with --boot %s; leave the option out", p);
}

int
boot_load(struct vm *vm, const struct boot_config *cfg, char *err, size_t err_size)
{
	struct boot *b = calloc(1, sizeof(*b));
	int rc;

	if (b == NULL) {
		snprintf(err, err_size, "%s: no memory to load it", cfg->kernel);
		return -REGENT_E_memory;
	}
	b->vm = vm;
	b->cfg = cfg;
	b->err = err;
	b->err_size = err_size;
	if ((rc = file_read(cfg->kernel, KERNEL_FILE_MAX, &b->kernel, err, err_size)) == 0 &&
	    (rc = firmware_bda(b)) == 0 && (rc = boot_by_format(b)) == 0 &&
	    (rc = firmware_gdt(b)) == 0)
		firmware_gdt64(b);
	blob_free(&b->kernel);
	free(b);
	return rc;
}
