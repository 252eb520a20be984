/* SPDX-License-Identifier: Apache-2.0 */
/* mem/mem.h - guest physical memory: RAM in one memfd, and what is known of each page.
 *
 * The only way to guest RAM, for the CPU and for devices, so that neither dirty logging nor the
 * invalidation of translated code can be forgotten:
 *
 *	p = mem_get(m, gpa, len)		read through p
 *	p = mem_put(m, gpa, len)		write through p, then
 *	mem_dirty(m, gpa, len)			say so
 *
 * All of it may be called from any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpa_t;		/* guest-physical address */

enum { PAGE_SHIFT = 12, PAGE_SIZE = 1 << PAGE_SHIFT };
#define PAGE_MASK (~(uint64_t)(PAGE_SIZE - 1))

/* What a page of RAM is, one byte each; set and cleared atomically. */
enum mem_page_flag {
	MEM_dirty = 1 << 0,	/* written since the last mem_dirty_collect */
	MEM_code  = 1 << 1,	/* an engine holds a decoded or translated copy */
	MEM_sealed = 1 << 2	/* MEM_code, and no vCPU can write it unseen: cpu_code_protect is done */
};

struct mem;

/* Someone who keeps copies of guest code: called, on the thread that wrote, after bytes of a page
 * marked MEM_code changed. It drops its copies of that range. */
struct mem_watcher {
	void (*code_written)(void *ctx, gpa_t gpa, size_t len);
	void *ctx;
	struct mem_watcher *next;	/* owned by mem */
};

/* RAM of `size` bytes (a multiple of a page): [0, MEM_BELOW_4G) and the rest from 4 GiB.
 * NULL with errno set when the host refuses. */
enum { MEM_HOLE_SHIFT = 30 };
#define MEM_BELOW_4G ((uint64_t)3 << MEM_HOLE_SHIFT)	/* RAM ends at most here below 4 GiB */
struct mem *mem_open(uint64_t size);
void mem_close(struct mem *m);

uint64_t mem_size(const struct mem *m);		/* bytes of RAM */
uint64_t mem_low_end(const struct mem *m);	/* end of RAM below 4 GiB */
uint64_t mem_high_end(const struct mem *m);	/* end of RAM above 4 GiB, or 4 GiB when there is none */

/* A further RAM-like region (a RAM-backed device page). 0, or -1 with errno. */
int mem_add(struct mem *m, gpa_t gpa, uint64_t size);

/* Host address of [gpa, gpa + len), or NULL when it is not all RAM of one region. len 0 is a NULL. */
const uint8_t *mem_get(struct mem *m, gpa_t gpa, size_t len);
uint8_t *mem_put(struct mem *m, gpa_t gpa, size_t len);
void mem_dirty(struct mem *m, gpa_t gpa, size_t len);

/* Gives whole pages within the range back to the host: they read as zeroes from then on, until written. */
void mem_release(struct mem *m, gpa_t gpa, size_t len);

/* Copies; false, and nothing done, when the range is not all RAM. */
bool mem_read(struct mem *m, gpa_t gpa, void *to, size_t len);
bool mem_write(struct mem *m, gpa_t gpa, const void *from, size_t len);

/* Both at once of the page that holds gpa: where it is, and its flags. NULL: not RAM. For who walked page tables to
 * it: that is counted. */
uint8_t *mem_page(struct mem *m, gpa_t gpa, uint8_t *flags);

/* A piece is what may be a huge page of the host. It is proposed to the settler when there were HOT walks to it, in runs
 * of at least RUN a second. */
enum { MEM_PIECE = 2 << 20, MEM_HOT = 8192, MEM_RUN = 64 };
struct settler;
void mem_settle_by(struct mem *m, struct settler *s);		/* NULL: by nobody; mem/settle.h */
void mem_settled(struct mem *m, gpa_t piece, bool done);	/* what settler_ask asked for; not done: count anew */

/* The flags of the page that holds gpa (RAM only). */
uint8_t mem_page_flags(struct mem *m, gpa_t gpa);
void mem_page_set(struct mem *m, gpa_t gpa, uint8_t flags);
/* Clearing MEM_code counts as a change of the code: what was copied before is stale. */
void mem_page_clear(struct mem *m, gpa_t gpa, uint8_t flags);
/* Clears MEM_code and tells the watchers that all of the page changed: writes to it are free again. */
void mem_page_release(struct mem *m, gpa_t gpa);
bool mem_page_seal(struct mem *m, gpa_t gpa);	/* sets MEM_sealed; false: not MEM_code (any more) */

/* Counts the changes of the code bytes in the page of gpa; starts at 1, 0 for what is not RAM. */
uint32_t mem_page_generation(struct mem *m, gpa_t gpa);

/* A number for each page of RAM, dense from 0; used as the key of code caches. */
uint64_t mem_page_index(struct mem *m, gpa_t gpa);

/* The n-th region, for engines that map guest memory themselves; false behind the last. */
bool mem_region(const struct mem *m, unsigned n, gpa_t *base, uint64_t *size, uint8_t **host);

/* Where cpu/shootdown.c keeps who runs on this memory. */
struct mem_cpus;
struct mem_cpus **mem_cpus(struct mem *m);

void mem_watch(struct mem *m, struct mem_watcher *w);
void mem_unwatch(struct mem *m, struct mem_watcher *w);
