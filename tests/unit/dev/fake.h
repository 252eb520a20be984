/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/dev/fake.h - a VM without engine or threads: what devices call is only written down.
 *
 * Time is counted, so tests move it with clock_advance() and clock_run().
 */
#pragma once
#include "check.h"
#include "vm/vm.h"
#include <stdlib.h>

enum { FAKE_CPUS = 4 };
static struct vm fake_vm;
static uint32_t fake_kicks[VM_CPUS_MAX];	/* attention bits asked, by vCPU */
static int fake_sipi[VM_CPUS_MAX];		/* last vector, -1: none */

void vcpu_kick(struct vcpu *vc, uint32_t what) { fake_kicks[vc->cpu.index] |= what; }
void vcpu_start_ipi(struct vcpu *vc, uint8_t vector) { fake_sipi[vc->cpu.index] = vector; }
void vm_request_end(struct vm *vm, enum vm_end how) { if (vm->end == VM_running) vm->end = how; }

int
vm_add_dev(struct vm *vm, struct dev *d)
{
	if (d == NULL)
		return -1;
	vm->devs[vm->ndevs++] = d;
	return 0;
}

__attribute__((unused)) static int
fake_take_kicks(unsigned n)
{
	uint32_t k = fake_kicks[n];

	fake_kicks[n] = 0;
	return (int)k;
}

__attribute__((unused)) static void
fake_open(void)
{
	fake_vm = (struct vm){ .clock = clock_open(true), .mem = mem_open(2 << 20), .bus = bus_open(),
		.model.phys_bits = 40 };
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		fake_vm.vcpu[i] = aligned_alloc(64, (sizeof(struct vcpu) + 63) & ~63ul);
		memset(fake_vm.vcpu[i], 0, sizeof(struct vcpu));
		fake_vm.vcpu[i]->vm = &fake_vm;
		fake_vm.vcpu[i]->cpu.index = i;
		fake_vm.vcpu[i]->cpu.model = &fake_vm.model;
		fake_vm.cpus++;
		fake_kicks[i] = 0;
		fake_sipi[i] = -1;
	}
}

__attribute__((unused)) static void
fake_close(void)
{
	while (fake_vm.ndevs > 0) {
		struct dev *d = fake_vm.devs[--fake_vm.ndevs];

		d->ops->close(d);
	}
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		free(fake_vm.vcpu[i]);
	clock_close(fake_vm.clock);
	mem_close(fake_vm.mem);
	bus_close(fake_vm.bus);
}

__attribute__((unused)) static void
fake_advance(uint64_t ns)
{
	uint64_t end = clock_now(fake_vm.clock) + ns, next;

	while ((next = clock_next(fake_vm.clock)) <= end) {
		clock_advance_to(fake_vm.clock, next);
		clock_run(fake_vm.clock);
	}
	clock_advance_to(fake_vm.clock, end);
	clock_run(fake_vm.clock);
}

/* A line of a device under test: its level now and its rising edges. */
static bool fake_level;
static unsigned fake_edges;

static inline void
fake_line_changed(void *ctx, unsigned n, bool level)
{
	(void)ctx, (void)n;
	fake_level = level;
	fake_edges += level;
}

__attribute__((unused)) static struct irq_line *
fake_line(void)
{
	static struct irq_line line;

	line = (struct irq_line){ .changed = fake_line_changed };
	fake_level = false;
	fake_edges = 0;
	return &line;
}

/* Accesses straight to one device. */
__attribute__((unused)) static uint64_t
dev_in(struct dev *d, bool port, uint64_t addr, uint8_t size)
{
	struct io io = { .addr = addr, .size = size, .port = port };

	io.data = size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
	d->ops->io(d, &io);
	return size == 8 ? io.data : io.data & ((1ull << 8 * size) - 1);
}

__attribute__((unused)) static enum io_result
dev_out(struct dev *d, bool port, uint64_t addr, uint8_t size, uint64_t data)
{
	struct io io = { .addr = addr, .size = size, .port = port, .write = true, .data = data };

	return d->ops->io(d, &io);
}

#define INB(d, a) dev_in(d, true, a, 1)
#define OUTB(d, a, v) dev_out(d, true, a, 1, v)
