/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/tlb.c - the software TLB: direct-mapped arrays of page tags, filled from page walks.
 *
 * For each view (who accesses) one array for reads and one for writes, and for each privilege one
 * for instruction fetch. An entry says that the access needs no more checks: a write entry exists
 * only when D is set, the page is MEM_dirty and holds no code.
 *
 * All entries belong to the present CR3: nothing is tagged by PCID. A CR3 write drops all but the
 * global ones; pcid.c keeps a copy of them, and has them back.
 */
#include "cpu/paging.h"
#include <limits.h>
#include <sys/mman.h>

enum { LARGE_SHIFT = 21 };

/* No memset here: it uses vector registers, which may be the guest's. */
static void
zero(void *at, size_t size)
{
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(0) : "memory");
}

struct tlb_array
tlb_array_at(struct cpu *c, unsigned i)
{
	struct paging_state *s = c->paging_state;
	enum { DATA = sizeof(struct tlb_entry) / 8, CODE = sizeof(struct code_entry) / 8 };

	if (i < TLB_VIEWS)
		return (struct tlb_array){ &c->tlb[i].read[0].tag, DATA, TLB_ENTRIES - 1, &s->read[i] };
	i -= TLB_VIEWS;
	if (i < TLB_VIEWS)
		return (struct tlb_array){ &c->tlb[i].write[0].tag, DATA, TLB_ENTRIES - 1, &s->write[i] };
	i -= TLB_VIEWS;
	return (struct tlb_array){ &c->code[i][0].tag, CODE, CODE_ENTRIES - 1, &s->code[i] };
}

static const uint8_t large_shift[LARGE_SIZES] = { 21, 22, 30 };

static uint64_t
large_bit(uint64_t lin, unsigned size)
{
	return 1ull << (lin >> large_shift[size] & 63);
}

static uint64_t *
large_seen(struct paging_state *s, uint64_t lin)
{
	return s->large_seen[lin >> 63];
}

static void
see_large(struct paging_state *s, uint64_t lin, const struct walk *w)
{
	unsigned n;

	for (n = 0; n < LARGE_SIZES; n++)
		if (w->shift == large_shift[n])
			large_seen(s, lin)[n] |= large_bit(lin, n);
}

static bool
seen_large(struct paging_state *s, uint64_t lin)
{
	unsigned n;

	for (n = 0; n < LARGE_SIZES; n++)
		if (large_seen(s, lin)[n] & large_bit(lin, n))
			return true;
	return false;
}

void
tlb_note(struct cpu *c, struct tlb_notes *n, unsigned i, uint64_t lin, const struct walk *w)
{
	uint64_t bit = 1ull << (i % 64), word = 1ull << (i / 64 / TLB_WORDS_PER_BIT);

	n->used[i / 64] |= bit;
	n->any |= word;
	if (w->global) {
		n->global[i / 64] |= bit;
	} else {
		n->global[i / 64] &= ~bit;
		n->any_local |= word;
	}
	n->large[i / 64] &= ~bit;
	if (w->shift == PAGE_SHIFT)
		return;
	n->large[i / 64] |= bit;
	n->any_large |= word;
	n->shift[i] = w->shift;
	see_large(c->paging_state, lin, w);
}

static void
drop_word(struct tlb_array *a, unsigned word, uint64_t which)
{
	uint64_t left = which & a->notes->used[word];

	a->notes->used[word] &= ~which;
	for (; left != 0; left &= left - 1)
		a->tag[(word * 64 + (unsigned)__builtin_ctzll(left)) * a->stride] = TLB_EMPTY;
}

static void
drop_index(struct tlb_array *a, unsigned i)
{
	drop_word(a, i / 64, 1ull << (i % 64));
}

static void
drop_all(struct tlb_array *a, bool globals)
{
	struct tlb_notes *n = a->notes;
	uint64_t left = globals ? n->any : n->any_local;
	unsigned word;

	n->any_local = 0;
	if (globals)
		n->any = n->any_large = 0;
	for (word = tlb_words_first(left); word < TLB_WORDS; word = tlb_words_next(&left, word))
		drop_word(a, word, globals ? UINT64_MAX : ~n->global[word]);
}

