/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu.h - what the files of the interpreter's floating-point and vector part share.
 *
 * An instruction is reduced to its shape (struct fpu_op): everything but register numbers and
 * addresses. Most shapes own a stub of host code that does the work on the host's own unit;
 * the rest are done in C. Shapes live as long as the process and may be kept by block caches.
 */
#pragma once
#include "cpu/cpuid.h"
#include "cpu/xsave.h"
#include "engine/interp/interp.h"

struct fpu_op;
typedef int fpu_fn(struct cpu *c, const struct insn *in, const struct fpu_op *op);

/* Properties of opcodes (fpu_ops.def). */
enum fpu_op_flag {
	OPF_rmdest  = 1 << 0,	/* writes ModRM.rm */
	OPF_vvdest  = 1 << 1,	/* writes VEX.vvvv */
	OPF_nodest  = 1 << 2,	/* writes no vector or general register of ModRM */
	OPF_gprdest = 1 << 3,	/* ModRM.reg is a GPR, written */
	OPF_rmgpr   = 1 << 4,	/* ModRM.rm, when a register, is a GPR */
	OPF_fp      = 1 << 5,	/* reads and sets MXCSR */
	OPF_flags   = 1 << 6,	/* sets arithmetic flags */
	OPF_nds     = 1 << 7,	/* the VEX form has a source in vvvv */
	OPF_ndsr    = 1 << 8,	/* ... but only when rm is a register */
	OPF_xmm0    = 1 << 9,	/* implicit source XMM0 */
	OPF_imm     = 1 << 10,
	OPF_is4     = 1 << 11,	/* fourth register in imm[7:4] */
	OPF_ext     = 1 << 12,	/* ModRM.reg belongs to the opcode */
	OPF_mmx     = 1 << 13,	/* the form without prefix works on MMX registers */
	OPF_rmw     = 1 << 14,	/* the VEX form reads its destination (FMA) */
	OPF_noalign = 1 << 15,	/* legacy: 16-byte memory operand need not be aligned */
	OPF_valign  = 1 << 16,	/* VEX: memory operand must be aligned */
	OPF_str     = 1 << 17,	/* PCMPxSTRx: lengths in rax and rdx, index to rcx or mask to xmm0 */
	OPF_mem     = 1 << 18,	/* has a memory operand (from the instruction) */
	OPF_mmxform = 1 << 19,	/* this one does use MMX registers (worked out) */
	OPF_vex     = 1 << 20,
	OPF_fpuflags = 1 << 21	/* x87 that reads or writes arithmetic flags */
};

/* What a stub is given beside operand addresses; offsets are known to fpu_stub.c. */
struct fpu_ctx {
	uint32_t mxcsr_in, mxcsr_out, mxcsr_host, pad;
	uint64_t flags;
	uint64_t rax, rdx, rcx;
};
typedef void fpu_code(void *reg, void *rm, void *vvvv, void *fourth, struct fpu_ctx *x);

struct fpu_op {
	uint64_t key;		/* the shape, fpu_key() */
	fpu_fn *fn;
	fpu_code *code;		/* NULL when fn needs none */
	uint32_t flags;		/* enum fpu_op_flag */
	uint8_t mem_size;	/* bytes of the memory operand, 0: none, or not fixed */
	uint8_t align;		/* its alignment minus one */
	uint8_t opcode, map, pp;
};

static inline unsigned fpu_reg(const struct insn *in)
	{ return (in->modrm >> 3 & 7u) | (in->rex & 4u) << 1; }
static inline unsigned fpu_rm(const struct insn *in)
	{ return (in->modrm & 7u) | (in->rex & 1u) << 3; }
static inline bool fpu_is_mem(const struct insn *in)
	{ return in->has_modrm && in->modrm < 0xc0; }

/* fpu_ops.c: fills op's flags, sizes and fn for an instruction; false: none of ours. */
bool fpu_describe(const struct insn *in, struct fpu_op *op);
/* Which bits of ModRM and the immediate belong to the shape; whether register numbers do (regs);
 * whether W is the size of a GPR, and so means nothing outside 64-bit mode (gpr). */
struct fpu_keymask { uint8_t modrm, imm; bool regs, gpr; };
extern struct fpu_keymask fpu_keymask[4][256][4];
void fpu_keymask_init(void);	/* from the tables, once, before the first use */

/* fpu_stub.c: writes the stub of op to p, at most FPU_STUB_MAX bytes; returns the length. */
enum { FPU_STUB_MAX = 192 };
size_t fpu_stub(uint8_t *p, const struct insn *in, const struct fpu_op *op);

/* fpu_cache.c: the shape of an instruction, made when new. NULL: none of ours. It stays where it is and
 * may be kept, unless its key is 0 (the table is full: good until the next look-up). */
bool fpu_cache_open(void);	/* the memory for its code; false: there is none */
const struct fpu_op *fpu_lookup(const struct cpu *c, const struct insn *in);

/* fpu.c: may the instruction run now? #UD, #NM, #MF. */
int MUST_CHECK fpu_check_x87(struct cpu *c, bool waiting);
int MUST_CHECK fpu_check_mmx(struct cpu *c);
int MUST_CHECK fpu_check_sse(struct cpu *c);
int MUST_CHECK fpu_check_avx(struct cpu *c);

/* The memory operand as host memory: guest RAM itself, or a buffer that fpu_mem_end writes back. */
struct fpu_mem {
	uint8_t *host;
	uint64_t lin;
	bool write_back;
	uint8_t buffer[64] __attribute__((aligned(64)));
};
/* private: never hand out guest RAM; a write is first tried by fpu_mem_end. */
int MUST_CHECK fpu_mem_begin(struct cpu *c, const struct insn *in, const struct fpu_op *op, bool private,
	struct fpu_mem *m);
int MUST_CHECK fpu_mem_end(struct cpu *c, const struct fpu_op *op, struct fpu_mem *m);

/* size bytes of any length; a write is all or nothing. */
int MUST_CHECK fpu_read(struct cpu *c, uint64_t lin, void *to, unsigned size);
int MUST_CHECK fpu_write(struct cpu *c, uint64_t lin, const void *from, unsigned size);

enum { MXCSR_flags = 0x3f, MXCSR_masks = 0x1f80,
	MXCSR_ftz = 0x8000, MXCSR_pre = 0x07 /* IE DE ZE */, MXCSR_ue = 0x10, MXCSR_um = 0x800 };

/* The ways to run a shape, as fpu_ops.c chooses them. */
fpu_fn fpu_run_vector, fpu_run_x87, fpu_run_mmx;				/* fpu.c */
fpu_fn fpu_x87_env, fpu_x87_control, fpu_fwait;					/* fpu_x87.c */
fpu_fn fpu_fxsave, fpu_fxrstor, fpu_xsave, fpu_xrstor, fpu_mxcsr, fpu_vzero;	/* fpu_state.c */
fpu_fn fpu_maskmov, fpu_vmaskmov, fpu_gather, fpu_movnti;			/* fpu_mask.c */
