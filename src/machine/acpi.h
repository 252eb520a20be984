/* SPDX-License-Identifier: Apache-2.0 */
/* machine/acpi.h - the ACPI tables of the board. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Writes all tables for `cpus` processors into buf, which will be at gpa; the RSDP comes first.
 * Bytes used, or 0 when they don't fit. */
size_t acpi_build(uint8_t *buf, size_t room, uint64_t gpa, unsigned cpus);
