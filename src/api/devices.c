/* SPDX-License-Identifier: Apache-2.0 */
/* api/devices.c - disks, networks and the like: from the words of the command line to devices on the board. */
#include "api/devices.h"
#include "machine/machine.h"
#include "virtio/blk.h"
#include "virtio/rng.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MAX = 16, SPEC_MAX = 4096, LINE_MAX_ = 400 };

__attribute__((format(printf, 4, 5))) static int
fail(int code, char *err, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, size, fmt, ap);
	va_end(ap);
	return -code;
}

static int
attach(struct vm *vm, struct virtio *v, const char *what, char *err, size_t size)
{
	if (v == NULL)
		return fail(REGENT_E_memory, err, size, "%s: no memory for the device", what);
	if (machine_attach(vm, v) != 0)
		return fail(REGENT_E_usage, err, size, "%s: the board has no slot left; take a device away", what);
	return 0;
}

/* The words behind the first comma. false: one is unknown; it is in *word. */
static bool
disk_words(char *spec, bool *read_only, const char **how, char **word)
{
	char *save = NULL;

	strtok_r(spec, ",", &save);
	while ((*word = strtok_r(NULL, ",", &save)) != NULL) {
		if (strcmp(*word, "ro") == 0)
			*read_only = true;
		else if (strcmp(*word, "io=auto") == 0 || strcmp(*word, "io=uring") == 0 ||
		    strcmp(*word, "io=threads") == 0)
			*how = *word + 3;
		else
			return false;
	}
	return true;
}

static int
disk_add(struct vm *vm, unsigned n, const char *given, char *err, size_t size)
{
	char spec[SPEC_MAX], id[ID_MAX], line[LINE_MAX_], *word;
	const char *how = "auto";
	bool read_only = false;
	struct disk *disk;

	snprintf(id, sizeof(id), "disk%u", n);
	if (snprintf(spec, sizeof(spec), "%s", given) >= (int)sizeof(spec) || spec[0] == '\0' || spec[0] == ',')
		return fail(REGENT_E_usage, err, size, "--disk %.40s: names no file; write FILE or FILE,ro", given);
	if (!disk_words(spec, &read_only, &how, &word))
		return fail(REGENT_E_usage, err, size, "--disk %.80s: %.40s is unknown; there are ro and io=", spec, word);
	if ((disk = disk_open(spec, read_only, how, line, sizeof(line))) == NULL)
		return fail(REGENT_E_io, err, size, "--disk %s", line);
	if (disk_start(disk) != 0) {
		disk_close(disk);
		return fail(REGENT_E_host, err, size, "--disk %.80s: cannot start its threads: %s", spec, strerror(errno));
	}
	return attach(vm, blk_open(vm, id, disk, vm->cpus), "--disk", err, size);
}

int
devices_open(struct vm *vm, const struct regent_config *cfg, char *err, size_t size)
{
	int rc = 0;

	for (unsigned n = 0; rc == 0 && cfg->disks != NULL && cfg->disks[n] != NULL; n++)
		rc = disk_add(vm, n, cfg->disks[n], err, size);
	if (rc == 0 && cfg->rng)
		rc = attach(vm, rng_open(vm, "rng0"), "--rng", err, size);
	return rc;
}
