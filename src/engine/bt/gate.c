/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/gate.c - the few pieces of host code between C and translated code.
 *
 * Inside translated code RSP is a stack of returns (returns.c); C has the
 * monitor's, aligned.
 */
#include "engine/bt/bt.h"

enum { JMP_LEN = 5 };
static const int saved_by_c[] = { RBX, RBP, R12, R13, R14, R15 };	/* the System V ABI */
static const int guest_native[] = { RCX, RDX, RBX, RBP, RSI, RDI, R8, R12, R13, R14, R15 };	/* and RAX, rsp */

static void
push_pop(struct emit *e, unsigned opcode, int reg)
{
	if (reg >= R8)
		e8(e, 0x41);
	e8(e, opcode | (unsigned)(reg & 7));
}

static void
guest_load(struct emit *e)
{
	unsigned i;

	for (i = 0; i < sizeof(guest_native) / sizeof(*guest_native); i++)
		e_load(e, guest_native[i], rm_cpu(NOREG, (size_t)guest_native[i] * 8));
	e_load(e, GSP, rm_cpu(NOREG, RSP * 8));
	e_load(e, RAX, rm_cpu(NOREG, 0));
}

/* All but RAX. */
static void
guest_store(struct emit *e)
{
	unsigned i;

	for (i = 0; i < sizeof(guest_native) / sizeof(*guest_native); i++)
		e_store(e, rm_cpu(NOREG, (size_t)guest_native[i] * 8), guest_native[i]);
	e_store(e, rm_cpu(NOREG, RSP * 8), GSP);
}

/* Those that a function of C may have changed. */
static void
guest_reload(struct emit *e)
{
	static const int lost[] = { RCX, RDX, RSI, RDI, R8, RAX };
	unsigned i;

	for (i = 0; i < sizeof(lost) / sizeof(*lost); i++)
		e_load(e, lost[i], rm_cpu(NOREG, (size_t)lost[i] * 8));
	e_load(e, GSP, rm_cpu(NOREG, RSP * 8));
}

static const uint8_t *
here(const struct emit *e)
{
	return e->p + e->to_rx;
}

/* uint32_t enter(code): loads the guest and jumps; translated code comes back by leave(). */
static void
emit_enter(struct bt_state *bt, struct emit *e)
{
	unsigned i;

	bt->enter = (uint32_t (*)(const uint8_t *))(uintptr_t)here(e);
	for (i = 0; i < sizeof(saved_by_c) / sizeof(*saved_by_c); i++)
		push_pop(e, 0x50, saved_by_c[i]);
	e_alu_imm(e, true, ALU_sub, rm_reg(RSP), 8);
	e_store(e, rm_abs(bt_abs(&bt->host_rsp)), RSP);
	e_store(e, rm_abs(bt_abs(&bt->tmp)), RDI);
	e_load(e, RSP, rm_abs(bt_abs(&bt->rsp)));
	guest_load(e);
	e_jmp_rm(e, rm_abs(bt_abs(&bt->tmp)));
}

/* Back to the caller of enter() with S0's low half as result. */
static void
emit_leave(struct bt_state *bt, struct emit *e)
{
	int i;

	e_op(e, 0, false, MAP_1, 0x8b, RAX, rm_reg(S0), false);
	e_store(e, rm_abs(bt_abs(&bt->rsp)), RSP);
	e_load(e, RSP, rm_abs(bt_abs(&bt->host_rsp)));
	e_alu_imm(e, true, ALU_add, rm_reg(RSP), 8);
	for (i = (int)(sizeof(saved_by_c) / sizeof(*saved_by_c)) - 1; i >= 0; i--)
		push_pop(e, 0x58, saved_by_c[i]);
	e8(e, 0xc3);
}

/* S0 = the number behind the call, with the byte before it on top; nobody returns there. No flags change. */
static void
emit_left(struct emit *e)
{
	push_pop(e, 0x58, S0);
	e_load32(e, S0, rm_at(S0, -1));
	e_rorx32(e, S0, S0, 32 - LEFT_BITS);
}

