/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/window.c - pages of the guest mapped a second time, side by side as the guest has them.
 *
 * Guest pages lie anywhere in RAM, so a range (near.c) is seldom longer than one. When an instruction
 * misses its range all the time, the pages around get a second host address in a window of their
 * linear GiB, and the TLB's entries lead there: then one range has them all. A window is no more than
 * another place of the same bytes: who may touch what is the TLB's business as before.
 *
 * When enough is mapped, everything goes and it begins anew.
 */
#include "engine/bt/bt.h"

#include <string.h>
#include <sys/mman.h>

enum { WINDOW_SHIFT = 30, WINDOW_PAGES = 1 << (WINDOW_SHIFT - PAGE_SHIFT), AROUND = 64 /* pages each way */,
	MAPPED_MAX = 8192 /* pages of a vCPU */,
	ALL_MAX = 20000 /* of all in the process: each takes up to two of the 65530 mappings that it may have */,
	BUDGET_MAX = 1024, BUDGET_SHIFT = 18 /* cycles for one mapping more, which takes about 10,000 */ };
#define WINDOW_SIZE ((uint64_t)1 << WINDOW_SHIFT)

static _Atomic unsigned mapped_by_all;

/* The window for lin, made when there is none and `make`. NULL: none, and no room. */
static struct bt_window *
window_of(struct bt_state *bt, uint64_t lin, bool make)
{
	struct bt_window *w;
	unsigned i;

	for (i = 0; i < BT_WINDOWS; i++) {
		w = &bt->window[i];
		if (w->page != NULL && w->lin == lin >> WINDOW_SHIFT)
			return w;
		if (w->page == NULL)
			break;
	}
	if (!make || i == BT_WINDOWS)
		return NULL;
	w = &bt->window[i];
	w->page = mmap(NULL, WINDOW_PAGES * sizeof(*w->page), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	w->page = w->page == MAP_FAILED ? NULL : w->page;
	w->lin = lin >> WINDOW_SHIFT;
	w->host = bt->c->alias + i * WINDOW_SIZE;
	return w->page == NULL ? NULL : w;
}

/* The table's entry e leads to the window when its page is mapped there. */
void
bt_window_prefer(struct bt_state *bt, struct tlb_entry *e)
{
	struct bt_window *w = bt->mapped == 0 ? NULL : window_of(bt, e->tag, false);
	uint64_t at = e->tag & (WINDOW_SIZE - 1);

	if (w != NULL && w->page[at >> PAGE_SHIFT] == e->tag + e->delta)
		e->delta = (uintptr_t)w->host + at - e->tag;
}

static bool
is_alias(const struct bt_state *bt, uint64_t host)
{
	return host - (uintptr_t)bt->c->alias < bt->c->alias_size;
}

static bool
window_map(struct bt_state *bt, struct tlb_entry *e)
{
	struct bt_window *w = window_of(bt, e->tag, true);
	uint64_t at = e->tag & (WINDOW_SIZE - 1), host = e->tag + e->delta;

	if (w == NULL || is_alias(bt, host))
		return w != NULL;
	if (w->page[at >> PAGE_SHIFT] != host) {
		if (bt->window_budget == 0 || mapped_by_all >= ALL_MAX)
			return false;
		bt->window_budget--;
		if (w->page[at >> PAGE_SHIFT] != 0) {
			/* Who was let to the old page may still have its entry, and must not get the new one by it. */
			tlb_flush_page(bt->c, e->tag);
			w->page[at >> PAGE_SHIFT] = 0;
			bt->mapped--;
			mapped_by_all--;
		}
		/* An old size of 0 leaves the first mapping and makes another of the same page (mremap(2)). */
		if (mremap((void *)(uintptr_t)host, 0, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, w->host + at) == MAP_FAILED)
			return false;
		w->page[at >> PAGE_SHIFT] = host;
		bt->mapped++;
		mapped_by_all++;
		bt->stats.mapped++;
	}
	bt_window_prefer(bt, e);	/* of no effect on one that was flushed: the next fill does it */
	return true;
}

/* Nothing leads to a window any more. */
static void
windows_empty(struct bt_state *bt)
{
	unsigned i;

	tlb_flush_all(bt->c, true);
	for (i = 0; i < BT_WINDOWS && bt->window[i].page != NULL; i++)
		munmap(bt->window[i].page, WINDOW_PAGES * sizeof(*bt->window[i].page));
	memset(bt->window, 0, sizeof(bt->window));
	mmap(bt->c->alias, bt->c->alias_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	mapped_by_all -= bt->mapped;
	bt->mapped = 0;
}

/* So that mapping takes a few per cent of the time at most. */
static void
budget_earn(struct bt_state *bt)
{
	uint64_t now = __builtin_ia32_rdtsc() >> BUDGET_SHIFT, earned = now - bt->window_time;

	bt->window_time = now;
	bt->window_budget = earned + bt->window_budget > BUDGET_MAX ? BUDGET_MAX : bt->window_budget + (unsigned)earned;
}

/* Map what of the pages around `page` the table knows. False: nothing came of it. */
bool
bt_window_around(struct bt_state *bt, struct tlb_entry *table, uint64_t page)
{
	struct tlb_entry *e;
	uint64_t lin;
	unsigned k, n = 0;

	if (bt->c->alias == NULL)
		return false;
	budget_earn(bt);
	if (bt->mapped > MAPPED_MAX)
		windows_empty(bt);
	for (k = 0, lin = page - AROUND * PAGE_SIZE; k <= 2 * AROUND; k++, lin += PAGE_SIZE) {
		e = &table[lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
		if (e->tag == lin && window_map(bt, e))
			n++;
	}
	return n > 1;
}

/* Groups of stack accesses cross the end of `page` again and again: both pages get second mappings side by side. True: the
 * stack's entry leads there. */
bool
bt_stack_widen(struct bt_state *bt, uint64_t page)
{
	enum { PATIENCE = 64 };
	struct tlb *tlb = &bt->c->tlb[bt->c->tlb_view];
	const struct tlb_entry *a = &tlb->write[page >> PAGE_SHIFT & (TLB_ENTRIES - 1)],
		*b = &tlb->write[((page >> PAGE_SHIFT) + 1) & (TLB_ENTRIES - 1)];

	bt->stack_left = PATIENCE;
	if (!(bt->now->mode & BM_user) || bt_code32(bt) || a->tag != page || b->tag != page + PAGE_SIZE)
		return false;
	if (a->delta != b->delta)
		bt_window_around(bt, tlb->write, page);
	if (a->tag != page || b->tag != page + PAGE_SIZE || a->delta != b->delta)
		return false;
	tlb->stack = *a;
	return true;
}

void
bt_windows_open(struct bt_state *bt)
{
	void *p = mmap(NULL, BT_WINDOWS * WINDOW_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	bt->c->alias = p == MAP_FAILED ? NULL : p;	/* without, it goes as well */
	bt->c->alias_size = p == MAP_FAILED ? 0 : BT_WINDOWS * WINDOW_SIZE;
}

void
bt_windows_close(struct bt_state *bt)
{
	if (bt->c->alias == NULL)
		return;
	windows_empty(bt);
	munmap(bt->c->alias, bt->c->alias_size);
	bt->c->alias = NULL;
	bt->c->alias_size = 0;
}
