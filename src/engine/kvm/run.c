/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/run.c - the engine on the host's hardware virtualization (Linux: Documentation/virt/kvm/api.rst).
 *
 * Port and memory accesses are answered here through cpu_ops, as in the software engines, and
 * completed by the next KVM_RUN. One file descriptor per vCPU, used by one thread. Registers stay in the
 * kernel unless somebody asks: an exit is one ioctl, KVM_RUN.
 */
#include "engine/kvm/kvm.h"

#include "cpu/debug.h"
#include "cpu/sysreg.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIG_KICK SIGRTMIN		/* its handler does nothing: KVM_RUN returns EINTR */

static void
on_kick(int sig)
{
	(void)sig;
}

static void
kvm_close(struct cpu *c)
{
	struct kvm_vcpu *k = c->kvm;

	if (k == NULL)
		return;
	if (k->run != NULL)
		munmap(k->run, k->vm->run_size);
	if (k->fd >= 0)
		close(k->fd);
	if (k->vm != NULL)
		kvm_vm_put(k->vm);
	free(k->xsave);
	free(k);
	c->kvm = NULL;
}

static int
map_run(struct kvm_vcpu *k)
{
	void *run = mmap(NULL, k->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);

	k->xsave = calloc(1, k->vm->xsave_size);
	if (run == MAP_FAILED || k->xsave == NULL)
		return engine_fail("no memory for a virtual processor; free some");
	k->run = run;
	return 0;
}

static int
kvm_open(struct cpu *c)
{
	struct kvm_vcpu *k = calloc(1, sizeof(*k));
	struct sigaction sa = { .sa_handler = on_kick };

	if ((c->kvm = k) == NULL)
		return engine_fail("no memory for a virtual processor; free some");
	k->fd = -1;
	k->have = PLACE_ALL;
	sigaction(SIG_KICK, &sa, NULL);
	if ((k->vm = kvm_vm_get(c->mem, c->kernel_chips)) == NULL ||
	    (k->fd = KVM_CALL(k->vm->fd, KVM_CREATE_VCPU, (long)c->index)) < 0 || map_run(k) != 0) {
		kvm_close(c);
		return -1;
	}
	c->kernel_chips = k->vm->chips;
	c->dirty = GROUP_ALL;
	return 0;
}

/* Before the first entry: CPUID (the board is built by now) and the TSC's offset. Before every one: the
 * filter, when the policy is another than the last. */
static int
prepare(struct cpu *c)
{
	if ((!c->kvm->filtered || c->kvm->policy != c->policy) && kvm_msr_filter(c) != 0)
		return -1;
	if (c->kvm->prepared)
		return 0;
	if (kvm_cpuid_set(c) != 0 || kvm_tsc_give(c) != 0)
		return -1;
	c->kvm->prepared = true;
	return 0;
}

/* The n-th of a string I/O's accesses, data in the run page. */
static enum io_result
port_io(struct cpu *c, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	enum io_result res = IO_done;
	bool done;

	if (c->policy != NULL && c->policy->ports != NULL)
		kvm_fetch(c, GROUP_BIT(GROUP_ip));	/* a record names rip */

	for (unsigned i = 0; i < run->io.count; i++, data += run->io.size) {
		struct io io = { .addr = run->io.port, .size = run->io.size, .port = true,
			.write = run->io.direction == KVM_EXIT_IO_OUT };

		memcpy(&io.data, data, io.size);
		/* Refused: as if nobody were there, for KVM can't raise #GP here. */
		if (policy_port(c, &io, &done) == OK && !done && c->ops->io(c, &io) == IO_stop)
			res = IO_stop;
		if (!io.write)
			memcpy(data, &io.data, io.size);
	}
	return res;
}

static enum io_result
memory_io(struct cpu *c, struct kvm_run *run)
{
	struct io io = { .addr = run->mmio.phys_addr, .size = (uint8_t)run->mmio.len, .write = run->mmio.is_write };
	enum io_result res;

	memcpy(&io.data, run->mmio.data, io.size);
	res = c->ops->io(c, &io);
	if (!io.write)
		memcpy(run->mmio.data, &io.data, io.size);
	return res;
}

