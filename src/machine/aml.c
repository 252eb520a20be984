/* SPDX-License-Identifier: Apache-2.0 */
/* machine/aml.c - a small writer of ACPI machine language. */
#include "machine/aml.h"
#include <string.h>

enum { OP_zero = 0x00, OP_one = 0x01, OP_name = 0x08, OP_byte = 0x0a, OP_word = 0x0b, OP_dword = 0x0c,
	OP_string = 0x0d, OP_qword = 0x0e, OP_scope = 0x10, OP_buffer = 0x11, OP_package = 0x12, OP_method = 0x14,
	OP_ext = 0x5b, OP_device = 0x82 };
enum { NAME_SEG = 4 };
enum { RES_irq = 0x22, RES_io = 0x47, RES_end = 0x79, RES_memory_fixed = 0x86, RES_dword = 0x87, RES_word = 0x88 };
enum { RANGE_memory, RANGE_io, RANGE_bus };
enum { RANGE_FIXED = 0x0c /* both ends */, IO_ENTIRE = 3, MEMORY_WRITABLE = 1, IO_DECODE16 = 1 };

void
aml_bytes(struct aml *a, const void *bytes, size_t n)
{
	if (a->full || n > a->room - a->len) {
		a->full = true;
		return;
	}
	memcpy(a->buf + a->len, bytes, n);
	a->len += n;
}

void
aml_put(struct aml *a, uint64_t val, unsigned size)
{
	aml_bytes(a, &val, size);	/* we run on what we emulate: little endian */
}

static void
name_string(struct aml *a, const char *name)
{
	char seg[NAME_SEG];
	size_t n;

	if (*name == '\\')
		aml_put(a, (uint8_t)*name++, 1);
	n = strlen(name);
	for (size_t i = 0; i < NAME_SEG; i++)
		seg[i] = i < n ? name[i] : '_';
	aml_bytes(a, seg, sizeof(seg));
}

void
aml_name(struct aml *a, const char *name)
{
	aml_put(a, OP_name, 1);
	name_string(a, name);
}

void
aml_int(struct aml *a, uint64_t val)
{
	if (val <= 1) {
		aml_put(a, val == 0 ? OP_zero : OP_one, 1);
	} else if (val <= 0xff) {
		aml_put(a, OP_byte, 1);
		aml_put(a, val, 1);
	} else if (val <= 0xffff) {
		aml_put(a, OP_word, 1);
		aml_put(a, val, 2);
	} else if (val <= 0xffffffff) {
		aml_put(a, OP_dword, 1);
		aml_put(a, val, 4);
	} else {
		aml_put(a, OP_qword, 1);
		aml_put(a, val, 8);
	}
}

