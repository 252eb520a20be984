/* SPDX-License-Identifier: Apache-2.0 */
/* dev/testdev.h - QEMU's pc-testdev, which test guests use to look at the processor from outside. */
#pragma once
#include "vm/bus.h"
#include "vm/irq.h"

enum { TESTDEV_ECHO = 0xe0, TESTDEV_FLUSH = 0xe4, TESTDEV_BYTE = 0xe8, TESTDEV_PORTS = 4,
	TESTDEV_IRQ = 0x2000, TESTDEV_IRQS = 24, TESTDEV_MEMORY = 0x10000 };

/* lines: TESTDEV_IRQS pointers, NULL where there is none; source TESTDEV_SOURCE of each. Borrowed. */
enum { TESTDEV_SOURCE = 31 };
struct dev *testdev_open(uint64_t memory_base, struct irq_line *const *lines);
