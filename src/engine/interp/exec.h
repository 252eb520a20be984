/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/exec.h - functions of whole instructions, for lower_table, and what they share. */
#pragma once
#include "engine/interp/iop.h"

__extension__ typedef unsigned __int128 u128_t;
__extension__ typedef __int128 s128_t;

/* An offset cut to the address size of the instruction. */
static inline uint64_t
offset_cut(const struct insn *in, uint64_t off)
{
	return in->asize == 8 ? off : in->asize == 4 ? (uint32_t)off : (uint16_t)off;
}

/* Linear address of seg:off after segment and alignment checks. */
int MUST_CHECK offset_lin(struct cpu *c, uint8_t seg, uint64_t off, unsigned size, unsigned acc, uint64_t *lin);

/* Flags of a - b, both zero-extended from `size` bytes, into hot.fl and r.rflags. */
void compare_flags(struct cpu *c, uint64_t a, uint64_t b, unsigned size);

/* A handler whose fast path does not apply runs the whole instruction; op->in is set. */
int iop_exec(struct cpu *c, const struct iop *op, exec_fn *fn);

/* FXSAVE, XSAVE and relatives: fpu_exec's, though no flag says so. */
bool is_state_insn(uint16_t id);

exec_fn exec_mul, exec_imul, exec_div, exec_idiv, exec_daa, exec_das, exec_aaa, exec_aas, exec_aam, exec_aad;
exec_fn exec_bit, exec_xadd, exec_cmpxchg, exec_cmpxchg8b, exec_cmpxchg16b, exec_value, exec_rorx, exec_mulx,
	exec_crc32, exec_movbe;
exec_fn exec_mov_to_seg, exec_mov_from_seg, exec_mov_to_cr, exec_mov_from_cr, exec_mov_to_dr, exec_mov_from_dr,
	exec_load_far, exec_movnti, exec_xlat, exec_salc, exec_bswap16;
exec_fn exec_push, exec_pop, exec_push_seg, exec_pop_seg, exec_pusha, exec_popa, exec_pushf, exec_popf, exec_enter,
	exec_leave;
exec_fn exec_jcc, exec_loop, exec_jmp, exec_call, exec_ret, exec_jmp_far, exec_call_far, exec_ret_far, exec_int,
	exec_int1, exec_int3, exec_into, exec_iret, exec_bound, exec_ud, exec_syscall, exec_sysret, exec_sysenter,
	exec_sysexit;
exec_fn exec_movs, exec_cmps, exec_stos, exec_lods, exec_scas, exec_ins, exec_outs, exec_in, exec_out;
exec_fn exec_cld, exec_std, exec_cli, exec_sti, exec_clac, exec_stac, exec_arpl, exec_query, exec_sldt, exec_str,
	exec_lldt, exec_ltr, exec_sgdt, exec_sidt, exec_lgdt, exec_lidt, exec_smsw, exec_lmsw, exec_clts, exec_hlt,
	exec_cpuid, exec_rdtsc, exec_rdtscp, exec_rdpmc, exec_rdmsr, exec_wrmsr, exec_rdpid, exec_rdrand,
	exec_fsgsbase, exec_swapgs, exec_invd, exec_invlpg, exec_invpcid, exec_xgetbv, exec_xsetbv, exec_monitor,
	exec_mwait, exec_clflush, exec_clzero, exec_nothing, exec_mfence;
