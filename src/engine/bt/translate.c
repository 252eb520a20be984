/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/translate.c - write one block: entries, body, cold part, side table. */
#include "engine/bt/tr.h"
#include "engine/interp/interp.h"
#include <assert.h>

enum { ROOM_EXITS = TR_INSNS * 8, ROOM_LIGHT = TR_INSNS * 6, ROOM_SIDE = TR_INSNS * 8, LAND_ROOM = 64 /* bytes */, FPU_FLAGS = IF_x87 | IF_mmx | IF_sse | IF_avx };

/* Is the page of b mapped where it was, and does no event wait? Two jumps for when not, to be patched. */
static void
land_checks(struct emit *e, const uint32_t *slot, const struct bt_block *b, uint8_t *not[2])
{
	e_op(e, 0, false, MAP_1, 0x81, ALU_cmp, rm_abs(bt_abs(slot)), false);
	e32(e, b->page);
	not[0] = e_jcc(e, CC_ne, NULL);
	e_op(e, 0, false, MAP_1, 0x83, ALU_cmp, rm_cpu(NOREG, offsetof(struct cpu, attention)), false);
	e8(e, 0);
	not[1] = e_jcc(e, CC_ne, NULL);
}

/* Three entries: from another page or anywhere (flags saved, mapping and attention checked), from
 * this page with flags saved, from this page with native flags. */
static void
entries(struct tr *t, bool land)
{
	struct emit *e = &t->e;
	uint8_t *not[2];
	struct cold *c;

	t->b->begin = (uint32_t)(e->p - t->bt->code.rw);
	if (land) {
		t->b->land = t->b->begin;
		land_checks(e, &t->bt->now->slot[bt_slot(t->b->rip)], t->b, not);
		c = tr_cold(t, COLD_land, not[0]);
		c->back = not[1];
		c->addr = t->b->rip;
	}
	t->b->saved = (uint32_t)(e->p - t->bt->code.rw);
	if (t->i[0].live != 0)
		tr_flags_restore(t, S0);
	t->b->native = (uint32_t)(e->p - t->bt->code.rw);
	t->fl = FL_native;
}

/* The components of FPU state that the instruction reads or writes. With AVX, all of a vector register. */
static unsigned
fpu_needs(const struct insn *in)
{
	const uint32_t flags = insn_info[in->id].flags;
	unsigned k, need = flags & IF_avx ? LIVE_avx : flags & IF_sse ? LIVE_sse : 0;

	if ((flags & IF_x87) || ((flags & IF_mmx) && !(flags & IF_sse)) || in->id == INSN_cvtpi2ps || in->id == INSN_cvtpi2pd)
		need |= LIVE_x87;	/* those with a memory operand, too, look at the x87 */
	for (k = 0; k < in->nopnds; k++)
		if (in->op[k].kind == OPND_mm)
			need |= LIVE_x87;
	return need;
}

/* The first instruction of a stretch that needs a component makes sure that it is loaded. */
static void
fpu_check(struct tr *t, struct tr_insn *i, enum fpu_component which)
{
	struct cold *c;

	if (t->fpu_checked & 1u << which)
		return;
	tr_flags_clobber(t, i);
	e_op(&t->e, 0, false, MAP_1, 0xf6, 0, rm_abs(bt_abs(&t->bt->fpu_live)), false);	/* test byte */
	e8(&t->e, 1u << which);
	c = tr_cold(t, COLD_fpu, e_jcc(&t->e, CC_e, NULL));
	c->back = t->e.p;
	c->info = which;
	t->fpu_checked |= 1u << which | LIVE_sse;
}

static void
fpu_checks(struct tr *t, struct tr_insn *i)
{
	unsigned need = fpu_needs(&i->in);

	for (unsigned which = 0; which < FPU__COUNT; which++)
		if (need & 1u << which)
			fpu_check(t, i, which);
}

static void check_second_page(struct tr *t, struct tr_insn *i);

/* An instruction counts when it begins; one that faults is taken back. */
static void
count(struct tr *t)
{
	struct rm retired = rm_cpu(NOREG, offsetof(struct cpu, retired));

	e_load(&t->e, S0, retired);
	e_lea(&t->e, true, S0, rm_at(S0, 1));
	e_store(&t->e, retired, S0);
}

static void
verbatim(struct tr *t, struct tr_insn *i)
{
	const uint8_t *raw = i->raw;
	unsigned k;

	tr_flags_for(t, i, S0);
	if (i->off <= PAGE_SIZE - E_COPY) {
		e_copy(&t->e, raw, i->in.len);
		return;
	}
	for (k = 0; k < i->in.len; k++)
		e8(&t->e, raw[k]);
}

