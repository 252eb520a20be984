/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/api/regent.c - the library as a host program uses it: open, run, pause, registers, end. */
#include "regent.h"
#include "check.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOAD = 0x200000, CODE = LOAD + 32 };

/* inc ecx; jmp back: counts for ever */
static const uint8_t counting[] = { 0x41, 0xeb, 0xfd };
/* mov al, 0x15; out 0xf4, al; jmp $ */
static const uint8_t leaving[] = { 0xb0, 0x15, 0xe6, 0xf4, 0xeb, 0xfe };
/* mov dx, 0x3f8; mov al, 'R'; out dx, al; mov al, 2; out 0xf4, al; jmp $ */
static const uint8_t saying[] = { 0x66, 0xba, 0xf8, 0x03, 0xb0, 'R', 0xee, 0xb0, 2, 0xe6, 0xf4, 0xeb, 0xfe };

static char path[32];
static int kernel_fd;

/* A multiboot kernel of that code, as a file. */
static const char *
kernel(const uint8_t *code, size_t n)
{
	uint32_t h[8] = { 0x1badb002, 1 << 16, 0u - 0x1badb002 - (1 << 16), LOAD, LOAD, 0, 0, CODE };

	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	if (kernel_fd < 0 || write(kernel_fd, h, sizeof(h)) != sizeof(h) || write(kernel_fd, code, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", kernel_fd);
	return path;
}

static struct regent_vm *
open_vm(const char *engine, const uint8_t *code, size_t n)
{
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *vm;

	cfg.kernel = kernel(code, n);
	cfg.engine = engine;
	cfg.memory = 16 << 20;
	cfg.serial = REGENT_SERIAL_null;
	cfg.debug_exit_port = 0xf4;
	CHECK_EQ(regent_open(&vm, &cfg), 0);
	close(kernel_fd);
	return vm;
}

static uint64_t
reg(struct regent_vm *vm, const char *name)
{
	uint64_t val = 0;

	CHECK_EQ(regent_reg_get(vm, 0, (unsigned)regent_reg_id(name), &val), 0);
	return val;
}

static void
each_engine(void (*test)(const char *engine))
{
	const char *name;

	for (unsigned i = 0; (name = regent_engine_name(i)) != NULL; i++)
		if (strcmp(name, "kvm") != 0)
			test(name);
}

static void
ends(const char *engine)
{
	struct regent_stats st = { .size = sizeof(st) };
	struct regent_vm *vm = open_vm(engine, leaving, sizeof(leaving));

	CHECK_EQ(reg(vm, "rip"), CODE);
	CHECK_EQ(regent_start(vm), 0);
	CHECK_EQ(regent_start(vm), -REGENT_E_state);
	CHECK_EQ(regent_wait(vm), REGENT_END_debug_exit);
	CHECK_EQ(regent_exit_status(vm), 0x15 << 1 | 1);
	CHECK_EQ(reg(vm, "rax") & 0xff, 0x15);
	CHECK_EQ(regent_stats(vm, &st), 0);
	CHECK(strcmp(st.engine, engine) == 0 && st.nexits > 0 && st.seconds > 0);
	regent_close(vm);
}

static void guest_ends_with_its_status(void) { each_engine(ends); }

static void
pauses(const char *engine)
{
	struct regent_vm *vm = open_vm(engine, counting, sizeof(counting));
	uint64_t before, val = 0;

	CHECK_EQ(regent_start(vm), 0);
	usleep(20000);
	CHECK_EQ(regent_reg_get(vm, 0, 0, &val), -REGENT_E_state);
	CHECK_EQ(regent_pause(vm), 0);
	before = reg(vm, "rcx");
	CHECK(before != 0);
	usleep(10000);
	CHECK_EQ(reg(vm, "rcx"), before);
	CHECK(reg(vm, "rip") >= CODE && reg(vm, "rip") < CODE + sizeof(counting));
	CHECK_EQ(regent_reg_set(vm, 0, (unsigned)regent_reg_id("rcx"), 0), 0);
	CHECK_EQ(regent_reg_set(vm, 0, (unsigned)regent_reg_id("rip"), CODE), 0);
	CHECK_EQ(reg(vm, "rcx"), 0);
	CHECK_EQ(regent_reg_set(vm, 0, (unsigned)regent_reg_id("cr4"), ~0ull), -REGENT_E_usage);
	CHECK_EQ(regent_resume(vm), 0);
	usleep(20000);
	CHECK_EQ(regent_pause(vm), 0);
	CHECK(reg(vm, "rcx") != 0);
	CHECK_EQ(regent_resume(vm), 0);
	CHECK_EQ(regent_stop(vm), 0);
	CHECK_EQ(regent_wait(vm), REGENT_END_stopped);
	regent_close(vm);
}

static void registers_of_a_paused_guest(void) { each_engine(pauses); }

static void
closes_running(const char *engine)
{
	struct regent_vm *vm = open_vm(engine, counting, sizeof(counting));

	CHECK_EQ(regent_start(vm), 0);
	regent_close(vm);
}

static void closing_stops_a_running_guest(void) { each_engine(closes_running); }

static void
console_on_descriptors(void)
{
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *vm;
	char got[8] = "";
	int p[2];

	CHECK(pipe(p) == 0);
	cfg.kernel = kernel(saying, sizeof(saying));
	cfg.memory = 16 << 20;
	cfg.serial = REGENT_SERIAL_fd;
	cfg.serial_out = p[1];
	cfg.debug_exit_port = 0xf4;
	CHECK_EQ(regent_open(&vm, &cfg), 0);
	CHECK_EQ(regent_start(vm), 0);
	CHECK_EQ(regent_wait(vm), REGENT_END_debug_exit);
	CHECK_EQ(read(p[0], got, sizeof(got)), 1);
	CHECK_EQ(got[0], 'R');
	regent_close(vm);
	close(kernel_fd), close(p[0]), close(p[1]);
}

static void
guest_memory(void)
{
	struct regent_vm *vm = open_vm("interp", counting, sizeof(counting));
	uint8_t byte = 0;

	CHECK_EQ(regent_mem_read(vm, CODE, &byte, 1), 0);
	CHECK_EQ(byte, 0x41);
	byte = 0x90;
	CHECK_EQ(regent_mem_write(vm, CODE, &byte, 1), 0);
	byte = 0;
	CHECK_EQ(regent_mem_read(vm, CODE, &byte, 1), 0);
	CHECK_EQ(byte, 0x90);
	CHECK_EQ(regent_mem_read(vm, 16 << 20, &byte, 1), -REGENT_E_usage);
	CHECK_EQ(regent_mem_write(vm, UINT64_MAX, &byte, 1), -REGENT_E_usage);
	regent_close(vm);
}

static void
names_and_errors(void)
{
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *vm;

	for (unsigned id = 0; id < regent_reg_count(); id++)
		CHECK_EQ(regent_reg_id(regent_reg_name(id)), id);
	CHECK(regent_reg_name(regent_reg_count()) == NULL);
	CHECK_EQ(regent_reg_id("r99"), -REGENT_E_noreg);
	for (int e = 0; e <= REGENT_E_internal; e++)
		CHECK(strlen(regent_strerror(-e)) > 5 && strlen(regent_advice(-e)) > 5);
	CHECK(regent_strerror(-12345) != NULL);
	CHECK_EQ(regent_open(&vm, &cfg), -REGENT_E_usage);
	CHECK(vm == NULL && strstr(regent_open_error(), "--kernel") != NULL);
	regent_close(NULL);
}

/* An old program's smaller struct: what it does not know has its default. */
static void
smaller_config_is_accepted(void)
{
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *vm;

	cfg.size = offsetof(struct regent_config, boot);
	cfg.boot = "nonsense beyond the size";
	cfg.kernel = kernel(counting, sizeof(counting));
	cfg.memory = 16 << 20;
	cfg.serial = REGENT_SERIAL_null;
	CHECK_EQ(regent_open(&vm, &cfg), 0);
	regent_close(vm);
	close(kernel_fd);
}

int
main(void)
{
	RUN(names_and_errors);
	RUN(guest_ends_with_its_status);
	RUN(registers_of_a_paused_guest);
	RUN(closing_stops_a_running_guest);
	RUN(console_on_descriptors);
	RUN(guest_memory);
	RUN(smaller_config_is_accepted);
	return check_done();
}
