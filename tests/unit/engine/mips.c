/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/engine/mips.c - how fast the interpreter is: a register loop and a loop through memory. */
#include "engine/rig.h"
#include <time.h>

/* The promise is 150; slower only means that the machine is busy, half of it is a bug. */
enum { MIPS_LEAST = 75, ITERATIONS = 5000000 };

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double
mips(const char *what, enum rig_mode mode, const char *code, size_t n)
{
	struct rig *g = rig_open(&interp_engine, mode);
	double start = seconds(), rate;

	rig_code(g, code, n);
	g->cpu.r.rcx = ITERATIONS;
	g->cpu.r.rsi = RIG_DATA;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	rate = (double)g->cpu.retired / (seconds() - start) * 1e-6;
	printf("# %s: %.0f MIPS\n", what, rate);
	rig_close(g);
	return rate;
}

/* l: add rax,rbx; xor edx,eax; lea r8,[rax+rdx*2]; dec rcx; jnz l; hlt */
static void
register_loop_is_fast(void)
{
	CHECK(mips("register loop", RIG_long, "\x48\x01\xd8\x31\xc2\x4c\x8d\x04\x50\x48\xff\xc9\x75\xf2\xf4", 15) > MIPS_LEAST);
}

/* l: mov rax,[rsi+8]; add [rsi],rax; push rax; pop rdx; dec rcx; jnz l; hlt */
static void
memory_loop_is_fast(void)
{
	CHECK(mips("memory loop", RIG_long, "\x48\x8b\x46\x08\x48\x01\x06\x50\x5a\x48\xff\xc9\x75\xf2\xf4", 15) > MIPS_LEAST / 2);
}

/* l: mov eax,[esi+8]; add [esi],eax; push eax; pop edx; dec ecx; jnz l; hlt */
static void
legacy_loop_is_fast(void)
{
	CHECK(mips("32-bit memory loop", RIG_prot32, "\x8b\x46\x08\x01\x06\x50\x5a\x49\x75\xf6\xf4", 11) > MIPS_LEAST / 4);
}

int
main(void)
{
	RUN(register_loop_is_fast);
	RUN(memory_loop_is_fast);
	RUN(legacy_loop_is_fast);
	return check_done();
}
