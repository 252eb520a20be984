/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/probe.c - can this /dev/kvm run an unmodified kernel?
 *
 * Some can't: kvm-pvm runs ring 0 through an emulator that lacks many instructions. So a few of
 * those are run in ring 0, in a virtual machine of one page, before anybody counts on it.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { API_VERSION = 12, CODE = 0x1000 };

/* Real mode: lock cmpxchg8b [si]; popcnt ax, bx; fninit; hlt. A kernel does all of them at boot. */
static const uint8_t code[] = { 0xf0, 0x0f, 0xc7, 0x0c, 0xf3, 0x0f, 0xb8, 0xc3, 0xdb, 0xe3, 0xf4 };

static const uint32_t needed[] = { KVM_CAP_SYNC_REGS, KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_IMMEDIATE_EXIT,
	KVM_CAP_XSAVE, KVM_CAP_DEBUGREGS };
static const char *const needed_names[] = { "SYNC_REGS", "X86_USER_SPACE_MSR", "IMMEDIATE_EXIT", "XSAVE",
	"DEBUGREGS" };

/* 1 when the guest came to its HLT, 0 when it did not, -1 with errno. */
static int
probe_run(int vm, int vcpu, size_t run_size, uint8_t *page)
{
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = CODE, .memory_size = PAGE_SIZE,
		.userspace_addr = (uintptr_t)page };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsi = CODE + 0x800, .rbx = 0xff };
	struct kvm_sregs sregs;
	struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	int res = -1;

	if (run == MAP_FAILED)
		return -1;
	memcpy(page, code, sizeof(code));
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0 && ioctl(vcpu, KVM_GET_SREGS, &sregs) == 0) {
		sregs.cs.base = sregs.cs.selector = 0;
		if (ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(vcpu, KVM_SET_REGS, &regs) == 0 &&
		    ioctl(vcpu, KVM_RUN, 0) == 0)
			res = run->exit_reason == KVM_EXIT_HLT && ioctl(vcpu, KVM_GET_REGS, &regs) == 0 &&
				(regs.rax & 0xffff) == 8;
	}
	munmap(run, run_size);
	return res;
}

static int
probe_machine(int sys)
{
	uint8_t *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int vm, vcpu = -1, size, res = -1;

	if (page == MAP_FAILED)
		return -1;
	size = ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm = ioctl(sys, KVM_CREATE_VM, 0);
	if (vm >= 0 && size > 0 && (vcpu = ioctl(vm, KVM_CREATE_VCPU, 0L)) >= 0)
		res = probe_run(vm, vcpu, (size_t)size, page);
	if (vcpu >= 0)
		close(vcpu);
	if (vm >= 0)
		close(vm);
	munmap(page, PAGE_SIZE);
	return res;
}

static int
say(char *why, size_t size, const char *what, const char *detail)
{
	snprintf(why, size, "%s%s%s", what, *detail ? ": " : "", detail);
	return -1;
}

int
kvm_usable(char *why, size_t size)
{
	int sys = open("/dev/kvm", O_RDWR | O_CLOEXEC), res;

	if (sys < 0)
		return say(why, size, "/dev/kvm can't be opened", strerror(errno));
	if (ioctl(sys, KVM_GET_API_VERSION, 0) != API_VERSION) {
		close(sys);
		return say(why, size, "/dev/kvm speaks another API version", "");
	}
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(sys, KVM_CHECK_EXTENSION, needed[i]) <= 0) {
			close(sys);
			return say(why, size, "/dev/kvm lacks a capability", needed_names[i]);
		}
	res = probe_machine(sys);
	close(sys);
	if (res < 0)
		return say(why, size, "/dev/kvm can't make a virtual machine", strerror(errno));
	if (res == 0)
		return say(why, size, "/dev/kvm runs ring 0 through an emulator that can't run unmodified kernels", "");
	return 0;
}