/* Every entry made from the large page of lin. */
static void
drop_large(struct tlb_array *a, uint64_t lin)
{
	uint64_t words = a->notes->any_large, left;
	unsigned word, i;

	for (word = tlb_words_first(words); word < TLB_WORDS; word = tlb_words_next(&words, word)) {
		for (left = a->notes->used[word] & a->notes->large[word]; left != 0; left &= left - 1) {
			i = word * 64 + (unsigned)__builtin_ctzll(left);
			if ((a->tag[i * a->stride] ^ lin) >> a->notes->shift[i] == 0)
				drop_index(a, i);
		}
	}
}

static unsigned
seen_hash(uint64_t lin, unsigned shift)
{
	return lin >> shift & ((1 << SEEN_BITS) - 1);
}

/* Another one: a page counts as seen when both bits are set. */
static unsigned
seen_hash2(uint64_t lin)
{
	return (unsigned)((lin >> PAGE_SHIFT) * 0x9e3779b97f4a7c15 >> (64 - SEEN_BITS));
}

static bool
bit_set(const uint64_t *words, unsigned i)
{
	return words[i / 64] >> (i % 64) & 1;
}

static void
see_code(struct code_seen *s, uint64_t lin, const struct walk *w)
{
	unsigned i = seen_hash(lin, w->shift), k = seen_hash2(lin);

	if (w->shift == PAGE_SHIFT) {
		s->page[i / 64] |= 1ull << (i % 64);
		s->page[k / 64] |= 1ull << (k % 64);
	} else if (w->shift == LARGE_SHIFT) {
		s->large[i / 64] |= 1ull << (i % 64);
	} else {
		s->huge = true;
	}
	s->local |= !w->global;
	s->global |= w->global;
}

/* May code have been fetched through the mapping of lin, of whatever size? */
static bool
seen_code(const struct code_seen *s, uint64_t lin)
{
	return s->huge || (bit_set(s->page, seen_hash(lin, PAGE_SHIFT)) && bit_set(s->page, seen_hash2(lin))) ||
		bit_set(s->large, seen_hash(lin, LARGE_SHIFT));
}

/* Entries made before stay in the code arrays when they are global: so do their marks. */
static void
forget_code(struct cpu *c, bool globals)
{
	struct code_seen *s;
	unsigned v;

	for (v = 0; v < CODE_VIEWS; v++) {
		s = &c->paging_state->seen[v];
		if (globals || s->local)
			c->remaps[v]++;
		s->local = false;
		if (globals || !s->global)
			zero(s, sizeof(*s));
	}
}

/* The translator's copies of entries. */
static void
drop_copies(struct tlb *t)
{
	unsigned write;
	uint64_t left;

	t->stack.tag = TLB_EMPTY;
	for (write = 0; write < 2; write++) {
		for (left = t->near_used[write]; left != 0; left &= left - 1)
			t->near[write][__builtin_ctzll(left)].tag = TLB_EMPTY;
		for (left = t->range_used[write]; left != 0; left &= left - 1)
			t->range[write][__builtin_ctzll(left)].lo = TLB_EMPTY;
		t->near_used[write] = t->range_used[write] = 0;
	}
}

/* After a flush: the copies of entries go as well. */
static void
forget_copies(struct cpu *c)
{
	unsigned view;

	for (view = 0; view < TLB_VIEWS; view++)
		drop_copies(&c->tlb[view]);
	paging_flush(c);
}

/* And who keeps what was fetched through them hears of it. */
static void
tell(struct cpu *c, enum tlb_flush what, uint64_t lin)
{
	if (c->flushed != NULL)
		c->flushed(c, what, lin);
}

void
tlb_flush_page(struct cpu *c, uint64_t lin)
{
	bool large = seen_large(c->paging_state, lin), code = false;
	struct tlb_array a;
	unsigned i, n;

	for (i = 0; i < TLB_ARRAYS; i++) {
		a = tlb_array_at(c, i);
		n = tlb_array_index(&a, lin);
		if (a.tag[n * a.stride] == (lin & PAGE_MASK))
			drop_index(&a, n);
		if (large)
			drop_large(&a, lin);
	}
	for (i = 0; i < CODE_VIEWS; i++) {
		if (seen_code(&c->paging_state->seen[i], lin)) {
			c->remaps[i]++;
			code = true;
		}
	}
	forget_copies(c);
	if (code)
		tell(c, FLUSH_page, lin);
}

