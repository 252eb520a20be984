/* SPDX-License-Identifier: Apache-2.0 */
/* cli/trace.h - `--trace-regs`: the register trace of a run, written to a file or stderr while it goes on.
 *
 * The file is opened before the machine is, whose sandbox opens none. All take NULL: no trace is wanted.
 */
#pragma once
#include "cli/options.h"

struct trace_writer;
int trace_writer_open(struct trace_writer **w, const struct options *q);	/* an exit status */
int trace_writer_start(struct trace_writer *w, struct regent_vm *vm, const struct options *q);	/* an exit status */
int trace_writer_finish(struct trace_writer *w);	/* the rest is written; an exit status */
void trace_writer_close(struct trace_writer *w);
