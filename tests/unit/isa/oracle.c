/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/isa/oracle.c - our decoder against Zydis.
 *
 * Every opcode map in the three modes, with sampled prefixes, ModRM, SIB and tails, then random
 * bytes and real code. Compared: legality, length, name, operands (kind, register, size, access),
 * address, immediates, registers and flags read and written.
 *
 * ORACLE=n multiplies the work by n; ORACLE_SHOW=1 prints one line for each kind of difference.
 */
#include "check.h"
#include "isa/insn.h"
#include "cpu/regs.h"
#include <Zydis/Zydis.h>
#include <link.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>

enum { FA = 0x10, FO = 0x800, FLAGS = 0x8d5 | 0x400 /* DF */ };

static ZydisDecoder decoder[3];
static uint64_t rng = 88172645463325252ull;
static unsigned long compared, known, different;
static bool show;

static uint32_t
rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16);
}

static void
decoders(void)
{
	unsigned m;

	ZydisDecoderInit(&decoder[ISA_16], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoder[ISA_32], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoder[ISA_64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (m = 0; m < 3; m++) {
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE);
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_CET, ZYAN_TRUE);
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_TRUE);
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	}
}

/* ---- the deliberate differences ---- */

/* Instructions that Zydis knows and this processor does not have: they must be invalid here. */
static bool
not_ours(const ZydisDecodedInstruction *z)
{
	switch (z->meta.isa_ext) {
	case ZYDIS_ISA_EXT_AMD3DNOW: case ZYDIS_ISA_EXT_XOP: case ZYDIS_ISA_EXT_TBM:
	case ZYDIS_ISA_EXT_FMA4: case ZYDIS_ISA_EXT_SSE4A:
	case ZYDIS_ISA_EXT_PADLOCK:
	case ZYDIS_ISA_EXT_AVX512EVEX: case ZYDIS_ISA_EXT_AVX512VEX: case ZYDIS_ISA_EXT_KNC:
	case ZYDIS_ISA_EXT_KNCE: case ZYDIS_ISA_EXT_KNCV:
	case ZYDIS_ISA_EXT_AVX_VNNI: case ZYDIS_ISA_EXT_VAES: case ZYDIS_ISA_EXT_VPCLMULQDQ:
	case ZYDIS_ISA_EXT_GFNI: case ZYDIS_ISA_EXT_AMX_BF16: case ZYDIS_ISA_EXT_AMX_INT8:
	case ZYDIS_ISA_EXT_AMX_TILE:
	case ZYDIS_ISA_EXT_SGX: case ZYDIS_ISA_EXT_SGX_ENCLV: case ZYDIS_ISA_EXT_SMX:
	case ZYDIS_ISA_EXT_TDX: case ZYDIS_ISA_EXT_UINTR: case ZYDIS_ISA_EXT_VMFUNC:
	case ZYDIS_ISA_EXT_CET: case ZYDIS_ISA_EXT_MPX: case ZYDIS_ISA_EXT_PT:
	case ZYDIS_ISA_EXT_RTM: case ZYDIS_ISA_EXT_TSX_LDTRK: case ZYDIS_ISA_EXT_WAITPKG:
	case ZYDIS_ISA_EXT_KEYLOCKER: case ZYDIS_ISA_EXT_KEYLOCKER_WIDE:
	case ZYDIS_ISA_EXT_ENQCMD: case ZYDIS_ISA_EXT_MOVDIR: case ZYDIS_ISA_EXT_HRESET:
	case ZYDIS_ISA_EXT_PCONFIG: case ZYDIS_ISA_EXT_MCOMMIT: case ZYDIS_ISA_EXT_RDPRU:
	case ZYDIS_ISA_EXT_SNP: case ZYDIS_ISA_EXT_AMD_INVLPGB:
		return true;
	case ZYDIS_ISA_EXT_VTX:
		return z->mnemonic != ZYDIS_MNEMONIC_VMCALL;
	default:
		return false;
	}
}

/* Where we and Zydis differ on purpose, or where it is known to be wrong or silent. Rows with an
 * empty name are for all instructions. */
