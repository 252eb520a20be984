/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu.c - runs x87, MMX, SSE and AVX instructions on the host's unit.
 *
 * The guest's registers are in cpu->fpu, a standard-format XSAVE image whose fields are always
 * current (xstate_bv says nothing). SIMD exceptions are always masked on the host; what a guest
 * left unmasked is found in the flags afterwards and the instruction undone. x87 exceptions may
 * stay unmasked, since the unit reports them only at the next waiting instruction, and the stub
 * ends before that.
 */
#include "engine/interp/fpu_run.h"
#include "cpu/access.h"
#include <string.h>

/* ---- may it run? ---- */

int
fpu_check_x87(struct cpu *c, bool waiting)
{
	if (c->r.cr0 & (cr0_em_MASK | cr0_ts_MASK))
		return cpu_raise(c, VEC_nm);
	if (waiting && fpu_pending(&c->fpu))
		return cpu_raise(c, VEC_mf);
	return OK;
}

int
fpu_check_mmx(struct cpu *c)
{
	if (c->r.cr0 & cr0_em_MASK)
		return cpu_raise(c, VEC_ud);
	return fpu_check_x87(c, true);
}

int
fpu_check_sse(struct cpu *c)
{
	if (c->r.cr0 & cr0_em_MASK || !(c->r.cr4 & cr4_osfxsr_MASK))
		return cpu_raise(c, VEC_ud);
	if (c->r.cr0 & cr0_ts_MASK)
		return cpu_raise(c, VEC_nm);
	return OK;
}

int
fpu_check_avx(struct cpu *c)
{
	const uint64_t need = xcr0_sse_MASK | xcr0_avx_MASK;

	if (!(c->r.cr4 & cr4_osxsave_MASK) || (c->r.xcr0 & need) != need
	    || c->mode == MODE_real || c->mode == MODE_v86)
		return cpu_raise(c, VEC_ud);
	if (c->r.cr0 & cr0_ts_MASK)
		return cpu_raise(c, VEC_nm);
	return OK;
}

/* ---- memory operands ---- */

int
fpu_mem_begin(struct cpu *c, const struct insn *in, const struct fpu_op *op, bool private, struct fpu_mem *m)
{
	unsigned acc = op->flags & OPF_rmdest ? ACC_write : ACC_read;
	int res;

	m->write_back = false;
	if (insn_lin(c, in, op->mem_size, acc, &m->lin) != OK)
		return FAULT;
	if (m->lin & op->align)
		return cpu_raise_error(c, VEC_gp, 0);
	if (!private) {
		m->host = lin_hva(c, m->lin, op->mem_size, acc, &res);
		if (m->host != NULL || res != OK)
			return res;
	}
	m->host = m->buffer;
	if (acc == ACC_read)
		return lin_read_slow(c, m->lin, m->buffer, op->mem_size, ACC_read);
	m->write_back = true;
	return private ? OK : lin_probe(c, m->lin, op->mem_size, ACC_write);
}

int
fpu_mem_end(struct cpu *c, const struct fpu_op *op, struct fpu_mem *m)
{
	return m->write_back ? lin_write_slow(c, m->lin, m->buffer, op->mem_size, ACC_write) : OK;
}

int
fpu_read(struct cpu *c, uint64_t lin, void *to, unsigned size)
{
	unsigned n, done;

	for (done = 0; done < size; done += n) {
		n = size - done < 64 ? size - done : 64;
		if (lin_read_slow(c, lin + done, (uint8_t *)to + done, n, ACC_read) != OK)
			return FAULT;
	}
	return OK;
}

int
fpu_write(struct cpu *c, uint64_t lin, const void *from, unsigned size)
{
	unsigned n, done;

	if (lin_probe(c, lin, size, ACC_write) != OK)
		return FAULT;
	for (done = 0; done < size; done += n) {
		n = size - done < 64 ? size - done : 64;
		if (lin_write_slow(c, lin + done, (const uint8_t *)from + done, n, ACC_write) != OK)
			return FAULT;
	}
	return OK;
}

