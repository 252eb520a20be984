/* SPDX-License-Identifier: Apache-2.0 */
/* vm/vm.h - a virtual machine: memory, clock, bus, lock, vCPUs; and one vCPU's loop.
 *
 * Locking: vm->lock guards devices, timers, interrupt lines and APICs. A vCPU takes it for each bus
 * access and each injection, never while running guest code.
 */
#pragma once
#include "cpu/cpuid.h"
#include "engine/engine.h"
#include "vm/bus.h"
#include "vm/clock.h"
#include "vm/heap.h"
#include "vm/irq.h"
#include <pthread.h>

enum { VM_CPUS_MAX = 64, SCHED_WEIGHT_ONE = 1024 };

/* How a VM ended. */
enum vm_end { VM_running, VM_poweroff, VM_reset, VM_panic, VM_shutdown /* triple fault */, VM_debug_exit,
	VM_stopped /* by the host */, VM_failed };

/* What the machine (machine/pc.c, dev/lapic.c) gives a vCPU. VM lock held unless said. */
struct vcpu_apic_ops {
	int (*pending)(void *apic);		/* vector ready at the present TPR (PIC included), or -1 */
	int (*ack)(void *apic);			/* take it: vector, or -1 (spurious) */
	bool (*msr)(void *apic, uint32_t msr, bool write, uint64_t *val);	/* 0x800-0x8ff */
	enum io_result (*mmio)(void *apic, struct io *io);	/* IO_none: not its page; ask the bus */
	void (*base)(void *apic, uint64_t val);	/* IA32_APIC_BASE */
	uint8_t (*tpr_get)(void *apic);		/* CR8 format; no lock needed on the vCPU's thread */
	void (*tpr_set)(void *apic, uint8_t val);
	void (*deadline)(void *apic, uint64_t tsc);
	void (*init)(void *apic);		/* INIT arrived: reset all but the id */
};

/* A guest's access that the host program is asked about (`ask`): one per vCPU at a time. */
struct vcpu_ask {
	bool waiting;			/* the vCPU stands still until vcpu_answer */
	bool told;			/* on_ask has been called */
	bool answered;
	uint8_t verdict;		/* enum verdict: the answer */
	uint8_t cpl;
	uint64_t rip, id;		/* id: counts the vCPU's questions */
	struct policy_query q;
	const struct policy_rule *rule;
};

enum vcpu_sched_state { VCPU_sleeping, VCPU_queued, VCPU_running, VCPU_ended };

struct vm;
struct service;
struct vcpu {
	struct cpu cpu;			/* first */
	struct vm *vm;			/* borrowed */
	const struct engine *engine;
	const struct vcpu_apic_ops *apic_ops;
	void *apic;			/* borrowed: the local APIC */
	uint64_t tsc_offset;
	uint64_t exits[EXIT__COUNT];
	pthread_t thread;
	bool thread_started, engine_opened;
	bool parked;			/* stands still now; counted in vm->paused */
	uint32_t asked;			/* attention that came while it was parked */
	bool held;			/* stands still though the VM runs: a debugger steps another */
	pthread_cond_t wake;		/* with vm->lock; signalled by vcpu_kick */
	uint64_t counted;		/* cpu.retired that the counted clock has seen */
	/* -- vm/sched.c's, under the pool's lock; sched is NULL for a vCPU with its own thread -- */
	struct sched *sched;
	struct heap_node runnable;
	uint64_t spent;			/* ticks of the host's TSC that it ran, over its VM's weight */
	uint64_t ran;			/* ticks that it ran */
	uint64_t ran_seen, ran_trimmed;	/* `ran` when it was last looked at, and when memory was given back */
	uint64_t switches;		/* times a thread came to it from another */
	bool trim;			/* give memory back before the next slice */
	uint8_t sched_state;		/* enum vcpu_sched_state */
	struct vcpu *next_member;
	struct vcpu_ask ask;		/* under vm->lock */
	/* kvmclock area, 0: none (vm/kvmclock.c) */
	uint64_t kvmclock_gpa;
};

