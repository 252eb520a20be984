/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy_objects.c - the words of a policy that name something: registers and their bits, MSR numbers, CPUID
 * leaves, ports, instructions. All of them are made from the tables.
 */
#include "cpu/checks.h"
#include "cpu/cpuid.h"
#include "cpu/policy.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *name, *about; } insn_row[] = {
#define I(name, about) { #name, about },
#include "cpu/policy_insns.def"
#undef I
};

/* Names that people know, for one or two rows. */
static const struct { const char *name; uint16_t first, last; } alias[] = {
	{ "idtr", REG_idtr_base, REG_idtr_limit }, { "gdtr", REG_gdtr_base, REG_gdtr_limit },
	{ "ldtr", REG_ldtr, REG_ldtr_attr }, { "tr", REG_tr, REG_tr_attr },
	{ "efer", REG_ia32_efer, REG_ia32_efer }, { "lstar", REG_ia32_lstar, REG_ia32_lstar },
	{ "cstar", REG_ia32_cstar, REG_ia32_cstar }, { "star", REG_ia32_star, REG_ia32_star },
	{ "fmask", REG_ia32_fmask, REG_ia32_fmask }, { "ia32_fs_base", REG_fs_base, REG_fs_base },
	{ "ia32_gs_base", REG_gs_base, REG_gs_base }, { "ia32_kernel_gs_base", REG_kernel_gs_base, REG_kernel_gs_base },
	{ "ia32_microcode_rev", REG_ia32_ucode_rev, REG_ia32_ucode_rev },
	{ "ia32_bios_sign_id", REG_ia32_ucode_rev, REG_ia32_ucode_rev },
};
static const char *const device_row[] = {
#define C(name, at, size) #name,
#include "cpu/policy_devices.def"
#undef C
};
enum { DEVICE_ROWS = sizeof(device_row) / sizeof(device_row[0]) };
enum { INSNS = sizeof(insn_row) / sizeof(insn_row[0]), ALIASES = sizeof(alias) / sizeof(alias[0]) };

const char *
policy_insn_name(unsigned n, const char **about)
{
	if (n >= INSNS)
		return NULL;
	if (about != NULL)
		*about = insn_row[n].about;
	return insn_row[n].name;
}

/* Registers that engines ask the policy about. The others move in the middle of every instruction. */
static bool
is_governed(int id)
{
	unsigned g = reg_desc[id].group;

	return g == GROUP_ctl || g == GROUP_dbg || g == GROUP_table || g == GROUP_msr || id == REG_fs_base || id == REG_gs_base;
}

/* ---- words ---- */

struct word {
	const char *s;
	size_t len;
	policy_put *put;
	void *ctx;
	char *err;
	size_t size;
};

static bool
is(const char *s, size_t len, const char *name)
{
	return strlen(name) == len && memcmp(s, name, len) == 0;
}

static bool
begins(const struct word *w, const char *prefix)
{
	return w->len > strlen(prefix) && memcmp(w->s, prefix, strlen(prefix)) == 0;
}

/* All of s[0..len) is a number of at most max. */
static bool
number(const char *s, size_t len, uint64_t max, uint64_t *val)
{
	char buf[24], *end;

	if (len == 0 || len >= sizeof(buf) || s[0] < '0' || s[0] > '9')
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	*val = strtoull(buf, &end, 0);
	return *end == '\0' && *val <= max && !(*val == UINT64_MAX && max == UINT64_MAX && len < 18);
}

/* NUMBER, NUMBER-NUMBER or, where all is true, `*`. */
static bool
range(const char *s, size_t len, uint64_t max, uint32_t *first, uint32_t *last)
{
	const char *dash = memchr(s, '-', len);
	size_t n = dash != NULL ? (size_t)(dash - s) : len;
	uint64_t a, b;

	if (is(s, len, "*")) {
		*first = 0;
		*last = (uint32_t)max;
		return true;
	}
	if (!number(s, n, max, &a))
		return false;
	b = a;
	if (dash != NULL && !number(dash + 1, len - n - 1, max, &b))
		return false;
	*first = (uint32_t)a;
	*last = (uint32_t)b;
	return a <= b;
}

