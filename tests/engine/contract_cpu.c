/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/contract_cpu.c - what every engine must do with events from outside: interrupts, windows, NMIs, steps,
 * kicks, MSRs under policy, changes of mode, and the start of a second processor.
 */
#include "engine/engines.h"
#include "machine/machine.h"
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define CODE(g, bytes) rig_code(g, bytes, sizeof(bytes) - 1)
enum { VECTOR = 0x40, IF = 1 << 9 };

/* A gate for VECTOR, whose handler is a HLT as those of exceptions are. */
static void
gate(struct rig *g, unsigned vec)
{
	uint64_t at = RIG_VECTORS + vec;

	rig_put(g, RIG_IDT + 16 * vec, (at & 0xffff) | RIG_CS64 << 16 | 0x8e00ull << 32, 8);
	rig_put(g, RIG_IDT + 16 * vec + 8, 0, 8);
	rig_put(g, at, 0xf4, 1);
	g->cpu.r.idtr_limit = 16 * 256 - 1;
}

/* What the loop does: the event goes in before the next run. */
static void
inject(struct rig *g, uint8_t kind, uint8_t vec)
{
	struct cpu *c = &g->cpu;

	c->fault = (struct cpu_fault){ .kind = kind, .vec = vec };
	cpu_guest_enter(c);
	CHECK_EQ(engine->inject != NULL ? engine->inject(c) : cpu_deliver(c), OK);
	cpu_guest_leave(c);
}

/* nop; hlt with IF: an interrupt between two runs is taken before the next instruction. */
static void
takes_an_interrupt(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xf4\x90\xf4");
	gate(g, VECTOR);
	g->cpu.r.rflags |= IF;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE + 1);
	inject(g, EVENT_extint, VECTOR);
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rip, RIG_VECTORS + VECTOR + 1);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp, 8), RIG_CODE + 1);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp + 16, 8) & IF, IF);
	CHECK_EQ(g->cpu.r.rflags & IF, 0);
	rig_close(g);
}

/* An NMI is taken with IF clear, and shuts others out until IRET. */
static void
takes_an_nmi(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xf4\x90\xf4");
	CHECK_EQ(rig_run(g), EXIT_hlt);
	inject(g, EVENT_nmi, VEC_nmi);
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_nmi);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp, 8), RIG_CODE + 1);
	CHECK_EQ(g->cpu.r.nmi_blocked, 1);
	rig_close(g);
}

/* nop; nop in the shadow of a MOV SS: the window opens behind the first. */
static void
mov_ss_shuts_the_window(void)
{
	struct rig *g;

	if (on_tcg())
		SKIP("QEMU's VMRUN does not load a guest's interrupt shadow");
	g = rig_open(engine, RIG_long);
	CODE(g, "\x90\x90\xf4");
	g->cpu.r.rflags |= IF;
	g->cpu.r.interruptibility = SHADOW_mov_ss;
	g->cpu.irq_window = true;
	CHECK_EQ(rig_run(g), EXIT_attend);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE + 1);
	CHECK_EQ(g->cpu.r.interruptibility, 0);
	rig_close(g);
}

/* inc eax twice: each step is one instruction. Run once before, so that KVM has the page mapped (Bochs, CAVEATS.md). */
static void
steps_one_by_one(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xff\xc0\xff\xc0\xcd\x15\xf4");
	rig_run(g);
	g->cpu.r.rip = RIG_CODE;
	g->cpu.r.rax = 0;
	for (uint64_t n = 1; n <= 2; n++) {
		CHECK_EQ(rig_step(g), EXIT_attend);
		CHECK_EQ(g->cpu.r.rax, n);
		CHECK_EQ(g->cpu.r.rip, RIG_CODE + 2 * n);
	}
	CHECK_EQ(g->cpu.r.rflags & rflags_tf_MASK, 0);
	rig_close(g);
}

