/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/light.c - frequent instructions that C does, without putting away the guest's FPU state
 * and without the interpreter.
 *
 * Called between blocks with registers and flags in the register file and r.rip at the
 * instruction. Only code that uses no vector register may be called from here (Makefile, LIGHT).
 */
#include "engine/bt/bt.h"

#include "cpu/segments.h"
#include "cpu/sysreg.h"
#include "cpu/xsave.h"

enum { WORD = 8, STRING_SLICE = 1 << 20 };

static uint64_t
address(const struct cpu *c, const struct insn *in)
{
	uint64_t at = (uint64_t)in->disp;

	if (in->base == INSN_RIP)
		at += c->r.rip + in->len;
	else if (in->base != INSN_NOREG)
		at += c->r.gpr[in->base];
	if (in->index != INSN_NOREG)
		at += c->r.gpr[in->index] << in->scale;
	if (in->asize == 4)
		at = (uint32_t)at;
	if (in->seg == SEG_fs || in->seg == SEG_gs)
		at += c->r.seg[in->seg].base;
	return at;
}

static bool
canonical(uint64_t lin)
{
	enum { SHIFT = 64 - 48 };

	return (uint64_t)((int64_t)(lin << SHIFT) >> SHIFT) == lin;
}

static enum light
pushf(struct cpu *c, const struct insn *in)
{
	uint64_t lin, val;

	if (in->osize != WORD)
		return LIGHT_interp;
	if (cpu_pushf_image(c, WORD, &val) != OK || seg_lin(c, SEG_ss, c->r.rsp - WORD, WORD, ACC_write, &lin) != OK ||
	    lin_write64(c, lin, val) != OK)
		return LIGHT_fault;
	c->r.rsp -= WORD;
	return light_next(c, in, OK);
}

static enum light
popf(struct cpu *c, const struct insn *in)
{
	uint64_t lin, val;

	if (in->osize != WORD)
		return LIGHT_interp;
	if (seg_lin(c, SEG_ss, c->r.rsp, WORD, ACC_read, &lin) != OK || lin_read64(c, lin, &val) != OK ||
	    cpu_popf(c, val, WORD) != OK)
		return LIGHT_fault;
	c->r.rsp += WORD;
	return light_next(c, in, OK);
}

/* ---- registers ---- */

static void
gpr_set(struct cpu *c, const struct opnd *op, uint64_t val)
{
	uint64_t *r = &c->r.gpr[op->reg & 15];

	*r = op->size == 8 ? val : op->size == 4 ? (uint32_t)val : (*r & ~(uint64_t)0xffff) | (val & 0xffff);
}

static enum light
from_seg(struct cpu *c, const struct insn *in)
{
	if (in->op[0].kind != OPND_reg)
		return LIGHT_interp;
	gpr_set(c, &in->op[0], c->r.seg[in->op[1].reg].sel & 0xffff);
	return light_next(c, in, OK);
}

static enum light
to_seg(struct cpu *c, const struct insn *in)
{
	unsigned seg = in->op[0].reg;

	if (in->op[1].kind != OPND_reg || seg == SEG_cs || seg == SEG_ss || seg > SEG_gs)
		return LIGHT_interp;
	return light_next(c, in, seg_load(c, (enum seg_id)seg, (uint16_t)c->r.gpr[in->op[1].reg & 15]));
}

static enum light
base_move(struct cpu *c, const struct insn *in)
{
	bool fs = in->id == INSN_rdfsbase || in->id == INSN_wrfsbase;
	int id = fs ? REG_fs_base : REG_gs_base;
	uint64_t *base = fs ? &c->r.fs_base : &c->r.gs_base, val = c->r.gpr[in->op[0].reg & 15];

	if (!cr4_fsgsbase(&c->r) || c->policed[id])
		return LIGHT_interp;
	if (in->id == INSN_rdfsbase || in->id == INSN_rdgsbase) {
		gpr_set(c, &in->op[0], *base);
		return light_next(c, in, OK);
	}
	if (in->op[0].size == 4)
		val = (uint32_t)val;
	if (!canonical(val))
		return LIGHT_interp;
	*base = val;
	return light_next(c, in, OK);
}

