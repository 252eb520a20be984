/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/switch.c - what a change from one VM to another on the same thread costs, beside a Linux thread's.
 *
 * Two guests read the TSC for ever on a pool of one thread. A guest that sees a gap was away: it notes
 * the last time before and the first behind, and how long two passes over its data took then: the
 * first finds caches, TLB and predictors as the other left them, the second warm. Cycles are ticks of
 * the host's TSC; a switch is from the last reading of one guest to the first of the other, so that
 * everything between counts: exit, pool, locks, register state, entry, and one turn of the loop.
 */
#include "cpu/segments.h"
#include "engine/engine.h"
#include "vm/sched.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

enum { TABLES = 0x10000, CODE = 0x20000, LOG = 0x200000, NOTES = 16384, DATA = 0x100000, MEMORY = 4 << 20, QUANTUM_US = 200,
	RUN_S = 2, YIELDS = 20000, TURNS = 20000 };

/* 64-bit, one to one mapped. rbx: the reading before; r8: the next note; r9: DATA. */
static const uint8_t loop_code[] = {
	0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,		/* loop: rdtsc; shl rdx, 32; or rax, rdx */
	0x0f, 0x58, 0xc1,						/* addps xmm0, xmm1 (patched to nop) */
	0x48, 0x89, 0xc1, 0x48, 0x29, 0xd9,				/* mov rcx, rax; sub rcx, rbx */
	0x48, 0x81, 0xf9, 0x20, 0x4e, 0x00, 0x00,			/* cmp rcx, 20000 */
	0x77, 0x05,							/* ja gap */
	0x48, 0x89, 0xc3, 0xeb, 0xe0,					/* mov rbx, rax; jmp loop */
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
	0x48, 0x89, 0xc3, 0xeb, 0x9b,					/* mov rbx, rax; jmp loop */
};
enum { VECTOR_AT = 9, VECTOR_SIZE = 3, NOTE = 24 };

/* Notes when it comes and when it leaves, which it does of itself. r8: the next note. */
static const uint8_t turn_code[] = {
	0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,		/* turn: rdtsc; shl rdx, 32; or rax, rdx */
	0x0f, 0x58, 0xc1,						/* addps xmm0, xmm1 (patched to nop) */
	0x49, 0x89, 0x00,						/* mov [r8], rax */
	0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,		/* rdtsc; shl rdx, 32; or rax, rdx */
	0x49, 0x89, 0x40, 0x08, 0x49, 0x83, 0xc0, 0x10,			/* mov [r8+8], rax; add r8, 16 */
	0xf4, 0xeb, 0xdd,						/* hlt; jmp turn */
};

struct note { uint64_t last, first; uint32_t cold, warm; };

struct guest {
	struct vm *vm;
	struct note notes[NOTES];
	unsigned n;
};

static void
flat(struct vcpu *vc, const uint8_t *bytes, size_t size, bool vectors)
{
	union regfile *r = &vc->cpu.r;
	uint64_t entry = (TABLES + 0x1000) | 3, code[32] = { 0 };

	memcpy(code, bytes, size);
	if (!vectors)
		memcpy((uint8_t *)code + VECTOR_AT, "\x0f\x1f\x00", VECTOR_SIZE);
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
	r->cr4 |= cr4_pae_MASK | cr4_osfxsr_MASK;
	r->ia32_efer |= ia32_efer_lme_MASK | ia32_efer_lma_MASK;
	r->cr0 = cr0_pe_MASK | cr0_pg_MASK | cr0_ne_MASK;
	r->rip = CODE;
	r->r8 = LOG;
	r->r9 = DATA;
	r->rbx = 0;
	r->rflags = RFLAGS_fixed;
	r->activity = ACTIVITY_run;
	cpu_mode_update(&vc->cpu);
}

static void
open_guest(struct guest *g, const uint8_t *bytes, size_t size, bool vectors)
{
	struct vm_config cfg = { .memory = MEMORY, .cpus = 1, .engine = &bt_engine };
	char err[256];

	if ((g->vm = vm_open(&cfg, err, sizeof(err))) == NULL) {
		fprintf(stderr, "switch: %s\n", err);
		exit(1);
	}
	flat(g->vm->vcpu[0], bytes, size, vectors);
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

static void
measure_bt(bool vectors)
{
	static struct guest g[2];
	static uint64_t v[2 * NOTES], lost[2 * NOTES];
	struct sched *s = sched_open(1, QUANTUM_US);
	unsigned n, m = 0;

	memset(g, 0, sizeof(g));
	for (unsigned i = 0; i < 2; i++) {
		open_guest(&g[i], loop_code, sizeof(loop_code), vectors);
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
	report(vectors ? "the same, vector registers in use" : "pool, quantum over, timer's thread beside it", v, n);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < g[i].n; k++)
			lost[m++] = g[i].notes[k].cold > g[i].notes[k].warm ? g[i].notes[k].cold - g[i].notes[k].warm : 0;
	report("  then lost to caches and TLB, 128 KiB read", lost, m);
	for (unsigned i = 0; i < 2; i++) {
		sched_forget(s, g[i].vm);
		vm_close(g[i].vm);
	}
	sched_close(s);
}

/* This thread runs one and the other in turn, each until its HLT. */
static void
measure_turns(bool vectors)
{
	static struct guest g[2];
	static uint64_t v[2 * TURNS];
	uint64_t last = 0, note[2], start[2];

	for (unsigned i = 0; i < 2; i++) {
		open_guest(&g[i], turn_code, sizeof(turn_code), vectors);
		start[i] = clock_host_tsc_start(g[i].vm->clock);
		g[i].vm->vcpu[0]->cpu.r.cr0 |= cr0_mp_MASK;
	}
	for (unsigned i = 0; i < 2 * TURNS; i++) {
		struct cpu *c = &g[i & 1].vm->vcpu[0]->cpu;

		c->r.activity = ACTIVITY_run;
		if (vcpu_step(g[i & 1].vm->vcpu[0]) == STEP_ended)
			break;
	}
	for (unsigned i = 0; i < 2 * TURNS; i++) {
		mem_read(g[i & 1].vm->mem, LOG + i / 2 * sizeof(note), note, sizeof(note));
		v[i] = note[0] + start[i & 1] - last;
		last = note[1] + start[i & 1];
	}
	report(vectors ? "two bt VMs, vector registers in use" : "two bt VMs, one HLTs, the other goes on", v + 1, 2 * TURNS - 1);
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

int
main(void)
{
	printf("cycles of the host's TSC (%llu kHz), median\n", (unsigned long long)clock_host_khz());
	measure_turns(false);
	measure_turns(true);
	measure_bt(false);
	measure_bt(true);
	measure_threads();
	return 0;
}
