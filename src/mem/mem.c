/* SPDX-License-Identifier: Apache-2.0 */
/* mem/mem.c - guest RAM: regions of one memfd, and one word of flags and generation per page.
 *
 *	gpa    0 .. low end <= 3 GiB      region 0
 *	       4 GiB .. high end          region 1, when RAM is larger
 *	       anywhere free              one more region for each mem_add
 *
 * Regions are only ever added, and published by the count, so that looking one up takes no lock.
 * The words are a zero-filled mapping: those of pages nobody touches cost nothing.
 */
#include "mem/mem.h"
#include "mem/settle.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FOUR_GIB ((uint64_t)4 << MEM_HOLE_SHIFT)
#define GPA_LIMIT ((uint64_t)1 << 52)	/* no processor has wider physical addresses */
enum { REGIONS_MAX = 16, FLAGS_BITS = 8 };
#define CHANGE ((uint64_t)1 << FLAGS_BITS)

/* Walks to pages of a piece since it was settled, or refused, or walked too seldom. At MEM_HOT it stays. */
struct heat {
	_Atomic uint32_t walks, since;	/* since: when the present run began, in seconds or so */
};

struct region {
	gpa_t base;
	uint64_t size;
	uint8_t *host;			/* owned mapping of the memfd */
	_Atomic uint64_t *page;		/* owned, one a page: low byte enum mem_page_flag, above it changes */
	uint64_t first_page;		/* mem_page_index of the first */
	struct heat *heat;		/* owned, one a whole piece; NULL: the memfd's are elsewhere */
};

struct mem {
	struct region region[REGIONS_MAX];
	_Atomic unsigned regions;
	uint64_t size, low_end, high_end;

	int fd;				/* owned: the memfd */
	uint64_t fd_size;		/* under `adding` */
	pthread_mutex_t adding;

	pthread_rwlock_t watching;	/* guards the list; held for reading while watchers run */
	struct mem_watcher *watchers;

	struct mem_cpus *cpus;		/* cpu/shootdown.c's */
	struct settler *_Atomic settler;	/* borrowed; NULL: none */
};

static void *
map(void *at, size_t size, int flags, int fd, uint64_t offset)
{
	void *p = mmap(at, size, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset);

	return p == MAP_FAILED ? NULL : p;
}

static void
unmap(void *p, size_t size)
{
	if (p != NULL)
		munmap(p, size);
}

/* Of the memfd, where a huge page can begin. */
static uint8_t *
map_ram(size_t size, int fd, uint64_t offset)
{
	uint8_t *p = mmap(NULL, size + MEM_PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *ram;
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)p & (MEM_PIECE - 1);
	ram = map(p + before, size, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, offset);
	if (before != 0)
		munmap(p, before);
	munmap(p + before + size, MEM_PIECE - before);
	return ram;
}

static void
region_close(struct region *r)
{
	unmap(r->host, r->size);
	unmap((void *)r->page, (r->size >> PAGE_SHIFT) * sizeof(*r->page));
	unmap((void *)r->heat, r->size / MEM_PIECE * sizeof(*r->heat));
}

static int
region_open(struct mem *m, struct region *r, gpa_t base, uint64_t size)
{
	enum { OWN = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };

	*r = (struct region){ .base = base, .size = size, .first_page = m->fd_size >> PAGE_SHIFT };
	if (ftruncate(m->fd, (off_t)(m->fd_size + size)) != 0)
		return -1;
	r->host = map_ram(size, m->fd, m->fd_size);
	r->page = map(NULL, (size >> PAGE_SHIFT) * sizeof(*r->page), OWN, -1, 0);
	if ((base | m->fd_size) % MEM_PIECE == 0 && size >= MEM_PIECE)
		r->heat = map(NULL, size / MEM_PIECE * sizeof(*r->heat), OWN, -1, 0);
	if (r->host == NULL || r->page == NULL) {
		region_close(r);
		return -1;
	}
	/* A core dump shall not hold the guest's memory. */
	madvise(r->host, size, MADV_DONTDUMP);
	madvise(r->host, size, MADV_DONTFORK);		/* helpers have no business with it, nor shall they keep it */
	m->fd_size += size;
	return 0;
}

