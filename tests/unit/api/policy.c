/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/api/policy.c - policy and trace as a host program uses them: questions, records, changes while it runs. */
#include "regent.h"
#include "check.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LOAD = 0x200000, CODE = LOAD + 32 };

/* mov eax, cr0; xor eax, 8; mov cr0, eax; mov eax, cr0; and eax, 8; shl eax, 1; or al, 5; out 0xf4, al; jmp $
 * The status tells whether CR0.TS was set: 5 or 0x15, as (v << 1) | 1. */
static const uint8_t asking[] = { 0x0f, 0x20, 0xc0, 0x83, 0xf0, 0x08, 0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xc0, 0x83, 0xe0, 0x08,
	0xd1, 0xe0, 0x0c, 0x05, 0xe6, 0xf4, 0xeb, 0xfe };
enum { TS_SET = 0x15 << 1 | 1 };
/* mov cr2, eax; inc eax; jmp back */
static const uint8_t writing[] = { 0x0f, 0x22, 0xd0, 0x40, 0xeb, 0xfa };

static struct regent_vm *
open_vm(const char *engine, const uint8_t *code, size_t n, const char *rule)
{
	uint32_t h[8] = { 0x1badb002, 1 << 16, 0u - 0x1badb002 - (1 << 16), LOAD, LOAD, 0, 0, CODE };
	const char *rules[] = { rule, NULL };
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *vm = NULL;
	char path[32];
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (write(fd, h, sizeof(h)) != sizeof(h) || write(fd, code, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cfg.kernel = path;
	cfg.engine = engine;
	cfg.memory = 8 << 20;
	cfg.serial = REGENT_SERIAL_null;
	cfg.debug_exit_port = 0xf4;
	cfg.policy_rules = rules;
	if (regent_open(&vm, &cfg) != 0)
		printf("# %s\n", regent_open_error());
	close(fd);
	return vm;
}

static const char *const engines[] = { "interp", "bt" };
enum { ENGINES = 2 };

static unsigned questions;
static struct regent_access seen;
static char seen_object[32];

static enum regent_answer
at_once(void *ctx, struct regent_vm *vm, const struct regent_access *a)
{
	(void)vm;
	questions++;
	seen = *a;
	snprintf(seen_object, sizeof(seen_object), "%s", a->object);
	return *(enum regent_answer *)ctx;
}

static void
answered_at_once(void)
{
	for (unsigned e = 0; e < ENGINES; e++) {
		enum regent_answer yes = REGENT_ALLOW;
		struct regent_vm *vm = open_vm(engines[e], asking, sizeof(asking), "ask write cr0.ts");

		questions = 0;
		CHECK_EQ(regent_on_register(vm, at_once, &yes), 0);
		CHECK_EQ(regent_start(vm), 0);
		CHECK_EQ(regent_wait(vm), REGENT_END_debug_exit);
		CHECK_EQ(regent_exit_status(vm), TS_SET);
		CHECK_EQ(questions, 1);
		CHECK_EQ(strcmp(seen_object, "cr0"), 0);
		CHECK_EQ(seen.old ^ seen.val, 8);
		CHECK_EQ(seen.rip, CODE + 6);
		CHECK_EQ(seen.cpl, 0);
		regent_close(vm);
	}
}

/* No is #GP, and this guest has no IDT: a triple fault. So is nobody to ask. */
static void
refused(void)
{
	for (unsigned e = 0; e < ENGINES; e++)
		for (unsigned ask = 0; ask < 2; ask++) {
			enum regent_answer no = REGENT_DENY;
			struct regent_vm *vm = open_vm(engines[e], asking, sizeof(asking), "ask write cr0.ts");

			if (ask)
				CHECK_EQ(regent_on_register(vm, at_once, &no), 0);
			CHECK_EQ(regent_start(vm), 0);
			CHECK_EQ(regent_wait(vm), REGENT_END_shutdown);
			regent_close(vm);
		}
}

static pthread_t helper;
static uint64_t question;

static void *
answer_late(void *arg)
{
	struct timespec ts = { 0, 30000000 };

	nanosleep(&ts, NULL);
	CHECK_EQ(regent_answer(arg, 0, question + 7, REGENT_ALLOW), -REGENT_E_state);
	CHECK_EQ(regent_answer(arg, 1, question, REGENT_ALLOW), -REGENT_E_usage);
	CHECK_EQ(regent_answer(arg, 0, question, REGENT_LATER), -REGENT_E_usage);
	CHECK_EQ(regent_answer(arg, 0, question, REGENT_ALLOW), 0);
	return NULL;
}

static enum regent_answer
later(void *ctx, struct regent_vm *vm, const struct regent_access *a)
{
	(void)ctx;
	questions++;
	question = a->id;
	pthread_create(&helper, NULL, answer_late, vm);
	return REGENT_LATER;
}

static void
answered_later(void)
{
	for (unsigned e = 0; e < ENGINES; e++) {
		struct regent_vm *vm = open_vm(engines[e], asking, sizeof(asking), "ask write cr0.ts");

		questions = 0;
		CHECK_EQ(regent_on_register(vm, later, NULL), 0);
		CHECK_EQ(regent_start(vm), 0);
		CHECK_EQ(regent_wait(vm), REGENT_END_debug_exit);
		pthread_join(helper, NULL);
		CHECK_EQ(questions, 1);
		CHECK_EQ(regent_exit_status(vm), TS_SET);
		CHECK_EQ(regent_on_register(vm, NULL, NULL), 0);
		regent_close(vm);
	}
}

/* A vCPU whose question nobody answers does not keep the machine from ending. */
static enum regent_answer
never(void *ctx, struct regent_vm *vm, const struct regent_access *a)
{
	(void)vm, (void)a;
	*(_Atomic bool *)ctx = true;
	return REGENT_LATER;
}

static void
never_answered(void)
{
	for (unsigned e = 0; e < ENGINES; e++) {
		struct regent_vm *vm = open_vm(engines[e], asking, sizeof(asking), "ask write cr0.ts");
		struct timespec ts = { 0, 1000000 };
		_Atomic bool asked = false;

		regent_on_register(vm, never, &asked);
		CHECK_EQ(regent_start(vm), 0);
		while (!asked)
			nanosleep(&ts, NULL);
		CHECK_EQ(regent_stop(vm), 0);
		CHECK_EQ(regent_wait(vm), REGENT_END_stopped);
		regent_close(vm);
	}
}

/* Switched on and off while the guest runs, many times; what is lost is counted. */
static void
trace_while_it_runs(void)
{
	for (unsigned e = 0; e < ENGINES; e++) {
		struct regent_vm *vm = open_vm(engines[e], writing, sizeof(writing), NULL);
		uint64_t next = 0, dropped = 0, before = 0, read = 0;
		struct timespec ts = { 0, 20000000 };
		char line[1024];

		CHECK_EQ(regent_start(vm), 0);
		CHECK_EQ(regent_trace(vm, "nosuch"), -REGENT_E_usage);
		CHECK(strstr(regent_trace_error(), "nosuch") != NULL);
		for (unsigned i = 0; i < 50; i++) {
			CHECK_EQ(regent_trace(vm, "cr2"), 0);
			CHECK_EQ(regent_trace_wait(vm, next, 5000), 1);
			CHECK_EQ(regent_trace_read(vm, &next, 0, line, sizeof(line), &dropped), 1);
			CHECK(strstr(line, "write cr2") != NULL && strstr(line, "rip 0x200020 ") != NULL);
			CHECK_EQ(regent_trace(vm, ""), 0);
		}
		for (unsigned i = 0; i < 200; i++) {	/* a vCPU takes the change between two steps */
			before = regent_trace_count(vm);
			nanosleep(&ts, NULL);
			if (i > 0 && regent_trace_count(vm) == before)
				break;
			CHECK(i < 199);
		}
		CHECK_EQ(regent_trace(vm, "cr*"), 0);
		while (regent_trace_count(vm) < before + 20000)
			nanosleep(&ts, NULL);
		regent_pause(vm);
		while (regent_trace_read(vm, &next, 1, line, sizeof(line), &dropped) == 1)
			read++;
		CHECK_EQ(read, 4096);
		CHECK_EQ(next, regent_trace_count(vm));
		CHECK_EQ(read + dropped + 50, next);
		CHECK(strstr(line, "\"object\": \"cr2\"") != NULL);
		regent_resume(vm);
		regent_close(vm);
	}
}

/* Instructions that became governed while their translations exist. */
static void
governed_while_it_runs(void)
{
	/* rdtsc; jmp back */
	static const uint8_t ticking[] = { 0x0f, 0x31, 0xeb, 0xfc };

	for (unsigned e = 0; e < ENGINES; e++) {
		struct regent_vm *vm = open_vm(engines[e], ticking, sizeof(ticking), NULL);
		struct timespec ts = { 0, 20000000 };
		uint64_t next = 0;
		char line[1024];

		CHECK_EQ(regent_start(vm), 0);
		nanosleep(&ts, NULL);
		CHECK_EQ(regent_trace(vm, "rdtsc"), 0);
		CHECK_EQ(regent_trace_wait(vm, 0, 5000), 1);
		CHECK_EQ(regent_trace_read(vm, &next, 0, line, sizeof(line), NULL), 1);
		CHECK(strstr(line, "execute rdtsc: allowed") != NULL);
		regent_close(vm);
	}
}

static unsigned lines;
static void
count_line(void *ctx, const char *line)
{
	(void)ctx;
	lines += strstr(line, "pin cr4.smep") != NULL;
}

static void
why_of_a_running_vm(void)
{
	struct regent_vm *vm = open_vm("interp", writing, sizeof(writing), "pin cr4.smep");

	lines = 0;
	CHECK_EQ(regent_policy_why_vm(vm, "cr4.smep", count_line, NULL), 0);
	CHECK_EQ(lines, 1);
	CHECK_EQ(regent_policy_why_vm(vm, "nosuch", count_line, NULL), -REGENT_E_noreg);
	regent_close(vm);
}

int
main(void)
{
	RUN(answered_at_once);
	RUN(refused);
	RUN(answered_later);
	RUN(never_answered);
	RUN(trace_while_it_runs);
	RUN(governed_while_it_runs);
	RUN(why_of_a_running_vm);
	return check_done();
}
