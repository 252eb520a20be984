/* SPDX-License-Identifier: Apache-2.0 */
/* cli/trace.c - `--trace-regs`: a thread that empties the ring into a file. */
#include "cli/trace.h"
#include "cli/cli.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 200, LINE_SIZE = 1024 };

struct trace_writer {
	struct regent_vm *vm;	/* borrowed */
	FILE *out;		/* owned unless it is stderr */
	const char *name;
	pthread_t thread;
	bool started;
	char buffer[BUFSIZ];
	uint64_t next;
	int json;
	_Atomic int stop;
};

static void
write_all(struct trace_writer *w)
{
	char line[LINE_SIZE];
	uint64_t dropped = 0;

	while (regent_trace_read(w->vm, &w->next, w->json, line, sizeof(line), &dropped) == 1) {
		if (dropped != 0)
			fprintf(w->out, w->json ? "{\"dropped\": %" PRIu64 "}\n" : "# %" PRIu64
				" records were overwritten before they were written\n", dropped);
		dropped = 0;
		fprintf(w->out, "%s\n", line);
	}
	fflush(w->out);
}

static void *
writer_thread(void *arg)
{
	struct trace_writer *w = arg;

	while (!w->stop) {
		regent_trace_wait(w->vm, w->next, WAIT_MS);
		write_all(w);
	}
	return NULL;
}

int
trace_writer_open(struct trace_writer **out, const struct options *q)
{
	struct trace_writer *w = NULL;

	*out = NULL;
	if (q->trace_regs == NULL && q->trace_file == NULL)
		return STATUS_ok;
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return cli_fail(STATUS_monitor, "--trace-regs: no memory");
	w->name = q->trace_file != NULL ? q->trace_file : "standard error";
	w->out = q->trace_file != NULL ? fopen(q->trace_file, "we") : stderr;
	if (w->out == NULL) {
		free(w);
		return cli_fail(STATUS_usage, "--trace-file: cannot open %s: %s; name a file that you may write",
			q->trace_file, strerror(errno));
	}
	if (w->out != stderr)	/* stdio would ask the file for its block size */
		setvbuf(w->out, w->buffer, _IOFBF, sizeof(w->buffer));
	w->json = q->trace_json;
	*out = w;
	return STATUS_ok;
}

int
trace_writer_start(struct trace_writer *w, struct regent_vm *vm, const struct options *q)
{
	int err;

	if (w == NULL)
		return STATUS_ok;
	w->vm = vm;
	if ((err = regent_trace(vm, q->trace_regs != NULL ? q->trace_regs : "")) != 0)
		return cli_fail(cli_status(err), "--trace-regs %s", regent_trace_error());
	if (pthread_create(&w->thread, NULL, writer_thread, w) != 0)
		return cli_fail(STATUS_monitor, "--trace-regs: cannot start its thread");
	w->started = true;
	return STATUS_ok;
}

int
trace_writer_finish(struct trace_writer *w)
{
	if (w == NULL || !w->started)
		return STATUS_ok;
	w->stop = 1;
	pthread_join(w->thread, NULL);
	w->started = false;
	write_all(w);
	if (!ferror(w->out))
		return STATUS_ok;
	return cli_fail(STATUS_usage, "--trace-file: cannot write to %s; make room there or name another file", w->name);
}

void
trace_writer_close(struct trace_writer *w)
{
	if (w == NULL)
		return;
	if (w->out != stderr)
		fclose(w->out);
	free(w);
}
