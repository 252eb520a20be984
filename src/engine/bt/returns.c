/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/returns.c - a guest's CALL is a host CALL and its RET a host RET, so that the host predicts returns.
 *
 * In translated code RSP points into a stack of host addresses, one for each context. CALL pushes there the
 * address of the *pad* behind it. RET takes the guest's return address from the guest's stack to S0 and
 * jumps to the last pad, which compares S0 with the one address that it is for: that, or the table of targets.
 * So this stack decides nothing. It may hold what nobody returns to any more, and lack what somebody will:
 * at its base an entry leads to the table and stays, and below it a page that can't be written makes
 * room (bt_returns_fault). User code's pads are never on a kernel's stack, nor the other way round.
 */
#include "engine/bt/tr.h"
#include <string.h>
#include <sys/mman.h>

enum { STACK = 16 << 10, GUARD = PAGE_SIZE, EACH = GUARD + STACK, KEPT = 512 /* bytes, of the gates and the latest calls */, RET = 0xc3 };

int
bt_returns_open(struct bt_state *bt)
{
	uint8_t *p = mmap(NULL, BT_CTXS * EACH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -1;
	bt->returns = p;
	for (unsigned i = 0; i < BT_CTXS; i++)
		if (mprotect(p + i * EACH, GUARD, PROT_NONE) != 0)
			return -1;
	return 0;
}

void
bt_returns_close(struct bt_state *bt)
{
	if (bt->returns != NULL)
		munmap(bt->returns, BT_CTXS * EACH);
}

/* Context i has no calls to return from. */
void
bt_returns_begin(struct bt_state *bt, unsigned i)
{
	uint64_t *base = (uint64_t *)(void *)(bt->returns + (i + 1) * EACH) - 1;

	*base = (uint64_t)(uintptr_t)bt->gate_return_base;
	bt->ctx[i]->returns = (uint64_t)(uintptr_t)base;
	if (bt->ctx[i] == bt->now)
		bt->rsp = bt->ctx[i]->returns;
}

/* The translations that pads are in go. */
void
bt_returns_forget(struct bt_state *bt)
{
	for (unsigned i = 0; i < BT_CTXS && bt->ctx[i] != NULL; i++)
		bt_returns_begin(bt, i);
}

void
bt_now_set(struct bt_state *bt, struct bt_ctx *to)
{
	if (bt->now != NULL)
		bt->now->returns = bt->rsp;
	bt->now = to;
	if (to != NULL)
		bt->rsp = to->returns;
}

/* A write to `at` failed with RSP = *rsp: when that is below a context's stack, its last entries move to the
 * base, and the write is to be tried again. */
bool
bt_returns_fault(struct bt_state *bt, uint64_t at, uint64_t *rsp)
{
	uint64_t off = at - (uint64_t)(uintptr_t)bt->returns, to;

	if (off >= BT_CTXS * EACH || off % EACH >= GUARD)
		return false;
	to = (uint64_t)(uintptr_t)(bt->returns + (off / EACH + 1) * EACH) - sizeof(uint64_t) - KEPT;
	memcpy((void *)(uintptr_t)to, (const void *)(uintptr_t)*rsp, KEPT);
	*rsp = to;
	return true;
}

/* ---- what is written ---- */

/* RSP from the stack of the present context to that of `to`; S0 is lost. */
void
bt_returns_switch(struct bt_state *bt, struct emit *e, struct rm to)
{
	const int32_t at = offsetof(struct bt_ctx, returns);

	e_load(e, S0, rm_abs(bt_abs(&bt->now)));
	e_store(e, rm_at(S0, at), RSP);
	e_load(e, S0, to);
	e_load(e, RSP, rm_at(S0, at));
	e_store(e, rm_abs(bt_abs(&bt->now)), S0);
}

/* Where RETs go that found no pad of theirs; S0 is the target, flags are saved. */
void
bt_returns_emit(struct bt_state *bt, struct emit *e)
{
	bt->gate_return_base = e->p + e->to_rx;
	e_lea(e, true, RSP, rm_at(RSP, -(int32_t)sizeof(uint64_t)));
	bt->gate_return = e->p + e->to_rx;
	e_alu_imm(e, true, ALU_add, rm_abs(bt_abs(&bt->stats.unreturned)), 1);
	bt->gate_lookup = e->p + e->to_rx;		/* and whoever else has a target for bt->now */
	e_rorx32(e, S1, S0, 32 - BT_TARGET_SHIFT);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), (int32_t)((bt->targets - 1) << BT_TARGET_SHIFT));
	e_alu(e, true, ALU_add, S1, rm_abs(bt_abs(&bt->now)));
	e_alu(e, true, ALU_cmp, S0, rm_at(S1, offsetof(struct bt_ctx, target) + offsetof(struct bt_target, rip)));
	e_jcc(e, CC_ne, bt->gate_indirect - e->to_rx);
	e_jmp_rm(e, rm_at(S1, offsetof(struct bt_ctx, target) + offsetof(struct bt_target, code)));
}

/* Behind the host's CALL of i: go on in the guest behind it, when S0 is that address. */
static void
pad(struct tr *t, struct tr_insn *i)
{
	uint64_t next = tr_next(t, i);
	struct emit *e = &t->e;

	if ((uint64_t)(int64_t)(int32_t)next == next) {
		e_alu_imm(e, true, ALU_cmp, rm_reg(S0), (int32_t)next);
	} else {
		e_mov_imm(e, S1, next);
		e_alu(e, true, ALU_cmp, S0, rm_reg(S1));
	}
	e_jcc(e, CC_ne, t->bt->gate_return - e->to_rx);
	t->fl = FL_saved;
	tr_exit_later(t, e_jmp(e, NULL), BX_link_land, next);
}

/* Each is for translations which return by it: 64-bit code of which instructions are not counted. */
bool
tr_returns(const struct tr *t)
{
	return !(t->mode & (BM_counted | BM_code32));
}

/* Call the target of a direct CALL; the guest's return address is pushed. */
void
tr_call(struct tr *t, struct tr_insn *i)
{
	if (!tr_returns(t) || tr_target(t, i) == tr_next(t, i)) {	/* a way to find out where one is */
		tr_exit(t, i, tr_target(t, i));
		return;
	}
	tr_exit_by(t, i, tr_target(t, i), e_call);
	pad(t, i);
}

/* The same with the target in S0, flags saved or dead. */
void
tr_call_indirect(struct tr *t, struct tr_insn *i)
{
	struct emit *e = &t->e;
	struct cold *c;
	int32_t table;

	if (!tr_returns(t)) {
		tr_indirect(t);
		return;
	}
	table = tr_indirect_find(t);
	c = tr_cold(t, COLD_call, e_jcc(e, CC_ne, NULL));
	e_call_rm(e, rm_at(S1, table + (int32_t)offsetof(struct bt_target, code)));
	c->back = e->p;
	pad(t, i);
}

/* S0 is the address, taken from the guest's stack. */
void
tr_return(struct tr *t)
{
	if (tr_returns(t))
		e8(&t->e, RET);
	else
		tr_indirect(t);
}
