/* SPDX-License-Identifier: Apache-2.0 */
/* cli/host_file.h - the JSON file of `regent host`: what machines there are. */
#pragma once
#include "cli/options.h"

struct host_vm {
	struct options q;		/* its strings are the file's */
	unsigned index;
};

struct host_file {
	char *path;
	char *text;			/* owned, as the rest */
	void *root;			/* json_t */
	unsigned threads, quantum_ms;	/* 0: not given */
	unsigned nvms;
	struct host_vm *vms;
	char **words;			/* values that stood there as numbers */
	unsigned nwords;
};

/* 0, or an exit status after one line that names file, line and column. */
int host_file_read(struct host_file *f, const char *path);
void host_file_free(struct host_file *f);
/* "FILE:LINE:COLUMN" of a machine, or of its key that an error line "--KEY ..." is about. */
const char *host_file_where(const struct host_file *f, const struct host_vm *vm, const char *line);
