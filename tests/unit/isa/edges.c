/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/isa/edges.c - the decoder's promises that the oracle can't check: bounds, limits, the
 * vendor's choices, and that the tables hold no dead rows. */
#include "check.h"
#include "isa/insn.h"
#include "cpu/regs.h"
#include <sys/mman.h>

static uint64_t rng = 0x9e3779b97f4a7c15ull;

static uint32_t
rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16);
}

static struct insn in;

/* Decode the given bytes, which are followed by zeroes. */
#define DECODE(mode, ...) decode_bytes(mode, (const uint8_t[32]){ __VA_ARGS__ })
static int
decode_bytes(enum isa_mode mode, const uint8_t *b)
{
	return insn_decode(b, 32, mode, &in);
}

/* Bytes at the very end of mapped memory: nothing behind them is read; a prefix of an instruction
 * asks for more, never decides otherwise. */
static void
truncated(void)
{
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *end = page + 4096;
	unsigned n, k, i;

	CHECK(mprotect(end, 4096, PROT_NONE) == 0);
	for (n = 0; n < 60000; n++) {
		enum isa_mode mode = n % 3;
		uint8_t b[15];
		struct insn whole;
		int want, got;

		for (i = 0; i < 15; i++)
			b[i] = (uint8_t)rnd();
		if (n & 4)
			b[0] = (uint8_t[]){ 0x66, 0xf2, 0xf3, 0x48, 0x0f, 0xc4, 0xc5, 0x67 }[rnd() & 7];
		memcpy(end - 15, b, 15);
		want = insn_decode(end - 15, 15, mode, &whole);
		for (k = 0; k < 15; k++) {
			memcpy(end - k, b, k);
			got = insn_decode(end - k, k, mode, &in);
			if (want > 0)
				CHECK_EQ(got, k < (unsigned)want ? 0 : want);
			else
				CHECK(got == (k < whole.len ? 0 : -1) || got == -1);
			if (got > 0)
				CHECK(memcmp(&in, &whole, sizeof in) == 0);
		}
	}
	munmap(page, 8192);
}

static void
fifteen_bytes(void)
{
	uint8_t b[32];

	memset(b, 0x66, sizeof b);
	CHECK_EQ(insn_decode(b, 32, ISA_64, &in), -1);
	CHECK(in.len > 15);
	CHECK_EQ(insn_decode(b, 15, ISA_64, &in), -1);
	CHECK(in.len > 15);
	CHECK_EQ(insn_decode(b, 14, ISA_64, &in), 0);
	b[14] = 0x90;
	CHECK_EQ(insn_decode(b, 32, ISA_64, &in), 15);
	b[14] = 0x04;	/* add al, imm8: the immediate would be byte 16 */
	CHECK_EQ(insn_decode(b, 32, ISA_64, &in), -1);
	CHECK(in.len > 15);
	b[13] = 0x04;
	CHECK_EQ(insn_decode(b, 32, ISA_64, &in), 15);
}

/* AMD's near branches and far pointers, see vendor rows in decode.c. */
static void
amd(void)
{
	CHECK_EQ(DECODE(ISA_64, 0x66, 0xe8, 1, 2, 3, 4), 4);
	CHECK_EQ(in.osize, 2);
	CHECK_EQ(DECODE(ISA_64, 0x66, 0x48, 0xe8, 1, 2, 3, 4), 7);
	CHECK_EQ(in.osize, 8);
	CHECK_EQ(DECODE(ISA_64, 0x48, 0xff, 0x2b), 3);	/* jmp far [rbx] */
	CHECK_EQ(in.osize, 4);
	CHECK_EQ(in.op[0].size, 6);
	CHECK_EQ(DECODE(ISA_32, 0x0f, 0x05), 2);
	CHECK_EQ(in.id, INSN_syscall);
	CHECK_EQ(DECODE(ISA_64, 0x0f, 0x0d, 0xc0), -1);	/* prefetch of a register */
	CHECK_EQ(DECODE(ISA_64, 0x0f, 0x0f, 0xc0, 0xbf), -1);	/* 3DNow! */
	CHECK_EQ(DECODE(ISA_64, 0x62, 0xf1, 0x7c, 0x48, 0x10, 0xc0), -1);	/* EVEX */
	CHECK_EQ(DECODE(ISA_64, 0x8f, 0xe8, 0x78, 0xc0, 0xc0, 1), -1);	/* XOP */
}

