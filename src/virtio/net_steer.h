/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/net_steer.h - which pair of queues a flow is received on: the one that it was last sent on (virtio 1.2, 5.1.6.5.5). */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { STEER_FLOWS = 256, STEER_HEAD = 64 /* bytes of a frame that tell its flow */ };

struct steer {
	uint8_t pair[STEER_FLOWS];	/* by hash; two flows of one hash share a pair */
};

/* frame begins with the Ethernet header; n may be cut to STEER_HEAD. */
void steer_sent(struct steer *s, const uint8_t *frame, size_t n, unsigned pair);
unsigned steer_pair(const struct steer *s, const uint8_t *frame, size_t n);
