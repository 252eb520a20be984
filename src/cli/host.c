/* SPDX-License-Identifier: Apache-2.0 */
/* cli/host.c - `regent host`: many machines in one process, on few threads. */
#include "cli/cli.h"
#include "cli/signals.h"
#include "cli/host_file.h"
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

const char help_host[] =
    "  regent host [--quiet] [--no-sandbox] FILE\n\n"
    "FILE is JSON: {\"vms\": [{\"name\": \"a\", \"kernel\": \"...\", \"memory\": \"128M\", \"weight\": 1}, ...]}\n"
    "  a machine's keys are the options of `regent run`, and\n"
    "    weight      its share of the threads, 1 to 1000; 1 by default\n"
    "  threads       of the pool; one per processor by default\n"
    "  quantum       milliseconds that a machine runs while others wait; 4 by default\n"
    "Without \"serial\" a machine's console is reached by `regent console NAME` only.\n"
    "  --no-sandbox  let the process keep its rights while guests run\n"
    "It ends when all machines have ended. `regent ps`, `top`, `kill` and others act on them by name.\n"
    "\nExit status: 0 all powered off or were stopped, 2 wrong usage or unreadable input, 3 a guest reset\n"
    "or panicked, 4 the monitor failed for one.\n";

enum { LARGE = 64 << 10, ARENAS = 2 };

struct host {
	struct host_file file;
	struct regent_pool *pool;
	struct regent_vm **vms;		/* in the file's order; NULL: ended */
	pthread_mutex_t lock;		/* vms[], for the signal thread */
	bool quiet, no_sandbox, leaving;
	volatile sig_atomic_t signal;
};

/* ---- progress: on a terminal one line that changes ---- */