static void
emit_exits(struct bt_state *bt, struct emit *e)
{
	uint8_t *common, *over;

	bt->gate_leave_native = here(e);
	emit_left(e);
	e_store(e, rm_cpu(NOREG, 0), RAX);
	e8(e, 0x9f);						/* lahf */
	e_op(e, 0, false, MAP_0f, 0x90, 0, rm_reg(RAX), false);	/* seto al */
	e_op(e, 0x66, false, MAP_1, 0x89, RAX, rm_abs(bt_abs(&bt->flags_saved)), false);
	common = e_jmp(e, NULL);

	bt->gate_indirect = here(e);				/* S0: the target */
	e_store(e, rm_cpu(NOREG, offsetof(struct cpu, r.rip)), S0);
	e_mov_imm(e, S0, LEFT_indirect);
	over = e_jmp(e, NULL);

	bt->gate_leave_saved = here(e);
	emit_left(e);
	e_patch(over, e->p);
	bt->gate_exit_saved = here(e);				/* S0: what it means */
	e_store(e, rm_cpu(NOREG, 0), RAX);
	e_patch(common, e->p);
	guest_store(e);
	emit_leave(bt, e);
}

/* On the monitor's stack. No flags change. */
static void
call_c(struct bt_state *bt, struct emit *e, const void *fn)
{
	e_store(e, rm_abs(bt_abs(&bt->rsp)), RSP);
	e_load(e, RSP, rm_abs(bt_abs(&bt->host_rsp)));
	e_call_c(e, fn);
	e_load(e, RSP, rm_abs(bt_abs(&bt->rsp)));
}

/* Called from a failed TLB check: S0 the address, S1 what for. Returns to try again, or with the delta in S1, or leaves. */
static void
emit_tlb(struct bt_state *bt, struct emit *e)
{
	uint8_t *fails, *split;

	bt->gate_tlb = here(e);
	e_store(e, rm_cpu(NOREG, 0), RAX);
	guest_store(e);
	e_mov_imm(e, RDI, (uint64_t)(uintptr_t)bt);
	e_mov(e, RSI, S0);
	e_mov(e, RDX, S1);
	e_load(e, RCX, rm_at(RSP, 0));
	call_c(bt, e, (const void *)(uintptr_t)bt_fill);
	e_op(e, 0, false, MAP_1, 0x85, RAX, rm_reg(RAX), false);	/* test eax, eax */
	fails = e_jcc(e, CC_ne, NULL);
	guest_reload(e);
	e_load(e, S1, rm_abs(bt_abs(&bt->split.delta)));
	e8(e, 0xc3);
	e_patch(fails, e->p);
	e_alu_imm(e, false, ALU_cmp, rm_reg(RAX), FILLED_split);
	split = e_jcc(e, CC_e, NULL);
	e_lea(e, true, RSP, rm_at(RSP, 8));
	e_mov_imm(e, S0, LEFT_fault);
	emit_leave(bt, e);
	e_patch(split, e->p);		/* go on behind the jump that tries again */
	guest_reload(e);
	e_load(e, S0, rm_abs(bt_abs(&bt->split.host)));
	e_load(e, S1, rm_abs(bt_abs(&bt->split.delta)));
	e_alu_imm(e, true, ALU_add, rm_at(RSP, 0), BT_INFO_LEN + JMP_LEN);
	e8(e, 0xc3);
}

/* bt_split_back(), with every register and flag kept. */
static void
emit_split_back(struct bt_state *bt, struct emit *e)
{
	static const int kept[] = { RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11 };
	enum { KEPT = sizeof(kept) / sizeof(*kept), PUSHF = 0x9c, POPF = 0x9d };
	unsigned i;

	bt->gate_split_back = here(e);
	e8(e, PUSHF);
	for (i = 0; i < KEPT; i++)
		push_pop(e, 0x50, kept[i]);
	e_mov_imm(e, RDI, (uint64_t)(uintptr_t)bt);
	call_c(bt, e, (const void *)(uintptr_t)bt_split_back);
	for (i = KEPT; i-- > 0; )
		push_pop(e, 0x58, kept[i]);
	e8(e, POPF);
	e8(e, 0xc3);
}

/* A wide check fails for good: go on behind the jump that tries again. */
static void
emit_narrow(struct emit *e)
{
	e_alu_imm(e, true, ALU_add, rm_at(RSP, 0), BT_INFO_LEN + JMP_LEN);
	e8(e, 0xc3);
}

