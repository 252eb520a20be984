/* SPDX-License-Identifier: Apache-2.0 */
/* control/gdb_regs.c - register numbers and target.xml, made from the register table.
 *
 * gdb knows the features org.gnu.gdb.i386.* by name and wants their registers in its own order
 * (gdb's manual, "i386 Features"); whatever it does not know goes into org.regent.system.
 */
#include "control/gdb_regs.h"

#include "cpu/access.h"
#include "cpu/sysreg.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum gdb_place { PLACE_reg, PLACE_fpu, PLACE_ftag, PLACE_zero };
enum { CORE_COUNT = 24, SEGMENTS_COUNT = 2 };

#define FEATURE_CORE "org.gnu.gdb.i386.core"
#define FEATURE_SSE "org.gnu.gdb.i386.sse"
#define FEATURE_SEGMENTS "org.gnu.gdb.i386.segments"
#define FEATURE_AVX "org.gnu.gdb.i386.avx"
#define FEATURE_SYSTEM "org.regent.system"

static void
add(struct gdb_regs *t, const char *name, unsigned bits, unsigned place, size_t at, const char *type,
    const char *feature)
{
	struct gdb_reg *g = &t->reg[t->count++];

	snprintf(g->name, sizeof(g->name), "%s", name);
	g->bits = (uint8_t)bits;
	g->place = (uint8_t)place;
	g->at = (uint16_t)at;
	g->type = type;
	g->feature = feature;
}

static void
add_numbered(struct gdb_regs *t, const char *stem, const char *tail, unsigned count, unsigned bits,
    size_t at, const char *type, const char *feature)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s%u%s", stem, i, tail);
		add(t, name, bits, PLACE_fpu, at + 16 * i, type, feature);
	}
}

/* The row of the table that has this number in gdb's core set. */
static void
add_core(struct gdb_regs *t, int number, const char *feature)
{
	for (unsigned id = 0; id < REG__COUNT; id++) {
		bool wide = number < 17 || number >= CORE_COUNT;

		if (reg_desc[id].gdb != number)
			continue;
		add(t, number == REG_rflags ? "eflags" : reg_desc[id].name, wide ? 64 : 32, PLACE_reg, id,
		    number == REG_rip ? "code_ptr" : number == REG_rflags ? "i386_eflags" :
		    wide ? "int64" : "int32", feature);
		return;
	}
}

static void
add_x87(struct gdb_regs *t)
{
	static const struct {
		const char *name;
		uint8_t place;
		size_t at;
	} control[] = {
		{ "fctrl", PLACE_fpu, offsetof(struct fpu_state, fcw) },
		{ "fstat", PLACE_fpu, offsetof(struct fpu_state, fsw) },
		{ "ftag", PLACE_ftag, 0 },
		{ "fiseg", PLACE_zero, 0 },
		{ "fioff", PLACE_fpu, offsetof(struct fpu_state, fip) },
		{ "foseg", PLACE_zero, 0 },
		{ "fooff", PLACE_fpu, offsetof(struct fpu_state, fdp) },
		{ "fop", PLACE_fpu, offsetof(struct fpu_state, fop) },
	};

	add_numbered(t, "st", "", 8, 80, offsetof(struct fpu_state, st), "i387_ext", FEATURE_CORE);
	for (unsigned i = 0; i < sizeof(control) / sizeof(control[0]); i++)
		add(t, control[i].name, 32, control[i].place, control[i].at, "int", FEATURE_CORE);
}

static const char sse_types[] =
	"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
	"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
	"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
	"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
	"<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
	"<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
	"<field name=\"uint128\" type=\"uint128\"/></union>";

static void
xml_flags(FILE *f, int reg, const char *id, unsigned size)
{
	fprintf(f, "<flags id=\"%s\" size=\"%u\">", id, size);
	for (unsigned i = 0; i < bit_desc_count; i++)
		if (bit_desc[i].reg == reg)
			fprintf(f, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", bit_desc[i].name,
			    bit_desc[i].at, bit_desc[i].at + bit_desc[i].len - 1u);
	fprintf(f, "</flags>");
}