static bool
overlaps(struct mem *m, gpa_t base, uint64_t size)
{
	unsigned n = atomic_load(&m->regions), i;

	for (i = 0; i < n; i++)
		if (base < m->region[i].base + m->region[i].size && m->region[i].base < base + size)
			return true;
	return false;
}

int
mem_add(struct mem *m, gpa_t gpa, uint64_t size)
{
	int err = -1;
	unsigned n;

	pthread_mutex_lock(&m->adding);
	n = atomic_load(&m->regions);
	if (size == 0 || (gpa | size) & ~PAGE_MASK || gpa >= GPA_LIMIT || size > GPA_LIMIT - gpa)
		errno = EINVAL;
	else if (overlaps(m, gpa, size))
		errno = EEXIST;
	else if (n == REGIONS_MAX)
		errno = ENOSPC;
	else
		err = region_open(m, &m->region[n], gpa, size);
	if (err == 0)
		atomic_store_explicit(&m->regions, n + 1, memory_order_release);
	pthread_mutex_unlock(&m->adding);
	return err;
}

bool
mem_region(const struct mem *m, unsigned n, gpa_t *base, uint64_t *size, uint8_t **host)
{
	if (n >= atomic_load(&m->regions))
		return false;
	*base = m->region[n].base;
	*size = m->region[n].size;
	*host = m->region[n].host;
	return true;
}

struct mem *
mem_open(uint64_t size)
{
	struct mem *m = calloc(1, sizeof(*m));
	uint64_t low = size < MEM_BELOW_4G ? size : MEM_BELOW_4G;
	int saved;

	if (m == NULL)
		return NULL;
	pthread_mutex_init(&m->adding, NULL);
	pthread_rwlock_init(&m->watching, NULL);
	m->size = size;
	m->low_end = low;
	m->high_end = FOUR_GIB + (size - low);
	m->fd = memfd_create("guest-ram", MFD_CLOEXEC);
	if (m->fd >= 0 && mem_add(m, 0, low) == 0 &&
	    (size == low || mem_add(m, FOUR_GIB, size - low) == 0))
		return m;
	saved = errno;
	mem_close(m);
	errno = saved;
	return NULL;
}

void
mem_close(struct mem *m)
{
	unsigned i;

	if (m == NULL)
		return;
	for (i = 0; i < atomic_load(&m->regions); i++)
		region_close(&m->region[i]);
	if (m->fd >= 0)
		close(m->fd);
	pthread_rwlock_destroy(&m->watching);
	pthread_mutex_destroy(&m->adding);
	free(m);
}

uint64_t
mem_size(const struct mem *m)
{
	return m->size;
}

uint64_t
mem_low_end(const struct mem *m)
{
	return m->low_end;
}

uint64_t
mem_high_end(const struct mem *m)
{
	return m->high_end;
}

/* The region that holds all of [gpa, gpa + len), or NULL. */
static struct region *
region_of(struct mem *m, gpa_t gpa, size_t len)
{
	unsigned n = atomic_load_explicit(&m->regions, memory_order_acquire), i;
	struct region *r;

	for (i = 0; i < n; i++) {
		r = &m->region[i];
		if (gpa - r->base < r->size)
			return len != 0 && len <= r->size - (gpa - r->base) ? r : NULL;
	}
	return NULL;
}

uint8_t *
mem_put(struct mem *m, gpa_t gpa, size_t len)
{
	struct region *r = region_of(m, gpa, len);

	return r == NULL ? NULL : r->host + (gpa - r->base);
}

const uint8_t *
mem_get(struct mem *m, gpa_t gpa, size_t len)
{
	return mem_put(m, gpa, len);
}

