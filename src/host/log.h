/* SPDX-License-Identifier: Apache-2.0 */
/* host/log.h - lines for people on stderr, chosen at run time, limited in rate per call site.
 *
 *	LOG(io, debug, "port %#x: %u bytes", port, n);
 *
 * Costs one predictable branch when off. Nothing a guest does can flood stderr: a site prints at
 * most LOG_BURST lines a second and then says how many it dropped.
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

enum log_subsys {
#define L(name, about) LOG_##name,
#include "host/log.def"
#undef L
	LOG__COUNT
};
enum log_level { LOG_LEVEL_off, LOG_LEVEL_error, LOG_LEVEL_warn, LOG_LEVEL_info, LOG_LEVEL_debug };
enum { LOG_BURST = 20 };

extern uint8_t log_levels[LOG__COUNT];	/* what is printed; set before threads start */

struct log_site {
	_Atomic uint64_t second;	/* the one `lines` counts in */
	_Atomic uint32_t lines, dropped;
};

#define LOG(subsys, level, ...) do { static struct log_site log_site_; \
	if (__builtin_expect(log_levels[LOG_##subsys] >= LOG_LEVEL_##level, 0)) \
		log_write(&log_site_, LOG_##subsys, LOG_LEVEL_##level, __VA_ARGS__); } while (0)

void log_write(struct log_site *site, enum log_subsys subsys, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* "io=debug", "debug" (all), "io=info,vm=debug". 0, or -1 when a word is unknown. */
int log_choose(const char *spec);

/* The name and meaning of subsystem n; NULL behind the last. */
const char *log_subsys_name(unsigned n, const char **about);
