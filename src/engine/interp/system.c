/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/system.c - segment registers, tables, control registers, ports, CPUID and the rest:
 * thin shells around cpu/segments.h and cpu/sysreg.h. Privilege of IF_priv instructions is judged
 * by the table before.
 */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"
#include "cpu/segments.h"
#include "cpu/sysreg.h"

#define HANDLER(name) static int name(struct cpu *c, const struct iop *op)

/* ---- flags ---- */

HANDLER(clc) { c->hot.fl &= ~(uint32_t)FL_cf; NEXT; }
HANDLER(stc) { c->hot.fl |= FL_cf; NEXT; }
HANDLER(cmc) { c->hot.fl ^= FL_cf; NEXT; }
HANDLER(cld) { c->r.rflags &= ~rflags_df_MASK; NEXT; }
HANDLER(std) { c->r.rflags |= rflags_df_MASK; NEXT; }
HANDLER(lahf) { REG8(1) = (uint8_t)((c->hot.fl >> 8 & 0xd5) | RFLAGS_fixed); NEXT; }
HANDLER(sahf) { c->hot.fl = (c->hot.fl & FL_of) | (REG8(1) & 0xd5u) << 8; NEXT; }

bool
lower_flag(struct lower *l)
{
	switch (l->in->id) {
	case INSN_clc: l->op->fn = clc; break;
	case INSN_stc: l->op->fn = stc; break;
	case INSN_cmc: l->op->fn = cmc; break;
	case INSN_cld: l->op->fn = cld; break;
	case INSN_std: l->op->fn = std; break;
	case INSN_lahf: l->op->fn = lahf; break;
	default: l->op->fn = sahf; break;
	}
	return true;
}

int exec_cli(struct cpu *c, const struct insn *in) { (void)in; return cpu_cli(c); }
int exec_sti(struct cpu *c, const struct insn *in) { (void)in; return cpu_sti(c); }

/* CLAC and STAC are #UD, not #GP, above CPL 0 (SDM vol. 2). */
static int
set_ac(struct cpu *c, uint64_t ac)
{
	if (c->cpl != 0)
		return cpu_raise(c, VEC_ud);
	c->r.rflags = (c->r.rflags & ~rflags_ac_MASK) | ac;
	cpu_mode_update(c);
	return OK;
}

int exec_clac(struct cpu *c, const struct insn *in) { (void)in; return set_ac(c, 0); }
int exec_stac(struct cpu *c, const struct insn *in) { (void)in; return set_ac(c, rflags_ac_MASK); }

/* ---- segment registers ---- */

int
exec_mov_to_seg(struct cpu *c, const struct insn *in)
{
	uint8_t seg = in->op[0].reg;
	uint64_t sel;

	if (seg == SEG_cs || seg > SEG_gs)
		return cpu_raise(c, VEC_ud);
	if (opnd_get(c, in, 1, &sel) || seg_load(c, (enum seg_id)seg, (uint16_t)sel))
		return FAULT;
	if (seg == SEG_ss)
		c->r.interruptibility |= SHADOW_mov_ss;
	return OK;
}

int
exec_mov_from_seg(struct cpu *c, const struct insn *in)
{
	if (in->op[1].reg > SEG_gs)
		return cpu_raise(c, VEC_ud);
	return opnd_set(c, in, 0, c->r.seg[in->op[1].reg].sel & 0xffff);
}

/* LDS LES LFS LGS LSS */
int
exec_load_far(struct cpu *c, const struct insn *in)
{
	uint64_t lin, off = 0;
	uint16_t sel;
	enum seg_id seg = in->id == INSN_les ? SEG_es : in->id == INSN_lds ? SEG_ds :
		in->id == INSN_lss ? SEG_ss : in->id == INSN_lfs ? SEG_fs : SEG_gs;

	if (insn_lin(c, in, in->osize + 2u, ACC_read, &lin) || lin_read_slow(c, lin, &off, in->osize, ACC_read) ||
	    lin_read_slow(c, lin + in->osize, &sel, 2, ACC_read) || seg_load(c, seg, sel))
		return FAULT;
	reg_set(c, &in->op[0], off);
	return OK;
}

int
exec_arpl(struct cpu *c, const struct insn *in)
{
	uint64_t dst, src = reg_get(c, &in->op[1]);
	bool lower;

	if (opnd_get(c, in, 0, &dst))
		return FAULT;
	lower = (dst & 3) < (src & 3);
	if (lower && opnd_set(c, in, 0, (dst & ~3ull) | (src & 3)))
		return FAULT;
	c->r.rflags = (c->r.rflags & ~rflags_zf_MASK) | (lower ? rflags_zf_MASK : 0);
	return OK;
}

