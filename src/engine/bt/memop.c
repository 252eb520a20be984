/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/memop.c - memory operands: the inline TLB check, and native flags around it.
 *
 *	lea   s0, [address]
 *	rorx  s1d, s0d, 8		; entry of 16 bytes by page number
 *	and   s1d, 0xff0
 *	xor   s0, [cpu + s1 + tag]		; offset in the page, if it is the page
 *	cmp   s0, 4096 - size		; and if the access ends in it
 *	ja    miss
 *	mov   s1, [cpu + s1 + delta]
 *	op    [address + s1]
 *
 * The stack has an entry of its own at a constant place; a constant address a constant entry.
 */
#include "engine/bt/tr.h"

enum { OF_TO_SIGN = 0x7f };

/* ---- flags ---- */

void
tr_flags_save(struct tr *t, int tmp)
{
	struct emit *e = &t->e;

	e_mov(e, tmp, RAX);
	e8(e, 0x9f);						/* lahf */
	e_op(e, 0, false, MAP_0f, 0x90, 0, rm_reg(RAX), false);	/* seto al */
	e_op(e, 0x66, false, MAP_1, 0x89, RAX, rm_abs(bt_abs(&t->bt->flags_saved)), false);
	e_mov(e, RAX, tmp);
	t->fl = FL_saved;
}

void
tr_flags_restore(struct tr *t, int tmp)
{
	struct emit *e = &t->e;

	e_mov(e, tmp, RAX);
	e_op(e, 0, false, MAP_0f, 0xb7, RAX, rm_abs(bt_abs(&t->bt->flags_saved)), false);	/* movzx eax */
	e8(e, 0x04);						/* add al, 0x7f: OF = bit 0 */
	e8(e, OF_TO_SIGN);
	e8(e, 0x9e);						/* sahf */
	e_mov(e, RAX, tmp);
	t->fl = FL_native;
}

/* Before code that destroys the flags in front of instruction i. */
void
tr_flags_clobber(struct tr *t, struct tr_insn *i)
{
	if (t->fl == FL_native && i->live != 0)
		tr_flags_save(t, S0);
}

/* Before i's own operation: flags as it needs them; tmp is free. */
void
tr_flags_for(struct tr *t, struct tr_insn *i, int tmp)
{
	uint16_t through = i->live_out & (uint16_t)(~i->use.fl_write | i->maybe);

	if (t->fl != FL_saved)
		return;
	if ((i->use.fl_read & RFLAGS_arith) != 0 || ((i->use.fl_write & RFLAGS_arith) != 0 && through != 0))
		tr_flags_restore(t, tmp);
	else if ((i->use.fl_write & RFLAGS_arith) != 0)
		t->fl = FL_native;
}

/* ---- checks ---- */

struct cold *
tr_cold(struct tr *t, unsigned kind, uint8_t *from)
{
	struct cold *c = &t->cold[t->ncold++];

	*c = (struct cold){ .kind = (uint8_t)kind, .fl = (uint8_t)t->fl, .from = from };
	return c;
}

static size_t
tlb_at(const struct tr *t, bool write)
{
	return offsetof(struct cpu, tlb) + (t->mode >> BM_VIEW_SHIFT & 3) * sizeof(struct tlb) +
		(write ? offsetof(struct tlb, write) : 0);
}

enum { DELTA = offsetof(struct tlb_entry, delta) };

/* A page fault is what the access raises first. Not so for FPU instructions: alignment and pending x87
 * exceptions come before, and masked elements do not fault. */
static uint32_t
first_fault(const struct tr_insn *i)
{
	const uint32_t fpu = IF_x87 | IF_mmx | IF_sse | IF_avx | IF_mem_align;

	return insn_info[i->in.id].flags & fpu ? 0 : FILL_fault;
}

