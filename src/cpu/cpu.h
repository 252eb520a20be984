/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/cpu.h - one virtual processor as software engines see it: register file, memory, events.
 *
 * What `interp` and `bt` share beside the register file itself: the execution mode, the fault in
 * flight, the software TLB, and the way up to the machine (struct cpu_ops). An engine built on
 * hardware uses only the register file and the event rows.
 */
#pragma once
#include "cpu/policy.h"
#include "cpu/regs.h"
#include "mem/mem.h"
#include <stdatomic.h>

/* How instructions are decoded and addresses formed. */
enum cpu_mode { MODE_real, MODE_v86, MODE_prot16, MODE_prot32, MODE_long64 };
/* Compatibility mode is MODE_prot16/32 with EFER.LMA: cpu->lma tells it from legacy mode. */

/* Exception vectors (SDM vol. 3A, table 6-1). */
enum vector {
	VEC_de = 0, VEC_db = 1, VEC_nmi = 2, VEC_bp = 3, VEC_of = 4, VEC_br = 5, VEC_ud = 6,
	VEC_nm = 7, VEC_df = 8, VEC_ts = 10, VEC_np = 11, VEC_ss = 12, VEC_gp = 13, VEC_pf = 14,
	VEC_mf = 16, VEC_ac = 17, VEC_mc = 18, VEC_xm = 19
};

/* Result of anything that may fault. Nonzero: cpu->fault says which, registers are as before the
 * instruction (for a string instruction: before the iteration). */
enum { OK = 0, FAULT = 1 };
#define MUST_CHECK __attribute__((warn_unused_result))

enum event_kind { EVENT_none, EVENT_fault, EVENT_trap /* #DB after, #BP, #OF */, EVENT_int /* INT n */,
	EVENT_icebp, EVENT_nmi, EVENT_extint,
	EVENT_retry /* none: the instruction is to be tried again, once the host program has answered */ };
struct cpu_fault {
	uint8_t kind;		/* enum event_kind */
	uint8_t vec;
	bool has_error;
	uint32_t error;
	uint64_t addr;		/* #PF: linear address for CR2; #DB: bits to set in DR6 */
};

/* Why a software engine should leave guest code at the next block boundary; cpu->attention. */
enum attention {
	ATT_intr = 1 << 0,	/* an interrupt controller has something */
	ATT_nmi = 1 << 1,
	ATT_init = 1 << 2,
	ATT_sipi = 1 << 3,
	ATT_kick = 1 << 4,	/* pause, stop, quantum over: return to the scheduler */
	ATT_tlb = 1 << 5,	/* run the requests of cpu_shootdown */
	ATT_timer = 1 << 6,	/* look at the clock */
	ATT_code = 1 << 7,	/* the interpreter's own: decoded code was overwritten */
	ATT_quantum = 1 << 8	/* the pool's own: others wait for this thread */
};

enum activity { ACTIVITY_run, ACTIVITY_hlt, ACTIVITY_wait_sipi, ACTIVITY_shutdown };
enum interruptibility { SHADOW_sti = 1 << 0, SHADOW_mov_ss = 1 << 1,
	SHADOW_event = 1 << 2 /* an engine is about to deliver something (kvm) */ };

/* One access to a port or to a physical address that is not RAM. */
struct io {
	uint64_t addr;
	uint64_t data;		/* written or read value, low `size` bytes */
	uint8_t size;		/* 1, 2, 4 or 8 bytes */
	bool port, write;
};
enum io_result { IO_done, IO_none /* nobody there: reads give all ones */, IO_stop /* done; leave the engine */ };

struct cpu;

/* The machine around the processor, lent by the vCPU's owner (vm/vcpu.c). All are called on the
 * vCPU's own thread. */
struct cpu_ops {
	enum io_result (*io)(struct cpu *c, struct io *io);
	/* Guest TSC with offset applied, and the clock of kvmclock (ns). */
	uint64_t (*tsc)(struct cpu *c);
	/* Its distance from the host's TSC while that is fixed, until tsc_write or tsc_adjust; else
	 * false. May be NULL. */
	bool (*tsc_delta)(struct cpu *c, uint64_t *delta);
	/* Local APIC: MSRs 0x800-0x8ff; false is #GP. */
	bool (*apic_msr)(struct cpu *c, uint32_t msr, bool write, uint64_t *val);
	void (*apic_base)(struct cpu *c, uint64_t val);	/* IA32_APIC_BASE was written and accepted */
	uint8_t (*tpr_get)(struct cpu *c);		/* CR8 */
	void (*tpr_set)(struct cpu *c, uint8_t tpr);
	void (*deadline)(struct cpu *c, uint64_t tsc);	/* IA32_TSC_DEADLINE was written */
	void (*tsc_write)(struct cpu *c, uint64_t tsc);	/* IA32_TSC was written: new value */
	void (*tsc_adjust)(struct cpu *c, uint64_t delta);	/* TSC moved by delta through TSC_ADJUST */
	void (*kvm_clock)(struct cpu *c, uint32_t msr, uint64_t val);	/* a kvmclock MSR was written */
	/* Register policy: a line for the trace (may be NULL); may the guest, says the host program?
	 * VERDICT_wait: it thinks, the vCPU stands still until then (may be NULL: no). */
	void (*policy_event)(struct cpu *c, struct policy_record *r);
	enum verdict (*policy_ask)(struct cpu *c, const struct policy_query *q, const struct policy_rule *r);
};

