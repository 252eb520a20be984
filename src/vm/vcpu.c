/* SPDX-License-Identifier: Apache-2.0 */
/* vm/vcpu.c - one vCPU's loop.
 *
 *	register file -> engine -> exit -> handler (device) -> register file
 *
 * vcpu_step() is one turn of it; it never sleeps. Events (INIT, SIPI, NMI, interrupts) enter the
 * register file in vcpu_attend() and nowhere else, for every engine.
 */
#include "vm/vcpu.h"

#include "cpu/access.h"
#include "cpu/debug.h"
#include "cpu/sysreg.h"
#include "vm/kvmclock.h"
#include "vm/sched.h"
#include <assert.h>

enum { SIPI_SHIFT = 12 /* start-up vector to base address */, VEC_SPURIOUS = -1 };

/* Before each step of a counted clock: at most this many instructions until timers are looked at. */
enum { COUNTED_SLICE = 10000 };

/* ---- what the machine gives the processor: struct cpu_ops ---- */

static struct vcpu *
vcpu_of(struct cpu *c)
{
	return c->owner;
}

static enum io_result
op_io(struct cpu *c, struct io *io)
{
	struct vcpu *vc = vcpu_of(c);
	struct vm *vm = vc->vm;
	enum io_result res = IO_none;

	pthread_mutex_lock(&vm->lock);
	vm->accessing = vc;
	if (!io->port && vc->apic_ops != NULL)
		res = vc->apic_ops->mmio(vc->apic, io);
	if (res == IO_none)
		res = bus_access(vm->bus, io);
	if (vm->end != VM_running)
		res = IO_stop;
	pthread_mutex_unlock(&vm->lock);
	return res;
}

static uint64_t
op_tsc(struct cpu *c)
{
	struct vcpu *vc = vcpu_of(c);

	return clock_tsc(vc->vm->clock) + vc->tsc_offset;
}

static bool
op_tsc_delta(struct cpu *c, uint64_t *delta)
{
	struct vcpu *vc = vcpu_of(c);
	bool fixed = clock_tsc_delta(vc->vm->clock, delta);

	*delta += vc->tsc_offset;
	return fixed;
}

static bool
op_apic_msr(struct cpu *c, uint32_t msr, bool write, uint64_t *val)
{
	struct vcpu *vc = vcpu_of(c);
	bool ok;

	pthread_mutex_lock(&vc->vm->lock);
	ok = vc->apic_ops != NULL && vc->apic_ops->msr(vc->apic, msr, write, val);
	pthread_mutex_unlock(&vc->vm->lock);
	return ok;
}

static void
op_apic_base(struct cpu *c, uint64_t val)
{
	struct vcpu *vc = vcpu_of(c);

	pthread_mutex_lock(&vc->vm->lock);
	if (vc->apic_ops != NULL)
		vc->apic_ops->base(vc->apic, val);
	pthread_mutex_unlock(&vc->vm->lock);
}

static uint8_t
op_tpr_get(struct cpu *c)
{
	struct vcpu *vc = vcpu_of(c);

	return vc->apic_ops == NULL ? 0 : vc->apic_ops->tpr_get(vc->apic);
}

static void
op_tpr_set(struct cpu *c, uint8_t tpr)
{
	struct vcpu *vc = vcpu_of(c);

	pthread_mutex_lock(&vc->vm->lock);
	if (vc->apic_ops != NULL)
		vc->apic_ops->tpr_set(vc->apic, tpr);
	pthread_mutex_unlock(&vc->vm->lock);
}

static void
op_deadline(struct cpu *c, uint64_t tsc)
{
	struct vcpu *vc = vcpu_of(c);

	pthread_mutex_lock(&vc->vm->lock);
	if (vc->apic_ops != NULL)
		vc->apic_ops->deadline(vc->apic, tsc);
	pthread_mutex_unlock(&vc->vm->lock);
}

/* The TSC moved by delta: a pending deadline now lies elsewhere in time. */
static void
tsc_moved(struct vcpu *vc, uint64_t delta)
{
	vc->tsc_offset += delta;
	if (vc->cpu.r.ia32_tsc_deadline != 0)
		op_deadline(&vc->cpu, vc->cpu.r.ia32_tsc_deadline);
	kvmclock_update(vc);
}

static void
op_tsc_write(struct cpu *c, uint64_t tsc)
{
	tsc_moved(vcpu_of(c), tsc - op_tsc(c));
}