static int
bad(const struct word *w, const char *why)
{
	snprintf(w->err, w->size, "%.*s: %s", (int)(w->len > 60 ? 60 : w->len), w->s, why);
	return -1;
}

static int
give(const struct word *w, struct policy_object o)
{
	return w->put(w->ctx, &o) == 0 ? 0 : bad(w, "is one rule too many");
}

static bool
glob(const char *pat, size_t len, const char *name)
{
	if (len == 0)
		return *name == '\0';
	if (*pat == '*')
		return glob(pat + 1, len - 1, name) || (*name != '\0' && glob(pat, len, name + 1));
	return *pat == *name && glob(pat + 1, len - 1, name + 1);
}

static int
regs_by_glob(const struct word *w)
{
	int id, n = 0;

	if (memchr(w->s, '*', w->len) != w->s + w->len - 1)
		return bad(w, "a * may stand at the end only");
	for (id = 0; id < REG__COUNT; id++) {
		if (!is_governed(id) || !glob(w->s, w->len, reg_desc[id].name))
			continue;
		n++;
		if (give(w, (struct policy_object){ .kind = OBJ_reg, .first = (uint32_t)id, .last = (uint32_t)id,
		    .mask = UINT64_MAX }) != 0)
			return -1;
	}
	return n > 0 ? 0 : bad(w, "no register that can be governed begins so");
}

/* The rows of a register's name: false when there is none. */
static bool
reg_rows(const char *s, size_t len, int *first, int *last)
{
	unsigned i;
	int id;

	for (i = 0; i < ALIASES; i++)
		if (is(s, len, alias[i].name)) {
			*first = alias[i].first;
			*last = alias[i].last;
			return true;
		}
	for (id = 0; id < REG__COUNT; id++)
		if (is(s, len, reg_desc[id].name)) {
			*first = *last = id;
			return true;
		}
	return false;
}

static int
reg_bit(const struct word *w, int id, const char *bit, size_t len)
{
	struct policy_object o = { .kind = OBJ_reg, .first = (uint32_t)id, .last = (uint32_t)id };
	uint64_t n;
	unsigned i;

	if (number(bit, len, reg_desc[id].bits - 1u, &n))
		o.mask = 1ull << n;
	for (i = 0; i < bit_desc_count; i++)
		if (bit_desc[i].reg == id && is(bit, len, bit_desc[i].name))
			o.mask = ((1ull << bit_desc[i].len) - 1) << bit_desc[i].at;
	return o.mask != 0 ? give(w, o) : bad(w, "the register has no bit of that name or number");
}

static int
reg_word(const struct word *w)
{
	const char *dot = memchr(w->s, '.', w->len);
	size_t len = dot != NULL ? (size_t)(dot - w->s) : w->len;
	int first, last;

	if (!reg_rows(w->s, len, &first, &last))
		return bad(w, "nothing has that name; see `regent policy vocabulary`");
	if (!is_governed(first) && first != REG_ldtr && first != REG_tr)
		return bad(w, "no engine can govern this register; see `regent policy vocabulary`");
	if (dot == NULL)
		return give(w, (struct policy_object){ .kind = OBJ_reg, .first = (uint32_t)first, .last = (uint32_t)last,
			.mask = UINT64_MAX });
	return first == last ? reg_bit(w, first, dot + 1, w->len - len - 1) : bad(w, "has no bits of its own");
}

/* ---- CPUID: cpuid.FEATURE, cpuid.LEAF[:SUB][.REG[.BIT]] ---- */

static int
feature_by_name(const char *s, size_t len)
{
	unsigned f;

	for (f = CPUF_always + 1; f < CPUF__COUNT; f++)
		if (is(s, len, cpu_feature_name((enum cpu_feature)f)))
			return (int)f;
	return -1;
}

