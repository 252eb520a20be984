/* SPDX-License-Identifier: Apache-2.0 */
/* api/devices.h - the devices that a configuration asks for: host ends opened, then put on the board. */
#pragma once
#include "regent.h"
#include "vm/vm.h"
#include <stdbool.h>

/* 0, or -REGENT_E_* with a line in err. What was attached is the VM's. */
struct virtio;
struct virtio *devices_find(struct vm *vm, const char *kind);	/* the first, or NULL */
int devices_open(struct vm *vm, const struct regent_config *cfg, char *err, size_t err_size);
bool devices_have_helpers(const struct regent_config *cfg);	/* processes of networks, folders, disks and the like */
