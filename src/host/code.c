/* SPDX-License-Identifier: Apache-2.0 */
/* host/code.c - W^X code memory: shared anonymous pages, mapped once writable and once executable.
 *
 * Not a memfd: perf looks for the names of generated code (/tmp/perf-PID.map) only in memory that
 * /proc/PID/maps calls anonymous or /dev/zero, as these pages are called.
 */
#include "host/code.h"
#include <errno.h>
#include <sys/mman.h>

int
code_map_open(struct code_map *m, size_t size)
{
	void *rw, *rx = MAP_FAILED;
	int err;

	size = (size + 4095) & ~(size_t)4095;
	rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (rw == MAP_FAILED)
		return -1;
	/* An old size of 0 leaves the first mapping and makes another of the same pages (mremap(2)). */
	rx = mremap(rw, 0, size, MREMAP_MAYMOVE);
	if (rx != MAP_FAILED && mprotect(rx, size, PROT_READ | PROT_EXEC) == 0) {
		*m = (struct code_map){ .rw = rw, .rx = rx, .size = size };
		return 0;
	}
	err = errno;
	if (rx != MAP_FAILED)
		munmap(rx, size);
	munmap(rw, size);
	errno = err;
	return -1;
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
