/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/host/tap.c - what was printed is read once by each reader, the oldest is lost first. */
#include "check.h"
#include "host/tap.h"
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void
readers_have_their_own_place(void)
{
	struct tap *t = tap_open();
	struct tap_reader a, b;
	char buf[64];
	int fd = eventfd(0, EFD_NONBLOCK);
	bool end;

	tap_write(t, "before", 6);
	tap_attach(t, &a, fd, 4);
	tap_attach(t, &b, fd, 0);
	tap_write(t, "after", 5);
	CHECK_EQ(tap_read(&a, buf, sizeof(buf), &end), 9);
	CHECK(memcmp(buf, "oreafter", 8) != 0 && memcmp(buf, "foreafter", 9) == 0);
	CHECK(!end);
	CHECK_EQ(tap_read(&a, buf, sizeof(buf), &end), 0);
	CHECK_EQ(tap_read(&b, buf, 3, &end), 3);
	tap_end(t);
	CHECK_EQ(tap_read(&b, buf, sizeof(buf), &end), 2);
	CHECK(end && memcmp(buf, "er", 2) == 0);
	tap_detach(&a);
	tap_unref(t);
	tap_detach(&b);		/* the last reference */
	close(fd);
}

static void
the_slow_lose_the_oldest(void)
{
	enum { RING = 64 << 10 };
	static char much[3 * RING];
	struct tap *t = tap_open();
	struct tap_reader a;
	size_t n, sum = 0;
	int fd = eventfd(0, EFD_NONBLOCK);
	bool end;

	tap_attach(t, &a, fd, 0);
	for (size_t i = 0; i < sizeof(much); i++)
		much[i] = (char)(i * 7 / 64);
	for (size_t i = 0; i < sizeof(much); i += 1000)
		tap_write(t, much + i, sizeof(much) - i < 1000 ? sizeof(much) - i : 1000);
	while ((n = tap_read(&a, much, sizeof(much), &end)) > 0) {
		CHECK(much[0] == (char)((2 * RING + sum) * 7 / 64));
		sum += n;
	}
	CHECK_EQ(sum, RING);
	tap_write(t, much, sizeof(much));	/* more than fits at once */
	while ((n = tap_read(&a, much, sizeof(much), &end)) > 0)
		sum += n;
	CHECK_EQ(sum, 2 * RING);
	tap_detach(&a);
	tap_unref(t);
	close(fd);
}

static size_t
two_at_most(void *ctx, const void *bytes, size_t n)
{
	(void)bytes;
	*(size_t *)ctx += n > 2 ? 2 : n;
	return n > 2 ? 2 : n;
}

static void
input_goes_to_whom_it_is_set(void)
{
	struct tap *t = tap_open();
	size_t had = 0;

	CHECK_EQ(tap_input(t, "abc", 3), 3);	/* nobody: thrown away */
	tap_set_input(t, two_at_most, &had);
	CHECK_EQ(tap_input(t, "abc", 3), 2);
	tap_set_input(t, NULL, NULL);
	CHECK_EQ(tap_input(t, "abc", 3), 3);
	CHECK_EQ(had, 2);
	tap_unref(t);
}

int
main(void)
{
	RUN(readers_have_their_own_place);
	RUN(the_slow_lose_the_oldest);
	RUN(input_goes_to_whom_it_is_set);
	return check_done();
}
