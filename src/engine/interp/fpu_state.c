/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_state.c - FXSAVE, XSAVE and relatives, MXCSR, VZEROALL: state as a whole. */
#include "engine/interp/fpu.h"
#include "cpu/access.h"
#include <string.h>

enum { LEGACY_XMM = offsetof(struct fpu_state, xmm), LEGACY_END = LEGACY_XMM + 256,
	MXCSR_AT = offsetof(struct fpu_state, mxcsr) };

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
	return fpu_write(c, lin, image, LEGACY_XMM + 16 * fpu_nregs(c));
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
	memcpy(c->fpu.xmm, image + LEGACY_XMM, 16 * fpu_nregs(c));
	return OK;
}

/* ---- XSAVE family: cpu/xsave.c has it ---- */

static int
xsave_operand(struct cpu *c, const struct insn *in, const struct xsave_form *f, unsigned acc, unsigned *rfbm, uint64_t *lin)
{
	unsigned size;

	return xsave_check(c, f, rfbm, &size) != OK ? FAULT : insn_lin(c, in, size, acc, lin);
}

/* XSAVE, XSAVEOPT, XSAVEC, XSAVES: 0F AE /4 /6, 0F C7 /4 /5. */
int
fpu_xsave(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	bool compact = in->opcode == 0xc7;
	unsigned reg = in->modrm >> 3 & 7, rfbm;
	struct xsave_form f = { .compact = compact, .supervisor = compact && reg == 5, .skips_initial = compact || reg == 6,
		.wide = in->rex & 8 };
	uint64_t lin;

	(void)op;
	return xsave_operand(c, in, &f, ACC_write, &rfbm, &lin) != OK ? FAULT : cpu_xsave(c, &f, rfbm, lin);
}

/* XRSTOR 0F AE /5, XRSTORS 0F C7 /3. */
int
fpu_xrstor(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	struct xsave_form f = { .supervisor = in->opcode == 0xc7, .wide = in->rex & 8 };
	unsigned rfbm;
	uint64_t lin;

	(void)op;
	return xsave_operand(c, in, &f, ACC_read, &rfbm, &lin) != OK ? FAULT : cpu_xrstor(c, &f, rfbm, lin);
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
	memset(c->fpu.ymmh, 0, 16 * fpu_nregs(c));
	if (in->vex_l)
		memset(c->fpu.xmm, 0, 16 * fpu_nregs(c));
	return OK;
}
