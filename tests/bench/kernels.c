/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/kernels.c - small programs that each lean on one thing a processor does.
 *
 * Static; the same binary runs natively and in guests. `kernels` runs all, `kernels NAME..` some.
 * For each it prints `+ NAME` before and `- NAME WALL CPU SUM` after (seconds; SUM must agree on all
 * machines), which tools/bench reads. A row is one kernel: group, name, function, rounds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP(x) __asm__ volatile("" : "+g"(x) : : "memory")

enum { PAGE = 4096, MIB = 1 << 20 };

static uint64_t seed = 88172645463325252ull;

/* xorshift64 (Marsaglia): the same numbers everywhere. */
static uint64_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* ---- compute ---- */

static uint64_t
k_primes(unsigned rounds)
{
	enum { N = 1 << 18 };
	static uint8_t out[N];
	uint64_t sum = 0;

	while (rounds--) {
		memset(out, 0, N);
		for (unsigned i = 2; i < N; i++)
			if (!out[i]) {
				sum += i;
				for (unsigned j = 2 * i; j < N; j += i)
					out[j] = 1;
			}
	}
	return sum;
}

static uint64_t
k_hash(unsigned rounds)
{
	static uint32_t w[1 << 14];
	uint64_t h = 14695981039346656037ull;

	for (unsigned i = 0; i < 1 << 14; i++)
		w[i] = (uint32_t)rnd();
	while (rounds--)
		for (unsigned i = 0; i < 1 << 14; i++) {
			h = (h ^ w[i]) * 1099511628211ull;
			h ^= h >> 29 ^ (h << 11 | h >> 53);
		}
	return h;
}

static uint64_t
k_collatz(unsigned rounds)
{
	uint64_t steps = 0;

	for (uint64_t n = 1; n <= (uint64_t)rounds * 1000; n++)
		for (uint64_t x = n; x != 1; steps++)
			x = x % 2 ? 3 * x + 1 : x / 2;
	return steps;
}

static uint64_t
k_gcd(unsigned rounds)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < rounds * 1000; i++) {
		uint64_t a = rnd() | 1, b = rnd() | 1, t;

		while (b != 0)
			t = a % b, a = b, b = t;
		sum += a;
	}
	return sum;
}

static uint64_t
k_matrix(unsigned rounds)
{
	enum { N = 96 };
	static double a[N][N], b[N][N], c[N][N];
	double sum = 0;

	for (unsigned i = 0; i < N * N; i++)
		a[i / N][i % N] = i % 7, b[i / N][i % N] = i % 11;
	while (rounds--) {
		for (unsigned i = 0; i < N; i++)
			for (unsigned j = 0; j < N; j++)
				c[i][j] = 0;
		for (unsigned i = 0; i < N; i++)
			for (unsigned k = 0; k < N; k++)
				for (unsigned j = 0; j < N; j++)
					c[i][j] += a[i][k] * b[k][j];
		sum += c[rounds % N][(rounds * 7) % N];
	}
	return (uint64_t)sum;
}

static uint64_t
k_nbody(unsigned rounds)
{
	double x = 1, y = 0, vx = 0, vy = 0.9;

	for (unsigned i = 0; i < rounds * 1000; i++) {
		double r2 = x * x + y * y, f = -0.001 / (r2 * sqrt(r2));

		vx += f * x, vy += f * y;
		x += vx * 0.001, y += vy * 0.001;
	}
	return (uint64_t)(x * 1e9) ^ (uint64_t)(y * 1e9);
}

static uint64_t
k_longdouble(unsigned rounds)
{
	long double s = 0, t = 1;

	for (unsigned i = 1; i < rounds * 1000; i++) {
		t = t * 0.999999L + 1.0L / i;
		s += t;
	}
	return (uint64_t)s;
}

static uint64_t
k_pixels(unsigned rounds)
{
	static uint8_t a[1 << 15], b[1 << 15];
	uint64_t sum = 0;

	for (unsigned i = 0; i < 1 << 15; i++)
		a[i] = (uint8_t)rnd();
	while (rounds--) {
		for (unsigned i = 0; i < 1 << 15; i++)
			b[i] = (uint8_t)((a[i] * 3 + b[i]) >> 2);
		sum += b[rounds & 0x7fff];
	}
	return sum;
}

/* ---- memory ---- */

