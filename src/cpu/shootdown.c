/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/shootdown.c - taking write entries away from the TLBs of all vCPUs of a memory.
 *
 *	cpu_code_protect                        another vCPU
 *	  set MEM_code                            in guest code: leaves it for ATT_tlb, serves
 *	  drop own write entries                  outside: serves in cpu_guest_enter
 *	  post a request to each other
 *	  wait for each: served, or outside
 *	  set MEM_sealed
 *
 * From MEM_code on nobody makes a new write entry for the page, so a request need not be repeated.
 * Who waits serves its own requests meanwhile: two may shoot at each other.
 */
#include "cpu/paging.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

struct mem_cpus {
	pthread_mutex_t lock;		/* list, and the request lists of its members */
	struct cpu *first;
	pthread_mutex_t split;
};

/* Guards every mem_cpus pointer's coming and going. */
static pthread_mutex_t joining = PTHREAD_MUTEX_INITIALIZER;

static struct mem_cpus *
others(const struct cpu *c)
{
	return *mem_cpus(c->mem);
}

int
shootdown_join(struct cpu *c)
{
	struct mem_cpus **slot = mem_cpus(c->mem);

	pthread_mutex_lock(&joining);
	if (*slot == NULL && (*slot = calloc(1, sizeof(**slot))) != NULL) {
		pthread_mutex_init(&(*slot)->lock, NULL);
		pthread_mutex_init(&(*slot)->split, NULL);
	}
	if (*slot != NULL) {
		pthread_mutex_lock(&(*slot)->lock);
		c->paging_state->next = (*slot)->first;
		(*slot)->first = c;
		pthread_mutex_unlock(&(*slot)->lock);
	}
	pthread_mutex_unlock(&joining);
	return *slot == NULL ? -1 : 0;
}

void
shootdown_leave(struct cpu *c)
{
	struct mem_cpus **slot = mem_cpus(c->mem), *set = *slot;
	struct cpu **p;

	pthread_mutex_lock(&joining);
	pthread_mutex_lock(&set->lock);
	for (p = &set->first; *p != c; p = &(*p)->paging_state->next)
		;
	*p = c->paging_state->next;
	pthread_mutex_unlock(&set->lock);
	if (set->first == NULL) {
		pthread_mutex_destroy(&set->lock);
		pthread_mutex_destroy(&set->split);
		free(set);
		*slot = NULL;
	}
	pthread_mutex_unlock(&joining);
}

void
shootdown_split_lock(struct cpu *c)
{
	pthread_mutex_lock(&others(c)->split);
}

void
shootdown_split_unlock(struct cpu *c)
{
	pthread_mutex_unlock(&others(c)->split);
}

void
cpu_shootdown_serve(struct cpu *c)
{
	struct paging_state *s = c->paging_state;
	gpa_t pages[SHOOT_PAGES];
	unsigned n, i;
	uint64_t asked;

	if (atomic_load(&s->asked) == atomic_load(&s->served))
		return;
	pthread_mutex_lock(&others(c)->lock);
	asked = atomic_load(&s->asked);
	n = s->shoots;
	for (i = 0; i < n && i < SHOOT_PAGES; i++)
		pages[i] = s->shoot[i];
	s->shoots = 0;
	pthread_mutex_unlock(&others(c)->lock);
	if (n > SHOOT_PAGES)
		tlb_drop_writes(c, NULL);
	else
		for (i = 0; i < n; i++)
			tlb_drop_writes(c, mem_get(c->mem, pages[i], PAGE_SIZE));
	atomic_store(&s->served, asked);
}

/* Under the registry's lock. */
static void
post(struct cpu *c, gpa_t page)
{
	struct paging_state *s = c->paging_state;

	if (s->shoots < SHOOT_PAGES)
		s->shoot[s->shoots] = page;
	if (s->shoots <= SHOOT_PAGES)
		s->shoots++;
	atomic_fetch_add(&s->asked, 1);
	cpu_ask(c, ATT_tlb);
}

static void
shoot(struct cpu *c, gpa_t page)
{
	struct mem_cpus *set = others(c);
	struct cpu *o;
	uint64_t ticket;

	pthread_mutex_lock(&set->lock);
	for (o = set->first; o != NULL; o = o->paging_state->next)
		if (o != c)
			post(o, page);
	pthread_mutex_unlock(&set->lock);
	/* The list changes only while no vCPU runs. A later request than ours does no harm. */
	for (o = set->first; o != NULL; o = o->paging_state->next) {
		ticket = atomic_load(&o->paging_state->asked);
		while (o != c && atomic_load(&o->in_guest) && atomic_load(&o->paging_state->served) < ticket) {
			cpu_shootdown_serve(c);
			sched_yield();
		}
	}
}

void
cpu_code_protect(struct cpu *c, gpa_t gpa)
{
	enum { DONE = MEM_code | MEM_sealed };
	gpa_t page = gpa & PAGE_MASK;
	const uint8_t *host = mem_get(c->mem, page, PAGE_SIZE);

	if (host == NULL || (mem_page_flags(c->mem, page) & DONE) == DONE)
		return;
	do {
		mem_page_set(c->mem, page, MEM_code);
		tlb_drop_writes(c, host);
		shoot(c, page);
	} while (!mem_page_seal(c->mem, page));
}

void
cpu_guest_enter(struct cpu *c)
{
	atomic_exchange(&c->in_guest, 1);
	cpu_shootdown_serve(c);
}

void
cpu_guest_leave(struct cpu *c)
{
	atomic_store(&c->in_guest, 0);
}
