/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/virtio.c - a device's life: reset, features, queues, running, trouble (virtio 1.2, chapters 2 and 3). */
#include "virtio/virtio.h"
#include "host/log.h"
#include "virtio/transport.h"
#include <stdio.h>
#include <string.h>

enum { ISR_queue = 1, ISR_config = 2 };
enum { STATUS_DRIVER = VIRTIO_STATUS_acknowledge | VIRTIO_STATUS_driver | VIRTIO_STATUS_driver_ok |
	VIRTIO_STATUS_features_ok | VIRTIO_STATUS_failed };

void
virtio_init(struct virtio *v, struct vm *vm, const struct dev_ops *dev_ops, const struct virtio_ops *ops,
    const char *id, unsigned queues, uint16_t queue_size)
{
	v->dev.ops = dev_ops;
	snprintf(v->dev.id, sizeof(v->dev.id), "%s", id);
	v->vm = vm;
	v->ops = ops;
	v->queues = queues;
	v->queue_size = queue_size;
	v->offered = VIRTIO_F_ring;
	transport_init(v);
}

int
virtio_attach(struct virtio *v, struct dev *pci, unsigned slot, uint64_t *window, uint64_t window_end)
{
	if (pci_function_born(&v->f, pci, v->vm->bus, slot, window, window_end) != 0)
		return -1;
	dev_reset(&v->dev);
	return 0;
}

void
virtio_fini(struct virtio *v)
{
	pci_function_fini(&v->f);
}

/* ---- interrupts ---- */

static void
interrupt(struct virtio *v, uint16_t vector, uint8_t isr)
{
	if (pci_msix_on(&v->f)) {
		pci_msix_send(&v->f, vector);
		return;
	}
	v->isr |= isr;
	pci_intx(&v->f, true);
}

uint8_t
virtio_isr_take(struct virtio *v)
{
	uint8_t isr = v->isr;

	v->isr = 0;
	pci_intx(&v->f, false);
	return isr;
}

void
virtio_signal(struct virtio *v, unsigned queue)
{
	if (vq_wants_interrupt(&v->vq[queue]))
		interrupt(v, v->queue[queue].vector, ISR_queue);
}

void
virtio_config_changed(struct virtio *v)
{
	v->generation++;
	if (v->status & VIRTIO_STATUS_driver_ok)
		interrupt(v, v->config_vector, ISR_config);
}

/* ---- running ---- */

bool
virtio_running(const struct virtio *v)
{
	return (v->status & (VIRTIO_STATUS_driver_ok | VIRTIO_STATUS_needs_reset)) == VIRTIO_STATUS_driver_ok &&
	    !v->resetting;
}

void
virtio_broken(struct virtio *v, const char *why)
{
	if (v->status & VIRTIO_STATUS_needs_reset)
		return;
	LOG(dev, warn, "%s: the guest's driver offers %s; the device stops until it is reset", v->dev.id, why);
	v->status |= VIRTIO_STATUS_needs_reset;
	virtio_config_changed(v);
}

bool
virtio_take(struct virtio *v, unsigned queue, struct chain *c)
{
	const char *why = NULL;

	if (!virtio_running(v) || !pci_may_dma(&v->f))
		return false;
	switch (vq_take(&v->vq[queue], c, &why)) {
	case VQ_taken:
		return true;
	case VQ_bad:
		virtio_broken(v, why);
		return false;
	case VQ_empty:
		break;
	}
	return false;
}

bool
virtio_more(struct virtio *v, unsigned queue)
{
	vq_listen(&v->vq[queue], true);
	return virtio_running(v) && pci_may_dma(&v->f) && vq_any(&v->vq[queue]);
}

static void
queues_start(struct virtio *v)
{
	const char *why;

	for (unsigned n = 0; n < v->queues; n++) {
		if (!v->queue[n].enabled)
			continue;
		why = vq_start(&v->vq[n], &v->queue[n], v->vm->mem, v->features & VIRTIO_F_ring_packed,
		    v->features & VIRTIO_F_event_idx, v->features & VIRTIO_F_indirect);
		if (why != NULL) {
			virtio_broken(v, why);
			return;
		}
	}
}

