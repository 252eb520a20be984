/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/api/sandbox.c - what a vCPU's thread could do if a guest took it over: nothing.
 *
 * A rule `ask write cr0` brings the guest's write to a function of ours on the vCPU's thread, behind the
 * filter; it makes one system call. Each is tried in a process of its own: of one machine, and of a pool whose
 * other machine has a control socket, a disk and an engine of another kind, so that all may do what it needs.
 */
#include "regent.h"
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOAD = 0x200000, CODE = LOAD + 32, REFUSED = 128 + SIGSYS, GUEST_STATUS = 0x2b, FAILED = 77, DENIED = 76 };

/* mov eax, cr0; mov cr0, eax; mov al, 0x15; out 0xf4, al; jmp $ */
static const uint8_t code[] = { 0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0xb0, 0x15, 0xe6, 0xf4, 0xeb, 0xfe };

static char dir[] = "/tmp/regent-sandbox-XXXXXX", victim[64], made[64], disk[64];
static long page_of_code;	/* readable, not executable */
static int inherited;
static bool on_pool;

struct attempt {
	const char *name;
	long call, a[6];
};
static const struct attempt *now;
static int (*act)(void);	/* instead of one system call: an exit status, or -1 to go on */

static enum regent_answer
on_vcpu(void *ctx, struct regent_vm *vm, const struct regent_access *a)
{
	const struct attempt *t = now;
	int status;

	(void)ctx, (void)vm, (void)a;
	if (act != NULL && (status = act()) >= 0)
		_exit(status);
	if (t != NULL) {
		long res = syscall(t->call, t->a[0], t->a[1], t->a[2], t->a[3], t->a[4], t->a[5]);

		_exit(res == -1 && errno == EPERM ? DENIED : FAILED);		/* it returned */
	}
	return REGENT_ALLOW;
}

/* The other machine is started first; its own guest goes on for ever. */
static void
child_on_pool(struct regent_config *cfg)
{
	const char *disks[] = { disk, NULL };
	struct regent_config other = *cfg;
	struct regent_pool *pool;
	struct regent_vm *a, *b;

	if (regent_pool_open(&pool, 2, 0) != 0)
		_exit(FAILED + 1);
	cfg->pool = other.pool = pool;
	other.engine = strcmp(cfg->engine, "bt") == 0 ? "interp" : "bt";
	other.debug_exit_port = -1;
	other.policy_rules = NULL;
	other.disks = disks;
	other.name = "other";
	other.control = 1;
	if (regent_open(&b, &other) != 0 || regent_open(&a, cfg) != 0 || regent_on_register(a, on_vcpu, NULL) != 0 ||
	    regent_start(b) != 0 || regent_start(a) != 0)
		_exit(FAILED + 1);
	while (regent_pool_wait(pool) != a)
		;
	_exit(regent_exit_status(a));
}

static void
child(const char *engine)
{
	const char *rules[] = { "ask write cr0", NULL };
	uint32_t h[8] = { 0x1badb002, 1 << 16, 0u - 0x1badb002 - (1 << 16), LOAD, LOAD, 0, 0, CODE };
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *vm;
	char path[32];
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (write(fd, h, sizeof(h)) != sizeof(h) || write(fd, code, sizeof(code)) != sizeof(code))
		_exit(FAILED);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cfg.kernel = path;
	cfg.engine = engine;
	cfg.memory = 8 << 20;
	cfg.serial = REGENT_SERIAL_null;
	cfg.debug_exit_port = 0xf4;
	cfg.policy_rules = rules;
	cfg.sandbox = 1;
	if (on_pool)
		child_on_pool(&cfg);
	if (regent_open(&vm, &cfg) != 0 || regent_on_register(vm, on_vcpu, NULL) != 0 || regent_start(vm) != 0)
		_exit(FAILED + 1);
	regent_wait(vm);
	_exit(regent_exit_status(vm));
}

