/* SPDX-License-Identifier: Apache-2.0 */
/* host/disk_parts.h - between disk.c, disk_ring.c and disk_remote.c; nobody else includes this. */
#pragma once
#include "host/disk.h"
#include <pthread.h>

enum { DISK_THREADS = 4 };

struct disk_ring;
struct disk_remote;
struct disk {
	int fd;				/* owned; -1: remote */
	bool read_only;
	uint64_t size;
	char *path;			/* owned */
	struct disk_ring *ring;		/* owned; NULL: threads */
	struct disk_remote *remote;	/* owned; NULL: a file here */
	pthread_t thread[DISK_THREADS];
	unsigned threads;

	pthread_mutex_t lock;		/* guards the rest */
	pthread_cond_t some;
	struct disk_request *first, **last;	/* waiting */
	bool closing;
};

void disk_queue(struct disk *d, struct disk_request *r);		/* lock held */
struct disk_request *disk_take(struct disk *d);				/* lock held; NULL: none waits */
int disk_run(struct disk *d, struct disk_request *r);			/* all of it, here: 0 or errno */
/* The first n bytes of the request are done. */
void disk_advance(struct disk_request *r, size_t n);
void disk_thread_setup(const char *name);

/* NULL: the kernel has none for us. */
struct disk_ring *disk_ring_open(struct disk *d);
void disk_ring_close(struct disk_ring *g);
void disk_ring_wake(struct disk_ring *g);
void *disk_ring_thread(void *disk);

/* path is a URI, or a file of that format. NULL with a line in err. */
struct disk_remote *disk_remote_open(const char *path, const char *format, bool read_only, uint64_t *size, char *err,
    size_t err_size);
void disk_remote_close(struct disk_remote *m);
void disk_remote_wake(struct disk_remote *m);
void *disk_remote_thread(void *disk);