/* LAR LSL VERR VERW */
int
exec_query(struct cpu *c, const struct insn *in)
{
	bool loads = in->id == INSN_lar || in->id == INSN_lsl, ok;
	enum seg_query what = in->id == INSN_lar ? QUERY_lar : in->id == INSN_lsl ? QUERY_lsl :
		in->id == INSN_verr ? QUERY_verr : QUERY_verw;
	uint64_t sel;
	uint32_t val;

	if (opnd_get(c, in, loads ? 1 : 0, &sel) || seg_query(c, what, (uint16_t)sel, &ok, &val))
		return FAULT;
	if (ok && loads)
		reg_set(c, &in->op[0], val);
	c->r.rflags = (c->r.rflags & ~rflags_zf_MASK) | (ok ? rflags_zf_MASK : 0);
	return OK;
}

/* ---- descriptor tables ---- */

static int MUST_CHECK
umip_check(struct cpu *c)
{
	return cr4_umip(&c->r) && c->cpl != 0 ? cpu_raise_error(c, VEC_gp, 0) : OK;
}

/* Of memory, 16 bits whatever the operand size. */
static int MUST_CHECK
store_word(struct cpu *c, const struct insn *in, uint64_t val)
{
	uint64_t lin;

	if (in->op[0].kind == OPND_reg) {
		reg_set(c, &in->op[0], val);
		return OK;
	}
	if (insn_lin(c, in, 2, ACC_write, &lin))
		return FAULT;
	return lin_write_slow(c, lin, &val, 2, ACC_write);
}

int
exec_sldt(struct cpu *c, const struct insn *in)
{
	return umip_check(c) ? FAULT : store_word(c, in, c->r.ldtr & 0xffff);
}

int
exec_str(struct cpu *c, const struct insn *in)
{
	return umip_check(c) ? FAULT : store_word(c, in, c->r.tr & 0xffff);
}

int
exec_smsw(struct cpu *c, const struct insn *in)
{
	uint64_t val = c->r.cr0;

	if (umip_check(c) || policy_refuse(c, policy_reg(c, REG_cr0, REG_read, &val), true))
		return FAULT;
	return store_word(c, in, val);
}

int
exec_lldt(struct cpu *c, const struct insn *in)
{
	uint64_t sel;

	return opnd_get(c, in, 0, &sel) ? FAULT : seg_lldt(c, (uint16_t)sel);
}

int
exec_ltr(struct cpu *c, const struct insn *in)
{
	uint64_t sel;

	return opnd_get(c, in, 0, &sel) ? FAULT : seg_ltr(c, (uint16_t)sel);
}

static int MUST_CHECK
table_store(struct cpu *c, const struct insn *in, int base_id)
{
	unsigned size = c->mode == MODE_long64 ? 8 : 4;
	uint64_t lin, base, limit;
	uint8_t image[10];

	if (umip_check(c) || table_read(c, base_id, &base, &limit) || insn_lin(c, in, 2 + size, ACC_write, &lin))
		return FAULT;
	__builtin_memcpy(image, &limit, 2);
	__builtin_memcpy(image + 2, &base, 8);
	return lin_write_slow(c, lin, image, 2 + size, ACC_write);
}

int
exec_sgdt(struct cpu *c, const struct insn *in)
{
	return table_store(c, in, REG_gdtr_base);
}

int
exec_sidt(struct cpu *c, const struct insn *in)
{
	return table_store(c, in, REG_idtr_base);
}

static int MUST_CHECK
table_load(struct cpu *c, const struct insn *in, int base_id)
{
	unsigned size = c->mode == MODE_long64 ? 8 : 4;
	uint8_t image[10] = { 0 };
	uint64_t lin, to;
	uint16_t most;

	if (insn_lin(c, in, 2 + size, ACC_read, &lin) || lin_read_slow(c, lin, image, 2 + size, ACC_read))
		return FAULT;
	__builtin_memcpy(&most, image, 2);
	__builtin_memcpy(&to, image + 2, 8);
	if (size == 4 && in->osize == 2)
		to &= 0xffffff;
	if (size == 8 && (uint64_t)((int64_t)(to << 16) >> 16) != to)
		return cpu_raise_error(c, VEC_gp, 0);
	return table_write(c, base_id, to, most);
}

int
exec_lgdt(struct cpu *c, const struct insn *in)
{
	return table_load(c, in, REG_gdtr_base);
}

int
exec_lidt(struct cpu *c, const struct insn *in)
{
	return table_load(c, in, REG_idtr_base);
}

/* ---- control, debug and model-specific registers ---- */

int
exec_mov_to_cr(struct cpu *c, const struct insn *in)
{
	return cr_write(c, in->op[0].reg, reg_get(c, &in->op[1]));
}

