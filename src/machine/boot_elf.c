/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot_elf.c - loads the segments of an ELF file that arrives in pieces.
 *
 * In pieces, because a bzImage's vmlinux comes out of a decompressor and goes straight to its place
 * in guest RAM. All numbers of the file are hostile.
 */
#include "machine/boot_load.h"
#include "regent.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_MAX = 64 << 10, NOTE_PVH_ENTRY = 18 };
static const uint64_t FILE_OFFSET_MAX = 4ull << 30;

bool
elf_is(const struct blob *f)
{
	return f->size >= EI_NIDENT && memcmp(f->data, ELFMAG, SELFMAG) == 0;
}

int
elf_load_open(struct elf_load *e, struct boot *b, const char *file)
{
	memset(e, 0, sizeof(*e));
	e->b = b;
	e->file = file;
	e->low = UINT64_MAX;
	e->need = sizeof(Elf64_Ehdr);
	e->head = malloc(HEAD_MAX);
	return e->head != NULL
		   ? 0
		   : boot_fail(b, REGENT_E_memory, file, "no memory to read its headers");
}

void
elf_load_close(struct elf_load *e)
{
	free(e->head);
	e->head = NULL;
}

static int
elf_bad(struct elf_load *e, const char *what)
{
	return boot_fail(e->b, REGENT_E_format, e->file, "%s; is it a complete x86 kernel?", what);
}

/* One program header, in the 64-bit form. */
static int
elf_segment(struct elf_load *e, const Elf64_Phdr *p)
{
	uint64_t end;

	if (p->p_type == PT_NOTE && e->nnotes < BOOT_NOTES_MAX && p->p_offset < FILE_OFFSET_MAX) {
		e->note[e->nnotes].offset = p->p_offset;
		e->note[e->nnotes].size =
		    p->p_filesz < BOOT_NOTE_SIZE ? p->p_filesz : BOOT_NOTE_SIZE;
		e->nnotes++;
	}
	if (p->p_type != PT_LOAD || p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz || p->p_offset > FILE_OFFSET_MAX ||
	    p->p_filesz > FILE_OFFSET_MAX || __builtin_add_overflow(p->p_paddr, p->p_memsz, &end))
		return elf_bad(e, "has a segment with impossible sizes");
	if (e->nloads == BOOT_LOADS_MAX)
		return elf_bad(e, "has too many segments");
	if (mem_get(e->b->vm->mem, p->p_paddr, p->p_memsz) == NULL)
		return boot_too_small(e->b, e->file, end);
	if (boot_take(e->b, p->p_paddr, p->p_memsz) != 0)
		return elf_bad(e, "has segments that overlap each other");
	e->load[e->nloads].offset = p->p_offset;
	e->load[e->nloads].filesz = p->p_filesz;
	e->load[e->nloads].paddr = p->p_paddr;
	e->nloads++;
	e->low = p->p_paddr < e->low ? p->p_paddr : e->low;
	e->high = end > e->high ? end : e->high;
	e->last = p->p_filesz != 0 && p->p_offset + p->p_filesz > e->last
		      ? p->p_offset + p->p_filesz
		      : e->last;
	return 0;
}

static Elf64_Phdr
phdr_widen(const Elf32_Phdr *p)
{
	return (Elf64_Phdr) { .p_type = p->p_type, .p_offset = p->p_offset, .p_paddr = p->p_paddr,
		.p_filesz = p->p_filesz, .p_memsz = p->p_memsz };
}

/* The ELF header is there: where the program headers end. */
static int
elf_header(struct elf_load *e)
{
	const unsigned char *id = e->head;
	uint64_t phoff, phsize;
	uint16_t machine;

	if (memcmp(id, ELFMAG, SELFMAG) != 0)
		return elf_bad(e, "is not an ELF file");
	if (id[EI_DATA] != ELFDATA2LSB ||
	    (id[EI_CLASS] != ELFCLASS64 && id[EI_CLASS] != ELFCLASS32))
		return elf_bad(e, "is an ELF file, but not a little-endian one of 32 or 64 bits");
	e->is64 = id[EI_CLASS] == ELFCLASS64;
	if (e->is64) {
		Elf64_Ehdr h;

		memcpy(&h, e->head, sizeof(h));
		machine = h.e_machine, e->entry = h.e_entry, phoff = h.e_phoff;
		phsize = (uint64_t)h.e_phnum * sizeof(Elf64_Phdr);
		if (h.e_phentsize != sizeof(Elf64_Phdr))
			return elf_bad(e, "has no usable program headers");
	} else {
		Elf32_Ehdr h;

		memcpy(&h, e->head, sizeof(h));
		machine = h.e_machine, e->entry = h.e_entry, phoff = h.e_phoff;
		phsize = (uint64_t)h.e_phnum * sizeof(Elf32_Phdr);
		if (h.e_phentsize != sizeof(Elf32_Phdr))
			return elf_bad(e, "has no usable program headers");
	}
	if (machine != EM_X86_64 && machine != EM_386)
		return elf_bad(e, "is for another processor");
	if (phsize == 0 || phoff > HEAD_MAX || phoff + phsize > HEAD_MAX)
		return elf_bad(e, "has its program headers where no kernel has them");
	e->need = phoff + phsize > sizeof(Elf64_Ehdr) ? phoff + phsize : sizeof(Elf64_Ehdr);
	return 0;
}

