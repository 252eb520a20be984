/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/cache.c - translations: where they are kept, found, linked and dropped.
 *
 * One cache per vCPU, only ever touched on its thread. When the code area or a table is
 * full, the oldest of it goes (chunk.c).
 */
#include "engine/bt/bt.h"
#include "engine/interp/interp.h"
#include <string.h>
#include <sys/mman.h>

enum { TRIM_LEAST = 1 << 20, TARGETS_MIN = 1 << 10 };

static void *
array_open(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void
array_close(void *p, size_t bytes)
{
	if (p != NULL)
		munmap(p, bytes);
}

/* What the user asked for, in whole pages; the API has checked that it is not absurd. */
static size_t
code_bytes(const struct cpu *c)
{
	return c->code_cache == 0 ? BT_CODE_SIZE : (c->code_cache + PAGE_SIZE - 1) & PAGE_MASK;
}

/* The tables that describe the code, by the room for it. Those in the low 2 GiB, of which there is not much, grow no
 * larger than by default, but are smaller for a small cache. */
static void
tables_size(struct bt_state *bt)
{
	size_t code = code_bytes(bt->c), times = (code + BT_CODE_SIZE - 1) / BT_CODE_SIZE;

	bt->pages_max = (uint32_t)(PAGES_MAX * times);
	bt->blocks_max = (uint32_t)(BLOCKS_MAX * times);
	bt->exits_max = (uint32_t)(times < (1 << LEFT_BITS) / EXITS_MAX ? EXITS_MAX * times : 1 << LEFT_BITS);
	bt->side_max = (uint32_t)(SIDE_MAX * times);
	bt->light_max = (uint32_t)(LIGHT_MAX * times);
	for (bt->block_hashes = BLOCK_HASH; bt->block_hashes / 4 < bt->blocks_max / 3;)	/* some stay free */
		bt->block_hashes *= 2;
	bt->targets = BT_TARGETS_MAX;
	bt->sites_max = SITES_MAX;
	while (code < BT_CODE_SIZE && bt->targets > TARGETS_MIN) {
		code *= 2;
		bt->targets /= 4;
		bt->sites_max /= 2;
	}
}

static size_t
in_bytes(const struct bt_state *bt)
{
	return (code_bytes(bt->c) / PAGE_SIZE + 1) * sizeof(*bt->block_in);
}

int
bt_cache_open(struct bt_state *bt)
{
	tables_size(bt);
	bt->pages = array_open(bt->pages_max * sizeof(*bt->pages));
	bt->blocks = array_open(bt->blocks_max * sizeof(*bt->blocks));
	bt->exits = array_open(bt->exits_max * sizeof(*bt->exits));
	bt->side = array_open(bt->side_max * sizeof(*bt->side));
	bt->held = array_open(HASH_SIZE * sizeof(*bt->held));
	bt->sites = low_map(bt->sites_max * sizeof(*bt->sites));
	bt->ctx[0] = low_map(BT_CTX_BYTES(bt));
	bt->form = array_open(BT_FORMS * sizeof(*bt->form));
	bt->form_at = array_open(BT_FORM_PLACES * sizeof(*bt->form_at));
	bt->light = array_open(bt->light_max * sizeof(*bt->light));
	bt->page_hash = array_open(HASH_SIZE * sizeof(uint32_t));
	bt->phys_hash = array_open(HASH_SIZE * sizeof(uint32_t));
	bt->block_hash = array_open(bt->block_hashes * sizeof(*bt->block_hash));
	bt->block_in = array_open(in_bytes(bt));
	bt->block_next = array_open(bt->blocks_max * sizeof(uint32_t));
	bt->exit_next = array_open(bt->exits_max * sizeof(uint32_t));
	if (bt->pages == NULL || bt->blocks == NULL || bt->exits == NULL || bt->side == NULL || bt->page_hash == NULL ||
	    bt->light == NULL || bt->form == NULL || bt->form_at == NULL || bt->held == NULL || bt->ctx[0] == NULL || bt->sites == NULL ||
	    bt->phys_hash == NULL || bt->block_hash == NULL || bt->block_in == NULL || bt->block_next == NULL ||
	    bt->exit_next == NULL)
		return -1;
	bt_forms_begin(bt);
	bt_windows_open(bt);
	return bt_returns_open(bt) != 0 ? -1 : code_map_open(&bt->code, code_bytes(bt->c));
}

void
bt_cache_close(struct bt_state *bt)
{
	array_close(bt->pages, bt->pages_max * sizeof(*bt->pages));
	array_close(bt->blocks, bt->blocks_max * sizeof(*bt->blocks));
	array_close(bt->exits, bt->exits_max * sizeof(*bt->exits));
	array_close(bt->side, bt->side_max * sizeof(*bt->side));
	array_close((void *)bt->held, HASH_SIZE * sizeof(*bt->held));
	bt_windows_close(bt);
	bt_returns_close(bt);
	low_unmap(bt->sites, bt->sites_max * sizeof(*bt->sites));
	for (unsigned i = 0; i < BT_CTXS; i++)
		low_unmap(bt->ctx[i], BT_CTX_BYTES(bt));
	array_close(bt->form, BT_FORMS * sizeof(*bt->form));
	array_close(bt->form_at, BT_FORM_PLACES * sizeof(*bt->form_at));
	array_close(bt->light, bt->light_max * sizeof(*bt->light));
	array_close(bt->page_hash, HASH_SIZE * sizeof(uint32_t));
	array_close(bt->phys_hash, HASH_SIZE * sizeof(uint32_t));
	array_close(bt->block_hash, bt->block_hashes * sizeof(*bt->block_hash));
	array_close(bt->block_in, in_bytes(bt));
	array_close(bt->block_next, bt->blocks_max * sizeof(uint32_t));
	array_close(bt->exit_next, bt->exits_max * sizeof(uint32_t));
	code_map_close(&bt->code);
}

/* Pages that nothing was ever put into stay untouched: this is for a cache that was used. */
static void
tables_clear(struct bt_state *bt)
{
	unsigned i;

	for (i = 0; i < HASH_SIZE; i++)
		atomic_store_explicit(&bt->held[i], 0, memory_order_relaxed);
	memset(bt->page_hash, 0, HASH_SIZE * sizeof(uint32_t));
	memset(bt->phys_hash, 0, HASH_SIZE * sizeof(uint32_t));
	memset(bt->block_in, 0, in_bytes(bt));
	memset(bt->block_hash, 0, bt->block_hashes * sizeof(*bt->block_hash));
}

void
bt_flush(struct bt_state *bt)
{
	unsigned i;

	if (bt->npages != 0)
		tables_clear(bt);
	for (i = 0; i < BT_CTXS && bt->ctx[i] != NULL && bt->ctx[i]->used; i++) {
		memset(bt->ctx[i]->target, 0, bt->targets * sizeof(bt->ctx[i]->target[0]));
		bt->ctx[i]->target[0].rip = BT_NO_TARGET;
		memset(bt->ctx[i]->slot, 0, sizeof(bt->ctx[i]->slot));
		bt->ctx[i]->nlocal = 0;
	}
	bt_asides_forget(bt);
	bt->npages = 0;
	bt_chunks_empty(bt);
	bt->stats.flushes++;
}

static void
give_back(void *p, size_t bytes)
{
	madvise(p, bytes, MADV_DONTNEED);
}

/* A vCPU that idles: its cache goes, when it is worth it. What it needs to idle is made again soon. */
void
bt_trim(struct cpu *c)
{
	struct bt_state *bt = c->bt;
	uint8_t *from = (uint8_t *)(((uintptr_t)bt->first + PAGE_SIZE - 1) & PAGE_MASK);

	if (bt_chunks_bytes(bt) < TRIM_LEAST)
		return;
	tlb_trim(c);
	give_back(bt->pages, bt->pages_max * sizeof(*bt->pages));
	give_back(bt->blocks, bt->blocks_max * sizeof(*bt->blocks));
	give_back(bt->exits, bt->exits_max * sizeof(*bt->exits));
	give_back(bt->side, bt->side_max * sizeof(*bt->side));
	give_back((void *)bt->held, HASH_SIZE * sizeof(*bt->held));
	give_back(bt->sites, bt->sites_max * sizeof(*bt->sites));
	give_back(bt->form, BT_FORMS * sizeof(*bt->form));
	give_back(bt->form_at, BT_FORM_PLACES * sizeof(*bt->form_at));
	bt_forms_begin(bt);
	give_back(bt->light, bt->light_max * sizeof(*bt->light));
	give_back(bt->page_hash, HASH_SIZE * sizeof(uint32_t));
	give_back(bt->phys_hash, HASH_SIZE * sizeof(uint32_t));
	give_back(bt->block_hash, bt->block_hashes * sizeof(*bt->block_hash));
	give_back(bt->block_in, in_bytes(bt));
	give_back(bt->block_next, bt->blocks_max * sizeof(uint32_t));
	give_back(bt->exit_next, bt->exits_max * sizeof(uint32_t));
	madvise(from, (size_t)(bt->code.rw + bt->code.size - from), MADV_REMOVE);
	bt->code.huge = 0;
	for (unsigned i = 0; i < BT_CTXS && bt->ctx[i] != NULL; i++)
		give_back(bt->ctx[i], BT_CTX_BYTES(bt));
	bt_ctxs_forget(bt);
	bt->npages = 0;
	bt_flush(bt);
	interp_trim(c);
}

static uint32_t
mix(uint64_t a, uint64_t b)
{
	uint64_t x = (a ^ b << 29 ^ b >> 35) * 0x9e3779b97f4a7c15;

	return (uint32_t)(x >> 48) & (HASH_SIZE - 1);
}

enum { TOGETHER = 4 /* log2 of the bytes of code whose blocks look for one place */ };

static uint32_t
block_key(uint64_t rip, uint32_t page)
{
	return (uint32_t)rip + (page * 0x9e3779b1u << TOGETHER);
}

/* Where the search for a key begins. Blocks of a page are close neighbours. */
static uint32_t
home_of(const struct bt_state *bt, uint32_t key)
{
	return key >> TOGETHER & (bt->block_hashes - 1);
}

/* The instance of a page in the present mode; made when there is none. NULL: the table is full. */
struct bt_page *
bt_page_get(struct bt_state *bt, uint64_t vpage, gpa_t gpa)
{
	uint64_t ppage = mem_page_index(bt->c->mem, gpa);
	uint32_t h = mix(vpage ^ bt->now->mode, ppage), p = mix(ppage, 0), i;
	struct bt_page *pg;

	for (i = bt->page_hash[h]; i != 0; i = bt->pages[i - 1].hash_next) {
		pg = &bt->pages[i - 1];
		if (pg->vpage == vpage && pg->ppage == ppage && pg->mode == bt->now->mode)
			return pg;
	}
	if (bt->npages == bt->pages_max)
		return NULL;
	pg = &bt->pages[bt->npages++];
	*pg = (struct bt_page){ .vpage = vpage, .ppage = ppage, .gpa = gpa & PAGE_MASK, .mode = bt->now->mode,
		.warm = bt->warm_all && (bt->now->mode & BM_user),
		.hash_next = bt->page_hash[h], .phys_next = bt->phys_hash[p] };
	bt->page_hash[h] = bt->phys_hash[p] = bt->npages;
	return pg;
}

static uint32_t
held_slot(gpa_t gpa)
{
	return gpa >> PAGE_SHIFT & (HASH_SIZE - 1);
}

void
bt_hold(struct bt_state *bt, struct bt_page *pg)
{
	if (!pg->held)
		atomic_fetch_add(&bt->held[held_slot(pg->gpa)], 1);
	pg->held = true;
}

bool
bt_holds(const struct cpu *c, gpa_t gpa)
{
	return atomic_load(&c->bt->held[held_slot(gpa)]) != 0;
}

static uint64_t
begins_bit(uint64_t rip)
{
	return 1ull << (rip >> 6 & 63);
}

struct bt_block *
bt_block_find(struct bt_state *bt, const struct bt_page *pg, uint64_t rip, bool narrow)
{
	uint32_t id = bt_page_id(bt, pg), key = block_key(rip, id), mask = bt->block_hashes - 1, at;
	const struct bt_place *p;
	struct bt_block *b;

	if (!(pg->begins & begins_bit(rip)))
		return NULL;
	for (at = home_of(bt, key); (p = &bt->block_hash[at])->block != 0; at = (at + 1) & mask) {
		if (p->key != key)
			continue;
		b = &bt->blocks[p->block - 1];
		if (b->rip == rip && b->page == id && b->narrow == narrow)
			return b;
	}
	return NULL;
}

static void
place_take(struct bt_state *bt, const struct bt_block *b)
{
	uint32_t key = block_key(b->rip, b->page), mask = bt->block_hashes - 1, at = home_of(bt, key);

	while (bt->block_hash[at].block != 0)
		at = (at + 1) & mask;
	bt->block_hash[at] = (struct bt_place){ (uint32_t)(b - bt->blocks) + 1, key };
}

/* Its place becomes free: what lies behind and is not where it would be then moves up. */
static void
place_free(struct bt_state *bt, const struct bt_block *b)
{
	uint32_t mask = bt->block_hashes - 1, at = home_of(bt, block_key(b->rip, b->page)), k;
	struct bt_place *hash = bt->block_hash;

	while (hash[at].block != (uint32_t)(b - bt->blocks) + 1)
		at = (at + 1) & mask;
	for (k = (at + 1) & mask; hash[k].block != 0; k = (k + 1) & mask)
		if (((k - home_of(bt, hash[k].key)) & mask) >= ((k - at) & mask)) {
			hash[at] = hash[k];
			at = k;
		}
	hash[at] = (struct bt_place){ 0 };
}

void
bt_block_lies(struct bt_state *bt, const struct bt_block *b)
{
	uint32_t *in = &bt->block_in[b->begin / PAGE_SIZE];

	if (*in == 0)
		*in = (uint32_t)(b - bt->blocks) + 1;
}

void
bt_block_add(struct bt_state *bt, struct bt_block *b)
{
	struct bt_page *pg = &bt->pages[b->page - 1];
	uint32_t i = (uint32_t)(b - bt->blocks);

	place_take(bt, b);
	bt->block_next[i] = pg->blocks;
	pg->blocks = i + 1;
	pg->begins |= begins_bit(b->rip);
	bt_block_lies(bt, b);
	bt->stats.blocks++;
	bt->stats.insns += b->insns;
}

/* Blocks lie in the code area in the order of their numbers. */
struct bt_block *
bt_block_at(struct bt_state *bt, const uint8_t *pc)
{
	enum { IN_PAGE = PAGE_SIZE / 16 + 1 /* blocks; they are aligned */ };
	uint32_t off, lo, hi, mid, p;

	if (pc < bt->code.rx || pc >= bt->code.rx + bt->code.size)
		return NULL;
	off = (uint32_t)(pc - bt->code.rx);
	for (p = off / PAGE_SIZE; p > 0 && (bt->block_in[p] == 0 || bt->blocks[bt->block_in[p] - 1].begin > off); p--)
		;
	lo = bt->block_in[p] == 0 ? 0 : bt->block_in[p] - 1;
	hi = bt_chunk_end(bt, bt_chunk_of(bt, lo)).blocks;
	hi = hi - lo > IN_PAGE ? lo + IN_PAGE : hi;
	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if (bt->blocks[mid].begin <= off)
			lo = mid;
		else
			hi = mid;
	}
	if (bt->block_in[p] == 0 || off < bt->blocks[lo].begin || off >= bt->blocks[lo].end)
		return NULL;
	return &bt->blocks[lo];
}

