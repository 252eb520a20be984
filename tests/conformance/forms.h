/* SPDX-License-Identifier: Apache-2.0 */
/* conformance/forms.h - every encoding that the decoder knows, found by asking it, sorted by instruction.
 *
 * A form is prefix, map, opcode, ModRM.reg, register or memory, and ModRM.rm where that belongs to
 * the opcode. Registers, addressing, displacement and immediate are chosen per case (cases.h).
 */
#pragma once
#include "conformance/state.h"
#include "isa/insn.h"
#include <stdlib.h>

struct form {
	uint16_t id;
	uint8_t prefix;			/* legacy: 0 none, 1 66, 2 F3, 3 F2, 4 66 F2, 5 66 F3; VEX: pp */
	uint8_t map, opcode, reg, rm;
	bool w, mem, has_modrm, fixed_rm, vex, l, vsib;
};

struct forms {
	struct form *form;
	unsigned n, room;
	unsigned first[INSN__COUNT + 1];	/* of the forms of an instruction; the next's first ends them */
};

static const uint8_t form_prefixes[6][2] = { { 0 }, { 0x66 }, { 0xf3 }, { 0xf2 }, { 0x66, 0xf2 }, { 0x66, 0xf3 } };

/* Prefixes and opcode; the length. rxb: register extension bits (R 4, X 2, B 1); rex: force a REX. */
static unsigned
form_head(const struct form *f, uint8_t *p, unsigned rxb, unsigned vvvv, bool rex)
{
	unsigned n = 0, i;

	if (f->vex) {
		p[n++] = 0xc4;
		p[n++] = (uint8_t)((~rxb & 7u) << 5 | f->map);
		p[n++] = (uint8_t)((f->w ? 0x80u : 0u) | (~vvvv & 15u) << 3 | (f->l ? 4u : 0u) | f->prefix);
	} else {
		for (i = 0; i < 2; i++)
			if (form_prefixes[f->prefix][i] != 0)
				p[n++] = form_prefixes[f->prefix][i];
		if (f->w || rxb != 0 || rex)
			p[n++] = (uint8_t)(0x40 | (f->w ? 8u : 0u) | rxb);
		if (f->map != 0)
			p[n++] = 0x0f;
		if (f->map >= 2)
			p[n++] = f->map == 2 ? 0x38 : 0x3a;
	}
	p[n++] = f->opcode;
	return n;
}

static void
forms_try(struct forms *fs, struct form f, enum isa_mode mode)
{
	uint8_t b[32] = { 0 };
	struct insn in;
	/* An unused vvvv must be 0, a used one may be. */
	unsigned n = form_head(&f, b, 0, 0, false);

	b[n] = (uint8_t)(f.mem ? f.reg << 3 : 0xc0 | f.reg << 3 | f.rm);
	if (insn_decode(b, sizeof(b), mode, &in) <= 0 && f.vex && f.mem && f.reg == 0) {
		/* A gather wants an index and three different registers. */
		f.vsib = true;
		form_head(&f, b, 0, 1, false);
		b[n] = 4;
		b[n + 1] = 2 << 3;
	}
	if (insn_decode(b, sizeof(b), mode, &in) <= 0 || in.id == INSN_invalid || in.map != f.map
	    || in.opcode != f.opcode)
		return;
	f.has_modrm = in.has_modrm;
	f.id = in.id;
	if (!f.has_modrm && (f.reg != 0 || f.mem || f.rm != 0))
		return;
	if (fs->n == fs->room) {
		fs->room = fs->room == 0 ? 1 << 14 : fs->room * 2;
		fs->form = realloc(fs->form, fs->room * sizeof(f));
		assert(fs->form != NULL);
	}
	fs->form[fs->n++] = f;
}

/* Does ModRM.rm of a register form belong to the opcode? */
static bool
form_has_fixed_rm(const struct form *f)
{
	if (f->vex)
		return false;
	return (f->map == 0 && (f->opcode & 0xf8) == 0xd8)
		|| (f->map == 1 && (f->opcode == 0x01 || f->opcode == 0xae || f->opcode == 0xc7 || f->opcode == 0x1e));
}

static int
form_order(const void *a, const void *b)
{
	return ((const struct form *)a)->id - ((const struct form *)b)->id;
}

static void
forms_find(struct forms *fs, enum isa_mode mode)
{
	struct form f;
	unsigned op, map, vex, prefix, k, w, l, id, i;

	memset(fs, 0, sizeof(*fs));
	for (vex = 0; vex < 2; vex++)
		for (map = vex; map < 4; map++)
			for (prefix = 0; prefix < (vex ? 4 : 6); prefix++)
				for (w = 0; w < (mode == ISA_64 || vex ? 2 : 1); w++)
					for (l = 0; l < 1 + vex; l++)
						for (op = 0; op < 256; op++)
							for (k = 0; k < 9 * 8; k++) {
								f = (struct form){ .vex = vex, .map = (uint8_t)map, .w = w, .l = l,
									.prefix = (uint8_t)prefix, .opcode = (uint8_t)op,
									.reg = k & 7, .mem = k < 8, .rm = (uint8_t)(k < 8 ? 0 : k / 8 - 1) };
								f.fixed_rm = !f.mem && form_has_fixed_rm(&f);
								if (f.rm == 0 || f.fixed_rm)
									forms_try(fs, f, mode);
							}
	qsort(fs->form, fs->n, sizeof(f), form_order);
	for (id = i = 0; id <= INSN__COUNT; id++) {
		while (i < fs->n && fs->form[i].id < id)
			i++;
		fs->first[id] = i;
	}
}
