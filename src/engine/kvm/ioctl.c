/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/ioctl.c - the one way to the kernel: every ioctl, its failure in words, and failures on order. */
#include "engine/kvm/ioctl.h"
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

struct kvm_injection kvm_injection;
_Atomic uint64_t kvm_calls;

static const struct { int error; const char *remedy; } remedies[] = {
	{ ENOENT, "load kvm_intel or kvm_amd, and switch virtualization on in the firmware" },
	{ ENODEV, "load kvm_intel or kvm_amd, and switch virtualization on in the firmware" },
	{ ENXIO, "load kvm_intel or kvm_amd, and switch virtualization on in the firmware" },
	{ EACCES, "become a member of the group that owns /dev/kvm (kvm), or choose --engine bt" },
	{ EPERM, "become a member of the group that owns /dev/kvm (kvm), or choose --engine bt" },
	{ EBUSY, "another hypervisor holds the processor: stop it, or choose --engine bt" },
	{ ENOMEM, "free memory on the host, or give the guest less" },
	{ EMFILE, "raise the limit of open files (ulimit -n)" },
	{ ENFILE, "the host has too many open files: close some" },
	{ EINVAL, "this kernel's KVM cannot do it: update the kernel, or choose --engine bt" },
	{ ENOTTY, "this kernel's KVM does not know it: update the kernel, or choose --engine bt" },
};

const char *
kvm_remedy(int error)
{
	for (unsigned i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (remedies[i].error == error)
			return remedies[i].remedy;
	return "choose --engine bt, and look at the kernel's log (dmesg)";
}

/* Whether this call is the one to fail. */
static bool
injected(unsigned long request)
{
	if (kvm_injection.only != 0 && kvm_injection.only != request)
		return false;
	if (atomic_load_explicit(&kvm_injection.error, memory_order_relaxed) == 0 ||
	    atomic_fetch_sub(&kvm_injection.after, 1) != 0)
		return false;
	kvm_injection.done = true;
	errno = kvm_injection.error;
	return true;
}

int
kvm_call(int fd, unsigned long request, void *arg, const char *name)
{
	int res, saved;

	atomic_fetch_add_explicit(&kvm_calls, 1, memory_order_relaxed);
	res = injected(request) ? -1 : ioctl(fd, request, arg);
	saved = errno;
	if (res < 0 && !(request == KVM_RUN && (saved == EINTR || saved == EAGAIN))) {
		engine_fail("%s: %s; %s", name, strerror(saved), kvm_remedy(saved));
		errno = saved;
	}
	return res;
}

int
kvm_device_open(void)
{
	int fd = injected(0) ? -1 : open("/dev/kvm", O_RDWR | O_CLOEXEC), saved = errno;

	if (fd < 0) {
		engine_fail("/dev/kvm: %s; %s", strerror(saved), kvm_remedy(saved));
		errno = saved;
	}
	return fd;
}
