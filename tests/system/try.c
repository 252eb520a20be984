/* SPDX-License-Identifier: Apache-2.0 */
/* tests/system/try.c - linked into helper programs in place of confine(): what one that was taken over would try.
 *
 * TRY names it. The result goes over the monitor's socket, in the place of "ok": the error, or "done". With TRY=all that
 * is each of those that are only refused, a line each.
 */
#include "helper/confine.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MONITOR = 3, TEXT = 4096 };
int __real_confine(const struct confine *c, bool *rooted);
int __wrap_confine(const struct confine *c, bool *rooted);

static long
try_open(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static long
try_openat2(void)
{
	struct open_how how = { .flags = O_RDONLY };

	return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof(how));
}

static long
try_own_memory(void)
{
	return open("/proc/self/mem", O_RDWR);
}

static long
try_create(void)
{
	return open(getenv("TRY_FILE"), O_WRONLY | O_CREAT, 0666);
}

static long
try_write_beside(void)
{
	struct open_how how = { .flags = O_WRONLY | O_CREAT, .mode = 0666 };

	return syscall(SYS_openat2, AT_FDCWD, getenv("TRY_FILE"), &how, sizeof(how));
}

static long
try_remove(void)
{
	return unlink(getenv("TRY_FILE"));
}

static long
try_mkdir(void)
{
	return mkdir(getenv("TRY_FILE"), 0777);
}

static long
try_chmod(void)
{
	return chmod(getenv("TRY_FILE"), 0777);
}

static long
try_connect_unix(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", getenv("TRY_SOCKET"));
	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static long
try_connect_tcp(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(getenv("TRY_PORT"))),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static long
try_raw(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static long
try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long
try_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static long
try_root(void)
{
	return setresuid(0, 0, 0);
}

static long
try_limit(void)
{
	struct rlimit r = { 1 << 20, 1 << 20 };

	return setrlimit(RLIMIT_STACK, &r);
}

static long
try_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1);
}

static long
try_device(void)
{
	return mknodat(AT_FDCWD, getenv("TRY_FILE"), S_IFCHR | 0666, (dev_t)0x103);
}

static long
try_terminal(void)
{
	return syscall(SYS_ioctl, STDERR_FILENO, 0x5412 /* TIOCSTI */, "x");
}

static long
try_exec(void)
{
	return execl("/bin/true", "true", NULL);
}

static long
try_fork(void)
{
	return syscall(SYS_fork);
}

static long
try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), 0, 0);
}

static long
try_kill(void)
{
	return kill(getppid(), 0);
}

static long
try_vm_read(void)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	return process_vm_readv(getppid(), &iov, 1, &iov, 1, 0);
}

static long
try_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}

static long
try_ring(void)
{
	return syscall(SYS_io_uring_setup, 4, NULL);
}

static long
try_32bit(void)
{
	long rc;

	__asm__ volatile ("int $0x80" : "=a"(rc) : "a"(20L /* getpid */) : "memory");
	return rc;
}

static const struct {
	const char *name;
	long (*fn)(void);
	bool deadly;
} tries[] = {
	{ "open", try_open, false }, { "openat2", try_openat2, false }, { "own_memory", try_own_memory, false },
	{ "create", try_create, false }, { "write_beside", try_write_beside, false }, { "chmod", try_chmod, false },
	{ "remove", try_remove, false }, { "mkdir", try_mkdir, false }, { "connect_unix", try_connect_unix, false },
	{ "connect_tcp", try_connect_tcp, false }, { "raw", try_raw, false }, { "netlink", try_netlink, false },
	{ "code", try_code, false }, { "root", try_root, false }, { "limit", try_limit, false },
	{ "dumpable", try_dumpable, false }, { "device", try_device, false }, { "terminal", try_terminal, false },
	{ "exec", try_exec, true }, { "fork", try_fork, true }, { "ptrace", try_ptrace, true }, { "kill", try_kill, true },
	{ "vm_read", try_vm_read, true }, { "unshare", try_unshare, true }, { "ring", try_ring, true },
	{ "32bit", try_32bit, true },
};

int
__wrap_confine(const struct confine *c, bool *rooted)
{
	const char *want = getenv("TRY");
	int rc = getenv("TRY_FREE") != NULL ? 0 : __real_confine(c, rooted);
	char text[TEXT] = "";
	size_t n = 0;

	for (unsigned i = 0; rc == 0 && i < sizeof(tries) / sizeof(tries[0]); i++) {
		if (strcmp(want, "all") == 0 ? tries[i].deadly : strcmp(want, tries[i].name) != 0)
			continue;
		errno = 0;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %s\n", tries[i].name,
		    tries[i].fn() < 0 ? strerrorname_np(errno) : "done");
	}
	send(MONITOR, text, n, MSG_NOSIGNAL);
	recv(MONITOR, text, 1, 0);	/* until the test has looked at us */
	_exit(rc == 0 ? 0 : 1);
}
