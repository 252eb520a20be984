/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/fpu.c - the guest's x87, SSE and AVX state: in the host's registers, or in cpu->fpu.
 *
 * By component (LIVE_*): translated code loads one when it first needs it (gate_fpu[], below), and only
 * what is loaded is put back. An instruction that could read a register of a component stands behind
 * that check, so that what others left in the rest is never seen. C code that may use vector registers
 * or look at cpu->fpu has all put back first.
 *
 * Moves, not XSAVE: half as many cycles for the same bytes. FXSAVE takes x87 and SSE in one.
 */
#include "engine/bt/bt.h"

enum { NREGS = 16, FSW_ES = 0x80, FCW_HOST = 0x37f, XMM_TMP = 15 };
enum { MOVAPS_LOAD = 0x28, MOVAPS_STORE = 0x29, POR = 0xeb, PTEST = 0x17, VINSERTF128 = 0x18, GROUP15 = 0xae };
enum { GROUP15_fxrstor = 1, GROUP15_ldmxcsr = 2, GROUP15_xrstor = 5 };

/* What to do with register n and its 16 bytes at 16 * n. */
#define EACH_REGISTER(what) ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" what "\n.endr\n"

static void
save(struct fpu_state *f, unsigned live)
{
	if (live & LIVE_x87) {
		__asm__ volatile("fxsave64 %0" : "+m"(*f) : : "memory");
		f->fip = f->fdp = 0;	/* host addresses */
		f->fop = 0;
	} else {
		__asm__ volatile(EACH_REGISTER("movaps %%xmm\\n, \\n*16(%0)") : : "r"(f->xmm) : "memory");
		__asm__ volatile("stmxcsr %0" : "=m"(f->mxcsr));
	}
	if (live & LIVE_avx)	/* and leaves none of it in the upper halves */
		__asm__ volatile(EACH_REGISTER("vextractf128 $1, %%ymm\\n, \\n*16(%0)") "vzeroupper" : : "r"(f->ymmh) : "memory");
}

/* Upper halves stay there: saving clears them. */
void
bt_fpu_look(struct bt_state *bt)
{
	if (bt->fpu_live == 0)
		return;
	save(&bt->c->fpu, bt->fpu_live);
	bt->fpu_live &= (uint8_t)~LIVE_avx;
}

/* An x87 that C code can use: no exception, an empty stack, its own control word. FNINIT takes longer. */
static void
host_x87(const struct fpu_state *f)
{
	static const uint16_t fcw = FCW_HOST;

	if (f->fsw & FSW_ES)
		__asm__ volatile("fnclex");
	if (f->ftw != 0)
		__asm__ volatile("emms");
	if (f->fcw != FCW_HOST)
		__asm__ volatile("fldcw %0" : : "m"(fcw));
}

void
bt_fpu_unload(struct bt_state *bt)
{
	unsigned live = bt->fpu_live;

	if (live == 0)
		return;
	bt->fpu_live = 0;
	save(&bt->c->fpu, live);
	if (live & LIVE_x87)
		host_x87(&bt->c->fpu);
	__asm__ volatile("ldmxcsr %0" : : "m"(bt->host_mxcsr));
}

void
bt_fpu_load(struct bt_state *bt, unsigned live)
{
	struct fpu_state *f = &bt->c->fpu;

	__asm__ volatile("fxrstor64 %0" : : "m"(*f) : "memory");
	if (live & LIVE_avx)
		__asm__ volatile(EACH_REGISTER("vinsertf128 $1, \\n*16(%0), %%ymm\\n, %%ymm\\n") : : "r"(f->ymmh) : "memory");
	bt->fpu_live = (uint8_t)(live | LIVE_x87 | LIVE_sse);
}

/* ---- the same as gates: called from translated code, no flags kept ---- */

static struct rm
xmm_at(int n)
{
	return rm_cpu(NOREG, offsetof(struct cpu, fpu.xmm) + 16 * (unsigned)n);
}

static struct rm
ymmh_at(int n)
{
	return rm_cpu(NOREG, offsetof(struct cpu, fpu.ymmh) + 16 * (unsigned)n);
}

static void
movaps(struct emit *e, unsigned opcode, int n, struct rm rm)
{
	e_op(e, 0, false, MAP_0f, opcode, n, rm, false);
}

