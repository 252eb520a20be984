/* SPDX-License-Identifier: Apache-2.0 */
/* tests/boot/stress.c - what is hard on a translator, as a Linux program: code that changes, signals, faults, forks, threads.
 *
 * Runs in the guest (static, see run-stress). Prints `ok NAME` or `not ok NAME: why` for each part.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, RWX = PROT_READ | PROT_WRITE | PROT_EXEC };
typedef uint64_t (*function)(uint64_t);
static char why[128];

#define FAIL(...) do { snprintf(why, sizeof(why), __VA_ARGS__); return false; } while (0)

static uint8_t *
pages(size_t n, int prot)
{
	void *p = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* lea rax, [rdi + n]; ret */
static void
put_add(uint8_t *at, uint32_t n)
{
	memcpy(at, "\x48\x8d\x87\0\0\0\0\xc3", 8);
	memcpy(at + 3, &n, 4);
}

static uint64_t
call(const void *code, uint64_t arg)
{
	return ((function)(uintptr_t)code)(arg);
}

/* ---- code that changes ---- */

/* A compiler that makes functions, runs them, and makes others in their place. */
static bool
jit(void)
{
	uint8_t *p = pages(4, RWX);
	uint32_t i, k;

	for (i = 0; i < 3000; i++) {
		uint8_t *at = p + (i * 37) % (4 * PAGE - 16);

		put_add(at, i);
		for (k = 0; k < 20; k++)
			if (call(at, k) != i + k)
				FAIL("function %u gives %lu", i, (unsigned long)call(at, k));
	}
	return munmap(p, 4 * PAGE) == 0;
}

/* The same as careful compilers do it: never writable and executable at once. */
static bool
jit_write_xor_execute(void)
{
	uint8_t *p = pages(1, PROT_READ | PROT_WRITE);
	int fd = memfd_create("code", 0);
	uint8_t *rw, *rx;
	uint32_t i;

	for (i = 0; i < 500; i++) {
		mprotect(p, PAGE, PROT_READ | PROT_WRITE);
		put_add(p + i % 64, i);
		mprotect(p, PAGE, PROT_READ | PROT_EXEC);
		if (call(p + i % 64, 1) != i + 1)
			FAIL("mprotect, function %u", i);
	}
	if (fd < 0 || ftruncate(fd, PAGE) != 0)
		FAIL("memfd");
	rw = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rx = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (i = 0; i < 500; i++) {
		put_add(rw + i % 64, i);
		if (call(rx + i % 64, 1) != i + 1)
			FAIL("two mappings, function %u", i);
	}
	return close(fd) == 0;
}

