/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/pcid.c - address spaces with a PCID: what the TLB had of one that was left is put aside, and is back when a CR3
 * write with bit 63 returns to it (SDM vol. 3A, 4.10).
 *
 * Kept are copies of entries that are not global, as far as there is room; fewer than the architecture
 * allows. Whoever drops every entry, or the write entries of a page, drops them here as well. An entry
 * that leads to a second mapping (cpu->alias) is not kept: what is mapped there may change.
 */
#include "cpu/paging.h"

static void
tell(struct cpu *c, enum tlb_flush what, const struct tlb_aside *a)
{
	if (c->flushed != NULL)
		c->flushed(c, what, (uint64_t)(a - c->paging_state->aside));
}

static void
forget(struct cpu *c, struct tlb_aside *a)
{
	if (!a->used)
		return;
	a->used = false;
	tell(c, FLUSH_forget, a);
}

static struct tlb_aside *
find(struct cpu *c, uint64_t pcid)
{
	struct tlb_aside *a;

	for (a = c->paging_state->aside; a < c->paging_state->aside + ASIDES; a++)
		if (a->used && (a->cr3 & cr3_pcid_MASK) == pcid)
			return a;
	return NULL;
}

void
pcid_forget(struct cpu *c, uint64_t pcid)
{
	struct tlb_aside *a = find(c, pcid);

	if (a != NULL)
		forget(c, a);
}

void
pcid_forget_all(struct cpu *c)
{
	for (unsigned i = 0; i < ASIDES; i++)
		forget(c, &c->paging_state->aside[i]);
}

/* One that is free, or else the one left longest ago. */
static struct tlb_aside *
room(struct cpu *c)
{
	struct tlb_aside *a = c->paging_state->aside, *oldest = a, *end = a + ASIDES;

	for (; a < end; a++) {
		if (!a->used)
			return a;
		if (a->left < oldest->left)
			oldest = a;
	}
	forget(c, oldest);
	return oldest;
}

/* ---- putting aside ---- */

static bool
is_alias(const struct cpu *c, uint64_t host)
{
	return host - (uintptr_t)c->alias < c->alias_size;
}

static void
entry_aside(struct cpu *c, struct tlb_aside *a, unsigned array, const struct tlb_array *from, unsigned i)
{
	const uint64_t *word = from->tag + i * from->stride;
	unsigned k;

	if (a->n == ASIDE_ENTRIES || (array < TLB_CODE_ARRAYS && is_alias(c, word[0] + word[1])))
		return;
	a->entry[a->n].array = (uint8_t)array;
	a->entry[a->n].shift = from->notes->large[i / 64] >> (i % 64) & 1 ? from->notes->shift[i] : PAGE_SHIFT;
	for (k = 0; k < from->stride; k++)
		a->entry[a->n].word[k] = word[k];
	a->n++;
}

static void
array_aside(struct cpu *c, struct tlb_aside *a, unsigned array)
{
	struct tlb_array from = tlb_array_at(c, array);
	uint64_t words, left;
	unsigned word;

	words = from.notes->any_local;
	for (word = tlb_words_first(words); word < TLB_WORDS && a->n < ASIDE_ENTRIES; word = tlb_words_next(&words, word)) {
		for (left = from.notes->used[word] & ~from.notes->global[word]; left != 0; left &= left - 1)
			entry_aside(c, a, array, &from, word * 64 + (unsigned)__builtin_ctzll(left));
	}
}

static void
put_aside(struct cpu *c, uint64_t cr3)
{
	struct paging_state *s = c->paging_state;
	struct tlb_aside *a;
	unsigned i;

	pcid_forget(c, cr3 & cr3_pcid_MASK);
	a = room(c);
	a->used = true;
	a->cr3 = cr3;
	a->left = ++s->switches;
	a->n = 0;
	for (i = 0; i < CODE_VIEWS; i++)
		a->seen[i] = s->seen[i];
	for (i = TLB_ARRAYS; i-- > 0; )		/* code first: there is little of it */
		array_aside(c, a, i);
	tell(c, FLUSH_aside, a);
}

/* ---- putting back ---- */

/* Where code was seen, so that INVLPG is told of again. */
static void
seen_back(struct cpu *c, const struct tlb_aside *a)
{
	struct code_seen *s;
	unsigned v, i;

	for (v = 0; v < CODE_VIEWS; v++) {
		s = &c->paging_state->seen[v];
		if (!a->seen[v].local)
			continue;
		for (i = 0; i < SEEN_WORDS; i++) {
			s->page[i] |= a->seen[v].page[i];
			s->large[i] |= a->seen[v].large[i];
		}
		s->huge |= a->seen[v].huge;
		s->local = true;
		c->remaps[v]++;
	}
}

static void
put_back(struct cpu *c, struct tlb_aside *a)
{
	struct walk w = { 0 };
	struct tlb_array to;
	unsigned k, n, i;

	for (n = 0; n < a->n; n++) {
		to = tlb_array_at(c, a->entry[n].array);
		i = tlb_array_index(&to, a->entry[n].word[0]);
		if (to.notes->used[i / 64] >> (i % 64) & 1)
			continue;	/* a global one */
		for (k = 0; k < to.stride; k++)
			to.tag[i * to.stride + k] = a->entry[n].word[k];
		w.shift = a->entry[n].shift;
		tlb_note(c, to.notes, i, a->entry[n].word[0], &w);
		if (tlb_array_writes(a->entry[n].array))
			tlb_note_host(c, a->entry[n].array - TLB_VIEWS, i);
	}
	seen_back(c, a);
	tell(c, FLUSH_back, a);
	a->used = false;
}

void
pcid_switch(struct cpu *c, uint64_t old, bool keep)
{
	uint64_t now = c->r.cr3, pcid = cr3_pcid(&c->r);
	struct tlb_aside *a;

	if (keep && now == old)
		return;
	if (pcid != (old & cr3_pcid_MASK))
		put_aside(c, old);
	tlb_flush_all(c, false);
	if ((a = find(c, pcid)) == NULL)
		return;
	if (keep && a->cr3 == now)
		put_back(c, a);
	else
		forget(c, a);
}

void
pcid_drop_writes(struct cpu *c, const uint8_t *host_page)
{
	struct tlb_aside *a;
	unsigned n;

	for (a = c->paging_state->aside; a < c->paging_state->aside + ASIDES; a++) {
		if (!a->used)
			continue;
		for (n = a->n; n-- > 0; ) {
			const uint64_t *w = a->entry[n].word;

			if (!tlb_array_writes(a->entry[n].array))
				continue;
			if (host_page == NULL || (const uint8_t *)(uintptr_t)(w[0] + w[1]) == host_page)
				a->entry[n] = a->entry[--a->n];
		}
	}
}
