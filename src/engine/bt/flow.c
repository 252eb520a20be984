/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/flow.c - stack instructions, branches, ways out of a block, and its cold part. */
#include "engine/bt/tr.h"
#include "engine/policed.h"

enum { WORD = 8, STUB_JRCXZ = 0xe3, PREFIX_67 = 0x67, JMP_SHORT = 0xeb, JMP_LEN = 5 };

static const uint8_t *
gate(const struct tr *t, const uint8_t *rx)
{
	return rx - t->e.to_rx;
}

static uint32_t
offset(const struct tr *t, const uint8_t *rw)
{
	return (uint32_t)(rw - t->bt->code.rw);
}

/* ---- stack ---- */

static void
move_rsp(struct tr *t, int32_t by)
{
	e_lea(&t->e, true, GSP, rm_at(GSP, by));
}

static void
store_imm(struct tr *t, struct rm to, uint64_t val)
{
	if ((uint64_t)(int64_t)(int32_t)val == val) {
		e_op(&t->e, 0, true, MAP_1, 0xc7, 0, to, false);
		e32(&t->e, (uint32_t)val);
	} else {
		e_mov_imm(&t->e, S0, val);
		e_store(&t->e, to, S0);
	}
}

void
tr_push(struct tr *t, struct tr_insn *i)
{
	const struct opnd *op = &i->in.op[0];
	struct rm rm;

	if (op->kind == OPND_mem) {
		e_load(&t->e, S0, tr_mem(t, i, WORD, false, false));
		e_store(&t->e, rm_abs(bt_abs(&t->bt->hold)), S0);
	}
	rm = tr_stack(t, i, GSP, -WORD, WORD);
	if (op->kind == OPND_imm) {
		store_imm(t, rm, i->in.imm);
	} else if (op->kind == OPND_mem || tr_homed(op->reg)) {
		e_load(&t->e, S0, op->kind == OPND_mem ? rm_abs(bt_abs(&t->bt->hold)) : tr_home(op->reg));
		e_store(&t->e, rm, S0);
	} else {
		e_store(&t->e, rm, tr_host(op->reg));
	}
	move_rsp(t, -WORD);
}

void
tr_pop(struct tr *t, struct tr_insn *i)
{
	int reg = i->in.op[0].reg;
	struct rm rm = tr_stack(t, i, GSP, 0, WORD);

	if (reg == RSP) {
		e_load(&t->e, GSP, rm);
		return;
	}
	e_load(&t->e, tr_homed(reg) ? S0 : reg, rm);
	if (tr_homed(reg))
		e_store(&t->e, tr_home(reg), S0);
	move_rsp(t, WORD);
}

void
tr_leave(struct tr *t, struct tr_insn *i)
{
	struct rm rm = tr_stack(t, i, RBP, 0, WORD);

	e_load(&t->e, S0, rm);		/* first: it may still fault, at 2^63 (TLB_EMPTY) */
	e_lea(&t->e, true, GSP, rm_at(RBP, WORD));
	e_mov(&t->e, RBP, S0);
}

/* ---- ways out ---- */

static uint32_t
exit_new(struct tr *t, unsigned kind, uint64_t target)
{
	uint32_t id = t->bt->nexits++;

	t->bt->exits[id] = (struct bt_exit){ .kind = kind & 15, .away = (target - t->b->rip) & (UINT64_MAX >> (64 - BX_AWAY)),
		.from = (uint32_t)(t->b - t->bt->blocks) };
	return id;
}

/* The gate takes the number from behind its call. */
static void
leave_with(struct tr *t, uint32_t id, bool saved)
{
	e_call(&t->e, gate(t, saved ? t->bt->gate_leave_saved : t->bt->gate_leave_native));
	e_put32(t->e.p, id);
	t->e.p += LEFT_BYTES;
}

/* What rel32 at `from` reaches when not linked: leave for target. */
static void
exit_stub(struct tr *t, uint8_t *from, unsigned kind, uint64_t target)
{
	uint32_t id = exit_new(t, kind, target);
	struct bt_exit *x = &t->bt->exits[id];

	x->stub = offset(t, t->e.p);
	if (kind <= BX_link_land)
		x->patch = offset(t, from);
	e_patch(from, t->e.p);
	leave_with(t, id, kind != BX_link);
}

static bool
same_page(const struct tr *t, uint64_t rip)
{
	return (rip & PAGE_MASK) == t->pg->vpage;
}

