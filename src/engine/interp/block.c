/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/block.c - finding, building and dropping blocks of decoded guest code.
 *
 *	r.rip --jump cache--> block                         while mapping, mode and privilege stand
 *	r.rip --fetch: walk--> gpa --hash on (gpa, key)--> block
 *	bytes at gpa --decode, lower--> new block in the arena
 *
 * Blocks are keyed by physical address, so they survive TLB flushes and serve all address spaces.
 * Other threads only append to `written`; the vCPU's own thread drops what was overwritten before
 * it enters the next block. A full arena is emptied at once.
 */
#include "engine/interp/iop.h"
#include "cpu/cpuid.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ARENA_MOST = 12 << 20, ARENA_LEAST = 2 << 20, ARENA_ALL = 16 << 20 /* of all vCPUs */, CANONICAL_SHIFT = 16 };

/* Held while a block is made, so that nobody takes MEM_code from its page meanwhile; and the list. */
static pthread_mutex_t building = PTHREAD_MUTEX_INITIALIZER;
static struct interp *interps;

/* Who has it may wait for this vCPU to give up write entries: never sleep on it. */
static void
building_lock(struct cpu *c)
{
	while (pthread_mutex_trylock(&building) != 0) {
		cpu_shootdown_serve(c);
		sched_yield();
	}
}

static unsigned
page_slot(gpa_t gpa)
{
	return gpa >> PAGE_SHIFT & ((1 << PAGE_BITS) - 1);
}

/* On any thread. The writer's bytes stand before MEM_code was looked at; who builds says so in
 * has_code before it reads bytes: one of the two sees the other. */
static void
note_written(void *ctx, gpa_t gpa, size_t len)
{
	struct interp *it = ctx;

	if (!atomic_load(&it->has_code[page_slot(gpa)]))
		return;
	pthread_mutex_lock(&it->lock);
	if (it->nwritten < WRITTEN_MAX)
		it->written[it->nwritten] = (struct written){ .gpa = gpa, .len = len };
	if (it->nwritten <= WRITTEN_MAX)
		it->nwritten++;
	atomic_store(&it->any_written, true);
	pthread_mutex_unlock(&it->lock);
	cpu_ask(it->cpu, ATT_code);
}

void
blocks_flush(struct interp *it)
{
	memset(it->hash, 0, sizeof(it->hash));
	memset(it->page, 0, sizeof(it->page));
	for (unsigned i = 0; i < 1 << PAGE_BITS; i++)
		atomic_store_explicit(&it->has_code[i], 0, memory_order_relaxed);
	it->arena_used = 0;
	it->drops++;
	it->jump_key += 1 << KEY_BITS;
	it->flushed++;
}

static size_t
arena_size(unsigned cpus)
{
	size_t share = ARENA_ALL / (cpus == 0 ? 1 : cpus);

	return share > ARENA_MOST ? ARENA_MOST : share < ARENA_LEAST ? ARENA_LEAST : share;
}