/* Memory at base + disp through the stack entry; base is a host register. */
struct rm
tr_stack(struct tr *t, struct tr_insn *i, int base, int32_t disp, unsigned size)
{
	size_t entry = tlb_at(t, false) + offsetof(struct tlb, stack);
	struct emit *e = &t->e;
	struct cold *c;
	uint8_t *retry;

	if (tr_in_group(t, i))
		return tr_group_member(t, i, disp);
	t->held = 0;
	tr_flags_clobber(t, i);
	retry = e->p;
	e_lea(e, true, S0, rm_at(base, disp));
	e_alu(e, true, ALU_sub, S0, rm_cpu(NOREG, entry));
	e_alu_imm(e, true, ALU_cmp, rm_reg(S0), PAGE_SIZE - (int32_t)size);
	c = tr_cold(t, COLD_stack, e_jcc(e, CC_a, NULL));
	c->back = retry;
	c->info = size | FILL_write | FILL_stack;	/* reads, too: not FILL_fault */
	e_load(e, S1, rm_cpu(NOREG, entry + DELTA));
	t->free_reg = S0;
	c->resume = e->p;
	t->site = c;
	return rm_sum(base, S1, 0, disp);
}

static bool
is_const(const struct tr *t, const struct insn *in)
{
	return in->seg != SEG_fs && in->seg != SEG_gs && in->asize == tr_word(t) && in->index == INSN_NOREG &&
		(in->base == INSN_NOREG || in->base == INSN_RIP);
}

static bool
fits32(uint64_t v)
{
	return (uint64_t)(int64_t)(int32_t)v == v;
}

/* An address known now. */
static struct rm
mem_const(struct tr *t, const struct tr_insn *i, uint64_t addr, unsigned size, bool write, bool single)
{
	uint64_t page = addr & PAGE_MASK;
	size_t entry = tlb_at(t, write) + (addr >> TLB_INDEX_SHIFT & TLB_INDEX_MASK);
	struct emit *e = &t->e;
	uint8_t *retry = e->p;
	struct cold *c;

	if (fits32(page)) {
		e_op(e, 0, true, MAP_1, 0x81, ALU_cmp, rm_cpu(NOREG, entry), false);
		e32(e, (uint32_t)page);
	} else {
		e_mov_imm(e, S0, page);
		e_alu(e, true, ALU_cmp, S0, rm_cpu(NOREG, entry));
	}
	c = tr_cold(t, COLD_tlb_const, e_jcc(e, CC_ne, NULL));
	c->back = retry;
	c->addr = addr;
	c->info = size | (write ? FILL_write : 0) | first_fault(i);
	if (fits32(page) && fits32(addr) && !single) {
		e_load(e, S1, rm_cpu(NOREG, entry + DELTA));
		t->free_reg = S0;
		return rm_at(S1, (int32_t)addr);
	}
	if (fits32(page))
		e_mov_imm(e, S0, page);
	e_alu(e, true, ALU_add, S0, rm_cpu(NOREG, entry + DELTA));
	t->free_reg = S1;
	return rm_at(S0, (int32_t)(addr & ~PAGE_MASK));
}

/* Put the linear address of in's memory operand into `to`; S0 and S1 may be used. */
void
tr_address(struct tr *t, const struct insn *in, uint64_t next, int to)
{
	struct emit *e = &t->e;
	bool wide = in->asize == 8;
	int base = in->base, index = in->index == INSN_NOREG ? NOREG : in->index;
	int32_t disp = (int32_t)in->disp;

	if (in->base == INSN_RIP) {
		e_mov_imm(e, to, wide ? next + (uint64_t)in->disp : (uint32_t)(next + (uint64_t)in->disp));
		base = index = NOREG;
		goto segment;
	}
	if (in->base == INSN_NOREG && index == NOREG) {
		e_mov_imm(e, to, wide ? (uint64_t)in->disp : (uint32_t)in->disp);
		goto segment;
	}
	base = in->base == INSN_NOREG ? NOREG : tr_host(in->base);
	if (in->base != INSN_NOREG && tr_homed(in->base)) {
		e_load(e, S0, tr_home(in->base));
		base = S0;
	}
	if (index != NOREG && tr_homed(index)) {
		e_load(e, S1, tr_home(index));
		index = S1;
	}
	e_lea(e, wide, to, rm_sum(base, index, in->scale, disp));
segment:
	if (in->seg == SEG_fs || in->seg == SEG_gs)
		e_alu(e, true, ALU_add, to, rm_cpu(NOREG, offsetof(struct cpu, r) +
			(in->seg == SEG_fs ? offsetof(union regfile, fs_base) : offsetof(union regfile, gs_base))));
}