static const struct {
	const char *name, *why, *reason;
} accepted[] = {
	/* the processor is AMD's */
	{ "nop", "illegal here", "0F 0D with a register is #UD on AMD" },
	{ "prefetch", "name", "0F 0D /2 is PREFETCH on AMD" },
	{ "call", "memory size", "66 on near branches counts on AMD (Zydis: only for rel)" },
	{ "call", "register size", "the same" },
	{ "jmp", "memory size", "the same" },
	{ "jmp", "register size", "the same" },
	{ "call_far", "memory size", "no m16:64 on AMD" },
	{ "jmp_far", "memory size", "the same" },
	{ "lss", "register size", "the same" },
	{ "lfs", "register size", "the same" },
	{ "lgs", "register size", "the same" },
	{ "lss", "memory size", "the same" },
	{ "lfs", "memory size", "the same" },
	{ "lgs", "memory size", "the same" },
	{ "syscall", "legal here", "outside 64-bit mode too on AMD" },
	{ "sysret", "legal here", "the same" },
	/* no CET: its instructions in the space of hint NOPs are NOPs, 3E is DS */
	{ "nop", "an instruction that we do not have", "" },
	{ "endbr32", "an instruction that we do not have", "" },
	{ "endbr64", "an instruction that we do not have", "" },
	{ "jmp", "segment", "" },
	{ "call", "segment", "" },
	/* our form */
	{ "nop", "register", "bound registers of MPX" },
	{ "nop", "missing operand", "hint NOPs have one operand here" },
	{ "nop", "register size", "never accessed" },
	{ "nop", "reads a register that we do not report", "not read" },
	{ "ud0", "register size", "never accessed" },
	{ "ud1", "register size", "never accessed" },
	{ "ud0", "reads a register that we do not report", "not read" },
	{ "ud1", "reads a register that we do not report", "not read" },
	{ "clzero", "register", "[rAX] is a memory operand here" },
	{ "monitor", "register", "the same" },
	{ "monitorx", "register", "the same" },
	{ "clzero", "register size", "the same" },
	{ "clzero", "access", "the same" },
	{ "monitor", "register size", "the same" },
	{ "monitorx", "register size", "the same" },
	{ "vmload", "missing operand", "fixed registers are no operands here" },
	{ "vmsave", "missing operand", "the same" },
	{ "vmrun", "missing operand", "the same" },
	{ "skinit", "missing operand", "the same" },
	{ "invlpga", "missing operand", "the same" },
	/* where Zydis says less than the manual */
	{ "bsf", "access", "a source of 0 leaves the destination" },
	{ "bsr", "access", "the same" },
	{ "cvtpi2ps", "access", "keeps the upper part" },
	{ "cvtss2sd", "access", "the same" },
	{ "cvtsd2ss", "access", "the same" },
	{ "sqrtss", "access", "the same" },
	{ "sqrtsd", "access", "the same" },
	{ "rsqrtss", "access", "the same" },
	{ "rcpss", "access", "the same" },
	{ "roundss", "access", "the same" },
	{ "roundsd", "access", "the same" },
	{ "fucomp", "missing operand", "ST0 is implied" },
	{ "fucomp", "register", "the same" },
	{ "lsl", "register size", "the source is a word" },
	{ "movmskps", "register size", "4 bytes zero-extended are 8" },
	{ "movmskpd", "register size", "the same" },
	{ "vpextrw", "register size", "the same" },
	{ "wbnoinvd", "name", "Zydis has it as WBINVD outside 64-bit mode" },
	{ "ffree", "access", "only the tag changes" },
	{ "ffreep", "access", "the same" },
	{ "movsxd", "memory size", "with 66 it reads a word" },
	{ "cmps", "we report a write that is none", "rSI and rDI move" },
	{ "scas", "we report a write that is none", "rDI moves" },
	{ "ins", "we report a write that is none", "the same" },
	{ "outs", "we report a write that is none", "rSI moves" },
	{ "int", "we report a write that is none", "rSP moves" },
	{ "int1", "we report a write that is none", "the same" },
	{ "int3", "we report a write that is none", "the same" },
	{ "into", "we report a write that is none", "the same" },
	{ "jmp_far", "we report a write that is none", "the same, through a task gate" },
	{ "int", "we report a change of flag that is none", "through a task gate" },
	{ "int1", "we report a change of flag that is none", "the same" },
	{ "int3", "we report a change of flag that is none", "the same" },
	{ "into", "we report a change of flag that is none", "the same" },
	{ "vmrun", "we report a change of flag that is none", "the guest's" },
	{ "jmp_far", "we report a change of flag that is none", "the same" },
	{ "call_far", "we report a change of flag that is none", "the same" },
	{ "sbb", "we report a flag as overwritten that is not", "AF is defined" },
	{ "vmaskmovdqu", "access", "memory is written, not read" },
	{ "vmcall", "changes a flag that we do not report", "not DF" },
	{ "vmcall", "we report a write that is none", "RAX is the result of a hypercall" },
	{ "vmmcall", "we report a write that is none", "the same" },
	{ "bextr", "we report a flag as overwritten that is not", "OF and CF are 0" },
	{ "vptest", "we report a flag as overwritten that is not", "clears OF SF AF PF" },
	{ "vptest", "we report a change of flag that is none", "clears OF SF AF PF" },
	{ "vtestps", "we report a flag as overwritten that is not", "clears OF SF AF PF" },
	{ "vtestps", "we report a change of flag that is none", "the same" },
	{ "vtestpd", "we report a flag as overwritten that is not", "clears OF SF AF PF" },
	{ "vtestpd", "we report a change of flag that is none", "the same" },
};

