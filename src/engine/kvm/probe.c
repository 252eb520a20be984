/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/probe.c - can this /dev/kvm run an unmodified kernel?
 *
 * Some can't: kvm-pvm runs ring 0 through an emulator that lacks many instructions. So a few of
 * those are run in ring 0, in a virtual machine of one page, before anybody counts on it.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { API_VERSION = 12, CODE = 0x1000, SYNC_ALL = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS };

/* Real mode: lock cmpxchg8b [si]; popcnt ax, bx; fninit; hlt. A kernel does all of them at boot. */
static const uint8_t code[] = { 0xf0, 0x0f, 0xc7, 0x0c, 0xf3, 0x0f, 0xb8, 0xc3, 0xdb, 0xe3, 0xf4 };

/* Without the first ones there is no engine; without the others the board's own chips do the work. */
static const struct { const char *name; int cap, bits; bool needed; } caps[] = {
	{ "KVM_CAP_USER_MEMORY", KVM_CAP_USER_MEMORY, 0, true },
	{ "KVM_CAP_EXT_CPUID", KVM_CAP_EXT_CPUID, 0, true },
	{ "KVM_CAP_SYNC_REGS", KVM_CAP_SYNC_REGS, SYNC_ALL, true },
	{ "KVM_CAP_X86_USER_SPACE_MSR", KVM_CAP_X86_USER_SPACE_MSR, 0, true },
	{ "KVM_CAP_X86_MSR_FILTER", KVM_CAP_X86_MSR_FILTER, 0, true },
	{ "KVM_CAP_IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT, 0, true },
	{ "KVM_CAP_VCPU_EVENTS", KVM_CAP_VCPU_EVENTS, 0, true },
	{ "KVM_CAP_XSAVE", KVM_CAP_XSAVE, 0, true },
	{ "KVM_CAP_DEBUGREGS", KVM_CAP_DEBUGREGS, 0, true },
	{ "KVM_CAP_SET_GUEST_DEBUG", KVM_CAP_SET_GUEST_DEBUG, 0, true },
	{ "KVM_CAP_IRQCHIP", KVM_CAP_IRQCHIP, 0, false },
	{ "KVM_CAP_PIT2", KVM_CAP_PIT2, 0, false },
	{ "KVM_CAP_PIT_STATE2", KVM_CAP_PIT_STATE2, 0, false },
	{ "KVM_CAP_IRQ_ROUTING", KVM_CAP_IRQ_ROUTING, 0, false },
	{ "KVM_CAP_SIGNAL_MSI", KVM_CAP_SIGNAL_MSI, 0, false },
	{ "KVM_CAP_X2APIC_API", KVM_CAP_X2APIC_API, 0, false },
	{ "KVM_CAP_TSC_DEADLINE_TIMER", KVM_CAP_TSC_DEADLINE_TIMER, 0, false },
	{ "KVM_CAP_MP_STATE", KVM_CAP_MP_STATE, 0, false },
	{ "KVM_CAP_ADJUST_CLOCK", KVM_CAP_ADJUST_CLOCK, 0, false },
};
enum { CAPS = sizeof(caps) / sizeof(caps[0]) };

static bool
has_cap(int sys, unsigned n)
{
	int res = KVM_CALL(sys, KVM_CHECK_EXTENSION, caps[n].cap);

	return res > 0 && (res & caps[n].bits) == caps[n].bits;
}

bool
kvm_finding(unsigned n, struct kvm_finding *f)
{
	int sys;

	if (n >= CAPS)
		return false;
	sys = kvm_device_open();
	*f = (struct kvm_finding){ .what = caps[n].name, .needed = caps[n].needed, .has = sys >= 0 && has_cap(sys, n) };
	if (sys >= 0)
		close(sys);
	return true;
}

bool
kvm_has_chips(int sys)
{
	for (unsigned n = 0; n < CAPS; n++)
		if (!caps[n].needed && !has_cap(sys, n))
			return false;
	return true;
}

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
	if (KVM_CALL(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0 && KVM_CALL(vcpu, KVM_GET_SREGS, &sregs) == 0) {
		sregs.cs.base = sregs.cs.selector = 0;
		if (KVM_CALL(vcpu, KVM_SET_SREGS, &sregs) == 0 && KVM_CALL(vcpu, KVM_SET_REGS, &regs) == 0 &&
		    KVM_CALL(vcpu, KVM_RUN, 0) == 0)
			res = run->exit_reason == KVM_EXIT_HLT && KVM_CALL(vcpu, KVM_GET_REGS, &regs) == 0 &&
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
	size = KVM_CALL(sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm = KVM_CALL(sys, KVM_CREATE_VM, 0);
	if (vm >= 0 && size > 0 && (vcpu = KVM_CALL(vm, KVM_CREATE_VCPU, 0L)) >= 0)
		res = probe_run(vm, vcpu, (size_t)size, page);
	if (vcpu >= 0)
		close(vcpu);
	if (vm >= 0)
		close(vm);
	munmap(page, PAGE_SIZE);
	return res;
}

/* What this KVM is called: kvm-pvm, where its module is. */
static const char *
kvm_name(void)
{
	return access("/sys/module/kvm_pvm", F_OK) == 0 ? "kvm-pvm" : "this KVM";
}

static int
say(struct kvm_answer *a, const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	snprintf(a->remedy, sizeof(a->remedy), "%s", remedy);
	return -1;
}

static int
judge(int sys, struct kvm_answer *a)
{
	int version = KVM_CALL(sys, KVM_GET_API_VERSION, 0), res;

	if (version != API_VERSION)
		return say(a, "update the kernel", "speaks API version %d, not %d", version, API_VERSION);
	for (unsigned n = 0; n < CAPS; n++)
		if (caps[n].needed && !has_cap(sys, n))
			return say(a, "update the kernel to Linux 5.10 or later", "lacks %s", caps[n].name);
	if ((res = probe_machine(sys)) < 0)
		return say(a, kvm_remedy(errno), "can't run a virtual machine: %s", strerror(errno));
	if (res == 0)
		return say(a, "use a host whose KVM is kvm_intel or kvm_amd (nested virtualization switched on, if it is a guest)",
			"%s cannot run unmodified kernels", kvm_name());
	return 0;
}

int
kvm_usable(struct kvm_answer *a)
{
	int sys = kvm_device_open(), saved = errno, res;

	memset(a, 0, sizeof(*a));
	if (sys < 0)
		return say(a, kvm_remedy(saved), "%s", strerror(saved));
	res = judge(sys, a);
	close(sys);
	return res;
}
