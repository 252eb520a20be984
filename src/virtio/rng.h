/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/rng.h - entropy from the host (virtio 1.2, 5.4). */
#pragma once
#include "virtio/virtio.h"

struct virtio *rng_open(struct vm *vm, const char *id);		/* NULL: no memory */
