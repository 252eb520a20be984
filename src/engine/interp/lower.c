/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/lower.c - from a decoded instruction to iops: checks that need no operand, memory
 * operands, and which handler or exec function serves which instruction (lower_table).
 */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"
#include "engine/interp/fpu_run.h"
#include "cpu/cpuid.h"
#include "cpu/segments.h"
#include "cpu/sysreg.h"
#include "engine/policed.h"

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)
#define OFFSET(field) ((uint16_t)offsetof(struct cpu, field))

/* r.rip plus off, as wide as instruction addresses are. */
static inline uint64_t
rip_at(const struct cpu *c, uint64_t off)
{
	return c->mode == MODE_long64 ? c->r.rip + off : (uint32_t)(c->r.rip + off);
}

int
iop_fault(struct cpu *c, const struct iop *op)
{
	c->r.rip = rip_at(c, op->off);
	c->retired += op->idx;
	return RUN_fault;
}

int
iop_next_slow(struct cpu *c, const struct iop *op)
{
	if (likely(!atomic_load_explicit(&c->interp->any_written, memory_order_relaxed)))
		NEXT;
	c->r.rip = rip_at(c, op[1].off);
	c->retired += op[1].idx;
	return RUN_next;
}

/* ---- handlers that belong to no family ---- */

/* The end of a block that no branch ends. */
HANDLER(end)
{
	c->r.rip = rip_at(c, op->off);
	c->retired += op->idx;
	return RUN_next;
}

HANDLER(undefined)
{
	cpu_raise(c, VEC_ud);
	return iop_fault(c, op);
}

HANDLER(too_long)
{
	cpu_raise_error(c, VEC_gp, 0);
	return iop_fault(c, op);
}

HANDLER(privileged)
{
	if (likely(c->cpl == 0))
		NEXT;
	cpu_raise_error(c, VEC_gp, 0);
	return iop_fault(c, op);
}

/* A memory operand outside of 64-bit mode, without alignment checks: hot.ea. */
HANDLER(address32)
{
	const struct insn *in = op->in;
	const struct segreg *s = &c->r.seg[in->seg];
	uint64_t off = insn_offset(c, in);

	if (unlikely(!seg_is_plain(s, off, op->src))) {
		if (insn_lin(c, in, op->src, op->dst, &c->hot.ea))
			return iop_fault(c, op);
		NEXT;
	}
	c->hot.ea = (uint32_t)(s->base + off);
	NEXT;
}

/* A memory operand that needs segment limits, 16- or 32-bit wrapping, or alignment: hot.ea. */
HANDLER(address)
{
	uint64_t start = c->r.rip;
	int res;

	c->r.rip = rip_at(c, op->off);
	res = insn_lin(c, op->in, op->src, op->dst, &c->hot.ea);
	c->r.rip = start;
	if (unlikely(res != OK))
		return iop_fault(c, op);
	NEXT;
}

/* An exec function left early: r.rip is the instruction's address. */
static int
exec_left(struct cpu *c, const struct iop *op, int code)
{
	c->retired += op->idx;
	if (code == RUN_fault || code == RUN_again)
		return code;
	c->r.rip = insn_next(c, op->in);
	c->retired++;
	return code;
}

static int
exec_common(struct cpu *c, const struct iop *op, exec_fn *fn)
{
	int code;

	flags_out(c);
	c->r.rip = rip_at(c, op->off);
	code = fn(c, op->in);
	flags_in(c);
	return code;
}

int
iop_exec(struct cpu *c, const struct iop *op, exec_fn *fn)
{
	uint64_t start = c->r.rip;
	int code = exec_common(c, op, fn);

	if (unlikely(code != OK))
		return exec_left(c, op, code);
	c->r.rip = start;
	return iop_next_slow(c, op);
}

HANDLER(exec)
{
	return iop_exec(c, op, lower_table[op->in->id].exec);
}

