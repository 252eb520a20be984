/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/split.c - accesses that cross a page, without leaving translated code.
 *
 * A failed check of a crossing access comes here. The first time the instruction is interpreted, and its
 * block written again, with what follows. Both pages are made sure of before anything is
 * done, then the instruction runs on a buffer, whose bytes lie as they do in the pages (so that
 * alignment is what it was). A read goes on inline, with the buffer's address; for a write the
 * cold part has a copy of the instruction, and takes the bytes to their pages behind it.
 */
#include "engine/bt/tr.h"

enum { HALF = 32 /* the largest access: what one page can have of it, and more */ };

/* HALF bytes around the end of a page, which may be read whatever the access has of them. */
static void
copy_half(uint8_t *to, const uint8_t *from)
{
	uint64_t word;
	unsigned i;

	for (i = 0; i < HALF; i += sizeof(word)) {
		__builtin_memcpy(&word, from + i, sizeof(word));
		__builtin_memcpy(to + i, &word, sizeof(word));
	}
}

/* Neither more nor less than n bytes: others may be another vCPU's. */
static void
copy(uint8_t *to, const uint8_t *from, unsigned n)
{
	uint64_t word;

	for (; n >= sizeof(word); n -= (unsigned)sizeof(word), to += sizeof(word), from += sizeof(word)) {
		__builtin_memcpy(&word, from, sizeof(word));
		__builtin_memcpy(to, &word, sizeof(word));
	}
	for (; n > 0; n--)
		*to++ = *from++;
}

/* Host address of the `size` bytes at lin, which lie in one page; NULL: the interpreter's business. */
static uint8_t *
part(struct bt_state *bt, uint64_t lin, unsigned size, bool write)
{
	int res;

	return lin_hva(bt->c, lin, size, write ? ACC_write : ACC_read, &res);
}

/* An access of `size` bytes at lin, canonical, crosses a page: true when it goes to the buffer. */
bool
bt_split(struct bt_state *bt, uint64_t lin, unsigned size, bool write)
{
	struct bt_split *s = &bt->split;
	unsigned n = PAGE_SIZE - (unsigned)(lin & ~PAGE_MASK);

	s->first = part(bt, lin, n, write);
	s->second = s->first == NULL ? NULL : part(bt, lin + n, size - n, write);
	if (s->second == NULL)
		return false;
	s->n = n;
	s->size = size;
	s->host = (uintptr_t)&s->bytes[lin & ~PAGE_MASK];
	s->delta = s->host - lin;
	copy_half(&s->bytes[PAGE_SIZE - HALF], s->first + n - HALF);
	copy_half(&s->bytes[PAGE_SIZE], s->second);
	return true;
}

/* The instruction has written to the buffer. */
void
bt_split_back(struct bt_state *bt)
{
	const struct bt_split *s = &bt->split;

	copy(s->first, &s->bytes[PAGE_SIZE - s->n], s->n);
	copy(s->second, &s->bytes[PAGE_SIZE], s->size - s->n);
}

static unsigned
crossed_bit(uint64_t rip)
{
	return (unsigned)(rip * 0x9e3779b97f4a7c15 >> 48) & (BT_TIRED - 1);
}

/* The instruction at rip accesses two pages, for the first time: its block is written again, with code for that. */
void
bt_crossed_first(struct bt_state *bt, uint64_t rip, const uint8_t *pc)
{
	unsigned bit = crossed_bit(rip);
	struct bt_block *b = bt_block_at(bt, pc);

	if (b == NULL || (bt->crossed[bit / 8] >> bit % 8 & 1))
		return;
	bt->crossed[bit / 8] |= (uint8_t)(1 << bit % 8);
	bt_block_forget(bt, b);
}

/* ---- while a block is written ---- */

/* Most instructions never do, and are spared the code. */
bool
tr_crosses(const struct tr *t, const struct tr_insn *i)
{
	unsigned bit = crossed_bit(tr_rip(t, i));

	return t->bt->crossed[bit / 8] >> bit % 8 & 1;
}

/* Those that store only some of their bytes must not store the others. */
static bool
stores_all(const struct insn *in)
{
	switch (in->id) {
	case INSN_vmaskmovps: case INSN_vmaskmovpd: case INSN_vpmaskmovd: case INSN_vpmaskmovq:
		return false;
	default:
		return !(in->prefixes & PFX_lock) && in->id != INSN_xchg;
	}
}

/* Instruction i, written just now, stores to the operand checked last. */
void
tr_split_store(struct tr *t, const struct tr_insn *i)
{
	struct cold *c = t->site;

	if (c == NULL || !tr_crosses(t, i) || !stores_all(&i->in))
		return;
	c->splits = SPLIT_store;
	c->end = t->e.p;
	c->end_fl = (uint8_t)t->fl;
}

/* Behind the call of a cold part whose check failed: what to do on the buffer. */
void
tr_split_emit(struct tr *t, const struct cold *c)
{
	const uint8_t *p;

	if (c->splits == SPLIT_read) {
		e_jmp(&t->e, c->resume);
	} else if (c->splits == SPLIT_store) {
		tr_side_row(t, c->insn, c->end_fl == FL_saved);
		for (p = c->resume; p < c->end; p++)
			e8(&t->e, *p);
		e_call(&t->e, t->bt->gate_split_back - t->e.to_rx);
		e_jmp(&t->e, c->end);
	}
}
