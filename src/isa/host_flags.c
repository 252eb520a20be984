/* SPDX-License-Identifier: Apache-2.0 */
/* isa/host_flags.c - undefined flags that this host always overwrites.
 *
 * The manual leaves some flags undefined. Processors either compute them or keep the old ones
 * (Intel: BT, ROL and DIV keep, shifts and IMUL compute; AMD differs in part). Who runs the
 * instruction natively may take an old flag as dead only when it can't shine through, so we ask
 * the host: each instruction with random operands and two opposite sets of old flags.
 */
#include "isa/insn.h"
#include <cpuid.h>
#include <pthread.h>

enum { PROBED = 2 /* no flag */, ARITH = 0x8d5, TRIES = 500, OLD_CLEAR = 0x202, OLD_SET = 0x202 | 0x8d5 };

/* Flags behind the instruction, by those before it. */
struct operands { uint64_t a, b, c; };
typedef uint64_t probe_fn(struct operands o, uint64_t flags);

/* Instruction, a name for the probe, code: operands in rax, rbx, rcx, rdx. The stack pointer moves
 * because the compiler may have something below it. */
#define PROBES(P) \
	P(mul, mul8, "mulb %%bl") P(mul, mul16, "mulw %%bx") P(mul, mul32, "mull %%ebx") \
	P(mul, mul64, "mulq %%rbx") P(imul, imul8, "imulb %%bl") P(imul, imul16, "imulw %%bx") \
	P(imul, imul32, "imull %%ebx") P(imul, imul64, "imulq %%rbx") \
	P(imul, imul16_2, "imulw %%bx, %%ax") P(imul, imul32_2, "imull %%ebx, %%eax") \
	P(imul, imul64_2, "imulq %%rbx, %%rax") P(imul, imul16_3, "imulw $77, %%bx, %%ax") \
	P(imul, imul32_3, "imull $77, %%ebx, %%eax") P(imul, imul64_3, "imulq $-5, %%rbx, %%rax") \
	P(shl, shl8, "shlb $5, %%al") P(shl, shl8_8, "shlb $8, %%al") P(shl, shl8_31, "shlb $31, %%al") \
	P(shl, shl16, "shlw $5, %%ax") P(shl, shl16_16, "shlw $16, %%ax") P(shl, shl32, "shll $5, %%eax") \
	P(shl, shl64, "shlq $5, %%rax") P(shl, shl64_63, "shlq $63, %%rax") \
	P(shr, shr8, "shrb $5, %%al") P(shr, shr8_8, "shrb $8, %%al") P(shr, shr8_31, "shrb $31, %%al") \
	P(shr, shr16, "shrw $5, %%ax") P(shr, shr16_16, "shrw $16, %%ax") P(shr, shr32, "shrl $5, %%eax") \
	P(shr, shr64, "shrq $5, %%rax") P(shr, shr64_63, "shrq $63, %%rax") \
	P(sar, sar8, "sarb $5, %%al") P(sar, sar8_8, "sarb $8, %%al") P(sar, sar8_31, "sarb $31, %%al") \
	P(sar, sar16, "sarw $5, %%ax") P(sar, sar16_16, "sarw $16, %%ax") P(sar, sar32, "sarl $5, %%eax") \
	P(sar, sar64, "sarq $5, %%rax") P(sar, sar64_63, "sarq $63, %%rax") \
	P(shld, shld16, "shldw $5, %%bx, %%ax") P(shld, shld16_20, "shldw $20, %%bx, %%ax") \
	P(shld, shld32, "shldl $5, %%ebx, %%eax") P(shld, shld64, "shldq $40, %%rbx, %%rax") \
	P(shrd, shrd16, "shrdw $5, %%bx, %%ax") P(shrd, shrd16_20, "shrdw $20, %%bx, %%ax") \
	P(shrd, shrd32, "shrdl $5, %%ebx, %%eax") P(shrd, shrd64, "shrdq $40, %%rbx, %%rax") \
	P(rol, rol8, "rolb $5, %%al") P(rol, rol64, "rolq $5, %%rax") P(ror, ror8, "rorb $5, %%al") \
	P(ror, ror64, "rorq $5, %%rax") P(rcl, rcl32, "rcll $5, %%eax") P(rcl, rcl8, "rclb $9, %%al") \
	P(rcr, rcr32, "rcrl $5, %%eax") P(rcr, rcr16, "rcrw $17, %%ax") \
	P(bsf, bsf16, "bsfw %%ax, %%dx") P(bsf, bsf32, "bsfl %%eax, %%edx") P(bsf, bsf64, "bsfq %%rax, %%rdx") \
	P(bsr, bsr16, "bsrw %%ax, %%dx") P(bsr, bsr32, "bsrl %%eax, %%edx") P(bsr, bsr64, "bsrq %%rax, %%rdx") \
	P(bt, bt16, "btw %%cx, %%ax") P(bt, bt64, "btq %%rcx, %%rax") P(bts, bts32, "btsl $3, %%eax") \
	P(btr, btr32, "btrl %%ecx, %%eax") P(btc, btc64, "btcq $3, %%rax")
