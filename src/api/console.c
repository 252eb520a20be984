/* SPDX-License-Identifier: Apache-2.0 */
/* api/console.c - the guest's serial port and its virtio console, and where on the host they lead.
 *
 * One of the two is the console: it has the window and who attaches by the control socket. With a virtio console the
 * serial port keeps only the file that it may have.
 */
#include "api/vm.h"
#include "machine/machine.h"
#include "virtio/console.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool
console_is_virtio(const struct regent_config *cfg)
{
	return cfg->console != NULL && strcmp(cfg->console, "virtio") == 0;
}

static struct line *
console_of(struct regent_vm *v)
{
	return v->hvc.v != NULL ? &v->hvc : &v->com1;
}

/* ---- between guest and host: the two sides of machine_config, console_host and serial_client ---- */

static size_t
guest_writes(void *ctx, const void *bytes, size_t n)
{
	struct line *l = ctx;

	if (l->serial != NULL)
		n = serial_write(l->serial, bytes, n);
	if (l->v->tap != NULL && l == console_of(l->v))
		tap_write(l->v->tap, bytes, n);
	return n;
}

static void
guest_wants_input(void *ctx)
{
	struct line *l = ctx;

	if (l->serial != NULL)
		serial_want_input(l->serial);
}

static size_t
host_input(void *ctx, const void *bytes, size_t n)
{
	struct line *l = ctx;

	return l == &l->v->com1 ? machine_serial_input(l->v->vm, bytes, n) : console_input(l->v->hvc_dev, bytes, n);
}

static void
host_room(void *ctx)
{
	struct line *l = ctx;

	if (l == &l->v->com1)
		machine_serial_ready(l->v->vm);
	else
		console_ready(l->v->hvc_dev);
}

static void
host_leave(void *ctx)
{
	vm_request_end(((struct line *)ctx)->v->vm, VM_stopped);
}

static void
host_failed(void *ctx, int error)
{
	struct line *l = ctx;
	struct regent_vm *v = l->v;

	pthread_mutex_lock(&v->vm->lock);
	if (v->failure == 0) {
		v->failure = -REGENT_E_io;
		snprintf(v->error, sizeof(v->error), "--%s: cannot write to %s: %s; %s", l == &v->hvc ? "console" : "serial",
			 l->name, strerror(error),
			 error == ENOSPC ? "make room there or name another file"
					 : "name something that can be written to");
	}
	vm_request_end(v->vm, VM_failed);
	pthread_mutex_unlock(&v->vm->lock);
}

/* ---- opening ---- */

static void
on_stdio(struct line *l, struct serial_config *s)
{
	s->in_fd = STDIN_FILENO;
	s->out_fd = STDOUT_FILENO;
	snprintf(l->name, sizeof(l->name), "standard output");
	l->v->terminal = terminal_open(STDIN_FILENO);
	s->keys = l->v->terminal != NULL;
}

static int
on_file(struct line *l, const char *path, struct serial_config *s)
{
	char why[ERROR_MAX - 64];

	if (path == NULL || path[0] == '\0')
		return regent_open_fail(REGENT_E_usage, "--serial", "names no file");
	snprintf(l->name, sizeof(l->name), "%s", path);
	l->file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | (l->v->pool != NULL ? O_NONBLOCK : 0),
	    0666);
	if (l->file < 0) {
		snprintf(why, sizeof(why), "cannot open %.300s: %s; name a file that you may write", path, strerror(errno));
		return regent_open_fail(REGENT_E_io, "--serial", why);
	}
	s->out_fd = l->file;
	s->hub = pool_hub(l->v->pool);
	return 0;
}

/* The descriptors of the serial port. */
static int
com1_fds(struct line *l, const struct regent_config *cfg, struct serial_config *s)
{
	switch (cfg->serial) {
	case REGENT_SERIAL_null:
		break;
	case REGENT_SERIAL_stdio:
		if (!console_is_virtio(cfg))
			on_stdio(l, s);
		break;
	case REGENT_SERIAL_fd:
		s->in_fd = cfg->serial_in;
		s->out_fd = cfg->serial_out;
		if (cfg->sandbox) {		/* which closes what was inherited */
			fcntl(s->in_fd, F_SETFD, FD_CLOEXEC);
			fcntl(s->out_fd, F_SETFD, FD_CLOEXEC);
		}
		snprintf(l->name, sizeof(l->name), "descriptor %d", cfg->serial_out);
		break;
	case REGENT_SERIAL_file:
		return on_file(l, cfg->serial_path, s);
	}
	return 0;
}

