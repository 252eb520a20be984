/* SPDX-License-Identifier: Apache-2.0 */
/* leak/leak.c - one guest's registers and memory in another's sight: leak PLANT PROBE
 *
 * Both run on the same thread of a pool, with short quanta. Afterwards the secret must be in the first
 * and nowhere else: not in the other's memory or registers, not in memory that a new machine gets.
 */
#include "check.h"
#include "api/api.h"
#include "mem/mem.h"
#include "vm/sched.h"
#include <stdlib.h>
#include <time.h>

enum { QUANTUM_US = 500, RUN_MS = 700, MEMORY = 32 << 20, ROUNDS_AT = 0x800000, HOARD = 1 << 17 };

static const uint8_t secret[] = { 0xee, 0xff, 0xc0, 0xe7, 0xc2, 0x5e };
static const char *plant, *probe;

static size_t
count(const void *at, size_t size)
{
	const uint8_t *p = at, *end = p + size;
	size_t n = 0;

	while ((p = memmem(p, (size_t)(end - p), secret, sizeof(secret))) != NULL)
		n++, p++;
	return n;
}

static size_t
in_memory(struct vm *vm)
{
	gpa_t base;
	uint64_t size;
	uint8_t *host;
	size_t n = 0;

	for (unsigned i = 0; mem_region(vm->mem, i, &base, &size, &host); i++)
		n += count(host, size);
	return n;
}

static size_t
in_registers(const struct vm *vm)
{
	return count(&vm->vcpu[0]->cpu.r, sizeof(union regfile)) + count(&vm->vcpu[0]->cpu.fpu, sizeof(struct fpu_state));
}

static struct regent_vm *
open_vm(const char *kernel, const char *engine)
{
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *v;

	cfg.kernel = kernel;
	cfg.engine = engine;
	cfg.memory = MEMORY;
	cfg.serial = REGENT_SERIAL_null;
	if (regent_open(&v, &cfg) != 0) {
		printf("# %s\n", regent_open_error());
		abort();
	}
	return v;
}

static void
sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static uint32_t
rounds(struct regent_vm *v)
{
	uint32_t n = 0;

	regent_mem_read(v, ROUNDS_AT, &n, sizeof(n));
	return n;
}

static void
side_by_side(const char *first, const char *second)
{
	struct sched *s = sched_open(1, QUANTUM_US);
	struct regent_vm *a = open_vm(plant, first), *b = open_vm(probe, second), *c;
	struct vm *va = regent_vm_of(a), *vb = regent_vm_of(b);

	CHECK_EQ(sched_start(s, va, 1), 0);
	sleep_ms(RUN_MS / 4);			/* its registers are planted before the other begins */
	CHECK_EQ(sched_start(s, vb, 1), 0);
	for (unsigned i = 0; i < 120 && (rounds(b) < 600 || sched_switches(s) < 200); i++)
		sleep_ms(RUN_MS / 4);
	vm_pause(va);
	vm_pause(vb);
	CHECK(rounds(b) >= 600);			/* all 256 slots, twice */
	CHECK(sched_switches(s) > 100);
	CHECK(in_memory(va) >= HOARD);		/* the test can see it where it is */
	CHECK(in_registers(va) >= 15 + 16 * 4 + 8);	/* general, YMM, x87 */
	CHECK_EQ(in_memory(vb), 0);
	CHECK_EQ(in_registers(vb), 0);
	vm_request_end(va, VM_stopped);
	vm_request_end(vb, VM_stopped);
	vm_wait(va);
	vm_wait(vb);
	regent_close(a);
	regent_close(b);
	c = open_vm(probe, first);		/* new memory, where the old was */
	CHECK_EQ(in_memory(regent_vm_of(c)), 0);
	CHECK_EQ(in_registers(regent_vm_of(c)), 0);
	regent_close(c);
	sched_close(s);
}

static void bt_beside_bt(void) { side_by_side("bt", "bt"); }
static void bt_beside_interp(void) { side_by_side("bt", "interp"); }
static void interp_beside_bt(void) { side_by_side("interp", "bt"); }

/* Guest memory is in no core dump: each mapping of it says so to the kernel. */
static void
memory_is_not_dumped(void)
{
	struct regent_vm *v = open_vm(probe, "interp");
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");
	bool guest = false;
	unsigned maps = 0, marked = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (line[0] < 'A' || line[0] > 'Z')		/* an address: the next mapping */
			guest = strstr(line, "guest-ram") != NULL;
		if (strncmp(line, "VmFlags:", 8) == 0 && guest) {
			maps++;
			marked += strstr(line, " dd") != NULL;
		}
	}
	if (f != NULL)
		fclose(f);
	CHECK(maps > 0);
	CHECK_EQ(maps, marked);
	regent_close(v);
}

int
main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	plant = argv[1];
	probe = argv[2];
	RUN(bt_beside_bt);
	RUN(bt_beside_interp);
	RUN(interp_beside_bt);
	RUN(memory_is_not_dumped);
	return check_done();
}
