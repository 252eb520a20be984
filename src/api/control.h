/* SPDX-License-Identifier: Apache-2.0 */
/* api/control.h - a machine's control socket. */
#pragma once
#include "regent.h"

/* Claims the name and serves it: 0, or -REGENT_E_* with the line of regent_open_error(). */
int control_open(struct regent_vm *v, const struct regent_config *cfg);
void control_close(struct regent_vm *v);	/* nothing when it has none */
