/* SPDX-License-Identifier: Apache-2.0 */
/* dev/fwcfg.c - QEMU's fw_cfg device (QEMU docs/specs/fw_cfg): a selector, then a byte at a time.
 *
 * The traditional interface only: no DMA, nothing writable.
 */
#include "dev/fwcfg.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K_signature = 0x00, K_id = 0x01, K_ram_size = 0x03, K_cpus = 0x05, K_max_cpus = 0x0f, K_dir = 0x19,
	K_files = 0x20 };
enum { FILES = 32, KEYS = K_files + FILES, NAME = 56, DIR_ENTRY = 64, WRITE_CHANNEL = 0x4000 };
enum { FEATURE_TRADITIONAL = 1 };

struct blob {
	uint8_t *data;			/* owned */
	size_t len;
};

struct fwcfg {
	struct dev dev;			/* first */
	struct blob key[KEYS];
	char name[FILES][NAME];
	unsigned files;
	uint8_t dir[4 + FILES * DIR_ENTRY];	/* key[K_dir] points here */

	/* state by table */
	uint16_t select;
	uint64_t at;			/* next byte of what is selected */
};

static void
put_big(uint8_t *to, uint32_t val, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = (uint8_t)(val >> 8 * (size - 1 - i));
}

static int
add(struct fwcfg *f, unsigned key, const void *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		return -1;
	memcpy(copy, data, len);
	f->key[key] = (struct blob){ copy, len };
	return 0;
}

int
fwcfg_add_file(struct dev *d, const char *name, const void *data, size_t len)
{
	struct fwcfg *f = (struct fwcfg *)d;
	uint8_t *entry = f->dir + 4 + f->files * DIR_ENTRY;

	if (f->files == FILES || strlen(name) >= NAME || len > UINT32_MAX)
		return -1;
	for (unsigned i = 0; i < f->files; i++)
		if (strcmp(f->name[i], name) == 0)
			return -1;
	if (add(f, K_files + f->files, data, len) != 0)
		return -1;
	strcpy(f->name[f->files], name);
	put_big(entry, (uint32_t)len, 4);
	put_big(entry + 4, K_files + f->files, 2);
	memcpy(entry + 8, f->name[f->files], NAME);
	put_big(f->dir, ++f->files, 4);
	f->key[K_dir].len = 4 + f->files * DIR_ENTRY;
	return 0;
}

static uint8_t
next_byte(struct fwcfg *f)
{
	const struct blob *b = f->select < KEYS ? &f->key[f->select] : NULL;

	return b != NULL && f->at < b->len ? b->data[f->at++] : 0;
}

static enum io_result
fwcfg_io(struct dev *d, struct io *io)
{
	struct fwcfg *f = (struct fwcfg *)d;

	if (!io->port)
		return IO_none;
	if (io->addr == FWCFG_SELECT && io->size == 2) {
		if (io->write) {
			f->select = (uint16_t)(io->data & ~(uint64_t)WRITE_CHANNEL);
			f->at = 0;
		} else {
			io->data = f->select;
		}
		return IO_done;
	}
	if (io->addr == FWCFG_DATA && io->size == 1) {
		if (!io->write)
			io->data = next_byte(f);
		return IO_done;
	}
	return IO_none;
}

static void
fwcfg_close(struct dev *d)
{
	struct fwcfg *f = (struct fwcfg *)d;

	for (unsigned k = 0; k < KEYS; k++)
		if (f->key[k].data != f->dir)
			free(f->key[k].data);
	free(f);
}

static const struct dev_field fwcfg_fields[] = {
	DEV_FIELD(struct fwcfg, select, 1, 0),
	DEV_FIELD(struct fwcfg, at, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops fwcfg_ops = {
	.name = "fwcfg", .io = fwcfg_io, .close = fwcfg_close, .fields = fwcfg_fields,
};

struct dev *
fwcfg_open(uint64_t ram, unsigned cpus)
{
	struct fwcfg *f = calloc(1, sizeof(*f));
	uint32_t features = FEATURE_TRADITIONAL;
	uint16_t count = (uint16_t)cpus;

	if (f == NULL)
		return NULL;
	f->dev.ops = &fwcfg_ops;
	strcpy(f->dev.id, "fwcfg");
	f->key[K_dir] = (struct blob){ f->dir, 4 };
	if (add(f, K_signature, "QEMU", 4) != 0 || add(f, K_id, &features, sizeof(features)) != 0 ||
	    add(f, K_ram_size, &ram, sizeof(ram)) != 0 || add(f, K_cpus, &count, sizeof(count)) != 0 ||
	    add(f, K_max_cpus, &count, sizeof(count)) != 0) {
		fwcfg_close(&f->dev);
		return NULL;
	}
	dev_reset(&f->dev);
	return &f->dev;
}