static void
lock(void)
{
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x01, 0x03), 3);	/* add [rbx], eax */
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x01, 0xc3), -1);	/* add ebx, eax */
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x03, 0x03), -1);	/* add eax, [rbx] */
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x39, 0x03), -1);	/* cmp */
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x89, 0x03), -1);	/* mov */
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x0f, 0xa3, 0x03), -1);	/* bt */
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x0f, 0xab, 0x03), 4);	/* bts */
	CHECK_EQ(DECODE(ISA_64, 0xf0, 0x48, 0x0f, 0xc7, 0x0b), 5);	/* cmpxchg16b */
	CHECK_EQ(in.id, INSN_cmpxchg16b);
	CHECK_EQ(DECODE(ISA_32, 0xf0, 0x0f, 0x20, 0xc0), -1);	/* no alternate CR8 */
}

static void
prefixes(void)
{
	CHECK_EQ(DECODE(ISA_64, 0x48, 0x66, 0x01, 0xc0), 4);	/* REX before 66 is lost */
	CHECK_EQ(in.osize, 2);
	CHECK_EQ(in.rex, 0);
	CHECK_EQ(in.prefixes, PFX_opsize);
	CHECK_EQ(DECODE(ISA_64, 0x66, 0x48, 0x01, 0xc0), 4);
	CHECK_EQ(in.osize, 8);
	CHECK_EQ(DECODE(ISA_64, 0x64, 0x2e, 0x8b, 0x03), 4);	/* CS is ignored, FS stays */
	CHECK_EQ(in.seg, SEG_fs);
	CHECK_EQ(DECODE(ISA_64, 0x2e, 0x8b, 0x04, 0x24), 4);
	CHECK_EQ(in.seg, SEG_ss);
	CHECK_EQ(DECODE(ISA_32, 0x64, 0x2e, 0x8b, 0x03), 4);	/* the last one counts */
	CHECK_EQ(in.seg, SEG_cs);
	CHECK_EQ(DECODE(ISA_64, 0xf2, 0xf3, 0x0f, 0x10, 0xc1), 5);	/* the last of F2 and F3 */
	CHECK_EQ(in.id, INSN_movss);
	CHECK_EQ(DECODE(ISA_64, 0xf3, 0x66, 0x0f, 0x10, 0xc1), 5);	/* 66 gives way */
	CHECK_EQ(in.id, INSN_movss);
	CHECK_EQ(DECODE(ISA_64, 0x90), 1);
	CHECK_EQ(in.id, INSN_nop);
	CHECK_EQ(DECODE(ISA_64, 0x41, 0x90), 2);
	CHECK_EQ(in.id, INSN_xchg);
	CHECK_EQ(DECODE(ISA_64, 0xf3, 0x41, 0x90), 3);	/* as hardware does */
	CHECK_EQ(in.id, INSN_pause);
	CHECK_EQ(DECODE(ISA_32, 0x40), 1);
	CHECK_EQ(in.id, INSN_inc);
}

/* The operands that no ModRM byte names. */
static void
implied_memory(void)
{
	CHECK_EQ(DECODE(ISA_64, 0x65, 0xa4), 2);	/* movs gs: */
	CHECK_EQ(in.seg, SEG_gs);
	CHECK_EQ(in.op[0].kind, OPND_mem);
	CHECK_EQ(in.op[0].reg, 7);
	CHECK_EQ(in.op[0].access, OPND_w);
	CHECK_EQ(in.op[1].reg, 6);
	CHECK_EQ(in.base, 6);
	CHECK_EQ(DECODE(ISA_32, 0x65, 0xab), 2);	/* stos: ES whatever the prefix */
	CHECK_EQ(in.seg, SEG_es);
	CHECK_EQ(in.base, 7);
	CHECK_EQ(DECODE(ISA_32, 0x64, 0xa6), 2);	/* cmps */
	CHECK_EQ(in.seg, SEG_fs);
	CHECK_EQ(in.op[0].reg, 6);
	CHECK_EQ(in.op[1].reg, 7);
	CHECK_EQ(DECODE(ISA_64, 0xa1, 1, 2, 3, 4, 5, 6, 7, 0x88), 9);	/* mov eax, moffs64 */
	CHECK_EQ(in.disp, 0x8807060504030201ull);
	CHECK_EQ(in.base, INSN_NOREG);
	CHECK_EQ(DECODE(ISA_64, 0x67, 0xa1, 1, 2, 3, 0x84), 6);
	CHECK_EQ(in.disp, 0x84030201ull);
	CHECK_EQ(DECODE(ISA_64, 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x65, 0, 0, 0, 0), 10);	/* vpgatherdd */
	CHECK_EQ(in.index, 4);
	CHECK_EQ(in.op[1].reg, OPND_xmm);
	CHECK_EQ(in.op[1].size, 4);
	CHECK_EQ(in.op[2].access, OPND_rw);
	CHECK_EQ(DECODE(ISA_64, 0xc4, 0xe2, 0x79, 0x90, 0x04, 0x65, 0, 0, 0, 0), -1);	/* mask = destination */
}

