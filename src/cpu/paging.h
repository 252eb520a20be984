/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/paging.h - what paging.c, tlb.c, access.c and shootdown.c share, and nobody else.
 *
 *	access.c (lin_*) -> tlb.c (fill) -> paging.c (walk)
 *	                     ^  ^-- shootdown.c (others take write entries away)
 *	                     '-- pcid.c (entries of other address spaces, put aside)
 */
#pragma once
#include "cpu/access.h"

/* A translation found by a page walk. */
struct walk {
	gpa_t gpa;		/* of the byte at the linear address */
	uint8_t shift;		/* log2 of the page's size: 12, 21, 22, 30 */
	bool user, writable, nx;	/* all levels together */
	bool global, dirty;
};

/* What the TLB must know of its entries beside the entries themselves; one for each array. */
enum { TLB_WORDS = TLB_ENTRIES / 64, TLB_WORDS_PER_BIT = (TLB_WORDS + 63) / 64 };
struct tlb_notes {
	uint64_t used[TLB_WORDS], global[TLB_WORDS], large[TLB_WORDS];	/* a bit per entry */
	uint64_t any, any_local, any_large;	/* a bit per TLB_WORDS_PER_BIT of those words that may have some of them */
	uint8_t shift[TLB_ENTRIES];	/* of the page, when large */
};

/* The words that bits of `any` and the like stand for, one after the other; TLB_WORDS: no more. */
static inline unsigned
tlb_words_first(uint64_t bits)
{
	return bits == 0 ? TLB_WORDS : (unsigned)__builtin_ctzll(bits) * TLB_WORDS_PER_BIT;
}
static inline unsigned
tlb_words_next(uint64_t *bits, unsigned word)
{
	if ((word + 1) % TLB_WORDS_PER_BIT != 0)
		return word + 1;
	*bits &= *bits - 1;
	return tlb_words_first(*bits);
}

/* Write entries by the page of RAM that they lead to: lists, by a hash of its host address. An entry stays in its list until it becomes
 * one of another page. */
enum { HOST_LISTS = 1024 };
struct host_index {
	uint16_t first[HOST_LISTS], next[TLB_ENTRIES];	/* index + 1 */
	uint16_t list[TLB_ENTRIES];			/* that it is in, + 1 */
};
static_assert(TLB_ENTRIES < UINT16_MAX, "index + 1");

/* Where instructions were fetched from, by hash: what is not in here no cache of code knows. */
enum { SEEN_BITS = 11, SEEN_WORDS = (1 << SEEN_BITS) / 64 };
struct code_seen {
	uint64_t page[SEEN_WORDS];	/* 4 KiB pages */
	uint64_t large[SEEN_WORDS];	/* 2 MiB pages */
	bool huge;			/* any larger page */
	bool local, global;		/* any that is not global; any that is */
};

/* Last-level tables of 4-level paging, by 2 MiB of linear addresses: what the architecture calls a
 * paging-structure cache. All go with any flush, whatever its scope. */
enum { TABLE_BITS = 6, TABLE_ENTRIES = 1 << TABLE_BITS };
struct table_entry {
	uint64_t tag;			/* linear address of the 2 MiB; or TLB_EMPTY */
	const uint64_t *host;		/* the table */
	bool user, writable, nx;	/* of the levels above */
};

static_assert(TABLE_ENTRIES == 64, "tables_used");

/* One of the TLB's arrays: its entries are `stride` words, of which the first is the tag. */
enum { TLB_ARRAYS = 2 * TLB_VIEWS + CODE_VIEWS, TLB_CODE_ARRAYS = 2 * TLB_VIEWS /* these and those behind */ };
static inline bool tlb_array_writes(unsigned i) { return i >= TLB_VIEWS && i < TLB_CODE_ARRAYS; }
struct tlb_array {
	uint64_t *tag;
	size_t stride;
	unsigned last;			/* the index of its last entry */
	struct tlb_notes *notes;
};
static inline unsigned tlb_array_index(const struct tlb_array *a, uint64_t lin) { return (unsigned)(lin >> PAGE_SHIFT) & a->last; }

