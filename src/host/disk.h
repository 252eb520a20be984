/* SPDX-License-Identifier: Apache-2.0 */
/* host/disk.h - what is behind a guest's disk: a raw file or block device, or a server that libnbd knows.
 *
 * Files: by io_uring when the kernel lets us (with registered files and restrictions: a ring otherwise walks past seccomp),
 * else by a pool of threads. Everything is opened before the threads start, nothing after.
 * All else: by the helper regent-nbd behind a socket.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum disk_op { DISK_read, DISK_write, DISK_flush, DISK_discard, DISK_zero };

struct disk_request {
	enum disk_op op;
	bool durable;			/* DISK_write: done means on the medium */
	uint64_t at, len;		/* bytes */
	struct iovec *iov;		/* of len bytes together; changed on the way */
	unsigned niov;
	/* 0 or errno; on a thread of the disk's, no lock of ours held. */
	void (*done)(struct disk_request *r, int error);
	void *ctx;
	/* The disk's. */
	struct disk_request *next;
	uint64_t sent;			/* remote: bytes of it, in how many pieces not yet answered, and what went wrong */
	unsigned pieces;
	int error;
};

struct disk;

/* "auto", "uring", "threads". NULL with a line in err: FILE: what is wrong; what to do. */
struct disk *disk_open(const char *path, bool read_only, const char *how, char *err, size_t err_size);
/* A URI of libnbd (format NULL), or a file in a format that qemu-nbd shall serve. The same. */
struct disk *disk_open_remote(const char *path, const char *format, bool read_only, char *err, size_t err_size);
int disk_start(struct disk *d);		/* 0, or -1 with errno */
void disk_close(struct disk *d);	/* after all that was submitted is done; NULL is fine */

const char *disk_path(const struct disk *d);
uint64_t disk_size(const struct disk *d);	/* bytes */
bool disk_read_only(const struct disk *d);
const char *disk_how(const struct disk *d);	/* "uring", "threads", "remote" */

void disk_submit(struct disk *d, struct disk_request *r);	/* never blocks */
/* A read whose bytes the host has in memory, done here and now; false: nothing was done, submit it. */
bool disk_read_now(struct disk *d, const struct disk_request *r);
