/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/emit.c - encodings of host instructions. */
#include "engine/bt/emit.h"
#include <string.h>

void
e64(struct emit *e, uint64_t v)
{
	memcpy(e->p, &v, sizeof(v));
	e->p += sizeof(v);
}

void
e_op_any(struct emit *e, uint32_t prefixes, bool w, unsigned map, unsigned opcode, int reg, struct rm rm, bool byte_reg)
{
	e->p = e_op_inline(e->p, prefixes, w, map, opcode, reg, rm, byte_reg);
}

void
e_vex(struct emit *e, unsigned pp, bool w, bool l, unsigned map, unsigned opcode, int reg, int vvvv, struct rm rm)
{
	uint8_t *p = e->p;

	rm.disp += rm.cpu ? e->cpu : 0;
	*p++ = 0xc4;
	*p++ = (uint8_t)((~e_rxb(reg, rm) & 7) << 5 | map);
	*p++ = (uint8_t)((w ? 0x80u : 0) | (~(unsigned)vvvv & 15) << 3 | (l ? 4u : 0) | pp);
	*p++ = (uint8_t)opcode;
	e->p = e_modrm(p, reg, rm);
}

void
e_mov_imm(struct emit *e, int to, uint64_t val)
{
	if (val <= UINT32_MAX) {
		if (to >= R8)
			e8(e, 0x41);
		e8(e, 0xb8 | (unsigned)(to & 7));
		e32(e, (uint32_t)val);
	} else if ((uint64_t)(int64_t)(int32_t)val == val) {
		e_op(e, 0, true, MAP_1, 0xc7, 0, rm_reg(to), false);
		e32(e, (uint32_t)val);
	} else {
		e8(e, to >= R8 ? 0x49 : 0x48);
		e8(e, 0xb8 | (unsigned)(to & 7));
		e64(e, val);
	}
}

void
e_rorx32(struct emit *e, int to, int from, unsigned by)
{
	e_vex(e, 3, false, false, MAP_0f3a, 0xf0, to, 0, rm_reg(from));
	e8(e, by);
}

void
e_rorx64(struct emit *e, int to, int from, unsigned by)
{
	e_vex(e, 3, true, false, MAP_0f3a, 0xf0, to, 0, rm_reg(from));
	e8(e, by);
}

void
e_patch(uint8_t *rel32, const uint8_t *to)
{
	int32_t rel = (int32_t)(to - (rel32 + 4));

	__atomic_store_n((int32_t *)(void *)rel32, rel, __ATOMIC_RELAXED);
}

void
e_call_c(struct emit *e, const void *fn)
{
	e_mov_imm(e, RAX, (uint64_t)(uintptr_t)fn);
	e8(e, 0xff);
	e8(e, 0xd0);
}

void
e_jmp_rm(struct emit *e, struct rm rm)
{
	e_op(e, 0, false, MAP_1, 0xff, 4, rm, false);
}

void
e_call_rm(struct emit *e, struct rm rm)
{
	e_op(e, 0, false, MAP_1, 0xff, 2, rm, false);
}
