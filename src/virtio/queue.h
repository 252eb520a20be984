/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/queue.h - one virtqueue: taking buffers, giving them back, and who wants to be told (virtio 1.2, 2.6 to 2.8). */
#pragma once
#include "virtio/chain.h"

enum { VQ_SIZE_MAX = CHAIN_MAX };

/* What guest and device agreed on, and where they are: 64-bit words of the device's table. */
struct vq_state {
	uint64_t desc, driver, device;		/* guest-physical; pinned while the queue is enabled */
	uint16_t size, vector;
	uint16_t enabled;
	uint16_t avail, used;			/* next to take, next to give back: index, or slot when packed */
	uint16_t signalled;			/* `used` when we last interrupted */
	uint8_t avail_wrap, used_wrap;		/* packed: wrap counters, 1 at first */
	uint8_t signalled_valid;
	uint8_t unused;
};

struct vq {
	struct vq_state *s;		/* borrowed */
	struct mem *mem;		/* borrowed; NULL: does not run */
	const uint8_t *desc_p, *driver_p;	/* in guest RAM */
	uint8_t *desc_w, *device_p;
	bool packed, event_idx, indirect;
};

/* Begins to use the queue as its registers say. NULL, or what is wrong with them. */
const char *vq_start(struct vq *q, struct vq_state *s, struct mem *mem, bool packed, bool event_idx, bool indirect);
void vq_stop(struct vq *q);

enum vq_result { VQ_empty, VQ_taken, VQ_bad };
/* The next available buffer. VQ_bad: why says what the guest did. */
enum vq_result vq_take(struct vq *q, struct chain *c, const char **why);
bool vq_any(const struct vq *q);		/* whether vq_take would take one */
void vq_untake(struct vq *q, const struct chain *c);	/* the last one taken: take it again later */
void vq_untake_slots(struct vq *q, uint16_t slots);	/* the same, for who has kept only that */
/* Gives one back with `len` bytes written. */
void vq_give(struct vq *q, uint16_t id, uint16_t slots, uint32_t len);
/* Several that the driver must see at once. */
struct vq_used {
	uint16_t id, slots;
	uint32_t len;
};
void vq_give_many(struct vq *q, const struct vq_used *u, unsigned n);
bool vq_wants_interrupt(struct vq *q);		/* since the last time it was asked */
/* Whether the driver shall notify. After `true` look for buffers once more. */
void vq_listen(struct vq *q, bool on);