static int
xml_make(struct gdb_regs *t)
{
	size_t size;
	FILE *f = open_memstream(&t->xml, &size);
	const char *feature = NULL;

	if (f == NULL)
		return -1;
	fprintf(f, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
	    "<architecture>i386:x86-64</architecture>");
	for (unsigned n = 0; n < t->count; n++) {
		const struct gdb_reg *g = &t->reg[n];

		if (feature == NULL || strcmp(feature, g->feature) != 0) {
			fprintf(f, "%s<feature name=\"%s\">", feature == NULL ? "" : "</feature>", g->feature);
			if (strcmp(g->feature, FEATURE_CORE) == 0)
				xml_flags(f, REG_rflags, "i386_eflags", 4);
			if (strcmp(g->feature, FEATURE_SSE) == 0)
				fputs(sse_types, f);
			feature = g->feature;
		}
		fprintf(f, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>", g->name, g->bits,
		    g->type, n);
	}
	fprintf(f, "</feature></target>");
	return fclose(f) == 0 ? 0 : -1;
}

int
gdb_regs_open(struct gdb_regs *t)
{
	t->count = 0;
	for (int n = 0; n < CORE_COUNT; n++)
		add_core(t, n, FEATURE_CORE);
	add_x87(t);
	add_numbered(t, "xmm", "", 16, 128, offsetof(struct fpu_state, xmm), "vec128", FEATURE_SSE);
	add(t, "mxcsr", 32, PLACE_fpu, offsetof(struct fpu_state, mxcsr), "int", FEATURE_SSE);
	for (unsigned n = 0; n < SEGMENTS_COUNT; n++)
		add_core(t, reg_desc[REG_fs_base].gdb + (int)n, FEATURE_SEGMENTS);
	add_numbered(t, "ymm", "h", 16, 128, offsetof(struct fpu_state, ymmh), "uint128", FEATURE_AVX);
	for (unsigned id = 0; id < REG__COUNT; id++)
		if (reg_desc[id].gdb == GDB_XML)
			add(t, reg_desc[id].name, 64, PLACE_reg, id, "int64", FEATURE_SYSTEM);
	return xml_make(t);
}

void
gdb_regs_close(struct gdb_regs *t)
{
	free(t->xml);
	t->xml = NULL;
}

/* The full tag word from the abridged one and the contents (SDM vol. 1, 10.5.1.1). */
static uint32_t
full_tag(const struct fpu_state *f)
{
	unsigned top = f->fsw >> 11 & 7;
	uint32_t tags = 0;

	for (unsigned phys = 0; phys < 8; phys++) {
		const uint8_t *st = f->st[(phys - top) & 7];
		unsigned exp = (st[8] | (unsigned)st[9] << 8) & 0x7fff, tag = 3;
		uint64_t man;

		memcpy(&man, st, sizeof(man));
		if (f->ftw >> phys & 1)
			tag = exp == 0 && man == 0 ? 1 : exp == 0 || exp == 0x7fff || !(man >> 63) ? 2 : 0;
		tags |= tag << (2 * phys);
	}
	return tags;
}

static unsigned
fpu_bytes(const struct gdb_reg *g)
{
	if (g->at <= offsetof(struct fpu_state, fop) && g->at != offsetof(struct fpu_state, ftw))
		return 2;
	return g->bits / 8u;
}

unsigned
gdb_reg_get(const struct gdb_regs *t, const struct cpu *c, unsigned n, uint8_t to[GDB_REG_BYTES])
{
	const struct gdb_reg *g = &t->reg[n];
	uint32_t tag = full_tag(&c->fpu);

	memset(to, 0, GDB_REG_BYTES);
	if (g->place == PLACE_reg)
		memcpy(to, &c->r.v[g->at], g->bits / 8u);
	else if (g->place == PLACE_fpu)
		memcpy(to, (const uint8_t *)&c->fpu + g->at, fpu_bytes(g));
	else if (g->place == PLACE_ftag)
		memcpy(to, &tag, sizeof(tag));
	return g->bits / 8u;
}

bool
gdb_reg_set(const struct gdb_regs *t, struct cpu *c, unsigned n, const uint8_t *from)
{
	const struct gdb_reg *g = &t->reg[n];
	uint64_t val = 0;

	if (g->place == PLACE_fpu) {
		memcpy((uint8_t *)&c->fpu + g->at, from, fpu_bytes(g));
		c->dirty |= GROUP_BIT(GROUP_fpu);
		return true;
	}
	if (g->place != PLACE_reg)
		return false;
	memcpy(&val, from, g->bits / 8u);
	if (reg_guest_write(c, g->at, val) != OK)
		return false;
	c->dirty |= GROUP_BIT(reg_desc[g->at].group);
	tlb_flush_all(c, true);
	cpu_mode_update(c);
	return true;
}