static void
tell_watchers(struct mem *m, gpa_t gpa, size_t len)
{
	struct mem_watcher *w;

	pthread_rwlock_rdlock(&m->watching);
	for (w = m->watchers; w != NULL; w = w->next)
		w->code_written(w->ctx, gpa, len);
	pthread_rwlock_unlock(&m->watching);
}

static _Atomic uint64_t *
page_word(struct mem *m, gpa_t gpa)
{
	struct region *r = region_of(m, gpa, 1);

	return r == NULL ? NULL : &r->page[(gpa - r->base) >> PAGE_SHIFT];
}

/* [gpa, gpa + len) lies in the page of that word. The bytes stand in memory already. */
static void
page_dirty(struct mem *m, _Atomic uint64_t *word, gpa_t gpa, size_t len)
{
	uint64_t flags = atomic_load(word);

	if (!(flags & MEM_dirty))
		flags = atomic_fetch_or(word, MEM_dirty);
	if (flags & MEM_code) {
		atomic_fetch_add(word, CHANGE);
		tell_watchers(m, gpa, len);
	}
}

void
mem_dirty(struct mem *m, gpa_t gpa, size_t len)
{
	struct region *r = region_of(m, gpa, len);
	size_t here;

	if (r == NULL)
		return;
	/* The caller's bytes first: who sets MEM_code after we looked must see them. */
	atomic_thread_fence(memory_order_seq_cst);
	for (; len > 0; gpa += here, len -= here) {
		here = PAGE_SIZE - (size_t)(gpa & ~PAGE_MASK);
		if (here > len)
			here = len;
		page_dirty(m, &r->page[(gpa - r->base) >> PAGE_SHIFT], gpa, here);
	}
}

void
mem_release(struct mem *m, gpa_t gpa, size_t len)
{
	struct region *r = region_of(m, gpa, len);
	gpa_t begin = (gpa + PAGE_SIZE - 1) & PAGE_MASK, end = (gpa + len) & PAGE_MASK;

	if (r == NULL || begin >= end)
		return;
	if (madvise(r->host + (begin - r->base), end - begin, MADV_REMOVE) == 0)
		mem_dirty(m, begin, end - begin);
	for (begin -= begin % MEM_PIECE; begin < end; begin += MEM_PIECE)	/* they are no huge pages any more */
		mem_settled(m, begin, false);
}

void
mem_settle_by(struct mem *m, struct settler *s)
{
	atomic_store(&m->settler, s);
}

/* Of the whole piece that holds gpa; NULL: it is none. */
static struct heat *
heat_of(struct region *r, gpa_t gpa)
{
	uint64_t i = (gpa - r->base) / MEM_PIECE;

	return r->heat != NULL && i < r->size / MEM_PIECE ? &r->heat[i] : NULL;
}

void
mem_settled(struct mem *m, gpa_t piece, bool done)
{
	struct region *r = region_of(m, piece, 1);
	struct heat *h = r == NULL ? NULL : heat_of(r, piece);

	if (h != NULL && !done)
		atomic_store(&h->walks, 0);
}

/* A count of two vCPUs at once may be lost; that which gets it to MEM_HOT is one vCPU's. */
static void
warm(struct mem *m, struct region *r, gpa_t gpa)
{
	enum { CYCLES_SHIFT = 31 };
	struct settler *s = atomic_load_explicit(&m->settler, memory_order_relaxed);
	struct heat *h = s == NULL ? NULL : heat_of(r, gpa);
	uint32_t n = h == NULL ? MEM_HOT : atomic_load_explicit(&h->walks, memory_order_relaxed), now;

	if (n >= MEM_HOT)
		return;
	if (n % MEM_RUN == 0) {
		now = (uint32_t)(__builtin_ia32_rdtsc() >> CYCLES_SHIFT);
		if (now - atomic_load_explicit(&h->since, memory_order_relaxed) > 1)
			n = 0;
		atomic_store_explicit(&h->since, now, memory_order_relaxed);
	}
	if (n + 1 < MEM_HOT)
		atomic_store_explicit(&h->walks, n + 1, memory_order_relaxed);
	else if (atomic_exchange(&h->walks, MEM_HOT) < MEM_HOT)
		settler_ask(s, m, gpa - gpa % MEM_PIECE);
}

