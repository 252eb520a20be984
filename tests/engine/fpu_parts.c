/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/fpu_parts.c - the translator moves x87, SSE and AVX state each for itself; the interpreter never does.
 *
 * Random mixtures of instructions of each kind, with places between them where all state is put back,
 * must leave the same on both, whatever somebody else left in the host's registers before.
 */
#include "engine/rig.h"

enum { PROGRAMS = 600, STEPS = 40 };
#define STEP(bytes) { bytes, sizeof(bytes) - 1 }

static const struct { const char *bytes; size_t size; } steps[] = {
	STEP("\xec"),				/* in al, dx: all is put back, and the device litters */
	STEP("\xe6\x70"),			/* out 0x70, al */
	STEP("\xeb\x00"),			/* jmp: another block */
	STEP("\x74\x00"),			/* jz: flags are alive */
	STEP("\x0f\x58\xc1"),			/* addps xmm0, xmm1 */
	STEP("\x66\x44\x0f\xfe\xf2"),		/* paddd xmm14, xmm2 */
	STEP("\x66\x0f\xef\xdb"),		/* pxor xmm3, xmm3 */
	STEP("\xc5\xfc\x58\xc1"),		/* vaddps ymm0, ymm0, ymm1 */
	STEP("\xc4\x41\x05\xfe\xfe"),		/* vpaddd ymm15, ymm15, ymm14 */
	STEP("\xc5\xf0\x57\xd2"),		/* vxorps xmm2, xmm1, xmm2: clears the upper half */
	STEP("\xc5\xf8\x77"),			/* vzeroupper */
	STEP("\xc5\xfc\x77"),			/* vzeroall */
	STEP("\xc4\xe3\x7d\x19\xc3\x01"),	/* vextractf128 xmm3, ymm0, 1 */
	STEP("\xc4\xe3\x5d\x18\xe0\x01"),	/* vinsertf128 ymm4, ymm4, xmm0, 1 */
	STEP("\xd8\xc1"),			/* fadd st0, st1 */
	STEP("\xd9\xe8"),			/* fld1 */
	STEP("\xdd\xd8"),			/* fstp st0 */
	STEP("\xd9\xf7"),			/* fincstp */
	STEP("\x0f\xfc\xca"),			/* paddb mm1, mm2 */
	STEP("\x0f\x77"),			/* emms */
	STEP("\xf3\x0f\xd6\xe9"),		/* movq2dq xmm5, mm1 */
	STEP("\xf2\x0f\xd6\xf5"),		/* movdq2q mm6, xmm5 */
	STEP("\x0f\x2a\xfb"),			/* cvtpi2ps xmm7, mm3 */
	STEP("\x0f\x2a\x3e"),			/* cvtpi2ps xmm7, [rsi] */
	STEP("\x0f\x2d\xe6"),			/* cvtps2pi mm4, xmm6 */
	STEP("\x0f\x38\x00\xfb"),		/* pshufb mm7, mm3 */
	STEP("\x0f\xae\x16"),			/* ldmxcsr [rsi] */
	STEP("\x48\xff\xc3"),			/* inc rbx */
};
enum { NSTEPS = sizeof(steps) / sizeof(*steps) };

static uint64_t
next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

static size_t
program(uint64_t *x, char *to)
{
	size_t n = 0;

	for (unsigned i = 0; i < STEPS; i++) {
		unsigned k = (unsigned)(next(x) % NSTEPS);

		memcpy(to + n, steps[k].bytes, steps[k].size);
		n += steps[k].size;
	}
	to[n++] = (char)0xf4;	/* hlt */
	return n;
}

/* Each component is all zero now and then: what needs no load must still be clear. */
static void
state(uint64_t *x, struct fpu_state *f)
{
	unsigned zero = (unsigned)next(x) & 7;

	memset(f, 0, sizeof(*f));
	f->fcw = 0x37f;
	f->mxcsr = 0x1f80;
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 16; k++) {
			uint8_t byte = (uint8_t)next(x);

			if (i < 8 && k < 10 && !(zero & 1))
				f->st[i][k] = byte;
			if (!(zero & 2))
				f->xmm[i][k] = byte;
			if (!(zero & 4))
				f->ymmh[i][k] = byte;
		}
	if (!(zero & 1))
		f->ftw = (uint8_t)next(x);
}

