/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/contract.c - what every engine must do, in a few bytes of guest code each: code, faults, modes. */
#include "engine/engines.h"

/* The translator counts instructions only when asked to stop at some number of them; hardware does not. */
enum { COUNTED = 1 << 30 };
#define CHECK_COUNT(got, want) CHECK_EQ(engine->software ? (got) : (want), want)

#define CODE(g, bytes) rig_code(g, bytes, sizeof(bytes) - 1)

/* inc rax; hlt: the exit comes with rip behind HLT and two instructions counted. */
static void
halts(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\x48\xff\xc0\xf4");
	g->cpu.retire_limit = COUNTED;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax, 1);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE + 4);
	CHECK_COUNT(g->cpu.retired, 2);
	rig_close(g);
}

/* mov ecx,1000; l: add rax,rcx; dec rcx; jnz l; hlt */
static void
loops(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xb9\xe8\x03\x00\x00\x48\x01\xc8\x48\xff\xc9\x75\xf8\xf4");
	g->cpu.retire_limit = COUNTED;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax, 500500);
	CHECK_COUNT(g->cpu.retired, 1 + 3 * 1000 + 1);
	rig_close(g);
}

/* mov rbx,0x30000; mov [rbx],rax; add [rbx+8],rax; mov cl,[rbx+1]; push rax; pop rdx; hlt */
static void
reaches_memory(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\x48\xc7\xc3\x00\x00\x03\x00\x48\x89\x03\x48\x01\x43\x08\x8a\x4b\x01\x50\x5a\xf4");
	g->cpu.r.rax = 0x1122334455667788;
	rig_put(g, RIG_DATA + 8, 1, 8);
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_get(g, RIG_DATA, 8), 0x1122334455667788);
	CHECK_EQ(rig_get(g, RIG_DATA + 8, 8), 0x1122334455667789);
	CHECK_EQ(g->cpu.r.rcx, 0x77);
	CHECK_EQ(g->cpu.r.rdx, 0x1122334455667788);
	CHECK_EQ(g->cpu.r.rsp, RIG_STACK);
	rig_close(g);
}

/* mov rax,[0x40000000]: nothing is mapped there; the frame holds error code and rip. */
static void
faults_precisely(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\x90\x8b\x04\x25\x00\x00\x00\x40\xf4");
	g->cpu.r.rax = 7;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_pf);
	CHECK_EQ(g->cpu.r.cr2, 0x40000000);
	CHECK_EQ(g->cpu.r.rax, 7);
	CHECK_EQ(g->cpu.r.rsp, RIG_STACK - 48);
	CHECK_EQ(rig_get(g, RIG_STACK - 48, 8), 0);
	CHECK_EQ(rig_get(g, RIG_STACK - 40, 8), RIG_CODE + 1);
	rig_close(g);
}

/* ud2; a non-canonical load through rax; through rsp; div by zero */
static void
raises_each_kind(void)
{
	static const struct { const char *code; size_t n; int vec; } cases[] = {
		{ "\x0f\x0b", 2, VEC_ud }, { "\x48\x8b\x00", 3, VEC_gp }, { "\x48\x8b\x44\x24\x08", 5, VEC_ss },
		{ "\x48\xf7\xf3", 3, VEC_de }, { "\xf0\x90", 2, VEC_ud }, { "\xff\xe0", 2, VEC_gp },
		{ "\xcd\x15", 2, 0x15 }, { "\xcc", 1, VEC_bp }, { "\xf1", 1, VEC_db },
		{ "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", 16, VEC_gp },
	};
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *g;

		if (on_tcg() && (cases[i].vec == VEC_ss || cases[i].code[0] == '\xf1'))
			continue;	/* QEMU raises #GP for #SS, and stops at INT1 */
		g = rig_open(engine, RIG_long);
		rig_code(g, cases[i].code, cases[i].n);
		g->cpu.r.rax = 1ull << 63;
		if (cases[i].vec == VEC_ss) {
			g->cpu.r.rsp = 1ull << 62;
			rig_put(g, RIG_IDT + 16 * VEC_ss + 4, 1, 1);	/* its handler needs a stack: IST 1 */
			rig_put(g, RIG_TSS + 0x24, RIG_STACK, 8);
		}
		CHECK_EQ(rig_run(g), EXIT_hlt);
		if (rig_vector(g) != cases[i].vec)
			printf("# case %u\n", i);
		CHECK_EQ(rig_vector(g), cases[i].vec);
		rig_close(g);
	}
}

/* in al,0x10; out 0xf4,eax: the port's stop ends the run behind the instruction. */
static void
speaks_to_ports(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xe4\x10\xe7\xf4\x90");
	g->answer = 0x5a;
	g->cpu.r.rax = 0x1100;
	CHECK_EQ(rig_run(g), EXIT_stop);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE + 4);
	CHECK_EQ(g->last.data, 0x115a);
	CHECK_EQ(g->last.size, 4);
	CHECK_EQ(g->ios, 2);
	rig_close(g);
}