static struct policy_object
feature_object(int f)
{
	struct policy_object o = { .kind = OBJ_cpuid };
	uint32_t leaf, sub;
	unsigned reg, bit;

	cpu_feature_place((enum cpu_feature)f, &leaf, &sub, &reg, &bit);
	o.first = o.last = leaf;
	o.sub = sub;
	o.cpuid_reg = (uint8_t)reg;
	o.mask = 1ull << bit;
	return o;
}

/* The bits within a CPUID register. */
static int
cpuid_bit(const struct word *w, struct policy_object o, const char *s, size_t len)
{
	int f = feature_by_name(s, len);
	struct policy_object is_at;
	uint64_t n;

	if (number(s, len, 31, &n)) {
		o.mask = 1ull << n;
		return give(w, o);
	}
	if (f < 0)
		return bad(w, "no feature of that name; `regent cpus` lists them");
	is_at = feature_object(f);
	if (is_at.first != o.first || is_at.cpuid_reg != o.cpuid_reg || (o.sub != ANY_SUB && o.sub != is_at.sub))
		return bad(w, "the feature is not in this leaf and register; write cpuid.FEATURE");
	return give(w, is_at);
}

static int
cpuid_word(const struct word *w)
{
	static const char *const regs[] = { "eax", "ebx", "ecx", "edx" };
	const char *s = w->s + strlen("cpuid."), *end = w->s + w->len, *dot, *colon;
	struct policy_object o = { .kind = OBJ_cpuid, .cpuid_reg = ANY_REG, .sub = ANY_SUB, .mask = UINT64_MAX };
	uint64_t n;
	int f;

	if ((f = feature_by_name(s, (size_t)(end - s))) >= 0)
		return give(w, feature_object(f));
	dot = memchr(s, '.', (size_t)(end - s));
	dot = dot != NULL ? dot : end;
	colon = memchr(s, ':', (size_t)(dot - s));
	if (!number(s, (size_t)((colon != NULL ? colon : dot) - s), UINT32_MAX, &n))
		return bad(w, "no leaf number and no feature; write cpuid.7.ebx.avx2 or cpuid.avx2");
	o.first = o.last = (uint32_t)n;
	if (colon != NULL && !number(colon + 1, (size_t)(dot - colon - 1), UINT32_MAX - 1, &n))
		return bad(w, "no subleaf number behind the colon");
	o.sub = colon != NULL ? (uint32_t)n : ANY_SUB;
	if (dot == end)
		return give(w, o);
	for (o.cpuid_reg = 0; o.cpuid_reg < 4; o.cpuid_reg++)
		if (end - dot >= 4 && is(dot + 1, 3, regs[o.cpuid_reg]) && (end - dot == 4 || dot[4] == '.'))
			break;
	if (o.cpuid_reg == 4)
		return bad(w, "no register; write eax, ebx, ecx or edx");
	o.mask = UINT32_MAX;
	return end - dot == 4 ? give(w, o) : cpuid_bit(w, o, dot + 5, (size_t)(end - dot - 5));
}

static int
msr_word(const struct word *w, const char *s, size_t len)
{
	struct policy_object o = { .kind = OBJ_msr, .mask = UINT64_MAX };
	int first, last;

	if (range(s, len, UINT32_MAX, &o.first, &o.last))
		return give(w, o);
	if (!reg_rows(s, len, &first, &last) || first != last || reg_desc[first].msr == NOMSR)
		return bad(w, "no MSR number, range or name; write 0x10, 0x10-0x1f or msr:*");
	return give(w, (struct policy_object){ .kind = OBJ_reg, .first = (uint32_t)first, .last = (uint32_t)first,
		.mask = UINT64_MAX });
}

static int
port_word(const struct word *w, const char *s, size_t len)
{
	struct policy_object o = { .kind = OBJ_port, .mask = UINT64_MAX };

	return range(s, len, UINT16_MAX, &o.first, &o.last) ? give(w, o) :
		bad(w, "no port or range; write port:0x60-0x64");
}

