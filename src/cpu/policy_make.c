/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy_make.c - a policy's rules put together, and what engines want to know of them at once. */
#include "cpu/policy.h"
#include "cpu/cpuid.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { X2APIC_FIRST = 0x800, X2APIC_LAST = 0x8ff };

int
policy_add_rule(struct policy *p, const struct policy_rule *r)
{
	if (p->nrules == p->room) {
		unsigned room = p->room == 0 ? 64 : p->room * 2;
		struct policy_rule *more = realloc(p->rule, room * sizeof(*more));

		if (more == NULL)
			return -1;
		p->rule = more;
		p->room = room;
	}
	p->rule[p->nrules++] = *r;
	return 0;
}

int
policy_add_source(struct policy *p, const char *name)
{
	for (unsigned n = 0; n < p->nsources; n++)
		if (strcmp(p->source[n], name) == 0)
			return (int)n;
	if (p->nsources == POLICY_SOURCES || (p->source[p->nsources] = strdup(name)) == NULL)
		return -1;
	return (int)p->nsources++;
}

/* The lowest layer: the `policy` column of registers.def. */
static int
add_defaults(struct policy *p)
{
	static const uint8_t verb[] = { [POLICY_allow] = VERB_allow, [POLICY_log] = VERB_log, [POLICY_deny] = VERB_deny,
		[POLICY_hide] = VERB_hide };
	int id, source = policy_add_source(p, "registers.def");

	for (id = 0; source >= 0 && id < REG__COUNT; id++) {
		struct policy_rule r = { .verb = verb[reg_desc[id].policy], .accesses = REG_read | REG_write,
			.source = (uint16_t)source, .feature = reg_desc[id].since,
			.obj = { .kind = OBJ_reg, .first = (uint32_t)id, .last = (uint32_t)id, .mask = UINT64_MAX } };

		if (r.verb == VERB_allow)
			continue;
		if (r.verb == VERB_log)
			r.accesses = REG_write;
		snprintf(r.text, sizeof(r.text), "%s %s", policy_verb_name[r.verb], reg_desc[id].name);
		if (policy_add_rule(p, &r) != 0)
			return -1;
	}
	return source;
}

struct policy *
policy_new(void)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (p != NULL && add_defaults(p) < 0) {
		policy_free(p);
		return NULL;
	}
	return p;
}

void
policy_free(struct policy *p)
{
	struct policy *older;

	for (; p != NULL; p = older) {
		older = p->older;
		for (unsigned n = 0; n < p->nsources; n++)
			free(p->source[n]);
		free(p->rule);
		free(p->ports);
		free(p);
	}
}

static void
seal_msrs(struct policy *p, const struct policy_rule *r)
{
	for (int id = 0; id < REG__COUNT; id++)
		if (reg_desc[id].msr != NOMSR && reg_desc[id].msr >= r->obj.first && reg_desc[id].msr <= r->obj.last)
			p->reg[id] |= r->accesses;
	p->x2apic |= r->obj.first <= X2APIC_LAST && r->obj.last >= X2APIC_FIRST;
	p->odd_msrs = true;
}

static int
seal_ports(struct policy *p, const struct policy_rule *r)
{
	if (p->ports == NULL && (p->ports = calloc(1, (UINT16_MAX + 1) / 8)) == NULL)
		return -1;
	for (uint32_t port = r->obj.first; port <= r->obj.last; port++)
		p->ports[port / 8] |= (uint8_t)(1u << port % 8);
	return 0;
}

int
policy_seal(struct policy *p)
{
	for (unsigned n = 0; n < p->nrules; n++) {
		const struct policy_rule *r = &p->rule[n];

		switch (r->obj.kind) {
		case OBJ_reg:
			for (uint32_t id = r->obj.first; id <= r->obj.last; id++)
				p->reg[id] |= r->accesses;
			break;
		case OBJ_msr:
			seal_msrs(p, r);
			break;
		case OBJ_insn:
			p->insns |= 1u << r->obj.first;
			break;
		case OBJ_cpuid:
			p->cpuid = true;
			break;
		case OBJ_port:
			if (seal_ports(p, r) != 0)
				return -1;
			break;
		case OBJ_device:
			p->devices = true;
			break;
		default:
			p->init = true;
		}
	}
	return 0;
}

static bool
is_about_feature(const struct policy_rule *r, enum cpu_feature f)
{
	uint32_t leaf, sub;
	unsigned reg, bit;

	if (r->obj.kind != OBJ_cpuid)
		return r->feature == f;
	cpu_feature_place(f, &leaf, &sub, &reg, &bit);
	return r->obj.first == leaf && (r->obj.sub == ANY_SUB || r->obj.sub == sub) &&
		(r->obj.cpuid_reg == ANY_REG || r->obj.cpuid_reg == reg) && r->obj.mask >> bit & 1;
}

static bool
is_shown(void *ctx, enum cpu_feature f)
{
	const struct policy *p = ctx;

	for (unsigned n = p->nrules; n-- > 0; )
		if ((p->rule[n].verb == VERB_hide || p->rule[n].verb == VERB_allow) && is_about_feature(&p->rule[n], f))
			return p->rule[n].verb == VERB_allow;
	return true;
}

void
policy_limit(const struct policy *p, struct cpu_model *m, char *lost, size_t lost_size)
{
	cpu_model_limit(m, is_shown, (void *)(uintptr_t)p, lost, lost_size);
}
