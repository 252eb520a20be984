/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/regwrite.c - one register write, whoever asks for it, judged by its row of registers.def. */
#include "cpu/checks.h"
#include "cpu/sysreg.h"

typedef int check_fn(struct cpu *c, int id, uint64_t val);

static check_fn *const check[REG__COUNT] = {
#define R(name_, group_, bits_, reset_, init_, writable_, rest_, since_, policy_, msr_, kvm_, gdb_, kind_, judge_) \
	[REG_##name_] = check_##judge_,
#include "cpu/registers.def"
#undef R
};

/* The masks alone. */
int
check_none(struct cpu *c, int id, uint64_t val)
{
	const struct reg_desc *d = &reg_desc[id];
	uint64_t old = c->r.v[id];

	if (d->rest == REST_gp && (val ^ old) & ~d->writable)
		return raise_gp(c);
	c->r.v[id] = (old & ~d->writable) | (val & d->writable);
	if (d->group == GROUP_seg || id == REG_rflags)
		cpu_mode_update(c);
	return OK;
}

int
check_readonly(struct cpu *c, int id, uint64_t val)
{
	(void)id, (void)val;
	return raise_gp(c);
}

int
check_canonical(struct cpu *c, int id, uint64_t val)
{
	if (!is_canonical(c, val))
		return raise_gp(c);
	return check_none(c, id, val);
}

int
reg_guest_write(struct cpu *c, int id, uint64_t val)
{
	return check[id](c, id, val);
}
