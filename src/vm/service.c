/* SPDX-License-Identifier: Apache-2.0 */
/* vm/service.c - the thread that fires the timers of any number of VMs. */
#include "vm/service.h"

#include "mem/settle.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

enum { NS_PER_S = 1000000000 };

struct service {
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* an earlier deadline, or quit */
	pthread_cond_t fired;		/* `firing` has changed */
	pthread_t thread;
	struct heap due;		/* VMs by their next deadline, host's monotonic ns */
	unsigned vms;
	struct vm *firing;		/* whose timers run now */
	uint64_t sleeps_until;		/* 0: awake */
	bool quit;
	struct settler *settler;	/* owned; NULL: none could be had */
};

static uint64_t
host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Put the VM where its next deadline belongs. VM's lock and ours held. */
static void
place(struct service *s, struct vm *vm)
{
	uint64_t next = clock_next(vm->clock), now = clock_now(vm->clock), at;

	if (next == UINT64_MAX) {
		heap_remove(&s->due, &vm->due);
		return;
	}
	at = host_ns() + (next > now ? next - now : 0);
	heap_put(&s->due, &vm->due, at);
	if (at < s->sleeps_until)
		pthread_cond_signal(&s->wake);
}

/* Lock held; it is given up meanwhile. */
static void
fire(struct service *s, struct vm *vm)
{
	heap_remove(&s->due, &vm->due);
	s->firing = vm;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&vm->lock);
	clock_run(vm->clock);
	pthread_mutex_lock(&s->lock);
	if (vm->end == VM_running)
		place(s, vm);
	pthread_mutex_unlock(&vm->lock);
	s->firing = NULL;
	pthread_cond_broadcast(&s->fired);
}

static void
sleep_until(struct service *s, uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };

	s->sleeps_until = ns;
	if (ns == UINT64_MAX)
		pthread_cond_wait(&s->wake, &s->lock);
	else
		pthread_cond_timedwait(&s->wake, &s->lock, &ts);
	s->sleeps_until = 0;
}

static void *
service_thread(void *arg)
{
	struct service *s = arg;
	struct heap_node *first;

	prctl(PR_SET_NAME, "service");
	prctl(PR_SET_TIMERSLACK, 1);
	pthread_mutex_lock(&s->lock);
	while (!s->quit) {
		first = heap_first(&s->due);
		if (first != NULL && first->key <= host_ns())
			fire(s, first->of);
		else
			sleep_until(s, first != NULL ? first->key : UINT64_MAX);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

struct service *
service_open(void)
{
	struct service *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	vm_cond_init(&s->wake);
	vm_cond_init(&s->fired);
	if (pthread_create(&s->thread, NULL, service_thread, s) == 0) {
		s->settler = settler_open();
		return s;
	}
	free(s);
	return NULL;
}

void
service_close(struct service *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	settler_close(s->settler);
	heap_close(&s->due);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->fired);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int
service_add(struct service *s, struct vm *vm)
{
	int err;

	pthread_mutex_lock(&vm->lock);
	pthread_mutex_lock(&s->lock);
	vm->due.of = vm;
	if ((err = heap_room(&s->due, s->vms + 1)) == 0) {
		s->vms++;
		place(s, vm);
	}
	pthread_mutex_unlock(&s->lock);
	vm->service = err == 0 ? s : NULL;
	pthread_mutex_unlock(&vm->lock);
	if (err == 0)
		settler_add(s->settler, vm->mem);
	return err;
}

void
service_remove(struct service *s, struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->service = NULL;
	pthread_mutex_unlock(&vm->lock);
	settler_remove(s->settler, vm->mem);
	pthread_mutex_lock(&s->lock);
	while (s->firing == vm)
		pthread_cond_wait(&s->fired, &s->lock);
	heap_remove(&s->due, &vm->due);
	s->vms--;
	pthread_mutex_unlock(&s->lock);
}

void
service_note(struct service *s, struct vm *vm)
{
	pthread_mutex_lock(&s->lock);
	place(s, vm);
	pthread_mutex_unlock(&s->lock);
}
