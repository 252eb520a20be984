/* SPDX-License-Identifier: Apache-2.0 */
/* dev/i8042.c - an 8042 with nothing plugged in: its self-tests pass, its ports stay silent.
 *
 * ACPI says there is none, so that Linux does not look; this is for what uses it to reset or to open A20.
 */
#include "dev/i8042.h"
#include <stdlib.h>
#include <string.h>

enum { ST_OUTPUT = 1 << 0, ST_SYSTEM = 1 << 2, ST_COMMAND = 1 << 3, ST_UNLOCKED = 1 << 4 };
enum { CMD_READ_MODE = 0x20, CMD_WRITE_MODE = 0x60, CMD_AUX_OFF = 0xa7, CMD_AUX_ON = 0xa8, CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa, CMD_KBD_TEST = 0xab, CMD_KBD_OFF = 0xad, CMD_KBD_ON = 0xae, CMD_READ_OUT = 0xd0,
	CMD_WRITE_OUT = 0xd1, CMD_AUX_LOOP = 0xd3, CMD_AUX_SEND = 0xd4, CMD_PULSE = 0xf0 };
enum { OUT_NOT_RESET = 1 << 0, OUT_A20 = 1 << 1, MODE_AUX_OFF = 1 << 5, MODE_KBD_OFF = 1 << 4 };
enum { SELF_TEST_OK = 0x55, PORT_TEST_OK = 0 };

struct i8042 {
	struct dev dev;			/* first */
	struct vm *vm;			/* borrowed */

	/* state by table */
	uint8_t mode, out, status, data;
	uint8_t expects;		/* command whose data byte comes next, 0: none */
};

static void
answer(struct i8042 *k, uint8_t byte)
{
	k->data = byte;
	k->status |= ST_OUTPUT;
}

static enum io_result
reset_machine(struct i8042 *k)
{
	vm_request_end(k->vm, VM_reset);
	return IO_stop;
}

static enum io_result
command(struct i8042 *k, uint8_t cmd)
{
	k->status |= ST_COMMAND;
	k->expects = 0;
	if (cmd >= CMD_PULSE)		/* pulse those of four lines whose bit is 0; line 0 is reset */
		return cmd & OUT_NOT_RESET ? IO_done : reset_machine(k);
	switch (cmd) {
	case CMD_READ_MODE:	answer(k, k->mode); break;
	case CMD_AUX_OFF:	k->mode |= MODE_AUX_OFF; break;
	case CMD_AUX_ON:	k->mode &= (uint8_t)~MODE_AUX_OFF; break;
	case CMD_KBD_OFF:	k->mode |= MODE_KBD_OFF; break;
	case CMD_KBD_ON:	k->mode &= (uint8_t)~MODE_KBD_OFF; break;
	case CMD_AUX_TEST:
	case CMD_KBD_TEST:	answer(k, PORT_TEST_OK); break;
	case CMD_SELF_TEST:	answer(k, SELF_TEST_OK); break;
	case CMD_READ_OUT:	answer(k, k->out); break;
	case CMD_WRITE_MODE:
	case CMD_WRITE_OUT:
	case CMD_AUX_LOOP:
	case CMD_AUX_SEND:	k->expects = cmd; break;
	default:		break;
	}
	return IO_done;
}

static enum io_result
data_write(struct i8042 *k, uint8_t byte)
{
	uint8_t cmd = k->expects;

	k->status &= (uint8_t)~ST_COMMAND;
	k->expects = 0;
	if (cmd == CMD_WRITE_MODE) {
		k->mode = byte;
	} else if (cmd == CMD_WRITE_OUT) {
		k->out = byte | OUT_NOT_RESET;
		if ((byte & OUT_NOT_RESET) == 0)
			return reset_machine(k);
	} else if (cmd == CMD_AUX_LOOP) {
		answer(k, byte);
	}
	return IO_done;			/* bytes for keyboard or mouse: nobody hears them */
}

static enum io_result
i8042_io(struct dev *d, struct io *io)
{
	struct i8042 *k = (struct i8042 *)d;

	if (!io->port || io->size != 1)
		return IO_none;
	if (io->write)
		return (io->addr == I8042_COMMAND ? command : data_write)(k, (uint8_t)io->data);
	if (io->addr == I8042_COMMAND) {
		io->data = k->status;
	} else {
		io->data = k->data;
		k->status &= (uint8_t)~ST_OUTPUT;
	}
	return IO_done;
}

static void dev_free(struct dev *d) { free(d); }

static const struct dev_field i8042_fields[] = {
	DEV_FIELD(struct i8042, mode, 1, MODE_AUX_OFF | MODE_KBD_OFF),
	DEV_FIELD(struct i8042, out, 1, 0xcc | OUT_A20 | OUT_NOT_RESET),
	DEV_FIELD(struct i8042, status, 1, ST_UNLOCKED | ST_SYSTEM),
	DEV_FIELD(struct i8042, data, 1, 0),
	DEV_FIELD(struct i8042, expects, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops i8042_ops = {
	.name = "i8042", .io = i8042_io, .close = dev_free, .fields = i8042_fields,
};

struct dev *
i8042_open(struct vm *vm)
{
	struct i8042 *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	k->dev.ops = &i8042_ops;
	strcpy(k->dev.id, "i8042");
	k->vm = vm;
	dev_reset(&k->dev);
	return &k->dev;
}

/* ---- port 0x92 ---- */

enum { P92_RESET = 1 << 0, P92_A20 = 1 << 1 };

struct port92 {
	struct dev dev;			/* first */
	struct vm *vm;			/* borrowed */
	uint8_t value;			/* state by table */
};

static enum io_result
port92_io(struct dev *d, struct io *io)
{
	struct port92 *p = (struct port92 *)d;

	if (!io->port || io->size != 1)
		return IO_none;
	if (!io->write) {
		io->data = p->value;
		return IO_done;
	}
	p->value = io->data & P92_A20;
	if ((io->data & P92_RESET) == 0)
		return IO_done;
	vm_request_end(p->vm, VM_reset);
	return IO_stop;
}

static const struct dev_field port92_fields[] = {
	DEV_FIELD(struct port92, value, 1, P92_A20),
	{ .name = NULL },
};

static const struct dev_ops port92_ops = {
	.name = "port92", .io = port92_io, .close = dev_free, .fields = port92_fields,
};

struct dev *
port92_open(struct vm *vm)
{
	struct port92 *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->dev.ops = &port92_ops;
	strcpy(p->dev.id, "port92");
	p->vm = vm;
	dev_reset(&p->dev);
	return &p->dev;
}