int
exec_mov_from_cr(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	if (cr_read(c, in->op[1].reg, &val))
		return FAULT;
	reg_set(c, &in->op[0], val);
	return OK;
}

int
exec_mov_to_dr(struct cpu *c, const struct insn *in)
{
	return dr_write(c, in->op[0].reg, reg_get(c, &in->op[1]));
}

int
exec_mov_from_dr(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	if (dr_read(c, in->op[1].reg, &val))
		return FAULT;
	reg_set(c, &in->op[0], val);
	return OK;
}

int
exec_lmsw(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	return opnd_get(c, in, 0, &val) ? FAULT : cpu_lmsw(c, (uint16_t)val);
}

int exec_clts(struct cpu *c, const struct insn *in) { (void)in; return cpu_clts(c); }

/* rDX:rAX := val, both zero-extended. */
static int
set_edx_eax(struct cpu *c, uint64_t val)
{
	c->r.rax = (uint32_t)val;
	c->r.rdx = val >> 32;
	return OK;
}

static uint64_t
edx_eax(const struct cpu *c)
{
	return c->r.rdx << 32 | (uint32_t)c->r.rax;
}

int
exec_rdmsr(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	(void)in;
	return msr_read(c, (uint32_t)c->r.rcx, &val) ? FAULT : set_edx_eax(c, val);
}

int
exec_wrmsr(struct cpu *c, const struct insn *in)
{
	(void)in;
	return msr_write(c, (uint32_t)c->r.rcx, edx_eax(c));
}

int
exec_xgetbv(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	(void)in;
	if (!cr4_osxsave(&c->r))
		return cpu_raise(c, VEC_ud);
	return xcr_read(c, (uint32_t)c->r.rcx, &val) ? FAULT : set_edx_eax(c, val);
}

int
exec_xsetbv(struct cpu *c, const struct insn *in)
{
	(void)in;
	if (!cr4_osxsave(&c->r))
		return cpu_raise(c, VEC_ud);
	return xcr_write(c, (uint32_t)c->r.rcx, edx_eax(c));
}

int
exec_rdtsc(struct cpu *c, const struct insn *in)
{
	uint64_t tsc;

	(void)in;
	return cpu_rdtsc(c, &tsc) ? FAULT : set_edx_eax(c, tsc);
}

int
exec_rdtscp(struct cpu *c, const struct insn *in)
{
	if (exec_rdtsc(c, in))
		return FAULT;
	c->r.rcx = (uint32_t)c->r.ia32_tsc_aux;
	return OK;
}

int
exec_rdpmc(struct cpu *c, const struct insn *in)
{
	uint64_t val;

	(void)in;
	return cpu_rdpmc(c, (uint32_t)c->r.rcx, &val) ? FAULT : set_edx_eax(c, val);
}

int
exec_rdpid(struct cpu *c, const struct insn *in)
{
	reg_set(c, &in->op[0], (uint32_t)c->r.ia32_tsc_aux);
	return OK;
}

int exec_cpuid(struct cpu *c, const struct insn *in) { (void)in; return cpu_cpuid(c); }

/* RDRAND, RDSEED: the host's; CF says whether there was one, the other flags are 0. */
int
exec_rdrand(struct cpu *c, const struct insn *in)
{
	uint64_t val;
	uint8_t ok;

	if (in->id == INSN_rdrand)
		__asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(val), "=qm"(ok) : : "cc");
	else
		__asm__ volatile("rdseed %0\n\tsetc %1" : "=r"(val), "=qm"(ok) : : "cc");
	reg_set(c, &in->op[0], ok ? val : 0);
	c->r.rflags = (c->r.rflags & ~(uint64_t)RFLAGS_arith) | (ok ? rflags_cf_MASK : 0);
	return OK;
}

/* RDFSBASE RDGSBASE WRFSBASE WRGSBASE */
int
exec_fsgsbase(struct cpu *c, const struct insn *in)
{
	int id = in->id == INSN_rdfsbase || in->id == INSN_wrfsbase ? REG_fs_base : REG_gs_base;
	enum verdict v;
	uint64_t val;

	if (!cr4_fsgsbase(&c->r))
		return cpu_raise(c, VEC_ud);
	if (in->id == INSN_rdfsbase || in->id == INSN_rdgsbase) {
		val = c->r.v[id];
		if (policy_refuse(c, policy_reg(c, id, REG_read, &val), true))
			return FAULT;
		reg_set(c, &in->op[0], val);
		return OK;
	}
	val = reg_get(c, &in->op[0]);
	if ((uint64_t)((int64_t)(val << 16) >> 16) != val)
		return cpu_raise_error(c, VEC_gp, 0);
	if ((v = policy_reg(c, id, REG_write, &val)) != VERDICT_allow)
		return policy_refuse(c, v, true);
	c->r.v[id] = val;
	return OK;
}

