/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/ops.c - the heavy gate: whatever reaches the machine puts the guest's FPU state away first.
 *
 * The code below cpu_ops (devices, APIC, timers) is ordinary C and may use vector registers.
 */
#include "engine/bt/bt.h"

static const struct cpu_ops *
down(struct cpu *c)
{
	bt_fpu_unload(c->bt);
	return c->bt->lower;
}

static enum io_result op_io(struct cpu *c, struct io *io) { return down(c)->io(c, io); }
static uint64_t op_tsc(struct cpu *c) { return down(c)->tsc(c); }
static bool op_apic_msr(struct cpu *c, uint32_t msr, bool write, uint64_t *val)
	{ return down(c)->apic_msr(c, msr, write, val); }
static void op_apic_base(struct cpu *c, uint64_t val) { down(c)->apic_base(c, val); }
static uint8_t op_tpr_get(struct cpu *c) { return down(c)->tpr_get(c); }
static void op_tpr_set(struct cpu *c, uint8_t tpr) { down(c)->tpr_set(c, tpr); }
static void op_deadline(struct cpu *c, uint64_t t) { down(c)->deadline(c, t); }

static void
bt_tsc_learn(struct bt_state *bt)
{
	bt->tsc_fixed = bt->lower->tsc_delta != NULL && bt->lower->tsc_delta(bt->c, &bt->tsc_delta);
}

static void
op_tsc_write(struct cpu *c, uint64_t t)
{
	down(c)->tsc_write(c, t);
	bt_tsc_learn(c->bt);
}

static void
op_tsc_adjust(struct cpu *c, uint64_t delta)
{
	down(c)->tsc_adjust(c, delta);
	bt_tsc_learn(c->bt);
}

static void op_policy_event(struct cpu *c, struct policy_record *r) { down(c)->policy_event(c, r); }
static enum verdict op_policy_ask(struct cpu *c, const struct policy_query *q, const struct policy_rule *r)
	{ return down(c)->policy_ask(c, q, r); }
static void op_kvm_clock(struct cpu *c, uint32_t msr, uint64_t val) { down(c)->kvm_clock(c, msr, val); }

void
bt_ops_wrap(struct bt_state *bt)
{
	struct cpu *c = bt->c;

	if (c->ops == &bt->ops)
		return;
	bt->lower = c->ops;
	bt_tsc_learn(bt);
	bt->ops = (struct cpu_ops){ .io = op_io, .tsc = op_tsc, .apic_msr = op_apic_msr, .apic_base = op_apic_base,
		.tpr_get = op_tpr_get, .tpr_set = op_tpr_set, .deadline = op_deadline, .tsc_write = op_tsc_write,
		.tsc_adjust = op_tsc_adjust, .kvm_clock = op_kvm_clock,
		.policy_event = bt->lower->policy_event != NULL ? op_policy_event : NULL,
		.policy_ask = bt->lower->policy_ask != NULL ? op_policy_ask : NULL };
	c->ops = &bt->ops;
}
