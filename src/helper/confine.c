/* SPDX-License-Identifier: Apache-2.0 */
/* helper/confine.c - limits, namespaces, a root of its own, landlock, capabilities, and seccomp by confine.def. */
#include "helper/confine.h"
#include "host/filter.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef BLKDISCARDZEROES
#define BLKDISCARDZEROES _IO(0x12, 124)
#endif

enum { NOARG = -1, OWN_PID = -2, PROC_FD = -3 };

static const struct row {
	int call;
	uint8_t who;
	int8_t arg;
	uint64_t mask;
	int64_t value;
	const char *why;
} rows[] = {
#define S(call_, who_, arg_, mask_, value_, why_) { SCMP_SYS(call_), CONFINE_##who_, arg_, mask_, value_, why_ },
#define K(call_)
#include "helper/confine.def"
#undef S
#undef K
};

static const int deadly[] = {
#define S(call_, who_, arg_, mask_, value_, why_)
#define K(call_) SCMP_SYS(call_),
#include "helper/confine.def"
#undef S
#undef K
};

/* ---- limits ---- */

static void
limit(int what, uint64_t n)
{
	struct rlimit r = { n, n };

	setrlimit((__rlimit_resource_t)what, &r);
}

static void
limits(const struct confine *c)
{
	signal(SIGXFSZ, SIG_IGN);	/* a write is refused, and no more */
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_MSGQUEUE, 0);
	limit(RLIMIT_MEMLOCK, 0);
	if (c->dir < 0 && c->who != CONFINE_boot)
		limit(RLIMIT_FSIZE, 0);
	if (c->files != 0)
		limit(RLIMIT_NOFILE, c->files);
	if (c->memory != 0)
		limit(RLIMIT_DATA, c->memory);
}

/* ---- namespaces and the root ---- */

static void
namespaces(const struct confine *c)
{
	/* What a share has open is in the mounts of now. */
	int flags = CLONE_NEWIPC | CLONE_NEWUTS | (c->who == CONFINE_share ? 0 : CLONE_NEWNS) |
	    (c->who == CONFINE_net ? 0 : CLONE_NEWNET);

	if (geteuid() != 0 && c->own_user)
		flags |= CLONE_NEWUSER;
	if (geteuid() == 0 || c->own_user)
		(void)!unshare(flags);
}

/* ---- files ---- */

/* No file by any path but those beneath dir. */
static void
no_files(const struct confine *c)
{
	/* Every right that a version of the interface knows, by version. */
	static const uint64_t fs_rights[] = { 0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1 };
	enum { NEWEST = sizeof(fs_rights) / sizeof(fs_rights[0]) - 1 };
	struct { uint64_t fs, net, scoped; } attr = { 0 };
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_path_beneath_attr rule = { .parent_fd = c->dir };
	int ruleset;

	if (version < 1)
		return;
	attr.fs = fs_rights[version > NEWEST ? NEWEST : version];
	attr.net = version >= 4 && c->who != CONFINE_net ? 3 : 0;	/* bind and connect of TCP */
	attr.scoped = version >= 6 ? 3 : 0;		/* abstract Unix sockets, signals */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, version >= 6 ? 24 : version >= 4 ? 16 : 8, 0);
	if (ruleset < 0)
		return;
	rule.allowed_access = c->who == CONFINE_vsock ? (uint64_t)LANDLOCK_ACCESS_FS_REMOVE_FILE
			      : c->dir_read_only ? (uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
						 : attr.fs & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE;
	if (c->dir < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
		syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
}

static void
keep_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &h, d) != 0)
		return;
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		d[i].effective &= (uint32_t)(keep >> 32 * i);
		d[i].permitted &= (uint32_t)(keep >> 32 * i);
		d[i].inheritable = 0;
	}
	syscall(SYS_capset, &h, d);
}

/* ---- system calls ---- */

static int
add_row(scmp_filter_ctx ctx, const struct row *r, int proc_fd)
{
	uint64_t value = r->value == OWN_PID ? (uint64_t)getpid() : r->value == PROC_FD ? (uint64_t)proc_fd : (uint64_t)r->value;

	if (r->arg == NOARG)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 0);
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 1,
		SCMP_CMP((unsigned)r->arg, SCMP_CMP_MASKED_EQ, r->mask, value));
}

static int
filter(const struct confine *c)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = ctx == NULL ? -ENOMEM : 0;

	if (ctx == NULL) {
		errno = ENOMEM;
		return -1;
	}
	seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (unsigned n = 0; rc == 0 && n < sizeof(rows) / sizeof(rows[0]); n++)
		if (rows[n].who & c->who)
			rc = add_row(ctx, &rows[n], c->proc_fd);
	for (unsigned n = 0; rc == 0 && n < sizeof(deadly) / sizeof(deadly[0]); n++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, deadly[n], 0);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	errno = -rc;
	return rc == 0 ? 0 : -1;
}

int
confine(const struct confine *c, bool *rooted)
{
	*rooted = false;
	if (!CAN_FILTER)
		return 0;
	dup2(STDIN_FILENO, STDOUT_FILENO);	/* /dev/null: the terminal is the monitor's. stderr stays, for last words */
	limits(c);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	namespaces(c);
	if (c->root != NULL)
		*rooted = chroot(c->root) == 0 && chdir("/") == 0;
	no_files(c);
	keep_capabilities(c->capabilities);
	prctl(PR_SET_DUMPABLE, 0);
	return filter(c);
}