void
tlb_flush_all(struct cpu *c, bool globals)
{
	struct tlb_array a;
	unsigned i;

	for (i = 0; i < TLB_ARRAYS; i++) {
		a = tlb_array_at(c, i);
		drop_all(&a, globals);
	}
	if (globals) {
		zero(c->paging_state->large_seen, sizeof(c->paging_state->large_seen));
		pcid_forget_all(c);
	}
	forget_code(c, globals);
	forget_copies(c);
	tell(c, globals ? FLUSH_all : FLUSH_nonglobal, 0);
}

void
tlb_flush_view(struct cpu *c, enum tlb_view view)
{
	struct tlb_array a = tlb_array_at(c, view);

	drop_all(&a, true);
	a = tlb_array_at(c, TLB_VIEWS + view);
	drop_all(&a, true);
	drop_copies(&c->tlb[view]);
	pcid_forget_all(c);
}

static const uint8_t *
host_of(const struct tlb_entry *e)
{
	return (const uint8_t *)(uintptr_t)(e->tag + e->delta);
}

static unsigned
list_of(const uint8_t *host_page)
{
	return (unsigned)(((uintptr_t)host_page >> PAGE_SHIFT) * 0x9e3779b97f4a7c15 >> 32) & (HOST_LISTS - 1);
}

void
tlb_note_host(struct cpu *c, enum tlb_view v, unsigned i)
{
	struct host_index *x = &c->paging_state->leads_to[v];
	unsigned l = list_of(host_of(&c->tlb[v].write[i]));
	uint16_t *p;

	if (x->list[i] == l + 1)
		return;
	if (x->list[i] != 0) {
		for (p = &x->first[x->list[i] - 1]; *p != i + 1; p = &x->next[*p - 1])
			;
		*p = x->next[i];
	}
	x->list[i] = (uint16_t)(l + 1);
	x->next[i] = x->first[l];
	x->first[l] = (uint16_t)(i + 1);
}

/* Of one in the page's list: which page an alias is of is not known here. */
static bool
may_be(const struct cpu *c, const struct tlb_entry *e, const uint8_t *host_page)
{
	return host_of(e) == host_page || (uintptr_t)host_of(e) - (uintptr_t)c->alias < c->alias_size;
}

void
tlb_drop_writes(struct cpu *c, const uint8_t *host_page)
{
	const struct host_index *x;
	struct tlb_array a;
	unsigned view, i;

	pcid_drop_writes(c, host_page);
	for (view = 0; view < TLB_VIEWS; view++) {
		a = tlb_array_at(c, TLB_VIEWS + view);
		drop_copies(&c->tlb[view]);
		if (host_page == NULL) {
			drop_all(&a, true);
			continue;
		}
		x = &c->paging_state->leads_to[view];
		for (i = x->first[list_of(host_page)]; i != 0; i = x->next[i - 1])
			if (may_be(c, &c->tlb[view].write[i - 1], host_page))
				drop_index(&a, i - 1);
	}
}

/* The arrays are zeros, which nobody has touched yet: much of them stays so. Such an entry has the tag of page 0, for which nobody
 * looks there, but at these: where the entry for page 0 is, and, as the translator takes an entry for that of the base register's
 * page, those beside it. */
static void
arrays_begin(struct cpu *c)
{
	static const unsigned near_0[] = { 0, 1, UINT_MAX };
	struct tlb_array a;
	unsigned i, n;

	for (i = 0; i < TLB_ARRAYS; i++) {
		a = tlb_array_at(c, i);
		for (n = 0; n < sizeof(near_0) / sizeof(*near_0); n++)
			a.tag[(near_0[n] & a.last) * a.stride] = TLB_EMPTY;
	}
}

void
tlb_init(struct cpu *c)
{
	unsigned i;

	arrays_begin(c);
	for (i = 0; i < TLB_VIEWS; i++) {
		c->tlb[i].near_used[0] = c->tlb[i].near_used[1] = UINT64_MAX;
		c->tlb[i].range_used[0] = c->tlb[i].range_used[1] = UINT64_MAX;
		drop_copies(&c->tlb[i]);
	}
	c->paging_state->tables_used = UINT64_MAX;
	paging_flush(c);
	c->paging_state->device.tag = TLB_EMPTY;
}

