/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/virtio.h - a virtio 1.2 device on PCI: status, features, queues, configuration; each kind adds its ops.
 *
 * All functions run with the VM's lock held. I/O that takes time happens on other threads, which take the lock to
 * give buffers back. A reset waits for such I/O: until the device is quiet the driver reads the old status.
 *
 * What the driver wrote of a queue is pinned from the moment it is enabled, all of it from DRIVER_OK on.
 */
#pragma once
#include "dev/pci.h"
#include "virtio/queue.h"

enum { VIRTIO_QUEUES_MAX = 17, VIRTIO_CONFIG_MAX = 256, VIRTIO_BAR_SIZE = 0x8000 };
enum virtio_id { VIRTIO_net = 1, VIRTIO_blk = 2, VIRTIO_console = 3, VIRTIO_rng = 4, VIRTIO_balloon = 5,
	VIRTIO_vsock = 19, VIRTIO_fs = 26 };
enum { VIRTIO_STATUS_acknowledge = 1, VIRTIO_STATUS_driver = 2, VIRTIO_STATUS_driver_ok = 4,
	VIRTIO_STATUS_features_ok = 8, VIRTIO_STATUS_needs_reset = 64, VIRTIO_STATUS_failed = 128 };

#define VIRTIO_F(bit) ((uint64_t)1 << (bit))
#define VIRTIO_F_indirect	VIRTIO_F(28)
#define VIRTIO_F_event_idx	VIRTIO_F(29)
#define VIRTIO_F_version_1	VIRTIO_F(32)
#define VIRTIO_F_ring_packed	VIRTIO_F(34)
#define VIRTIO_F_ring		(VIRTIO_F_indirect | VIRTIO_F_event_idx | VIRTIO_F_version_1 | VIRTIO_F_ring_packed)

struct virtio;
struct virtio_ops {
	enum virtio_id id;
	uint8_t pci_class, pci_sub;
	void (*notified)(struct virtio *v, unsigned queue);
	void (*started)(struct virtio *v);			/* DRIVER_OK; may be NULL */
	/* The driver resets: finish or drop what is in flight. true: nothing is any more. Else the device calls
	 * virtio_is_quiet later. May be NULL: nothing ever is. */
	bool (*quiet)(struct virtio *v);
	void (*config_written)(struct virtio *v, unsigned at, unsigned size);	/* may be NULL */
};

struct virtio {
	struct dev dev;			/* first */
	struct pci_function f;
	const struct virtio_ops *ops;
	struct vm *vm;			/* borrowed */
	struct vq vq[VIRTIO_QUEUES_MAX];
	unsigned queues;
	uint16_t queue_size;		/* at most, and after reset */
	uint64_t offered;		/* features */
	unsigned config_size, config_writable;	/* bytes; the writable ones are [config_writable, config_size) */
	uint8_t config_birth[VIRTIO_CONFIG_MAX];
	unsigned window;		/* config offset of the PCI access capability */

	/* state by table */
	uint64_t features;		/* what the driver accepted */
	uint32_t feature_select[2];	/* device's, driver's */
	uint16_t config_vector, queue_select;
	uint8_t status, generation, isr, resetting;
	uint8_t config[VIRTIO_CONFIG_MAX] __attribute__((aligned(8)));
	struct vq_state queue[VIRTIO_QUEUES_MAX];
};

/* The rows of every virtio device's table. */
#define VIRTIO_FIELDS(type) \
	DEV_FIELD(type, v.features, 1, 0), DEV_FIELD(type, v.feature_select, 2, 0), \
	DEV_FIELD(type, v.config_vector, 1, PCI_NO_VECTOR), DEV_FIELD(type, v.queue_select, 1, 0), \
	DEV_FIELD(type, v.status, 1, 0), DEV_FIELD(type, v.generation, 1, 0), DEV_FIELD(type, v.isr, 1, 0), \
	DEV_FIELD(type, v.resetting, 1, 0), DEV_FIELD(type, v.config, VIRTIO_CONFIG_MAX, 0), \
	{ "queue", offsetof(type, v.queue), 8, sizeof(((type *)0)->v.queue) / 8, 0 }, \
	{ "pci", offsetof(type, v.f.config), 8, PCI_CONFIG / 8, 0 }, \
	DEV_FIELD(type, v.f.msix_table, 2 * PCI_VECTORS_MAX, 0), DEV_FIELD(type, v.f.msix_pending, 1, 0), \
	DEV_FIELD(type, v.f.line_up, 1, 0)

/* Fills in all but what the kind adds: then features (offered), config_birth, config_size are the kind's to set. */
void virtio_init(struct virtio *v, struct vm *vm, const struct dev_ops *dev_ops, const struct virtio_ops *ops,
    const char *id, unsigned queues, uint16_t queue_size);
/* The functions of its dev_ops. close frees what virtio_init and virtio_attach took, not v. */
enum io_result virtio_io(struct dev *d, struct io *io);
void virtio_reset(struct dev *d);
void virtio_loaded(struct dev *d);
void virtio_fini(struct virtio *v);

/* Puts the device on the bus. -1: no room. */
int virtio_attach(struct virtio *v, struct dev *pci, unsigned slot, uint64_t *window, uint64_t window_end);

/* ---- for the kinds ---- */
bool virtio_running(const struct virtio *v);	/* between DRIVER_OK and trouble or reset */
/* vq_take, with the device broken when the buffer is bad: false then, and when there is none. */
bool virtio_take(struct virtio *v, unsigned queue, struct chain *c);
/* Behind the last virtio_take: the driver shall notify of what comes next. true: something has come already. */
bool virtio_more(struct virtio *v, unsigned queue);
/* Interrupts when the driver wants it. */
void virtio_signal(struct virtio *v, unsigned queue);
void virtio_broken(struct virtio *v, const char *why);	/* needs a reset; says so */
void virtio_config_changed(struct virtio *v);
void virtio_is_quiet(struct virtio *v);		/* the reset that waited may go on */