/* ---- software TLB (cpu/tlb.c); its layout is part of the translator's contract ---- */
enum tlb_view { TLB_user /* CPL 3 */, TLB_super /* CPL < 3, no user pages (SMAP) */,
	TLB_super_ac /* CPL < 3, user pages allowed */, TLB_VIEWS };
enum { TLB_ENTRIES = 1 << 13, CODE_ENTRIES = 1 << 12, TLB_NEAR = 64 };
/* A tag that no page has. The translator takes an entry for that of its address when both differ in
 * less than a page, so it must be far from all that can be mapped: an access that does match it,
 * with whatever delta was left there, goes to a non-canonical host address and faults. */
#define TLB_EMPTY (1ull << 63 | 1)
struct tlb_entry {
	uint64_t tag;		/* linear address of the page, low 12 bits 0; or TLB_EMPTY */
	uint64_t delta;		/* host address minus linear address */
};
/* Pages that lie side by side here and there. An access of 1 << n bytes is in them when its address
 * minus `lo` is at most last[n]. */
enum { TLB_SIZES = 6 };
struct tlb_range { uint64_t lo /* or TLB_EMPTY */, delta, last[TLB_SIZES]; };
struct tlb {
	struct tlb_entry read[TLB_ENTRIES];
	struct tlb_entry write[TLB_ENTRIES];	/* never for pages with code, clean, or watched */
	/* The translator's copies of entries: of a write entry for stack accesses, of any for other
	 * instructions, [write] one set for each kind, with a mask of those in use. Whoever empties an
	 * entry because its mapping changed empties the copies as well (tlb.c, drop_copies). */
	struct tlb_entry stack;
	struct tlb_entry near[2][TLB_NEAR];
	struct tlb_range range[2][TLB_NEAR];
	uint64_t near_used[2], range_used[2];
};

/* Pages that instructions were fetched from; see lin_code. */
enum code_view { CODE_super /* CPL < 3 */, CODE_user, CODE_VIEWS };
struct code_entry {
	uint64_t tag;		/* as in struct tlb_entry */
	gpa_t gpa;		/* of the page */
	const uint8_t *host;	/* of the page; NULL: not RAM */
};

/* What cpu->flushed is told after a change of mappings. */
enum tlb_flush { FLUSH_page /* of lin; it may be a large one */, FLUSH_nonglobal /* CR3 write */, FLUSH_all,
	/* Address spaces with a PCID, numbered by lin: what FLUSH_nonglobal will drop is to be put aside; put back; forgotten. */
	FLUSH_aside, FLUSH_back, FLUSH_forget };
enum { FLUSH_ASIDES = 8 };

struct code_log;
struct bt_state;	/* the translator's part, opaque here */
struct cpu_model;	/* cpuid.h */

struct cpu {
	/* -- architectural state -- */
	union regfile r;		/* first: offset 0 is rax */
	struct fpu_state fpu;

	/* -- derived from it by cpu_mode_update(), never set elsewhere -- */
	uint8_t mode;			/* enum cpu_mode */
	uint8_t cpl;
	bool lma, paging;
	uint8_t tlb_view;		/* enum tlb_view for explicit data accesses */

	/* -- in flight -- */
	struct cpu_fault fault;		/* set by cpu_raise */
	uint32_t valid, dirty;		/* groups current in r; groups an engine must take back */
	uint64_t retired;		/* instructions completed since reset (interp always) */
	uint64_t retire_limit;		/* counted clock: leave with EXIT_attend at the first block
					   boundary where retired has reached this; else UINT64_MAX */
	bool irq_window;		/* set by the loop: an interrupt waits for IF or a shadow's end; leave
					   with EXIT_attend as soon as it could be delivered */

