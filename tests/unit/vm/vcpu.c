/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/vm/vcpu.c - the loop, its exits and its events, played by the scripted engine. */
#include "check.h"
#include "engine/script/script.h"
#include "vm/vcpu.h"
#include <stdlib.h>

enum { PORT = 0x3fd, IN_BYTE = 0x5a };

struct probe {
	struct dev dev;
	uint64_t written;
};

static enum io_result
probe_io(struct dev *d, struct io *io)
{
	if (io->write)
		((struct probe *)d)->written = io->data;
	else
		io->data = IN_BYTE;
	return IO_done;
}

static void
probe_close(struct dev *d)
{
	free(d);
}

static const struct dev_ops probe_ops = { .name = "probe", .io = probe_io, .close = probe_close };

/* A board of one device and an interrupt controller that has one vector to give. */
static int irq_vector;
static unsigned acks;

static int irq_pending(void *apic) { (void)apic; return irq_vector; }
static int irq_ack(void *apic) { int v = irq_vector; (void)apic; irq_vector = -1; acks++; return v; }
static void irq_init(void *apic) { (void)apic; }

static const struct vcpu_apic_ops irq_ops = { .pending = irq_pending, .ack = irq_ack, .init = irq_init };

static struct vm *
board(struct script *s, struct probe **probe)
{
	struct vm_config cfg = { .memory = 1 << 20, .cpus = 1, .engine = &script_engine };
	char err[128];
	struct vm *vm;

	script_use(s);
	vm = vm_open(&cfg, err, sizeof(err));
	if (vm == NULL)
		return NULL;
	*probe = calloc(1, sizeof(**probe));
	(*probe)->dev.ops = &probe_ops;
	vm_add_dev(vm, &(*probe)->dev);
	bus_add(vm->bus, &(*probe)->dev, true, PORT, 1);
	irq_vector = -1;
	acks = 0;
	return vm;
}

/* IN AL,DX changes AL and nothing else; OUT reaches the device. */
static void
port_io(void)
{
	static const struct vexit exits[] = {
		{ .kind = EXIT_io, .carried = GROUP_ALL, .io = { .addr = PORT, .size = 1, .port = true } },
		{ .kind = EXIT_io, .carried = 0, .io = { .addr = PORT, .size = 1, .port = true, .write = true, .data = 7 } },
		{ .kind = EXIT_down },
	};
	struct script s = { .next = exits, .hw.rax = 0x1122 };
	struct probe *p;
	struct vm *vm = board(&s, &p);

	vm->vcpu[0]->cpu.dirty = 0;
	CHECK_EQ(vcpu_step(vm->vcpu[0]), STEP_again);
	CHECK_EQ(vm->vcpu[0]->cpu.r.rax, 0x1100 | IN_BYTE);
	CHECK_EQ(vcpu_step(vm->vcpu[0]), STEP_again);
	CHECK_EQ(s.hw.rax, 0x1100 | IN_BYTE);
	CHECK_EQ(s.stored, GROUP_BIT(GROUP_gpr));
	CHECK_EQ(p->written, 7);
	vcpu_step(vm->vcpu[0]);
	CHECK_EQ(vm->end, VM_shutdown);
	CHECK_EQ(vcpu_step(vm->vcpu[0]), STEP_ended);
	CHECK_EQ(s.runs, 3);
	vm_close(vm);
}

/* A halted vCPU blocks without entering the engine until an interrupt comes, which real-mode code takes by its IVT. */
static void
halt_and_interrupt(void)
{
	static const struct vexit exits[] = { { .kind = EXIT_hlt }, { .kind = EXIT_attend }, { .kind = EXIT_down } };
	struct script s = { .next = exits };
	struct probe *p;
	struct vm *vm = board(&s, &p);
	struct vcpu *vc = vm->vcpu[0];
	uint16_t ivt[2] = { 0x1234, 0x50 };

	vc->apic_ops = &irq_ops;
	mem_write(vm->mem, 0x20 * 4, ivt, sizeof(ivt));
	vc->cpu.r.rflags = RFLAGS_fixed | rflags_if_MASK;
	vc->cpu.r.rsp = 0x8000;
	vc->cpu.r.ss = 0, vc->cpu.r.ss_base = 0;
	cpu_mode_update(&vc->cpu);
	CHECK_EQ(vcpu_step(vc), STEP_again);
	CHECK_EQ(vcpu_step(vc), STEP_blocked);
	CHECK_EQ(s.runs, 1);
	irq_vector = 0x20;
	CHECK_EQ(vcpu_step(vc), STEP_again);
	CHECK_EQ(acks, 1);
	CHECK_EQ(vc->cpu.r.rip, 0x1234);
	CHECK_EQ(vc->cpu.r.cs, 0x50);
	CHECK_EQ(rflags_if(&vc->cpu.r), 0);
	vm_close(vm);
}

/* With interrupts off a pending one is not taken, and the engine is told to come back for it. */
static void
window(void)
{
	static const struct vexit exits[] = { { .kind = EXIT_attend }, { .kind = EXIT_down } };
	struct script s = { .next = exits };
	struct probe *p;
	struct vm *vm = board(&s, &p);
	struct vcpu *vc = vm->vcpu[0];

	vc->apic_ops = &irq_ops;
	irq_vector = 0x30;
	cpu_ask(&vc->cpu, ATT_intr);
	CHECK_EQ(vcpu_step(vc), STEP_again);
	CHECK_EQ(acks, 0);
	CHECK(vc->cpu.irq_window);
	vm_close(vm);
}

/* SIPI starts a vCPU that waits for it, at vector << 12, and only then. */
static void
sipi(void)
{
	static const struct vexit exits[] = { { .kind = EXIT_attend }, { .kind = EXIT_attend }, { .kind = EXIT_down } };
	struct script s = { .next = exits };
	struct probe *p;
	struct vm *vm = board(&s, &p);
	struct vcpu *vc = vm->vcpu[0];

	vc->cpu.r.activity = ACTIVITY_wait_sipi;
	CHECK_EQ(vcpu_step(vc), STEP_blocked);
	vcpu_start_ipi(vc, 0x9a);
	CHECK_EQ(vcpu_step(vc), STEP_again);
	CHECK_EQ(vc->cpu.r.cs_base, 0x9a000);
	CHECK_EQ(vc->cpu.r.cs, 0x9a00);
	CHECK_EQ(vc->cpu.r.rip, 0);
	vc->cpu.r.rip = 5;
	vcpu_start_ipi(vc, 0x77);
	CHECK_EQ(vcpu_step(vc), STEP_again);
	CHECK_EQ(vc->cpu.r.rip, 5);
	vm_close(vm);
}

int
main(void)
{
	RUN(port_io);
	RUN(halt_and_interrupt);
	RUN(window);
	RUN(sipi);
	return check_done();
}
