/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/switch.c - what a change from one VM to another on the same thread costs, beside KVM's, a Linux thread's, QEMU's.
 * usage: switch [PAUSE.elf IPI.elf], guests for QEMU (tests/bench/handoff.asm)
 *
 * Two guests read the TSC for ever on a pool of one thread. A guest that sees a gap was away: it notes
 * the last time before and the first behind, and how long two passes over its data, or through many
 * jumps, took then: the first finds caches, TLB and predictors as the other left them, the second warm. Cycles are ticks of
 * the host's TSC; a switch is from the last reading of one guest to the first of the other, so that
 * everything between counts: exit, pool, locks, register state, entry, and one turn of the loop.
 */
#include "cpu/segments.h"
#include "engine/engine.h"
#include "vm/sched.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

enum { TABLES = 0x10000, CODE = 0x20000, LOG = 0x200000, NOTES = 16384, DATA = 0x100000, MEMORY = 4 << 20, QUANTUM_US = 200,
	RUN_S = 2, YIELDS = 20000, TURNS = 20000,
	HANDOFFS = 20000, QEMU_S = 60 };

enum { XCR0_ALL = 7, FTW_FULL = 0xff };

/* 64-bit, one to one mapped. rbx: the reading before; r8: the next note; r9: DATA. */
static const uint8_t loop_code[] = {
	0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,		/* loop: rdtsc; shl rdx, 32; or rax, rdx */
	0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00,				/* nop (patched: struct work) */
	0x48, 0x89, 0xc1, 0x48, 0x29, 0xd9,				/* mov rcx, rax; sub rcx, rbx */
	0x48, 0x81, 0xf9, 0x20, 0x4e, 0x00, 0x00,			/* cmp rcx, 20000 */
	0x77, 0x05,							/* ja gap */
	0x48, 0x89, 0xc3, 0xeb, 0xdd,					/* mov rbx, rax; jmp loop */
	0x49, 0x89, 0x18, 0x49, 0x89, 0x40, 0x08,			/* gap: mov [r8], rbx; mov [r8+8], rax */
	0xbf, 0x02, 0x00, 0x00, 0x00,					/* mov edi, 2 */
	0x0f, 0x31, 0x41, 0x89, 0xc2,					/* pass: rdtsc; mov r10d, eax */
	0x31, 0xc9,							/* xor ecx, ecx */
	0x41, 0x8b, 0x34, 0x09, 0x83, 0xc1, 0x40,			/* line: mov esi, [r9+rcx]; add ecx, 64 */
	0x81, 0xf9, 0x00, 0x00, 0x02, 0x00, 0x72, 0xf1,			/* cmp ecx, 128 KiB; jb line */
	0x0f, 0x31, 0x44, 0x29, 0xd0,					/* rdtsc; sub eax, r10d */
	0x41, 0x89, 0x40, 0x10, 0x49, 0x83, 0xc0, 0x04,			/* mov [r8+16], eax; add r8, 4 */
	0xff, 0xcf, 0x75, 0xd9,						/* dec edi; jnz pass */
	0x49, 0x83, 0xc0, 0x10,						/* add r8, 16 */
	0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,		/* rdtsc; shl rdx, 32; or rax, rdx */
	0x48, 0x89, 0xc3, 0xeb, 0x98,					/* mov rbx, rax; jmp loop */
};
enum { WORK_AT = 9, WORK_SIZE = 6, NOTE = 24, LINE_AT = 54, LINE_END = 69, JUMPS_AT = 0x30000, JUMPS = 512 };

/* What a guest does with the registers between its readings; its x87 and vector registers hold numbers then. */
static const struct work { const char *name; uint8_t code[WORK_SIZE]; } works[] = {
	{ "two bt VMs, one HLTs, the other goes on", { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 } },	/* nop */
	{ "  the same, SSE in use", { 0x0f, 0x58, 0xc1, 0x0f, 0x1f, 0x00 } },			/* addps xmm0, xmm1; nop */
	{ "  the same, AVX in use", { 0xc5, 0xfc, 0x58, 0xc1, 0x66, 0x90 } },			/* vaddps ymm0, ymm0, ymm1; nop */
	{ "  the same, x87 in use", { 0xd8, 0xc1, 0x0f, 0x1f, 0x40, 0x00 } },			/* fadd st0, st1; nop */
	{ "  the same, x87, SSE and AVX in use", { 0xc5, 0xfc, 0x58, 0xc1, 0xd8, 0xc1 } },	/* vaddps; fadd */
};
enum { NWORKS = sizeof(works) / sizeof(*works) };

