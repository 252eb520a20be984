/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_mask.c - instructions that reach memory element by element, and MOVNTI.
 *
 * Only selected elements are accessed, so only they can fault: done in C, not in stubs.
 */
#include "engine/interp/fpu.h"
#include "cpu/access.h"
#include "cpu/segments.h"
#include <string.h>

/* A YMM register in one piece. */
struct ymm { uint8_t b[32]; };

static struct ymm
ymm_get(const struct cpu *c, unsigned n)
{
	struct ymm y;

	memcpy(y.b, c->fpu.xmm[n], 16);
	memcpy(y.b + 16, c->fpu.ymmh[n], 16);
	return y;
}

static void
ymm_put(struct cpu *c, unsigned n, const struct ymm *y)
{
	memcpy(c->fpu.xmm[n], y->b, 16);
	memcpy(c->fpu.ymmh[n], y->b + 16, 16);
}

static unsigned
vex_vvvv(const struct cpu *c, const struct insn *in)
{
	return in->vvvv & (c->mode == MODE_long64 ? 15u : 7u);
}

static bool
selected(const struct ymm *mask, unsigned i, unsigned size)
{
	return mask->b[i * size + size - 1] >> 7;
}

/* Linear address of `size` bytes at byte `at` of the memory operand. */
static int
element(struct cpu *c, const struct insn *in, uint64_t base, unsigned at, unsigned size, unsigned acc,
	uint64_t *lin)
{
	uint64_t off = base + at;

	if (in->asize != 8)
		off &= in->asize == 4 ? 0xffffffffu : 0xffffu;
	return seg_lin(c, (enum seg_id)in->seg, off, size, acc, lin);
}

/* Writes the selected elements; nothing is written when one of them would fault. */
static int
masked_write(struct cpu *c, const struct insn *in, uint64_t base, const struct ymm *val,
	const struct ymm *mask, unsigned bytes, unsigned size)
{
	uint64_t lin[32];
	unsigned i;

	for (i = 0; i < bytes / size; i++)
		if (selected(mask, i, size)
		    && (element(c, in, base, i * size, size, ACC_write, &lin[i]) != OK
			|| lin_probe(c, lin[i], size, ACC_write) != OK))
			return FAULT;
	for (i = 0; i < bytes / size; i++)
		if (selected(mask, i, size) && lin_write_slow(c, lin[i], val->b + i * size, size, ACC_write) != OK)
			return FAULT;
	return OK;
}

/* MASKMOVQ, MASKMOVDQU, VMASKMOVDQU: to seg:[rdi]. */
int
fpu_maskmov(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	struct ymm val = { { 0 } }, mask = { { 0 } };
	uint64_t base = c->r.rdi, lin;
	unsigned i, top = c->fpu.fsw >> 11 & 7u;

	if (op->pp == 0) {
		if (fpu_check_mmx(c) != OK)
			return FAULT;
		memcpy(val.b, c->fpu.st[(fpu_reg(in) - top) & 7], 8);
		memcpy(mask.b, c->fpu.st[(fpu_rm(in) - top) & 7], 8);
	} else {
		if ((op->flags & OPF_vex ? fpu_check_avx(c) : fpu_check_sse(c)) != OK)
			return FAULT;
		val = ymm_get(c, fpu_reg(in));
		mask = ymm_get(c, fpu_rm(in));
	}
	if (in->asize != 8)
		base &= in->asize == 4 ? 0xffffffffu : 0xffffu;
	/* The segment is judged even when no byte is selected. */
	if (element(c, in, base, 0, op->pp == 0 ? 8 : 16, ACC_write, &lin) != OK
	    || masked_write(c, in, base, &val, &mask, op->pp == 0 ? 8 : 16, 1) != OK)
		return FAULT;
	if (op->pp == 0) {
		/* As every MMX instruction: TOP 0, all registers in use. */
		uint8_t st[8][16];

		for (i = 0; i < 8; i++)
			memcpy(st[i], c->fpu.st[(i - top) & 7], 16);
		memcpy(c->fpu.st, st, sizeof(st));
		c->fpu.fsw &= 0xc7ff;
		c->fpu.ftw = 0xff;
	}
	return OK;
}

