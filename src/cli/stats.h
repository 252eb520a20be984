/* SPDX-License-Identifier: Apache-2.0 */
/* cli/stats.h - `--stats`: what a run came to, for people or programs, on stderr. */
#pragma once
#include "regent.h"
#include <stdbool.h>

enum stats_form { STATS_none, STATS_text, STATS_json };
enum { STATS_VERSION = 1 };	/* of the json form: rises when a field changes its meaning */

void stats_print(struct regent_vm *vm, enum stats_form form);
