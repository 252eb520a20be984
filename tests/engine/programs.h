/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/programs.h - random programs for 64-bit mode, and for compatibility mode.
 *
 * A program is a list of chunks: a random instruction of any opcode map, what makes its operands
 * reasonable before it, sometimes a jump over it. It runs three times over and ends at a HLT, or
 * sooner in a fault's handler. Behind the data lie pages with other rights. Programs change
 * immediates of their own code, and the supervisor's do what supervisors do.
 */
#pragma once
#include "engine/rig.h"
#include "isa/insn.h"

enum { CHUNKS = 24, TURNS = 3, COUNTER = RIG_MEMORY - 0x800, DATA_SIZE = 0x4000, INSN_MAX = 15, COUNTED = 150,
	PROGRAM_MAX = 2 * PAGE_SIZE - 0x100, PAGES = RIG_TABLES + 0x3000, ODD_PAGES = 4,
	CLEAN_PTE = PAGES + 8 * ((RIG_DATA + DATA_SIZE) / PAGE_SIZE + 3) };

/* ISA_64 or ISA_32: of the programs that are made from now on. */
static enum isa_mode isa = ISA_64;

/* Where decisions come from: given bytes (a fuzzer's), or a generator. */
struct source {
	const uint8_t *p, *end;
	uint64_t x;
};

static uint32_t
draw(struct source *s, uint32_t n)
{
	uint32_t v = 0;

	if (s->p == NULL) {
		s->x ^= s->x << 13, s->x ^= s->x >> 7, s->x ^= s->x << 17;
		return (uint32_t)(s->x >> 20) % n;
	}
	for (uint32_t most = n - 1; most != 0 && s->p < s->end; most >>= 8)
		v = v << 8 | *s->p++;
	return v % n;
}

static bool
drained(const struct source *s)
{
	return s->p != NULL && s->p >= s->end;
}

struct chunk {
	uint8_t bytes[96];
	unsigned len;
	unsigned rip_at, rip_end;	/* offset of a disp32 relative to rip_end, 0: none */
	uint32_t rip_to;
	int patches;			/* the chunk whose immediate this one changes, or -1 */
	unsigned imm_at;		/* offset of an immediate, 0: none */
};

struct program {
	struct chunk chunk[CHUNKS];
	unsigned n, offset;		/* in the first code page */
	uint8_t code[PROGRAM_MAX + 64];
	unsigned len;
	uint64_t gpr[16], flags, fs_base, gs_base;
	uint8_t xmm[16][16], ymmh[16][16], st[8][10];
	uint32_t mxcsr;
	bool user, counted, wp, smap;
	enum isa_mode isa;
};

/* ---- instructions ---- */

/* What can't be compared, or leaves the world of the test. */
static bool
is_wanted(struct source *s, const struct insn *in)
{
	const struct insn_info *info = &insn_info[in->id];
	struct insn_use use;

	if (info->flags & (IF_branch | IF_end | IF_priv | IF_io))
		return in->id == INSN_cli || in->id == INSN_pop_seg ? draw(s, 16) == 0 : false;
	switch (in->id) {
	case INSN_rol: case INSN_ror: case INSN_rcl: case INSN_rcr:
		return in->opcode == 0xd0 || in->opcode == 0xd1;	/* else OF is undefined */
	case INSN_rdtsc: case INSN_rdtscp: case INSN_rdrand: case INSN_rdseed: case INSN_rdpmc:
	case INSN_monitor: case INSN_monitorx:
		return false;
	case INSN_fnstenv: case INSN_fnsave: case INSN_fxsave: case INSN_xsave: case INSN_xsavec: case INSN_xsaveopt:
	case INSN_fldenv: case INSN_frstor: case INSN_fxrstor: case INSN_xrstor:
		return false;		/* x87 pointers are the translator's secret */
	case INSN_div: case INSN_idiv: case INSN_std: case INSN_vpgatherdd: case INSN_vpgatherdq: case INSN_vpgatherqd:
	case INSN_vpgatherqq: case INSN_vgatherdps: case INSN_vgatherdpd: case INSN_vgatherqps: case INSN_vgatherqpd:
	case INSN_fcmovb: case INSN_ldmxcsr: case INSN_vldmxcsr: case INSN_fldcw:
		return draw(s, 8) == 0;
	default:
		insn_uses(in, &use);
		return info->flags & IF_stack || !(use.gpr_write >> REG_rsp & 1) || draw(s, 16) == 0;
	}
}

