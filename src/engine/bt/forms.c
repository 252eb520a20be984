/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/forms.c - instructions decoded before.
 *
 * Code is made of a few hundred forms: prefixes, opcode, ModRM and SIB. What decoding, use of registers and
 * flags, and choice of translation say about one is kept, by the mode and those bytes; displacement and
 * immediate are read anew. Where their values matter (shift counts) they are part of the form.
 */
#include "engine/bt/tr.h"

enum { FORMS_SHIFT = 64 - 11, REX_HIGH = 4, ESCAPE_0F = 0x0f };
static_assert(1 << (64 - FORMS_SHIFT) == BT_FORMS, "the hash has as many values as the table entries");

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

/* Where the form of these bytes is, if it is anywhere. Only a guess at its length: the entry tells. */
E_INLINE struct bt_form *
place_of(const struct tr *t, uint64_t bytes)
{
	uint64_t b = bytes;
	unsigned n = 0, what, modrm;

	for (; (what = after[b & 0xff]) == AHEAD && n < 4; n++)
		b >>= 8;
	if ((b & 0xff) == ESCAPE_0F) {
		b >>= 8;
		n++;
		what = (b & 0xf0) == 0x80 ? ALONE : MODRM;
	}
	if (what == MODRM) {
		modrm = b >> 8 & 0xff;
		n += modrm < 0xc0 && (modrm & 7) == 4;
	}
	n += what;		/* 1 to 7 */
	return &t->bt->form[((bytes & low_bytes(n)) ^ t->mode) * 0x9e3779b97f4a7c15 >> FORMS_SHIFT];
}

/* Each has two places; what comes in new pushes the other aside. */
static struct bt_form *
other_place(const struct tr *t, const struct bt_form *f)
{
	return &t->bt->form[(size_t)(f - t->bt->form) ^ 1];
}

static bool
is_that(const struct tr *t, const struct bt_form *f, uint64_t bytes)
{
	return f->in.len != 0 && f->mode == t->mode && (bytes & low_bytes(f->head)) == f->key;	/* head is 0 where there is none */
}

static uint64_t
extend(uint64_t v, unsigned size, bool sign)
{
	unsigned shift = 64 - 8 * size;

	return sign ? (uint64_t)((int64_t)(v << shift) >> shift) : v << shift >> shift;
}

/* The instruction at i->raw, of which E_COPY bytes can be read, if its form is known. */
bool
tr_form_find(const struct tr *t, struct tr_insn *i)
{
	const struct bt_form *f;
	uint64_t bytes, v;

	__builtin_memcpy(&bytes, i->raw, sizeof(bytes));
	f = place_of(t, bytes);
	if (!is_that(t, f, bytes)) {
		f = other_place(t, f);
		if (!is_that(t, f, bytes))
			return false;
	}
	i->in = f->in;
	i->use = f->use;
	i->maybe = f->maybe;
	i->f = f->f;
	i->kind = f->kind;
	if (f->in.disp_size != 0) {
		__builtin_memcpy(&v, i->raw + f->in.disp_at, sizeof(v));
		i->in.disp = (int64_t)extend(v, f->in.disp_size, true);
	}
	if (f->in.imm_size != 0) {
		__builtin_memcpy(&v, i->raw + f->in.imm_at, sizeof(v));
		i->in.imm = extend(v, f->in.imm_size, f->imm_signed);
	}
	return true;
}

/* Kinds that follow from the form and the mode alone. */
static bool
is_fixed(unsigned kind)
{
	switch (kind) {
	case TK_plain: case TK_verbatim: case TK_lea: case TK_push: case TK_pop: case TK_leave: case TK_nothing: case TK_jcc:
	case TK_jmp: case TK_call: case TK_jmp_reg: case TK_call_reg: case TK_ret:
		return true;
	default:
		return false;
	}
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

void
tr_form_keep(const struct tr *t, const struct tr_insn *i)
{
	const struct insn *in = &i->in;
	unsigned head = in->disp_size != 0 ? in->disp_at : in->imm_size != 0 ? in->imm_at : in->len;
	struct bt_form *f;
	uint64_t bytes;

	if (tr_is32(t) || !is_fixed(i->kind))
		return;
	if (in->disp_size != 0 && (!in->has_modrm || in->asize == 2))
		return;		/* an address without ModRM */
	if (in->imm_size != 0 && ((in->prefixes & PFX_vex) || (in->imm_size != 1 && in->imm_size != 4 && in->imm_size != 8)))
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
	__builtin_memcpy(&bytes, i->raw, sizeof(bytes));
	f = place_of(t, bytes);
	*other_place(t, f) = *f;
	*f = (struct bt_form){ .head = (uint8_t)head, .key = bytes & low_bytes(head), .mode = t->mode, .kind = i->kind, .f = i->f,
		.maybe = i->maybe, .imm_signed = in->imm_size != 0 && is_signed(i), .in = *in, .use = i->use };
}
