/* SPDX-License-Identifier: Apache-2.0 */
/* unit/cpu/policy.c - the text of policies, which rule decides, and what a guest gets then. */
#include "mmu.h"
#include <stdlib.h>

static char err[256];
static struct policy_record last;
static unsigned records;

static void
note(struct cpu *cpu, struct policy_record *r)
{
	(void)cpu;
	last = *r;
	records++;
}

static enum verdict answer;
static enum verdict
asked(struct cpu *cpu, const struct policy_query *q, const struct policy_rule *r)
{
	(void)cpu, (void)q, (void)r;
	return answer;
}

static const struct cpu_ops ops = { .policy_event = note, .policy_ask = asked };
static _Atomic bool userspace;

static struct policy *
make(const char *text)
{
	struct policy *p = policy_new();

	err[0] = '\0';
	if (policy_add_text(p, "t", text, true, err, sizeof(err)) != 0) {
		policy_free(p);
		return NULL;
	}
	policy_seal(p);
	return p;
}

/* A processor at CPL 0 that obeys text. */
static struct policy *
obey(const char *text)
{
	struct policy *p = make(text);

	if (p == NULL) {
		printf("# %s\n", err);
		abort();
	}
	open_cpu("regent-v1");
	userspace = false;
	c->userspace = &userspace;
	c->user_watch = true;
	c->ops = &ops;
	policy_adopt(c, p);
	records = 0;
	return p;
}

static void
done(struct policy *p)
{
	close_cpu();
	policy_free(p);
}

#define GP(call) do { CHECK_EQ(call, FAULT); CHECK_EQ(c->fault.vec, VEC_gp); CHECK_EQ(c->fault.error, 0); } while (0)
#define UD(call) do { CHECK_EQ(call, FAULT); CHECK_EQ(c->fault.vec, VEC_ud); } while (0)

/* Each is refused with its line and column and a reason that names the trouble. */
static void
bad_text(void)
{
	static const struct { const char *text, *at, *why; } row[] = {
		{ "forbid cr0", "t:1:1:", "no verb" },
		{ "\n\n  pin cr9", "t:3:7:", "nothing has that name" },
		{ "deny", "t:1:5:", "names no register" },
		{ "must", "t:1:5:", "no verb" },
		{ "deny rax", "t:1:6:", "no engine can govern" },
		{ "deny cs_base", "t:1:6:", "no engine can govern" },
		{ "pin cr4.smepp", "t:1:5:", "no bit of that name" },
		{ "pin cr4.64", "t:1:5:", "no bit of that name" },
		{ "pin cr4.", "t:1:5:", "no bit" },
		{ "pin idtr.x", "t:1:5:", "no bits of its own" },
		{ "pin cpuid.avx2", "t:1:5:", "only registers" },
		{ "pin port:0x60", "t:1:5:", "only registers" },
		{ "deny cpuid.avx2", "t:1:6:", "hidden or fixed" },
		{ "deny cpuid.7.ebx.avx", "t:1:6:", "not in this leaf" },
		{ "hide cpuid.nosuch", "t:1:6:", "no leaf number" },
		{ "hide cpuid.7.exx", "t:1:6:", "no register" },
		{ "hide cpuid.7:z.eax", "t:1:6:", "no subleaf" },
		{ "hide cpuid.7.eax.32", "t:1:6:", "no feature" },
		{ "hide cr0.wp", "t:1:6:", "no CPUID feature" },
		{ "hide cpuid.avx2 after userspace", "t:1:6:", "can't be hidden any more" },
		{ "hide init", "t:1:6:", "deny it" },
		{ "fix cr4.smep", "t:1:1:", "needs a value" },
		{ "deny cr4 = 1", "t:1:1:", "only `fix`" },
		{ "fix cr4.smep = 2", "t:1:5:", "does not fit" },
		{ "fix cr4 = zero", "t:1:11:", "no number" },
		{ "fix cr4 =", "t:1:10:", "a number should stand" },
		{ "fix cr4 = 1 = 2", "t:1:13:", "a second value" },
		{ "fix cr4 = 1 cr0", "t:1:13:", "only `after userspace`" },
		{ "fix idtr = 1", "t:1:5:", "two values" },
		{ "fix rdtsc = 1", "t:1:5:", "no value" },
		{ "deny read cr4.smep", "t:1:11:", "only governed when it is written" },
		{ "deny execute cr4", "t:1:14:", "not executed" },
		{ "deny read rdtsc", "t:1:11:", "only executed" },
		{ "pin cr4 after lunch", "t:1:15:", "only `after userspace`" },
		{ "pin cr4 after userspace cr0", "t:1:25:", "nothing may stand behind" },
		{ "deny 0x10-0xf", "t:1:6:", "no MSR number" },
		{ "deny 0x100000000", "t:1:6:", "no MSR number" },
		{ "deny msr:cr4", "t:1:6:", "no MSR number" },
		{ "deny port:0x10000", "t:1:6:", "no port" },
		{ "deny zz*", "t:1:6:", "no register that can be governed" },
		{ "deny c*4", "t:1:6:", "at the end only" },
		{ "deny virtio.nosuch", "t:1:6:", "no such register" },
		{ "ask virtio.status", "t:1:5:", "can't wait" },
		{ "ask init", "t:1:5:", "not asked" },
		{ "deny \x01\xff", "t:1:6:", "nothing has that name" },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct policy *p = make(row[i].text);

		if (p != NULL || strncmp(err, row[i].at, strlen(row[i].at)) != 0 || strstr(err, row[i].why) == NULL) {
			printf("# %s: got %s\n", row[i].text, p != NULL ? "accepted" : err);
			CHECK(false);
		}
		policy_free(p);
	}
}