static void
random_bytes(struct source *s, uint8_t *b)
{
	static const uint8_t prefixes[16] = { 0x66, 0xf3, 0xf2, 0xf0, 0x66, 0xf3, 0x65, 0x64, 0x67, 0x2e, 0x66, 0xf2, 0x66 };
	unsigned n = 0, what = draw(s, 8);

	if (what == 7) {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)((isa == ISA_64 ? draw(s, 8) : 6 + draw(s, 2)) << 5 | (1 + draw(s, 3)));
		b[n++] = (uint8_t)(draw(s, 256) | (draw(s, 2) ? 0x78 : 0));
	} else {
		if (draw(s, 3) == 0 && prefixes[what] != 0)
			b[n++] = prefixes[draw(s, 13)];
		if (draw(s, isa == ISA_64 ? 2 : 24) == 0)
			b[n++] = (uint8_t)(0x40 | draw(s, 16));
		if (what >= 3)
			b[n++] = 0x0f;
		if (what == 6)
			b[n++] = draw(s, 2) ? 0x38 : 0x3a;
	}
	while (n < INSN_MAX)
		b[n++] = (uint8_t)draw(s, 256);
}

static void
put(struct chunk *k, const void *bytes, unsigned n)
{
	memcpy(k->bytes + k->len, bytes, n);
	k->len += n;
}

static void
put_mov(struct chunk *k, unsigned reg, uint64_t val)
{
	uint8_t op[2] = { (uint8_t)(0x48 | reg >> 3), (uint8_t)(0xb8 | (reg & 7)) };

	put(k, isa == ISA_64 ? op : op + 1, isa == ISA_64 ? 2 : 1);
	put(k, &val, isa == ISA_64 ? 8 : 4);
}

static uint32_t
data_address(struct source *s)
{
	uint32_t at = RIG_DATA + draw(s, DATA_SIZE);

	if (draw(s, 12) == 0)
		at += PAGE_SIZE * ODD_PAGES;
	if (draw(s, 8) == 0)	/* across pages, or nearly */
		at = (at | 0xfff) + 1 - draw(s, 40);
	return draw(s, 4) ? at & ~31u : at;
}

static void
set_disp(uint8_t *b, const struct insn *in, int64_t to)
{
	memcpy(b + in->disp_at, &to, in->disp_size);
}

/* Registers and displacement of a ModRM operand, so that it lies in the data area. */
static void
aim_modrm(struct source *s, struct chunk *k, uint8_t *b, const struct insn *in)
{
	uint32_t to = data_address(s);
	bool vsib = false;
	unsigned i;

	for (i = 0; i < in->nopnds; i++)
		vsib |= in->op[i].kind == OPND_mem && (in->op[i].reg == OPND_xmm || in->op[i].reg == OPND_ymm);
	if (in->index < 16 && in->index != in->base && !vsib)
		put_mov(k, in->index, draw(s, 2) ? 0 : 32 * draw(s, 8));
	if (in->base == INSN_RIP) {
		k->rip_to = to;
	} else if (in->base == INSN_NOREG) {
		set_disp(b, in, to);
	} else {
		if (in->disp_at != 0)
			set_disp(b, in, draw(s, 3) == 0 ? (int32_t)draw(s, 256) - 128 : 32 * ((int32_t)draw(s, 7) - 3));
		if (in->base != REG_rsp)
			put_mov(k, in->base, to);
	}
}

static void
aim(struct source *s, struct chunk *k, uint8_t *b, const struct insn *in)
{
	uint32_t flags = insn_info[in->id].flags;

	if (flags & IF_string) {
		put_mov(k, REG_rsi, data_address(s));
		put_mov(k, REG_rdi, data_address(s));
		if (in->prefixes & (PFX_rep | PFX_repne))
			put_mov(k, REG_rcx, draw(s, 40));
	} else if (in->has_modrm && in->modrm < 0xc0) {
		aim_modrm(s, k, b, in);
		if (in->id >= INSN_bt && in->id <= INSN_btc && in->op[1].kind == OPND_reg)
			put_mov(k, in->op[1].reg & 15, draw(s, 4000));
	} else if (in->disp_at != 0) {
		set_disp(b, in, data_address(s));
	} else if (in->base < 16) {
		put_mov(k, in->base, data_address(s));
	}
	if (in->id == INSN_enter) {
		b[in->imm_at + 1] = 0;
		b[in->imm_at + 2] &= 3;
	}
	if (in->id == INSN_leave || in->id == INSN_enter)
		put_mov(k, REG_rbp, RIG_STACK - 0x100 - 8 * draw(s, 32));
}

