/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/cpuid.h - CPU models: what CPUID shows, made from cpuid.def; named and versioned. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;
struct cpuid_regs { uint32_t eax, ebx, ecx, edx; };

enum cpu_feature {
	CPUF_always,
#define F(name, ...) CPUF_##name,
#include "cpu/cpuid.def"
#undef F
	CPUF__COUNT
};

struct cpu_model {
	char name[256];			/* "regent-v1,+avx,-pcid" as asked */
	uint64_t features[(CPUF__COUNT + 63) / 64];
	unsigned cpus;			/* for topology leaves */
	uint64_t tsc_khz, apic_khz;
	uint8_t phys_bits, lin_bits;
	uint64_t xcr0;			/* all XCR0 bits that this model has */
};

/* Parse "NAME[,+feature][,-feature]". software: the engine is bt or interp (regent-bt-* allowed).
 * 0, or -1 with a one-line reason in err. What the host lacks is removed and listed in `lost`. */
int cpu_model_make(struct cpu_model *m, const char *spec, bool software, char *err, size_t err_size,
	char *lost, size_t lost_size);
/* Take away what has() does not answer for, and what builds on it; the names are added to `lost`. */
void cpu_model_limit(struct cpu_model *m, bool (*has)(void *ctx, enum cpu_feature f), void *ctx, char *lost,
	size_t lost_size);
static inline bool cpu_has(const struct cpu_model *m, enum cpu_feature f)
	{ return m->features[f / 64] >> (f % 64) & 1; }

/* What CPUID answers on this cpu (CR4.OSXSAVE, XCR0 and APIC id folded in). */
void cpuid_answer(const struct cpu *c, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);

/* The models and features, for `regent cpus`; NULL behind the last. */
const char *cpu_model_name(unsigned n, const char **about);
const char *cpu_feature_name(enum cpu_feature f);
bool cpu_feature_on_host(enum cpu_feature f);
bool cpu_feature_offered(enum cpu_feature f);	/* some model has it, or +name gives it */
/* Where CPUID shows it; reg 0 to 3 is EAX to EDX. */
void cpu_feature_place(enum cpu_feature f, uint32_t *leaf, uint32_t *sub, unsigned *reg, unsigned *bit);