/* The entry that a check was made by, or the part of it at `at`. */
static struct rm
entry_of(const struct cold *c, size_t at)
{
	return rm_cpu(c->kind == COLD_tlb ? S1 : NOREG, c->tag + at);
}

/* The entry of the page of i's base register will do, most of the time: one step less to wait for. */
static bool
is_based(const struct tr *t, const struct tr_insn *i)
{
	const struct insn *in = &i->in;

	return in->base < INSN_RIP && !tr_homed(in->base) && in->index == INSN_NOREG && in->disp == (int8_t)in->disp &&
		in->seg != SEG_fs && in->seg != SEG_gs && in->asize == 8 && !tr_crosses(t, i);
}

/* S0 is an address: in a page that may be touched? Leaves how far in it is. */
static struct cold *
check(struct tr *t, const struct tr_insn *i, unsigned size, bool write)
{
	uint32_t info = size | (write ? FILL_write : 0) | first_fault(i);
	struct bt_site *s = tr_range_site(t, i, size, write, info);
	size_t entry = s != NULL ? s->entry : tlb_at(t, write);
	const struct insn *in = &i->in;
	bool based = is_based(t, i);
	struct emit *e = &t->e;
	struct cold *c;

	if (s == NULL) {
		e_rorx32(e, S1, based ? tr_host(in->base) : S0, TLB_INDEX_SHIFT);
		e_alu_imm(e, false, ALU_and, rm_reg(S1), TLB_INDEX_MASK);
	}
	if (s == NULL) {
		e_alu(e, true, ALU_xor, S0, rm_cpu(S1, entry));
		e_alu_imm(e, true, ALU_cmp, rm_reg(S0), PAGE_SIZE - (int32_t)size);
	} else {
		e_alu(e, true, ALU_sub, S0, rm_cpu(NOREG, entry));
		e_alu(e, true, ALU_cmp, S0, rm_cpu(NOREG, tr_range_last(entry, size)));
	}
	c = tr_cold(t, s == NULL ? COLD_tlb : COLD_range, e_jcc(e, CC_a, NULL));
	c->tag = entry;
	c->info = info;
	c->site = s;
	c->splits = s == NULL && based ? SPLIT_based : SPLIT_no;
	return c;
}

/* i's memory operand, checked: what to use in its place. t->free_reg is left over. `single`: one
 * register and no index, for who can't have more. */
struct rm
tr_mem(struct tr *t, struct tr_insn *i, unsigned size, bool write, bool single)
{
	const struct insn *in = &i->in;
	struct emit *e = &t->e;
	struct cold *c;
	struct rm rm;
	uint8_t *retry;
	bool homed = (in->base < INSN_RIP && tr_homed(in->base)) || (in->index != INSN_NOREG && tr_homed(in->index));
	bool seg = in->seg == SEG_fs || in->seg == SEG_gs;
	uint64_t addr = tr_next(t, i) + (uint64_t)in->disp;
	int base;

	if (in->base == RSP && in->index == INSN_NOREG && !seg && in->asize == tr_word(t) && !single &&
	    in->disp >= -STACK_REACH && in->disp <= STACK_REACH) {
		rm = tr_stack(t, i, GSP, (int32_t)in->disp, size);
		if (!write && t->site != NULL && tr_crosses(t, i))
			t->site->splits = SPLIT_read;
		return rm;
	}
	if (tr_in_group(t, i))
		return tr_group_member(t, i, (int32_t)in->disp);
	t->held = 0;		/* S1 is used below, also by a member of a group that was given up */
	t->site = NULL;
	tr_flags_clobber(t, i);
	if (is_const(t, in)) {
		if (in->base == INSN_NOREG)
			addr = tr_wrap(t, (uint64_t)in->disp);
		if ((addr & ~PAGE_MASK) + size <= PAGE_SIZE)
			return mem_const(t, i, addr, size, write, single);
	}
	retry = e->p;
	if (seg && tr_is32(t))
		tr32_address(t, i, size);
	else
		tr_address(t, in, tr_next(t, i), S0);
	c = check(t, i, size, write);
	c->back = retry;
	if (!write && tr_crosses(t, i))
		c->splits = SPLIT_read;
	t->site = c;
	if (homed || seg || in->asize != 8 || is_const(t, in)) {
		e_alu(e, true, c->kind == COLD_tlb ? ALU_xor : ALU_add, S0, entry_of(c, 0));
		e_alu(e, true, ALU_add, S0, entry_of(c, DELTA));
		c->resume = e->p;
		t->free_reg = S1;
		return rm_at(S0, 0);
	}
	e_load(e, S1, entry_of(c, DELTA));
	c->resume = e->p;
	t->free_reg = S0;
	base = in->base == INSN_NOREG ? NOREG : tr_host(in->base);
	if (in->index == INSN_NOREG && !single)
		return rm_sum(base, S1, 0, (int32_t)in->disp);
	if (in->index == INSN_NOREG) {
		e_lea(e, true, S1, rm_sum(base, S1, 0, (int32_t)in->disp));
		return rm_at(S1, 0);
	}
	if (single) {
		if (base != NOREG)
			e_alu(e, true, ALU_add, S1, rm_reg(base));
		e_lea(e, true, S1, rm_sum(S1, in->index, in->scale, (int32_t)in->disp));
		return rm_at(S1, 0);
	}
	if (base != NOREG)
		e_alu(e, true, ALU_add, S1, rm_reg(base));
	return rm_sum(S1, in->index, in->scale, (int32_t)in->disp);
}

