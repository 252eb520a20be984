/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy.h - register policy: rules, the one function that decides, and what it writes down.
 *
 * Layers lie in one array of rules, the most general first: table defaults, machine, profiles and
 * files, command line. The last rule that has an opinion decides. A compiled policy never changes;
 * a VM that gets another keeps the old one until it closes, since records point into it.
 */
#pragma once
#include "cpu/regs.h"

struct cpu;
struct cpu_model;
struct cpuid_regs;

enum policy_verb { VERB_allow, VERB_deny, VERB_hide, VERB_fix, VERB_pin, VERB_ask, VERB_log, VERB__COUNT };
enum policy_kind { OBJ_reg, OBJ_msr, OBJ_cpuid, OBJ_port, OBJ_insn, OBJ_init, OBJ_device };
enum reg_access { REG_read = 1, REG_write = 2, REG_execute = 4 };

/* Instructions that a policy may govern, beside those that move registers. */
enum policy_insn {
#define I(name, about) PINSN_##name,
#include "cpu/policy_insns.def"
#undef I
	PINSN__COUNT
};

/* What a rule is about. first..last: rows of registers.def, MSR numbers, ports, instructions, or (the
 * same twice) a CPUID leaf; rows of policy_devices.def. mask: which bits; all: the whole register. */
struct policy_object {
	uint8_t kind;			/* enum policy_kind */
	uint8_t cpuid_reg;		/* 0 to 3: EAX to EDX; ANY_REG: all four */
	uint32_t first, last;
	uint32_t sub;			/* CPUID subleaf, or ANY_SUB */
	uint64_t mask;
};
enum { ANY_REG = 4 };
#define ANY_SUB UINT32_MAX

struct policy_rule {
	uint8_t verb, accesses;		/* enum policy_verb; enum reg_access, or-ed */
	bool must, after;		/* after: only once user space has begun */
	uint16_t source, line;		/* policy->source[]; line 0: the source has no lines */
	uint16_t feature;		/* hide: the CPUID feature that goes, or CPUF_always */
	struct policy_object obj;
	uint64_t value;			/* fix */
	char text[144];			/* "pin cr4.smep after userspace" */
};

enum { POLICY_SOURCES = 40 };
struct policy {
	struct policy_rule *rule;	/* owned */
	unsigned nrules, room;
	char *source[POLICY_SOURCES];	/* owned: "hardened", a file's name, "--policy-rule" */
	unsigned nsources;
	struct policy *older;		/* owned: what it replaced */
	unsigned base_rules, base_sources;	/* that its configuration gave; those behind are the trace's */
	/* -- worked out by policy_seal -- */
	uint8_t reg[REG__COUNT];	/* accesses that some rule is about */
	uint32_t insns;			/* bit n: enum policy_insn n */
	bool x2apic;			/* some rule is about MSRs 0x800-0x8ff */
	bool odd_msrs;			/* or about numbers without a row */
	bool cpuid, init, devices;
	uint8_t *ports;			/* owned: bit n of 65536: some rule is about port n; NULL: none */
};

/* One access, and what becomes of it. */
struct policy_query {
	uint8_t kind, access;
	int id;				/* OBJ_reg: row; else -1 */
	uint32_t num;			/* MSR number, port, enum policy_insn, row of policy_devices.def */
	uint32_t count;			/* ports: how many from num on; else 1 */
	uint64_t old;			/* a register's value before a write, or that would be read */
	uint64_t val;			/* of a write; `fix` may change it */
	uint64_t fixed, fix;		/* of a read: bits that show `fix` instead */
};

enum verdict {
	VERDICT_allow, VERDICT_deny, VERDICT_hide,
	VERDICT_ignore,			/* as if done: a write to what is fixed */
	VERDICT_wait			/* the host program is asked: try the instruction again */
};

/* A line of the trace: who, what, when. */
struct policy_record {
	uint64_t seq, tsc, ns, rip, old, val;
	uint32_t num;
	int16_t id;
	uint8_t kind, access, verdict, cpl;
	uint16_t cpu;
	bool read_known;		/* of a read: `val` is what it gave */
	const struct policy_rule *rule;	/* that decided, or asked for the record; lives as long as the VM */
};

/* ---- deciding (policy.c); nothing of libc, no vector register ---- */

/* May the guest do this? Records what `log` asks for and what is refused. */
enum verdict policy_check(struct cpu *c, struct policy_query *q);
/* The same without any effect: the rule that would decide, or NULL (allowed, by no rule). For `why`. */
const struct policy_rule *policy_decides(const struct policy *p, struct policy_query *q, bool userspace);
/* A vCPU is about to run at CPL 3: `after userspace` begins. By cpu_mode_update, while c->user_watch. */
void policy_user_begins(struct cpu *c);
/* CPUID's answer after `hide` and `fix`. */
void policy_cpuid(const struct cpu *c, uint32_t leaf, uint32_t sub, struct cpuid_regs *r);

/* ---- making one (policy_make.c, policy_parse.c) ---- */

struct policy *policy_new(void);			/* with the table's defaults; NULL: no memory */
void policy_free(struct policy *p);			/* and the older ones */
/* Append the rules of text: 0, or -1 with "NAME:LINE:COLUMN: why" in err. lines: number them. */
int policy_add_text(struct policy *p, const char *name, const char *text, bool lines, char *err, size_t size);
int policy_add_rule(struct policy *p, const struct policy_rule *r);	/* -1: no memory */
int policy_add_source(struct policy *p, const char *name);		/* its number, also of one already there; -1 */
int policy_seal(struct policy *p);			/* after the last rule; -1: no memory */
/* The features that `hide` takes out of a model. */
void policy_limit(const struct policy *p, struct cpu_model *m, char *lost, size_t lost_size);
/* From now on c obeys p (NULL: none). True: an engine must forget what it made of code. */
bool policy_adopt(struct cpu *c, const struct policy *p);

/* Objects of one word, which may end in `*`: each goes to put. 0, or -1 with the reason in err. */
typedef int policy_put(void *ctx, const struct policy_object *o);
int policy_objects(const char *word, size_t len, policy_put *put, void *ctx, char *err, size_t size);
/* What may be done to it at all. */
unsigned policy_object_accesses(const struct policy_object *o);
void policy_object_name(const struct policy_object *o, char *buf, size_t size);
/* Every word that an object may be, with its meaning; false behind the last. */
bool policy_word(unsigned n, char *word, size_t size, char *about, size_t about_size);

/* Shipped profiles (policy_profiles.c): text, or NULL. */
const char *policy_profile(const char *name);
const char *policy_profile_name(unsigned n, const char **about);	/* NULL behind the last */

/* ---- what engines can keep (policy_can.c) ---- */
enum policy_can { CAN_yes, CAN_hiding /* by not showing it; no fault */, CAN_partly, CAN_no };
enum policy_can policy_engine_can(const char *engine, const struct policy_rule *r, const char **why);

extern const char *const policy_verb_name[VERB__COUNT];
const char *policy_access_name(unsigned access);
const char *policy_insn_name(unsigned n, const char **about);
