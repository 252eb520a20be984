/* SPDX-License-Identifier: Apache-2.0 */
/* vm/trace.h - the register trace: a bounded ring of records that policy rules ask for.
 *
 * Writers never wait for readers: the oldest record goes, and who reads too slowly is told how many.
 */
#pragma once
#include "cpu/policy.h"

enum { TRACE_RECORDS = 4096 };

struct trace;
struct trace *trace_open(void);		/* NULL: no memory */
void trace_close(struct trace *t);

void trace_put(struct trace *t, struct policy_record *r);	/* gives r->seq; any thread */
/* Up to max records from *next on, which then is the next one's number. *dropped: how many were gone. */
unsigned trace_get(struct trace *t, uint64_t *next, struct policy_record *out, unsigned max, uint64_t *dropped);
uint64_t trace_seq(struct trace *t);	/* the next record's number: how many there were */
/* Records' rules of `from` become those of `to` with the same index below common, others NULL. */
void trace_rebase(struct trace *t, const struct policy *from, const struct policy *to, unsigned common);
/* Wait until there is a record *next or ms have passed. */
void trace_wait(struct trace *t, uint64_t next, unsigned ms);
