/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/net.c - a network card with one pair of queues: frames in mergeable buffers, checksums left to the host.
 *
 * Sending happens on the vCPU's thread and never waits: when the wire is full the buffer stays in the ring until the
 * wire's thread says that there is room. A frame for which the guest has no buffer stays with that thread.
 */
#include "virtio/net.h"
#include "host/log.h"
#include <stdlib.h>
#include <string.h>

enum { RX = 0, TX = 1, QUEUE_SIZE = 256, FRAME_MIN = 14, BUFFERS_MAX = 128, LINK_UP = 1 };
#define F_CSUM		VIRTIO_F(0)
#define F_GUEST_CSUM	VIRTIO_F(1)
#define F_MTU		VIRTIO_F(3)
#define F_MAC		VIRTIO_F(5)
#define F_GUEST_TSO4	VIRTIO_F(7)
#define F_GUEST_TSO6	VIRTIO_F(8)
#define F_HOST_TSO4	VIRTIO_F(11)
#define F_HOST_TSO6	VIRTIO_F(12)
#define F_MRG_RXBUF	VIRTIO_F(15)
#define F_STATUS	VIRTIO_F(16)

struct net_config {
	uint8_t mac[NET_MAC];
	uint16_t status, max_pairs, mtu;
};

/* 5.1.6 */
struct net_header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == WIRE_HEADER, "as it goes over the wire");
enum { H_NEEDS_CSUM = 1, H_DATA_VALID = 2 };

struct net {
	struct virtio v;		/* first */
	struct wire *wire;		/* owned */
	bool rx_waits;			/* the wire's thread holds a frame */
	struct vq_used used[BUFFERS_MAX];
	struct chain first, more, tx;
};

/* ---- sending ---- */

/* What a driver may not ask for, because it was not agreed on, is not asked of the host. */
static bool
header_fits(const struct net *n, const struct chain *c)
{
	uint64_t f = n->v.features;
	struct net_header h;

	if (c->out_len < WIRE_HEADER + FRAME_MIN || c->out_len > WIRE_MESSAGE_MAX)
		return false;
	chain_read(c, 0, &h, sizeof(h));
	if ((h.flags & H_NEEDS_CSUM) != 0 && (f & F_CSUM) == 0)
		return false;
	return h.gso_type == 0 || (f & (F_HOST_TSO4 | F_HOST_TSO6)) != 0;
}

/* false: the wire is full. */
static bool
send_one(struct net *n)
{
	struct chain *c = &n->tx;

	if (header_fits(n, c) && wire_send(n->wire, c->iov, c->outs) == WIRE_full) {
		vq_untake(&n->v.vq[TX], c);
		return false;
	}
	vq_give(&n->v.vq[TX], c->id, c->slots, 0);
	return true;
}

static void
send_all(struct net *n)
{
	struct vq *q = &n->v.vq[TX];
	bool room = true;

	do {
		vq_listen(q, false);
		while (room && virtio_take(&n->v, TX, &n->tx))
			room = send_one(n);
	} while (virtio_more(&n->v, TX) && room);
	virtio_signal(&n->v, TX);
}

static void
wire_writable(void *ctx)
{
	struct net *n = ctx;

	pthread_mutex_lock(&n->v.vm->lock);
	if (virtio_running(&n->v))
		send_all(n);
	pthread_mutex_unlock(&n->v.vm->lock);
}

/* ---- receiving ---- */

enum rx { RX_done, RX_wait };

/* Puts the message into as many buffers as it needs, or into none. */
static enum rx
receive(struct net *n, const uint8_t *message, size_t len)
{
	bool merge = (n->v.features & F_MRG_RXBUF) != 0;
	struct vq *q = &n->v.vq[RX];
	unsigned count = 0;
	uint16_t buffers;
	size_t at = 0;

	while (at < len && count < (merge ? BUFFERS_MAX : 1)) {
		struct chain *c = count == 0 ? &n->first : &n->more;
		size_t here;

		if (!virtio_take(&n->v, RX, c)) {
			for (; count > 0; count--)
				vq_untake_slots(q, n->used[count - 1].slots);
			return RX_wait;
		}
		here = chain_write(c, n->v.vm->mem, 0, message + at, len - at);
		n->used[count++] = (struct vq_used){ c->id, c->slots, (uint32_t)here };
		at += here;
	}
	if (at < len)
		n->used[0].len = 0;	/* it fits nowhere: lost, and the buffers are given back empty */
	buffers = at < len && !merge ? 1 : (uint16_t)count;
	chain_write(&n->first, n->v.vm->mem, offsetof(struct net_header, num_buffers), &buffers, sizeof(buffers));
	vq_give_many(q, n->used, count);
	virtio_signal(&n->v, RX);
	return RX_done;
}

