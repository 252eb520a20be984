/* SPDX-License-Identifier: Apache-2.0 */
/* helper/resolver.c - /etc/resolv.conf as a memory file, kept by a process that nobody can talk to.
 *
 * libslirp looks into the file when the guest asks for a name and the last look was a second ago: so it follows a host
 * that changes networks. Its stat and fopen are answered here, because a confined process has neither.
 */
#include "helper/resolver.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 4096, PERIOD_S = 1 };
static const char path[] = "/etc/resolv.conf";
static int copy = -1;

static void
copy_once(void)
{
	char text[TEXT_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	if (n > 0 && pwrite(copy, text, (size_t)n, 0) == n)
		(void)!ftruncate(copy, n);
}

/* Whether it is another file than last time, or changed. */
static bool
changed(struct timespec *seen, ino_t *ino)
{
	struct stat st;
	bool is = fstatat(AT_FDCWD, path, &st, 0) == 0 &&
	    (st.st_ino != *ino || st.st_mtim.tv_sec != seen->tv_sec || st.st_mtim.tv_nsec != seen->tv_nsec);

	if (is) {
		*seen = st.st_mtim;
		*ino = st.st_ino;
	}
	return is;
}

static void
keep(pid_t parent)
{
	const struct timespec period = { .tv_sec = PERIOD_S };
	struct timespec seen = { 0 };
	ino_t ino = 0;

	prctl(PR_SET_NAME, "regent-resolver");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (dup2(copy, STDIN_FILENO) == STDIN_FILENO)
		copy = STDIN_FILENO;
	close_range(STDIN_FILENO + 1, ~0u, 0);
	while (getppid() == parent) {
		if (changed(&seen, &ino))
			copy_once();
		nanosleep(&period, NULL);
	}
	_exit(0);
}

void
resolver_start(void)
{
	pid_t parent = getpid();

	if ((copy = memfd_create("resolv.conf", MFD_CLOEXEC)) < 0)
		return;
	copy_once();
	if (fork() == 0)
		keep(parent);
}

/* ---- what libslirp calls; the names are the C library's ---- */

FILE *fopen64(const char *restrict name, const char *restrict mode);
int stat64(const char *restrict name, struct stat64 *restrict st);

FILE *
fopen64(const char *restrict name, const char *restrict mode)
{
	static char text[TEXT_MAX];
	ssize_t n = strcmp(name, path) == 0 && copy >= 0 ? pread(copy, text, sizeof(text), 0) : -1;

	if (n > 0)
		return fmemopen(text, (size_t)n, mode);
	errno = EACCES;
	return NULL;
}

int
stat64(const char *restrict name, struct stat64 *restrict st)
{
	if (strcmp(name, path) == 0 && copy >= 0)
		return fstat64(copy, st);
	errno = EACCES;
	return -1;
}