/* Notes when it comes and when it leaves, which it does of itself. r8: the next note. */
static const uint8_t turn_code[] = {
	0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,		/* turn: rdtsc; shl rdx, 32; or rax, rdx */
	0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00,				/* nop (patched: struct work) */
	0x49, 0x89, 0x00,						/* mov [r8], rax */
	0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,		/* rdtsc; shl rdx, 32; or rax, rdx */
	0x49, 0x89, 0x40, 0x08, 0x49, 0x83, 0xc0, 0x10,			/* mov [r8+8], rax; add r8, 16 */
	0xf4, 0xeb, 0xda,						/* hlt; jmp turn */
};

struct note { uint64_t last, first; uint32_t cold, warm; };

struct guest {
	struct vm *vm;
	struct note notes[NOTES];
	unsigned n;
};

static void
flat(struct vcpu *vc, const uint8_t *bytes, size_t size, const struct work *work)
{
	union regfile *r = &vc->cpu.r;
	uint64_t entry = (TABLES + 0x1000) | 3, code[32] = { 0 };

	memcpy(code, bytes, size);
	memcpy((uint8_t *)code + WORK_AT, work->code, WORK_SIZE);
	mem_write(vc->cpu.mem, CODE, code, sizeof(code));
	mem_write(vc->cpu.mem, TABLES, &entry, 8);
	entry = (TABLES + 0x2000) | 3;
	mem_write(vc->cpu.mem, TABLES + 0x1000, &entry, 8);
	for (unsigned i = 0; i < MEMORY >> 21; i++) {
		entry = (uint64_t)i << 21 | 0xe3;
		mem_write(vc->cpu.mem, TABLES + 0x2000 + 8 * i, &entry, 8);
	}
	for (int seg = 0; seg <= SEG_gs; seg++)
		r->seg[seg] = (struct segreg){ .sel = 0x10, .limit = UINT32_MAX, .attr = 0xc093 };
	r->seg[SEG_cs] = (struct segreg){ .sel = 8, .limit = UINT32_MAX, .attr = 0xa09b };
	r->cr3 = TABLES;
	r->cr4 |= cr4_pae_MASK | cr4_osfxsr_MASK | cr4_osxsave_MASK;
	r->xcr0 = XCR0_ALL;
	r->ia32_efer |= ia32_efer_lme_MASK | ia32_efer_lma_MASK;
	r->cr0 = cr0_pe_MASK | cr0_pg_MASK | cr0_ne_MASK | cr0_mp_MASK;
	r->rip = CODE;
	r->r8 = LOG;
	r->r9 = DATA;
	r->rbx = 0;
	r->rflags = RFLAGS_fixed;
	r->activity = ACTIVITY_run;
	memset(vc->cpu.fpu.st, 0, sizeof(vc->cpu.fpu.st));	/* zeroes, none of them empty */
	vc->cpu.fpu.ftw = FTW_FULL;
	memset(vc->cpu.fpu.ymmh, 1, sizeof(vc->cpu.fpu.ymmh));
	vc->cpu.dirty = GROUP_ALL;
	cpu_mode_update(&vc->cpu);
}

static void
open_guest(struct guest *g, const struct engine *engine, const uint8_t *bytes, size_t size, const struct work *work)
{
	struct vm_config cfg = { .memory = MEMORY, .cpus = 1, .engine = engine };
	char err[256];

	if ((g->vm = vm_open(&cfg, err, sizeof(err))) == NULL) {
		fprintf(stderr, "switch: %s\n", err);
		exit(1);
	}
	flat(g->vm->vcpu[0], bytes, size, work);
}

