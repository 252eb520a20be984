/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/near.c - checks against a copy of a TLB entry at a constant address.
 *
 *	lea   s0, [address]
 *	sub   s0, [range + lo]
 *	cmp   s0, [range + last]	; that of its size
 *	ja    miss			; gate_range copies it from the table
 *	mov   s1, [range + delta]
 *	op    [address + s1]
 *
 * Shorter than a look into the table, and the delta waits for no address. A range is one page, and
 * more when pages beside it are in the TLB and lie beside it in the host, too. Groups of accesses
 * (share.c) have entries of one page. Good while an instruction stays where it is for some time. One
 * that does not gets tired: its misses are counted and timed, and when they come too often its block
 * is translated again, with that check made by the table.
 *
 * Code that runs a few times misses whatever others have left in the ranges, so pages begin without them. Events
 * sample what runs: a place that several of them found makes its page warm, and its blocks are written again.
 */
#include "engine/bt/tr.h"

enum { PATIENCE = 16 /* misses */, TRIES = 3, REACH = 1024 /* pages */, DELTA = offsetof(struct tlb_entry, delta),
	/* Cycles from one miss to the next, over 16: with fewer the table is better, with much fewer a
	 * window is worth a try. A miss costs about 40, and several instructions of a loop share them. */
	TSC_SHIFT = 4, OFTEN = 60000 >> TSC_SHIFT, VERY_OFTEN = 1000 >> TSC_SHIFT };
#define FOUR_GIB (1ull << 32)	/* 32-bit code has no addresses behind it */

static unsigned
tired_bit(uint64_t rip, bool group)
{
	return (unsigned)(((rip << 1 | group) * 0x9e3779b97f4a7c15) >> 48) & (BT_TIRED - 1);
}

bool
tr_is_tired(const struct tr *t, unsigned k, bool group)
{
	unsigned bit = tired_bit(tr_rip(t, &t->i[k]), group);

	return t->bt->tired[bit / 8] >> bit % 8 & 1;
}

void
bt_heat_note(struct bt_state *bt)
{
	enum { WARM = 4 /* events */, HASH_SHIFT = 64 - 6 };
	uint64_t rip = bt->c->r.rip;
	struct bt_heat *h = &bt->heat[rip * 0x9e3779b97f4a7c15 >> HASH_SHIFT];
	struct bt_page *pg;

	static_assert(BT_HEATS == 1 << (64 - HASH_SHIFT), "the hash has as many values");
	if (h->rip == rip) {
		if (++h->n < WARM || (pg = bt_page_at(bt, rip)) == NULL || pg->warm)
			return;
		pg->warm = true;
		bt_page_renew(bt, pg);
		h->n = 0;
	} else if (h->n > 0) {
		h->n--;
	} else {
		h->rip = rip;
	}
}

void
bt_warm_all(struct bt_state *bt, bool warm)
{
	struct bt_page *pg;

	if (bt->warm_all == warm)
		return;
	bt->warm_all = warm;
	for (pg = bt->pages; pg < bt->pages + bt->npages; pg++)
		if (pg->mode & BM_user) {
			pg->warm = warm;
			bt_page_renew(bt, pg);
		}
}

static uint32_t
cycles(void)
{
	return (uint32_t)(__builtin_ia32_rdtsc() >> TSC_SHIFT);
}

static struct tlb_entry *
table_of(const struct bt_state *bt, const struct bt_site *s)
{
	return (struct tlb_entry *)(void *)((uint8_t *)bt->c + s->table);
}

/* A site has missed often. True: it will not again; its block is gone. */
bool
bt_near_tired(struct bt_state *bt, struct bt_site *s, uint64_t page, const uint8_t *pc)
{
	uint32_t now = cycles(), since = now - s->since;
	struct bt_block *b;

	if (s->left >= 0)
		return false;
	s->left = PATIENCE;
	if (s->since != 0 && since < PATIENCE * VERY_OFTEN && (s->info & FILL_range) && s->tries < TRIES &&
	    bt_window_around(bt, table_of(bt, s), page)) {
		s->tries++;
		since = UINT32_MAX;
	}
	if (s->since == 0 || since > PATIENCE * OFTEN) {
		s->since = now | 1;
		return false;
	}
	bt->tired[s->bit / 8] |= (uint8_t)(1 << s->bit % 8);
	bt->stats.tired++;
	if ((b = bt_block_at(bt, pc)) != NULL)
		bt_block_forget(bt, b);
	return true;
}

