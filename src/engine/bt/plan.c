/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/plan.c - before a block is written: which instructions it has, how each is translated,
 * where flags are live, where to poll.
 *
 * A block is a stretch of one page with one entry. It goes on behind a few conditional jumps, and behind
 * unconditional ones when a jump inside the block leads there. It does not run on into another block
 * behind a conditional jump: where paths meet again, each would have a copy of the rest.
 */
#include "engine/bt/tr.h"
#include "engine/policed.h"

enum { JUMPS_MAX = 3 /* conditional ones in a block */, PEEK = 8, FPU_FLAGS = IF_x87 | IF_mmx | IF_sse | IF_avx };

static bool
fpu_allowed(uint32_t mode, uint32_t flags)
{
	if ((flags & (IF_x87 | IF_mmx)) && !(mode & BM_x87))
		return false;
	if ((flags & IF_sse) && !(mode & BM_sse))
		return false;
	return !(flags & IF_avx) || (mode & BM_avx);
}

static unsigned
kind_of_integer(const struct tr *t, const struct tr_insn *i)
{
	const struct insn *in = &i->in;

	switch (in->id) {
	case INSN_nop: case INSN_endbr32: case INSN_endbr64: case INSN_cld:
	case INSN_prefetch: case INSN_prefetchw: case INSN_prefetchnta: case INSN_prefetcht0:
	case INSN_prefetcht1: case INSN_prefetcht2:
		return TK_nothing;
	case INSN_bt: case INSN_bts: case INSN_btr: case INSN_btc:
		if (in->op[0].kind == OPND_mem && in->op[1].kind != OPND_imm)
			return in->asize == 8 && in->osize != 2 ? TK_bits : TK_interp;
		return TK_plain;
	case INSN_add: case INSN_or: case INSN_adc: case INSN_sbb: case INSN_and: case INSN_sub: case INSN_xor:
	case INSN_cmp: case INSN_test: case INSN_inc: case INSN_dec: case INSN_neg: case INSN_not: case INSN_mul:
	case INSN_imul: case INSN_div: case INSN_idiv: case INSN_adcx: case INSN_adox: case INSN_xadd:
	case INSN_cmpxchg: case INSN_cmpxchg8b: case INSN_cmpxchg16b: case INSN_rol: case INSN_ror: case INSN_rcl:
	case INSN_rcr: case INSN_shl: case INSN_shr: case INSN_sar: case INSN_shld: case INSN_shrd: case INSN_sarx:
	case INSN_shlx: case INSN_shrx: case INSN_rorx: case INSN_bsf: case INSN_bsr: case INSN_tzcnt: case INSN_lzcnt:
	case INSN_popcnt: case INSN_bswap: case INSN_andn: case INSN_blsr: case INSN_blsmsk: case INSN_blsi:
	case INSN_bextr: case INSN_bzhi: case INSN_pext: case INSN_pdep: case INSN_mulx: case INSN_crc32:
	case INSN_mov: case INSN_movzx: case INSN_movsx: case INSN_movsxd: case INSN_movbe: case INSN_movnti:
	case INSN_xchg: case INSN_cmovcc: case INSN_setcc: case INSN_cbw: case INSN_cwd: case INSN_lahf:
	case INSN_sahf: case INSN_clc: case INSN_stc: case INSN_cmc: case INSN_pause: case INSN_lfence:
	case INSN_mfence: case INSN_sfence:
		return TK_plain;
	case INSN_lea:
		return in->osize == 2 ? TK_interp : TK_lea;
	case INSN_mov_from_seg:
		return TK_segsel;
	case INSN_rdfsbase: case INSN_rdgsbase: case INSN_wrfsbase: case INSN_wrgsbase:
		return t->mode & BM_fsgsbase ? TK_base : TK_interp;
	case INSN_mov_from_cr:
		return !(t->mode & BM_user) && in->op[1].reg == 2 && !(t->c->policed[REG_cr2] & REG_read) ? TK_cr2 : TK_interp;
	case INSN_stac: case INSN_clac:
		return (t->mode & (BM_plain_ac | BM_counted)) == BM_plain_ac ? TK_acflag : TK_interp;
	case INSN_lods: case INSN_scas: case INSN_cmps:
		return tr_string_one_fits(t, in) ? TK_string_one : TK_interp;
	case INSN_movs: case INSN_stos:
		if (tr_string_one_fits(t, in))
			return TK_string_one;
		if (!(in->prefixes & PFX_rep) || (in->prefixes & PFX_repne) || in->asize != 8 || (t->mode & BM_counted) ||
		    (in->id == INSN_movs && (in->seg == SEG_fs || in->seg == SEG_gs)))
			return TK_interp;
		return TK_string;
	case INSN_swapgs:
		return t->mode & BM_user ? TK_interp : TK_swapgs;
	case INSN_cli:
		return t->mode & BM_plain_if ? TK_cli : TK_interp;
	case INSN_sti:
		return (t->mode & (BM_plain_if | BM_counted)) == BM_plain_if ? TK_sti : TK_interp;
	case INSN_cpuid:
		return t->mode & BM_counted || is_policed(t->c, INSN_cpuid) ? TK_interp : TK_cpuid;
	case INSN_rdtsc: case INSN_rdtscp:
		return (t->mode & (BM_tsc | BM_counted)) == BM_tsc ? TK_rdtsc : TK_interp;
	default:
		return TK_interp;
	}
}

