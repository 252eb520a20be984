/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/engines.h - the same cases on every engine; what a weak KVM can't run is skipped with the reason.
 *
 * ENGINES=kvm runs only those named. A KVM that cannot run unmodified kernels (kvm-pvm) emulates ring 0:
 * cases marked `hard` are not for it.
 */
#pragma once
#include "engine/rig.h"
#include <cpuid.h>

static const struct engine *const engines[] = { &interp_engine, &bt_engine, &kvm_engine };
static const struct engine *engine;	/* the one under test */

struct engine_case {
	const char *name;
	void (*test)(void);
	bool hard;
};
#define CASE(test) { #test, test, false }
#define HARD(test) { #test, test, true }

/* The processor that KVM has is QEMU's emulation, with mistakes of its own (CAVEATS.md). */
static inline bool
on_tcg(void)
{
	unsigned a, b, c, d;

	__cpuid(0x40000000, a, b, c, d);
	return engine == &kvm_engine && b == 0x54474354;	/* "TCGT" */
}

/* The same of Bochs'; its processor says what a real one says, so who starts it tells (tests/kvm/run-vmx). */
static inline bool
on_bochs(void)
{
	return engine == &kvm_engine && getenv("KVM_BOCHS") != NULL;
}

static inline void
run_on_engines(const struct engine_case *t, unsigned n)
{
	const char *only = getenv("ENGINES");
	struct kvm_answer kvm;

	for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		bool weak = false;

		engine = engines[i];
		if (only != NULL && strstr(only, engine->name) == NULL)
			continue;
		if (engine == &kvm_engine)
			weak = kvm_usable(&kvm) != 0;
		printf("# %s\n", engine->name);
		for (unsigned k = 0; k < n; k++)
			if (weak && (t[k].hard || strstr(kvm.why, "cannot run unmodified kernels") == NULL))
				printf("skip %s on kvm: /dev/kvm: %s\n", t[k].name, kvm.why);
			else
				check_run(t[k].name, t[k].test);
	}
}