int exec_swapgs(struct cpu *c, const struct insn *in) { (void)in; return cpu_swapgs(c); }

/* ---- TLB and caches ---- */

/* No segment checks: an address that no page can have is ignored. */
int
exec_invlpg(struct cpu *c, const struct insn *in)
{
	uint64_t lin = insn_offset(c, in);

	if (c->mode != MODE_long64 || in->seg >= SEG_fs)
		lin += c->r.seg[in->seg].base;
	return cpu_invlpg(c, c->mode == MODE_long64 ? lin : (uint32_t)lin);
}

int
exec_invpcid(struct cpu *c, const struct insn *in)
{
	uint64_t lin, what[2];

	if (insn_lin(c, in, 16, ACC_read, &lin) || lin_read_slow(c, lin, what, 16, ACC_read))
		return FAULT;
	return cpu_invpcid(c, reg_get(c, &in->op[0]), what[0], what[1]);
}

/* Faults as a load of a byte does. */
int
exec_clflush(struct cpu *c, const struct insn *in)
{
	uint64_t lin;

	return insn_lin(c, in, 1, ACC_read, &lin) ? FAULT : lin_probe(c, lin, 1, ACC_read);
}

int
exec_clzero(struct cpu *c, const struct insn *in)
{
	static const uint8_t zeros[64];
	uint64_t lin;

	if (offset_lin(c, in->seg, offset_cut(in, c->r.rax) & ~63ull, 64, ACC_write, &lin))
		return FAULT;
	return lin_write_slow(c, lin, zeros, 64, ACC_write);
}

int
exec_nothing(struct cpu *c, const struct insn *in)
{
	(void)c, (void)in;
	return OK;
}

int
exec_mfence(struct cpu *c, const struct insn *in)
{
	(void)c, (void)in;
	atomic_thread_fence(memory_order_seq_cst);
	return OK;
}

/* ---- waiting ---- */

int
exec_hlt(struct cpu *c, const struct insn *in)
{
	(void)in;
	c->r.activity = ACTIVITY_hlt;
	return RUN_hlt;
}

/* Of MONITOR only the checks remain: MWAIT may always wake at once. */
int
exec_monitor(struct cpu *c, const struct insn *in)
{
	uint64_t lin;

	if (c->cpl != 0)
		return cpu_raise(c, VEC_ud);
	if ((uint32_t)c->r.rcx != 0)
		return cpu_raise_error(c, VEC_gp, 0);
	if (offset_lin(c, in->seg, offset_cut(in, c->r.rax), 1, ACC_read, &lin))
		return FAULT;
	return lin_probe(c, lin, 1, ACC_read);
}

int
exec_mwait(struct cpu *c, const struct insn *in)
{
	(void)in;
	if (c->cpl != 0)
		return cpu_raise(c, VEC_ud);
	return (uint32_t)c->r.rcx > 1 ? cpu_raise_error(c, VEC_gp, 0) : OK;
}

/* ---- ports ---- */

/* DX or an immediate, whichever operand it is. */
static uint16_t
port_of(const struct cpu *c, const struct insn *in, unsigned n)
{
	return in->op[n].kind == OPND_imm ? (uint8_t)in->imm : (uint16_t)c->r.rdx;
}

int
exec_in(struct cpu *c, const struct insn *in)
{
	bool stop;

	if (cpu_port_in(c, port_of(c, in, 1), in->op[0].size, &stop) != OK)
		return FAULT;
	return stop ? RUN_stop : OK;
}

int
exec_out(struct cpu *c, const struct insn *in)
{
	bool stop;

	if (cpu_port_out(c, port_of(c, in, 0), in->op[1].size, &stop) != OK)
		return FAULT;
	return stop ? RUN_stop : OK;
}

/* ---- odd moves ---- */

int
exec_movnti(struct cpu *c, const struct insn *in)
{
	return opnd_set(c, in, 0, reg_get(c, &in->op[1]));
}

int
exec_xlat(struct cpu *c, const struct insn *in)
{
	uint64_t lin;
	uint8_t val;

	if (offset_lin(c, in->seg, offset_cut(in, c->r.rbx + (uint8_t)c->r.rax), 1, ACC_read, &lin) ||
	    lin_read_slow(c, lin, &val, 1, ACC_read))
		return FAULT;
	SET8(8 * REG_rax, val);
	return OK;
}

int
exec_salc(struct cpu *c, const struct insn *in)
{
	(void)in;
	SET8(8 * REG_rax, rflags_cf(&c->r) ? 0xff : 0);
	return OK;
}

/* Undefined by the manual; every processor gives 0. */
int
exec_bswap16(struct cpu *c, const struct insn *in)
{
	SET16(opnd_off(&in->op[0]), 0);
	return OK;
}
