/* SPDX-License-Identifier: Apache-2.0 */
/* host/unpack.h - decompression of what carries its format in its first bytes, in pieces. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum unpack_result {
	UNPACK_done,		/* the stream ended, or the sink had enough */
	UNPACK_unknown,		/* no format that we know */
	UNPACK_corrupt,		/* a known format, but its bytes are damaged or cut short */
	UNPACK_memory,
	UNPACK_refused		/* the sink returned a negative number */
};

/* Takes the next piece: 0 go on, positive enough, negative stop with UNPACK_refused. */
typedef int unpack_sink(void *ctx, const uint8_t *bytes, size_t n);

/* Knows gzip, bzip2, xz, lzma, lz4 (legacy frames) and zstd. *name is the format's, or NULL. */
enum unpack_result unpack(const uint8_t *in, size_t n, unpack_sink *sink, void *ctx, const char **name);
