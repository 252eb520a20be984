/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/leaks.c - no host address is to be seen by a guest of the translator; its code is never writable where it runs.
 *
 * x87 remembers where its last instruction and operand were: in the translator's cache and in host memory. Each way
 * to store that, after faults and signals too, must show what the interpreter shows, or zero.
 */
#include "engine/bt/bt.h"
#include "engine/rig.h"

enum { SLOT = 64, IMAGE = RIG_DATA, OPERANDS = RIG_DATA + 0xc00, STATE = 0x240 };
struct field { uint16_t at, size; };

#define ENV32 { 12, 4 }, { 16, 4 }, { 20, 4 }, { 24, 4 }
#define ENV16 { 6, 2 }, { 8, 2 }, { 10, 2 }, { 12, 2 }
#define LEGACY { 6, 2 }, { 8, 8 }, { 16, 8 }
#define LOAD "flds 0xc00(%rbx); "
#define UNMASK "fldcw 0xc20(%rbx); fldz; fld1; fdivp; "	/* divides by zero: pending */
#define CASES(X) \
	X("fnstenv", LOAD "fnstenv (%rbx)", ENV32) \
	X("fnstenv, 16 bits", LOAD "data16 fnstenv (%rbx)", ENV16) \
	X("fnsave", LOAD "fnsave (%rbx)", ENV32) \
	X("fnsave, 16 bits", LOAD "data16 fnsave (%rbx)", ENV16) \
	X("fxsave", LOAD "fxsave (%rbx)", LEGACY) \
	X("fxsave64", LOAD "fxsave64 (%rbx)", LEGACY) \
	X("xsave", LOAD "xsave (%rbx)", LEGACY) \
	X("xsave64", LOAD "xsave64 (%rbx)", LEGACY) \
	X("xsavec", LOAD "xsavec (%rbx)", LEGACY) \
	X("xsaveopt", LOAD "xsaveopt64 (%rbx)", LEGACY) \
	X("no operand", "fld1; fsin; fxsave64 (%rbx)", LEGACY) \
	X("a store", "fld1; fsts 0xc10(%rbx); fxsave64 (%rbx)", LEGACY) \
	X("a pending exception", UNMASK "fnstenv (%rbx)", ENV32) \
	X("a pending exception, fxsave", UNMASK "fxsave64 (%rbx)", LEGACY) \
	X("#MF taken", UNMASK "fwait", { 0, 0 }) \
	X("#MF in the middle", UNMASK "fld1; fadds 0xc00(%rbx)", { 0, 0 }) \
	X("behind a TLB miss", LOAD "mov %eax, 0x1000(%rbx); fxsave64 (%rbx)", LEGACY) \
	X("behind an interpreted instruction", LOAD "cpuid; xor %eax, %eax; cpuid; fxsave64 (%rbx)", LEGACY) \
	X("behind a call", LOAD "call 1f; 1: pop %rax; fnstenv (%rbx)", ENV32) \
	X("division by zero", LOAD "xor %ecx, %ecx; div %ecx", { 0, 0 }) \
	X("division overflow", "mov %rbx, %rdx; mov $1, %ecx; div %rcx", { 0, 0 }) \
	X("an operand not aligned", LOAD "movaps 1(%rbx), %xmm0", { 0, 0 }) \
	X("an unmasked SIMD exception", "ldmxcsr 0xc24(%rbx); xorps %xmm0, %xmm0; divss %xmm0, %xmm0", { 0, 0 }) \
	X("reserved bits of MXCSR", "ldmxcsr 0xc28(%rbx)", { 0, 0 }) \
	X("a page fault", LOAD "mov 0x80000000, %rax", { 0, 0 }) \
	X("a string at an empty entry", "mov $1, %edi; ror %rdi; mov $5, %ecx; rep stosb", { 0, 0 }) \
	X("a string from an empty entry", "mov $1, %esi; ror %rsi; lea 64(%rbx), %rdi; mov $5, %ecx; rep movsq", { 0, 0 })

__asm__(".pushsection .rodata\n.balign 64\nleak_code:\n"
#define X(name, text, ...) text "\nhlt\n.balign 64, 0xf4\n"
	CASES(X)
#undef X
	"leak_code_end:\n.popsection\n");
extern const uint8_t leak_code[], leak_code_end[];

static const struct sample { const char *name; struct field pointer[4]; } samples[] = {
#define X(name, text, ...) { name, { __VA_ARGS__ } },
	CASES(X)
#undef X
};
enum { SAMPLES = sizeof(samples) / sizeof(*samples) };

static struct rig *twin[2];		/* the translator's, the interpreter's */

