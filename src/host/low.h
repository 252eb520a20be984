/* SPDX-License-Identifier: Apache-2.0 */
/* host/low.h - zeroed memory in the low 2 GiB, where 32-bit absolute addresses reach. */
#pragma once
#include <stddef.h>

void *low_map(size_t size);			/* NULL with errno: there is none left */
void low_unmap(void *p, size_t size);		/* NULL is fine */