/* What a former guest may have left in the host's registers. */
static void
litter(void)
{
	static const uint64_t junk[4] = { 0x5ec2e7c0ffee0001, 0x5ec2e7c0ffee0002, 0x5ec2e7c0ffee0003, 0x5ec2e7c0ffee0004 };

	__asm__ volatile("fninit\n.rept 8\nfldl %0\n.endr\nemms" : : "m"(junk[0]));
	__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nvmovups %0, %%ymm\\n\n.endr" : : "m"(junk));
}

static enum io_result
litter_io(struct cpu *c, struct io *io)
{
	litter();
	return rig_io(c, io);
}

static const struct cpu_ops litter_ops = { .io = litter_io, .tsc = rig_tsc };

static void
start(struct rig *g, const char *code, size_t n, const struct fpu_state *f)
{
	rig_mode_set(g, RIG_long);
	rig_code(g, code, n);
	g->cpu.r.cr4 |= cr4_osxsave_MASK;
	g->cpu.r.xcr0 = 7;
	g->cpu.r.rbx = g->cpu.r.rax = g->cpu.r.rdx = 0;
	g->cpu.r.rsi = RIG_DATA;
	rig_put(g, RIG_DATA, 0x3f80000000009fc0, 8);	/* MXCSR for LDMXCSR, a float */
	g->cpu.fpu = *f;
	g->cpu.ops = &litter_ops;
	cpu_mode_update(&g->cpu);
}

static int
run(struct rig *g)
{
	struct vexit x = { .kind = EXIT__COUNT };

	litter();
	return g->engine->run(&g->cpu, &x) == 0 ? x.kind : -1;
}

static bool
same(const struct fpu_state *a, const struct fpu_state *b)
{
	return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->mxcsr == b->mxcsr &&
		memcmp(a->st, b->st, sizeof(a->st)) == 0 && memcmp(a->xmm, b->xmm, sizeof(a->xmm)) == 0 &&
		memcmp(a->ymmh, b->ymmh, sizeof(a->ymmh)) == 0;
}

static void
parts_come_and_go(void)
{
	struct rig *bt = rig_open(&bt_engine, RIG_long), *interp = rig_open(&interp_engine, RIG_long);
	unsigned differ = 0, first = 0;

	for (unsigned i = 0; i < PROGRAMS; i++) {
		uint64_t x = (i + 1) * 0x9e3779b97f4a7c15;
		char code[STEPS * 6 + 1];
		size_t n = program(&x, code);
		struct fpu_state f;

		state(&x, &f);
		start(bt, code, n, &f);
		start(interp, code, n, &f);
		CHECK_EQ(run(bt), EXIT_hlt);
		CHECK_EQ(run(interp), EXIT_hlt);
		if (bt->cpu.r.rbx != interp->cpu.r.rbx || !same(&bt->cpu.fpu, &interp->cpu.fpu)) {
			first = differ++ == 0 ? i : first;
		}
	}
	if (differ != 0)
		printf("# %u programs differ, the first is %u\n", differ, first);
	CHECK_EQ(differ, 0);
	rig_close(bt);
	rig_close(interp);
}

/* C code behind a guest with a full stack, exceptions pending and a control word of its own gets a usable x87. */
static void
the_host_gets_its_x87(void)
{
	static const char code[] = "\xd9\x2e\xd9\xe8\xf4";	/* fldcw [rsi]; fld1; hlt */
	struct rig *g = rig_open(&bt_engine, RIG_long);
	struct fpu_state f;
	uint64_t x = 1;
	volatile long double third = 1.0L;

	do
		state(&x, &f);
	while (f.ftw != 0xff);
	start(g, code, sizeof(code) - 1, &f);
	rig_put(g, RIG_DATA, 0x0000, 2);	/* all exceptions, single precision */
	(void)run(g);
	third = third / 3;
	CHECK(third > 0.3333333333333333L && third < 0.33333333333333334L);
	rig_close(g);
}

int
main(void)
{
	RUN(parts_come_and_go);
	RUN(the_host_gets_its_x87);
	return check_done();
}
