/* SPDX-License-Identifier: Apache-2.0 */
/* vm/vm.c - a virtual machine: opened, started, paused, ended. Threads live here and nowhere below.
 *
 * One thread per vCPU, one service thread for timers (vm/service.c); or those of a pool (vm/sched.c).
 * vm->lock is recursive, since devices ask for things while they hold it.
 */
#include "vm/vm.h"

#include "cpu/access.h"
#include "host/low.h"
#include "vm/service.h"
#include "vm/trace.h"
#include "vm/vcpu.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static void
vm_say(char *err, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, size, fmt, ap);
	va_end(ap);
}

void
vm_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &a);
	pthread_condattr_destroy(&a);
}

static void
earlier_timer(void *ctx)
{
	struct vm *vm = ctx;

	if (vm->service != NULL)
		service_note(vm->service, vm);
}

static void
vcpu_close(struct vcpu *vc)
{
	if (vc == NULL)
		return;
	if (vc->engine_opened)
		vc->engine->close(&vc->cpu);
	cpu_close(&vc->cpu);
	pthread_cond_destroy(&vc->wake);
	low_unmap(vc, sizeof(*vc));
}

static struct vcpu *
vcpu_open(struct vm *vm, unsigned index, const struct vm_config *cfg)
{
	struct vcpu *vc = low_map(sizeof(*vc));		/* where translated code has 32-bit addresses for it */

	if (vc == NULL)
		return NULL;
	vc->vm = vm;
	vc->engine = cfg->engine;
	vm_cond_init(&vc->wake);
	if (cpu_open(&vc->cpu, vm->mem, &vm->model, index) != 0) {
		pthread_cond_destroy(&vc->wake);
		low_unmap(vc, sizeof(*vc));
		return NULL;
	}
	vc->cpu.ops = &vcpu_cpu_ops;
	vc->cpu.owner = vc;
	vc->cpu.code_cache = cfg->code_cache;
	vc->cpu.kernel_chips = cfg->kernel_chips && cfg->engine->kernel_chips;
	vc->cpu.code_log = cfg->code_log;
	vc->cpu.userspace = &vm->userspace;
	vc->cpu.user_watch = true;
	policy_adopt(&vc->cpu, vm->policy);
	if (cfg->engine->open(&vc->cpu) != 0) {
		vcpu_close(vc);
		return NULL;
	}
	vc->engine_opened = true;
	return vc;
}

static void
lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(lock, &a);
	pthread_mutexattr_destroy(&a);
}

static int
vm_open_cpus(struct vm *vm, const struct vm_config *cfg, char *err, size_t err_size)
{
	char hidden[1024] = "";
	const char *spec = cfg->cpu_spec != NULL ? cfg->cpu_spec : cfg->engine->model;

	if (cpu_model_make(&vm->model, spec, cfg->engine->software, err, err_size, vm->lost,
	    sizeof(vm->lost)) != 0)
		return -1;
	if (cfg->engine->limit != NULL)
		cfg->engine->limit(&vm->model, vm->lost, sizeof(vm->lost));
	if (vm->policy != NULL)
		policy_limit(vm->policy, &vm->model, hidden, sizeof(hidden));
	vm->model.cpus = cfg->cpus;
	vm->model.tsc_khz = clock_tsc_khz(vm->clock);
	for (unsigned i = 0; i < cfg->cpus; i++) {
		if ((vm->vcpu[i] = vcpu_open(vm, i, cfg)) == NULL) {
			vm_say(err, err_size, "engine %s can't start vCPU %u: %s", cfg->engine->name, i,
			    engine_why()[0] != '\0' ? engine_why() : strerror(errno));
			return -1;
		}
		vm->cpus++;
	}
	return 0;
}

struct vm *
vm_open(const struct vm_config *cfg, char *err, size_t err_size)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (vm == NULL) {
		vm_say(err, err_size, "out of memory");
		policy_free(cfg->policy);
		return NULL;
	}
	vm->policy = cfg->policy;
	lock_init(&vm->lock);
	vm_cond_init(&vm->changed);
	vm->counted = cfg->counted_clock;
	if (cfg->cpus == 0 || cfg->cpus > VM_CPUS_MAX) {
		vm_say(err, err_size, "%u processors: choose 1 to %d", cfg->cpus, VM_CPUS_MAX);
	} else if ((vm->mem = mem_open(cfg->memory)) == NULL) {
		vm_say(err, err_size, "no %llu MiB of guest memory: %s",
		    (unsigned long long)cfg->memory >> 20, strerror(errno));
	} else if ((vm->clock = clock_open(cfg->counted_clock)) == NULL || (vm->bus = bus_open()) == NULL ||
		   (vm->trace = trace_open()) == NULL) {
		vm_say(err, err_size, "out of memory");
	} else if (vm_open_cpus(vm, cfg, err, err_size) == 0) {
		clock_on_earlier(vm->clock, earlier_timer, vm);
		return vm;
	}
	vm_close(vm);
	return NULL;
}

