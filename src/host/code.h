/* SPDX-License-Identifier: Apache-2.0 */
/* host/code.h - memory for generated host code, never writable and executable at one address. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* The same pages twice: written through rw, executed through rx. */
struct code_map {
	uint8_t *rw, *rx;	/* owned mappings */
	size_t size;
	size_t huge;		/* so much from the beginning has been given huge pages, where there were any */
};

enum { CODE_HUGE = 2 << 20 };

/* size bytes, rounded up to pages, untouched pages cost nothing. 0, or -1 with errno. */
int code_map_open(struct code_map *m, size_t size);
/* Up to `to` it is written, and will run for a while: huge pages, the last of them when a quarter of it is used, need
 * fewer entries of the instruction TLB. Linux 6.1 and newer; elsewhere nothing happens. */
void code_map_settle(struct code_map *m, size_t to);
void code_map_close(struct code_map *m);
