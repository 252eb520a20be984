/* SPDX-License-Identifier: Apache-2.0 */
/* host/unpack.c - one small loop around each ordinary decompression library.
 *
 * Output goes to the sink in pieces, so that a 60 MB kernel needs no second 60 MB here.
 */
#include "host/unpack.h"
#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
	CHUNK = 256 << 10,
	LZ4_BLOCK = 8 << 20,		/* a legacy frame's blocks unpack to at most this */
	LZ4_TAIL = 4			/* the kernel's build appends the unpacked size */
};
static const uint64_t XZ_MEMORY = 256 << 20;

struct job {
	const uint8_t *in;
	size_t n;
	uint8_t *out;			/* CHUNK bytes, LZ4_BLOCK for lz4; owned */
	unpack_sink *sink;
	void *ctx;
};

/* Hands n bytes of out to the sink. Positive: stop with *res. */
static int
give(struct job *j, size_t n, enum unpack_result *res)
{
	int rc = n == 0 ? 0 : j->sink(j->ctx, j->out, n);

	*res = rc < 0 ? UNPACK_refused : UNPACK_done;
	return rc != 0;
}

static enum unpack_result
unpack_gzip(struct job *j)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)j->in };
	enum unpack_result res = UNPACK_corrupt;
	size_t left = j->n;
	int rc = Z_OK;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return UNPACK_memory;
	while (rc == Z_OK) {
		if (z.avail_in == 0) {
			z.avail_in = left > UINT32_MAX ? UINT32_MAX : (uInt)left;
			left -= z.avail_in;
		}
		z.next_out = j->out;
		z.avail_out = CHUNK;
		rc = inflate(&z, Z_NO_FLUSH);
		if ((rc == Z_OK || rc == Z_STREAM_END) && give(j, CHUNK - z.avail_out, &res))
			break;
		res = rc == Z_STREAM_END ? UNPACK_done : UNPACK_corrupt;
	}
	inflateEnd(&z);
	return res;
}

static enum unpack_result
unpack_bzip2(struct job *j)
{
	bz_stream z = { .next_in = (char *)(uintptr_t)j->in };
	enum unpack_result res = UNPACK_corrupt;
	int rc = BZ_OK;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return UNPACK_memory;
	z.avail_in = j->n > UINT32_MAX ? UINT32_MAX : (unsigned)j->n;
	while (rc == BZ_OK) {
		z.next_out = (char *)j->out;
		z.avail_out = CHUNK;
		rc = BZ2_bzDecompress(&z);
		if ((rc == BZ_OK || rc == BZ_STREAM_END) && give(j, CHUNK - z.avail_out, &res))
			break;
		res = rc == BZ_STREAM_END ? UNPACK_done : UNPACK_corrupt;
		if (rc == BZ_OK && z.avail_in == 0 && z.avail_out == CHUNK)
			break;		/* cut short: no progress any more */
	}
	BZ2_bzDecompressEnd(&z);
	return res;
}

/* xz and lzma: one library, two headers. */
static enum unpack_result
unpack_lzma(struct job *j, bool xz)
{
	lzma_stream z = LZMA_STREAM_INIT;
	enum unpack_result res = UNPACK_corrupt;
	lzma_ret rc =
	    xz ? lzma_stream_decoder(&z, XZ_MEMORY, 0) : lzma_alone_decoder(&z, XZ_MEMORY);

	if (rc != LZMA_OK)
		return UNPACK_memory;
	z.next_in = j->in;
	z.avail_in = j->n;
	while (rc == LZMA_OK) {
		z.next_out = j->out;
		z.avail_out = CHUNK;
		rc = lzma_code(&z, LZMA_RUN);
		if ((rc == LZMA_OK || rc == LZMA_STREAM_END) && give(j, CHUNK - z.avail_out, &res))
			break;
		res = rc == LZMA_STREAM_END ? UNPACK_done : UNPACK_corrupt;
	}
	lzma_end(&z);
	return res;
}

static enum unpack_result
unpack_xz(struct job *j)
{
	return unpack_lzma(j, true);
}

static enum unpack_result
unpack_alone(struct job *j)
{
	return unpack_lzma(j, false);
}

static enum unpack_result
unpack_zstd(struct job *j)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = { j->in, j->n, 0 };
	enum unpack_result res = UNPACK_corrupt;

	if (z == NULL)
		return UNPACK_memory;
	for (;;) {
		ZSTD_outBuffer out = { j->out, CHUNK, 0 };
		size_t rc = ZSTD_decompressStream(z, &out, &in);

		if (ZSTD_isError(rc) || give(j, out.pos, &res))
			break;
		res = rc == 0 ? UNPACK_done : UNPACK_corrupt;
		if (rc == 0 || (in.pos == in.size && out.pos < out.size))
			break;
	}
	ZSTD_freeDStream(z);
	return res;
}

/* Legacy frame: magic, then blocks of { little-endian size, bytes }, with no end mark. */
static enum unpack_result
unpack_lz4(struct job *j)
{
	enum unpack_result res;
	size_t at = 4;

	while (j->n - at > LZ4_TAIL) {
		uint32_t size;
		int got;

		memcpy(&size, j->in + at, 4);
		at += 4;
		if (size > j->n - at || size > LZ4_COMPRESSBOUND(LZ4_BLOCK))
			return UNPACK_corrupt;
		got = LZ4_decompress_safe((const char *)j->in + at, (char *)j->out, (int)size,
					  LZ4_BLOCK);
		if (got < 0)
			return UNPACK_corrupt;
		if (give(j, (size_t)got, &res))
			return res;
		at += size;
	}
	return UNPACK_done;
}

static const struct format {
	const char *name, *magic;
	uint8_t len;
	enum unpack_result (*fn)(struct job *j);
	size_t out;
} formats[] = {
	{ "gzip",  "\x1f\x8b\x08",		3, unpack_gzip,  CHUNK },
	{ "bzip2", "BZh",			3, unpack_bzip2, CHUNK },
	{ "xz",    "\xfd" "7zXZ\0",		6, unpack_xz,    CHUNK },
	{ "lzma",  "\x5d\0\0",			3, unpack_alone, CHUNK },
	{ "lz4",   "\x02\x21\x4c\x18",		4, unpack_lz4,   LZ4_BLOCK },
	{ "zstd",  "\x28\xb5\x2f\xfd",		4, unpack_zstd,  CHUNK },
};

enum unpack_result
unpack(const uint8_t *in, size_t n, unpack_sink *sink, void *ctx, const char **name)
{
	*name = NULL;
	for (unsigned i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		const struct format *f = &formats[i];
		struct job j = { .in = in, .n = n, .sink = sink, .ctx = ctx };
		enum unpack_result res;

		if (n < 8 || memcmp(in, f->magic, f->len) != 0)
			continue;
		*name = f->name;
		if ((j.out = malloc(f->out)) == NULL)
			return UNPACK_memory;
		res = f->fn(&j);
		free(j.out);
		return res;
	}
	return UNPACK_unknown;
}