/* VEX is LES and LDS outside 64-bit mode unless ModRM says register. */
static void
vex_or_les(void)
{
	CHECK_EQ(DECODE(ISA_32, 0xc5, 0x10), 2);
	CHECK_EQ(in.id, INSN_lds);
	CHECK_EQ(DECODE(ISA_32, 0xc5, 0xf8, 0x77), 3);
	CHECK_EQ(in.id, INSN_vzeroupper);
	CHECK_EQ(DECODE(ISA_64, 0xc5, 0x78, 0x77), 3);
	CHECK_EQ(DECODE(ISA_64, 0x66, 0xc5, 0xf8, 0x77), -1);
	CHECK_EQ(DECODE(ISA_64, 0x48, 0xc5, 0xf8, 0x77), -1);
	CHECK_EQ(DECODE(ISA_64, 0xc5, 0x80, 0x77), -1);	/* vvvv unused, not 1111 */
}

/* Every row of insns.def is decoded from something, and its mode flags are true. */
static void
no_dead_rows(void)
{
	static uint8_t seen[INSN__COUNT];	/* a bit for each mode */
	static const uint8_t heads[][4] = { { 0 }, { 0x0f }, { 0x0f, 0x38 }, { 0x0f, 0x3a }, { 0xc4 } };
	unsigned mode, h, op, n, id, at, i;
	uint8_t b[32];

	for (mode = 0; mode < 3; mode++)
		for (h = 0; h < 5; h++)
			for (op = 0; op < 256; op++)
				for (n = 0; n < 4096; n++) {
					memset(b, 0, sizeof b);
					at = 0;
					if (h < 4 && n & 3)
						b[at++] = (uint8_t[]){ 0, 0x66, 0xf3, 0xf2 }[n & 3];
					if (h < 4 && n & 4 && mode == ISA_64)
						b[at++] = 0x48;
					if (h == 4 && mode == ISA_16)
						b[at++] = 0x67;	/* for the SIB of gathers */
					for (i = 0; i < 2 && heads[h][i] != 0; i++)
						b[at++] = heads[h][i];
					if (h == 4) {
						b[at++] = (uint8_t)(0xe0 | (1 + n % 3));
						b[at++] = (uint8_t)(rnd() | (n & 8 ? 0x78 : 0));
					}
					b[at++] = (uint8_t)op;
					b[at++] = (uint8_t)(n >> 3);
					b[at++] = (uint8_t)rnd();
					if (insn_decode(b, 32, mode, &in) > 0)
						seen[in.id] |= (uint8_t)(1 << mode);
				}
	for (id = 1; id < INSN__COUNT; id++) {
		uint32_t f = insn_info[id].flags;
		unsigned want = f & IF_no64 ? 3 : f & IF_only64 ? 4 : 7;

		if (seen[id] != want)
			printf("# %s: decoded in modes %x, not %x\n", insn_info[id].name, seen[id], want);
		CHECK_EQ(seen[id], want);
	}
}