/* DR7 as data breakpoint: mov [rsi],eax; nop: #DB behind it; and as an instruction breakpoint: before it. */
static void
debug_registers_break(void)
{
	struct rig *g;

	if (on_tcg())
		SKIP("QEMU's processor does not arm the breakpoints of a guest in SVM");
	g = rig_open(engine, RIG_long);
	CODE(g, "\x89\x06\x90\x90\xf4");
	g->cpu.r.rsi = g->cpu.r.dr0 = RIG_DATA;
	g->cpu.r.dr7 = 0x400 | 0xd0002;		/* write, 4 bytes, global */
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_db);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp, 8), RIG_CODE + 2);
	CHECK_EQ(g->cpu.r.dr6 & 0xf, 1);
	rig_close(g);
	g = rig_open(engine, RIG_long);
	CODE(g, "\x90\x90\xff\xc0\xf4");
	g->cpu.r.dr1 = RIG_CODE + 2;
	g->cpu.r.dr7 = 0x400 | 8;		/* execute */
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_db);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp, 8), RIG_CODE + 2);
	CHECK_EQ(g->cpu.r.rax, 0);
	CHECK_EQ(g->cpu.r.dr6 & 0xf, 2);
	rig_close(g);
}

/* mov ecx,LSTAR; mov eax,..; mov edx,..; wrmsr; rdmsr; hlt: kept by the processor, seen from outside */
static void
keeps_msrs(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\x0f\x30\x31\xc0\x31\xd2\x0f\x32\xf4");
	g->cpu.r.rcx = 0xc0000082;
	g->cpu.r.rax = 0x12345678;
	g->cpu.r.rdx = 0xffffffff;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), -1);
	CHECK_EQ(g->cpu.r.rax, 0x12345678);
	CHECK_EQ(g->cpu.r.rdx, 0xffffffff);
	CHECK_EQ(g->cpu.r.ia32_lstar, 0xffffffff12345678);
	rig_close(g);
}

/* An MSR without a row, one whose row refuses the value, one that the table alone keeps. */
static void
judges_msrs_by_the_table(void)
{
	static const struct { uint32_t msr; uint64_t val; int vec; } cases[] = {
		{ 0x12345, 0, VEC_gp }, { 0xc0000082, 1ull << 62, VEC_gp }, { 0x8b, 7, -1 }, { 0xc0010015, 0x1000000, -1 },
		{ 0x277, 0x0202020202020202, VEC_gp }, { 0xc0000080, 1ull << 40, VEC_gp }, { 0x1b, 1ull << 60, VEC_gp },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *g;

		if (on_tcg() && cases[i].msr == 0xc0000082)
			continue;	/* QEMU 7.2's WRMSR takes addresses that are not canonical */
		g = rig_open(engine, RIG_long);
		CODE(g, "\x0f\x30\xf4");
		g->cpu.r.rcx = cases[i].msr;
		g->cpu.r.rax = (uint32_t)cases[i].val;
		g->cpu.r.rdx = cases[i].val >> 32;
		CHECK_EQ(rig_run(g), EXIT_hlt);
		if (rig_vector(g) != cases[i].vec)
			printf("# MSR %#x\n", cases[i].msr);
		CHECK_EQ(rig_vector(g), cases[i].vec);
		rig_close(g);
	}
}

/* The same WRMSR under a policy that pins it; RDMSR under one that fixes it. */
static void
msrs_obey_the_policy(void)
{
	struct rig *g = rig_open(engine, RIG_long);
	struct policy *p = policy_new();
	char err[128] = "";

	CHECK_EQ(policy_add_text(p, "t", "deny write ia32_lstar\nfix ia32_star = 0x1234\n", true, err, sizeof(err)), 0);
	CHECK_EQ(policy_seal(p), 0);
	policy_adopt(&g->cpu, p);
	CODE(g, "\xb9\x81\x00\x00\xc0\x0f\x32\x89\xc3\xb9\x82\x00\x00\xc0\x0f\x30\xf4");
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_vector(g), VEC_gp);
	CHECK_EQ(rig_get(g, g->cpu.r.rsp + 8, 8), RIG_CODE + 14);
	CHECK_EQ(g->cpu.r.rbx, 0x1234);
	policy_adopt(&g->cpu, NULL);
	rig_close(g);
	policy_free(p);
}

