/* SPDX-License-Identifier: Apache-2.0 */
/* vm/irq.c - interrupt lines: many sources, one level. */
#include "vm/irq.h"
#include <assert.h>
#include <stddef.h>

/* The listener hears changes of the merged level only. */
void
irq_set(struct irq_line *l, unsigned source, bool level)
{
	uint32_t before = l->sources;

	assert(source < 32);
	if (level)
		l->sources |= 1u << source;
	else
		l->sources &= ~(1u << source);
	if ((before != 0) != (l->sources != 0) && l->changed != NULL)
		l->changed(l->ctx, l->n, l->sources != 0);
}

void
irq_pulse(struct irq_line *l, unsigned source)
{
	irq_set(l, source, true);
	irq_set(l, source, false);
}

void
irq_resample(struct irq_line *l)
{
	if (l->resample != NULL)
		l->resample(l->resample_ctx);
}
