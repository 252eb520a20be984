/* SPDX-License-Identifier: Apache-2.0 */
/* host/helper.h - programs of ours that do for the monitor what the monitor itself shall not be able to. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

enum { HELPER_FD = 3 };		/* the number that a helper's socket has in it */

/* Starts the program NAME, found beside our own program, in $REGENT_HELPERS or in /usr/libexec/regent, with argv and
 * one end of a SOCK_SEQPACKET pair as HELPER_FD; *fd is the other end (owned by the caller). It has no other
 * descriptor but 0, 1 and 2, of which 0 is /dev/null. 0, or -1 with a line in err. */
int helper_start(const char *name, char *const argv[], int *fd, pid_t *pid, char *err, size_t err_size);
/* Waits for its first message: 0 when it is "ok", else -1 and err has the message. */
int helper_ready(int fd, const char *name, char *err, size_t err_size);
void helper_end(pid_t pid);	/* after its socket was closed: waits a little, then kills */
