/* SPDX-License-Identifier: Apache-2.0 */
/* dev/debugexit.h - ports by which a guest tells how it went: debug exit, panic, the POST delay port. */
#pragma once
#include "vm/vm.h"

enum { PVPANIC_PORT = 0x505, POST_PORT = 0x80 };

struct dev *debugexit_open(struct vm *vm);	/* a write of v ends the VM: exit_status (v << 1) | 1 */
struct dev *pvpanic_open(struct vm *vm);
struct dev *post_open(void);