/* In front of the instruction of n bytes: nothing, or a branch over it, or a way to it and back. */
static void
put_flow(struct source *s, struct chunk *k, unsigned n, bool moves_rsp)
{
	uint8_t call[] = { 0xe8, 2, 0, 0, 0, 0xeb, 0 /* over it */ };
	uint8_t jmp[] = { 0x48, 0x8d, 0x05, 3, 0, 0, 0 /* lea rax, [rip + 3] */, 0xff, 0xe0, 0x90 };
	static const uint8_t jmp32[] = { 0xe8, 0, 0, 0, 0, 0x58, 0x83, 0xc0, 7, 0xff, 0xe0, 0x90 };	/* call, pop, add, jmp */
	uint8_t over[2];

	switch (draw(s, 8)) {
	case 0: case 1:
		over[0] = (uint8_t)(0x70 | draw(s, 16));
		over[1] = (uint8_t)n;
		put(k, over, 2);
		break;
	case 2:
		over[0] = (uint8_t)(0xe0 + draw(s, 4));
		over[1] = (uint8_t)n;
		put(k, over, 2);
		break;
	case 3:
		if (moves_rsp)		/* it would return to anywhere */
			break;
		call[6] = (uint8_t)(n + 1);
		put(k, call, sizeof(call));
		break;
	case 4:
		if (isa == ISA_64)
			put(k, jmp, sizeof(jmp));
		else
			put(k, jmp32, sizeof(jmp32));
		break;
	default:
		break;
	}
}

static bool
make_chunk(struct source *s, struct chunk *k)
{
	uint8_t b[32] = { 0 };
	struct insn_use use;
	struct insn in;
	bool called;
	unsigned start;

	*k = (struct chunk){ .patches = -1 };
	random_bytes(s, b);
	if (insn_decode(b, sizeof(b), isa, &in) <= 0 || !is_wanted(s, &in))
		return false;
	if (draw(s, 24) != 0)
		aim(s, k, b, &in);
	if (draw(s, 16) == 0)
		put_mov(k, REG_rsp, RIG_STACK - 8 * draw(s, 64));
	start = k->len;
	insn_uses(&in, &use);
	put_flow(s, k, in.len, use.gpr_write >> REG_rsp & 1);
	called = k->len - start == 7;
	if (in.base == INSN_RIP && k->rip_to != 0) {
		k->rip_at = k->len + in.disp_at;
		k->rip_end = k->len + in.len;
	}
	if (in.imm_at != 0 && !(insn_info[in.id].flags & (IF_branch | IF_stack)) && in.id != INSN_vpblendvb &&
	    in.op[0].kind == OPND_reg && in.op[0].reg != REG_rsp)
		k->imm_at = k->len + in.imm_at;
	put(k, b, in.len);
	if (called)
		put(k, "\xc3", 1);
	return true;
}

/* mov byte [rip + x] or [x], imm8: an immediate of some chunk */
static void
make_patch(struct source *s, struct program *p)
{
	static const uint8_t op[6] = { 0xc6, 0x05 };
	struct chunk *k = &p->chunk[p->n];
	int i, to = (int)draw(s, p->n + 1);
	uint8_t val = (uint8_t)draw(s, 256);

	for (i = to; i >= 0 && (i == (int)p->n || p->chunk[i].imm_at == 0); i--)
		;
	if (i < 0)
		return;
	*k = (struct chunk){ .patches = i, .rip_at = 2, .rip_end = 7 };
	put(k, op, sizeof(op));
	put(k, &val, 1);
	p->n++;
}

/* ---- system instructions: whole little sequences ---- */

enum { ALIAS = 0x60000, ALIAS_A = 0x61000, ALIAS_B = 0x62000, ALIAS_PTE = PAGES + 8 * (ALIAS / PAGE_SIZE),
	ON_INT3 = 0x5000, ON_SYSCALL = 0x5040, TALLY = RIG_DATA + 0x80 };

