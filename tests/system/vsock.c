/* SPDX-License-Identifier: Apache-2.0 */
/* tests/system/vsock.c - in the guest of run-virtio: `vsock listen PORT` sends back what comes, `vsock connect PORT` sends
 * its standard input to the host and prints what comes back. */
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Until the other side ends. */
static void
copy(int from, int to)
{
	static char piece[65536];
	ssize_t n;

	while ((n = read(from, piece, sizeof(piece))) > 0)
		for (ssize_t at = 0, done; at < n; at += done)
			if ((done = write(to, piece + at, (size_t)(n - at))) <= 0)
				return;
}

int
main(int argc, char **argv)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST };
	int s = socket(AF_VSOCK, SOCK_STREAM, 0), c;

	if (argc != 3 || s < 0)
		return 2;
	sa.svm_port = (unsigned)atoi(argv[2]);
	if (strcmp(argv[1], "connect") == 0) {
		if (connect(s, (struct sockaddr *)&sa, sizeof(sa)) != 0)
			return perror("connect"), 1;
		if (fork() == 0) {		/* who only writes, and is echoed, stops for want of credit */
			copy(STDIN_FILENO, s);
			shutdown(s, SHUT_WR);
			_exit(0);
		}
		copy(s, STDOUT_FILENO);
		return 0;
	}
	sa.svm_cid = VMADDR_CID_ANY;
	if (bind(s, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(s, 5) != 0)
		return perror("listen"), 1;
	puts("GUEST listening");
	fflush(stdout);
	if ((c = accept(s, NULL, NULL)) < 0)
		return perror("accept"), 1;
	copy(c, c);
	return 0;
}
