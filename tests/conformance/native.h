/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/native.h - runs one instruction on the host CPU, in this process, and catches its end.
 *
 * native_enter loads all registers and goes to the instruction. One that falls through meets a jump
 * to native_exit, which saves all registers. Everything else (branches, POPF, compatibility mode) runs
 * with TF set and ends in SIGTRAP, exceptions in their signal; the kernel's frame has the registers.
 */
#pragma once
#include "conformance/state.h"
#include <asm/ldt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { FRAME_XSTATE_BV = 512, FRAME_YMMH = 576, RFLAGS_tf = 0x100, RFLAGS_rf = 0x10000 };
enum { NATIVE_FAR = PLACE_CODE + 4096 + 2048, NATIVE_FAR16 = NATIVE_FAR + 64 };	/* 64-bit code that compatibility mode jumps to */
enum { CS_USER64 = 0x33, CS_USER32 = 0x23, SS_USER = 0x2b, CS_USER16 = 0x0f, DS_USER16 = 0x17 /* LDT 1, 2 */ };

/* At PLACE_NATIVE: what the assembly below reads and writes, by absolute address. */
struct native_area {
	uint64_t gpr[16], rip, rflags, host_rsp, cs, ss;	/* in */
	uint64_t pad[11];
	uint64_t out_gpr[16], out_rflags, exit_to;
	uint32_t far_offset;			/* compatibility mode leaves by JMP FAR [here] */
	uint16_t far_cs, pad3;
	uint64_t pad2[13];
	struct fpu_state fpu, out_fpu;
};
#define PLACE_NATIVE 0x20030000
#define NATIVE ((struct native_area *)(uintptr_t)PLACE_NATIVE)
static_assert(offsetof(struct native_area, out_gpr) == 0x100 && offsetof(struct native_area, fpu) == 0x200
	&& offsetof(struct native_area, out_fpu) == 0x540, "the addresses below");

void native_enter(uint64_t by_iret);
extern char native_exit[], native_resume[];
__asm__(
	".text\n"
	"native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, 0x20030090\n"
	"	mov %rdi, %rcx\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xrstor64 0x20030200\n"
	"	jrcxz 1f\n"
	/* By an IRET frame: for TF, which acts after the instruction behind IRET, and for another CS. To a
	 * 16-bit stack segment IRET loads SP alone: the rest of RSP is that of the end of this page. */
	"	mov $0x20031000, %esp\n"
	"	push 0x200300a0; push 0x20030020; push 0x20030088; push 0x20030098; push 0x20030080\n"
	"	call native_load\n"
	"	iretq\n"
	"1:	push 0x20030088\n"
	"	popfq\n"
	"	call native_load\n"
	"	mov 0x20030020, %rsp\n"
	"	jmp *0x20030080\n"
	"native_load:\n"
	"	mov 0x20030000, %rax; mov 0x20030008, %rcx; mov 0x20030010, %rdx; mov 0x20030018, %rbx\n"
	"	mov 0x20030028, %rbp; mov 0x20030030, %rsi; mov 0x20030038, %rdi; mov 0x20030040, %r8\n"
	"	mov 0x20030048, %r9; mov 0x20030050, %r10; mov 0x20030058, %r11; mov 0x20030060, %r12\n"
	"	mov 0x20030068, %r13; mov 0x20030070, %r14; mov 0x20030078, %r15\n"
	"	ret\n"
	"native_exit:\n"
	"	mov %rax, 0x20030100; mov %rcx, 0x20030108; mov %rdx, 0x20030110; mov %rbx, 0x20030118\n"
	"	mov %rsp, 0x20030120; mov %rbp, 0x20030128; mov %rsi, 0x20030130; mov %rdi, 0x20030138\n"
	"	mov %r8, 0x20030140; mov %r9, 0x20030148; mov %r10, 0x20030150; mov %r11, 0x20030158\n"
	"	mov %r12, 0x20030160; mov %r13, 0x20030168; mov %r14, 0x20030170; mov %r15, 0x20030178\n"
	"	mov 0x20030090, %rsp\n"
	"	pushfq\n"
	"	mov $0x2b, %eax; mov %eax, %ss\n"
	"	pop 0x20030180\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xsave64 0x20030540\n"
	"native_resume:\n"
	"	cld\n"
	"	vzeroupper\n"
	"	fninit\n"
	"	pushq $0x1f80\n"
	"	ldmxcsr (%rsp)\n"
	"	pop %rax\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
);

