/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/cross.c - SYSCALL and SYSRET between 64-bit code, and CPUID, without leaving translated code.
 *
 * What one of them makes of the registers (segments, TLB view, the context gone to) is learned when C
 * does it, and holds until something may have changed a register that it follows from: then
 * bt_learned_forget is called, and C does the next one. The gates check what changes without that:
 * flags, and whether an interrupt waits for IF.
 */
#include "engine/bt/bt.h"

enum { SHL = 4, SHR = 5, OF_AT = 11, LOW = RFLAGS_arith & 0xff, BYTE = 8,
	SYSRET_FLAGS = 0x3c7fd5 /* of R11 */, KERNEL_FLAGS = RFLAGS_fixed, USER_FLAGS = RFLAGS_fixed | 1 << rflags_if_SHIFT };

#define FIELD(name) rm_cpu(NOREG, offsetof(struct cpu, name))
#define REGISTER(name) rm_cpu(NOREG, offsetof(struct cpu, r) + offsetof(union regfile, name))

void
bt_learned_forget(struct bt_state *bt)
{
	bt->learned[CROSS_syscall].ok = bt->learned[CROSS_sysret].ok = false;
	for (unsigned i = 0; i < BT_ANSWERS; i++)
		bt->answer[i].asked = ~i;
}

/* C has just answered CPUID; XCR0 and CR4 are all of the registers that an answer may depend on. */
void
bt_learn_answer(struct bt_state *bt, uint64_t asked)
{
	const union regfile *r = &bt->c->r;

	bt->answer[asked & (BT_ANSWERS - 1)] = (struct bt_answer){ .asked = asked, .eax = (uint32_t)r->rax, .ebx = (uint32_t)r->rbx,
		.ecx = (uint32_t)r->rcx, .edx = (uint32_t)r->rdx };
}

/* C has just done one; the next that finds the same flags is to be the gate's. */
void
bt_learn(struct bt_state *bt, enum bt_cross which)
{
	const uint64_t masked = RFLAGS_arith | rflags_if_MASK;
	struct bt_learned *l = &bt->learned[which];
	const struct cpu *c = bt->c;
	uint32_t m = bt_mode_of(c);
	bool in = which == CROSS_syscall;
	struct bt_ctx *ctx;

	if (m == BM_none || m & (BM_code32 | BM_counted) || (m & BM_user) != (in ? 0 : BM_user) || c->user_watch ||
	    (c->r.rflags & ~(uint64_t)RFLAGS_arith) != (in ? KERNEL_FLAGS : USER_FLAGS) ||
	    (in && (c->r.ia32_fmask & masked) != masked) || (ctx = bt_ctx_for(bt, m)) == NULL)
		return;
	*l = (struct bt_learned){ .ok = true, .view = c->tlb_view, .cpl = c->cpl, .ctx = ctx,
		.cs = c->r.seg[SEG_cs], .ss = c->r.seg[SEG_ss] };
}

static void
shift(struct emit *e, unsigned how, int reg, unsigned by)
{
	e_op(e, 0, false, MAP_1, 0xc1, (int)how, rm_reg(reg), false);
	e8(e, by);
}

static void
copy(struct emit *e, struct rm to, const void *from, unsigned words)
{
	for (unsigned i = 0; i < words; i++, to.disp += (int32_t)sizeof(uint64_t)) {
		e_load(e, S0, rm_abs(bt_abs(from) + (int32_t)(i * sizeof(uint64_t))));
		e_store(e, to, S0);
	}
}

static void
copy_byte(struct emit *e, struct rm to, const uint8_t *from)
{
	e_op(e, 0, false, MAP_0f, 0xb6, S0, rm_abs(bt_abs(from)), false);
	e_op(e, 0, false, MAP_1, 0x88, S0, to, true);
}

/* Jump away unless the byte is 0, or unless it is not. */
static void
refuse(struct emit *e, struct rm byte, unsigned cc, const uint8_t *refused)
{
	e_op(e, 0, false, MAP_1, 0x80, ALU_cmp, byte, false);
	e8(e, 0);
	e_jcc(e, cc, refused);
}

static void
flags_set(struct emit *e, unsigned flags)
{
	e_op(e, 0, true, MAP_1, 0xc7, 0, REGISTER(rflags), false);
	e32(e, flags);
}

