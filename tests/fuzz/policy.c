/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/policy.c - libFuzzer target: any text as a policy.
 *
 * What is accepted must be printable as a rule that is accepted again and means the same; what is not
 * must be told with a place. Decisions about it must come to an end whatever is asked.
 */
#include "cpu/policy.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool cond)
{
	if (!cond)
		abort();
}

/* The rule's own text, read again. */
static void
again(const struct policy_rule *r)
{
	struct policy *p = policy_new();
	unsigned before = p->nrules;
	char err[256];
	const struct policy_rule *s;

	need(policy_add_text(p, "again", r->text, true, err, sizeof(err)) == 0);
	need(p->nrules == before + 1);
	s = &p->rule[before];
	need(s->verb == r->verb && s->accesses == r->accesses && s->after == r->after && s->value == r->value);
	need(s->obj.kind == r->obj.kind && s->obj.first == r->obj.first && s->obj.last == r->obj.last &&
		s->obj.mask == r->obj.mask);
	policy_free(p);
}

static void
ask(const struct policy *p, const struct policy_rule *r, const uint8_t *data, size_t size)
{
	struct policy_query q = { .kind = r->obj.kind, .access = REG_write, .id = -1, .num = r->obj.first, .count = 1 };

	if (r->obj.kind == OBJ_reg)
		q.id = (int)r->obj.first;
	memcpy(&q.old, data, size < 8 ? size : 8);
	q.val = ~q.old;
	policy_decides(p, &q, size & 1);
	q.access = REG_read;
	policy_decides(p, &q, true);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy *p = policy_new();
	char *text = malloc(size + 1), err[256] = "";
	unsigned base = p->nrules;

	memcpy(text, data, size);
	text[size] = '\0';
	if (policy_add_text(p, "fuzz", text, true, err, sizeof(err)) == 0) {
		need(policy_seal(p) == 0);
		for (unsigned n = base; n < p->nrules && n < base + 16; n++) {
			again(&p->rule[n]);
			ask(p, &p->rule[n], data, size);
		}
	} else {
		need(strncmp(err, "fuzz:", 5) == 0 && err[5] >= '1' && err[5] <= '9');
	}
	free(text);
	policy_free(p);
	return 0;
}