/* ---- rep movs, rep stos: inline while each side stays in one page, else by C ---- */

/* S1 = delta of the page of `reg`, when rCX elements of size bytes from there lie in it. */
static void
string_check(struct tr *t, int reg, unsigned size, bool write)
{
	unsigned shift = (unsigned)__builtin_ctz(size);
	size_t table = tlb_at(t, write);
	struct emit *e = &t->e;

	e_mov(e, S0, reg);
	e_rorx32(e, S1, S0, TLB_INDEX_SHIFT);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), TLB_INDEX_MASK);
	e_alu(e, true, ALU_xor, S0, rm_cpu(S1, table));
	e_alu_imm(e, true, ALU_cmp, rm_reg(S0), PAGE_SIZE - 1);
	tr_cold(t, COLD_light, e_jcc(e, CC_a, NULL));
	e_lea(e, true, S0, rm_sum(S0, RCX, shift, 0));		/* rCX is at most a page's: no overflow */
	e_alu_imm(e, true, ALU_cmp, rm_reg(S0), PAGE_SIZE);
	tr_cold(t, COLD_light, e_jcc(e, CC_a, NULL));
	/* An empty entry matches 2^63: elsewhere the access faults, here the registers would show its delta. */
	e_op(e, 0, false, MAP_1, 0xf6, 0, rm_cpu(S1, table), false);
	e8(e, TLB_EMPTY & 0xff);
	tr_cold(t, COLD_light, e_jcc(e, CC_ne, NULL));
	e_load(e, S1, rm_cpu(S1, table + DELTA));
}

void
tr_string(struct tr *t, struct tr_insn *i)
{
	struct rm hold = rm_abs(bt_abs(&t->bt->hold));
	bool move = i->in.id == INSN_movs;
	unsigned size = i->in.op[0].size;
	struct emit *e = &t->e;

	tr_flags_clobber(t, i);
	e_alu_imm(e, true, ALU_cmp, rm_reg(RCX), PAGE_SIZE / (int32_t)size);
	tr_cold(t, COLD_light, e_jcc(e, CC_a, NULL));
	if (move) {
		string_check(t, RSI, size, false);
		e_store(e, hold, S1);
	}
	string_check(t, RDI, size, true);
	e_alu(e, true, ALU_add, RDI, rm_reg(S1));
	if (move)
		e_alu(e, true, ALU_add, RSI, hold);
	if (size == 2)
		e8(e, 0x66);
	e8(e, 0xf3);
	if (size == 8)
		e8(e, 0x48);
	e8(e, (move ? 0xa4 : 0xaa) | (size != 1));
	e_alu(e, true, ALU_sub, RDI, rm_reg(S1));
	if (move)
		e_alu(e, true, ALU_sub, RSI, hold);
	if (tr_is32(t)) {	/* from the last page to 0 */
		e_op(e, 0, false, MAP_1, 0x8b, RDI, rm_reg(RDI), false);
		e_op(e, 0, false, MAP_1, 0x8b, RSI, rm_reg(RSI), false);
	}
}
