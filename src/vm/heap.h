/* SPDX-License-Identifier: Apache-2.0 */
/* vm/heap.h - a binary heap of nodes that know their place in it: the smallest key first.
 *
 * The array belongs to the heap and grows by heap_room(), so that adding never fails.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct heap_node {
	uint64_t key;
	unsigned place;			/* index + 1; 0: in no heap */
	void *of;			/* what the node is part of */
};

struct heap {
	struct heap_node **at;		/* owned */
	unsigned n, room;
};

/* Make sure that n nodes fit. 0, or -1: out of memory. */
int heap_room(struct heap *h, unsigned n);
void heap_close(struct heap *h);
void heap_put(struct heap *h, struct heap_node *node, uint64_t key);	/* or move it there */
void heap_remove(struct heap *h, struct heap_node *node);		/* nothing when it is in none */

static inline struct heap_node *
heap_first(const struct heap *h)
{
	return h->n == 0 ? (struct heap_node *)0 : h->at[0];
}