void
tr_exit_later(struct tr *t, uint8_t *from, unsigned kind, uint64_t target)
{
	struct cold *c = tr_cold(t, COLD_exit, from);

	c->exit_kind = (uint8_t)kind;
	c->addr = target;
}

/* Go to target, which is not in this block, by e_jmp or e_call. A call back looks at events, which no jump before it does. */
void
tr_exit_by(struct tr *t, struct tr_insn *i, uint64_t target, uint8_t *(*by)(struct emit *, const uint8_t *))
{
	bool land = !same_page(t, target) || (i->kind == TK_call && target <= tr_rip(t, i));
	unsigned kind;

	if (land && t->fl == FL_native && i->live_out != 0)
		tr_flags_save(t, S0);
	kind = land ? BX_link_land : t->fl == FL_native ? BX_link : BX_link_saved;
	tr_exit_later(t, by(&t->e, NULL), kind, target);
}

void
tr_exit(struct tr *t, struct tr_insn *i, uint64_t target)
{
	tr_exit_by(t, i, target, e_jmp);
}

/* Look S0 up among the targets: S1 + what is returned is the entry, if the host's flags say equal. */
int32_t
tr_indirect_find(struct tr *t)
{
	int32_t table = bt_abs(t->bt->now->target);
	struct emit *e = &t->e;

	e_rorx32(e, S1, S0, 32 - BT_TARGET_SHIFT);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), (int32_t)((t->bt->targets - 1) << BT_TARGET_SHIFT));
	e_alu(e, true, ALU_cmp, S0, rm_at(S1, table));
	return table;
}

void
tr_indirect(struct tr *t)
{
	struct emit *e = &t->e;
	int32_t table;

	if (t->mode & BM_counted) {	/* every boundary is the run loop's */
		e_jmp(e, gate(t, t->bt->gate_indirect));
		return;
	}
	table = tr_indirect_find(t);
	e_jcc(e, CC_ne, gate(t, t->bt->gate_indirect));
	e_jmp_rm(e, rm_at(S1, table + (int32_t)offsetof(struct bt_target, code)));
}

/* A way out for an instruction that C does. */
uint32_t
tr_exit_light(struct tr *t, struct tr_insn *i)
{
	uint32_t id = exit_new(t, BX_light, tr_rip(t, i));

	t->bt->exits[id].insn_id = i->in.id & ((1u << BX_ID) - 1);
	t->bt->exits[id].cross = CROSS__COUNT;
	t->bt->exits[id].patch = t->bt->nlight;
	t->bt->light[t->bt->nlight++] = i->in;
	return id;
}

/* Leave, and have the instruction done by C or interpreted. */
void
tr_interp(struct tr *t, struct tr_insn *i)
{
	bool known = insn_info[i->in.id].feature == CPUF_always || cpu_has(t->c->model, insn_info[i->in.id].feature);
	bool light = known && (tr_is32(t) ? bt_is_light32(&i->in) : bt_is_light(&i->in)) && !is_policed(t->c, i->in.id) &&
		!((t->mode & BM_counted) && (insn_info[i->in.id].flags & IF_string));
	uint32_t id;

	if (light) {
		id = tr_exit_light(t, i);
	} else {
		id = exit_new(t, BX_interp, tr_rip(t, i));
		t->bt->exits[id].insn_id = i->in.id & ((1u << BX_ID) - 1);
	}
	leave_with(t, id, t->fl == FL_saved);
}

static void
attention_check(struct tr *t)
{
	e_op(&t->e, 0, false, MAP_1, 0x83, ALU_cmp, rm_cpu(NOREG, offsetof(struct cpu, attention)), false);
	e8(&t->e, 0);
}

void
tr_poll(struct tr *t, struct tr_insn *i)
{
	struct cold *c;

	attention_check(t);
	c = tr_cold(t, COLD_exit, e_jcc(&t->e, CC_ne, NULL));
	c->exit_kind = BX_poll;
	c->addr = tr_rip(t, i);
}

/* ---- branches ---- */

/* A taken branch whose rel32 is at `at`; flags are native. */
static void
taken(struct tr *t, struct tr_insn *i, uint8_t *at)
{
	uint64_t target = tr_target(t, i);
	struct cold *c;

	if ((i->marks & MARK_poll_late) || (i->target < 0 && !same_page(t, target))) {
		c = tr_cold(t, i->marks & MARK_poll_late ? COLD_jcc_poll : COLD_jcc_land, at);
		c->addr = target;
		c->insn = (uint16_t)(i - t->i);
	} else if (i->target >= 0) {
		t->fix[t->nfix].at = at;
		t->fix[t->nfix++].insn = i->target;
	} else {
		tr_exit_later(t, at, BX_link, target);
	}
}

