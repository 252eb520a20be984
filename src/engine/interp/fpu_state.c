/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_state.c - FXSAVE, XSAVE and relatives, MXCSR, VZEROALL: state as a whole.
 *
 * SDM vol. 1, chapter 13. What is in use is worked out when asked: a component is in its initial
 * state when its registers hold the initial values.
 */
#include "engine/interp/fpu.h"
#include "cpu/access.h"
#include <string.h>

enum { XF_x87 = 1, XF_sse = 2, XF_avx = 4 };
enum { LEGACY_XMM = offsetof(struct fpu_state, xmm), LEGACY_END = LEGACY_XMM + 256,
	MXCSR_AT = offsetof(struct fpu_state, mxcsr) };
#define XCOMP_COMPACT (1ull << 63)

/* XMM8-15 exist for these instructions in 64-bit mode only. */
static unsigned
nregs(const struct cpu *c)
{
	return c->mode == MODE_long64 ? 16 : 8;
}

/* The x87 part of an image (bytes 0-23 and 32-159); rexw: 64-bit pointers. */
static void
x87_image(const struct cpu *c, bool rexw, uint8_t *out)
{
	const struct fpu_state *f = &c->fpu;
	uint64_t fip = f->fip, fdp = f->fdp;

	if (!rexw && c->mode == MODE_long64) {
		fip = (uint32_t)fip;
		fdp = (uint32_t)fdp;
	}
	memcpy(out, f, 8);
	out[5] = 0;
	memcpy(out + 8, &fip, 8);
	memcpy(out + 16, &fdp, 8);
	memcpy(out + 32, f->st, sizeof(f->st));
}

static void
x87_load(struct cpu *c, bool rexw, const uint8_t *from)
{
	struct fpu_state *f = &c->fpu;
	unsigned i;

	memcpy(f, from, 24);
	f->reserved0 = 0;
	f->fop &= 0x7ff;
	if (!rexw) {
		f->fip &= 0xffffffffffff;
		f->fdp &= 0xffffffffffff;
	}
	memcpy(f->st, from + 32, sizeof(f->st));
	for (i = 0; i < 8; i++)
		memset(f->st[i] + 10, 0, 6);
	fpu_settle(f);
}

static void
x87_reset(struct fpu_state *f)
{
	memset(f, 0, offsetof(struct fpu_state, mxcsr));
	f->fcw = 0x37f;
	memset(f->st, 0, sizeof(f->st));
}

static int
fx_check(struct cpu *c, const struct insn *in, unsigned acc, uint64_t *lin)
{
	if (c->r.cr0 & (cr0_em_MASK | cr0_ts_MASK))
		return cpu_raise(c, VEC_nm);
	if (insn_lin(c, in, 512, acc, lin) != OK)
		return FAULT;
	return *lin & 15 ? cpu_raise_error(c, VEC_gp, 0) : OK;
}

int
fpu_fxsave(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	uint8_t image[LEGACY_END];
	const uint32_t mask = MXCSR_writable;
	uint64_t lin;

	(void)op;
	if (fx_check(c, in, ACC_write, &lin) != OK || lin_probe(c, lin, 512, ACC_write) != OK)
		return FAULT;
	x87_image(c, in->rex & 8, image);
	memcpy(image + MXCSR_AT, &c->fpu.mxcsr, 4);
	memcpy(image + MXCSR_AT + 4, &mask, 4);
	memcpy(image + LEGACY_XMM, c->fpu.xmm, sizeof(c->fpu.xmm));
	return fpu_write(c, lin, image, LEGACY_XMM + 16 * nregs(c));
}

int
fpu_fxrstor(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	uint8_t image[512];
	uint32_t mxcsr;
	uint64_t lin;

	(void)op;
	if (fx_check(c, in, ACC_read, &lin) != OK || fpu_read(c, lin, image, sizeof(image)) != OK)
		return FAULT;
	memcpy(&mxcsr, image + MXCSR_AT, 4);
	if (mxcsr & ~(uint32_t)MXCSR_writable)
		return cpu_raise_error(c, VEC_gp, 0);
	x87_load(c, in->rex & 8, image);
	c->fpu.mxcsr = mxcsr;
	memcpy(c->fpu.xmm, image + LEGACY_XMM, 16 * nregs(c));
	return OK;
}