static enum light
access_flag(struct cpu *c, const struct insn *in)
{
	if (c->cpl != 0)
		return LIGHT_interp;
	if (in->id == INSN_stac)
		c->r.rflags |= rflags_ac_MASK;
	else
		c->r.rflags &= ~rflags_ac_MASK;
	cpu_mode_update(c);
	return light_next(c, in, OK);
}

static enum light
tsc(struct cpu *c, const struct insn *in)
{
	uint64_t t;

	if (cpu_rdtsc(c, &t) != OK)
		return LIGHT_fault;
	c->r.rax = (uint32_t)t;
	c->r.rdx = t >> 32;
	if (in->id == INSN_rdtscp)
		c->r.rcx = (uint32_t)c->r.ia32_tsc_aux;
	return light_next(c, in, OK);
}

/* Changes of CR0 and CR4 are rare. */
static enum light
control(struct cpu *c, const struct insn *in)
{
	bool write = in->id == INSN_mov_to_cr;
	const struct opnd *cr = &in->op[write ? 0 : 1], *gpr = &in->op[write ? 1 : 0];
	uint64_t val;

	if (c->cpl != 0 || (write && cr->reg != 3 && cr->reg != 2))
		return LIGHT_interp;
	if (write)
		return light_next(c, in, cr_write(c, cr->reg, c->r.gpr[gpr->reg & 15]));
	if (cr_read(c, cr->reg, &val) != OK)
		return LIGHT_fault;
	c->r.gpr[gpr->reg & 15] = val;
	return light_next(c, in, OK);
}

static enum light
wrmsr(struct cpu *c, const struct insn *in)
{
	return light_next(c, in, msr_write(c, (uint32_t)c->r.rcx, c->r.rdx << 32 | (uint32_t)c->r.rax));
}

static enum light
rdmsr(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	if (msr_read(c, (uint32_t)c->r.rcx, &val) != OK)
		return LIGHT_fault;
	c->r.rax = (uint32_t)val;
	c->r.rdx = val >> 32;
	return light_next(c, in, OK);
}

static enum light
cpuid(struct cpu *c, const struct insn *in)
{
	uint64_t asked = c->r.rcx << 32 | (uint32_t)c->r.rax;
	enum light res = light_next(c, in, cpu_cpuid(c));

	if (res == LIGHT_done && !(c->policy != NULL && c->policy->cpuid))
		bt_learn_answer(c->bt, asked);
	return res;
}

/* The machine behind it puts the guest's FPU state away (ops.c). */
static enum light
port(struct cpu *c, const struct insn *in)
{
	bool read = in->id == INSN_in, stop;
	const struct opnd *number = &in->op[read ? 1 : 0], *rax = &in->op[read ? 0 : 1];
	uint16_t at = number->kind == OPND_imm ? (uint8_t)in->imm : (uint16_t)c->r.rdx;
	enum light res = light_next(c, in, (read ? cpu_port_in : cpu_port_out)(c, at, rax->size, &stop));

	return res == LIGHT_done && stop ? LIGHT_stop : res;
}

/* ---- bits by register in memory ---- */

static bool
bit_change(uint8_t *byte, uint8_t mask, unsigned id, bool lock)
{
	uint8_t old = *byte;

	switch (id) {
	case INSN_bts:
		return (lock ? __atomic_fetch_or(byte, mask, __ATOMIC_SEQ_CST) : (*byte = old | mask, old)) & mask;
	case INSN_btr:
		return (lock ? __atomic_fetch_and(byte, (uint8_t)~mask, __ATOMIC_SEQ_CST) :
			(*byte = old & (uint8_t)~mask, old)) & mask;
	case INSN_btc:
		return (lock ? __atomic_fetch_xor(byte, mask, __ATOMIC_SEQ_CST) : (*byte = old ^ mask, old)) & mask;
	default:
		return old & mask;
	}
}

