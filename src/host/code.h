/* SPDX-License-Identifier: Apache-2.0 */
/* host/code.h - memory for generated host code, never writable and executable at one address. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* The same pages twice: written through rw, executed through rx. */
struct code_map {
	uint8_t *rw, *rx;	/* owned mappings */
	size_t size;
};

/* size bytes, rounded up to pages, untouched pages cost nothing. 0, or -1 with errno. */
int code_map_open(struct code_map *m, size_t size);
void code_map_close(struct code_map *m);
