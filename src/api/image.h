/* SPDX-License-Identifier: Apache-2.0 */
/* api/image.h - a disk image that is booted by itself: kernel, initrd and root found inside. */
#pragma once
#include <stddef.h>

enum { IMAGE_PATH = 32, IMAGE_ROOT = 64 };
struct image_boot {
	int kernel_fd, initrd_fd;		/* owned; -1: none */
	char kernel[IMAGE_PATH], initrd[IMAGE_PATH];	/* names under which these open; "": none */
	char root[IMAGE_ROOT];			/* for root= */
};

/* By a helper that reads the file system. 0, or -REGENT_E_* with a line in err. */
int image_open(struct image_boot *b, const char *path, char *err, size_t err_size);
void image_close(struct image_boot *b);
