/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/engine/bt_host.c - random user-mode programs on the translator and on the host's own CPU.
 *
 * The same bytes at the same addresses with the same registers: all registers, arithmetic flags,
 * vector registers and memory must agree behind them. Both end at a HLT, which the host refuses by
 * SIGSEGV. usage: bt_host [programs] [seed]
 */
#include "check.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "engine/engine.h"
#include "host/low.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { CODE = 0x10000000, DATA = 0x20000000, STACK = 0x30000000, AREA = 0x4000, TABLES = 0x100000,
	RAM = 0x400000, LEN_MAX = 900, PROGRAM = 24 };
static const uint64_t area_at[] = { CODE, DATA, STACK };
enum { AREAS = 3, CODE_GPA = 0x200000, DATA_GPA = 0x210000, STACK_GPA = 0x220000 };
static const uint64_t area_gpa[] = { CODE_GPA, DATA_GPA, STACK_GPA };

/* ---- random bytes of code ---- */

static uint64_t seed = 1;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(seed >> 33) % n;
}

static uint8_t code[LEN_MAX + 64];
static unsigned len;
static int base, idx;
static unsigned start;		/* of the program in CODE: often across a page */

static void b(unsigned v) { code[len++] = (uint8_t)v; }
static void imm32(uint32_t v) { memcpy(code + len, &v, 4); len += 4; }

static int
any_reg(void)
{
	return (int)rnd(16);
}

/* A register that may be written. */
static int
out_reg(void)
{
	int r;

	do
		r = (int)rnd(16);
	while (r == 4 || r == base || r == idx);
	return r;
}

/* prefixes, REX, opcode, ModRM with register field reg and register or memory rm. */
static void
form(unsigned prefix, unsigned w, unsigned map, unsigned op, int reg, int rm, bool mem)
{
	unsigned shape = rnd(4), scale = rnd(4);
	int32_t disp = (int32_t)rnd(2000) - 1000;
	bool with_index = mem && shape == 0, stack = mem && shape == 1, pc = mem && shape == 2 && rnd(3) == 0;
	unsigned rex = 0x40 | w << 3 | (unsigned)(reg >> 3) << 2;
	int rb = stack ? 4 : base;

	if (prefix != 0)
		b(prefix);
	if (!mem)
		rex |= (unsigned)rm >> 3;
	else if (!pc)
		rex |= (unsigned)(rb >> 3) | (with_index ? (unsigned)(idx >> 3) << 1 : 0);
	b(rex);
	if (map >= 1)
		b(0x0f);
	if (map == 2)
		b(0x38);
	if (map == 3)
		b(0x3a);
	b(op);
	if (!mem) {
		b(0xc0 | (unsigned)(reg & 7) << 3 | (unsigned)(rm & 7));
	} else if (pc) {
		b((unsigned)(reg & 7) << 3 | 5);
		imm32((uint32_t)(DATA + 0x1800 + disp - (CODE + (int)(start + len) + 4)));	/* close: immediates shift it */
	} else if (with_index || stack) {
		b(0x80 | (unsigned)(reg & 7) << 3 | 4);
		b((with_index ? scale << 6 | (unsigned)(idx & 7) << 3 : 4u << 3) | (unsigned)(rb & 7));
		imm32((uint32_t)disp);
	} else {
		b(0x80 | (unsigned)(reg & 7) << 3 | (unsigned)(rb & 7));
		if ((rb & 7) == 4)
			b(0x24);
		imm32((uint32_t)disp);
	}
}

static void
vex(unsigned pp, unsigned w, unsigned l, unsigned map, unsigned op, int reg, int v, int rm, bool mem)
{
	b(0xc4);
	b((unsigned)(reg < 8) << 7 | 1u << 6 | (unsigned)((mem ? base : rm) < 8) << 5 | map);
	b(w << 7 | (~(unsigned)v & 15) << 3 | l << 2 | pp);
	b(op);
	if (!mem) {
		b(0xc0 | (unsigned)(reg & 7) << 3 | (unsigned)(rm & 7));
	} else {
		b(0x80 | (unsigned)(reg & 7) << 3 | (unsigned)(base & 7));
		if ((base & 7) == 4)
			b(0x24);
		imm32(rnd(1000));
	}
}

struct size { unsigned prefix, w, byte; };

