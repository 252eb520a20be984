/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy.c - may the guest do this to that register? One decision for every engine.
 *
 * Layers are asked from the most particular to the most general; the first that has an opinion
 * decides. Today there is one: the defaults of registers.def.
 */
#include "cpu/sysreg.h"

enum opinion { OPINION_none, OPINION_allow, OPINION_deny, OPINION_hide };

typedef enum opinion layer_fn(const struct cpu *c, int id, enum reg_access access, uint64_t val);

static enum opinion
table_default(const struct cpu *c, int id, enum reg_access access, uint64_t val)
{
	(void)c, (void)access, (void)val;
	switch (reg_desc[id].policy) {
	case POLICY_deny: return OPINION_deny;
	case POLICY_hide: return OPINION_hide;
	default: return OPINION_allow;		/* log: allowed; the record is still to be written */
	}
}

static layer_fn *const layer[] = { table_default };

enum verdict
policy_check(struct cpu *c, int id, enum reg_access access, uint64_t val)
{
	unsigned i;

	for (i = 0; i < sizeof(layer) / sizeof(layer[0]); i++)
		switch (layer[i](c, id, access, val)) {
		case OPINION_allow: return VERDICT_allow;
		case OPINION_deny: return VERDICT_deny;
		case OPINION_hide: return VERDICT_hide;
		case OPINION_none: break;
		}
	return VERDICT_allow;
}
