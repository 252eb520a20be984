/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/forms.c - instructions decoded before.
 *
 * Code is made of a few hundred forms: prefixes, opcode, ModRM and SIB. What decoding, use of registers and
 * flags, and choice of translation say about one is kept, by the mode and those bytes; displacement and
 * immediate are read anew. Where their values matter (shift counts) they are part of the form.
 */
#include "engine/bt/tr.h"

enum { PLACES_SHIFT = 64 - 13, ESCAPE_0F = 0x0f, NOTE_SHIFT = 4, NOTE_LEN = 15 };
static_assert(BT_FORMS << NOTE_SHIFT <= 1 << 16, "a note has 16 bits");
static_assert(1 << (64 - PLACES_SHIFT) == BT_FORM_PLACES, "the hash has as many values as there are places");

/* Opcode bytes: what to hash behind them. */
enum { AHEAD = 0 /* a prefix: look at the next byte */, ALONE = 1, MODRM = 2 };
#define FOUR(v) v, v, v, v
#define EIGHT(v) FOUR(v), FOUR(v)
#define SIXTEEN(v) EIGHT(v), EIGHT(v)
static const uint8_t after[256] = {
#define ALU_ROW(last) FOUR(MODRM), ALONE, ALONE, last, ALONE
	ALU_ROW(ALONE), ALU_ROW(ALONE), ALU_ROW(ALONE), ALU_ROW(ALONE), ALU_ROW(AHEAD), ALU_ROW(AHEAD), ALU_ROW(AHEAD), ALU_ROW(AHEAD),
#undef ALU_ROW
	SIXTEEN(AHEAD),
	SIXTEEN(ALONE),
	ALONE, ALONE, MODRM, MODRM, FOUR(AHEAD), ALONE, MODRM, ALONE, MODRM, FOUR(ALONE),
	SIXTEEN(ALONE),
	SIXTEEN(MODRM),
	SIXTEEN(ALONE), SIXTEEN(ALONE), SIXTEEN(ALONE),
	MODRM, MODRM, ALONE, ALONE, FOUR(MODRM), EIGHT(ALONE),
	FOUR(MODRM), FOUR(ALONE), EIGHT(MODRM),
	SIXTEEN(ALONE),
	AHEAD, ALONE, AHEAD, AHEAD, ALONE, ALONE, MODRM, MODRM, FOUR(ALONE), ALONE, ALONE, MODRM, MODRM,
};

E_INLINE uint64_t
low_bytes(unsigned n)	/* 1 to 8 */
{
	return UINT64_MAX >> (64 - 8 * n);
}

E_INLINE unsigned
hash(uint32_t mode, uint64_t bytes, unsigned n)
{
	return (unsigned)(((bytes & low_bytes(n)) ^ mode) * 0x9e3779b97f4a7c15 >> PLACES_SHIFT);
}

/* The same with ModRM, and SIB when there is one, behind n bytes. */
E_INLINE unsigned
hash_modrm(uint32_t mode, uint64_t bytes, unsigned n)
{
	unsigned modrm = bytes >> 8 * n & 0xff;

	if (modrm < 0xc0 && (modrm & 7) == 4)
		return hash(mode, bytes, n + 2);
	return hash(mode, bytes, n + 1);
}

/* The same behind n prefixes. */
E_INLINE unsigned
hash_opcode(uint32_t mode, uint64_t bytes, unsigned n)
{
	unsigned op = bytes >> 8 * n & 0xff;

	if (op == ESCAPE_0F) {
		op = bytes >> 8 * (n + 1) & 0xff;
		return (op & 0xf0) == 0x80 ? hash(mode, bytes, n + 2) : hash_modrm(mode, bytes, n + 2);
	}
	return after[op] == MODRM ? hash_modrm(mode, bytes, n + 1) : hash(mode, bytes, n + 1);
}

/* Where the form of these bytes is noted, if it is anywhere: here, or at the place beside it. Only a guess at
 * its length: the form tells. The two ways of most instructions have numbers known now, which nobody waits for. */
E_INLINE unsigned
place_of(uint32_t mode, uint64_t bytes)
{
	unsigned n;

	if (after[bytes & 0xff] != AHEAD)
		return hash_opcode(mode, bytes, 0);
	if (after[bytes >> 8 & 0xff] != AHEAD)
		return hash_opcode(mode, bytes, 1);
	for (n = 2; after[bytes >> 8 * n & 0xff] == AHEAD && n < 4; n++)
		;
	return hash_opcode(mode, bytes, n);
}

void
bt_forms_begin(struct bt_state *bt)
{
	bt->form[0].key = 1;	/* no bytes make it */
	bt->nforms = 1;
}