/* S1 = what stands behind the call. Its place is not left out when the gate returns: a changed return address is one
 * that the host did not predict. */
static void
emit_info(struct emit *e)
{
	e_load(e, S1, rm_at(RSP, 0));
	e_load32(e, S1, rm_at(S1, 1));
}

/* S0 an address: its page; where that's entry is in a table to `index`. */
static void
emit_index(struct emit *e, int index)
{
	e_rorx32(e, index, S0, TLB_INDEX_SHIFT);
	e_alu_imm(e, false, ALU_and, rm_reg(index), TLB_INDEX_MASK);
	e_alu_imm(e, true, ALU_and, rm_reg(S0), -PAGE_SIZE);
}

/* S0 an address, S1 what for: not equal when the access ends in another page. RAX is lost. */
static void
emit_crosses(struct emit *e)
{
	e_op(e, 0, false, MAP_1, 0x8b, RAX, rm_reg(S1), false);
	e_alu_imm(e, false, ALU_and, rm_reg(RAX), FILL_SIZE);
	e_lea(e, true, RAX, rm_sum(S0, RAX, 0, -1));
	e_alu(e, true, ALU_xor, RAX, rm_reg(S0));
	e_alu_imm(e, true, ALU_and, rm_reg(RAX), -PAGE_SIZE);
}

/* A group across two pages goes on narrow. */
static void
emit_group_crosses(struct bt_state *bt, struct emit *e)
{
	uint8_t *here_too;

	push_pop(e, 0x50, RAX);
	emit_crosses(e);
	push_pop(e, 0x58, RAX);
	here_too = e_jcc(e, CC_e, NULL);
	e_alu_imm(e, true, ALU_add, rm_abs(bt_abs(&bt->stats.narrow)), 1);
	emit_narrow(e);
	e_patch(here_too, e->p);
}

/* S0 an address, S1 what for. Return with the delta of its page in S1 when the table has it and the access ends there. */
static void
emit_other_page(struct bt_state *bt, struct emit *e, size_t table)
{
	uint8_t *crossing, *missing;

	push_pop(e, 0x50, RAX);
	e_store(e, rm_abs(bt_abs(&bt->tmp)), S0);
	emit_crosses(e);
	crossing = e_jcc(e, CC_ne, NULL);
	emit_index(e, RAX);
	e_alu(e, true, ALU_cmp, S0, rm_cpu(RAX, table));
	missing = e_jcc(e, CC_ne, NULL);
	e_load(e, S1, rm_cpu(RAX, table + offsetof(struct tlb_entry, delta)));
	push_pop(e, 0x58, RAX);
	e8(e, 0xc3);
	e_patch(crossing, e->p);
	e_patch(missing, e->p);
	push_pop(e, 0x58, RAX);
	e_load(e, S0, rm_abs(bt_abs(&bt->tmp)));
}

/* Called from a failed check by the table: S0 the address with the tag of entry S1 in it. */
enum miss { MISS_plain, MISS_based /* the entry is maybe not that of its page */, MISS_group, MISS__COUNT };
static void
emit_miss(struct bt_state *bt, struct emit *e, unsigned view, bool write, enum miss how)
{
	size_t table = offsetof(struct cpu, tlb) + view * sizeof(struct tlb) +
		(write ? offsetof(struct tlb, write) : offsetof(struct tlb, read));

	(how == MISS_based ? bt->gate_miss_based : how == MISS_group ? bt->gate_miss_group : bt->gate_miss)[view][write] = here(e);
	e_alu(e, true, ALU_xor, S0, rm_cpu(S1, table));
	emit_info(e);
	if (how == MISS_based)
		emit_other_page(bt, e, table);
	else if (how == MISS_group)
		emit_group_crosses(bt, e);
	e_jmp(e, bt->gate_tlb - e->to_rx);
}

/* An access across the end of the page of S0, which the entry is of and S1 the index of. Where the next page lies beside it
 * in the host, too, the entry becomes one of the end of the one and the beginning of the other. */
