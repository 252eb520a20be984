/* SPDX-License-Identifier: Apache-2.0 */
/* cli/state.h - the registers of a machine that failed, on stderr. */
#pragma once
#include "regent.h"

void state_print(struct regent_vm *vm);
