/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_ops.c - what an opcode of x87, MMX, SSE and AVX does with its operands.
 *
 * Most rows are in fpu_ops.def; those that do not run in a stub are named here.
 */
#include "engine/interp/fpu.h"
#include <string.h>

enum { PP_N = 1, PP_D = 2, PP_S = 4, PP_Q = 8, PP_all = 15 };
enum { ENC_L = 1, ENC_V = 2, ENC_B = 3 };
#define F(name) OPF_##name
enum { OPF_none = 0 };

struct row { uint8_t map, first, last, pp, enc; uint32_t flags; };
static const struct row rows[] = {
	/* Of the sums of prefix letters in the table. */
#define N PP_N
#define D PP_D
#define S PP_S
#define Q PP_Q
#define O(map, first, last, pp, enc, flags) { map, first, last, pp, ENC_##enc, OPF_##flags },
#include "engine/interp/fpu_ops.def"
#undef O
#undef N
#undef D
#undef S
#undef Q
};

/* Instructions done in C: map, opcode, ModRM.reg (-1: any), prefixes, encoding. */
static const struct special {
	uint8_t map, first, last;
	int8_t ext;
	uint8_t pp, enc;
	fpu_fn *fn;
} specials[] = {
	{ 1, 0x77, 0x77, -1, PP_N, ENC_V, fpu_vzero },
	{ 1, 0xae, 0xae, 0, PP_N, ENC_L, fpu_fxsave },
	{ 1, 0xae, 0xae, 1, PP_N, ENC_L, fpu_fxrstor },
	{ 1, 0xae, 0xae, 2, PP_N, ENC_B, fpu_mxcsr },
	{ 1, 0xae, 0xae, 3, PP_N, ENC_B, fpu_mxcsr },
	{ 1, 0xae, 0xae, 4, PP_N, ENC_L, fpu_xsave },
	{ 1, 0xae, 0xae, 5, PP_N, ENC_L, fpu_xrstor },
	{ 1, 0xae, 0xae, 6, PP_N, ENC_L, fpu_xsave },
	{ 1, 0xc7, 0xc7, 3, PP_N, ENC_L, fpu_xrstor },
	{ 1, 0xc7, 0xc7, 4, PP_N, ENC_L, fpu_xsave },
	{ 1, 0xc7, 0xc7, 5, PP_N, ENC_L, fpu_xsave },
	{ 1, 0xc3, 0xc3, -1, PP_N, ENC_L, fpu_movnti },
	{ 1, 0xf7, 0xf7, -1, PP_N, ENC_L, fpu_maskmov },
	{ 1, 0xf7, 0xf7, -1, PP_D, ENC_B, fpu_maskmov },
	{ 2, 0x2c, 0x2f, -1, PP_D, ENC_V, fpu_vmaskmov },
	{ 2, 0x8c, 0x8c, -1, PP_D, ENC_V, fpu_vmaskmov },
	{ 2, 0x8e, 0x8e, -1, PP_D, ENC_V, fpu_vmaskmov },
	{ 2, 0x90, 0x93, -1, PP_D, ENC_V, fpu_gather },
};

struct fpu_keymask fpu_keymask[4][256][4];