static uint64_t
k_copy(unsigned rounds)
{
	char *a = malloc(8 * MIB), *b = malloc(8 * MIB);
	uint64_t sum;

	memset(a, 1, 8 * MIB);
	while (rounds--) {
		memcpy(b, a, 8 * MIB);
		a[rounds]++;
		KEEP(b);
	}
	sum = (uint64_t)b[1] + (uint64_t)b[77];
	free(a), free(b);
	return sum;
}

static uint64_t
k_strings(unsigned rounds)
{
	char s[80], t[80];
	uint64_t sum = 0;

	for (unsigned i = 0; i < rounds * 100; i++) {
		size_t n = 1 + i % 64;

		memset(s, 'a' + (int)(i % 26), n);
		s[n] = 0;
		strcpy(t, s);
		sum += strlen(t) + (uint64_t)(memcmp(s, t, n + 1) == 0) + (uint64_t)(strchr(t, 'q') != NULL);
	}
	return sum;
}

static uint64_t
k_repstring(unsigned rounds)
{
	static char a[PAGE], b[PAGE];

	for (unsigned i = 0; i < rounds * 10; i++) {
		void *d = b, *s = a;
		size_t n = 64 + i % 2048;

		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
		d = a, n = 32 + i % 256;
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(i) : "memory");
	}
	return (uint64_t)a[5] + (uint64_t)b[9];
}

static uint64_t
chase(unsigned rounds, uint32_t slots, uint32_t stride)
{
	uint8_t *m = mmap(NULL, (size_t)slots * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t *perm = malloc(slots * sizeof(*perm)), at = 0;

	for (uint32_t i = 0; i < slots; i++)
		perm[i] = i;
	for (uint32_t i = slots - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(rnd() % i), t = perm[i];

		perm[i] = perm[j], perm[j] = t;
	}
	for (uint32_t i = 0; i < slots; i++)
		*(uint32_t *)(m + (size_t)i * stride) = perm[i];
	for (uint64_t i = 0; i < (uint64_t)rounds * 1000; i++)
		at = *(uint32_t *)(m + (size_t)at * stride);
	munmap(m, (size_t)slots * stride);
	free(perm);
	return at;
}

static uint64_t k_chase_l1(unsigned rounds) { return chase(rounds, 256, 64); }
static uint64_t k_chase_mem(unsigned rounds) { return chase(rounds, 65536, 128); }
static uint64_t k_chase_pages(unsigned rounds) { return chase(rounds, 32768, PAGE + 64); }

/* ---- control flow ---- */

static uint64_t
fib(unsigned n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t
k_fib(unsigned rounds)
{
	uint64_t sum = 0;

	while (rounds--)
		sum += fib(24);
	return sum;
}

static uint64_t op_add(uint64_t x) { return x + 3; }
static uint64_t op_xor(uint64_t x) { return x ^ 0x55; }
static uint64_t op_mul(uint64_t x) { return x * 5; }
static uint64_t op_ror(uint64_t x) { return x >> 7 | x << 57; }

static uint64_t
k_pointers(unsigned rounds)
{
	static uint64_t (*volatile ops[])(uint64_t) = { op_add, op_xor, op_mul, op_ror };
	uint64_t x = 1, pick = 1;

	for (unsigned i = 0; i < rounds * 1000; i++) {
		pick = pick * 1103515245 + 12345;
		x = ops[pick >> 16 & 3](x);
	}
	return x;
}

/* A tiny stack machine that counts down in its own code. */
static uint64_t
k_machine(unsigned rounds)
{
	static const uint8_t code[] = { 0, 1, 2, 3, 4, 1, 2, 5, 6 };
	uint64_t a = rounds * 1000, b = 0, acc = 0;

	for (unsigned pc = 0;;) {
		switch (code[pc++]) {
		case 0: b = a & 15; break;
		case 1: acc += b; break;
		case 2: acc ^= acc << 5; break;
		case 3: b += 7; break;
		case 4: acc -= a; break;
		case 5: a--; break;
		case 6:
			if (a == 0)
				return acc;
			pc = 0;
			break;
		}
	}
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t
k_sort(unsigned rounds)
{
	static uint32_t v[1 << 14];
	uint64_t sum = 0;

	while (rounds--) {
		for (unsigned i = 0; i < 1 << 14; i++)
			v[i] = (uint32_t)rnd();
		qsort(v, 1 << 14, sizeof(v[0]), by_value);
		sum += v[1 << 13];
	}
	return sum;
}

/* ---- system ---- */

static uint64_t
k_syscall(unsigned rounds)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < rounds * 100; i++)
		n += syscall(SYS_getppid) >= 0;
	return n;
}

static uint64_t
k_pipe(unsigned rounds)
{
	int to[2], from[2];
	uint64_t n = 0;
	char c = 1;
	pid_t pid;

	if (pipe(to) != 0 || pipe(from) != 0 || (pid = fork()) < 0)
		return 0;
	if (pid == 0) {
		close(to[1]);
		while (read(to[0], &c, 1) == 1 && write(from[1], &c, 1) == 1)
			;
		_exit(0);
	}
	while (rounds--)
		n += write(to[1], &c, 1) == 1 && read(from[0], &c, 1) == 1;
	close(to[1]);
	waitpid(pid, NULL, 0);
	close(to[0]), close(from[0]), close(from[1]);
	return n;
}

static uint64_t
k_fork(unsigned rounds)
{
	uint64_t n = 0;
	int status;

	while (rounds--) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(7);
		n += waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7;
	}
	return n;
}

