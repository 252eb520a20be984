/* SPDX-License-Identifier: Apache-2.0 */
/* mem/settle.h - a thread that has the host put RAM that is walked much into huge pages; for any number of memories.
 *
 * RAM is shared memory, for second mappings, which hosts seldom give huge pages by themselves. mem_reach counts page
 * walks by piece of 2 MiB; what has cost about as much in misses of the host's TLB as moving it does is asked for here.
 * Any function may be called with NULL for the settler.
 */
#pragma once
#include "mem/mem.h"

struct settler;

struct settler *settler_open(void);		/* NULL: no thread, or no memory */
void settler_close(struct settler *s);		/* no memory may be on it */

void settler_add(struct settler *s, struct mem *m);
void settler_remove(struct settler *s, struct mem *m);	/* returns when nothing of it is being moved */
/* From mem_reach: move that piece. Never waits for long. */
void settler_ask(struct settler *s, struct mem *m, gpa_t piece);
