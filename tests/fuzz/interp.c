/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/interp.c - libFuzzer target: any bytes as guest code, in any mode, at any privilege.
 *
 * The first bytes choose mode, privilege, flags and a few registers; the rest is the code. Whatever
 * it does, the interpreter must neither crash nor hang; a fault it raises is delivered through an
 * IDT that leads nowhere useful, or halts.
 */
#include "engine/rig.h"
#include <signal.h>
#include <sys/time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HEAD = 16, INSNS = 300, RUNS = 2 };
static struct cpu *_Atomic running;

/* A REP may go on for a very long time: the attention of a real machine's timer. */
static void
tick(int sig)
{
	struct cpu *c = atomic_load(&running);

	(void)sig;
	if (c != NULL)
		cpu_ask(c, ATT_timer);
}

static void
start_ticking(void)
{
	struct itimerval every = { .it_interval.tv_usec = 5000, .it_value.tv_usec = 5000 };

	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &every, NULL);
}

/* As new, but for the interpreter's decoded blocks: those must fall by themselves. */
static void
renew(struct rig *g, enum rig_mode mode)
{
	static const uint8_t zeros[PAGE_SIZE];

	for (gpa_t at = 0; at < RIG_MEMORY; at += PAGE_SIZE)
		if (mem_page_flags(g->mem, at) & MEM_dirty) {
			mem_write(g->mem, at, zeros, PAGE_SIZE);
			mem_page_clear(g->mem, at, MEM_dirty);
		}
	tlb_flush_all(&g->cpu, true);
	reg_reset(&g->cpu.r, &g->cpu.fpu);
	atomic_store(&g->cpu.attention, 0);
	g->cpu.irq_window = false;
	rig_tables(g);
	rig_mode_set(g, mode);
}

static void
choose(struct rig *g, const uint8_t *d)
{
	union regfile *r = &g->cpu.r;
	static const uint64_t places[8] = { 0, RIG_DATA, RIG_CODE, RIG_MEMORY - 8, RIG_STACK, ~0ull << 47, 1ull << 47, RIG_TABLES };

	r->rflags |= ((uint64_t)d[2] << 8 | d[1]) & 0x7fd5;
	if (d[0] & 8) {
		r->rflags |= rflags_ac_MASK;
		r->cr0 |= cr0_am_MASK;
	}
	if ((d[0] & 0x30) == 0x30 && r->cr0 & cr0_pe_MASK) {
		rig_segment(g, SEG_cs, RIG_UCS64, d[0] & 1 ? 0xa0fb : 0xc0fb);
		rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	}
	r->cr4 |= (uint64_t)d[3] << 9 & (cr4_osfxsr_MASK | cr4_osxsave_MASK | cr4_smap_MASK | cr4_smep_MASK | cr4_umip_MASK);
	r->dr7 |= d[4] & 0x80 ? (uint64_t)d[4] << 16 | 0x55 : 0;
	r->dr0 = RIG_DATA;
	r->dr1 = RIG_CODE + 8;
	for (unsigned i = 0; i < 8; i++)
		if (i != REG_rsp || d[5] & 1)
			r->gpr[i] = places[d[6 + i] & 7] + (d[6 + i] >> 3);
	r->rsp &= ~(uint64_t)(d[5] >> 5);
	cpu_mode_update(&g->cpu);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const enum rig_mode modes[4] = { RIG_long, RIG_long, RIG_prot32, RIG_real };
	static struct rig *g;

	if (n <= HEAD || n > HEAD + 2 * PAGE_SIZE)
		return 0;
	if (g == NULL) {
		start_ticking();
		g = rig_open(&interp_engine, RIG_long);
	}
	renew(g, modes[data[0] & 3]);
	choose(g, data);
	rig_code(g, (const char *)data + HEAD, n - HEAD);
	atomic_store(&running, &g->cpu);
	for (unsigned i = 0; i < RUNS; i++) {
		g->cpu.retire_limit = g->cpu.retired + INSNS;
		if (rig_run(g) == EXIT_down)
			break;
		atomic_store(&g->cpu.attention, 0);
	}
	atomic_store(&running, NULL);
	return 0;
}
