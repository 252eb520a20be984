/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/console.c - bytes both ways, and the size of the window they are shown in.
 *
 * One port, without F_MULTIPORT: there the size would come as a control message, whose two fields Linux read in the
 * other order than virtio 1.2, 5.3.6.2 has them. In configuration space nobody mixes them up.
 */
#include "virtio/console.h"
#include <stdlib.h>
#include <string.h>

enum { RX = 0, TX = 1, QUEUES = 2, QUEUE_SIZE = 64, PIECE = 4096,
	BUFFER_MAX = 1 << 20 /* what is longer than any driver sends is cut: it would be copied under the VM's lock */ };
#define F_SIZE	VIRTIO_F(0)

/* 5.3.4 */
struct console_config {
	uint16_t columns, rows;
	uint32_t max_ports, emergency;		/* of features that are not offered */
};

struct console {
	struct virtio v;		/* first */
	struct console_host host;
	bool rx_waits;			/* console_input took too few */
	uint64_t tx_at;			/* bytes of the first buffer that the host has taken */
	struct chain rx, tx;
};

/* ---- to the host ---- */

/* false: the host has no room now. */
static bool
send_one(struct console *c)
{
	uint8_t piece[PIECE];
	size_t n, took;

	while (c->tx_at < BUFFER_MAX && (n = chain_read(&c->tx, c->tx_at, piece, sizeof(piece))) > 0) {
		took = c->host.write(c->host.ctx, piece, n);
		c->tx_at += took;
		if (took < n) {
			vq_untake(&c->v.vq[TX], &c->tx);
			return false;
		}
	}
	c->tx_at = 0;
	vq_give(&c->v.vq[TX], c->tx.id, c->tx.slots, 0);
	return true;
}

static void
send_all(struct console *c)
{
	bool room = true;

	do
		while (room && virtio_take(&c->v, TX, &c->tx))
			room = send_one(c);
	while (virtio_more(&c->v, TX) && room);
	virtio_signal(&c->v, TX);
}

void
console_ready(struct virtio *v)
{
	pthread_mutex_lock(&v->vm->lock);
	if (virtio_running(v))
		send_all((struct console *)v);
	pthread_mutex_unlock(&v->vm->lock);
}

/* ---- to the guest ---- */

static size_t
receive(struct console *c, const uint8_t *bytes, size_t n)
{
	size_t done = 0;

	while (done < n && virtio_take(&c->v, RX, &c->rx)) {
		size_t here = chain_write(&c->rx, c->v.vm->mem, 0, bytes + done, n - done);

		vq_give(&c->v.vq[RX], c->rx.id, c->rx.slots, (uint32_t)here);
		done += here;
	}
	return done;
}

size_t
console_input(struct virtio *v, const void *bytes, size_t n)
{
	struct console *c = (struct console *)v;
	size_t done = 0;

	pthread_mutex_lock(&v->vm->lock);
	if (virtio_running(v)) {
		done = receive(c, bytes, n);
		if (done < n && virtio_more(v, RX))
			done += receive(c, (const uint8_t *)bytes + done, n - done);
		virtio_signal(v, RX);
	}
	c->rx_waits = done < n;
	pthread_mutex_unlock(&v->vm->lock);
	return done;
}

static void
want_input(struct console *c)
{
	if (c->rx_waits && c->host.want_input != NULL)
		c->host.want_input(c->host.ctx);
	c->rx_waits = false;
}

/* ---- the window ---- */

/* What a reset leaves: the window is the host's. */
void
console_size(struct virtio *v, uint16_t columns, uint16_t rows)
{
	struct console_config c;

	pthread_mutex_lock(&v->vm->lock);
	memcpy(&c, v->config, sizeof(c));
	if (c.columns != columns || c.rows != rows) {
		c.columns = columns;
		c.rows = rows;
		memcpy(v->config, &c, sizeof(c));
		memcpy(v->config_birth, &c, sizeof(c));
		virtio_config_changed(v);
	}
	pthread_mutex_unlock(&v->vm->lock);
}

/* ---- being one ---- */

static void
console_notified(struct virtio *v, unsigned queue)
{
	if (queue == TX)
		send_all((struct console *)v);
	else
		want_input((struct console *)v);
}

/* Linux asks for the size only when it is told of a change. */
static void
console_started(struct virtio *v)
{
	struct console_config c;

	((struct console *)v)->tx_at = 0;
	memcpy(&c, v->config, sizeof(c));
	if ((v->features & F_SIZE) != 0 && c.columns != 0)
		virtio_config_changed(v);
	want_input((struct console *)v);
}

/* Nothing of the guest's is held: a buffer that is half written is in the ring. */
static bool
console_quiet(struct virtio *v)
{
	((struct console *)v)->tx_at = 0;
	return true;
}

static void
console_close(struct dev *d)
{
	virtio_fini((struct virtio *)d);
	free(d);
}

static const struct dev_field console_fields[] = {
	VIRTIO_FIELDS(struct console),
	DEV_FIELD(struct console, tx_at, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops console_dev_ops = {
	.name = "virtio-console", .io = virtio_io, .reset = virtio_reset, .loaded = virtio_loaded, .close = console_close,
	.fields = console_fields,
};

static const struct virtio_ops console_ops = {
	.id = VIRTIO_console, .pci_class = 7, .pci_sub = 0x80, .notified = console_notified, .started = console_started,
	.quiet = console_quiet,
};

struct virtio *
console_open(struct vm *vm, const char *id, const struct console_host *host)
{
	struct console *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->host = *host;
	virtio_init(&c->v, vm, &console_dev_ops, &console_ops, id, QUEUES, QUEUE_SIZE);
	c->v.config_size = c->v.config_writable = sizeof(struct console_config);
	c->v.offered |= F_SIZE;
	return &c->v;
}
