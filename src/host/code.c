/* SPDX-License-Identifier: Apache-2.0 */
/* host/code.c - W^X code memory: shared anonymous pages, mapped once writable and once executable.
 *
 * Not a memfd: perf looks for the names of generated code (/tmp/perf-PID.map) only in memory that
 * /proc/PID/maps calls anonymous or /dev/zero, as these pages are called.
 */
#include "host/code.h"
#include <errno.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
enum { MADV_COLLAPSE = 25 };		/* Linux 6.1; newer than some headers */
#endif

/* A place for size bytes that begins where a huge page can. */
static void *
place(size_t size)
{
	uint8_t *p = mmap(NULL, size + CODE_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)p & (CODE_HUGE - 1);
	if (before != 0)
		munmap(p, before);
	munmap(p + before + size, CODE_HUGE - before);
	return p + before;
}

int
code_map_open(struct code_map *m, size_t size)
{
	void *rw, *rx;
	int err;

	size = (size + 4095) & ~(size_t)4095;
	rw = place(size);
	rx = place(size);
	/* An old size of 0 leaves the first mapping and makes another of the same pages (mremap(2)). */
	if (rw != NULL && rx != NULL &&
	    mmap(rw, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED &&
	    mremap(rw, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, rx) != MAP_FAILED &&
	    mprotect(rx, size, PROT_READ | PROT_EXEC) == 0) {
		*m = (struct code_map){ .rw = rw, .rx = rx, .size = size };
		return 0;
	}
	err = errno;
	if (rx != NULL)
		munmap(rx, size);
	if (rw != NULL)
		munmap(rw, size);
	errno = err;
	return -1;
}

/* Whatever the system's setting for shared memory is, this asks for just these pages. */
void
code_map_settle(struct code_map *m, size_t to)
{
	for (; m->huge + CODE_HUGE / 4 <= to && m->huge + CODE_HUGE <= m->size; m->huge += CODE_HUGE)
		if (madvise(m->rw + m->huge, CODE_HUGE, MADV_COLLAPSE) == 0)
			madvise(m->rx + m->huge, CODE_HUGE, MADV_COLLAPSE);
}

void
code_map_close(struct code_map *m)
{
	if (m->rw == NULL)
		return;
	munmap(m->rw, m->size);
	munmap(m->rx, m->size);
	*m = (struct code_map){ 0 };
}
