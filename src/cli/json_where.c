/* SPDX-License-Identifier: Apache-2.0 */
/* cli/json_where.c - line and column of a value in a JSON text that has been parsed before.
 *
 * The parser tells where text is no JSON, but not where a value that we do not like was. This walks
 * the same text, which is known to be well formed, and keeps count.
 */
#include "cli/json_where.h"
#include <stdbool.h>
#include <string.h>

struct cursor {
	const char *p;
	struct json_place at;
};

static void
step(struct cursor *c)
{
	bool tail = (*c->p & 0xc0) == 0x80;	/* of a UTF-8 sequence: no column of its own */

	if (*c->p == '\n')
		c->at = (struct json_place){ c->at.line + 1, 1 };
	else if (!tail)
		c->at.column++;
	c->p++;
}

static void
skip_space(struct cursor *c)
{
	while (*c->p != '\0' && strchr(" \t\r\n", *c->p) != NULL)
		step(c);
}

static void
skip_string(struct cursor *c)
{
	step(c);
	while (*c->p != '\0' && *c->p != '"') {
		if (*c->p == '\\')
			step(c);
		step(c);
	}
	step(c);
}

/* A whole value: brackets are counted, strings jumped over. */
static void
skip_value(struct cursor *c)
{
	unsigned depth = 0;

	skip_space(c);
	while (*c->p != '\0') {
		if (depth == 0 && strchr(",]}", *c->p) != NULL)
			return;
		if (*c->p == '"') {
			skip_string(c);
			continue;
		}
		depth += *c->p == '[' || *c->p == '{';
		depth -= *c->p == ']' || *c->p == '}';
		step(c);
	}
}

/* The cursor stands on a key; is it that one? Keys with escapes are never ours. */
static bool
key_is(const struct cursor *c, const char *key)
{
	size_t n = strlen(key);

	return strncmp(c->p + 1, key, n) == 0 && c->p[n + 1] == '"';
}

/* From the bracket to the wanted member or element; false, and the cursor as it was: there is none. */
static bool
descend(struct cursor *c, const struct json_step *s, struct json_place *found)
{
	struct cursor was = *c;
	unsigned i;

	step(c);
	for (i = 0;; i++) {
		skip_space(c);
		if (*c->p == ']' || *c->p == '}' || *c->p == '\0')
			break;
		*found = c->at;
		if (s->key == NULL && i == s->index)
			return true;
		if (s->key != NULL && *c->p == '"' && key_is(c, s->key)) {
			skip_string(c);
			skip_space(c);
			step(c);	/* the colon */
			skip_space(c);
			return true;
		}
		skip_value(c);
		if (*c->p == ',')
			step(c);
	}
	*c = was;
	return false;
}

struct json_place
json_where(const char *text, const struct json_step *steps, unsigned n)
{
	struct cursor c = { text, { 1, 1 } };
	struct json_place found;

	skip_space(&c);
	found = c.at;
	for (unsigned i = 0; i < n && (*c.p == '[' || *c.p == '{'); i++) {
		struct json_place at = found;

		if (!descend(&c, &steps[i], &at))
			break;
		found = at;
	}
	return found;
}