void
bt_link(struct bt_state *bt, struct bt_exit *x, struct bt_block *to)
{
	uint32_t entry;

	if (x->patch == 0 || x->to != 0 || (bt->now->mode & BM_counted))
		return;
	entry = x->kind == BX_link ? to->native : x->kind == BX_link_saved ? to->saved : bt_land(bt, to);
	if (entry == 0)
		return;
	if (x->kind == BX_link_land && to->front != 0)
		to = &bt->blocks[to->front - 1];
	e_patch(bt_rw(bt, x->patch), bt_rw(bt, entry));
	x->to = (uint32_t)(to - bt->blocks) + 1;
	bt->exit_next[x - bt->exits] = to->incoming;
	to->incoming = (uint32_t)(x - bt->exits);
	bt->stats.links++;
}

static void
unlink_incoming(struct bt_state *bt, struct bt_block *b)
{
	struct bt_exit *x;
	uint32_t i;

	for (i = b->incoming; i != 0; i = bt->exit_next[i]) {
		x = &bt->exits[i];
		e_patch(bt_rw(bt, x->patch), bt_rw(bt, x->stub));
		x->to = 0;
	}
	b->incoming = 0;
}

/* A block's own links must not stay in its targets' lists; they do harmlessly: the patch site is in
 * code that never runs again and is not reused before a flush. Only the context of its own mode has
 * it as a target, and that is there while there are blocks of the mode. */
