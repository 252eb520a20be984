/* SPDX-License-Identifier: Apache-2.0 */
/* helper/confine.h - what a helper program gives up before it hears a word of its guest's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum confine_who { CONFINE_net = 1 << 0, CONFINE_vsock = 1 << 1, CONFINE_share = 1 << 2, CONFINE_boot = 1 << 3,
	CONFINE_nbd = 1 << 4, CONFINE_all = 31 };

struct confine {
	enum confine_who who;
	bool own_user;		/* who is not root may become one of a user namespace of his own, for the sake of the others */
	const char *root;	/* becomes "/" where the host lets us; NULL: stays */
	int dir;		/* a directory beneath which files are reached; -1: no file at all */
	bool dir_read_only;
	int proc_fd;		/* share: /proc/self/fd, through which it opens anew what it has */
	uint64_t capabilities;	/* of root's, that are kept: 1 << CAP_.. */
	unsigned files;		/* descriptors at most; 0: as it is */
	uint64_t memory;	/* bytes of data at most; 0: as it is */
};

/* In this order: limits, no_new_privs, namespaces, root, landlock, capabilities, seccomp. *rooted: `root` is "/" now. What
 * the host lacks is left out, but for seccomp: -1 (errno) without. Single-threaded. */
int confine(const struct confine *c, bool *rooted);