static void
one(struct tr *t, struct tr_insn *i)
{
	if (i->marks & MARK_label) {		/* whoever jumps here has native flags */
		if (t->fl == FL_saved && i->live != 0)
			tr_flags_restore(t, S0);
		t->fl = FL_native;
		t->fpu_checked = 0;
	}
	if ((i->marks & MARK_label) || (!(i->traits & TRAIT_holds) && !tr_in_group(t, i)))	/* a group's members use S1 for its delta */
		t->held = 0;
	i->host = t->e.p;
	if (i->marks & MARK_poll)
		tr_poll(t, i);
	if (i->marks & MARK_cross)
		check_second_page(t, i);
	if (i->marks & MARK_checks)
		tr_group_checks(t, (unsigned)(i - t->i));
	if ((t->mode & BM_counted) && i->kind != TK_interp)
		count(t);
	if (i->traits & TRAIT_fpu)
		fpu_checks(t, i);
	switch (i->kind) {
	case TK_nothing:
		break;
	case TK_interp:
		tr_interp(t, i);
		break;
	case TK_plain:
		tr_plain(t, i);
		break;
	case TK_verbatim:
		verbatim(t, i);
		break;
	case TK_lea:
		tr_lea(t, i);
		break;
	case TK_push:
		tr_push(t, i);
		break;
	case TK_pop:
		tr_pop(t, i);
		break;
	case TK_leave:
		tr_leave(t, i);
		break;
	case TK_string_one:
		tr_string_one(t, i);
		break;
	case TK_code32:
		tr32(t, i);
		break;
	case TK_string:
		tr_string(t, i);
		break;
	case TK_bits:
		tr_bits(t, i);
		break;
	case TK_swapgs: case TK_cli: case TK_sti: case TK_rdtsc: case TK_pushf: case TK_segsel: case TK_base: case TK_acflag: case TK_cr2: case TK_cpuid: case TK_syscall: case TK_sysret:
		tr_system(t, i);
		break;
	default:
		tr_branch(t, i);
	}
}

/* Nothing stands before i's own bytes but flags that it needs. */
static bool
is_bare(const struct tr_insn *i)
{
	return (i->traits & TRAIT_copy) && i->marks == 0 && i->off <= PAGE_SIZE - E_COPY;
}

static void
body(struct tr *t)
{
	struct bt_state *bt = t->bt;
	uint32_t *row = &bt->side[bt->nside];
	const uint8_t *begin = bt_rw(bt, t->b->begin);
	unsigned cold = t->ncold;
	struct tr_insn *i;

	for (i = t->i; i < t->i + t->n; i++) {
		if (is_bare(i)) {
			i->host = t->e.p;
			if (t->fl == FL_saved)
				tr_flags_for(t, i, S0);
			e_copy(&t->e, i->raw, i->in.len);
		} else {
			one(t, i);
			for (; cold < t->ncold; cold++)
				t->cold[cold].insn = (uint16_t)(i - t->i);
		}
		*row++ = (uint32_t)(i->host - begin) << SIDE_HOST_SHIFT | (t->fl == FL_saved ? SIDE_SAVED : 0) | i->off;
	}
	bt->nside += t->n;
	t->b->rows = (uint16_t)t->n;
	if (t->falls)
		tr_exit(t, i - 1, tr_next(t, i - 1));
}

/* Before bytes of the page are read: writes to it are told from now on. */
void
tr_hold(struct bt_state *bt, struct bt_page *pg)
{
	if (pg->held)
		return;
	interp_code_lock(bt->c);
	bt_hold(bt, pg);
	cpu_code_protect(bt->c, pg->gpa);
	interp_code_unlock();
}

/* An instruction that ends in the next page: is that still the one whose bytes were read? */
static void
check_second_page(struct tr *t, struct tr_insn *i)
{
	uint32_t *slot = &t->bt->now->slot[bt_slot(t->pg->vpage + PAGE_SIZE)];
	struct cold *c;

	tr_flags_clobber(t, i);
	e_op(&t->e, 0, false, MAP_1, 0x81, ALU_cmp, rm_abs(bt_abs(slot)), false);
	e32(&t->e, i->cross);
	c = tr_cold(t, COLD_cross, e_jcc(&t->e, CC_ne, NULL));
	c->info = i->cross;
}