void
bt_block_forget(struct bt_state *bt, struct bt_block *b)
{
	struct bt_ctx *ctx = bt_ctx_for(bt, bt->pages[b->page - 1].mode);
	struct bt_target *t = &ctx->target[bt_target_index(bt, b->rip)];

	if (b->dead)
		return;
	if (b->is_front)
		bt->blocks[b->front - 1].front = bt->blocks[b->front - 1].land = 0;
	else
		place_free(bt, b);
	if (b->front != 0 && !b->is_front)
		bt_block_forget(bt, &bt->blocks[b->front - 1]);
	unlink_incoming(bt, b);
	if (b->land != 0 && t->code == bt_rx(bt, b->land))
		*t = (struct bt_target){ .rip = b->rip ^ 1 };	/* never looked for here */
	b->dead = true;
	bt->stats.dropped++;
}

void
bt_cross_note(struct bt_state *bt, struct bt_page *second, const struct bt_page *first)
{
	uint32_t id = bt_page_id(bt, first);
	unsigned i;

	for (i = 0; i < sizeof(second->crossing) / sizeof(*second->crossing); i++) {
		if (second->crossing[i] == 0)
			second->crossing[i] = id;
		if (second->crossing[i] == id)
			return;
	}
	second->many_cross = true;
}

static void page_drop(struct bt_state *bt, struct bt_page *pg);

