/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/fs.c - a pipe for FUSE requests: this process reads none of them, the helper behind the wire does.
 *
 * A request leaves with the number of its slot in front, its answer comes back with the same. Forgets have no answer.
 */
#include "virtio/fs.h"
#include "host/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HIPRIO = 0, REQUESTS = 1, QUEUES = 2, QUEUE_SIZE = 128, SLOTS = 32, REQUEST_MAX = 65536, IN_HEADER = 40 };

struct fs_config {
	char tag[FS_TAG];
	uint32_t request_queues, notify_buf_size;
};

struct out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};

struct slot {
	bool busy;
	unsigned queue;
	uint64_t unique;		/* the request's, for an answer of our own */
	struct chain c;
};

struct fs {
	struct virtio v;		/* first */
	struct wire *wire;		/* owned */
	unsigned flying;
	bool gone;			/* the helper is */
	struct slot slot[SLOTS];
};

static struct slot *
slot_free(struct fs *f)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (!f->slot[i].busy)
			return &f->slot[i];
	return NULL;
}

/* The answer goes into the ring, or nowhere when the driver wants none of it any more. */
static void
answer(struct fs *f, struct slot *s, const uint8_t *bytes, size_t n)
{
	struct virtio *v = &f->v;

	s->busy = false;
	f->flying--;
	if (v->resetting) {
		if (f->flying == 0)
			virtio_is_quiet(v);
		return;
	}
	n = chain_write(&s->c, v->vm->mem, 0, bytes, n);
	vq_give(&v->vq[s->queue], s->c.id, s->c.slots, (uint32_t)n);
	virtio_signal(v, s->queue);
}

static void
answer_error(struct fs *f, struct slot *s, int error)
{
	struct out_header h = { .len = sizeof(h), .error = -error, .unique = s->unique };

	answer(f, s, (const uint8_t *)&h, sizeof(h));
}

/* false: the wire is full. */
static bool
begin(struct fs *f, struct slot *s, unsigned queue)
{
	struct { uint32_t len, opcode; uint64_t unique; } h;
	uint32_t number = (uint32_t)(s - f->slot);
	struct iovec iov[CHAIN_MAX + 1] = { { &number, sizeof(number) } };

	s->queue = queue;
	if (s->c.out_len < IN_HEADER || s->c.out_len > REQUEST_MAX) {
		virtio_broken(&f->v, "a request of no size that can be");
		return true;
	}
	chain_read(&s->c, 0, &h, sizeof(h));
	s->unique = h.unique;
	memcpy(iov + 1, s->c.iov, s->c.outs * sizeof(iov[0]));
	switch (f->gone ? WIRE_lost : wire_send(f->wire, iov, s->c.outs + 1)) {
	case WIRE_full:
		vq_untake(&f->v.vq[queue], &s->c);
		return false;
	case WIRE_lost:
		s->busy = true;
		f->flying++;
		answer_error(f, s, ENOTCONN);
		return true;
	case WIRE_sent:
		break;
	}
	if (s->c.ins == 0) {		/* a forget */
		vq_give(&f->v.vq[queue], s->c.id, s->c.slots, 0);
		return true;
	}
	s->busy = true;
	f->flying++;
	return true;
}

static void
work(struct fs *f, unsigned queue)
{
	struct vq *q = &f->v.vq[queue];
	bool room = true;
	struct slot *s;

	do {
		vq_listen(q, false);
		while (room && (s = slot_free(f)) != NULL && virtio_take(&f->v, queue, &s->c))
			room = begin(f, s, queue);
		vq_listen(q, true);
	} while (room && slot_free(f) != NULL && virtio_running(&f->v) && pci_may_dma(&f->v.f) && vq_any(q));
	virtio_signal(&f->v, queue);
}

static void
work_all(struct fs *f)
{
	for (unsigned n = 0; n < QUEUES && virtio_running(&f->v); n++)
		work(f, n);
}

/* ---- the wire's thread ---- */

static bool
wire_message(void *ctx, const uint8_t *message, size_t n)
{
	struct fs *f = ctx;
	uint32_t number;

	if (n < sizeof(number) + sizeof(struct out_header))
		return true;
	memcpy(&number, message, sizeof(number));
	pthread_mutex_lock(&f->v.vm->lock);
	if (number < SLOTS && f->slot[number].busy) {
		answer(f, &f->slot[number], message + sizeof(number), n - sizeof(number));
		work_all(f);
	}
	pthread_mutex_unlock(&f->v.vm->lock);
	return true;
}

static void
wire_writable(void *ctx)
{
	struct fs *f = ctx;

	pthread_mutex_lock(&f->v.vm->lock);
	work_all(f);
	pthread_mutex_unlock(&f->v.vm->lock);
}

static void
wire_gone(void *ctx)
{
	struct fs *f = ctx;

	LOG(dev, error, "%s: the helper of the shared folder is gone; the guest sees errors there", f->v.dev.id);
	pthread_mutex_lock(&f->v.vm->lock);
	f->gone = true;
	for (unsigned i = 0; i < SLOTS; i++)
		if (f->slot[i].busy)
			answer_error(f, &f->slot[i], ENOTCONN);
	work_all(f);
	pthread_mutex_unlock(&f->v.vm->lock);
}

/* ---- being one ---- */

static void fs_notified(struct virtio *v, unsigned queue) { work((struct fs *)v, queue); }
static bool fs_quiet(struct virtio *v) { return ((struct fs *)v)->flying == 0; }

static void
fs_close(struct dev *d)
{
	struct fs *f = (struct fs *)d;

	wire_close(f->wire);
	virtio_fini(&f->v);
	free(f);
}

static const struct dev_field fs_fields[] = {
	VIRTIO_FIELDS(struct fs),
	{ .name = NULL },
};

static const struct dev_ops fs_dev_ops = {
	.name = "virtio-fs", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = fs_close,
	.fields = fs_fields,
};

static const struct virtio_ops fs_ops = {
	.id = VIRTIO_fs, .pci_class = 1, .pci_sub = 0x80, .notified = fs_notified, .quiet = fs_quiet,
};

struct virtio *
fs_open(struct vm *vm, const char *id, struct wire *wire, const char *tag)
{
	struct wire_client client = { wire_message, wire_writable, wire_gone, NULL };
	struct fs_config cfg = { .request_queues = 1 };
	struct fs *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		wire_close(wire);
		return NULL;
	}
	f->wire = wire;
	memcpy(cfg.tag, tag, strnlen(tag, sizeof(cfg.tag)));
	virtio_init(&f->v, vm, &fs_dev_ops, &fs_ops, id, QUEUES, QUEUE_SIZE);
	memcpy(f->v.config_birth, &cfg, sizeof(cfg));
	f->v.config_size = f->v.config_writable = sizeof(cfg);
	client.ctx = f;
	if (wire_start(wire, &client) == 0)
		return &f->v;
	fs_close(&f->v.dev);
	return NULL;
}
