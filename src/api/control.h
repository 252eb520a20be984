/* SPDX-License-Identifier: Apache-2.0 */
/* api/control.h - a machine's control socket. */
#pragma once
#include "regent.h"

/* Claims the name and serves it: 0, or -REGENT_E_* with the line of regent_open_error(). */
int control_open(struct regent_vm *v, const struct regent_config *cfg);
/* The same for a machine that requests are to describe: it is there before the machine.. */
struct control;
int control_await(struct control **k, const struct regent_config *cfg);
int control_told(struct control *k, struct regent_config *cfg);	/* ..0: start this; -1: it is not wanted any more */
void control_refuse(struct control *k, const char *why);	/* that did not work; who asked is told */
void control_adopt(struct control *k, struct regent_vm *v);	/* it did: *k is the machine's */
void control_leave(struct control *k);				/* no machine comes */
void control_started(struct regent_vm *v, int rc);		/* regent_start's result */
void control_close(struct regent_vm *v);	/* nothing when it has none */
