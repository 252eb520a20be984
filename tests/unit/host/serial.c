/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/host/serial.c - the console's threads on pipes, and the Ctrl-A keys. */
#include "check.h"
#include "host/serial.h"
#include "host/terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

struct seen {
	pthread_mutex_t lock;
	char in[8192];
	size_t n;
	size_t take;		/* most that input() takes at once */
	_Atomic int leaves, rooms, error;
};

static size_t
seen_input(void *ctx, const void *bytes, size_t n)
{
	struct seen *s = ctx;

	pthread_mutex_lock(&s->lock);
	n = n < s->take ? n : s->take;
	n = n < sizeof(s->in) - s->n ? n : sizeof(s->in) - s->n;
	memcpy(s->in + s->n, bytes, n);
	s->n += n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static size_t
seen_count(struct seen *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void seen_leave(void *ctx) { ((struct seen *)ctx)->leaves++; }
static void seen_room(void *ctx) { ((struct seen *)ctx)->rooms++; }
static void seen_failed(void *ctx, int error) { ((struct seen *)ctx)->error = error; }

static struct seen seen;
static int in[2], out[2];

static struct serial *
start(int in_fd, int out_fd, bool keys)
{
	struct serial_config cfg = { .in_fd = in_fd, .out_fd = out_fd, .keys = keys };
	struct serial_client client = { seen_input, seen_room, seen_leave, seen_failed, &seen };
	struct serial *s = serial_open(&cfg, &client);

	memset(&seen, 0, sizeof(seen));
	pthread_mutex_init(&seen.lock, NULL);
	seen.take = SIZE_MAX;
	CHECK(s != NULL && serial_start(s) == 0);
	return s;
}

/* Until *what is at least n; false after two seconds. */
static bool
until(_Atomic int *what, int n)
{
	for (int i = 0; i < 2000 && *what < n; i++)
		usleep(1000);
	return *what >= n;
}

static void
output_arrives_whole(void)
{
	static uint8_t sent[200000], got[200000];
	size_t done = 0, have = 0;
	struct serial *s;
	ssize_t n;

	CHECK(pipe(out) == 0);
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7 + i / 256);
	s = start(-1, out[1], false);
	while (done < sizeof(sent) || have < sizeof(sent)) {
		done += serial_write(s, sent + done, sizeof(sent) - done);
		if ((n = read(out[0], got + have, sizeof(got) - have)) > 0)
			have += (size_t)n;
	}
	serial_close(s);
	CHECK(memcmp(sent, got, sizeof(sent)) == 0);
	close(out[0]), close(out[1]);
}

/* A reader that stands still: the guest is told to wait, nothing blocks, closing takes a second at most. */
static void
stopped_reader_blocks_nobody(void)
{
	static uint8_t junk[300000];
	size_t took, drained = 0;
	struct serial *s;
	ssize_t n;

	CHECK(pipe(out) == 0);
	s = start(-1, out[1], false);
	took = serial_write(s, junk, sizeof(junk));
	CHECK(took < sizeof(junk));
	usleep(20000);
	while (serial_write(s, junk, sizeof(junk)) != 0)
		usleep(1000);
	usleep(20000);
	seen.rooms = 0;		/* the pipe took the ring's first filling; now both are full */
	while (seen.rooms == 0 && drained < 2 * sizeof(junk) && (n = read(out[0], junk, 4096)) > 0) {
		drained += (size_t)n;
		usleep(200);
	}
	CHECK(until(&seen.rooms, 1));
	while (serial_write(s, junk, sizeof(junk)) != 0)
		;
	serial_close(s);
	CHECK_EQ(seen.error, 0);
	close(out[0]), close(out[1]);
}

static void
full_disk_is_reported_once(void)
{
	int full = open("/dev/full", O_WRONLY);
	struct serial *s = start(-1, full, false);

	CHECK_EQ(serial_write(s, "x", 1), 1);
	CHECK(until(&seen.error, 1));
	CHECK_EQ(seen.error, ENOSPC);
	seen.error = 0;
	CHECK_EQ(serial_write(s, "x", 1), 1);	/* thrown away */
	usleep(20000);
	CHECK_EQ(seen.error, 0);
	serial_close(s);
	close(full);
}

static void
closed_pipe_is_an_error_not_a_signal(void)
{
	struct serial *s;

	CHECK(pipe(out) == 0);
	close(out[0]);
	s = start(-1, out[1], false);
	serial_write(s, "x", 1);
	CHECK(until(&seen.error, 1));
	CHECK_EQ(seen.error, EPIPE);
	serial_close(s);
	close(out[1]);
}

static void
input_arrives_as_the_guest_takes_it(void)
{
	static const char text[] = "a line that the guest takes in pieces";
	struct serial *s;

	CHECK(pipe(in) == 0);
	s = start(in[0], -1, false);
	seen.take = 5;
	CHECK(write(in[1], text, sizeof(text)) == sizeof(text));
	for (int i = 0; i < 2000 && seen_count(&seen) < sizeof(text); i++) {
		serial_want_input(s);
		usleep(1000);
	}
	CHECK_EQ(seen_count(&seen), sizeof(text));
	CHECK(memcmp(seen.in, text, sizeof(text)) == 0);
	serial_close(s);
	close(in[0]), close(in[1]);
}

/* Ctrl-A x arrives though the guest has taken nothing for a long time. */
static void
leaving_needs_no_guest(void)
{
	char junk[1000] = { 0 };
	struct serial *s;

	CHECK(pipe(in) == 0);
	s = start(in[0], -1, true);
	seen.take = 0;
	for (int i = 0; i < 20; i++)
		CHECK(write(in[1], junk, sizeof(junk)) == sizeof(junk));
	CHECK(write(in[1], "\001x", 2) == 2);
	CHECK(until(&seen.leaves, 1));
	serial_close(s);
	close(in[0]), close(in[1]);
}

static void
end_of_input_ends_the_reader_quietly(void)
{
	struct serial *s;

	CHECK(pipe(in) == 0);
	s = start(in[0], -1, false);
	CHECK(write(in[1], "q", 1) == 1);
	close(in[1]);
	for (int i = 0; i < 2000 && seen_count(&seen) == 0; i++)
		usleep(1000);
	CHECK_EQ(seen_count(&seen), 1);
	serial_close(s);
	CHECK_EQ(seen.leaves, 0);
	close(in[0]);
}

static void
check_keys(const char *typed, const char *guest, enum terminal_wish wish)
{
	struct terminal_keys k = { false };
	enum terminal_wish got, last = TERMINAL_nothing;
	uint8_t one;
	char sum[32] = "";
	size_t n = 0;

	for (; *typed != '\0'; typed++) {	/* byte by byte: the state must survive */
		one = (uint8_t)*typed;
		if (terminal_filter(&k, &one, 1, &got) == 1)
			sum[n++] = (char)one;
		last = got != TERMINAL_nothing ? got : last;
	}
	CHECK(strcmp(sum, guest) == 0);
	CHECK_EQ(last, wish);
}

static void
keys_are_filtered(void)
{
	check_keys("abc\003", "abc\003", TERMINAL_nothing);
	check_keys("a\001xb", "ab", TERMINAL_leave);
	check_keys("a\001hb", "ab", TERMINAL_help);
	check_keys("a\001ab", "a\001b", TERMINAL_nothing);
	check_keys("\001\001x", "\001x", TERMINAL_nothing);
	check_keys("\001zq", "q", TERMINAL_nothing);
}

int
main(void)
{
	signal(SIGPIPE, SIG_DFL);	/* the threads must not need it ignored */
	RUN(output_arrives_whole);
	RUN(stopped_reader_blocks_nobody);
	RUN(full_disk_is_reported_once);
	RUN(closed_pipe_is_an_error_not_a_signal);
	RUN(input_arrives_as_the_guest_takes_it);
	RUN(leaving_needs_no_guest);
	RUN(end_of_input_ends_the_reader_quietly);
	RUN(keys_are_filtered);
	return check_done();
}
