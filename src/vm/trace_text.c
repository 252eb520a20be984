/* SPDX-License-Identifier: Apache-2.0 */
/* vm/trace_text.c - records of the register trace as text and as JSON. */
#include "vm/trace_text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
trace_object(const struct policy_record *r, char *buf, size_t size)
{
	struct policy_object o = { .kind = r->kind, .first = r->num, .last = r->num, .mask = UINT64_MAX };

	if (r->kind == OBJ_reg)
		o.first = o.last = (uint32_t)r->id;
	policy_object_name(&o, buf, size);
}

const char *
trace_verdict(const struct policy_record *r)
{
	switch (r->verdict) {
	case VERDICT_allow: return "allowed";
	case VERDICT_hide: return "hidden";
	case VERDICT_ignore: return "ignored";
	default: return "refused";
	}
}

static bool
has_old(const struct policy_record *r)
{
	return r->kind == OBJ_reg || r->kind == OBJ_device;
}

/* "hardened:4" */
static void
where(const struct policy *p, const struct policy_rule *r, char *buf, size_t size)
{
	const char *name = r->source < p->nsources ? p->source[r->source] : "?";

	if (r->line != 0)
		snprintf(buf, size, "%.200s:%u", name, r->line);
	else
		snprintf(buf, size, "%.200s", name);
}

void
trace_text(const struct policy *p, const struct policy_record *r, char *buf, size_t size)
{
	char object[64], at[224] = "", values[64] = "";

	trace_object(r, object, sizeof(object));
	if (r->access == REG_write && has_old(r))
		snprintf(values, sizeof(values), " %#" PRIx64 " -> %#" PRIx64, r->old, r->val);
	else if (r->access == REG_write || r->read_known)
		snprintf(values, sizeof(values), " %#" PRIx64, r->val);
	if (r->rule != NULL)
		where(p, r->rule, at, sizeof(at));
	snprintf(buf, size, "%" PRIu64 ".%06" PRIu64 " tsc %" PRIu64 " vcpu %u rip %#" PRIx64 " cpl %u: %s %s%s: %s%s%s%s%s%s",
		r->ns / 1000000000, r->ns / 1000 % 1000000, r->tsc, r->cpu, r->rip, r->cpl, policy_access_name(r->access),
		object, values, trace_verdict(r), r->rule != NULL ? " by `" : "", r->rule != NULL ? r->rule->text : "",
		r->rule != NULL ? "` (" : "", at, r->rule != NULL ? ")" : "");
}

/* A file's name may hold anything. */
static void
quote(const char *s, char *buf, size_t size)
{
	size_t n = 0;

	for (; *s != '\0' && n + 7 < size; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == '"' || c == '\\')
			n += (size_t)snprintf(buf + n, size - n, "\\u%04x", c);
		else
			buf[n++] = (char)c;
	}
	buf[n] = '\0';
}

void
trace_json(const struct policy *p, const struct policy_record *r, char *buf, size_t size)
{
	char object[64], at[224] = "", quoted[256] = "", old[48] = "", val[48] = "";

	trace_object(r, object, sizeof(object));
	if (r->access == REG_write && has_old(r))
		snprintf(old, sizeof(old), "\"old\": \"%#" PRIx64 "\", ", r->old);
	if (r->access == REG_write || r->read_known)
		snprintf(val, sizeof(val), "\"value\": \"%#" PRIx64 "\", ", r->val);
	if (r->rule != NULL)
		where(p, r->rule, at, sizeof(at));
	quote(at, quoted, sizeof(quoted));
	snprintf(buf, size, "{\"seq\": %" PRIu64 ", \"ns\": %" PRIu64 ", \"tsc\": %" PRIu64 ", \"vcpu\": %u, \"rip\": \"%#" PRIx64
		"\", \"cpl\": %u, \"access\": \"%s\", \"object\": \"%s\", %s%s\"verdict\": \"%s\", \"rule\": \"%s\", \"at\": \"%s\"}",
		r->seq, r->ns, r->tsc, r->cpu, r->rip, r->cpl, policy_access_name(r->access), object, old, val,
		trace_verdict(r), r->rule != NULL ? r->rule->text : "", quoted);
}
