/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/xsave.h - the XSAVE family on cpu->fpu, and what an x87 image and MXCSR are made of. */
#pragma once
#include "cpu/cpu.h"

enum { MXCSR_reset = 0x1f80, MXCSR_writable = 0xffff };

/* x87 status: is an unmasked exception pending; make ES and B agree with that. */
enum { FSW_exceptions = 0x3f, FSW_es = 0x80, FSW_b = 0x8000, FCW_reserved = 0x40, FCW_writable = 0x1f3f };
static inline bool fpu_pending(const struct fpu_state *f) { return f->fsw & ~f->fcw & FSW_exceptions; }
static inline void
fpu_settle(struct fpu_state *f)
{
	f->fcw = (uint16_t)((f->fcw & FCW_writable) | FCW_reserved);
	f->fsw = (uint16_t)(f->fsw & ~(FSW_es | FSW_b));
	if (fpu_pending(f))
		f->fsw |= FSW_es | FSW_b;
}

/* XMM8-15 exist for these instructions in 64-bit mode only. */
static inline unsigned fpu_nregs(const struct cpu *c) { return c->mode == MODE_long64 ? 16 : 8; }

/* The x87 part of an image (bytes 0-23 and 32-159); wide: with REX.W, 64-bit pointers. */
enum { X87_POINTERS = 24, X87_REGS = 32, X87_IMAGE = 160 };
void x87_image(const struct cpu *c, bool wide, uint8_t out[X87_IMAGE]);
void x87_load(struct cpu *c, bool wide, const uint8_t *from);

/* Which of them, as its opcode and prefixes say. */
struct xsave_form { bool compact, supervisor, skips_initial, wide; };

/* First: may it run; the components asked for, and how many bytes an operand must have. */
int MUST_CHECK xsave_check(struct cpu *c, const struct xsave_form *f, unsigned *rfbm, unsigned *size);
/* Then, at a linear address whose form was checked. Faults leave memory and state as they were. */
int MUST_CHECK cpu_xsave(struct cpu *c, const struct xsave_form *f, unsigned rfbm, uint64_t lin);
int MUST_CHECK cpu_xrstor(struct cpu *c, const struct xsave_form *f, unsigned rfbm, uint64_t lin);