/* ---- reset ---- */

static void
state_clear(struct virtio *v)
{
	v->features = 0;
	v->feature_select[0] = v->feature_select[1] = 0;
	v->config_vector = PCI_NO_VECTOR;
	v->queue_select = 0;
	v->status = 0;
	v->resetting = 0;
	memcpy(v->config, v->config_birth, sizeof(v->config));
	for (unsigned n = 0; n < VIRTIO_QUEUES_MAX; n++) {
		vq_stop(&v->vq[n]);
		v->queue[n] = (struct vq_state){ .size = v->queue_size, .vector = PCI_NO_VECTOR, .avail_wrap = 1,
			.used_wrap = 1 };
	}
	virtio_isr_take(v);
}

void
virtio_is_quiet(struct virtio *v)
{
	if (v->resetting)
		state_clear(v);
}

static void
driver_reset(struct virtio *v)
{
	if (v->resetting)
		return;
	if (v->status & VIRTIO_STATUS_driver_ok && v->ops->quiet != NULL && !v->ops->quiet(v))
		v->resetting = 1;	/* until virtio_is_quiet */
	else
		state_clear(v);
}

/* The board is reset: only before a run, or after it. */
void
virtio_reset(struct dev *d)
{
	struct virtio *v = (struct virtio *)d;

	pci_function_reset(&v->f);
	state_clear(v);
}

void
virtio_loaded(struct dev *d)
{
	struct virtio *v = (struct virtio *)d;

	pci_function_loaded(&v->f);
	if (v->status & VIRTIO_STATUS_driver_ok)
		queues_start(v);
}

/* ---- what the driver writes ---- */

static bool
features_fit(const struct virtio *v)
{
	return (v->features & ~v->offered) == 0 && (v->features & VIRTIO_F_version_1) != 0;
}

void
virtio_status_write(struct virtio *v, uint8_t val)
{
	uint8_t before = v->status, new = val & STATUS_DRIVER & (uint8_t)~before;

	if (val == 0) {
		driver_reset(v);
		return;
	}
	if (v->resetting)
		return;
	if ((new & VIRTIO_STATUS_features_ok) && !features_fit(v))
		new &= (uint8_t)~VIRTIO_STATUS_features_ok;
	if ((new & VIRTIO_STATUS_driver_ok) && ((before | new) & VIRTIO_STATUS_features_ok) == 0)
		new &= (uint8_t)~VIRTIO_STATUS_driver_ok;
	v->status |= new;
	if ((new & VIRTIO_STATUS_driver_ok) == 0)
		return;
	queues_start(v);
	if (virtio_running(v) && v->ops->started != NULL)
		v->ops->started(v);
}

void
virtio_features_write(struct virtio *v, uint32_t val)
{
	unsigned shift = v->feature_select[1] == 0 ? 0 : 32;

	if (v->feature_select[1] > 1 || (v->status & VIRTIO_STATUS_features_ok) || v->resetting)
		return;
	v->features = (v->features & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)val << shift;
}

struct vq_state *
virtio_queue_open(struct virtio *v)
{
	struct vq_state *s;

	if (v->queue_select >= v->queues || v->resetting || (v->status & VIRTIO_STATUS_driver_ok))
		return NULL;
	s = &v->queue[v->queue_select];
	return s->enabled ? NULL : s;
}

void
virtio_notify_write(struct virtio *v, unsigned queue)
{
	if (queue < v->queues && virtio_running(v) && v->vq[queue].mem != NULL)
		v->ops->notified(v, queue);
}

void
virtio_config_io(struct virtio *v, unsigned at, struct io *io)
{
	if (at + io->size > VIRTIO_CONFIG_MAX)
		return;
	if (!io->write) {
		io->data = 0;
		memcpy(&io->data, v->config + at, io->size);
	} else if (at >= v->config_writable && at + io->size <= v->config_size && !v->resetting) {
		memcpy(v->config + at, &io->data, io->size);
		if (v->ops->config_written != NULL)
			v->ops->config_written(v, at, io->size);
	}
}
