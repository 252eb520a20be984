/* SPDX-License-Identifier: Apache-2.0 */
/* unit/cpu/cpuid.c - CPU models: parsing, what the host lacks, leaves and topology. */
#include "mmu.h"

static char err[200], lost[200];

static int
make(const char *spec, bool software)
{
	err[0] = '\0';
	return cpu_model_make(&model, spec, software, err, sizeof(err), lost, sizeof(lost));
}

static struct cpuid_regs
ask(uint32_t leaf, uint32_t sub)
{
	struct cpuid_regs r;

	cpuid_answer(c, leaf, sub, &r);
	return r;
}

static void
parsing(void)
{
	CHECK_EQ(make(NULL, true), 0);
	CHECK(strcmp(model.name, "regent-v1") == 0);
	CHECK(cpu_has(&model, CPUF_lm) && cpu_has(&model, CPUF_x2apic) && !cpu_has(&model, CPUF_autoibrs));
	CHECK_EQ(make("regent-bt-v1", true), 0);
	CHECK(cpu_has(&model, CPUF_autoibrs) && cpu_has(&model, CPUF_srso_no) && cpu_has(&model, CPUF_lm));
	CHECK_EQ(make("regent-v1,-x2apic,+serialize", true), 0);
	CHECK(!cpu_has(&model, CPUF_x2apic) && cpu_has(&model, CPUF_serialize));
	CHECK_EQ(make("regent-v1,-avx", true), 0);
	CHECK(!cpu_has(&model, CPUF_avx2) && !cpu_has(&model, CPUF_fma));
	CHECK_EQ(model.xcr0, 3);
	CHECK_EQ(make("regent-v1,-xsave", true), 0);
	CHECK_EQ(model.xcr0, 0);
}

#define TEN ",-avx,-avx,-avx,-avx,-avx,-avx,-avx,-avx,-avx,-avx"

static void
mistakes(void)
{
	static const struct { const char *spec; bool software; const char *says; } row[] = {
		{ "pentium", true, "unknown CPU model 'pentium'" },
		{ "", true, NULL },
		{ ",", true, "unknown CPU model ''" },
		{ "regent-v1,", true, "bad CPU ''" },
		{ "regent-v1,avx", true, "bad CPU 'avx'" },
		{ "regent-v1,+", true, "bad CPU '+'" },
		{ "regent-v1,-nothing", true, "unknown CPU feature 'nothing'" },
		{ "regent-v1,+vmx", true, "'vmx' is not provided" },
		{ "regent-v1,+always", true, "unknown CPU feature" },
		{ "regent-bt-v1", false, "needs a software engine" },
		{ "regent-v1,+srso_no", false, "not provided by this engine" },
		{ "regent-v1,+srso_no", true, NULL },
		{ "regent-v1,+avx2,-avx", true, "'avx2' needs another" },
		{ "regent-v1" TEN TEN TEN TEN TEN TEN, true, "too long" },
	};
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		CHECK_EQ(make(row[i].spec, row[i].software), row[i].says == NULL ? 0 : -1);
		if (row[i].says != NULL && strstr(err, row[i].says) == NULL) {
			printf("# '%s' says '%s'\n", row[i].spec, err);
			check_bad = true;
		}
	}
}

static void
lists(void)
{
	const char *about;
	unsigned n, f;

	for (n = 0; cpu_model_name(n, &about) != NULL; n++)
		CHECK(about[0] != '\0' && make(cpu_model_name(n, NULL), true) == 0);
	CHECK_EQ(n, 2);
	for (f = CPUF_always + 1; f < CPUF__COUNT; f++)
		CHECK(cpu_feature_name((enum cpu_feature)f)[0] != '\0');
	CHECK(cpu_feature_name(CPUF__COUNT) == NULL);
	CHECK(cpu_feature_offered(CPUF_avx) && cpu_feature_offered(CPUF_serialize) && cpu_feature_offered(CPUF_srso_no));
	CHECK(!cpu_feature_offered(CPUF_vmx) && !cpu_feature_offered(CPUF_always));
	/* What the host lacks is lost, and nothing else. */
	make("regent-v1", true);
	for (f = CPUF_always + 1; f < CPUF__COUNT; f++)
		if (cpu_has(&model, (enum cpu_feature)f))
			CHECK(cpu_feature_on_host((enum cpu_feature)f));
}

