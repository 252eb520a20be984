/* SPDX-License-Identifier: Apache-2.0 */
/* engine/fpu.c - what conformance cannot ask the host: control bits, pending exceptions, saved pointers, formats. */
#include "conformance/guest.h"

static struct test_case t;
static struct state out;

/* The instruction runs with rax = rdi = DATA_MID, rdx:rax free to the caller; out is what came of it. */
static void
prepare(const char *bytes, unsigned n)
{
	memset(&t, 0, sizeof(t));
	memcpy(t.bytes, bytes, n);
	t.mode = ISA_64;
	t.s.rip = PLACE_CODE;
	t.s.rflags = 0x202;
	t.s.gpr[4] = DATA_MID + 1024;
	t.s.gpr[7] = DATA_MID;
	t.s.fpu.fcw = 0x37f;
	t.s.fpu.mxcsr = 0x1f80;
}

static void
run(void)
{
	tlb_flush_all(gst.c, true);
	cpu_mode_update(gst.c);
	guest_run(&t, &out);
}

static int
run_bytes(const char *bytes, unsigned n)
{
	prepare(bytes, n);
	run();
	return out.vec;
}
#define RUN_BYTES(bytes) run_bytes(bytes, sizeof(bytes) - 1)

/* One of each kind: x87, MMX, SSE, AVX, FXSAVE, XSAVE, WAIT. */
#define X87 "\xd9\xe8"			/* fld1 */
#define MMX "\x0f\xfc\xc1"		/* paddb mm0, mm1 */
#define SSE "\x0f\x58\xc1"		/* addps xmm0, xmm1 */
#define AVX "\xc5\xf8\x58\xc1"		/* vaddps xmm0, xmm0, xmm1 */
#define FXSAVE "\x0f\xae\x07"		/* fxsave [rdi] */
#define XSAVE "\x0f\xae\x27"		/* xsave [rdi] */
#define WAIT "\x9b"
#define LDMXCSR "\x0f\xae\x17"

static void
with(uint64_t cr0_set, uint64_t cr4_clear, uint64_t xcr0, const int want[8])
{
	union regfile before = gst.c->r;

	gst.c->r.cr0 |= cr0_set;
	gst.c->r.cr4 &= ~cr4_clear;
	gst.c->r.xcr0 = xcr0;
#define EXPECT(bytes, n) do { int got = RUN_BYTES(bytes); CHECK_EQ(got, want[n]); } while (0)
	EXPECT(X87, 0);
	EXPECT(MMX, 1);
	EXPECT(SSE, 2);
	EXPECT(AVX, 3);
	EXPECT(FXSAVE, 4);
	EXPECT(XSAVE, 5);
	EXPECT(WAIT, 6);
	EXPECT(LDMXCSR, 7);
	gst.c->r.cr0 = before.cr0;
	gst.c->r.cr4 = before.cr4;
	gst.c->r.xcr0 = before.xcr0;
	memset(guest_data(), 0, DATA_SIZE);
}

static void
control_bits_decide_who_may_run(void)
{
	const int ud = VEC_ud, nm = VEC_nm, ok = DONE;

	memset(guest_data(), 0, DATA_SIZE);
	with(0, 0, 7, (const int[]){ ok, ok, ok, ok, ok, ok, ok, ok });
	with(cr0_ts_MASK, 0, 7, (const int[]){ nm, nm, nm, nm, nm, nm, nm, nm });	/* MP is set, too */
	with(cr0_em_MASK, 0, 7, (const int[]){ nm, ud, ud, ok, nm, ok, ok, ud });
	with(0, cr4_osfxsr_MASK, 7, (const int[]){ ok, ok, ud, ok, ok, ok, ok, ud });
	with(0, cr4_osxsave_MASK, 7, (const int[]){ ok, ok, ok, ud, ok, ud, ok, ok });
	with(0, 0, 3, (const int[]){ ok, ok, ok, ud, ok, ok, ok, ok });
}

static void
wait_asks_mp_and_ts(void)
{
	gst.c->r.cr0 = (gst.c->r.cr0 & ~cr0_mp_MASK) | cr0_ts_MASK;
	CHECK_EQ(RUN_BYTES(WAIT), DONE);
	gst.c->r.cr0 = (gst.c->r.cr0 | cr0_mp_MASK) & ~cr0_ts_MASK;
	CHECK_EQ(RUN_BYTES(WAIT), DONE);
}

static void
pending_x87_exception_meets_waiting_instructions(void)
{
	static const struct { const char *bytes; unsigned n; int want; } cases[] = {
		{ X87, 2, VEC_mf }, { MMX, 3, VEC_mf }, { WAIT, 1, VEC_mf }, { SSE, 3, DONE },
		{ "\xdb\xe2", 2, DONE }, { "\xdb\xe3", 2, DONE }, { "\xdf\xe0", 2, DONE }, { "\xd9\x3f", 2, DONE },
		{ "\xd9\x37", 2, DONE }, { "\xdd\x37", 2, DONE }, { "\xd9\x2f", 2, VEC_mf }, { FXSAVE, 3, DONE },
	};
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		prepare(cases[i].bytes, cases[i].n);
		t.s.fpu.fcw = 0x37e;
		t.s.fpu.fsw = 0x8081;
		run();
		CHECK_EQ(out.vec, cases[i].want);
	}
}

