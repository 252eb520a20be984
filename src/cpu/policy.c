/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy.c - may the guest do this to that register? One decision for every engine.
 *
 * Called from everywhere a guest reaches a register, and only for accesses that some rule is about
 * (cpu->policed, policy_reg in sysreg.h): those that no rule concerns cost one load and one branch.
 */
#include "cpu/policy.h"
#include "cpu/cpuid.h"
#include "cpu/sysreg.h"

/* What the walk over the rules has come to. */
struct walk {
	const struct policy_rule *decided, *logged;
	enum verdict verdict;
	uint64_t open;		/* bits on which no rule has spoken */
};

static bool
object_is(const struct policy_object *o, const struct policy_query *q)
{
	if (o->kind == OBJ_msr && q->kind == OBJ_reg)
		return reg_desc[q->id].msr != NOMSR && reg_desc[q->id].msr >= o->first && reg_desc[q->id].msr <= o->last;
	if (o->kind != q->kind)
		return false;
	if (q->kind == OBJ_reg)
		return (uint32_t)q->id >= o->first && (uint32_t)q->id <= o->last;
	return q->num + (q->count - 1) >= o->first && q->num <= o->last;
}

/* Once it was given a value that is not that of RESET, or once user space has begun. */
static bool
is_frozen(const struct policy_rule *r, const struct policy_query *q)
{
	return r->after || q->old != (q->id < 0 ? 0 : reg_desc[q->id].reset);
}

static void
decide(struct walk *w, const struct policy_rule *r, enum verdict v)
{
	w->decided = r;
	w->verdict = v;
	w->open = 0;
}

static void
pin(struct walk *w, const struct policy_rule *r, const struct policy_query *q, uint64_t bits)
{
	bool whole = r->obj.mask == UINT64_MAX;

	if (whole ? q->val != q->old && is_frozen(r, q) : (q->old & ~q->val & bits) != 0)
		decide(w, r, VERDICT_deny);
}

static void
fix(struct walk *w, const struct policy_rule *r, struct policy_query *q, uint64_t bits)
{
	if (q->access == REG_write) {
		q->val = (q->val & ~bits) | (q->old & bits);
	} else {
		q->fixed |= bits;
		q->fix |= r->value & bits;
	}
	if (w->decided == NULL)
		w->decided = r;
	w->open &= ~bits;
}

static void
apply(struct walk *w, const struct policy_rule *r, struct policy_query *q, uint64_t bits)
{
	switch (r->verb) {
	case VERB_log:
		if (w->logged == NULL)
			w->logged = r;
		break;
	case VERB_allow:
		if (w->decided == NULL)
			w->decided = r;
		w->open &= ~bits;
		break;
	case VERB_deny:
		decide(w, r, VERDICT_deny);
		break;
	case VERB_hide:
		decide(w, r, VERDICT_hide);
		break;
	case VERB_ask:
		decide(w, r, VERDICT_wait);
		break;
	case VERB_pin:
		if (q->access == REG_write)
			pin(w, r, q, bits);
		break;
	default:
		fix(w, r, q, bits);
	}
}

/* From the last rule to the first, until every bit that matters is spoken for. Rules about bits see
 * only writes that change these; a write that changes nothing is a matter of whole-register rules. */
static void
walk(const struct policy *p, struct policy_query *q, bool userspace, struct walk *w)
{
	bool valued = q->access == REG_write && (q->kind == OBJ_reg || q->kind == OBJ_device);
	bool same = valued && q->old == q->val;
	uint64_t bits;
	unsigned i;

	*w = (struct walk){ .open = UINT64_MAX };
	if (valued && !same)
		w->open = q->old ^ q->val;
	for (i = p->nrules; i-- > 0 && w->open != 0; ) {
		const struct policy_rule *r = &p->rule[i];

		if (!(r->accesses & q->access) || (r->after && !userspace) || !object_is(&r->obj, q))
			continue;
		bits = r->obj.mask & w->open;
		if (bits == 0 || (same && r->obj.mask != UINT64_MAX))
			continue;
		apply(w, r, q, r->obj.mask == UINT64_MAX && q->access != REG_write ? UINT64_MAX : bits);
	}
}

