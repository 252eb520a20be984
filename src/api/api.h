/* SPDX-License-Identifier: Apache-2.0 */
/* api/api.h - what the parts of the library share beside its public header. */
#pragma once
#include "regent.h"
#include "vm/vm.h"

struct vm *regent_vm_of(struct regent_vm *v);		/* borrowed */
/* Record the line of regent_open_error(); returns -code. */
int regent_open_fail(int code, const char *what, const char *why);