#define SEQ(literal) { sizeof(literal) - 1, literal }
static const struct { uint8_t len; char bytes[40]; } sequences[] = {
	/* for every privilege */
	SEQ("\xcc"),					/* int3 */
	SEQ("\x0f\x05"),				/* syscall */
	SEQ("\x9c\x58"),				/* pushfq; pop rax */
	SEQ("\x31\xc9\x83\xe0\x0f\x0f\xa2"),		/* xor ecx,ecx; and eax,15; cpuid */
	SEQ("\x31\xc0\x8e\xe0\x8e\xd8\x8c\xe0"),	/* xor eax,eax; mov fs,eax; mov ds,eax; mov eax,fs */
	SEQ("\x81\xe0\xff\x0f\x00\x00\xf3\x48\x0f\xae\xd0\xf3\x48\x0f\xae\xc9"),	/* wrfsbase rax; rdgsbase rcx */
	SEQ("\xfd\xaa\xfc"),				/* std; stosb; cld */
	SEQ("\x48\x89\xe0\x6a\x2b\x50\x9c\x6a\x33\x48\x8d\x05\x03\x00\x00\x00\x50\x48\xcf"),	/* iretq to CPL 3 */
	/* for the supervisor */
	SEQ("\x48\x89\xe0\x6a\x10\x50\x9c\x6a\x08\x48\x8d\x05\x03\x00\x00\x00\x50\x48\xcf"),	/* iretq to CPL 0 */
	SEQ("\xfa"), SEQ("\xfb"), SEQ("\x0f\x01\xca"), SEQ("\x0f\x01\xcb"),	/* cli sti clac stac */
	SEQ("\x0f\x01\xf8"),				/* swapgs */
	SEQ("\x0f\x20\xd8\x0f\x22\xd8"),		/* mov rax,cr3; mov cr3,rax */
	SEQ("\x0f\x20\xe0\x0f\x22\xe0"),		/* cr4 */
	SEQ("\x0f\x20\xc0\x83\xf0\x08\x0f\x22\xc0"),	/* cr0 with TS changed */
	SEQ("\x0f\x06"),				/* clts */
	SEQ("\x0f\x01\x3c\x25\x00\x40\x03\x00"),	/* invlpg */
	SEQ("\xb9\x00\x01\x00\xc0\x0f\x32\x0f\x30"),	/* rdmsr, wrmsr FS.base */
	SEQ("\x8c\xd8\x8e\xd8\x8e\xd0\x90"),		/* mov eax,ds; mov ds,eax; mov ss,eax; nop */
};
enum { SEQUENCES = sizeof(sequences) / sizeof(sequences[0]), SEQUENCES_USER = 8 };

/* The same for 32-bit code; all but the last ones for every privilege. */
static const struct { uint8_t len; char bytes[40]; } sequences32[] = {
	SEQ("\xcc"),					/* int3 */
	SEQ("\x9c\x58"),				/* pushf; pop eax */
	SEQ("\x31\xc9\x83\xe0\x0f\x0f\xa2"),		/* xor ecx,ecx; and eax,15; cpuid */
	SEQ("\x31\xc0\x8e\xe0\x8c\xe0"),		/* xor eax,eax; mov fs,eax; mov eax,fs */
	SEQ("\x8c\xd8\x8e\xe0\x8e\xd8"),		/* mov eax,ds; mov fs,eax; mov ds,eax */
	SEQ("\x06\x07\x0f\xa8\x0f\xa9\x0e\x58"),	/* push es; pop es; push gs; pop gs; push cs; pop eax */
	SEQ("\xfd\xaa\xfc"),				/* std; stosb; cld */
	SEQ("\x60\x61"), SEQ("\x60\x83\xc4\x20"),	/* pusha; popa; pusha; add esp,32 */
	SEQ("\x0e\xe8\x02\x00\x00\x00\xeb\x01\xcb"),	/* push cs; call over; jmp; over: retf */
	SEQ("\x9c\x0e\xe8\x02\x00\x00\x00\xeb\x01\xcf"),	/* pushf; push cs; call over; jmp; over: iret */
	SEQ("\x9a\x07\x50\x00\x00\x18\x00"),		/* call 18:5007, which may not be allowed */
	SEQ("\x66\x50\x66\x58"), SEQ("\x54\x5c"),	/* push ax; pop ax; push esp; pop esp */
	SEQ("\xc8\x10\x00\x00\xc9"),			/* enter 16,0; leave */
	SEQ("\x0f\x20\xd8\x0f\x22\xd8"),		/* mov eax,cr3; mov cr3,eax */
	SEQ("\xfa"), SEQ("\xfb"), SEQ("\x0f\x01\xca"), SEQ("\x0f\x01\xcb"),	/* cli sti clac stac */
	SEQ("\x0f\x20\xc0\x83\xf0\x08\x0f\x22\xc0"),	/* cr0 with TS changed */
	SEQ("\x0f\x06"),				/* clts */
	SEQ("\x0f\x01\x3d\x00\x40\x03\x00"),		/* invlpg */
	SEQ("\x8c\xd8\x8e\xd0\x90"),			/* mov eax,ds; mov ss,eax; nop */
};
enum { SEQUENCES32 = sizeof(sequences32) / sizeof(sequences32[0]), SEQUENCES32_USER = 15 };

