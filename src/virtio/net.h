/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/net.h - a network card (virtio 1.2, 5.1). */
#pragma once
#include "host/wire.h"
#include "virtio/virtio.h"

enum { NET_MAC = 6, NET_USER_MTU = 65520 };
/* wire is owned from here on, also when this fails with NULL (no memory, no thread). mtu 0: not said. */
struct virtio *net_open(struct vm *vm, const char *id, struct wire *wire, const uint8_t mac[NET_MAC], unsigned mtu);
