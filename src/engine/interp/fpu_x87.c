/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_x87.c - x87 control: environment images, control and status words, WAIT. */
#include "engine/interp/fpu.h"
#include "cpu/access.h"
#include <string.h>

enum { TAG_valid, TAG_zero, TAG_special, TAG_empty };
enum { FCW_reset = 0x37f, TOP_shift = 11 };

static unsigned
top(const struct fpu_state *f)
{
	return f->fsw >> TOP_shift & 7u;
}

/* The two tag bits of physical register `phys` (SDM vol. 1, 8.1.7). */
static unsigned
tag(const struct fpu_state *f, unsigned phys)
{
	const uint8_t *st = f->st[(phys - top(f)) & 7];
	uint64_t mantissa;
	uint16_t exponent;

	if (!(f->ftw >> phys & 1))
		return TAG_empty;
	memcpy(&mantissa, st, 8);
	memcpy(&exponent, st + 8, 2);
	exponent &= 0x7fff;
	if (exponent == 0 && mantissa == 0)
		return TAG_zero;
	return exponent == 0 || exponent == 0x7fff || !(mantissa >> 63) ? TAG_special : TAG_valid;
}

static uint16_t
full_tags(const struct fpu_state *f)
{
	unsigned i, tags = 0;

	for (i = 0; i < 8; i++)
		tags |= tag(f, i) << (2 * i);
	return (uint16_t)tags;
}

static uint8_t
abridged_tags(uint16_t tags)
{
	unsigned i, out = 0;

	for (i = 0; i < 8; i++)
		if ((tags >> (2 * i) & 3) != TAG_empty)
			out |= 1u << i;
	return (uint8_t)out;
}

static bool
real_format(const struct cpu *c)
{
	return c->mode == MODE_real || c->mode == MODE_v86;
}

/* The environment (SDM vol. 1, figures 8-9 to 8-12): 14 or 28 bytes; returns which. */
static unsigned
env_image(const struct cpu *c, unsigned osize, uint8_t out[28])
{
	const struct fpu_state *f = &c->fpu;
	const uint16_t words[3] = { f->fcw, f->fsw, full_tags(f) };
	uint64_t fip = f->fip, fdp = f->fdp;
	uint32_t d[4];
	uint16_t w[4];
	unsigned i;

	if (osize == 2) {
		w[0] = (uint16_t)fip;
		w[1] = real_format(c) ? (uint16_t)((fip >> 4 & 0xf000) | (f->fop & 0x7ff)) : (uint16_t)(fip >> 32);
		w[2] = (uint16_t)fdp;
		w[3] = real_format(c) ? (uint16_t)(fdp >> 4 & 0xf000) : (uint16_t)(fdp >> 32);
		memcpy(out, words, 6);
		memcpy(out + 6, w, 8);
		return 14;
	}
	for (i = 0; i < 3; i++)
		memcpy(out + 4 * i, &(uint32_t){ 0xffff0000u | words[i] }, 4);
	if (real_format(c)) {
		d[0] = 0xffff0000u | (uint16_t)fip;
		d[1] = (uint32_t)((fip >> 4 & 0x0ffff000) | (f->fop & 0x7ff));
		d[2] = 0xffff0000u | (uint16_t)fdp;
		d[3] = (uint32_t)(fdp >> 4 & 0x0ffff000);
	} else {
		d[0] = (uint32_t)fip;
		d[1] = (uint32_t)(f->fop & 0x7ff) << 16 | (uint16_t)(c->mode == MODE_long64 ? 0 : fip >> 32);
		d[2] = (uint32_t)fdp;
		d[3] = 0xffff0000u | (uint16_t)(c->mode == MODE_long64 ? 0 : fdp >> 32);
	}
	memcpy(out + 12, d, 16);
	return 28;
}

