/* SPDX-License-Identifier: Apache-2.0 */
/* host/log.c - levels per subsystem, and the line itself. */
#include "host/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name, *about;
} subsys_table[] = {
#define L(name, about) { #name, about },
#include "host/log.def"
#undef L
};

static const char *const level_names[] = { "off", "error", "warn", "info", "debug" };

uint8_t log_levels[LOG__COUNT] = {
#define L(name, about) [LOG_##name] = LOG_LEVEL_warn,
#include "host/log.def"
#undef L
};

const char *
log_subsys_name(unsigned n, const char **about)
{
	if (n >= LOG__COUNT)
		return NULL;
	if (about != NULL)
		*about = subsys_table[n].about;
	return subsys_table[n].name;
}

static int
level_by_name(const char *s, size_t len)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(*level_names); i++)
		if (strlen(level_names[i]) == len && memcmp(level_names[i], s, len) == 0)
			return (int)i;
	return -1;
}

static int
subsys_by_name(const char *s, size_t len)
{
	for (unsigned i = 0; i < LOG__COUNT; i++)
		if (strlen(subsys_table[i].name) == len &&
		    memcmp(subsys_table[i].name, s, len) == 0)
			return (int)i;
	return -1;
}

/* One word of a spec: LEVEL for all, or SUBSYS=LEVEL. */
static int
choose_word(const char *w, size_t len)
{
	const char *eq = memchr(w, '=', len);
	const char *lname = eq != NULL ? eq + 1 : w;
	int level = level_by_name(lname, len - (size_t)(lname - w)), subsys;

	if (level < 0)
		return -1;
	if (eq == NULL) {
		memset(log_levels, level, sizeof(log_levels));
		return 0;
	}
	if ((subsys = subsys_by_name(w, (size_t)(eq - w))) < 0)
		return -1;
	log_levels[subsys] = (uint8_t)level;
	return 0;
}

int
log_choose(const char *spec)
{
	for (;;) {
		size_t len = strcspn(spec, ",");

		if (choose_word(spec, len) != 0)
			return -1;
		if (spec[len] == '\0')
			return 0;
		spec += len + 1;
	}
}

/* Whether the site may print now; *dropped is how many lines it did not since it last could. */
static int
site_admits(struct log_site *site, uint32_t *dropped)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (atomic_exchange(&site->second, (uint64_t)now.tv_sec) != (uint64_t)now.tv_sec)
		atomic_store(&site->lines, 0);
	if (atomic_fetch_add(&site->lines, 1) >= LOG_BURST) {
		atomic_fetch_add(&site->dropped, 1);
		return 0;
	}
	*dropped = atomic_exchange(&site->dropped, 0);
	return 1;
}

/* The line goes out in one write, so that lines of several threads do not mix. */
void
log_write(struct log_site *site, enum log_subsys subsys, enum log_level level, const char *fmt, ...)
{
	char line[512];
	uint32_t dropped = 0;
	size_t n, room = sizeof(line) - 64;
	va_list ap;

	if (!site_admits(site, &dropped))
		return;
	n = (size_t)snprintf(line, room, "regent: %s: %s: ", subsys_table[subsys].name,
			     level_names[level]);
	va_start(ap, fmt);
	n += (size_t)vsnprintf(line + n, room - n, fmt, ap);
	va_end(ap);
	if (n >= room)
		n = room - 1;
	if (dropped != 0)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " (%u lines dropped here)",
				      dropped);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return;		/* nobody listens: nothing sensible to do about it */
}