/* Protected mode to long mode and back, as an operating system goes: cr4.pae, cr3, efer.lme, cr0.pg, far jump. */
static void
goes_to_long_mode(void)
{
	struct rig *g = rig_open(engine, RIG_prot32);

	/* mov cr4,ebx; mov cr3,esi; wrmsr (ecx, edx:eax); mov cr0,edi; jmp 8:+0; (64-bit) mov rax,imm64; hlt */
	CODE(g, "\x0f\x22\xe3\x0f\x22\xde\x0f\x30\x0f\x22\xc7\xea\x12\x00\x02\x00\x08\x00"
		"\x48\xb8\x88\x77\x66\x55\x44\x33\x22\x11\xf4");
	g->cpu.r.rbx = cr4_pae_MASK | cr4_osfxsr_MASK;
	g->cpu.r.rsi = RIG_TABLES;
	g->cpu.r.rcx = 0xc0000080;
	g->cpu.r.rax = ia32_efer_lme_MASK;
	g->cpu.r.rdx = 0;
	g->cpu.r.rdi = g->cpu.r.cr0 | cr0_pg_MASK;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax, 0x1122334455667788);
	CHECK_EQ(g->cpu.mode, MODE_long64);
	CHECK_EQ(g->cpu.r.ia32_efer & ia32_efer_lma_MASK, ia32_efer_lma_MASK);
	rig_close(g);
}

/* Real mode to protected mode: lgdt is done by the host; mov cr0,eax; jmp 18:.. */
static void
goes_to_protected_mode(void)
{
	struct rig *g = rig_open(engine, RIG_real);

	g->cpu.r.cs = RIG_CODE >> 4;
	g->cpu.r.cs_base = RIG_CODE;
	g->cpu.r.rip = 0;
	/* mov cr0,eax; jmp dword 18:CODE+11; (32-bit) mov eax,imm32; hlt */
	CODE(g, "\x0f\x22\xc0\x66\xea\x0b\x00\x02\x00\x18\x00\xb8\x44\x33\x22\x11\xf4");
	g->cpu.r.rax = g->cpu.r.cr0 | cr0_pe_MASK;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax, 0x11223344);
	CHECK_EQ(g->cpu.r.cs, RIG_CS32);
	CHECK_EQ(g->cpu.mode, MODE_prot32);
	rig_close(g);
}

/* Attention that is there before the run: no instruction is begun. */
static void
exits_immediately(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\xff\xc0\xeb\xfc");
	if (!engine->software) {
		cpu_ask(&g->cpu, ATT_kick);
		CHECK_EQ(rig_run(g), EXIT_attend);
		CHECK_EQ(g->cpu.r.rax, 0);
		CHECK_EQ(g->cpu.r.rip, RIG_CODE);
	}
	rig_close(g);
}

static void *
kick_later(void *ctx)
{
	struct rig *g = ctx;

	usleep(20000);
	cpu_ask(&g->cpu, ATT_kick);
	if (engine->kick != NULL)
		engine->kick(&g->cpu);
	return NULL;
}

#define DEAF "Bochs' processor in a VM that spins with IF clear takes no interrupt of the host"

/* jmp $: another thread's kick ends the run. */
static void
kick(uint64_t flags)
{
	struct rig *g = rig_open(engine, RIG_long);
	pthread_t t;

	CODE(g, "\xeb\xfe");
	g->cpu.r.rflags |= flags;
	CHECK_EQ(pthread_create(&t, NULL, kick_later, g), 0);
	CHECK_EQ(rig_run(g), EXIT_attend);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE);
	pthread_join(t, NULL);
	rig_close(g);
}

static void a_kick_ends_the_run(void) { kick(IF); }

static void
a_kick_needs_no_flag(void)
{
	if (on_bochs())
		SKIP(DEAF);
	kick(0);
}

