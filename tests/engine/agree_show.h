/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/agree_show.h - a program on which the engines disagree, made small and printed. */
#pragma once
#include "engine/agree.h"

/* Chunk n has gone. */
static void
unpatch(struct program *p, unsigned n)
{
	unsigned i;

	for (i = 0; i < p->n; i++) {
		struct chunk *k = &p->chunk[i];

		if (k->patches > (int)n)
			k->patches--;
		else if (k->patches == (int)n)
			*k = (struct chunk){ .patches = -1 };
	}
}

/* Leave out what the difference does not need. */
static void
shrink(struct program *p)
{
	static struct program less;
	unsigned i;

	for (i = p->n; i-- > 0; ) {
		less = *p;
		memmove(&less.chunk[i], &less.chunk[i + 1], (less.n - i - 1) * sizeof(less.chunk[0]));
		less.n--;
		unpatch(&less, i);
		layout(&less);
		if (disagreement(&less) != NULL)
			*p = less;
	}
}

static void
show_memory(void)
{
	gpa_t at;
	unsigned shown = 0;

	for (at = 0; at < RIG_MEMORY && shown < 6; at += 8)
		if (rig_get(twin[0], at, 8) != rig_get(twin[1], at, 8) && shown++ < 6)
			printf("#   [%lx] bt %016" PRIx64 " interp %016" PRIx64 "\n", at, rig_get(twin[0], at, 8),
			    rig_get(twin[1], at, 8));
}

static void
show_state(const struct program *p)
{
	unsigned i;

	for (i = 0; i < REG__COUNT; i++)
		if (twin[0]->cpu.r.v[i] != twin[1]->cpu.r.v[i])
			printf("#   %-8s bt %016" PRIx64 " interp %016" PRIx64 "\n", reg_desc[i].name,
			    twin[0]->cpu.r.v[i], twin[1]->cpu.r.v[i]);
	for (i = 0; i < 16; i++)
		if (memcmp(twin[0]->cpu.fpu.xmm[i], twin[1]->cpu.fpu.xmm[i], 16) != 0)
			printf("#   xmm%u differs\n", i);
	printf("#   vectors %d, %d; mxcsr %x, rflags %" PRIx64 "%s%s\n", rig_vector(twin[0]), rig_vector(twin[1]),
	    p->mxcsr, p->flags, p->user ? ", user" : "", p->counted ? ", counted" : "");
	show_memory();
}

static void
show_code(const struct program *p)
{
	char text[96];
	unsigned at, n, i;

	for (at = 0; at < p->len; at += n) {
		n = insn_text(p->code + at, p->len - at, p->isa, RIG_CODE + p->offset + at, text, sizeof(text));
		if (n == 0)
			break;
		printf("#   %x  ", RIG_CODE + p->offset + at);
		for (i = 0; i < 15; i++)
			printf(i < n ? "%02x" : "  ", p->code[at + i]);
		printf("  %s\n", text);
	}
	for (i = 0; i < 16; i += 2)
		printf("#   gpr %2u %016" PRIx64 "  %016" PRIx64 "\n", i, p->gpr[i], p->gpr[i + 1]);
}

static void
show(struct program *p, const char *why)
{
	printf("# %s differs\n", why);
	difference(p);
	show_state(p);
	shrink(p);
	why = difference(p);
	printf("# what is left of it: %s differs\n", why == NULL ? "nothing" : why);
	show_code(p);
	show_state(p);
	fflush(stdout);
}