static int
elf_segments(struct elf_load *e)
{
	Elf64_Ehdr h64;
	Elf32_Ehdr h32;
	uint64_t phoff;
	unsigned n;
	int rc = 0;

	memcpy(&h64, e->head, sizeof(h64));
	memcpy(&h32, e->head, sizeof(h32));
	n = e->is64 ? h64.e_phnum : h32.e_phnum;
	phoff = e->is64 ? h64.e_phoff : h32.e_phoff;
	for (unsigned i = 0; i < n && rc == 0; i++) {
		Elf64_Phdr p;
		Elf32_Phdr p32;

		if (e->is64) {
			memcpy(&p, e->head + phoff + i * sizeof(p), sizeof(p));
		} else {
			memcpy(&p32, e->head + phoff + i * sizeof(p32), sizeof(p32));
			p = phdr_widen(&p32);
		}
		rc = elf_segment(e, &p);
	}
	if (rc == 0 && e->nloads == 0)
		rc = elf_bad(e, "has nothing to load");
	return rc;
}

/* The part of [pos, pos + n) that lies in [offset, offset + size): its place in both; 0 when none.
 */
static size_t
overlap(uint64_t pos, size_t n, uint64_t offset, uint64_t size, size_t *from, uint64_t *to)
{
	uint64_t start = pos > offset ? pos : offset;
	uint64_t end = pos + n < offset + size ? pos + n : offset + size;

	if (start >= end)
		return 0;
	*from = (size_t)(start - pos);
	*to = start - offset;
	return (size_t)(end - start);
}

static void
elf_scatter(struct elf_load *e, uint64_t pos, const uint8_t *bytes, size_t n)
{
	size_t from, len;
	uint64_t to;

	for (unsigned i = 0; i < e->nloads; i++) {
		len = overlap(pos, n, e->load[i].offset, e->load[i].filesz, &from, &to);
		if (len != 0)
			mem_write(e->b->vm->mem, e->load[i].paddr + to, bytes + from, len);
	}
	for (unsigned i = 0; i < e->nnotes; i++) {
		len = overlap(pos, n, e->note[i].offset, e->note[i].size, &from, &to);
		if (len != 0)
			memcpy(e->note[i].bytes + to, bytes + from, len);
	}
}

/* Collects the head. Sets *used to the bytes taken of this piece. */
static int
elf_head(struct elf_load *e, const uint8_t *bytes, size_t n, size_t *used)
{
	int rc;

	*used = 0;
	while (e->have < e->need && *used < n) {
		size_t more = e->need - e->have < n - *used ? e->need - e->have : n - *used;

		memcpy(e->head + e->have, bytes + *used, more);
		e->have += more;
		*used += more;
		if (e->have == sizeof(Elf64_Ehdr) && (rc = elf_header(e)) != 0)
			return rc;
	}
	if (e->have < e->need)
		return 0;
	if ((rc = elf_segments(e)) != 0)
		return rc;
	elf_scatter(e, 0, e->head, e->have);
	e->pos = e->have;
	return 0;
}

int
elf_load_put(void *elf, const uint8_t *bytes, size_t n)
{
	struct elf_load *e = elf;
	size_t used = 0;
	int rc;

	if (e->have < e->need && (rc = elf_head(e, bytes, n, &used)) != 0)
		return rc;
	if (used == n)
		return 0;
	elf_scatter(e, e->pos, bytes + used, n - used);
	e->pos += n - used;
	return e->pos >= e->last;
}

int
elf_load_end(struct elf_load *e)
{
	if (e->nloads == 0 || e->pos < e->last)
		return elf_bad(e, "is cut short");
	return 0;
}

/* One note's bytes: { name size, value size, type, name, value }, each padded to 4. */
static bool
note_pvh(const uint8_t *p, size_t n, uint32_t *eip)
{
	while (n >= 12) {
		uint32_t namesz, descsz, type;
		uint64_t name, desc;

		memcpy(&namesz, p, 4);
		memcpy(&descsz, p + 4, 4);
		memcpy(&type, p + 8, 4);
		name = ((uint64_t)namesz + 3) & ~3ull;
		desc = ((uint64_t)descsz + 3) & ~3ull;
		if (12 + name + desc > n)
			return false;
		if (type == NOTE_PVH_ENTRY && namesz == 4 && memcmp(p + 12, "Xen", 4) == 0 &&
		    descsz >= 4) {
			memcpy(eip, p + 12 + name, 4);
			return true;
		}
		p += 12 + name + desc;
		n -= (size_t)(12 + name + desc);
	}
	return false;
}

bool
elf_pvh_entry(const struct elf_load *e, uint32_t *eip)
{
	for (unsigned i = 0; i < e->nnotes; i++)
		if (note_pvh(e->note[i].bytes, e->note[i].size, eip))
			return true;
	return false;
}
