/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy_access.c - how registers, instructions and ports ask policy_check, and what the guest gets when
 * the answer is no.
 */
#include "cpu/checks.h"
#include "cpu/sysreg.h"

/* The true value of a register that a guest may read. */
static uint64_t
reg_now(struct cpu *c, int id)
{
	if (id == REG_ia32_tsc && c->ops != NULL && c->ops->tsc != NULL)
		return c->ops->tsc(c);
	if (id == REG_cr8 && c->ops != NULL && c->ops->tpr_get != NULL)
		return c->ops->tpr_get(c);
	return c->r.v[id];
}

enum verdict
policy_reg_asked(struct cpu *c, int id, enum reg_access access, uint64_t *val)
{
	struct policy_query q = { .kind = OBJ_reg, .access = (uint8_t)access, .id = id, .count = 1, .val = *val };
	enum verdict v;

	q.old = access == REG_read ? *val : reg_now(c, id);
	v = policy_check(c, &q);
	*val = access == REG_read ? (*val & ~q.fixed) | q.fix : q.val;
	return v;
}

int
policy_refuse(struct cpu *c, enum verdict v, bool ud)
{
	switch (v) {
	case VERDICT_allow:
	case VERDICT_ignore:
		return OK;
	case VERDICT_wait:
		c->fault = (struct cpu_fault){ .kind = EVENT_retry };
		return FAULT;
	case VERDICT_hide:
		return ud ? cpu_raise(c, VEC_ud) : raise_gp(c);
	default:
		return raise_gp(c);
	}
}

/* Both halves are judged before either changes. What is fixed stays. */
int
table_write(struct cpu *c, int base_id, uint64_t base, uint64_t limit)
{
	enum verdict v;

	v = policy_reg(c, base_id, REG_write, &base);
	if (v != VERDICT_allow)
		return policy_refuse(c, v, true);
	v = policy_reg(c, base_id + 1, REG_write, &limit);
	if (v != VERDICT_allow && v != VERDICT_ignore)
		return policy_refuse(c, v, true);
	c->r.v[base_id] = base;
	c->r.v[base_id + 1] = limit;
	return OK;
}

int
table_read(struct cpu *c, int base_id, uint64_t *base, uint64_t *limit)
{
	enum verdict v;

	*base = c->r.v[base_id];
	*limit = c->r.v[base_id + 1];
	v = policy_reg(c, base_id, REG_read, base);
	if (v == VERDICT_allow)
		v = policy_reg(c, base_id + 1, REG_read, limit);
	return policy_refuse(c, v, true);
}

int
segment_write(struct cpu *c, enum seg_id seg, uint64_t sel, uint64_t base)
{
	int id = REG_es + 4 * (int)seg;
	enum verdict v = policy_reg(c, id, REG_write, &sel);

	if (v == VERDICT_allow)
		v = policy_reg(c, id + 1, REG_write, &base);
	return v == VERDICT_ignore ? raise_gp(c) : policy_refuse(c, v, true);
}

int
policy_insn(struct cpu *c, enum policy_insn n)
{
	struct policy_query q = { .kind = OBJ_insn, .access = REG_execute, .id = -1, .num = n, .count = 1 };

	if (n == PINSN_cpuid)
		q.val = (uint32_t)c->r.rax;
	return policy_refuse(c, policy_check(c, &q), true);
}

static bool
port_policed(const struct cpu *c, const struct io *io)
{
	unsigned n;

	if (c->policy == NULL || c->policy->ports == NULL)
		return false;
	for (n = 0; n < io->size && io->addr + n <= UINT16_MAX; n++)
		if (c->policy->ports[(io->addr + n) / 8] >> (io->addr + n) % 8 & 1)
			return true;
	return false;
}

/* Apart from policy_port, most of whose calls find no rule. */
static __attribute__((noinline)) int
port_decide(struct cpu *c, struct io *io, bool *done)
{
	struct policy_query q = { .kind = OBJ_port, .access = io->write ? REG_write : REG_read, .id = -1,
		.num = (uint32_t)io->addr, .count = io->size, .val = io->data };
	enum verdict v = policy_check(c, &q);

	*done = v == VERDICT_hide || v == VERDICT_ignore || q.fixed != 0;
	if (!io->write)
		io->data = q.fixed != 0 ? q.fix : UINT64_MAX;
	return v == VERDICT_hide ? OK : policy_refuse(c, v, false);
}

int
policy_port(struct cpu *c, struct io *io, bool *done)
{
	*done = false;
	return port_policed(c, io) ? port_decide(c, io, done) : OK;
}

int
policy_msr(struct cpu *c, uint32_t msr, enum reg_access access, uint64_t *val, bool *done)
{
	struct policy_query q = { .kind = OBJ_msr, .access = (uint8_t)access, .id = -1, .num = msr, .count = 1, .val = *val };
	enum verdict v = policy_check(c, &q);

	*done = v == VERDICT_ignore || q.fixed != 0;
	if (q.fixed != 0)
		*val = q.fix;
	return policy_refuse(c, v, false);
}

bool
policy_init_refused(struct cpu *c)
{
	struct policy_query q = { .kind = OBJ_init, .access = REG_execute, .id = -1, .count = 1 };

	if (c->policy == NULL || !c->policy->init)
		return false;
	return policy_check(c, &q) != VERDICT_allow;
}

bool
policy_adopt(struct cpu *c, const struct policy *p)
{
	static const uint8_t none[REG__COUNT];
	uint32_t insns = p != NULL ? p->insns : 0;
	bool fsgs = (c->policed != NULL && (c->policed[REG_fs_base] | c->policed[REG_gs_base]));
	bool changed = insns != c->police_insns;

	c->policy = p;
	c->policed = p != NULL ? p->reg : none;
	c->police_insns = insns;
	return changed || fsgs != ((c->policed[REG_fs_base] | c->policed[REG_gs_base]) != 0);
}
