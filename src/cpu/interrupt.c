/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/interrupt.c - INT n, INT3, INTO, INT1, also in virtual-8086 mode (SDM 2A, INT; 3B, 20.3). */
#include "cpu/transfer.h"

enum { TSS_IOMAP = 0x66, REDIRECTION_BYTES = 32 };

/* Is vec to be handled inside virtual-8086 mode (its bit in the TSS's redirection map is 0)? */
static int
redirected(struct cpu *c, uint8_t vec, bool *yes)
{
	uint16_t map;
	uint8_t byte;
	uint64_t at;

	*yes = false;
	if (!cr4_vme(&c->r))
		return OK;
	if (sys_read(c, c->r.tr_base + TSS_IOMAP, &map, 2) != OK)
		return FAULT;
	at = (uint64_t)map - REDIRECTION_BYTES + vec / 8;
	if (map < REDIRECTION_BYTES || at > c->r.tr_limit)
		return cpu_raise_error(c, VEC_gp, 0);
	if (sys_read(c, c->r.tr_base + at, &byte, 1) != OK)
		return FAULT;
	*yes = !(byte >> (vec & 7) & 1);
	return OK;
}

/* To the virtual machine's own handler, at 0:4*vec; below IOPL 3, VIF stands for IF. */
static int
int_in_v86(struct cpu *c, uint8_t vec, uint64_t next)
{
	bool virtual_if = rflags_iopl(&c->r) < 3;
	uint64_t flags = c->r.rflags;

	if (virtual_if) {
		flags = (flags & ~rflags_if_MASK) | rflags_iopl_MASK;
		flags |= rflags_vif(&c->r) ? rflags_if_MASK : 0;
	}
	if (deliver_ivt(c, 0, vec, flags, next) != OK)
		return FAULT;
	c->r.rflags &= ~(rflags_tf_MASK | rflags_nt_MASK | rflags_rf_MASK |
		(virtual_if ? rflags_vif_MASK : rflags_if_MASK));
	return OK;
}

static int
deliver_software(struct cpu *c, enum event_kind kind, uint8_t vec, uint64_t next)
{
	struct cpu_fault e = { .kind = (uint8_t)kind, .vec = vec };

	/* INT pushes RF as it is after the instruction. */
	uint64_t flags = c->r.rflags;

	c->r.rflags &= ~rflags_rf_MASK;
	if (deliver_once(c, &e, next) == OK)
		return OK;
	c->r.rflags |= flags & rflags_rf_MASK;
	return FAULT;
}

int
cpu_int(struct cpu *c, uint8_t vec, uint64_t next)
{
	bool yes;

	if (c->mode == MODE_v86) {
		if (redirected(c, vec, &yes) != OK)
			return FAULT;
		if (yes)
			return int_in_v86(c, vec, next);
		if (rflags_iopl(&c->r) < 3)
			return cpu_raise_error(c, VEC_gp, 0);
	}
	return deliver_software(c, EVENT_int, vec, next);
}

int
cpu_int3(struct cpu *c, uint64_t next)
{
	return deliver_software(c, EVENT_trap, VEC_bp, next);
}

int
cpu_into(struct cpu *c, uint64_t next)
{
	if (rflags_of(&c->r))
		return deliver_software(c, EVENT_trap, VEC_of, next);
	c->r.rip = next;
	return OK;
}

int
cpu_icebp(struct cpu *c, uint64_t next)
{
	return deliver_software(c, EVENT_icebp, VEC_db, next);
}
