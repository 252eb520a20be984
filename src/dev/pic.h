/* SPDX-License-Identifier: Apache-2.0 */
/* dev/pic.h - the pair of 8259 interrupt controllers of a PC, with ELCR. */
#pragma once
#include "vm/bus.h"
#include "vm/irq.h"

enum { PIC_MASTER = 0x20, PIC_SLAVE = 0xa0, PIC_ELCR = 0x4d0 };	/* two ports each */

struct pic_host {
	void (*intr)(void *ctx, bool level);	/* the INTR pin */
	void (*eoi)(void *ctx, unsigned irq);	/* a level-triggered input was acknowledged; may be NULL */
	void *ctx;
};

struct dev *pic_open(struct pic_host host);
void pic_set(struct dev *d, unsigned irq, bool level);	/* input 0-15; 2 is the cascade: ignored */
int pic_ack(struct dev *d);				/* INTA cycle: the vector, spurious ones too */
