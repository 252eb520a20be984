/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/state.h - what an instruction can see and change: the same struct for host and guest. */
#pragma once
#include "check.h"
#include "cpu/cpu.h"
#include "cpu/regs.h"
#include "isa/insn.h"

/* Fixed places, the same linear addresses in the host process and in the guest. All below 2 GiB so
 * that absolute operands and compatibility mode reach them. The pages around DATA are not mapped. */
enum {
	PLACE_CODE = 0x20000000, CODE_PAGES = 2,
	PLACE_DATA = 0x20010000, DATA_PAGES = 3, DATA_SIZE = DATA_PAGES * 4096, DATA_MID = PLACE_DATA + DATA_SIZE / 2,
	PLACE_RO = 0x20020000,			/* one page, read only */
	/* 16-bit code: CS begins at PLACE_CODE, the other segments so that DATA lies in the middle of one. */
	BASE_16 = PLACE_DATA - 0x4000, ESP_HIGH_16 = 0x20030000	/* as native.h leaves it */
};

/* How an instruction ended: DONE, or the vector of its exception. */
enum { DONE = -1 };

struct state {
	uint64_t gpr[16], rip, rflags;
	struct fpu_state fpu;
	int vec;			/* after a run: DONE or an exception vector */
	uint32_t error;			/* its error code */
	uint64_t cr2;			/* #PF */
};

struct test_case {
	uint8_t bytes[256];
	unsigned len;
	struct insn in;
	struct state s;			/* before */
	enum isa_mode mode;
};

/* Linear addresses of instruction and data offsets of a case. */
static inline uint64_t
code_lin(const struct test_case *t, uint64_t rip)
{
	return t->mode == ISA_16 ? (uint64_t)PLACE_CODE + (uint16_t)rip : rip;
}

static inline uint64_t
data_lin(const struct test_case *t, uint64_t off)
{
	return t->mode == ISA_16 ? (uint32_t)(BASE_16 + (uint32_t)off) : off;
}

static inline uint64_t
stack_lin(const struct test_case *t, uint64_t sp)
{
	return t->mode == ISA_16 ? (uint64_t)BASE_16 + (uint16_t)sp : sp;
}

static inline bool
repeats(const struct test_case *t)
{
	return insn_info[t->in.id].flags & IF_string && t->in.prefixes & (PFX_rep | PFX_repne);
}

/* A small fast generator (xorshift*); the seed is printed, so that a run can be repeated. */
static uint64_t rnd_state = 88172645463325252ull;

static inline uint64_t
rnd(void)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 0x2545f4914f6cdd1dull;
}

static inline unsigned
rnd_below(unsigned n)
{
	return (unsigned)((rnd() >> 32) * n >> 32);
}