static void
emit_slide(struct bt_state *bt, struct emit *e, size_t table, size_t entry, size_t delta)
{
	uint8_t *unknown, *apart;

	e_lea(e, true, S0, rm_at(S0, PAGE_SIZE));
	e_alu_imm(e, false, ALU_add, rm_reg(S1), sizeof(struct tlb_entry));
	e_alu_imm(e, false, ALU_and, rm_reg(S1), TLB_INDEX_MASK);
	e_alu(e, true, ALU_cmp, S0, rm_cpu(S1, table));
	unknown = e_jcc(e, CC_ne, NULL);
	e_load(e, S0, rm_cpu(S1, table + delta));
	e_alu(e, true, ALU_cmp, S0, rm_cpu(NOREG, entry + delta));
	apart = e_jcc(e, CC_ne, NULL);
	e_load(e, S0, rm_abs(bt_abs(&bt->tmp)));
	e_alu_imm(e, true, ALU_and, rm_reg(S0), -BT_SLIDE);
	e_store(e, rm_cpu(NOREG, entry), S0);
	e8(e, 0xc3);
	e_patch(unknown, e->p);
	e_patch(apart, e->p);
}

/* The same for the stack entry: look in the table of writable pages first. `group`: for accesses with one check. */
static void
emit_stack(struct bt_state *bt, struct emit *e, unsigned view, bool narrow, bool group, const uint8_t *tlb)
{
	size_t t = offsetof(struct cpu, tlb) + view * sizeof(struct tlb), w = t + offsetof(struct tlb, write),
		s = t + offsetof(struct tlb, stack), delta = offsetof(struct tlb_entry, delta);
	uint8_t *crossing, *missing, *high = NULL, *look;

	(group ? bt->gate_stack_group : narrow ? bt->gate_stack32 : bt->gate_stack)[view] = here(e);
	e_alu(e, true, ALU_add, S0, rm_cpu(NOREG, s));
	emit_info(e);
	e_store(e, rm_abs(bt_abs(&bt->tmp)), S0);
	e_store(e, rm_abs(bt_abs(&bt->tmp2)), S1);
	if (narrow) {		/* 32-bit code has no addresses from 4 GiB on, whatever the table has */
		e_op(e, 0, false, MAP_1, 0x8b, S1, rm_reg(S0), false);
		e_alu(e, true, ALU_cmp, S1, rm_reg(S0));
		high = e_jcc(e, CC_ne, NULL);
	}
	emit_index(e, S1);
	e_alu(e, true, ALU_cmp, S0, rm_cpu(NOREG, s));
	crossing = e_jcc(e, CC_e, NULL);
	e_alu(e, true, ALU_cmp, S0, rm_cpu(S1, w));
	missing = e_jcc(e, CC_ne, NULL);
	e_store(e, rm_cpu(NOREG, s), S0);
	e_load(e, S0, rm_cpu(S1, w + delta));
	e_store(e, rm_cpu(NOREG, s + delta), S0);
	e8(e, 0xc3);
	e_patch(crossing, e->p);		/* it is the right one: a group that ends in the next page goes on narrow */
	if (!narrow)
		emit_slide(bt, e, w, s, delta);
	if (group) {
		e_alu_imm(e, false, ALU_sub, rm_abs(bt_abs(&bt->stack_left)), 1);
		look = e_jcc(e, CC_s, NULL);
		e_alu_imm(e, true, ALU_add, rm_abs(bt_abs(&bt->stats.narrow)), 1);
		emit_narrow(e);
		e_patch(look, e->p);
	}
	e_patch(missing, e->p);
	if (narrow)
		e_patch(high, e->p);
	e_load(e, S0, rm_abs(bt_abs(&bt->tmp)));
	e_load(e, S1, rm_abs(bt_abs(&bt->tmp2)));
	e_jmp(e, tlb);
}

static void
store_imm32(struct emit *e, struct rm to, int32_t imm)
{
	e_op(e, 0, true, MAP_1, 0xc7, 0, to, false);
	e32(e, (uint32_t)imm);
}

/* Called from a failed check by a near entry or a range: S0 the address with the entry's tag or beginning
 * in it. Copies the table's entry. */
