/* SPDX-License-Identifier: Apache-2.0 */
/* cli/regs_vm.h - the registers of a machine that runs. */
#pragma once
#include <stdbool.h>

struct regs_vm {
	const char *machine, *group;	/* group NULL: any */
	unsigned vcpu;
	char **names;			/* nnames registers; 0: all */
	int nnames;
	bool watch, json;
};
int regs_vm_show(const struct regs_vm *w);	/* an exit status */
