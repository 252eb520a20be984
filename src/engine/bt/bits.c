/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/bits.c - BT, BTS, BTR, BTC of a bit string in memory, by a bit number in a register.
 *
 * The word that holds the bit may be anywhere: its address is worked out and checked like an
 * operand's of its own, and the instruction is done on that word.
 */
#include "engine/bt/tr.h"

enum { SAR = 7, LOCK = 0xf0,
	DELTA = offsetof(struct tlb_entry, delta) };

static void
shift(struct emit *e, bool w, unsigned how, int reg, unsigned by)
{
	e_op(e, 0, w, MAP_1, 0xc1, (int)how, rm_reg(reg), false);
	e8(e, by);
}

static void
bit_number(struct emit *e, bool w, int to, int guest)
{
	e_op(e, 0, w, MAP_1, 0x8b, to, tr_homed(guest) ? tr_home(guest) : rm_reg(tr_host(guest)), false);
}

/* S0 = the linear address of the word; S1 is used. */
static void
word_address(struct tr *t, struct tr_insn *i, unsigned size)
{
	struct emit *e = &t->e;
	unsigned log = size == 8 ? 3 : 2;

	tr_address(t, &i->in, tr_next(t, i), S0);
	bit_number(e, size == 8, S1, i->in.op[1].reg);
	shift(e, size == 8, SAR, S1, log + 3);
	if (size == 4)
		e_op(e, 0, true, MAP_1, 0x63, S1, rm_reg(S1), false);	/* movsxd */
	e_lea(e, !tr_is32(t), S0, rm_sum(S0, S1, log, 0));
}

/* With the word in a register: much quicker, and the bit's number is taken modulo its size. */
static void
test(struct tr *t, struct tr_insn *i, unsigned size)
{
	e_op(&t->e, 0, size == 8, MAP_1, 0x8b, S0, rm_at(S0, 0), false);
	tr_flags_for(t, i, S1);
	bit_number(&t->e, size == 8, S1, i->in.op[1].reg);
	e_op(&t->e, 0, size == 8, MAP_0f, i->in.opcode, S1, rm_reg(S0), false);
}

static void
change(struct tr *t, struct tr_insn *i, unsigned size, bool lock)
{
	struct rm hold = rm_abs(bt_abs(&t->bt->hold));
	struct emit *e = &t->e;

	bit_number(e, size == 8, S1, i->in.op[1].reg);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), (int32_t)size * 8 - 1);
	if (t->fl == FL_saved) {
		e_store(e, hold, S1);
		tr_flags_for(t, i, S1);
		e_load(e, S1, hold);
	}
	e_op(e, lock ? LOCK : 0, size == 8, MAP_0f, i->in.opcode, S1, rm_at(S0, 0), false);
}

void
tr_bits(struct tr *t, struct tr_insn *i)
{
	bool write = i->in.id != INSN_bt, lock = (i->in.prefixes & PFX_lock) != 0;
	unsigned size = i->in.op[0].size;
	size_t table = offsetof(struct cpu, tlb) + (t->mode >> BM_VIEW_SHIFT & 3) * sizeof(struct tlb) +
		(write ? offsetof(struct tlb, write) : 0);
	struct emit *e = &t->e;
	struct cold *c;
	uint8_t *retry;

	tr_flags_clobber(t, i);
	retry = e->p;
	word_address(t, i, size);
	e_rorx32(e, S1, S0, TLB_INDEX_SHIFT);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), TLB_INDEX_MASK);
	e_alu(e, true, ALU_xor, S0, rm_cpu(S1, table));
	e_alu_imm(e, true, ALU_cmp, rm_reg(S0), PAGE_SIZE - (int32_t)size);
	c = tr_cold(t, COLD_tlb, e_jcc(e, CC_a, NULL));
	c->back = retry;
	c->tag = table;
	c->info = size | (write ? FILL_write : 0) | FILL_fault;
	e_alu(e, true, ALU_xor, S0, rm_cpu(S1, table));
	e_alu(e, true, ALU_add, S0, rm_cpu(S1, table + DELTA));
	if (write)
		change(t, i, size, lock);
	else
		test(t, i, size);
}
