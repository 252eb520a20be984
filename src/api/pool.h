/* SPDX-License-Identifier: Apache-2.0 */
/* api/pool.h - what a machine asks of the pool it runs on. pool may be NULL. */
#pragma once
#include "regent.h"

struct serial_hub;
struct serial_hub *pool_hub(struct regent_pool *p);	/* NULL without a pool */
struct sandbox_config;
void pool_sandbox(struct regent_pool *p, const struct sandbox_config *of);	/* one of its machines wants this */
/* The first closes the process off, when a machine wants that. */
int pool_start(struct regent_pool *p, struct regent_vm *v);
void pool_forget(struct regent_pool *p, struct regent_vm *v);	/* it is about to be closed */
