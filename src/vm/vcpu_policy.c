/* SPDX-License-Identifier: Apache-2.0 */
/* vm/vcpu_policy.c - what a vCPU's policy reaches outside: the trace, a line for people, the host program.
 *
 * An `ask` works by trying again: the instruction stops as if it had not begun, the vCPU stands still
 * until the answer is there, and the same question then finds it. Nothing sleeps in here.
 */
#include "vm/vcpu.h"

#include "host/log.h"
#include "vm/trace.h"
#include "vm/trace_text.h"

void
vcpu_policy_event(struct cpu *c, struct policy_record *r)
{
	struct vcpu *vc = c->owner;
	char text[TRACE_TEXT];

	r->tsc = c->ops->tsc != NULL ? c->ops->tsc(c) : 0;
	r->ns = clock_now(vc->vm->clock);
	trace_put(vc->vm->trace, r);
	if (r->verdict == VERDICT_allow)
		return;
	trace_text(vc->vm->policy, r, text, sizeof(text));
	LOG(policy, warn, "%s", text);
}

static bool
is_same(const struct vcpu_ask *a, const struct cpu *c, const struct policy_query *q)
{
	return a->rip == c->r.rip && a->q.kind == q->kind && a->q.access == q->access && a->q.id == q->id &&
		a->q.num == q->num && a->q.val == q->val;
}

enum verdict
vcpu_policy_ask(struct cpu *c, const struct policy_query *q, const struct policy_rule *r)
{
	struct vcpu *vc = c->owner;
	struct vm *vm = vc->vm;
	struct vcpu_ask *a = &vc->ask;
	enum verdict v = VERDICT_wait;

	if (vm->on_ask == NULL)
		return VERDICT_deny;
	pthread_mutex_lock(&vm->lock);
	if (a->answered && is_same(a, c, q))
		v = (enum verdict)a->verdict;
	else
		*a = (struct vcpu_ask){ .waiting = true, .rip = c->r.rip, .cpl = c->cpl, .id = a->id + 1, .q = *q, .rule = r };
	a->answered = false;
	pthread_mutex_unlock(&vm->lock);
	if (v != VERDICT_wait || vc->engine->software)
		return v;
	/* Hardware can't try again: the answer comes at once or it is no. */
	vcpu_tell(vc);
	pthread_mutex_lock(&vm->lock);
	v = a->answered ? (enum verdict)a->verdict : VERDICT_deny;
	a->answered = a->waiting = false;
	pthread_mutex_unlock(&vm->lock);
	return v;
}

static enum verdict
device_check(struct vm *vm, unsigned n, unsigned access, uint64_t old, uint64_t *val)
{
	struct policy_query q = { .kind = OBJ_device, .access = (uint8_t)access, .id = -1, .num = n, .count = 1, .old = old,
		.val = *val };
	enum verdict v;

	if (vm->accessing == NULL || vm->accessing->cpu.policy == NULL || !vm->accessing->cpu.policy->devices)
		return VERDICT_allow;
	v = policy_check(&vm->accessing->cpu, &q);
	*val = access == REG_read ? (old & ~q.fixed) | q.fix : q.val;
	return v;
}

bool
vm_device_allows(struct vm *vm, unsigned n, uint64_t old, uint64_t *val)
{
	return device_check(vm, n, REG_write, old, val) == VERDICT_allow;
}

void
vm_device_shows(struct vm *vm, unsigned n, uint64_t *val)
{
	if (device_check(vm, n, REG_read, *val, val) != VERDICT_allow)
		*val = UINT64_MAX;
}

void
vcpu_tell(struct vcpu *vc)
{
	if (!vc->ask.waiting || vc->ask.told)
		return;
	vc->ask.told = true;
	vc->vm->on_ask(vc->vm->on_ask_ctx, vc);
}

bool
vcpu_answer(struct vcpu *vc, uint64_t id, enum verdict v)
{
	bool ok;

	pthread_mutex_lock(&vc->vm->lock);
	ok = vc->ask.waiting && vc->ask.id == id;
	if (ok) {
		vc->ask.waiting = false;
		vc->ask.answered = true;
		vc->ask.verdict = (uint8_t)v;
	}
	pthread_mutex_unlock(&vc->vm->lock);
	if (ok)
		vcpu_kick(vc, ATT_kick);
	return ok;
}

void
vcpu_policy_attend(struct vcpu *vc)
{
	struct cpu *c = &vc->cpu;

	if (c->policy != vc->vm->policy && policy_adopt(c, vc->vm->policy) && vc->engine->forget != NULL)
		vc->engine->forget(c);
}

static bool
all_adopted(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->cpus; i++)
		if (vm->vcpu[i]->cpu.policy != vm->policy)
			return false;
	return true;
}

void
vm_policy_set(struct vm *vm, struct policy *p, unsigned common)
{
	struct policy *now;

	pthread_mutex_lock(&vm->lock);
	now = vm->policy;
	if (now != NULL && now->older != NULL && all_adopted(vm)) {
		policy_free(now->older);	/* no vCPU, and since trace_rebase no record, knows it */
		now->older = NULL;
	}
	if (now != NULL)
		trace_rebase(vm->trace, now, p, common);
	p->older = now;
	vm->policy = p;
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_kick(vm->vcpu[i], ATT_kick);
	pthread_mutex_unlock(&vm->lock);
}
