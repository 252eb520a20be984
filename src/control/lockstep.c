/* SPDX-License-Identifier: Apache-2.0 */
/* control/lockstep.c - find the first instruction on which two engines disagree.
 *
 * Both machines see the same time (counted instructions, moved only between blocks) and the same
 * device input (none), so they must do the same. The engine under test runs one block; the
 * reference then steps as many instructions. A fault that the block ended with is delivered
 * without retiring anything, so on a difference the reference may take further such steps.
 */
#include "control/lockstep.h"

#include "cpu/access.h"
#include "isa/insn.h"
#include "vm/vcpu.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HISTORY = 24, DELIVERIES_MAX = 4, CODE_MAX = 15 };

struct lockstep {
	struct vcpu *ref, *test;
	struct lockstep_result *res;
	uint64_t past[HISTORY];		/* linear addresses of the reference's last instructions */
	uint64_t entries[HISTORY];	/* where the engine under test entered its last blocks */
	unsigned steps, blocks;
	uint64_t memory_at;
};

static void
say(struct lockstep_result *res, const char *fmt, ...)
{
	size_t used = strlen(res->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(res->text + used, sizeof(res->text) - used, fmt, ap);
	va_end(ap);
}

static uint64_t
linear_rip(const struct cpu *c)
{
	return c->mode == MODE_long64 ? c->r.rip : c->r.cs_base + c->r.rip;
}

/* ---- comparing ---- */

/* x87 pointers and the state components in use are engine business (CAVEATS.md); their contents not. */
static bool
fpu_same(const struct fpu_state *a, const struct fpu_state *b)
{
	return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->mxcsr == b->mxcsr &&
		memcmp(a->st, b->st, sizeof(a->st)) == 0 && memcmp(a->xmm, b->xmm, sizeof(a->xmm)) == 0 &&
		memcmp(a->ymmh, b->ymmh, sizeof(a->ymmh)) == 0;
}

static bool
regs_same(const struct cpu *a, const struct cpu *b)
{
	for (unsigned id = 0; id < REG__COUNT; id++)
		if (reg_desc[id].kind == KIND_saved && a->r.v[id] != b->r.v[id])
			return false;
	return fpu_same(&a->fpu, &b->fpu);
}

static void
say_bytes(struct lockstep_result *res, const char *name, unsigned n, const void *a, const void *b, size_t size)
{
	const uint8_t *x = a, *y = b;

	if (memcmp(a, b, size) == 0)
		return;
	say(res, "  %s%u ", name, n);
	for (size_t i = size; i-- > 0;)
		say(res, "%02x", x[i]);
	say(res, " | ");
	for (size_t i = size; i-- > 0;)
		say(res, "%02x", y[i]);
	say(res, "\n");
}

static void
say_registers(struct lockstep *l)
{
	const struct cpu *a = &l->ref->cpu, *b = &l->test->cpu;
	struct lockstep_result *res = l->res;

	say(res, "registers that differ (%s | %s):\n", l->ref->engine->name, l->test->engine->name);
	for (unsigned id = 0; id < REG__COUNT; id++)
		if (reg_desc[id].kind == KIND_saved && a->r.v[id] != b->r.v[id])
			say(res, "  %-18s %#llx | %#llx\n", reg_desc[id].name, (unsigned long long)a->r.v[id],
			    (unsigned long long)b->r.v[id]);
	for (unsigned i = 0; i < 8; i++)
		say_bytes(res, "st", i, a->fpu.st[i], b->fpu.st[i], 10);
	for (unsigned i = 0; i < 16; i++)
		say_bytes(res, "xmm", i, a->fpu.xmm[i], b->fpu.xmm[i], 16);
	for (unsigned i = 0; i < 16; i++)
		say_bytes(res, "ymmh", i, a->fpu.ymmh[i], b->fpu.ymmh[i], 16);
	if (a->fpu.fcw != b->fpu.fcw || a->fpu.fsw != b->fpu.fsw || a->fpu.ftw != b->fpu.ftw ||
	    a->fpu.mxcsr != b->fpu.mxcsr)
		say(res, "  fcw %#x|%#x fsw %#x|%#x ftw %#x|%#x mxcsr %#x|%#x\n", a->fpu.fcw, b->fpu.fcw, a->fpu.fsw,
		    b->fpu.fsw, a->fpu.ftw, b->fpu.ftw, a->fpu.mxcsr, b->fpu.mxcsr);
}

static void
say_code(struct lockstep *l, uint64_t lin)
{
	static const enum isa_mode isa[] = { [MODE_real] = ISA_16, [MODE_v86] = ISA_16, [MODE_prot16] = ISA_16,
		[MODE_prot32] = ISA_32, [MODE_long64] = ISA_64 };
	struct cpu *c = &l->ref->cpu;
	uint8_t bytes[CODE_MAX];
	char text[96] = "?";
	size_t got = 0;
	gpa_t gpa;

	while (got < sizeof(bytes) && paging_peek(c, lin + got, &gpa) && mem_read(c->mem, gpa, bytes + got, 1))
		got++;
	insn_text(bytes, got, isa[c->mode], lin, text, sizeof(text));
	say(l->res, "  %#llx  %s\n", (unsigned long long)lin, text);
}

static void
say_history(struct lockstep *l)
{
	unsigned i;

	say(l->res, "%s entered blocks at:", l->test->engine->name);
	for (i = l->blocks > 8 ? l->blocks - 8 : 0; i < l->blocks; i++)
		say(l->res, " %#llx", (unsigned long long)l->entries[i % HISTORY]);
	say(l->res, "\n%s executed:\n", l->ref->engine->name);
	for (i = l->steps > HISTORY ? l->steps - HISTORY : 0; i < l->steps; i++)
		say_code(l, l->past[i % HISTORY]);
}

static int
report(struct lockstep *l, const char *what)
{
	l->res->differs = true;
	say(l->res, "%s after %llu instructions (%llu boundaries)\n", what,
	    (unsigned long long)l->ref->cpu.retired, (unsigned long long)l->res->boundaries);
	say_registers(l);
	say_history(l);
	return 0;
}

static bool
memory_same(struct lockstep *l)
{
	struct mem *ma = l->ref->vm->mem, *mb = l->test->vm->mem;
	uint8_t *a, *b;
	gpa_t base;
	uint64_t size;

	for (unsigned n = 0; mem_region(ma, n, &base, &size, &a) && mem_region(mb, n, &base, &size, &b); n++)
		for (uint64_t at = 0; at < size; at += PAGE_SIZE)
			if (memcmp(a + at, b + at, PAGE_SIZE) != 0) {
				for (; a[at] == b[at]; at++)
					;
				say(l->res, "memory differs at physical %#llx: %02x | %02x\n",
				    (unsigned long long)(base + at), a[at], b[at]);
				return false;
			}
	return true;
}

/* ---- moving ---- */

static int
step_reference(struct lockstep *l, struct vexit *x)
{
	l->past[l->steps++ % HISTORY] = linear_rip(&l->ref->cpu);
	return l->ref->engine->step(&l->ref->cpu, x);
}

/* ---- flags that the manual leaves undefined ---- */

static bool
past_insn(struct lockstep *l, unsigned back, struct insn *in)
{
	static const enum isa_mode isa[] = { [MODE_real] = ISA_16, [MODE_v86] = ISA_16, [MODE_prot16] = ISA_16,
		[MODE_prot32] = ISA_32, [MODE_long64] = ISA_64 };
	struct cpu *c = &l->ref->cpu;
	uint64_t lin = l->past[(l->steps - back) % HISTORY];
	uint8_t bytes[CODE_MAX];
	size_t got = 0;
	gpa_t gpa;

	while (got < sizeof(bytes) && paging_peek(c, lin + got, &gpa) && mem_read(c->mem, gpa, bytes + got, 1))
		got++;
	return insn_decode(bytes, got, isa[c->mode], in) > 0;
}

/* Whether the last instruction that wrote this flag left it undefined. */
static bool
flag_undefined(struct lockstep *l, uint64_t flag)
{
	struct insn in;

	for (unsigned back = 1; back <= HISTORY && back <= l->steps && past_insn(l, back, &in); back++)
		if (insn_info[in.id].fl_write & flag)
			return (insn_info[in.id].fl_undef & flag) != 0;
	return false;
}

/* Engines may differ in undefined flags (a rotate by CL and one by a constant do on real hardware):
 * the engine under test takes the reference's. */
static void
settle_undefined(struct lockstep *l)
{
	struct cpu *a = &l->ref->cpu, *b = &l->test->cpu;
	uint64_t diff = a->r.rflags ^ b->r.rflags, left;

	if (diff == 0 || (diff & ~(uint64_t)RFLAGS_arith) != 0)
		return;
	for (left = diff; left != 0; left &= left - 1)
		if (!flag_undefined(l, left & -left))
			return;
	b->r.rflags = a->r.rflags;
}

/* The reference follows to where the engine under test stands; false: it could not. */
static bool
catch_up(struct lockstep *l, struct vexit *x)
{
	struct cpu *a = &l->ref->cpu, *b = &l->test->cpu;
	uint64_t before;

	while (a->retired < b->retired && x->kind == EXIT_attend)
		if (step_reference(l, x) != 0)
			return false;
	settle_undefined(l);
	for (unsigned i = 0; i < DELIVERIES_MAX && x->kind == EXIT_attend && !regs_same(a, b); i++) {
		before = a->retired;
		if (step_reference(l, x) != 0 || a->retired != before)
			return false;
	}
	return a->retired == b->retired && regs_same(a, b);
}

/* One block of the engine under test and as much of the reference. */
static int
one_boundary(struct lockstep *l)
{
	struct cpu *a = &l->ref->cpu, *b = &l->test->cpu;
	struct vexit xa = { .kind = EXIT_attend, .carried = GROUP_ALL }, xb = { 0 };
	bool same;
	int err;

	l->entries[l->blocks++ % HISTORY] = linear_rip(b);
	b->retire_limit = b->retired + 1;
	a->retire_limit = UINT64_MAX;
	cpu_guest_enter(b);
	err = l->test->engine->run(b, &xb);
	cpu_guest_leave(b);
	if (err != 0)
		return err;
	cpu_guest_enter(a);
	same = catch_up(l, &xa);
	cpu_guest_leave(a);
	if (!same)
		return report(l, "first difference");
	if (xa.kind != xb.kind && xb.kind != EXIT_attend && xa.kind != EXIT_attend)
		return report(l, "different exits");
	l->res->boundaries++;
	l->res->instructions = a->retired;
	if ((err = vcpu_leave(l->ref, &xb)) != 0)
		return err;
	return vcpu_leave(l->test, &xb);
}

int
lockstep_run(struct vm *ref, struct vm *test, uint64_t limit, uint64_t memory_every, struct lockstep_result *res)
{
	struct lockstep l = { .ref = ref->vcpu[0], .test = test->vcpu[0], .res = res, .memory_at = memory_every };
	enum step sa, sb;
	int err = 0;

	memset(res, 0, sizeof(*res));
	while (err == 0 && !res->differs && l.ref->cpu.retired < limit) {
		sa = vcpu_enter(l.ref);
		sb = vcpu_enter(l.test);
		if (sa != sb || !regs_same(&l.ref->cpu, &l.test->cpu))
			return report(&l, "events differ");
		if (sa == STEP_ended || (sa == STEP_blocked && clock_next(ref->clock) == UINT64_MAX))
			break;		/* over, or nothing will ever happen again */
		if (sa == STEP_again)
			err = one_boundary(&l);
		if (memory_every != 0 && l.ref->cpu.retired >= l.memory_at) {
			l.memory_at = l.ref->cpu.retired + memory_every;
			if (!memory_same(&l))
				return report(&l, "memory differs");
		}
	}
	res->end = ref->end;
	if (err == 0 && !res->differs && !memory_same(&l))
		return report(&l, "memory differs");
	return err;
}