HANDLER(exec_end)
{
	int code = exec_common(c, op, lower_table[op->in->id].exec);

	return exec_left(c, op, code == OK ? RUN_sync : code);
}

/* An instruction that the policy has a say in. */
static int
exec_asked(struct cpu *c, const struct insn *in)
{
	if (policy_insn(c, policed_row(in->id)) != OK)
		return FAULT;
	return lower_table[in->id].exec(c, in);
}

HANDLER(exec_policed)
{
	int code = exec_common(c, op, exec_asked);

	return exec_left(c, op, code == OK ? RUN_sync : code);
}

HANDLER(exec_flow)
{
	int code = exec_common(c, op, lower_table[op->in->id].exec);

	if (code == RUN_fault)
		return exec_left(c, op, code);
	c->retired += op->idx + 1u;
	return code == OK ? RUN_sync : code;
}

HANDLER(fpu)
{
	return iop_exec(c, op, fpu_exec);
}

/* An instruction of the FPU's with its shape, looked up once. */
static int
exec_shaped(struct cpu *c, const struct insn *in)
{
	const struct shaped *s = (const struct shaped *)in;

	return s->shape->fn(c, in, s->shape);
}

HANDLER(fpu_shaped)
{
	return iop_exec(c, op, exec_shaped);
}

/* The same for those that neither read nor write flags: hot.fl stays. */
HANDLER(fpu_flagless)
{
	uint64_t start = c->r.rip;
	int code;

	c->r.rip = rip_at(c, op->off);
	code = exec_shaped(c, op->in);
	if (unlikely(code != OK))
		return exec_left(c, op, code);
	c->r.rip = start;
	return iop_next_slow(c, op);
}

/* ---- which handler ---- */

bool
is_state_insn(uint16_t id)
{
	switch (id) {
	case INSN_fxsave: case INSN_fxrstor: case INSN_xsave: case INSN_xrstor: case INSN_xsaveopt:
	case INSN_xsavec: case INSN_xsaves: case INSN_xrstors: case INSN_ldmxcsr: case INSN_stmxcsr:
	case INSN_vldmxcsr: case INSN_vstmxcsr: case INSN_emms: case INSN_fwait:
		return true;
	default:
		return false;
	}
}

/* #UD before anything else: what the model lacks, LOCK where it is not allowed, modes. */
static bool
is_undefined(const struct lower *l)
{
	const struct insn *in = l->in;
	const struct insn_info *info = &insn_info[in->id];
	bool real = l->c->mode == MODE_real || l->c->mode == MODE_v86;

	if ((info->flags & IF_l256_avx2) && (in->op[0].kind == OPND_ymm || in->op[1].kind == OPND_ymm) &&
	    !cpu_has(l->c->model, CPUF_avx2))
		return true;
	if (in->id == INSN_invalid || !cpu_has(l->c->model, (enum cpu_feature)info->feature))
		return true;
	if ((in->prefixes & PFX_lock) && !((info->flags & IF_lockable) && in->nopnds > 0 &&
	    (in->op[0].kind == OPND_mem || (in->id == INSN_xchg && in->op[1].kind == OPND_mem))))
		return true;
	return ((info->flags & IF_prot) && real) ||
	       ((info->flags & IF_no64) && l->c->mode == MODE_long64) ||
	       ((info->flags & IF_only64) && l->c->mode != MODE_long64);
}

static struct iop *
lower_add(struct lower *l, iop_fn *fn)
{
	struct iop *op = &l->block->op[l->n++];

	*op = (struct iop){ .fn = fn, .idx = l->idx, .off = l->off };
	return op;
}

static int
mem_opnd(const struct insn *in)
{
	for (int i = 0; i < in->nopnds; i++)
		if (in->op[i].kind == OPND_mem)
			return i;
	return -1;
}

