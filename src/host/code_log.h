/* SPDX-License-Identifier: Apache-2.0 */
/* host/code_log.h - where generated code is described, for people and for perf. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct code_log {
	FILE *trace;		/* owned unless it is stderr; NULL: nobody asked */
	FILE *perf;		/* owned: the map that perf looks for; NULL: nobody asked */
	/* Their buffers: stdio would ask the file for its block size, which a sandbox does not let it. */
	char trace_buffer[4096], perf_buffer[4096];
};

/* trace: "blocks" (to stderr) or "blocks=FILE", NULL: none. 0, or -1 with the reason in err; usage:
 * whether it is the word that is wrong. */
int code_log_open(struct code_log *l, const char *trace, bool perf_map, bool *usage, char *err, size_t size);
void code_log_close(struct code_log *l);

/* A stretch of host code gets a name in perf's map. */
void code_log_name(const struct code_log *l, const void *code, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
