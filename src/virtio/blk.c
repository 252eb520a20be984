/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/blk.c - a disk: requests from several queues go to the host's threads, answers come back in any order.
 *
 * Reads that the host has in memory are answered on the spot. A request's data go straight between guest RAM and
 * file; the status byte is written last, with the VM's lock held, as everything that the driver sees.
 */
#include "virtio/blk.h"
#include "host/log.h"
#include <stdlib.h>
#include <string.h>

enum { SECTOR_SHIFT = 9, QUEUE_SIZE = 128, HEADER = 16, ID_BYTES = 20, SEGMENT = 16 };
enum { T_in = 0, T_out = 1, T_flush = 4, T_get_id = 8, T_discard = 11, T_write_zeroes = 13 };
enum { S_ok = 0, S_ioerr = 1, S_unsupported = 2 };
#define F_SEG_MAX	VIRTIO_F(2)
#define F_RO		VIRTIO_F(5)
#define F_BLK_SIZE	VIRTIO_F(6)
#define F_FLUSH		VIRTIO_F(9)
#define F_TOPOLOGY	VIRTIO_F(10)
#define F_MQ		VIRTIO_F(12)
#define F_DISCARD	VIRTIO_F(13)
#define F_WRITE_ZEROES	VIRTIO_F(14)
enum { MAY_UNMAP = 1, MAX_SECTORS = 1 << 22, PAGE_EXP = 3 };