static void
leaves(void)
{
	char brand[49] = { 0 };
	struct cpuid_regs r;
	unsigned i;

	open_cpu("regent-v1");
	r = ask(0, 0);
	CHECK_EQ(r.eax, 0xd);
	CHECK(memcmp(&r.ebx, "Auth", 4) == 0 && memcmp(&r.edx, "enti", 4) == 0 && memcmp(&r.ecx, "cAMD", 4) == 0);
	CHECK_EQ(ask(1, 0).eax, reg_desc[REG_rdx].reset);	/* the signature that EDX has after RESET */
	CHECK_EQ(ask(1, 0).ecx >> 27 & 1, 0);
	CHECK_EQ(cr_write(c, 4, cr4_osxsave_MASK), OK);
	CHECK_EQ(ask(1, 0).ecx >> 27 & 1, 1);
	for (i = 0; i < 3; i++) {
		r = ask(0x80000002 + i, 0);
		memcpy(brand + 16 * i, &r, 16);
	}
	CHECK(strcmp(brand, "Regent Virtual CPU v1") == 0);
	r = ask(0x40000000, 0);
	CHECK(memcmp(&r.ebx, "KVMKVMKVM\0\0\0", 12) == 0);
	CHECK_EQ(ask(0x40000001, 0).eax, 1 << 3 | 1 << 24);
	CHECK_EQ(ask(0x80000008, 0).eax, 48 << 8 | 40);
	CHECK_EQ(ask(0x80000007, 0).edx, 1 << 8);
	CHECK_EQ(ask(0x80000001, 0).edx & ask(1, 0).edx & 0x3ff, ask(1, 0).edx & 0x3ff);
	CHECK_EQ(ask(7, 1).ebx, 0);
	CHECK_EQ(ask(0x12345, 0).eax, 0);
	CHECK_EQ(ask(0xffffffff, 7).ebx, 0);
	/* CPUID is the instruction: high halves go. */
	c->r.rax = 0x1234567800000000;
	c->r.rcx = UINT64_MAX;
	CHECK_EQ(cpu_cpuid(c), OK);
	CHECK_EQ(c->r.rax, 0xd);
	CHECK_EQ(c->r.rcx >> 32, 0);
	c->r.ia32_apic_base &= ~ia32_apic_base_en_MASK;
	CHECK_EQ(ask(1, 0).edx >> 9 & 1, 0);
	close_cpu();
}

static void
xsave_area(void)
{
	open_cpu("regent-v1");
	if (!cpu_has(&model, CPUF_avx)) {
		close_cpu();
		SKIP("the host has no AVX");
	}
	CHECK_EQ(ask(0xd, 0).eax, 7);
	CHECK_EQ(ask(0xd, 0).ebx, 576);
	CHECK_EQ(ask(0xd, 0).ecx, 832);
	c->r.xcr0 = 7;
	CHECK_EQ(ask(0xd, 0).ebx, 832);
	CHECK_EQ(ask(0xd, 1).ebx, 832);
	CHECK_EQ(ask(0xd, 2).eax, 256);
	CHECK_EQ(ask(0xd, 2).ebx, 576);
	CHECK_EQ(ask(0xd, 3).eax, 0);
	close_cpu();
}

/* N cores of one package: all leaves tell the same story. */
static void
topology(void)
{
	static const struct { unsigned cpus, bits; } row[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 64, 6 } };
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		open_cpu("regent-v1");
		model.cpus = row[i].cpus;
		c->index = row[i].cpus - 1;
		CHECK_EQ(ask(1, 0).ebx >> 16 & 0xff, row[i].cpus);
		CHECK_EQ(ask(1, 0).ebx >> 24, row[i].cpus - 1);
		CHECK_EQ(ask(1, 0).edx >> 28 & 1, row[i].cpus > 1);
		CHECK_EQ(ask(0x80000001, 0).ecx >> 1 & 1, row[i].cpus > 1);
		CHECK_EQ(ask(0xb, 0).eax, 0);
		CHECK_EQ(ask(0xb, 0).ebx, 1);
		CHECK_EQ(ask(0xb, 0).ecx, 0x100);
		CHECK_EQ(ask(0xb, 1).eax, row[i].bits);
		CHECK_EQ(ask(0xb, 1).ebx, row[i].cpus);
		CHECK_EQ(ask(0xb, 1).ecx, 0x201);
		CHECK_EQ(ask(0xb, 1).edx, row[i].cpus - 1);
		CHECK_EQ(ask(0xb, 2).ebx, 0);
		CHECK_EQ(ask(0x80000008, 0).ecx, (row[i].cpus - 1) | row[i].bits << 12);
		CHECK_EQ(ask(0x8000001e, 0).eax, row[i].cpus - 1);
		CHECK_EQ(ask(0x8000001d, 3).eax >> 14, row[i].cpus - 1);
		CHECK_EQ(ask(0x8000001d, 4).eax, 0);
		close_cpu();
	}
}

int
main(void)
{
	RUN(parsing);
	RUN(mistakes);
	RUN(lists);
	RUN(leaves);
	RUN(xsave_area);
	RUN(topology);
	return check_done();
}
