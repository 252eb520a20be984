/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/ports.c - IN and OUT: who may (SDM 1, 19.5), what the policy says of it, and the machine's answer. */
#include "cpu/sysreg.h"
#include "cpu/transfer.h"

enum { TSS_IOMAP_BASE = 0x66, TSS32_LIMIT_MIN = 0x67 };

int
cpu_io_allowed(struct cpu *c, uint16_t port, unsigned size)
{
	uint16_t base, bits;

	if (c->mode == MODE_real || (c->mode != MODE_v86 && c->cpl <= rflags_iopl(&c->r)))
		return OK;
	if (!(c->r.tr_attr & SYS_IS32) || c->r.tr_limit < TSS32_LIMIT_MIN)
		return cpu_raise_error(c, VEC_gp, 0);
	if (sys_read(c, c->r.tr_base + TSS_IOMAP_BASE, &base, 2) != OK)
		return FAULT;
	/* Two bytes are always read: the map ends with a byte of ones. */
	if (base + port / 8u + 1 > c->r.tr_limit)
		return cpu_raise_error(c, VEC_gp, 0);
	if (sys_read(c, c->r.tr_base + base + port / 8u, &bits, 2) != OK)
		return FAULT;
	if ((unsigned)bits >> (port & 7) & ((1u << size) - 1))
		return cpu_raise_error(c, VEC_gp, 0);
	return OK;
}

static uint64_t
size_mask(unsigned size)
{
	return (1ull << 8 * size) - 1;
}

/* To AL, AX or EAX; the last clears what is above it. */
int
cpu_port_in(struct cpu *c, uint16_t port, unsigned size, bool *stop)
{
	struct io io = { .addr = port, .size = (uint8_t)size, .port = true };
	enum io_result res = IO_done;
	bool done;

	if (cpu_io_allowed(c, port, size) != OK || policy_port(c, &io, &done) != OK)
		return FAULT;
	if (!done)
		res = c->ops->io(c, &io);
	if (res == IO_none)
		io.data = UINT64_MAX;
	c->r.rax = (size == 4 ? 0 : c->r.rax & ~size_mask(size)) | (io.data & size_mask(size));
	*stop = res == IO_stop;
	return OK;
}

int
cpu_port_out(struct cpu *c, uint16_t port, unsigned size, bool *stop)
{
	struct io io = { .addr = port, .size = (uint8_t)size, .port = true, .write = true };
	bool done;

	io.data = c->r.rax & size_mask(size);
	if (cpu_io_allowed(c, port, size) != OK || policy_port(c, &io, &done) != OK)
		return FAULT;
	*stop = !done && c->ops->io(c, &io) == IO_stop;
	return OK;
}
