/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/paging.c - the page walk: 2-level, PAE and 4-level tables (SDM vol. 3A, chapter 4).
 *
 * A walk reads the entries from the top, checks presence and reserved bits of each, then the
 * rights of all together, and only then sets accessed and dirty bits, each by compare and exchange
 * with the value that was judged; when an entry changed meanwhile, the walk starts again.
 *
 * Entries that are not in RAM read as all ones.
 *
 * Most walks end at a last-level table that was used before: for 4-level paging those are cached,
 * and when the entry there needs no A or D and allows the access, that is the whole walk.
 */
#include "cpu/paging.h"
#include "cpu/cpuid.h"

enum { PTE_p = 1 << 0, PTE_w = 1 << 1, PTE_u = 1 << 2, PTE_a = 1 << 5, PTE_d = 1 << 6, PTE_ps = 1 << 7,
	PTE_g = 1 << 8 };
#define PTE_nx   (1ull << 63)
#define PTE_addr 0x000ffffffffff000ull
#define BITS(hi, lo) ((~0ull >> (63 - (hi))) & (~0ull << (lo)))

/* Page-fault error code (SDM vol. 3A, 4.7). */
enum { PF_p = 1 << 0, PF_w = 1 << 1, PF_u = 1 << 2, PF_rsvd = 1 << 3, PF_i = 1 << 4 };

enum format { FORMAT_2level, FORMAT_pae, FORMAT_4level };
enum { LEVELS_MAX = 4, SHIFT_4K = 12, SHIFT_2M = 21, SHIFT_4M = 22, SHIFT_1G = 30, SHIFT_512G = 39 };

struct entry {
	gpa_t at;
	uint64_t val;
};

static enum format
format_of(const struct cpu *c)
{
	if (!cr4_pae(&c->r))
		return FORMAT_2level;
	return c->lma ? FORMAT_4level : FORMAT_pae;
}

static uint64_t
entry_read(struct cpu *c, gpa_t at, enum format f)
{
	const uint8_t *p = mem_get(c->mem, at, f == FORMAT_2level ? 4 : 8);

	if (p == NULL)
		return f == FORMAT_2level ? UINT32_MAX : UINT64_MAX;
	if (f == FORMAT_2level)
		return __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_ACQUIRE);
	return __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