static enum light
bit_op(struct cpu *c, const struct insn *in)
{
	unsigned size = in->op[0].size, shift = size == 8 ? 6 : size == 4 ? 5 : 4, bit;
	int64_t at = (int64_t)c->r.gpr[in->op[1].reg & 15];
	bool was;
	uint8_t *p;
	uint64_t lin;
	int res;

	at = size == 8 ? at : size == 4 ? (int32_t)at : (int16_t)at;
	lin = address(c, in) + (uint64_t)((at >> shift) * (int64_t)size);
	if (!canonical(lin) || !canonical(lin + size - 1) || in->asize != 8)
		return LIGHT_interp;
	p = lin_hva(c, lin, size, in->id == INSN_bt ? ACC_read : ACC_write, &res);
	if (p == NULL)
		return LIGHT_interp;
	bit = (unsigned)at & (size * 8 - 1);
	was = bit_change(p + bit / 8, (uint8_t)(1u << bit % 8), in->id, (in->prefixes & PFX_lock) != 0);
	c->r.rflags = (c->r.rflags & ~rflags_cf_MASK) | was;
	return light_next(c, in, OK);
}

/* ---- rep movs, rep stos, forward ---- */

static void
copy_up(uint8_t *to, const uint8_t *from, uint64_t n, unsigned size)
{
	switch (size) {
	case 1: __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); break;
	case 2: __asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); break;
	case 4: __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); break;
	default: __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	}
}

static void
fill_up(uint8_t *to, uint64_t val, uint64_t n, unsigned size)
{
	switch (size) {
	case 1: __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(val) : "memory"); break;
	case 2: __asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(val) : "memory"); break;
	case 4: __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(val) : "memory"); break;
	default: __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(val) : "memory");
	}
}

/* As many elements as lie in the page of lin. */
static uint64_t
in_page(uint64_t lin, unsigned size, uint64_t n)
{
	uint64_t fit = (PAGE_SIZE - (lin & ~PAGE_MASK)) / size;

	return n < fit ? n : fit;
}

/* Page by page; the rest, and what is difficult, is the interpreter's. */
static enum light
string(struct cpu *c, const struct insn *in)
{
	bool move = in->id == INSN_movs;
	unsigned size = in->op[0].size;
	uint64_t n, left = STRING_SLICE, from = 0;
	uint8_t *to, *src = NULL;
	int res;

	if (!(in->prefixes & PFX_rep) || in->asize != 8 || (move && (in->seg == SEG_fs || in->seg == SEG_gs)))
		return LIGHT_interp;
	for (; c->r.rcx != 0; left -= n * size) {
		n = in_page(c->r.rdi, size, c->r.rcx);
		if (move) {
			from = c->r.rsi;
			n = in_page(from, size, n);
		}
		if (n == 0 || !canonical(c->r.rdi) || !canonical(from))
			return LIGHT_interp;
		if (left < n * size)
			return LIGHT_done;	/* look at events, come again */
		if (move && (src = lin_hva(c, from, (unsigned)n * size, ACC_read, &res)) == NULL)
			return LIGHT_interp;
		if ((to = lin_hva(c, c->r.rdi, (unsigned)n * size, ACC_write, &res)) == NULL)
			return LIGHT_interp;
		if (move)
			copy_up(to, src, n, size);
		else
			fill_up(to, c->r.rax, n, size);
		c->r.rcx -= n;
		c->r.rdi += n * size;
		if (move)
			c->r.rsi += n * size;
	}
	return light_next(c, in, OK);
}

static enum light
verw(struct cpu *c, const struct insn *in)
{
	uint64_t lin = address(c, in);
	const uint8_t *p;
	uint16_t sel;
	uint32_t unused;
	bool ok;
	int res;

	if (in->op[0].kind == OPND_mem) {
		if (!canonical(lin) || (p = lin_hva(c, lin, sizeof(sel), ACC_read, &res)) == NULL)
			return LIGHT_interp;
		sel = (uint16_t)(p[0] | p[1] << 8);
	} else {
		sel = (uint16_t)c->r.gpr[in->op[0].reg & 15];
	}
	if (seg_query(c, QUERY_verw, sel, &ok, &unused) != OK)
		return LIGHT_fault;
	c->r.rflags = ok ? c->r.rflags | rflags_zf_MASK : c->r.rflags & ~rflags_zf_MASK;
	return light_next(c, in, OK);
}

