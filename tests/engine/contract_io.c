/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/contract_io.c - what every engine must do with ports and device memory: each size and direction,
 * read-modify-write, strings, and what stops a run.
 */
#include "engine/engines.h"

#define CODE(g, bytes) rig_code(g, bytes, sizeof(bytes) - 1)

enum { LOG = 32 };

static struct io logged[LOG];
static unsigned nlogged;
static uint8_t memory[64];		/* the device's */

/* A device that remembers what it was asked, with 64 bytes of memory; ports answer from it, too. */
static enum io_result
device_io(struct cpu *c, struct io *io)
{
	size_t at = (size_t)(io->addr & 63);

	(void)c;
	if (!io->write)
		io->data = 0;
	for (unsigned i = 0; i < io->size; i++)
		if (io->write)
			memory[(at + i) & 63] = (uint8_t)(io->data >> 8 * i);
		else
			io->data |= (uint64_t)memory[(at + i) & 63] << 8 * i;
	if (nlogged < LOG)
		logged[nlogged++] = *io;
	return io->port && io->addr == RIG_STOP_PORT ? IO_stop : IO_done;
}

static const struct cpu_ops device_ops = { .io = device_io, .tsc = rig_tsc };

/* The linear address RIG_MEMORY leads behind the end of RAM. */
static struct rig *
device_open(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	g->cpu.ops = &device_ops;
	rig_put(g, RIG_TABLES + 0x2000 + 8 * (RIG_MEMORY >> 21), (uint64_t)RIG_MEMORY | 0xe7, 8);
	nlogged = 0;
	for (unsigned i = 0; i < sizeof(memory); i++)
		memory[i] = (uint8_t)(0x11 + i);
	return g;
}

static void
expect(unsigned n, bool port, bool write, uint64_t addr, unsigned size, uint64_t data)
{
	CHECK(n < nlogged);
	CHECK_EQ(logged[n].port, port);
	CHECK_EQ(logged[n].write, write);
	CHECK_EQ(logged[n].addr, addr);
	CHECK_EQ(logged[n].size, size);
	CHECK_EQ(logged[n].data & (size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1), data);
}

/* in al,dx; in ax,dx; in eax,dx; out dx,al; out dx,ax; out dx,eax; hlt */
static void
ports_of_all_sizes(void)
{
	struct rig *g = device_open();

	CODE(g, "\xec\x66\xed\xed\xee\x66\xef\xef\xf4");
	g->cpu.r.rdx = 0x100;
	g->cpu.r.rax = 0xaaaaaaaabbbbbbbb;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(nlogged, 6);
	expect(0, true, false, 0x100, 1, 0x11);
	expect(1, true, false, 0x100, 2, 0x1211);
	expect(2, true, false, 0x100, 4, 0x14131211);
	expect(3, true, true, 0x100, 1, 0x11);
	expect(4, true, true, 0x100, 2, 0x1211);
	expect(5, true, true, 0x100, 4, 0x14131211);
	CHECK_EQ(g->cpu.r.rax, 0x14131211);	/* 32 bits clear the upper half */
	rig_close(g);
}

/* in al,dx leaves the rest of rax, in ax,dx the rest but 16 bits */
static void
small_reads_keep_the_rest(void)
{
	struct rig *g = device_open();

	CODE(g, "\xec\xf4");
	g->cpu.r.rax = 0xaaaaaaaabbbbbbbb;
	g->cpu.r.rdx = 0;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax, 0xaaaaaaaabbbbbb11);
	CODE(g, "\x66\xed\xf4");
	g->cpu.r.rip = RIG_CODE;
	g->cpu.r.rdx = 2;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax, 0xaaaaaaaabbbb1413);
	rig_close(g);
}

/* mov al,[rsi]; mov bx,[rsi+2]; mov ecx,[rsi+4]; mov rdx,[rsi+8]; mov [rsi+16],dl; mov [rsi+18],dx;
 * mov [rsi+20],edx; mov [rsi+24],rdx; hlt */
static void
memory_of_all_sizes(void)
{
	struct rig *g = device_open();

	CODE(g, "\x8a\x06\x66\x8b\x5e\x02\x8b\x4e\x04\x48\x8b\x56\x08\x88\x56\x10\x66\x89\x56\x12\x89\x56\x14\x48\x89\x56\x18\xf4");
	g->cpu.r.rsi = RIG_MEMORY;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->cpu.r.rax & 0xff, 0x11);
	CHECK_EQ(g->cpu.r.rbx & 0xffff, 0x1413);
	CHECK_EQ(g->cpu.r.rcx, 0x18171615);
	CHECK_EQ(g->cpu.r.rdx, 0x201f1e1d1c1b1a19);
	CHECK_EQ(nlogged, 8);
	expect(0, false, false, RIG_MEMORY, 1, 0x11);
	expect(1, false, false, RIG_MEMORY + 2, 2, 0x1413);
	expect(3, false, false, RIG_MEMORY + 8, 8, 0x201f1e1d1c1b1a19);
	expect(4, false, true, RIG_MEMORY + 16, 1, 0x19);
	expect(5, false, true, RIG_MEMORY + 18, 2, 0x1a19);
	expect(6, false, true, RIG_MEMORY + 20, 4, 0x1c1b1a19);
	expect(7, false, true, RIG_MEMORY + 24, 8, 0x201f1e1d1c1b1a19);
	rig_close(g);
}

