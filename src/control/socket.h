/* SPDX-License-Identifier: Apache-2.0 */
/* control/socket.h - where the control sockets of running machines are: $XDG_RUNTIME_DIR/regent/NAME.sock. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { CONTROL_NAME_MAX = 63, CONTROL_PATH_MAX = 108 /* sun_path */ };
extern const char control_suffix[], control_lock[];		/* ".sock", "/.lock" */

/* Letters, digits, '.', '_' and '-', the first a letter or digit. */
bool control_name_ok(const char *name);

/* The directory, 0700 and ours; made when there is none and `make`. 0, or -1 with a line in err. */
int control_dir(char dir[CONTROL_PATH_MAX], bool make, char *err, size_t size);
/* Where NAME's socket is, or would be. 0, or -1 with a line in err. */
int control_path(char path[CONTROL_PATH_MAX], const char *name, bool make, char *err, size_t size);
/* Claim NAME: a listening socket, which nobody else has. What a dead process left is replaced, a living
 * one never. The descriptor, or -1 with a line in err. */
int control_claim(char path[CONTROL_PATH_MAX], const char *name, char *err, size_t size);
/* A connection to NAME's socket. The descriptor; -1: nobody answers there. */
int control_connect(const char *path);
