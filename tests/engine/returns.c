/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/returns.c - calls and returns that do not match, too many of either, and returns to what changed
 * or belongs to another privilege level: the translator's stack of host returns (bt/returns.c) decides nothing.
 */
#include "engine/bt/bt.h"
#include "engine/rig.h"

enum { WIN = 0x40000000, PD = RIG_TABLES + 0x3000, PT = RIG_TABLES + 0x4000, FRAME1 = 0x100000, FRAME2 = 0x101000, TOP = 0x200000,
	OTHER = 0x400 /* from RIG_CODE */, AD = 0x60, SUPER = 3, USER = 7, STAR_USER = 0x23, PAGE_FAULT = 14 };

static const struct program {
	const char *what, *code;
	size_t bytes;
	unsigned most, least;		/* returns that find no pad of theirs */
	bool smap;
} programs[] = {
#define P(what, most, least, smap, code) { what, code, sizeof(code) - 1, most, least, smap }
	/* mov ecx,1000; l: call f; inc eax; jmp n; add eax,7; n: dec ecx; jnz l; hlt; f: add qword [rsp],4; ret */
	P("a function that returns elsewhere", 1000, 1000, false,
		"\xb9\xe8\x03\x00\x00\xe8\x0c\x00\x00\x00\xff\xc0\xeb\x03\x83\xc0\x07\xff\xc9\x75\xf0\xf4\x48\x83\x04\x24\x04\xc3"),
	/* mov ecx,100000; l: call f; f: add rsp,8; call g; back: dec ecx; jnz l; hlt; g: add rsp,8; add eax,ecx; jmp back */
	P("calls without return", 0, 0, false,
		"\xb9\xa0\x86\x01\x00\xe8\x00\x00\x00\x00\x48\x83\xc4\x08\xe8\x05\x00\x00\x00\xff\xc9\x75\xee\xf4\x48\x83\xc4\x08\x01\xc8\xeb\xf3"),
	/* mov ecx,20000; call f; hlt; f: dec ecx; jz e; call f; e: inc eax; ret */
	P("deep recursion", 20000, 1, false,
		"\xb9\x20\x4e\x00\x00\xe8\x01\x00\x00\x00\xf4\xff\xc9\x74\x05\xe8\xf7\xff\xff\xff\xff\xc0\xc3"),
	/* mov ecx,1000; lea rdx,[f]; lea rbx,[e]; push rbx; l: push rdx; dec ecx; jnz l; ret; f: inc eax; ret; e: hlt */
	P("returns without call", 1001, 1001, false,
		"\xb9\xe8\x03\x00\x00\x48\x8d\x15\x0e\x00\x00\x00\x48\x8d\x1d\x0a\x00\x00\x00\x53\x52\xff\xc9\x75\xfb\xc3\xff\xc0\xc3\xf4"),
	/* mov ecx,1000; l: call f; adc eax,0; call g; setp dl; seto dh; add eax,edx; dec ecx; jnz l; hlt; f: bt ecx,0; ret
	 * g: mov ebx,ecx; shl ebx,21; add ebx,0x40000000; ret */
	P("flags pass", 0, 0, false,
		"\xb9\xe8\x03\x00\x00\xe8\x15\x00\x00\x00\x83\xd0\x00\xe8\x12\x00\x00\x00\x0f\x9a\xc2\x0f\x90\xc6\x01\xd0\xff\xc9\x75\xe7\xf4"
		"\x0f\xba\xe1\x00\xc3\x89\xcb\xc1\xe3\x15\x81\xc3\x00\x00\x00\x40\xc3"),
	/* mov ecx,50; l: call f; p: mov ebx,1; add eax,ebx; dec ecx; jnz l; hlt; f: mov [p+1],ecx; ret */
	P("what is returned to is rewritten", 50, 0, false,
		"\xb9\x32\x00\x00\x00\xe8\x0c\x00\x00\x00\xbb\x01\x00\x00\x00\x01\xd8\xff\xc9\x75\xf0\xf4\x89\x0d\xef\xff\xff\xff\xc3"),
	/* mov ecx,3000; lea rsi,[f]; lea rdi,[g]; l: xchg rsi,rdi; call rsi; add eax,ebx; dec ecx; jnz l; hlt
	 * f: mov ebx,3; ret; g: mov ebx,5; ret 0 */
	P("calls by a register", 0, 0, false,
		"\xb9\xb8\x0b\x00\x00\x48\x8d\x35\x13\x00\x00\x00\x48\x8d\x3d\x12\x00\x00\x00\x48\x87\xf7\xff\xd6\x01\xd8\xff\xc9\x75\xf5\xf4"
		"\xbb\x03\x00\x00\x00\xc3\xbb\x05\x00\x00\x00\xc2\x00\x00"),
	/* mov ecx,1000; l: call f; add eax,ecx; call g; dec ecx; jnz l; hlt; f: stac; inc eax; ret; g: clac; inc eax; ret */
	P("returns in another context than the call's", 2000, 0, true,
		"\xb9\xe8\x03\x00\x00\xe8\x0c\x00\x00\x00\x01\xc8\xe8\x0b\x00\x00\x00\xff\xc9\x75\xf0\xf4\x0f\x01\xcb\xff\xc0\xc3"
		"\x0f\x01\xca\xff\xc0\xc3"),
};

static struct rig *
open_with(const struct engine *e)
{
	struct rig *g = rig_open(e, RIG_long);

	rig_put(g, RIG_TABLES + 0x1000 + 8, PD | USER, 8);
	rig_put(g, PD, PT | USER, 8);
	g->cpu.r.rsp = TOP;
	return g;
}

