/* SPDX-License-Identifier: Apache-2.0 */
/* cli/trace.h - `--trace-regs`: the register trace of a run, written to a file or stderr while it goes on. */
#pragma once
#include "cli/options.h"

struct trace_writer;
/* NULL with *status 0: no trace is wanted; else an exit status after one line on stderr. */
struct trace_writer *trace_writer_open(struct regent_vm *vm, const struct options *q, int *status);
int trace_writer_close(struct trace_writer *w);	/* the rest is written; an exit status */
