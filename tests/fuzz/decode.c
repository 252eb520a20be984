/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/decode.c - libFuzzer target: random bytes into the decoder, the first byte is the mode.
 *
 * Bounds are exact (libFuzzer gives each input an allocation of its own). Checks what every user
 * of struct insn relies on.
 */
#include "isa/insn.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool cond)
{
	if (!cond)
		abort();
}

static void
check_operands(const struct insn *in)
{
	unsigned i;

	need(in->nopnds <= 4);
	for (i = 0; i < in->nopnds; i++) {
		const struct opnd *o = &in->op[i];

		need(o->kind > OPND_none && o->kind < OPND_k);
		need(o->kind != OPND_reg || o->reg < 16 || (o->size == 1 && o->reg - OPND_HIGH8 - 4u < 4));
		need(o->kind != OPND_seg || o->reg < 6);
		need((o->kind != OPND_mm && o->kind != OPND_st) || o->reg < 8);
		need((o->kind != OPND_xmm && o->kind != OPND_ymm) || o->reg < 16);
		need(o->access <= OPND_rw);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct insn in, again;
	struct insn_use use;
	int len;

	if (size == 0)
		return 0;
	len = insn_decode(data + 1, size - 1, data[0] % 3, &in);
	if (len == 0) {
		need(size - 1 < 15);
		return 0;
	}
	if (len < 0) {
		need(in.id == INSN_invalid && in.len >= 1);
		return 0;
	}
	need(in.id > INSN_invalid && in.id < INSN__COUNT && len <= 15 && (size_t)len < size);
	need(in.len == len && in.opcode_at < len && in.modrm_at < len);
	need(in.disp_at + in.disp_size <= len && in.imm_at + in.imm_size <= len);
	need((in.base < 16 || in.base == INSN_RIP || in.base == INSN_NOREG) && in.scale < 4);
	need((in.index < 16 || in.index == INSN_NOREG) && in.seg < 6);
	need(in.osize == 2 || in.osize == 4 || in.osize == 8);
	check_operands(&in);
	insn_uses(&in, &use);
	need(use.gpr_read < 0x10000 && use.gpr_write < 0x10000);
	/* the bytes that it used are all that it needs */
	need(insn_decode(data + 1, (size_t)len, data[0] % 3, &again) == len);
	return 0;
}
