/* SPDX-License-Identifier: Apache-2.0 */
/* cli/image.c - `regent image debian OUT.img`: the script image-debian, found beside this program. */
#include "cli/cli.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char help_image[] =
    "usage: regent image debian OUT.img [OPTION..]\n\n"
    "Makes a root image with Debian, by debootstrap from the mirror that apt uses here. Needs root, or\n"
    "user namespaces with subordinate ids; the packages debootstrap and e2fsprogs; and a network.\n\n"
    "  --size SIZE           2G by default\n"
    "  --suite NAME          the release; by default the first of apt's sources\n"
    "  --hostname NAME       debian by default\n"
    "  --ssh-key FILE.pub    who may log in as root by ssh\n"
    "  --password WORD       root's; without key and password root logs in on the console without one\n"
    "  --packages A,B,..     more packages\n"
    "\nBoot it with: regent run OUT.img --memory 1G --net user,hostfwd=tcp:127.0.0.1:2222-:22\n";

/* Beside the program (a build), or where a package puts it. */
static void
script_exec(char **argv)
{
	char self[PATH_MAX], path[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	*(strrchr(self, '/') != NULL ? strrchr(self, '/') : self) = '\0';
	snprintf(path, sizeof(path), "%s/image-debian", self);
	execv(path, argv);
	if (errno == ENOENT)
		execv("/usr/libexec/regent/image-debian", argv);
}

int
cli_image(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "debian") != 0)
		return cli_fail(STATUS_usage, "%s: there is only `regent image debian OUT.img`",
				argc < 2 ? "image" : argv[1]);
	script_exec(argv + 1);
	return cli_fail(STATUS_monitor, "image-debian: %s; it belongs beside regent", strerror(errno));
}
