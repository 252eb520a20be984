/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/mode.c - the modes of translation, and the context that each has.
 *
 * A mode is made of what translations depend on beside bytes and addresses; code that changes it
 * goes on in another context (bt->now).
 */
#include "engine/bt/bt.h"

#define CTX_USED (1u << 31)	/* in bt->ctx_mode, so that no mode is 0 there */
enum { DR7_ENABLE = 0xff, XCR0_VECTORS = 6, THIRD_BYTE = 0xff0000 };

static uint32_t
fpu_mode(const struct cpu *c)
{
	const union regfile *r = &c->r;
	uint32_t m;

	if (cr0_em(r) || cr0_ts(r))
		return 0;
	m = BM_x87;
	if (cr4_osfxsr(r))
		m |= BM_sse;
	if (cr4_osxsave(r) && (r->xcr0 & XCR0_VECTORS) == XCR0_VECTORS)
		m |= BM_avx;
	return m;
}

/* The present mode, BM_none when it is the interpreter's. */
uint32_t
bt_mode_of(const struct cpu *c)
{
	const union regfile *r = &c->r;
	uint32_t m;

	if (!(c->mode == MODE_long64 ? c->cpl == 0 || c->cpl == 3 : bt_code32_fits(c)) ||
	    (r->rflags & (rflags_tf_MASK | rflags_df_MASK)) || (r->dr7 & DR7_ENABLE) ||
	    (r->interruptibility & SHADOW_mov_ss) || (cr0_am(r) && rflags_ac(r) && c->cpl == 3))
		return BM_none;
	m = (c->mode == MODE_long64 ? 0 : BM_code32) | (c->cpl == 3 ? BM_user : 0) |
		(uint32_t)c->tlb_view << BM_VIEW_SHIFT | fpu_mode(c);
	if (cr4_fsgsbase(r) && !(c->policed[REG_fs_base] | c->policed[REG_gs_base]))
		m |= BM_fsgsbase;
	if (c->cpl == 0 && !(r->rflags & (rflags_iopl_MASK | rflags_nt_MASK)))
		m |= BM_plain_if;
	if (c->cpl == 0 && !(r->rflags & THIRD_BYTE & ~rflags_ac_MASK))
		m |= BM_plain_ac;
	if (c->cpl == 0 && cr4_smap(r))
		m |= BM_smap;
	if (c->bt->tsc_fixed && !(c->police_insns & (1u << PINSN_rdtsc | 1u << PINSN_rdtscp)) && (c->cpl == 0 || !cr4_tsd(r)))
		m |= BM_tsc;
	if (c->retire_limit != UINT64_MAX)
		m |= BM_counted;
	return m;
}

/* The context of mode m; NULL: there are more modes than a system has. */
struct bt_ctx *
bt_ctx_for(struct bt_state *bt, uint32_t m)
{
	unsigned i;

	for (i = 0; i < BT_CTXS && bt->ctx_mode[i] != 0; i++)
		if (bt->ctx_mode[i] == (m | CTX_USED))
			return bt->ctx[i];
	if (i == BT_CTXS || (bt->ctx[i] == NULL && (bt->ctx[i] = low_map(BT_CTX_BYTES(bt))) == NULL))
		return NULL;
	if ((m & BM_user) && bt->c->user_watch)
		policy_user_begins(bt->c);	/* whatever way leads there */
	bt->ctx[i]->used = true;
	bt->ctx[i]->mode = m;
	bt->ctx_mode[i] = m | CTX_USED;
	bt->ctx[i]->target[0].rip = BT_NO_TARGET;
	bt_returns_begin(bt, i);
	return bt->ctx[i];
}

/* Slots put aside may be wrong, or of contexts that are not. */
void
bt_asides_forget(struct bt_state *bt)
{
	for (unsigned i = 0; i < FLUSH_ASIDES; i++)
		bt->aside[i].n = 0;
}

void
bt_ctxs_forget(struct bt_state *bt)
{
	for (unsigned i = 0; i < BT_CTXS; i++) {
		bt->ctx_mode[i] = 0;
		if (bt->ctx[i] != NULL)
			bt->ctx[i]->used = false;
	}
	bt_asides_forget(bt);
	bt_now_set(bt, NULL);
	bt_learned_forget(bt);
}

void
bt_mode_set(struct bt_state *bt, uint32_t m)
{
	struct bt_ctx *to;

	if (bt->now != NULL && bt->now->mode == m)
		return;
	if ((to = bt_ctx_for(bt, m)) != NULL) {
		bt_now_set(bt, to);
		return;
	}
	bt_fpu_unload(bt);	/* begin anew */
	bt_flush(bt);
	bt_ctxs_forget(bt);
	bt_now_set(bt, bt_ctx_for(bt, m));
}
