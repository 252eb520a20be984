/* SPDX-License-Identifier: Apache-2.0 */
/* host/code_log.c - the files of `--trace` and `--perf-map`. */
#include "host/code_log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static const char blocks[] = "blocks";
enum { BLOCKS = sizeof(blocks) - 1, PATH_SHOWN = 64 };

static int
fail(char *err, size_t size, const char *path)
{
	snprintf(err, size, "cannot write %.200s: %s; name a file that you may write", path, strerror(errno));
	return -1;
}

static FILE *
file_open(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | flags, 0644);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (f == NULL && fd >= 0)
		close(fd);
	return f;
}

static int
trace_open(struct code_log *l, const char *trace, bool *usage, char *err, size_t size)
{
	const char *path = trace + BLOCKS;

	*usage = true;
	if (strncmp(trace, blocks, BLOCKS) != 0 || (*path != '\0' && *path != '=') || strcmp(path, "=") == 0) {
		snprintf(err, size, "is unknown; write blocks or blocks=FILE");
		return -1;
	}
	*usage = false;
	l->trace = *path == '\0' ? stderr : file_open(path + 1, 0);
	if (l->trace == NULL)
		return fail(err, size, path + 1);
	if (l->trace != stderr)
		setvbuf(l->trace, l->trace_buffer, _IOFBF, sizeof(l->trace_buffer));
	return 0;
}

int
code_log_open(struct code_log *l, const char *trace, bool perf_map, bool *usage, char *err, size_t size)
{
	char path[PATH_SHOWN];

	*l = (struct code_log){ 0 };
	if (trace != NULL && trace_open(l, trace, usage, err, size) != 0)
		return -1;
	if (!perf_map)
		return 0;
	*usage = false;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	l->perf = file_open(path, O_NOFOLLOW);
	if (l->perf == NULL) {
		fail(err, size, path);
		code_log_close(l);
		return -1;
	}
	setvbuf(l->perf, l->perf_buffer, _IOLBF, sizeof(l->perf_buffer));	/* perf may look at any time */
	return 0;
}

void
code_log_close(struct code_log *l)
{
	if (l->trace != NULL && l->trace != stderr)
		fclose(l->trace);
	if (l->perf != NULL)
		fclose(l->perf);
	*l = (struct code_log){ 0 };
}

void
code_log_name(const struct code_log *l, const void *code, size_t size, const char *fmt, ...)
{
	va_list ap;

	flockfile(l->perf);
	fprintf(l->perf, "%llx %zx ", (unsigned long long)(uintptr_t)code, size);
	va_start(ap, fmt);
	vfprintf(l->perf, fmt, ap);
	va_end(ap);
	fputc('\n', l->perf);
	funlockfile(l->perf);
}