static bool
accepted_difference(const char *name, const char *why)
{
	unsigned i;

	for (i = 0; i < sizeof accepted / sizeof accepted[0]; i++)
		if (strcmp(accepted[i].why, why) == 0 && strcmp(accepted[i].name, name) == 0)
			return true;
	return false;
}

static const char *current;	/* name of the instruction at hand */
static bool some_accepted;

/* Go on after an accepted difference, or return it. */
#define DIFFER(why) do { if (!accepted_difference(current, why)) return why; some_accepted = true; } while (0)

/* ---- names ---- */

static const char *const jcc_names[16] = { "jo", "jno", "jb", "jnb", "jz", "jnz", "jbe", "jnbe",
	"js", "jns", "jp", "jnp", "jl", "jnl", "jle", "jnle" };

/* Ours where Zydis has one name a size, or another name. */
static const struct { const char *ours, *theirs; } names[] = {
	{ "cbw", "cwde" }, { "cbw", "cdqe" }, { "cwd", "cdq" }, { "cwd", "cqo" },
	{ "movs", "movsb" }, { "movs", "movsw" }, { "movs", "movsd" }, { "movs", "movsq" },
	{ "cmps", "cmpsb" }, { "cmps", "cmpsw" }, { "cmps", "cmpsd" }, { "cmps", "cmpsq" },
	{ "stos", "stosb" }, { "stos", "stosw" }, { "stos", "stosd" }, { "stos", "stosq" },
	{ "lods", "lodsb" }, { "lods", "lodsw" }, { "lods", "lodsd" }, { "lods", "lodsq" },
	{ "scas", "scasb" }, { "scas", "scasw" }, { "scas", "scasd" }, { "scas", "scasq" },
	{ "ins", "insb" }, { "ins", "insw" }, { "ins", "insd" },
	{ "outs", "outsb" }, { "outs", "outsw" }, { "outs", "outsd" },
	{ "jcxz", "jecxz" }, { "jcxz", "jrcxz" },
	{ "pusha", "pushad" }, { "popa", "popad" }, { "pushf", "pushfd" }, { "pushf", "pushfq" },
	{ "popf", "popfd" }, { "popf", "popfq" }, { "iret", "iretd" }, { "iret", "iretq" },
	{ "mov_to_seg", "mov" }, { "mov_from_seg", "mov" }, { "mov_to_cr", "mov" },
	{ "mov_from_cr", "mov" }, { "mov_to_dr", "mov" }, { "mov_from_dr", "mov" },
	{ "push_seg", "push" }, { "pop_seg", "pop" },
	{ "jmp_far", "jmp" }, { "call_far", "call" }, { "ret_far", "ret" },
	{ "fxsave", "fxsave64" }, { "fxrstor", "fxrstor64" }, { "xsave", "xsave64" },
	{ "xrstor", "xrstor64" }, { "xsaveopt", "xsaveopt64" }, { "xsavec", "xsavec64" },
	{ "xsaves", "xsaves64" }, { "xrstors", "xrstors64" },
	{ "fstp", "fstpnce" }, { "fneni", "feni8087_nop" }, { "fndisi", "fdisi8087_nop" },
	{ "fnsetpm", "fsetpm287_nop" },
};

