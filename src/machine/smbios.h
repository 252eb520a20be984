/* SPDX-License-Identifier: Apache-2.0 */
/* machine/smbios.h - the SMBIOS tables of the board: who made it, how much memory. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Entry point first, at gpa, which must be a multiple of 16 between 0xf0000 and 1 MiB. Bytes used, or
 * 0 when they don't fit. */
size_t smbios_build(uint8_t *buf, size_t room, uint64_t gpa, uint64_t memory, unsigned cpus);
