/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/machine/fake_vm.h - just enough of a VM to load a kernel into: memory and one register file. */
#pragma once
#include "machine/boot.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct machine_range fake_map[] = {
	{ 0, 0x9fc00, RANGE_ram }, { 0x9fc00, 0x400, RANGE_reserved }, { 0x100000, 0x3f00000, RANGE_ram },
};

struct fake_vm {
	struct vm vm;
	struct vcpu *vcpu;
	char err[512];
};

static inline void
fake_open(struct fake_vm *f, uint64_t memory)
{
	memset(f, 0, sizeof(*f));
	f->vcpu = aligned_alloc(64, (sizeof(*f->vcpu) + 63) & ~63ul);
	memset(f->vcpu, 0, sizeof(*f->vcpu));
	reg_reset(&f->vcpu->cpu.r, &f->vcpu->cpu.fpu);
	f->vm.mem = mem_open(memory);
	f->vm.vcpu[0] = f->vcpu;
	f->vm.cpus = 1;
}

static inline void
fake_close(struct fake_vm *f)
{
	mem_close(f->vm.mem);
	free(f->vcpu);
}

/* A file with these bytes, as a path. The descriptor keeps it; close it when done. */
static inline int
fake_file(const void *bytes, size_t n, char path[32])
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		abort();
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static inline int
fake_boot(struct fake_vm *f, struct boot_config *cfg, const void *bytes, size_t n)
{
	char path[32];
	int fd = fake_file(bytes, n, path), rc;

	cfg->kernel = path;
	cfg->map = fake_map;
	cfg->nmap = sizeof(fake_map) / sizeof(*fake_map);
	f->err[0] = '\0';
	rc = boot_load(&f->vm, cfg, f->err, sizeof(f->err));
	close(fd);
	return rc;
}
