/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/net.h - a network card (virtio 1.2, 5.1). */
#pragma once
#include "host/wire.h"
#include "virtio/virtio.h"

/* libslirp's windows end at 65535 bytes. A segment that fills one makes the guest close it while a byte is unread, and then
 * both wait for a timer of seconds: two have to fit. */
enum { NET_MAC = 6, NET_USER_MTU = 32000, NET_PAIRS_MAX = 8 };
_Static_assert(2 * NET_PAIRS_MAX + 1 <= VIRTIO_QUEUES_MAX, "and the control queue");

struct net_setup {
	struct wire *const *wire;	/* one for all pairs, or one each */
	unsigned wires, pairs;
	uint8_t mac[NET_MAC];
	unsigned mtu;			/* 0: not said */
};
/* The wires are owned from here on, also when this fails with NULL (no memory, no thread). */
struct virtio *net_open(struct vm *vm, const char *id, const struct net_setup *s);
