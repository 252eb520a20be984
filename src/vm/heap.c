/* SPDX-License-Identifier: Apache-2.0 */
/* vm/heap.c - a binary heap of nodes that know their place in it. */
#include "vm/heap.h"
#include <assert.h>
#include <stdlib.h>

int
heap_room(struct heap *h, unsigned n)
{
	struct heap_node **at;
	unsigned room = h->room == 0 ? 16 : h->room;

	while (room < n)
		room *= 2;
	if (room == h->room)
		return 0;
	if ((at = realloc(h->at, room * sizeof(struct heap_node *))) == NULL)
		return -1;
	h->at = at;
	h->room = room;
	return 0;
}

void
heap_close(struct heap *h)
{
	free(h->at);
	*h = (struct heap){ 0 };
}

static void
set(struct heap *h, unsigned i, struct heap_node *node)
{
	h->at[i] = node;
	node->place = i + 1;
}

/* node wants to stand at i, which is free: up or down to where it belongs. */
static void
settle(struct heap *h, unsigned i, struct heap_node *node)
{
	unsigned child;

	for (; i > 0 && h->at[(i - 1) / 2]->key > node->key; i = (i - 1) / 2)
		set(h, i, h->at[(i - 1) / 2]);
	for (; (child = 2 * i + 1) < h->n; i = child) {
		if (child + 1 < h->n && h->at[child + 1]->key < h->at[child]->key)
			child++;
		if (h->at[child]->key >= node->key)
			break;
		set(h, i, h->at[child]);
	}
	set(h, i, node);
}

void
heap_put(struct heap *h, struct heap_node *node, uint64_t key)
{
	unsigned i = node->place != 0 ? node->place - 1 : h->n++;

	assert(h->n <= h->room);
	node->key = key;
	settle(h, i, node);
}

void
heap_remove(struct heap *h, struct heap_node *node)
{
	unsigned i = node->place - 1;
	struct heap_node *last;

	if (node->place == 0)
		return;
	node->place = 0;
	last = h->at[--h->n];
	if (last != node)
		settle(h, i, last);
}