static bool
same_name(const struct insn *in, const char *theirs)
{
	const char *ours = insn_info[in->id].name;
	unsigned i;

	if (strcmp(ours, theirs) == 0)
		return true;
	if (in->id == INSN_jcc)
		return strcmp(theirs, jcc_names[in->cc]) == 0;
	if (in->id == INSN_setcc)
		return strncmp(theirs, "set", 3) == 0 && strcmp(theirs + 3, jcc_names[in->cc] + 1) == 0;
	if (in->id == INSN_cmovcc)
		return strncmp(theirs, "cmov", 4) == 0 && strcmp(theirs + 4, jcc_names[in->cc] + 1) == 0;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(ours, names[i].ours) == 0 && strcmp(theirs, names[i].theirs) == 0)
			return true;
	return false;
}

/* ---- operands ---- */

/* Zydis's register as one of our kinds and numbers. */
static struct opnd
reg_of(ZydisRegister r)
{
	struct opnd o = { .reg = (uint8_t)ZydisRegisterGetId(r),
		.size = (uint8_t)(ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, r) / 8) };

	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		o.kind = OPND_reg;
		if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
			o.reg = (uint8_t)(OPND_HIGH8 + 4 + r - ZYDIS_REGISTER_AH);
		else
			o.reg = (uint8_t)(r >= ZYDIS_REGISTER_SPL ? 4 + r - ZYDIS_REGISTER_SPL :
			    r - ZYDIS_REGISTER_AL);
		break;
	case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64:
		o.kind = OPND_reg;
		break;
	case ZYDIS_REGCLASS_X87: o.kind = OPND_st; break;
	case ZYDIS_REGCLASS_MMX: o.kind = OPND_mm; break;
	case ZYDIS_REGCLASS_XMM: o.kind = OPND_xmm; break;
	case ZYDIS_REGCLASS_YMM: o.kind = OPND_ymm; break;
	case ZYDIS_REGCLASS_SEGMENT: o.kind = OPND_seg; break;
	case ZYDIS_REGCLASS_CONTROL: o.kind = OPND_cr; break;
	case ZYDIS_REGCLASS_DEBUG: o.kind = OPND_dr; break;
	default: o.kind = OPND_none; break;
	}
	return o;
}

static uint8_t
gpr_of(ZydisRegister r)
{
	struct opnd o = reg_of(r);

	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return INSN_RIP;
	return r == ZYDIS_REGISTER_NONE ? INSN_NOREG : o.reg;
}

static bool
same_access(const struct insn *in, const struct opnd *o, ZydisOperandActions a)
{
	bool r = a & ZYDIS_OPERAND_ACTION_MASK_READ, w = a & ZYDIS_OPERAND_ACTION_MASK_WRITE;

	if (!!(o->access & OPND_w) != w)
		return false;
	if (a & ZYDIS_OPERAND_ACTION_CONDWRITE && in->id == INSN_lods)
		return true;	/* with rep: see insn_uses */
	if (a & ZYDIS_OPERAND_ACTION_CONDWRITE && !(a & ZYDIS_OPERAND_ACTION_WRITE))
		return o->kind == OPND_mem || o->access & OPND_r;
	return !!(o->access & OPND_r) == r;
}