/* ---- XSAVE family ---- */

static bool
all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	return n == 0 || (b[0] == 0 && memcmp(b, b + 1, n - 1) == 0);
}

static unsigned
in_use(const struct cpu *c)
{
	const struct fpu_state *f = &c->fpu;
	unsigned use = 0, n = 16 * nregs(c);

	if (f->fcw != 0x37f || f->fsw != 0 || f->ftw != 0 || f->fop != 0 || f->fip != 0 || f->fdp != 0
	    || !all_zero(f->st, sizeof(f->st)))
		use |= XF_x87;
	if (!all_zero(f->xmm, n))
		use |= XF_sse;
	if (!all_zero(f->ymmh, n))
		use |= XF_avx;
	return use;
}

/* Checks, the requested components in *rfbm, the address in *lin. */
static int
xsave_check(struct cpu *c, const struct insn *in, bool supervisor, unsigned acc, unsigned *rfbm,
	uint64_t *lin)
{
	unsigned size;

	if (!(c->r.cr4 & cr4_osxsave_MASK))
		return cpu_raise(c, VEC_ud);
	if (supervisor && c->cpl != 0)
		return cpu_raise_error(c, VEC_gp, 0);
	if (c->r.cr0 & cr0_ts_MASK)
		return cpu_raise(c, VEC_nm);
	*rfbm = (unsigned)(c->r.rax & c->r.xcr0 & (XF_x87 | XF_sse | XF_avx));
	size = *rfbm & XF_avx ? XSAVE_YMMH + 16 * nregs(c) : XSAVE_YMMH;
	if (insn_lin(c, in, size, acc, lin) != OK)
		return FAULT;
	return *lin & 63 ? cpu_raise_error(c, VEC_gp, 0) : OK;
}

/* XSAVE, XSAVEOPT, XSAVEC, XSAVES: 0F AE /4 /6, 0F C7 /4 /5. */
int
fpu_xsave(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	const uint32_t mxcsr[2] = { c->fpu.mxcsr, MXCSR_writable };
	bool compact = in->opcode == 0xc7, supervisor = compact && (in->modrm >> 3 & 7) == 5;
	bool skip_initial = compact || (in->modrm >> 3 & 7) == 6;
	unsigned rfbm, use = in_use(c), what, n = 16 * nregs(c), size;
	uint8_t x87[160];
	uint64_t lin, header[2] = { 0, 0 };

	(void)op;
	if (xsave_check(c, in, supervisor, ACC_write, &rfbm, &lin) != OK)
		return FAULT;
	size = rfbm & XF_avx ? XSAVE_YMMH + n : XSAVE_YMMH;
	if (lin_probe(c, lin, size, ACC_write) != OK)
		return FAULT;
	if (compact && c->fpu.mxcsr != MXCSR_reset)
		use |= XF_sse;
	what = skip_initial ? rfbm & use : rfbm;
	if (compact) {
		header[0] = rfbm & use;
		header[1] = XCOMP_COMPACT | rfbm;
	} else {
		if (lin_read64(c, lin + XSAVE_LEGACY, &header[0]) != OK)
			return FAULT;
		header[0] = (header[0] & ~(uint64_t)rfbm) | (rfbm & use);
	}
	x87_image(c, in->rex & 8, x87);
	if (what & XF_x87 && (fpu_write(c, lin, x87, MXCSR_AT) != OK
			      || fpu_write(c, lin + 32, x87 + 32, 128) != OK))
		return FAULT;
	if ((compact ? what & XF_sse : rfbm & (XF_sse | XF_avx)) && fpu_write(c, lin + MXCSR_AT, mxcsr, 8) != OK)
		return FAULT;
	if (what & XF_sse && fpu_write(c, lin + LEGACY_XMM, c->fpu.xmm, n) != OK)
		return FAULT;
	if (what & XF_avx && fpu_write(c, lin + XSAVE_YMMH, c->fpu.ymmh, n) != OK)
		return FAULT;
	return fpu_write(c, lin + XSAVE_LEGACY, header, compact ? 16 : 8);
}