/* Let the alias page be one or the other, tell the TLB, call it. */
static void
put_remap(struct source *s, struct chunk *k, bool user)
{
	uint8_t op[] = { 0xc7, 0x04, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0x01, 0x3c, 0x25, 0, 0, 0, 0 }, call[5] = { 0xe8 };
	uint8_t op32[] = { 0xc7, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0x01, 0x3d, 0, 0, 0, 0 };
	uint32_t pte = ALIAS_PTE, to = (draw(s, 2) ? ALIAS_A : ALIAS_B) | 0x67, alias = ALIAS;

	memcpy(op + 3, &pte, 4);
	memcpy(op + 7, &to, 4);
	memcpy(op + 15, &alias, 4);
	memcpy(op32 + 2, &pte, 4);
	memcpy(op32 + 6, &to, 4);
	memcpy(op32 + 13, &alias, 4);
	if (!user && isa == ISA_64)
		put(k, op, sizeof(op));
	else if (!user)
		put(k, op32, sizeof(op32));
	k->rip_at = k->len + 1;
	k->rip_end = k->len + 5;
	k->rip_to = ALIAS + 0x10;
	put(k, call, sizeof(call));
}

static void
make_system(struct source *s, struct program *p)
{
	struct chunk *k = &p->chunk[p->n++];
	bool some = p->user && draw(s, 8) != 0;
	unsigned which = draw(s, 2 + (isa == ISA_64 ? (some ? SEQUENCES_USER : SEQUENCES) : some ? SEQUENCES32_USER : SEQUENCES32));
	uint8_t popf[6] = { 0x68, 0, 0, 0, 0, 0x9d };
	uint32_t fl;

	*k = (struct chunk){ .patches = -1 };
	if (which == 0) {
		put_remap(s, k, p->user);
	} else if (which == 1) {
		fl = RFLAGS_fixed | (draw(s, 0x1000) & (RFLAGS_arith | 0x200)) | (draw(s, 8) ? 0 : 0x40000);
		memcpy(popf + 1, &fl, 4);
		put(k, popf, sizeof(popf));
	} else if (isa == ISA_64) {
		put(k, sequences[which - 2].bytes, sequences[which - 2].len);
	} else {
		put(k, sequences32[which - 2].bytes, sequences32[which - 2].len);
	}
}

/* Where system instructions lead. */
static void
put_system(struct rig *g)
{
	static const uint8_t on_int3[] = { 0x48, 0xff, 0x04, 0x25, 0x80, 0, 3, 0, 0x48, 0xcf };
	static const uint8_t on_syscall[] = { 0x48, 0xff, 0x04, 0x25, 0x80, 0, 3, 0, 0x48, 0x0f, 0x07 };
	static const uint8_t a[] = { 0x48, 0x83, 0xc2, 5, 0xc3 }, b[] = { 0x48, 0x6b, 0xd2, 3, 0xc3 };
	union regfile *r = &g->cpu.r;

	static_assert(TALLY == 0x30080, "in the code above");
	rig_put(g, RIG_IDT + 16 * VEC_bp, ON_INT3 | RIG_CS64 << 16 | 0xee00ull << 32, 8);
	mem_write(g->mem, ON_INT3, on_int3, sizeof(on_int3));
	mem_write(g->mem, ON_SYSCALL, on_syscall, sizeof(on_syscall));
	mem_write(g->mem, ALIAS_A + 0x10, a, sizeof(a));
	mem_write(g->mem, ALIAS_B + 0x10, b, sizeof(b));
	rig_put(g, ALIAS_PTE, ALIAS_A | 0x67, 8);
	r->ia32_star = 0x23ull << 48 | (uint64_t)RIG_CS64 << 32;
	r->ia32_lstar = ON_SYSCALL;
}

/* ---- programs ---- */