static int
line_open(struct line *l, const struct serial_config *s)
{
	struct serial_client client = { .input = host_input, .room = host_room, .leave = host_leave,
		.failed = host_failed, .ctx = l };

	if ((s->in_fd >= 0 || s->out_fd >= 0) && (l->serial = serial_open(s, &client)) == NULL)
		return regent_open_fail(REGENT_E_memory, "--serial", "no memory for its buffers");
	return 0;
}

int
console_open_host(struct regent_vm *v, const struct regent_config *cfg)
{
	const struct serial_config none = { .in_fd = -1, .out_fd = -1 };
	struct serial_config s = none;
	int rc;

	v->com1.v = v;
	v->com1.file = v->hvc.file = -1;
	if (console_is_virtio(cfg))
		v->hvc.v = v;
	if ((rc = com1_fds(&v->com1, cfg, &s)) != 0 || (rc = line_open(&v->com1, &s)) != 0)
		return rc;
	if (cfg->control && (v->tap = tap_open()) == NULL)
		return regent_open_fail(REGENT_E_memory, "--name", "no memory for its console");
	if (v->tap != NULL)
		tap_set_input(v->tap, host_input, console_of(v));
	if (v->hvc.v == NULL)
		return 0;
	s = none;
	if (v->pool == NULL)		/* whose machines share no terminal */
		on_stdio(&v->hvc, &s);
	return line_open(&v->hvc, &s);
}

void
console_board(struct regent_vm *v, struct machine_config *mc)
{
	if (v->com1.serial == NULL && (v->tap == NULL || v->hvc.v != NULL))
		return;
	mc->serial.write = guest_writes;
	mc->serial.want_input = guest_wants_input;
	mc->serial.ctx = &v->com1;
}

int
console_attach(struct regent_vm *v)
{
	struct console_host host = { guest_writes, guest_wants_input, &v->hvc };

	if (v->hvc.v == NULL)
		return 0;
	if ((v->hvc_dev = console_open(v->vm, "console0", &host)) == NULL)
		return regent_open_fail(REGENT_E_memory, "--console", "no memory for the device");
	if (machine_attach(v->vm, v->hvc_dev) != 0)
		return regent_open_fail(REGENT_E_usage, "--console", "the board has no slot left; take a device away");
	return 0;
}

/* ---- running ---- */

int
console_start(struct regent_vm *v)
{
	struct line *lines[] = { &v->com1, &v->hvc };

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (lines[i]->serial != NULL && serial_start(lines[i]->serial) != 0)
			return -1;
	return 0;
}

static void
line_close(struct line *l)
{
	if (l->v == NULL)
		return;
	serial_close(l->serial);
	l->serial = NULL;
	if (l->file >= 0 && close(l->file) != 0 && l->v->failure == 0)
		host_failed(l, errno);
	l->file = -1;
}

void
console_close_host(struct regent_vm *v)
{
	if (v->tap != NULL) {
		tap_set_input(v->tap, NULL, NULL);
		tap_end(v->tap);
		tap_unref(v->tap);
		v->tap = NULL;
	}
	line_close(&v->com1);
	line_close(&v->hvc);
	terminal_close(v->terminal);
	v->terminal = NULL;
}

int
regent_serial_send(struct regent_vm *v, const void *bytes, size_t n)
{
	return (int)host_input(console_of(v), bytes, n > INT32_MAX ? INT32_MAX : n);
}

int
regent_console_size(struct regent_vm *v, unsigned columns, unsigned rows)
{
	if (v->hvc_dev == NULL)
		return -REGENT_E_state;
	if (columns < 1 || columns > UINT16_MAX || rows < 1 || rows > UINT16_MAX)
		return -REGENT_E_usage;
	console_size(v->hvc_dev, (uint16_t)columns, (uint16_t)rows);
	return 0;
}
