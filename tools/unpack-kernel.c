/* SPDX-License-Identifier: Apache-2.0 */
/* tools/unpack-kernel.c - the vmlinux of a bzImage, as `regent run` unpacks it: unpack-kernel BZIMAGE VMLINUX. */
#include "host/unpack.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETUP_SECTS = 0x1f1, PAYLOAD_OFFSET = 0x248, PAYLOAD_LENGTH = 0x24c, HEADER_END = 0x268, SECTOR = 512,
	FILE_MAX = 64 << 20 };

static int
write_out(void *to, const uint8_t *bytes, size_t n)
{
	return fwrite(bytes, 1, n, to) == n ? 0 : -1;
}

static uint32_t
field(const uint8_t *image, unsigned at)
{
	uint32_t v;

	memcpy(&v, image + at, sizeof(v));
	return v;
}

int
main(int argc, char **argv)
{
	uint8_t *image = malloc(FILE_MAX);
	FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL, *out = argc == 3 ? fopen(argv[2], "wb") : NULL;
	size_t n = image != NULL && in != NULL ? fread(image, 1, FILE_MAX, in) : 0, at, len;
	const char *format;

	if (n < HEADER_END || out == NULL) {
		fprintf(stderr, "usage: unpack-kernel BZIMAGE VMLINUX\n");
		return 2;
	}
	at = (image[SETUP_SECTS] + 1u) * SECTOR + field(image, PAYLOAD_OFFSET);
	len = field(image, PAYLOAD_LENGTH);
	if (at > n || len > n - at || unpack(image + at, len, write_out, out, &format) != UNPACK_done || fclose(out) != 0) {
		fprintf(stderr, "unpack-kernel: no payload in %s that can be unpacked\n", argv[1]);
		return 1;
	}
	return 0;
}
