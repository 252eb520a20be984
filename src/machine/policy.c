/* SPDX-License-Identifier: Apache-2.0 */
/* machine/policy.c - the board's layer of the register policy: between the table's defaults and a profile. */
#include "machine/machine.h"

const char machine_policy[] =
	"# regent-1 - who switched the machine off or reset it is written to the trace.\n"
	"log write port:0xcf9\n"
	"log write port:0x604\n"
	"log write port:0x92\n";
