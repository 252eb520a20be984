/* SPDX-License-Identifier: Apache-2.0 */
/* vm/vcpu.h - what vm/ knows of a vCPU beyond vm.h. */
#pragma once
#include "vm/vm.h"

extern const struct cpu_ops vcpu_cpu_ops;	/* the machine around the processor */

/* The two halves of vcpu_step around engine->run, for those who drive an engine themselves (lockstep):
 * events and time before, the exit's handler after (0 or a negative error). */
enum step vcpu_enter(struct vcpu *vc);
int vcpu_leave(struct vcpu *vc, struct vexit *x);

/* Register policy (vcpu_policy.c): the two functions of struct cpu_ops; take over the VM's policy (lock held);
 * tell the host program of a question. */
void vcpu_policy_event(struct cpu *c, struct policy_record *r);
enum verdict vcpu_policy_ask(struct cpu *c, const struct policy_query *q, const struct policy_rule *r);
void vcpu_policy_attend(struct vcpu *vc);
void vcpu_tell(struct vcpu *vc);
