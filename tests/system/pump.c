/* SPDX-License-Identifier: Apache-2.0 */
/* tests/system/pump.c - in the guest of run-net: `pump send|receive ADDR|vsock PORT BYTES` moves that many bytes by TCP, or
 * vsock to the host, in large pieces (busybox's nc has 1 KiB), and prints how many and in how many milliseconds.
 * `pump open ADDR PORT N` opens N connections, says how many it got, and lets them go. */
#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int
open_many(const struct sockaddr_in *to, long long want)
{
	struct rlimit r = { 20000, 20000 };
	long long n = 0;

	setrlimit(RLIMIT_NOFILE, &r);
	while (n < want) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		if (s < 0 || connect(s, (const struct sockaddr *)to, sizeof(*to)) != 0)
			break;
		n++;
	}
	printf("GUEST opened %lld\n", n);
	return 0;
}

int
main(int argc, char **argv)
{
	static char piece[256 << 10];
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct sockaddr_vm host = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST };
	int vsock = argc == 5 && strcmp(argv[2], "vsock") == 0, s = socket(vsock ? AF_VSOCK : AF_INET, SOCK_STREAM, 0);
	long long want, done = 0;
	double begin;
	ssize_t n = 1;

	if (argc != 5 || s < 0)
		return 2;
	to.sin_addr.s_addr = inet_addr(argv[2]);
	to.sin_port = htons((unsigned short)atoi(argv[3]));
	host.svm_port = (unsigned)atoi(argv[3]);
	want = atoll(argv[4]);
	if (strcmp(argv[1], "open") == 0)
		return open_many(&to, want);
	if (vsock ? connect(s, (struct sockaddr *)&host, sizeof(host)) != 0 : connect(s, (struct sockaddr *)&to, sizeof(to)) != 0)
		return perror("connect"), 1;
	for (begin = now(); done < want && n > 0; done += n > 0 ? n : 0)
		n = strcmp(argv[1], "send") == 0 ? write(s, piece, sizeof(piece)) : read(s, piece, sizeof(piece));
	if (strcmp(argv[1], "send") == 0) {		/* until all of it has arrived */
		shutdown(s, SHUT_WR);
		while (read(s, piece, sizeof(piece)) > 0)
			;
	}
	printf("GUEST %s %lld bytes %.0f ms\n", argv[1], done, now() - begin);
	return 0;
}