static void
layout(struct program *p)
{
	/* A DS prefix fills the place of what 32-bit code does not need. */
	static const uint8_t op[2][2][3] = { { { 0xc7, 0x04, 0x25 }, { 0xff, 0x0c, 0x25 } }, { { 0x3e, 0xc7, 0x05 }, { 0x3e, 0xff, 0x0d } } };
	uint8_t head[11] = { [7] = TURNS }, tail[9] = { [7] = 0x0f, 0x85 };
	uint32_t counter = COUNTER, to;
	unsigned i, start, at[CHUNKS];

	memcpy(head, op[p->isa == ISA_32][0], 3);
	memcpy(tail, op[p->isa == ISA_32][1], 3);
	memcpy(head + 3, &counter, 4);
	memcpy(tail + 3, &counter, 4);
	memcpy(p->code, head, sizeof(head));
	p->len = start = sizeof(head);
	for (i = 0, to = p->len; i < p->n; to += p->chunk[i++].len)
		at[i] = to;
	for (i = 0; i < p->n; i++) {
		struct chunk *k = &p->chunk[i];

		if (k->patches >= 0)
			k->rip_to = RIG_CODE + p->offset + at[k->patches] + p->chunk[k->patches].imm_at;
		if (k->rip_at != 0) {
			to = k->rip_to;
			if (p->isa == ISA_64 || k->patches < 0)
				to -= (uint32_t)(RIG_CODE + p->offset + p->len + k->rip_end);
			memcpy(k->bytes + k->rip_at, &to, 4);
		}
		memcpy(p->code + p->len, k->bytes, k->len);
		p->len += k->len;
	}
	memcpy(p->code + p->len, tail, sizeof(tail));
	p->len += (unsigned)sizeof(tail) + 4;
	to = start - p->len;
	memcpy(p->code + p->len - 4, &to, 4);
	p->code[p->len++] = 0xf4;
}

static uint64_t
any_value(struct source *s)
{
	switch (draw(s, 4)) {
	case 0:
		return draw(s, 256) - 128ull;
	case 1:
		return data_address(s);
	case 2:
		return (uint64_t)draw(s, 0x10000) << draw(s, 49);
	default:
		return (uint64_t)draw(s, UINT32_MAX) << 32 | draw(s, UINT32_MAX);
	}
}

/* Vector registers: from few draws, so that a fuzzer's bytes last. */
static void
make_vectors(struct program *p, uint64_t x)
{
	static const uint32_t odd[8] = { 0, 0x3f800000, 0x7f800000, 0xffc00000, 1, 0x80000000, 0x3ff00000, 0x7ff00000 };
	uint32_t *v[2] = { (uint32_t *)(void *)p->xmm, (uint32_t *)(void *)p->ymmh };
	unsigned i;

	for (i = 0; i < 128; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		v[i >> 6][i & 63] = x >> 61 == 0 ? odd[x >> 40 & 7] : (uint32_t)(x >> 30);
	}
	for (i = 0; i < 8; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		memcpy(p->st[i], &x, 8);
		p->st[i][7] |= 0x80;
		memcpy(p->st[i] + 8, &(uint16_t){ (uint16_t)(0x3ff0 + (x & 31)) }, 2);
	}
}

static void
make_program(struct source *s, struct program *p)
{
	unsigned tries, i;

	p->isa = isa;
	p->user = draw(s, 2);
	p->counted = draw(s, 8) == 0;
	p->wp = draw(s, 2);
	p->smap = draw(s, 4) == 0;
	p->offset = draw(s, 2) ? 0 : PAGE_SIZE - draw(s, 512) - 1;
	p->mxcsr = draw(s, 16) == 0 ? draw(s, 0x10000) & 0xffff : 0x1f80;
	p->flags = RFLAGS_fixed | (draw(s, 0x1000) & RFLAGS_arith);
	p->fs_base = draw(s, 2) ? 0 : draw(s, 0x1000);
	p->gs_base = draw(s, 2) ? 0 : draw(s, 0x1000);
	for (i = 0; i < 16; i++)
		p->gpr[i] = any_value(s);
	p->gpr[REG_rsp] = RIG_STACK - 8 * draw(s, 64);
	make_vectors(p, draw(s, UINT32_MAX));
	p->n = 0;
	for (tries = 0; p->n < CHUNKS && tries < 40 * CHUNKS && !drained(s); tries++)
		if (draw(s, 16) == 0)
			make_patch(s, p);
		else if (draw(s, 8) == 0)
			make_system(s, p);
		else
			p->n += make_chunk(s, &p->chunk[p->n]);
	layout(p);
}