static void
env_load(struct cpu *c, unsigned osize, const uint8_t in[28])
{
	struct fpu_state *f = &c->fpu;
	uint8_t st[8][16];
	unsigned i, old_top = top(f);
	uint16_t w[7];
	uint32_t d[7];

	if (osize == 2) {
		memcpy(w, in, 14);
		f->fip = w[3] | (real_format(c) ? (w[4] & 0xf000u) << 4 : (uint64_t)w[4] << 32);
		f->fdp = w[5] | (real_format(c) ? (w[6] & 0xf000u) << 4 : (uint64_t)w[6] << 32);
		if (real_format(c))
			f->fop = w[4] & 0x7ff;
	} else {
		memcpy(d, in, 28);
		w[0] = (uint16_t)d[0], w[1] = (uint16_t)d[1], w[2] = (uint16_t)d[2];
		if (real_format(c)) {
			f->fip = (uint16_t)d[3] | (d[4] & 0x0ffff000u) << 4;
			f->fdp = (uint16_t)d[5] | (d[6] & 0x0ffff000u) << 4;
			f->fop = d[4] & 0x7ff;
		} else {
			f->fip = d[3] | (uint64_t)(uint16_t)d[4] << 32;
			f->fdp = d[5] | (uint64_t)(uint16_t)d[6] << 32;
			f->fop = d[4] >> 16 & 0x7ff;
		}
	}
	f->fcw = w[0];
	f->fsw = w[1];
	f->ftw = abridged_tags(w[2]);
	fpu_settle(f);
	/* The registers stay where they are: their stack positions move with TOP. */
	for (i = 0; i < 8; i++)
		memcpy(st[i], f->st[(i + top(f) - old_top) & 7], 16);
	memcpy(f->st, st, sizeof(st));
}

static void
init(struct fpu_state *f)
{
	uint8_t st[8][16];
	unsigned i;

	for (i = 0; i < 8; i++)
		memcpy(st[i], f->st[(i - top(f)) & 7], 16);
	memcpy(f->st, st, sizeof(st));
	f->fcw = FCW_reset;
	f->fsw = 0;
	f->ftw = 0;
	f->fip = f->fdp = f->fop = 0;
}

/* FLDENV, FNSTENV (D9 /4 /6), FRSTOR, FNSAVE (DD /4 /6). */
int
fpu_x87_env(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	bool with_stack = in->opcode == 0xdd, is_store = (in->modrm >> 3 & 7) == 6;
	unsigned osize = in->osize == 2 ? 2 : 4, env = osize == 2 ? 14 : 28;
	unsigned i, size = env + (with_stack ? 80u : 0u), acc = is_store ? ACC_write : ACC_read;
	uint8_t image[28 + 80];
	uint64_t lin;

	(void)op;
	if (fpu_check_x87(c, !is_store) != OK || insn_lin(c, in, size, acc, &lin) != OK)
		return FAULT;
	if (is_store) {
		env_image(c, osize, image);
		for (i = 0; with_stack && i < 8; i++)
			memcpy(image + env + 10 * i, c->fpu.st[i], 10);
		if (fpu_write(c, lin, image, size) != OK)
			return FAULT;
		if (with_stack) {
			init(&c->fpu);
		} else {
			c->fpu.fcw |= FSW_exceptions;
			fpu_settle(&c->fpu);
		}
		return OK;
	}
	if (fpu_read(c, lin, image, size) != OK)
		return FAULT;
	env_load(c, osize, image);
	for (i = 0; with_stack && i < 8; i++) {
		memset(c->fpu.st[i], 0, 16);
		memcpy(c->fpu.st[i], image + env + 10 * i, 10);
	}
	return OK;
}

/* FLDCW, FNSTCW (D9 /5 /7), FNSTSW m16 (DD /7) and AX (DF E0). */
int
fpu_x87_control(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	bool load = op->flags & OPF_mem && !(op->flags & OPF_rmdest);
	uint16_t word = in->opcode == 0xd9 ? c->fpu.fcw : c->fpu.fsw;
	uint64_t lin;

	if (fpu_check_x87(c, load) != OK)
		return FAULT;
	if (!(op->flags & OPF_mem)) {
		c->r.rax = (c->r.rax & ~(uint64_t)0xffff) | word;
		return OK;
	}
	if (insn_lin(c, in, 2, load ? ACC_read : ACC_write, &lin) != OK)
		return FAULT;
	if (!load)
		return lin_write16(c, lin, word);
	if (lin_read16(c, lin, &word) != OK)
		return FAULT;
	c->fpu.fcw = word;
	fpu_settle(&c->fpu);
	return OK;
}

int
fpu_fwait(struct cpu *c, const struct insn *in, const struct fpu_op *op)
{
	const uint64_t both = cr0_mp_MASK | cr0_ts_MASK;

	(void)in;
	(void)op;
	if ((c->r.cr0 & both) == both)
		return cpu_raise(c, VEC_nm);
	return fpu_pending(&c->fpu) ? cpu_raise(c, VEC_mf) : OK;
}