static const char *
compare_memory(const struct insn *in, const struct opnd *o, const ZydisDecodedOperand *z)
{
	uint8_t base = gpr_of(z->mem.base);

	if (insn_info[in->id].flags & IF_string) {
		if (o->reg != base)
			DIFFER("string register");
		return o->reg == 7 || in->seg == reg_of(z->mem.segment).reg ? NULL : "segment";
	}
	/* Zydis 4.0 with an address size of 4: REX.B makes r13d of no base, and loses the offset */
	if (in->base == INSN_NOREG && base == 13 && in->asize == 4)
		return NULL;
	if (in->base != base)
		DIFFER("base");
	if (in->id == INSN_xlat)
		return NULL;
	if (in->index != gpr_of(z->mem.index))
		DIFFER("index");
	if (in->index != INSN_NOREG && 1 << in->scale != z->mem.scale && in->asize != 2)
		DIFFER("scale");
	if (in->disp_at != 0 && !in->has_modrm)
		return ((uint64_t)(in->disp ^ z->mem.disp.value) << (64 - 8 * in->asize)) == 0 ? NULL : "offset";
	if (z->mem.disp.has_displacement ? in->disp != z->mem.disp.value : in->disp != 0)
		DIFFER("displacement");
	if (z->mem.type == ZYDIS_MEMOP_TYPE_VSIB && reg_of(z->mem.index).kind != o->reg)
		DIFFER("kind of index");
	if (z->mem.type != ZYDIS_MEMOP_TYPE_AGEN && in->seg != reg_of(z->mem.segment).reg)
		DIFFER("segment");
	return NULL;
}

static const char *
compare_operand(const struct insn *in, const struct opnd *o, const ZydisDecodedOperand *z)
{
	struct opnd r;
	const char *why;

	switch (z->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		r = reg_of(z->reg.value);
		if (r.kind != o->kind || r.reg != o->reg)
			DIFFER("register");
		if (r.kind == OPND_reg && r.size != o->size)
			DIFFER("register size");
		break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (o->kind != OPND_mem)
			DIFFER("kind");
		if ((why = compare_memory(in, o, z)) != NULL)
			return why;
		if (o->size != 0 && o->access != 0 && o->size * 8u != z->size)
			DIFFER("memory size");
		break;
	case ZYDIS_OPERAND_TYPE_POINTER:
		if (o->kind != OPND_far || in->imm != z->ptr.offset || in->imm2 != z->ptr.segment)
			DIFFER("far pointer");
		return NULL;
	default:
		if (o->kind != OPND_imm && o->kind != OPND_rel)
			DIFFER("kind");
		if (o->kind == OPND_rel && !z->imm.is_relative)
			DIFFER("relative");
		if (in->id == INSN_enter && o == &in->op[1])
			return in->imm2 == z->imm.value.u ? NULL : "second immediate";
		return ((in->imm ^ z->imm.value.u) << (64 - 8 * o->size)) == 0 ? NULL : "immediate";
	}
	if (o->access != 0 && !same_access(in, o, z->actions))
		DIFFER("access");
	return NULL;
}

