/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/rng.c - random bytes by getrandom, which never runs dry and never waits once the host is up. */
#include "virtio/rng.h"
#include <stdlib.h>
#include <sys/random.h>

enum { QUEUE_SIZE = 8, PIECE = 256, AT_MOST = 4096 /* a request gets no more, so that none takes long */ };

struct rng {
	struct virtio v;		/* first */
	struct chain c;
};

static uint32_t
fill(struct rng *r)
{
	uint8_t piece[PIECE];
	uint32_t done = 0;

	while (done < AT_MOST && done < r->c.in_len) {
		ssize_t n = getrandom(piece, sizeof(piece), GRND_NONBLOCK);

		if (n <= 0)
			break;
		done += (uint32_t)chain_write(&r->c, r->v.vm->mem, done, piece, (size_t)n);
	}
	return done;
}

static void
rng_notified(struct virtio *v, unsigned queue)
{
	struct rng *r = (struct rng *)v;

	do
		while (virtio_take(v, queue, &r->c))
			vq_give(&v->vq[queue], r->c.id, r->c.slots, fill(r));
	while (virtio_more(v, queue));
	virtio_signal(v, queue);
}

static void
rng_close(struct dev *d)
{
	virtio_fini((struct virtio *)d);
	free(d);
}

static const struct dev_field rng_fields[] = {
	VIRTIO_FIELDS(struct rng),
	{ .name = NULL },
};

static const struct dev_ops rng_dev_ops = {
	.name = "virtio-rng", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = rng_close,
	.fields = rng_fields,
};

static const struct virtio_ops rng_ops = {
	.id = VIRTIO_rng, .pci_class = 0xff, .notified = rng_notified,
};

struct virtio *
rng_open(struct vm *vm, const char *id)
{
	struct rng *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	virtio_init(&r->v, vm, &rng_dev_ops, &rng_ops, id, 1, QUEUE_SIZE);
	return &r->v;
}
