/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/net.c - a network card: frames in mergeable buffers, checksums and large segments left to the host, pairs of queues.
 *
 * Each pair has a wire of its own (the queues of a tap device), or all have one; then a flow is received where it is sent.
 * Sending happens on the vCPU's thread and never waits: when the wire is full the buffer stays in the ring until the
 * wire's thread says that there is room. A frame for which the guest has no buffer stays with that thread.
 */
#include "virtio/net.h"
#include "host/log.h"
#include "virtio/net_steer.h"
#include <stdlib.h>
#include <string.h>

enum { QUEUE_SIZE = 256, FRAME_MIN = 14, BUFFERS_MAX = 128, LINK_UP = 1 };
enum { CTRL_MQ = 4, CTRL_MQ_PAIRS_SET = 0, CTRL_OK = 0, CTRL_ERR = 1 };	/* 5.1.6.5 */
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
#define F_CTRL_VQ	VIRTIO_F(17)
#define F_MQ		VIRTIO_F(22)

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

struct port {			/* a wire, and whose it is */
	struct net *net;
	struct wire *wire;		/* owned */
	bool waits;			/* its thread holds a frame for which there is no buffer */
};

struct net {
	struct virtio v;		/* first */
	struct port port[NET_PAIRS_MAX];
	unsigned ports, pairs;
	uint8_t active;			/* pairs that the driver uses */
	bool gone;
	struct steer steer;		/* with one port for several pairs */
	struct vq_used used[BUFFERS_MAX];
	struct chain first, more, tx;
};

static unsigned rx_of(unsigned pair) { return 2 * pair; }
static unsigned tx_of(unsigned pair) { return 2 * pair + 1; }
static struct port *port_of(struct net *n, unsigned pair) { return &n->port[pair % n->ports]; }
static bool steers(const struct net *n) { return n->ports == 1 && n->active > 1; }

/* Without F_MQ the driver knows of one pair only, and the control queue is behind that (5.1.2). */
static unsigned
pairs_known(const struct net *n)
{
	return (n->v.features & F_MQ) != 0 ? n->pairs : 1;
}

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

static void
steer_note(struct net *n, unsigned pair)
{
	uint8_t head[STEER_HEAD];

	if (steers(n))
		steer_sent(&n->steer, head, chain_read(&n->tx, WIRE_HEADER, head, sizeof(head)), pair);
}

/* false: the wire is full. */
static bool
send_one(struct net *n, unsigned pair)
{
	struct vq *q = &n->v.vq[tx_of(pair)];
	struct chain *c = &n->tx;

	if (header_fits(n, c)) {
		if (wire_send(port_of(n, pair)->wire, c->iov, c->outs) == WIRE_full) {
			vq_untake(q, c);
			return false;
		}
		steer_note(n, pair);
	}
	vq_give(q, c->id, c->slots, 0);
	return true;
}

static void
send_all(struct net *n, unsigned pair)
{
	unsigned queue = tx_of(pair);
	bool room = true;

	do {
		vq_listen(&n->v.vq[queue], false);
		while (room && virtio_take(&n->v, queue, &n->tx))
			room = send_one(n, pair);
	} while (virtio_more(&n->v, queue) && room);
	virtio_signal(&n->v, queue);
}

static void
wire_writable(void *ctx)
{
	struct port *p = ctx;
	struct net *n = p->net;

	pthread_mutex_lock(&n->v.vm->lock);
	for (unsigned pair = 0; pair < pairs_known(n) && virtio_running(&n->v); pair++)
		if (port_of(n, pair) == p)
			send_all(n, pair);
	pthread_mutex_unlock(&n->v.vm->lock);
}

/* ---- receiving ---- */

enum rx { RX_done, RX_wait };

