/* SPDX-License-Identifier: Apache-2.0 */
/* api/lockstep.c - two machines alike but for the engine, compared while they run.
 *
 * The CPU model loses RDRAND and RDSEED: two machines would be given different numbers.
 */
#include "api/api.h"

#include "control/lockstep.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
open_one(struct regent_vm **v, const struct regent_config *cfg, const char *engine, bool shown)
{
	struct regent_config c = REGENT_CONFIG_INIT;
	char cpu[128];

	memcpy(&c, cfg, cfg->size < sizeof(c) ? cfg->size : sizeof(c));
	snprintf(cpu, sizeof(cpu), "%s,-rdrand,-rdseed", c.cpu != NULL ? c.cpu : "regent-v1");
	c.cpu = cpu;
	c.size = sizeof(c);
	c.engine = engine;
	c.cpus = 1;
	c.counted_clock = 1;
	c.serial = REGENT_SERIAL_null;
	c.gdb = NULL;
	if (!shown) {
		c.trace = NULL;
		c.perf_map = 0;
	}
	return regent_open(v, &c);
}

int
regent_lockstep(const struct regent_config *cfg, const char *ref, const char *test, struct regent_lockstep *io)
{
	struct regent_vm *a = NULL, *b = NULL;
	struct lockstep_result *res = calloc(1, sizeof(*res));
	int err;

	if (res == NULL)
		return regent_open_fail(REGENT_E_memory, "lockstep", "no memory for its report");
	if ((err = open_one(&a, cfg, ref, false)) == 0 && (err = open_one(&b, cfg, test, true)) == 0) {
		if (lockstep_run(regent_vm_of(a), regent_vm_of(b), io->limit, io->memory_every, res) != 0)
			err = regent_open_fail(REGENT_E_internal, "lockstep", regent_vm_of(b)->error);
		io->instructions = res->instructions;
		io->boundaries = res->boundaries;
		io->differs = res->differs;
		io->end = (enum regent_end)res->end;
		memcpy(io->text, res->text, sizeof(io->text));
	}
	regent_close(a);
	regent_close(b);
	free(res);
	return err;
}
_Static_assert(sizeof(((struct regent_lockstep *)0)->text) == sizeof(((struct lockstep_result *)0)->text), "one size");
