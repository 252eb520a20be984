/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/cpuid.c - what CPUID answers: features from cpuid.def, the rest by leaf.
 *
 * The processor presents itself as AMD family 19h, so that guests expect AMD's MSRs, topology and
 * cache leaves, and as a KVM guest with kvmclock.
 */
#include "cpu/cpuid.h"
#include "cpu/cpu.h"
#include <string.h>

enum { MAX_BASIC = 0xd, MAX_EXTENDED = 0x21, MAX_HYPERVISOR = 0x10 };
enum { SIGNATURE = 0x00a00f11 };	/* family 19h, model 1, stepping 1; also EDX after RESET */
enum { LINE = 64 };
static const uint32_t PAGE_TLB = 0xff40ff40;	/* 64 entries each for data and code, fully associative */

enum reg_of_cpuid { eax, ebx, ecx, edx };
static const struct {
	uint32_t leaf, sub;
	uint8_t reg, bit;
} place[CPUF__COUNT] = {
#define F(name_, leaf_, sub_, reg_, bit_, in_, host_) [CPUF_##name_] = { leaf_, sub_, reg_, bit_ },
#include "cpu/cpuid.def"
#undef F
};

/* Which leaves have features, by their lowest bits: most have none. */
#define LEAF_BIT(leaf) (1u << ((leaf) & 31))
enum { FEATURE_LEAVES = 0
#define F(name_, leaf_, sub_, reg_, bit_, in_, host_) | LEAF_BIT(leaf_)
#include "cpu/cpuid.def"
#undef F
};

static uint32_t *
reg_in(struct cpuid_regs *r, unsigned n)
{
	return n == eax ? &r->eax : n == ebx ? &r->ebx : n == ecx ? &r->ecx : &r->edx;
}

static void
add_features(const struct cpu_model *m, uint32_t leaf, uint32_t sub, struct cpuid_regs *r)
{
	unsigned f;

	if (!(FEATURE_LEAVES & LEAF_BIT(leaf)))
		return;
	for (f = CPUF_always + 1; f < CPUF__COUNT; f++)
		if (place[f].leaf == leaf && place[f].sub == sub && cpu_has(m, (enum cpu_feature)f))
			*reg_in(r, place[f].reg) |= 1u << place[f].bit;
}

static void
put_text(const char *text, size_t at, struct cpuid_regs *r)
{
	char part[16] = { 0 };
	size_t len = strlen(text);

	if (at < len)
		memcpy(part, text + at, len - at < sizeof(part) ? len - at : sizeof(part));
	memcpy(&r->eax, part, 4);
	memcpy(&r->ebx, part + 4, 4);
	memcpy(&r->ecx, part + 8, 4);
	memcpy(&r->edx, part + 12, 4);
}

/* Leaf 0's order: EBX, EDX, ECX. */
static void
vendor(struct cpuid_regs *r)
{
	memcpy(&r->ebx, "Auth", 4);
	memcpy(&r->edx, "enti", 4);
	memcpy(&r->ecx, "cAMD", 4);
}

/* Bits of an APIC id that number the cores of the one package. */
static unsigned
core_bits(const struct cpu_model *m)
{
	return m->cpus <= 1 ? 0 : 32 - (unsigned)__builtin_clz(m->cpus - 1);
}

static void
leaf_1(const struct cpu *c, struct cpuid_regs *r)
{
	const struct cpu_model *m = c->model;
	enum { HT = 1 << 28, OSXSAVE = 1 << 27, APIC = 1 << 9 };

	r->eax = SIGNATURE;
	r->ebx = c->index << 24 | (m->cpus & 0xff) << 16 | LINE / 8 << 8;
	if (m->cpus > 1)
		r->edx |= HT;
	if (cr4_osxsave(&c->r))
		r->ecx |= OSXSAVE;
	if (!ia32_apic_base_en(&c->r))
		r->edx &= ~(uint32_t)APIC;
}

/* Extended topology: one thread a core, N cores a package (SDM vol. 2A, leaf 0BH). */
static void
leaf_b(const struct cpu *c, uint32_t sub, struct cpuid_regs *r)
{
	enum { SMT = 1 << 8, CORE = 2 << 8 };

	r->ecx = sub & 0xff;
	r->edx = c->index;
	if (sub == 0) {
		r->ebx = 1;
		r->ecx |= SMT;
	} else if (sub == 1) {
		r->eax = core_bits(c->model);
		r->ebx = c->model->cpus;
		r->ecx |= CORE;
	}
}

static uint32_t
xsave_size(uint64_t xcr0)
{
	return xcr0 & xcr0_avx_MASK ? XSAVE_SIZE : XSAVE_LEGACY + XSAVE_HEADER;
}

static void
leaf_d(const struct cpu *c, uint32_t sub, struct cpuid_regs *r)
{
	const struct cpu_model *m = c->model;

	if (!cpu_has(m, CPUF_xsave))
		return;
	if (sub == 0) {
		r->eax = (uint32_t)m->xcr0;
		r->ebx = xsave_size(c->r.xcr0);
		r->ecx = xsave_size(m->xcr0);
		r->edx = (uint32_t)(m->xcr0 >> 32);
	} else if (sub == 1 && cpu_has(m, CPUF_xsavec)) {
		r->ebx = xsave_size(c->r.xcr0);
	} else if (sub == xcr0_avx_SHIFT && m->xcr0 & xcr0_avx_MASK) {
		r->eax = XSAVE_SIZE - XSAVE_YMMH;
		r->ebx = XSAVE_YMMH;
	}
}

