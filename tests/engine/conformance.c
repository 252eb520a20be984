/* SPDX-License-Identifier: Apache-2.0 */
/* engine/conformance.c - every user-mode instruction, on random operands, by the host CPU and by interp.
 *
 *	conformance [CASES [SEED [NAME]]]	NAME: an instruction or a family
 *	CONFORMANCE=CASES in the environment does the same for `make check`,
 *	CONFORMANCE_ENGINE=interp-run or bt tries another way of running the instruction
 *
 * Each case runs once natively and once in a guest whose memory looks the same; registers, flags
 * that the manual defines, memory, vector and x87 state and the exception must agree. Prints one
 * line a family and the instructions that no case has reached.
 */
#include "check.h"
#include "conformance/cases.h"
#include "conformance/compare.h"
#include "conformance/native.h"
#include "conformance/guest.h"
#include "conformance/sequences.h"
#include "conformance/skip.h"

#ifndef CONFORMANCE_ENGINE
#define CONFORMANCE_ENGINE "interp"
#endif
enum { DEFAULT_CASES = 250000, SHOWN_MAX = 3, TRIES = 64 };

struct tally {
	uint64_t cases, faults, differ, undefined;	/* undefined: differs in undefined flags only */
};
static struct tally tally[INSN__COUNT];
static const unsigned shown_max = SHOWN_MAX;
static bool verbose;		/* print each case before the guest runs it: for crashes */

static void
print_bytes(const uint8_t *b, unsigned n)
{
	while (n-- > 0)
		printf("%02x", *b++);
}

static void
show(const struct test_case *t, const struct diff *d)
{
	char text[128] = "";

	insn_text(t->bytes, 15, t->mode, t->s.rip, text, sizeof(text));
	printf("# %s%s [", t->mode == ISA_64 ? "" : t->mode == ISA_32 ? "(32) " : "(16) ", insn_info[t->in.id].name);
	print_bytes(t->bytes, t->len);
	printf("] %s: %s %d: host %#" PRIx64 ", interp %#" PRIx64 ", before %#" PRIx64 "\n", text, d->what, d->number, d->host,
		d->guest, d->before);
}

/* ---- one case ---- */

static void
randomize_data(uint8_t *host, uint8_t *guest, uint64_t at)
{
	unsigned off, n = 64;

	if (at < PLACE_DATA || at >= PLACE_DATA + DATA_SIZE)
		return;
	off = (unsigned)(at - PLACE_DATA);
	if (off + n > DATA_SIZE)
		n = DATA_SIZE - off;
	if (rnd_below(4) == 0)
		rnd_extended(host + off < host + DATA_SIZE - 10 ? host + off : host);
	else
		rnd_fill(host + off, n & ~7u);
	memcpy(guest, host, DATA_SIZE);
}

static bool
branches_into_itself(const struct test_case *t)
{
	return t->in.nopnds > 0 && t->in.op[0].kind == OPND_rel && t->in.imm + t->len < t->len;
}

/* A branch into itself or into data: a guest that is not stopped would run what is there. */
static bool
runs_on(const struct test_case *t, const struct state *h)
{
	uint64_t lin = code_lin(t, h->rip);

	if (h->vec != DONE || !(insn_info[t->in.id].flags & IF_branch))
		return false;
	return h->rip - t->s.rip < t->len || (lin >= PLACE_DATA - 16 && lin < PLACE_RO + 4096);
}

static void
run_case(struct test_case *t)
{
	uint8_t *host = (uint8_t *)(uintptr_t)PLACE_DATA, *guest = guest_data();
	struct tally *y = &tally[t->in.id];
	struct state h = t->s, g;
	const struct opnd *m = mem_operand(&t->in);
	struct diff d;

	if (gst.whole && branches_into_itself(t))
		return;
	if (m != NULL && t->in.has_modrm)
		randomize_data(host, guest, is_vsib(m) ? DATA_MID - 32 : data_lin(t, address_of(t)));
	else if (m != NULL || insn_info[t->in.id].flags & IF_stack)
		randomize_data(host, guest, DATA_MID + 64 * rnd_below(8) - 256);
	prepare_memory(t, host, guest);
	memcpy((void *)(uintptr_t)code_lin(t, t->s.rip), t->bytes, 15);
	native_run(&h, t->len, needs_trap(t), repeats(t), t->mode);
	if (gst.whole && runs_on(t, &h)) {
		memcpy(guest, host, DATA_SIZE);
		return;
	}
	if (verbose)
		show(t, &(struct diff){ .what = "now" }), fflush(stdout);
	guest_run(t, &g);
	compare(t, &h, &g, host, guest, &d);
	y->cases++;
	y->faults += h.vec != DONE;
	if (d.what == NULL && (h.rflags ^ g.rflags) & RFLAGS_arith)
		y->undefined++;
	if (d.what != NULL && y->differ++ < shown_max)
		show(t, &d);
	if (memcmp(host, guest, DATA_SIZE) != 0)
		memcpy(guest, host, DATA_SIZE);
}

