/* SPDX-License-Identifier: Apache-2.0 */
/* helper/resolver.h - what /etc/resolv.conf says, for a libslirp that can't open files. */
#pragma once

/* From here on what the C library opens as /etc/resolv.conf is a copy that a process of its own keeps up to date. That
 * process hears nothing from anybody, and ends with the caller. */
void resolver_start(void);
