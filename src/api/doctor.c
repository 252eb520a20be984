/* SPDX-License-Identifier: Apache-2.0 */
/* api/doctor.c - what on this host decides about engines, row by row; a processor after RESET, by engine. */
#include "api/api.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "engine/engine.h"
#include "host/code.h"
#include "vm/vm.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GOOD = 1, IN_THE_WAY = 0, SLOWER = -1 };

static void
say(struct regent_finding *f, int ok, const char *what, const char *how, const char *remedy)
{
	f->ok = ok;
	snprintf(f->what, sizeof(f->what), "%s", what);
	snprintf(f->how, sizeof(f->how), "%s", how);
	snprintf(f->remedy, sizeof(f->remedy), "%s", ok == GOOD ? "" : remedy);
}

/* ---- the first rows: one function each ---- */

static void
choice(struct regent_finding *f)
{
	struct kvm_answer a;

	if (kvm_usable(&a) == 0)
		say(f, GOOD, "--engine auto", "kvm", "");
	else
		say(f, GOOD, "--engine auto", regent_engine_name(0), "");
}

static void
device(struct regent_finding *f)
{
	if (access("/dev/kvm", F_OK) != 0)
		say(f, IN_THE_WAY, "/dev/kvm", "there is none",
			"load kvm_intel or kvm_amd, and switch virtualization on in the firmware; a guest needs it nested");
	else if (access("/dev/kvm", R_OK | W_OK) != 0)
		say(f, IN_THE_WAY, "/dev/kvm", "not to be opened by this user", "become a member of its group (kvm), then log in again");
	else
		say(f, GOOD, "/dev/kvm", "there", "");
}

static void
kernels(struct regent_finding *f)
{
	struct kvm_answer a;

	if (kvm_usable(&a) == 0)
		say(f, GOOD, "unmodified kernels", "KVM runs what a kernel runs at boot", "");
	else
		say(f, IN_THE_WAY, "unmodified kernels", a.why, a.remedy);
}

static void
features(struct regent_finding *f)
{
	struct cpu_model m;
	char err[128], lost[512] = "";

	if (cpu_model_make(&m, NULL, false, err, sizeof(err), lost, sizeof(lost)) == 0 && kvm_engine.limit != NULL)
		kvm_engine.limit(&m, lost, sizeof(lost));
	say(f, lost[0] == '\0' ? GOOD : SLOWER, "CPU features of regent-v1 with kvm", lost[0] == '\0' ? "all" : lost,
		"guests of kvm do without these; --engine bt has those that software can do");
}

static void
translator(struct regent_finding *f)
{
	struct code_map m;

	if (code_map_open(&m, 1 << 20) != 0) {
		say(f, IN_THE_WAY, "executable memory (bt)", "refused", "allow memfd_create and executable mappings, or use --engine interp");
		return;
	}
	code_map_close(&m);
	say(f, GOOD, "executable memory (bt)", "there", "");
}

static void (*const row[])(struct regent_finding *f) = { choice, device, kernels, features, translator };
enum { ROWS = sizeof(row) / sizeof(row[0]) };

/* ---- then KVM's capabilities ---- */

static int
capability(unsigned n, struct regent_finding *f)
{
	struct kvm_finding k;

	if (!kvm_finding(n, &k))
		return 0;
	say(f, k.has ? GOOD : k.needed ? IN_THE_WAY : SLOWER, k.what, k.has ? "there" : "missing",
		k.needed ? "update the kernel to Linux 5.10 or later" : "interrupt controllers are emulated by Regent instead; update the kernel");
	return 1;
}

int
regent_doctor(unsigned n, struct regent_finding *out)
{
	struct regent_finding f = { .size = out->size };

	if (n < ROWS)
		row[n](&f);
	else if (!capability(n - ROWS, &f))
		return 0;
	memcpy(out, &f, out->size < sizeof(f) ? out->size : sizeof(f));
	return 1;
}

/* An entry that begins no instruction: behind it the registers are the engine's. */
static int
touch(struct vm *vm)
{
	struct cpu *c = &vm->vcpu[0]->cpu;
	const struct engine *e = vm->vcpu[0]->engine;
	struct vexit x = { .kind = EXIT_attend };
	int err;

	cpu_ask(c, ATT_kick);
	cpu_guest_enter(c);
	err = e->store(c, c->dirty) != 0 || e->run(c, &x) != 0 || e->fetch(c, GROUP_ALL & ~x.carried) != 0;
	cpu_guest_leave(c);
	return err != 0 ? -1 : 0;
}

int
regent_reset_state(const char *engine, const char *model, uint64_t *values)
{
	struct vm_config cfg = { .memory = 2 << 20, .cpus = 1, .engine = engine_by_name(engine), .cpu_spec = model };
	char err[256] = "";
	struct vm *vm;
	int rc = 0;

	if (cfg.engine == NULL)
		return regent_open_fail(REGENT_E_engine, "--engine", "is not built in; see `regent cpus` for what is");
	if ((vm = vm_open(&cfg, err, sizeof(err))) == NULL)
		return regent_open_fail(REGENT_E_engine, "--engine, --cpu", err);
	if (vm_ready(vm, err, sizeof(err)) != 0 || touch(vm) != 0)
		rc = regent_open_fail(REGENT_E_engine, "--engine", engine_why());
	else
		memcpy(values, vm->vcpu[0]->cpu.r.v, sizeof(vm->vcpu[0]->cpu.r.v));
	vm_close(vm);
	return rc;
}