/* 5.2.4 */
struct blk_config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};
struct blk_segment {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct blk;
struct request {
	struct disk_request r;
	struct blk *b;			/* borrowed */
	struct request *free;		/* next of the free ones */
	unsigned queue;
	uint64_t read;			/* bytes that a read puts into the guest */
	struct iovec iov[CHAIN_MAX];
	struct chain c;
};

struct blk {
	struct virtio v;		/* first */
	struct disk *disk;		/* owned */
	uint64_t sectors;
	struct request *request;	/* owned */
	struct request *free;
	unsigned flying;		/* with the disk */
	int said;			/* the last error that a line was written about */
};

/* ---- answers ---- */

static void
answer(struct request *q, uint8_t status, uint64_t written)
{
	struct blk *b = q->b;
	struct virtio *v = &b->v;

	chain_write(&q->c, v->vm->mem, q->c.in_len - 1, &status, 1);
	vq_give(&v->vq[q->queue], q->c.id, q->c.slots, (uint32_t)(written + 1));
	q->free = b->free;
	b->free = q;
}

/* A full or broken disk is said once, until it has another trouble. */
static void
say_error(struct blk *b, enum disk_op op, int error)
{
	static const char *const names[] = { "read", "write", "flush", "discard", "zero" };

	if (b->said == error)
		return;
	b->said = error;
	LOG(dev, error, "%s: can't %s %s: %s; the guest sees an I/O error", b->v.dev.id, names[op],
	    disk_path(b->disk), strerror(error));
}

static void blk_work(struct blk *b, unsigned queue);

/* On a thread of the disk's. */
static void
blk_done(struct disk_request *r, int error)
{
	struct request *q = r->ctx;
	struct blk *b = q->b;
	struct virtio *v = &b->v;
	bool starved;

	pthread_mutex_lock(&v->vm->lock);
	starved = b->free == NULL;
	b->flying--;
	if (error != 0)
		say_error(b, r->op, error);
	chain_dirty(&q->c, v->vm->mem, 0, q->read);
	if (v->resetting) {
		q->free = b->free;
		b->free = q;
		if (b->flying == 0)
			virtio_is_quiet(v);
	} else {
		answer(q, error == 0 ? S_ok : S_ioerr, error == 0 ? q->read : 0);
		virtio_signal(v, q->queue);
		for (unsigned n = 0; starved && n < v->queues; n++)
			blk_work(b, n);
	}
	pthread_mutex_unlock(&v->vm->lock);
}

/* ---- requests ---- */

static void
submit(struct request *q, enum disk_op op, uint64_t at, uint64_t len)
{
	struct blk *b = q->b;

	q->r.op = op;
	q->r.at = at;
	q->r.len = len;
	q->r.durable = (b->v.features & F_FLUSH) == 0;	/* who can't flush wants it on the medium */
	if (op == DISK_read && disk_read_now(b->disk, &q->r)) {
		chain_dirty(&q->c, b->v.vm->mem, 0, q->read);
		answer(q, S_ok, q->read);
		return;
	}
	b->flying++;
	disk_submit(b->disk, &q->r);
}

static bool
in_range(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	return sector <= b->sectors && sectors <= b->sectors - sector;
}

static void
transfer(struct request *q, const struct blk_header *h)
{
	struct blk *b = q->b;
	bool in = h->type == T_in;
	uint64_t len = in ? q->c.in_len - 1 : q->c.out_len - HEADER;

	if (len == 0 || len % (1 << SECTOR_SHIFT) != 0 || !in_range(b, h->sector, len >> SECTOR_SHIFT) ||
	    (!in && disk_read_only(b->disk))) {
		answer(q, S_ioerr, 0);
		return;
	}
	q->read = in ? len : 0;
	q->r.iov = q->iov;
	q->r.niov = chain_slice(&q->c, in, in ? 0 : HEADER, len, q->iov);
	submit(q, in ? DISK_read : DISK_write, h->sector << SECTOR_SHIFT, len);
}

/* Discard and write zeroes name their range in a segment; we take one. */
static void
range(struct request *q, const struct blk_header *h)
{
	struct blk *b = q->b;
	struct blk_segment s;
	uint32_t known = h->type == T_write_zeroes ? MAY_UNMAP : 0;

	if (q->c.out_len != HEADER + SEGMENT || disk_read_only(b->disk)) {
		answer(q, q->c.out_len != HEADER + SEGMENT ? S_unsupported : S_ioerr, 0);
		return;
	}
	chain_read(&q->c, HEADER, &s, sizeof(s));
	if ((s.flags & ~known) != 0)
		answer(q, S_unsupported, 0);
	else if (s.sectors == 0)
		answer(q, S_ok, 0);
	else if (s.sectors > MAX_SECTORS || !in_range(b, s.sector, s.sectors))
		answer(q, S_ioerr, 0);
	else
		submit(q, h->type == T_discard ? DISK_discard : DISK_zero, s.sector << SECTOR_SHIFT,
		    (uint64_t)s.sectors << SECTOR_SHIFT);
}

static void
identify(struct request *q)
{
	char id[ID_BYTES] = "";
	size_t n;

	memcpy(id, q->b->v.dev.id, strnlen(q->b->v.dev.id, sizeof(q->b->v.dev.id)));
	n = q->c.in_len - 1 < sizeof(id) ? q->c.in_len - 1 : sizeof(id);
	chain_write(&q->c, q->b->v.vm->mem, 0, id, n);
	answer(q, S_ok, n);
}

static void
begin(struct request *q)
{
	struct blk_header h;

	if (q->c.in_len == 0 || chain_read(&q->c, 0, &h, sizeof(h)) != sizeof(h)) {
		q->free = q->b->free;
		q->b->free = q;
		virtio_broken(&q->b->v, "a disk request without header or status");
		return;
	}
	q->read = 0;
	q->r = (struct disk_request){ .done = blk_done, .ctx = q };
	switch (h.type) {
	case T_in:
	case T_out:
		transfer(q, &h);
		break;
	case T_flush:
		submit(q, DISK_flush, 0, 0);
		break;
	case T_get_id:
		identify(q);
		break;
	case T_discard:
	case T_write_zeroes:
		range(q, &h);
		break;
	default:
		answer(q, S_unsupported, 0);
		break;
	}
}

static void
blk_work(struct blk *b, unsigned queue)
{
	struct vq *vq = &b->v.vq[queue];
	struct request *q;

	do {
		vq_listen(vq, false);
		while ((q = b->free) != NULL && virtio_take(&b->v, queue, &q->c)) {
			b->free = q->free;
			q->queue = queue;
			begin(q);
		}
		vq_listen(vq, true);
	} while (b->free != NULL && virtio_running(&b->v) && pci_may_dma(&b->v.f) && vq_any(vq));
	virtio_signal(&b->v, queue);
}

static void
blk_notified(struct virtio *v, unsigned queue)
{
	blk_work((struct blk *)v, queue);
}

static bool
blk_quiet(struct virtio *v)
{
	return ((struct blk *)v)->flying == 0;
}

/* ---- being one ---- */

static void
blk_close(struct dev *d)
{
	struct blk *b = (struct blk *)d;

	disk_close(b->disk);		/* waits for what is in flight */
	virtio_fini(&b->v);
	free(b->request);
	free(b);
}

static const struct dev_field blk_fields[] = {
	VIRTIO_FIELDS(struct blk),
	{ .name = NULL },
};

static const struct dev_ops blk_dev_ops = {
	.name = "virtio-blk", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = blk_close,
	.fields = blk_fields,
};

static const struct virtio_ops blk_ops = {
	.id = VIRTIO_blk, .pci_class = 1, .pci_sub = 0, .notified = blk_notified, .quiet = blk_quiet,
};

static void
configure(struct blk *b, unsigned queues)
{
	struct blk_config c = { .capacity = b->sectors, .seg_max = QUEUE_SIZE - 2, .blk_size = 1 << SECTOR_SHIFT,
		.physical_block_exp = PAGE_EXP, .min_io_size = 1 << PAGE_EXP, .num_queues = (uint16_t)queues,
		.max_discard_sectors = MAX_SECTORS, .max_discard_seg = 1, .discard_sector_alignment = 1 << PAGE_EXP,
		.max_write_zeroes_sectors = MAX_SECTORS, .max_write_zeroes_seg = 1, .write_zeroes_may_unmap = 1 };

	_Static_assert(sizeof(struct blk_config) <= VIRTIO_CONFIG_MAX, "room for the configuration");
	memcpy(b->v.config_birth, &c, sizeof(c));
	b->v.config_size = b->v.config_writable = sizeof(c);
	b->v.offered |= F_SEG_MAX | F_BLK_SIZE | F_TOPOLOGY | F_FLUSH;
	b->v.offered |= disk_read_only(b->disk) ? F_RO : F_DISCARD | F_WRITE_ZEROES;
	if (queues > 1)
		b->v.offered |= F_MQ;
}

struct virtio *
blk_open(struct vm *vm, const char *id, struct disk *disk, unsigned queues)
{
	struct blk *b = calloc(1, sizeof(*b));
	unsigned n;

	queues = queues > BLK_QUEUES_MAX ? BLK_QUEUES_MAX : queues;
	n = queues * QUEUE_SIZE;
	if (b == NULL || (b->request = calloc(n, sizeof(*b->request))) == NULL) {
		disk_close(disk);
		free(b);
		return NULL;
	}
	b->disk = disk;
	b->sectors = disk_size(disk) >> SECTOR_SHIFT;
	/* The first ones first: pages of those never used are never touched. */
	while (n-- > 0) {
		b->request[n].b = b;
		b->request[n].free = b->free;
		b->free = &b->request[n];
	}
	virtio_init(&b->v, vm, &blk_dev_ops, &blk_ops, id, queues, QUEUE_SIZE);
	configure(b, queues);
	return &b->v;
}