static struct {
	struct state *s;	/* what runs, NULL: nothing */
	bool repeats;		/* traps after each iteration */
	uint64_t steps;
} native;

/* gregs[] in ModRM order */
static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

/* Components that the image says are in their initial state need not be in it. */
static void
native_fill_initial(struct fpu_state *f, uint64_t bv)
{
	if (!(bv & 4))
		memset(f->ymmh, 0, sizeof(f->ymmh));
	if (!(bv & 2))
		memset(f->xmm, 0, sizeof(f->xmm));
	if (!(bv & 1)) {
		memset(f, 0, offsetof(struct fpu_state, mxcsr));
		f->fcw = 0x37f;
		memset(f->st, 0, sizeof(f->st));
	}
}

static void
native_catch(struct state *s, mcontext_t *m)
{
	uint8_t *fx = (uint8_t *)m->fpregs;
	const uint16_t fcw = 0x37f, fsw = 0;
	uint64_t bv;
	unsigned i;

	for (i = 0; i < 16; i++)
		s->gpr[i] = (uint64_t)m->gregs[greg_of[i]];
	s->rip = (uint64_t)m->gregs[REG_RIP];
	s->rflags = (uint64_t)m->gregs[REG_EFL];
	s->vec = (int)m->gregs[REG_TRAPNO];
	s->error = (uint32_t)m->gregs[REG_ERR];
	s->cr2 = (uint64_t)m->gregs[REG_CR2];
	if (s->vec == VEC_db)
		s->vec = DONE;
	memcpy(&s->fpu, fx, 416);
	memcpy(&bv, fx + FRAME_XSTATE_BV, 8);
	memcpy(s->fpu.ymmh, fx + FRAME_YMMH, 256);
	native_fill_initial(&s->fpu, bv);
	memcpy(fx, &fcw, 2);
	memcpy(fx + 2, &fsw, 2);
	m->gregs[REG_RIP] = (greg_t)(uintptr_t)native_resume;
	m->gregs[REG_RSP] = (greg_t)NATIVE->host_rsp;
	m->gregs[REG_EFL] = 2;
	m->gregs[REG_CSGSFS] = (m->gregs[REG_CSGSFS] & 0xffffffff0000) | CS_USER64 | (greg_t)SS_USER << 48;
}

static void
native_signal(int sig, siginfo_t *info, void *ctx)
{
	mcontext_t *m = &((ucontext_t *)ctx)->uc_mcontext;

	if (native.s == NULL) {
		fprintf(stderr, "# signal %d outside the instruction: rip %#llx, address %p\n", sig,
			(unsigned long long)m->gregs[REG_RIP], info->si_addr);
		signal(sig, SIG_DFL);	/* a fault of the test program, or of an engine: ends it */
		return;
	}
	if (native.repeats && m->gregs[REG_TRAPNO] == VEC_db && (uint64_t)m->gregs[REG_RIP] == native.s->rip
	    && native.steps++ < 100000)
		return;
	native_catch(native.s, m);
	native.s = NULL;
}

/* Compatibility mode needs them; 64-bit mode does not mind. */
static void
native_data_segments(unsigned sel)
{
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(sel));
}

/* Writes a jump through a field of the area: the opcode, then its address. */
static void
native_jump(uint64_t to, const char *opcode, unsigned n, uint32_t field)
{
	uint32_t at = PLACE_NATIVE + field;

	memcpy((void *)(uintptr_t)to, opcode, n);
	memcpy((void *)(uintptr_t)(to + n), &at, 4);
}

/* Runs the instruction of `len` bytes at s->rip on s; s is then the state behind it or at its
 * exception. trap: it may go elsewhere than to the next instruction. */