/* Notes that are whole and in order, in the host's time. */
static void
collect(struct guest *g)
{
	uint64_t start = clock_host_tsc_start(g->vm->clock), before = 0;
	struct note note;

	for (unsigned i = 0; i < NOTES; i++) {
		mem_read(g->vm->mem, LOG + i * NOTE, &note, NOTE);
		if (note.first <= note.last || note.last < before)
			break;
		before = note.first;
		note.last += start;
		note.first += start;
		g->notes[g->n++] = note;
	}
}

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
report(const char *what, uint64_t *v, unsigned n)
{
	if (n == 0) {
		printf("%-52s not measured\n", what);
		return;
	}
	qsort(v, n, sizeof(*v), by_size);
	printf("%-52s %6llu  (%llu to %llu in the middle half, %u times)\n", what, (unsigned long long)v[n / 2],
	       (unsigned long long)v[n / 4], (unsigned long long)v[n - 1 - n / 4], n);
}

/* From a's last reading before a gap to b's first behind its own that ended next. */
static unsigned
switches(const struct guest *a, const struct guest *b, uint64_t *v)
{
	unsigned n = 0, k = 0;

	for (unsigned i = 0; i < a->n; i++) {
		while (k < b->n && b->notes[k].first < a->notes[i].last)
			k++;
		if (k < b->n && b->notes[k].first < a->notes[i].first)
			v[n++] = b->notes[k].first - a->notes[i].last;
	}
	return n;
}

/* Instead of reading data: jumps that are taken or not by a pattern, mov esi, PATTERN; jmp JUMPS_AT .. jmp back. */
static void
jumps_instead(struct guest *g)
{
	static const uint8_t jump[] = { 0x0f, 0xba, 0xe6, 0, 0x72, 0x02, 0xff, 0xc2 };	/* bt esi, n; jc over; inc edx */
	uint8_t code[LINE_END - LINE_AT], back[5] = { 0xe9 };
	int32_t there = JUMPS_AT - (CODE + LINE_AT + 10), home = CODE + LINE_END - (JUMPS_AT + JUMPS * (int32_t)sizeof(jump) + 5);

	memset(code, 0x90, sizeof(code));
	memcpy(code, "\xbe\xa5\x96\x3c\x5a\xe9", 6);
	memcpy(code + 6, &there, 4);
	memcpy(back + 1, &home, 4);
	mem_write(g->vm->mem, CODE + LINE_AT, code, sizeof(code));
	for (unsigned i = 0; i < JUMPS; i++) {
		uint8_t bytes[sizeof(jump)];

		memcpy(bytes, jump, sizeof(jump));
		bytes[3] = (uint8_t)(i * 7 % 32);
		mem_write(g->vm->mem, JUMPS_AT + i * sizeof(jump), bytes, sizeof(bytes));
	}
	mem_write(g->vm->mem, JUMPS_AT + JUMPS * sizeof(jump), back, sizeof(back));
}

static void
measure_bt(const char *name, const struct work *work, bool jumps)
{
	static struct guest g[2];
	static uint64_t v[2 * NOTES], lost[2 * NOTES];
	struct sched *s = sched_open(1, QUANTUM_US);
	unsigned n, m = 0;

	memset(g, 0, sizeof(g));
	for (unsigned i = 0; i < 2; i++) {
		open_guest(&g[i], &bt_engine, loop_code, sizeof(loop_code), work);
		if (jumps)
			jumps_instead(&g[i]);
		sched_start(s, g[i].vm, 1);
	}
	sleep(RUN_S);
	for (unsigned i = 0; i < 2; i++) {
		vm_request_end(g[i].vm, VM_stopped);
		vm_wait(g[i].vm);
		collect(&g[i]);
	}
	n = switches(&g[0], &g[1], v);
	n += switches(&g[1], &g[0], v + n);
	report(name, v, n);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < g[i].n; k++)
			lost[m++] = g[i].notes[k].cold > g[i].notes[k].warm ? g[i].notes[k].cold - g[i].notes[k].warm : 0;
	report(jumps ? "    then lost to predictors, in 512 jumps" : "    then lost to caches and TLB, 128 KiB read", lost, m);
	for (unsigned i = 0; i < 2; i++) {
		sched_forget(s, g[i].vm);
		vm_close(g[i].vm);
	}
	sched_close(s);
}

