/* SPDX-License-Identifier: Apache-2.0 */
/* host/code.c - W^X code memory: one memfd, mapped once writable and once executable. */
#include "host/code.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int
code_map_open(struct code_map *m, const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC), err;
	void *rw = MAP_FAILED, *rx = MAP_FAILED;

	if (fd < 0)
		return -1;
	size = (size + 4095) & ~(size_t)4095;
	if (ftruncate(fd, (off_t)size) == 0) {
		rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	err = errno;
	close(fd);
	if (rw != MAP_FAILED && rx != MAP_FAILED) {
		*m = (struct code_map){ .rw = rw, .rx = rx, .size = size };
		return 0;
	}
	if (rw != MAP_FAILED)
		munmap(rw, size);
	if (rx != MAP_FAILED)
		munmap(rx, size);
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