/* l: jmp l: attention ends it. */
static void
attends(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xeb\xfe");
	cpu_ask(&g->cpu, ATT_kick);
	CHECK_EQ(rig_run(g), EXIT_attend);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE);
	atomic_store(&g->cpu.attention, 0);
	if (engine->software) {
		g->cpu.retire_limit = 1000;
		CHECK_EQ(rig_run(g), EXIT_attend);
		CHECK(g->cpu.retired >= 1000 && g->cpu.retired < 1100);
	}
	rig_close(g);
}

/* sti; nop; hlt with a waiting interrupt: the window opens behind the NOP, not before. */
static void
opens_the_window(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xfb\x90\xf4");
	g->cpu.irq_window = true;
	CHECK_EQ(rig_run(g), EXIT_attend);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE + 2);
	CHECK_EQ(g->cpu.r.interruptibility, 0);
	rig_close(g);
}

/* Code that writes over its next instruction: mov byte [rip],0xc0; inc (becomes) ... */
static void
sees_its_own_writes(void)
{
	struct rig *g = rig_open(engine, RIG_long);
	int i;

	/* mov byte [rip+2],0xc3 changes inc eax (ff c0) to inc ebx (ff c3); hlt */
	CODE(g, "\xc6\x05\x01\x00\x00\x00\xc3\xff\xc0\xf4");
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rbx, 1);
	CHECK_EQ(g->cpu.r.rax, 0);
	/* A device writes between two runs. */
	for (i = 0; i < 3; i++) {
		CODE(g, "\x90\x90\x90\x90\x90\x90\x90\xff\xc0\xf4");
		if (i == 1)
			rig_put(g, RIG_CODE + 8, 0xc1, 1);	/* inc ecx */
		g->cpu.r.rip = RIG_CODE;
		CHECK_EQ(rig_run(g), EXIT_hlt);
		CHECK_EQ(g->cpu.r.rax, i < 1 ? 1 : i < 2 ? 1 : 2);
		CHECK_EQ(g->cpu.r.rcx, i < 1 ? 0 : 1);
	}
	rig_close(g);
}

/* pushfq; or [rsp],0x100; popfq; nop; nop: #DB after the first NOP. */
static void
single_steps(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\x9c\x48\x81\x0c\x24\x00\x01\x00\x00\x9d\x90\x90");
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_db);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp, 8), RIG_CODE + 11);
	CHECK_EQ(g->cpu.r.dr6 & dr6_bs_MASK, dr6_bs_MASK);
	rig_close(g);
}

/* hlt with TF: the trap behind it ends the wait. Run once without, so that KVM has the page mapped (Bochs, CAVEATS.md). */
static void
steps_over_hlt(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xf4\x90");
	CHECK_EQ(rig_run(g), EXIT_hlt);
	g->cpu.r.rip = RIG_CODE;
	g->cpu.r.rflags |= rflags_tf_MASK;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_db);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp, 8), RIG_CODE + 1);
	rig_close(g);
}

/* rep stosq over two pages; rep movsb of them; repne scasb */
static void
repeats(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xf3\x48\xab\xbf\x00\x60\x03\x00\xbe\x08\x00\x03\x00\xb9\x00\x10\x00\x00\xf3\xa4"
		"\xbf\x00\x60\x03\x00\xb9\xff\x00\x00\x00\xb0\x55\xf2\xae\xf4");
	g->cpu.r.rdi = RIG_DATA;
	g->cpu.r.rcx = 1024;
	g->cpu.r.rax = 0x1122334455667788;
	g->cpu.retire_limit = COUNTED;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_get(g, RIG_DATA + 8184, 8), 0x1122334455667788);
	CHECK_EQ(rig_get(g, RIG_DATA + 8192, 8), 0);
	CHECK_EQ(rig_get(g, 0x36ff8, 8), 0x1122334455667788);
	CHECK_EQ(rig_get(g, 0x37000, 8), 0);
	CHECK_EQ(g->cpu.r.rdi, 0x36004);
	CHECK_EQ(g->cpu.r.rcx, 0xff - 4);
	CHECK_COUNT(g->cpu.retired, 10);
	rig_close(g);
}

/* A page fault in the middle of rep stosb leaves the count and rdi of the elements that were done. */
static void
stops_in_the_middle(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xf3\xaa\xf4");
	g->cpu.r.rdi = RIG_MEMORY - 10;
	g->cpu.r.rcx = 100;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_pf);
	CHECK_EQ(g->cpu.r.rcx, 90);
	CHECK_EQ(g->cpu.r.cr2, RIG_MEMORY);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp + 8, 8), RIG_CODE);
	rig_close(g);
}

