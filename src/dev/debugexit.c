/* SPDX-License-Identifier: Apache-2.0 */
/* dev/debugexit.c - debug exit port (QEMU's isa-debug-exit), pvpanic (its pvpanic.txt), POST port. */
#include "dev/debugexit.h"
#include <stdlib.h>
#include <string.h>

struct ender {
	struct dev dev;			/* first */
	struct vm *vm;			/* borrowed; NULL for the POST port */
	uint8_t last;			/* state by table */
};

static enum io_result
debugexit_io(struct dev *d, struct io *io)
{
	struct ender *e = (struct ender *)d;

	if (!io->port)
		return IO_none;
	if (!io->write) {
		io->data = 0;
		return IO_done;
	}
	if (e->vm->end == VM_running)
		e->vm->exit_status = (int)((io->data << 1 | 1) & 0xff);
	vm_request_end(e->vm, VM_debug_exit);
	return IO_stop;
}

enum { PANIC_PANICKED = 1 << 0, PANIC_CRASH_LOADED = 1 << 1 };

/* A guest that has its own crash kernel only tells us. */
static enum io_result
pvpanic_io(struct dev *d, struct io *io)
{
	struct ender *e = (struct ender *)d;

	if (!io->port || io->size != 1)
		return IO_none;
	if (!io->write) {
		io->data = PANIC_PANICKED | PANIC_CRASH_LOADED;
		return IO_done;
	}
	e->last = (uint8_t)io->data;
	if ((io->data & PANIC_PANICKED) == 0)
		return IO_done;
	vm_request_end(e->vm, VM_panic);
	return IO_stop;
}

/* 0x80: firmware's progress codes; everybody writes it to wait a microsecond. */
static enum io_result
post_io(struct dev *d, struct io *io)
{
	struct ender *e = (struct ender *)d;

	if (!io->port || io->size != 1)
		return IO_none;
	if (io->write)
		e->last = (uint8_t)io->data;
	else
		io->data = e->last;
	return IO_done;
}

static void ender_close(struct dev *d) { free(d); }

static const struct dev_field ender_fields[] = {
	DEV_FIELD(struct ender, last, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops debugexit_ops = {
	.name = "debug-exit", .io = debugexit_io, .close = ender_close, .fields = ender_fields,
};
static const struct dev_ops pvpanic_ops = {
	.name = "pvpanic", .io = pvpanic_io, .close = ender_close, .fields = ender_fields,
};
static const struct dev_ops post_ops = {
	.name = "post", .io = post_io, .close = ender_close, .fields = ender_fields,
};

static struct dev *
ender_open(const struct dev_ops *ops, struct vm *vm)
{
	struct ender *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->dev.ops = ops;
	strcpy(e->dev.id, ops->name);
	e->vm = vm;
	dev_reset(&e->dev);
	return &e->dev;
}

struct dev *debugexit_open(struct vm *vm) { return ender_open(&debugexit_ops, vm); }
struct dev *pvpanic_open(struct vm *vm) { return ender_open(&pvpanic_ops, vm); }
struct dev *post_open(void) { return ender_open(&post_ops, NULL); }
