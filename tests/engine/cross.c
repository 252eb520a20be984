/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/cross.c - SYSCALL and SYSRET over and over, while what they depend on changes: the translator, which
 * learns what they do (cross.c), ends as the interpreter does.
 */
#include "engine/bt/bt.h"
#include "engine/rig.h"

enum { MOST = 350 /* of 400 */, ENTRY = 0x90, ENTRY2 = 0x80, STAR_USER = 0x23 };

/* At CPL 3, with R9 the flags to change before each SYSCALL:
 *	mov ebx,200; 1: pushf; xor [rsp],r9; popf; sub eax,ebx; syscall; add r8,r11; add r12,rcx
 *	pushf; pop rax; add r12,rax; dec ebx; jnz 1b; hlt */
static const char user[] = "\xbb\xc8\x00\x00\x00\x9c\x4c\x31\x0c\x24\x9d\x29\xd8\x0f\x05\x4d\x01\xd8\x49\x01\xcc"
	"\x9c\x58\x49\x01\xc4\xff\xcb\x75\xe7\xf4";
/* At ENTRY: flags and selectors are added up, every 16th time EBP and R15D are toggled in MSR EDI, R10 in R11:
 *	pushf; pop rdx; add r13,rdx; mov edx,cs; add r14,rdx; mov edx,ss; rol r14,1; add r14,rdx
 *	test bl,15; jnz 2f; mov rsi,rcx; mov ecx,edi; rdmsr; xor eax,ebp; xor edx,r15d; wrmsr; mov rcx,rsi
 *	2: xor r11,r10; sysretq */
static const char entry[] = "\x9c\x5a\x49\x01\xd5\x8c\xca\x49\x01\xd6\x8c\xd2\x49\xd1\xc6\x49\x01\xd6\xf6\xc3\x0f\x75\x11"
	"\x48\x89\xce\x89\xf9\x0f\x32\x31\xe8\x44\x31\xfa\x0f\x30\x48\x89\xf1\x4d\x31\xd3\x48\x0f\x07";
static const char entry2[] = "\x49\xff\xc5\xeb\x0b";		/* inc r13; jmp ENTRY */

#define EFER 0xc0000080u
#define STAR 0xc0000081u
#define LSTAR 0xc0000082u
#define CSTAR 0xc0000083u
#define FMASK 0xc0000084u
enum { RF_AC = 1 << 18, RF_ID = 1 << 21, RF_DF = 1 << 10, RF_TF = 1 << 8,
	RF_IF = 1 << 9, LINUX_MASK = 0x257fd5 };

static const struct stage {
	const char *what;
	uint64_t fmask, flags;		/* of SYSCALL; toggled by the user before it */
	uint64_t back;			/* toggled by the kernel in R11 */
	uint32_t msr, low, high;
} stages[] = {
	{ "as Linux does it", LINUX_MASK, 0, 0, CSTAR, 0, 0 },
	{ "carry and overflow go there and back", LINUX_MASK, 0x801, 0x8d5, CSTAR, 0, 0 },
	{ "arithmetic flags pass", LINUX_MASK & ~0x8d5u, 0x8d5, 0, CSTAR, 0, 0 },
	{ "IF passes", LINUX_MASK & ~RF_IF, 0, 0, CSTAR, 0, 0 },
	{ "the user sets ID", LINUX_MASK, RF_ID, 0, CSTAR, 0, 0 },
	{ "ID passes", LINUX_MASK & ~RF_ID, RF_ID, 0, CSTAR, 0, 0 },
	{ "the user sets DF", LINUX_MASK, RF_DF, 0, CSTAR, 0, 0 },
	{ "the kernel sets ID", LINUX_MASK, 0, RF_ID, CSTAR, 0, 0 },
	{ "the kernel sets AC", LINUX_MASK, 0, RF_AC, CSTAR, 0, 0 },
	{ "the kernel clears IF", LINUX_MASK, 0, RF_IF, CSTAR, 0, 0 },
	{ "the kernel sets bits that are not taken", LINUX_MASK, 0, 0xffffff0000028000 | 1 << 16, CSTAR, 0, 0 },
	{ "STAR changes", LINUX_MASK, 0, 0, STAR, 0, 0x40 | 0x100 << 16 },
	{ "LSTAR changes", LINUX_MASK, 0, 0, LSTAR, ENTRY ^ ENTRY2, 0 },
	{ "FMASK changes", LINUX_MASK, 0, 0, FMASK, RF_IF | 0x41, 0 },
	{ "EFER.SCE goes", LINUX_MASK, 0, 0, EFER, 1, 0 },
	{ "the kernel sets TF", LINUX_MASK, 0, RF_TF, CSTAR, 0, 0 },
};