bool
mem_read(struct mem *m, gpa_t gpa, void *to, size_t len)
{
	const uint8_t *p = mem_get(m, gpa, len);

	if (p == NULL)
		return false;
	memcpy(to, p, len);
	return true;
}

bool
mem_write(struct mem *m, gpa_t gpa, const void *from, size_t len)
{
	uint8_t *p = mem_put(m, gpa, len);

	if (p == NULL)
		return false;
	memcpy(p, from, len);
	mem_dirty(m, gpa, len);
	return true;
}

uint8_t *
mem_page(struct mem *m, gpa_t gpa, uint8_t *flags)
{
	struct region *r = region_of(m, gpa, 1);
	uint64_t page;

	if (r == NULL)
		return NULL;
	warm(m, r, gpa);
	page = (gpa - r->base) >> PAGE_SHIFT;
	*flags = (uint8_t)atomic_load_explicit(&r->page[page], memory_order_acquire);
	return r->host + (page << PAGE_SHIFT);
}

uint8_t
mem_page_flags(struct mem *m, gpa_t gpa)
{
	_Atomic uint64_t *word = page_word(m, gpa);

	return word == NULL ? 0 : (uint8_t)atomic_load(word);
}

void
mem_page_set(struct mem *m, gpa_t gpa, uint8_t flags)
{
	_Atomic uint64_t *word = page_word(m, gpa);

	if (word != NULL && (atomic_load(word) & flags) != flags)
		atomic_fetch_or(word, flags);
}

void
mem_page_clear(struct mem *m, gpa_t gpa, uint8_t flags)
{
	_Atomic uint64_t *word = page_word(m, gpa);
	uint64_t old, new;

	if (word == NULL)
		return;
	if (flags & MEM_code)
		flags |= MEM_sealed;
	old = atomic_load(word);
	do {
		new = old & ~(uint64_t)flags;
		if (old & flags & MEM_code)
			new += CHANGE;
	} while (!atomic_compare_exchange_weak(word, &old, new));
}

void
mem_page_release(struct mem *m, gpa_t gpa)
{
	mem_page_clear(m, gpa, MEM_code);
	tell_watchers(m, gpa & PAGE_MASK, PAGE_SIZE);
}

bool
mem_page_seal(struct mem *m, gpa_t gpa)
{
	_Atomic uint64_t *word = page_word(m, gpa);
	uint64_t old = word == NULL ? 0 : atomic_load(word);

	while (old & MEM_code)
		if (atomic_compare_exchange_weak(word, &old, old | MEM_sealed))
			return true;
	return false;
}

uint32_t
mem_page_generation(struct mem *m, gpa_t gpa)
{
	_Atomic uint64_t *word = page_word(m, gpa);

	/* Never 0, even when it wraps. */
	return word == NULL ? 0 : (uint32_t)((atomic_load(word) >> FLAGS_BITS) % UINT32_MAX) + 1;
}

struct mem_cpus **
mem_cpus(struct mem *m)
{
	return &m->cpus;
}

uint64_t
mem_page_index(struct mem *m, gpa_t gpa)
{
	struct region *r = region_of(m, gpa, 1);

	return r == NULL ? UINT64_MAX : r->first_page + ((gpa - r->base) >> PAGE_SHIFT);
}

void
mem_watch(struct mem *m, struct mem_watcher *w)
{
	pthread_rwlock_wrlock(&m->watching);
	w->next = m->watchers;
	m->watchers = w;
	pthread_rwlock_unlock(&m->watching);
}

void
mem_unwatch(struct mem *m, struct mem_watcher *w)
{
	struct mem_watcher **p;

	pthread_rwlock_wrlock(&m->watching);
	for (p = &m->watchers; *p != NULL && *p != w; p = &(*p)->next)
		;
	if (*p == w)
		*p = w->next;
	pthread_rwlock_unlock(&m->watching);
}
