/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/engines.c - libFuzzer target: guest programs made from any bytes, on translator and interpreter.
 *
 * The bytes are what tests/engine/agree.h draws its decisions from. A difference is printed and ends
 * the run.
 */
#include "engine/agree_show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct program p;
	struct source s = { .p = data, .end = data + n };
	const char *why;

	if (n < 64)
		return 0;
	if (twin[0] == NULL)
		twins_open();
	isa = data[n - 1] & 1 ? ISA_32 : ISA_64;
	make_program(&s, &p);
	if ((why = disagreement(&p)) != NULL) {
		show(&p, why);
		abort();
	}
	return 0;
}