/* False when the entry is no longer as it was read. */
static bool
entry_or(struct cpu *c, const struct entry *e, uint64_t bits, enum format f)
{
	uint64_t old = e->val;
	uint32_t old32 = (uint32_t)old;
	uint8_t *p;
	bool done;

	if ((old & bits) == bits)
		return true;
	p = mem_put(c->mem, e->at, f == FORMAT_2level ? 4 : 8);
	if (p == NULL)
		return true;
	if (f == FORMAT_2level)
		done = __atomic_compare_exchange_n((uint32_t *)(void *)p, &old32, (uint32_t)(old | bits), false,
			__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		done = __atomic_compare_exchange_n((uint64_t *)(void *)p, &old, old | bits, false,
			__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (done)
		mem_dirty(c->mem, e->at, 8);
	return done;
}

static bool
is_large(const struct cpu *c, uint64_t e, unsigned shift)
{
	if (!(e & PTE_ps))
		return false;
	return shift == SHIFT_2M || shift == SHIFT_1G || (shift == SHIFT_4M && cr4_pse(&c->r));
}

/* The bits of a present entry that must be zero. */
static uint64_t
reserved(const struct cpu *c, uint64_t e, unsigned shift, enum format f)
{
	unsigned phys = c->model->phys_bits;
	uint64_t r = ia32_efer_nxe(&c->r) ? 0 : PTE_nx;

	if (f == FORMAT_2level) {
		if (!is_large(c, e, shift))
			return 0;
		return BITS(21, 21) | (phys < 40 ? BITS(20, 13 + phys - 32) : 0);
	}
	r |= f == FORMAT_pae ? BITS(62, phys) : phys < 52 ? BITS(51, phys) : 0;
	if (!(e & PTE_ps) || shift == SHIFT_4K)
		return r;
	if (shift == SHIFT_2M)
		return r | BITS(20, 13);
	if (shift == SHIFT_1G && cpu_has(c->model, CPUF_pdpe1gb))
		return r | BITS(29, 13);
	return r | PTE_ps;
}

static gpa_t
leaf_gpa(uint64_t e, unsigned shift, uint64_t lin)
{
	uint64_t in_page = (1ull << shift) - 1;
	uint64_t base = e & PTE_addr;

	if (shift == SHIFT_4M)
		base = (e & BITS(31, 22)) | (e >> 13 & 0xff) << 32;	/* PSE-36 */
	return (base & ~in_page) | (lin & in_page);
}

static bool
canonical(const struct cpu *c, uint64_t lin)
{
	unsigned unused = 64u - c->model->lin_bits;

	return (uint64_t)((int64_t)(lin << unused) >> unused) == lin;
}

/* Bits of the error code that tell what the access was. */
static uint32_t
pf_access(const struct cpu *c, unsigned acc)
{
	uint32_t code = 0;

	if (acc & ACC_write)
		code |= PF_w;
	if (c->cpl == 3 && !(acc & ACC_system))
		code |= PF_u;
	if (acc & ACC_exec && (cr4_smep(&c->r) || (cr4_pae(&c->r) && ia32_efer_nxe(&c->r))))
		code |= PF_i;
	return code;
}

/* SMAP (SDM vol. 3A, 4.6): an implicit access cares not for AC. */
static bool
smap_forbids(const struct cpu *c, unsigned acc)
{
	return cr4_smap(&c->r) && (acc & ACC_system || !rflags_ac(&c->r));
}

static bool
allowed(const struct cpu *c, const struct walk *w, unsigned acc)
{
	bool user = c->cpl == 3 && !(acc & ACC_system);

	if (user && !w->user)
		return false;
	if (acc & ACC_exec)
		return !w->nx && !(!user && w->user && cr4_smep(&c->r));
	if (!user && w->user && smap_forbids(c, acc))
		return false;
	return !(acc & ACC_write) || w->writable || (!user && !cr0_wp(&c->r));
}

/* Reads entries down to the leaf. Returns how many, or 0 with *err (PF_p and PF_rsvd). */
static unsigned
descend(struct cpu *c, uint64_t lin, enum format f, struct entry *path, struct walk *w, uint32_t *err)
{
	unsigned shift = f == FORMAT_4level ? SHIFT_512G : f == FORMAT_pae ? SHIFT_2M : SHIFT_4M;
	unsigned bits = f == FORMAT_2level ? 10 : 9, n = 0;
	uint64_t table = c->r.cr3 & PTE_addr, e;

	if (f == FORMAT_2level)
		table &= UINT32_MAX;
	if (f == FORMAT_pae) {
		e = c->paging_state->pdpte[lin >> SHIFT_1G & 3];
		*err = 0;
		if (!(e & PTE_p))
			return 0;
		table = e & PTE_addr;
	}
	*w = (struct walk){ .user = true, .writable = true };
	for (;; shift -= bits) {
		uint64_t index = lin >> shift & ((1u << bits) - 1);

		path[n].at = table + index * (f == FORMAT_2level ? 4 : 8);
		path[n].val = e = entry_read(c, path[n].at, f);
		n++;
		*err = e & PTE_p ? PF_p | PF_rsvd : 0;
		if (!(e & PTE_p) || e & reserved(c, e, shift, f))
			return 0;
		w->user &= (e & PTE_u) != 0;
		w->writable &= (e & PTE_w) != 0;
		w->nx |= f != FORMAT_2level && e & PTE_nx;
		if (shift == SHIFT_4K || is_large(c, e, shift))
			break;
		table = e & PTE_addr;
	}
	w->shift = (uint8_t)shift;
	w->gpa = leaf_gpa(e, shift, lin);
	w->global = e & PTE_g && cr4_pge(&c->r);
	w->dirty = (e & PTE_d) != 0;
	return n;
}

/* Sets A in every entry used, and D in the leaf for a write. False: the tables changed. */
static bool
mark(struct cpu *c, const struct entry *path, unsigned n, bool write, enum format f)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (!entry_or(c, &path[i], write && i == n - 1 ? PTE_a | PTE_d : PTE_a, f))
			return false;
	return true;
}

static struct table_entry *
table_slot(struct cpu *c, uint64_t lin)
{
	return &c->paging_state->table[lin >> SHIFT_2M & (TABLE_ENTRIES - 1)];
}

void
paging_flush(struct cpu *c)
{
	struct paging_state *s = c->paging_state;

	for (; s->tables_used != 0; s->tables_used &= s->tables_used - 1)
		s->table[__builtin_ctzll(s->tables_used)].tag = TLB_EMPTY;
}

/* path[0..2] are the entries above the last of four levels. */
static void
remember_table(struct cpu *c, uint64_t lin, const struct entry *path)
{
	const uint64_t all = path[0].val & path[1].val & path[2].val;
	const uint8_t *host = mem_get(c->mem, path[2].val & PTE_addr, PAGE_SIZE);

	if (host == NULL)
		return;
	c->paging_state->tables_used |= 1ull << (lin >> SHIFT_2M & (TABLE_ENTRIES - 1));
	*table_slot(c, lin) = (struct table_entry){ .tag = lin >> SHIFT_2M << SHIFT_2M,
		.host = (const uint64_t *)(const void *)host, .user = all & PTE_u, .writable = all & PTE_w,
		.nx = (path[0].val | path[1].val | path[2].val) & PTE_nx };
}

/* The short walk; false: take the long one, which also raises the faults. */
static bool
short_walk(struct cpu *c, uint64_t lin, unsigned acc, struct walk *w)
{
	const struct table_entry *t = table_slot(c, lin);
	const uint64_t need = PTE_p | PTE_a | (acc & ACC_write ? PTE_d : 0);
	uint64_t e;

	if (t->tag != lin >> SHIFT_2M << SHIFT_2M)
		return false;
	e = __atomic_load_n(&t->host[lin >> SHIFT_4K & 511], __ATOMIC_ACQUIRE);
	if ((e & need) != need || e & reserved(c, e, SHIFT_4K, FORMAT_4level))
		return false;
	*w = (struct walk){ .gpa = (e & PTE_addr) | (lin & ~PAGE_MASK), .shift = SHIFT_4K,
		.user = t->user && e & PTE_u, .writable = t->writable && e & PTE_w, .nx = t->nx || e & PTE_nx,
		.global = e & PTE_g && cr4_pge(&c->r), .dirty = e & PTE_d };
	return allowed(c, w, acc);
}

int
paging_translate(struct cpu *c, uint64_t lin, unsigned acc, struct walk *w)
{
	struct entry path[LEVELS_MAX];
	enum format f = format_of(c);
	uint32_t err;
	unsigned n;

	if (!c->paging) {
		*w = (struct walk){ .gpa = lin & UINT32_MAX, .shift = SHIFT_4K, .user = true, .writable = true,
			.dirty = true };
		return OK;
	}
	if (f == FORMAT_4level && short_walk(c, lin, acc, w))
		return OK;
	if (c->lma && !canonical(c, lin))
		return cpu_raise_error(c, VEC_gp, 0);
	do {
		n = descend(c, lin, f, path, w, &err);
		if (n == 0)
			return cpu_raise_pf(c, lin, err | pf_access(c, acc));
		if (!allowed(c, w, acc))
			return cpu_raise_pf(c, lin, PF_p | pf_access(c, acc));
	} while (!mark(c, path, n, acc & ACC_write, f));
	w->dirty |= (acc & ACC_write) != 0;
	if (n == LEVELS_MAX)
		remember_table(c, lin, path);
	return OK;
}

int
paging_walk(struct cpu *c, uint64_t lin, unsigned acc, gpa_t *gpa)
{
	struct walk w;

	if (paging_translate(c, lin, acc, &w) != OK)
		return FAULT;
	*gpa = w.gpa;
	return OK;
}

bool
paging_peek(struct cpu *c, uint64_t lin, gpa_t *gpa)
{
	struct entry path[LEVELS_MAX];
	struct walk w = { .gpa = lin & UINT32_MAX };
	uint32_t err;

	if (c->paging) {
		if (c->lma && !canonical(c, lin))
			return false;
		if (descend(c, lin, format_of(c), path, &w, &err) == 0)
			return false;
	}
	*gpa = w.gpa;
	return true;
}

bool
paging_load_pdptes(struct cpu *c, uint64_t cr3)
{
	gpa_t at = cr3 & BITS(31, 5);
	uint64_t e[4], rsvd = BITS(2, 1) | BITS(8, 5) | BITS(63, c->model->phys_bits);
	unsigned i;

	for (i = 0; i < 4; i++) {
		e[i] = entry_read(c, at + 8 * i, FORMAT_pae);
		if (e[i] & PTE_p && e[i] & rsvd)
			return false;
	}
	for (i = 0; i < 4; i++)
		c->paging_state->pdpte[i] = e[i];
	return true;
}