static void
programs_agree(void)
{
	const struct engine *engines[] = { &bt_engine, &interp_engine };
	const struct program *p;
	uint64_t sum[2], rsp[2], missed = 0;
	struct rig *g;
	unsigned k;

	for (p = programs; p < programs + sizeof(programs) / sizeof(*programs); p++) {
		for (k = 0; k < 2; k++) {
			g = open_with(engines[k]);
			if (p->smap) {
				g->cpu.r.cr4 |= cr4_smap_MASK;
				cpu_mode_update(&g->cpu);
				rig_put(g, PT, FRAME1 | SUPER | AD, 8);
				g->cpu.r.rsp = WIN + PAGE_SIZE;
			}
			rig_code(g, p->code, p->bytes);
			CHECK_EQ(rig_run(g), EXIT_hlt);
			CHECK_EQ(rig_vector(g), -1);
			sum[k] = g->cpu.r.rax;
			rsp[k] = g->cpu.r.rsp;
			if (k == 0)
				missed = g->cpu.bt->stats.unreturned + g->cpu.bt->stats.indirect;
			rig_close(g);
		}
		if (sum[0] != sum[1] || rsp[0] != rsp[1] || missed < p->least || missed > p->most + 10)
			printf("# %s: %llu returns elsewhere\n", p->what, (unsigned long long)missed);
		CHECK_EQ(sum[0], sum[1]);
		CHECK_EQ(rsp[0], rsp[1]);
		CHECK(missed >= p->least && missed <= p->most + 10);	/* ten: targets met for the first time */
	}
}

/* The caller's page is another one when its callee returns.
 *	WIN: call rdi; mov eax,N; hlt	OTHER: mov [rsi],rdx; invlpg [rbx]; ret */
static void
caller_remapped(void)
{
	static const uint64_t frame[] = { FRAME1, FRAME2 };
	struct rig *g = open_with(&bt_engine);
	unsigned k;

	for (k = 0; k < 2; k++) {
		mem_write(g->mem, frame[k], "\xff\xd7\xb8\x01\x00\x00\x00\xf4", 8);
		rig_put(g, frame[k] + 3, k, 4);
	}
	mem_write(g->mem, RIG_CODE + OTHER, "\x48\x89\x16\x0f\x01\x3b\xc3", 7);
	for (k = 0; k < 9; k++) {
		g->cpu.r.rip = g->cpu.r.rbx = WIN;
		g->cpu.r.rdi = RIG_CODE + OTHER;
		g->cpu.r.rsi = PT;
		rig_put(g, PT, frame[k < 4 ? 0 : k & 1] | SUPER | AD, 8);
		tlb_flush_page(&g->cpu, WIN);
		g->cpu.r.rdx = frame[k < 4 ? 0 : ~k & 1] | SUPER | AD;
		CHECK_EQ(rig_run(g), EXIT_hlt);
		g->cpu.r.activity = ACTIVITY_run;
		CHECK_EQ(g->cpu.r.rax, k < 4 ? 0 : ~k & 1);
	}
	rig_close(g);
}

/* A kernel goes to user code between a call and its return; a user's return to the same address is the user's, who
 * may not read what the kernel does there.
 *	k: call f; mov eax,[rbx]; jmp k; f: dec edx; js u; ret; u: mov edx,20; sysretq
 *	OTHER, at CPL 3: l: dec r8d; js go; syscall (to k); jmp l; go: push rdi; ret */
static void
user_returns_to_the_kernel(void)
{
	static const char kernel[] = "\xe8\x04\x00\x00\x00\x8b\x03\xeb\xf7\xff\xca\x78\x01\xc3\xba\x14\x00\x00\x00\x48\x0f\x07",
		user[] = "\x41\xff\xc8\x78\x04\x0f\x05\xeb\xf7\x57\xc3";
	struct rig *g = open_with(&bt_engine);
	union regfile *r = &g->cpu.r;
	unsigned k;

	rig_code(g, kernel, sizeof(kernel) - 1);
	mem_write(g->mem, RIG_CODE + OTHER, user, sizeof(user) - 1);
	rig_put(g, PT, FRAME1 | SUPER | AD, 8);
	rig_put(g, FRAME1, 0x5ec7e7, 4);
	for (k = 0; k < 4; k++) {
		rig_mode_set(g, RIG_long);
		r->rip = RIG_CODE;
		r->rsp = TOP;
		r->rbx = WIN;
		r->rcx = RIG_CODE + OTHER;
		r->rdi = RIG_CODE + 5;
		r->r11 = RFLAGS_fixed | rflags_if_MASK;
		r->rdx = 20;
		r->r8 = 10;
		r->ia32_lstar = RIG_CODE;
		r->ia32_fmask = RFLAGS_arith | rflags_if_MASK;
		r->ia32_star = (uint64_t)STAR_USER << 48 | (uint64_t)RIG_CS64 << 32;
		CHECK_EQ(rig_run(g), EXIT_hlt);
		r->activity = ACTIVITY_run;
		CHECK_EQ(rig_vector(g), PAGE_FAULT);
		CHECK_EQ(r->cr2, WIN);
	}
	CHECK(g->cpu.bt->stats.crossed > 0);
	rig_close(g);
}

int
main(void)
{
	RUN(programs_agree);
	RUN(caller_remapped);
	RUN(user_returns_to_the_kernel);
	return check_done();
}