static int
run_stage(struct rig *g, const struct stage *s)
{
	union regfile *r = &g->cpu.r;

	memset(r->gpr, 0, sizeof(r->gpr));
	rig_mode_set(g, RIG_long);
	rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
	rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	r->rflags = RFLAGS_fixed | RF_IF;
	cpu_mode_update(&g->cpu);
	r->ia32_star = (uint64_t)STAR_USER << 48 | (uint64_t)RIG_CS64 << 32;
	r->ia32_lstar = RIG_CODE + ENTRY;
	r->ia32_cstar = 0;
	r->ia32_fmask = s->fmask;
	r->rdi = s->msr, r->rbp = s->low, r->r15 = s->high;
	r->r9 = s->flags, r->r10 = s->back;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	r->activity = ACTIVITY_run;
	return rig_vector(g);
}

static struct rig *
open_with(const struct engine *e)
{
	struct rig *g = rig_open(e, RIG_long);

	rig_code(g, user, sizeof(user) - 1);
	mem_write(g->mem, RIG_CODE + ENTRY, entry, sizeof(entry) - 1);
	mem_write(g->mem, RIG_CODE + ENTRY2, entry2, sizeof(entry2) - 1);
	return g;
}

static void
system_calls_agree(void)
{
	struct rig *bt = open_with(&bt_engine), *ref = open_with(&interp_engine);
	uint64_t before;
	unsigned i, k;

	for (i = 0; i < sizeof(stages) / sizeof(*stages); i++) {
		before = bt->cpu.bt->stats.crossed;
		CHECK_EQ(run_stage(bt, &stages[i]), run_stage(ref, &stages[i]));
		for (k = 0; k < REG__COUNT; k++)
			if (bt->cpu.r.v[k] != ref->cpu.r.v[k]) {
				printf("# %s: %s\n", stages[i].what, reg_desc[k].name);
				CHECK_EQ(bt->cpu.r.v[k], ref->cpu.r.v[k]);
			}
		if (i == 0)
			CHECK(bt->cpu.bt->stats.crossed - before > MOST);
	}
	rig_close(bt);
	rig_close(ref);
}

/* mov esi,4; l: twice { xor ecx,ecx; mov eax,1; cpuid; shr ecx,27; and ecx,1; add edi,ecx }; CR4.OSXSAVE the other way; dec esi; jnz l; hlt:
 * leaf 1 shows OSXSAVE, so what was learned holds for the second question, but not beyond the write. */
static void
cpuid_follows_cr4(void)
{
	static const char code[] = "\xbe\x04\x00\x00\x00"
		"\x31\xc9\xb8\x01\x00\x00\x00\x0f\xa2\xc1\xe9\x1b\x83\xe1\x01\x01\xcf"
		"\x31\xc9\xb8\x01\x00\x00\x00\x0f\xa2\xc1\xe9\x1b\x83\xe1\x01\x01\xcf"
		"\x0f\x20\xe0\x35\x00\x00\x04\x00\x0f\x22\xe0\xff\xce\x75\xcf\xf4";
	const struct engine *two[] = { &bt_engine, &interp_engine };

	for (unsigned i = 0; i < 2; i++) {
		struct rig *g = rig_open(two[i], RIG_long);

		rig_code(g, code, sizeof(code) - 1);
		g->cpu.r.rdi = 0;
		CHECK_EQ(rig_run(g), EXIT_hlt);
		CHECK_EQ(rig_vector(g), -1);
		CHECK_EQ(g->cpu.r.rdi, 4);
		if (i == 0)
			CHECK_EQ(g->cpu.bt->stats.lights[INSN_cpuid], 4);	/* of eight */
		rig_close(g);
	}
}

int
main(void)
{
	RUN(system_calls_agree);
	RUN(cpuid_follows_cr4);
	return check_done();
}