/* What a process of its own came to; its stderr in `said`. */
static int
run(const char *engine, char *said, size_t size)
{
	int p[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) != 0)
		abort();
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(p[1], STDERR_FILENO);
		child(engine);
	}
	close(p[1]);
	n = read(p[0], said, size - 1);
	said[n > 0 ? n : 0] = '\0';
	close(p[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#define P(x) (long)(uintptr_t)(x)

static void
nothing_is_possible(const char *engine)
{
	static char *const argv[] = { "/bin/true", NULL };
	static const uint8_t sockaddr[16] = { AF_INET, 0, 0, 9, 127, 0, 0, 1 };
	const struct attempt attempts[] = {
		{ "open", SYS_open, { P(made), O_CREAT | O_RDWR, 0600 } },
		{ "openat", SYS_openat, { AT_FDCWD, P(made), O_CREAT | O_RDWR, 0600 } },
		{ "openat2", SYS_openat2, { AT_FDCWD, P(made), P(dir), 24 } },
		{ "creat", SYS_creat, { P(made), 0600 } },
		{ "mkdir", SYS_mkdir, { P(made), 0700 } },
		{ "mknod", SYS_mknod, { P(made), S_IFIFO | 0600, 0 } },
		{ "symlink", SYS_symlink, { P(victim), P(made) } },
		{ "link", SYS_link, { P(victim), P(made) } },
		{ "unlink", SYS_unlink, { P(victim) } },
		{ "unlinkat", SYS_unlinkat, { AT_FDCWD, P(victim), 0 } },
		{ "rename", SYS_rename, { P(victim), P(made) } },
		{ "truncate", SYS_truncate, { P(victim), 0 } },
		{ "chmod", SYS_chmod, { P(victim), 0 } },
		{ "stat", SYS_stat, { P(victim), P(dir) } },
		{ "socket", SYS_socket, { AF_INET, SOCK_STREAM, 0 } },
		{ "socketpair", SYS_socketpair, { AF_UNIX, SOCK_STREAM, 0, P(made) } },
		{ "connect", SYS_connect, { 0, P(sockaddr), sizeof(sockaddr) } },
		{ "bind", SYS_bind, { 0, P(sockaddr), sizeof(sockaddr) } },
		{ "execve", SYS_execve, { P(argv[0]), P(argv), 0 } },
		{ "execveat", SYS_execveat, { AT_FDCWD, P(argv[0]), P(argv), 0, 0 } },
		{ "ptrace", SYS_ptrace, { PTRACE_ATTACH, getpid(), 0, 0 } },
		{ "process_vm_readv", SYS_process_vm_readv, { getpid(), 0, 0, 0, 0, 0 } },
		{ "process_vm_writev", SYS_process_vm_writev, { getpid(), 0, 0, 0, 0, 0 } },
		{ "pidfd_open", SYS_pidfd_open, { getpid(), 0 } },
		{ "kill", SYS_kill, { getpid(), SIGUSR1 } },
		{ "tgkill of another", SYS_tgkill, { getpid(), getpid(), SIGUSR1 } },
		{ "tkill", SYS_tkill, { getpid(), SIGUSR1 } },
		{ "fork", SYS_fork, { 0 } },
		{ "vfork", SYS_vfork, { 0 } },
		{ "clone", SYS_clone, { SIGCHLD, 0, 0, 0, 0 } },
		{ "clone3", SYS_clone3, { 0, 0 } },
		{ "mprotect to executable", SYS_mprotect, { page_of_code, 4096, PROT_READ | PROT_EXEC } },
		{ "pkey_mprotect", SYS_pkey_mprotect, { page_of_code, 4096, PROT_READ | PROT_EXEC, -1 } },
		{ "mmap executable", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 } },
		{ "memfd_create", SYS_memfd_create, { P("x"), 0 } },
		{ "io_uring_setup", SYS_io_uring_setup, { 8, P(dir) } },
		{ "bpf", SYS_bpf, { 0, 0, 0 } },
		{ "perf_event_open", SYS_perf_event_open, { 0, 0, 0, 0, 0 } },
		{ "userfaultfd", SYS_userfaultfd, { 0 } },
		{ "unshare", SYS_unshare, { CLONE_NEWUSER } },
		{ "setns", SYS_setns, { 0, 0 } },
		{ "mount", SYS_mount, { P(dir), P(dir), P("tmpfs"), 0, 0 } },
		{ "chroot", SYS_chroot, { P(dir) } },
		{ "setuid", SYS_setuid, { 0 } },
		{ "prctl other", SYS_prctl, { PR_SET_DUMPABLE, 1, 0, 0, 0 } },
		{ "seccomp", SYS_seccomp, { 0, 0, 0 } },
		{ "personality", SYS_personality, { 0 } },
		{ "ioctl TIOCSTI", SYS_ioctl, { 0, 0x5412, P("x") } },
		{ "dup2", SYS_dup2, { 0, 5 } },
		{ "sigaction of SIGSYS", SYS_rt_sigaction, { SIGSYS, 0, 0, 8 } },
		{ "shmget", SYS_shmget, { 0, 4096, 0600 } },
		{ "keyctl", SYS_keyctl, { 0, 0, 0, 0, 0 } },
		{ "init_module", SYS_init_module, { 0, 0, P("") } },
		{ "reboot", SYS_reboot, { 0, 0, 0, 0 } },
		{ "no such call", 9999, { 0 } },
	};
	char said[512];

	for (unsigned n = 0; n < sizeof(attempts) / sizeof(attempts[0]); n++) {
		int status;

		now = &attempts[n];
		status = run(engine, said, sizeof(said));
		if (on_pool && status == DENIED && now->call == SYS_unlink) {
			;	/* refused without a word: sockets are removed by another process */
		} else if (status != REFUSED || strstr(said, "regent: sandbox: the system call ") == NULL || strchr(said, '\n') != said + strlen(said) - 1) {
			printf("# %s: status %d: %s\n", now->name, status, said);
			CHECK(false);
		}
		CHECK(access(victim, R_OK | W_OK) == 0);
		CHECK(access(made, F_OK) != 0);
	}
	now = NULL;
}

static void nothing_can_be_done(void) { nothing_is_possible("interp"); }

static void
nor_on_a_pool(void)
{
	on_pool = true;
	nothing_is_possible("bt");
	on_pool = false;
}

/* The 32-bit entry has numbers of its own: 20 is getpid there, writev here. */
static int
by_int80(void)
{
	long res = 20;

	__asm__ volatile("int $0x80" : "+a"(res) : : "memory", "r8", "r9", "r10", "r11");
	return FAILED;
}

static int
by_x32(void)
{
	syscall(0x40000000 | SYS_getpid);
	return FAILED;
}

static void
other_entries(void)
{
	char said[512];

	act = by_int80;
	CHECK_EQ(run("interp", said, sizeof(said)), 1000 + SIGSYS);
	act = by_x32;
	CHECK(run("interp", said, sizeof(said)) != FAILED);
	act = NULL;
}

/* Memory, locks and output go on; an inherited descriptor is gone. */
static int
ordinary(void)
{
	char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *big = malloc(8 << 20);

	if (p == MAP_FAILED || big == NULL || mprotect(p, 4096, PROT_READ) != 0 || (big = realloc(big, 16 << 20)) == NULL)
		return FAILED;
	free(big);
	if (write(inherited, "x", 1) != -1 || errno != EBADF)
		return FAILED + 2;
	return -1;
}

static void
the_machine_goes_on(const char *engine)
{
	char said[512];
	int status;

	act = ordinary;
	status = run(engine, said, sizeof(said));
	if (status != GUEST_STATUS)
		printf("# %s: %s\n", engine, said);
	CHECK_EQ(status, GUEST_STATUS);
	CHECK_EQ(said[0], '\0');
	act = NULL;
}

static void
a_pool_goes_on(void)
{
	on_pool = true;
	the_machine_goes_on("interp");
	the_machine_goes_on("bt");
	on_pool = false;
}

static void
interp_goes_on(void)
{
	the_machine_goes_on("interp");
}

static void
bt_goes_on(void)
{
	the_machine_goes_on("bt");
}

/* What the kernel says of the process while its guest runs. */
static int go[2], up[2];

static int
wait_for_test(void)
{
	char c = 'x';

	return write(up[1], &c, 1) == 1 && read(go[0], &c, 1) == 1 ? -1 : FAILED;
}

static void
privileges_are_gone(void)
{
	char text[4096], path[64], c = 0;
	int status;
	pid_t pid;
	size_t n;
	FILE *f;

	CHECK(pipe2(go, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0);
	fflush(stdout);
	act = wait_for_test;
	if ((pid = fork()) == 0)
		child("bt");
	CHECK(read(up[0], &c, 1) == 1);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
	text[n] = '\0';
	if (f != NULL)
		fclose(f);
	CHECK(strstr(text, "NoNewPrivs:\t1") != NULL);
	CHECK(strstr(text, "Seccomp:\t2") != NULL);
	CHECK(strstr(text, "CapEff:\t0000000000000000") != NULL);
	CHECK(strstr(text, "CapPrm:\t0000000000000000") != NULL);
	CHECK(write(go[1], "x", 1) == 1);
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == GUEST_STATUS);
	act = NULL;
}

static void
nor_has_a_pool_any(void)
{
	on_pool = true;
	privileges_are_gone();
	on_pool = false;
}

int
main(void)
{
	int fd;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	printf("skip sandbox: a sanitizer build has none\n");
	return 0;
#endif
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	snprintf(made, sizeof(made), "%s/made", dir);
	fd = open(victim, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	inherited = dup(fd);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	if (truncate(victim, 0) != 0 || (fd = open(disk, O_CREAT | O_RDWR | O_CLOEXEC, 0600)) < 0 || ftruncate(fd, 1 << 20) != 0 ||
	    setenv("XDG_RUNTIME_DIR", dir, 1) != 0)
		return 1;
	page_of_code = P(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	RUN(nothing_can_be_done);
	RUN(other_entries);
	RUN(interp_goes_on);
	RUN(bt_goes_on);
	RUN(privileges_are_gone);
	RUN(nor_on_a_pool);
	RUN(a_pool_goes_on);
	RUN(nor_has_a_pool_any);
	unlink(victim);
	unlink(disk);
	snprintf(made, sizeof(made), "rm -rf %s", dir);
	return check_done() | (system(made) != 0);
}