/* ---- families ---- */

/* The host may have features that the model lacks. */
static bool
guest_has(unsigned id)
{
	return insn_info[id].feature == CPUF_always || cpu_has(&gst.model, (enum cpu_feature)insn_info[id].feature);
}

static const char *
family_of(unsigned id)
{
	const struct insn_info *i = &insn_info[id];

	if (i->flags & IF_x87)
		return "x87";
	if (i->flags & IF_mmx)
		return "mmx";
	if (i->flags & IF_avx)
		return i->name[0] == 'v' && i->name[1] == 'f' ? "fma" : "avx";
	if (i->flags & IF_sse)
		return "sse";
	if (i->flags & IF_string)
		return "string";
	if (i->flags & IF_branch)
		return "branch";
	if (i->flags & IF_stack)
		return "stack";
	if (i->flags & IF_priv)
		return "privileged";
	return "integer";
}

static void
run_insn(const struct forms *fs, unsigned id, uint64_t cases, enum isa_mode mode)
{
	unsigned n = fs->first[id + 1] - fs->first[id], tries;
	static struct test_case t;
	uint64_t i, faults = tally[id].faults, done = tally[id].cases;

	for (i = 0; i < cases && n > 0; i++) {
		/* Exceptions are slow on the host: an instruction that only faults needs few cases. */
		if (i == 200 && tally[id].faults - faults >= (tally[id].cases - done) * 9 / 10)
			return;
		t.mode = mode;
		for (tries = 0; tries < TRIES; tries++)
			if (case_make(&t, &fs->form[fs->first[id] + rnd_below(n)]) && why_skipped(t.in.id) == NULL
			    && case_allowed(&t))
				break;
		if (tries < TRIES)
			run_case(&t);
	}
}

/* ---- sequences ---- */

static struct tally sequences;

static void
show_sequence(const struct sequence *q, const struct diff *d)
{
	unsigned i;

	printf("# sequence [");
	print_bytes(q->all.bytes, q->all.len);
	printf("]\n");
	for (i = 0; i < q->n; i++)
		show(&q->part[i], i + 1 == q->n ? d : &(struct diff){ .what = "" });
}

static void
run_sequence(struct sequence *q)
{
	uint8_t *host = (uint8_t *)(uintptr_t)PLACE_DATA, *guest = guest_data();
	const uint32_t rounds = 3;
	struct test_case *t = &q->all;
	struct state h = t->s, g;
	struct diff d;

	randomize_data(host, guest, SEQ_MEM + 64 * rnd_below(8));
	memcpy(host + 16, &rounds, 4);
	memcpy(guest + 16, &rounds, 4);
	memcpy((void *)(uintptr_t)t->s.rip, t->bytes, t->len);
	native_run(&h, t->len, false, false, ISA_64);
	if (verbose)
		show_sequence(q, &(struct diff){ .what = "now" }), fflush(stdout);
	guest_run(t, &g);
	if (h.vec != DONE)
		seq_stopped_at(q, h.rip);
	compare(t, &h, &g, host, guest, &d);
	sequences.cases++;
	sequences.faults += h.vec != DONE;
	if (d.what != NULL && sequences.differ++ < shown_max)
		show_sequence(q, &d);
	if (memcmp(host, guest, DATA_SIZE) != 0)
		memcpy(guest, host, DATA_SIZE);
}

static void
run_sequences(const struct forms *fs, uint64_t n)
{
	static uint16_t ids[4 * INSN__COUNT];
	static struct sequence q;
	bool whole = gst.whole;
	unsigned nids = 0, id, k;

	for (id = 1; id < INSN__COUNT; id++)	/* integer instructions are few, and more of interest */
		for (k = 0; k < (strcmp(family_of(id), "integer") == 0 ? 4 : 1); k++)
			if (why_skipped(id) == NULL && guest_has(id) && seq_allowed(id) && fs->first[id + 1] > fs->first[id])
				ids[nids++] = (uint16_t)id;
	gst.whole = true;
	while (n-- > 0) {
		seq_make(&q, fs, ids, nids);
		run_sequence(&q);
	}
	gst.whole = whole;
	printf("%s sequences: %" PRIu64 " cases, %" PRIu64 " faults, %" PRIu64 " differences\n",
		sequences.differ ? "not ok" : "ok", sequences.cases, sequences.faults, sequences.differ);
	check_failures += sequences.differ != 0;
}

static const char *only;	/* an instruction or a family */