/* base + index << scale + disp of l->in for iop_lin; false when disp gets too large. */
static bool
lower_address(const struct lower *l, struct iop *op)
{
	const struct insn *in = l->in;
	int64_t disp = in->disp;

	op->base = in->base < 16 ? (uint16_t)(8 * in->base) : OFFSET(hot.zero);
	op->index = in->index < 16 ? (uint16_t)(8 * in->index) : OFFSET(hot.zero);
	op->segbase = OFFSET(hot.zero);
	op->scale = in->scale;
	if (in->base == INSN_RIP) {
		op->base = OFFSET(r.rip);
		disp += l->off + in->len;
	}
	op->disp = (int32_t)disp;
	return op->disp == disp;
}

/* What names memory without accessing it. */
static bool
is_address_only(uint16_t id)
{
	return id == INSN_lea || id == INSN_nop;
}

/* Operand registers, and the memory operand m (or -1). False: only exec can do it. */
static bool
lower_operands(struct lower *l, int m)
{
	const struct insn *in = l->in;
	bool simple = l->c->mode == MODE_long64 && in->asize == 8 && !(l->block->key & KEY_ac);
	struct iop *op;

	if (m >= 0 && !is_address_only(in->id) && !(simple && lower_address(l, &l->block->op[l->n]))) {
		op = lower_add(l, l->c->mode != MODE_long64 && !(l->block->key & KEY_ac) ? address32 : address);
		op->in = lower_keep(l);
		op->src = in->op[m].size;
		op->dst = in->op[m].access & OPND_w ? ACC_write : ACC_read;
	}
	op = l->op = lower_add(l, NULL);
	op->imm = in->imm;
	if (in->nopnds > 0 && in->op[0].kind == OPND_reg)
		op->dst = (uint8_t)opnd_off(&in->op[0]);
	if (in->nopnds > 1 && in->op[1].kind == OPND_reg)
		op->src = (uint8_t)opnd_off(&in->op[1]);
	op->base = OFFSET(hot.ea);
	op->index = op->segbase = OFFSET(hot.zero);
	if (m < 0 || (op > l->block->op && op[-1].idx == op->idx && (op[-1].fn == address || op[-1].fn == address32)))
		return true;
	if (in->seg == SEG_fs || in->seg == SEG_gs)
		op->segbase = in->seg == SEG_fs ? OFFSET(r.fs_base) : OFFSET(r.gs_base);
	if (!lower_address(l, op))
		return in->id != INSN_lea;
	if (in->id != INSN_lea && (in->seg == SEG_fs || in->seg == SEG_gs))
		op->segbase = in->seg == SEG_fs ? OFFSET(r.fs_base) : OFFSET(r.gs_base);
	return true;
}

/* Shapes stay where they are, but for those of a table that is full (key 0). */
static void
lower_fpu(struct lower *l)
{
	const struct insn_info *info = &insn_info[l->in->id];
	const struct fpu_op *shape = fpu_lookup(l->c, l->in);
	struct shaped *s;
	struct iop *op;

	if (shape == NULL || shape->key == 0) {
		op = lower_add(l, fpu);
		op->in = lower_keep(l);
		return;
	}
	op = lower_add(l, info->fl_read | info->fl_write ? fpu_shaped : fpu_flagless);
	s = lower_take(l, sizeof(*s));
	s->in = *l->in;
	s->shape = shape;
	op->in = &s->in;
}

static void
lower_exec(struct lower *l, const struct lower_row *row)
{
	uint32_t flags = insn_info[l->in->id].flags;
	struct iop *op;

	if (row->exec == NULL && ((flags & (IF_x87 | IF_mmx | IF_sse | IF_avx)) || is_state_insn(l->in->id))) {
		lower_fpu(l);
		return;
	}
	if (is_policed(l->c, l->in->id))
		op = lower_add(l, exec_policed);
	else if (row->exec != NULL)
		op = lower_add(l, row->flow ? exec_flow : lower_ends(l) ? exec_end : exec);
	else
		op = lower_add(l, undefined);
	op->in = lower_keep(l);
}

