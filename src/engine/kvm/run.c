/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/run.c - the engine on the host's hardware virtualization (Linux: Documentation/virt/kvm/api.rst).
 *
 * Port and memory accesses are answered here through cpu_ops, as in the software engines, and
 * completed by the next KVM_RUN. One file descriptor per vCPU, used by one thread.
 */
#include "engine/kvm/kvm.h"

#include "cpu/sysreg.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#define SIG_KICK SIGRTMIN		/* its handler does nothing: KVM_RUN returns EINTR */
enum { TSC_ROUND = 1 << 14 };		/* so that all vCPUs get the same offset */

int
kvm_do(struct kvm_vcpu *k, unsigned long request, void *arg)
{
	k->ioctls++;
	return ioctl(k->fd, request, arg);
}

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
	free(k);
	c->kvm = NULL;
}

static int
kvm_open(struct cpu *c)
{
	struct kvm_vcpu *k = calloc(1, sizeof(*k));
	struct sigaction sa = { .sa_handler = on_kick };
	void *run;

	c->kvm = k;
	if (k == NULL)
		return -1;
	k->fd = -1;
	sigaction(SIG_KICK, &sa, NULL);
	if ((k->vm = kvm_vm_get(c->mem)) == NULL || (k->fd = ioctl(k->vm->fd, KVM_CREATE_VCPU, (long)c->index)) < 0)
		goto fail;
	run = mmap(NULL, k->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	if (run == MAP_FAILED)
		goto fail;
	k->run = run;
	k->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	c->dirty = GROUP_ALL;
	return 0;
fail:
	kvm_close(c);
	return -1;
}

/* Before the first entry: CPUID (the board is built by now) and the TSC's offset. */
static int
prepare(struct cpu *c)
{
	uint64_t offset = (c->ops->tsc(c) - __rdtsc() + TSC_ROUND / 2) & ~(uint64_t)(TSC_ROUND - 1);
	struct kvm_device_attr tsc = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset };

	if (kvm_cpuid_set(c) != 0)
		return -1;
	kvm_do(c->kvm, KVM_SET_DEVICE_ATTR, &tsc);	/* kernels before 5.16: the guest sees the host's TSC */
	c->kvm->prepared = true;
	return 0;
}

/* The n-th of a string I/O's accesses, data in the run page. */
static enum io_result
port_io(struct cpu *c, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	enum io_result res = IO_done;

	for (unsigned i = 0; i < run->io.count; i++, data += run->io.size) {
		struct io io = { .addr = run->io.port, .size = run->io.size, .port = true,
			.write = run->io.direction == KVM_EXIT_IO_OUT };

		memcpy(&io.data, data, io.size);
		if (c->ops->io(c, &io) == IO_stop)
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

/* An MSR the kernel leaves to us: the table decides, as on every engine. */
static void
msr_exit(struct cpu *c, struct kvm_run *run)
{
	uint64_t val = run->msr.data;

	cpu_mode_update(c);
	if (run->exit_reason == KVM_EXIT_X86_WRMSR)
		run->msr.error = msr_write(c, run->msr.index, val) != OK;
	else
		run->msr.error = msr_read(c, run->msr.index, &val) != OK;
	run->msr.data = val;
}

/* What the last KVM_RUN came to: -1 to enter again, else an exit kind, or -2 with a line on stderr's log. */
enum { ENTER_AGAIN = -1, ENTER_FAILED = -2 };
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
		msr_exit(c, run);
		return ENTER_AGAIN;
	case KVM_EXIT_HLT:
		return EXIT_hlt;
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

static int
kvm_enter(struct cpu *c, struct vexit *x)
{
	struct kvm_vcpu *k = c->kvm;
	int kind = ENTER_AGAIN;

	if (!k->prepared && prepare(c) != 0)
		return -1;
	k->thread = pthread_self();
	k->in_run = true;
	while (kind == ENTER_AGAIN) {
		k->run->immediate_exit = 0;
		if (atomic_load(&c->attention) != 0)
			k->run->immediate_exit = 1;	/* completes what a handler left, then returns */
		k->run->request_interrupt_window = c->irq_window;
		if (ioctl(k->fd, KVM_RUN, 0) < 0) {
			if (errno != EINTR && errno != EAGAIN)
				kind = ENTER_FAILED;
			else
				kind = EXIT_attend;
		} else {
			kvm_carry(c);
			kind = answer(c, k->run);
			c->dirty = 0;		/* the kernel completes the instruction itself */
		}
	}
	if (kind == EXIT_stop) {
		k->run->immediate_exit = 1;	/* the device's instruction is completed, no other begun */
		ioctl(k->fd, KVM_RUN, 0);
	}
	k->in_run = false;
	if (kind == ENTER_FAILED)
		return -1;
	kvm_carry(c);
	cpu_mode_update(c);
	x->kind = (uint8_t)kind;
	x->carried = KVM_CARRIED;
	return 0;
}

static int
kvm_inject(struct cpu *c)
{
	struct kvm_interrupt irq = { .irq = c->fault.vec };

	if (c->fault.kind == EVENT_nmi)
		return kvm_do(c->kvm, KVM_NMI, NULL) < 0 ? FAULT : OK;
	return kvm_do(c->kvm, KVM_INTERRUPT, &irq) < 0 ? FAULT : OK;
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

	if (kvm_do(c->kvm, KVM_SET_GUEST_DEBUG, &d) < 0)
		return -1;
	err = kvm_enter(c, x);
	if (err == 0 && x->kind == EXIT_debug)
		x->kind = EXIT_attend;
	d.control = 0;
	kvm_do(c->kvm, KVM_SET_GUEST_DEBUG, &d);
	return err;
}

const struct engine kvm_engine = {
	.name = "kvm", .limit = kvm_limit, .open = kvm_open, .close = kvm_close, .store = kvm_store, .fetch = kvm_fetch,
	.run = kvm_enter, .step = kvm_step, .kick = kvm_kick, .inject = kvm_inject,
};