/* AMD repeats here what leaf 1 says. */
static void
leaf_80000001(const struct cpu *c, struct cpuid_regs *r)
{
	struct cpuid_regs base = { 0 };
	enum { REPEATED = 0x0183f3ff, CMP_LEGACY = 1 << 1 };

	add_features(c->model, 1, 0, &base);
	leaf_1(c, &base);
	r->eax = SIGNATURE;
	r->edx |= base.edx & REPEATED;
	if (c->model->cpus > 1)
		r->ecx |= CMP_LEGACY;
}

/* Cache parameters (AMD APM vol. 3, E.4.16); the same caches as in leaves 80000005h and 6. */
static void
leaf_8000001d(const struct cpu *c, uint32_t sub, struct cpuid_regs *r)
{
	static const struct { uint8_t type, level, ways; uint32_t sets; bool shared; } cache[] = {
		{ 1, 1, 8, 64, false },		/* 32 KiB data */
		{ 2, 1, 8, 64, false },		/* 32 KiB instructions */
		{ 3, 2, 8, 1024, false },	/* 512 KiB */
		{ 3, 3, 16, 16384, true },	/* 16 MiB */
	};
	enum { SELF_INIT = 1 << 8, INCLUSIVE = 1 << 1 };

	if (sub >= sizeof(cache) / sizeof(cache[0]))
		return;
	r->eax = cache[sub].type | (uint32_t)cache[sub].level << 5 | SELF_INIT;
	if (cache[sub].shared)
		r->eax |= (c->model->cpus - 1) << 14;
	r->ebx = (LINE - 1) | (uint32_t)(cache[sub].ways - 1) << 22;
	r->ecx = cache[sub].sets - 1;
	r->edx = cache[sub].level == 2 ? INCLUSIVE : 0;
}

static void
leaf_hypervisor(const struct cpu *c, uint32_t leaf, struct cpuid_regs *r)
{
	enum { SIGN = 0x40000000, CLOCKS = 0x40000010 };

	if (leaf == SIGN) {
		r->eax = SIGN + MAX_HYPERVISOR;
		memcpy(&r->ebx, "KVMK", 4);
		memcpy(&r->ecx, "VMKV", 4);
		memcpy(&r->edx, "M\0\0\0", 4);
	} else if (leaf == CLOCKS) {
		r->eax = (uint32_t)c->model->tsc_khz;
		r->ebx = (uint32_t)c->model->apic_khz;
	}
}

static void
leaf_extended(const struct cpu *c, uint32_t leaf, uint32_t sub, struct cpuid_regs *r)
{
	static const char brand[] = "Regent Virtual CPU v1";
	const struct cpu_model *m = c->model;
	enum { L1_CACHE = 32 << 24 | 8 << 16 | 1 << 8 | LINE, L2_TLB = 0x68004200,
		L2_CACHE = 512 << 16 | 6 << 12 | 1 << 8 | LINE, L3_CACHE = 32 << 18 | 9 << 12 | 1 << 8 | LINE };

	switch (leaf & 0xffff) {
	case 0:
		r->eax = 0x80000000u + MAX_EXTENDED;
		vendor(r);
		break;
	case 1: leaf_80000001(c, r); break;
	case 2: case 3: case 4: put_text(brand, 16 * ((leaf & 0xffff) - 2), r); break;
	case 5: *r = (struct cpuid_regs){ PAGE_TLB, PAGE_TLB, L1_CACHE, L1_CACHE }; break;
	case 6: *r = (struct cpuid_regs){ L2_TLB, L2_TLB, L2_CACHE, L3_CACHE }; break;
	case 8:
		r->eax = (uint32_t)m->lin_bits << 8 | m->phys_bits;
		r->ecx = (m->cpus - 1) | core_bits(m) << 12;
		break;
	case 0x1d: if (cpu_has(m, CPUF_topoext)) leaf_8000001d(c, sub, r); break;
	case 0x1e:
		if (!cpu_has(m, CPUF_topoext))
			break;
		r->eax = c->index;
		r->ebx = c->index & 0xff;
		break;
	default: break;
	}
}

void
cpuid_answer(const struct cpu *c, uint32_t leaf, uint32_t sub, struct cpuid_regs *out)
{
	struct cpuid_regs r = { 0 };
	bool has_subleaves = leaf == 0x7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;

	add_features(c->model, leaf, has_subleaves ? sub : 0, &r);
	switch (leaf) {
	case 0:
		r.eax = MAX_BASIC;
		vendor(&r);
		break;
	case 1: leaf_1(c, &r); break;
	case 0xb: leaf_b(c, sub, &r); break;
	case 0xd: leaf_d(c, sub, &r); break;
	default:
		if (leaf >> 16 == 0x8000)
			leaf_extended(c, leaf, sub, &r);
		else if (leaf >> 8 == 0x400000 && cpu_has(c->model, CPUF_hypervisor))
			leaf_hypervisor(c, leaf, &r);
	}
	if (c->policy != NULL && c->policy->cpuid)
		policy_cpuid(c, leaf, has_subleaves ? sub : 0, &r);
	*out = r;
}