/* What an address space with a PCID had in the TLB when it was left: what is not global. Of INVLPG it needs to know
 * nothing, that is about the present one. */
enum { ASIDES = FLUSH_ASIDES, ASIDE_ENTRIES = 192, ENTRY_WORDS = 3 };
struct tlb_aside {
	bool used;
	uint64_t cr3;
	uint64_t left;			/* when; in switches */
	unsigned n;
	struct code_seen seen[CODE_VIEWS];
	struct { uint8_t array, shift; uint64_t word[ENTRY_WORDS]; } entry[ASIDE_ENTRIES];
};

/* How often pages with code were written lately, by hash of the page's number. */
enum { REWRITES = 64 };
struct rewrites {
	gpa_t page;
	unsigned count;
};

enum { LARGE_SIZES = 3 /* 2 MiB, 4 MiB, 1 GiB */ };
enum { SHOOT_PAGES = 16 };
struct paging_state {
	uint64_t pdpte[4];		/* PAE: loaded with CR3 */
	struct tlb_notes read[TLB_VIEWS], write[TLB_VIEWS], code[CODE_VIEWS];
	struct host_index leads_to[TLB_VIEWS];
	struct code_seen seen[CODE_VIEWS];
	struct table_entry table[TABLE_ENTRIES];
	uint64_t tables_used;		/* a bit per entry */
	uint64_t large_seen[2][LARGE_SIZES];	/* lower and upper half: one was in the TLB, by hash of its number */
	struct rewrites rewrites[REWRITES];
	struct tlb_aside aside[ASIDES];
	uint64_t switches;
	struct code_entry device;	/* lin_code's answer for a page that is not RAM */

	/* Requests of other vCPUs to give up write entries; the registry's lock guards the list. */
	gpa_t shoot[SHOOT_PAGES];
	unsigned shoots;		/* in the list; more than SHOOT_PAGES: all entries */
	_Atomic uint64_t asked;		/* requests ever made */
	_Atomic uint64_t served;	/* requests ever served */
	struct cpu *next;		/* on the same memory; under the registry's lock */
};

/* FAULT with #PF or #GP (not canonical) raised. Sets A, and D for a write. */
int MUST_CHECK paging_translate(struct cpu *c, uint64_t lin, unsigned acc, struct walk *w);

void paging_flush(struct cpu *c);	/* the table cache */

/* Reads the four PDPTEs of PAE paging from cr3; false, and nothing loaded, when a reserved bit is set. */
bool paging_load_pdptes(struct cpu *c, uint64_t cr3);

/* One page of an access: host is NULL for what is not RAM. */
struct place {
	uint8_t *host;
	gpa_t gpa;
	bool code;		/* a write must be told to mem_dirty */
};
int MUST_CHECK tlb_place(struct cpu *c, uint64_t lin, unsigned acc, struct place *p);

struct tlb_array tlb_array_at(struct cpu *c, unsigned i);
void tlb_note(struct cpu *c, struct tlb_notes *n, unsigned i, uint64_t lin, const struct walk *w);
void tlb_note_host(struct cpu *c, enum tlb_view v, unsigned i);	/* of a write entry */
static inline unsigned tlb_index(uint64_t lin) { return lin >> PAGE_SHIFT & (TLB_ENTRIES - 1); }

/* pcid.c: CR3 was written, with PCIDs, from `old` to what it is now; keep: with bit 63. */
void pcid_switch(struct cpu *c, uint64_t old, bool keep);
/* No entry put aside lets anyone write to that page of RAM; NULL: to any. */
void pcid_drop_writes(struct cpu *c, const uint8_t *host_page);

void tlb_init(struct cpu *c);
/* Drop the write entries for one page of RAM, whatever its linear addresses; NULL: all. */
void tlb_drop_writes(struct cpu *c, const uint8_t *host_page);

/* shootdown.c: who shares this memory. -1 with errno. */
int shootdown_join(struct cpu *c);
void shootdown_leave(struct cpu *c);
/* One at a time among the vCPUs of a memory: locked accesses that the host can't do in one. */
void shootdown_split_lock(struct cpu *c);
void shootdown_split_unlock(struct cpu *c);
