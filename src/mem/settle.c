/* SPDX-License-Identifier: Apache-2.0 */
/* mem/settle.c - RAM into huge pages, piece by piece, on a thread of its own.
 *
 * A move takes the host some tenths of a millisecond of work, and ten milliseconds when other processes keep it
 * waiting, so no vCPU does it, nor the thread of the timers. It frees nothing and fills little: a piece is left as it is
 * until nearly all of it is populated.
 *
 * What a move costs differs by more than ten from host to host. Each time that we are asked, walks have cost what WORTH
 * says; pieces are moved as long as moves have cost less than that.
 */
#include "mem/settle.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#ifndef MADV_COLLAPSE
enum { MADV_COLLAPSE = 25 };		/* Linux 6.1; newer than some headers */
#endif

enum { WORTH = MEM_HOT * 50 /* ns */, SAVED_MAX = 4 * WORTH, WAITING_MAX = 64, PAGES = MEM_PIECE >> PAGE_SHIFT, POPULATED = PAGES - PAGES / 8 };

struct settler {
	pthread_mutex_t lock;
	pthread_cond_t wake, moved;	/* something waits, or quit; `moving` has changed */
	pthread_t thread;
	struct { struct mem *mem; gpa_t piece; } waiting[WAITING_MAX];
	unsigned n;
	int64_t saved;			/* ns, less what moves took of the thread's time */
	struct mem *moving;		/* whose piece is being moved */
	bool quit, refused;		/* refused: the host can't */
};

static bool
is_populated(uint8_t *host)
{
	unsigned char in[PAGES];
	unsigned i, n = 0;

	if (mincore(host, MEM_PIECE, in) != 0)
		return false;
	for (i = 0; i < PAGES; i++)
		n += in[i] & 1;
	return n >= POPULATED;
}

static int64_t
cpu_time(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

/* True when the piece is one huge page. */
static bool
move(struct settler *s, struct mem *m, gpa_t piece)
{
	uint8_t *host = mem_put(m, piece, MEM_PIECE);
	int64_t begin;
	bool moved;

	if (host == NULL || !is_populated(host))
		return false;
	s->saved = s->saved + WORTH > SAVED_MAX ? SAVED_MAX : s->saved + WORTH;
	if (s->saved <= 0)
		return false;
	begin = cpu_time();
	moved = madvise(host, MEM_PIECE, MADV_COLLAPSE) == 0;
	s->refused = s->refused || (!moved && errno == EINVAL);
	s->saved -= cpu_time() - begin;
	return moved;
}

static void *
settler_thread(void *arg)
{
	struct settler *s = arg;
	struct mem *m;
	gpa_t piece;
	bool done;

	prctl(PR_SET_NAME, "settler");
	pthread_mutex_lock(&s->lock);
	while (!s->quit) {
		if (s->n == 0) {
			pthread_cond_wait(&s->wake, &s->lock);
			continue;
		}
		s->n--;
		m = s->moving = s->waiting[s->n].mem;
		piece = s->waiting[s->n].piece;
		pthread_mutex_unlock(&s->lock);
		done = move(s, m, piece);
		mem_settled(m, piece, done);
		pthread_mutex_lock(&s->lock);
		s->moving = NULL;
		pthread_cond_broadcast(&s->moved);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

struct settler *
settler_open(void)
{
	struct settler *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pthread_cond_init(&s->moved, NULL);
	if (pthread_create(&s->thread, NULL, settler_thread, s) == 0)
		return s;
	free(s);
	return NULL;
}

void
settler_close(struct settler *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void
settler_add(struct settler *s, struct mem *m)
{
	if (s != NULL)
		mem_settle_by(m, s);
}

void
settler_remove(struct settler *s, struct mem *m)
{
	unsigned i, n = 0;

	if (s == NULL)
		return;
	mem_settle_by(m, NULL);
	pthread_mutex_lock(&s->lock);
	for (i = 0; i < s->n; i++)
		if (s->waiting[i].mem != m)
			s->waiting[n++] = s->waiting[i];
	s->n = n;
	while (s->moving == m)
		pthread_cond_wait(&s->moved, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void
settler_ask(struct settler *s, struct mem *m, gpa_t piece)
{
	bool room;

	pthread_mutex_lock(&s->lock);
	room = s->n < WAITING_MAX && !s->refused;
	if (room) {
		s->waiting[s->n].mem = m;
		s->waiting[s->n++].piece = piece;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	if (!room)
		mem_settled(m, piece, false);
}
