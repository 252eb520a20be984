/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/watch.c - breakpoints: DR0-DR3 (SDM vol. 3B, 17.2) and the debugger's watchpoints.
 *
 * What an instruction accesses is worked out from its operands before it runs: handlers know
 * nothing of breakpoints. Descriptor tables, stacks of transfers and the FPU's areas are not watched.
 */
#include "engine/interp/watch.h"
#include "engine/interp/exec.h"
#include "cpu/debug.h"

enum { WATCH_exec, WATCH_write, WATCH_io, WATCH_rw };	/* DR7.R/W */
enum { DR7_RW_SHIFT = 16, DR7_PER = 4, BREAKS = 4 };

static bool
enabled(const struct cpu *c, unsigned n)
{
	return c->r.dr7 >> 2 * n & 3;
}

static unsigned
kind_of(const struct cpu *c, unsigned n)
{
	return c->r.dr7 >> (DR7_RW_SHIFT + DR7_PER * n) & 3;
}

static unsigned
len_of(const struct cpu *c, unsigned n)
{
	static const uint8_t len[4] = { 1, 2, 8, 4 };

	return len[c->r.dr7 >> (DR7_RW_SHIFT + 2 + DR7_PER * n) & 3];
}

static const uint64_t *
dr(const struct cpu *c)
{
	return &c->r.v[REG_dr0];
}

bool
watch_needed(const struct cpu *c)
{
	return (c->r.dr7 & dr7_le_MASK) || (c->debug != NULL && c->debug->nwatches != 0);
}

int
watch_code(struct cpu *c)
{
	uint64_t lin = c->mode == MODE_long64 ? c->r.rip : (uint32_t)(c->r.cs_base + c->r.rip), hit = 0;
	unsigned n;

	if (!(c->r.dr7 & dr7_le_MASK))
		return OK;
	for (n = 0; n < BREAKS; n++)
		if (enabled(c, n) && kind_of(c, n) == WATCH_exec && dr(c)[n] == lin)
			hit |= 1u << n;
	return hit != 0 ? cpu_raise_db(c, hit) : OK;
}

/* ---- what will be accessed ---- */

static void
add(struct watch *w, uint64_t lin, unsigned size, bool write, bool port)
{
	if (w->n == WATCH_ACCESSES)
		return;
	w->at[w->n].lin = lin;
	w->at[w->n].size = size == 0 ? 1 : size;
	w->at[w->n].write = write;
	w->at[w->n++].port = port;
}

static uint64_t
flat_lin(const struct cpu *c, uint8_t seg, uint64_t off)
{
	if (c->mode == MODE_long64)
		return seg >= SEG_fs ? off + c->r.seg[seg].base : off;
	return (uint32_t)(off + c->r.seg[seg].base);
}

static void
add_string(struct cpu *c, const struct insn *in, struct watch *w, const struct opnd *o)
{
	bool source = o->reg == REG_rsi;
	uint64_t off = offset_cut(in, source ? c->r.rsi : c->r.rdi);

	if ((in->prefixes & (PFX_rep | PFX_repne)) && offset_cut(in, c->r.rcx) == 0)
		return;
	add(w, flat_lin(c, source ? in->seg : SEG_es, off), o->size, o->access & OPND_w, false);
}

static void
add_stack(struct cpu *c, const struct insn *in, struct watch *w)
{
	bool pops = in->id == INSN_pop || in->id == INSN_ret || in->id == INSN_pop_seg || in->id == INSN_popf ||
		in->id == INSN_leave;
	uint64_t sp = in->id == INSN_leave ? c->r.rbp : pops ? c->r.rsp : c->r.rsp - in->osize;

	if (c->mode != MODE_long64 && !(c->r.ss_attr & ATTR_db))
		sp = (uint16_t)sp;
	add(w, flat_lin(c, SEG_ss, sp), in->osize, !pops, false);
}

void
watch_before(struct cpu *c, const struct block *b, struct watch *w)
{
	const struct insn *in = b->in;
	uint32_t flags = insn_info[in->id].flags;
	unsigned i;

	*w = (struct watch){ .id = in->id };
	if (!watch_needed(c))
		return;
	for (i = 0; i < in->nopnds; i++) {
		if (in->op[i].kind != OPND_mem || in->id == INSN_lea)
			continue;
		if (flags & IF_string)
			add_string(c, in, w, &in->op[i]);
		else
			add(w, flat_lin(c, in->seg, insn_offset(c, in)), in->op[i].size, in->op[i].access & OPND_w, false);
	}
	if (flags & IF_stack)
		add_stack(c, in, w);
	if (flags & IF_io)
		add(w, in->op[0].kind == OPND_imm || in->op[1].kind == OPND_imm ? (uint8_t)in->imm :
			(uint16_t)c->r.rdx, in->osize < 4 ? in->osize : 4, true, true);
}

static bool
meets(const struct cpu *c, unsigned n, const struct watch *w, unsigned i)
{
	unsigned kind = kind_of(c, n);
	uint64_t from = dr(c)[n] & ~(uint64_t)(len_of(c, n) - 1);

	if (kind == WATCH_exec || w->at[i].port != (kind == WATCH_io) || (kind == WATCH_io && !cr4_de(&c->r)))
		return false;
	if (kind == WATCH_write && !w->at[i].write)
		return false;
	return w->at[i].lin < from + len_of(c, n) && from < w->at[i].lin + w->at[i].size;
}

uint64_t
watch_after(struct cpu *c, const struct watch *w)
{
	uint64_t met = 0, armed = 0;
	unsigned i, n;

	for (i = 0; i < w->n; i++) {
		if (c->debug != NULL && c->debug->nwatches != 0 && !w->at[i].port)
			debug_data(c->debug, w->at[i].lin, w->at[i].size, w->at[i].write);
		for (n = 0; n < BREAKS; n++)
			if (meets(c, n, w, i)) {
				met |= 1u << n;
				armed |= enabled(c, n) ? 1u << n : 0;
			}
	}
	return armed != 0 ? met : 0;
}
