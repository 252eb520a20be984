/* SPDX-License-Identifier: Apache-2.0 */
/* host/serial.h - the host's end of the guest's serial port: two threads, so that nobody waits for a window.
 *
 *	guest -> serial_write (never blocks) -> ring -> writer thread -> out_fd
 *	in_fd -> reader thread -> input() -> guest
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct serial;
struct serial_hub;

/* All are called without any lock of ours held, from our threads. */
struct serial_client {
	size_t (*input)(void *ctx, const void *bytes, size_t n);	/* bytes taken */
	void (*room)(void *ctx);		/* the ring has room again after serial_write took too few */
	void (*leave)(void *ctx);		/* the user typed Ctrl-A x */
	void (*failed)(void *ctx, int error);	/* output can't be written any more: errno. Once */
	void *ctx;
};

struct serial_config {
	int in_fd, out_fd;	/* -1: none. Borrowed; */
	bool keys;		/* Ctrl-A is ours (a terminal) */
	struct serial_hub *hub;	/* borrowed; it writes to out_fd, which must not block; NULL: a thread of our own */
};

struct serial *serial_open(const struct serial_config *cfg, const struct serial_client *client);
int serial_start(struct serial *s);	/* 0, or -1 with errno */
/* Writes out what the guest sent (but waits at most a second for a reader that has stopped), ends the threads. */
void serial_close(struct serial *s);	/* NULL is fine */

size_t serial_write(struct serial *s, const void *bytes, size_t n);	/* bytes taken; never blocks */
void serial_want_input(struct serial *s);	/* the guest took too few and has room now */
