/* SPDX-License-Identifier: Apache-2.0 */
/* api/control_setup.h - a machine that requests describe before it is there (`regent run --wait`). */
#pragma once
#include "api/control_parts.h"

struct setup;

/* cfg: what stands while no request says otherwise; its strings are borrowed. NULL: no memory. */
struct setup *setup_open(const struct regent_config *cfg);
void setup_close(struct setup *s);		/* NULL is fine */

/* The thread that is to open the machine. 0: a request wants it started, *cfg is of what (good until the next
 * call); -1: it is not wanted any more. */
int setup_wait(struct setup *s, struct regent_config *cfg);
/* What became of it: who asked for it is told. NULL: it runs. */
void setup_tell(struct setup *s, const char *failure);
void setup_cancel(struct setup *s);		/* any thread: nobody waits any more */

/* What /vm/config has of a machine that no request described. */
json_t *setup_drives_of(const struct regent_config *cfg);
json_t *setup_nets_of(const struct regent_config *cfg);

/* Request handlers. */
void setup_put_machine(struct control_call *c);
void setup_patch_machine(struct control_call *c);
void setup_put_boot(struct control_call *c);
void setup_put_drive(struct control_call *c);
void setup_put_net(struct control_call *c);
void setup_put_vsock(struct control_call *c);
void setup_put_entropy(struct control_call *c);
void setup_put_cpu(struct control_call *c);
void setup_start(struct control_call *c);

/* As it stands now; new references. */
json_t *setup_machine(const struct setup *s);
json_t *setup_boot(const struct setup *s);
json_t *setup_cpu(const struct setup *s);
json_t *setup_drives(const struct setup *s);
json_t *setup_nets(const struct setup *s);
