/* SPDX-License-Identifier: Apache-2.0 */
/* host/wire.h - the host's end of a guest's network card: frames to and from a helper's socket or a tap device's queue.
 *
 * A message is a virtio_net_hdr of 12 bytes and an Ethernet frame. One thread receives.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { WIRE_HEADER = 12, WIRE_FRAME_MAX = 65550, WIRE_MESSAGE_MAX = WIRE_HEADER + WIRE_FRAME_MAX,
	WIRE_BUFFER = 44 + 65536 /* any message: those of vsock are the largest */ };

/* All are called on the wire's thread, without any lock of ours held. */
struct wire_client {
	/* A message. false: no room; it is offered again after wire_room(). */
	bool (*message)(void *ctx, const uint8_t *message, size_t n);
	void (*writable)(void *ctx);	/* after wire_send said no */
	void (*gone)(void *ctx);	/* the other end has closed. Once */
	void *ctx;
};

struct wire;

/* forwards: NULL-terminated "tcp:ADDR:PORT-[ADDR]:PORT". NULL with a line in err. */
struct wire *wire_open_user(const char *const *forwards, unsigned mtu, char *err, size_t err_size);
struct wire *wire_open_share(const char *dir, bool read_only, char *err, size_t err_size);	/* FUSE, not frames */
struct wire *wire_open_vsock(const char *path, uint32_t cid, char *err, size_t err_size);	/* packets of vsock */
struct wire *wire_open_fd(int fd, char *err, size_t err_size);	/* a socket of messages; owned */
/* Up to `want` queues of a tap device, each a wire: how many, 0 with a line in err. */
unsigned wire_open_tap(const char *name, struct wire **wires, unsigned want, char *err, size_t err_size);
int wire_start(struct wire *w, const struct wire_client *c);	/* 0, or -1 with errno */
void wire_close(struct wire *w);				/* NULL is fine */

enum wire_sent { WIRE_sent, WIRE_full /* writable() follows */, WIRE_lost /* never will be */ };
enum wire_sent wire_send(struct wire *w, const struct iovec *iov, unsigned n);	/* never blocks */
void wire_room(struct wire *w);
/* tap: what the guest's driver can take. */
void wire_offload(struct wire *w, bool csum, bool tso4, bool tso6);
bool wire_segments(const struct wire *w);	/* it takes and gives TCP segments larger than frames */