static struct size
any_size(void)
{
	static const struct size sizes[] = { { 0, 0, 1 }, { 0x66, 0, 0 }, { 0, 0, 0 }, { 0, 1, 0 } };

	return sizes[rnd(4)];
}

static void
imm_of(struct size s)
{
	if (s.byte)
		b(rnd(256));
	else if (s.prefix)
		b(rnd(256)), b(rnd(256));
	else
		imm32(rnd(0x7fffffff));
}

static void
integer(void)
{
	struct size s = any_size();
	bool mem = rnd(2), lock;
	unsigned op = rnd(8), cc = rnd(16);
	int rm = out_reg();

	switch (rnd(26)) {
	case 0: form(s.prefix, s.w, 0, op << 3 | !s.byte, any_reg(), rm, mem); break;
	case 1: form(s.prefix, s.w, 0, op << 3 | 2 | !s.byte, rm, any_reg(), mem); break;
	case 2: form(s.prefix, s.w, 0, 0x80 | !s.byte, (int)op, rm, mem); imm_of(s); break;
	case 3: form(s.prefix, s.w, 0, 0x88 | !s.byte, any_reg(), rm, mem); break;
	case 4: form(s.prefix, s.w, 0, 0x8a | !s.byte, rm, any_reg(), mem); break;
	case 5: form(s.prefix, s.w, 0, 0xc6 | !s.byte, 0, rm, mem); imm_of(s); break;
	case 6: form(0, s.w, 1, 0xb6 | rnd(2) | (rnd(2) << 3), rm, any_reg(), mem); break;
	case 7: form(0, 1, 0, 0x63, rm, any_reg(), mem); break;
	case 8: form(0, s.w, 0, 0x8d, rm, 0, true); break;
	case 9: op = rnd(8); form(s.prefix, s.w, 0, 0xd2 | !s.byte, (int)(op == 6 ? 4 : op), rm, mem); break;
	case 10: op = rnd(8); form(s.prefix, s.w, 0, 0xc0 | !s.byte, (int)(op == 6 ? 4 : op), rm, mem); b(rnd(64)); break;
	case 11: form(s.prefix, s.w, 0, 0xfe | !s.byte, (int)rnd(2), rm, mem); break;
	case 12: form(s.prefix, s.w, 0, 0xf6 | !s.byte, 2 + (int)rnd(2), rm, mem); break;
	case 13: if (base != 2 && idx != 2) form(s.prefix, s.w, 0, 0xf6 | !s.byte, 4 + (int)rnd(2), any_reg(), mem); break;
	case 14: form(s.byte ? 0 : s.prefix, s.w, 1, 0xaf, rm, any_reg(), mem); break;
	case 15: form(0, s.w, 0, 0x69, rm, any_reg(), mem); imm32(rnd(0x7fffffff)); break;
	case 16: form(0, s.w, 1, 0xba, 4 + (int)rnd(4), rm, mem); b(rnd(64)); break;
	case 17: form(0, s.w, 1, 0xa3 | rnd(4) << 3, any_reg(), rm, false); break;
	case 18: form(rnd(2) ? 0xf3 : 0, s.w, 1, rnd(2) ? 0xbc : 0xbd, rm, any_reg(), mem); break;
	case 19: form(0xf3, s.w, 1, 0xb8, rm, any_reg(), mem); break;
	case 20: form(0, s.w, 1, 0x40 | cc, rm, any_reg(), mem); break;
	case 21: form(0, 0, 1, 0x90 | cc, 0, rm, mem); break;
	case 22: lock = mem && rnd(2); form(lock ? 0xf0 : 0, s.w, 1, 0xc0 | !s.byte, rm, out_reg(), mem); break;
	case 23: if (base != 0 && idx != 0) form(0, s.w, 1, 0xb0 | !s.byte, any_reg(), rm, mem); break;
	case 24: form(0, s.w, 1, rnd(2) ? 0xa4 : 0xac, any_reg(), rm, mem); b(rnd(64)); break;
	default: form(0, s.w, 0, 0x86 | !s.byte, rm, out_reg(), mem); break;
	}
}

