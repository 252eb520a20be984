/* SPDX-License-Identifier: Apache-2.0 */
/* vm/trace_text.h - a record of the register trace for people and for programs. */
#pragma once
#include "cpu/policy.h"

enum { TRACE_TEXT = 512 };

/* One line without its end. p: the VM's policy, for the names of sources. */
void trace_text(const struct policy *p, const struct policy_record *r, char *buf, size_t size);
void trace_json(const struct policy *p, const struct policy_record *r, char *buf, size_t size);
void trace_object(const struct policy_record *r, char *buf, size_t size);	/* "cr4", "msr:0x1b", "port:0xcf9" */
const char *trace_verdict(const struct policy_record *r);	/* "allowed", "refused", ... */
