/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy_parse.c - the text of a policy: one rule a line, `#` begins a comment.
 *
 *	[must] VERB [read] [write] [execute] OBJECT.. [= VALUE] [after userspace]
 *
 * Text comes from files that anybody may have written: nothing in it is trusted.
 */
#include "cpu/cpuid.h"
#include "cpu/policy.h"
#include "cpu/checks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECTS_MAX = 512, RULES_MAX = 16384 };

const char *const policy_verb_name[VERB__COUNT] = {
	[VERB_allow] = "allow", [VERB_deny] = "deny", [VERB_hide] = "hide", [VERB_fix] = "fix", [VERB_pin] = "pin",
	[VERB_ask] = "ask", [VERB_log] = "log",
};

const char *
policy_access_name(unsigned access)
{
	switch (access) {
	case REG_read: return "read";
	case REG_write: return "write";
	case REG_execute: return "execute";
	case REG_read | REG_write: return "read write";
	default: return "access";
	}
}

struct parse {
	struct policy *p;
	const char *name, *line_start, *at, *end;	/* of the line */
	unsigned line;
	bool lines;
	char *err;
	size_t size;
	/* -- the rule being read -- */
	struct policy_rule rule;
	struct policy_object obj[OBJECTS_MAX];
	const char *obj_at[OBJECTS_MAX];
	unsigned nobj;
	const char *obj_now;
	bool has_value;
};

