/* SPDX-License-Identifier: Apache-2.0 */
/* machine/boot_load.h - what the boot protocols share: placing bytes in RAM, ELF, the first mode. */
#pragma once
#include "host/file.h"
#include "machine/boot.h"

enum { BOOT_USED_MAX = 160, BOOT_NOTES_MAX = 4, BOOT_NOTE_SIZE = 4096, BOOT_LOADS_MAX = 64 };

/* One boot in progress. */
struct boot {
	struct vm *vm;
	const struct boot_config *cfg;
	struct blob kernel;		/* the file's bytes; owned */
	char *err;
	size_t err_size;
	/* What of guest RAM is taken already. */
	struct { uint64_t base, end; } used[BOOT_USED_MAX];
	unsigned nused;
};

/* Writes "FILE: ..." and returns -code. */
int boot_fail(struct boot *b, int code, const char *file, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Takes [base, base + size): -1 when it is not all RAM, overlaps what is taken, or is one too many. */
int boot_take(struct boot *b, uint64_t base, uint64_t size);
/* Takes the highest free place in [lo, hi); 0 when there is none. */
uint64_t boot_alloc(struct boot *b, uint64_t size, uint64_t align, uint64_t lo, uint64_t hi);
/* The end of the memory needed, as an error that says how much --memory would do. */
int boot_too_small(struct boot *b, const char *file, uint64_t end);

/* A file at the top of [lo, hi). */
int boot_place_file(struct boot *b, const char *path, uint64_t lo, uint64_t hi, uint64_t *gpa, uint64_t *size);
/* Bytes, or a string, anywhere in low memory. */
int boot_place(struct boot *b, const void *bytes, uint64_t size, uint64_t *gpa);

/* The processor's first state. regs: rax, rbx, rsi as the protocol says are set by the caller. */
void boot_enter_flat32(struct cpu *c, uint32_t eip);
int boot_enter_long64(struct boot *b, uint64_t rip);

/* ---- ELF, in pieces (boot_elf.c) ---- */
struct elf_load {
	struct boot *b;
	const char *file;
	/* the head: ELF header and program headers, until they are complete */
	uint8_t *head;
	size_t have, need;
	uint64_t pos;			/* bytes of the file seen */
	/* from the headers */
	bool is64;
	uint64_t entry, low, high;	/* physical addresses: entry, first byte, behind the last */
	uint64_t last;			/* file offset behind the last byte needed */
	unsigned nloads, nnotes;
	struct { uint64_t offset, filesz, paddr; } load[BOOT_LOADS_MAX];
	struct { uint64_t offset, size; uint8_t bytes[BOOT_NOTE_SIZE]; } note[BOOT_NOTES_MAX];
};
int elf_load_open(struct elf_load *e, struct boot *b, const char *file);
void elf_load_close(struct elf_load *e);
/* An unpack_sink: 0 go on, 1 all there, negative an error (its line is written). */
int elf_load_put(void *elf, const uint8_t *bytes, size_t n);
/* 0 when all bytes came, else an error. */
int elf_load_end(struct elf_load *e);
/* The 32-bit entry of a PVH note; false when there is none. */
bool elf_pvh_entry(const struct elf_load *e, uint32_t *eip);
bool elf_is(const struct blob *f);

/* ---- the protocols; each returns 0 or -REGENT_E_* ---- */
bool linux_is(const struct blob *f);			/* a bzImage */
int boot_linux(struct boot *b, bool in_guest);
int boot_vmlinux(struct boot *b, struct elf_load *e);	/* loaded already */
int boot_pvh(struct boot *b, struct elf_load *e, uint32_t eip);
bool multiboot_is(const struct blob *f);
int boot_multiboot(struct boot *b);
