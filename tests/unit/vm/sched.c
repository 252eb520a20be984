/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/vm/sched.c - the pool: shares by weight, sleepers cost nothing, pause, end. */
#include "check.h"
#include "vm/sched.h"
#include <time.h>
#include <unistd.h>

/* Guests that never leave by themselves, and one that halts at once. */
static int
nothing(struct cpu *c)
{
	(void)c;
	return 0;
}

static void
nothing_to_close(struct cpu *c)
{
	(void)c;
}

static int
no_groups(struct cpu *c, uint32_t groups)
{
	(void)c, (void)groups;
	return 0;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int
spin(struct cpu *c, struct vexit *x)
{
	uint64_t from = now_ns();

	while (atomic_load(&c->attention) == 0)
		__builtin_ia32_pause();
	c->retired += now_ns() - from;	/* here: the time it had */
	*x = (struct vexit){ .kind = EXIT_attend, .carried = GROUP_ALL };
	return 0;
}

static int
halt(struct cpu *c, struct vexit *x)
{
	c->retired++;
	*x = (struct vexit){ .kind = EXIT_hlt, .carried = GROUP_ALL };
	return 0;
}

static const struct engine spinner = { .name = "spin", .software = true, .open = nothing, .close = nothing_to_close,
	.store = no_groups, .fetch = no_groups, .run = spin, .step = spin };
static const struct engine halter = { .name = "halt", .software = true, .open = nothing, .close = nothing_to_close,
	.store = no_groups, .fetch = no_groups, .run = halt, .step = halt };

static struct vm *
machine(const struct engine *e)
{
	struct vm_config cfg = { .memory = 1 << 20, .cpus = 1, .engine = e };
	char err[128];

	return vm_open(&cfg, err, sizeof(err));
}

static void
finish(struct vm *vm)
{
	vm_request_end(vm, VM_stopped);
	vm_wait(vm);
	vm_close(vm);
}

enum { SHARES_MS = 600, TRIES = 400, TRY_US = 50000 };

static uint64_t
all_ran(struct vm *const vm[3], uint64_t had[3])
{
	for (unsigned i = 0; i < 3; i++)
		had[i] = sched_ran(vm[i]->vcpu[0]);
	return had[0] + had[1] + had[2];
}

/* Three spinners of weights 1, 2 and 4 on one thread: is each within 5 % of the whole of its share? Of processor time: a
 * busy host takes our thread away. */
static void
shares_follow_weights(void)
{
	struct sched *s = sched_open(1, 2000);
	struct vm *vm[3];
	uint64_t had[3], sum = 0;

	for (unsigned i = 0; i < 3; i++) {
		vm[i] = machine(&spinner);
		CHECK(sched_start(s, vm[i], 1u << i) == 0);
	}
	for (unsigned i = 0; i < TRIES && sum < SHARES_MS * clock_host_khz(); i++) {
		usleep(TRY_US);
		sum = all_ran(vm, had);
	}
	for (unsigned i = 0; i < 3; i++) {
		printf("# weight %u: %llu us\n", 1u << i, (unsigned long long)(had[i] * 1000 / clock_host_khz()));
		CHECK(had[i] * 100 / sum + 5 >= (100u << i) / 7 && had[i] * 100 / sum <= (100u << i) / 7 + 5);
	}
	CHECK(sched_switches(s) > 100);
	for (unsigned i = 0; i < 3; i++)
		finish(vm[i]);
	sched_close(s);
}

static void
the_halted_sleep(void)
{
	struct sched *s = sched_open(2, 2000);
	struct vm *vm = machine(&halter);

	CHECK(sched_start(s, vm, 1) == 0);
	usleep(50000);
	vm_pause(vm);
	CHECK_EQ(vm->vcpu[0]->cpu.retired, 1);
	finish(vm);
	sched_close(s);
}

static void
a_paused_machine_stands_still(void)
{
	struct sched *s = sched_open(1, 1000);
	struct vm *a = machine(&spinner), *b = machine(&spinner);
	uint64_t at;

	CHECK(sched_start(s, a, 1) == 0 && sched_start(s, b, 1) == 0);
	usleep(20000);
	vm_pause(a);
	at = a->vcpu[0]->cpu.retired;
	usleep(50000);
	CHECK_EQ(a->vcpu[0]->cpu.retired, at);
	vm_pause(b);
	CHECK(b->vcpu[0]->cpu.retired > 20000000);
	vm_resume(b);
	vm_resume(a);
	usleep(50000);
	vm_pause(a);
	CHECK(a->vcpu[0]->cpu.retired > at);
	finish(a);
	finish(b);
	sched_close(s);
}

int
main(void)
{
	RUN(shares_follow_weights);
	RUN(the_halted_sleep);
	RUN(a_paused_machine_stands_still);
	return check_done();
}
