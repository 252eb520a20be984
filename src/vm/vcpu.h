/* SPDX-License-Identifier: Apache-2.0 */
/* vm/vcpu.h - what vm/ knows of a vCPU beyond vm.h. */
#pragma once
#include "vm/vm.h"

extern const struct cpu_ops vcpu_cpu_ops;	/* the machine around the processor */
