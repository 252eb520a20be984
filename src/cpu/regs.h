/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/regs.h - the register file: all architectural state of one vCPU, made from registers.def. */
#pragma once
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reg_id {
#define R(name, ...) REG_##name,
#include "cpu/registers.def"
#undef R
	REG__COUNT
};

/* Registers that move together between the register file and an engine. */
enum reg_group {
	GROUP_gpr, GROUP_ip, GROUP_seg, GROUP_table, GROUP_ctl, GROUP_dbg, GROUP_msr, GROUP_event,
	GROUP_fpu, GROUP__COUNT
};
#define GROUP_BIT(g) (1u << (g))
#define GROUP_ALL (GROUP_BIT(GROUP__COUNT) - 1)

/* Segment registers in the order of ModRM.reg; LDTR and TR behind them. */
enum seg_id { SEG_es, SEG_cs, SEG_ss, SEG_ds, SEG_fs, SEG_gs, SEG_ldtr, SEG_tr, SEG__COUNT };

/* A segment register with its hidden part. The limit is in bytes (granularity applied); attr is
 * the access-rights format of SDM vol. 3C, 25.4.1. */
struct segreg {
	uint64_t sel, base, limit, attr;
};

enum seg_attr {
	ATTR_type = 0xf, ATTR_accessed = 1 << 0, ATTR_write = 1 << 1 /* data: writable; code: readable */,
	ATTR_down = 1 << 2 /* data: expand down; code: conforming */, ATTR_code = 1 << 3,
	ATTR_s = 1 << 4 /* code or data, not system */, ATTR_dpl_shift = 5, ATTR_dpl = 3 << 5,
	ATTR_p = 1 << 7, ATTR_avl = 1 << 12, ATTR_l = 1 << 13, ATTR_db = 1 << 14, ATTR_g = 1 << 15,
	ATTR_unusable = 1 << 16 /* null selector */
};

/* One vCPU's registers: by manual name (r->cr0), by number (r->v[id]), GPRs by ModRM number
 * (r->gpr[n]), segments by sreg number (r->seg[n]). The translator addresses it from GS. */
union regfile {
	uint64_t v[REG__COUNT];
	struct {
#define R(name, ...) uint64_t name;
#include "cpu/registers.def"
#undef R
	};
	uint64_t gpr[16];
	struct {
		uint64_t before_seg[REG_es];
		struct segreg seg[SEG__COUNT];
	};
};

static_assert(REG_rax == 0 && REG_rsp == 4 && REG_rdi == 7 && REG_r15 == 15, "ModRM order");
static_assert(REG_es_attr - REG_es == 3 && REG_tr == REG_es + 4 * SEG_tr, "struct segreg order");

/* cr4_smep_MASK, cr4_smep_SHIFT, and cr4_smep(r) to read the field, for each row of bits.def. */
enum {
#define B(reg, field, at, len, meaning) reg##_##field##_SHIFT = (at),
#include "cpu/bits.def"
#undef B
};
#define B(reg, field, at, len, meaning) \
	static const uint64_t reg##_##field##_MASK __attribute__((unused)) = ((1ull << (len)) - 1) << (at);
#include "cpu/bits.def"
#undef B
#define B(reg_, field, at, len, meaning) static inline uint64_t \
	reg_##_##field(const union regfile *r) { return r->reg_ >> (at) & ((1ull << (len)) - 1); }
#include "cpu/bits.def"
#undef B

/* The arithmetic flags: CF PF AF ZF SF OF. */
enum { RFLAGS_arith = 0x8d5, RFLAGS_fixed = 0x2 };

/* The XSAVE area, standard format: x87, XMM, MXCSR, header, upper YMM halves (SDM vol. 1, 13.4). */
enum { XSAVE_SIZE = 832, XSAVE_LEGACY = 512, XSAVE_HEADER = 64, XSAVE_YMMH = 576 };
struct fpu_state {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved0;		/* abridged tag word: bit n set = register n in use */
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];		/* by stack position: st[0] is ST(0) */
	uint8_t xmm[16][16];
	uint8_t reserved1[96];
	uint64_t xstate_bv, xcomp_bv;
	uint8_t header[48];
	uint8_t ymmh[16][16];
} __attribute__((aligned(64)));
static_assert(offsetof(struct fpu_state, xmm) == 160, "FXSAVE layout");
static_assert(offsetof(struct fpu_state, xstate_bv) == 512, "XSAVE header");
static_assert(offsetof(struct fpu_state, ymmh) == XSAVE_YMMH, "standard format");

/* One row of registers.def, for loops over all of them. */
enum reg_rest { REST_keep, REST_gp };
enum reg_kind { KIND_saved, KIND_derived, KIND_fixed };
enum reg_policy { POLICY_allow, POLICY_log, POLICY_deny, POLICY_hide };
enum reg_kvm { KVM_regs, KVM_sregs, KVM_dregs, KVM_msr, KVM_xcrs, KVM_events, KVM_fpu, KVM_none };
#define NOMSR UINT32_MAX
enum { GDB_XML = -1 };

struct reg_desc {
	const char *name;
	uint8_t group, bits, keep_on_init, rest, since, policy, kvm, kind;
	int16_t gdb;		/* number in gdb's amd64 core set, or GDB_XML */
	uint32_t msr;		/* or NOMSR */
	uint64_t reset, writable;
};
extern const struct reg_desc reg_desc[REG__COUNT];

struct bit_desc {
	const char *reg_name, *name, *meaning;
	uint16_t reg;		/* enum reg_id */
	uint8_t at, len;
};
extern const struct bit_desc bit_desc[];
extern const unsigned bit_desc_count;

/* The register of that name, or of that MSR number; -1 when there is none. */
int reg_by_name(const char *name);
int reg_by_msr(uint32_t msr);

/* The state after RESET or INIT (SDM vol. 3A, table 10-1). INIT keeps what its rows say. */
void reg_reset(union regfile *r, struct fpu_state *f);
void reg_init(union regfile *r);
