/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/xsave.c - the XSAVE family in the translator (light.c, with state in the host's registers) and in the
 * interpreter: the same image, state and fault, whatever is asked for, in use, and wrong with the operand.
 */
#include "cpu/xsave.h"
#include "engine/bt/bt.h"
#include "engine/rig.h"

enum { CASES = 6000, IMAGE = RIG_DATA + 0x1000, END = RIG_MEMORY, POINTERS_AT = 6, POINTERS_END = 24, AREA = 2 * PAGE_SIZE };

struct piece { const char *bytes; unsigned len; };
#define PIECE(s) { s, sizeof(s) - 1 }
static const struct piece uses[] = {
	PIECE("\xc5\xfe\x6f\x06"),		/* vmovdqu ymm0,[rsi] */
	PIECE("\x44\x0f\x10\x4e\x20"),		/* movups xmm9,[rsi+32] */
	PIECE("\xd9\xe8"),			/* fld1 */
	PIECE("\x0f\xae\x56\x40"),		/* ldmxcsr [rsi+64] */
	PIECE("\xc5\xfc\x77"),			/* vzeroall */
};
static const struct piece forms[] = {
	PIECE("\x0f\xae\x27"), PIECE("\x48\x0f\xae\x27"), PIECE("\x0f\xae\x37"), PIECE("\x0f\xc7\x27"), PIECE("\x0f\xc7\x2f"),
	PIECE("\x48\x0f\xc7\x27"), PIECE("\x0f\xae\x2f"), PIECE("\x48\x0f\xae\x2f"), PIECE("\x0f\xc7\x1f"), PIECE("\x0f\xae\x2f"),
};
static const struct piece after = PIECE("\x0f\x58\xc0\xf4");	/* addps xmm0,xmm0; hlt */

static uint64_t seed = 1;
static unsigned
any(unsigned n)
{
	seed = seed * 6364136223846793005 + 1442695040888963407;
	return (unsigned)(seed >> 33) % n;
}

struct test { uint8_t code[64]; unsigned len; uint64_t at, rax, cr0, cr4, xcr0; uint8_t image[XSAVE_SIZE]; bool user; };

static void
add(struct test *t, struct piece p)
{
	memcpy(t->code + t->len, p.bytes, p.len);
	t->len += p.len;
}

/* Mostly one that XRSTOR takes. */
static void
image_make(uint8_t *image)
{
	struct fpu_state f = { .fcw = 0x37f, .mxcsr = any(16) == 0 ? 0x11f80 : 0x1f80 | any(64) };
	bool compact = any(2);
	unsigned i;

	for (i = 0; i < 16; i++) {
		f.xmm[i][any(16)] = (uint8_t)any(256);
		f.ymmh[i][any(16)] = (uint8_t)any(256);
	}
	f.ftw = (uint8_t)any(256);
	f.xstate_bv = any(8);
	f.xcomp_bv = compact ? 1ull << 63 | f.xstate_bv | any(8) : 0;
	if (any(16) == 0)
		f.xstate_bv |= 8;
	if (any(16) == 0)
		f.xcomp_bv ^= 1ull << any(8);
	if (any(16) == 0)
		f.header[any(48)] = 1;
	memcpy(image, &f, XSAVE_SIZE);
}

static void
make(struct test *t)
{
	unsigned i;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < sizeof(uses) / sizeof(*uses); i++)
		if (any(3) == 0)
			add(t, uses[i]);
	add(t, forms[any(sizeof(forms) / sizeof(*forms))]);
	if (any(3) == 0)	/* another, often of the same place */
		add(t, forms[any(sizeof(forms) / sizeof(*forms))]);
	add(t, after);
	t->rax = any(4) == 0 ? 7 : any(4) == 0 ? UINT64_MAX : any(8);
	t->at = any(4) == 0 ? IMAGE + PAGE_SIZE - 64 * any(13) : any(8) == 0 ? END - 64 * any(14) : IMAGE + 64 * any(4);
	t->at += any(32) == 0 ? 8 : 0;
	t->cr0 = any(64) == 0 ? cr0_ts_MASK : 0;
	t->cr4 = any(64) == 0 ? 0 : cr4_osxsave_MASK;
	t->xcr0 = any(8) == 0 ? 3 : 7;
	t->user = any(4) == 0;
	image_make(t->image);
}