static void
emit_near(struct bt_state *bt, struct emit *e, bool range)
{
	enum { LOOK = 15 /* C sees one miss of so many, to widen the range */ };
	struct rm left = rm_at(S1, offsetof(struct bt_site, left)), page = rm_cpu(RCX, 0),
		delta = rm_cpu(RCX, offsetof(struct tlb_entry, delta));
	uint8_t *slow[4], *crossing;
	unsigned i, n = 0;

	*(range ? &bt->gate_range : &bt->gate_near) = here(e);
	emit_info(e);
	e_store(e, rm_abs(bt_abs(&bt->site)), S1);
	push_pop(e, 0x50, RAX);
	push_pop(e, 0x50, RCX);
	e_load32(e, RCX, rm_at(S1, offsetof(struct bt_site, entry)));
	e_alu(e, true, range ? ALU_add : ALU_xor, S0, page);
	e_store(e, rm_abs(bt_abs(&bt->tmp)), S0);
	e_alu_imm(e, false, ALU_sub, left, 1);
	slow[n++] = e_jcc(e, CC_s, NULL);
	if (range) {
		e_op(e, 0, false, MAP_1, 0xf6, 0, left, false);		/* test byte */
		e8(e, LOOK);
		slow[n++] = e_jcc(e, CC_e, NULL);
	}
	e_load32(e, RCX, rm_at(S1, offsetof(struct bt_site, table)));
	emit_index(e, RAX);
	e_lea(e, true, RCX, rm_sum(RCX, RAX, 0, 0));
	e_alu(e, true, ALU_cmp, S0, page);
	slow[n++] = e_jcc(e, CC_ne, NULL);
	e_load(e, RAX, delta);
	e_load32(e, RCX, rm_at(S1, offsetof(struct bt_site, entry)));
	e_alu(e, true, ALU_cmp, S0, page);
	crossing = e_jcc(e, CC_e, NULL);		/* it is the right one */
	e_store(e, page, S0);
	e_store(e, delta, RAX);
	for (i = 0; i < TLB_SIZES && range; i++)
		store_imm32(e, rm_cpu(RCX, offsetof(struct tlb_range, last) + i * sizeof(uint64_t)), PAGE_SIZE - (1 << i));
	e_load32(e, RCX, rm_at(S1, offsetof(struct bt_site, used)));
	e_load(e, RAX, rm_at(S1, offsetof(struct bt_site, mask)));
	e_op(e, 0, true, MAP_1, 0x09, RAX, page, false);	/* or [cpu + rcx], rax */
	push_pop(e, 0x58, RCX);
	push_pop(e, 0x58, RAX);
	e8(e, 0xc3);
	e_patch(crossing, e->p);
	if (!range) {
		push_pop(e, 0x58, RCX);
		push_pop(e, 0x58, RAX);
		emit_narrow(e);
	}
	for (i = 0; i < n; i++)
		e_patch(slow[i], e->p);
	push_pop(e, 0x58, RCX);
	push_pop(e, 0x58, RAX);
	e_load(e, S0, rm_abs(bt_abs(&bt->tmp)));
	e_load32(e, S1, rm_at(S1, offsetof(struct bt_site, info)));
	e_jmp(e, bt->gate_tlb - e->to_rx);
}

void
bt_gates_emit(struct bt_state *bt)
{
	struct emit e = { .p = bt->code.rw, .to_rx = bt->code.rx - bt->code.rw, .cpu = bt_abs(bt->c) };
	unsigned view;

	emit_enter(bt, &e);
	emit_exits(bt, &e);
	emit_tlb(bt, &e);
	bt->gate_miss_const = here(&e);		/* S0 the address */
	emit_info(&e);
	e_jmp(&e, bt->gate_tlb - e.to_rx);
	for (view = 0; view < TLB_VIEWS; view++) {
		for (unsigned k = 0; k < 2 * MISS__COUNT; k++)
			emit_miss(bt, &e, view, k & 1, k / 2);
		emit_stack(bt, &e, view, false, false, bt->gate_tlb - e.to_rx);
		emit_stack(bt, &e, view, true, false, bt->gate_tlb - e.to_rx);
		emit_stack(bt, &e, view, false, true, bt->gate_tlb - e.to_rx);
	}
	emit_near(bt, &e, false);
	emit_near(bt, &e, true);
	bt_fpu_gates(bt, &e);
	emit_split_back(bt, &e);
	bt_returns_emit(bt, &e);
	bt_cross_emit(bt, &e);
	bt->first = bt->free = (uint8_t *)(((uintptr_t)e.p + 63) & ~(uintptr_t)63);
}