/* A note of a form: its number, and in the low bits how long its instructions are. Who goes from one instruction to the
 * next waits for the note alone; whether it is right shows later. */
E_INLINE const struct bt_form *
noted(const struct bt_state *bt, unsigned at, unsigned *len)
{
	unsigned note = bt->form_at[at];

	*len = note & NOTE_LEN;
	return &bt->form[note >> NOTE_SHIFT];
}

E_INLINE const struct bt_form *
find(const struct bt_state *bt, uint32_t mode, const uint8_t *raw, unsigned *len)
{
	const struct bt_form *f;
	uint64_t bytes;
	unsigned at;

	__builtin_memcpy(&bytes, raw, sizeof(bytes));
	at = place_of(mode, bytes);
	f = noted(bt, at, len);
	if ((bytes & f->mask) == f->key && f->mode == mode)
		return f;
	f = noted(bt, at ^ 1, len);
	return (bytes & f->mask) == f->key && f->mode == mode ? f : NULL;
}

/* What is known of the instruction at raw, of which E_COPY bytes can be read; NULL: nothing. */
const struct tr_known *
tr_form_look(const struct tr *t, const uint8_t *raw)
{
	unsigned len;
	const struct bt_form *f = find(t->bt, t->mode, raw, &len);

	return f != NULL ? &f->known : NULL;
}

E_INLINE uint64_t
extend(const uint8_t *from, unsigned size, bool sign)
{
	unsigned shift = 64 - 8 * size;
	uint64_t v;

	__builtin_memcpy(&v, from, sizeof(v));
	v <<= shift;
	return sign ? (uint64_t)((int64_t)v >> shift) : v >> shift;
}

/* The instruction at i->raw, of which E_COPY bytes can be read, if its form is known: its length, or 0. */
unsigned
tr_form_read(const struct tr *t, struct tr_insn *i)
{
	const uint8_t *raw = i->raw;
	unsigned len;
	const struct bt_form *f = find(t->bt, t->mode, raw, &len);

	if (f == NULL)
		return 0;
	i->known = f->known;
	if (f->known.in.disp_size != 0)
		i->in.disp = (int64_t)extend(raw + f->known.in.disp_at, f->known.in.disp_size, true);
	if (f->known.in.imm_size != 0)
		i->in.imm = extend(raw + f->known.in.imm_at, f->known.in.imm_size, f->imm_signed);
	return len;
}

/* Immediates of one size are extended with their sign or with zeros: see what comes of a high bit. */
static bool
is_signed(const struct tr_insn *i)
{
	uint8_t copy[E_COPY];
	struct insn in;
	unsigned k;

	for (k = 0; k < E_COPY; k++)
		copy[k] = i->raw[k];
	copy[i->in.imm_at + i->in.imm_size - 1] = 0xff;
	return insn_decode(copy, E_COPY, ISA_64, &in) > 0 && (int64_t)in.imm < 0;
}

/* The table is full: begin anew. */
static void
forget_all(struct bt_state *bt)
{
	unsigned k;

	for (k = 0; k < BT_FORM_PLACES; k++)
		bt->form_at[k] = 0;
	bt_forms_begin(bt);
}

void
tr_form_keep(const struct tr *t, const struct tr_insn *i)
{
	const struct insn *in = &i->in;
	unsigned head = in->disp_size != 0 ? in->disp_at : in->imm_size != 0 ? in->imm_at : in->len, at;
	struct bt_state *bt = t->bt;
	uint64_t bytes;

	if (tr_is32(t) || !(i->traits & TRAIT_fixed))
		return;
	if (in->disp_size != 0 && (!in->has_modrm || in->asize == 2))
		return;		/* an address without ModRM */
	if (in->imm_size != 0 && ((in->prefixes & PFX_vex) || (in->imm_size & (in->imm_size - 1)) != 0))
		return;		/* a register's number, two of them */
	switch (in->id) {
	case INSN_rol: case INSN_ror: case INSN_rcl: case INSN_rcr: case INSN_shl: case INSN_shr: case INSN_sar:
	case INSN_shld: case INSN_shrd:
		head = in->len;
		break;
	default:
		break;
	}
	if (head > sizeof(bytes))
		return;
	if (bt->nforms == BT_FORMS)
		forget_all(bt);
	__builtin_memcpy(&bytes, i->raw, sizeof(bytes));
	at = place_of(t->mode, bytes);
	bt->form_at[at ^ 1] = bt->form_at[at];
	bt->form_at[at] = (uint16_t)(bt->nforms << NOTE_SHIFT | in->len);
	bt->form[bt->nforms++] = (struct bt_form){ .key = bytes & low_bytes(head), .mask = low_bytes(head), .mode = t->mode,
		.imm_signed = in->imm_size != 0 && is_signed(i), .known = i->known };
}