/* What the last KVM_RUN came to: an exit kind, or one of these. REFUSED: nothing ran (refused() is it). */
enum { ENTER_REFUSED = -1, ENTER_AGAIN = -2, ENTER_FAILED = -3 };
static int
answer(struct cpu *c, struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return port_io(c, run) == IO_stop ? EXIT_stop : ENTER_AGAIN;
	case KVM_EXIT_MMIO:
		return memory_io(c, run) == IO_stop ? EXIT_stop : ENTER_AGAIN;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		kvm_msr_exit(c, run);
		return ENTER_AGAIN;
	case KVM_EXIT_SET_TPR:
		return EXIT_attend;
	case KVM_EXIT_HLT:
		/* A single step's #DB that waits behind the HLT ends it at once. */
		return run->s.regs.events.exception.injected != 0 ? ENTER_AGAIN : EXIT_hlt;
	case KVM_EXIT_SHUTDOWN:
		return EXIT_down;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return EXIT_attend;
	case KVM_EXIT_DEBUG:
		return EXIT_debug;
	default:
		return ENTER_FAILED;
	}
}

/* What the run page must bring along: with the board's APICs the loop looks at IF and shadows, a debugger
 * at all; a policy that begins with user space waits for CPL 3. */
static uint32_t
wanted(const struct cpu *c)
{
	if (debug_active(c->debug) || c->user_watch)
		return KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	return c->kernel_chips ? 0 : KVM_SYNC_X86_REGS | KVM_SYNC_X86_EVENTS;
}

/* One KVM_RUN: its result with errno. With the board's APICs the task priority travels in the run page. */
static int
enter(struct cpu *c)
{
	struct kvm_vcpu *k = c->kvm;
	uint8_t tpr = 0;
	int res;

	if (!c->kernel_chips && c->ops->tpr_get != NULL)
		k->run->cr8 = tpr = c->ops->tpr_get(c);
	k->entries++;
	res = KVM_CALL(k->fd, KVM_RUN, 0);
	if (!c->kernel_chips && k->run->cr8 != tpr && c->ops->tpr_set != NULL)
		c->ops->tpr_set(c, (uint8_t)k->run->cr8);
	return res;
}

/* Registers whose values a KVM that refuses KVM_RUN may mind. */
static int
refused(struct cpu *c)
{
	char what[200];

	snprintf(what, sizeof(what), "%s", engine_why());
	return engine_fail("%s (cr0 %#llx, cr4 %#llx, efer %#llx)", what, (unsigned long long)c->r.cr0,
		(unsigned long long)c->r.cr4, (unsigned long long)c->r.ia32_efer);
}

/* An exit that is no exit: what KVM could not do. */
static int
failed(struct cpu *c, const struct kvm_run *run)
{
	unsigned long long rip;

	kvm_fetch(c, GROUP_ALL);
	rip = c->r.rip;
	switch (run->exit_reason) {
	case KVM_EXIT_FAIL_ENTRY:
		return engine_fail("KVM_EXIT_FAIL_ENTRY: the processor refuses the guest's state (reason %#llx, rip %#llx); choose --engine bt",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason, rip);
	case KVM_EXIT_INTERNAL_ERROR:
		return engine_fail("KVM_EXIT_INTERNAL_ERROR: suberror %u%s at rip %#llx; choose --engine bt", run->internal.suberror,
			run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? " (an instruction that KVM cannot emulate)" : "",
			rip);
	default:
		return engine_fail("KVM_EXIT_ %u at rip %#llx: not known here; choose --engine bt", run->exit_reason, rip);
	}
}