/* Each of our operands has one of Zydis's, in order; each visible one of theirs has one of ours. */
static const char *
compare_operands(const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *zop)
{
	unsigned i, k = 0;
	const char *why;

	for (i = 0; i < in->nopnds; i++) {
		why = "operand";
		for (; k < z->operand_count; k++) {
			why = compare_operand(in, &in->op[i], &zop[k]);
			if (why == NULL || zop[k].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
				break;
		}
		if (k++ == z->operand_count || why != NULL)
			return why;
	}
	for (; k < z->operand_count; k++)
		if (zop[k].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			DIFFER("missing operand");
	return NULL;
}

/* ---- registers and flags ---- */

static bool
shift(uint16_t id)
{
	return id == INSN_rol || id == INSN_ror || id == INSN_rcl || id == INSN_rcr || id == INSN_shl ||
		id == INSN_shr || id == INSN_sar || id == INSN_shld || id == INSN_shrd;
}

static const char *
compare_uses(const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *zop)
{
	uint32_t read = 0, may = 0, must = 0, fl_read = 0, fl_may = 0, fl_undef = 0;
	const struct insn_info *info = &insn_info[in->id];
	struct insn_use use;
	unsigned i;

	insn_uses(in, &use);
	for (i = 0; i < z->operand_count; i++) {
		const ZydisDecodedOperand *o = &zop[i];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && reg_of(o->reg.value).kind == OPND_reg) {
			struct opnd r = reg_of(o->reg.value);
			uint32_t bit = 1u << (r.reg & OPND_HIGH8 ? r.reg & 3 : r.reg);

			if (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
				read |= bit;
			if (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
				may |= bit;
			if (o->actions & ZYDIS_OPERAND_ACTION_WRITE && r.size >= 4)
				must |= bit;
		} else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			uint8_t b = gpr_of(o->mem.base), x = gpr_of(o->mem.index);

			read |= b < 16 ? 1u << b : 0;
			if (x < 16 && o->mem.type != ZYDIS_MEMOP_TYPE_VSIB)
				read |= 1u << x;
		}
	}
	if (z->cpu_flags != NULL) {
		fl_read = z->cpu_flags->tested;
		fl_undef = z->cpu_flags->undefined;
		fl_may = z->cpu_flags->modified | z->cpu_flags->set_0 | z->cpu_flags->set_1;
	}
	if (info->fl_undef == FA)
		fl_may |= FA;	/* and, or, xor, test: 0 in every processor */
	if (shift(in->id) && in->op[in->nopnds - 1].kind == OPND_imm) {
		uint64_t count = in->imm & (in->op[0].size == 8 ? 63 : 31);

		if (count == 1)
			fl_may |= FO;	/* defined for this count */
		if (count == 0)
			fl_read = 0;	/* no flag is touched */
	}
	if ((in->id == INSN_xor || in->id == INSN_sub || in->id == INSN_sbb) && use.gpr_read == 0)
		read = 0;	/* the zeroing idiom */
	if (in->base == INSN_NOREG && in->asize == 4)
		read &= ~(1u << 13) | use.gpr_read;	/* see compare_memory() */
	if (read & ~use.gpr_read)
		DIFFER("reads a register that we do not report");
	if (may & ~use.gpr_write)
		DIFFER("writes a register that we do not report");
	if (use.gpr_write & ~use.gpr_read & ~must)
		DIFFER("we report a register as overwritten that is not");
	if (use.gpr_write & ~may)
		DIFFER("we report a write that is none");
	if (fl_read & FLAGS & ~use.fl_read)
		DIFFER("tests a flag that we do not report");
	if ((fl_may | fl_undef) & FLAGS & ~info->fl_write)
		DIFFER("changes a flag that we do not report");
	if (info->fl_write & FLAGS & ~(fl_may | fl_undef))
		DIFFER("we report a change of flag that is none");
	if (use.fl_write & ~use.fl_read & FLAGS & ~fl_may)
		DIFFER("we report a flag as overwritten that is not");
	return NULL;
}

/* ---- one comparison ---- */

static const char *
compare(const struct insn *in, int len, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *zop,
    bool zok)
{
	const char *why;

	if (!zok || not_ours(z)) {
		some_accepted = zok;
		if (len > 0)
			DIFFER(zok ? "an instruction that we do not have" : "legal here");
		return NULL;
	}
	if (len < 0) {
		DIFFER("illegal here");
		return NULL;
	}
	if (!same_name(in, ZydisMnemonicGetString(z->mnemonic)))
		DIFFER("name");
	if (in->len != z->length)
		DIFFER("length");
	if (in->opcode != z->opcode)
		DIFFER("opcode");
	if (in->asize * 8 != z->address_width)
		DIFFER("address size");
	if ((why = compare_operands(in, z, zop)) != NULL)
		return why;
	return compare_uses(in, z, zop);
}

struct seen {
	const char *why;
	uint16_t ours, theirs;
	unsigned long count;
};
static struct seen seen[4096];
static unsigned nseen;

static bool
new_difference(const char *why, uint16_t ours, uint16_t theirs)
{
	unsigned i;

	for (i = 0; i < nseen; i++)
		if (seen[i].why == why && seen[i].ours == ours && seen[i].theirs == theirs) {
			seen[i].count++;
			return false;
		}
	if (nseen < sizeof seen / sizeof seen[0])
		seen[nseen++] = (struct seen){ why, ours, theirs, 1 };
	return true;
}

static void
report(const uint8_t *b, enum isa_mode mode, const char *why, const struct insn *in,
    const ZydisDecodedInstruction *z, bool zok)
{
	char text[100];
	unsigned i;

	different++;
	if (!new_difference(why, in->id, zok ? (uint16_t)z->mnemonic : 0) || (!show && different > 20))
		return;
	insn_text(b, 15, mode, 0, text, sizeof text);
	printf("# mode %d, ", 16 << mode);
	for (i = 0; i < 12; i++)
		printf("%02x%s", b[i], i + 1 == in->len ? "|" : " ");
	printf(": %s; ours %s/%u, theirs %s\n", why, insn_info[in->id].name, in->nopnds, text);
}

static void
try(const uint8_t *bytes, enum isa_mode mode)
{
	struct insn in;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand zop[ZYDIS_MAX_OPERAND_COUNT];
	int len = insn_decode(bytes, 32, mode, &in);
	bool zok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder[mode], bytes, 15, &z, zop));
	const char *why;

	compared++;
	current = len < 0 && zok ? ZydisMnemonicGetString(z.mnemonic) : insn_info[in.id].name;
	some_accepted = false;
	why = compare(&in, len, &z, zop, zok);
	known += some_accepted;
	if (why != NULL)
		report(bytes, mode, why, &in, &z, zok);
}