/* ---- SIMD exceptions ---- */

/* Is one of the n bytes' elements a denormal? size: bytes of an element (2, 4, 8). */
static bool
any_tiny(const uint8_t *p, unsigned n, unsigned size)
{
	uint64_t v, exponent = size == 8 ? 0x7ffull << 52 : size == 4 ? 0xffull << 23 : 0x1full << 10;
	uint64_t sign = 1ull << (size * 8 - 1);
	unsigned i;

	for (i = 0; i < n; i += size) {
		v = 0;
		memcpy(&v, p + i, size);
		if ((v & exponent) == 0 && (v & ~sign) != 0)
			return true;
	}
	return false;
}

/* Unmasked underflow is raised for an exact tiny result too, which the masked run does not flag
 * (SDM vol. 1, 11.5.2.5). Looks at the elements that the instruction computed. */
static bool
unmasked_underflow(const struct insn *in, const struct fpu_op *op, const uint8_t *lo, const uint8_t *hi)
{
	unsigned size = op->pp & 1 ? 8 : 4, n = op->pp >= 2 ? size : 16;
	bool wide = in->vex_l && op->flags & OPF_vex;

	if (op->map == 1)
		switch (op->opcode) {
		case 0x58: case 0x59: case 0x5c: case 0x5e:
			break;
		case 0x7c: case 0x7d: case 0xd0:
			size = op->pp == 1 ? 8 : 4;
			n = 16;
			break;
		case 0x5a:
			if (!(op->pp & 1))
				return false;
			size = 4;
			n = op->pp == 1 ? (wide ? 16 : 8) : 4;
			wide = false;
			break;
		default:
			return false;
		}
	else if (op->map == 2 && op->flags & OPF_rmw) {
		bool scalar = op->opcode & 1 && (op->opcode & 0xf) >= 9;

		size = in->rex & 8 ? 8 : 4;
		n = scalar ? size : 16;
		wide = wide && !scalar;
	} else if (op->map == 3 && (op->opcode == 0x40 || op->opcode == 0x41)) {
		size = op->opcode == 0x40 ? 4 : 8;
		n = 16;
	} else if (op->map == 3 && op->opcode == 0x1d) {
		size = 2;
		n = wide ? 16 : 8;
		wide = false;
	} else {
		return false;
	}
	return any_tiny(lo, n, size) || (wide && any_tiny(hi, 16, size));
}

/* The exception flags that a run with everything masked has left, as an unmasked one would have. */
static uint32_t
raised(const struct cpu *c, const struct fpu_ctx *x, bool underflow)
{
	uint32_t flags = x->mxcsr_out & MXCSR_flags, unmasked = ~c->fpu.mxcsr >> 7 & MXCSR_flags;

	if (flags & MXCSR_pre & unmasked)
		return flags & MXCSR_pre;
	return underflow ? flags | MXCSR_ue : flags;
}

static int
simd_exception(struct cpu *c, uint32_t flags)
{
	c->fpu.mxcsr |= flags;
	return cpu_raise(c, c->r.cr4 & cr4_osxmmexcpt_MASK ? VEC_xm : VEC_ud);
}

/* ---- vector instructions ---- */