void
vm_close(struct vm *vm)
{
	if (vm == NULL)
		return;
	if (vm->started) {
		vm_request_end(vm, VM_stopped);
		vm_wait(vm);
	}
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_close(vm->vcpu[i]);
	while (vm->ndevs > 0) {
		struct dev *d = vm->devs[--vm->ndevs];

		d->ops->close(d);
	}
	bus_close(vm->bus);
	trace_close(vm->trace);
	policy_free(vm->policy);
	clock_close(vm->clock);
	mem_close(vm->mem);
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

int
vm_add_dev(struct vm *vm, struct dev *d)
{
	if (d == NULL || vm->ndevs == sizeof(vm->devs) / sizeof(vm->devs[0])) {
		if (d != NULL)
			d->ops->close(d);
		return -1;
	}
	vm->devs[vm->ndevs++] = d;
	return 0;
}

/* Sleep until somebody asks something of this vCPU. */
static void
vcpu_sleep(struct vcpu *vc)
{
	struct vm *vm = vc->vm;

	pthread_mutex_lock(&vm->lock);
	while (atomic_load(&vc->cpu.attention) == 0 && vm->end == VM_running && (vc->parked || !vm->counted))
		pthread_cond_wait(&vc->wake, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

static void *
vcpu_thread(void *arg)
{
	struct vcpu *vc = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vc->cpu.index);
	prctl(PR_SET_NAME, name);
	for (;;) {
		switch (vcpu_step(vc)) {
		case STEP_again:
			continue;
		case STEP_blocked:
			vcpu_sleep(vc);
			continue;
		case STEP_ended:
			return NULL;
		}
	}
}

int
vm_ready(struct vm *vm, char *err, size_t err_size)
{
	for (unsigned i = 0; i < vm->cpus; i++) {
		struct vcpu *vc = vm->vcpu[i];

		if (vc->engine->ready == NULL || vc->engine->ready(&vc->cpu) == 0)
			continue;
		vm_say(err, err_size, "engine %s can't start vCPU %u: %s", vc->engine->name, i, engine_why());
		return -1;
	}
	return 0;
}

int
vm_start_clock(struct vm *vm, struct service *s)
{
	vm->started = true;
	/* Their first turn looks at everything: a machine may be started paused. */
	for (unsigned i = 0; i < vm->cpus; i++)
		cpu_ask(&vm->vcpu[i]->cpu, ATT_kick);
	if (vm->counted)
		return 0;
	if (s == NULL && (s = vm->own_service = service_open()) == NULL)
		return vm_fail(vm, -1, "can't start the timer thread: %s", strerror(errno));
	if (service_add(s, vm) != 0)
		return vm_fail(vm, -1, "no memory for its timers");
	return 0;
}

int
vm_start(struct vm *vm)
{
	int err = vm_start_clock(vm, NULL);

	if (err != 0)
		return err;
	for (unsigned i = 0; i < vm->cpus; i++) {
		if (pthread_create(&vm->vcpu[i]->thread, NULL, vcpu_thread, vm->vcpu[i]) != 0) {
			vm_request_end(vm, VM_failed);
			return vm_fail(vm, -1, "can't start the thread of vCPU %u: %s", i,
			    strerror(errno));
		}
		vm->vcpu[i]->thread_started = true;
	}
	return 0;
}

enum vm_end
vm_wait(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	while (vm->started && (vm->end == VM_running || vm->on_pool > 0))
		pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->cpus; i++) {
		if (vm->vcpu[i]->thread_started)
			pthread_join(vm->vcpu[i]->thread, NULL);
		vm->vcpu[i]->thread_started = false;
	}
	if (vm->service != NULL)
		service_remove(vm->service, vm);
	service_close(vm->own_service);
	vm->own_service = NULL;
	vm->started = false;
	return vm->end;
}

/* The first reason stands. */
void
vm_request_end(struct vm *vm, enum vm_end how)
{
	pthread_mutex_lock(&vm->lock);
	if (vm->end == VM_running)
		vm->end = how;
	pthread_cond_broadcast(&vm->changed);
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_kick(vm->vcpu[i], ATT_kick);
	pthread_mutex_unlock(&vm->lock);
}

int
vm_fail(struct vm *vm, int err, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&vm->lock);
	va_start(ap, fmt);
	vsnprintf(vm->error, sizeof(vm->error), fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&vm->lock);
	return err;
}

void
vm_pause(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->pause = true;
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_kick(vm->vcpu[i], ATT_kick);
	while (vm->started && vm->end == VM_running && vm->paused < vm->cpus)
		pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

void
vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->pause = false;
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_kick(vm->vcpu[i], ATT_kick);
	pthread_mutex_unlock(&vm->lock);
}
