/* SPDX-License-Identifier: Apache-2.0 */
/* dev/rtc.h - MC146818 real-time clock and its 128 bytes of memory. */
#pragma once
#include "vm/bus.h"
#include "vm/clock.h"
#include "vm/irq.h"

enum { RTC_BASE = 0x70, RTC_PORTS = 2, RTC_CENTURY = 0x32 };

struct rtc_memory {
	uint64_t low, high;	/* bytes of RAM below and above 4 GiB, for the memory size bytes */
	unsigned cpus;
};

struct dev *rtc_open(struct clock *clock, struct irq_line *line, struct rtc_memory mem);