/* virtio.NAME, or virtio.queue* and the like. */
static int
device_word(const struct word *w, const char *s, size_t len)
{
	unsigned n, found = 0;

	for (n = 0; n < DEVICE_ROWS; n++)
		if (memchr(s, '*', len) != NULL && s[len - 1] == '*' ? glob(s, len, device_row[n]) : is(s, len, device_row[n])) {
			found++;
			if (give(w, (struct policy_object){ .kind = OBJ_device, .first = n, .last = n, .mask = UINT64_MAX }) != 0)
				return -1;
		}
	return found > 0 ? 0 : bad(w, "virtio devices have no such register; see `regent policy vocabulary`");
}

int
policy_objects(const char *s, size_t len, policy_put *put, void *ctx, char *err, size_t size)
{
	struct word w = { s, len, put, ctx, err, size };
	unsigned i;

	if (len > 0 && s[0] >= '0' && s[0] <= '9')
		return msr_word(&w, s, len);
	if (begins(&w, "msr:"))
		return msr_word(&w, s + 4, len - 4);
	if (begins(&w, "port:"))
		return port_word(&w, s + 5, len - 5);
	if (begins(&w, "virtio."))
		return device_word(&w, s + 7, len - 7);
	if (begins(&w, "cpuid."))
		return cpuid_word(&w);
	if (is(s, len, "init"))
		return give(&w, (struct policy_object){ .kind = OBJ_init, .mask = UINT64_MAX });
	for (i = 0; i < INSNS; i++)
		if (is(s, len, insn_row[i].name))
			return give(&w, (struct policy_object){ .kind = OBJ_insn, .first = i, .last = i, .mask = UINT64_MAX });
	return memchr(s, '*', len) != NULL ? regs_by_glob(&w) : reg_word(&w);
}

/* ---- and back ---- */

unsigned
policy_object_accesses(const struct policy_object *o)
{
	switch (o->kind) {
	case OBJ_reg:
		return o->first == REG_ldtr || o->first == REG_tr ? REG_write : REG_read | REG_write;
	case OBJ_msr:
	case OBJ_port:
	case OBJ_device:
		return REG_read | REG_write;
	case OBJ_cpuid:
		return REG_read;
	default:
		return REG_execute;
	}
}

static void
reg_text(const struct policy_object *o, char *buf, size_t size)
{
	unsigned i;

	for (i = 0; i < ALIASES && o->first != o->last; i++)
		if (alias[i].first == o->first && alias[i].last == o->last)
			snprintf(buf, size, "%s", alias[i].name);
	if (o->first != o->last)
		return;
	snprintf(buf, size, "%s", reg_desc[o->first].name);
	if (o->mask == UINT64_MAX)
		return;
	for (i = 0; i < bit_desc_count; i++)
		if (bit_desc[i].reg == o->first && (((1ull << bit_desc[i].len) - 1) << bit_desc[i].at) == o->mask) {
			snprintf(buf, size, "%s.%s", bit_desc[i].reg_name, bit_desc[i].name);
			return;
		}
	snprintf(buf, size, "%s.%d", reg_desc[o->first].name, __builtin_ctzll(o->mask));
}

static void
cpuid_text(const struct policy_object *o, char *buf, size_t size)
{
	static const char *const regs[] = { ".eax", ".ebx", ".ecx", ".edx", "" };
	struct policy_object at;
	char sub[16] = "";
	unsigned f;

	for (f = CPUF_always + 1; f < CPUF__COUNT; f++) {
		at = feature_object((int)f);
		if (at.first == o->first && at.cpuid_reg == o->cpuid_reg && at.mask == o->mask &&
		    (o->sub == at.sub || o->sub == ANY_SUB)) {
			snprintf(buf, size, "cpuid.%#x%s.%s", o->first, regs[o->cpuid_reg], cpu_feature_name((enum cpu_feature)f));
			return;
		}
	}
	if (o->sub != ANY_SUB)
		snprintf(sub, sizeof(sub), ":%u", o->sub);
	if (o->cpuid_reg == ANY_REG || (o->mask & (o->mask - 1)) != 0)
		snprintf(buf, size, "cpuid.%#x%s%s", o->first, sub, regs[o->cpuid_reg]);
	else
		snprintf(buf, size, "cpuid.%#x%s%s.%d", o->first, sub, regs[o->cpuid_reg], __builtin_ctzll(o->mask));
}

