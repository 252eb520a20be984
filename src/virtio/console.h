/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/console.h - a console of one port that knows its window's size (virtio 1.2, 5.3). */
#pragma once
#include "virtio/virtio.h"

/* Both are called with the VM's lock held, and must not block. */
struct console_host {
	size_t (*write)(void *ctx, const void *bytes, size_t n);	/* bytes taken; console_ready() when there is room again */
	void (*want_input)(void *ctx);		/* there is room again after console_input took too few */
	void *ctx;
};

struct virtio *console_open(struct vm *vm, const char *id, const struct console_host *host);

/* These take the VM's lock themselves; any thread. */
size_t console_input(struct virtio *v, const void *bytes, size_t n);	/* bytes taken */
void console_ready(struct virtio *v);
void console_size(struct virtio *v, uint16_t columns, uint16_t rows);
