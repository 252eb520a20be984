/* SPDX-License-Identifier: Apache-2.0 */
/* api/vm.h - what a regent_vm is made of; for the library's own files. */
#pragma once
#include "api/api.h"
#include "api/control.h"
#include "api/pool.h"
#include "control/gdb.h"
#include "host/code_log.h"
#include "host/sandbox.h"
#include "host/serial.h"
#include "host/tap.h"
#include "host/terminal.h"
#include <time.h>

enum { ERROR_MAX = 512, PATH_SHOWN = 256 };

/* A port of the guest's that carries characters, and where they go. */
struct line {
	struct regent_vm *v;
	struct serial *serial;		/* owned; NULL: none */
	int file;			/* owned; -1: none */
	char name[PATH_SHOWN];		/* for error lines */
};

struct regent_vm {
	struct vm *vm;			/* owned */
	struct line com1, hvc;		/* the console is the virtio one when there is one */
	struct virtio *hvc_dev;		/* vm's; NULL: none */
	struct terminal *terminal;	/* owned; NULL: none */
	struct gdb *gdb;		/* owned; NULL: none */
	struct tap *tap;		/* owned: its console for who attaches; NULL: none */
	struct control *control;	/* owned: its control socket; NULL: none */
	char *gdb_where;		/* owned */
	struct code_log code_log;
	const char *engine;
	char choice[ERROR_MAX];		/* how "auto" came to it; "": it was asked for */
	struct timespec start, end;
	struct register_ask ask;
	bool sandboxed;
	struct sandbox_config sandbox;	/* socket_path points into gdb_where */
	struct regent_pool *pool;	/* borrowed; NULL: threads of its own */
	unsigned weight;
	struct regent_vm *next_ended;	/* the pool's */
	bool started, ended;
	int failure;			/* -REGENT_E_*, under vm->lock once started */
	char error[ERROR_MAX];
};

/* api/console.c: COM1 and the virtio console, and what of the host they lead to. Each 0, or a negative REGENT_E_*. */
struct machine_config;
bool console_is_virtio(const struct regent_config *cfg);
int console_open_host(struct regent_vm *v, const struct regent_config *cfg);
void console_board(struct regent_vm *v, struct machine_config *mc);	/* COM1's end on the board */
int console_attach(struct regent_vm *v);	/* the device, when there is one */
int console_start(struct regent_vm *v);		/* -1: no threads */
void console_close_host(struct regent_vm *v);	/* the last bytes go out, the window becomes the user's again */
