/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/cpu.c - making and ending a virtual processor. */
#include "cpu/paging.h"
#include <stdlib.h>

int
cpu_open(struct cpu *c, struct mem *mem, const struct cpu_model *model, unsigned index)
{
	c->paging_state = calloc(1, sizeof(*c->paging_state));
	if (c->paging_state == NULL)
		return -1;
	c->mem = mem;
	c->model = model;
	c->index = index;
	c->retire_limit = UINT64_MAX;
	c->valid = GROUP_ALL;
	policy_adopt(c, NULL);
	reg_reset(&c->r, &c->fpu);
	if (index != 0) {
		c->r.ia32_apic_base &= ~ia32_apic_base_bsp_MASK;
		c->r.activity = ACTIVITY_wait_sipi;
	}
	tlb_init(c);
	cpu_mode_update(c);
	if (shootdown_join(c) != 0) {
		free(c->paging_state);
		return -1;
	}
	return 0;
}

void
cpu_close(struct cpu *c)
{
	if (c->paging_state == NULL)
		return;
	shootdown_leave(c);
	free(c->paging_state);
	c->paging_state = NULL;
}