/* How a near branch of the present operand size is translated; TK_interp: it is none. */
unsigned
tr_kind_of_branch(const struct insn *in)
{
	unsigned op = in->op[0].kind;

	switch (in->id) {
	case INSN_jcc:
		return TK_jcc;
	case INSN_jcxz: case INSN_loop:
		return TK_loop;
	case INSN_jmp:
		return op == OPND_rel ? TK_jmp : TK_jmp_reg;
	case INSN_call:
		return op == OPND_rel ? TK_call : op == OPND_reg && in->op[0].reg == RSP ? TK_interp : TK_call_reg;
	case INSN_ret:
		return TK_ret;
	default:
		return TK_interp;
	}
}

static unsigned
kind_of_flow(const struct tr *t, const struct insn *in)
{
	unsigned op = in->op[0].kind;

	if (in->prefixes & (PFX_opsize | PFX_adsize))
		return TK_interp;
	switch (in->id) {
	case INSN_push:
		return in->osize != 8 ? TK_interp : TK_push;
	case INSN_pop:
		return in->osize != 8 || op != OPND_reg ? TK_interp : TK_pop;
	case INSN_leave:
		return TK_leave;
	case INSN_pushf:
		return in->osize != 8 ? TK_interp : TK_pushf;
	case INSN_syscall:
		return (t->mode & (BM_user | BM_code32 | BM_counted)) == BM_user ? TK_syscall : TK_interp;
	case INSN_sysret:
		return !(t->mode & (BM_user | BM_code32 | BM_counted)) && in->osize == 8 ? TK_sysret : TK_interp;
	default:
		return tr_kind_of_branch(in);
	}
}

/* Its bytes do here what they do in the guest: no memory, and all registers are those of the same name. */
static bool
is_verbatim(const struct tr *t, const struct tr_insn *i)
{
	enum { ELSEWHERE = 1 << RSP | HOMED };
	unsigned k;

	if (tr_is32(t) || ((i->use.gpr_read | i->use.gpr_write) & ELSEWHERE))
		return false;
	if (i->in.id == INSN_lea)
		return i->in.base != INSN_RIP;
	for (k = 0; k < i->in.nopnds; k++)
		if (i->in.op[k].kind == OPND_mem)
			return false;
	return true;
}

