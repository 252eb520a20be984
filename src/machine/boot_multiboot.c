/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot_multiboot.c - Multiboot 0.6.96: header in the first 8 KiB, 32-bit entry, info in
 * EBX.
 *
 * Loads by ELF headers, or by the addresses in the multiboot header itself (flag 16). Modules are
 * whole pages; --initrd is the first of them.
 */
#include "host/log.h"
#include "machine/boot_load.h"
#include "regent.h"
#include <stdlib.h>
#include <string.h>

enum {
	HEADER_MAGIC = 0x1badb002,
	LOADER_MAGIC = 0x2badb002,
	SEARCH = 8192,
	WANT_UNKNOWN = 0xfff8 /* all but pages, memory, video */,
	HAS_ADDRESSES = 1 << 16,
	INFO_memory = 1 << 0,
	INFO_cmdline = 1 << 2,
	INFO_modules = 1 << 3,
	INFO_map = 1 << 6,
	INFO_name = 1 << 9,
	MODULES_MAX = 32
};

struct header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name;
	uint32_t apm_table, vbe[4];
};

struct module {
	uint32_t start, end, string, reserved;
};

struct map_entry {
	uint32_t size;		/* of the rest */
	uint64_t base, len;
	uint32_t type;
} __attribute__((packed));

/* The header's offset, or -1. Short files are read as if followed by zeros. */
static long
header_find(const struct blob *f, struct header *h)
{
	size_t end = f->size < SEARCH ? f->size : SEARCH;

	for (size_t at = 0; at + 12 <= end; at += 4) {
		size_t left = f->size - at;

		memset(h, 0, sizeof(*h));
		memcpy(h, f->data + at, left < sizeof(*h) ? left : sizeof(*h));
		if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
			return (long)at;
	}
	return -1;
}

bool
multiboot_is(const struct blob *f)
{
	struct header h;

	return header_find(f, &h) >= 0;
}

/* By the header's own addresses (the "a.out kludge"). */
static int
load_by_addresses(struct boot *b, const struct header *h, size_t at, uint64_t *high,
		  uint32_t *entry)
{
	uint64_t skip = (uint64_t)h->header_addr - h->load_addr, offset = at - skip, size, end;

	if (h->header_addr < h->load_addr || skip > at)
		return boot_fail(b, REGENT_E_format, b->cfg->kernel,
				 "has impossible addresses in its multiboot header");
	size = h->load_end_addr != 0 ? (uint64_t)h->load_end_addr - h->load_addr
				     : b->kernel.size - offset;
	if ((h->load_end_addr != 0 && h->load_end_addr < h->load_addr) ||
	    size > b->kernel.size - offset)
		return boot_fail(b, REGENT_E_format, b->cfg->kernel,
				 "is shorter than its multiboot header says");
	end = h->load_addr + size;
	if (h->bss_end_addr > end)
		end = h->bss_end_addr;
	if (boot_take(b, h->load_addr, end - h->load_addr) != 0)
		return boot_too_small(b, b->cfg->kernel, end);
	mem_write(b->vm->mem, h->load_addr, b->kernel.data + offset, size);
	*high = end;
	*entry = h->entry_addr;
	return 0;
}

static int
load_by_elf(struct boot *b, uint64_t *high, uint32_t *entry)
{
	struct elf_load *e = malloc(sizeof(*e));
	int rc;

	if (e == NULL)
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel,
				 "no memory to read its headers");
	if ((rc = elf_load_open(e, b, b->cfg->kernel)) == 0) {
		if ((rc = elf_load_put(e, b->kernel.data, b->kernel.size)) >= 0)
			rc = elf_load_end(e);
		if (rc == 0 && e->entry > UINT32_MAX)
			rc = boot_fail(b, REGENT_E_format, b->cfg->kernel,
				       "has its entry above 4 GiB");
		*high = e->high;
		*entry = (uint32_t)e->entry;
		elf_load_close(e);
	}
	free(e);
	return rc;
}

/* One module, "FILE ARGUMENTS". */
static int
module_load(struct boot *b, const char *spec, uint64_t lo, struct module *m)
{
	size_t len = strcspn(spec, " ");
	char *path = strndup(spec, len);
	uint64_t gpa, size, string;
	int rc;

	if (path == NULL)
		return boot_fail(b, REGENT_E_memory, spec, "no memory to load it");
	if ((rc = boot_place_file(b, path, lo, UINT32_MAX, &gpa, &size)) == 0
	    && (rc = boot_place(b, spec, strlen(spec) + 1, &string)) == 0)
		*m = (struct module) { .start = (uint32_t)gpa,
				       .end = (uint32_t)(gpa + size),
				       .string = (uint32_t)string };
	free(path);
	return rc;
}