static int
fail(const struct parse *q, const char *at, const char *why)
{
	snprintf(q->err, q->size, "%s:%u:%u: %s", q->name, q->line, (unsigned)(at - q->line_start) + 1, why);
	return -1;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of the line; 0 at its end. `=` is a word of its own. */
static size_t
word(struct parse *q)
{
	const char *s;

	while (q->at < q->end && is_space(*q->at))
		q->at++;
	if (q->at == q->end || *q->at == '#')
		return 0;
	if (*q->at == '=')
		return 1;
	for (s = q->at; s < q->end && !is_space(*s) && *s != '#' && *s != '='; s++)
		;
	return (size_t)(s - q->at);
}

static bool
take(struct parse *q, const char *what)
{
	size_t len = word(q);

	if (strlen(what) != len || memcmp(q->at, what, len) != 0)
		return false;
	q->at += len;
	return true;
}

static int
put_object(void *ctx, const struct policy_object *o)
{
	struct parse *q = ctx;

	if (q->nobj == OBJECTS_MAX)
		return -1;
	q->obj_at[q->nobj] = q->obj_now;
	q->obj[q->nobj++] = *o;
	return 0;
}

static int
parse_verb(struct parse *q)
{
	unsigned v;

	for (v = 0; v < VERB__COUNT; v++)
		if (take(q, policy_verb_name[v])) {
			q->rule.verb = (uint8_t)v;
			return 0;
		}
	return fail(q, q->at, "no verb; write allow, deny, hide, fix, pin, ask or log");
}

static void
parse_accesses(struct parse *q)
{
	for (;;) {
		if (take(q, "read"))
			q->rule.accesses |= REG_read;
		else if (take(q, "write"))
			q->rule.accesses |= REG_write;
		else if (take(q, "execute"))
			q->rule.accesses |= REG_execute;
		else
			return;
	}
}

static int
parse_value(struct parse *q)
{
	char buf[32], *end;
	size_t len = word(q);

	if (len == 0 || len >= sizeof(buf))
		return fail(q, q->at, "a number should stand behind =");
	memcpy(buf, q->at, len);
	buf[len] = '\0';
	q->rule.value = strtoull(buf, &end, 0);
	if (buf[0] < '0' || buf[0] > '9' || *end != '\0')
		return fail(q, q->at, "no number; write it like 0x1f or 31");
	q->at += len;
	q->has_value = true;
	return 0;
}

/* Objects, and what stands behind them. */
static int
parse_rest(struct parse *q)
{
	char why[160];
	size_t len;

	while ((len = word(q)) != 0) {
		if (q->has_value && *q->at == '=')
			return fail(q, q->at, "a second value");
		if (*q->at == '=') {
			q->at++;
			if (parse_value(q) != 0)
				return -1;
			continue;
		}
		if (take(q, "after")) {
			if (!take(q, "userspace"))
				return fail(q, q->at, "only `after userspace` is known");
			if (word(q) != 0)
				return fail(q, q->at, "nothing may stand behind `after userspace`");
			q->rule.after = true;
			return 0;
		}
		if (q->has_value)
			return fail(q, q->at, "only `after userspace` may stand behind a value");
		q->obj_now = q->at;
		if (policy_objects(q->at, len, put_object, q, why, sizeof(why)) != 0)
			return fail(q, q->at, why);
		q->at += len;
	}
	return q->nobj > 0 ? 0 : fail(q, q->at, "names no register or other object");
}

static bool
is_bits(const struct policy_object *o)
{
	return o->kind == OBJ_reg && o->mask != UINT64_MAX;
}

/* The CPUID feature that stands for the object, or CPUF_always. */
static uint16_t
feature_of(const struct policy_object *o)
{
	unsigned f;

	if (is_bits(o))
		return (uint16_t)reg_bit_feature((int)o->first, o->mask);
	if (o->kind == OBJ_reg)
		return reg_desc[o->first].since;
	for (f = CPUF_always + 1; f < CPUF__COUNT && o->kind == OBJ_insn; f++)
		if (strcmp(cpu_feature_name((enum cpu_feature)f), policy_insn_name(o->first, NULL)) == 0)
			return (uint16_t)f;
	return CPUF_always;
}

/* Why this verb can't be said of this object; NULL: it can. */
static const char *
misfit(const struct policy_rule *r)
{
	const struct policy_object *o = &r->obj;

	switch (r->verb) {
	case VERB_hide:
		if (r->after)
			return "what a guest has seen can't be hidden any more: no `after` with hide";
		if (o->kind == OBJ_init)
			return "INIT can't be hidden; deny it";
		return is_bits(o) && r->feature == CPUF_always ? "no CPUID feature stands for this bit; fix or pin it" : NULL;
	case VERB_fix:
		if (o->kind == OBJ_insn || o->kind == OBJ_init || (o->kind == OBJ_reg && policy_object_accesses(o) == REG_write))
			return "has no value that could be fixed";
		return o->kind == OBJ_reg && o->first != o->last ? "has two values; fix its _base and its _limit" : NULL;
	case VERB_pin:
		return o->kind == OBJ_reg || o->kind == OBJ_msr || o->kind == OBJ_device ? NULL : "only registers and their bits can be pinned";
	case VERB_ask:
	case VERB_deny:
	case VERB_log:
		if (o->kind == OBJ_cpuid)
			return "CPUID bits are hidden or fixed; the instruction `cpuid` can be refused or logged";
		if (r->verb == VERB_ask && o->kind == OBJ_device)
			return "a device can't wait for an answer; allow or deny it";
		return r->verb == VERB_ask && o->kind == OBJ_init ? "INIT is not asked about; allow or deny it" : NULL;
	default:
		return NULL;
	}
}

static unsigned
accesses_possible(const struct policy_rule *r)
{
	if (r->verb == VERB_pin)
		return REG_write;
	if (is_bits(&r->obj) && r->verb != VERB_fix && r->verb != VERB_allow)
		return REG_write;
	return policy_object_accesses(&r->obj);
}

static void
rule_text(struct policy_rule *r, unsigned asked)
{
	char name[96], value[24] = "";

	policy_object_name(&r->obj, name, sizeof(name));
	if (r->verb == VERB_fix)
		snprintf(value, sizeof(value), " = %#llx",
			(unsigned long long)(r->obj.mask == 0 ? 0 : (r->value & r->obj.mask) >> __builtin_ctzll(r->obj.mask)));
	snprintf(r->text, sizeof(r->text), "%s%s%s %.60s%s%s", policy_verb_name[r->verb], asked != 0 ? " " : "",
		asked != 0 ? policy_access_name(asked) : "", name, value, r->after ? " after userspace" : "");
}

static int
add_one(struct parse *q, unsigned n)
{
	struct policy_rule r = q->rule;
	unsigned asked = r.accesses, possible;
	const char *why;

	r.obj = q->obj[n];
	r.feature = feature_of(&r.obj);
	if ((why = misfit(&r)) != NULL)
		return fail(q, q->obj_at[n], why);
	possible = accesses_possible(&r);
	if (asked & ~possible)
		return fail(q, q->obj_at[n], possible == REG_write ? "is only governed when it is written" :
			possible == REG_execute ? "is only executed" : possible == REG_read ? "is only read" :
			"is read and written, not executed");
	r.accesses = (uint8_t)(asked != 0 ? asked : possible);
	if (r.verb == VERB_fix && r.obj.mask != UINT64_MAX) {
		unsigned at = (unsigned)__builtin_ctzll(r.obj.mask);

		if (r.value > r.obj.mask >> at)
			return fail(q, q->obj_at[n], "the value does not fit");
		r.value <<= at;
	}
	r.line = (uint16_t)(q->lines ? q->line : 0);
	rule_text(&r, asked);
	if (q->p->nrules >= RULES_MAX)
		return fail(q, q->obj_at[n], "too many rules");
	return policy_add_rule(q->p, &r) == 0 ? 0 : fail(q, q->obj_at[n], "no memory");
}

static int
parse_line(struct parse *q)
{
	const char *first;
	unsigned n;

	q->nobj = 0;
	q->has_value = false;
	q->rule = (struct policy_rule){ .source = q->rule.source };
	if (word(q) == 0)
		return 0;
	first = q->at;
	q->rule.must = take(q, "must");
	if (parse_verb(q) != 0)
		return -1;
	parse_accesses(q);
	if (parse_rest(q) != 0)
		return -1;
	if (q->has_value != (q->rule.verb == VERB_fix))
		return fail(q, first, q->has_value ? "only `fix` takes a value" : "`fix` needs a value: fix NAME = VALUE");
	for (n = 0; n < q->nobj; n++)
		if (add_one(q, n) != 0)
			return -1;
	return 0;
}

int
policy_add_text(struct policy *p, const char *name, const char *text, bool lines, char *err, size_t size)
{
	struct parse *q = calloc(1, sizeof(*q));
	int rc = 0, source;

	if (q == NULL || (source = policy_add_source(p, name)) < 0) {
		snprintf(err, size, "%s: too many policies", name);
		free(q);
		return -1;
	}
	*q = (struct parse){ .p = p, .name = name, .lines = lines, .err = err, .size = size, .rule.source = (uint16_t)source };
	for (; rc == 0 && *text != '\0'; text = q->end + (*q->end == '\n')) {
		q->line++;
		q->line_start = q->at = text;
		q->end = text + strcspn(text, "\n");
		rc = q->line > UINT16_MAX ? fail(q, text, "too many lines") : parse_line(q);
	}
	free(q);
	return rc;
}