/* A guest with unmasked SIMD exceptions: works on a copy, and keeps it when nothing was raised. */
static int
run_unmasked(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	struct fpu_state before = c->fpu;
	uint64_t gpr = c->r.gpr[fpu_reg(in)];
	struct fpu_mem m;
	struct fpu_operands o;
	struct fpu_ctx x;
	bool tiny = false;
	uint32_t flags;
	unsigned dest;

	fpu_operands(c, in, op, &o);
	if (op->flags & OPF_mem) {
		if (fpu_mem_begin(c, in, op, true, &m) != OK)
			return FAULT;
		o.rm = m.host;
	}
	fpu_context(c, &x);
	if (!(c->fpu.mxcsr & MXCSR_um))
		x.mxcsr_in &= ~(uint32_t)MXCSR_ftz;
	op->code(o.reg, o.rm, o.vvvv, o.fourth, &x);
	if (!(before.mxcsr & MXCSR_um)) {
		dest = op->flags & OPF_rmdest ? fpu_rm(in) : fpu_reg(in);
		if (op->flags & OPF_rmdest && op->flags & OPF_mem)
			tiny = unmasked_underflow(in, op, m.buffer, m.buffer + 16);
		else
			tiny = unmasked_underflow(in, op, c->fpu.xmm[dest], c->fpu.ymmh[dest]);
	}
	flags = raised(c, &x, tiny);
	if (flags & ~before.mxcsr >> 7) {
		c->fpu = before;
		c->r.gpr[fpu_reg(in)] = gpr;
		return simd_exception(c, flags);
	}
	if (op->flags & OPF_mem && fpu_mem_end(c, op, &m) != OK)
		return FAULT;
	fpu_finish(c, in, op, &o, &x);
	c->fpu.mxcsr |= flags;
	return OK;
}

int
fpu_run_vector(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	struct fpu_operands o;
	struct fpu_mem m;
	struct fpu_ctx x;

	if ((op->flags & OPF_vex ? fpu_check_avx(c) : fpu_check_sse(c)) != OK)
		return FAULT;
	if (op->flags & OPF_fp && (c->fpu.mxcsr & MXCSR_masks) != MXCSR_masks)
		return run_unmasked(c, in, op);
	fpu_operands(c, in, op, &o);
	if (op->flags & OPF_mem) {
		if (fpu_mem_begin(c, in, op, false, &m) != OK)
			return FAULT;
		o.rm = m.host;
	}
	if (op->flags & OPF_str) {
		x.rax = c->r.rax;
		x.rdx = c->r.rdx;
	}
	fpu_context(c, &x);
	op->code(o.reg, o.rm, o.vvvv, o.fourth, &x);
	if (op->flags & OPF_mem && m.write_back && fpu_mem_end(c, op, &m) != OK)
		return FAULT;
	fpu_finish(c, in, op, &o, &x);
	c->fpu.mxcsr |= x.mxcsr_out & MXCSR_flags;
	return OK;
}

/* ---- x87 and MMX ---- */

/* Put back what a run must not leave behind: the host's instruction and data pointers. */
static void
keep_pointers(struct cpu *c, const struct fpu_state *before)
{
	c->fpu.fip = before->fip;
	c->fpu.fdp = before->fdp;
	c->fpu.fop = before->fop;
	c->fpu.mxcsr_mask = before->mxcsr_mask;
}

/* FNCLEX, FNINIT, FNENI, FNDISI, FNSETPM: the instructions that do not wait and leave no trace in FIP. */
static bool
is_control(const struct insn *in)
{
	return in->opcode == 0xdb && in->modrm >= 0xe0 && in->modrm <= 0xe4;
}

/* A store under unmasked exceptions: an invalid operand, overflow or underflow leaves memory alone, so
 * that a fault of the access can be known only after the run. */
static int
store_unmasked(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	const unsigned no_store = 1 << 0 | 1 << 3 | 1 << 4;	/* IE OE UE */
	struct fpu_state before = c->fpu;
	struct fpu_mem m = { .write_back = true };
	struct fpu_ctx x;

	fpu_context(c, &x);
	op->code(&c->fpu, m.buffer, NULL, NULL, &x);
	keep_pointers(c, &before);
	if (c->fpu.fsw & ~c->fpu.fcw & no_store)
		return OK;
	if (insn_lin(c, in, op->mem_size, ACC_write, &m.lin) == OK && fpu_mem_end(c, op, &m) == OK)
		return OK;
	c->fpu = before;
	return FAULT;
}

