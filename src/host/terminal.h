/* SPDX-License-Identifier: Apache-2.0 */
/* host/terminal.h - the window that the guest's console is shown in.
 *
 * Raw while a guest runs, and restored whatever happens: on the ordinary way out by terminal_close,
 * on any death of this process (SIGKILL too) by a small guardian process that waits for it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct terminal;

/* Makes fd raw when it is a terminal of which we are in the foreground. NULL: it is not, or no
 * guardian could be started; then it is left as it is. Start it before threads and guest memory. */
struct terminal *terminal_open(int fd);
void terminal_close(struct terminal *t);	/* NULL is fine */

/* What the user types: Ctrl-A is ours. Filters n bytes in place; the number that goes to the guest. */
enum terminal_wish { TERMINAL_nothing, TERMINAL_leave, TERMINAL_help };
struct terminal_keys { bool prefix; };
size_t terminal_filter(struct terminal_keys *k, uint8_t *bytes, size_t n, enum terminal_wish *wish);
extern const char terminal_help[];
