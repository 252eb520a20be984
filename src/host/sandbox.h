/* SPDX-License-Identifier: Apache-2.0 */
/* host/sandbox.h - what a process may still do once its machine runs: next to nothing.
 *
 * Two steps, because half of it holds for threads made later and half for those there are:
 * sandbox_prepare before threads are started, sandbox_close behind it, while no guest code runs yet.
 */
#pragma once
#include <stdbool.h>

enum sandbox_role { SANDBOX_all = 1 << 0, SANDBOX_terminal = 1 << 1, SANDBOX_gdb = 1 << 2, SANDBOX_disk = 1 << 3,
	SANDBOX_kvm = 1 << 4, SANDBOX_control = 1 << 5, SANDBOX_net = 1 << 6 };

struct sandbox_config {
	unsigned roles;			/* enum sandbox_role, or-ed */
	const char *socket_path;	/* a Unix socket that is still to be made, and removed by a helper; NULL: none */
	bool keep_net;			/* a TCP socket is still to listen */
};

/* No new privileges, no capabilities, no core dumps, no inherited descriptors, own namespaces, no files
 * by landlock. What this host lacks is a warning in the log. */
void sandbox_prepare(const struct sandbox_config *cfg);
/* System calls by seccomp, for all threads. 0, or -1 (errno): the host can't. */
int sandbox_close(const struct sandbox_config *cfg);