static unsigned
kind_of(const struct tr *t, struct tr_insn *i)
{
	const struct insn *in = &i->in;
	const struct insn_info *info = &insn_info[in->id];
	unsigned kind;

	if (in->id == INSN_invalid || (info->feature != CPUF_always && !cpu_has(t->c->model, info->feature)))
		return TK_interp;
	if ((in->prefixes & PFX_lock) && (!(info->flags & IF_lockable) || in->op[0].kind != OPND_mem))
		return TK_interp;
	if (tr_is32(t) && tr32_kind(t, i, &kind))
		return kind;
	if (info->flags & (IF_branch | IF_stack))
		return kind_of_flow(t, in);
	if (info->flags & FPU_FLAGS) {
		switch (in->id) {
		case INSN_fnstenv: case INSN_fldenv: case INSN_fnsave: case INSN_frstor: case INSN_fxsave:
		case INSN_fxrstor:
			return TK_interp;
		default:
			kind = fpu_allowed(t->mode, info->flags) ? TK_plain : TK_interp;
		}
	} else {
		kind = kind_of_integer(t, i);
	}
	if ((kind == TK_plain || kind == TK_lea) && is_verbatim(t, i))
		return TK_verbatim;
	return kind == TK_plain && !tr_plain_fits(t, i) ? TK_interp : kind;
}

/* What insn_uses counts as read, since it may stay as it was, need not be exact before when nobody
 * reads it behind. */
static void
use_of(struct tr_insn *i)
{
	insn_uses(&i->in, &i->use);
	i->maybe = i->use.fl_read & i->use.fl_write & (uint16_t)~insn_info[i->in.id].fl_read;
	i->use.fl_read &= (uint16_t)~i->maybe;
}

/* What follows from the kind alone; who adds a kind finds here all that others want to know of it. */
static const uint16_t of_kind[TK__COUNT] = {
	[TK_interp] = TRAIT_ends | TRAIT_open,
	[TK_plain] = TRAIT_quiet | TRAIT_fixed,
	[TK_verbatim] = TRAIT_quiet | TRAIT_holds | TRAIT_fixed,
	[TK_nothing] = TRAIT_quiet | TRAIT_holds | TRAIT_fixed,
	[TK_lea] = TRAIT_quiet | TRAIT_fixed,
	[TK_push] = TRAIT_quiet | TRAIT_stack | TRAIT_fixed,
	[TK_pop] = TRAIT_quiet | TRAIT_stack | TRAIT_fixed,
	[TK_leave] = TRAIT_stack | TRAIT_fixed,
	[TK_pushf] = TRAIT_stack,
	[TK_jcc] = TRAIT_direct | TRAIT_quiet | TRAIT_holds | TRAIT_fixed,
	[TK_loop] = TRAIT_direct,
	[TK_jmp] = TRAIT_ends | TRAIT_direct | TRAIT_fixed,
	[TK_call] = TRAIT_ends | TRAIT_direct | TRAIT_quiet | TRAIT_stack | TRAIT_fixed,
	[TK_jmp_reg] = TRAIT_ends | TRAIT_open | TRAIT_fixed,
	[TK_call_reg] = TRAIT_ends | TRAIT_open | TRAIT_quiet | TRAIT_stack | TRAIT_fixed,
	[TK_ret] = TRAIT_ends | TRAIT_open | TRAIT_quiet | TRAIT_stack | TRAIT_fixed,
	[TK_bits] = TRAIT_quiet,
	[TK_segsel] = TRAIT_quiet,
	[TK_acflag] = TRAIT_ends,
	[TK_syscall] = TRAIT_ends,
	[TK_sysret] = TRAIT_ends,
};

/* A re-encoded instruction leaves S1 alone when it has no memory operand, nor a register that is in memory. */
static bool
holds(const struct tr_insn *i)
{
	unsigned k;

	if ((i->kind != TK_plain && i->kind != TK_lea) || ((i->use.gpr_read | i->use.gpr_write) & HOMED) != 0)
		return false;
	for (k = 0; k < i->in.nopnds; k++)
		if (i->in.op[k].kind == OPND_mem && i->kind != TK_lea)
			return false;
	return true;
}

