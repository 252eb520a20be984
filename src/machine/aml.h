/* SPDX-License-Identifier: Apache-2.0 */
/* machine/aml.h - a small writer of ACPI machine language (ACPI 6.4, chapter 20). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf;			/* borrowed */
	size_t len, room;
	bool full;			/* something did not fit; all further writes are dropped */
};

/* Raw little-endian number of `size` bytes. */
void aml_put(struct aml *a, uint64_t val, unsigned size);
void aml_bytes(struct aml *a, const void *bytes, size_t n);

/* Objects. A name is one segment, padded ("COM1"), or absolute with one ("\\_SB_"). */
void aml_name(struct aml *a, const char *name);		/* Name(name, ...): an object must follow */
void aml_int(struct aml *a, uint64_t val);
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id);		/* "PNP0501" */

/* Things with a length: begin, contents, end with what begin returned. */
size_t aml_scope(struct aml *a, const char *name);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, unsigned args);
size_t aml_package(struct aml *a, uint8_t elements);
void aml_end(struct aml *a, size_t begin);

/* A resource template: Buffer with descriptors and an end tag. */
size_t aml_resources(struct aml *a);
void aml_resources_end(struct aml *a, size_t begin);
void aml_io(struct aml *a, uint16_t base, uint8_t len);
void aml_irq(struct aml *a, unsigned irq);		/* edge, active high */
void aml_memory_fixed(struct aml *a, uint32_t base, uint32_t len);
void aml_bus_range(struct aml *a, uint16_t min, uint16_t max);
void aml_io_range(struct aml *a, uint16_t min, uint16_t max);
void aml_memory_range(struct aml *a, uint32_t min, uint32_t max);