static int
modules_load(struct boot *b, uint64_t lo, struct info *info)
{
	struct module list[MODULES_MAX];
	unsigned n = 0;
	uint64_t gpa;
	int rc;

	if (b->cfg->initrd != NULL && (rc = module_load(b, b->cfg->initrd, lo, &list[n++])) != 0)
		return rc;
	for (const char *const *m = b->cfg->modules; m != NULL && *m != NULL; m++) {
		if (n == MODULES_MAX)
			return boot_fail(b, REGENT_E_usage, *m,
					 "is one --module too many; at most %d", MODULES_MAX);
		if ((rc = module_load(b, *m, lo, &list[n++])) != 0)
			return rc;
	}
	if (n == 0)
		return 0;
	if ((rc = boot_place(b, list, n * sizeof(*list), &gpa)) != 0)
		return rc;
	info->mods_count = n;
	info->mods_addr = (uint32_t)gpa;
	return 0;
}

static int
info_map(struct boot *b, struct info *info)
{
	const struct machine_range *map = b->cfg->map;
	struct map_entry out[MACHINE_MAP_MAX];
	unsigned n = b->cfg->nmap;
	uint64_t gpa;
	int rc;

	for (unsigned i = 0; i < n; i++)
		out[i] = (struct map_entry) { .size = sizeof(*out) - 4,
					      .base = map[i].base,
					      .len = map[i].size,
					      .type = map[i].type };
	rc = boot_place(b, out, n * sizeof(*out), &gpa);
	info->mmap_length = (uint32_t)(n * sizeof(*out));
	info->mmap_addr = (uint32_t)gpa;
	return rc;
}

static int
info_string(struct boot *b, const char *first, const char *second, uint32_t *at)
{
	size_t n = strlen(first), m = strlen(second);
	char *s = malloc(n + m + 2);
	uint64_t gpa;
	int rc;

	if (s == NULL)
		return boot_fail(b, REGENT_E_memory, b->cfg->kernel,
				 "no memory for its command line");
	memcpy(s, first, n);
	s[n] = ' ';
	memcpy(s + n + 1, second, m + 1);
	if (m == 0)
		s[n] = '\0';
	rc = boot_place(b, s, n + m + 2, &gpa);
	*at = (uint32_t)gpa;
	free(s);
	return rc;
}

int
boot_multiboot(struct boot *b)
{
	struct cpu *c = &b->vm->vcpu[0]->cpu;
	struct info info = { .flags =
				 INFO_memory | INFO_cmdline | INFO_modules | INFO_map | INFO_name };
	struct header h;
	long at = header_find(&b->kernel, &h);
	uint64_t high = 0, gpa;
	uint32_t entry = 0;
	int rc;

	if (at < 0 || (h.flags & WANT_UNKNOWN) != 0)
		return boot_fail(
		    b, REGENT_E_format, b->cfg->kernel,
		    "asks for multiboot features that Regent does not have (flags %#x)", h.flags);
	rc = (h.flags & HAS_ADDRESSES) != 0 ? load_by_addresses(b, &h, (size_t)at, &high, &entry)
		: load_by_elf(b, &high, &entry);
	if (rc != 0 || (rc = modules_load(b, high, &info)) != 0 || (rc = info_map(b, &info)) != 0 ||
	    (rc = info_string(b, b->cfg->kernel, b->cfg->append != NULL ? b->cfg->append : "",
			      &info.cmdline)) != 0 ||
	    (rc = info_string(b, "Regent", REGENT_VERSION, &info.boot_loader_name)) != 0)
		return rc;
	info.mem_lower = 639;
	info.mem_upper = (uint32_t)((mem_low_end(b->vm->mem) - (1 << 20)) >> 10);
	if ((rc = boot_place(b, &info, sizeof(info), &gpa)) != 0)
		return rc;
	boot_enter_flat32(c, entry);
	c->r.rax = LOADER_MAGIC;
	c->r.rbx = gpa;
	LOG(boot, info, "%s: multiboot entry %#x, info %#llx", b->cfg->kernel, entry,
	    (unsigned long long)gpa);
	return 0;
}
