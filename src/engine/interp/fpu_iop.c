/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_iop.c - vector instructions as iops: the way round fpu_exec for what is common.
 *
 * Taken when the unit is enabled, SIMD exceptions are masked and the memory operand is in the TLB and
 * aligned as it must be; everything else goes by exec.
 */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"
#include "engine/interp/fpu_run.h"

static inline bool
enabled(const struct cpu *c, const struct fpu_op *f)
{
	const uint64_t need = xcr0_sse_MASK | xcr0_avx_MASK;

	if (f->flags & OPF_fp && (c->fpu.mxcsr & MXCSR_masks) != MXCSR_masks)
		return false;
	if (f->flags & OPF_vex)
		return c->r.cr4 & cr4_osxsave_MASK && (c->r.xcr0 & need) == need && !(c->r.cr0 & cr0_ts_MASK);
	return c->r.cr4 & cr4_osfxsr_MASK && !(c->r.cr0 & (cr0_em_MASK | cr0_ts_MASK));
}

static int
slow(struct cpu *c, const struct insn *in)
{
	const struct fpu_op *f = ((const struct shaped *)in)->shape;

	return f->fn(c, in, f);
}

static int
fpu_vector(struct cpu *c, const struct iop *op)
{
	const struct fpu_op *f = ((const struct shaped *)op->in)->shape;
	struct fpu_operands o;
	struct fpu_ctx x;
	uint64_t lin;
	void *p;

	if (unlikely(!enabled(c, f)))
		return iop_exec(c, op, slow);
	fpu_operands(c, op->in, f, &o);
	if (f->flags & OPF_mem) {
		lin = iop_lin(c, op);
		p = f->flags & OPF_rmdest ? iop_write_ptr(c, lin, f->mem_size)
			: (void *)(uintptr_t)iop_read_ptr(c, lin, f->mem_size);
		if (unlikely(p == NULL || lin & f->align))
			return iop_exec(c, op, slow);
		o.rm = p;
	}
	if (f->flags & OPF_fp)
		fpu_context(c, &x);
	f->code(o.reg, o.rm, o.vvvv, o.fourth, &x);
	if (f->flags & OPF_fp)
		c->fpu.mxcsr |= x.mxcsr_out & MXCSR_flags;
	if ((f->flags & (OPF_rmgpr | OPF_rmdest | OPF_mem)) == (OPF_rmgpr | OPF_rmdest))
		c->r.gpr[fpu_rm(op->in)] = o.gpr;
	NEXT;
}

/* False: lower.c's way, by exec. */
bool
lower_vector(struct lower *l)
{
	const struct fpu_op *f = fpu_lookup(l->c, l->in);
	struct shaped *s;

	if (f == NULL || f->key == 0 || f->fn != fpu_run_vector || f->flags & (OPF_flags | OPF_str)
	    || l->block->key & KEY_ac || l->c->mode == MODE_real || l->c->mode == MODE_v86)
		return false;
	s = lower_take(l, sizeof(*s));
	s->in = *l->in;
	s->shape = f;
	l->op->fn = fpu_vector;
	l->op->in = &s->in;
	return true;
}