/* Blocks that begin in another page and end in this. */
static void
crossing_drop(struct bt_state *bt, struct bt_page *pg)
{
	unsigned i;

	for (i = 0; i < sizeof(pg->crossing) / sizeof(*pg->crossing); i++)
		if (pg->crossing[i] != 0)
			page_drop(bt, &bt->pages[pg->crossing[i] - 1]);
	for (i = 0; pg->many_cross && i < bt->npages; i++)
		if (bt->pages[i].vpage + PAGE_SIZE == pg->vpage)
			page_drop(bt, &bt->pages[i]);
}

void
bt_drop_phys(struct bt_state *bt, uint64_t ppage)
{
	struct bt_page *pg;
	uint32_t i;

	for (i = bt->phys_hash[mix(ppage, 0)]; i != 0; i = pg->phys_next) {
		pg = &bt->pages[i - 1];
		if (pg->ppage != ppage)
			continue;
		page_drop(bt, pg);
		crossing_drop(bt, pg);
	}
}

void
bt_page_renew(struct bt_state *bt, struct bt_page *pg)
{
	uint32_t k;

	for (k = pg->blocks; k != 0; k = bt->block_next[k - 1])
		bt_block_forget(bt, &bt->blocks[k - 1]);
	pg->blocks = 0;
	pg->begins = 0;
}

static void
page_drop(struct bt_state *bt, struct bt_page *pg)
{
	bt_page_renew(bt, pg);
	if (pg->held)
		atomic_fetch_sub(&bt->held[held_slot(pg->gpa)], 1);
	pg->held = false;
}

/* The guest instruction that host address pc (or the byte before: a return address) belongs to. */
bool
bt_side_find(struct bt_state *bt, const uint8_t *pc, uint64_t *rip, bool *saved)
{
	const struct bt_block *b = bt_block_at(bt, pc);
	uint32_t off, lo = 0, hi, mid;
	const uint32_t *row;

	if (b == NULL || b->rows == 0)
		return false;
	row = bt->side + b->side;
	off = (uint32_t)(pc - bt->code.rx) - b->begin;
	for (hi = b->rows; hi - lo > 1; ) {
		mid = lo + (hi - lo) / 2;
		if (row[mid] >> SIDE_HOST_SHIFT <= off)
			lo = mid;
		else
			hi = mid;
	}
	*rip = bt->pages[b->page - 1].vpage + (row[lo] & SIDE_OFFSET);
	*saved = (row[lo] & SIDE_SAVED) != 0;
	return true;
}
