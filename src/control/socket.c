/* SPDX-License-Identifier: Apache-2.0 */
/* control/socket.c - where the control sockets of running machines are, and who may have which name. */
#include "control/socket.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128, DIR_MODE = 0700, SOCKET_MODE = 0600, ANYBODY_ELSE = 077 };
const char control_suffix[] = ".sock", control_lock[] = "/.lock";

bool
control_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > CONTROL_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
			return false;
	return true;
}

/* Whoever else may write there could stand in for our machines. */
static int
dir_check(const char *dir, char *err, size_t size)
{
	struct stat st;

	if (lstat(dir, &st) != 0)
		snprintf(err, size, "%s: %s", dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		snprintf(err, size, "%s: is no directory", dir);
	else if (st.st_uid != geteuid() || (st.st_mode & ANYBODY_ELSE) != 0)
		snprintf(err, size, "%s: is open to others; it must be yours with mode 0700", dir);
	else
		return 0;
	return -1;
}

int
control_dir(char dir[CONTROL_PATH_MAX], bool make, char *err, size_t size)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int n;

	if (base != NULL && base[0] == '/')
		n = snprintf(dir, CONTROL_PATH_MAX, "%s/regent", base);
	else
		n = snprintf(dir, CONTROL_PATH_MAX, "/tmp/regent-%u", (unsigned)geteuid());
	if (n >= CONTROL_PATH_MAX) {
		snprintf(err, size, "%s: XDG_RUNTIME_DIR is too long for a socket's name", base);
		return -1;
	}
	if (make && mkdir(dir, DIR_MODE) != 0 && errno != EEXIST) {
		snprintf(err, size, "%s: cannot make the directory of the control sockets: %s", dir, strerror(errno));
		return -1;
	}
	return dir_check(dir, err, size);
}

int
control_path(char path[CONTROL_PATH_MAX], const char *name, bool make, char *err, size_t size)
{
	char dir[CONTROL_PATH_MAX];

	if (!control_name_ok(name)) {
		snprintf(err, size, "%s: is no name; letters, digits, '.', '_' and '-', at most %d", name,
		    CONTROL_NAME_MAX);
		return -1;
	}
	if (control_dir(dir, make, err, size) != 0)
		return -1;
	if (snprintf(path, CONTROL_PATH_MAX, "%s/%s%s", dir, name, control_suffix) < CONTROL_PATH_MAX)
		return 0;
	snprintf(err, size, "%s: is too long for a socket in %s", name, dir);
	return -1;
}

static struct sockaddr_un
address(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, path, strnlen(path, sizeof(un.sun_path) - 1));
	return un;
}

int
control_connect(const char *path)
{
	struct sockaddr_un un = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* One at a time looks at, removes and makes sockets. The descriptor that holds the lock. */
static int
lock_names(const char *path)
{
	char file[CONTROL_PATH_MAX + 8];
	int fd;

	snprintf(file, sizeof(file), "%.*s%s", (int)(strrchr(path, '/') - path), path, control_lock);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, SOCKET_MODE);
	if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int
bind_at(int fd, const char *path)
{
	struct sockaddr_un un = address(path);
	mode_t before = umask(ANYBODY_ELSE);
	int rc = bind(fd, (struct sockaddr *)&un, sizeof(un));

	umask(before);
	return rc == 0 ? listen(fd, BACKLOG) : rc;
}

/* Names are locked. What stands at path and answers nobody is what a dead process left. */
static int
claim(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), other;

	if (fd < 0 || bind_at(fd, path) == 0)
		return fd;
	if (errno == EADDRINUSE && (other = control_connect(path)) >= 0) {
		close(other);
		errno = EADDRINUSE;
	} else if (errno == ECONNREFUSED && unlink(path) == 0 && bind_at(fd, path) == 0) {
		return fd;
	}
	close(fd);
	return -1;
}

int
control_claim(char path[CONTROL_PATH_MAX], const char *name, char *err, size_t size)
{
	int names, fd;

	if (control_path(path, name, true, err, size) != 0)
		return -1;
	if ((names = lock_names(path)) < 0) {
		snprintf(err, size, "%s: cannot lock the names beside it: %s", path, strerror(errno));
		return -1;
	}
	fd = claim(path);
	if (fd < 0 && errno == EADDRINUSE)
		snprintf(err, size, "%s: a machine of that name runs; `regent ps` lists them", name);
	else if (fd < 0)
		snprintf(err, size, "%s: cannot listen there: %s", path, strerror(errno));
	close(names);
	return fd;
}