/* Other code at the same address, again and again. */
static bool
remapped(void)
{
	uint8_t *at = pages(1, PROT_NONE), *p;
	uint32_t i;

	for (i = 0; i < 1000; i++) {
		p = mmap(at, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		put_add(p, i);
		if (call(p, 2) != i + 2)
			FAIL("mapping %u", i);
		if (i % 3 == 0)
			madvise(p, PAGE, MADV_DONTNEED), put_add(p, ~i & 0xffff);
		if (i % 3 == 0 && call(p, 0) != (~i & 0xffff))
			FAIL("mapping %u, emptied", i);
	}
	return munmap(at, PAGE) == 0;
}

static uint8_t *shared_code;
enum { CHANGES = 20000 };

static void *
change_code(void *arg)
{
	for (uint32_t i = 1; i <= CHANGES; i++)
		__atomic_store_n((uint32_t *)(void *)(shared_code + 4), i, __ATOMIC_SEQ_CST);
	return arg;
}

/* One thread writes an operand, another runs the code: it sees the values in order, and the last. */
static bool
written_by_another(void)
{
	uint64_t last = 0, now;
	pthread_t t;

	shared_code = pages(1, RWX);
	memcpy(shared_code, "\x90\x90\x90\xb8\0\0\0\0\xc3", 9);	/* mov eax, n: aligned */
	pthread_create(&t, NULL, change_code, NULL);
	while ((now = call(shared_code, 0)) < CHANGES) {
		if (now < last)
			FAIL("%lu after %lu", (unsigned long)now, (unsigned long)last);
		last = now;
		if (last % 64 == 0)
			sched_yield();
	}
	return pthread_join(t, NULL) == 0;
}

/* ---- faults and signals ---- */

static volatile uint64_t fault_rip, fault_addr, fault_marks;
static volatile int fault_signal, fault_code;
static volatile unsigned handled;

static void
on_fault(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	fault_signal = sig;
	fault_code = info->si_code;
	fault_addr = (uintptr_t)info->si_addr;
	fault_rip = (uint64_t)g[REG_RIP];
	fault_marks = (uint64_t)(g[REG_R12] ^ g[REG_R13] ^ g[REG_R14] ^ g[REG_R15] ^ g[REG_RBP]);
	handled++;
	g[REG_RIP] = g[REG_RBX];
}

static void
catch(int sig, void (*how)(int, siginfo_t *, void *))
{
	struct sigaction sa = { .sa_sigaction = how, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaction(sig, &sa, NULL);
}

uint64_t want_rip, kept;	/* of FAULTING, for its assembly */

/* Runs text with rdi = arg and marks in registers; on a fault it goes on behind. */
#define FAULTING(text, arg) do { \
	uint64_t arg_ = (uint64_t)(arg); \
	__asm__ volatile("mov %%rbp, kept; lea 2f(%%rip), %%rbx; lea 1f(%%rip), %%rax; mov %%rax, want_rip\n\t" \
		"mov $1, %%r12; mov $2, %%r13; mov $4, %%r14; mov $8, %%r15; mov $16, %%ebp\n" \
		"1: " text "\n2: mov kept, %%rbp" \
		: "+D"(arg_) : : "rax", "rbx", "rcx", "rdx", "r12", "r13", "r14", "r15", "xmm0", "memory", "cc"); \
} while (0)

static bool
faults(void)
{
	uint8_t *p = pages(2, PROT_READ | PROT_WRITE);
	unsigned i, off;

	for (i = 0; i < 5; i++)
		catch((int[]){ SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP }[i], on_fault);
	mprotect(p + PAGE, PAGE, PROT_NONE);
	for (i = 0; i < 300; i++) {
		off = i % 8;
		FAULTING("movq (%%rdi), %%rax", p + PAGE - 7 + off % 7);
		if (fault_signal != SIGSEGV || fault_rip != want_rip || fault_addr != (uintptr_t)(p + PAGE) || fault_marks != 31)
			FAIL("load %u: signal %d, address %lx", i, fault_signal, (unsigned long)fault_addr);
		FAULTING("addl $1, (%%rdi)", p + PAGE + off);
		if (fault_signal != SIGSEGV || fault_rip != want_rip || fault_addr != (uintptr_t)(p + PAGE + off) || fault_marks != 31)
			FAIL("read-modify-write %u", i);
		FAULTING("movups %%xmm0, (%%rdi)", p + PAGE - 1);
		if (fault_signal != SIGSEGV || fault_rip != want_rip || p[PAGE - 1] != 0)
			FAIL("vector store %u", i);
		FAULTING("xor %%ecx, %%ecx; xor %%edx, %%edx; div %%ecx", 0);
		if (fault_signal != SIGFPE || fault_code != FPE_INTDIV || fault_rip != want_rip + 4 || fault_marks != 31)
			FAIL("division %u: signal %d", i, fault_signal);
		FAULTING("ud2", 0);
		if (fault_signal != SIGILL || fault_rip != want_rip)
			FAIL("ud2 %u", i);
		FAULTING("movq (%%rdi), %%rax", 0x8000000000000000 + i);
		if (fault_signal != SIGSEGV || fault_rip != want_rip || fault_addr != 0)
			FAIL("not canonical %u", i);
		FAULTING("hlt", 0);
		if (fault_signal != SIGSEGV || fault_rip != want_rip)
			FAIL("hlt %u", i);
		FAULTING("mov $0xffffffff81000000, %%rcx; jmp *%%rcx", 0);
		if (fault_signal != SIGSEGV || fault_rip != 0xffffffff81000000)
			FAIL("jump to the kernel %u: at %lx", i, (unsigned long)fault_rip);
	}
	return true;
}

/* An instruction across two pages, the second of which comes and goes. */
static bool
across_pages(void)
{
	uint8_t *p = pages(2, RWX);
	unsigned k, turn;

	for (turn = 0; turn < 20; turn++)
		for (k = 1; k < 8; k++) {
			uint8_t *at = p + PAGE - k;
			unsigned before = handled;

			put_add(at, turn * 8 + k);
			if (call(at, 1) != turn * 8 + k + 1)
				FAIL("%u bytes before the border", k);
			mprotect(p + PAGE, PAGE, PROT_READ);	/* no code any more */
			__asm__ volatile("lea 1f(%%rip), %%rbx; push %%rbx; jmp *%0; 1:" : : "r"(at), "D"(0ul) : "rbx", "rax", "memory");
			if (handled != before + 1 || (k < 7 ? fault_rip != (uintptr_t)at : 0) || fault_addr != (uintptr_t)(p + PAGE))
				FAIL("%u bytes before the border, no second page: %u faults at %lx", k, handled - before, (unsigned long)fault_rip);
			__asm__ volatile("add $8, %%rsp" : : : "memory");
			mprotect(p + PAGE, PAGE, RWX);
		}
	return munmap(p, 2 * PAGE) == 0;
}

static volatile double handler_sum;

static void
on_tick(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	handler_sum += 1.5;
	handled++;
}

static uint64_t
work(double *real)
{
	uint64_t h = 1;
	double x = 1;
	unsigned i;

	for (i = 0; i < 20000; i++) {
		h = (h ^ i) * 0x100000001b3;
		x = x * 1.0000001 + (double)(h & 15);
	}
	*real = x;
	return h;
}

/* Timers and a child that kills, while integer and floating-point work must come out the same. */
static bool
signal_storm(void)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, off = { { 0, 0 }, { 0, 0 } };
	double x, want_x;
	uint64_t want = work(&want_x);
	unsigned i;
	pid_t self = getpid(), child;

	catch(SIGALRM, on_tick);
	catch(SIGUSR1, on_tick);
	handled = 0;
	if ((child = fork()) == 0) {
		for (i = 0; i < 3000; i++)
			kill(self, SIGUSR1);
		_exit(0);
	}
	setitimer(ITIMER_REAL, &often, NULL);
	for (i = 0; i < 400 || handled < 100; i++)
		if (work(&x) != want || x != want_x)
			FAIL("work %u differs after %u signals", i, handled);
	setitimer(ITIMER_REAL, &off, NULL);
	return waitpid(child, NULL, 0) == child;
}

