/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_stub.c - writes the host code that runs one shape of instruction.
 *
 * A stub is a C function, fpu_code. Vector instructions get their registers renamed, so that one
 * stub serves all register numbers: ModRM.reg is xmm1, ModRM.rm xmm2 or [rsi], VEX.vvvv xmm3, the
 * fourth xmm4; a GPR written by ModRM.reg is rax; r8 points to struct fpu_ctx. Registers are
 * loaded from and stored to struct fpu_state, where the upper half of a YMM register stands a
 * fixed distance behind the lower. x87 and MMX instructions run on the whole guest state,
 * exchanged by FXRSTOR and FXSAVE, which wait for no pending exception.
 */
#include "engine/interp/fpu.h"
#include <string.h>

enum { RAX = 0, RCX = 1, RDX = 2, RSI = 6, RDI = 7 };	/* ModRM numbers of the argument registers */
enum { SLOT_reg = 1, SLOT_rm = 2, SLOT_vvvv = 3, SLOT_fourth = 4 };
enum { UPPER = offsetof(struct fpu_state, ymmh) - offsetof(struct fpu_state, xmm) };

static_assert(offsetof(struct fpu_ctx, mxcsr_in) == 0 && offsetof(struct fpu_ctx, mxcsr_out) == 4
	&& offsetof(struct fpu_ctx, mxcsr_host) == 8 && offsetof(struct fpu_ctx, flags) == 16
	&& offsetof(struct fpu_ctx, rax) == 24 && offsetof(struct fpu_ctx, rdx) == 32
	&& offsetof(struct fpu_ctx, rcx) == 40, "the displacements below");

struct out { uint8_t *p; };

static void
bytes(struct out *o, const char *from, size_t n)
{
	memcpy(o->p, from, n);
	o->p += n;
}
#define EMIT(o, literal) bytes(o, literal, sizeof(literal) - 1)

static void
byte(struct out *o, unsigned b)
{
	*o->p++ = (uint8_t)b;
}

/* vinsertf128/vextractf128 between ymm and [ptr + UPPER]; mod 2 with a 32-bit displacement. */
static void
upper_half(struct out *o, unsigned opcode, unsigned vvvv, unsigned ymm, unsigned ptr)
{
	const uint32_t disp = UPPER;

	EMIT(o, "\xc4\xe3");
	byte(o, (~vvvv & 15) << 3 | 5);
	byte(o, opcode);
	byte(o, 0x80 | ymm << 3 | ptr);
	memcpy(o->p, &disp, 4);
	o->p += 4;
	byte(o, 1);
}

static void
load(struct out *o, bool vex, bool wide, unsigned xmm, unsigned ptr)
{
	if (vex)
		EMIT(o, "\xc5\xf8\x10");
	else
		EMIT(o, "\x0f\x10");
	byte(o, xmm << 3 | ptr);
	if (wide)
		upper_half(o, 0x18, xmm, xmm, ptr);
}

/* A VEX instruction has cleared what lies above its result, so both halves go back. */
static void
store(struct out *o, bool vex, unsigned xmm, unsigned ptr)
{
	if (vex)
		EMIT(o, "\xc5\xf8\x11");
	else
		EMIT(o, "\x0f\x11");
	byte(o, xmm << 3 | ptr);
	if (vex)
		upper_half(o, 0x19, 0, xmm, ptr);
}

static void
opcode_bytes(struct out *o, const struct fpu_op *op)
{
	if (op->map == 2)
		EMIT(o, "\x0f\x38");
	else if (op->map == 3)
		EMIT(o, "\x0f\x3a");
	else if (op->map == 1)
		byte(o, 0x0f);
	byte(o, op->opcode);
}

static void
legacy_prefixes(struct out *o, const struct fpu_op *op, unsigned rex)
{
	static const uint8_t prefix[4] = { 0, 0x66, 0xf3, 0xf2 };

	if (op->pp != 0)
		byte(o, prefix[op->pp]);
	if (rex != 0)
		byte(o, 0x40 | rex);
}

/* The instruction itself with renamed operands. */
static void
vector_insn(struct out *o, const struct insn *in, const struct fpu_op *op)
{
	unsigned w = in->rex & 8u, reg = SLOT_reg, vvvv = 0;
	bool mem = (op->flags & (OPF_mem | OPF_rmgpr)) != 0;

	if (op->flags & OPF_ext)
		reg = in->modrm >> 3 & 7u;
	else if (op->flags & OPF_gprdest)
		reg = RAX;
	if (op->flags & (OPF_nds | OPF_vvdest))
		vvvv = SLOT_vvvv;
	if (op->flags & OPF_vex) {
		byte(o, 0xc4);
		byte(o, 0xe0u | op->map);
		byte(o, w << 4 | (~vvvv & 15) << 3 | (in->vex_l ? 4u : 0u) | op->pp);
		byte(o, op->opcode);
	} else {
		legacy_prefixes(o, op, w);
		opcode_bytes(o, op);
	}
	byte(o, mem ? reg << 3 | RSI : 0xc0 | reg << 3 | SLOT_rm);
	if (op->flags & OPF_is4)
		byte(o, SLOT_fourth << 4 | (in->imm & 15));
	else if (op->flags & OPF_imm)
		byte(o, (unsigned)in->imm & 0xff);
}