static void
guest_set(struct rig *g, unsigned n)
{
	static const uint8_t zeros[STATE * 2];
	union regfile *r = &g->cpu.r;
	struct fpu_state *f = &g->cpu.fpu;
	unsigned i;

	mem_write(g->mem, IMAGE, zeros, sizeof(zeros));
	mem_write(g->mem, RIG_CODE, leak_code, (size_t)(leak_code_end - leak_code));
	rig_put(g, OPERANDS, 0x3fc00000, 4);
	rig_put(g, OPERANDS + 0x20, 0x037b, 2);			/* ZM clear */
	rig_put(g, OPERANDS + 0x24, 0x1f00, 4);			/* IM clear */
	rig_put(g, OPERANDS + 0x28, 0xffff1f80, 4);
	reg_reset(r, f);
	tlb_flush_all(&g->cpu, true);
	rig_mode_set(g, RIG_long);
	r->cr4 |= cr4_osxsave_MASK | cr4_osxmmexcpt_MASK;
	r->xcr0 = 7;
	for (i = 0; i < 16; i++)
		r->gpr[i] = i;
	r->rax = 7, r->rdx = 0;
	r->rbx = IMAGE;
	r->rsp = RIG_STACK;
	r->rip = RIG_CODE + n * SLOT;
	f->fcw = 0x37f, f->mxcsr = 0x1f80, f->xstate_bv = 7;
	atomic_store(&g->cpu.attention, 0);
	g->cpu.retire_limit = UINT64_MAX;
	cpu_mode_update(&g->cpu);
}

/* Fields that hold pointers: zero, or as on the interpreter; then they are made equal. */
static bool
pointers_harmless(const struct sample *s)
{
	for (unsigned i = 0; i < 4; i++) {
		gpa_t at = IMAGE + s->pointer[i].at;
		unsigned size = s->pointer[i].size;
		uint64_t got = size ? rig_get(twin[0], at, size) : 0, want = size ? rig_get(twin[1], at, size) : 0;

		if (got != 0 && got != want)
			return false;
		if (size != 0)
			rig_put(twin[0], at, want, size);
	}
	return true;
}

static bool
same(unsigned n)
{
	unsigned i;

	for (i = 0; i < REG__COUNT; i++)
		if (i != REG_rflags && twin[0]->cpu.r.v[i] != twin[1]->cpu.r.v[i])
			return false;
	return pointers_harmless(&samples[n]) &&
		memcmp(mem_get(twin[0]->mem, IMAGE, PAGE_SIZE), mem_get(twin[1]->mem, IMAGE, PAGE_SIZE), PAGE_SIZE) == 0 &&
		memcmp(mem_get(twin[0]->mem, RIG_STACK - 0x80, 0x60), mem_get(twin[1]->mem, RIG_STACK - 0x80, 0x60), 0x60) == 0 &&
		(twin[0]->cpu.fpu.fip == 0 || twin[0]->cpu.fpu.fip == twin[1]->cpu.fpu.fip) &&
		(twin[0]->cpu.fpu.fdp == 0 || twin[0]->cpu.fpu.fdp == twin[1]->cpu.fpu.fdp);
}

static void
no_host_address(void)
{
	unsigned n, turn, i;

	twin[0] = rig_open(&bt_engine, RIG_long);
	twin[1] = rig_open(&interp_engine, RIG_long);
	CHECK(leak_code_end - leak_code == SAMPLES * SLOT);
	for (n = 0; n < SAMPLES; n++)
		for (turn = 0; turn < 3; turn++) {
			int kind[2];

			for (i = 0; i < 2; i++) {
				guest_set(twin[i], n);
				kind[i] = rig_run(twin[i]);
			}
			if (kind[0] != kind[1] || rig_vector(twin[0]) != rig_vector(twin[1]) || !same(n)) {
				printf("# %s, turn %u: vectors %d %d\n", samples[n].name, turn, rig_vector(twin[0]), rig_vector(twin[1]));
				CHECK(false);
				break;
			}
		}
}

/* No mapping of this process may be written and executed; the translations' two are one of each. */
static void
writable_or_executable(void)
{
	const struct code_map *code = &twin[0]->cpu.bt->code;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], rights[8];
	uint64_t from, to;
	unsigned found = 0;

	CHECK(f != NULL);
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, rights) != 3)
			continue;
		CHECK(rights[1] != 'w' || rights[2] != 'x');
		if ((uintptr_t)code->rx >= from && (uintptr_t)code->rx < to)
			found |= memcmp(rights, "r-x", 3) == 0 ? 1 : 4;
		if ((uintptr_t)code->rw >= from && (uintptr_t)code->rw < to)
			found |= memcmp(rights, "rw-", 3) == 0 ? 2 : 4;
	}
	CHECK_EQ(found, 3);
	if (f != NULL)
		fclose(f);
}

int
main(void)
{
	RUN(no_host_address);
	RUN(writable_or_executable);
	rig_close(twin[0]);
	rig_close(twin[1]);
	return check_done();
}
