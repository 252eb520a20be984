/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pit.h - the 8254 timer and port 0x61, which gates its speaker channel. */
#pragma once
#include "vm/bus.h"
#include "vm/clock.h"
#include "vm/irq.h"

enum { PIT_BASE = 0x40, PIT_PORTS = 4, PIT_PORT_B = 0x61, PIT_HZ = 1193182 };

/* Both are borrowed; line is channel 0's output (source 0 of it). */
struct dev *pit_open(struct clock *clock, struct irq_line *line);
