/* SPDX-License-Identifier: Apache-2.0 */
/* tests/check.h - the few lines that every C test needs.
 *
 *	static void adds(void) { CHECK_EQ(1 + 1, 2); }
 *	int main(void) { RUN(adds); return check_done(); }
 *
 * Each RUN prints `ok NAME`, `not ok NAME: where` or `skip NAME: why`, which tools/check counts.
 */
#pragma once
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int check_failures;		/* cases that failed */
static bool check_bad;			/* the running case failed */
static const char *check_skipped;	/* why the running case was skipped, or NULL */

static inline void
check_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
	if (!check_bad)
		printf("# %s:%d: %s: got %#" PRIx64 ", want %#" PRIx64 "\n", file, line, what, got, want);
	check_bad = true;
}

#define CHECK(cond) ((cond) ? (void)0 : check_fail(__FILE__, __LINE__, #cond, 0, 1))
#define CHECK_EQ(a, b) check_eq(__FILE__, __LINE__, #a " == " #b, (uint64_t)(a), (uint64_t)(b))
#define SKIP(why) do { check_skipped = (why); return; } while (0)
#define RUN(test) check_run(#test, test)

static inline void
check_eq(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
	if (got != want)
		check_fail(file, line, what, got, want);
}

static inline void
check_run(const char *name, void (*test)(void))
{
	check_bad = false;
	check_skipped = NULL;
	test();
	if (check_bad) {
		printf("not ok %s\n", name);
		check_failures++;
	} else if (check_skipped != NULL) {
		printf("skip %s: %s\n", name, check_skipped);
	} else {
		printf("ok %s\n", name);
	}
	fflush(stdout);
}

static inline int
check_done(void)
{
	return check_failures != 0;
}