void
aml_string(struct aml *a, const char *s)
{
	aml_put(a, OP_string, 1);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned
hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of five bits and four hex digits, stored big endian. */
void
aml_eisaid(struct aml *a, const char *id)
{
	unsigned letters = (unsigned)(id[0] - '@') << 10 | (unsigned)(id[1] - '@') << 5 | (unsigned)(id[2] - '@');

	aml_put(a, OP_dword, 1);
	aml_put(a, letters >> 8, 1);
	aml_put(a, letters, 1);
	aml_put(a, hex(id[3]) << 4 | hex(id[4]), 1);
	aml_put(a, hex(id[5]) << 4 | hex(id[6]), 1);
}

/* ---- things with a length in front ---- */

size_t
aml_scope(struct aml *a, const char *name)
{
	size_t begin;

	aml_put(a, OP_scope, 1);
	begin = a->len;
	name_string(a, name);
	return begin;
}

size_t
aml_device(struct aml *a, const char *name)
{
	size_t begin;

	aml_put(a, OP_ext, 1);
	aml_put(a, OP_device, 1);
	begin = a->len;
	name_string(a, name);
	return begin;
}

size_t
aml_method(struct aml *a, const char *name, unsigned args)
{
	size_t begin;

	aml_put(a, OP_method, 1);
	begin = a->len;
	name_string(a, name);
	aml_put(a, args, 1);
	return begin;
}

size_t
aml_package(struct aml *a, uint8_t elements)
{
	size_t begin;

	aml_put(a, OP_package, 1);
	begin = a->len;
	aml_put(a, elements, 1);
	return begin;
}

/* PkgLength (20.2.4): its own bytes count; six bits in one byte, else four bits and a byte each. */
void
aml_end(struct aml *a, size_t begin)
{
	size_t body = a->len - begin, total;
	unsigned extra = body + 1 <= 0x3f ? 0 : body + 2 <= 0xfff ? 1 : 2;
	uint8_t enc[3];

	if (a->full || a->room - a->len < extra + 1) {
		a->full = true;
		return;
	}
	total = body + extra + 1;
	enc[0] = (uint8_t)(extra == 0 ? total : extra << 6 | (total & 0xf));
	enc[1] = (uint8_t)(total >> 4);
	enc[2] = (uint8_t)(total >> 12);
	memmove(a->buf + begin + extra + 1, a->buf + begin, body);
	memcpy(a->buf + begin, enc, extra + 1);
	a->len += extra + 1;
}

/* ---- resources ---- */

size_t
aml_resources(struct aml *a)
{
	size_t begin;

	aml_put(a, OP_buffer, 1);
	begin = a->len;
	aml_put(a, OP_word, 1);
	aml_put(a, 0, 2);		/* size, by aml_resources_end */
	return begin;
}

void
aml_resources_end(struct aml *a, size_t begin)
{
	size_t size;

	aml_put(a, RES_end, 1);
	aml_put(a, 0, 1);		/* no checksum */
	if (a->full)
		return;
	size = a->len - begin - 3;
	a->buf[begin + 1] = (uint8_t)size;
	a->buf[begin + 2] = (uint8_t)(size >> 8);
	aml_end(a, begin);
}

void
aml_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_put(a, RES_io, 1);
	aml_put(a, IO_DECODE16, 1);
	aml_put(a, base, 2);
	aml_put(a, base, 2);
	aml_put(a, 1, 1);		/* alignment */
	aml_put(a, len, 1);
}

void
aml_irq(struct aml *a, unsigned irq)
{
	aml_put(a, RES_irq, 1);
	aml_put(a, 1ull << irq, 2);
}

void
aml_memory_fixed(struct aml *a, uint32_t base, uint32_t len)
{
	aml_put(a, RES_memory_fixed, 1);
	aml_put(a, 9, 2);
	aml_put(a, MEMORY_WRITABLE, 1);
	aml_put(a, base, 4);
	aml_put(a, len, 4);
}

/* Address space descriptor with fields of `size` bytes: granularity, min, max, offset, length. */
static void
address_range(struct aml *a, uint8_t tag, unsigned size, unsigned type, unsigned flags, uint64_t min, uint64_t max)
{
	aml_put(a, tag, 1);
	aml_put(a, 3 + 5 * size, 2);
	aml_put(a, type, 1);
	aml_put(a, RANGE_FIXED, 1);
	aml_put(a, flags, 1);
	aml_put(a, 0, size);
	aml_put(a, min, size);
	aml_put(a, max, size);
	aml_put(a, 0, size);
	aml_put(a, max - min + 1, size);
}

void
aml_bus_range(struct aml *a, uint16_t min, uint16_t max)
{
	address_range(a, RES_word, 2, RANGE_bus, 0, min, max);
}

void
aml_io_range(struct aml *a, uint16_t min, uint16_t max)
{
	address_range(a, RES_word, 2, RANGE_io, IO_ENTIRE, min, max);
}

void
aml_memory_range(struct aml *a, uint32_t min, uint32_t max)
{
	address_range(a, RES_dword, 4, RANGE_memory, MEMORY_WRITABLE, min, max);
}