void
policy_object_name(const struct policy_object *o, char *buf, size_t size)
{
	const char *prefix = o->kind == OBJ_port ? "port:" : "msr:";

	switch (o->kind) {
	case OBJ_reg:
		reg_text(o, buf, size);
		break;
	case OBJ_cpuid:
		cpuid_text(o, buf, size);
		break;
	case OBJ_insn:
		snprintf(buf, size, "%s", insn_row[o->first].name);
		break;
	case OBJ_init:
		snprintf(buf, size, "init");
		break;
	case OBJ_device:
		snprintf(buf, size, "virtio.%s", device_row[o->first]);
		break;
	default:
		if (o->first == o->last)
			snprintf(buf, size, "%s%#x", prefix, o->first);
		else
			snprintf(buf, size, "%s%#x-%#x", prefix, o->first, o->last);
	}
}

/* ---- the vocabulary ---- */

static bool
say(char *word, size_t size, char *about, size_t about_size, const char *w, const char *a)
{
	snprintf(word, size, "%s", w);
	snprintf(about, about_size, "%s", a);
	return true;
}

static bool
word_of_reg(int id, char *word, size_t size, char *about, size_t about_size)
{
	const struct reg_desc *d = &reg_desc[id];

	snprintf(word, size, "%s", d->name);
	if (d->msr != NOMSR)
		snprintf(about, about_size, "register, %u bits, MSR %#x", d->bits, d->msr);
	else
		snprintf(about, about_size, "register, %u bits", d->bits);
	return true;
}

bool
policy_word(unsigned n, char *word, size_t size, char *about, size_t about_size)
{
	static const char *const forms[][2] = {
		{ "NAME*", "all registers that begin so" }, { "NAME.BIT", "a bit of a register by name or number" },
		{ "NUMBER, NUMBER-NUMBER", "MSRs by number" }, { "msr:*", "all MSRs" },
		{ "port:NUMBER, port:NUMBER-NUMBER", "I/O ports" }, { "cpuid.FEATURE", "a CPU feature, as `regent cpus` lists them" },
		{ "cpuid.LEAF[:SUB][.REG[.BIT]]", "a CPUID leaf, its register, its bit" },
		{ "init", "INIT interrupts, which give a processor the state after RESET" },
	};
	unsigned i;
	int id;

	if (n < sizeof(forms) / sizeof(forms[0]))
		return say(word, size, about, about_size, forms[n][0], forms[n][1]);
	n -= (unsigned)(sizeof(forms) / sizeof(forms[0]));
	for (i = 0; i < ALIASES; i++)
		if (alias[i].first != alias[i].last && n-- == 0)
			return say(word, size, about, about_size, alias[i].name, "descriptor table or segment, all of it");
	for (id = 0; id < REG__COUNT; id++)
		if (is_governed(id) && n-- == 0)
			return word_of_reg(id, word, size, about, about_size);
	for (i = 0; i < bit_desc_count; i++)
		if (is_governed(bit_desc[i].reg) && n-- == 0) {
			snprintf(word, size, "%s.%s", bit_desc[i].reg_name, bit_desc[i].name);
			snprintf(about, about_size, "%s", bit_desc[i].meaning);
			return true;
		}
	if (n < INSNS)
		return say(word, size, about, about_size, insn_row[n].name, insn_row[n].about);
	n -= (unsigned)INSNS;
	if (n >= DEVICE_ROWS)
		return false;
	snprintf(word, size, "virtio.%s", device_row[n]);
	snprintf(about, about_size, "register of every virtio device");
	return true;
}
