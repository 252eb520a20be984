/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/light32.c - what C does for 32-bit code without leaving far; the rest is light.c's.
 *
 * The same rules as there: no vector registers, state in the register file, r.rip at the instruction.
 */
#include "engine/bt/bt.h"

#include "cpu/segments.h"
#include "cpu/stack.h"

enum { WORD = 4 };

static enum light
pushf(struct cpu *c, const struct insn *in)
{
	struct stack s;
	uint64_t val;

	stack_current(c, &s);
	if (cpu_pushf_image(c, WORD, &val) != OK || stack_push(c, &s, val, WORD) != OK)
		return LIGHT_fault;
	c->r.rsp = s.sp;
	return light_next(c, in, OK);
}

static enum light
popf(struct cpu *c, const struct insn *in)
{
	struct stack s;
	uint64_t val;

	stack_current(c, &s);
	if (stack_pop(c, &s, &val, WORD) != OK || cpu_popf(c, val, WORD) != OK)
		return LIGHT_fault;
	c->r.rsp = s.sp;
	return light_next(c, in, OK);
}

/* SS brings a shadow: the interpreter's. */
static enum light
pop_seg(struct cpu *c, const struct insn *in)
{
	unsigned seg = in->op[0].reg;
	struct stack s;
	uint64_t val;

	if (seg == SEG_ss)
		return LIGHT_interp;
	stack_current(c, &s);
	if (stack_pop(c, &s, &val, WORD) != OK || seg_load(c, (enum seg_id)seg, (uint16_t)val) != OK)
		return LIGHT_fault;
	c->r.rsp = s.sp;
	return light_next(c, in, OK);
}

/* Instructions with an operand size of 32 bits that go through the stack. */
static enum light
stacked(struct cpu *c, const struct insn *in)
{
	if (in->osize != WORD)
		return LIGHT_interp;
	switch (in->id) {
	case INSN_pushf: return pushf(c, in);
	case INSN_popf: return popf(c, in);
	case INSN_pop_seg: return pop_seg(c, in);
	default: return light_jumped(cpu_iret(c, WORD, c->r.rip + in->len));
	}
}

/* Memory operands that light.c's address() does not know. */
static bool
odd_operand(const struct insn *in)
{
	unsigned k;

	for (k = 0; k < in->nopnds; k++)
		if (in->op[k].kind == OPND_mem)
			return in->asize != WORD || in->seg == SEG_cs || in->seg == SEG_fs || in->seg == SEG_gs;
	return false;
}

bool
bt_is_light32(const struct insn *in)
{
	if (odd_operand(in))
		return false;
	switch (in->id) {
	case INSN_pop_seg: case INSN_int: case INSN_sysenter: case INSN_sysexit:
		return true;
	default:
		return bt_is_light(in);
	}
}

/* false: light.c does it. */
bool
bt_light32(struct cpu *c, const struct insn *in, enum light *res)
{
	switch (in->id) {
	case INSN_pushf: case INSN_popf: case INSN_iret: case INSN_pop_seg:
		*res = stacked(c, in);
		return true;
	case INSN_int:
		*res = light_jumped(cpu_int(c, (uint8_t)in->imm, c->r.rip + in->len));
		return true;
	case INSN_sysenter:
		*res = light_jumped(cpu_sysenter(c));
		return true;
	case INSN_sysexit:
		*res = light_jumped(cpu_sysexit(c, in->osize));
		return true;
	case INSN_movs: case INSN_stos: case INSN_bt: case INSN_bts: case INSN_btr: case INSN_btc:
		*res = LIGHT_interp;
		return true;
	default:
		return false;
	}
}