/* add [rsi],eax; xchg [rsi+8],rbx; inc byte [rsi+16]; or word [rsi+18],0xf; hlt: a read and a write each */
static void
reads_modifies_writes(void)
{
	struct rig *g = device_open();

	CODE(g, "\x01\x06\x48\x87\x5e\x08\xfe\x46\x10\x66\x83\x4e\x12\x0f\xf4");
	g->cpu.r.rsi = RIG_MEMORY;
	g->cpu.r.rax = 1;
	g->cpu.r.rbx = 0x55;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(memory[0], 0x12);
	CHECK_EQ(g->cpu.r.rbx, 0x201f1e1d1c1b1a19);
	CHECK_EQ(memory[8], 0x55);
	CHECK_EQ(memory[15], 0);
	CHECK_EQ(memory[16], 0x22);
	CHECK_EQ(memory[18], 0x2f);
	CHECK_EQ(nlogged, 8);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(logged[i].write, i & 1);
	rig_close(g);
}

/* mov ecx,4; rep outsb; mov ecx,2; rep insd; hlt: RAM to port, port to RAM, in order */
static void
strings_to_and_from_ports(void)
{
	struct rig *g = device_open();

	CODE(g, "\xb9\x04\x00\x00\x00\xf3\x6e\xb9\x02\x00\x00\x00\xf3\x6d\xf4");
	rig_put(g, RIG_DATA, 0x04030201, 4);
	g->cpu.r.rsi = RIG_DATA;
	g->cpu.r.rdi = RIG_DATA + 16;
	g->cpu.r.rdx = 0x120;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(nlogged, 6);
	for (unsigned i = 0; i < 4; i++)
		expect(i, true, true, 0x120, 1, i + 1);
	CHECK_EQ(rig_get(g, RIG_DATA + 16, 8), 0x3433320434333204);
	CHECK_EQ(g->cpu.r.rsi, RIG_DATA + 4);
	CHECK_EQ(g->cpu.r.rdi, RIG_DATA + 24);
	CHECK_EQ(g->cpu.r.rcx, 0);
	rig_close(g);
}

/* mov ecx,3; rep movsd to the device; then from it; hlt */
static void
strings_to_and_from_memory(void)
{
	struct rig *g = device_open();

	CODE(g, "\xb9\x03\x00\x00\x00\xf3\xa5\xbe\x00\x00\x40\x00\xbf\x20\x00\x03\x00\xb9\x03\x00\x00\x00\xf3\xa5\xf4");
	for (unsigned i = 0; i < 3; i++)
		rig_put(g, RIG_DATA + 4 * i, 0x01010101 * (i + 1), 4);
	g->cpu.r.rsi = RIG_DATA;
	g->cpu.r.rdi = RIG_MEMORY;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(memory[11], 3);
	CHECK_EQ(rig_get(g, RIG_DATA + 32, 8), 0x0202020201010101);
	CHECK_EQ(rig_get(g, RIG_DATA + 40, 4), 0x03030303);
	rig_close(g);
}

/* mov [rsi-2],eax: half in RAM, half in the device */
static void
writes_across_the_end_of_ram(void)
{
	struct rig *g = device_open();

	CODE(g, "\x89\x46\xfe\xf4");
	g->cpu.r.rsi = RIG_MEMORY;
	g->cpu.r.rax = 0x44332211;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(rig_get(g, RIG_MEMORY - 2, 2), 0x2211);
	CHECK_EQ(memory[0], 0x33);
	CHECK_EQ(memory[1], 0x44);
	rig_close(g);
}

/* in al,0xf4 stops the run, with al loaded and rip behind it */
static void
a_stop_completes_the_read(void)
{
	struct rig *g = device_open();

	CODE(g, "\xe4\xf4\xf4");
	CHECK_EQ(rig_run(g), EXIT_stop);
	CHECK_EQ(g->cpu.r.rax & 0xff, memory[0xf4 & 63]);
	CHECK_EQ(g->cpu.r.rip, RIG_CODE + 2);
	CHECK_EQ(rig_run(g), EXIT_hlt);
	rig_close(g);
}

int
main(void)
{
	static const struct engine_case cases[] = {
		CASE(ports_of_all_sizes), CASE(small_reads_keep_the_rest), CASE(memory_of_all_sizes),
		CASE(reads_modifies_writes), CASE(strings_to_and_from_ports), CASE(strings_to_and_from_memory),
		CASE(writes_across_the_end_of_ram), CASE(a_stop_completes_the_read),
	};

	run_on_engines(cases, sizeof(cases) / sizeof(cases[0]));
	return check_done();
}
