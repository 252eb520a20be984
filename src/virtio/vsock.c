/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/vsock.c - packets of stream sockets between the guest's rings and a wire (virtio 1.2, 5.10).
 *
 * Connections and their credit are the business of who is at the wire's other end (helper/vsock.c). Here a packet is
 * only measured, and cut into pieces when the guest's buffers are smaller than it.
 */
#include "virtio/vsock.h"
#include "host/log.h"
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>

enum { RX = 0, TX = 1, EVENT = 2, QUEUES = 3, QUEUE_SIZE = 128, HEADER = sizeof(struct virtio_vsock_hdr) };

struct vsock {
	struct virtio v;		/* first */
	struct wire *wire;		/* owned */
	bool rx_waits;			/* the wire's thread holds a packet */
	bool reset_waits;		/* the other end has yet to hear of a reset */
	size_t rx_given;		/* bytes of its data that the guest has */
	struct chain rx, tx;
};

/* ---- to the host ---- */

static bool
packet_fits(const struct chain *c)
{
	struct virtio_vsock_hdr h;

	return c->out_len >= HEADER && c->out_len <= WIRE_BUFFER && chain_read(c, 0, &h, sizeof(h)) == sizeof(h);
}

/* Its connections end with the driver. false: the wire is full. */
static bool
tell_reset(struct vsock *s)
{
	struct iovec iov = { "R", 1 };

	s->reset_waits = s->reset_waits && wire_send(s->wire, &iov, 1) == WIRE_full;
	return !s->reset_waits;
}

/* Nobody is there any more: who asks for a connection hears so at once, if he has room for it. */
static void
refuse(struct vsock *s)
{
	struct virtio_vsock_hdr h, no;

	chain_read(&s->tx, 0, &h, sizeof(h));
	if (h.op == VIRTIO_VSOCK_OP_RST || !virtio_take(&s->v, RX, &s->rx))
		return;
	no = (struct virtio_vsock_hdr){ .src_cid = h.dst_cid, .dst_cid = h.src_cid, .src_port = h.dst_port,
		.dst_port = h.src_port, .type = h.type, .op = VIRTIO_VSOCK_OP_RST };
	vq_give(&s->v.vq[RX], s->rx.id, s->rx.slots, (uint32_t)chain_write(&s->rx, s->v.vm->mem, 0, &no, sizeof(no)));
	virtio_signal(&s->v, RX);
}

/* false: the wire is full. */
static bool
send_one(struct vsock *s)
{
	struct chain *c = &s->tx;

	switch (packet_fits(c) ? wire_send(s->wire, c->iov, c->outs) : WIRE_sent) {
	case WIRE_full:
		vq_untake(&s->v.vq[TX], c);
		return false;
	case WIRE_lost:
		refuse(s);
		break;
	case WIRE_sent:
		break;
	}
	vq_give(&s->v.vq[TX], c->id, c->slots, 0);
	return true;
}

static void
send_all(struct vsock *s)
{
	struct vq *q = &s->v.vq[TX];
	bool room = tell_reset(s);

	do {
		vq_listen(q, false);
		while (room && virtio_take(&s->v, TX, &s->tx))
			room = send_one(s);
	} while (virtio_more(&s->v, TX) && room);
	virtio_signal(&s->v, TX);
}

static void
wire_writable(void *ctx)
{
	struct vsock *s = ctx;

	pthread_mutex_lock(&s->v.vm->lock);
	if (virtio_running(&s->v))
		send_all(s);
	else
		tell_reset(s);
	pthread_mutex_unlock(&s->v.vm->lock);
}

/* ---- to the guest ---- */

/* The packet, or what is left of it, in as many buffers as it needs. false: the guest has none now. */
static bool
receive(struct vsock *s, const uint8_t *message, size_t len)
{
	struct mem *m = s->v.vm->mem;
	size_t data = len - HEADER;
	struct virtio_vsock_hdr h;

	memcpy(&h, message, sizeof(h));
	do {
		size_t left = data - s->rx_given, piece = left;

		if (!virtio_take(&s->v, RX, &s->rx))
			return false;
		if (s->rx.in_len < HEADER + (size_t)(data != 0)) {
			virtio_broken(&s->v, "a buffer too small for any packet");
			return true;
		}
		if (piece > s->rx.in_len - HEADER)
			piece = s->rx.in_len - HEADER;
		h.len = (uint32_t)piece;
		chain_write(&s->rx, m, 0, &h, sizeof(h));
		chain_write(&s->rx, m, HEADER, message + HEADER + s->rx_given, piece);
		vq_give(&s->v.vq[RX], s->rx.id, s->rx.slots, (uint32_t)(HEADER + piece));
		s->rx_given += piece;
	} while (s->rx_given < data);
	s->rx_given = 0;
	return true;
}

