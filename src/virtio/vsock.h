/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/vsock.h - sockets between guest and host. */
#pragma once
#include "host/wire.h"
#include "virtio/virtio.h"

/* Owns the wire, whose messages are packets (virtio 1.2, 5.10.6); one byte alone says that the driver has reset. */
struct virtio *vsock_open(struct vm *vm, const char *id, struct wire *wire, uint32_t cid);	/* NULL: no memory */