static void
uses(void)
{
	struct insn_use u;

	DECODE(ISA_64, 0x31, 0xc0);	/* xor eax, eax */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 0);
	CHECK_EQ(u.gpr_write, 1);
	CHECK_EQ(u.fl_write & ~u.fl_read, 0x8d5);
	DECODE(ISA_64, 0x30, 0xc0);	/* xor al, al */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 1);
	DECODE(ISA_64, 0xb4, 1);	/* mov ah, 1 */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 1);
	CHECK_EQ(u.gpr_write, 1);
	DECODE(ISA_64, 0xd3, 0xe0);	/* shl eax, cl: flags may stay */
	insn_uses(&in, &u);
	CHECK_EQ(u.fl_write & ~u.fl_read, 0);
	CHECK_EQ(u.gpr_read, 3);
	DECODE(ISA_64, 0x0f, 0x44, 0xc1);	/* cmovz eax, ecx */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 3);
	CHECK_EQ(u.fl_read, 0x40);
	DECODE(ISA_64, 0xf3, 0xa6);	/* repe cmpsb */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 1 << 1 | 1 << 6 | 1 << 7);
	CHECK_EQ(u.gpr_write, 1 << 1 | 1 << 6 | 1 << 7);
	CHECK_EQ(u.fl_write & ~u.fl_read, 0);
	DECODE(ISA_64, 0x4c, 0x89, 0x74, 0x9d, 8);	/* mov [rbp+rbx*4+8], r14 */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 1 << 14 | 1 << 5 | 1 << 3);
	CHECK_EQ(u.gpr_write, 0);
	DECODE(ISA_64, 0xf7, 0xe1);	/* mul ecx: edx is only written */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 3);
	CHECK_EQ(u.gpr_write, 5);
	DECODE(ISA_64, 0x0f, 0xa2);	/* cpuid */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_write & ~u.gpr_read, 1 << 2 | 1 << 3);
	DECODE(ISA_64, 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x65, 0, 0, 0, 0);	/* the index is xmm4, not rsp */
	insn_uses(&in, &u);
	CHECK_EQ(u.gpr_read, 0);
}

/* After asking the host, shifts and the like may hide old flags, but never the other way round. */
static void
host_flags(void)
{
	unsigned id;

	CHECK_EQ(insn_undefined_live(INSN_shl), insn_info[INSN_shl].fl_undef);
	insn_probe_host();
	for (id = 0; id < INSN__COUNT; id++)
		CHECK((insn_undefined_live(id) & ~insn_info[id].fl_undef) == 0);
	CHECK_EQ(insn_undefined_live(INSN_div), 0x8d5);	/* not probed: stays careful */
	printf("# old flags that this host lets through: shl %x rol %x imul %x bsf %x bt %x tzcnt %x bextr %x\n",
	    insn_undefined_live(INSN_shl), insn_undefined_live(INSN_rol), insn_undefined_live(INSN_imul),
	    insn_undefined_live(INSN_bsf), insn_undefined_live(INSN_bt), insn_undefined_live(INSN_tzcnt),
	    insn_undefined_live(INSN_bextr));
}

static void
text(void)
{
	char buf[64], tiny[4];

	CHECK_EQ(insn_text((const uint8_t[]){ 0x48, 0x01, 0xd8 }, 3, ISA_64, 0, buf, sizeof buf), 3);
	CHECK(strcmp(buf, "add rax, rbx") == 0);
	CHECK_EQ(insn_text((const uint8_t[]){ 0xeb, 0xfe }, 2, ISA_64, 0x1000, buf, sizeof buf), 2);
	CHECK(strstr(buf, "1000") != NULL);
	CHECK_EQ(insn_text((const uint8_t[]){ 0x48 }, 1, ISA_64, 0, buf, sizeof buf), 0);
	CHECK(buf[0] == '\0');
	CHECK_EQ(insn_text((const uint8_t[]){ 0x90 }, 1, ISA_64, 0, NULL, 0), 0);
	insn_text((const uint8_t[]){ 0x48, 0x01, 0xd8 }, 3, ISA_64, 0, tiny, sizeof tiny);
	CHECK(memchr(tiny, 0, sizeof tiny) != NULL);
}

int
main(void)
{
	RUN(truncated);
	RUN(fifteen_bytes);
	RUN(amd);
	RUN(lock);
	RUN(prefixes);
	RUN(implied_memory);
	RUN(vex_or_les);
	RUN(no_dead_rows);
	RUN(uses);
	RUN(host_flags);
	RUN(text);
	return check_done();
}