static void
other(void)
{
	static const uint8_t simple[] = { 0xf8, 0xf9, 0xf5, 0x98, 0x99, 0x9f, 0x9e, 0x90 };
	int rm = out_reg();
	bool mem = rnd(2);
	unsigned w = rnd(2);

	switch (rnd(12)) {
	case 11:	/* rep movs, rep stos within the data and beyond a page */
		if (base == 1 || base == 6 || base == 7 || idx == 1 || idx == 6 || idx == 7)
			break;
		b(0xbe), imm32(DATA + rnd(0x3000));
		b(0xbf), imm32(DATA + rnd(0x3000));
		b(0xb9), imm32(rnd(40));
		b(0xf3), b(w ? 0x48 : 0x40), b((rnd(2) ? 0xa4u : 0xaau) | rnd(2));
		break;
	case 9: b(0x40 | (rm >= 8)); b(0xb0 | (unsigned)(rm & 7)); b(rnd(256)); break;
	case 10: b(0x40 | (rm >= 8)); b(0xb8 | (unsigned)(rm & 7)); imm32(rnd(0x7fffffff)); break;
	case 0: b(simple[rnd(8)]); break;
	case 1: if (rm >= 8) b(0x41); b(0x50 | (unsigned)(rm & 7)); break;
	case 2: if (rm >= 8) b(0x41); b(0x58 | (unsigned)(rm & 7)); break;
	case 3: b(0x48 | (rm >= 8)); b(0x0f); b(0xc8 | (unsigned)(rm & 7)); break;
	case 4: b(0x68); imm32(rnd(0x7fffffff)); break;
	case 5: vex(0, w, 0, 2, 0xf2, rm, any_reg(), any_reg(), mem); break;			/* andn */
	case 6: vex(1 + rnd(3), w, 0, 2, 0xf7, rm, any_reg(), any_reg(), mem); break;		/* shlx... */
	case 7: vex(2 + rnd(2), w, 0, 2, 0xf5, rm, any_reg(), any_reg(), mem); break;		/* pdep, pext */
	default: vex(3, w, 0, 3, 0xf0, rm, 0, any_reg(), mem); b(rnd(64)); break;		/* rorx */
	}
}

static void
vector(void)
{
	static const uint8_t packed[] = { 0xfe, 0xfa, 0xef, 0xeb, 0xdb, 0x60, 0x6c, 0xd4, 0x74, 0xf4 };
	int x = any_reg(), y = any_reg();
	bool mem = rnd(2);

	switch (rnd(9)) {
	case 8: b(0xc5), b(0xf8), b(0x77); break;						/* vzeroupper */
	case 0: form(0, 0, 1, 0x10 | rnd(2), x, y, mem); break;				/* movups */
	case 1: form(0xf3, 0, 1, 0x6f | rnd(2) << 4, x, y, mem); break;			/* movdqu */
	case 2: form(0x66, 0, 1, packed[rnd(10)], x, y, false); break;
	case 3: form(0x66, rnd(2), 1, 0x6e, x, any_reg(), mem); break;			/* movd, movq */
	case 4: form(0x66, rnd(2), 1, 0x7e, x, out_reg(), mem); break;
	case 5: form(rnd(2) ? 0xf2 : 0xf3, rnd(2), 1, 0x2a, x, any_reg(), mem); break;	/* cvtsi2s? */
	case 6: form(0x66, 0, 1, 0xd7, out_reg(), y, false); break;			/* pmovmskb */
	default: vex(1, 0, rnd(2), 1, packed[rnd(10)], x, any_reg(), y, mem); break;
	}
}

static void
make_program(void)
{
	static const int bases[] = { 3, 13, 5, 12, 15, 6 }, indexes[] = { 14, 1, 8, 13, 9 };
	unsigned n, open[8], opens = 0, k;

	do {
		base = bases[rnd(6)];
		idx = indexes[rnd(5)];
	} while (base == idx);
	len = 0;
	start = rnd(2) ? 0 : PAGE_SIZE - rnd(250);
	for (n = 0; n < PROGRAM; n++) {
		if (opens < 8 && rnd(8) == 0) {
			if (rnd(6) == 0) {
				b(0xe8), imm32(0);	/* a call forward */
			} else {
				b(0x0f), b(0x80 | rnd(16)), imm32(0);
			}
			open[opens++] = len;
		}
		if (opens > 0 && rnd(6) == 0) {
			k = rnd(opens);
			memcpy(code + open[k] - 4, &(uint32_t){ len - open[k] }, 4);
			open[k] = open[--opens];
		}
		switch (rnd(6)) {
		case 0: other(); break;
		case 1: vector(); break;
		default: integer();
		}
	}
	while (opens-- > 0)
		memcpy(code + open[opens] - 4, &(uint32_t){ len - open[opens] }, 4);
	b(0xf4);
}