	/* -- asked by other threads -- */
	_Atomic uint32_t attention;
	_Atomic uint32_t in_guest;	/* may touch guest memory by its TLB: cpu_guest_enter .. cpu_guest_leave */

	/* -- the interpreter's scratch (engine/interp/iop.h), meaningless outside of its run -- */
	struct {
		uint64_t zero;			/* always 0: the base, index or segment that is not there */
		uint64_t ea;			/* linear address worked out by the iop before */
		uint64_t val;			/* what iop_load_slow read */
		uint32_t fl;			/* arithmetic flags: AH as LAHF gives it << 8 | OF */
	} hot;

	/* -- lent, not owned -- */
	const struct cpu_ops *ops;
	const struct code_log *code_log;	/* who wants to see translations (host/code_log.h); NULL: nobody */
	void *owner;			/* struct vcpu */
	struct mem *mem;
	const struct cpu_model *model;
	unsigned index;			/* 0 is the bootstrap processor; APIC id */
	uint64_t code_cache;		/* bytes that an engine may use for translations; 0: as it likes */
	bool kernel_chips;		/* before open: the engine may keep APICs, PICs and PIT in the host's
					   kernel; after it: it does, HLT and IPIs included */

	/* -- register policy (policy.h), by policy_adopt -- */
	const struct policy *policy;	/* borrowed; NULL: none */
	const uint8_t *policed;		/* by row of registers.def: enum reg_access that some rule is about */
	uint32_t police_insns;		/* enum policy_insn likewise: engines neither inline nor shorten these */
	bool user_watch;		/* tell policy_user_begins when CPL 3 is next entered */
	bool user_late;			/* started by INIT after user space began: `after userspace` waits for its own */
	_Atomic bool *userspace;	/* the VM's: some vCPU has run at CPL 3; NULL: never */

	/* Second mappings of guest RAM that an engine made; TLB entries may lead there. NULL: none. */
	uint8_t *alias;
	size_t alias_size;

	/* Set by an engine that keeps translations by linear address: called on the vCPU's thread by
	 * tlb_flush_page, when code may have been fetched through that page, and tlb_flush_all (and a CR3 write that keeps the TLB, as FLUSH_nonglobal). */
	void (*flushed)(struct cpu *c, enum tlb_flush what, uint64_t lin);
	/* Set by an engine that keeps copies of code beside the interpreter's: whether it has some of
	 * the page of gpa. From any thread, under interp_code_lock. */
	bool (*holds_code)(const struct cpu *c, gpa_t gpa);

	struct tlb tlb[TLB_VIEWS];
	struct code_entry code[CODE_VIEWS][CODE_ENTRIES];
	uint64_t remaps[CODE_VIEWS];	/* counted when lin_code may lead elsewhere than it did */
	struct paging_state *paging_state;	/* owned: cpu/paging.c's own (PDPTEs, PCIDs, statistics) */
	struct debug_state *debug;		/* owned by the debugger, NULL when none: breakpoints */
	struct interp *interp;			/* owned by engine/interp */
	struct bt_state *bt;			/* owned by engine/bt */
	struct kvm_vcpu *kvm;			/* owned by engine/kvm */
};

/* Make a processor in its reset state (c is zeroed, 64-byte aligned) and make it known to the
 * memory; 0, or -1 with errno. cpu/cpu.c. index 0 runs, the others wait for SIPI. */
int cpu_open(struct cpu *c, struct mem *mem, const struct cpu_model *model, unsigned index);
void cpu_close(struct cpu *c);

/* Recompute mode, cpl, views after CR0, CR4, EFER, CS, SS, RFLAGS.VM/AC changed. cpu/mode.c */
void cpu_mode_update(struct cpu *c);

/* Record a fault; always returns FAULT so that a caller can return it. cpu/mode.c */
int cpu_raise(struct cpu *c, uint8_t vec);				/* no error code */
int cpu_raise_error(struct cpu *c, uint8_t vec, uint32_t error);
int cpu_raise_pf(struct cpu *c, uint64_t lin, uint32_t error);
int cpu_raise_db(struct cpu *c, uint64_t dr6_bits);			/* as a fault */

/* Deliver cpu->fault (exception, INT n, NMI, external interrupt) through the IDT or IVT: pushes,
 * switches stacks and tasks, folds double faults. FAULT means triple fault: shutdown.
 * For faults r.rip is the faulting instruction, for traps and INT n already the next. */
int MUST_CHECK cpu_deliver(struct cpu *c);

static inline void
cpu_ask(struct cpu *c, uint32_t what)
{
	atomic_fetch_or_explicit(&c->attention, what, memory_order_release);
}
