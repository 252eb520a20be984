/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/balloon.h - memory that the guest gives back (virtio 1.2, 5.5): on request, and what it has free anyway. */
#pragma once
#include "virtio/virtio.h"

struct virtio *balloon_open(struct vm *vm, const char *id);	/* NULL: no memory */
/* How much the guest shall give up, and has given up, in bytes. VM lock held. */
void balloon_target(struct virtio *v, uint64_t bytes);
uint64_t balloon_size(const struct virtio *v);
