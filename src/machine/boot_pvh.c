/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot_pvh.c - PVH: 32-bit entry named by an ELF note, start info in EBX.
 *
 * The structures are those of Xen's public arch-x86/hvm/start_info.h, version 1.
 */
#include "host/log.h"
#include "machine/boot_load.h"
#include "regent.h"
#include <string.h>

enum { START_MAGIC = 0x336ec578, START_VERSION = 1 };

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct start_module {
	uint64_t paddr, size, cmdline, reserved;
};

struct start_range {
	uint64_t addr, size;
	uint32_t type, reserved;
};

static int
pvh_memmap(struct boot *b, struct start_info *s)
{
	const struct machine_range *map = b->cfg->map;
	struct start_range out[MACHINE_MAP_MAX] = { 0 };
	unsigned n = b->cfg->nmap;

	for (unsigned i = 0; i < n; i++)
		out[i] = (struct start_range) { .addr = map[i].base,
						.size = map[i].size,
						.type = map[i].type };
	s->memmap_entries = n;
	return boot_place(b, out, n * sizeof(*out), &s->memmap);
}

static int
pvh_initrd(struct boot *b, const struct elf_load *e, struct start_info *s)
{
	struct start_module m = { 0 };
	int rc;

	if (b->cfg->initrd == NULL)
		return 0;
	if ((rc = boot_place_file(b, b->cfg->initrd, e->high, UINT32_MAX, &m.paddr, &m.size)) != 0)
		return rc;
	s->nr_modules = 1;
	return boot_place(b, &m, sizeof(m), &s->modlist);
}

int
boot_pvh(struct boot *b, struct elf_load *e, uint32_t eip)
{
	const char *append = b->cfg->append != NULL ? b->cfg->append : "";
	struct start_info s = { .magic = START_MAGIC,
				.version = START_VERSION,
				.rsdp = b->cfg->rsdp };
	struct cpu *c = &b->vm->vcpu[0]->cpu;
	uint64_t gpa;
	int rc;

	if ((rc = boot_place(b, append, strlen(append) + 1, &s.cmdline)) != 0
	    || (rc = pvh_initrd(b, e, &s)) != 0 || (rc = pvh_memmap(b, &s)) != 0
	    || (rc = boot_place(b, &s, sizeof(s), &gpa)) != 0)
		return rc;
	boot_enter_flat32(c, eip);
	c->r.rbx = gpa;
	LOG(boot, info, "%s: PVH entry %#x, start info %#llx", b->cfg->kernel, eip,
	    (unsigned long long)gpa);
	return 0;
}
