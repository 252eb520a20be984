/* SPDX-License-Identifier: Apache-2.0 */
/* api/policy.c - register policy and trace as the host program sees them. */
#include "api/api.h"
#include "cpu/policy.h"
#include "host/file.h"
#include "host/log.h"
#include "machine/machine.h"
#include "vm/trace.h"
#include "vm/trace_text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 512, FILE_MAX = 1 << 20 };

/* ---- layers ---- */

static int
add_file(struct policy *p, const char *name, char *err, size_t size)
{
	struct blob b;
	char *text;
	int rc = file_read(name, FILE_MAX, &b, err, size);

	if (rc != 0)
		return rc;
	if (memchr(b.data, 0, b.size) != NULL || (text = strndup((const char *)b.data, b.size)) == NULL) {
		snprintf(err, size, "%s:1:1: is no text", name);
		blob_free(&b);
		return -REGENT_E_format;
	}
	blob_free(&b);
	rc = policy_add_text(p, name, text, true, err, size) != 0 ? -REGENT_E_format : 0;
	free(text);
	return rc;
}

/* A word without a slash may have been meant as a profile. */
static void
add_hint(const char *name, char *err, size_t size)
{
	size_t len = strlen(err);

	if (strchr(name, '/') != NULL || len >= size)
		return;
	snprintf(err + len, size - len, "; shipped profiles are");
	for (unsigned n = 0; (name = policy_profile_name(n, NULL)) != NULL; n++) {
		len = strlen(err);
		snprintf(err + len, size - len, "%s %s", n == 0 ? "" : ",", name);
	}
}

static int
add_named(struct policy *p, const char *name, char *err, size_t size)
{
	const char *text = policy_profile(name);
	int rc;

	if (text != NULL)
		return policy_add_text(p, name, text, true, err, size) != 0 ? -REGENT_E_internal : 0;
	rc = add_file(p, name, err, size);
	if (rc == -REGENT_E_io)
		add_hint(name, err, size);
	return rc;
}

static int
add_layers(struct policy *p, const struct regent_config *cfg, char *err, size_t size)
{
	static const char *const default_only[] = { "default", NULL };
	const char *const *name = cfg->policies != NULL && cfg->policies[0] != NULL ? cfg->policies : default_only;
	char source[32];
	int rc = 0;

	if (policy_add_text(p, "regent-1", machine_policy, true, err, size) != 0)
		return -REGENT_E_internal;
	for (; rc == 0 && *name != NULL; name++)
		rc = add_named(p, *name, err, size);
	for (unsigned n = 0; rc == 0 && cfg->policy_rules != NULL && cfg->policy_rules[n] != NULL; n++) {
		snprintf(source, sizeof(source), n == 0 ? "--policy-rule" : "--policy-rule[%u]", n + 1);
		if (strchr(cfg->policy_rules[n], '\n') != NULL) {
			snprintf(err, size, "%s:1:1: one rule has one line", source);
			return -REGENT_E_usage;
		}
		rc = policy_add_text(p, source, cfg->policy_rules[n], false, err, size) != 0 ? -REGENT_E_usage : 0;
	}
	return rc;
}

struct policy *
policy_of_config(const struct regent_config *cfg, int *rc)
{
	struct policy *p = policy_new();
	char err[LINE - 16] = "";

	if (p == NULL) {
		*rc = regent_open_fail(REGENT_E_memory, "--policy", "no memory for it");
		return NULL;
	}
	*rc = add_layers(p, cfg, err, sizeof(err));
	p->base_rules = p->nrules;
	p->base_sources = p->nsources;
	if (*rc == 0 && policy_seal(p) != 0)
		*rc = -REGENT_E_memory;
	if (*rc == 0)
		return p;
	policy_free(p);
	regent_open_line(-*rc, err);
	return NULL;
}

/* ---- the enforcement report ---- */

static const char *
rule_place(const struct policy *p, const struct policy_rule *r, char *buf, size_t size)
{
	if (r->line != 0)
		snprintf(buf, size, "%s:%u", p->source[r->source], r->line);
	else
		snprintf(buf, size, "%s", p->source[r->source]);
	return buf;
}

