/* SPDX-License-Identifier: Apache-2.0 */
/* host/sandbox.c - no_new_privs, namespaces, landlock, and seccomp by the rows of sandbox.def.
 *
 * A call that no row allows does not happen: the process says which it was and ends. The handler that
 * says so can't be replaced, and it doing nothing would change nothing: the kernel has refused by then.
 */
#include "host/sandbox.h"
#include "host/filter.h"
#include "host/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <limits.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOARG = -1, OWN_PID = -2 };

static const struct row {
	int call;
	uint8_t role;
	int8_t arg;
	uint64_t mask;
	int64_t value;
	bool quiet;		/* not allowed, but no violation */
	const char *why;
} rows[] = {
#define S(call_, role_, arg_, mask_, value_, why_) { SCMP_SYS(call_), SANDBOX_##role_, arg_, mask_, value_, false, why_ },
#define Q(call_, role_, why_) { SCMP_SYS(call_), SANDBOX_##role_, NOARG, 0, 0, true, why_ },
#include "host/sandbox.def"
#undef S
#undef Q
};

/* ---- the line of a violation; nothing but async-signal-safe calls that the filter allows ---- */

enum { CALLS = 512, CALL_NAME = 28 };
static char call_name[CALLS][CALL_NAME];	/* resolved before the filter is there */

static void
name_calls(void)
{
	for (int n = 0; n < CALLS; n++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, n);

		snprintf(call_name[n], CALL_NAME, "%s", name != NULL ? name : "of no name");
		free(name);
	}
}

static size_t
put(char *to, size_t at, const char *text)
{
	while (*text != '\0')
		to[at++] = *text++;
	return at;
}

static void
refused(int sig, siginfo_t *info, void *context)
{
	unsigned call = (unsigned)info->si_syscall;
	char line[256];
	size_t n = 0;
	ssize_t told;

	(void)sig, (void)context;
	n = put(line, n, "regent: sandbox: the system call ");
	n = put(line, n, call < CALLS ? call_name[call] : "of no name");
	n = put(line, n, " is not allowed while a guest runs: an attack, or a mistake of Regent's (--no-sandbox goes without)\n");
	told = write(STDERR_FILENO, line, n);
	(void)told;
	syscall(SYS_exit_group, 128 + SIGSYS);
}

static void
catch_refusals(void)
{
	struct sigaction sa = { .sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGSYS, &sa, NULL);
}

/* ---- seccomp ---- */

static int
add_row(scmp_filter_ctx ctx, const struct row *r)
{
	uint64_t value = r->value == OWN_PID ? (uint64_t)getpid() : (uint64_t)r->value;

	if (r->quiet)
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), r->call, 0);
	if (r->arg == NOARG)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 0);
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 1,
		SCMP_CMP((unsigned)r->arg, SCMP_CMP_MASKED_EQ, r->mask, value));
}

int
sandbox_close(const struct sandbox_config *cfg)
{
	scmp_filter_ctx ctx;
	int rc = 0;

	if (!CAN_FILTER)
		return 0;
	if ((ctx = seccomp_init(SCMP_ACT_TRAP)) == NULL) {
		errno = ENOMEM;
		return -1;
	}
	name_calls();
	catch_refusals();
	seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (unsigned n = 0; rc == 0 && n < sizeof(rows) / sizeof(rows[0]); n++)
		if (rows[n].role & (cfg->roles | SANDBOX_all))
			rc = add_row(ctx, &rows[n]);
	if (rc == -EEXIST)
		rc = 0;
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	errno = -rc;
	return rc == 0 ? 0 : -1;
}

/* ---- the rest ---- */

/* Ours are all close-on-exec; what is not was inherited. */
static void
close_inherited(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	if (d == NULL) {
		LOG(sandbox, warn, "no /proc: descriptors that were inherited stay open");
		return;
	}
	while ((e = readdir(d)) != NULL) {
		int fd = atoi(e->d_name), flags = fcntl(fd, F_GETFD);

		if (e->d_name[0] != '.' && fd > STDERR_FILENO && fd != dirfd(d) && flags >= 0 && !(flags & FD_CLOEXEC))
			close(fd);
	}
	closedir(d);
}

static void
drop_capabilities(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (syscall(SYS_capset, &h, none) != 0)
		LOG(sandbox, warn, "capabilities can't be dropped: %s", strerror(errno));
}

static void
no_dumps(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		LOG(sandbox, warn, "core dumps can't be switched off: %s", strerror(errno));
}

/* Only while there is one thread; a machine whose disks have theirs already goes without. */
static void
own_namespaces(const struct sandbox_config *cfg)
{
	int flags = CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | (cfg->keep_net ? 0 : CLONE_NEWNET);

	if (unshare(flags) == 0 || unshare(flags | CLONE_NEWUSER) == 0)
		return;
	LOG(sandbox, info, "no namespaces of its own: %s", errno == EINVAL ? "there are threads already" : strerror(errno));
}

static int
landlock_allow(int ruleset, const char *path)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE };
	char dir[256], *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL)
		snprintf(dir, sizeof(dir), ".");
	else
		slash[slash == dir] = '\0';
	if ((rule.parent_fd = open(dir, O_PATH | O_CLOEXEC)) < 0)
		return -1;
	syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return 0;
}

/* No file by any path, for this thread and those that it makes from now on. */
static void
no_files(const struct sandbox_config *cfg)
{
	/* Every right that a version of the interface knows, by version. */
	static const uint64_t fs_rights[] = { 0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1 };
	enum { NEWEST = sizeof(fs_rights) / sizeof(fs_rights[0]) - 1 };
	struct { uint64_t fs, net, scoped; } attr = { 0 };
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
	int ruleset;

	if (version < 1) {
		LOG(sandbox, warn, "this kernel has no landlock: files are closed off by seccomp alone");
		return;
	}
	attr.fs = fs_rights[version > NEWEST ? NEWEST : version];
	attr.net = version >= 4 && !cfg->keep_net ? 3 : 0;	/* bind and connect of TCP */
	attr.scoped = version >= 6 ? 3 : 0;		/* abstract Unix sockets, signals */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0) {
		LOG(sandbox, warn, "landlock refuses: %s; files are closed off by seccomp alone", strerror(errno));
		return;
	}
	if (cfg->socket_path != NULL)
		landlock_allow(ruleset, cfg->socket_path);
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		LOG(sandbox, warn, "landlock refuses: %s; files are closed off by seccomp alone", strerror(errno));
	close(ruleset);
}

/* Before glibc gives back the end of a thread's heap it reads a file of /proc. Large blocks are mappings of their own. */
static void
tame_malloc(void)
{
	malloc_trim(0);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
}

void
sandbox_prepare(const struct sandbox_config *cfg)
{
	if (!CAN_FILTER) {
		LOG(sandbox, info, "a sanitizer build: no sandbox");
		return;
	}
	tame_malloc();
	close_inherited();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		LOG(sandbox, warn, "no_new_privs is not to be had: %s", strerror(errno));
	own_namespaces(cfg);
	no_files(cfg);
	drop_capabilities();
	no_dumps();
}
