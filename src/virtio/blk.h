/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/blk.h - a disk (virtio 1.2, 5.2). */
#pragma once
#include "host/disk.h"
#include "virtio/virtio.h"

enum { BLK_QUEUES_MAX = 16 };
/* disk is owned from here on, also when this fails with NULL (no memory). */
struct virtio *blk_open(struct vm *vm, const char *id, struct disk *disk, unsigned queues);