const struct policy_rule *
policy_decides(const struct policy *p, struct policy_query *q, bool userspace)
{
	struct walk w;

	walk(p, q, userspace, &w);
	return w.decided != NULL ? w.decided : w.logged;
}

static bool
userspace_began(const struct cpu *c)
{
	return c->userspace != NULL && atomic_load_explicit(c->userspace, memory_order_acquire) && !c->user_late;
}

static void
record(struct cpu *c, const struct policy_query *q, const struct policy_rule *r, enum verdict v)
{
	struct policy_record rec = { .rip = c->r.rip, .old = q->old, .val = q->access == REG_write ? q->val : q->old,
		.num = q->num, .id = (int16_t)q->id, .kind = q->kind, .access = q->access, .verdict = (uint8_t)v,
		.cpl = c->cpl, .cpu = (uint16_t)c->index, .read_known = (q->kind == OBJ_reg || q->kind == OBJ_device) && q->access == REG_read, .rule = r };

	if (c->ops != NULL && c->ops->policy_event != NULL)
		c->ops->policy_event(c, &rec);
}

/* The host program's answer: allow, deny, or (it thinks) wait. Nobody to ask is a refusal. */
static enum verdict
ask(struct cpu *c, const struct policy_query *q, const struct policy_rule *r)
{
	if (c->ops == NULL || c->ops->policy_ask == NULL)
		return VERDICT_deny;
	return c->ops->policy_ask(c, q, r);
}

enum verdict
policy_check(struct cpu *c, struct policy_query *q)
{
	uint64_t wanted = q->val;
	struct walk w;

	if (c->policy == NULL)
		return VERDICT_allow;
	walk(c->policy, q, userspace_began(c), &w);
	if (w.verdict == VERDICT_wait) {
		w.verdict = ask(c, q, w.decided);
		if (w.verdict == VERDICT_wait)
			return w.verdict;
		w.logged = w.decided;		/* what was asked is always written down */
	}
	if (w.verdict == VERDICT_allow && q->access == REG_write && w.decided != NULL && w.decided->verb == VERB_fix &&
	    q->val == q->old)
		w.verdict = VERDICT_ignore;
	if (w.logged != NULL || w.verdict == VERDICT_deny || w.verdict == VERDICT_hide || w.verdict == VERDICT_ignore) {
		struct policy_query told = *q;

		told.val = wanted;
		if (q->access == REG_read)
			told.old = (q->old & ~q->fixed) | q->fix;
		record(c, &told, w.decided != NULL && (w.verdict != VERDICT_allow || w.logged == NULL) ? w.decided : w.logged,
			w.verdict);
	}
	return w.verdict;
}

void
policy_user_begins(struct cpu *c)
{
	c->user_watch = false;
	c->user_late = false;
	if (c->userspace != NULL)
		atomic_store_explicit(c->userspace, true, memory_order_release);
}

static uint32_t *
answer_reg(struct cpuid_regs *r, unsigned n)
{
	return n == 0 ? &r->eax : n == 1 ? &r->ebx : n == 2 ? &r->ecx : &r->edx;
}

void
policy_cpuid(const struct cpu *c, uint32_t leaf, uint32_t sub, struct cpuid_regs *out)
{
	const struct policy *p = c->policy;
	uint32_t open[4] = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX }, bits, *reg;
	unsigned i, n;

	for (i = p->nrules; i-- > 0; ) {
		const struct policy_rule *r = &p->rule[i];

		if (r->obj.kind != OBJ_cpuid || r->obj.first != leaf || (r->obj.sub != ANY_SUB && r->obj.sub != sub) ||
		    (r->after && !userspace_began(c)) || r->verb == VERB_log)
			continue;
		for (n = 0; n < 4; n++) {
			if (r->obj.cpuid_reg != ANY_REG && r->obj.cpuid_reg != n)
				continue;
			reg = answer_reg(out, n);
			bits = (uint32_t)r->obj.mask & open[n];
			open[n] &= ~bits;
			if (r->verb == VERB_hide || r->verb == VERB_fix)
				*reg = (*reg & ~bits) | (r->verb == VERB_fix ? (uint32_t)r->value & bits : 0);
		}
	}
}