static void
progress(const struct host *h, const char *what, unsigned n)
{
	if (h->quiet || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%s %u of %u machines%s", what, n, h->file.nvms, n == h->file.nvms ? "\n" : "");
	fflush(stderr);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- signals: all machines stop, then the process dies of it ---- */

static void
stop_all(struct host *h)
{
	pthread_mutex_lock(&h->lock);
	h->leaving = true;
	for (unsigned i = 0; i < h->file.nvms; i++)
		if (h->vms[i] != NULL)
			regent_stop(h->vms[i]);
	pthread_mutex_unlock(&h->lock);
}

static void *
signal_thread(void *arg)
{
	struct host *h = arg;
	int sig = signals_wait(0);

	if (sig == 0)
		return NULL;
	h->signal = sig;
	stop_all(h);
	return NULL;
}

/* ---- opening, running ---- */

/* What is large is mapped and given back on its own: between machines that live long, holes that the
 * unpacking of kernels left would stay. */
static void
tame_malloc(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE);
	mallopt(M_TRIM_THRESHOLD, LARGE);
	mallopt(M_ARENA_MAX, ARENAS);
}

/* A descriptor or two per machine: as many as the system lets us have. */
static void
raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

/* All of them, or none: nothing runs before the last is open. */
static int
open_all(struct host *h)
{
	int err;

	for (unsigned i = 0; i < h->file.nvms && h->signal == 0; i++) {
		struct host_vm *vm = &h->file.vms[i];

		progress(h, "opening", i);
		vm->q.cfg.pool = h->pool;
		vm->q.cfg.sandbox = !h->no_sandbox;
		if ((err = regent_open(&h->vms[i], &vm->q.cfg)) != 0) {
			cli_error_where(host_file_where(&h->file, vm, regent_open_error()));
			err = cli_fail(cli_status(err), "%s: %s", vm->q.cfg.name, regent_open_error());
			cli_error_where(NULL);
			return err;
		}
	}
	progress(h, "opened", h->file.nvms);
	return 0;
}

static int
start_all(struct host *h, double since)
{
	int err = 0;

	for (unsigned i = 0; i < h->file.nvms && err == 0; i++) {
		struct host_vm *vm = &h->file.vms[i];

		pthread_mutex_lock(&h->lock);
		if (!h->leaving && (err = regent_start(h->vms[i])) != 0)
			err = cli_fail(cli_status(err), "%s: %s", vm->q.cfg.name, regent_error(h->vms[i]));
		pthread_mutex_unlock(&h->lock);
	}
	if (err != 0)
		stop_all(h);
	else if (!h->quiet && !h->leaving)
		fprintf(stderr, "%u machine%s started in %.1f s\n", h->file.nvms, h->file.nvms == 1 ? "" : "s",
			seconds() - since);
	return err;
}

/* How one ended, as a line and as an exit status. */
static int
tell_end(const struct host *h, struct regent_vm *vm, const char *name, enum regent_end end)
{
	static const char *const words[] = { [REGENT_END_poweroff] = "powered off", [REGENT_END_reset] = "reset its machine",
		[REGENT_END_panic] = "panicked", [REGENT_END_shutdown] = "shut down (triple fault)",
		[REGENT_END_debug_exit] = "ended by its debug-exit port", [REGENT_END_stopped] = "was stopped" };

	switch (end) {
	case REGENT_END_poweroff:
	case REGENT_END_stopped:
		if (!h->quiet)
			fprintf(stderr, "%s %s\n", name, words[end]);
		return STATUS_ok;
	case REGENT_END_failed:
	case REGENT_END_running:
		return cli_fail(STATUS_monitor, "%s: %s", name, regent_error(vm));
	default:
		return cli_fail(STATUS_guest, "%s %s", name, words[end]);
	}
}

static int
collect(struct host *h, struct regent_vm *vm)
{
	unsigned i;
	int status;

	for (i = 0; h->vms[i] != vm; i++)
		;
	status = tell_end(h, vm, h->file.vms[i].q.cfg.name, regent_wait(vm));
	pthread_mutex_lock(&h->lock);
	h->vms[i] = NULL;
	pthread_mutex_unlock(&h->lock);
	regent_close(vm);
	return status;
}

/* Until none is left; the worst of what they came to. */
static int
wait_all(struct host *h)
{
	struct regent_vm *vm;
	int worst = STATUS_ok, status;

	while ((vm = regent_pool_wait(h->pool)) != NULL)
		if ((status = collect(h, vm)) > worst)
			worst = status;
	return worst;
}

static int
host_run(struct host *h)
{
	double since = seconds();
	pthread_t waiter;
	bool waiting = pthread_create(&waiter, NULL, signal_thread, h) == 0;
	int status, ended;

	if ((status = open_all(h)) == 0) {
		status = start_all(h, since);
		ended = wait_all(h);
		status = status != 0 ? status : ended;
	}
	if (waiting)
		signals_over(waiter);
	for (unsigned i = 0; i < h->file.nvms; i++)
		regent_close(h->vms[i]);
	return status;
}

static int
parse(struct host *h, int argc, char **argv)
{
	static const struct option options[] = { { "quiet", no_argument, NULL, 'q' }, { "no-sandbox", no_argument, NULL, 'S' },
		{ NULL, 0, NULL, 0 } };
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":q", options, NULL)) != -1) {
		if (c == 'q')
			h->quiet = true;
		else if (c == 'S')
			h->no_sandbox = true;
		else
			return cli_bad_option("host", c, argv);
	}
	if (argc - optind != 1)
		return cli_fail(STATUS_usage, "name one host file; see `regent host --help`");
	return host_file_read(&h->file, argv[optind]);
}

int
cli_host(int argc, char **argv)
{
	struct host h = { .lock = PTHREAD_MUTEX_INITIALIZER };
	int status;

	if ((status = parse(&h, argc, argv)) == 0) {
		signals_block(0);
		raise_file_limit();
		tame_malloc();
		h.vms = calloc(h.file.nvms, sizeof(*h.vms));
		if (h.vms == NULL || regent_pool_open(&h.pool, h.file.threads, h.file.quantum_ms * 1000) != 0)
			status = cli_fail(STATUS_monitor, "cannot start the pool's threads");
		else
			status = host_run(&h);
	}
	regent_pool_close(h.pool);
	free(h.vms);
	host_file_free(&h.file);
	signal_pass_on(h.signal);
	return status;
}