/* ---- both machines ---- */

struct state { uint64_t gpr[16], rip, flags; uint8_t xmm[16][16]; uint8_t mem[AREAS][AREA]; };
static struct state in, host, guest;
static ucontext_t home;
static struct _libc_fpstate home_fp;
static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8,
	REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static void
on_usr1(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	unsigned i;

	(void)sig, (void)info;
	home = *uc;
	home_fp = *uc->uc_mcontext.fpregs;
	for (i = 0; i < 16; i++)
		uc->uc_mcontext.gregs[greg_of[i]] = (greg_t)in.gpr[i];
	uc->uc_mcontext.gregs[REG_EFL] = (greg_t)in.flags;
	uc->uc_mcontext.gregs[REG_RIP] = CODE + (greg_t)start;
	memcpy(uc->uc_mcontext.fpregs->_xmm, in.xmm, sizeof(in.xmm));
}

static void
on_segv(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	unsigned i;

	(void)sig, (void)info;
	for (i = 0; i < 16; i++)
		host.gpr[i] = (uint64_t)uc->uc_mcontext.gregs[greg_of[i]];
	host.rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	host.flags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL] & RFLAGS_arith;
	memcpy(host.xmm, uc->uc_mcontext.fpregs->_xmm, sizeof(host.xmm));
	memcpy(uc->uc_mcontext.gregs, home.uc_mcontext.gregs, sizeof(home.uc_mcontext.gregs));
	*uc->uc_mcontext.fpregs = home_fp;
}

static void
handlers(void)
{
	static uint8_t stack[1 << 16];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaltstack(&ss, NULL);
	sa.sa_sigaction = on_usr1;
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_sigaction = on_segv;
	sigaction(SIGSEGV, &sa, NULL);
}

static void
run_host(void)
{
	unsigned i;

	for (i = 0; i < AREAS; i++)
		memcpy((void *)area_at[i], in.mem[i], AREA);
	raise(SIGUSR1);
	for (i = 0; i < AREAS; i++)
		memcpy(host.mem[i], (void *)area_at[i], AREA);
}

static struct cpu *c;
static struct mem *ram;
static struct cpu_model model;

static uint64_t
fake_tsc(struct cpu *cpu)
{
	(void)cpu;
	return 0;
}
static const struct cpu_ops ops = { .tsc = fake_tsc };

/* 4-level tables that map the areas for users. */
static void
map_areas(void)
{
	enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, ALL = P | W | U | A | D };
	uint64_t *pml4 = (void *)mem_put(ram, TABLES, PAGE_SIZE), *pdpt = pml4 + 512, *pd = pml4 + 1024, *pt;
	unsigned i, k;

	pml4[0] = (TABLES + 0x1000) | ALL;
	pdpt[0] = (TABLES + 0x2000) | ALL;
	for (i = 0; i < AREAS; i++) {
		pt = pml4 + 512 * (3 + i);
		pd[area_at[i] >> 21 & 511] = (TABLES + 0x3000 + i * 0x1000) | ALL;
		for (k = 0; k < AREA / PAGE_SIZE; k++)
			pt[k] = (area_gpa[i] + k * PAGE_SIZE) | ALL;
	}
}

static bool
open_guest(void)
{
	char err[128], lost[256];

	ram = mem_open(RAM);
	c = low_map(sizeof(*c));
	if (c == NULL || cpu_model_make(&model, "regent-v1", true, err, sizeof(err), lost, sizeof(lost)) != 0 ||
	    cpu_open(c, ram, &model, 0) != 0)
		return false;
	c->ops = &ops;
	c->retire_limit = UINT64_MAX;
	map_areas();
	c->r.cr3 = TABLES;
	c->r.cr0 = 0x80010033;
	c->r.cr4 = 0x40620;
	c->r.xcr0 = 7;
	c->r.ia32_efer = 0xd01;
	c->r.cs = 0x33;
	c->r.cs_attr = 0xa0fb;
	c->r.ss = 0x2b;
	c->r.ss_attr = 0xc0f3;
	c->r.cs_limit = c->r.ss_limit = 0xffffffff;
	c->r.rflags = 0x202;
	tlb_flush_all(c, true);
	cpu_mode_update(c);
	return bt_engine.open(c) == 0;
}

