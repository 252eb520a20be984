/* SPDX-License-Identifier: Apache-2.0 */
/* control/gdb_regs.h - the registers as gdb numbers them: its amd64 core set, then all the others. */
#pragma once
#include "cpu/cpu.h"

enum { GDB_REGS_MAX = 76 + REG__COUNT, GDB_REG_BYTES = 16 };

struct gdb_reg {
	char name[32];
	uint8_t bits;
	uint8_t place;		/* enum gdb_place */
	uint16_t at;		/* register id, or offset in struct fpu_state */
	const char *type, *feature;
};

struct gdb_regs {
	unsigned count;
	struct gdb_reg reg[GDB_REGS_MAX];
	char *xml;		/* target.xml; owned */
};

int gdb_regs_open(struct gdb_regs *t);	/* -1: out of memory */
void gdb_regs_close(struct gdb_regs *t);

/* The value in target byte order, bits / 8 bytes; the number of bytes. */
unsigned gdb_reg_get(const struct gdb_regs *t, const struct cpu *c, unsigned n, uint8_t to[GDB_REG_BYTES]);
/* false: the register can't have that value. */
bool gdb_reg_set(const struct gdb_regs *t, struct cpu *c, unsigned n, const uint8_t *from);