static void __attribute__((noinline))
native_run(struct state *s, unsigned len, bool trap, bool repeats, enum isa_mode mode)
{
	struct native_area *a = NATIVE;
	uint64_t behind = (mode == ISA_16 ? (uint64_t)PLACE_CODE + (uint16_t)s->rip : s->rip) + len;

	if (!trap && mode == ISA_16) {
		const uint16_t far_at = NATIVE_FAR16 - PLACE_CODE;

		memcpy((void *)(uintptr_t)behind, "\x2e\x66\xff\x2e", 4);	/* jmp far dword cs:[far_at] */
		memcpy((void *)(uintptr_t)(behind + 4), &far_at, 2);
		native_jump(NATIVE_FAR, "\xff\x24\x25", 3, offsetof(struct native_area, exit_to));
		*(uint32_t *)(uintptr_t)NATIVE_FAR16 = NATIVE_FAR;
		*(uint16_t *)(uintptr_t)(NATIVE_FAR16 + 4) = CS_USER64;
	} else if (!trap && mode == ISA_32) {
		native_jump(behind, "\xff\x2d", 2, offsetof(struct native_area, far_offset));
		native_jump(NATIVE_FAR, "\xff\x24\x25", 3, offsetof(struct native_area, exit_to));
		a->far_offset = NATIVE_FAR;
		a->far_cs = CS_USER64;
	} else if (!trap) {
		native_jump(behind, "\xff\x24\x25", 3, offsetof(struct native_area, exit_to));
	}
	memcpy(a->gpr, s->gpr, sizeof(a->gpr));
	a->rip = s->rip;
	a->rflags = s->rflags | (trap ? RFLAGS_tf : 0);
	a->cs = mode == ISA_16 ? CS_USER16 : mode == ISA_32 ? CS_USER32 : CS_USER64;
	a->ss = mode == ISA_16 ? DS_USER16 : SS_USER;
	a->exit_to = (uint64_t)(uintptr_t)native_exit;
	a->fpu = s->fpu;
	a->fpu.xstate_bv = 7;
	a->fpu.xcomp_bv = 0;
	memset(a->fpu.header, 0, sizeof(a->fpu.header));
	native.s = s;
	native.repeats = repeats;
	native.steps = 0;
	s->vec = DONE - 1;
	if (mode == ISA_16)
		native_data_segments(DS_USER16);
	native_enter(trap || mode != ISA_64);
	if (mode == ISA_16)
		native_data_segments(SS_USER);
	if (s->vec != DONE - 1)
		goto out;		/* by a signal */
	native.s = NULL;
	memcpy(s->gpr, a->out_gpr, sizeof(s->gpr));
	s->rip += len;
	s->rflags = a->out_rflags;
	s->vec = DONE;
	s->fpu = a->out_fpu;
	native_fill_initial(&s->fpu, s->fpu.xstate_bv);
out:
	s->rflags &= ~(uint64_t)(RFLAGS_tf | RFLAGS_rf);
	s->fpu.xstate_bv = 7;
}

static void *
native_map(uint64_t at, size_t pages, int prot)
{
	void *p = mmap((void *)(uintptr_t)at, pages * 4096, prot,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The segments of 16-bit code. False: this host has no LDT. */
static bool
native_open16(void)
{
	struct user_desc d = { .entry_number = 1, .base_addr = PLACE_CODE, .limit = 0xffff, .contents = MODIFY_LDT_CONTENTS_CODE };

	if (syscall(SYS_modify_ldt, 1, &d, sizeof(d)) != 0)
		return false;
	d.entry_number = 2;
	d.base_addr = BASE_16;
	d.contents = MODIFY_LDT_CONTENTS_DATA;
	return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) == 0;
}

/* False: this host does not let us have the places. */
static bool
native_open(void)
{
	static const int sigs[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	static uint8_t stack[1 << 16] __attribute__((aligned(64)));
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = native_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	unsigned i;

	native_data_segments(SS_USER);
	sigaltstack(&ss, NULL);
	for (i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &sa, NULL);
	return native_map(PLACE_CODE, CODE_PAGES, PROT_READ | PROT_WRITE | PROT_EXEC) != NULL
		&& native_map(PLACE_DATA, DATA_PAGES, PROT_READ | PROT_WRITE) != NULL
		&& native_map(PLACE_RO, 1, PROT_READ) != NULL
		&& native_map(PLACE_NATIVE, 1, PROT_READ | PROT_WRITE) != NULL;
}
