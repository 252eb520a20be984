/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/string.c - MOVS CMPS STOS LODS SCAS INS OUTS, alone and repeated.
 *
 * One element at a time, registers final after each, so that a fault or an interrupt finds the
 * state of a finished iteration. MOVS and STOS upwards through plain RAM go by runs within a page.
 */
#include "engine/interp/exec.h"
#include "cpu/sysreg.h"
#include "cpu/segments.h"
#include <string.h>

/* Iterations between looks at attention. */
enum { LOOK_EVERY = 4096 };

/* A string instruction under way. */
struct str {
	struct cpu *c;
	const struct insn *in;
	unsigned size;			/* of an element */
	int64_t step;			/* size or -size */
	bool rep;
};
/* What follows an iteration. */
enum { STR_again, STR_last, STR_FAULT, STR_stop };
typedef int str_fn(struct str *s);

static void
advance(struct str *s, unsigned reg, uint64_t n)
{
	struct opnd o = { .kind = OPND_reg, .reg = (uint8_t)reg, .size = s->in->asize };

	reg_set(s->c, &o, s->c->r.gpr[reg] + (uint64_t)s->step * n);
}

static void
count_down(struct str *s, uint64_t n)
{
	struct opnd o = { .kind = OPND_reg, .reg = REG_rcx, .size = s->in->asize };

	if (s->rep)
		reg_set(s->c, &o, s->c->r.rcx - n);
}

static int MUST_CHECK
source_lin(struct str *s, unsigned acc, uint64_t *lin)
{
	return offset_lin(s->c, s->in->seg, offset_cut(s->in, s->c->r.rsi), s->size, acc, lin);
}

static int MUST_CHECK
dest_lin(struct str *s, unsigned acc, uint64_t *lin)
{
	return offset_lin(s->c, SEG_es, offset_cut(s->in, s->c->r.rdi), s->size, acc, lin);
}

static int MUST_CHECK
get(struct str *s, uint64_t lin, uint64_t *val)
{
	const void *p = iop_read_ptr(s->c, lin, s->size);

	*val = 0;
	if (p == NULL)
		return lin_read_slow(s->c, lin, val, s->size, ACC_read);
	memcpy(val, p, s->size);
	return OK;
}

static int MUST_CHECK
put(struct str *s, uint64_t lin, uint64_t val)
{
	void *p = iop_write_ptr(s->c, lin, s->size);

	if (p == NULL)
		return lin_write_slow(s->c, lin, &val, s->size, ACC_write);
	memcpy(p, &val, s->size);
	return OK;
}

/* ---- runs: many elements at once; 0 when it has to be one by one ---- */

/* Elements up to the end of the page of lin, at most n. */
static uint64_t
run_in_page(const struct str *s, uint64_t lin, uint64_t n)
{
	uint64_t fit = (PAGE_SIZE - (lin & ~PAGE_MASK)) / s->size;

	return fit < n ? fit : n;
}

static bool
runs_allowed(const struct str *s)
{
	return s->rep && s->step > 0 && s->c->mode == MODE_long64 && s->in->asize == 8 && !s->c->interp->stepwise;
}

/* Segment bases are those of 64-bit mode; both ends lie in pages that the TLB knows. */
static uint64_t
movs_run(struct str *s)
{
	struct cpu *c = s->c;
	uint64_t from = c->r.rsi, to = c->r.rdi, n, bytes;
	const uint8_t *src;
	uint8_t *dst;

	if (!runs_allowed(s))
		return 0;
	if (s->in->seg >= SEG_fs)
		from += c->r.seg[s->in->seg].base;
	n = run_in_page(s, to, run_in_page(s, from, c->r.rcx));
	src = iop_read_ptr(c, from, 1);
	dst = iop_write_ptr(c, to, 1);
	bytes = n * s->size;
	if (n < 2 || src == NULL || dst == NULL)
		return 0;
	/* A copy onto what it has yet to read repeats a pattern: element by element. */
	if (dst > src && dst < src + bytes)
		return 0;
	memmove(dst, src, bytes);
	return n;
}

static uint64_t
stos_run(struct str *s)
{
	struct cpu *c = s->c;
	uint64_t to = c->r.rdi, n, i, val = c->r.rax;
	uint8_t *dst;

	if (!runs_allowed(s))
		return 0;
	n = run_in_page(s, to, c->r.rcx);
	dst = iop_write_ptr(c, to, 1);
	if (n < 2 || dst == NULL)
		return 0;
	if (s->size == 1 || val == 0)
		memset(dst, (uint8_t)val, n * s->size);
	else
		for (i = 0; i < n; i++)
			memcpy(dst + i * s->size, &val, s->size);
	return n;
}

/* ---- one iteration each ---- */

static int
movs_one(struct str *s)
{
	uint64_t from, to, val, n = movs_run(s);

	if (n == 0) {
		if (source_lin(s, ACC_read, &from) || get(s, from, &val) || dest_lin(s, ACC_write, &to) ||
		    put(s, to, val))
			return STR_FAULT;
		n = 1;
	}
	advance(s, REG_rsi, n);
	advance(s, REG_rdi, n);
	count_down(s, n);
	return STR_again;
}

static int
stos_one(struct str *s)
{
	uint64_t to, n = stos_run(s);

	if (n == 0) {
		if (dest_lin(s, ACC_write, &to) || put(s, to, s->c->r.rax))
			return STR_FAULT;
		n = 1;
	}
	advance(s, REG_rdi, n);
	count_down(s, n);
	return STR_again;
}

