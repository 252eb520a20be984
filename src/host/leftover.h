/* SPDX-License-Identifier: Apache-2.0 */
/* host/leftover.h - a name in the file system that must go with this process, however it ends.
 *
 * A sandboxed process can't remove it any more, and a killed one does not: a child that does nothing
 * else waits for the other end of a pipe to close.
 */
#pragma once

struct leftover;
/* Of an existing file; the path is as seen from here and now. NULL: errno. */
struct leftover *leftover_open(const char *path);
void leftover_close(struct leftover *l);	/* removes it now, and waits for that; NULL is fine */
