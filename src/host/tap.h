/* SPDX-License-Identifier: Apache-2.0 */
/* host/tap.h - the last of what a guest printed, for those who attach to its console later.
 *
 * Writing never waits for a reader: who is too slow misses what was overwritten.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tap;

struct tap *tap_open(void);		/* NULL: out of memory */
struct tap *tap_ref(struct tap *t);
void tap_unref(struct tap *t);		/* NULL is fine */
void tap_write(struct tap *t, const void *bytes, size_t n);
void tap_end(struct tap *t);		/* nothing more will come */

/* Where what readers type goes; NULL: nowhere (any more). */
void tap_set_input(struct tap *t, size_t (*input)(void *ctx, const void *bytes, size_t n), void *ctx);
size_t tap_input(struct tap *t, const void *bytes, size_t n);	/* bytes taken; n when there is nobody */

/* One who reads along; `fd`, an eventfd, is told when there is something, and at the end. */
struct tap_reader {
	struct tap *tap;		/* a reference */
	int fd;				/* borrowed; may be that of several readers */
	uint64_t at;			/* bytes of the stream that it has had */
	struct tap_reader *next;
};
void tap_attach(struct tap *t, struct tap_reader *r, int fd, size_t backlog);
void tap_detach(struct tap_reader *r);
/* Up to n bytes; 0: none now. *end: and none will come. */
size_t tap_read(struct tap_reader *r, void *to, size_t n, bool *end);
