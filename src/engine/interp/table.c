/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/table.c - which handler or exec function serves which instruction.
 *
 * No row, or a row of NULLs: the FPU's part (by its flags), or #UD.
 */
#include "engine/interp/exec.h"
#include "engine/interp/families.h"

#define FAST(id, lower)       [INSN_##id] = { lower, NULL, false }
#define BOTH(id, lower, exec) [INSN_##id] = { lower, exec, false }
#define EXEC(id, exec)        [INSN_##id] = { NULL, exec, false }
#define FLOW(id, exec)        [INSN_##id] = { NULL, exec, true }

const struct lower_row lower_table[INSN__COUNT] = {
	/* arithmetic and logic */
	FAST(add, lower_alu), FAST(or, lower_alu), FAST(adc, lower_alu), FAST(sbb, lower_alu),
	FAST(and, lower_alu), FAST(sub, lower_alu), FAST(xor, lower_alu), FAST(cmp, lower_alu),
	FAST(test, lower_alu), FAST(inc, lower_unary), FAST(dec, lower_unary), FAST(neg, lower_unary),
	FAST(not, lower_unary), EXEC(mul, exec_mul), BOTH(imul, lower_imul, exec_imul),
	EXEC(div, exec_div), EXEC(idiv, exec_idiv), EXEC(adcx, exec_value), EXEC(adox, exec_value),
	BOTH(xadd, lower_xadd, exec_xadd), BOTH(cmpxchg, lower_cmpxchg, exec_cmpxchg),
	EXEC(cmpxchg8b, exec_cmpxchg8b), EXEC(cmpxchg16b, exec_cmpxchg16b),
	EXEC(daa, exec_daa), EXEC(das, exec_das), EXEC(aaa, exec_aaa), EXEC(aas, exec_aas),
	EXEC(aam, exec_aam), EXEC(aad, exec_aad),

	/* shifts and bits */
	FAST(rol, lower_shift), FAST(ror, lower_shift), FAST(rcl, lower_shift), FAST(rcr, lower_shift),
	FAST(shl, lower_shift), FAST(shr, lower_shift), FAST(sar, lower_shift),
	FAST(shld, lower_shiftd), FAST(shrd, lower_shiftd),
	EXEC(sarx, exec_value), EXEC(shlx, exec_value), EXEC(shrx, exec_value), EXEC(rorx, exec_rorx),
	BOTH(bt, lower_bit, exec_bit), BOTH(bts, lower_bit, exec_bit), BOTH(btr, lower_bit, exec_bit),
	BOTH(btc, lower_bit, exec_bit), FAST(bsf, lower_scan), FAST(bsr, lower_scan),
	FAST(tzcnt, lower_scan), FAST(lzcnt, lower_scan), FAST(popcnt, lower_scan),
	BOTH(bswap, lower_bswap, exec_bswap16), EXEC(andn, exec_value), EXEC(blsr, exec_value),
	EXEC(blsmsk, exec_value), EXEC(blsi, exec_value), EXEC(bextr, exec_value), EXEC(bzhi, exec_value),
	EXEC(pext, exec_value), EXEC(pdep, exec_value), EXEC(mulx, exec_mulx), EXEC(crc32, exec_crc32),

	/* moves */
	FAST(mov, lower_mov), FAST(movzx, lower_movx), FAST(movsx, lower_movx), FAST(movsxd, lower_movx),
	EXEC(movbe, exec_movbe), EXEC(movnti, exec_movnti), FAST(lea, lower_lea), FAST(xchg, lower_xchg),
	FAST(cmovcc, lower_cmov), FAST(setcc, lower_setcc), FAST(cbw, lower_widen), FAST(cwd, lower_widen),
	EXEC(xlat, exec_xlat), FAST(lahf, lower_flag), FAST(sahf, lower_flag), EXEC(salc, exec_salc),
	EXEC(mov_to_seg, exec_mov_to_seg), EXEC(mov_from_seg, exec_mov_from_seg),
	EXEC(mov_to_cr, exec_mov_to_cr), EXEC(mov_from_cr, exec_mov_from_cr),
	EXEC(mov_to_dr, exec_mov_to_dr), EXEC(mov_from_dr, exec_mov_from_dr),
	EXEC(les, exec_load_far), EXEC(lds, exec_load_far), EXEC(lss, exec_load_far),
	EXEC(lfs, exec_load_far), EXEC(lgs, exec_load_far),

	/* stack */
	BOTH(push, lower_push, exec_push), BOTH(pop, lower_pop, exec_pop),
	EXEC(push_seg, exec_push_seg), EXEC(pop_seg, exec_pop_seg), EXEC(pusha, exec_pusha),
	EXEC(popa, exec_popa), EXEC(pushf, exec_pushf), EXEC(popf, exec_popf), EXEC(enter, exec_enter),
	BOTH(leave, lower_leave, exec_leave),

	/* flow */
	[INSN_jcc] = { lower_jcc, exec_jcc, true }, [INSN_jmp] = { lower_jmp, exec_jmp, true },
	[INSN_call] = { lower_call, exec_call, true }, [INSN_ret] = { lower_ret, exec_ret, true },
	FLOW(jcxz, exec_loop), FLOW(loop, exec_loop), FLOW(loope, exec_loop), FLOW(loopne, exec_loop),
	FLOW(jmp_far, exec_jmp_far), FLOW(call_far, exec_call_far), FLOW(ret_far, exec_ret_far),
	FLOW(int, exec_int), FLOW(int1, exec_int1), FLOW(int3, exec_int3), FLOW(into, exec_into),
	FLOW(iret, exec_iret), FLOW(syscall, exec_syscall), FLOW(sysret, exec_sysret),
	FLOW(sysenter, exec_sysenter), FLOW(sysexit, exec_sysexit), EXEC(bound, exec_bound),
	EXEC(ud0, exec_ud), EXEC(ud1, exec_ud), EXEC(ud2, exec_ud), EXEC(rsm, exec_ud),
	EXEC(vmcall, exec_ud), EXEC(vmmcall, exec_ud),
	FAST(nop, lower_nop), FAST(pause, lower_nop), FAST(endbr32, lower_nop), FAST(endbr64, lower_nop),

	/* flags */
	FAST(clc, lower_flag), FAST(stc, lower_flag), FAST(cmc, lower_flag), FAST(cld, lower_flag),
	FAST(std, lower_flag), EXEC(cli, exec_cli), EXEC(sti, exec_sti), EXEC(clac, exec_clac),
	EXEC(stac, exec_stac),

	/* strings and ports */
	EXEC(movs, exec_movs), EXEC(cmps, exec_cmps), EXEC(stos, exec_stos), EXEC(lods, exec_lods),
	EXEC(scas, exec_scas), EXEC(ins, exec_ins), EXEC(outs, exec_outs), EXEC(in, exec_in), EXEC(out, exec_out),

	/* segments, tables, system */
	EXEC(arpl, exec_arpl), EXEC(lar, exec_query), EXEC(lsl, exec_query), EXEC(verr, exec_query),
	EXEC(verw, exec_query), EXEC(sldt, exec_sldt), EXEC(str, exec_str), EXEC(lldt, exec_lldt),
	EXEC(ltr, exec_ltr), EXEC(sgdt, exec_sgdt), EXEC(sidt, exec_sidt), EXEC(lgdt, exec_lgdt),
	EXEC(lidt, exec_lidt), EXEC(smsw, exec_smsw), EXEC(lmsw, exec_lmsw), EXEC(clts, exec_clts),
	EXEC(hlt, exec_hlt), EXEC(cpuid, exec_cpuid), EXEC(rdtsc, exec_rdtsc), EXEC(rdtscp, exec_rdtscp),
	EXEC(rdpmc, exec_rdpmc), EXEC(rdmsr, exec_rdmsr), EXEC(wrmsr, exec_wrmsr), EXEC(rdpid, exec_rdpid),
	EXEC(rdrand, exec_rdrand), EXEC(rdseed, exec_rdrand), EXEC(rdfsbase, exec_fsgsbase),
	EXEC(rdgsbase, exec_fsgsbase), EXEC(wrfsbase, exec_fsgsbase), EXEC(wrgsbase, exec_fsgsbase),
	EXEC(swapgs, exec_swapgs), EXEC(invd, exec_nothing), EXEC(wbinvd, exec_nothing),
	EXEC(wbnoinvd, exec_nothing), EXEC(invlpg, exec_invlpg), EXEC(invpcid, exec_invpcid),
	EXEC(xgetbv, exec_xgetbv), EXEC(xsetbv, exec_xsetbv), EXEC(monitor, exec_monitor),
	EXEC(monitorx, exec_monitor), EXEC(mwait, exec_mwait), EXEC(mwaitx, exec_mwait),
	EXEC(serialize, exec_nothing), EXEC(clflush, exec_clflush), EXEC(clflushopt, exec_clflush),
	EXEC(clwb, exec_clflush), EXEC(clzero, exec_clzero),
	FAST(lfence, lower_nop), FAST(sfence, lower_nop), EXEC(mfence, exec_mfence),
	EXEC(prefetch, exec_nothing), EXEC(prefetchw, exec_nothing), EXEC(prefetchnta, exec_nothing),
	EXEC(prefetcht0, exec_nothing), EXEC(prefetcht1, exec_nothing), EXEC(prefetcht2, exec_nothing),
};