/* Real mode: mov ax,0x3000; mov ds,ax; mov [bx+si],al; loop; hlt, with 16-bit registers. */
static void
runs_real_mode(void)
{
	struct rig *g = rig_open(engine, RIG_real);

	g->cpu.r.cs = RIG_CODE >> 4;
	g->cpu.r.cs_base = RIG_CODE;
	g->cpu.r.cs_limit = 0xffff;
	g->cpu.r.rip = 0;
	CODE(g, "\xb8\x00\x30\x8e\xd8\x88\x00\x46\xe2\xfb\xf4");
	g->cpu.r.rbx = 0xfffe;
	g->cpu.r.rsi = 4;
	g->cpu.r.rcx = 3;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rsi, 7);
	CHECK_EQ(g->cpu.r.rcx, 0);
	CHECK_EQ(g->cpu.r.rip, 11);
	rig_close(g);
}

/* 32-bit: call over data, ret; push and pop wrap at 32 bits; a limit violation is #GP. */
static void
runs_protected_mode(void)
{
	struct rig *g = rig_open(engine, RIG_prot32);

	/* call +1; hlt; mov eax,[esp]; ret */
	CODE(g, "\xe8\x01\x00\x00\x00\xf4\x8b\x04\x24\xc3");
	g->cpu.retire_limit = COUNTED;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax, RIG_CODE + 5);
	CHECK_EQ(g->cpu.r.rsp, RIG_STACK);
	CHECK_COUNT(g->cpu.retired, 4);
	rig_close(g);
}

/* An offset that wraps violates the limit, though the base takes the access elsewhere: #GP, here to
 * gates that are none for this mode. mov eax,fs:[ebx]; hlt */
static void
keeps_segment_limits(void)
{
	static const struct { uint32_t base, offset; bool done; } rows[] = {
		{ RIG_DATA, 0, true }, { RIG_DATA + 1, UINT32_MAX, false }, { RIG_DATA + 4, UINT32_MAX - 3, true },
		{ RIG_DATA + 3, UINT32_MAX - 2, false },
	};
	unsigned i;

	if (on_tcg())
		SKIP("QEMU's processor does not look at segment limits");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *g = rig_open(engine, RIG_prot32);

		CODE(g, "\x64\x8b\x03\xf4");
		rig_put(g, RIG_DATA, 0x12345678, 4);
		g->cpu.r.fs_base = rows[i].base;
		g->cpu.r.rbx = rows[i].offset;
		rig_run(g);
		CHECK_EQ(g->cpu.r.rip == RIG_CODE + 4, rows[i].done);
		CHECK_EQ(g->cpu.r.rax, rows[i].done ? 0x12345678 : 0);
		rig_close(g);
	}
}

/* An instruction across a page boundary, run twice, then changed in its second page. */
static void
crosses_pages(void)
{
	struct rig *g = rig_open(engine, RIG_long);
	uint64_t at = RIG_CODE + PAGE_SIZE - 2;
	int i;

	mem_write(g->mem, at, "\x05\x01\x00\x00\x00\xf4", 6);	/* add eax,1; hlt */
	for (i = 0; i < 3; i++) {
		g->cpu.r.rip = at;
		if (i == 2)
			rig_put(g, RIG_CODE + PAGE_SIZE, 1, 1);	/* add eax,0x101 */
		CHECK_EQ(rig_run(g), EXIT_hlt);
	}
	CHECK_EQ(g->cpu.r.rax, 2 + 0x101);
	rig_close(g);
}

/* syscall at CPL 3 and back: mov rcx.. done by the host; nop; syscall ... sysretq */
static void
changes_privilege(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	g->cpu.r.ia32_star = (uint64_t)RIG_CS64 << 32 | (uint64_t)0x23 << 48;
	g->cpu.r.ia32_lstar = RIG_CODE + 0x100;
	mem_write(g->mem, RIG_CODE, "\x0f\x05\xf4", 3);		/* syscall; hlt (#GP at CPL 3) */
	mem_write(g->mem, RIG_CODE + 0x100, "\xff\xc0\x48\x0f\x07", 5);	/* inc eax; sysretq */
	rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
	rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	cpu_mode_update(&g->cpu);
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_gp);
	CHECK_EQ(g->cpu.r.rax, 1);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp + 8, 8), RIG_CODE + 2);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp + 16, 8), RIG_UCS64);
	rig_close(g);
}

int
main(void)
{
	static const struct engine_case cases[] = {
		CASE(halts),
		CASE(loops),
		CASE(reaches_memory),
		CASE(faults_precisely),
		HARD(raises_each_kind),
		CASE(speaks_to_ports),
		CASE(attends),
		HARD(opens_the_window),
		CASE(sees_its_own_writes),
		CASE(single_steps),
		CASE(steps_over_hlt),
		CASE(repeats),
		CASE(stops_in_the_middle),
		CASE(runs_real_mode),
		CASE(runs_protected_mode),
		HARD(keeps_segment_limits),
		CASE(crosses_pages),
		HARD(changes_privilege),
	};

	run_on_engines(cases, sizeof(cases) / sizeof(cases[0]));
	return check_done();
}
