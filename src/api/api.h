/* SPDX-License-Identifier: Apache-2.0 */
/* api/api.h - what the parts of the library share beside its public header. */
#pragma once
#include "regent.h"
#include "vm/vm.h"

struct vm *regent_vm_of(struct regent_vm *v);		/* borrowed */
/* The policy of a configuration, sealed, the caller's; NULL with *rc and the line of regent_open_error(). */
struct policy *policy_of_config(const struct regent_config *cfg, int *rc);
/* 0, or -REGENT_E_engine with the line: a `must` rule that the engine does not keep. Others are told in the log. */
int policy_suits(const struct policy *p, const char *engine);
/* The host program's side of `ask`. */
struct register_ask { regent_register_fn *fn; void *ctx; };
struct register_ask *regent_ask_of(struct regent_vm *v);
int regent_open_line(int code, const char *line);	/* the same with the whole line; returns -code */
/* Record the line of regent_open_error(); returns -code. */
int regent_open_fail(int code, const char *what, const char *why);
