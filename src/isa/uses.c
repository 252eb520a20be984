/* SPDX-License-Identifier: Apache-2.0 */
/* isa/uses.c - which general-purpose registers and flags an instruction reads and writes. */
#include "isa/insn.h"

enum { RAX = 1 << 0, RCX = 1 << 1, RDX = 1 << 2, RBX = 1 << 3, RSP = 1 << 4, RBP = 1 << 5,
	RSI = 1 << 6, RDI = 1 << 7, R11 = 1 << 11, ALL = 0xffff };
enum { FLAG_cf = 0x1, FLAG_pf = 0x4, FLAG_zf = 0x40, FLAG_sf = 0x80, FLAG_of = 0x800 };

/* What instructions do to registers that are not operands. */
struct implied { uint16_t read, write; };
static const struct implied implied[INSN__COUNT] = {
	[INSN_cbw] = { RAX, RAX }, [INSN_cwd] = { RAX | RDX, RDX },
	[INSN_cmpxchg] = { RAX, RAX },
	[INSN_cmpxchg8b] = { RAX | RDX | RCX | RBX, RAX | RDX },
	[INSN_cmpxchg16b] = { RAX | RDX | RCX | RBX, RAX | RDX },
	[INSN_daa] = { RAX, RAX }, [INSN_das] = { RAX, RAX }, [INSN_aaa] = { RAX, RAX },
	[INSN_aas] = { RAX, RAX }, [INSN_aam] = { RAX, RAX }, [INSN_aad] = { RAX, RAX },
	[INSN_salc] = { RAX, RAX }, [INSN_lahf] = { RAX, RAX }, [INSN_sahf] = { RAX, 0 },
	[INSN_xlat] = { RAX | RBX, RAX }, [INSN_mulx] = { RDX, 0 },
	[INSN_push] = { RSP, RSP }, [INSN_pop] = { RSP, RSP },
	[INSN_push_seg] = { RSP, RSP }, [INSN_pop_seg] = { RSP, RSP },
	[INSN_pusha] = { 0xff, RSP }, [INSN_popa] = { 0xff, 0xff },
	[INSN_pushf] = { RSP, RSP }, [INSN_popf] = { RSP, RSP },
	[INSN_enter] = { RSP | RBP, RSP | RBP }, [INSN_leave] = { RSP | RBP, RSP | RBP },
	[INSN_call] = { RSP, RSP }, [INSN_ret] = { RSP, RSP },
	[INSN_call_far] = { RSP, RSP }, [INSN_ret_far] = { RSP, RSP },
	[INSN_jmp_far] = { RSP, RSP },	/* through a task gate all change, and are stored before */
	[INSN_int] = { ALL, RSP }, [INSN_int1] = { ALL, RSP }, [INSN_int3] = { ALL, RSP },
	[INSN_into] = { ALL, RSP }, [INSN_iret] = { ALL, RSP },
	[INSN_jcxz] = { RCX, 0 },
	[INSN_loop] = { RCX, RCX }, [INSN_loope] = { RCX, RCX }, [INSN_loopne] = { RCX, RCX },
	[INSN_movs] = { RSI | RDI, RSI | RDI }, [INSN_cmps] = { RSI | RDI, RSI | RDI },
	[INSN_stos] = { RDI | RAX, RDI }, [INSN_lods] = { RSI, RSI }, [INSN_scas] = { RDI | RAX, RDI },
	[INSN_ins] = { RDI | RDX, RDI }, [INSN_outs] = { RSI | RDX, RSI },
	[INSN_cpuid] = { RAX | RCX, RAX | RCX | RDX | RBX },
	[INSN_rdtsc] = { 0, RAX | RDX }, [INSN_rdtscp] = { 0, RAX | RDX | RCX },
	[INSN_rdpmc] = { RCX, RAX | RDX },
	[INSN_rdmsr] = { RCX, RAX | RDX }, [INSN_wrmsr] = { RAX | RCX | RDX, 0 },
	[INSN_xgetbv] = { RCX, RAX | RDX }, [INSN_xsetbv] = { RAX | RCX | RDX, 0 },
	[INSN_rdpkru] = { RCX, RAX | RDX }, [INSN_wrpkru] = { RAX | RCX | RDX, 0 },
	[INSN_syscall] = { ALL, RCX | R11 }, [INSN_sysret] = { RCX | R11, 0 },
	[INSN_sysenter] = { ALL, RSP }, [INSN_sysexit] = { RCX | RDX, RSP },
	[INSN_rsm] = { ALL, 0 },
	[INSN_monitor] = { RAX | RCX | RDX, 0 }, [INSN_mwait] = { RAX | RCX, 0 },
	[INSN_monitorx] = { RAX | RCX | RDX, 0 }, [INSN_mwaitx] = { RAX | RCX | RBX, 0 },
	[INSN_clzero] = { RAX, 0 },
	[INSN_xsave] = { RAX | RDX, 0 }, [INSN_xrstor] = { RAX | RDX, 0 },
	[INSN_xsaveopt] = { RAX | RDX, 0 }, [INSN_xsavec] = { RAX | RDX, 0 },
	[INSN_xsaves] = { RAX | RDX, 0 }, [INSN_xrstors] = { RAX | RDX, 0 },
	[INSN_vmcall] = { ALL, RAX }, [INSN_vmmcall] = { ALL, RAX },	/* a hypercall: result in RAX */
	[INSN_vmrun] = { ALL, 0 }, [INSN_vmload] = { RAX, 0 }, [INSN_vmsave] = { RAX, 0 },
	[INSN_skinit] = { ALL, 0 }, [INSN_invlpga] = { RAX | RCX, 0 },
	[INSN_maskmovq] = { RDI, 0 }, [INSN_maskmovdqu] = { RDI, 0 }, [INSN_vmaskmovdqu] = { RDI, 0 },
	[INSN_pcmpestri] = { RAX | RDX, RCX }, [INSN_pcmpestrm] = { RAX | RDX, 0 },
	[INSN_vpcmpestri] = { RAX | RDX, RCX }, [INSN_vpcmpestrm] = { RAX | RDX, 0 },
	[INSN_pcmpistri] = { 0, RCX }, [INSN_vpcmpistri] = { 0, RCX },
};