static void
op_tsc_adjust(struct cpu *c, uint64_t delta)
{
	tsc_moved(vcpu_of(c), delta);
}

static void
op_kvm_clock(struct cpu *c, uint32_t msr, uint64_t val)
{
	kvmclock_write(vcpu_of(c), msr, val);
}

const struct cpu_ops vcpu_cpu_ops = {
	.io = op_io, .tsc = op_tsc, .tsc_delta = op_tsc_delta, .apic_msr = op_apic_msr, .apic_base = op_apic_base,
	.tpr_get = op_tpr_get, .tpr_set = op_tpr_set, .deadline = op_deadline,
	.tsc_write = op_tsc_write, .tsc_adjust = op_tsc_adjust, .kvm_clock = op_kvm_clock,
	.policy_event = vcpu_policy_event, .policy_ask = vcpu_policy_ask,
};

/* ---- exits ---- */

typedef int exit_fn(struct vcpu *vc, struct vexit *x);

static int
exit_attend(struct vcpu *vc, struct vexit *x)
{
	(void)vc, (void)x;
	return 0;
}

/* For engines that leave I/O to the loop. IN's result goes into AL, AX or EAX; a load's to the engine. */
static int
exit_io(struct vcpu *vc, struct vexit *x)
{
	uint64_t mask = x->io.size == 8 ? UINT64_MAX : (1ull << x->io.size * 8) - 1;

	op_io(&vc->cpu, &x->io);
	if (x->io.port && !x->io.write) {
		if (x->io.size == 4)
			vc->cpu.r.rax = 0;
		vc->cpu.r.rax = (vc->cpu.r.rax & ~mask) | (x->io.data & mask);
		vc->cpu.dirty |= GROUP_BIT(GROUP_gpr);
	}
	return 0;
}

static int
exit_msr(struct vcpu *vc, struct vexit *x)
{
	(void)x;
	return vm_fail(vc->vm, -1, "engine %s left an MSR access to the loop", vc->engine->name);
}

static int
exit_hlt(struct vcpu *vc, struct vexit *x)
{
	(void)x;
	vc->cpu.r.activity = ACTIVITY_hlt;
	return 0;
}

static int
exit_debug(struct vcpu *vc, struct vexit *x)
{
	if (vc->vm->on_debug != NULL)
		vc->vm->on_debug(vc->vm->on_debug_ctx, vc, x);
	return 0;
}

static int
exit_stop(struct vcpu *vc, struct vexit *x)
{
	(void)vc, (void)x;	/* the device has said how: vcpu_attend sees vm->end */
	return 0;
}

static int
exit_down(struct vcpu *vc, struct vexit *x)
{
	(void)x;
	vc->cpu.r.activity = ACTIVITY_shutdown;
	vm_request_end(vc->vm, VM_shutdown);
	return 0;
}

static exit_fn *const exit_handler[EXIT__COUNT] = {
#define X(kind, handler) [EXIT_##kind] = handler,
#include "vm/exits.def"
#undef X
};

/* ---- events ---- */

/* Make these groups current in the register file; what was changed here already is. */
static int
vcpu_fetch(struct vcpu *vc, uint32_t groups)
{
	struct cpu *c = &vc->cpu;
	int err = vc->engine->fetch(c, groups & ~(c->valid | c->dirty));

	if (err == 0)
		c->valid |= groups;
	return err;
}

/* INIT: registers as the table says; wait for SIPI, but for the bootstrap processor. */
static void
vcpu_take_init(struct vcpu *vc)
{
	struct cpu *c = &vc->cpu;
	uint64_t sipi = c->r.sipi_vector;	/* may have come already, behind this INIT */

	if (policy_init_refused(c))
		return;
	if (atomic_load(&vc->vm->userspace)) {
		c->user_late = c->user_watch = true;
		if (vc->engine->forget != NULL)
			vc->engine->forget(c);	/* its way back to CPL 3 must be seen */
	}
	vcpu_fetch(vc, GROUP_ALL);
	reg_init(&c->r);
	c->r.sipi_vector = sipi;
	if (vc->apic_ops != NULL)
		vc->apic_ops->init(vc->apic);
	c->r.activity = c->index == 0 ? ACTIVITY_run : ACTIVITY_wait_sipi;
	tlb_flush_all(c, true);
	cpu_mode_update(c);
	c->dirty |= GROUP_ALL & ~GROUP_BIT(GROUP_fpu);
}

