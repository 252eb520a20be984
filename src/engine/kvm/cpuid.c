/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/cpuid.c - CPUID: our model, cut down to what this kernel can show a guest. */
#include "engine/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CPUID_ENTRIES = 200 };

/* What needs nothing of the processor or the kernel: the board's own APIC, leaves that only describe the
 * machine, a prefetch that may do nothing, and the TSC that we make constant. */
static bool
is_ours(enum cpu_feature f)
{
	return f == CPUF_apic || f == CPUF_x2apic || f == CPUF_tsc_deadline || f == CPUF_hypervisor ||
		f == CPUF_topoext || f == CPUF_prefetchw || f == CPUF_constant_tsc;
}

/* What AMD's manuals list and every Intel processor does without a bit for it: MMX's extensions came with SSE, restoring
 * an image brings back error pointers, LFENCE waits, a null selector clears the base; no branch has a type to confuse. */
static bool
is_intels(enum cpu_feature f)
{
	static const uint16_t those[] = { CPUF_mmxext, CPUF_xsaveerptr, CPUF_lfence_rdtsc, CPUF_null_sel_clr_base, CPUF_ibpb_brtype };
	unsigned a, b = 0, c = 0, d;

	for (unsigned i = 0; i < sizeof(those) / sizeof(those[0]); i++)
		if (those[i] == f)
			return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx && c == signature_INTEL_ecx;
	return false;
}

static bool
kvm_has(void *ctx, enum cpu_feature f)
{
	const struct kvm_cpuid2 *table = ctx;
	uint32_t leaf, sub;
	unsigned reg, bit;

	cpu_feature_place(f, &leaf, &sub, &reg, &bit);
	for (unsigned i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &table->entries[i];
		const uint32_t regs[] = { e->eax, e->ebx, e->ecx, e->edx };

		if (e->function == leaf && e->index == sub && regs[reg] >> bit & 1)
			return true;
	}
	return is_ours(f) || is_intels(f);
}

static struct kvm_cpuid2 *
table_new(void)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + CPUID_ENTRIES * sizeof(table->entries[0]));

	if (table == NULL)
		engine_fail("no memory for a table of CPUID; free some");
	return table;
}

/* Says nothing when the kernel can't be asked: open will. */
void
kvm_limit(struct cpu_model *m, char *lost, size_t lost_size)
{
	struct kvm_cpuid2 *table = table_new();
	int sys = kvm_device_open();

	if (table != NULL && sys >= 0) {
		table->nent = CPUID_ENTRIES;
		if (KVM_CALL(sys, KVM_GET_SUPPORTED_CPUID, table) == 0)
			cpu_model_limit(m, kvm_has, table, lost, lost_size);
	}
	if (sys >= 0)
		close(sys);
	free(table);
}

/* Leaves with their subleaves, as the model answers them. */
static const struct {
	uint32_t first, last, subleaves;	/* subleaves 0: the leaf has none */
} leaves[] = {
	{ 0x0, 0x3, 0 }, { 0x4, 0x4, 4 }, { 0x5, 0x6, 0 }, { 0x7, 0x7, 2 }, { 0x9, 0xa, 0 }, { 0xb, 0xb, 3 },
	{ 0xd, 0xd, 3 }, { 0x14, 0x16, 0 }, { 0x40000000, 0x40000001, 0 }, { 0x40000010, 0x40000010, 0 },
	{ 0x80000000, 0x80000008, 0 }, { 0x8000001a, 0x8000001a, 0 }, { 0x8000001d, 0x8000001d, 4 },
	{ 0x8000001e, 0x80000021, 0 },
};

static void
fill(const struct cpu *c, struct kvm_cpuid2 *table)
{
	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		for (uint32_t leaf = leaves[i].first; leaf <= leaves[i].last; leaf++)
			for (uint32_t sub = 0; sub == 0 || sub < leaves[i].subleaves; sub++) {
				struct kvm_cpuid_entry2 *e = &table->entries[table->nent++];
				struct cpuid_regs r;

				cpuid_answer(c, leaf, sub, &r);
				*e = (struct kvm_cpuid_entry2){ .function = leaf, .index = sub,
					.flags = leaves[i].subleaves > 0 ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
					.eax = r.eax, .ebx = r.ebx, .ecx = r.ecx, .edx = r.edx };
			}
}

/* The kernel does not say which leaf it minds: without that one it takes the others. */
static int
name_culprit(struct cpu *c, struct kvm_cpuid2 *table)
{
	for (unsigned i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 left = table->entries[i];

		table->entries[i].eax = table->entries[i].ebx = table->entries[i].ecx = table->entries[i].edx = 0;
		if (ioctl(c->kvm->fd, KVM_SET_CPUID2, table) == 0)
			return engine_fail("KVM_SET_CPUID2: refuses leaf %#x, subleaf %u; take away features of it by --cpu, or choose --engine bt",
				left.function, left.index);
		table->entries[i] = left;
	}
	return engine_fail("KVM_SET_CPUID2: refuses CPU model %s; choose another --cpu, or --engine bt", c->model->name);
}

int
kvm_cpuid_set(struct cpu *c)
{
	struct kvm_cpuid2 *table = table_new();
	int err;

	if (table == NULL)
		return -1;
	fill(c, table);
	err = VCPU_CALL(c->kvm, KVM_SET_CPUID2, table);
	if (err != 0 && errno == EINVAL)
		err = name_culprit(c, table);
	free(table);
	return err;
}