/* The wire's word about a frame, cut down to what the driver agreed to hear. */
static void
header_clean(const struct net *n, uint8_t *message)
{
	struct net_header h;

	memcpy(&h, message, sizeof(h));
	if (!wire_segments(n->wire)) {
		h = (struct net_header){ .flags = h.flags & H_DATA_VALID };
	}
	if ((n->v.features & F_GUEST_CSUM) == 0)
		h.flags = 0;
	memcpy(message, &h, sizeof(h));
}

static bool
wire_message(void *ctx, const uint8_t *message, size_t len)
{
	struct net *n = ctx;
	bool done = true;

	if (len < WIRE_HEADER + FRAME_MIN)
		return true;
	pthread_mutex_lock(&n->v.vm->lock);
	if (virtio_running(&n->v)) {
		header_clean(n, (uint8_t *)(uintptr_t)message);
		vq_listen(&n->v.vq[RX], false);
		done = receive(n, message, len) == RX_done;
		if (!done) {
			vq_listen(&n->v.vq[RX], true);
			done = receive(n, message, len) == RX_done;	/* one may have come in between */
		}
		n->rx_waits = !done;
	}
	pthread_mutex_unlock(&n->v.vm->lock);
	return done;
}

static void
wire_gone(void *ctx)
{
	struct net *n = ctx;
	struct net_config c;

	LOG(dev, error, "%s: the network behind it is gone; the guest's cable is out", n->v.dev.id);
	pthread_mutex_lock(&n->v.vm->lock);
	memcpy(&c, n->v.config, sizeof(c));
	c.status = 0;
	memcpy(n->v.config, &c, sizeof(c));
	memcpy(n->v.config_birth, &c, sizeof(c));
	virtio_config_changed(&n->v);
	send_all(n);
	pthread_mutex_unlock(&n->v.vm->lock);
}

/* ---- being one ---- */

static void
net_notified(struct virtio *v, unsigned queue)
{
	struct net *n = (struct net *)v;

	if (queue == TX) {
		send_all(n);
	} else if (n->rx_waits) {
		n->rx_waits = false;
		wire_room(n->wire);
	}
}

static void
net_started(struct virtio *v)
{
	struct net *n = (struct net *)v;

	wire_offload(n->wire, v->features & F_GUEST_CSUM, v->features & F_GUEST_TSO4, v->features & F_GUEST_TSO6);
	n->rx_waits = false;
	wire_room(n->wire);
}

/* Nothing of the guest's is held: a waiting frame is the wire's, and is dropped when it is offered again. */
static bool
net_quiet(struct virtio *v)
{
	((struct net *)v)->rx_waits = false;
	wire_room(((struct net *)v)->wire);
	return true;
}

static void
net_close(struct dev *d)
{
	struct net *n = (struct net *)d;

	wire_close(n->wire);
	virtio_fini(&n->v);
	free(n);
}

static const struct dev_field net_fields[] = {
	VIRTIO_FIELDS(struct net),
	{ .name = NULL },
};

static const struct dev_ops net_dev_ops = {
	.name = "virtio-net", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = net_close,
	.fields = net_fields,
};

static const struct virtio_ops net_ops = {
	.id = VIRTIO_net, .pci_class = 2, .notified = net_notified, .started = net_started, .quiet = net_quiet,
};

struct virtio *
net_open(struct vm *vm, const char *id, struct wire *wire, const uint8_t mac[NET_MAC], unsigned mtu)
{
	struct wire_client client = { wire_message, wire_writable, wire_gone, NULL };
	struct net_config cfg = { .status = LINK_UP, .max_pairs = 1, .mtu = (uint16_t)mtu };
	struct net *n = calloc(1, sizeof(*n));

	if (n == NULL) {
		wire_close(wire);
		return NULL;
	}
	n->wire = wire;
	memcpy(cfg.mac, mac, NET_MAC);
	virtio_init(&n->v, vm, &net_dev_ops, &net_ops, id, 2, QUEUE_SIZE);
	memcpy(n->v.config_birth, &cfg, sizeof(cfg));
	n->v.config_size = n->v.config_writable = sizeof(cfg);
	n->v.offered |= F_CSUM | F_GUEST_CSUM | F_MAC | F_MRG_RXBUF | F_STATUS | (mtu != 0 ? F_MTU : 0);
	if (wire_segments(wire))
		n->v.offered |= F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6;
	client.ctx = n;
	if (wire_start(wire, &client) == 0)
		return &n->v;
	net_close(&n->v.dev);
	return NULL;
}