struct vm {
	pthread_mutex_t lock;
	struct mem *mem;
	struct clock *clock;
	struct bus *bus;
	struct cpu_model model;
	unsigned cpus;
	struct vcpu *vcpu[VM_CPUS_MAX];		/* owned */
	struct dev *devs[128];			/* owned, in order of creation */
	unsigned ndevs;
	enum vm_end end;
	int exit_status;			/* VM_debug_exit: the guest's */
	bool started, counted;			/* counted: time is retired instructions */
	struct service *service;		/* fires timers; borrowed; NULL: not started */
	struct service *own_service;		/* owned: its own, when it is on no pool */
	struct heap_node due;			/* vm/service.c's */
	unsigned weight;			/* share of a pool's threads; of each vCPU */
	unsigned on_pool;			/* vCPUs on a pool that have not ended */
	void (*off_pool)(void *ctx);		/* the last of them has; lock held; may be NULL */
	void *off_pool_ctx;
	bool pause;				/* vCPUs park at the top of the loop */
	unsigned paused;			/* how many are parked */
	pthread_cond_t changed;			/* end, pause, paused */
	char error[256];			/* last failure, for people */
	char lost[512];				/* CPU features asked for that this host lacks */
	/* A debugger's breakpoint or step was met: on the vCPU's thread, lock not held. */
	void (*on_debug)(void *ctx, struct vcpu *vc, const struct vexit *x);
	void *on_debug_ctx;
	void *machine;				/* machine/pc.c's own */
	/* -- register policy -- */
	struct policy *policy;			/* owned, with those it replaced; NULL: none */
	struct vcpu *accessing;			/* whose access a device is answering; under lock */
	struct trace *trace;			/* owned (vm/trace.h) */
	_Atomic bool userspace;			/* some vCPU has run at CPL 3 */
	/* Asks the host program; on the vCPU's thread, lock not held. May call vcpu_answer. NULL: nobody. */
	void (*on_ask)(void *ctx, struct vcpu *vc);
	void *on_ask_ctx;
};

struct vm_config {
	uint64_t memory;		/* bytes */
	unsigned cpus;
	const struct engine *engine;
	const char *cpu_spec;		/* NULL: default model */
	bool counted_clock;
	bool kernel_chips;		/* APICs, PICs and PIT in the host's kernel, where the engine can */
	const struct code_log *code_log;	/* lent; NULL: none */
	uint64_t code_cache;		/* bytes per vCPU for translations; 0: the engine's default */
	struct policy *policy;		/* sealed; the VM owns it from now on, whatever becomes of vm_open */
};

/* NULL with a line in err on failure. No device, no boot: that is machine/pc.c's. */
struct vm *vm_open(const struct vm_config *cfg, char *err, size_t err_size);
void vm_close(struct vm *vm);
int vm_add_dev(struct vm *vm, struct dev *d);	/* takes ownership */

/* Ask the engine a last time before anything runs; -1 with a line in err. After board and boot. */
int vm_ready(struct vm *vm, char *err, size_t err_size);
int vm_start(struct vm *vm);			/* one thread per vCPU, and the service thread */
/* Only the timers, on that service (NULL: its own): sched_start runs the vCPUs. */
int vm_start_clock(struct vm *vm, struct service *s);
void vm_cond_init(pthread_cond_t *cond);	/* on the monotonic clock */
enum vm_end vm_wait(struct vm *vm);		/* until it ended; threads joined */
void vm_request_end(struct vm *vm, enum vm_end how);	/* any thread, lock held or not (recursive lock) */
int vm_fail(struct vm *vm, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void vm_pause(struct vm *vm);			/* returns when all vCPUs stand still */
void vm_resume(struct vm *vm);
/* From now on every vCPU obeys p, which replaces the policy of before; its first `common` rules are the same. */
void vm_policy_set(struct vm *vm, struct policy *p, unsigned common);
/* May the guest write, and what does it read of, the n-th register of policy_devices.def? What is refused is lost
 * and recorded; *val may be another afterwards. Lock held, by virtio/transport.c. */
bool vm_device_allows(struct vm *vm, unsigned n, uint64_t old, uint64_t *val);
void vm_device_shows(struct vm *vm, unsigned n, uint64_t *val);
/* The answer to vc->ask: VERDICT_allow or VERDICT_deny. false: no such question (any more). */
bool vcpu_answer(struct vcpu *vc, uint64_t id, enum verdict v);

/* What one turn of a vCPU came to. */
enum step { STEP_again, STEP_blocked /* nothing to do until an event */, STEP_ended };
enum step vcpu_step(struct vcpu *vc);
void vcpu_kick(struct vcpu *vc, uint32_t what);	/* cpu_ask + wake; any thread */
void vcpu_start_ipi(struct vcpu *vc, uint8_t vector);	/* SIPI */