/* What the issue and the manual promise is understood, with comments, blanks and CRLF. */
static void
good_text(void)
{
	struct policy *p = make("# c\r\n\r\n\tpin cr4.smep cr4.smap cr0.wp after userspace # x\n"
		"deny write ia32_lstar after userspace\nhide cpuid.7.ebx.avx2\nfix ia32_microcode_rev = 0x1\n"
		"must deny read 0x10-0x1f\nlog cr* msr:* port:*\nask write ia32_efer\nallow cpuid\nfix cr4.smep=1\n"
		"pin virtio.queue_desc\nlog virtio.queue*\ndeny execute sgdt sidt\nhide cpuid.0xd:1.eax cpuid.7 cpuid.1.ecx.3\nlog init\npin cr4.20");

	CHECK(p != NULL);
	if (p == NULL)
		printf("# %s\n", err);
	policy_free(p);
}

/* Every word of the vocabulary that is no pattern is a word of the parser. */
static void
vocabulary(void)
{
	char word[96], about[160], text[128];

	for (unsigned n = 0; policy_word(n, word, sizeof(word), about, sizeof(about)); n++) {
		struct policy *p;

		if (strpbrk(word, "*,[") != NULL || strstr(word, "NAME") != NULL || strstr(word, "FEATURE") != NULL)
			continue;
		snprintf(text, sizeof(text), "log %s", word);
		if ((p = make(text)) == NULL) {
			printf("# %s: %s\n", word, err);
			CHECK(false);
		}
		policy_free(p);
	}
}

static void
profiles_are_right(void)
{
	const char *name;

	for (unsigned n = 0; (name = policy_profile_name(n, NULL)) != NULL; n++) {
		struct policy *p = make(policy_profile(name));

		CHECK(p != NULL);
		policy_free(p);
	}
	CHECK(policy_profile("nosuch") == NULL);
}

static void
pin_bits(void)
{
	struct policy *p = obey("pin cr4.smep cr4.smap");
	const uint64_t smep = cr4_smep_MASK, smap = cr4_smap_MASK;

	CHECK_EQ(cr_write(c, 4, 0), OK);
	CHECK_EQ(cr_write(c, 4, smep), OK);
	GP(cr_write(c, 4, 0));
	CHECK_EQ(last.old, smep);
	CHECK_EQ(last.val, 0);
	CHECK_EQ(last.verdict, VERDICT_deny);
	CHECK_EQ(last.rule->line, 1);
	CHECK_EQ(cr_write(c, 4, smep | smap), OK);
	GP(cr_write(c, 4, smap));
	CHECK_EQ(c->r.cr4, smep | smap);
	CHECK_EQ(cr_write(c, 4, smep | smap | cr4_tsd_MASK), OK);
	CHECK_EQ(records, 2);
	done(p);
}