static uint64_t
k_exec(unsigned rounds)
{
	volatile uint64_t n = 0;
	int status;

	while (rounds--) {
		pid_t pid = fork();

		if (pid == 0) {
			execl("/proc/self/exe", "kernels", "nothing", (char *)NULL);
			_exit(9);
		}
		n += waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 0;
	}
	return n;
}

static uint64_t
k_map(unsigned rounds)
{
	uint64_t n = 0;

	while (rounds--) {
		char *m = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (unsigned i = 0; i < 64; i++)
			m[i * PAGE] = 1, n++;
		mprotect(m, 32 * PAGE, PROT_READ);
		munmap(m, 64 * PAGE);
	}
	return n;
}

static volatile sig_atomic_t signals;
static char *trap_page;

static void
on_signal(int sig)
{
	signals++;
	if (sig == SIGSEGV)
		mprotect(trap_page, PAGE, PROT_READ | PROT_WRITE);
}

static uint64_t
k_signal(unsigned rounds)
{
	signal(SIGUSR1, on_signal);
	for (signals = 0; rounds--;)
		raise(SIGUSR1);
	return (uint64_t)signals;
}

static uint64_t
k_fault(unsigned rounds)
{
	signal(SIGSEGV, on_signal);
	trap_page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (signals = 0; rounds--;) {
		mprotect(trap_page, PAGE, PROT_NONE);
		*(volatile char *)trap_page = 1;
	}
	munmap(trap_page, PAGE);
	return (uint64_t)signals;
}

static uint64_t
k_files(unsigned rounds)
{
	static char buf[PAGE];
	uint64_t n = 0;
	struct stat st;

	while (rounds--) {
		int fd = open("/tmp/regent-bench", O_RDWR | O_CREAT | O_TRUNC, 0600);

		n += (uint64_t)write(fd, buf, sizeof(buf));
		close(fd);
		n += stat("/tmp/regent-bench", &st) == 0;
		unlink("/tmp/regent-bench");
	}
	return n;
}

/* ---- special: what translators fear ---- */

/* mov eax, imm32; add eax, imm8; ret - rewritten before each call. */
static uint64_t
k_rewrite(unsigned rounds)
{
	uint8_t *m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t sum = 0;
	uint32_t (*fn)(void) = (uint32_t (*)(void))(uintptr_t)m;

	if (m == MAP_FAILED)
		return 0;
	for (uint32_t i = 0; i < rounds * 10; i++) {
		uint8_t code[] = { 0xb8, (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16), 0, 0x83, 0xc0, 3, 0xc3 };

		memcpy(m, code, sizeof(code));
		sum += fn() + fn();
	}
	munmap(m, PAGE);
	return sum;
}