/* Start-up IPI (SDM vol. 3A, 8.4): real mode at vector << 12. Ignored unless waited for. */
static void
vcpu_take_sipi(struct vcpu *vc)
{
	struct cpu *c = &vc->cpu;

	if (c->r.activity != ACTIVITY_wait_sipi)
		return;
	vcpu_fetch(vc, GROUP_BIT(GROUP_seg) | GROUP_BIT(GROUP_ip) | GROUP_BIT(GROUP_event));
	c->r.cs = c->r.sipi_vector << (SIPI_SHIFT - 4);
	c->r.cs_base = c->r.sipi_vector << SIPI_SHIFT;
	c->r.rip = 0;
	c->r.activity = ACTIVITY_run;
	cpu_mode_update(c);
	c->dirty |= GROUP_BIT(GROUP_seg) | GROUP_BIT(GROUP_ip) | GROUP_BIT(GROUP_event);
}

static int
vcpu_inject(struct vcpu *vc, uint8_t kind, int vec)
{
	struct cpu *c = &vc->cpu;
	int res;

	c->fault = (struct cpu_fault){ .kind = kind, .vec = (uint8_t)vec };
	c->r.activity = ACTIVITY_run;
	cpu_guest_enter(c);
	res = vc->engine->inject != NULL ? vc->engine->inject(c) : cpu_deliver(c);
	cpu_guest_leave(c);
	return res == OK ? 0 : exit_down(vc, NULL);
}

/* An NMI arrives. An engine with an injection of its own keeps those that wait. */
static void
vcpu_take_nmi(struct vcpu *vc)
{
	if (vc->engine->inject != NULL)
		vcpu_inject(vc, EVENT_nmi, VEC_nmi);
	else
		vc->cpu.r.nmi_pending = 1;
}

/* One NMI or interrupt, if it can be taken now; else note that a window is wanted. */
static void
vcpu_take_interrupt(struct vcpu *vc)
{
	struct cpu *c = &vc->cpu;
	bool nmi = c->r.nmi_pending && vc->engine->inject == NULL;
	int vec;

	if (nmi && !c->r.nmi_blocked && c->r.interruptibility == 0) {
		c->r.nmi_pending = 0;
		vcpu_inject(vc, EVENT_nmi, VEC_nmi);
	} else if (vc->apic_ops != NULL && vc->apic_ops->pending(vc->apic) >= 0 &&
		   rflags_if(&c->r) && c->r.interruptibility == 0) {
		vec = vc->apic_ops->ack(vc->apic);
		if (vec != VEC_SPURIOUS)
			vcpu_inject(vc, EVENT_extint, vec);
	}
	nmi = c->r.nmi_pending && vc->engine->inject == NULL;
	c->irq_window = nmi || (vc->apic_ops != NULL && vc->apic_ops->pending(vc->apic) >= 0);
}

/* While the VM is paused, or a debugger steps another vCPU, this one stands still. */
static bool
vcpu_parks(struct vcpu *vc)
{
	struct vm *vm = vc->vm;
	bool park = vm->pause || vc->held;

	if (park != vc->parked) {
		vcpu_fetch(vc, GROUP_ALL);	/* others look at a vCPU that stands */
		vc->parked = park;
		vm->paused += park ? 1u : -1u;
		pthread_cond_broadcast(&vm->changed);
	}
	return park;
}

/* Everything that others asked of this vCPU, and events. VM lock held. */
static enum step
vcpu_attend(struct vcpu *vc)
{
	struct vm *vm = vc->vm;
	struct cpu *c = &vc->cpu;
	uint32_t asked = atomic_exchange(&c->attention, 0) | vc->asked;

	vc->asked = 0;
	if (asked & ATT_tlb)
		cpu_shootdown_serve(c);
	if (vm->end != VM_running) {
		vcpu_fetch(vc, GROUP_ALL);
		return STEP_ended;
	}
	if (vcpu_parks(vc) || vc->ask.waiting) {
		vc->asked = asked;
		return STEP_blocked;
	}
	vcpu_policy_attend(vc);
	if (asked & ATT_init)
		vcpu_take_init(vc);
	if (asked & ATT_sipi)
		vcpu_take_sipi(vc);
	if (asked & ATT_nmi)
		vcpu_take_nmi(vc);
	if (c->kernel_chips)
		return STEP_again;		/* who waits, waits in the kernel */
	if (c->r.activity <= ACTIVITY_hlt)
		vcpu_take_interrupt(vc);
	return c->r.activity == ACTIVITY_run ? STEP_again : STEP_blocked;
}