static void
loop(struct tr *t, struct tr_insn *i)
{
	struct emit *e = &t->e;

	if (i->in.id == INSN_loop)
		e_lea(e, !tr_is32(t), RCX, rm_at(RCX, -1));
	if (tr_is32(t))
		e8(e, PREFIX_67);	/* JECXZ */
	if (i->in.id == INSN_loop) {
		e8(e, STUB_JRCXZ);
		e8(e, JMP_LEN);
	} else {
		e8(e, STUB_JRCXZ);
		e8(e, 2);
		e8(e, JMP_SHORT);
		e8(e, JMP_LEN);
	}
	taken(t, i, e_jmp(e, NULL));
}

static void
native_flags(struct tr *t, uint16_t live)
{
	if (t->fl == FL_saved && live != 0)
		tr_flags_restore(t, S0);
	t->fl = FL_native;
}

static void
load_target(struct tr *t, struct tr_insn *i)
{
	const struct opnd *op = &i->in.op[0];

	if (op->kind == OPND_mem)
		e_load(&t->e, S0, tr_mem(t, i, WORD, false, false));
	else if (tr_homed(op->reg))
		e_load(&t->e, S0, tr_home(op->reg));
	else
		e_mov(&t->e, S0, tr_host(op->reg));
}

static void
push_return(struct tr *t, struct tr_insn *i)
{
	store_imm(t, tr_stack(t, i, GSP, -WORD, WORD), tr_next(t, i));
	move_rsp(t, -WORD);
}

static void
call_reg(struct tr *t, struct tr_insn *i)
{
	struct rm tmp = rm_abs(bt_abs(&t->bt->hold));

	tr_flags_clobber(t, i);
	if (i->in.op[0].kind == OPND_mem) {
		load_target(t, i);
		e_store(&t->e, tmp, S0);
		push_return(t, i);
		e_load(&t->e, S0, tmp);
	} else {
		push_return(t, i);
		load_target(t, i);
	}
	tr_call_indirect(t, i);
}

static void
ret(struct tr *t, struct tr_insn *i)
{
	int32_t more = i->in.nopnds > 0 && i->in.op[0].kind == OPND_imm ? (int32_t)(i->in.imm & 0xffff) : 0;

	tr_flags_clobber(t, i);
	e_load(&t->e, S0, tr_stack(t, i, GSP, 0, WORD));
	move_rsp(t, WORD + more);
	tr_return(t);
}

void
tr_branch(struct tr *t, struct tr_insn *i)
{
	if (tr_is32(t) && tr32_branch(t, i))
		return;
	switch (i->kind) {
	case TK_jcc:
		native_flags(t, i->live);
		taken(t, i, e_jcc(&t->e, i->in.cc, NULL));
		break;
	case TK_loop:
		native_flags(t, i->live);
		loop(t, i);
		break;
	case TK_jmp:
		if (i->target >= 0 || (i->marks & MARK_poll_late)) {
			native_flags(t, i->live_out);
			taken(t, i, e_jmp(&t->e, NULL));
		} else {
			tr_exit(t, i, tr_target(t, i));
		}
		break;
	case TK_call:
		push_return(t, i);
		tr_call(t, i);
		break;
	case TK_jmp_reg:
		tr_flags_clobber(t, i);
		load_target(t, i);
		tr_indirect(t);
		break;
	case TK_call_reg:
		call_reg(t, i);
		break;
	default:
		ret(t, i);
	}
}

/* ---- the cold part ---- */

void
tr_side_row(struct tr *t, uint16_t insn, bool saved)
{
	t->bt->side[t->bt->nside++] = (offset(t, t->e.p) - t->b->begin) << SIDE_HOST_SHIFT | (saved ? SIDE_SAVED : 0) |
		t->i[insn].off;
	t->b->rows++;
}

/* The gate for a failed check that has no site. */
static const uint8_t *
miss_gate(const struct tr *t, const struct cold *c)
{
	const struct bt_state *bt = t->bt;
	unsigned view = t->mode >> BM_VIEW_SHIFT & 3;

	switch (c->kind) {
	case COLD_tlb:
		return (c->splits == SPLIT_based ? bt->gate_miss_based : c->splits == SPLIT_narrow ? bt->gate_miss_group :
			bt->gate_miss)[view][(c->info & FILL_write) != 0];
	case COLD_tlb_const:
		return bt->gate_miss_const;
	default:
		return (c->info & FILL_narrow ? bt->gate_stack_group : tr_is32(t) ? bt->gate_stack32 : bt->gate_stack)[view];
	}
}