/* A MiB of straight code, new each round, run once. */
static uint64_t
k_cold(unsigned rounds)
{
	uint8_t *m = mmap(NULL, MIB, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t sum = 0;
	uint32_t (*fn)(void) = (uint32_t (*)(void))(uintptr_t)m;

	if (m == MAP_FAILED)
		return 0;
	while (rounds--) {
		unsigned at = 0;

		m[at++] = 0x31, m[at++] = 0xc0;				/* xor eax, eax */
		while (at < MIB - 16) {
			m[at++] = 0x05;					/* add eax, imm32 */
			memcpy(m + at, &(uint32_t){ (uint32_t)rnd() & 0xff }, 4), at += 4;
			m[at++] = 0xd1, m[at++] = 0xc0;			/* rol eax, 1 */
		}
		m[at] = 0xc3;
		sum += fn();
	}
	munmap(m, MIB);
	return sum;
}

struct kernel {
	const char *group, *name;
	uint64_t (*run)(unsigned rounds);
	unsigned rounds;
};

static const struct kernel kernels[] = {
	{ "compute", "primes", k_primes, 150 },
	{ "compute", "hash", k_hash, 4000 },
	{ "compute", "collatz", k_collatz, 600 },
	{ "compute", "gcd", k_gcd, 400 },
	{ "compute", "matrix", k_matrix, 300 },
	{ "compute", "nbody", k_nbody, 8000 },
	{ "compute", "longdouble", k_longdouble, 60000 },
	{ "compute", "pixels", k_pixels, 20000 },
	{ "memory", "copy", k_copy, 80 },
	{ "memory", "strings", k_strings, 80000 },
	{ "memory", "repstring", k_repstring, 400000 },
	{ "memory", "chase_l1", k_chase_l1, 60000 },
	{ "memory", "chase_mem", k_chase_mem, 4000 },
	{ "memory", "chase_pages", k_chase_pages, 2000 },
	{ "control", "fib", k_fib, 1500 },
	{ "control", "pointers", k_pointers, 30000 },
	{ "control", "machine", k_machine, 12000 },
	{ "control", "sort", k_sort, 120 },
	{ "system", "syscall", k_syscall, 10000 },
	{ "system", "pipe", k_pipe, 4000 },
	{ "system", "fork", k_fork, 800 },
	{ "system", "exec", k_exec, 400 },
	{ "system", "map", k_map, 1200 },
	{ "system", "signal", k_signal, 100000 },
	{ "system", "fault", k_fault, 30000 },
	{ "system", "files", k_files, 20000 },
	{ "special", "rewrite", k_rewrite, 20000 },
	{ "special", "cold", k_cold, 64 },
};

static double
seconds(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* On-CPU seconds of this process and its finished children. */
static double
cpu_seconds(void)
{
	struct rusage self, kids;
	struct timeval all;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &kids);
	timeradd(&self.ru_utime, &self.ru_stime, &all);
	timeradd(&all, &kids.ru_utime, &all);
	timeradd(&all, &kids.ru_stime, &all);
	return (double)all.tv_sec + (double)all.tv_usec * 1e-6;
}

static void
run(const struct kernel *k, unsigned rounds)
{
	double wall, cpu;
	uint64_t sum;

	printf("+ %s\n", k->name);
	fflush(stdout);
	wall = seconds(CLOCK_MONOTONIC), cpu = cpu_seconds();
	sum = k->run(rounds > 0 ? rounds : 1);
	wall = seconds(CLOCK_MONOTONIC) - wall, cpu = cpu_seconds() - cpu;
	printf("- %s %s %.6f %.6f %llx\n", k->group, k->name, wall, cpu, (unsigned long long)sum);
	fflush(stdout);
}

/* A whole command; SUM is that of what it printed. */
static char **command;

static uint64_t
k_command(unsigned rounds)
{
	unsigned char buf[PAGE];
	uint64_t sum = rounds;
	int out[2];
	ssize_t n;
	pid_t pid;

	if (pipe(out) != 0 || (pid = fork()) < 0)
		return 0;
	if (pid == 0) {
		dup2(out[1], 1);
		close(out[0]), close(out[1]);
		execvp(command[0], command);
		_exit(127);
	}
	close(out[1]);
	while ((n = read(out[0], buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + buf[i];
	close(out[0]);
	waitpid(pid, NULL, 0);
	return sum;
}

static int
wanted(const char *name, char **names)
{
	if (*names == NULL)
		return 1;
	for (; *names != NULL; names++)
		if (strcmp(*names, name) == 0)
			return 1;
	return 0;
}

/* kernels [PERCENT [NAME..]]; kernels time NAME COMMAND ARGUMENTS.. */
int
main(int argc, char **argv)
{
	unsigned percent = argc > 1 ? (unsigned)atoi(argv[1]) : 100;

	if (argc > 1 && strcmp(argv[1], "nothing") == 0)
		return 0;
	if (argc > 3 && strcmp(argv[1], "time") == 0) {
		struct kernel k = { "shell", argv[2], k_command, 1 };

		command = argv + 3;
		run(&k, 1);
		return 0;
	}
	for (unsigned i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
		seed = 88172645463325252ull;
		if (wanted(kernels[i].name, argv + (argc > 1 ? 2 : 1)))
			run(&kernels[i], kernels[i].rounds * percent / 100);
	}
	return 0;
}
