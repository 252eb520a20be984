/* SPDX-License-Identifier: Apache-2.0 */
/* host/file.c - reading the files that the command line names.
 *
 * Reading instead of mapping: a file that shrinks while mapped would end the process by SIGBUS.
 */
#include "host/file.h"
#include "regent.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
file_open_sized(const char *path, uint64_t max, int *fd, uint64_t *size, char *err, size_t err_size)
{
	struct stat st;
	/* O_NONBLOCK: a FIFO without a writer must not make us wait. */
	int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (f < 0 || fstat(f, &st) != 0) {
		snprintf(err, err_size, "%s: %s; name a file that exists and that you may read",
			 path, strerror(errno));
		if (f >= 0)
			close(f);
		return -REGENT_E_io;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(err, err_size, "%s: is not a regular file; name a file", path);
	} else if (st.st_size == 0) {
		snprintf(err, err_size, "%s: is empty; is it complete?", path);
	} else if ((uint64_t)st.st_size > max) {
		snprintf(
		    err, err_size,
		    "%s: has %lld bytes, at most %llu fit; name a smaller file or raise --memory",
		    path, (long long)st.st_size, (unsigned long long)max);
	} else {
		*fd = f;
		*size = (uint64_t)st.st_size;
		return 0;
	}
	close(f);
	return -REGENT_E_io;
}

int
file_read_exact(int fd, const char *path, void *to, uint64_t size, char *err, size_t err_size)
{
	uint64_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)to + done, size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			snprintf(err, err_size, "%s: %s after %llu bytes; copy it again", path,
				n < 0 ? strerror(errno) : "ends", (unsigned long long)done);
			return -REGENT_E_io;
		}
		done += (uint64_t)n;
	}
	return 0;
}

int
file_read(const char *path, uint64_t max, struct blob *b, char *err, size_t err_size)
{
	uint64_t size;
	int fd, rc;

	b->data = NULL;
	b->size = 0;
	if ((rc = file_open_sized(path, max, &fd, &size, err, err_size)) != 0)
		return rc;
	if ((b->data = malloc(size)) == NULL) {
		snprintf(err, err_size, "%s: no memory for its %llu bytes", path,
			 (unsigned long long)size);
		rc = -REGENT_E_memory;
	} else {
		rc = file_read_exact(fd, path, b->data, size, err, err_size);
		b->size = size;
	}
	close(fd);
	if (rc != 0)
		blob_free(b);
	return rc;
}

void
blob_free(struct blob *b)
{
	free(b->data);
	b->data = NULL;
	b->size = 0;
}
