/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_run.h - what happens around a call of a vector instruction's stub. */
#pragma once
#include "engine/interp/fpu.h"

/* An instruction kept in a block, with its shape. */
struct shaped { struct insn in; const struct fpu_op *shape; };

static inline void
fpu_context(const struct cpu *c, struct fpu_ctx *x)
{
	x->mxcsr_in = (c->fpu.mxcsr | MXCSR_masks) & ~(uint32_t)MXCSR_flags;
	x->mxcsr_out = 0;
	x->mxcsr_host = MXCSR_reset;
}

struct fpu_operands { void *reg, *rm, *vvvv, *fourth; uint64_t gpr; };

static inline void
fpu_operands(struct cpu *c, const struct insn *in, const struct fpu_op *op, struct fpu_operands *o)
{
	unsigned high = c->mode == MODE_long64 ? 15 : 7, reg = fpu_reg(in), rm = fpu_rm(in);

	o->reg = op->flags & OPF_gprdest ? (void *)&c->r.gpr[reg] : (void *)c->fpu.xmm[reg];
	o->vvvv = c->fpu.xmm[in->vvvv & high];
	o->fourth = op->flags & OPF_is4 ? c->fpu.xmm[(in->imm >> 4) & high] : c->fpu.xmm[0];
	o->gpr = 0;
	if (!(op->flags & OPF_rmgpr))
		o->rm = c->fpu.xmm[rm];
	else if (op->flags & OPF_rmdest)
		o->rm = &o->gpr;
	else
		o->rm = &c->r.gpr[rm];
}

/* Stores what does not go through operand pointers: flags, index, GPR written by rm. */
static inline void
fpu_finish(struct cpu *c, const struct insn *in, const struct fpu_op *op, const struct fpu_operands *o,
	const struct fpu_ctx *x)
{
	if (op->flags & OPF_flags)
		c->r.rflags = (c->r.rflags & ~(uint64_t)RFLAGS_arith) | (x->flags & RFLAGS_arith);
	if (op->flags & OPF_str && op->opcode & 1)
		c->r.rcx = x->rcx;
	if ((op->flags & (OPF_rmgpr | OPF_rmdest | OPF_mem)) == (OPF_rmgpr | OPF_rmdest))
		c->r.gpr[fpu_rm(in)] = o->gpr;
}
