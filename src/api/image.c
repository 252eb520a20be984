/* SPDX-License-Identifier: Apache-2.0 */
/* api/image.c - asks the helper regent-boot what an image boots, and takes the files that it sends. */
#include "api/image.h"
#include "host/helper.h"
#include "regent.h"
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MS = 60000, LINE = 256 };

/* The answer's line; its files go to fds, -1 where there is none. */
static bool
receive(int fd, char line[LINE], int fds[2])
{
	union { struct cmsghdr h; char room[CMSG_SPACE(2 * sizeof(int))]; } c;
	struct iovec iov = { line, LINE - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct cmsghdr *h;
	ssize_t n;

	fds[0] = fds[1] = -1;
	if (poll(&p, 1, ANSWER_MS) != 1 || (n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC)) <= 0)
		return false;
	line[n] = '\0';
	h = CMSG_FIRSTHDR(&m);
	if (h != NULL && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(h), h->cmsg_len - CMSG_LEN(0) < 2 * sizeof(int) ? sizeof(int) : 2 * sizeof(int));
	return true;
}

/* UUID=... and nothing that would be another word of the kernel's command line. */
static bool
root_fits(const char *root)
{
	return strncmp(root, "UUID=", 5) == 0 && strlen(root) < IMAGE_ROOT &&
	    strspn(root + 5, "0123456789abcdef-") == strlen(root + 5);
}

int
image_open(struct image_boot *b, const char *path, char *err, size_t size)
{
	char fd_text[16], line[LINE], *argv[] = { "regent-boot", fd_text, (char *)(uintptr_t)path, NULL };
	bool answered;
	int fds[2], fd;
	pid_t pid;

	*b = (struct image_boot){ .kernel_fd = -1, .initrd_fd = -1 };
	snprintf(fd_text, sizeof(fd_text), "%d", HELPER_FD);
	if (helper_start(argv[0], argv, &fd, &pid, line, sizeof(line)) != 0) {
		snprintf(err, size, "%s", line);
		return -REGENT_E_host;
	}
	answered = receive(fd, line, fds);
	close(fd);
	helper_end(pid);
	b->kernel_fd = fds[0];
	b->initrd_fd = fds[1];
	if (!answered || strncmp(line, "ok ", 3) != 0 || !root_fits(line + 3) || fds[0] < 0) {
		snprintf(err, size, "%s: %s", path, answered && strncmp(line, "ok ", 3) != 0 ? line :
		    "its file system cannot be read; use --kernel, or check it with fsck");
		image_close(b);
		return -REGENT_E_io;
	}
	snprintf(b->root, sizeof(b->root), "%.*s", IMAGE_ROOT - 1, line + 3);
	snprintf(b->kernel, sizeof(b->kernel), "/proc/self/fd/%d", b->kernel_fd);
	if (b->initrd_fd >= 0)
		snprintf(b->initrd, sizeof(b->initrd), "/proc/self/fd/%d", b->initrd_fd);
	return 0;
}

void
image_close(struct image_boot *b)
{
	if (b->kernel_fd >= 0)
		close(b->kernel_fd);
	if (b->initrd_fd >= 0)
		close(b->initrd_fd);
	b->kernel_fd = b->initrd_fd = -1;
}