/* What follows from the other things known of i. */
static void
traits(const struct tr *t, struct tr_insn *i)
{
	const uint32_t flags = insn_info[i->in.id].flags;
	bool fpu = (i->kind == TK_plain || i->kind == TK_verbatim) && (flags & FPU_FLAGS);

	i->traits = of_kind[i->kind] | (fpu ? TRAIT_fpu : 0) | (flags & IF_branch ? TRAIT_branch : 0) | (holds(i) ? TRAIT_holds : 0) |
		(i->in.base == RSP && i->in.index == INSN_NOREG ? TRAIT_stack : 0) | (tr_may_share(t, i) ? TRAIT_shares : 0);
	if (i->kind == TK_verbatim && !fpu && !(t->mode & BM_counted))
		i->traits |= TRAIT_copy;
	i->kills = i->use.fl_write & (uint16_t)~i->maybe & RFLAGS_arith;
	i->needs = i->use.fl_read & RFLAGS_arith;
	if (i->kind == TK_interp || (t->mode & BM_counted))
		i->needs = RFLAGS_arith;
}

/* Forms are for instructions behind which enough of the page can be read. */
static bool
has_form(unsigned off)
{
	return off <= PAGE_SIZE - 2 * E_COPY;
}

/* An instruction that is not of a known form. */
static void
decode_anew(const struct tr *t, struct tr_insn *i)
{
	unsigned left = PAGE_SIZE - i->off;

	i->maybe = 0;
	if (insn_decode(i->raw, left, tr_isa(t), &i->in) == 0) {
		/* It goes on in the next page: tr_plan looks there, else the interpreter does. */
		i->marks = MARK_cross;
		i->in = (struct insn){ .id = INSN_invalid, .len = (uint8_t)left };
	}
	if (tr_is32(t))
		tr32_normalise(&i->in);
	i->use = (struct insn_use){ .fl_read = RFLAGS_arith };
	if (i->in.id != INSN_invalid)
		use_of(i);
	i->kind = (uint8_t)kind_of(t, i);
	traits(t, i);
	if (has_form(i->off) && i->in.id != INSN_invalid)
		tr_form_keep(t, i);
}

/* The instruction at off, in the page; where it ends. */
static inline unsigned
decode(const struct tr *t, unsigned off, struct tr_insn *i)
{
	unsigned len;

	i->off = (uint16_t)off;
	i->marks = 0;
	i->raw = t->bytes + off;
	if (has_form(off) && (len = tr_form_read(t, i)) != 0)
		return off + len;
	decode_anew(t, i);
	return off + i->in.len;
}

/* An instruction that ends in the next page. False: leave it to the interpreter. */
static bool
decode_straddling(struct tr *t, struct tr_insn *i)
{
	unsigned here = PAGE_SIZE - i->off, k;
	struct bt_page *second;
	const uint8_t *bytes;
	struct insn in;

	i->marks = 0;
	if (here >= 15 || t->bt->npages + 1 >= t->bt->pages_max)
		return false;
	if ((second = bt_page_at(t->bt, t->pg->vpage + PAGE_SIZE)) == NULL)
		return false;
	tr_hold(t->bt, second);
	bytes = mem_get(t->c->mem, second->gpa, PAGE_SIZE);
	for (k = 0; k < sizeof(t->straddle); k++)
		t->straddle[k] = k < here ? i->raw[k] : bytes[k - here];
	if (insn_decode(t->straddle, sizeof(t->straddle), tr_isa(t), &in) <= 0)
		return false;
	if (tr_is32(t))
		tr32_normalise(&in);
	i->in = in;
	i->marks = MARK_cross;
	bt_cross_note(t->bt, second, t->pg);
	i->raw = t->straddle;
	i->cross = bt_page_id(t->bt, second);
	use_of(i);
	i->kind = (uint8_t)kind_of(t, i);
	traits(t, i);
	return true;
}

