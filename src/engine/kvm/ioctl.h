/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/ioctl.h - the one way to the kernel: every ioctl, its failure in words, and failures on order. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* As ioctl(2). A failure has left a line with the request's name, the reason and the remedy in
 * engine_why(), errno is as the kernel set it. */
int kvm_call(int fd, unsigned long request, void *arg, const char *name);
#define KVM_CALL(fd, request, arg) kvm_call(fd, request, (void *)(uintptr_t)(arg), #request)

/* Opens /dev/kvm; -1 with engine_why(). */
int kvm_device_open(void);

/* What to do about an errno of /dev/kvm. */
const char *kvm_remedy(int error);

/* For tests: of the calls from now on (of the request `only`, when it is not 0), the one after `after`
 * others fails with `error`, 0: none. Opening /dev/kvm is a call, too. */
struct kvm_injection {
	_Atomic long after;
	_Atomic int error;
	_Atomic unsigned long only;
	_Atomic bool done;		/* it has happened */
};
extern struct kvm_injection kvm_injection;
extern _Atomic uint64_t kvm_calls;	/* how many were made in this process */
