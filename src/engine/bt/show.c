/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/show.c - a block that was just written, for `--trace blocks` and perf's map.
 *
 *	block 0xffffffff81000000 kernel 64-bit, mode 0x47c, page 0x1000000: 3 instructions, 61 + 96 bytes
 *	  ffffffff81000000  55              push rbp
 *	    +0x19   4d8d51f8                lea r10, [r9-0x08]
 *	    ...
 *	  cold
 *	    ...
 *	  side: +0x19 ffffffff81000000 native, ...
 */
#include "engine/bt/tr.h"
#include "host/code_log.h"
#include <string.h>

enum { TEXT_MAX = 96, INSN_LEN_MAX = 15, BYTES_WIDE = 20 };

static void
show_bytes(FILE *f, const uint8_t *p, unsigned n)
{
	unsigned k;

	for (k = 0; k < n; k++)
		fprintf(f, "%02x", p[k]);
	fprintf(f, "%*s ", 2 * (int)n < BYTES_WIDE ? BYTES_WIDE - 2 * (int)n : 0, "");
}

static void
show_guest(FILE *f, const struct tr *t, const struct tr_insn *i)
{
	char text[TEXT_MAX] = "?";
	uint64_t rip = tr_rip(t, i);

	insn_text(i->raw, i->in.len, tr_isa(t), rip, text, sizeof(text));
	fprintf(f, "  %llx  ", (unsigned long long)rip);
	show_bytes(f, i->raw, i->in.len);
	fprintf(f, "%s%s%s%s\n", text, i->kind == TK_interp ? "  ; leaves" : "", i->marks & MARK_label ? "  ; label" : "",
		i->marks & MARK_poll ? "  ; polls" : "");
}

/* The call of a gate that leaves, with the number of the exit behind it. */
static unsigned
exit_text(const struct tr *t, const uint8_t *at, char *text, size_t size)
{
	enum { CALL = 0xe8, CALL_LEN = 5 };
	const uint8_t *to;
	int32_t rel;

	if (*at != CALL)
		return 0;
	memcpy(&rel, at + 1, sizeof(rel));
	to = at + CALL_LEN + rel + t->e.to_rx;
	if (to != t->bt->gate_leave_native && to != t->bt->gate_leave_saved)
		return 0;
	snprintf(text, size, "exit %u", (unsigned)(at[5] | at[6] << 8 | at[7] << 16));
	return CALL_LEN + LEFT_BYTES;
}

/* Host code from `at` (in the writable mapping) to `end`. */
static void
show_host(FILE *f, const struct tr *t, const uint8_t *at, const uint8_t *end)
{
	const uint8_t *begin = bt_rw(t->bt, t->b->begin);
	char text[TEXT_MAX];
	unsigned n;

	for (; at < end; at += n) {
		n = exit_text(t, at, text, sizeof(text));
		if (n == 0)
			n = insn_text(at, (size_t)(end - at), ISA_64, (uint64_t)(uintptr_t)(at + t->e.to_rx), text, sizeof(text));
		if (n == 0)
			n = 1;
		fprintf(f, "    +%#-6x ", (unsigned)(at - begin));
		show_bytes(f, at, n);
		fprintf(f, "%s\n", text);
	}
}

static void
show_side_table(FILE *f, const struct tr *t)
{
	const uint32_t *row = t->bt->side + t->b->side;
	unsigned k;

	fputs("  side table: host, guest, flags\n", f);
	for (k = 0; k < t->b->rows; k++)
		fprintf(f, "    +%#-6x %llx %s\n", row[k] >> SIDE_HOST_SHIFT,
			(unsigned long long)(t->pg->vpage + (row[k] & SIDE_OFFSET)), row[k] & SIDE_SAVED ? "saved" : "native");
}

static void
show_block(FILE *f, const struct tr *t)
{
	const struct bt_block *b = t->b;
	const uint8_t *begin = bt_rw(t->bt, b->begin);
	unsigned k;

	flockfile(f);
	fprintf(f, "block %#llx cpu %u %s %s-bit, mode %#x, page %#llx: %u instructions, %u + %u bytes at %p\n",
		(unsigned long long)b->rip, t->c->index, t->mode & BM_user ? "user" : "kernel",
		t->mode & BM_code32 ? "32" : "64", t->mode, (unsigned long long)t->pg->gpa, t->n,
		(unsigned)(t->body_end - begin), b->end - (unsigned)(t->body_end - t->bt->code.rw),
		(const void *)bt_rx(t->bt, b->begin));
	fprintf(f, "  entries: %ssaved +%#x, native +%#x\n", b->land != 0 ? "land, " : "", b->saved - b->begin, b->native - b->begin);
	show_host(f, t, begin, t->i[0].host);
	for (k = 0; k < t->n; k++) {
		show_guest(f, t, &t->i[k]);
		show_host(f, t, t->i[k].host, k + 1 < t->n ? t->i[k + 1].host : t->body_end);
	}
	fputs("  cold\n", f);
	show_host(f, t, t->body_end, bt_rw(t->bt, b->end));
	show_side_table(f, t);
	fputc('\n', f);
	funlockfile(f);
}

void
tr_show(const struct tr *t)
{
	const struct code_log *l = t->c->code_log;
	const struct bt_block *b = t->b;

	if (l->perf != NULL)
		code_log_name(l, bt_rx(t->bt, b->begin), b->end - b->begin, "guest_%s_%#llx", t->mode & BM_user ? "user" : "kernel",
			(unsigned long long)b->rip);
	if (l->trace != NULL)
		show_block(l->trace, t);
}

void
bt_show_gates(const struct bt_state *bt)
{
	const struct code_log *l = bt->c->code_log;

	if (l->perf != NULL)
		code_log_name(l, bt->code.rx, (size_t)(bt->first - bt->code.rw), "bt_gates");
}