/* Puts the message into as many buffers as it needs, or into none. */
static enum rx
receive(struct net *n, unsigned queue, const uint8_t *message, size_t len)
{
	bool merge = (n->v.features & F_MRG_RXBUF) != 0;
	struct vq *q = &n->v.vq[queue];
	unsigned size = n->v.queue[queue].size, count = 0, most = !merge ? 1 : size < BUFFERS_MAX ? size : BUFFERS_MAX;
	uint16_t buffers;
	size_t at = 0;

	while (at < len && count < most) {
		struct chain *c = count == 0 ? &n->first : &n->more;
		size_t here;

		if (!virtio_take(&n->v, queue, c)) {
			/* Of those that are there the driver has told: it shall tell of the next. */
			if (virtio_more(&n->v, queue))
				continue;
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
	virtio_signal(&n->v, queue);
	return RX_done;
}

/* The wire's word about a frame, cut down to what the driver agreed to hear. */
static void
header_clean(const struct net *n, uint8_t *message)
{
	struct net_header h;

	memcpy(&h, message, sizeof(h));
	if (!wire_segments(n->port[0].wire))
		h = (struct net_header){ .flags = h.flags & H_DATA_VALID };
	if ((n->v.features & F_GUEST_CSUM) == 0)
		h.flags = 0;
	memcpy(message, &h, sizeof(h));
}

/* The receive queue for a frame that came by this port. */
static unsigned
queue_for(const struct net *n, const struct port *p, const uint8_t *message, size_t len)
{
	unsigned pair = n->ports > 1 ? (unsigned)(p - n->port) : 0;

	if (steers(n))
		pair = steer_pair(&n->steer, message + WIRE_HEADER, len - WIRE_HEADER);
	return rx_of(pair % n->active);
}

static bool
wire_message(void *ctx, const uint8_t *message, size_t len)
{
	struct port *p = ctx;
	struct net *n = p->net;
	bool done = true;

	if (len < WIRE_HEADER + FRAME_MIN)
		return true;
	pthread_mutex_lock(&n->v.vm->lock);
	if (virtio_running(&n->v)) {
		unsigned queue = queue_for(n, p, message, len);

		header_clean(n, (uint8_t *)(uintptr_t)message);
		vq_listen(&n->v.vq[queue], false);
		done = receive(n, queue, message, len) == RX_done;
		p->waits = !done;
	}
	pthread_mutex_unlock(&n->v.vm->lock);
	return done;
}

/* Frames that wait are offered again. */
static void
offer_again(struct net *n, bool all)
{
	for (unsigned i = 0; i < n->ports; i++) {
		if (all || n->port[i].waits)
			wire_room(n->port[i].wire);
		n->port[i].waits = false;
	}
}

static void
wire_gone(void *ctx)
{
	struct net *n = ((struct port *)ctx)->net;
	struct net_config c;

	pthread_mutex_lock(&n->v.vm->lock);
	if (!n->gone)
		LOG(dev, error, "%s: the network behind it is gone; the guest's cable is out", n->v.dev.id);
	n->gone = true;
	memcpy(&c, n->v.config, sizeof(c));
	c.status = 0;
	memcpy(n->v.config, &c, sizeof(c));
	memcpy(n->v.config_birth, &c, sizeof(c));
	virtio_config_changed(&n->v);
	for (unsigned pair = 0; pair < pairs_known(n) && virtio_running(&n->v); pair++)
		send_all(n, pair);
	pthread_mutex_unlock(&n->v.vm->lock);
}

/* ---- the control queue ---- */

/* One command: its header, what it is about, and a byte for the answer. */
static uint8_t
command(struct net *n, const struct chain *c)
{
	struct { uint8_t class, cmd; uint16_t pairs; } cmd;

	if (chain_read(c, 0, &cmd, sizeof(cmd)) != sizeof(cmd) || cmd.class != CTRL_MQ || cmd.cmd != CTRL_MQ_PAIRS_SET ||
	    cmd.pairs < 1 || cmd.pairs > pairs_known(n) || (n->v.features & F_MQ) == 0)
		return CTRL_ERR;
	n->active = (uint8_t)cmd.pairs;
	offer_again(n, true);
	return CTRL_OK;
}

static void
control(struct net *n, unsigned queue)
{
	struct chain *c = &n->tx;

	do
		while (virtio_take(&n->v, queue, c)) {
			uint8_t answer = command(n, c);
			size_t len = chain_write(c, n->v.vm->mem, 0, &answer, sizeof(answer));

			vq_give(&n->v.vq[queue], c->id, c->slots, (uint32_t)len);
		}
	while (virtio_more(&n->v, queue));
	virtio_signal(&n->v, queue);
}

/* ---- being one ---- */

static void
net_notified(struct virtio *v, unsigned queue)
{
	struct net *n = (struct net *)v;

	if (queue >= 2 * pairs_known(n)) {
		if (queue == 2 * pairs_known(n) && (v->features & F_CTRL_VQ) != 0)
			control(n, queue);
	} else if (queue % 2 == 1) {
		send_all(n, queue / 2);
	} else {
		offer_again(n, false);
	}
}

/* Nothing of the guest's is held: a waiting frame is the wire's, and is dropped or given when it is offered again. */
static void
forget(struct net *n)
{
	n->active = 1;
	n->steer = (struct steer){ { 0 } };
	offer_again(n, true);
}

static void
net_started(struct virtio *v)
{
	struct net *n = (struct net *)v;

	for (unsigned i = 0; i < n->ports; i++)
		wire_offload(n->port[i].wire, v->features & F_GUEST_CSUM, v->features & F_GUEST_TSO4, v->features & F_GUEST_TSO6);
	forget(n);
}

static bool
net_quiet(struct virtio *v)
{
	forget((struct net *)v);
	return true;
}

static void
net_close(struct dev *d)
{
	struct net *n = (struct net *)d;

	for (unsigned i = 0; i < n->ports; i++)
		wire_close(n->port[i].wire);
	virtio_fini(&n->v);
	free(n);
}

static const struct dev_field net_fields[] = {
	VIRTIO_FIELDS(struct net),
	DEV_FIELD(struct net, active, 1, 1),
	{ .name = NULL },
};

static const struct dev_ops net_dev_ops = {
	.name = "virtio-net", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = net_close,
	.fields = net_fields,
};

static const struct virtio_ops net_ops = {
	.id = VIRTIO_net, .pci_class = 2, .notified = net_notified, .started = net_started, .quiet = net_quiet,
};

static bool
ports_start(struct net *n)
{
	struct wire_client client = { wire_message, wire_writable, wire_gone, NULL };

	for (unsigned i = 0; i < n->ports; i++) {
		client.ctx = &n->port[i];
		if (wire_start(n->port[i].wire, &client) != 0)
			return false;
	}
	return true;
}

struct virtio *
net_open(struct vm *vm, const char *id, const struct net_setup *s)
{
	struct net_config cfg = { .status = LINK_UP, .max_pairs = (uint16_t)s->pairs, .mtu = (uint16_t)s->mtu };
	struct net *n = calloc(1, sizeof(*n));
	bool several = s->pairs > 1;

	if (n == NULL) {
		for (unsigned i = 0; i < s->wires; i++)
			wire_close(s->wire[i]);
		return NULL;
	}
	n->ports = s->wires;
	n->pairs = s->pairs;
	n->active = 1;
	for (unsigned i = 0; i < n->ports; i++)
		n->port[i] = (struct port){ n, s->wire[i], false };
	memcpy(cfg.mac, s->mac, NET_MAC);
	virtio_init(&n->v, vm, &net_dev_ops, &net_ops, id, 2 * n->pairs + several, QUEUE_SIZE);
	memcpy(n->v.config_birth, &cfg, sizeof(cfg));
	n->v.config_size = n->v.config_writable = sizeof(cfg);
	n->v.offered |= F_CSUM | F_GUEST_CSUM | F_MAC | F_MRG_RXBUF | F_STATUS | (s->mtu != 0 ? F_MTU : 0) |
	    (several ? F_MQ | F_CTRL_VQ : 0);
	if (wire_segments(n->port[0].wire))
		n->v.offered |= F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6;
	if (ports_start(n))
		return &n->v;
	net_close(&n->v.dev);
	return NULL;
}