/* ---- processes and threads ---- */

static void
breed(int depth)
{
	for (int i = 0; depth > 0 && i < 3; i++)
		if (fork() == 0) {
			breed(depth - 1);
			while (wait(NULL) > 0)
				;
			_exit(0);
		}
}

/* A bomb, within the limit of a user; all of it ends, and there is room again. */
static bool
fork_bomb(void)
{
	struct rlimit few = { 60, 60 };
	pid_t bomb;
	int status, turn;

	for (turn = 0; turn < 3; turn++) {
		if ((bomb = fork()) == 0) {
			if (setrlimit(RLIMIT_NPROC, &few) != 0 || setuid(1000) != 0)
				_exit(1);
			breed(6);
			while (wait(NULL) > 0)
				;
			_exit(errno == ECHILD ? 0 : 2);
		}
		if (waitpid(bomb, &status, 0) != bomb || status != 0)
			FAIL("status %x", status);
	}
	return true;
}

static volatile uint64_t counted;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t guarded;
enum { THREADS = 4, ADDS = 20000 };

static void *
count(void *arg)
{
	for (unsigned i = 0; i < ADDS; i++) {
		uint64_t old = counted;

		__atomic_fetch_add(&counted, 1, __ATOMIC_SEQ_CST);
		while (!__atomic_compare_exchange_n(&counted, &old, old + 2, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		pthread_mutex_lock(&lock);
		guarded++;
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static bool
threads_count(void)
{
	pthread_t t[THREADS];
	unsigned i;

	for (i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, count, NULL);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	if (counted != 3ul * THREADS * ADDS || guarded != (uint64_t)THREADS * ADDS)
		FAIL("%lu and %lu", (unsigned long)counted, (unsigned long)guarded);
	return true;
}

static void
part(const char *name, bool (*run)(void))
{
	if (run())
		printf("ok %s\n", name);
	else
		printf("not ok %s: %s\n", name, why);
	fflush(stdout);
}

int
main(void)
{
	part("jit", jit);
	part("jit_write_xor_execute", jit_write_xor_execute);
	part("remapped", remapped);
	part("written_by_another", written_by_another);
	part("faults", faults);
	part("across_pages", across_pages);
	part("signal_storm", signal_storm);
	part("fork_bomb", fork_bomb);
	part("threads_count", threads_count);
	printf("all done\n");
	return 0;
}