void
fpu_keymask_init(void)
{
	struct fpu_keymask *k;
	unsigned op, pp;
	size_t i;

	for (op = 0; op < 256; op++)
		fpu_keymask[0][op][0] = fpu_keymask[0][op][1] = fpu_keymask[0][op][2] =
			fpu_keymask[0][op][3] = (struct fpu_keymask){ .modrm = 0xff };
	for (i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
		for (op = specials[i].first; op <= specials[i].last; op++)
			for (pp = 0; pp < 4; pp++)
				if (specials[i].ext >= 0)
					fpu_keymask[specials[i].map][op][pp].modrm |= 0x38;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (op = rows[i].first; op <= rows[i].last; op++)
			for (pp = 0; pp < 4; pp++) {
				if ((rows[i].pp >> pp & 1) == 0)
					continue;
				k = &fpu_keymask[rows[i].map][op][pp];
				if (rows[i].flags & OPF_mmx)
					*k = (struct fpu_keymask){ .modrm = 0xff, .regs = true };
				if (rows[i].flags & OPF_ext)
					k->modrm |= 0x38;
				if (rows[i].flags & (OPF_rmgpr | OPF_gprdest | OPF_str))
					k->gpr = true;
				if (rows[i].flags & OPF_imm)
					k->imm = rows[i].flags & OPF_is4 ? 0x0f : 0xff;
			}
}

/* Bytes of an x87 memory operand by opcode and ModRM.reg; bit 7: written; 0: environment and state. */
static const uint8_t x87_mem[8][8] = {
	{ 4, 4, 4, 4, 4, 4, 4, 4 },
	{ 4, 0, 0x84, 0x84, 0, 2, 0, 0x82 },
	{ 4, 4, 4, 4, 4, 4, 4, 4 },
	{ 4, 0x84, 0x84, 0x84, 0, 10, 0, 0x8a },
	{ 8, 8, 8, 8, 8, 8, 8, 8 },
	{ 8, 0x88, 0x88, 0x88, 0, 0, 0, 0x82 },
	{ 2, 2, 2, 2, 2, 2, 2, 2 },
	{ 2, 0x82, 0x82, 0x82, 10, 8, 0x8a, 0x88 },
};

static bool
describe_x87(const struct insn *in, struct fpu_op *op)
{
	unsigned n = in->opcode & 7u, ext = in->modrm >> 3 & 7u, size;

	if (in->opcode == 0x9b) {
		op->fn = fpu_fwait;
		return true;
	}
	if ((in->opcode & 0xf8) != 0xd8)
		return false;
	op->fn = fpu_run_x87;
	if (fpu_is_mem(in)) {
		size = x87_mem[n][ext];
		op->flags = OPF_mem | (size & 0x80 ? OPF_rmdest : 0u);
		op->mem_size = size & 0x7f;
		if (size == 0)
			op->fn = fpu_x87_env;
		else if ((n == 1 && ext >= 5) || (n == 5 && ext == 7))
			op->fn = fpu_x87_control;
		return true;
	}
	if (n == 7 && in->modrm == 0xe0)
		op->fn = fpu_x87_control;		/* fnstsw ax */
	if ((n == 2 && ext <= 3) || (n == 3 && ext <= 3) || ((n == 3 || n == 7) && (ext == 5 || ext == 6)))
		op->flags |= OPF_fpuflags;		/* fcmovcc, fcomi, fucomi */
	return true;
}

static uint8_t
operand_size(const struct insn *in)
{
	unsigned i;

	for (i = 0; i < in->nopnds && i < 4; i++)
		if (in->op[i].kind == OPND_mem)
			return in->op[i].size;
	return 0;
}

static uint8_t
alignment(const struct fpu_op *op)
{
	if (op->mem_size < 16 || op->flags & OPF_noalign)
		return 0;
	if (op->flags & OPF_vex && !(op->flags & OPF_valign))
		return 0;
	return (uint8_t)(op->mem_size - 1);
}

static bool
describe_vector(const struct insn *in, struct fpu_op *op, const struct row *r)
{
	op->flags |= r->flags;
	if (op->flags & OPF_mmx) {
		op->flags |= OPF_mmxform;
		op->fn = fpu_run_mmx;
		if (op->opcode == 0x2c || op->opcode == 0x2d)
			op->flags |= OPF_fp;
		/* CVTPD2PI and MOVQ2DQ's source alignment: only m128 ones have one. */
	} else {
		op->fn = fpu_run_vector;
	}
	if (fpu_is_mem(in)) {
		op->flags |= OPF_mem;
		op->mem_size = operand_size(in);
		op->align = alignment(op);
		if (op->mem_size == 0 || op->mem_size > 32)
			return false;
	} else if (op->flags & OPF_ndsr) {
		op->flags |= OPF_nds;
	}
	return true;
}

bool
fpu_describe(const struct insn *in, struct fpu_op *op)
{
	unsigned enc = in->prefixes & PFX_vex ? ENC_V : ENC_L, ext = in->modrm >> 3 & 7u;
	size_t i;

	op->opcode = in->opcode;
	op->map = in->map;
	op->pp = in->pp;
	op->flags = enc == ENC_V ? OPF_vex : 0u;
	if (in->map == 0)
		return describe_x87(in, op);
	for (i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
		const struct special *s = &specials[i];

		if (s->map == in->map && in->opcode >= s->first && in->opcode <= s->last
		    && s->enc & enc && s->pp >> op->pp & 1 && (s->ext < 0 || (unsigned)s->ext == ext)) {
			op->fn = s->fn;
			op->mem_size = operand_size(in);
			return true;
		}
	}
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];

		if (r->map == in->map && in->opcode >= r->first && in->opcode <= r->last && r->enc & enc
		    && r->pp >> op->pp & 1)
			return describe_vector(in, op, r);
	}
	return false;
}