/* ---- the sweeps ---- */

static unsigned work = 1;

static void
tail(uint8_t *b, unsigned at)
{
	for (; at < 32; at++)
		b[at] = (uint8_t)rnd();
}

/* Prefixes worth trying on each opcode; a byte 0 ends. */
static const uint8_t prefixes[][4] = {
	{ 0 }, { 0x66 }, { 0xf3 }, { 0xf2 }, { 0x67 }, { 0xf0 }, { 0x48 }, { 0x41 }, { 0x4f },
	{ 0x66, 0x48 }, { 0xf3, 0x48 }, { 0xf2, 0x4d }, { 0x66, 0xf2 }, { 0xf3, 0x66 },
	{ 0x2e, 0x67 }, { 0x65 }, { 0x48, 0x66 }, { 0x40 }, { 0x66, 0x67, 0x45 }, { 0x36, 0xf0 },
	{ 0xf2, 0xf3 }, { 0xf3, 0xf2, 0x66 }, { 0xf0, 0xf2 },
};
static const uint8_t escapes[][2] = { { 0 }, { 0x0f }, { 0x0f, 0x38 }, { 0x0f, 0x3a } };

static void
sweep_legacy(enum isa_mode mode, unsigned map, unsigned step)
{
	uint8_t b[32];
	unsigned p, op, modrm, n, i;

	for (p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++)
		for (op = 0; op < 256; op++)
			for (modrm = rnd() % step; modrm < 256; modrm += 1 + rnd() % (2 * step - 1)) {
				n = 0;
				for (i = 0; i < 4 && prefixes[p][i] != 0; i++)
					b[n++] = prefixes[p][i];
				for (i = 0; i < 2 && escapes[map][i] != 0; i++)
					b[n++] = escapes[map][i];
				b[n++] = (uint8_t)op;
				b[n++] = (uint8_t)modrm;
				tail(b, n);
				try(b, mode);
			}
}