static int
kvm_enter(struct cpu *c, struct vexit *x)
{
	struct kvm_vcpu *k = c->kvm;
	int kind = ENTER_AGAIN;

	if (prepare(c) != 0)
		return -1;
	k->thread = pthread_self();
	k->in_run = true;
	k->run->kvm_valid_regs = wanted(c);
	while (kind == ENTER_AGAIN) {
		k->run->immediate_exit = 0;
		if (atomic_load(&c->attention) != 0)
			k->run->immediate_exit = 1;	/* completes what a handler left, then returns */
		k->run->request_interrupt_window = c->irq_window;
		if (enter(c) < 0) {
			kind = errno == EINTR || errno == EAGAIN ? EXIT_attend : refused(c);
			if (kind == EXIT_attend)
				kvm_carry(c);
			continue;
		}
		kvm_carry(c);
		k->exits[k->run->exit_reason & 63]++;
		kind = answer(c, k->run);
		c->dirty = 0;			/* the kernel completes the instruction itself */
	}
	if (kind == EXIT_stop) {
		k->run->immediate_exit = 1;	/* the device's instruction is completed, no other begun */
		enter(c);
		kvm_carry(c);
	}
	k->in_run = false;
	if (kind == ENTER_FAILED)
		return failed(c, k->run);
	if (kind == ENTER_REFUSED)
		return -1;
	x->kind = (uint8_t)kind;
	x->carried = 0;				/* kvm_fetch knows better */
	return 0;
}

/* All that an entry may mind is said before anything has run. */
static int
kvm_ready(struct cpu *c)
{
	if (prepare(c) != 0 || kvm_store(c, c->dirty) != 0)
		return -1;
	c->dirty = 0;
	c->kvm->run->kvm_valid_regs = 0;
	c->kvm->run->immediate_exit = 1;
	return enter(c) < 0 && errno != EINTR && errno != EAGAIN ? refused(c) : 0;
}

/* An interrupt goes into what KVM is about to deliver, an NMI to those that wait: both with the next entry. */
static int
kvm_inject(struct cpu *c)
{
	struct kvm_vcpu *k = c->kvm;
	struct kvm_vcpu_events *e = &k->run->s.regs.events;

	if (kvm_fetch(c, GROUP_BIT(GROUP_event)) != 0)
		return FAULT;
	if (c->fault.kind == EVENT_nmi) {
		e->nmi.pending = 1;
		c->r.nmi_pending = 1;
	} else {
		e->interrupt.injected = 1;
		e->interrupt.soft = 0;
		e->interrupt.nr = c->fault.vec;
	}
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	k->run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
	return OK;
}

static void
kvm_kick(struct cpu *c)
{
	struct kvm_vcpu *k = c->kvm;

	if (k == NULL || !k->in_run)
		return;
	k->run->immediate_exit = 1;
	pthread_kill(k->thread, SIG_KICK);
}

static int
kvm_step(struct cpu *c, struct vexit *x)
{
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	int err;

	/* KVM steps from the rip that it knows: it must be the guest's by then. */
	c->kvm->run->immediate_exit = 1;
	if (prepare(c) != 0 || (enter(c) < 0 && errno != EINTR && errno != EAGAIN) ||
	    VCPU_CALL(c->kvm, KVM_SET_GUEST_DEBUG, &d) < 0)
		return -1;
	err = kvm_enter(c, x);
	if (err == 0 && x->kind == EXIT_debug)
		x->kind = EXIT_attend;
	d.control = 0;
	VCPU_CALL(c->kvm, KVM_SET_GUEST_DEBUG, &d);
	return err;
}

/* ---- counts ---- */

static const char *const exit_names[64] = {
#define X(number, name) [number] = "kvm " name,
#include "engine/kvm/exits.def"
#undef X
};

static unsigned
kvm_counters(const struct cpu *c, struct counter *out, unsigned max)
{
	const struct kvm_vcpu *k = c->kvm;
	unsigned n = 0;

	if (max < 2)
		return 0;
	out[n++] = (struct counter){ "kvm entries", k->entries };
	out[n++] = (struct counter){ "kvm other ioctls", k->ioctls };
	for (unsigned i = 0; i < 64 && n < max; i++)
		if (k->exits[i] != 0 && exit_names[i] != NULL)
			out[n++] = (struct counter){ exit_names[i], k->exits[i] };
	return n;
}

const struct engine kvm_engine = {
	.name = "kvm", .kernel_chips = true, .limit = kvm_limit, .open = kvm_open, .close = kvm_close, .ready = kvm_ready, .store = kvm_store,
	.fetch = kvm_fetch, .run = kvm_enter, .step = kvm_step, .kick = kvm_kick, .inject = kvm_inject,
	.counters = kvm_counters,
};
