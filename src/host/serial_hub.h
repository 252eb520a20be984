/* SPDX-License-Identifier: Apache-2.0 */
/* host/serial_hub.h - one thread that writes out the serial ports of many VMs. */
#pragma once
#include "host/serial.h"

struct serial_hub *serial_hub_open(void);	/* NULL: out of memory or threads */
void serial_hub_close(struct serial_hub *h);	/* NULL is fine; no port may be left on it */

/* host/serial.c's part. The port has bytes to write: */
void serial_hub_note(struct serial_hub *h, struct serial *s);
/* Writes them out and forgets it. Who has stopped reading is waited for no longer than a second. */
void serial_hub_drain(struct serial_hub *h, struct serial *s);

/* Write a piece of the ring without waiting; on the hub's thread. */
enum serial_flush { SERIAL_empty, SERIAL_more, SERIAL_stuck };
enum serial_flush serial_flush(struct serial *s);
/* Where the hub keeps whether it has to look at a port. */
struct serial_link { struct serial *next; bool listed; };
struct serial_link *serial_link(struct serial *s);
