/* SPDX-License-Identifier: Apache-2.0 */
/* host/filter.h - whether this build can live with a system call filter, for the monitor and its helper programs. */
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(REGENT_COVERAGE)
enum { CAN_FILTER = 0 };	/* their run-time libraries open files, and more, at any time */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { CAN_FILTER = 0 };
#else
enum { CAN_FILTER = 1 };
#endif
#else
enum { CAN_FILTER = 1 };
#endif

#define ALLBITS UINT64_MAX		/* mask of a rule's argument */
