/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/operand.c - operands of whole instructions, for exec functions and the FPU's part. */
#include "engine/interp/exec.h"
#include "cpu/segments.h"

uint64_t
insn_offset(const struct cpu *c, const struct insn *in)
{
	uint64_t off = (uint64_t)in->disp;

	if (in->base < 16)
		off += c->r.gpr[in->base];
	else if (in->base == INSN_RIP)
		off += c->r.rip + in->len;
	if (in->index < 16)
		off += c->r.gpr[in->index] << in->scale;
	return offset_cut(in, off);
}

/* #AC comes after what else the access may raise (SDM vol. 3A, table 6-2). */
static int MUST_CHECK
check_alignment(struct cpu *c, uint64_t lin, unsigned size, unsigned acc)
{
	if (lin_probe(c, lin, size, acc))
		return FAULT;
	return cpu_raise_error(c, VEC_ac, 0);
}

int
offset_lin(struct cpu *c, uint8_t seg, uint64_t off, unsigned size, unsigned acc, uint64_t *lin)
{
	if (seg_lin(c, (enum seg_id)seg, off, size == 0 ? 1 : size, acc, lin))
		return FAULT;
	if (unlikely(c->cpl == 3 && (c->r.rflags & rflags_ac_MASK) && cr0_am(&c->r)) && size <= 8 &&
	    (*lin & (size - 1)) != 0 && (size & (size - 1)) == 0 && size != 0)
		return check_alignment(c, *lin, size, acc);
	return OK;
}

int
insn_lin(struct cpu *c, const struct insn *in, unsigned size, unsigned acc, uint64_t *lin)
{
	return offset_lin(c, in->seg, insn_offset(c, in), size, acc, lin);
}

uint64_t
reg_get(const struct cpu *c, const struct opnd *o)
{
	unsigned off = opnd_off(o);

	switch (o->size) {
	case 1: return REG8(off);
	case 2: return REG16(off);
	case 4: return REG32(off);
	default: return REG64(off);
	}
}

void
reg_set(struct cpu *c, const struct opnd *o, uint64_t val)
{
	unsigned off = opnd_off(o);

	switch (o->size) {
	case 1: SET8(off, (uint8_t)val); break;
	case 2: SET16(off, (uint16_t)val); break;
	case 4: SET32(off, val); break;
	default: SET64(off, val); break;
	}
}

int
opnd_get(struct cpu *c, const struct insn *in, unsigned n, uint64_t *val)
{
	const struct opnd *o = &in->op[n];
	uint64_t lin;

	if (o->kind == OPND_reg) {
		*val = reg_get(c, o);
		return OK;
	}
	if (o->kind != OPND_mem) {
		*val = in->imm;
		return OK;
	}
	*val = 0;
	if (insn_lin(c, in, o->size, ACC_read, &lin))
		return FAULT;
	return lin_read_slow(c, lin, val, o->size, ACC_read);
}

int
opnd_set(struct cpu *c, const struct insn *in, unsigned n, uint64_t val)
{
	const struct opnd *o = &in->op[n];
	uint64_t lin;

	if (o->kind == OPND_reg) {
		reg_set(c, o, val);
		return OK;
	}
	if (insn_lin(c, in, o->size, ACC_write, &lin))
		return FAULT;
	return lin_write_slow(c, lin, &val, o->size, ACC_write);
}

void
compare_flags(struct cpu *c, uint64_t a, uint64_t b, unsigned size)
{
	unsigned shift = 64 - 8 * size;
	uint64_t fl = 0, x = a << shift, y = b << shift;
	uint8_t al = (uint8_t)a, bl = (uint8_t)b;

	__asm__("cmpq %2, %1" FL_SAVE : "+&a"(fl) : "r"(x), "r"(y) : "cc");
	c->hot.fl = (uint16_t)fl;
	/* AF and PF are those of the low byte, which the shift moved away. */
	__asm__("cmpb %2, %1" FL_SAVE : "+&a"(fl) : "r"(al), "r"(bl) : "cc");
	c->hot.fl = (c->hot.fl & ~(uint32_t)(FL_af | FL_pf)) | ((uint32_t)fl & (FL_af | FL_pf));
	flags_out(c);
}
