/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/fs.h - a folder of the host (virtio 1.2, 5.11): FUSE requests to a helper and back. */
#pragma once
#include "host/wire.h"
#include "virtio/virtio.h"

enum { FS_TAG = 36 };
/* wire (to regent-share) is owned from here on, also when this fails with NULL. */
struct virtio *fs_open(struct vm *vm, const char *id, struct wire *wire, const char *tag);
