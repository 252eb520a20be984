/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/segments.h - segmentation and every transfer of control that is more than a near jump.
 *
 * Shared by the interpreter and the translator's light and heavy helpers. Everything returns OK or
 * FAULT; on FAULT the register file is as before the instruction. On OK r.rip, r.rsp, segments,
 * flags and CPL are final and cpu_mode_update has been called. `next` is the address behind the
 * instruction. Operand sizes `osz` are in bytes: 2, 4 or 8.
 */
#pragma once
#include "cpu/cpu.h"

/* seg_lin outside its fast path; the same results. */
int MUST_CHECK seg_lin_slow(struct cpu *c, enum seg_id seg, uint64_t off, unsigned size, unsigned acc,
	uint64_t *lin);

/* Linear address of seg:off for `size` bytes, after limit, type, null and canonical checks
 * (#GP(0) or #SS(0)). acc as in access.h. The fast path is 64-bit mode, both ends in one half
 * of the canonical addresses. */
static inline int MUST_CHECK
seg_lin(struct cpu *c, enum seg_id seg, uint64_t off, unsigned size, unsigned acc, uint64_t *lin)
{
	const uint64_t half = 1ull << 47;
	uint64_t at = off;

	if (c->mode != MODE_long64)
		return seg_lin_slow(c, seg, off, size, acc, lin);
	if (seg >= SEG_fs)
		at += c->r.seg[seg].base;
	if (((at + half) | (at + size - 1 + half)) >> 48 != 0)
		return seg_lin_slow(c, seg, off, size, acc, lin);
	*lin = at;
	return OK;
}

/* Raised by a segment that does not allow an access: #SS(0) of SS, #GP(0) of the others. */
int seg_violation(struct cpu *c, enum seg_id seg);

/* MOV Sreg / POP Sreg / LxS: not CS. Real and V86 mode included. */
int MUST_CHECK seg_load(struct cpu *c, enum seg_id seg, uint16_t sel);
int MUST_CHECK seg_lldt(struct cpu *c, uint16_t sel);
int MUST_CHECK seg_ltr(struct cpu *c, uint16_t sel);

/* LAR, LSL, VERR, VERW: *ok is the new ZF; *val LAR's or LSL's result. */
enum seg_query { QUERY_lar, QUERY_lsl, QUERY_verr, QUERY_verw };
int MUST_CHECK seg_query(struct cpu *c, enum seg_query what, uint16_t sel, bool *ok, uint32_t *val);

int MUST_CHECK cpu_jmp_far(struct cpu *c, uint16_t sel, uint64_t off, unsigned osz, uint64_t next);
int MUST_CHECK cpu_call_far(struct cpu *c, uint16_t sel, uint64_t off, unsigned osz, uint64_t next);
int MUST_CHECK cpu_ret_far(struct cpu *c, unsigned osz, uint16_t pop);
int MUST_CHECK cpu_iret(struct cpu *c, unsigned osz, uint64_t next);
/* INT n (CD nn), with V86 and VME rules. */
int MUST_CHECK cpu_int(struct cpu *c, uint8_t vec, uint64_t next);
int MUST_CHECK cpu_int3(struct cpu *c, uint64_t next);
int MUST_CHECK cpu_into(struct cpu *c, uint64_t next);
int MUST_CHECK cpu_icebp(struct cpu *c, uint64_t next);
int MUST_CHECK cpu_syscall(struct cpu *c, uint64_t next);
int MUST_CHECK cpu_sysret(struct cpu *c, unsigned osz);
int MUST_CHECK cpu_sysenter(struct cpu *c);
int MUST_CHECK cpu_sysexit(struct cpu *c, unsigned osz);
int MUST_CHECK cpu_swapgs(struct cpu *c);

enum task_reason { TASK_jmp, TASK_call, TASK_iret, TASK_int };
/* A fault in the new task's context (a bad selector in its TSS, its T bit) is raised after the
 * switch: then the registers, rip included, are the new task's already. The caller checks DPLs. */
int MUST_CHECK cpu_task_switch(struct cpu *c, uint16_t tss_sel, enum task_reason why, uint64_t next,
	bool has_error, uint32_t error);

/* IN/OUT permission: CPL against IOPL, then the TSS bitmap (#GP(0)). */
int MUST_CHECK cpu_io_allowed(struct cpu *c, uint16_t port, unsigned size);
/* With rAX, and the policy's rules for ports. *stop: done, and the engine is to be left. */
int MUST_CHECK cpu_port_in(struct cpu *c, uint16_t port, unsigned size, bool *stop);
int MUST_CHECK cpu_port_out(struct cpu *c, uint16_t port, unsigned size, bool *stop);

/* PUSHF/POPF/CLI/STI with IOPL, V86 and VME/PVI rules. */
int MUST_CHECK cpu_popf(struct cpu *c, uint64_t val, unsigned osz);
int MUST_CHECK cpu_pushf_image(struct cpu *c, unsigned osz, uint64_t *val);
int MUST_CHECK cpu_cli(struct cpu *c);
int MUST_CHECK cpu_sti(struct cpu *c);
