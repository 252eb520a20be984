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

struct regent_vm {
	struct vm *vm;			/* owned */
	struct serial *serial;		/* owned; NULL: none */
	struct terminal *terminal;	/* owned; NULL: none */
	struct gdb *gdb;		/* owned; NULL: none */
	struct tap *tap;		/* owned: its console for who attaches; NULL: none */
	struct control *control;	/* owned: its control socket; NULL: none */
	int serial_file;		/* owned; -1: none */
	char serial_name[PATH_SHOWN];	/* for error lines */
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
