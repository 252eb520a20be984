/* SPDX-License-Identifier: Apache-2.0 */
/* host/disk.c - the file, its lock, and the pool of threads that works when io_uring does not. */
#include "host/disk_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ZEROS = 64 << 10, IOV_PIECE = 256, LOCK_TRIES = 50, LOCK_WAIT_US = 20000 };

/* ---- opening ---- */

static bool
say(char *err, size_t size, const char *path, const char *what)
{
	snprintf(err, size, "%s: %s", path, what);
	return false;
}

/* Two machines that write one file destroy it: the lock belongs to the open file, so forks do not matter.
 * A machine that has just ended may still hold it for moments, as the kernel closes a ring's files late. */
static bool
file_lock(int fd, bool read_only)
{
	struct flock l = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	unsigned k;

	for (k = 0; k < LOCK_TRIES; k++) {
		if (fcntl(fd, F_OFD_SETLK, &l) == 0 || (errno != EAGAIN && errno != EACCES))
			return true;
		usleep(LOCK_WAIT_US);
	}
	return false;
}

static bool
file_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return false;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, size) == 0;
	*size = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode);
}

static bool
disk_file(struct disk *d, const char *path, char *err, size_t err_size)
{
	enum { SECTOR = 512 };
	char why[128];

	/* O_NONBLOCK: a FIFO or a tape that waits for somebody must not hold us here. */
	d->fd = open(path, (d->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (d->fd < 0) {
		snprintf(why, sizeof(why), "%s; %s", strerror(errno), errno == EACCES || errno == EROFS ?
		    "choose a file that you may write, or add ,ro" : "name a raw disk image or a block device");
		return say(err, err_size, path, why);
	}
	if (!file_size(d->fd, &d->size))
		return say(err, err_size, path, "is neither a file nor a block device; name one of these");
	if (d->size < SECTOR)
		return say(err, err_size, path, "is smaller than a sector; make it larger, as with truncate -s 1G");
	if (!file_lock(d->fd, d->read_only))
		return say(err, err_size, path, "is in use by another machine; end that, or copy the file");
	return true;
}

static struct disk *
disk_new(const char *path, bool read_only, char *err, size_t err_size)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (d == NULL || (d->path = strdup(path)) == NULL) {
		free(d);
		say(err, err_size, path, "no memory for a disk");
		return NULL;
	}
	d->fd = -1;
	d->read_only = read_only;
	d->last = &d->first;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->some, NULL);
	return d;
}

struct disk *
disk_open(const char *path, bool read_only, const char *how, char *err, size_t err_size)
{
	struct disk *d = disk_new(path, read_only, err, err_size);

	if (d == NULL)
		return NULL;
	if (!disk_file(d, path, err, err_size)) {
		disk_close(d);
		return NULL;
	}
	if (strcmp(how, "threads") != 0)
		d->ring = disk_ring_open(d);
	if (d->ring == NULL && strcmp(how, "uring") == 0) {
		say(err, err_size, path, "this kernel gives us no io_uring; leave out io=uring");
		disk_close(d);
		return NULL;
	}
	return d;
}

struct disk *
disk_open_remote(const char *path, const char *format, bool read_only, char *err, size_t err_size)
{
	struct disk *d = disk_new(path, read_only, err, err_size);

	if (d != NULL && (d->remote = disk_remote_open(path, format, read_only, &d->size, err, err_size)) == NULL) {
		disk_close(d);
		return NULL;
	}
	return d;
}

const char *disk_path(const struct disk *d) { return d->path; }
uint64_t disk_size(const struct disk *d) { return d->size; }
bool disk_read_only(const struct disk *d) { return d->read_only; }
const char *disk_how(const struct disk *d) { return d->remote != NULL ? "remote" : d->ring != NULL ? "uring" : "threads"; }

/* ---- one request, here ---- */

void
disk_advance(struct disk_request *r, size_t n)
{
	r->at += n;
	r->len -= n;
	while (n > 0 && n >= r->iov->iov_len) {
		n -= r->iov->iov_len;
		r->iov++;
		r->niov--;
	}
	if (n > 0) {
		r->iov->iov_base = (uint8_t *)r->iov->iov_base + n;
		r->iov->iov_len -= n;
	}
}