/* The table's entry for page, if that lies as far from its host address as delta says. */
static bool
lies_beside(struct bt_state *bt, struct tlb_entry *table, uint64_t page, uint64_t delta)
{
	struct tlb_entry *e = &table[page >> PAGE_SHIFT & (TLB_ENTRIES - 1)];

	if (e->tag == page && e->delta != delta)
		bt_window_prefer(bt, e);
	return e->tag == page && e->delta == delta;
}

/* Set a range to the pages around `page` that lie side by side as it does, as far as the TLB knows. */
void
bt_range_widen(struct bt_state *bt, const struct bt_site *s, uint64_t page, struct tlb_entry *e)
{
	struct tlb_range *r = (struct tlb_range *)(void *)((uint8_t *)bt->c + s->entry);
	struct tlb_entry *table = table_of(bt, s);
	uint64_t lo = page, hi = page + PAGE_SIZE;
	unsigned k;

	bt_window_prefer(bt, e);
	for (k = 1; k < REACH && lies_beside(bt, table, lo - PAGE_SIZE, e->delta); k++)
		lo -= PAGE_SIZE;
	for (k = 1; k < REACH && hi != FOUR_GIB && lies_beside(bt, table, hi, e->delta); k++)
		hi += PAGE_SIZE;
	r->lo = lo;
	r->delta = e->delta;
	for (k = 0; k < TLB_SIZES; k++)
		r->last[k] = hi - lo - (1u << k);
	*(uint64_t *)(void *)((uint8_t *)bt->c + s->used) |= s->mask;
}

/* ---- while a block is written ---- */

static size_t
tlb_of(const struct tr *t)
{
	return offsetof(struct cpu, tlb) + (t->mode >> BM_VIEW_SHIFT & 3) * sizeof(struct tlb);
}

/* Instructions close to each other that have a base register in common are likely to want the same. */
static unsigned
place_of(const struct tr *t, const struct tr_insn *i)
{
	enum { NEIGHBOURS = 9 };

	return (unsigned)((tr_rip(t, i) >> NEIGHBOURS) * 0x9e3779b1 >> 8) + i->in.base * 5u + i->in.seg;
}

static struct bt_site *
site_new(struct tr *t, unsigned k, bool write, bool group, uint32_t info)
{
	size_t table = tlb_of(t) + (write ? offsetof(struct tlb, write) : offsetof(struct tlb, read));
	struct bt_site *s = &t->bt->sites[t->bt->nsites++];

	*s = (struct bt_site){ .left = PATIENCE, .info = info | FILL_near | (write ? FILL_write : 0), .table = (uint32_t)table,
		.bit = tired_bit(tr_rip(t, &t->i[k]), group) };
	return s;
}

/* A check of i's operand by a range; NULL: it has to be by the table. */
struct bt_site *
tr_range_site(struct tr *t, const struct tr_insn *i, unsigned size, bool write, uint32_t info)
{
	unsigned k = (unsigned)(i - t->i), n = place_of(t, i) % TLB_NEAR;
	struct bt_site *s;

	if (!t->pg->warm || t->narrow || t->bt->nsites >= t->bt->limit.sites || size > 1 << (TLB_SIZES - 1) || (size & (size - 1)) != 0 ||
	    tr_is_tired(t, k, false))
		return NULL;
	s = site_new(t, k, write, false, info | FILL_range);
	s->entry = (uint32_t)(tlb_of(t) + offsetof(struct tlb, range) + (write * TLB_NEAR + n) * sizeof(struct tlb_range));
	s->used = (uint32_t)(tlb_of(t) + offsetof(struct tlb, range_used) + write * sizeof(uint64_t));
	s->mask = 1ull << n;
	return s;
}

/* Another group that is checked, or used, while g is has this entry. */
static bool
is_taken(const struct tr *t, const struct tr_group *g, size_t entry)
{
	const struct tr_group *o;

	for (o = t->group; o < t->group + t->ngroups; o++)
		if (o != g && o->members != 0 && o->entry == entry && o->at <= g->last && g->at <= o->last)
			return true;
	return false;
}

