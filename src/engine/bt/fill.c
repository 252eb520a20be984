/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/fill.c - a check of translated code failed: make the TLB entry, or say what else. */
#include "engine/bt/bt.h"

static bool
is_canonical(uint64_t lin)
{
	enum { SHIFT = 64 - 48 };

	return (uint64_t)((int64_t)(lin << SHIFT) >> SHIFT) == lin;
}

/* Whether there are such addresses in the present mode, without wrapping. */
static bool
exists(const struct bt_state *bt, uint64_t lin, unsigned size)
{
	if (bt_code32(bt))
		return lin + size - 1 <= UINT32_MAX;
	return is_canonical(lin) && is_canonical(lin + size - 1);
}

static uint64_t
fill(struct bt_state *bt, uint64_t lin, uint32_t info, const uint8_t *pc)
{
	struct cpu *c = bt->c;
	struct tlb *tlb = &c->tlb[c->tlb_view];
	unsigned size = info & FILL_SIZE, at = lin >> PAGE_SHIFT & (TLB_ENTRIES - 1);
	struct tlb_entry *e = &((info & FILL_write) ? tlb->write : tlb->read)[at];
	bool saved, reached = exists(bt, lin, size), crosses = ((lin + size - 1) & PAGE_MASK) != (lin & PAGE_MASK);
	uint64_t page = lin & PAGE_MASK;
	int res = OK;

	if ((info & FILL_near) && bt_near_tired(bt, bt->site, page, pc)) {
		bt_side_find(bt, pc, &c->r.rip, &saved);
		return FILLED_not;
	}
	bt->stats.fills++;
	if (e->tag != page && !crosses && reached) {
		bt->stats.fills_slow++;
		lin_hva_slow(c, lin, size, info & FILL_write ? ACC_write : ACC_read, &res);
	}
	if (res == OK && reached && !crosses && e->tag == page) {
		if (info & FILL_stack)
			tlb->stack = *e;
		if (info & FILL_range)
			bt_range_widen(bt, bt->site, page, e);
		bt->split.delta = e->delta;	/* for FILL_based */
		return FILLED;
	}
	if ((info & FILL_stack) && crosses && reached && bt->stack_left < 0 && bt_stack_widen(bt, page))
		return FILLED;
	if (info & FILL_narrow) {
		bt->stats.narrow++;
		return FILLED_split;
	}
	if (crosses && (info & FILL_split) && reached &&
	    bt_split(bt, lin, size, info & FILL_write)) {
		bt->stats.splits++;
		return FILLED_split;
	}
	bt->fault_ready = res != OK && (info & FILL_fault);
	bt_count_refusal(bt, lin, size, res);
	bt_side_find(bt, pc, &c->r.rip, &saved);
	if (crosses && reached)
		bt_crossed_first(bt, c->r.rip, pc);
	return FILLED_not;
}

/* A TLB check failed: make the entry. FILLED_not: the instruction must be interpreted (a fault, a
 * device, a page with code). */
uint64_t
bt_fill(struct bt_state *bt, uint64_t lin, uint32_t info, const uint8_t *pc)
{
	unsigned live = BT_LIGHT_C ? 0 : bt->fpu_live;
	uint64_t res;

	if (live != 0)
		bt_fpu_unload(bt);
	res = fill(bt, lin, info, pc);
	if (live != 0)
		bt_fpu_load(bt, live);
	return res;
}