static int
run_transfer(struct disk *d, struct disk_request *r)
{
	while (r->len > 0) {
		int n = (int)(r->niov < IOV_PIECE ? r->niov : IOV_PIECE);
		ssize_t done = r->op == DISK_read ? preadv(d->fd, r->iov, n, (off_t)r->at)
						  : pwritev2(d->fd, r->iov, n, (off_t)r->at, r->durable ? RWF_DSYNC : 0);

		if (done < 0 && errno != EINTR)
			return errno;
		if (done == 0)
			return r->op == DISK_read ? EIO : ENOSPC;	/* the file was cut short */
		if (done > 0)
			disk_advance(r, (size_t)done);
	}
	return 0;
}

static int
run_zeros(struct disk *d, uint64_t at, uint64_t len)
{
	static const uint8_t zeros[ZEROS];

	while (len > 0) {
		ssize_t n = pwrite(d->fd, zeros, len < ZEROS ? (size_t)len : ZEROS, (off_t)at);

		if (n < 0 && errno != EINTR)
			return errno;
		at += n > 0 ? (uint64_t)n : 0;
		len -= n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

/* A discard is advice; zeroes have to be there. */
static int
run_hole(struct disk *d, struct disk_request *r)
{
	if (fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->at, (off_t)r->len) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
		return errno;
	return r->op == DISK_zero ? run_zeros(d, r->at, r->len) : 0;
}

int
disk_run(struct disk *d, struct disk_request *r)
{
	switch (r->op) {
	case DISK_read:
	case DISK_write:
		return run_transfer(d, r);
	case DISK_flush:
		return fdatasync(d->fd) == 0 ? 0 : errno;
	case DISK_discard:
	case DISK_zero:
		return run_hole(d, r);
	}
	return EINVAL;
}

bool
disk_read_now(struct disk *d, const struct disk_request *r)
{
	ssize_t n;

	if (r->op != DISK_read || r->niov > IOV_PIECE || d->remote != NULL)
		return false;
	n = preadv2(d->fd, r->iov, (int)r->niov, (off_t)r->at, RWF_NOWAIT);
	return n >= 0 && (uint64_t)n == r->len;
}

/* ---- who does it ---- */

void
disk_queue(struct disk *d, struct disk_request *r)
{
	r->next = NULL;
	*d->last = r;
	d->last = &r->next;
}

struct disk_request *
disk_take(struct disk *d)
{
	struct disk_request *r = d->first;

	if (r != NULL && (d->first = r->next) == NULL)
		d->last = &d->first;
	return r;
}

void
disk_thread_setup(const char *name)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, name);
}

static void *
pool_thread(void *arg)
{
	struct disk *d = arg;
	struct disk_request *r;

	disk_thread_setup("disk");
	pthread_mutex_lock(&d->lock);
	for (;;) {
		while ((r = disk_take(d)) == NULL && !d->closing)
			pthread_cond_wait(&d->some, &d->lock);
		if (r == NULL)
			break;
		pthread_mutex_unlock(&d->lock);
		r->done(r, disk_run(d, r));
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int
disk_start(struct disk *d)
{
	unsigned want = d->ring != NULL || d->remote != NULL ? 1 : DISK_THREADS;
	void *(*thread)(void *) = d->remote != NULL ? disk_remote_thread : d->ring != NULL ? disk_ring_thread : pool_thread;

	for (; d->threads < want; d->threads++) {
		errno = pthread_create(&d->thread[d->threads], NULL, thread, d);
		if (errno != 0)
			return -1;
	}
	return 0;
}

/* Whoever works for d by one thread. */
static void
wake(struct disk *d)
{
	if (d->ring != NULL)
		disk_ring_wake(d->ring);
	if (d->remote != NULL)
		disk_remote_wake(d->remote);
}

void
disk_submit(struct disk *d, struct disk_request *r)
{
	bool alone;

	pthread_mutex_lock(&d->lock);
	alone = d->first == NULL;
	disk_queue(d, r);
	pthread_cond_signal(&d->some);
	pthread_mutex_unlock(&d->lock);
	if (alone)
		wake(d);
}

void
disk_close(struct disk *d)
{
	if (d == NULL)
		return;
	pthread_mutex_lock(&d->lock);
	d->closing = true;
	pthread_cond_broadcast(&d->some);
	pthread_mutex_unlock(&d->lock);
	wake(d);
	while (d->threads > 0)
		pthread_join(d->thread[--d->threads], NULL);
	disk_ring_close(d->ring);
	disk_remote_close(d->remote);
	if (d->fd >= 0)
		close(d->fd);
	pthread_mutex_destroy(&d->lock);
	pthread_cond_destroy(&d->some);
	free(d->path);
	free(d);
}