/* Flags that each pair of conditions tests: o, b, e, be, s, p, l, le. */
static const uint16_t condition_flags[8] = {
	FLAG_of, FLAG_cf, FLAG_zf, FLAG_cf | FLAG_zf, FLAG_sf, FLAG_pf, FLAG_sf | FLAG_of,
	FLAG_sf | FLAG_of | FLAG_zf
};

static void
use_operands(const struct insn *in, struct insn_use *use)
{
	unsigned i;

	for (i = 0; i < in->nopnds; i++) {
		const struct opnd *o = &in->op[i];
		uint32_t bit;

		if (o->kind == OPND_mem) {
			if (in->base < 16)
				use->gpr_read |= 1u << in->base;
			if (in->index < 16 && o->reg != OPND_xmm && o->reg != OPND_ymm)
				use->gpr_read |= 1u << in->index;
		} else if (o->kind == OPND_reg) {
			bit = 1u << (o->reg & OPND_HIGH8 ? o->reg & 3 : o->reg);
			if (o->access & OPND_r)
				use->gpr_read |= bit;
			if (o->access & OPND_w) {
				use->gpr_write |= bit;
				if (o->size < 4)
					use->gpr_read |= bit;
			}
		}
	}
}

/* A count of 0 changes no flag; other counts leave what they leave undefined. */
static void
use_shift(const struct insn *in, const struct opnd *count, struct insn_use *use)
{
	unsigned mask = in->op[0].size == 8 ? 63 : 31;

	if (count->kind != OPND_imm) {
		use->fl_read |= use->fl_write;
	} else if ((in->imm & mask) == 0) {
		use->fl_read = use->fl_write = 0;
	} else if ((in->imm & mask) == 1) {
		use->fl_read &= (uint16_t)~FLAG_of | insn_info[in->id].fl_read;
	}
}

/* AX = AL * op, or rDX:rAX = rAX * op; both 16-bit halves are written only in part. */
static void
use_product(const struct insn *in, struct insn_use *use)
{
	use->gpr_read |= RAX;
	use->gpr_write |= RAX;
	if (in->op[0].size > 1)
		use->gpr_write |= RDX;
	if (in->op[0].size == 2)
		use->gpr_read |= RDX;
}

void
insn_uses(const struct insn *in, struct insn_use *use)
{
	const struct insn_info *info = &insn_info[in->id];

	use->gpr_read = implied[in->id].read;
	use->gpr_write = implied[in->id].write;
	use->fl_read = info->fl_read | insn_undefined_live(in->id);
	use->fl_write = info->fl_write;
	use_operands(in, use);
	switch (in->id) {
	case INSN_and: case INSN_or: case INSN_test:
		use->fl_read = 0;	/* AF is undefined on paper, 0 in every processor */
		break;
	case INSN_xor: case INSN_sub: case INSN_sbb:
		if (in->id == INSN_xor)
			use->fl_read = 0;
		/* the idiom for zero, or for all ones: the old value does not matter */
		if (in->op[0].kind == OPND_reg && in->op[1].kind == OPND_reg && in->op[0].size >= 4 &&
		    in->op[0].reg == in->op[1].reg)
			use->gpr_read = 0;
		break;
	case INSN_jcc: case INSN_setcc: case INSN_cmovcc:
		use->fl_read = condition_flags[in->cc >> 1];
		break;
	case INSN_rol: case INSN_ror: case INSN_rcl: case INSN_rcr:
	case INSN_shl: case INSN_shr: case INSN_sar:
		use_shift(in, &in->op[1], use);
		break;
	case INSN_shld: case INSN_shrd:
		use_shift(in, &in->op[2], use);
		break;
	case INSN_mul: case INSN_imul:
		if (in->nopnds == 1)
			use_product(in, use);
		break;
	case INSN_div: case INSN_idiv:
		use->gpr_read |= in->op[0].size > 1 ? RAX | RDX : RAX;
		use->gpr_write |= in->op[0].size > 1 ? RAX | RDX : RAX;
		break;
	case INSN_cwd:
		if (in->osize >= 4)
			use->gpr_read = RAX;
		break;
	default:
		break;
	}
	if (info->flags & IF_string && in->prefixes & (PFX_rep | PFX_repne)) {
		use->gpr_read |= RCX;
		use->gpr_write |= RCX;
		use->gpr_read |= use->gpr_write;
		use->fl_read |= use->fl_write;
	}
}