/* 1/0 with ZM clear: pending afterwards, and the stack unchanged. */
static void
unmasked_x87_exception_becomes_pending(void)
{
	prepare("\xd8\xf1", 2);		/* fdiv st0, st1 */
	t.s.fpu.fcw = 0x37b;
	t.s.fpu.ftw = 3;
	memcpy(t.s.fpu.st[0], "\0\0\0\0\0\0\0\x80\xff\x3f", 10);
	run();
	CHECK_EQ(out.vec, DONE);
	CHECK_EQ(out.fpu.fsw & 0x8084, 0x8084);
	CHECK(memcmp(out.fpu.st[0], t.s.fpu.st[0], 10) == 0);
}

static void
simd_exception_leaves_the_destination(void)
{
	prepare("\x0f\x5e\xc1", 3);	/* divps xmm0, xmm1: 1/0 */
	memcpy(t.s.fpu.xmm[0], "\0\0\x80\x3f", 4);
	t.s.fpu.mxcsr = 0x1f80 & ~0x200u;
	run();
	CHECK_EQ(out.vec, VEC_xm);
	CHECK_EQ(out.fpu.mxcsr & 0x3f, 0x5);	/* 0/0 in the others: IE with ZE */
	CHECK(memcmp(&out.fpu.xmm, &t.s.fpu.xmm, 256) == 0);
	gst.c->r.cr4 &= ~cr4_osxmmexcpt_MASK;
	run();
	CHECK_EQ(out.vec, VEC_ud);
	gst.c->r.cr4 |= cr4_osxmmexcpt_MASK;
}

/* What the images say of the last x87 instruction is the guest's, never the host's. */
static void
saved_pointers_are_the_guests(void)
{
	uint64_t fip, fdp, words[64];
	struct fpu_state f;
	uint32_t env[7];
	unsigned i;

	prepare("\xd9\x07", 2);		/* fld dword [rdi] */
	run();
	CHECK_EQ(out.fpu.fip, PLACE_CODE);
	CHECK_EQ(out.fpu.fdp, DATA_MID);
	CHECK_EQ(out.fpu.fop, 0x107);
	f = out.fpu;
	prepare("\x48\x0f\xae\x07", 4);	/* fxsave64 [rdi] */
	t.s.fpu = f;
	run();
	memcpy(&fip, guest_data() + DATA_SIZE / 2 + 8, 8);
	memcpy(&fdp, guest_data() + DATA_SIZE / 2 + 16, 8);
	CHECK_EQ(fip, PLACE_CODE);
	CHECK_EQ(fdp, DATA_MID);
	memcpy(words, guest_data() + DATA_SIZE / 2, sizeof(words));
	for (i = 0; i < 64; i++)
		CHECK((words[i] >> 40) != 0x7f && (words[i] >> 40) != 0x55 && (words[i] >> 40) != 0x56);
	prepare("\xd9\x37", 2);		/* fnstenv [rdi] */
	t.s.fpu = f;
	run();
	memcpy(env, guest_data() + DATA_SIZE / 2, sizeof(env));
	CHECK_EQ(env[3], PLACE_CODE);
	CHECK_EQ(env[4], 0x107 << 16);
	CHECK_EQ(env[5], DATA_MID);
	CHECK_EQ(out.fpu.fcw & 0x3f, 0x3f);
}

static void
fninit_and_fnsave_reset(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		prepare(i == 0 ? "\xdb\xe3" : "\xdd\x37", 2);
		t.s.fpu.fcw = 0x27f;
		t.s.fpu.fsw = 0x3842;
		t.s.fpu.ftw = 0x81;
		t.s.fpu.fip = 5;
		memset(t.s.fpu.st[0], 0xaa, 10);
		run();
		CHECK_EQ(out.fpu.fcw, 0x37f);
		CHECK_EQ(out.fpu.fsw, 0);
		CHECK_EQ(out.fpu.ftw, 0);
		CHECK_EQ(out.fpu.fip, 0);
		CHECK_EQ(out.fpu.st[7][0], 0xaa);	/* TOP was 7: the register has not moved */
	}
}

