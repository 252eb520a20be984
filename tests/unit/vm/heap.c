/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/vm/heap.c - the smallest comes first, whatever was put, moved and removed before. */
#include "check.h"
#include "vm/heap.h"
#include <stdlib.h>

enum { NODES = 500, STEPS = 20000 };

static void
the_smallest_comes_first(void)
{
	static struct heap_node node[NODES];
	struct heap h = { 0 };
	uint64_t least;
	unsigned in = 0;

	CHECK(heap_room(&h, NODES) == 0);
	srand(1);
	for (unsigned step = 0; step < STEPS; step++) {
		struct heap_node *n = &node[rand() % NODES];

		if (rand() % 3 == 0)
			heap_remove(&h, n);
		else
			heap_put(&h, n, (uint64_t)(rand() % 1000));
		least = UINT64_MAX;
		in = 0;
		for (unsigned i = 0; i < NODES; i++) {
			in += node[i].place != 0;
			if (node[i].place != 0 && node[i].key < least)
				least = node[i].key;
		}
		CHECK_EQ(h.n, in);
		CHECK_EQ(in == 0 ? UINT64_MAX : heap_first(&h)->key, least);
	}
	for (least = 0; heap_first(&h) != NULL; heap_remove(&h, heap_first(&h))) {
		CHECK(heap_first(&h)->key >= least);
		least = heap_first(&h)->key;
	}
	heap_close(&h);
}

int
main(void)
{
	RUN(the_smallest_comes_first);
	return check_done();
}