int
policy_suits(const struct policy *p, const char *engine)
{
	char line[LINE] = "", place[LINE / 2];
	const char *why;
	unsigned lost = 0;

	for (unsigned n = 0; n < p->nrules; n++) {
		const struct policy_rule *r = &p->rule[n];
		enum policy_can can = policy_engine_can(engine, r, &why);

		if (can == CAN_yes || can == CAN_hiding || r->source == 0)
			continue;
		lost += can == CAN_no;
		if (!r->must)
			continue;
		snprintf(line, sizeof(line), "%s: engine %s can't keep `must %s`: %s; choose a software engine",
			rule_place(p, r, place, sizeof(place)), engine, r->text, why);
		return regent_open_line(REGENT_E_engine, line);
	}
	if (lost > 0)
		LOG(policy, warn, "engine %s can't keep %u rules of the policy; `regent policy check` names them", engine, lost);
	return 0;
}

static const char *
can_text(enum policy_can can)
{
	switch (can) {
	case CAN_yes: return "enforced";
	case CAN_hiding: return "enforced by hiding";
	case CAN_partly: return "enforced in part";
	default: return "not enforceable";
	}
}

int
regent_policy_check(const struct regent_config *cfg, regent_line_fn *line, void *ctx)
{
	const char *engine = cfg->engine != NULL && strcmp(cfg->engine, "auto") != 0 ? cfg->engine : regent_engine_name(0);
	char text[LINE * 2], place[LINE / 2];
	struct policy *p;
	const char *why;
	int rc;

	if (engine_by_name(engine) == NULL)
		return regent_open_fail(REGENT_E_engine, "--engine", "is not built in; see `regent cpus` for what is");
	if ((p = policy_of_config(cfg, &rc)) == NULL)
		return rc;
	for (unsigned n = 0; n < p->nrules; n++) {
		const struct policy_rule *r = &p->rule[n];
		enum policy_can can = policy_engine_can(engine, r, &why);

		snprintf(text, sizeof(text), "%s: %s%s: %s%s%s", rule_place(p, r, place, sizeof(place)), r->must ? "must " : "",
			r->text, can_text(can), *why != '\0' ? ": " : "", why);
		line(ctx, text);
	}
	rc = policy_suits(p, engine);
	policy_free(p);
	return rc;
}

/* ---- why ---- */

struct why {
	const struct policy *p;
	regent_line_fn *line;
	void *ctx;
	const char *word;
};

/* A query that touches just these bits. */
static struct policy_query
query_of(const struct policy_object *o, unsigned access)
{
	struct policy_query q = { .kind = o->kind, .access = (uint8_t)access, .id = -1, .num = o->first,
		.count = o->kind == OBJ_reg ? 1 : o->last - o->first + 1 };
	int id;

	if (o->kind == OBJ_msr && o->first == o->last && (id = reg_by_msr(o->first)) >= 0)
		q.kind = OBJ_reg, q.id = id;
	if (o->kind == OBJ_reg)
		q.id = (int)o->first;
	if (q.kind == OBJ_reg) {
		q.old = o->mask == UINT64_MAX ? ~reg_desc[q.id].reset : o->mask;	/* set, about to be cleared */
		q.val = q.old & ~o->mask;
	}
	return q;
}

static void
say_why(const struct why *w, const char *when, unsigned access, const struct policy_rule *r)
{
	char text[LINE * 2], place[LINE / 2];

	if (r == NULL)
		snprintf(text, sizeof(text), "%s, %s%s: allowed; no rule is about it", w->word, policy_access_name(access), when);
	else
		snprintf(text, sizeof(text), "%s, %s%s: `%s` at %s", w->word, policy_access_name(access), when, r->text,
			rule_place(w->p, r, place, sizeof(place)));
	w->line(w->ctx, text);
}

