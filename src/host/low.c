/* SPDX-License-Identifier: Apache-2.0 */
/* host/low.c - zeroed memory in the low 2 GiB, where 32-bit absolute addresses reach.
 *
 * The kernel itself finds room between 1 and 2 GiB (MAP_32BIT). When many processors have filled that,
 * we look below, from where the last search ended.
 */
#include "host/low.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

enum { FIRST = 1 << 20, STEP = 1 << 16 };
static const uintptr_t LAST = 1u << 30;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t next = FIRST;

/* One address; NULL: something is there. */
static void *
try_at(uintptr_t at, size_t size)
{
	void *want = (void *)at, *p = mmap(want, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == want)
		return p;
	if (p != MAP_FAILED)
		munmap(p, size);
	return NULL;
}

static void *
search(size_t size)
{
	uintptr_t length = (size + STEP - 1) & ~(uintptr_t)(STEP - 1);
	void *p = NULL;
	bool wrapped = false;

	while (p == NULL && length < LAST) {
		if (next + length > LAST) {
			if (wrapped)
				break;
			wrapped = true;
			next = FIRST;
		}
		p = try_at(next, size);
		next += p != NULL ? length : STEP;
	}
	return p;
}

/* In builds with AddressSanitizer: what lies there owns memory, which is not lost. */
void __lsan_register_root_region(const void *p, size_t size) __attribute__((weak));
void __lsan_unregister_root_region(const void *p, size_t size) __attribute__((weak));

static void *
map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);

	if (p != MAP_FAILED)
		return p;
	pthread_mutex_lock(&lock);
	p = search(size);
	pthread_mutex_unlock(&lock);
	if (p == NULL)
		errno = ENOMEM;
	return p;
}

void *
low_map(size_t size)
{
	void *p = map(size);

	if (p != NULL && __lsan_register_root_region != NULL)
		__lsan_register_root_region(p, size);
	return p;
}

void
low_unmap(void *p, size_t size)
{
	if (p == NULL)
		return;
	if (__lsan_unregister_root_region != NULL)
		__lsan_unregister_root_region(p, size);
	munmap(p, size);
}
