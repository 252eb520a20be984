/* SPDX-License-Identifier: Apache-2.0 */
/* cli/run.c - `regent run`: options in, a machine that runs, an exit status out. */
#include "cli/cli.h"
#include "cli/stats.h"
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODULES_MAX = 32 };

const char help_run[] =
	"  --kernel FILE         bzImage, vmlinux, PVH or multiboot kernel\n"
	"  --initrd FILE         initial RAM disk (multiboot: the first module)\n"
	"  --append STRING       kernel command line\n"
	"  --module 'FILE ARGS'  multiboot module; may be repeated\n"
	"  --boot PROTOCOL       auto, linux, decompress (bzImage unpacks itself), pvh, multiboot\n"
	"  --memory SIZE         512M by default; suffixes K, M, G\n"
	"  --cpus N              1 by default\n"
	"  --engine NAME         auto, or one that `regent cpus` lists\n"
	"  --cpu MODEL[,+F][,-F] CPU model with features added or taken away\n"
	"  --machine NAME        regent-1\n"
	"  --serial WHERE        stdio (Ctrl-A x leaves, Ctrl-A h helps), file:FILE or null\n"
	"  --debug-exit PORT     a byte v written there ends with status (v << 1) | 1\n"
	"  --test-device         QEMU-compatible pc-testdev\n"
	"  --gdb WHERE           wait for a debugger at unix:PATH or tcp:127.0.0.1:PORT\n"
	"  --bt-cache SIZE       the translator's code cache\n"
	"  --stats[=json]        at the end: instructions, exits by kind, seconds, MIPS\n"
	"  -v SUBSYSTEM=LEVEL    log to stderr; LEVEL off, error, warn, info, debug\n"
	"\nExit status: 0 the guest powered off, 2 wrong usage or unreadable input, 3 the guest reset or\n"
	"panicked, 4 the monitor failed; with --debug-exit the guest's.\n";

enum option_id { OPT_kernel = 256, OPT_initrd, OPT_append, OPT_module, OPT_boot, OPT_memory, OPT_cpus, OPT_engine,
	OPT_cpu, OPT_machine, OPT_serial, OPT_debug_exit, OPT_test_device, OPT_gdb, OPT_bt_cache, OPT_stats,
	OPT_counted_clock };

static const struct option options[] = {
	{ "kernel",      required_argument, NULL, OPT_kernel      },
	{ "initrd",      required_argument, NULL, OPT_initrd      },
	{ "append",      required_argument, NULL, OPT_append      },
	{ "module",      required_argument, NULL, OPT_module      },
	{ "boot",        required_argument, NULL, OPT_boot        },
	{ "memory",      required_argument, NULL, OPT_memory      },
	{ "cpus",        required_argument, NULL, OPT_cpus        },
	{ "engine",      required_argument, NULL, OPT_engine      },
	{ "cpu",         required_argument, NULL, OPT_cpu         },
	{ "machine",     required_argument, NULL, OPT_machine     },
	{ "serial",      required_argument, NULL, OPT_serial      },
	{ "debug-exit",  required_argument, NULL, OPT_debug_exit  },
	{ "test-device", no_argument,       NULL, OPT_test_device },
	{ "gdb",         required_argument, NULL, OPT_gdb         },
	{ "bt-cache",    required_argument, NULL, OPT_bt_cache    },
	{ "stats",       optional_argument, NULL, OPT_stats       },
	{ "counted-clock", no_argument,     NULL, OPT_counted_clock },
	{ NULL, 0, NULL, 0 },
};

struct request {
	struct regent_config cfg;
	const char *modules[MODULES_MAX + 1];
	unsigned nmodules;
	enum stats_form stats;
};

/* A number with an optional suffix. false: it is none. */
static bool
parse_number(const char *s, bool suffix, uint64_t *val)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*val = strtoull(s, &end, 0);
	if (errno != 0 || end == s)
		return false;
	if (suffix && *end != '\0' && (unit = strchr(units, *end & ~0x20)) != NULL) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);

		if (*val > UINT64_MAX >> shift)
			return false;
		*val <<= shift;
		end++;
	}
	return *end == '\0';
}

static int
parse_serial(struct regent_config *cfg, const char *s)
{
	if (strcmp(s, "stdio") == 0)
		cfg->serial = REGENT_SERIAL_stdio;
	else if (strcmp(s, "null") == 0)
		cfg->serial = REGENT_SERIAL_null;
	else if (strncmp(s, "file:", 5) == 0 && s[5] != '\0') {
		cfg->serial = REGENT_SERIAL_file;
		cfg->serial_path = s + 5;
	} else {
		return cli_fail(STATUS_usage, "--serial %s: unknown; choose stdio, file:FILE or null", s);
	}
	return 0;
}

static int
parse_sized(const char *option, uint64_t *val, bool suffix, const char *example)
{
	if (parse_number(optarg, suffix, val))
		return 0;
	return cli_fail(STATUS_usage, "%s %s: is no number; write it like %s", option, optarg, example);
}