/* CPUID's rules are not asked access by access: the last one that is about the bits. */
static const struct policy_rule *
cpuid_rule(const struct policy *p, const struct policy_object *o)
{
	for (unsigned n = p->nrules; n-- > 0; ) {
		const struct policy_object *a = &p->rule[n].obj;

		if (a->kind == OBJ_cpuid && a->first == o->first && a->mask & o->mask &&
		    (a->sub == ANY_SUB || o->sub == ANY_SUB || a->sub == o->sub) &&
		    (a->cpuid_reg == ANY_REG || o->cpuid_reg == ANY_REG || a->cpuid_reg == o->cpuid_reg))
			return &p->rule[n];
	}
	return NULL;
}

static int
why_object(void *ctx, const struct policy_object *o)
{
	struct why *w = ctx;
	unsigned possible = policy_object_accesses(o);

	if (o->kind == OBJ_cpuid) {
		say_why(w, "", REG_read, cpuid_rule(w->p, o));
		return 0;
	}
	for (unsigned access = REG_read; access <= REG_execute; access <<= 1) {
		struct policy_query q = query_of(o, access), q2 = q;
		const struct policy_rule *before, *after;

		if (!(possible & access) || (access == REG_read && o->kind == OBJ_reg && o->mask != UINT64_MAX))
			continue;
		before = policy_decides(w->p, &q, false);
		after = policy_decides(w->p, &q2, true);
		say_why(w, before == after ? "" : " before user space", access, before);
		if (before != after)
			say_why(w, " after user space", access, after);
	}
	return 0;
}

static int
why(const struct policy *p, const char *object, regent_line_fn *line, void *ctx)
{
	struct why w = { p, line, ctx, object };
	char err[LINE - 16];

	if (policy_objects(object, strlen(object), why_object, &w, err, sizeof(err)) != 0)
		return regent_open_line(REGENT_E_noreg, err);
	return 0;
}

int
regent_policy_why(const struct regent_config *cfg, const char *object, regent_line_fn *line, void *ctx)
{
	int rc;
	struct policy *p = policy_of_config(cfg, &rc);

	if (p == NULL)
		return rc;
	rc = why(p, object, line, ctx);
	policy_free(p);
	return rc;
}

