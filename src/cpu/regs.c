/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/regs.c - the tables made from registers.def and bits.def, and the state after RESET and INIT. */
#include "cpu/regs.h"
#include "cpu/cpuid.h"
#include <string.h>

#define ALL UINT64_MAX
#define XML GDB_XML
enum { INIT_rst, INIT_keep };

static_assert(CPUF__COUNT <= 256, "reg_desc.since");
static_assert(REG__COUNT < 0x10000, "bit_desc.reg");

const struct reg_desc reg_desc[REG__COUNT] = {
#define R(name_, group_, bits_, reset_, init_, writable_, rest_, since_, policy_, msr_, kvm_, gdb_, kind_, check_) \
	[REG_##name_] = { .name = #name_, .group = GROUP_##group_, .bits = (bits_), .reset = (reset_), \
		.keep_on_init = INIT_##init_, .writable = (writable_), .rest = REST_##rest_, \
		.since = CPUF_##since_, .policy = POLICY_##policy_, .msr = (msr_), .kvm = KVM_##kvm_, \
		.gdb = (gdb_), .kind = KIND_##kind_ },
#include "cpu/registers.def"
#undef R
};

const struct bit_desc bit_desc[] = {
#define B(reg_, field_, at_, len_, meaning_) \
	{ .reg_name = #reg_, .name = #field_, .meaning = (meaning_), .reg = REG_##reg_, .at = (at_), .len = (len_) },
#include "cpu/bits.def"
#undef B
};
const unsigned bit_desc_count = sizeof(bit_desc) / sizeof(bit_desc[0]);

int
reg_by_name(const char *name)
{
	int id;

	for (id = 0; id < REG__COUNT; id++)
		if (strcmp(reg_desc[id].name, name) == 0)
			return id;
	return -1;
}

/* A register without an MSR number gets a case that no MSR reaches; two rows with the same MSR
 * number do not compile. */
#define MSR_CASE(name, msr) ((msr) == NOMSR ? (uint64_t)NOMSR + 1 + REG_##name : (uint64_t)(msr))

int
reg_by_msr(uint32_t msr)
{
	switch ((uint64_t)msr) {
#define R(name_, group_, bits_, reset_, init_, writable_, rest_, since_, policy_, msr_, ...) \
	case MSR_CASE(name_, msr_): return REG_##name_;
#include "cpu/registers.def"
#undef R
	default: return -1;
	}
}

/* x87 after RESET is not as after FINIT: exceptions unmasked, all registers in use holding +0.0
 * (SDM vol. 3A, table 10-1). */
enum { FCW_RESET = 0x40, FTW_RESET = 0xff, MXCSR_RESET = 0x1f80, MXCSR_MASK = 0xffff, XSTATE_x87 = 1 };

void
reg_reset(union regfile *r, struct fpu_state *f)
{
	int id;

	for (id = 0; id < REG__COUNT; id++)
		r->v[id] = reg_desc[id].reset;
	memset(f, 0, sizeof(*f));
	f->fcw = FCW_RESET;
	f->ftw = FTW_RESET;
	f->mxcsr = MXCSR_RESET;
	f->mxcsr_mask = MXCSR_MASK;
	f->xstate_bv = XSTATE_x87;
}

void
reg_init(union regfile *r)
{
	uint64_t cache = r->cr0 & (cr0_cd_MASK | cr0_nw_MASK);	/* INIT leaves the caches alone */
	int id;

	for (id = 0; id < REG__COUNT; id++)
		if (!reg_desc[id].keep_on_init)
			r->v[id] = reg_desc[id].reset;
	r->cr0 = (r->cr0 & ~(cr0_cd_MASK | cr0_nw_MASK)) | cache;
}