static void
vector_loads(struct out *o, const struct insn *in, const struct fpu_op *op)
{
	bool vex = op->flags & OPF_vex, wide = vex && in->vex_l;

	if (op->flags & (OPF_xmm0 | OPF_str))
		load(o, vex, false, 0, RCX);
	if (op->flags & OPF_is4)
		load(o, vex, wide, SLOT_fourth, RCX);
	if (!(op->flags & (OPF_ext | OPF_gprdest))
	    && (!vex || op->flags & (OPF_rmdest | OPF_nodest | OPF_rmw)))
		load(o, vex, wide, SLOT_reg, RDI);
	if (!(op->flags & (OPF_mem | OPF_rmgpr)) && (!vex || !(op->flags & OPF_rmdest)))
		load(o, vex, wide, SLOT_rm, RSI);
	if (vex && op->flags & OPF_nds)
		load(o, vex, wide, SLOT_vvvv, RDX);
	if (op->flags & OPF_str)
		EMIT(o, "\x49\x8b\x40\x18" "\x49\x8b\x50\x20");	/* mov rax, [r8+24]; mov rdx, [r8+32] */
}

static void
vector_stores(struct out *o, const struct fpu_op *op)
{
	bool vex = op->flags & OPF_vex;

	if (op->flags & OPF_gprdest)
		EMIT(o, "\x48\x89\x07");			/* mov [rdi], rax */
	else if (op->flags & OPF_vvdest)
		store(o, vex, SLOT_vvvv, RDX);
	else if (op->flags & OPF_rmdest) {
		if (!(op->flags & (OPF_mem | OPF_rmgpr)))
			store(o, vex, SLOT_rm, RSI);
	} else if (!(op->flags & OPF_nodest))
		store(o, vex, SLOT_reg, RDI);
}

static void
vector_stub(struct out *o, const struct insn *in, const struct fpu_op *op)
{
	if (op->flags & OPF_fp)
		EMIT(o, "\x41\x0f\xae\x10");			/* ldmxcsr [r8] */
	vector_loads(o, in, op);
	vector_insn(o, in, op);
	if (op->flags & OPF_flags)
		EMIT(o, "\x9c\x41\x8f\x40\x10");		/* pushfq; pop [r8+16] */
	if (op->flags & OPF_fp)
		EMIT(o, "\x41\x0f\xae\x58\x04" "\x41\x0f\xae\x50\x08");	/* stmxcsr [r8+4]; ldmxcsr [r8+8] */
	if (op->flags & OPF_str && op->opcode & 1)
		EMIT(o, "\x49\x89\x48\x28");			/* mov [r8+40], rcx */
	else if (op->flags & OPF_str)
		store(o, op->flags & OPF_vex, 0, RCX);
	vector_stores(o, op);
	if (op->flags & OPF_vex)
		EMIT(o, "\xc5\xf8\x77");			/* vzeroupper */
}

/* x87 or MMX: rdi is the whole state, rsi the memory operand or a GPR, rdx where a GPR result goes. */
static void
state_stub(struct out *o, const struct insn *in, const struct fpu_op *op)
{
	bool mem = (op->flags & (OPF_mem | OPF_rmgpr)) != 0, gpr = op->flags & OPF_gprdest;
	unsigned modrm = mem ? (in->modrm & 0x38u) | RSI : gpr ? in->modrm & 0xc7u : in->modrm;
	unsigned rex = (in->rex & 8u) | (gpr || op->flags & OPF_ext ? 0u : in->rex & 4u) | (mem ? 0u : in->rex & 1u);

	EMIT(o, "\x48\x0f\xae\x0f");				/* fxrstor64 [rdi] */
	if (op->flags & OPF_fp)
		EMIT(o, "\x41\x0f\xae\x10");
	if (op->flags & OPF_fpuflags)
		EMIT(o, "\x41\xff\x70\x10\x9d");		/* push [r8+16]; popfq */
	if (op->map == 0) {
		byte(o, op->opcode);
		byte(o, modrm);
	} else {
		legacy_prefixes(o, op, rex);
		opcode_bytes(o, op);
		if (in->has_modrm)
			byte(o, modrm);
		if (op->flags & OPF_imm)
			byte(o, (unsigned)in->imm & 0xff);
	}
	if (op->flags & OPF_fpuflags)
		EMIT(o, "\x9c\x41\x8f\x40\x10");
	if (op->flags & OPF_fp)
		EMIT(o, "\x41\x0f\xae\x58\x04");
	EMIT(o, "\x48\x0f\xae\x07" "\xdb\xe3" "\x41\x0f\xae\x50\x08");	/* fxsave64 [rdi]; fninit; ldmxcsr */
	if (gpr)
		EMIT(o, "\x48\x89\x02");			/* mov [rdx], rax */
}

size_t
fpu_stub(uint8_t *p, const struct insn *in, const struct fpu_op *op)
{
	struct out o = { p };

	if (op->map == 0 || op->flags & OPF_mmxform)
		state_stub(&o, in, op);
	else
		vector_stub(&o, in, op);
	byte(&o, 0xc3);
	assert((size_t)(o.p - p) <= FPU_STUB_MAX);
	return (size_t)(o.p - p);
}