int
regent_policy_why_vm(struct regent_vm *v, const char *object, regent_line_fn *line, void *ctx)
{
	struct vm *vm = regent_vm_of(v);
	int rc;

	pthread_mutex_lock(&vm->lock);
	rc = why(vm->policy, object, line, ctx);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

int
regent_policy_words(regent_line_fn *line, void *ctx)
{
	char word[96], about[160], text[LINE];

	for (unsigned n = 0; policy_word(n, word, sizeof(word), about, sizeof(about)); n++) {
		snprintf(text, sizeof(text), "%-34s%s", word, about);
		line(ctx, text);
	}
	return 0;
}

const char *
regent_policy_profile(unsigned n, const char **about, const char **text)
{
	const char *name = policy_profile_name(n, about);

	if (name != NULL && text != NULL)
		*text = policy_profile(name);
	return name;
}

/* ---- ask ---- */

static void
on_ask(void *ctx, struct vcpu *vc)
{
	struct regent_vm *v = ctx;
	struct register_ask *ask = regent_ask_of(v);
	struct vcpu_ask a = vc->ask;
	struct policy_record r = { .kind = a.q.kind, .id = (int16_t)a.q.id, .num = a.q.num };
	struct regent_access acc = { .size = sizeof(acc), .cpu = vc->cpu.index, .cpl = a.cpl, .rule = a.rule->text,
		.access = policy_access_name(a.q.access), .rip = a.rip, .old = a.q.old, .val = a.q.val, .id = a.id };
	char object[64];
	enum regent_answer answer;

	trace_object(&r, object, sizeof(object));
	acc.object = object;
	answer = ask->fn(ask->ctx, v, &acc);
	if (answer != REGENT_LATER)
		vcpu_answer(vc, a.id, answer == REGENT_ALLOW ? VERDICT_allow : VERDICT_deny);
}

int
regent_on_register(struct regent_vm *v, regent_register_fn *fn, void *ctx)
{
	struct vm *vm = regent_vm_of(v);

	if (vm->started)
		return -REGENT_E_state;
	*regent_ask_of(v) = (struct register_ask){ fn, ctx };
	vm->on_ask = fn != NULL ? on_ask : NULL;
	vm->on_ask_ctx = v;
	return 0;
}

int
regent_answer(struct regent_vm *v, unsigned cpu, uint64_t id, enum regent_answer answer)
{
	struct vm *vm = regent_vm_of(v);

	if (cpu >= vm->cpus || (answer != REGENT_ALLOW && answer != REGENT_DENY))
		return -REGENT_E_usage;
	return vcpu_answer(vm->vcpu[cpu], id, answer == REGENT_ALLOW ? VERDICT_allow : VERDICT_deny) ? 0 : -REGENT_E_state;
}

/* ---- trace ---- */

static _Thread_local char trace_error[LINE];

/* "cr*,idtr": a `log` rule each. */
static int
add_log_rules(struct policy *p, const char *what)
{
	static const char name[] = "trace";
	char rule[LINE], err[LINE - 16];
	size_t len;

	for (; *what != '\0'; what += len) {
		what += strspn(what, ", ");
		len = strcspn(what, ", ");
		if (len == 0)
			break;
		if (len > LINE / 2) {
			snprintf(trace_error, sizeof(trace_error), "%.40s..: no word is that long", what);
			return -1;
		}
		snprintf(rule, sizeof(rule), "log %.*s", (int)len, what);
		if (memchr(what, '\n', len) != NULL || policy_add_text(p, name, rule, false, err, sizeof(err)) != 0) {
			const char *reason = strstr(err, ": ");

			snprintf(trace_error, sizeof(trace_error), "%s", reason != NULL ? reason + 2 : err);
			return -1;
		}
	}
	return 0;
}

/* Without what regent_trace added. */
static struct policy *
policy_copy_base(const struct policy *from)
{
	struct policy *p = calloc(1, sizeof(*p));
	bool ok = p != NULL;

	for (unsigned n = 0; ok && n < from->base_sources; n++)
		ok = policy_add_source(p, from->source[n]) >= 0;
	for (unsigned n = 0; ok && n < from->base_rules; n++)
		ok = policy_add_rule(p, &from->rule[n]) == 0;
	if (ok) {
		p->base_rules = from->base_rules;
		p->base_sources = from->base_sources;
		return p;
	}
	policy_free(p);
	return NULL;
}

const char *
regent_trace_error(void)
{
	return trace_error;
}

int
regent_trace(struct regent_vm *v, const char *what)
{
	struct vm *vm = regent_vm_of(v);
	struct policy *p;
	int rc = 0;

	pthread_mutex_lock(&vm->lock);
	p = policy_copy_base(vm->policy);
	if (p == NULL)
		rc = -REGENT_E_memory;
	else if (add_log_rules(p, what) != 0)
		rc = -REGENT_E_usage;
	else if (policy_seal(p) != 0)
		rc = -REGENT_E_memory;
	if (rc == 0)
		vm_policy_set(vm, p, p->base_rules);
	else
		policy_free(p);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

int
regent_trace_read(struct regent_vm *v, uint64_t *next, int json, char *buf, size_t size, uint64_t *dropped)
{
	struct vm *vm = regent_vm_of(v);
	struct policy_record r;
	uint64_t gone;
	unsigned n;

	pthread_mutex_lock(&vm->lock);		/* the policy, and with it rules and names, stays */
	n = trace_get(vm->trace, next, &r, 1, &gone);
	if (dropped != NULL)
		*dropped += gone;
	if (n == 1)
		(json ? trace_json : trace_text)(vm->policy, &r, buf, size);
	pthread_mutex_unlock(&vm->lock);
	return (int)n;
}

uint64_t
regent_trace_count(struct regent_vm *v)
{
	return trace_seq(regent_vm_of(v)->trace);
}

int
regent_trace_wait(struct regent_vm *v, uint64_t next, unsigned ms)
{
	struct vm *vm = regent_vm_of(v);

	trace_wait(vm->trace, next, ms);
	return trace_seq(vm->trace) > next;
}
