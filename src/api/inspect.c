/* SPDX-License-Identifier: Apache-2.0 */
/* api/inspect.c - what can be seen of a machine: registers while it stands, counters at any time. */
#include "api/vm.h"
#include "vm/sched.h"
#include "cpu/access.h"
#include "cpu/sysreg.h"
#include <string.h>

/* ---- registers of a running VM ---- */

/* Whether registers may be touched now. */
static bool
vm_stands(struct vm *vm)
{
	bool yes;

	pthread_mutex_lock(&vm->lock);
	yes = !vm->started || vm->end != VM_running || (vm->pause && vm->paused == vm->cpus);
	pthread_mutex_unlock(&vm->lock);
	return yes;
}

/* The vCPU whose register id may be touched, or NULL with *rc. */
static struct vcpu *
reg_vcpu(struct regent_vm *v, unsigned cpu, unsigned id, int *rc)
{
	*rc = id >= REG__COUNT || cpu >= v->vm->cpus ? -REGENT_E_noreg
	      : vm_stands(v->vm)                     ? 0
						     : -REGENT_E_state;
	return *rc == 0 ? v->vm->vcpu[cpu] : NULL;
}

int
regent_reg_get(struct regent_vm *v, unsigned cpu, unsigned id, uint64_t *val)
{
	int rc;
	struct vcpu *vc = reg_vcpu(v, cpu, id, &rc);
	struct cpu *c;

	if (vc == NULL)
		return rc;
	c = &vc->cpu;
	if (id == REG_cr8 && !c->kernel_chips)
		*val = c->ops->tpr_get(c);
	else if (id == REG_ia32_tsc)
		*val = c->ops->tsc(c);
	else if ((rc = vc->engine->fetch(c, GROUP_BIT(reg_desc[id].group))) == 0)
		*val = c->r.v[id];
	return rc;
}

int
regent_reg_set(struct regent_vm *v, unsigned cpu, unsigned id, uint64_t val)
{
	int rc;
	struct vcpu *vc = reg_vcpu(v, cpu, id, &rc);

	if (vc == NULL)
		return rc;
	if (vc->engine->fetch(&vc->cpu, GROUP_ALL & ~(vc->cpu.valid | vc->cpu.dirty)) != 0)
		return -REGENT_E_host;
	vc->cpu.valid = GROUP_ALL;
	if (reg_guest_write(&vc->cpu, (int)id, val) != OK)
		return -REGENT_E_usage;
	vc->cpu.dirty |= GROUP_BIT(reg_desc[id].group);
	tlb_flush_all(&vc->cpu, true);
	cpu_mode_update(&vc->cpu);
	return 0;
}

/* ---- counters ---- */

static double
seconds_between(const struct timespec *a, const struct timespec *b)
{
	return (double)(b->tv_sec - a->tv_sec) + (double)(b->tv_nsec - a->tv_nsec) / 1e9;
}

/* Where the count of that name is, or goes; NULL: there is no room. Different processors may have
 * met different instructions. */
static uint64_t *
counter_slot(struct regent_stats *st, const char *name)
{
	enum { MOST = sizeof(st->counters) / sizeof(st->counters[0]) };

	for (unsigned n = 0; n < st->ncounters; n++)
		if (strcmp(st->counters[n].name, name) == 0)
			return &st->counters[n].count;
	if (st->ncounters == MOST)
		return NULL;
	st->counters[st->ncounters].name = name;
	return &st->counters[st->ncounters++].count;
}

/* The engines' own counts, summed over the vCPUs. */
static void
add_counters(const struct vm *vm, struct regent_stats *st)
{
	struct counter c[sizeof(st->counters) / sizeof(st->counters[0])];
	unsigned got;
	uint64_t *slot;

	for (unsigned i = 0; i < vm->cpus; i++) {
		const struct vcpu *vc = vm->vcpu[i];

		got = vc->engine->counters == NULL ? 0
		      : vc->engine->counters(&vc->cpu, c, sizeof(c) / sizeof(c[0]));
		for (unsigned n = 0; n < got; n++)
			if ((slot = counter_slot(st, c[n].name)) != NULL)
				*slot += c[n].count;
	}
}

/* What the vCPUs took of the host's processors, and how often a thread changed to one of them. */
static void
add_times(const struct vm *vm, struct regent_stats *st)
{
	struct timespec ts, none = { 0 };
	clockid_t clock;

	for (unsigned i = 0; i < vm->cpus; i++) {
		const struct vcpu *vc = vm->vcpu[i];

		st->switches += vc->switches;
		if (vc->sched != NULL)
			st->cpu_seconds += (double)sched_ran(vc) / (double)clock_host_khz() / 1e3;
		else if (vc->thread_started && pthread_getcpuclockid(vc->thread, &clock) == 0 &&
			 clock_gettime(clock, &ts) == 0)
			st->cpu_seconds += seconds_between(&none, &ts);
	}
}

int
regent_stats(struct regent_vm *v, struct regent_stats *out)
{
	static const char *const kinds[] = {
#define X(kind, handler) #kind,
#include "vm/exits.def"
#undef X
	};
	struct regent_stats st = { .size = out->size, .engine = v->engine };
	struct timespec now = v->end;

	add_times(v->vm, &st);
	if (!v->ended)
		clock_gettime(CLOCK_MONOTONIC, &now);
	st.seconds = v->started ? seconds_between(&v->start, &now) : 0;
	for (unsigned i = 0; i < v->vm->cpus; i++)
		if (v->vm->counted || v->vm->vcpu[i]->engine->counts)
			st.instructions += v->vm->vcpu[i]->cpu.retired;
	for (unsigned k = 0; k < EXIT__COUNT; k++) {
		st.exits[k].kind = kinds[k];
		for (unsigned i = 0; i < v->vm->cpus; i++)
			st.exits[k].count += v->vm->vcpu[i]->exits[k];
	}
	st.nexits = EXIT__COUNT;
	add_counters(v->vm, &st);
	memcpy(out, &st, out->size < sizeof(st) ? out->size : sizeof(st));
	return 0;
}
