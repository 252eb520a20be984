/* SPDX-License-Identifier: Apache-2.0 */
/* host/disk_ring.c - a disk's requests by io_uring: one thread submits, waits and completes.
 *
 * The ring is restricted before it is enabled: five operations, on the two registered files only (the disk, and the
 * eventfd that wakes us). Whoever takes over this process gets no other system call out of it.
 */
#include "host/disk_parts.h"
#include <errno.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ENTRIES = 128, FILE_disk = 0, FILE_wake = 1 };

struct disk_ring {
	struct io_uring uring;
	int wake;			/* owned: eventfd */
	uint64_t woken;			/* what its read puts there */
	unsigned flying;		/* requests in the kernel */
	bool listening;			/* a read of the eventfd is in the kernel */
};

static int
ring_restrict(struct disk_ring *g, struct disk *d)
{
	static const uint8_t ops[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE,
		IORING_OP_READ };
	struct io_uring_restriction r[sizeof(ops) + 1] = { { .opcode = 0 } };
	int files[] = { [FILE_disk] = d->fd, [FILE_wake] = g->wake };

	for (unsigned i = 0; i < sizeof(ops); i++) {
		r[i].opcode = IORING_RESTRICTION_SQE_OP;
		r[i].sqe_op = ops[i];
	}
	r[sizeof(ops)].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	r[sizeof(ops)].sqe_flags = IOSQE_FIXED_FILE;
	if (io_uring_register_files(&g->uring, files, 2) != 0)
		return -1;
	/* Debian 12's shared liburing forgot to export the two functions for this. */
	if (io_uring_register((unsigned)g->uring.ring_fd, IORING_REGISTER_RESTRICTIONS, r, sizeof(ops) + 1) != 0)
		return -1;
	return io_uring_register((unsigned)g->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

struct disk_ring *
disk_ring_open(struct disk *d)
{
	struct disk_ring *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	if ((g->wake = eventfd(0, EFD_CLOEXEC)) < 0) {
		free(g);
		return NULL;
	}
	if (io_uring_queue_init(ENTRIES, &g->uring, IORING_SETUP_R_DISABLED) != 0) {
		close(g->wake);
		free(g);
		return NULL;
	}
	if (ring_restrict(g, d) == 0)
		return g;
	disk_ring_close(g);
	return NULL;
}

void
disk_ring_close(struct disk_ring *g)
{
	if (g == NULL)
		return;
	io_uring_queue_exit(&g->uring);
	close(g->wake);
	free(g);
}

void
disk_ring_wake(struct disk_ring *g)
{
	eventfd_write(g->wake, 1);
}

static void
prepare(struct io_uring_sqe *sqe, struct disk_request *r)
{
	switch (r->op) {
	case DISK_read:
		io_uring_prep_readv(sqe, FILE_disk, r->iov, r->niov, r->at);
		break;
	case DISK_write:
		io_uring_prep_writev2(sqe, FILE_disk, r->iov, r->niov, r->at, r->durable ? RWF_DSYNC : 0);
		break;
	case DISK_flush:
		io_uring_prep_fsync(sqe, FILE_disk, IORING_FSYNC_DATASYNC);
		break;
	case DISK_discard:
	case DISK_zero:
		io_uring_prep_fallocate(sqe, FILE_disk, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->at,
		    (off_t)r->len);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, r);
}

/* As many of the waiting as there is room for; one entry is kept for the eventfd. */
static void
ring_fill(struct disk *d, struct disk_ring *g)
{
	struct disk_request *r;
	struct io_uring_sqe *sqe;

	if (!g->listening && (sqe = io_uring_get_sqe(&g->uring)) != NULL) {
		io_uring_prep_read(sqe, FILE_wake, &g->woken, sizeof(g->woken), 0);
		sqe->flags |= IOSQE_FIXED_FILE;
		io_uring_sqe_set_data(sqe, NULL);
		g->listening = true;
	}
	pthread_mutex_lock(&d->lock);
	while (g->flying < ENTRIES - 2 && d->first != NULL && (sqe = io_uring_get_sqe(&g->uring)) != NULL) {
		r = disk_take(d);
		prepare(sqe, r);
		g->flying++;
	}
	pthread_mutex_unlock(&d->lock);
}

/* res is the kernel's answer. What it did half or cannot do is finished by ordinary calls, here. */
static int
finish(struct disk *d, struct disk_request *r, int res)
{
	if (r->op == DISK_read || r->op == DISK_write) {
		if (res > 0 && (uint64_t)res == r->len)
			return 0;
		if (res > 0)
			disk_advance(r, (size_t)res);
		if (res >= 0 || res == -EINTR || res == -EAGAIN)
			return disk_run(d, r);
		return -res;
	}
	if (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL || res == -EINTR || res == -EAGAIN)
		return disk_run(d, r);
	return res < 0 ? -res : 0;
}

static void
ring_reap(struct disk *d, struct disk_ring *g)
{
	struct io_uring_cqe *cqe;
	struct disk_request *r;
	int res;

	while (io_uring_peek_cqe(&g->uring, &cqe) == 0) {
		r = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&g->uring, cqe);
		if (r == NULL) {
			g->listening = false;
			continue;
		}
		g->flying--;
		r->done(r, finish(d, r, res));
	}
}

static bool
ring_goes_on(struct disk *d, struct disk_ring *g)
{
	bool on;

	pthread_mutex_lock(&d->lock);
	on = !d->closing || d->first != NULL || g->flying > 0;
	pthread_mutex_unlock(&d->lock);
	return on;
}

void *
disk_ring_thread(void *arg)
{
	struct disk *d = arg;
	struct disk_ring *g = d->ring;

	disk_thread_setup("disk-uring");
	while (ring_goes_on(d, g)) {
		ring_fill(d, g);
		io_uring_submit_and_wait(&g->uring, 1);
		ring_reap(d, g);
	}
	return NULL;
}