/* From the first entry to CPL 3 on, whatever led there; a processor that INIT took is free until its own. */
static void
after_userspace(void)
{
	struct policy *p = obey("pin cr0.wp after userspace\npin ia32_lstar after userspace\ndeny write ia32_star after userspace");
	const uint64_t pe = 1, wp = cr0_wp_MASK;

	CHECK_EQ(cr_write(c, 0, pe | wp), OK);
	CHECK_EQ(cr_write(c, 0, pe), OK);
	CHECK_EQ(cr_write(c, 0, pe | wp), OK);
	CHECK_EQ(msr_write(c, 0xc0000082, 0x1000), OK);
	CHECK_EQ(msr_write(c, 0xc0000081, 5), OK);
	set_cpl(3);
	CHECK(userspace);
	CHECK(!c->user_watch);
	set_cpl(0);
	GP(cr_write(c, 0, pe));
	CHECK_EQ(msr_write(c, 0xc0000082, 0x1000), OK);	/* pinned to its value */
	GP(msr_write(c, 0xc0000082, 0x2000));
	GP(msr_write(c, 0xc0000081, 5));			/* any write */
	c->user_late = c->user_watch = true;
	CHECK_EQ(cr_write(c, 0, pe), OK);
	set_cpl(3);
	set_cpl(0);
	CHECK_EQ(cr_write(c, 0, pe | wp), OK);
	GP(cr_write(c, 0, pe));
	done(p);
}

/* The last rule that is about a changed bit decides. */
static void
layers(void)
{
	struct policy *p = obey("deny write cr4\nallow cr4.tsd");

	GP(cr_write(c, 4, 0));				/* changes nothing: the whole register's rule */
	CHECK_EQ(cr_write(c, 4, cr4_tsd_MASK), OK);
	GP(cr_write(c, 4, cr4_tsd_MASK | cr4_smep_MASK));
	CHECK_EQ(cr_write(c, 4, 0), OK);
	done(p);
	p = obey("pin cr4.smep\nallow cr4.smep");
	CHECK_EQ(cr_write(c, 4, cr4_smep_MASK), OK);
	CHECK_EQ(cr_write(c, 4, 0), OK);
	CHECK_EQ(records, 0);
	done(p);
}

static void
fixed_values(void)
{
	struct policy *p = obey("fix ia32_ucode_rev = 0x77\nfix cr4.umip = 1\nfix 0x1234 = 9\nfix port:0x80 = 0x55");
	struct io io = { .addr = 0x80, .size = 1, .port = true };
	uint64_t val;
	bool is_done;

	CHECK_EQ(msr_read(c, 0x8b, &val), OK);
	CHECK_EQ(val, 0x77);
	CHECK_EQ(msr_write(c, 0x8b, 0), OK);
	CHECK_EQ(last.verdict, VERDICT_ignore);
	CHECK_EQ(cr_read(c, 4, &val), OK);
	CHECK_EQ(val, cr4_umip_MASK);
	CHECK_EQ(cr_write(c, 4, cr4_umip_MASK | cr4_tsd_MASK), OK);
	CHECK_EQ(c->r.cr4, cr4_tsd_MASK);			/* the true bit stays as it was */
	CHECK_EQ(msr_read(c, 0x1234, &val), OK);
	CHECK_EQ(val, 9);
	CHECK_EQ(msr_write(c, 0x1234, 1), OK);
	GP(msr_read(c, 0x1235, &val));
	CHECK_EQ(policy_port(c, &io, &is_done), OK);
	CHECK(is_done);
	CHECK_EQ(io.data, 0x55);
	done(p);
}

static void
hidden_things(void)
{
	struct policy *p = obey("hide cr8 ia32_pat cpuid.avx2 cr4.smep\nhide 0x1a0\nhide rdpmc port:0x70\nhide cpuid.1.edx.7");
	struct io io = { .addr = 0x6f, .size = 2, .port = true };
	struct cpu_model m = *c->model;
	struct cpuid_regs r;
	char lost[256] = "";
	uint64_t val;
	bool is_done;

	UD(cr_read(c, 8, &val));
	GP(msr_read(c, 0x277, &val));
	GP(msr_read(c, 0x1a0, &val));
	UD(policy_insn(c, PINSN_rdpmc));
	CHECK_EQ(policy_port(c, &io, &is_done), OK);	/* 0x6f-0x70 touches it */
	CHECK(is_done);
	CHECK_EQ(io.data, UINT64_MAX);
	policy_limit(p, &m, lost, sizeof(lost));
	CHECK(!cpu_has(&m, CPUF_avx2));
	CHECK(!cpu_has(&m, CPUF_smep));
	CHECK(!cpu_has(&m, CPUF_pat));
	CHECK(cpu_has(&m, CPUF_avx));
	cpuid_answer(c, 1, 0, &r);
	CHECK_EQ(r.edx >> 7 & 1, 0);
	CHECK_EQ(r.edx >> 6 & 1, 1);
	done(p);
}