static bool
wire_message(void *ctx, const uint8_t *message, size_t len)
{
	struct vsock *s = ctx;
	bool done = true;

	if (len < HEADER)
		return true;
	pthread_mutex_lock(&s->v.vm->lock);
	if (virtio_running(&s->v)) {
		vq_listen(&s->v.vq[RX], false);
		done = receive(s, message, len);
		if (!done && virtio_running(&s->v)) {
			vq_listen(&s->v.vq[RX], true);
			done = receive(s, message, len);	/* one may have come in between */
		}
		s->rx_waits = !done;
		virtio_signal(&s->v, RX);
	}
	pthread_mutex_unlock(&s->v.vm->lock);
	return done;
}

/* 5.10.6.7: all connections are over. */
static void
tell_transport_reset(struct vsock *s)
{
	const struct virtio_vsock_event e = { VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };

	if (!virtio_take(&s->v, EVENT, &s->rx))
		return;
	vq_give(&s->v.vq[EVENT], s->rx.id, s->rx.slots, (uint32_t)chain_write(&s->rx, s->v.vm->mem, 0, &e, sizeof(e)));
	virtio_signal(&s->v, EVENT);
}

static void
wire_gone(void *ctx)
{
	struct vsock *s = ctx;

	LOG(dev, error, "%s: the process behind it is gone; the guest's sockets are reset", s->v.dev.id);
	pthread_mutex_lock(&s->v.vm->lock);
	if (virtio_running(&s->v)) {
		tell_transport_reset(s);
		send_all(s);
	}
	pthread_mutex_unlock(&s->v.vm->lock);
}

/* ---- being one ---- */

static void
vsock_notified(struct virtio *v, unsigned queue)
{
	struct vsock *s = (struct vsock *)v;

	if (queue == TX) {
		send_all(s);
	} else if (queue == RX && s->rx_waits) {
		s->rx_waits = false;
		wire_room(s->wire);
	}
}

static void
vsock_started(struct virtio *v)
{
	((struct vsock *)v)->rx_given = 0;
	wire_room(((struct vsock *)v)->wire);
}

/* Nothing of the guest's is held: a waiting packet is the wire's, and is dropped when it is offered again. */
static bool
vsock_quiet(struct virtio *v)
{
	struct vsock *s = (struct vsock *)v;

	s->rx_waits = false;
	s->rx_given = 0;
	s->reset_waits = true;
	tell_reset(s);
	wire_room(s->wire);
	return true;
}

static void
vsock_close(struct dev *d)
{
	struct vsock *s = (struct vsock *)d;

	wire_close(s->wire);
	virtio_fini(&s->v);
	free(s);
}

static const struct dev_field vsock_fields[] = {
	VIRTIO_FIELDS(struct vsock),
	{ .name = NULL },
};

static const struct dev_ops vsock_dev_ops = {
	.name = "virtio-vsock", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = vsock_close,
	.fields = vsock_fields,
};

static const struct virtio_ops vsock_ops = {
	.id = VIRTIO_vsock, .pci_class = 7, .pci_sub = 0x80, .notified = vsock_notified, .started = vsock_started,
	.quiet = vsock_quiet,
};

struct virtio *
vsock_open(struct vm *vm, const char *id, struct wire *wire, uint32_t cid)
{
	struct wire_client client = { wire_message, wire_writable, wire_gone, NULL };
	struct virtio_vsock_config cfg = { .guest_cid = cid };
	struct vsock *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		wire_close(wire);
		return NULL;
	}
	s->wire = wire;
	virtio_init(&s->v, vm, &vsock_dev_ops, &vsock_ops, id, QUEUES, QUEUE_SIZE);
	memcpy(s->v.config_birth, &cfg, sizeof(cfg));
	s->v.config_size = s->v.config_writable = sizeof(cfg);
	client.ctx = s;
	if (wire_start(wire, &client) == 0)
		return &s->v;
	vsock_close(&s->v.dev);
	return NULL;
}