/* On cpu->fpu, whose x87 pointers the host's registers would lose: after a load the state stays there until it is used. */
static enum light
state_image(struct cpu *c, const struct insn *in)
{
	struct xsave_form f = { .compact = in->id == INSN_xsavec || in->id == INSN_xsaves,
		.supervisor = in->id == INSN_xsaves || in->id == INSN_xrstors, .skips_initial = in->id != INSN_xsave, .wide = in->rex & 8 };
	bool load = in->id == INSN_xrstor || in->id == INSN_xrstors;
	uint64_t lin = address(c, in);
	unsigned rfbm, size;

	if (xsave_check(c, &f, &rfbm, &size) != OK)
		return LIGHT_fault;
	if (!canonical(lin) || !canonical(lin + size - 1))
		return LIGHT_interp;
	if (load) {
		bt_fpu_unload(c->bt);
		return light_next(c, in, cpu_xrstor(c, &f, rfbm, lin));
	}
	bt_fpu_look(c->bt);
	return light_next(c, in, cpu_xsave(c, &f, rfbm, lin));
}

bool
bt_is_light(const struct insn *in)
{
	switch (in->id) {
	case INSN_pushf: case INSN_popf: case INSN_cli: case INSN_sti: case INSN_mov_from_seg: case INSN_mov_to_seg:
	case INSN_rdfsbase: case INSN_rdgsbase: case INSN_wrfsbase: case INSN_wrgsbase: case INSN_stac: case INSN_clac:
	case INSN_rdtsc: case INSN_rdtscp: case INSN_mov_to_cr: case INSN_mov_from_cr: case INSN_wrmsr: case INSN_rdmsr: case INSN_bt:
	case INSN_bts: case INSN_btr: case INSN_btc: case INSN_movs: case INSN_stos: case INSN_swapgs: case INSN_syscall:
	case INSN_sysret: case INSN_iret: case INSN_invlpg: case INSN_verw: case INSN_cpuid: case INSN_in: case INSN_out:
	case INSN_xsave: case INSN_xsaveopt: case INSN_xsavec: case INSN_xsaves: case INSN_xrstor: case INSN_xrstors:
		return true;
	default:
		return false;
	}
}

enum light
bt_light(struct cpu *c, const struct insn *in)
{
	uint64_t next = c->r.rip + in->len;
	enum light res;

	if (c->mode != MODE_long64 && bt_light32(c, in, &res))
		return res;
	switch (in->id) {
	case INSN_pushf: return pushf(c, in);
	case INSN_popf: return popf(c, in);
	case INSN_cli: return light_next(c, in, cpu_cli(c));
	case INSN_sti: return light_next(c, in, cpu_sti(c));
	case INSN_mov_from_seg: return from_seg(c, in);
	case INSN_mov_to_seg: return to_seg(c, in);
	case INSN_rdfsbase: case INSN_rdgsbase: case INSN_wrfsbase: case INSN_wrgsbase: return base_move(c, in);
	case INSN_stac: case INSN_clac: return access_flag(c, in);
	case INSN_rdtsc: case INSN_rdtscp: return tsc(c, in);
	case INSN_mov_to_cr: case INSN_mov_from_cr: return control(c, in);
	case INSN_wrmsr: return wrmsr(c, in);
	case INSN_rdmsr: return rdmsr(c, in);
	case INSN_bt: case INSN_bts: case INSN_btr: case INSN_btc: return bit_op(c, in);
	case INSN_movs: case INSN_stos: return string(c, in);
	case INSN_verw: return verw(c, in);
	case INSN_cpuid: return cpuid(c, in);
	case INSN_in: case INSN_out: return port(c, in);
	case INSN_xsave: case INSN_xsaveopt: case INSN_xsavec: case INSN_xsaves: case INSN_xrstor: case INSN_xrstors:
		return state_image(c, in);
	case INSN_swapgs: return light_next(c, in, cpu_swapgs(c));
	case INSN_syscall: return light_jumped(cpu_syscall(c, next));
	case INSN_sysret: return c->cpl != 0 ? LIGHT_interp : light_jumped(cpu_sysret(c, in->osize));
	case INSN_iret: return in->osize != WORD ? LIGHT_interp : light_jumped(cpu_iret(c, WORD, next));
	case INSN_invlpg: return c->cpl != 0 ? LIGHT_interp : light_next(c, in, cpu_invlpg(c, address(c, in)));
	default: return LIGHT_interp;
	}
}
