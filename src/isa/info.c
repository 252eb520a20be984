/* SPDX-License-Identifier: Apache-2.0 */
/* isa/info.c - the table of instruction properties, from insns.def. */
#include "isa/insn.h"
#include "cpu/cpuid.h"

/* The abbreviations of insns.def. */
enum {
	LOCK = IF_lockable, BR = IF_branch, END = IF_end, PRIV = IF_priv, STR = IF_string,
	STK = IF_stack, IO = IF_io, X87 = IF_x87, MMX = IF_mmx, SSE = IF_sse, AVX = IF_avx,
	ALIGN = IF_mem_align, L256 = IF_l256_avx2, NO64 = IF_no64, ONLY64 = IF_only64,
	PROT = IF_prot, IMPL = IF_implicit
};
enum {
	FC = 0x1, FP = 0x4, FA = 0x10, FZ = 0x40, FS = 0x80, FI = 0x200, FD = 0x400, FO = 0x800,
	OSZAPC = FO | FS | FZ | FA | FP | FC, OSZAP = OSZAPC & ~FC, OSZP = OSZAP & ~FA,
	OSAP = OSZAP & ~FZ, OSAPC = OSAP | FC, SZAPC = OSZAPC & ~FO, SZAP = SZAPC & ~FC, CC = OSZAPC & ~FA,
	FSYS = FI | 3 << 12 /* IOPL */, FALL = 0x7fd5
};

const struct insn_info insn_info[INSN__COUNT] = {
	[INSN_invalid] = { .name = "invalid", .flags = IF_end },
#define I(name_, flags_, read, write, undef, feat) [INSN_##name_] = { .name = #name_, \
	.flags = (uint32_t)(flags_), .fl_read = (read), .fl_write = (write), .fl_undef = (undef), \
	.feature = CPUF_##feat },
#include "isa/insns.def"
#undef I
};
