/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/chunk.c - the code cache in chunks: when one is full the next is written, and what it had before is dropped.
 *
 * A chunk is a part of the code area and the same part of each table: blocks, exits, rows of the side table,
 * light instructions, near entries. So what one chunk has is dropped by taking its blocks from where they are
 * found, and its exits from the lists of those they are linked to. Page instances stay.
 */
#include "engine/bt/bt.h"

enum { ROOMS = 8 /* of BLOCK_ROOM, the least that is worth being a chunk */ };

/* Where part n of a table of `all` begins. */
static uint32_t
part(const struct bt_state *bt, uint32_t all, unsigned n)
{
	return (uint32_t)((uint64_t)all * n / bt->chunks);
}

static struct bt_fill_level
begin_of(const struct bt_state *bt, unsigned n)
{
	struct bt_fill_level l = {
		.code = (uint32_t)(part(bt, (uint32_t)(bt->code.size / PAGE_SIZE), n) * PAGE_SIZE),
		.blocks = part(bt, bt->blocks_max, n), .exits = part(bt, bt->exits_max, n), .side = part(bt, bt->side_max, n),
		.light = part(bt, bt->light_max, n), .sites = part(bt, bt->sites_max, n),
	};

	if (n == 0) {
		l.code = (uint32_t)(bt->first - bt->code.rw);
		l.exits = LEFT__EXITS;
	}
	return l;
}

static void
chunk_begin(struct bt_state *bt, unsigned n)
{
	struct bt_fill_level l = begin_of(bt, n);

	bt->chunk = n;
	bt->limit = begin_of(bt, n + 1);
	bt->free = bt_rw(bt, l.code);
	bt->nblocks = l.blocks;
	bt->nexits = l.exits;
	bt->nside = l.side;
	bt->nlight = l.light;
	bt->nsites = l.sites;
}

/* All are empty. */
void
bt_chunks_empty(struct bt_state *bt)
{
	unsigned n = (unsigned)(bt->code.size / (ROOMS * BLOCK_ROOM));

	bt->chunks = n < 1 ? 1 : n > BT_CHUNKS ? BT_CHUNKS : n;
	for (n = 0; n < bt->chunks; n++)
		bt->written_to[n] = begin_of(bt, n);
	chunk_begin(bt, 0);
	bt_returns_forget(bt);
}

static struct bt_fill_level
level(const struct bt_state *bt)
{
	return (struct bt_fill_level){ .code = (uint32_t)(bt->free - bt->code.rw), .blocks = bt->nblocks, .exits = bt->nexits,
		.side = bt->nside, .light = bt->nlight, .sites = bt->nsites };
}

/* How far chunk n is written, and where it begins. */
struct bt_fill_level
bt_chunk_end(const struct bt_state *bt, unsigned n)
{
	return n == bt->chunk ? level(bt) : bt->written_to[n];
}

struct bt_fill_level
bt_chunk_begin(const struct bt_state *bt, unsigned n)
{
	return begin_of(bt, n);
}

size_t
bt_chunks_bytes(const struct bt_state *bt)
{
	size_t bytes = 0;
	unsigned n;

	for (n = 0; n < bt->chunks; n++)
		bytes += bt_chunk_end(bt, n).code - begin_of(bt, n).code;
	return bytes;
}

/* The chunk that block i is in. */
unsigned
bt_chunk_of(const struct bt_state *bt, uint32_t block)
{
	unsigned n = bt->chunks - 1;

	while (n > 0 && block < part(bt, bt->blocks_max, n))
		n--;
	return n;
}

/* Take what lies in [from, to) out of a page's blocks, and out of the exits to a block. */
static void
blocks_take(struct bt_state *bt, uint32_t *at, uint32_t from, uint32_t to)
{
	while (*at != 0) {
		uint32_t i = *at - 1, *next = &bt->block_next[i];

		if (i >= from && i < to)
			*at = *next;
		else
			at = next;
	}
}

static void
exits_take(struct bt_state *bt, uint32_t *at, uint32_t from, uint32_t to)
{
	while (*at != 0) {
		uint32_t i = *at, *next = &bt->exit_next[i];

		if (i >= from && i < to) {
			bt->exits[i].to = 0;
			*at = *next;
		} else {
			at = next;
		}
	}
}

static void
chunk_drop(struct bt_state *bt, unsigned n)
{
	struct bt_fill_level from = begin_of(bt, n), to = bt->written_to[n];
	struct bt_page *pg;
	uint32_t i;

	/* First its own links: what is then left to be undone is in other chunks. */
	for (i = from.exits; i < to.exits; i++)
		if (bt->exits[i].to != 0)
			exits_take(bt, &bt->blocks[bt->exits[i].to - 1].incoming, from.exits, to.exits);
	for (i = from.blocks; i < to.blocks; i++) {
		bt_block_forget(bt, &bt->blocks[i]);
		pg = &bt->pages[bt->blocks[i].page - 1];
		if (pg->swept == (uint32_t)bt->stats.evicted + 1)
			continue;
		pg->swept = (uint32_t)bt->stats.evicted + 1;
		blocks_take(bt, &pg->blocks, from.blocks, to.blocks);
		if (pg->blocks == 0)
			pg->begins = 0;
	}
	for (i = from.code / PAGE_SIZE; i <= to.code / PAGE_SIZE && i * PAGE_SIZE < bt->limit.code; i++)
		bt->block_in[i] = 0;
	bt_returns_forget(bt);
}

/* The chunk at hand is full: go on in the next. */
void
bt_chunk_next(struct bt_state *bt)
{
	unsigned next = (bt->chunk + 1) % bt->chunks;

	bt->written_to[bt->chunk] = level(bt);
	chunk_begin(bt, next);
	chunk_drop(bt, next);
	bt->stats.evicted++;
}