static void
group15(struct emit *e, bool w, int which, size_t at)
{
	e_op(e, 0, w, MAP_0f, GROUP15, which, rm_cpu(NOREG, at), false);
}

static uint8_t *
unless_live(struct bt_state *bt, struct emit *e, unsigned which, unsigned cc)
{
	e_op(e, 0, false, MAP_1, 0xf6, 0, rm_abs(bt_abs(&bt->fpu_live)), false);	/* test byte */
	e8(e, which);
	return e_jcc(e, cc, NULL);
}

static void
now_live(struct bt_state *bt, struct emit *e, unsigned which)
{
	e_op(e, 0, false, MAP_1, 0x80, ALU_or, rm_abs(bt_abs(&bt->fpu_live)), false);
	e8(e, which);
	e_alu_imm(e, true, ALU_add, rm_abs(bt_abs(&bt->stats.fpu_loads)), 1);
	e8(e, 0xc3);
}

static void
emit_sse(struct bt_state *bt, struct emit *e)
{
	for (int n = 0; n < NREGS; n++)
		movaps(e, MOVAPS_LOAD, n, xmm_at(n));
	group15(e, false, GROUP15_ldmxcsr, offsetof(struct cpu, fpu.mxcsr));
	now_live(bt, e, LIVE_sse);
}

/* FXRSTOR brings XMM registers, too. When they are loaded already XRSTOR brings x87 alone. */
static void
emit_x87(struct bt_state *bt, struct emit *e)
{
	uint8_t *loaded = unless_live(bt, e, LIVE_sse, CC_ne);

	group15(e, true, GROUP15_fxrstor, offsetof(struct cpu, fpu));
	now_live(bt, e, LIVE_x87 | LIVE_sse);
	e_patch(loaded, e->p);
	e_store(e, rm_cpu(NOREG, RAX * 8), RAX);
	e_store(e, rm_cpu(NOREG, RDX * 8), RDX);
	e_mov_imm(e, RAX, LIVE_x87);
	e_mov_imm(e, RDX, 0);
	group15(e, true, GROUP15_xrstor, offsetof(struct cpu, fpu));
	e_load(e, RAX, rm_cpu(NOREG, RAX * 8));
	e_load(e, RDX, rm_cpu(NOREG, RDX * 8));
	now_live(bt, e, LIVE_x87);
}

/* Upper halves that are all zero are cleared, and the unit knows it: SSE code beside them is faster. */
static void
emit_avx(struct bt_state *bt, struct emit *e, const uint8_t *load_sse)
{
	uint8_t *loaded = unless_live(bt, e, LIVE_sse, CC_ne), *zero;

	e_call(e, load_sse);
	e_patch(loaded, e->p);
	movaps(e, MOVAPS_STORE, XMM_TMP, xmm_at(XMM_TMP));
	movaps(e, MOVAPS_LOAD, XMM_TMP, ymmh_at(0));
	for (int n = 1; n < NREGS; n++)
		e_op(e, 0x66, false, MAP_0f, POR, XMM_TMP, ymmh_at(n), false);
	e_op(e, 0x66, false, MAP_0f38, PTEST, XMM_TMP, rm_reg(XMM_TMP), false);
	movaps(e, MOVAPS_LOAD, XMM_TMP, xmm_at(XMM_TMP));
	e8(e, 0xc5), e8(e, 0xf8), e8(e, 0x77);		/* vzeroupper: whoever was here before */
	zero = e_jcc(e, CC_e, NULL);
	for (int n = 0; n < NREGS; n++) {
		e_vex(e, 1, false, true, MAP_0f3a, VINSERTF128, n, n, ymmh_at(n));
		e8(e, 1);
	}
	e_patch(zero, e->p);
	now_live(bt, e, LIVE_avx);
}

void
bt_fpu_gates(struct bt_state *bt, struct emit *e)
{
	const uint8_t *sse = e->p;

	bt->gate_fpu[FPU_sse] = sse + e->to_rx;
	emit_sse(bt, e);
	bt->gate_fpu[FPU_x87] = e->p + e->to_rx;
	emit_x87(bt, e);
	bt->gate_fpu[FPU_avx] = e->p + e->to_rx;
	emit_avx(bt, e, sse);
}
