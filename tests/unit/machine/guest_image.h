/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/machine/guest_image.h - tiny kernels of each kind, made in memory, for loader tests and fuzzing. */
#pragma once
#include <asm/bootparam.h>
#include <bzlib.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { IMAGE_MAX = 64 << 10, IMAGE_TEXT = 0x1000, IMAGE_AT = 0x1000000 };

struct image {
	uint8_t bytes[IMAGE_MAX];
	size_t size;
};

enum { IMAGE_NOTE_NONE, IMAGE_NOTE_PVH };

/* An ELF with one segment of IMAGE_TEXT bytes 0x90 at IMAGE_AT, and perhaps a PVH note. */
static inline void
image_elf64(struct image *im, int note)
{
	Elf64_Ehdr h = { .e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_entry = IMAGE_AT,
		.e_phoff = sizeof(h), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2, .e_ehsize = sizeof(h) };
	Elf64_Phdr load = { .p_type = PT_LOAD, .p_offset = 0x200, .p_paddr = IMAGE_AT, .p_filesz = IMAGE_TEXT,
		.p_memsz = 2 * IMAGE_TEXT };
	Elf64_Phdr notes = { .p_type = note ? PT_NOTE : PT_NULL, .p_offset = 0x100, .p_filesz = 20 };
	uint32_t pvh[5] = { 4, 4, 18, 0, IMAGE_AT + 0x10 };

	memset(im, 0, sizeof(*im));
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(pvh + 3, "Xen", 4);
	memcpy(im->bytes, &h, sizeof(h));
	memcpy(im->bytes + sizeof(h), &load, sizeof(load));
	memcpy(im->bytes + sizeof(h) + sizeof(load), &notes, sizeof(notes));
	memcpy(im->bytes + 0x100, pvh, sizeof(pvh));
	memset(im->bytes + 0x200, 0x90, IMAGE_TEXT);
	im->size = 0x200 + IMAGE_TEXT;
}

static inline void
image_elf32(struct image *im)
{
	Elf32_Ehdr h = { .e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_386, .e_entry = IMAGE_AT,
		.e_phoff = sizeof(h), .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1, .e_ehsize = sizeof(h) };
	Elf32_Phdr load = { .p_type = PT_LOAD, .p_offset = 0x200, .p_paddr = IMAGE_AT, .p_filesz = IMAGE_TEXT,
		.p_memsz = 2 * IMAGE_TEXT };

	memset(im, 0, sizeof(*im));
	h.e_ident[EI_CLASS] = ELFCLASS32;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(im->bytes, &h, sizeof(h));
	memcpy(im->bytes + sizeof(h), &load, sizeof(load));
	memset(im->bytes + 0x200, 0x90, IMAGE_TEXT);
	im->size = 0x200 + IMAGE_TEXT;
}

/* A multiboot header at offset 0x100; flags 0x10000: with addresses for a plain binary. */
static inline void
image_multiboot(struct image *im, uint32_t flags)
{
	uint32_t h[8] = { 0x1badb002, flags, 0u - 0x1badb002 - flags, IMAGE_AT + 0x100, IMAGE_AT, 0, IMAGE_AT + 0x8000,
		IMAGE_AT + 0x200 };

	image_elf32(im);
	memcpy(im->bytes + 0x100, h, sizeof(h));
}

enum image_pack { PACK_none, PACK_gzip, PACK_bzip2, PACK_xz, PACK_lzma, PACK_lz4, PACK_zstd, PACK__COUNT };

static inline size_t
image_pack_gzip(const uint8_t *in, size_t n, uint8_t *out, size_t room)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)room };

	deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out;
}

static inline size_t
image_pack_lzma(const uint8_t *in, size_t n, uint8_t *out, size_t room)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma opt;

	lzma_lzma_preset(&opt, 6);
	if (lzma_alone_encoder(&z, &opt) != LZMA_OK)
		return 0;
	z.next_in = in;
	z.avail_in = n;
	z.next_out = out;
	z.avail_out = room;
	if (lzma_code(&z, LZMA_FINISH) != LZMA_STREAM_END)
		z.total_out = 0;
	lzma_end(&z);
	return z.total_out;
}

/* The payload as the kernel's build makes it: for all but gzip with the unpacked size behind it. */
static inline size_t
image_pack_bytes(enum image_pack how, const uint8_t *in, size_t n, uint8_t *out, size_t room)
{
	uint32_t size = (uint32_t)n, block;
	unsigned bz = (unsigned)room;
	size_t len = 0;

	switch (how) {
	case PACK_gzip:
		return image_pack_gzip(in, n, out, room);
	case PACK_bzip2:
		BZ2_bzBuffToBuffCompress((char *)out, &bz, (char *)(uintptr_t)in, (unsigned)n, 9, 0, 0);
		len = bz;
		break;
	case PACK_xz:
		if (lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, in, n, out, &len, room) != LZMA_OK)
			return 0;
		break;
	case PACK_lzma:
		len = image_pack_lzma(in, n, out, room);
		break;
	case PACK_lz4:
		memcpy(out, "\x02\x21\x4c\x18", 4);
		block = (uint32_t)LZ4_compress_default((const char *)in, (char *)out + 8, (int)n, (int)room - 8);
		memcpy(out + 4, &block, 4);
		len = 8 + block;
		break;
	case PACK_zstd:
		len = ZSTD_compress(out, room, in, n, 3);
		break;
	case PACK_none:
	case PACK__COUNT:
		memcpy(out, in, n);
		return n;
	}
	memcpy(out + len, &size, 4);
	return len + 4;
}

/* A bzImage: one setup sector, the payload at 0x400 of the protected-mode part. */
static inline void
image_bzimage(struct image *im, enum image_pack how)
{
	static struct image elf;
	struct setup_header h = { .setup_sects = 1, .boot_flag = 0xaa55, .jump = 0x66eb, .header = 0x53726448,
		.version = 0x20f, .loadflags = LOADED_HIGH, .initrd_addr_max = 0x7fffffff, .kernel_alignment = 0x200000,
		.relocatable_kernel = 1, .xloadflags = XLF_KERNEL_64, .cmdline_size = 2047, .payload_offset = 0x400,
		.pref_address = IMAGE_AT, .init_size = 0x100000 };

	image_elf64(&elf, IMAGE_NOTE_NONE);
	memset(im, 0, sizeof(*im));
	h.payload_length = (uint32_t)image_pack_bytes(how, elf.bytes, elf.size, im->bytes + 0x800, IMAGE_MAX - 0x800);
	im->size = (0x800 + h.payload_length + 15) & ~15ul;
	h.syssize = (uint32_t)(im->size - 0x400) / 16;
	memcpy(im->bytes + 0x1f1, &h, sizeof(h));
}
