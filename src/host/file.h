/* SPDX-License-Identifier: Apache-2.0 */
/* host/file.h - files that the command line names: read whole or in place, with a clear line on failure.
 *
 * Functions return 0 or -REGENT_E_*; err then holds "FILE: what is wrong; what to do".
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct blob {			/* a file's bytes; owned */
	uint8_t *data;
	size_t size;
};

/* Reads all of a file of at most max bytes. Directories and endless devices are refused. */
int file_read(const char *path, uint64_t max, struct blob *b, char *err, size_t err_size);
void blob_free(struct blob *b);

/* For files that go straight into guest RAM: opens, tells the size, then reads exactly that. */
int file_open_sized(const char *path, uint64_t max, int *fd, uint64_t *size, char *err, size_t err_size);
int file_read_exact(int fd, const char *path, void *to, uint64_t size, char *err, size_t err_size);
