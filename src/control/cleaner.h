/* SPDX-License-Identifier: Apache-2.0 */
/* control/cleaner.h - a small process that removes control sockets for one whose sandbox will not let it. */
#pragma once

/* One for all machines of the process; forked here, before the sandbox. NULL: errno. */
struct cleaner;
struct cleaner *cleaner_open(const char *dir);
void cleaner_close(struct cleaner *c);		/* what is left is removed soon; NULL is fine */
/* It removes DIR/NAME.sock when this process is gone.. */
void cleaner_note(struct cleaner *c, const char *name);
/* ..or now: when this returns it is gone. Nobody may be listening there any more. */
void cleaner_remove(struct cleaner *c, const char *name);