/* What no row describes, and the local APIC's MSRs. */
static void
msr_ranges(void)
{
	struct policy *p = obey("deny read 0x10-0x1f\nlog write msr:*");
	uint64_t val;

	GP(msr_read(c, 0x10, &val));
	CHECK_EQ(last.id, REG_ia32_tsc);
	GP(msr_read(c, 0x1b, &val));
	CHECK_EQ(msr_read(c, 0x277, &val), OK);
	records = 0;
	CHECK_EQ(msr_write(c, 0xc0000081, 1), OK);
	CHECK_EQ(records, 1);
	GP(msr_write(c, 0x7777, 1));
	CHECK_EQ(records, 2);
	CHECK_EQ(last.num, 0x7777);
	done(p);
}

static void
tables(void)
{
	struct policy *p = obey("pin idtr after userspace\ndeny execute sidt");

	CHECK_EQ(table_write(c, REG_idtr_base, 0x1000, 0xfff), OK);
	userspace = true;
	GP(table_write(c, REG_idtr_base, 0x2000, 0xfff));
	GP(table_write(c, REG_idtr_base, 0x1000, 0xffe));
	CHECK_EQ(c->r.idtr_base, 0x1000);
	CHECK_EQ(c->r.idtr_limit, 0xfff);
	CHECK_EQ(table_write(c, REG_idtr_base, 0x1000, 0xfff), OK);
	CHECK_EQ(table_write(c, REG_gdtr_base, 0x3000, 0xff), OK);
	GP(policy_insn(c, PINSN_sidt));
	CHECK_EQ(policy_insn(c, PINSN_sgdt), OK);
	CHECK_EQ(c->police_insns, 1u << PINSN_sidt);
	done(p);
}

static void
questions(void)
{
	struct policy *p = obey("ask write cr4.smep");

	answer = VERDICT_wait;
	CHECK_EQ(cr_write(c, 4, cr4_smep_MASK), FAULT);
	CHECK_EQ(c->fault.kind, EVENT_retry);
	CHECK_EQ(records, 0);
	answer = VERDICT_deny;
	GP(cr_write(c, 4, cr4_smep_MASK));
	answer = VERDICT_allow;
	CHECK_EQ(cr_write(c, 4, cr4_smep_MASK), OK);
	CHECK_EQ(records, 2);			/* an answer is always recorded */
	CHECK_EQ(cr_write(c, 4, cr4_smep_MASK | cr4_tsd_MASK), OK);
	CHECK_EQ(records, 2);			/* another bit is not asked about */
	done(p);
}

static void
nothing_costs_nothing(void)
{
	struct policy *p = obey("deny write dr7");
	int id;

	for (id = 0; id < REG__COUNT; id++)
		CHECK_EQ(c->policed[id] != 0, id == REG_dr7 || reg_desc[id].policy == POLICY_log);
	CHECK(!p->x2apic && !p->odd_msrs && !p->cpuid && p->ports == NULL && p->insns == 0);
	policy_adopt(c, NULL);
	CHECK_EQ(c->policed[REG_dr7], 0);
	done(p);
}

/* KVM sees no control registers; software engines see everything. */
static void
engines_are_honest(void)
{
	struct policy *p = make("must pin cr0.wp\ndeny ia32_lstar\nhide cpuid.avx2\ndeny port:0x60\nlog 0x830\nhide cr4.smep");
	static const enum policy_can want[] = { CAN_no, CAN_yes, CAN_hiding, CAN_hiding, CAN_no, CAN_hiding };
	unsigned first = p->nrules - 6;
	const char *why;

	for (unsigned n = 0; n < 6; n++) {
		CHECK_EQ(policy_engine_can("kvm", &p->rule[first + n], &why), want[n]);
		CHECK_EQ(policy_engine_can("bt", &p->rule[first + n], &why), CAN_yes);
	}
	CHECK(p->rule[first].must);
	policy_free(p);
}

int
main(void)
{
	RUN(bad_text);
	RUN(good_text);
	RUN(vocabulary);
	RUN(profiles_are_right);
	RUN(pin_bits);
	RUN(after_userspace);
	RUN(layers);
	RUN(fixed_values);
	RUN(hidden_things);
	RUN(msr_ranges);
	RUN(tables);
	RUN(questions);
	RUN(nothing_costs_nothing);
	RUN(engines_are_honest);
	return check_done();
}
