/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/balloon.c - pages that the guest inflates into the balloon, and free ones that it reports, go back to the host.
 *
 * A page that comes back is simply used again: the host fills it with zeroes. What a guest says of pages concerns only
 * itself, so nothing is remembered of them.
 */
#include "virtio/balloon.h"
#include <stdlib.h>
#include <string.h>

enum { INFLATE = 0, DEFLATE = 1, REPORT = 2, QUEUES = 3, QUEUE_SIZE = 128, FRAME_SHIFT = 12, PIECE = 256 };
#define F_DEFLATE_ON_OOM	VIRTIO_F(2)
#define F_REPORTING		VIRTIO_F(5)

struct balloon_config {
	uint32_t num_pages, actual;
};

struct balloon {
	struct virtio v;		/* first */
	struct chain c;
};

/* The chain is an array of page frame numbers; neighbours go back in one call. */
static void
inflate(struct balloon *b)
{
	uint32_t pfn[PIECE];
	uint64_t begin = 0, end = 0, at = 0;
	size_t n;

	while ((n = chain_read(&b->c, at, pfn, sizeof(pfn)) / sizeof(pfn[0])) > 0) {
		for (size_t i = 0; i < n; i++) {
			uint64_t gpa = (uint64_t)pfn[i] << FRAME_SHIFT;

			if (gpa != end) {
				mem_release(b->v.vm->mem, begin, end - begin);
				begin = gpa;
			}
			end = gpa + PAGE_SIZE;
		}
		at += n * sizeof(pfn[0]);
	}
	mem_release(b->v.vm->mem, begin, end - begin);
}

/* Free pages are the writable segments of the chain themselves. */
static void
report(struct balloon *b)
{
	for (unsigned i = b->c.outs; i < b->c.outs + b->c.ins; i++)
		mem_release(b->v.vm->mem, b->c.gpa[i], b->c.iov[i].iov_len);
}

static void
balloon_notified(struct virtio *v, unsigned queue)
{
	struct balloon *b = (struct balloon *)v;

	do
		while (virtio_take(v, queue, &b->c)) {
			if (queue == INFLATE)
				inflate(b);
			else if (queue == REPORT && (v->features & F_REPORTING) != 0)
				report(b);
			vq_give(&v->vq[queue], b->c.id, b->c.slots, 0);
		}
	while (virtio_more(v, queue));
	virtio_signal(v, queue);
}

void
balloon_target(struct virtio *v, uint64_t bytes)
{
	struct balloon_config c;

	memcpy(&c, v->config, sizeof(c));
	c.num_pages = (uint32_t)(bytes >> FRAME_SHIFT);
	memcpy(v->config, &c, sizeof(c));
	memcpy(v->config_birth, &c, sizeof(c.num_pages));
	virtio_config_changed(v);
}

uint64_t
balloon_size(const struct virtio *v)
{
	struct balloon_config c;

	memcpy(&c, v->config, sizeof(c));
	return (uint64_t)c.actual << FRAME_SHIFT;
}

static void
balloon_close(struct dev *d)
{
	virtio_fini((struct virtio *)d);
	free(d);
}

static const struct dev_field balloon_fields[] = {
	VIRTIO_FIELDS(struct balloon),
	{ .name = NULL },
};

static const struct dev_ops balloon_dev_ops = {
	.name = "virtio-balloon", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = balloon_close,
	.fields = balloon_fields,
};

static const struct virtio_ops balloon_ops = {
	.id = VIRTIO_balloon, .pci_class = 5, .notified = balloon_notified,
};

struct virtio *
balloon_open(struct vm *vm, const char *id)
{
	struct balloon *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	virtio_init(&b->v, vm, &balloon_dev_ops, &balloon_ops, id, QUEUES, QUEUE_SIZE);
	b->v.config_size = sizeof(struct balloon_config);
	b->v.config_writable = offsetof(struct balloon_config, actual);
	b->v.offered |= F_DEFLATE_ON_OOM | F_REPORTING;
	return &b->v;
}
