/* SPDX-License-Identifier: Apache-2.0 */
/* unit/mem/settle.c - RAM that is walked much gets huge pages, and no other does. */
#include "check.h"
#include "mem/settle.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
enum { MADV_COLLAPSE = 25 };
#endif

enum { PIECES = 4, TRIES = 400, TRY_NS = 10000000 };
static const uint64_t SIZE = PIECES * (uint64_t)MEM_PIECE;

/* KiB of a field of the mapping that begins at `host`. */
static unsigned
smaps(const uint8_t *host, const char *field)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[256];
	unsigned long from, to;
	unsigned kib = 0;
	bool here = false;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from == (uintptr_t)host;
		else if (here && strncmp(line, field, strlen(field)) == 0)
			kib = (unsigned)strtoul(line + strlen(field), NULL, 10);
	}
	if (f != NULL)
		fclose(f);
	return kib;
}

/* Pages of a piece that the host has. */
static unsigned
populated(uint8_t *piece)
{
	unsigned char in[MEM_PIECE / PAGE_SIZE];
	unsigned n = 0;

	CHECK_EQ(mincore(piece, MEM_PIECE, in), 0);
	for (unsigned i = 0; i < sizeof(in); i++)
		n += in[i] & 1;
	return n;
}

static void
nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = TRY_NS }, NULL);
}

/* The host does it at all. */
static bool
host_can(void)
{
	struct mem *m = mem_open(SIZE);
	uint8_t *p = mem_put(m, 0, MEM_PIECE);
	bool can;

	memset(p, 1, MEM_PIECE);
	can = madvise(p, MEM_PIECE, MADV_COLLAPSE) == 0;
	mem_close(m);
	return can;
}

static void
walk(struct mem *m, gpa_t gpa, unsigned times)
{
	uint8_t flags;

	while (times-- > 0)
		mem_page(m, gpa, &flags);
}

static unsigned
huge(struct mem *m)
{
	return smaps(mem_get(m, 0, 1), "ShmemPmdMapped:");
}

/* While moves have cost more than walks, proposals are turned down: gpa is walked on. */
static void
wait_for(struct mem *m, gpa_t gpa, unsigned kib)
{
	for (unsigned i = 0; i < TRIES && huge(m) != kib; i++) {
		nap();
		if (huge(m) != kib)
			walk(m, gpa, MEM_HOT);
	}
	CHECK_EQ(huge(m), kib);
}

static void
fill(struct mem *m, gpa_t gpa, size_t size, uint8_t with)
{
	memset(mem_put(m, gpa, size), with, size);
}

static void
aligned(void)
{
	struct mem *m = mem_open(SIZE);

	CHECK_EQ((uintptr_t)mem_get(m, 0, 1) % MEM_PIECE, 0);
	mem_close(m);
}

static void
walked_pieces(void)
{
	enum { KIB = MEM_PIECE / 1024 };
	struct settler *s = settler_open();
	struct mem *m = mem_open(SIZE);
	uint8_t same[PAGE_SIZE], *host = mem_put(m, 0, SIZE);

	if (!host_can()) {
		mem_close(m);
		settler_close(s);
		SKIP("the host makes no huge pages of shared memory");
	}
	settler_add(s, m);
	fill(m, 0, SIZE, 7);
	walk(m, MEM_PIECE, MEM_HOT - 1);		/* not often enough */
	walk(m, 2 * MEM_PIECE + PAGE_SIZE, MEM_HOT);
	wait_for(m, 2 * MEM_PIECE, KIB);
	memset(same, 7, sizeof(same));
	for (uint64_t at = 0; at < SIZE; at += PAGE_SIZE)
		CHECK(memcmp(host + at, same, PAGE_SIZE) == 0);
	walk(m, MEM_PIECE, 1);
	wait_for(m, MEM_PIECE, 2 * KIB);

	/* What is given back is given back, and not taken again by walks to what is left. */
	mem_release(m, MEM_PIECE, MEM_PIECE / 2);
	walk(m, 2 * MEM_PIECE - PAGE_SIZE, 4 * MEM_HOT);
	walk(m, 0, MEM_HOT);				/* asked for later, done earlier or later: wait for both */
	wait_for(m, 0, 2 * KIB);
	for (unsigned i = 0; i < 20; i++)
		nap();
	CHECK_EQ(huge(m), 2 * KIB);
	CHECK_EQ(populated(host + MEM_PIECE), MEM_PIECE / PAGE_SIZE / 2);
	CHECK_EQ(host[MEM_PIECE], 0);

	/* Populated anew it is as any other. */
	fill(m, MEM_PIECE, MEM_PIECE, 9);
	walk(m, MEM_PIECE, 2 * MEM_HOT);
	wait_for(m, MEM_PIECE, 3 * KIB);
	settler_remove(s, m);
	mem_close(m);
	settler_close(s);
}

/* Nobody is there, or not any more; and pieces that are not whole. */
static void
without(void)
{
	struct mem *m = mem_open(SIZE + PAGE_SIZE);
	struct settler *s = settler_open();

	fill(m, 0, SIZE, 7);
	walk(m, 0, 2 * MEM_HOT);
	settler_add(s, m);
	walk(m, SIZE, 2 * MEM_HOT);
	settler_remove(s, m);
	settler_add(NULL, m);
	walk(m, 0, 2 * MEM_HOT);
	settler_remove(NULL, m);
	settler_close(s);
	CHECK_EQ(huge(m), 0);
	mem_close(m);
}

/* What is far apart does not add up. */
static void
slow_walks(void)
{
	struct settler *s = settler_open();
	struct mem *m = mem_open(SIZE);
	uint64_t begin;

	settler_add(s, m);
	fill(m, 0, SIZE, 7);
	walk(m, 0, MEM_HOT - MEM_RUN);
	for (begin = __builtin_ia32_rdtsc(); __builtin_ia32_rdtsc() - begin < (uint64_t)3 << 31;)
		nap();			/* longer than two of the clock's steps */
	walk(m, 0, MEM_HOT - MEM_RUN);
	for (unsigned i = 0; i < 20; i++)
		nap();
	CHECK_EQ(huge(m), 0);
	settler_remove(s, m);
	mem_close(m);
	settler_close(s);
}

int
main(void)
{
	RUN(aligned);
	RUN(walked_pieces);
	RUN(without);
	RUN(slow_walks);
	return check_done();
}
