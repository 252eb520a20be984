/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/stats.c - what the translator counted, for `--stats`. */
#include "engine/bt/bt.h"
#include "cpu/paging.h"

static const char *const light_name[INSN__COUNT] = {
	[INSN_invalid] = "light invalid",
#define I(name, ...) [INSN_##name] = "light " #name,
#include "isa/insns.def"
#undef I
};
static const char *const interpreted_name[INSN__COUNT] = {
	[INSN_invalid] = "interpreted invalid",	/* or not decoded: ends in a page that is not there */
#define I(name, ...) [INSN_##name] = "interpreted " #name,
#include "isa/insns.def"
#undef I
};

static const char *const refused_name[REFUSED__COUNT] = {
	[REFUSED_fault] = "bt slow: fault", [REFUSED_crossing] = "bt slow: crosses pages",
	[REFUSED_device] = "bt slow: device", [REFUSED_code] = "bt slow: page with code",
	[REFUSED_other] = "bt slow: other",
};

/* A TLB entry could not be made for an access: why? */
void
bt_count_refusal(struct bt_state *bt, uint64_t lin, unsigned size, int res)
{
	enum bt_refused why = REFUSED_other;
	gpa_t gpa;

	if (res != OK)
		why = REFUSED_fault;
	else if (((lin + size - 1) & PAGE_MASK) != (lin & PAGE_MASK))
		why = REFUSED_crossing;
	else if (!paging_peek(bt->c, lin, &gpa))
		why = REFUSED_fault;	/* not canonical */
	else if (mem_get(bt->c->mem, gpa, 1) == NULL)
		why = REFUSED_device;
	else if (mem_page_flags(bt->c->mem, gpa) & MEM_code)
		why = REFUSED_code;
	bt->stats.refused[why]++;
}

/* The instructions most often counted in `of`, as far as there is room. */
static unsigned
by_name(const uint64_t *of, const char *const *names, struct counter *out, unsigned n, unsigned max)
{
	bool told[INSN__COUNT] = { false };
	unsigned id, pick;

	for (; n < max; n++) {
		for (pick = INSN__COUNT, id = 0; id < INSN__COUNT; id++)
			if (!told[id] && of[id] != 0 && (pick == INSN__COUNT || of[id] > of[pick]))
				pick = id;
		if (pick == INSN__COUNT)
			break;
		told[pick] = true;
		out[n] = (struct counter){ names[pick], of[pick] };
	}
	return n;
}

/* Exits to known addresses, and how many of them jump straight to their target: the chain rate. */
static void
count_exits(const struct bt_state *bt, uint64_t *all, uint64_t *linked)
{
	const struct bt_exit *x;
	unsigned n;

	*all = *linked = 0;
	for (n = 0; n < bt->chunks; n++)
		for (x = bt->exits + bt_chunk_begin(bt, n).exits; x < bt->exits + bt_chunk_end(bt, n).exits; x++) {
			if (x->kind > BX_link_land)
				continue;
			++*all;
			*linked += x->to != 0;
		}
}

unsigned
bt_counters(const struct cpu *c, struct counter *out, unsigned max)
{
	const struct bt_state *bt = c->bt;
	const struct bt_stats *s = &bt->stats;
	uint64_t exits, linked;

	count_exits(bt, &exits, &linked);
	const struct counter all[] = {
		{ "bt blocks", s->blocks }, { "bt instructions", s->insns }, { "bt code bytes", bt_chunks_bytes(bt) },
		{ "bt code bytes, most", bt->code.size }, { "bt pages", bt->npages }, { "bt flushes", s->flushes }, { "bt chunks dropped", s->evicted },
		{ "bt blocks dropped", s->dropped }, { "bt entries", s->entries },
		{ "bt exits", exits }, { "bt exits linked", linked },
		{ "bt links made", s->links }, { "bt unlinked exits taken", s->unlinked }, { "bt indirect misses", s->indirect },
		{ "bt polls taken", s->polls }, { "bt TLB misses", s->fills },
		{ "bt TLB page walks", s->fills_slow }, { "bt page crossings", s->splits }, { "bt narrowed", s->narrow }, { "bt sites tired", s->tired }, { "bt pages in windows", s->mapped },
		{ "bt FPU loads", s->fpu_loads }, { "bt host faults", s->host_faults },
		{ "bt faults delivered", s->delivered }, { "bt system calls inline", s->crossed }, { "bt returns elsewhere", s->unreturned }, { "bt mapping flushes", s->flushed }, { "bt mappings back", s->back },
		{ "bt not translatable", s->nomode }, { "bt light", s->light }, { "bt light refused", s->light_refused },
		{ "bt interpreted", s->steps },
	};
	enum { MOST_LIGHT = 24 };
	unsigned n = 0, k;

	for (; n < sizeof(all) / sizeof(*all) && n < max; n++)
		out[n] = all[n];
	for (k = 0; k < REFUSED__COUNT && n < max; k++)
		out[n++] = (struct counter){ refused_name[k], s->refused[k] };
	n = by_name(s->lights, light_name, out, n, n + MOST_LIGHT < max ? n + MOST_LIGHT : max);
	return by_name(s->interp, interpreted_name, out, n, max);
}
