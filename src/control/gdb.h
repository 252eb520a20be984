/* SPDX-License-Identifier: Apache-2.0 */
/* control/gdb.h - gdb's remote protocol: one gdb thread per vCPU, every register of the table. */
#pragma once
#include "vm/vm.h"

struct gdb;

/* Listen at "unix:PATH" or "tcp:ADDRESS:PORT" and hold the VM (not started yet) until a debugger
 * connects and continues it. NULL with a line in err. */
struct gdb *gdb_open(struct vm *vm, const char *where, char *err, size_t err_size);
void gdb_close(struct gdb *g);		/* after vm_wait; NULL is fine */
