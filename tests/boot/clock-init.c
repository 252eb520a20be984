/* SPDX-License-Identifier: Apache-2.0 */
/* tests/boot/clock-init.c - PID 1 that reads the guest's clocks, on one processor after the other.
 *
 * Prints `T MONOTONIC_NS` four times a second for SECONDS (kernel parameter clock=), and at the end
 * `BACK n`: how often the clock went backwards between reads on different processors.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NS = 1000000000, READS = 20000, QUARTER = NS / 4 };

static long long
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * (long long)NS + ts.tv_nsec;
}

static void
go_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int
seconds(void)
{
	char line[512] = "";
	const char *at;
	FILE *f;

	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	if ((f = fopen("/proc/cmdline", "r")) == NULL)
		return 1;
	at = fgets(line, sizeof(line), f) != NULL ? strstr(line, "clock=") : NULL;
	fclose(f);
	return at != NULL ? atoi(at + 6) : 1;
}

int
main(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long long last = 0, t;
	unsigned back = 0, n = (unsigned)seconds() * 4;

	for (unsigned i = 0; i < READS; i++) {
		if (i % 100 == 0)
			go_to(i / 100 % (unsigned)cpus);
		t = now();
		back += t < last;
		last = t;
	}
	printf("CPUS %ld\n", cpus);
	for (unsigned i = 0; i <= n; i++) {
		struct timespec pause = { 0, QUARTER };

		go_to(i % (unsigned)cpus);
		printf("T %lld\n", t = now());
		fflush(stdout);
		back += t < last;
		last = t;
		nanosleep(&pause, NULL);
	}
	printf("BACK %u\n", back);
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
