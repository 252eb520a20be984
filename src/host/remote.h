/* SPDX-License-Identifier: Apache-2.0 */
/* host/remote.h - the messages between a remote disk and the process that serves it, regent-nbd.
 *
 * Both sit on a SOCK_SEQPACKET socket: after "ok" comes a remote_hello, then an answer for each request. Data follow
 * in the same message, REMOTE_PIECE bytes at most.
 */
#pragma once
#include <stdint.h>

enum { REMOTE_PIECE = 64 << 10, REMOTE_FLYING = 64 };	/* bytes in a message, requests on their way */
enum remote_op { REMOTE_read, REMOTE_write, REMOTE_flush, REMOTE_discard, REMOTE_zero, REMOTE__OPS };
enum { REMOTE_CAN_zero = 1 << 0 };

struct remote_hello {
	uint64_t size;		/* of the disk, in bytes */
	uint32_t can, unused;
};
struct remote_request {
	uint32_t op;
	uint32_t durable;	/* REMOTE_write: done means on the medium */
	uint64_t cookie;	/* comes back */
	uint64_t at, len;
};
struct remote_answer {
	uint64_t cookie;
	uint32_t error;		/* errno, or 0 */
	uint32_t len;		/* of the data that follow */
};
