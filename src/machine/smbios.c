/* SPDX-License-Identifier: Apache-2.0 */
/* machine/smbios.c - SMBIOS 2.8 tables (DMTF DSP0134): BIOS, system, chassis, processor, memory array. */
#include "machine/smbios.h"

#include "machine/aml.h"
#include <string.h>

enum { ENTRY_SIZE = 31, ENTRY_ROOM = 32, ENTRY_DMI = 16, HEADER = 4, PARAGRAPH = 16 };
enum { T_bios = 0, T_system = 1, T_chassis = 3, T_processor = 4, T_memory_array = 16, T_boot = 32, T_end = 127 };
enum { BIOS_NO_CHARACTERISTICS = 1 << 3, BIOS2_ACPI = 1 << 0, BIOS2_VIRTUAL = 1 << 4 /* second byte */ };
enum { UNKNOWN = 2, OTHER = 1, SAFE = 3, POWER_SWITCH = 6, CPU_CENTRAL = 3, CPU_ENABLED = 0x41, FAMILY_OTHER = 1,
	NO_HANDLE = 0xffff, USE_SYSTEM_MEMORY = 3, ON_BOARD = 3 };

struct tables {
	struct aml out;			/* used for its bounded writer of numbers */
	size_t start, largest;		/* of the structure being written; of all */
	unsigned count;
};

static void
begin(struct tables *t, uint8_t type, uint8_t body)
{
	t->start = t->out.len;
	aml_put(&t->out, type, 1);
	aml_put(&t->out, HEADER + (uint64_t)body, 1);
	aml_put(&t->out, t->count++, 2);	/* handle */
}

/* The strings that the structure counts from 1, NULL behind the last. */
static void
end(struct tables *t, const char *const *strings)
{
	if (strings == NULL)
		aml_put(&t->out, 0, 1);
	for (; strings != NULL && *strings != NULL; strings++)
		aml_bytes(&t->out, *strings, strlen(*strings) + 1);
	aml_put(&t->out, 0, 1);
	if (t->out.len - t->start > t->largest)
		t->largest = t->out.len - t->start;
}

static void
zeros(struct tables *t, unsigned n)
{
	while (n-- > 0)
		aml_put(&t->out, 0, 1);
}

static void
bios(struct tables *t)
{
	static const char *const strings[] = { "Regent", "regent-1", "11/22/2026", NULL };

	begin(t, T_bios, 0x14);
	aml_put(&t->out, 1, 1);			/* vendor, version */
	aml_put(&t->out, 2, 1);
	aml_put(&t->out, 0xf000, 2);		/* segment */
	aml_put(&t->out, 3, 1);			/* date */
	aml_put(&t->out, 0, 1);			/* 64 KiB */
	aml_put(&t->out, BIOS_NO_CHARACTERISTICS, 8);
	aml_put(&t->out, BIOS2_ACPI, 1);
	aml_put(&t->out, BIOS2_VIRTUAL, 1);
	aml_put(&t->out, 0xffff0001, 4);	/* release 1.0, no embedded controller */
	end(t, strings);
}

static void
board_system(struct tables *t)
{
	static const char *const strings[] = { "Regent", "Virtual Machine", "regent-1", NULL };

	begin(t, T_system, 0x17);
	aml_put(&t->out, 0x030201, 3);		/* manufacturer, product, version */
	aml_put(&t->out, 0, 1);
	zeros(t, 16);				/* no UUID */
	aml_put(&t->out, POWER_SWITCH, 1);
	zeros(t, 2);
	end(t, strings);
}

static void
chassis(struct tables *t)
{
	static const char *const strings[] = { "Regent", NULL };

	begin(t, T_chassis, 0x12);
	aml_put(&t->out, 1, 1);
	aml_put(&t->out, OTHER, 1);
	zeros(t, 3);
	for (unsigned i = 0; i < 3; i++)	/* boot-up, power supply and thermal states */
		aml_put(&t->out, SAFE, 1);
	aml_put(&t->out, UNKNOWN, 1);		/* security */
	zeros(t, 9);
	end(t, strings);
}

static void
processor(struct tables *t, unsigned cpus)
{
	static const char *const strings[] = { "CPU 0", "Regent", NULL };
	unsigned shown = cpus > 0xfe ? 0xfe : cpus;

	begin(t, T_processor, 0x26);
	aml_put(&t->out, 1, 1);
	aml_put(&t->out, CPU_CENTRAL, 1);
	aml_put(&t->out, FAMILY_OTHER, 1);
	aml_put(&t->out, 2, 1);
	zeros(t, 8 + 1 + 1 + 6);		/* id, version, voltage, clocks */
	aml_put(&t->out, CPU_ENABLED, 1);
	aml_put(&t->out, OTHER, 1);		/* socket */
	for (unsigned i = 0; i < 3; i++)	/* no cache tables */
		aml_put(&t->out, NO_HANDLE, 2);
	zeros(t, 3);
	aml_put(&t->out, shown, 1);		/* cores: there, enabled, threads */
	aml_put(&t->out, shown, 1);
	aml_put(&t->out, shown, 1);
	aml_put(&t->out, 4, 2);			/* 64-bit capable */
	aml_put(&t->out, FAMILY_OTHER, 2);
	end(t, strings);
}

static void
memory_array(struct tables *t, uint64_t memory)
{
	begin(t, T_memory_array, 0x13);
	aml_put(&t->out, ON_BOARD, 1);
	aml_put(&t->out, USE_SYSTEM_MEMORY, 1);
	aml_put(&t->out, UNKNOWN, 1);		/* error correction */
	aml_put(&t->out, 0x80000000, 4);	/* the size is in the last field */
	aml_put(&t->out, 0xfffe, 2);
	aml_put(&t->out, 0, 2);			/* no memory device tables */
	aml_put(&t->out, memory, 8);
	end(t, NULL);
}

static uint8_t
checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n-- > 0)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static void
entry_point(uint8_t *p, const struct tables *t, uint64_t gpa)
{
	struct aml a = { .buf = p, .room = ENTRY_ROOM };

	aml_bytes(&a, "_SM_", 4);
	aml_put(&a, 0, 1);
	aml_put(&a, ENTRY_SIZE, 1);
	aml_put(&a, 0x0802, 2);			/* 2.8 */
	aml_put(&a, t->largest, 2);
	aml_put(&a, 0, 6);
	aml_bytes(&a, "_DMI_", 5);
	aml_put(&a, 0, 1);
	aml_put(&a, t->out.len - ENTRY_ROOM, 2);
	aml_put(&a, gpa + ENTRY_ROOM, 4);
	aml_put(&a, t->count, 2);
	aml_put(&a, 0x28, 1);
	p[ENTRY_DMI + 5] = checksum(p + ENTRY_DMI, ENTRY_SIZE - ENTRY_DMI);
	p[4] = checksum(p, ENTRY_SIZE);
}

size_t
smbios_build(uint8_t *buf, size_t room, uint64_t gpa, uint64_t memory, unsigned cpus)
{
	struct tables t = { .out = { .buf = buf, .room = room } };

	zeros(&t, ENTRY_ROOM);
	bios(&t);
	board_system(&t);
	chassis(&t);
	processor(&t, cpus);
	memory_array(&t, memory);
	begin(&t, T_boot, 7);
	zeros(&t, 7);				/* six reserved; no errors detected */
	end(&t, NULL);
	begin(&t, T_end, 0);
	end(&t, NULL);
	if (t.out.full)
		return 0;
	entry_point(buf, &t, gpa);
	return t.out.len;
}