/* Counted time moves with the instructions, and jumps when there is nothing to do. */
static void
counted_time(struct vcpu *vc, bool idle)
{
	struct vm *vm = vc->vm;
	struct cpu *c = &vc->cpu;
	uint64_t next;

	clock_advance(vm->clock, c->retired - vc->counted);
	vc->counted = c->retired;
	next = clock_run(vm->clock);
	if (idle && next != UINT64_MAX) {
		clock_advance_to(vm->clock, next);
		clock_run(vm->clock);
	}
	next = next == UINT64_MAX ? COUNTED_SLICE : next - clock_now(vm->clock);
	c->retire_limit = c->retired + (next < COUNTED_SLICE ? next + 1 : COUNTED_SLICE);
}

/* While a debugger asks for something: one instruction at a time. */
static int
vcpu_run_debugged(struct vcpu *vc, struct vexit *x)
{
	struct cpu *c = &vc->cpu;
	struct debug_state *d = c->debug;
	int err = 0;

	x->kind = EXIT_attend;
	x->carried = GROUP_ALL;
	while (err == 0 && x->kind == EXIT_attend && atomic_load(&c->attention) == 0) {
		if (!d->resumed && debug_break_at(d, c->r.cs_base + c->r.rip)) {
			x->kind = EXIT_debug;
			return 0;
		}
		d->resumed = false;
		err = vc->engine->step(c, x);
		if (x->kind == EXIT_attend && (d->step || d->hit))
			x->kind = EXIT_debug;
		if (c->irq_window || c->retired >= c->retire_limit)
			break;
	}
	return err;
}

enum step
vcpu_enter(struct vcpu *vc)
{
	struct vm *vm = vc->vm;
	struct cpu *c = &vc->cpu;
	enum step s;

	/* Whoever changes something that the rest looks at sets attention afterwards. */
	if (atomic_load(&c->attention) == 0 && c->r.activity == ACTIVITY_run && !c->irq_window &&
	    !vm->counted && !vc->parked && vc->asked == 0 && !vc->ask.waiting)
		return STEP_again;
	pthread_mutex_lock(&vm->lock);
	if (vm->counted)
		counted_time(vc, c->r.activity == ACTIVITY_hlt && !c->irq_window);
	s = vcpu_attend(vc);
	pthread_mutex_unlock(&vm->lock);
	return s;
}

int
vcpu_leave(struct vcpu *vc, struct vexit *x)
{
	vc->cpu.valid = x->carried;
	vc->exits[x->kind]++;
	return exit_handler[x->kind](vc, x);
}

enum step
vcpu_step(struct vcpu *vc)
{
	struct cpu *c = &vc->cpu;
	struct vexit x = { 0 };
	enum step s;
	int err;

	vcpu_tell(vc);
	s = vcpu_enter(vc);
	if (s != STEP_again)
		return s;
	if ((err = vc->engine->store(c, c->dirty)) == 0) {
		c->dirty = 0;
		cpu_guest_enter(c);
		err = debug_active(c->debug) ? vcpu_run_debugged(vc, &x) : vc->engine->run(c, &x);
		cpu_guest_leave(c);
	}
	if (err == 0 && (err = vcpu_leave(vc, &x)) == 0)
		return STEP_again;
	if (vc->vm->error[0] == '\0')
		vm_fail(vc->vm, err, "vCPU %u: %s", c->index, engine_why());
	vcpu_fetch(vc, GROUP_ALL);
	vm_request_end(vc->vm, VM_failed);
	return STEP_ended;
}

void
vcpu_kick(struct vcpu *vc, uint32_t what)
{
	cpu_ask(&vc->cpu, what);
	pthread_mutex_lock(&vc->vm->lock);
	pthread_cond_signal(&vc->wake);
	pthread_mutex_unlock(&vc->vm->lock);
	if (vc->sched != NULL)
		sched_wake(vc);
	if (vc->engine->kick != NULL)
		vc->engine->kick(&vc->cpu);
}

void
vcpu_start_ipi(struct vcpu *vc, uint8_t vector)
{
	vc->cpu.r.sipi_vector = vector;		/* only read while waiting for it */
	vcpu_kick(vc, ATT_sipi);
}