static struct bt_site *
group_site(struct tr *t, struct tr_group *g)
{
	size_t near = tlb_of(t) + offsetof(struct tlb, near) + g->write * sizeof(((struct tlb *)0)->near[0]);
	unsigned n = place_of(t, &t->i[g->at]) + (unsigned)g->base, k;
	struct bt_site *s;

	if (t->bt->nsites >= t->bt->limit.sites)
		return NULL;
	for (k = 0; k < TLB_NEAR; k++, n++) {
		g->entry = near + n % TLB_NEAR * sizeof(struct tlb_entry);
		if (!is_taken(t, g, g->entry))
			break;
	}
	s = site_new(t, g->at, g->write, true, (uint32_t)(g->hi - g->lo) | FILL_narrow);
	s->entry = (uint32_t)g->entry;
	s->used = (uint32_t)(tlb_of(t) + offsetof(struct tlb, near_used) + g->write * sizeof(uint64_t));
	s->mask = 1ull << n % TLB_NEAR;
	return s;
}

/* A group's check by an entry of constant address. False: there is no room for one. */
static bool
check_by_entry(struct tr *t, struct tr_group *g, int32_t span)
{
	struct emit *e = &t->e;
	struct cold *c;

	g->entry = tlb_of(t) + offsetof(struct tlb, stack);
	if (g->base != RSP && (g->site = group_site(t, g)) == NULL)
		return false;
	e_lea(e, true, S0, rm_at(tr_host(g->base), g->lo));
	e_alu(e, true, g->base == RSP ? ALU_sub : ALU_xor, S0, rm_cpu(NOREG, g->entry));
	e_alu_imm(e, true, ALU_cmp, rm_reg(S0), PAGE_SIZE - span);
	c = tr_cold(t, g->base == RSP ? COLD_stack : COLD_near, e_jcc(e, CC_a, NULL));
	c->tag = g->entry;
	c->site = g->site;
	c->info = (uint32_t)span | FILL_write | FILL_stack | FILL_narrow;
	return true;
}

/* By the table. The delta is put where members find it, as they do that of an entry. */
static void
check_by_table(struct tr *t, struct tr_group *g, int32_t span)
{
	size_t table = tlb_of(t) + (g->write ? offsetof(struct tlb, write) : offsetof(struct tlb, read));
	struct emit *e = &t->e;
	struct cold *c;

	g->entry = (size_t)(bt_abs(&t->bt->delta[g - t->group]) - e->cpu - DELTA);
	e_lea(e, true, S0, rm_at(tr_host(g->base), g->lo));
	e_rorx32(e, S1, g->lo == 0 ? tr_host(g->base) : S0, TLB_INDEX_SHIFT);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), TLB_INDEX_MASK);
	e_alu(e, true, ALU_xor, S0, rm_cpu(S1, table));
	e_alu_imm(e, true, ALU_cmp, rm_reg(S0), PAGE_SIZE - span);
	c = tr_cold(t, COLD_tlb, e_jcc(e, CC_a, NULL));
	c->tag = table;
	c->info = (uint32_t)span | (g->write ? FILL_write : 0) | FILL_narrow;
	e_load(e, S1, rm_cpu(S1, table + DELTA));
	e_store(e, rm_cpu(NOREG, g->entry + DELTA), S1);
	t->held = g->entry;
}

/* The checks that stand before instruction k. */
void
tr_group_checks(struct tr *t, unsigned k)
{
	struct tr_group *g;
	struct cold *c;
	uint8_t *retry;

	for (g = t->group; g < t->group + t->ngroups; g++) {
		if (g->members == 0 || g->at != k)
			continue;
		tr_flags_clobber(t, &t->i[k]);
		t->held = 0;
		retry = t->e.p;
		if (g->table) {
			check_by_table(t, g, g->hi - g->lo);
		} else if (!check_by_entry(t, g, g->hi - g->lo)) {
			g->members = 0;		/* each for itself */
			continue;
		}
		c = &t->cold[t->ncold - 1];
		c->back = retry;
		c->splits = SPLIT_narrow;
		c->addr = tr_rip(t, &t->i[k]);
	}
}

/* The operand of i, whose group has been checked. */
struct rm
tr_group_member(struct tr *t, const struct tr_insn *i, int32_t disp)
{
	const struct tr_group *g = &t->group[i->group];

	if (t->held != g->entry)
		e_load(&t->e, S1, rm_cpu(NOREG, g->entry + DELTA));
	t->held = g->entry;
	t->free_reg = S0;
	t->site = NULL;
	return rm_sum(tr_host(g->base), S1, 0, disp);
}
