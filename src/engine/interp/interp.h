/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/interp.h - what the files of the interpreter share, and its agreement with fpu*.c. */
#pragma once
#include "cpu/cpu.h"
#include "isa/insn.h"

/* Execute one x87, MMX, SSE, AVX, FXSAVE or XSAVE family instruction (IF_x87|IF_mmx|IF_sse|IF_avx,
 * and fxsave/fxrstor/xsave.../ldmxcsr/stmxcsr/emms/fwait/xgetbv excluded: that is system.c's).
 * On entry r.rip is the address of the instruction and r.rflags is complete; LOCK and the CPUID
 * feature have been judged. Checks CR0.EM/TS, CR4.OSFXSR/OSXSAVE, XCR0, alignment and pending x87
 * exceptions itself. OK: all done but rip, which the caller advances. FAULT: nothing changed. */
int MUST_CHECK fpu_exec(struct cpu *c, const struct insn *in);

/* The offset of the memory operand within its segment: r.rip must be the instruction's address. */
uint64_t insn_offset(const struct cpu *c, const struct insn *in);

/* Its linear address for an access of `size` bytes, after segment checks. */
int MUST_CHECK insn_lin(struct cpu *c, const struct insn *in, unsigned size, unsigned acc, uint64_t *lin);

/* Held by an engine from before it reads bytes of a page until cpu->holds_code says so: meanwhile
 * nobody takes MEM_code from the page. */
void interp_code_lock(struct cpu *c);
void interp_code_unlock(void);

/* The page was written: drop c's decoded blocks of all of it, and MEM_code when nobody else has a copy. */
void interp_page_forget(struct cpu *c, gpa_t gpa);

/* The vCPU idles: what was decoded goes, and its memory. */
void interp_trim(struct cpu *c);
