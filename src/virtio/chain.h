/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/chain.h - one buffer that a driver offers: its descriptors, walked once and checked (virtio 1.2, 2.7, 2.8).
 *
 * Everything behind a descriptor is the guest's and may be a lie. The walk copies each descriptor once, refuses what
 * does not lie in RAM, loops, writes before reads and lengths beyond all measure; after it only the chain is used.
 */
#pragma once
#include "mem/mem.h"
#include <sys/uio.h>

enum { CHAIN_MAX = 256 };	/* segments; also the largest queue */

struct chain {
	uint16_t id;		/* what the driver calls it: goes back with the used buffer */
	uint16_t slots;		/* of the ring, that it takes (packed: what `used` skips) */
	unsigned outs, ins;	/* segments to read, and behind them segments to write */
	uint64_t out_len, in_len;
	struct iovec iov[CHAIN_MAX];	/* in guest RAM */
	gpa_t gpa[CHAIN_MAX];
};

/* A descriptor as it lies in memory, split and packed (little endian, as we are). */
struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
struct vring_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};
enum { DESC_next = 1 << 0, DESC_write = 1 << 1, DESC_indirect = 1 << 2, DESC_avail = 1 << 7, DESC_used = 1 << 15 };

/* What the walk needs to know of the queue. */
struct chain_ring {
	struct mem *mem;
	const uint8_t *desc;	/* the descriptor area in host memory: size entries, in RAM */
	uint16_t size;
	bool indirect;		/* the feature was negotiated */
};

/* NULL, or why the chain is no chain. */
const char *chain_walk_split(struct chain *c, const struct chain_ring *r, uint16_t head);
/* at: where the next descriptor is expected; it is known to be available. */
const char *chain_walk_packed(struct chain *c, const struct chain_ring *r, uint16_t at);

/* Copies between a buffer and the readable or writable part, at most what is there; bytes copied. */
size_t chain_read(const struct chain *c, uint64_t at, void *to, size_t n);
size_t chain_write(struct chain *c, struct mem *m, uint64_t at, const void *from, size_t n);
/* [at, at + n) of the readable or writable part as an array of segments: how many, or 0 when it is not all there. */
unsigned chain_slice(const struct chain *c, bool in, uint64_t at, uint64_t n, struct iovec iov[CHAIN_MAX]);
/* Bytes [at, at + n) of the writable part were written by somebody. */
void chain_dirty(const struct chain *c, struct mem *m, uint64_t at, uint64_t n);