/* The other privilege level, on to S1 by the targets of its context. */
static void
cross(struct emit *e, struct bt_state *bt, const struct bt_learned *l)
{
	copy(e, REGISTER(cs), &l->cs, sizeof(l->cs) / sizeof(uint64_t));
	copy_byte(e, FIELD(cpl), &l->cpl);
	copy_byte(e, FIELD(tlb_view), &l->view);
	bt_returns_switch(bt, e, rm_abs(bt_abs(&l->ctx)));
	e_alu_imm(e, true, ALU_add, rm_abs(bt_abs(&bt->stats.crossed)), 1);
	e_mov(e, S0, S1);
	e_jmp(e, bt->gate_lookup - e->to_rx);
}

/* S0: the address behind the instruction. */
static void
emit_syscall(struct bt_state *bt, struct emit *e, const uint8_t *refused)
{
	const struct bt_learned *l = &bt->learned[CROSS_syscall];
	struct rm next = rm_abs(bt_abs(&bt->tmp)), saved = rm_abs(bt_abs(&bt->flags_saved));

	bt->gate_cross[CROSS_syscall] = e->p + e->to_rx;
	refuse(e, rm_abs(bt_abs(&l->ok)), CC_e, refused);
	e_store(e, next, S0);
	e_load32(e, S0, REGISTER(rflags));
	e_alu_imm(e, false, ALU_and, rm_reg(S0), ~RFLAGS_arith);
	e_alu_imm(e, false, ALU_cmp, rm_reg(S0), USER_FLAGS);
	e_jcc(e, CC_ne, refused);

	e_load(e, RCX, next);
	e_op(e, 0, false, MAP_0f, 0xb7, S0, saved, false);	/* movzx: AH of lahf, AL of seto */
	e_rorx32(e, S1, S0, BYTE);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), LOW);
	e_alu_imm(e, false, ALU_and, rm_reg(S0), 1);
	shift(e, SHL, S0, OF_AT);
	e_alu(e, false, ALU_or, S1, rm_reg(S0));
	e_alu_imm(e, false, ALU_or, rm_reg(S1), USER_FLAGS);
	e_store(e, REGISTER(r11), S1);
	e_op(e, 0x66, false, MAP_1, 0xc7, 0, saved, false);
	e8(e, 0), e8(e, 0);
	flags_set(e, KERNEL_FLAGS);
	copy(e, REGISTER(ss), &l->ss, sizeof(l->ss) / sizeof(uint64_t));
	e_load(e, S1, REGISTER(ia32_lstar));
	cross(e, bt, l);
}

static void
emit_sysret(struct bt_state *bt, struct emit *e, const uint8_t *refused)
{
	const struct bt_learned *l = &bt->learned[CROSS_sysret];

	bt->gate_cross[CROSS_sysret] = e->p + e->to_rx;
	refuse(e, rm_abs(bt_abs(&l->ok)), CC_e, refused);
	refuse(e, FIELD(irq_window), CC_ne, refused);
	e_load32(e, S0, REGISTER(r11));
	e_alu_imm(e, false, ALU_and, rm_reg(S0), SYSRET_FLAGS & ~RFLAGS_arith);
	e_alu_imm(e, false, ALU_cmp, rm_reg(S0), USER_FLAGS & ~RFLAGS_fixed);
	e_jcc(e, CC_ne, refused);

	flags_set(e, USER_FLAGS);
	e_load32(e, S0, REGISTER(r11));
	e_alu_imm(e, false, ALU_and, rm_reg(S0), LOW);
	shift(e, SHL, S0, BYTE);
	e_load32(e, S1, REGISTER(r11));
	shift(e, SHR, S1, OF_AT);
	e_alu_imm(e, false, ALU_and, rm_reg(S1), 1);
	e_alu(e, false, ALU_or, S0, rm_reg(S1));
	e_op(e, 0x66, false, MAP_1, 0x89, S0, rm_abs(bt_abs(&bt->flags_saved)), false);
	copy(e, REGISTER(ss), &l->ss.sel, 1);		/* base, limit and rights stay */
	e_alu_imm(e, true, ALU_or, REGISTER(ss_attr), ATTR_dpl);
	e_mov(e, S1, RCX);
	cross(e, bt, l);
}

/* Jumped to with flags saved, and in S1 the exit to take when C must do it. */
void
bt_cross_emit(struct bt_state *bt, struct emit *e)
{
	const uint8_t *refused = e->p;

	e_op(e, 0, false, MAP_1, 0x8b, S0, rm_reg(S1), false);
	e_jmp(e, bt->gate_exit_saved - e->to_rx);
	emit_syscall(bt, e, refused);
	emit_sysret(bt, e, refused);
}