/* VMASKMOVPS/PD (0F38 2C-2F), VPMASKMOVD/Q (8C, 8E). */
int
fpu_vmaskmov(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	bool is_int = in->opcode >= 0x8c, is_store = is_int ? in->opcode == 0x8e : in->opcode >= 0x2e;
	unsigned size = (is_int ? in->rex & 8u : in->opcode & 1u) ? 8 : 4, bytes = in->vex_l ? 32 : 16, i;
	struct ymm mask, val = { { 0 } };
	uint64_t base, lin;

	(void)op;
	if (fpu_check_avx(c) != OK)
		return FAULT;
	base = insn_offset(c, in);
	mask = ymm_get(c, vex_vvvv(c, in));
	if (is_store) {
		val = ymm_get(c, fpu_reg(in));
		return masked_write(c, in, base, &val, &mask, bytes, size);
	}
	for (i = 0; i < bytes / size; i++)
		if (selected(&mask, i, size)
		    && (element(c, in, base, i * size, size, ACC_read, &lin) != OK
			|| lin_read_slow(c, lin, val.b + i * size, size, ACC_read) != OK))
			return FAULT;
	ymm_put(c, fpu_reg(in), &val);
	return OK;
}

/* VPGATHERDD/DQ/QD/QQ (0F38 90, 91) and VGATHERDPS/... (92, 93). Elements are gathered from the
 * lowest on; on a fault those already there stay, with their mask bits cleared. */
int
fpu_gather(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	unsigned size = in->rex & 8 ? 8 : 4, isize = in->opcode & 1 ? 8 : 4, reg = fpu_reg(in);
	unsigned n = (in->vex_l ? 32u : 16u) / (size > isize ? size : isize), i, vvvv = vex_vvvv(c, in);
	struct ymm dest, mask, index;
	uint64_t off, lin;
	int64_t ix;
	int32_t ix32;
	int res = OK;

	(void)op;
	if (fpu_check_avx(c) != OK)
		return FAULT;
	if (in->index > 15 || reg == in->index || reg == vvvv || vvvv == in->index)
		return cpu_raise(c, VEC_ud);
	dest = ymm_get(c, reg);
	mask = ymm_get(c, vvvv);
	index = ymm_get(c, in->index);
	for (i = 0; i < 32 / size; i++)		/* a mask element becomes all ones or all zeroes */
		memset(mask.b + i * size, i < n && selected(&mask, i, size) ? 0xff : 0, size);
	for (i = 0; i < n && res == OK; i++) {
		if (!selected(&mask, i, size))
			continue;
		if (isize == 8) {
			memcpy(&ix, index.b + i * 8, 8);
		} else {
			memcpy(&ix32, index.b + i * 4, 4);
			ix = ix32;
		}
		off = (uint64_t)in->disp + ((uint64_t)ix << in->scale);
		if (in->base != INSN_NOREG)
			off += c->r.gpr[in->base];
		res = element(c, in, off, 0, size, ACC_read, &lin);
		if (res == OK)
			res = lin_read_slow(c, lin, dest.b + i * size, size, ACC_read);
		if (res == OK)
			memset(mask.b + i * size, 0, size);
	}
	if (res == OK)
		memset(dest.b + n * size, 0, 32 - n * size);
	ymm_put(c, reg, &dest);
	ymm_put(c, vvvv, &mask);
	return res;
}

/* MOVNTI: an ordinary store of a GPR. */
int
fpu_movnti(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	uint64_t lin, val = c->r.gpr[fpu_reg(in)];
	unsigned size = in->rex & 8 ? 8 : 4;

	(void)op;
	if (insn_lin(c, in, size, ACC_write, &lin) != OK)
		return FAULT;
	return size == 8 ? lin_write64(c, lin, val) : lin_write32(c, lin, (uint32_t)val);
}