static void
xrstor_refuses_bad_headers(void)
{
	uint8_t *area = guest_data() + DATA_SIZE / 2;
	unsigned i;
	static const struct { unsigned at; uint8_t val; int want; } cases[] = {
		{ 512, 7, DONE }, { 512, 8, VEC_gp }, { 520, 1, VEC_gp }, { 528, 1, VEC_gp }, { 536, 1, DONE },
		{ 27, 1, VEC_gp }, { 527, 0x80, DONE },
	};

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(area, 0, 832);
		area[cases[i].at] = cases[i].val;
		prepare("\x0f\xae\x2f", 3);		/* xrstor [rdi] */
		t.s.gpr[0] = 7;
		run();
		CHECK_EQ(out.vec, cases[i].want);
	}
	memset(area, 0, 832);
	prepare("\x0f\xae\x2f", 3);
	t.s.gpr[0] = 7;
	t.s.gpr[7] += 32;
	run();
	CHECK_EQ(out.vec, VEC_gp);
}

static void
xrstor_makes_initial_what_the_image_lacks(void)
{
	memset(guest_data(), 0, DATA_SIZE);
	prepare("\x0f\xae\x2f", 3);
	t.s.gpr[0] = 6;				/* SSE and AVX asked, nothing in the image */
	memset(t.s.fpu.xmm, 0x11, 256);
	memset(t.s.fpu.ymmh, 0x22, 256);
	memset(t.s.fpu.st, 0x33, 128);
	run();
	CHECK_EQ(out.vec, DONE);
	CHECK_EQ(out.fpu.xmm[15][15], 0);
	CHECK_EQ(out.fpu.ymmh[15][15], 0);
	CHECK_EQ(out.fpu.st[7][0], 0x33);
	CHECK_EQ(out.fpu.mxcsr, 0);		/* always from memory in the standard form */
}

static void
compatibility_mode_has_eight_registers(void)
{
	memset(guest_data(), 0xcc, DATA_SIZE);
	prepare(FXSAVE, 3);
	t.mode = ISA_32;
	run();
	CHECK_EQ(out.vec, DONE);
	CHECK_EQ(guest_data()[DATA_SIZE / 2 + 160 + 127], 0);
	CHECK_EQ(guest_data()[DATA_SIZE / 2 + 160 + 128], 0xcc);
	prepare("\xc5\xfc\x77", 3);		/* vzeroall */
	t.mode = ISA_32;
	memset(t.s.fpu.xmm, 0x11, 256);
	run();
	CHECK_EQ(out.fpu.xmm[7][0], 0);
	CHECK_EQ(out.fpu.xmm[8][0], 0x11);
}

/* More shapes than the table holds: what comes after them runs all the same. */
static void
a_full_table_is_no_end(void)
{
	static const char op[][5] = { "\x66\x0f\x70\xc1", "\xf2\x0f\x70\xc1", "\xf3\x0f\x70\xc1", "\x0f\xc6\xc1",
		"\x0f\xc2\xc1", "\x66\x0f\xc6\xc1" };
	static const char op3[] = { 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x40, 0x41, 0x42, 0x44 };
	uint8_t *m = guest_data() + DATA_SIZE / 2;
	unsigned i, k, n;

	memset(m, 0x40, 64);
	for (i = 0; i < 256; i++) {
		for (k = 0; k < sizeof(op) / sizeof(op[0]); k++) {
			n = (unsigned)strlen(op[k]);
			prepare(op[k], n);
			t.bytes[n] = (uint8_t)i;
			run();
			CHECK_EQ(out.vec, DONE);
		}
		for (k = 0; k < 2 * sizeof(op3); k++) {
			prepare("\x66\x0f\x3a", 3);
			t.bytes[3] = (uint8_t)op3[k / 2];
			t.bytes[4] = k & 1 ? 0xc1 : 0x07;
			t.bytes[5] = (uint8_t)i;
			run();
			CHECK_EQ(out.vec, DONE);
		}
	}
	prepare("\x66\x0f\x70\xc1\x1b", 5);	/* pshufd xmm0, xmm1, 0x1b: reverses */
	memcpy(t.s.fpu.xmm[1], "aaaabbbbccccdddd", 16);
	run();
	CHECK(memcmp(out.fpu.xmm[0], "ddddccccbbbbaaaa", 16) == 0);
	prepare("\x66\x0f\xfe\xc1", 4);		/* paddd: certainly new */
	t.s.fpu.xmm[0][0] = 1;
	t.s.fpu.xmm[1][0] = 2;
	run();
	CHECK_EQ(out.fpu.xmm[0][0], 3);
}

int
main(void)
{
	if (!guest_open("interp"))
		return printf("not ok guest: cannot be made\n"), 1;
	RUN(control_bits_decide_who_may_run);
	RUN(wait_asks_mp_and_ts);
	RUN(pending_x87_exception_meets_waiting_instructions);
	RUN(unmasked_x87_exception_becomes_pending);
	RUN(simd_exception_leaves_the_destination);
	RUN(saved_pointers_are_the_guests);
	RUN(fninit_and_fnsave_reset);
	RUN(xrstor_refuses_bad_headers);
	RUN(xrstor_makes_initial_what_the_image_lacks);
	RUN(compatibility_mode_has_eight_registers);
	RUN(a_full_table_is_no_end);
	return check_done();
}