/* Where a prefix made a newer instruction of an old one, a processor without it does the old one. */
static uint16_t
id_known(const struct cpu_model *m, uint16_t id)
{
	if (id == INSN_tzcnt && !cpu_has(m, CPUF_bmi1))
		return INSN_bsf;
	if (id == INSN_lzcnt && !cpu_has(m, CPUF_abm))
		return INSN_bsr;
	return id == INSN_wbnoinvd && !cpu_has(m, CPUF_wbnoinvd) ? INSN_wbinvd : id;
}

void
lower_insn(struct lower *l)
{
	const struct lower_row *row;
	const struct insn *in;
	lower_fn *lower;
	unsigned before;

	l->in->id = id_known(l->c->model, l->in->id);
	in = l->in;
	row = &lower_table[in->id];

	if (in->len > INSN_MAX) {
		lower_add(l, too_long);
		return;
	}
	if (is_undefined(l)) {
		lower_add(l, undefined);
		return;
	}
	if (insn_info[in->id].flags & IF_priv)
		lower_add(l, privileged);
	before = l->n;
	lower = row->lower;
	if (lower == NULL && insn_info[in->id].flags & (IF_x87 | IF_mmx | IF_sse | IF_avx) && row->exec == NULL)
		lower = lower_vector;
	if (lower != NULL) {
		if (lower_operands(l, mem_opnd(in)) && lower(l))
			return;
		l->n = before;
	}
	lower_exec(l, row);
}

bool
lower_ends(const struct lower *l)
{
	const struct insn *in = l->in;
	uint32_t flags = insn_info[in->id].flags;

	if (is_policed(l->c, in->id))
		return true;
	switch (in->id) {
	case INSN_jcc:			/* not taken, it goes on */
	case INSN_clac: case INSN_stac:	/* views are looked up with each access */
		return false;
	case INSN_in: case INSN_out: case INSN_ins: case INSN_outs:
		return true;		/* devices may have moved time or interrupts */
	case INSN_invalid: case INSN_sysret: case INSN_swapgs:
		return true;
	case INSN_mov_to_seg: case INSN_pop_seg:
		return l->c->mode != MODE_long64 || in->op[0].reg == SEG_ss;
	default:
		return flags & (IF_branch | IF_end);
	}
}

void
lower_finish(struct lower *l)
{
	lower_add(l, end);
}

/* ---- the slow ways of memory operands ---- */

/* 64-bit mode only: elsewhere `address` has checked. Which fault depends on the base register. */
int
iop_check(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size, unsigned acc)
{
	uint64_t checked;
	enum seg_id seg = op->segbase == OFFSET(hot.zero) && (op->base == OFFSET(r.rsp) || op->base == OFFSET(r.rbp)) ?
		SEG_ss : SEG_ds;

	if (c->mode != MODE_long64 || op->base == OFFSET(hot.ea))
		return OK;
	return seg_lin(c, seg, lin, size, acc, &checked);
}

static int
load_slow(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size)
{
	c->hot.val = 0;
	if (iop_check(c, op, lin, size, ACC_read))
		return FAULT;
	return lin_read_slow(c, lin, &c->hot.val, size, ACC_read);
}

int COLD
iop_load_slow(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size)
{
	return load_slow(c, op, lin, size);
}

int
iop_store_slow(struct cpu *c, const struct iop *op, uint64_t lin, uint64_t val, unsigned size)
{
	if (iop_check(c, op, lin, size, ACC_write) || lin_write_slow(c, lin, &val, size, ACC_write))
		return iop_fault(c, op);
	return iop_next_slow(c, op);
}

int
iop_rmw_slow(struct cpu *c, const struct iop *op, uint64_t lin, unsigned size, bool lock,
	lin_rmw_fn *fn, struct rmw x)
{
	x.c = c;
	x.fl = c->hot.fl;
	if (iop_check(c, op, lin, size, ACC_write) || lin_rmw_slow(c, lin, size, lock, fn, &x)) {
		c->hot.fl = x.fl;
		return iop_fault(c, op);
	}
	return iop_next_slow(c, op);
}