void
tlb_trim(struct cpu *c)
{
	uintptr_t from, to;
	struct tlb_array a;
	unsigned i;

	tlb_flush_all(c, true);
	for (i = 0; i < TLB_ARRAYS; i++) {
		a = tlb_array_at(c, i);
		from = ((uintptr_t)a.tag + PAGE_SIZE - 1) & PAGE_MASK;
		to = (uintptr_t)(a.tag + (a.last + 1) * a.stride) & PAGE_MASK;
		if (to > from)
			madvise((void *)from, to - from, MADV_DONTNEED);
	}
	arrays_begin(c);
}

static enum tlb_view
view_for(const struct cpu *c, unsigned acc)
{
	if (acc & ACC_system)
		return cr4_smap(&c->r) ? TLB_super : TLB_super_ac;
	return c->tlb_view;
}

static void
fill(struct cpu *c, struct tlb_entry *e, struct tlb_notes *n, uint64_t lin, const uint8_t *host, const struct walk *w)
{
	unsigned i = tlb_index(lin);

	e[i].tag = lin & PAGE_MASK;
	e[i].delta = (uintptr_t)host - (lin & PAGE_MASK);
	tlb_note(c, n, i, lin, w);
}

static void
fill_write(struct cpu *c, enum tlb_view v, uint64_t lin, const uint8_t *host, const struct walk *w, uint8_t flags)
{
	if (!(flags & MEM_dirty))
		mem_page_set(c->mem, w->gpa, MEM_dirty);
	fill(c, c->tlb[v].write, &c->paging_state->write[v], lin, host, w);
	tlb_note_host(c, v, tlb_index(lin));
}

int
tlb_place(struct cpu *c, uint64_t lin, unsigned acc, struct place *p)
{
	enum tlb_view v = view_for(c, acc);
	const struct tlb_entry *e = &(acc & ACC_write ? c->tlb[v].write : c->tlb[v].read)[tlb_index(lin)];
	struct walk w;
	uint8_t *host, flags;

	*p = (struct place){ 0 };
	if (!(acc & ACC_exec) && e->tag == (lin & PAGE_MASK)) {
		p->host = (uint8_t *)(uintptr_t)(lin + e->delta);
		return OK;
	}
	if (paging_translate(c, lin, acc, &w) != OK)
		return FAULT;
	p->gpa = w.gpa;
	host = mem_page(c->mem, w.gpa, &flags);
	if (host == NULL)
		return OK;
	p->code = flags & MEM_code;
	p->host = host + (w.gpa & ~PAGE_MASK);
	if (acc & ACC_exec)
		return OK;
	fill(c, c->tlb[v].read, &c->paging_state->read[v], lin, host, &w);
	if (acc & ACC_write && !p->code)
		fill_write(c, v, lin, host, &w, flags);
	return OK;
}

int
lin_code_slow(struct cpu *c, uint64_t lin, const struct code_entry **out)
{
	enum code_view v = c->cpl == 3 ? CODE_user : CODE_super;
	unsigned i = code_index(lin);
	struct code_entry *e = &c->code[v][i];
	const uint8_t *host;
	struct walk w;

	if (paging_translate(c, lin, ACC_exec, &w) != OK)
		return FAULT;
	host = mem_get(c->mem, w.gpa & PAGE_MASK, PAGE_SIZE);
	if (host == NULL)
		e = &c->paging_state->device;
	else
		tlb_note(c, &c->paging_state->code[v], i, lin, &w);
	see_code(&c->paging_state->seen[v], lin, &w);
	*e = (struct code_entry){ .tag = lin & PAGE_MASK, .gpa = w.gpa & PAGE_MASK, .host = host };
	*out = e;
	return OK;
}

bool
lin_code_global(const struct cpu *c, uint64_t lin)
{
	enum code_view v = c->cpl == 3 ? CODE_user : CODE_super;
	unsigned i = code_index(lin);

	return c->code[v][i].tag == (lin & PAGE_MASK) && (c->paging_state->code[v].global[i / 64] >> (i % 64) & 1);
}