/* Blocks of code that runs much begin where the host fetches best. */
static uint8_t *
block_begin(const struct bt_state *bt, const struct bt_page *pg)
{
	uintptr_t align = pg->warm ? 16 : 1;

	return (uint8_t *)(((uintptr_t)bt->free + align - 1) & ~(align - 1));
}

/* b, the next block, is what was written with e. */
static void
written(struct bt_state *bt, struct bt_block *b, const struct emit *e)
{
	b->end = (uint32_t)(e->p - bt->code.rw);
	bt->free = e->p;
	if (b->end >= bt->code.huge + CODE_HUGE / 4)
		code_map_settle(&bt->code, b->end);
	bt->nblocks++;
}

/* A block that only its page went to so far begins without the checks for others. Who comes from elsewhere then gets them as
 * a block of their own in front of it, which goes when it goes. */
uint32_t
bt_land(struct bt_state *bt, struct bt_block *b)
{
	struct bt_block *f = &bt->blocks[bt->nblocks];
	struct emit e = { .p = bt->free, .to_rx = bt->code.rx - bt->code.rw, .cpu = bt_abs(bt->c) };
	struct bt_ctx *ctx;
	uint8_t *not[2];

	if (b->land != 0)
		return b->land;
	ctx = bt_ctx_for(bt, bt->pages[b->page - 1].mode);
	if ((size_t)(bt->free - bt->code.rw) + LAND_ROOM > bt->limit.code || bt->nblocks == bt->limit.blocks || ctx == NULL)
		return 0;
	*f = (struct bt_block){ .rip = b->rip, .page = b->page, .side = bt->nside, .is_front = true,
		.front = (uint32_t)(b - bt->blocks) + 1 };
	f->begin = f->land = (uint32_t)(e.p - bt->code.rw);
	land_checks(&e, &ctx->slot[bt_slot(b->rip)], b, not);
	e_jmp(&e, bt_rw(bt, b->saved));
	e_patch(not[0], e.p);
	e_patch(not[1], e.p);
	e_mov_imm(&e, S0, b->rip);
	e_jmp(&e, bt->gate_indirect - e.to_rx);
	written(bt, f, &e);
	bt_block_lies(bt, f);
	b->front = (uint32_t)(f - bt->blocks) + 1;
	b->land = f->land;
	return b->land;
}

struct bt_block *
bt_translate(struct bt_state *bt, struct bt_page *pg, uint64_t rip, bool narrow, bool land)
{
	static __thread struct tr tr;
	struct tr *t = &tr;
	unsigned k;

	if ((size_t)(bt->free - bt->code.rw) + BLOCK_ROOM > bt->limit.code || bt->nblocks == bt->limit.blocks ||
	    bt->nexits + ROOM_EXITS > bt->limit.exits || bt->nside + ROOM_SIDE > bt->limit.side ||
	    bt->nlight + ROOM_LIGHT > bt->limit.light)
		return BT_FULL;
	assert(bt->fpu_live == 0);	/* forms.c uses vector registers */
	t->bt = bt;
	t->c = bt->c;
	t->pg = pg;
	t->mode = bt->now->mode;
	t->ncold = t->nfix = 0;
	t->narrow = narrow;
	t->held = 0;
	t->fpu_checked = 0;
	t->e = (struct emit){ .p = block_begin(bt, pg), .to_rx = bt->code.rx - bt->code.rw, .cpu = bt_abs(bt->c) };
	tr_hold(bt, pg);
	t->bytes = mem_get(bt->c->mem, pg->gpa, PAGE_SIZE);
	if (t->bytes == NULL)
		return NULL;
	tr_plan(t, (unsigned)(rip & ~PAGE_MASK));
	if (t->n == 0)
		return NULL;
	t->b = &bt->blocks[bt->nblocks];
	*t->b = (struct bt_block){ .rip = rip, .page = bt_page_id(bt, pg), .side = bt->nside, .insns = (uint8_t)t->n,
		.narrow = narrow };
	entries(t, land);
	body(t);
	t->body_end = t->e.p;
	for (k = 0; k < t->nfix; k++)
		e_patch(t->fix[k].at, t->i[t->fix[k].insn].host);
	tr_cold_emit(t);
	written(bt, t->b, &t->e);
	assert(t->b->end - t->b->begin <= BLOCK_ROOM && t->ncold <= sizeof(t->cold) / sizeof(*t->cold));
	bt_block_add(bt, t->b);
	if (bt->c->code_log != NULL)
		tr_show(t);
	return t->b;
}