/* This thread runs one and the other in turn, each until its HLT. */
static void
measure_turns(const char *name, const struct engine *engine, const struct work *work)
{
	static struct guest g[2];
	static uint64_t v[2 * TURNS];
	uint64_t last = 0, note[2], start[2];
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++) {
		open_guest(&g[i], engine, turn_code, sizeof(turn_code), work);
		start[i] = clock_host_tsc_start(g[i].vm->clock);
	}
	for (unsigned i = 0; i < 2 * TURNS; i++) {
		struct cpu *c = &g[i & 1].vm->vcpu[0]->cpu;

		c->r.activity = ACTIVITY_run;
		if (vcpu_step(g[i & 1].vm->vcpu[0]) == STEP_ended)
			break;
		n++;
	}
	for (unsigned i = 0; i < n; i++) {
		mem_read(g[i & 1].vm->mem, LOG + i / 2 * sizeof(note), note, sizeof(note));
		v[i] = note[0] + start[i & 1] - last;
		last = note[1] + start[i & 1];
	}
	report(name, v + 1, n - 1);
	for (unsigned i = 0; i < 2; i++)
		vm_close(g[i].vm);
}

/* ---- two threads on one processor ---- */

static volatile uint64_t left_at;
static volatile int left_by = -1;
static uint64_t yields[YIELDS];
static unsigned nyields;

static void *
yielder(void *arg)
{
	int me = *(int *)arg;

	while (nyields < YIELDS) {
		uint64_t now = __rdtsc();

		if (left_by == !me)
			yields[nyields++] = now - left_at;
		left_by = me;
		left_at = __rdtsc();
		sched_yield();
	}
	return NULL;
}

static void
measure_threads(void)
{
	struct sched_param fifo = { .sched_priority = 1 };
	static int ids[2] = { 0, 1 };
	pthread_attr_t attr;
	pthread_t t[2];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);	/* so that a yield is a switch */
	pthread_attr_setschedparam(&attr, &fifo);
	for (unsigned i = 0; i < 2; i++)
		if (pthread_create(&t[i], &attr, yielder, &ids[i]) != 0) {
			printf("%-52s not measured: needs the right to SCHED_FIFO\n", "two Linux threads, sched_yield");
			nyields = YIELDS;
			if (i == 1)
				pthread_join(t[0], NULL);
			return;
		}
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	report("two Linux threads, sched_yield", yields, nyields < YIELDS ? nyields : YIELDS);
}

/* ---- KVM's vCPUs ---- */

struct kvm_guest { int vm, vcpu; };

/* A vCPU in real mode with `hlt; jmp $-1`: what every KVM can run, kvm-pvm too. */
static bool
kvm_guest_open(int sys, struct kvm_guest *g)
{
	uint8_t *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region ram = { .memory_size = PAGE_SIZE, .userspace_addr = (uint64_t)(uintptr_t)page };
	struct kvm_regs regs = { .rflags = RFLAGS_fixed };
	struct kvm_sregs sregs;

	if (page == MAP_FAILED)
		return false;
	memcpy(page, "\xf4\xeb\xfd", 3);
	if ((g->vm = ioctl(sys, KVM_CREATE_VM, 0)) < 0 || ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &ram) != 0 ||
	    (g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0)) < 0 || ioctl(g->vcpu, KVM_GET_SREGS, &sregs) != 0)
		return false;
	sregs.cs.base = sregs.cs.selector = 0;
	return ioctl(g->vcpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(g->vcpu, KVM_SET_REGS, &regs) == 0;
}