/* And so it is with whatever else goes round without end. */
static void
a_kick_ends_every_loop(void)
{
	static const struct { const char *what, *code; size_t bytes; } loops[] = {
#define LOOP(what, code) { what, code, sizeof(code) - 1 }
		LOOP("jz on a zero that stays", "\x31\xc0\x85\xc0\x74\xfc"),
		LOOP("jmp rax", "\x48\x8d\x05\x00\x00\x00\x00\xff\xe0"),
		LOOP("loop", "\x48\xff\xc1\xe2\xfb"),
		LOOP("jrcxz", "\x31\xc9\xe3\xfc"),
		LOOP("a call back: mov rsp, rbx; call", "\x48\x89\xdc\xe8\xf8\xff\xff\xff"),
		LOOP("a call on, and back: call; mov rsp, rbx; call", "\x48\x89\xdc\xe8\x01\x00\x00\x00\xf4\x48\x89\xdc\xe8\xef\xff\xff\xff"),
		LOOP("call rax", "\x48\x8d\x05\x00\x00\x00\x00\x48\x89\xdc\xff\xd0"),
		LOOP("a return to itself: mov rsp, rbx; push rax; ret", "\x48\x8d\x05\x00\x00\x00\x00\x48\x89\xdc\x50\xc3"),
		LOOP("a call and its return: call; jmp; ret", "\xe8\x02\x00\x00\x00\xeb\xf9\xc3"),
#undef LOOP
	};
	pthread_t t;

	if (on_bochs())
		SKIP(DEAF);
	for (unsigned i = 0; i < sizeof(loops) / sizeof(*loops); i++) {
		struct rig *g = rig_open(engine, RIG_long);

		printf("# %s\n", loops[i].what);
		rig_code(g, loops[i].code, loops[i].bytes);
		g->cpu.r.rbx = RIG_STACK;
		CHECK_EQ(pthread_create(&t, NULL, kick_later, g), 0);
		CHECK_EQ(rig_run(g), EXIT_attend);
		pthread_join(t, NULL);
		rig_close(g);
	}
}

/* ---- with a board ---- */

/* Real mode with 4 GiB segments. Processor 0: INIT and SIPI to the other, by the APIC's page; wait for its
 * byte; debug-exit 3. Processor 1 at 0x1000: writes that byte, HLT. */
static const uint8_t starter[] = {
	0x66, 0x67, 0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x0c, 0x00,
	0x66, 0x67, 0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x01, 0x46, 0x0c, 0x00,
	0x80, 0x3e, 0x00, 0x05, 0x01, 0x75, 0xf9, 0xb0, 0x03, 0xe6, 0xf4, 0xeb, 0xfe };
static const uint8_t started[] = { 0xc6, 0x06, 0x00, 0x05, 0x01, 0xf4, 0xeb, 0xfd };

static void
start_second(bool kernel_chips)
{
	struct vm_config cfg = { .memory = 2 << 20, .cpus = 2, .engine = engine, .kernel_chips = kernel_chips };
	struct machine_config mc = { .debug_exit_port = 0xf4 };
	char err[256] = "";
	struct vm *vm;
	union regfile *r;

	if (on_bochs())
		SKIP(DEAF);
	vm = vm_open(&cfg, err, sizeof(err));
	if (vm == NULL)
		printf("# %s\n", err);
	CHECK(vm != NULL);
	if (vm == NULL)
		return;
	CHECK_EQ(machine_build(vm, &mc, err, sizeof(err)), 0);
	mem_write(vm->mem, 0x800, starter, sizeof(starter));
	mem_write(vm->mem, 0x1000, started, sizeof(started));
	r = &vm->vcpu[0]->cpu.r;
	r->cs = r->cs_base = 0;
	r->rip = 0x800;
	r->ds_limit = UINT32_MAX;
	r->ds_attr |= ATTR_g;
	vm->vcpu[0]->cpu.dirty |= GROUP_ALL;
	CHECK_EQ(machine_firmware(vm), 0);
	CHECK_EQ(vm_ready(vm, err, sizeof(err)), 0);
	CHECK_EQ(vm_start(vm), 0);
	CHECK_EQ(vm_wait(vm), VM_debug_exit);
	CHECK_EQ(vm->exit_status, 3 << 1 | 1);
	CHECK_EQ(vm->vcpu[1]->cpu.r.rip & 0xfff, 6);
	vm_close(vm);
}

static void starts_the_second_processor(void) { start_second(false); }
static void starts_it_by_the_kernels_apics(void) { start_second(true); }

int
main(void)
{
	static const struct engine_case cases[] = {
		CASE(takes_an_interrupt), HARD(takes_an_nmi), HARD(mov_ss_shuts_the_window), CASE(steps_one_by_one),
		HARD(debug_registers_break), CASE(keeps_msrs), HARD(judges_msrs_by_the_table), CASE(msrs_obey_the_policy),
		CASE(goes_to_long_mode), CASE(goes_to_protected_mode), CASE(exits_immediately), CASE(a_kick_ends_the_run),
		CASE(a_kick_needs_no_flag),
		CASE(a_kick_ends_every_loop),
		CASE(starts_the_second_processor), CASE(starts_it_by_the_kernels_apics),
	};

	alarm(120);
	run_on_engines(cases, sizeof(cases) / sizeof(cases[0]));
	return check_done();
}