/* The arithmetic flags that code at rip needs, as far as one can see from here. */
static uint16_t
live_at(const struct tr *t, uint64_t rip)
{
	uint16_t live = 0, written = 0;
	const struct tr_known *i;
	struct tr_insn anew;
	unsigned n, off = (unsigned)(rip & ~PAGE_MASK);

	if ((rip & PAGE_MASK) != t->pg->vpage || (t->mode & BM_counted))
		return RFLAGS_arith;
	for (n = 0; n < PEEK && written != RFLAGS_arith && off < PAGE_SIZE; n++, off += i->in.len) {
		i = has_form(off) ? tr_form_look(t, t->bytes + off) : NULL;
		if (i == NULL) {
			(void)decode(t, off, &anew);
			i = &anew.known;
		}
		if (i->kind == TK_interp)
			break;
		live |= i->needs & (uint16_t)~written;
		written |= i->kills;
		if (i->traits & TRAIT_branch)
			break;
	}
	return live | (RFLAGS_arith & (uint16_t)~written);
}

/* Instructions lie in the order of their offsets. */
static int
index_of(const struct tr *t, uint64_t rip)
{
	unsigned lo = 0, hi = t->n, mid, off = (unsigned)(rip & ~PAGE_MASK);

	if ((rip & PAGE_MASK) != t->pg->vpage)
		return -1;
	while (hi - lo > 1) {
		mid = (lo + hi) / 2;
		if (t->i[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return t->i[lo].off == off ? (int)lo : -1;
}

static void
find_targets(struct tr *t)
{
	struct tr_insn *i;
	unsigned k;
	int at;

	for (k = 0; k < t->ndirect; k++) {
		i = &t->i[t->direct[k]];
		if (i->kind == TK_call)
			continue;
		at = index_of(t, tr_target(t, i));
		if ((t->mode & BM_counted) && at <= (int)t->direct[k])
			at = -1;
		i->target = (int16_t)at;
		if (at >= 0)
			t->i[at].marks |= MARK_label;
	}
}

/* Flags needed outside of the block where its instructions leave it: of those that do. */
static void
find_live_outside(const struct tr *t, uint16_t *out)
{
	const struct tr_insn *i;
	unsigned k;

	out[t->n - 1] = 0;
	for (k = 0; k < t->ndirect; k++) {
		i = &t->i[t->direct[k]];
		out[t->direct[k]] = i->target < 0 ? live_at(t, tr_target(t, i)) : 0;
	}
	if (t->falls)
		out[t->n - 1] |= live_at(t, tr_next(t, &t->i[t->n - 1]));
	for (k = 0; (t->kinds & 1ull << TK_acflag) && k < t->n; k++)
		if (t->i[k].kind == TK_acflag)
			out[k] = live_at(t, tr_next(t, &t->i[k]));
}

/* Flags live before and behind each instruction. Whether some have changed. */
static bool
live_pass(struct tr *t, const uint16_t *out)
{
	enum { LEAVES = TRAIT_ends | TRAIT_direct };
	struct tr_insn *i = &t->i[t->n - 1];
	unsigned live = t->falls ? out[t->n - 1] : 0, before, changed = 0;

	for (; i >= t->i; i--) {
		if (i->traits & LEAVES) {
			if (i->traits & TRAIT_ends)
				live = 0;
			if (i->traits & TRAIT_open)
				live = RFLAGS_arith;
			else if ((i->traits & TRAIT_direct) || i->kind == TK_acflag)
				live |= out[i - t->i];
			if (i->target >= 0)
				live |= t->i[i->target].live;
		}
		i->live_out = (uint16_t)live;
		before = i->live;
		live = (live & ~(unsigned)i->kills) | i->needs;
		i->live = (uint16_t)live;
		changed |= live ^ before;
	}
	return changed != 0;
}

static void
find_live(struct tr *t)
{
	uint16_t out[TR_INSNS];
	bool loops = false;
	struct tr_insn *i;
	unsigned k;

	if (t->n == 0)
		return;
	find_live_outside(t, out);
	for (k = 0; k < t->ndirect; k++) {
		i = &t->i[t->direct[k]];
		loops |= i->target >= 0 && i->target <= (int)t->direct[k];
	}
	while (live_pass(t, out) && loops)
		;
}

static bool
behind_sti(const struct tr *t, unsigned k)
{
	return k > 0 && t->i[k - 1].kind == TK_sti;
}

/* Each backward branch gets a look at cpu->attention, where flags are dead if there is such a place. */
static void
find_polls(struct tr *t)
{
	struct tr_insn *i;
	unsigned n, k, j;

	for (n = 0; n < t->ndirect; n++) {
		k = t->direct[n];
		i = &t->i[k];
		if (i->kind == TK_call || tr_target(t, i) > tr_rip(t, i) || (t->mode & BM_counted) ||
		    (tr_target(t, i) & PAGE_MASK) != t->pg->vpage)
			continue;
		for (j = k; (t->i[j].live != 0 || behind_sti(t, j)) && !(t->i[j].marks & MARK_label) && j > 0; j--)
			;
		if (t->i[j].live == 0 && !behind_sti(t, j))
			t->i[j].marks |= MARK_poll;
		else
			i->marks |= MARK_poll_late;
	}
}

/* STI runs inline only when the next instruction follows without a look at events or a way out. */
static void
hold_shadows(struct tr *t)
{
	unsigned k;

	for (k = 0; k < t->n; k++)
		if (t->i[k].kind == TK_sti && (k + 1 >= t->n || (t->i[k + 1].marks & MARK_label) || t->i[k + 1].kind == TK_interp)) {
			t->i[k].kind = TK_interp;
			traits(t, &t->i[k]);
		}
}

/* The block ends behind t's last instruction, a conditional jump. */
static bool
jump_ends(const struct tr *t, unsigned off, unsigned *jumps)
{
	return ++*jumps == JUMPS_MAX || bt_block_find(t->bt, t->pg, t->pg->vpage + off, t->narrow) != NULL;
}

void
tr_plan(struct tr *t, unsigned start)
{
	uint64_t reach = 0, target, kinds = 0;	/* reach: a jump of the block goes as far as here */
	unsigned off = start, jumps = 0, traits = 0;
	struct tr_insn *i;

	t->ndirect = 0;
	for (i = t->i; off < PAGE_SIZE && i < t->i + TR_INSNS; i++) {
		off = decode(t, off, i);
		if ((i->marks & MARK_cross) && decode_straddling(t, i))
			off = i->off + i->in.len;
		i->target = -1;
		i->live = 0;
		i->group = NO_GROUP;
		traits |= i->traits;
		kinds |= 1ull << i->kind;
		if (!(i->traits & (TRAIT_direct | TRAIT_ends)))
			continue;
		if (i->traits & TRAIT_direct) {
			t->direct[t->ndirect++] = (uint16_t)(i - t->i);
			target = i->kind != TK_call ? tr_target(t, i) : 0;
			if ((target & PAGE_MASK) == t->pg->vpage && target > reach)
				reach = target;
		}
		if (((i->traits & TRAIT_ends) && reach < t->pg->vpage + off) || (i->kind == TK_jcc && jump_ends(t, off, &jumps))) {
			i++;
			break;
		}
	}
	t->n = (unsigned)(i - t->i);
	t->traits = traits;
	t->kinds = kinds;
	t->falls = t->n == 0 || !(i[-1].traits & TRAIT_ends);
	find_targets(t);
	if (kinds & 1ull << TK_sti)
		hold_shadows(t);
	find_live(t);
	find_polls(t);
	tr_share(t);
}