static void
run_guest(void)
{
	struct vexit x = { 0 };
	unsigned i;

	for (i = 0; i < AREAS; i++)
		mem_write(ram, area_gpa[i], in.mem[i], AREA);
	memcpy(c->r.gpr, in.gpr, sizeof(in.gpr));
	c->r.rflags = in.flags;
	c->r.rip = CODE + start;
	c->fpu.fcw = 0x37f;
	c->fpu.mxcsr = 0x1f80;
	c->fpu.xstate_bv = 7;
	memcpy(c->fpu.xmm, in.xmm, sizeof(in.xmm));
	do {
		atomic_store(&c->attention, 0);
		if (bt_engine.run(c, &x) != 0)
			break;
	} while (x.kind == EXIT_attend);
	memcpy(guest.gpr, c->r.gpr, sizeof(guest.gpr));
	guest.rip = c->r.rip;
	guest.flags = c->r.rflags & RFLAGS_arith;
	memcpy(guest.xmm, c->fpu.xmm, sizeof(guest.xmm));
	for (i = 0; i < AREAS; i++)
		mem_read(ram, area_gpa[i], guest.mem[i], AREA);
}

static void
make_state(void)
{
	unsigned i;

	for (i = 0; i < sizeof(in); i++)
		((uint8_t *)&in)[i] = (uint8_t)rnd(256);
	memset(in.mem[0], 0xcc, AREA);
	memcpy(in.mem[0] + start, code, len);
	in.flags = 0x202 | (in.flags & RFLAGS_arith);
	in.gpr[base] = DATA + 0x2000 - rnd(16);
	in.gpr[idx] = rnd(400);
	in.gpr[4] = STACK + 0x2000 + rnd(2) * 4 - rnd(2) * 1000;
}

static bool
same(void)
{
	return memcmp(host.gpr, guest.gpr, sizeof(host.gpr)) == 0 && host.flags == guest.flags &&
		memcmp(host.xmm, guest.xmm, sizeof(host.xmm)) == 0 && memcmp(host.mem, guest.mem, sizeof(host.mem)) == 0;
}

static void
show(void)
{
	unsigned i, k;

	printf("# base %d index %d; differs:", base, idx);
	for (i = 0; i < 16; i++)
		if (host.gpr[i] != guest.gpr[i])
			printf(" r%u %#" PRIx64 " host %#" PRIx64, i, guest.gpr[i], host.gpr[i]);
	printf(" rip %#" PRIx64 " host %#" PRIx64, guest.rip, host.rip);
	printf(" flags %#" PRIx64 " host %#" PRIx64, guest.flags, host.flags);
	for (i = 0; i < 16; i++)
		if (memcmp(host.xmm[i], guest.xmm[i], 16) != 0)
			printf(" xmm%u", i);
	for (i = 0; i < AREAS; i++)
		for (k = 0; k < AREA; k++)
			if (host.mem[i][k] != guest.mem[i][k])
				printf(" [%u+%x]%02x/%02x", i, k, guest.mem[i][k], host.mem[i][k]);
	printf("\n#");
	for (i = 0; i < len; i++)
		printf(" %02x", code[i]);
	printf("\n");
}

static unsigned programs = 2000;

static void
agrees_with_the_host(void)
{
	unsigned i, bad = 0, ran = 0;

	for (i = 0; i < AREAS; i++)
		CHECK(mmap((void *)area_at[i], AREA, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == (void *)area_at[i]);
	handlers();
	CHECK(open_guest());
	for (i = 0; i < programs && !check_bad; i++) {
		uint64_t before = seed;

		make_program();
		make_state();
		run_host();
		if (host.rip != CODE + start + len - 1)
			continue;	/* went astray: not a test of ours */
		ran++;
		run_guest();
		if (!same()) {
			printf("# program %u, seed %" PRIu64 "\n", i, before);
			show();
			if (bad++ > 2)
				CHECK(false);
		}
	}
	CHECK_EQ(bad, 0);
	CHECK(ran > programs / 2);
	printf("# %u programs compared\n", ran);
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		programs = (unsigned)atoi(argv[1]);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	RUN(agrees_with_the_host);
	return check_done();
}