static int
run_state(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	struct fpu_state *f = &c->fpu;
	struct { uint64_t fip, fdp; uint16_t fop; uint32_t mask; } before;
	struct fpu_mem m = { .host = NULL };
	struct fpu_ctx x;

	if (op->flags & OPF_rmdest && (f->fcw & FSW_exceptions) != FSW_exceptions)
		return store_unmasked(c, in, op);
	if (op->flags & OPF_mem && fpu_mem_begin(c, in, op, false, &m) != OK)
		return FAULT;
	before.fip = f->fip, before.fdp = f->fdp, before.fop = f->fop, before.mask = f->mxcsr_mask;
	fpu_context(c, &x);
	x.flags = (c->r.rflags & RFLAGS_arith) | RFLAGS_fixed;
	op->code(f, m.host, NULL, NULL, &x);
	f->fip = before.fip, f->fdp = before.fdp, f->fop = before.fop, f->mxcsr_mask = before.mask;
	if (op->flags & OPF_mem && fpu_mem_end(c, op, &m) != OK)
		return FAULT;
	if (op->flags & OPF_fpuflags)
		c->r.rflags = (c->r.rflags & ~(uint64_t)RFLAGS_arith) | (x.flags & RFLAGS_arith);
	return OK;
}

int
fpu_run_x87(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	struct fpu_state *f = &c->fpu;

	if (fpu_check_x87(c, !is_control(in)) != OK || run_state(c, in, op) != OK)
		return FAULT;
	if (in->opcode == 0xdb && in->modrm == 0xe3) {
		f->fip = f->fdp = f->fop = 0;
	} else if (!is_control(in)) {
		f->fip = c->r.rip;
		f->fop = (uint16_t)((in->opcode & 7u) << 8 | in->modrm);
		if (op->flags & OPF_mem)
			f->fdp = insn_offset(c, in);
	}
	return OK;
}

int
fpu_run_mmx(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	struct fpu_state before;
	struct fpu_mem m = { .host = NULL };
	bool unmasked = op->flags & OPF_fp && (c->fpu.mxcsr & MXCSR_masks) != MXCSR_masks;
	uint64_t gpr = 0;
	struct fpu_ctx x;
	uint32_t flags;

	if ((op->flags & OPF_fp || op->map == 2 || op->pp != 0) && fpu_check_sse(c) != OK)
		return FAULT;
	/* CVTPI2PS and CVTPI2PD from memory touch no MMX register, and mind no x87 exception. */
	if (!(op->opcode == 0x2a && op->flags & OPF_mem) && fpu_check_mmx(c) != OK)
		return FAULT;
	if (op->flags & OPF_mem) {
		if (fpu_mem_begin(c, in, op, unmasked, &m) != OK)
			return FAULT;
	} else if (op->flags & OPF_rmgpr) {
		m.host = op->flags & OPF_rmdest ? (uint8_t *)&gpr : (uint8_t *)&c->r.gpr[fpu_rm(in)];
	}
	before = c->fpu;
	fpu_context(c, &x);
	op->code(&c->fpu, m.host, &gpr, NULL, &x);
	keep_pointers(c, &before);
	c->fpu.mxcsr = before.mxcsr;
	if (op->flags & OPF_fp) {
		flags = raised(c, &x, false);
		if (flags & ~before.mxcsr >> 7) {
			c->fpu = before;
			return simd_exception(c, flags);
		}
		c->fpu.mxcsr |= flags;
	}
	if (op->flags & OPF_mem && fpu_mem_end(c, op, &m) != OK) {
		c->fpu = before;
		return FAULT;
	}
	if (op->flags & OPF_gprdest)
		c->r.gpr[fpu_reg(in)] = gpr;
	else if ((op->flags & (OPF_rmgpr | OPF_rmdest | OPF_mem)) == (OPF_rmgpr | OPF_rmdest))
		c->r.gpr[fpu_rm(in)] = gpr;
	return OK;
}

int
fpu_exec(struct cpu *c, const struct insn *in)
{
	const struct fpu_op *op = fpu_lookup(c, in);

	return op != NULL ? op->fn(c, in, op) : cpu_raise(c, VEC_ud);
}
