/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/transport.h - between the PCI transport and the device behind it; nobody else includes this. */
#pragma once
#include "virtio/virtio.h"

void transport_init(struct virtio *v);		/* identity, BAR, capabilities */

void virtio_status_write(struct virtio *v, uint8_t val);
void virtio_features_write(struct virtio *v, uint32_t val);
/* The selected queue's registers if they may still be written, or NULL. */
struct vq_state *virtio_queue_open(struct virtio *v);
void virtio_notify_write(struct virtio *v, unsigned queue);
void virtio_config_io(struct virtio *v, unsigned at, struct io *io);
uint8_t virtio_isr_take(struct virtio *v);
