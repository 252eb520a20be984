/* SPDX-License-Identifier: Apache-2.0 */
/* dev/fwcfg.h - what the machine tells firmware and test guests: QEMU's fw_cfg interface by ports. */
#pragma once
#include "vm/bus.h"
#include <stddef.h>

enum { FWCFG_SELECT = 0x510, FWCFG_DATA = 0x511 };

struct dev *fwcfg_open(uint64_t ram, unsigned cpus);
/* Copies data. -1: no room, no memory or the name is taken or too long. */
int fwcfg_add_file(struct dev *d, const char *name, const void *data, size_t len);