static void
run_test(struct rig *g, const struct test *t)
{
	static const uint32_t mxcsr = 0x1fa0;
	union regfile *r = &g->cpu.r;
	uint8_t fill[AREA];
	unsigned i;

	reg_reset(r, &g->cpu.fpu);
	rig_mode_set(g, RIG_long);
	if (t->user) {
		rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
		rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	}
	r->cr0 |= t->cr0;
	r->cr4 |= t->cr4;
	r->xcr0 = t->xcr0;
	cpu_mode_update(&g->cpu);
	g->cpu.fpu.fcw = 0x37f;
	g->cpu.fpu.ftw = 0;
	g->cpu.fpu.mxcsr = 0x1f80;
	for (i = 0; i < AREA; i++)
		fill[i] = (uint8_t)(i * 7 + 1);
	mem_write(g->mem, RIG_DATA, fill, 64);
	mem_write(g->mem, RIG_DATA + 64, &mxcsr, sizeof(mxcsr));
	mem_write(g->mem, IMAGE, fill, AREA);
	mem_write(g->mem, END - PAGE_SIZE, fill, PAGE_SIZE);
	mem_write(g->mem, t->at, t->image, t->at + XSAVE_SIZE > END ? END - t->at : XSAVE_SIZE);
	mem_write(g->mem, RIG_CODE, t->code, t->len);
	mem_dirty(g->mem, RIG_CODE, PAGE_SIZE);
	r->rsi = RIG_DATA;
	r->rdi = t->at;
	r->rax = t->rax;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	r->activity = ACTIVITY_run;
}

/* Where x87 instructions and operands were: 0 in the translator, whatever the interpreter has. */
static void
pointers_forget(struct fpu_state *f)
{
	memset((uint8_t *)f + POINTERS_AT, 0, POINTERS_END - POINTERS_AT);
}

static void
pointers_forget_in(struct rig *g, uint64_t at)
{
	uint8_t none[POINTERS_END - POINTERS_AT] = { 0 };

	if (at + POINTERS_END <= END)
		mem_write(g->mem, at + POINTERS_AT, none, sizeof(none));
}

static bool
same(struct rig *a, struct rig *b, uint64_t at, unsigned size)
{
	uint8_t x[AREA], y[AREA];

	return mem_read(a->mem, at, x, size) && mem_read(b->mem, at, y, size) && memcmp(x, y, size) == 0;
}

static void
images_and_faults_agree(void)
{
	struct rig *bt = rig_open(&bt_engine, RIG_long), *ref = rig_open(&interp_engine, RIG_long);
	unsigned n, k, faults = 0;
	struct test t;

	for (n = 0; n < CASES && !check_bad; n++) {
		make(&t);
		run_test(bt, &t);
		run_test(ref, &t);
		faults += rig_vector(ref) >= 0;
		for (k = 0; k < REG__COUNT; k++)
			CHECK_EQ(bt->cpu.r.v[k], ref->cpu.r.v[k]);
		pointers_forget(&bt->cpu.fpu);
		pointers_forget(&ref->cpu.fpu);
		pointers_forget_in(bt, t.at);
		pointers_forget_in(ref, t.at);
		CHECK_EQ(bt->cpu.fpu.mxcsr, ref->cpu.fpu.mxcsr);
		CHECK(memcmp(&bt->cpu.fpu, &ref->cpu.fpu, POINTERS_END) == 0);
		CHECK(memcmp(bt->cpu.fpu.st, ref->cpu.fpu.st, sizeof(bt->cpu.fpu.st)) == 0);
		CHECK(memcmp(bt->cpu.fpu.xmm, ref->cpu.fpu.xmm, sizeof(bt->cpu.fpu.xmm)) == 0);
		CHECK(memcmp(bt->cpu.fpu.ymmh, ref->cpu.fpu.ymmh, sizeof(bt->cpu.fpu.ymmh)) == 0);
		CHECK(same(bt, ref, IMAGE, AREA) && same(bt, ref, END - PAGE_SIZE, PAGE_SIZE));
		if (check_bad)
			printf("# case %u\n", n);
	}
	printf("# %u of %u faulted; %lu done by light helpers\n", faults, CASES, (unsigned long)bt->cpu.bt->stats.lights[INSN_xsave]);
	CHECK(faults > CASES / 10 && faults < CASES / 2);
	CHECK(bt->cpu.bt->stats.lights[INSN_xsave] > 0 && bt->cpu.bt->stats.lights[INSN_xsavec] > 0 &&
		bt->cpu.bt->stats.lights[INSN_xrstor] > 0 && bt->cpu.bt->stats.interp[INSN_xrstor] == 0);
	rig_close(bt);
	rig_close(ref);
}

int
main(void)
{
	RUN(images_and_faults_agree);
	return check_done();
}
