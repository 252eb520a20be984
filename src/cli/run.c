/* SPDX-License-Identifier: Apache-2.0 */
/* cli/run.c - `regent run`: options in, a machine that runs, an exit status out. */
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/state.h"
#include "cli/stats.h"
#include "cli/trace.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Fits a screen of 24 lines (tests/boot/run-badinput): the manual page has each option at length. */
const char help_run[] =
    "usage: regent run [IMAGE[,ro]] [OPTION..]     (doc/regent.1 tells more of each option)\n\n"
    "  IMAGE                        a raw disk with a system: kernel and initrd come from inside\n"
    "  --kernel FILE --initrd FILE --append STRING --module 'FILE ARGS' --boot PROTOCOL\n"
    "  --memory SIZE --cpus N       512M and 1 by default\n"
    "  --engine NAME --cpu MODEL[,+F][,-F] --machine NAME    `regent cpus` lists them; --irqchip WHOSE\n"
    "  --disk FILE[,ro][,format=F]  a raw file, a block device, an nbd:// URI; F: qcow2 and the like\n"
    "  --net user[,hostfwd=tcp:ADDR:PORT-:PORT]    a network without privileges; or --net tap=NAME\n"
    "  --share DIR[:TAG][:ro]       a folder of the host: mount -t virtiofs TAG /mnt\n"
    "  --vsock PATH[,cid=N] --rng --balloon    sockets, entropy, free memory that is given back\n"
    "  --name NAME                  for `regent ps` and others; --wait: described by its socket\n"
    "  --serial WHERE               stdio (Ctrl-A x leaves, Ctrl-A h helps), file:FILE or null\n"
    "  --console virtio             the window is hvc0 and the guest knows its size; serial by default\n"
    "  --policy POLICY --policy-rule 'RULE'    who may do what to which register; `regent policy list`\n"
    "  --trace-regs NAMES           'cr*,msr:*,idtr' to stderr, or --trace-file FILE --trace-format json\n"
    "  --gdb WHERE                  wait for a debugger at unix:PATH or tcp:127.0.0.1:PORT\n"
    "  --debug-exit PORT --test-device --stats[=json] --trace blocks[=FILE] --perf-map --bt-cache SIZE\n"
    "  --no-sandbox                 let the monitor keep its rights while the guest runs\n"
    "  -v SUBSYSTEM=LEVEL           log to stderr: off, error, warn, info, debug\n"
    "\nExit status: 0 powered off, 2 wrong usage or input, 3 reset or panic, 4 the monitor failed\n";

/* ---- signals: they end the machine as Ctrl-A x does, and then this process as they always do ----
 */

static volatile sig_atomic_t signal_seen;

/* A console that is told of it shows the guest the window's size. */
static void
window_tell(struct regent_vm *vm)
{
	struct winsize w;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0)
		regent_console_size(vm, w.ws_col, w.ws_row);
}

static void *
signal_thread(void *vm)
{
	int sig = signals_wait(SIGWINCH);

	while (sig == SIGWINCH) {
		window_tell(vm);
		sig = signals_wait(SIGWINCH);
	}
	if (sig == 0)
		return NULL;
	signal_seen = sig;
	regent_stop(vm);
	return NULL;
}

/* ---- */

static int
status_of_end(struct regent_vm *vm, enum regent_end end)
{
	int status;

	switch (end) {
	case REGENT_END_poweroff:
	case REGENT_END_stopped:
		return STATUS_ok;
	case REGENT_END_debug_exit:
		return regent_exit_status(vm);
	case REGENT_END_reset:
		return cli_fail(STATUS_guest, "the guest reset its machine");
	case REGENT_END_panic:
		return cli_fail(STATUS_guest, "the guest panicked");
	case REGENT_END_shutdown:
		return cli_fail(STATUS_guest, "the guest's processor shut down (triple fault)");
	case REGENT_END_failed:
	case REGENT_END_running:
		break;
	}
	status = cli_fail(cli_status(regent_failure(vm)), "%s", regent_error(vm));
	if (regent_engine_failed(vm))
		state_print(vm);
	return status;
}

static void *
early_signal_thread(void *arg)
{
	int sig;

	(void)arg;
	while ((sig = signals_wait(SIGWINCH)) == SIGWINCH)
		;
	signal_seen = sig;
	if (sig != 0)
		regent_open_cancel();
	return NULL;
}

/* One that waits for requests may wait long: signals end it as well. */
static int
open_machine(struct regent_vm **vm, const struct regent_config *cfg)
{
	pthread_t waiter;
	bool waiting = cfg->wait && pthread_create(&waiter, NULL, early_signal_thread, NULL) == 0;
	int err = regent_open(vm, cfg);

	if (waiting)
		signals_over(waiter);
	return err;
}

static int
run_machine(struct regent_vm *vm, const struct options *q, struct trace_writer *trace)
{
	enum regent_end end;
	pthread_t waiter;
	int err, status;
	bool waiting;

	if ((status = trace_writer_start(trace, vm, q)) != STATUS_ok)
		return status;
	window_tell(vm);
	waiting = pthread_create(&waiter, NULL, signal_thread, vm) == 0;

	if ((err = regent_start(vm)) != 0)
		status = cli_fail(cli_status(err), "%s", regent_error(vm));
	else
		end = regent_wait(vm), status = status_of_end(vm, end);
	if (waiting)
		signals_over(waiter);
	if ((err = trace_writer_finish(trace)) != STATUS_ok && status == STATUS_ok)
		status = err;
	if (q->stats != STATS_none)
		stats_print(vm, q->stats);
	return status;
}

int
cli_run(int argc, char **argv)
{
	struct options q = OPTIONS_INIT;
	struct trace_writer *trace;
	struct regent_vm *vm;
	int err, status;

	if ((status = options_parse(&q, "run", argc, argv)) != 0)
		return status;
	q.cfg.control = q.cfg.name != NULL;
	if (q.cfg.wait && !q.cfg.control)
		return cli_fail(STATUS_usage, "--wait: needs --name NAME: it waits for requests to that socket");
	signals_block(SIGWINCH);
	if ((status = trace_writer_open(&trace, &q)) != 0)
		return status;
	q.cfg.sandbox = !q.no_sandbox;
	if ((err = open_machine(&vm, &q.cfg)) != 0) {
		trace_writer_close(trace);
		signal_pass_on(signal_seen);
		if (q.cfg.wait && err == -REGENT_E_state)	/* `regent kill` */
			return STATUS_ok;
		return cli_fail(cli_status(err), "%s", regent_open_error());
	}
	if (regent_engine_choice(vm) != NULL)
		fprintf(stderr, "regent: engine %s\n", regent_engine_choice(vm));
	status = run_machine(vm, &q, trace);
	trace_writer_close(trace);
	regent_close(vm);
	signal_pass_on(signal_seen);
	return status;
}