/* From one HLT exit to the next, which is the other vCPU's, or the same one's again. */
static void
kvm_turns(const char *name, const struct kvm_guest *g, unsigned n)
{
	static uint64_t v[TURNS];
	uint64_t last = 0;

	for (unsigned i = 0; i < TURNS; i++) {
		if (ioctl(g[i % n].vcpu, KVM_RUN, 0) != 0) {
			printf("%-52s not measured: KVM_RUN: %s\n", name, strerror(errno));
			return;
		}
		v[i] = __rdtsc() - last;
		last += v[i];
	}
	report(name, v + 1, TURNS - 1);
}

static void
measure_kvm(void)
{
	struct kvm_guest g[2];
	struct kvm_answer answer;
	int sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (sys < 0) {
		printf("KVM: skipped: /dev/kvm: %s\n", strerror(errno));
		return;
	}
	printf("KVM: %s; no Regent, two vCPUs in real mode that HLT\n", kvm_usable(&answer) == 0 ? "hardware" : answer.why);
	if (kvm_guest_open(sys, &g[0]) && kvm_guest_open(sys, &g[1])) {
		kvm_turns("  two KVM vCPUs on one thread, KVM_RUN in turn", g, 2);
		kvm_turns("  one of them, again and again", g, 1);
	} else {
		printf("  skipped: no vCPU: %s\n", strerror(errno));
	}
	close(sys);
}

/* ---- QEMU's vCPUs ---- */

/* Runs the guest on one processor; what it wrote is in path. */
static bool
qemu(const char *kernel, const char *accel, const char *path)
{
	char out[256], seconds[16];
	pid_t pid;
	int status;

	snprintf(out, sizeof(out), "file:%s", path);
	snprintf(seconds, sizeof(seconds), "%d", QEMU_S);
	if ((pid = fork()) == 0) {
		execlp("timeout", "timeout", seconds, "taskset", "-c", "0", "qemu-system-x86_64", "-accel", accel, "-smp", "2", "-m", "32",
		       "-display", "none", "-nodefaults", "-no-user-config", "-kernel", kernel, "-debugcon", out,
		       "-device", "isa-debug-exit,iobase=0xf4,iosize=4", (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static void
measure_qemu(const char *name, const char *kernel, const char *accel)
{
	static uint32_t notes[HANDOFFS];
	static uint64_t v[HANDOFFS];
	char path[] = "/tmp/switch-XXXXXX";
	int fd = mkstemp(path);
	size_t n = 0;

	if (fd >= 0 && qemu(kernel, accel, path))
		n = (size_t)read(fd, notes, sizeof(notes)) / sizeof(*notes);
	for (size_t i = 0; i < n && i < HANDOFFS; i++)
		v[i] = notes[i];
	report(name, v, n <= HANDOFFS ? (unsigned)n : 0);
	if (fd >= 0) {
		unlink(path);
		close(fd);
	}
}

static void
measure_qemus(char **guests)
{
	if (guests[0] == NULL || guests[1] == NULL || system("qemu-system-x86_64 --version >/dev/null 2>&1") != 0) {
		printf("%-52s skipped: %s\n", "QEMU TCG", guests[0] == NULL ? "no guests given" : "qemu-system-x86_64 is not installed");
		return;
	}
	printf("QEMU TCG, two vCPUs pinned to one processor\n");
	fflush(stdout);
	measure_qemu("  two vCPU threads (thread=multi), IPI and HLT", guests[1], "tcg,thread=multi");
	measure_qemu("  round robin in one thread (thread=single), PAUSE", guests[0], "tcg,thread=single");
	measure_qemu("  round robin in one thread, IPI and HLT", guests[1], "tcg,thread=single");
}

int
main(int argc, char **argv)
{
	char *none[2] = { NULL, NULL };

	printf("cycles of the host's TSC (%llu kHz), median\n", (unsigned long long)clock_host_khz());
	for (unsigned i = 0; i < NWORKS; i++)
		measure_turns(works[i].name, &bt_engine, &works[i]);
	measure_bt("two bt VMs, the pool's quantum over", &works[0], false);
	measure_bt("  the same", &works[0], true);
	measure_bt("  the same, x87, SSE and AVX in use", &works[NWORKS - 1], false);
	measure_threads();
	measure_kvm();
	measure_qemus(argc == 3 ? argv + 1 : none);
	return 0;
}