static bool
chosen(unsigned id)
{
	return why_skipped(id) == NULL && guest_has(id) && (only == NULL || strcmp(only, insn_info[id].name) == 0
		|| strcmp(only, family_of(id)) == 0);
}

static void
run_all(struct forms *fs, uint64_t cases, enum isa_mode mode)
{
	unsigned id, ids = 0;

	for (id = 1; id < INSN__COUNT; id++)
		ids += fs->first[id + 1] > fs->first[id] && chosen(id);
	for (id = 1; id < INSN__COUNT && ids > 0; id++)
		if (chosen(id))
			run_insn(fs, id, (mode != ISA_64 && insn_info[id].flags & IF_no64 ? 4 : 1) * (cases / ids + 1), mode);
}

static void
report(void)
{
	static const char *const families[] = { "integer", "string", "branch", "stack", "privileged", "x87", "mmx",
		"sse", "avx", "fma" };
	unsigned i, id, missing = 0;
	uint64_t total = 0, undefined = 0, differ = 0;

	for (i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		struct tally sum = { 0 };
		unsigned ids = 0, bad = 0;

		for (id = 1; id < INSN__COUNT; id++) {
			if (tally[id].cases == 0 || strcmp(family_of(id), families[i]) != 0)
				continue;
			ids++;
			bad += tally[id].differ != 0;
			sum.cases += tally[id].cases;
			sum.faults += tally[id].faults;
			sum.differ += tally[id].differ;
			if (tally[id].differ != 0)
				printf("#   %s: %" PRIu64 " of %" PRIu64 " differ\n", insn_info[id].name,
					tally[id].differ, tally[id].cases);
			undefined += tally[id].undefined;
		}
		if (ids == 0)
			continue;
		printf("%s %s: %u instructions, %" PRIu64 " cases, %" PRIu64 " faults", bad ? "not ok" : "ok", families[i],
			ids, sum.cases, sum.faults);
		printf(bad ? ", %" PRIu64 " differences in %u instructions\n" : "\n", sum.differ, bad);
		total += sum.cases;
		differ += sum.differ;
		check_failures += bad != 0;
	}
	for (id = 1; id < INSN__COUNT && only == NULL; id++)
		if (tally[id].cases == 0 && why_skipped(id) == NULL && guest_has(id)) {
			printf("# no case: %s\n", insn_info[id].name);
			missing++;
		}
	if (only == NULL)
		printf("%s coverage: %u instructions without a case\n", missing ? "not ok" : "ok", missing);
	check_failures += missing != 0;
	for (id = 1; id < INSN__COUNT; id++)
		if (tally[id].undefined != 0)
			printf("# flags undefined by the manual differ: %s, %" PRIu64 " of %" PRIu64 "\n", insn_info[id].name,
				tally[id].undefined, tally[id].cases);
	printf("# %" PRIu64 " cases, %" PRIu64 " differences, %" PRIu64 " with other undefined flags\n", total, differ,
		undefined);
}

int
main(int argc, char **argv)
{
	const char *env = getenv("CONFORMANCE"), *engine = getenv("CONFORMANCE_ENGINE");
	uint64_t cases = env != NULL ? strtoull(env, NULL, 0) : DEFAULT_CASES, seed = 1;
	struct forms fs;

	if (argc > 1)
		cases = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		only = argv[3];
	rnd_state = seed * 0x9e3779b97f4a7c15 + 88172645463325252;
	if (!native_open()) {
		printf("skip conformance: the host gives no memory at fixed places\n");
		return 0;
	}
	verbose = getenv("CONFORMANCE_VERBOSE") != NULL;
	if (engine == NULL)
		engine = CONFORMANCE_ENGINE;
	flags_lost_at_faults = strcmp(engine, "bt") == 0;
	if (!guest_open(engine)) {
		printf("%s guest: engine %s does not open\n", strcmp(engine, "bt") == 0 ? "skip" : "not ok", engine);
		return strcmp(engine, "bt") != 0;
	}
	printf("# engine %s, seed %" PRIu64 "\n", engine, seed);
	forms_find(&fs, ISA_64);
	printf("# 64-bit: %u forms\n", fs.n);
	run_all(&fs, cases, ISA_64);
	if (only == NULL || strcmp(only, "sequences") == 0)
		run_sequences(&fs, only == NULL ? cases / 8 : cases);
	free(fs.form);
	forms_find(&fs, ISA_32);
	printf("# 32-bit: %u forms\n", fs.n);
	run_all(&fs, cases / 2, ISA_32);
	free(fs.form);
	if (native_open16()) {
		forms_find(&fs, ISA_16);
		printf("# 16-bit: %u forms\n", fs.n);
		run_all(&fs, cases / 4, ISA_16);
		free(fs.form);
	}
	report();
	return check_done();
}