static void
sweep_vex(enum isa_mode mode, unsigned map, unsigned step)
{
	uint8_t b[32];
	unsigned op, modrm, n, v;

	for (op = 0; op < 256; op++)
		for (v = 0; v < 64; v++)
			for (modrm = rnd() % step; modrm < 256; modrm += 1 + rnd() % (2 * step - 1)) {
				/* v: pp, L, W, how vvvv, form */
				unsigned vvvv = v & 16 ? 15 : rnd() & 15;

				n = 0;
				if (map == 1 && v & 32) {
					b[n++] = 0xc5;
					b[n++] = (uint8_t)((v & 3) | (v & 4) | vvvv << 3 | (mode == ISA_64 ?
					    rnd() & 0x80 : 0xc0));
				} else {
					b[n++] = 0xc4;
					b[n++] = (uint8_t)(map | (mode == ISA_64 ? rnd() & 0xe0 :
					    0xc0 | (rnd() & 0x20)));
					b[n++] = (uint8_t)((v & 3) | (v & 4) | vvvv << 3 | (v & 8) << 4);
				}
				b[n++] = (uint8_t)op;
				b[n++] = (uint8_t)modrm;
				tail(b, n);
				try(b, mode);
			}
}

static void
finish(unsigned long least)
{
	unsigned i;

	if (show)
		for (i = 0; i < nseen; i++)
			printf("# %8lu %-40s ours %-12s theirs %s\n", seen[i].count, seen[i].why,
			    insn_info[seen[i].ours].name,
			    seen[i].theirs ? ZydisMnemonicGetString(seen[i].theirs) : "invalid");
	CHECK_EQ(different, 0);
	CHECK(compared >= least);
	printf("# %lu compared, %lu known differences, %lu differences\n", compared, known,
	    different);
	compared = known = different = nseen = 0;
}

static void
legacy_maps(void)
{
	unsigned mode, map, n;

	for (n = 0; n < work; n++)
		for (mode = 0; mode < 3; mode++)
			for (map = 0; map < 4; map++)
				sweep_legacy(mode, map, map < 2 ? 5 : 13);
	finish(100000);
}

static void
vex_maps(void)
{
	unsigned mode, map, n;

	for (n = 0; n < work; n++)
		for (mode = 0; mode < 3; mode++)
			for (map = 0; map < 5; map++)
				sweep_vex(mode, map, 29);
	finish(100000);
}

static void
random_bytes(void)
{
	unsigned long n;
	uint8_t b[32];

	for (n = 0; n < 400000ul * work; n++) {
		tail(b, 0);
		try(b, rnd() % 3);
	}
	finish(400000);
}

/* The C library's code, as real programs are. */
static int
find_code(struct dl_phdr_info *info, size_t size, void *ctx)
{
	struct iovec *code = ctx;
	unsigned i;

	(void)size;
	if (strstr(info->dlpi_name, "libc.so") == NULL)
		return 0;
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_flags & PF_X && info->dlpi_phdr[i].p_type == PT_LOAD)
			*code = (struct iovec){ (uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
				info->dlpi_phdr[i].p_memsz };
	return code->iov_base != NULL;
}

static void
real_code(void)
{
	struct iovec code = { NULL, 0 };
	struct insn in;
	const uint8_t *p;
	size_t at, n;
	struct timespec from, to;

	dl_iterate_phdr(find_code, &code);
	if (code.iov_base == NULL)
		SKIP("no libc.so in this process");
	p = code.iov_base;
	for (at = n = 0; at + 32 < code.iov_len; at += in.id == INSN_invalid ? 1 : in.len, n++) {
		if (work > 1 || n % 4 == 0)
			try(p + at, ISA_64);
		insn_decode(p + at, code.iov_len - at, ISA_64, &in);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (at = n = 0; at + 32 < code.iov_len; at += in.id == INSN_invalid ? 1 : in.len, n++)
		insn_decode(p + at, code.iov_len - at, ISA_64, &in);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("# decode: %.1f ns an instruction (%zu of libc)\n", ((double)(to.tv_sec - from.tv_sec) * 1e9 +
	    (double)(to.tv_nsec - from.tv_nsec)) / (double)n, n);
	finish(10000);
}

int
main(void)
{
	if (getenv("ORACLE") != NULL)
		work = (unsigned)strtoul(getenv("ORACLE"), NULL, 10);
	show = getenv("ORACLE_SHOW") != NULL;
	decoders();
	RUN(legacy_maps);
	RUN(vex_maps);
	RUN(random_bytes);
	RUN(real_code);
	return check_done();
}