/* Is the header one that XRSTOR takes? SDM vol. 1, 13.8.1. */
static bool
header_valid(const struct cpu *c, const uint64_t h[8])
{
	if (h[0] & ~c->r.xcr0)
		return false;
	if (!(h[1] & XCOMP_COMPACT))
		return h[1] == 0 && h[2] == 0;
	return !(h[1] & ~XCOMP_COMPACT & ~c->r.xcr0) && !(h[0] & ~h[1]) && all_zero(&h[2], 48);
}

/* XRSTOR 0F AE /5, XRSTORS 0F C7 /3. */
int
fpu_xrstor(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	bool supervisor = in->opcode == 0xc7, compact;
	unsigned rfbm, n = 16 * nregs(c), load;
	uint8_t image[XSAVE_SIZE] = { 0 };
	uint64_t lin, header[8];
	uint32_t mxcsr;
	bool mxcsr_load;

	(void)op;
	if (xsave_check(c, in, supervisor, ACC_read, &rfbm, &lin) != OK
	    || fpu_read(c, lin + XSAVE_LEGACY, header, sizeof(header)) != OK)
		return FAULT;
	compact = header[1] & XCOMP_COMPACT;
	if (!header_valid(c, header) || (supervisor && !compact))
		return cpu_raise_error(c, VEC_gp, 0);
	load = rfbm & (unsigned)header[0];
	mxcsr_load = compact ? load & XF_sse : rfbm & (XF_sse | XF_avx);
	if ((load & (XF_x87 | XF_sse) || mxcsr_load) && fpu_read(c, lin, image, XSAVE_LEGACY) != OK)
		return FAULT;
	if (load & XF_avx && fpu_read(c, lin + XSAVE_YMMH, image + XSAVE_YMMH, n) != OK)
		return FAULT;
	memcpy(&mxcsr, image + MXCSR_AT, 4);
	if (mxcsr_load && mxcsr & ~(uint32_t)MXCSR_writable)
		return cpu_raise_error(c, VEC_gp, 0);
	if (load & XF_x87)
		x87_load(c, in->rex & 8, image);
	else if (rfbm & XF_x87)
		x87_reset(&c->fpu);
	if (mxcsr_load)
		c->fpu.mxcsr = mxcsr;
	else if (compact && rfbm & XF_sse)
		c->fpu.mxcsr = MXCSR_reset;
	if (load & XF_sse)
		memcpy(c->fpu.xmm, image + LEGACY_XMM, n);
	else if (rfbm & XF_sse)
		memset(c->fpu.xmm, 0, n);
	if (load & XF_avx)
		memcpy(c->fpu.ymmh, image + XSAVE_YMMH, n);
	else if (rfbm & XF_avx)
		memset(c->fpu.ymmh, 0, n);
	return OK;
}

/* ---- small ones ---- */

/* LDMXCSR, STMXCSR (0F AE /2 /3) and their VEX forms. */
int
fpu_mxcsr(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	bool load = (in->modrm >> 3 & 7) == 2;
	uint32_t val;
	uint64_t lin;

	if ((op->flags & OPF_vex ? fpu_check_avx(c) : fpu_check_sse(c)) != OK
	    || insn_lin(c, in, 4, load ? ACC_read : ACC_write, &lin) != OK)
		return FAULT;
	if (!load)
		return lin_write32(c, lin, c->fpu.mxcsr);
	if (lin_read32(c, lin, &val) != OK)
		return FAULT;
	if (val & ~(uint32_t)MXCSR_writable)
		return cpu_raise_error(c, VEC_gp, 0);
	c->fpu.mxcsr = val;
	return OK;
}

/* VZEROUPPER, VZEROALL. */
int
fpu_vzero(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	(void)op;
	if (fpu_check_avx(c) != OK)
		return FAULT;
	memset(c->fpu.ymmh, 0, 16 * nregs(c));
	if (in->vex_l)
		memset(c->fpu.xmm, 0, 16 * nregs(c));
	return OK;
}
