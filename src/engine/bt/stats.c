/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/stats.c - what the translator counted, for `--stats`. */
#include "engine/bt/bt.h"

/* Instructions counted in `of`, most frequent first, as far as there is room. */
static unsigned
by_name(const uint64_t *of, struct counter *out, unsigned n, unsigned max)
{
	uint64_t limit = UINT64_MAX, best;
	unsigned id, pick;

	while (n < max) {
		best = 0;
		pick = INSN__COUNT;
		for (id = 0; id < INSN__COUNT; id++) {
			if (of[id] > best && of[id] < limit) {
				best = of[id];
				pick = id;
			}
		}
		if (pick == INSN__COUNT)
			break;
		limit = best;
		out[n].name = insn_info[pick].name;
		out[n++].count = best;
	}
	return n;
}

unsigned
bt_counters(const struct cpu *c, struct counter *out, unsigned max)
{
	const struct bt_state *bt = c->bt;
	const struct bt_stats *s = &bt->stats;
	const struct counter all[] = {
		{ "bt blocks", s->blocks }, { "bt instructions", s->insns }, { "bt code bytes", (uint64_t)(bt->free - bt->first) },
		{ "bt pages", bt->npages }, { "bt flushes", s->flushes }, { "bt blocks dropped", s->dropped },
		{ "bt entries", s->entries }, { "bt links", s->links }, { "bt indirect misses", s->indirect },
		{ "bt polls taken", s->polls }, { "bt TLB fills", s->fills }, { "bt TLB fills refused", s->fills_failed },
		{ "bt TLB page walks", s->fills_slow }, { "bt FPU loads", s->fpu_loads }, { "bt host faults", s->host_faults },
		{ "bt interpreted", s->steps }, { "bt faults delivered", s->delivered },
		{ "bt light helpers", s->light }, { "bt light refused", s->light_refused },
		{ "bt not translatable", s->nomode },
		{ "bt mapping flushes", s->flushed }, { "bt exits unlinked", s->unlinked },
	};
	enum { MOST = 20 };
	unsigned n = 0;

	for (; n < sizeof(all) / sizeof(*all) && n < max; n++)
		out[n] = all[n];
	if (n < max)
		out[n++] = (struct counter){ "-- light helpers --", s->light };
	n = by_name(s->lights, out, n, n + MOST < max ? n + MOST : max);
	if (n < max)
		out[n++] = (struct counter){ "-- interpreted --", s->steps };
	return by_name(s->interp, out, n, max);
}