#define PROBES_BMI1(P) \
	P(tzcnt, tzcnt16, "tzcntw %%ax, %%dx") P(tzcnt, tzcnt32, "tzcntl %%eax, %%edx") \
	P(tzcnt, tzcnt64, "tzcntq %%rax, %%rdx") P(andn, andn, "andnq %%rax, %%rbx, %%rdx") \
	P(blsr, blsr, "blsrq %%rax, %%rdx") P(blsi, blsi, "blsiq %%rax, %%rdx") \
	P(blsmsk, blsmsk, "blsmskq %%rax, %%rdx") P(bextr, bextr, "bextrq %%rcx, %%rax, %%rdx") \
	P(bextr, bextr32, "bextrl %%ecx, %%eax, %%edx")
#define PROBES_BMI2(P) \
	P(bzhi, bzhi, "bzhiq %%rcx, %%rax, %%rdx") P(bzhi, bzhi32, "bzhil %%ecx, %%eax, %%edx")
#define PROBES_LZCNT(P) \
	P(lzcnt, lzcnt16, "lzcntw %%ax, %%dx") P(lzcnt, lzcnt32, "lzcntl %%eax, %%edx") \
	P(lzcnt, lzcnt64, "lzcntq %%rax, %%rdx")

#define DEFINE(id, name, code) \
	static uint64_t probe_##name(struct operands o, uint64_t fl) \
	{ \
		uint64_t d = o.b; \
		__asm__("lea -128(%%rsp), %%rsp\n\tpush %[fl]\n\tpopfq\n\t" code \
			"\n\tpushfq\n\tpop %[fl]\n\tlea 128(%%rsp), %%rsp" \
			: "+a"(o.a), "+b"(o.b), "+d"(d), [fl] "+S"(fl) : "c"(o.c) : "cc"); \
		return fl; \
	}
PROBES(DEFINE)
PROBES_BMI1(DEFINE)
PROBES_BMI2(DEFINE)
PROBES_LZCNT(DEFINE)

/* Flags that old ones shone through in some probe of an instruction; those that did in none. */
static uint16_t kept[INSN__COUNT], sure[INSN__COUNT];

uint16_t
insn_undefined_live(unsigned id)
{
	return insn_info[id].fl_undef & (uint16_t)~sure[id];
}

static void
probe(unsigned id, probe_fn *fn)
{
	uint64_t x = 0x9e3779b97f4a7c15ull, diff = 0;
	struct operands o;
	unsigned n;

	for (n = 0; n < TRIES; n++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		o.a = n % 8 == 0 ? 0 : x >> (n % 64);	/* zeroes and small numbers as well */
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		o.b = n % 8 == 1 ? ~0ull : x >> (n * 7 % 64);
		o.c = x >> 50;
		diff |= fn(o, OLD_CLEAR) ^ fn(o, OLD_SET);
	}
	kept[id] |= (uint16_t)diff | PROBED;
}

static bool
has_lzcnt(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_ABM);
}

/* Others may be asking meanwhile, so `sure` is only written when all is known. */
static void
probe_all(void)
{
	unsigned id;

#define RUN(id, name, code) probe(INSN_##id, probe_##name);
	PROBES(RUN)
	if (__builtin_cpu_supports("bmi")) {
		PROBES_BMI1(RUN)
	}
	if (__builtin_cpu_supports("bmi2")) {
		PROBES_BMI2(RUN)
	}
	if (has_lzcnt()) {
		PROBES_LZCNT(RUN)
	}
	for (id = 0; id < INSN__COUNT; id++)
		if (kept[id] & PROBED)
			sure[id] = ARITH & (uint16_t)~kept[id];
}

void
insn_probe_host(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, probe_all);
}
