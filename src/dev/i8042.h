/* SPDX-License-Identifier: Apache-2.0 */
/* dev/i8042.h - keyboard controller without keyboard, and port 0x92: reset and A20. */
#pragma once
#include "vm/vm.h"

enum { I8042_DATA = 0x60, I8042_COMMAND = 0x64, PORT92 = 0x92 };

/* A20 is only remembered, by both: the address line is always open here. */
struct dev *i8042_open(struct vm *vm);
struct dev *port92_open(struct vm *vm);