int
interp_blocks_open(struct cpu *c)
{
	struct interp *it = calloc(1, sizeof(*it));

	if (it == NULL)
		return -1;
	it->arena_size = arena_size(c->model->cpus);
	it->arena = mmap(NULL, it->arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	it->scratch = malloc(sizeof(struct block) + BLOCK_IOPS * sizeof(struct iop));
	if (it->arena == MAP_FAILED || it->scratch == NULL) {
		if (it->arena != MAP_FAILED)
			munmap(it->arena, it->arena_size);
		free(it->scratch);
		free(it);
		return -1;
	}
	it->cpu = c;
	c->interp = it;
	pthread_mutex_init(&it->lock, NULL);
	it->watcher = (struct mem_watcher){ .code_written = note_written, .ctx = it };
	mem_watch(c->mem, &it->watcher);
	pthread_mutex_lock(&building);
	it->next = interps;
	interps = it;
	pthread_mutex_unlock(&building);
	return 0;
}

void
interp_trim(struct cpu *c)
{
	blocks_flush(c->interp);
	madvise(c->interp->arena, c->interp->arena_size, MADV_DONTNEED);
}

void
interp_blocks_close(struct cpu *c)
{
	struct interp *it = c->interp, **p;

	if (it == NULL)
		return;
	pthread_mutex_lock(&building);
	for (p = &interps; *p != it; p = &(*p)->next)
		;
	*p = it->next;
	pthread_mutex_unlock(&building);
	mem_unwatch(c->mem, &it->watcher);
	pthread_mutex_destroy(&it->lock);
	munmap(it->arena, it->arena_size);
	free(it->scratch);
	free(it);
	c->interp = NULL;
}

/* ---- dropping ---- */

static struct block **
page_list(struct interp *it, gpa_t gpa)
{
	return &it->page[page_slot(gpa)];
}

static struct block **
hash_list(struct interp *it, gpa_t gpa, unsigned key)
{
	uint64_t h = (gpa ^ gpa >> HASH_BITS) + key * 0x9e5u;

	return &it->hash[h & ((1 << HASH_BITS) - 1)];
}

/* Bytes of b in the page of gpa that lie in [gpa, end). */
static bool
block_touches(const struct block *b, gpa_t gpa, gpa_t end)
{
	uint64_t first = PAGE_SIZE - (b->gpa & ~PAGE_MASK);

	if (b->gpa2 == 0)
		return b->gpa < end && gpa < b->gpa + b->bytes;
	return (b->gpa < end && gpa < b->gpa + first) || (b->gpa2 < end && gpa < b->gpa2 + (b->bytes - first));
}

static void
block_unhash(struct interp *it, struct block *b)
{
	struct block **p = hash_list(it, b->gpa, b->key);

	while (*p != NULL && *p != b)
		p = &(*p)->hash_next;
	if (*p == b)
		*p = b->hash_next;
	it->dropped++;
}

/* A block is on the list of its first page; when it crosses, also, as page2_next, on that of its
 * second, so lists mix both links. */
static struct block **
page_link(struct interp *it, struct block *b, const struct block *const *list)
{
	return list == (const struct block *const *)page_list(it, b->gpa) ? &b->page_next : &b->page2_next;
}

/* Drop blocks that overlap [gpa, end), all in one page; how many. *left: some of that page remain. */
static unsigned
page_drop(struct interp *it, gpa_t gpa, gpa_t end, bool *left)
{
	struct block **list = page_list(it, gpa), **p = list, **next, *b;
	uint64_t page = gpa & PAGE_MASK;
	unsigned dropped = 0;

	*left = false;
	while ((b = *p) != NULL) {
		next = page_link(it, b, (const struct block *const *)list);
		if (b->dead || block_touches(b, gpa, end)) {
			if (!b->dead)
				block_unhash(it, b);
			b->dead = true;
			*p = *next;
			dropped++;
			continue;
		}
		if ((b->gpa & PAGE_MASK) == page || (b->gpa2 & PAGE_MASK) == page)
			*left = true;
		p = next;
	}
	if (*list == NULL)
		atomic_store(&it->has_code[page_slot(gpa)], 0);
	return dropped;
}

void
interp_code_lock(struct cpu *c)
{
	building_lock(c);
}

void
interp_code_unlock(void)
{
	pthread_mutex_unlock(&building);
}

static bool
holds_code(const struct cpu *c, gpa_t gpa)
{
	return c->holds_code != NULL && c->holds_code(c, gpa);
}

/* Nobody on this memory has code of the page any more: writes to it are free again. */
static void
page_release(struct cpu *c, gpa_t gpa)
{
	struct interp *it;

	building_lock(c);
	for (it = interps; it != NULL; it = it->next)
		if (it->cpu->mem == c->mem && ((it != c->interp && atomic_load(&it->has_code[page_slot(gpa)])) ||
		    holds_code(it->cpu, gpa)))
			break;
	if (it == NULL)
		mem_page_clear(c->mem, gpa, MEM_code);
	pthread_mutex_unlock(&building);
}

void
interp_page_forget(struct cpu *c, gpa_t gpa)
{
	struct interp *it = c->interp;
	gpa_t page = gpa & PAGE_MASK;
	bool left;

	if (page_drop(it, page, page + PAGE_SIZE, &left) > 0) {
		it->drops++;
		it->jump_key += 1 << KEY_BITS;
	}
	if (!left)
		page_release(c, page);
}

void
blocks_drop_written(struct cpu *c)
{
	struct interp *it = c->interp;
	struct written w[WRITTEN_MAX];
	unsigned n, i, dropped = 0;
	bool left;

	pthread_mutex_lock(&it->lock);
	n = it->nwritten;
	memcpy(w, it->written, sizeof(w));
	it->nwritten = 0;
	atomic_store(&it->any_written, false);
	pthread_mutex_unlock(&it->lock);
	if (n > WRITTEN_MAX) {
		blocks_flush(it);
		return;
	}
	for (i = 0; i < n; i++) {
		dropped += page_drop(it, w[i].gpa, w[i].gpa + w[i].len, &left);
		if (!left)
			page_release(c, w[i].gpa);
	}
	if (dropped > 0) {
		it->drops++;
		it->jump_key += 1 << KEY_BITS;
	}
}

/* ---- fetching ---- */

static uint64_t
code_lin(const struct cpu *c, uint64_t rip)
{
	return c->mode == MODE_long64 ? rip : (uint32_t)(c->r.cs_base + rip);
}

static uint8_t
device_byte(struct cpu *c, gpa_t gpa)
{
	struct io io = { .addr = gpa, .size = 1 };

	return c->ops->io(c, &io) == IO_none ? 0xff : (uint8_t)io.data;
}

/* Byte number n of the instruction at lin, wherever it lies. */
static int MUST_CHECK
fetch_byte(struct cpu *c, uint64_t lin, uint8_t *byte)
{
	const struct code_entry *e;

	if (lin_code(c, lin, &e))
		return FAULT;
	if (e->host != NULL) {
		atomic_store(&c->interp->has_code[page_slot(e->gpa)], 1);
		cpu_code_protect(c, e->gpa);
		*byte = e->host[lin & ~PAGE_MASK];
	} else {
		*byte = device_byte(c, e->gpa | (lin & ~PAGE_MASK));
	}
	return OK;
}

static enum isa_mode
isa_of(const struct cpu *c)
{
	return c->mode == MODE_long64 ? ISA_64 : c->mode == MODE_prot32 ? ISA_32 : ISA_16;
}

/* Bytes that CS lets be fetched from r.rip + off on. */
static uint64_t
limit_left(const struct cpu *c, uint64_t off)
{
	uint64_t at = c->r.rip + off;

	if (c->mode == MODE_long64)
		return UINT64_MAX;
	return at > c->r.cs_limit ? 0 : c->r.cs_limit - at + 1;
}

/* One instruction byte by byte: across pages, at the limit, in device memory. */
static int MUST_CHECK
decode_slowly(struct cpu *c, struct insn *in)
{
	uint8_t bytes[INSN_MAX];
	unsigned n = 0;
	int res = 0;

	while (res == 0 && n < INSN_MAX) {
		if (limit_left(c, n) == 0)
			return cpu_raise_error(c, VEC_gp, 0);
		if (fetch_byte(c, code_lin(c, c->r.rip + n), &bytes[n]))
			return FAULT;
		res = insn_decode(bytes, ++n, isa_of(c), in);
	}
	if (res == 0) {
		in->id = INSN_invalid;
		in->len = INSN_MAX + 1;
	}
	return OK;
}

/* ---- building ---- */

static void *
arena_take(struct interp *it, size_t size)
{
	void *p = it->arena + it->arena_used;

	assert(it->arena_used + size <= it->arena_size);
	it->arena_used += (size + 31) & ~(size_t)31;
	return p;
}

/* The most that one block takes. */
enum { KEEP_MOST = sizeof(struct insn) + sizeof(void *) + 31, /* of an instruction, twice at most */
	BLOCK_MOST = sizeof(struct block) + BLOCK_IOPS * sizeof(struct iop) + (2 * BLOCK_INSNS + 2) * KEEP_MOST };

void *
lower_take(struct lower *l, size_t size)
{
	return arena_take(l->c->interp, size);
}

const struct insn *
lower_keep(struct lower *l)
{
	struct insn *in = lower_take(l, sizeof(*in));

	*in = *l->in;
	return in;
}

/* F3 means nothing to a processor without the instruction that it selects. */
static void
older_meaning(const struct cpu *c, struct insn *in)
{
	if (in->id == INSN_tzcnt && !cpu_has(c->model, CPUF_bmi1))
		in->id = INSN_bsf;
	else if (in->id == INSN_lzcnt && !cpu_has(c->model, CPUF_abm))
		in->id = INSN_bsr;
	else if (in->id == INSN_wbnoinvd && !cpu_has(c->model, CPUF_wbnoinvd))
		in->id = INSN_wbinvd;
}

/* Fill the scratch block from bytes on; the first instruction is decoded already. */
static void
block_fill(struct cpu *c, struct insn *in, const uint8_t *bytes, size_t avail, unsigned most)
{
	struct lower l = { .block = c->interp->scratch, .c = c, .in = in };
	bool ended = false;

	if (l.block->key & KEY_one)
		l.block->in = lower_keep(&l);
	while (!ended) {
		older_meaning(c, in);
		lower_insn(&l);
		ended = lower_ends(&l) || ++l.idx == most || l.n > BLOCK_IOPS - 4;
		l.off = (uint16_t)(l.off + (in->len > INSN_MAX ? INSN_MAX : in->len));
		if (!ended && (l.off >= avail || insn_decode(bytes + l.off, avail - l.off, isa_of(c), in) <= 0))
			ended = true;
	}
	lower_finish(&l);
	l.block->bytes = l.off;
	l.block->niops = (uint16_t)l.n;
}

static struct block *
block_publish(struct interp *it)
{
	size_t size = sizeof(struct block) + it->scratch->niops * sizeof(struct iop);
	struct block *b = arena_take(it, size), **list;

	memcpy(b, it->scratch, size);
	list = hash_list(it, b->gpa, b->key);
	b->hash_next = *list;
	*list = b;
	list = page_list(it, b->gpa);
	b->page_next = *list;
	*list = b;
	b->page2_next = NULL;
	if (b->gpa2 != 0 && page_list(it, b->gpa2) != list) {
		list = page_list(it, b->gpa2);
		b->page2_next = *list;
		*list = b;
	}
	it->built++;
	return b;
}

/* The physical address behind the block's first page, or 0. */
static gpa_t
second_page(struct cpu *c, uint64_t rip)
{
	uint64_t lin = (code_lin(c, rip) | ~PAGE_MASK) + 1;
	const struct code_entry *e;

	if (lin_code(c, c->mode == MODE_long64 ? lin : (uint32_t)lin, &e)) {
		c->fault.kind = EVENT_none;
		return 0;
	}
	return e->host == NULL ? 0 : e->gpa;
}

static int MUST_CHECK
block_build(struct cpu *c, gpa_t gpa, const uint8_t *page, unsigned key, struct block **b)
{
	struct interp *it = c->interp;
	uint64_t off = gpa & ~PAGE_MASK, avail = PAGE_SIZE - off, left = limit_left(c, 0);
	struct insn in;
	int res = 0;

	if (it->arena_used + BLOCK_MOST > it->arena_size)
		blocks_flush(it);
	if (left < avail)
		avail = left;
	if (page != NULL) {
		atomic_store(&it->has_code[page_slot(gpa)], 1);
		cpu_code_protect(c, gpa);
		res = insn_decode(page + off, avail, isa_of(c), &in);
	}
	*it->scratch = (struct block){ .gpa = gpa, .key = (uint16_t)key };
	if (res != 0) {
		block_fill(c, &in, page + off, avail, key & KEY_one ? 1 : BLOCK_INSNS);
		*b = block_publish(it);
		return OK;
	}
	if (decode_slowly(c, &in))
		return FAULT;
	block_fill(c, &in, NULL, 0, 1);
	if (page != NULL && avail == PAGE_SIZE - off)
		it->scratch->gpa2 = second_page(c, c->r.rip);
	/* What lies in device memory, or ends at a limit, is not kept. */
	*b = it->scratch->gpa2 != 0 ? block_publish(it) : it->scratch;
	return OK;
}

static struct block *
block_lookup(struct cpu *c, gpa_t gpa, unsigned key)
{
	struct block *b = *hash_list(c->interp, gpa, key);

	for (; b != NULL; b = b->hash_next)
		if (b->gpa == gpa && b->key == key && b->bytes <= limit_left(c, 0) &&
		    (b->gpa2 == 0 || b->gpa2 == second_page(c, c->r.rip)))
			return b;
	return NULL;
}

int
block_find(struct cpu *c, unsigned flags, struct block **b)
{
	struct interp *it = c->interp;
	uint64_t rip = c->r.rip, lin = code_lin(c, rip);
	unsigned key = c->mode | flags | (unsigned)(it->jump_key & KEY_ac);
	struct jump *j = &it->jump[jump_hash(rip)];
	const struct code_entry *e;
	int res;

	it->lookups++;
	if (c->mode == MODE_long64 ? (uint64_t)((int64_t)(rip << CANONICAL_SHIFT) >> CANONICAL_SHIFT) != rip
	    : rip > c->r.cs_limit)
		return cpu_raise_error(c, VEC_gp, 0);
	if (lin_code(c, lin, &e))
		return FAULT;
	*b = block_lookup(c, e->gpa | (lin & ~PAGE_MASK), key);
	if (*b == NULL) {
		gpa_t gpa = e->gpa | (lin & ~PAGE_MASK);
		const uint8_t *host = e->host;

		building_lock(c);
		res = block_build(c, gpa, host, key, b);
		pthread_mutex_unlock(&building);
		if (res)
			return FAULT;
	}
	if (*b != it->scratch && !(flags & KEY_one))
		*j = (struct jump){ .rip = rip, .key = it->jump_key, .block = *b };
	return OK;
}