/* One option; 0 or an exit status. */
static int
parse_option(struct request *q, int c)
{
	struct regent_config *cfg = &q->cfg;
	uint64_t val;
	int rc;

	switch (c) {
	case OPT_kernel:
		cfg->kernel = optarg;
		return 0;
	case OPT_initrd:
		cfg->initrd = optarg;
		return 0;
	case OPT_append:
		cfg->append = optarg;
		return 0;
	case OPT_module:
		if (q->nmodules == MODULES_MAX)
			return cli_fail(STATUS_usage, "--module %s: is one too many; at most %d", optarg, MODULES_MAX);
		q->modules[q->nmodules++] = optarg;
		return 0;
	case OPT_boot:
		cfg->boot = optarg;
		return 0;
	case OPT_memory:
		return parse_sized("--memory", &cfg->memory, true, "512M");
	case OPT_cpus:
		rc = parse_sized("--cpus", &val, false, "2");
		cfg->cpus = val > UINT32_MAX ? UINT32_MAX : (unsigned)val;
		return rc;
	case OPT_engine:
		cfg->engine = optarg;
		return 0;
	case OPT_cpu:
		cfg->cpu = optarg;
		return 0;
	case OPT_machine:
		cfg->machine = optarg;
		return 0;
	case OPT_serial:
		return parse_serial(cfg, optarg);
	case OPT_debug_exit:
		rc = parse_sized("--debug-exit", &val, false, "0xf4");
		if (rc == 0 && (val == 0 || val > UINT16_MAX))
			return cli_fail(STATUS_usage, "--debug-exit %s: choose a port from 0x1 to 0xffff", optarg);
		cfg->debug_exit_port = (int)val;
		return rc;
	case OPT_test_device:
		cfg->test_device = 1;
		return 0;
	case OPT_gdb:
		cfg->gdb = optarg;
		return 0;
	case OPT_bt_cache:
		return parse_sized("--bt-cache", &cfg->bt_cache, true, "64M");
	case OPT_stats:
		if (optarg != NULL && strcmp(optarg, "json") != 0 && strcmp(optarg, "text") != 0)
			return cli_fail(STATUS_usage, "--stats=%s: unknown; choose json or text", optarg);
		q->stats = optarg != NULL && strcmp(optarg, "json") == 0 ? STATS_json : STATS_text;
		return 0;
	case OPT_counted_clock:
		cfg->counted_clock = 1;
		return 0;
	default:
		if (regent_log(optarg) != 0)
			return cli_fail(STATUS_usage, "-v %s: unknown; write it like io=debug, with subsystems of regent(1)",
				optarg);
		return 0;
	}
}

static int
parse_options(struct request *q, int argc, char **argv)
{
	int c, rc = 0;

	opterr = 0;
	optind = 1;
	while (rc == 0 && (c = getopt_long(argc, argv, ":v:", options, NULL)) != -1)
		rc = c == '?' || c == ':' ? cli_bad_option("run", c, argv) : parse_option(q, c);
	if (rc == 0 && optind < argc)
		rc = cli_fail(STATUS_usage, "%s: is no option; see `regent run --help`", argv[optind]);
	q->cfg.modules = q->modules;
	return rc;
}

/* ---- signals: they end the machine as Ctrl-A x does, and then this process as they always do ---- */

static volatile sig_atomic_t signal_seen;

static void
signals_of_end(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

static void *
signal_thread(void *vm)
{
	sigset_t set;
	int sig;

	signals_of_end(&set);
	while (sigwait(&set, &sig) != 0)
		;
	signal_seen = sig;
	regent_stop(vm);
	return NULL;
}

/* Dies of the signal that ended us, so that a shell sees it. Returns when it is ignored. */
static void
signal_pass_on(void)
{
	sigset_t set;

	signals_of_end(&set);
	if (signal_seen == 0)
		return;
	signal(signal_seen, SIG_DFL);
	raise(signal_seen);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- */

static int
status_of_end(struct regent_vm *vm, enum regent_end end)
{
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
	return cli_fail(cli_status(regent_failure(vm)), "%s", regent_error(vm));
}

static int
run_machine(struct regent_vm *vm, enum stats_form stats)
{
	enum regent_end end;
	pthread_t waiter;
	int err, status;
	bool waiting = pthread_create(&waiter, NULL, signal_thread, vm) == 0;

	if ((err = regent_start(vm)) != 0)
		status = cli_fail(cli_status(err), "%s", regent_error(vm));
	else
		end = regent_wait(vm), status = status_of_end(vm, end);
	if (waiting) {
		pthread_cancel(waiter);
		pthread_join(waiter, NULL);
	}
	if (err == 0 && stats != STATS_none)
		stats_print(vm, stats);
	return status;
}

int
cli_run(int argc, char **argv)
{
	struct request q = { .cfg = REGENT_CONFIG_INIT };
	struct regent_vm *vm;
	sigset_t set;
	int err, status;

	if ((status = parse_options(&q, argc, argv)) != 0)
		return status;
	signals_of_end(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if ((err = regent_open(&vm, &q.cfg)) != 0)
		return cli_fail(cli_status(err), "%s", regent_open_error());
	status = run_machine(vm, q.stats);
	regent_close(vm);
	signal_pass_on();
	return status;
}
