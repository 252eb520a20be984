/* SPDX-License-Identifier: Apache-2.0 */
/* cli/state.c - the registers of a machine that failed, on stderr: what a report of the failure needs. */
#include "cli/state.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 4 };

/* Whole groups would be pages: these say where the guest was, and in which mode. */
static const char *const shown[] = {
	"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
	"rip", "rflags", "cs", "cs_base", "ss", "ds", "es", "fs_base", "gs_base", "tr", "gdtr_base", "idtr_base",
	"cr0", "cr2", "cr3", "cr4", "ia32_efer", "ia32_apic_base", "activity", "interruptibility",
};

/* False: there is no such vCPU, or its registers can't be had. */
static int
cpu_print(struct regent_vm *vm, unsigned cpu)
{
	uint64_t val;

	for (unsigned i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		int id = regent_reg_id(shown[i]);

		if (id < 0 || regent_reg_get(vm, cpu, (unsigned)id, &val) != 0)
			return 0;
		if (i == 0)
			fprintf(stderr, "vCPU %u:\n", cpu);
		fprintf(stderr, "  %-16s%016" PRIx64 "%s", shown[i], val, i % COLUMNS == COLUMNS - 1 ? "\n" : "");
	}
	return 1;
}

void
state_print(struct regent_vm *vm)
{
	for (unsigned cpu = 0; cpu_print(vm, cpu); cpu++)
		;
}
