/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/model.c - CPU models: named sets of features, and "NAME,+feature,-feature" made into one. */
#include "cpu/cpuid.h"
#include "cpu/regs.h"
#include <cpuid.h>
#include <immintrin.h>
#include <stdio.h>
#include <string.h>

enum { PHYS_BITS = 40, LIN_BITS = 48 };	/* frozen with the models */

enum in { IN_v1, IN_bt, IN_opt, IN_no };
enum host { HOST_need, HOST_soft };
enum reg_of_cpuid { eax, ebx, ecx, edx };

static const struct feature {
	const char *name;
	uint32_t leaf, sub;
	uint8_t reg, bit, in, host;
} feature[CPUF__COUNT] = {
	[CPUF_always] = { .name = "always", .in = IN_v1, .host = HOST_soft },
#define F(name_, leaf_, sub_, reg_, bit_, in_, host_) \
	[CPUF_##name_] = { #name_, leaf_, sub_, reg_, bit_, IN_##in_, HOST_##host_ },
#include "cpu/cpuid.def"
#undef F
};

/* Other spellings that people try. */
static const struct { const char *name; uint16_t f; } alias[] = {
	{ "clflush", CPUF_clfsh }, { "3dnowprefetch", CPUF_prefetchw }, { "pni", CPUF_sse3 },
	{ "sha_ni", CPUF_sha }, { "lzcnt", CPUF_abm }, { "pclmul", CPUF_pclmulqdq },
	{ "tsc_deadline_timer", CPUF_tsc_deadline }, { "invtsc", CPUF_constant_tsc },
};

static const struct { uint16_t f, needs; } needs[] = {
	{ CPUF_sse, CPUF_fxsr }, { CPUF_sse2, CPUF_sse }, { CPUF_sse3, CPUF_sse2 }, { CPUF_ssse3, CPUF_sse3 },
	{ CPUF_sse4_1, CPUF_ssse3 }, { CPUF_sse4_2, CPUF_sse4_1 }, { CPUF_aes, CPUF_sse2 },
	{ CPUF_pclmulqdq, CPUF_sse2 }, { CPUF_sha, CPUF_ssse3 }, { CPUF_avx, CPUF_xsave }, { CPUF_avx, CPUF_sse4_2 },
	{ CPUF_avx2, CPUF_avx }, { CPUF_fma, CPUF_avx }, { CPUF_f16c, CPUF_avx }, { CPUF_xsave, CPUF_fxsr },
	{ CPUF_xsaveopt, CPUF_xsave }, { CPUF_xsavec, CPUF_xsave }, { CPUF_xgetbv1, CPUF_xsave },
	{ CPUF_x2apic, CPUF_apic }, { CPUF_tsc_deadline, CPUF_apic }, { CPUF_tsc_adjust, CPUF_tsc },
	{ CPUF_rdtscp, CPUF_tsc }, { CPUF_constant_tsc, CPUF_tsc }, { CPUF_lm, CPUF_pae }, { CPUF_pcid, CPUF_lm },
	{ CPUF_kvm_clock, CPUF_hypervisor }, { CPUF_kvm_clock_stable, CPUF_kvm_clock },
	{ CPUF_ibpb_brtype, CPUF_ibpb }, { CPUF_ibpb_ret, CPUF_ibpb },
};

static const struct { const char *name, *about; uint8_t in; } model[] = {
	{ "regent-v1", "portable: x86-64-v3 with PCID, x2APIC, AES, SHA, XSAVE; the default", IN_v1 },
	{ "regent-bt-v1", "regent-v1, and what is true of software engines only: no speculation to defend against",
		IN_bt },
};
enum { MODELS = sizeof(model) / sizeof(model[0]) };

const char *
cpu_model_name(unsigned n, const char **about)
{
	if (n >= MODELS)
		return NULL;
	if (about != NULL)
		*about = model[n].about;
	return model[n].name;
}

const char *
cpu_feature_name(enum cpu_feature f)
{
	return f < CPUF__COUNT ? feature[f].name : NULL;
}

/* The host's own XCR0, or 0 when its kernel keeps no extended state. */
static uint64_t __attribute__((target("xsave")))
host_xcr0(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 0;
	return (uint64_t)_xgetbv(0);
}

void
cpu_feature_place(enum cpu_feature f, uint32_t *leaf, uint32_t *sub, unsigned *reg, unsigned *bit)
{
	*leaf = feature[f].leaf;
	*sub = feature[f].sub;
	*reg = feature[f].reg;
	*bit = feature[f].bit;
}

bool
cpu_feature_on_host(enum cpu_feature f)
{
	const struct feature *t = &feature[f];
	uint32_t r[4];

	if (t->host == HOST_soft)
		return true;
	if (!__get_cpuid_count(t->leaf, t->sub, &r[0], &r[1], &r[2], &r[3]) || !(r[t->reg] >> t->bit & 1))
		return false;
	if (f == CPUF_xsave)
		return host_xcr0() != 0;
	return f != CPUF_avx || host_xcr0() & xcr0_avx_MASK;
}

bool
cpu_feature_offered(enum cpu_feature f)
{
	return f != CPUF_always && f < CPUF__COUNT && feature[f].in != IN_no;
}

static void
set(struct cpu_model *m, unsigned f, bool on)
{
	uint64_t bit = 1ull << (f % 64);

	m->features[f / 64] = on ? m->features[f / 64] | bit : m->features[f / 64] & ~bit;
}

static int
find(const char *name, size_t len)
{
	unsigned f, i;

	for (f = CPUF_always + 1; f < CPUF__COUNT; f++)
		if (strlen(feature[f].name) == len && memcmp(feature[f].name, name, len) == 0)
			return (int)f;
	for (i = 0; i < sizeof(alias) / sizeof(alias[0]); i++)
		if (strlen(alias[i].name) == len && memcmp(alias[i].name, name, len) == 0)
			return alias[i].f;
	return -1;
}

/* The base model's features; -1 with err when the name or the engine does not fit. */
static int
set_base(struct cpu_model *m, const char *name, size_t len, bool software, char *err, size_t size)
{
	unsigned n, f;

	for (n = 0; n < MODELS; n++)
		if (strlen(model[n].name) == len && memcmp(model[n].name, name, len) == 0)
			break;
	if (n == MODELS) {
		snprintf(err, size, "unknown CPU model '%.*s': 'regent cpus' lists them", (int)len, name);
		return -1;
	}
	if (model[n].in == IN_bt && !software) {
		snprintf(err, size, "CPU model %s needs a software engine: use --engine interp, or --cpu %s",
			model[n].name, model[0].name);
		return -1;
	}
	for (f = 0; f < CPUF__COUNT; f++)
		set(m, f, feature[f].in <= model[n].in);
	return 0;
}

/* One "+feature" or "-feature". */
static int
adjust(struct cpu_model *m, const char *word, size_t len, bool software, char *err, size_t size)
{
	bool on = word[0] == '+';
	int f;

	if (len < 2 || (word[0] != '+' && word[0] != '-')) {
		snprintf(err, size, "bad CPU '%.*s': write NAME,+feature,-feature", (int)len, word);
		return -1;
	}
	f = find(word + 1, len - 1);
	if (f < 0) {
		snprintf(err, size, "unknown CPU feature '%.*s': 'regent cpus' lists them", (int)len - 1, word + 1);
		return -1;
	}
	if (on && (feature[f].in == IN_no || (feature[f].in == IN_bt && !software))) {
		snprintf(err, size, "CPU feature '%s' is not provided%s", feature[f].name,
			feature[f].in == IN_bt ? " by this engine" : "");
		return -1;
	}
	set(m, (unsigned)f, on);
	return 0;
}

static void
add_name(char *list, size_t size, const char *name)
{
	size_t len = strlen(list);

	if (size > len)
		snprintf(list + len, size - len, "%s%s", len == 0 ? "" : ",", name);
}

/* A feature goes with the one that it builds on. */
static void
drop_orphans(struct cpu_model *m)
{
	bool again;
	unsigned i;

	do {
		again = false;
		for (i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
			if (cpu_has(m, needs[i].f) && !cpu_has(m, needs[i].needs)) {
				set(m, needs[i].f, false);
				again = true;
			}
	} while (again);
}

static void
set_xcr0(struct cpu_model *m)
{
	m->xcr0 = cpu_has(m, CPUF_xsave) ? xcr0_x87_MASK | xcr0_sse_MASK : 0;
	if (cpu_has(m, CPUF_avx))
		m->xcr0 |= xcr0_avx_MASK;
}

static bool
host_has(void *ctx, enum cpu_feature f)
{
	(void)ctx;
	return cpu_feature_on_host(f);
}

void
cpu_model_limit(struct cpu_model *m, bool (*has)(void *ctx, enum cpu_feature f), void *ctx, char *lost, size_t size)
{
	struct cpu_model before = *m;
	unsigned f;

	for (f = CPUF_always + 1; f < CPUF__COUNT; f++)
		if (cpu_has(m, (enum cpu_feature)f) && !has(ctx, (enum cpu_feature)f))
			set(m, f, false);
	drop_orphans(m);
	set_xcr0(m);
	for (f = CPUF_always + 1; f < CPUF__COUNT; f++)
		if (cpu_has(&before, (enum cpu_feature)f) && !cpu_has(m, (enum cpu_feature)f))
			add_name(lost, size, feature[f].name);
}

/* What was asked for with + and fell with what it needs is an error, not a silent loss. */
static int
check_asked(const struct cpu_model *m, const char *spec, char *err, size_t size)
{
	const char *word = strchr(spec, ',');
	size_t len;
	int f;

	for (; word != NULL; word = strchr(word, ',')) {
		word++;
		len = strcspn(word, ",");
		f = word[0] == '+' ? find(word + 1, len - 1) : -1;
		if (f >= 0 && !cpu_has(m, (enum cpu_feature)f)) {
			snprintf(err, size, "CPU feature '%s' needs another that '%s' takes away", feature[f].name, spec);
			return -1;
		}
	}
	return 0;
}

int
cpu_model_make(struct cpu_model *m, const char *spec, bool software, char *err, size_t err_size,
	char *lost, size_t lost_size)
{
	const char *word;
	size_t len;

	if (lost_size > 0)
		lost[0] = '\0';
	if (spec == NULL || spec[0] == '\0')
		spec = model[0].name;
	memset(m, 0, sizeof(*m));
	if (strlen(spec) >= sizeof(m->name)) {
		snprintf(err, err_size, "CPU '%.40s...' is too long", spec);
		return -1;
	}
	memcpy(m->name, spec, strlen(spec));
	m->cpus = 1;
	m->phys_bits = PHYS_BITS;
	m->lin_bits = LIN_BITS;
	len = strcspn(spec, ",");
	if (set_base(m, spec, len, software, err, err_size) != 0)
		return -1;
	for (word = spec + len; *word == ','; word += len) {
		word++;
		len = strcspn(word, ",");
		if (adjust(m, word, len, software, err, err_size) != 0)
			return -1;
	}
	drop_orphans(m);
	if (check_asked(m, spec, err, err_size) != 0)
		return -1;
	cpu_model_limit(m, host_has, NULL, lost, lost_size);
	return 0;
}
