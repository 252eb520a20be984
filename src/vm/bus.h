/* SPDX-License-Identifier: Apache-2.0 */
/* vm/bus.h - ports and physical addresses that are not RAM: who answers.
 *
 * VM lock held for bus_access and everything a device's functions do.
 */
#pragma once
#include "cpu/cpu.h"
#include <stddef.h>

struct dev;

/* One piece of a device's state: from these tables come reset, inspection and snapshots. */
struct dev_field {
	const char *name;
	uint16_t offset, size, count;	/* in the device's struct; size of one element in bytes: 1, 2, 4, 8 */
	uint64_t reset;			/* every element's value after reset */
};
#define DEV_FIELD(type, field, count_, reset_) \
	{ #field, offsetof(type, field), sizeof(((type *)0)->field) / (count_), (count_), (reset_) }

struct dev_ops {
	const char *name;
	enum io_result (*io)(struct dev *d, struct io *io);	/* io->addr is absolute */
	void (*reset)(struct dev *d);	/* after the fields were reset; may be NULL */
	void (*loaded)(struct dev *d);	/* after the fields were loaded (restore): re-arm timers; may be NULL */
	void (*close)(struct dev *d);
	const struct dev_field *fields;	/* NULL-name-terminated; may be NULL */
};

struct dev {			/* first member of every device's struct */
	const struct dev_ops *ops;
	char id[16];		/* "uart0" */
};

void dev_reset(struct dev *d);		/* fields by table, then ops->reset */
/* The state by table as text, a line a field ("lapic0.tpr 0"), zeros of long fields left out. At most
 * n bytes with the NUL; the length it would have. */
size_t dev_show(const struct dev *d, char *text, size_t n);

struct bus;
struct bus *bus_open(void);
void bus_close(struct bus *b);		/* does not close devices */

/* Ranges may not overlap: -1 when they do. dev is borrowed. */
int bus_add(struct bus *b, struct dev *d, bool port, uint64_t base, uint64_t len);
void bus_remove(struct bus *b, struct dev *d, bool port, uint64_t base);

/* Finds the device and asks it. An access that fits no single range is split by bytes for ports,
 * IO_none for memory. IO_none leaves all ones in io->data of a read. */
enum io_result bus_access(struct bus *b, struct io *io);
/* Ports nobody has are remembered for the debug log, once each. */