/* Go on at that instruction without checks in common. */
static void
narrow_exit(struct tr *t, const struct cold *c)
{
	uint8_t *at = e_jmp(&t->e, NULL);

	exit_stub(t, at, c->fl == FL_saved ? BX_link_saved : BX_link, c->addr);
	t->bt->exits[t->bt->nexits - 1].narrow = true;
}

static void
cold_tlb(struct tr *t, struct cold *c)
{
	struct emit *e = &t->e;

	uint32_t split = c->splits == SPLIT_read || c->splits == SPLIT_store ? FILL_split : c->splits == SPLIT_based ? FILL_based : 0;
	uint32_t info = c->info | split;

	tr_side_row(t, c->insn, c->fl == FL_saved);
	if (c->kind == COLD_near || c->kind == COLD_range) {
		c->site->info |= split;
		e_call(e, gate(t, c->kind == COLD_near ? t->bt->gate_near : t->bt->gate_range));
		info = (uint32_t)bt_abs(c->site);
	} else {
		if (c->kind == COLD_tlb_const)
			e_mov_imm(e, S0, c->addr);
		e_call(e, gate(t, miss_gate(t, c)));
	}
	e8(e, BT_INFO);
	e32(e, info);
	if (c->splits == SPLIT_no || c->splits == SPLIT_based)
		e_jmp_near(e, c->splits == SPLIT_no ? c->back : c->resume);
	else
		e_jmp(e, c->back);
	if (c->splits == SPLIT_narrow)
		narrow_exit(t, c);
	else
		tr_split_emit(t, c);
}

/* A backward jump that must poll with live flags. */
static void
cold_poll(struct tr *t, struct cold *c)
{
	struct tr_insn *i = &t->i[c->insn];
	uint8_t *stop;

	t->fl = FL_native;
	tr_flags_save(t, S0);
	attention_check(t);
	stop = e_jcc(&t->e, CC_ne, NULL);
	if (i->target >= 0) {
		tr_flags_restore(t, S0);
		e_jmp(&t->e, t->i[i->target].host);
	} else {
		uint8_t *at = e_jmp(&t->e, NULL);

		exit_stub(t, at, BX_link_saved, c->addr);
	}
	exit_stub(t, stop, BX_poll, c->addr);
}

static void
cold_land(struct tr *t, struct cold *c)
{
	uint8_t *at;

	t->fl = FL_native;
	tr_flags_save(t, S0);
	at = e_jmp(&t->e, NULL);
	exit_stub(t, at, BX_link_land, c->addr);
}

void
tr_cold_emit(struct tr *t)
{
	struct emit *e = &t->e;
	struct cold *c;
	uint32_t id;

	for (c = t->cold; c < t->cold + t->ncold; c++) {
		switch (c->kind) {
		case COLD_exit:
			if (c->exit_kind == BX_poll && c->fl == FL_native) {
				id = exit_new(t, BX_poll, c->addr);
				e_patch(c->from, e->p);
				leave_with(t, id, false);
			} else {
				exit_stub(t, c->from, c->exit_kind, c->addr);
			}
			continue;
		default:
			e_patch(c->from, e->p);
		}
		switch (c->kind) {
		case COLD_tlb: case COLD_tlb_const: case COLD_stack: case COLD_near: case COLD_range:
			cold_tlb(t, c);
			break;
		case COLD_jcc_poll:
			cold_poll(t, c);
			break;
		case COLD_jcc_land:
			cold_land(t, c);
			break;
		case COLD_cross:
			id = exit_new(t, BX_cross, tr_rip(t, &t->i[c->insn]));
			t->bt->exits[id].patch = c->info;
			leave_with(t, id, c->fl == FL_saved);
			break;
		case COLD_light:
			id = tr_exit_light(t, &t->i[c->insn]);
			t->bt->exits[id].begun = true;
			leave_with(t, id, c->fl == FL_saved);
			break;
		case COLD_call:		/* what comes returns to the pad all the same */
			e_call(e, gate(t, t->bt->gate_indirect));
			e_jmp(e, c->back);
			break;
		case COLD_fpu:
			e_call(e, gate(t, t->bt->gate_fpu[c->info]));
			e_jmp(e, c->back);
			break;
		default:	/* COLD_land */
			e_patch(c->back, e->p);
			e_mov_imm(e, S0, c->addr);
			e_jmp(e, gate(t, t->bt->gate_indirect));
		}
	}
}