static int
lods_one(struct str *s)
{
	struct opnd rax = { .kind = OPND_reg, .reg = REG_rax, .size = (uint8_t)s->size };
	uint64_t from, val;

	if (source_lin(s, ACC_read, &from) || get(s, from, &val))
		return STR_FAULT;
	reg_set(s->c, &rax, val);
	advance(s, REG_rsi, 1);
	count_down(s, 1);
	return STR_again;
}

/* REPE goes on while equal, REPNE while not. */
static int
after_compare(struct str *s, uint64_t a, uint64_t b)
{
	bool equal = a == b;

	count_down(s, 1);
	compare_flags(s->c, a, b, s->size);
	return s->in->prefixes & PFX_repne ? (equal ? STR_last : STR_again) : (equal ? STR_again : STR_last);
}

static uint64_t
cut(uint64_t val, unsigned size)
{
	return size == 8 ? val : val & ((1ull << 8 * size) - 1);
}

static int
scas_one(struct str *s)
{
	uint64_t at, val;

	if (dest_lin(s, ACC_read, &at) || get(s, at, &val))
		return STR_FAULT;
	advance(s, REG_rdi, 1);
	return after_compare(s, cut(s->c->r.rax, s->size), val);
}

static int
cmps_one(struct str *s)
{
	uint64_t from, to, a, b;

	if (source_lin(s, ACC_read, &from) || get(s, from, &a) || dest_lin(s, ACC_read, &to) || get(s, to, &b))
		return STR_FAULT;
	advance(s, REG_rsi, 1);
	advance(s, REG_rdi, 1);
	return after_compare(s, a, b);
}

/* The device is asked only when the element can be written for certain. */
static int
ins_one(struct str *s)
{
	struct cpu *c = s->c;
	struct io io = { .addr = (uint16_t)c->r.rdx, .size = (uint8_t)s->size, .port = true };
	enum io_result res = IO_done;
	uint64_t to;
	bool done;

	if (cpu_io_allowed(c, (uint16_t)c->r.rdx, s->size) || dest_lin(s, ACC_write, &to) ||
	    lin_probe(c, to, s->size, ACC_write) || policy_port(c, &io, &done))
		return STR_FAULT;
	if (!done)
		res = c->ops->io(c, &io);
	if (res == IO_none)
		io.data = UINT64_MAX;
	if (put(s, to, io.data))
		return STR_FAULT;
	advance(s, REG_rdi, 1);
	count_down(s, 1);
	return res == IO_stop ? STR_stop : STR_again;
}

static int
outs_one(struct str *s)
{
	struct cpu *c = s->c;
	struct io io = { .addr = (uint16_t)c->r.rdx, .size = (uint8_t)s->size, .port = true, .write = true };
	enum io_result res = IO_done;
	uint64_t from;
	bool done;

	if (cpu_io_allowed(c, (uint16_t)c->r.rdx, s->size) || source_lin(s, ACC_read, &from) ||
	    get(s, from, &io.data) || policy_port(c, &io, &done))
		return STR_FAULT;
	if (!done)
		res = c->ops->io(c, &io);
	advance(s, REG_rsi, 1);
	count_down(s, 1);
	return res == IO_stop ? STR_stop : STR_again;
}

/* ---- repetition ---- */

static uint64_t
left(const struct str *s)
{
	return s->rep ? offset_cut(s->in, s->c->r.rcx) : 1;
}

static int
repeat(struct cpu *c, const struct insn *in, str_fn *one, unsigned size_most)
{
	unsigned size = in->opcode & 1 ? in->osize : 1, n = 0;
	struct str s = { .c = c, .in = in, .rep = in->prefixes & (PFX_rep | PFX_repne) };
	uint64_t flags = c->r.rflags;
	int what;

	s.size = size > size_most ? size_most : size;
	s.step = rflags_df(&c->r) ? -(int64_t)s.size : (int64_t)s.size;
	if (s.rep && in->asize == 4 && left(&s) == 0)
		c->r.rcx = 0;			/* ECX is written even then */
	while (left(&s) != 0) {
		what = one(&s);
		if (what == STR_FAULT) {
			c->r.rflags = flags;	/* SDM vol. 2, REP: as before the instruction */
			return RUN_fault;
		}
		if (what == STR_stop)
			return RUN_stop;
		if (what == STR_last || !s.rep)
			break;
		if (left(&s) != 0 && (c->interp->stepwise || atomic_load_explicit(&c->interp->any_written,
		    memory_order_relaxed) || (++n % LOOK_EVERY == 0 && atomic_load(&c->attention) != 0)))
			return RUN_again;
	}
	return OK;
}

int exec_movs(struct cpu *c, const struct insn *in) { return repeat(c, in, movs_one, 8); }
int exec_stos(struct cpu *c, const struct insn *in) { return repeat(c, in, stos_one, 8); }
int exec_lods(struct cpu *c, const struct insn *in) { return repeat(c, in, lods_one, 8); }
int exec_scas(struct cpu *c, const struct insn *in) { return repeat(c, in, scas_one, 8); }
int exec_cmps(struct cpu *c, const struct insn *in) { return repeat(c, in, cmps_one, 8); }
int exec_ins(struct cpu *c, const struct insn *in) { return repeat(c, in, ins_one, 4); }
int exec_outs(struct cpu *c, const struct insn *in) { return repeat(c, in, outs_one, 4); }
