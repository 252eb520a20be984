/* SPDX-License-Identifier: Apache-2.0 */
/* cli/json_where.h - line and column of a value in a JSON text that has been parsed before. */
#pragma once

struct json_place { unsigned line, column; };

/* One step of the way down: a member of an object by key, or an element of an array. */
struct json_step { const char *key; unsigned index; };

/* Where the value that steps[0..n) lead to begins (a member: its key). As far as the way exists. */
struct json_place json_where(const char *text, const struct json_step *steps, unsigned n);
