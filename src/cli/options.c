/* SPDX-License-Identifier: Apache-2.0 */
/* cli/options.c - the options that describe a machine; `run` and `lockstep` take the same. */
#include "cli/options.h"
#include "cli/cli.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum option_id {
	OPT_kernel = 256,
	OPT_initrd,
	OPT_append,
	OPT_module,
	OPT_boot,
	OPT_memory,
	OPT_cpus,
	OPT_engine,
	OPT_cpu,
	OPT_machine,
	OPT_serial,
	OPT_console,
	OPT_debug_exit,
	OPT_test_device,
	OPT_gdb,
	OPT_bt_cache,
	OPT_trace,
	OPT_perf_map,
	OPT_irqchip,
	OPT_stats,
	OPT_counted_clock,
	OPT_engines,
	OPT_limit,
	OPT_compare_memory,
	OPT_disk,
	OPT_net,
	OPT_rng,
	OPT_share,
	OPT_balloon,
	OPT_vsock,
	OPT_name,
	OPT_policy,
	OPT_policy_rule,
	OPT_trace_regs,
	OPT_trace_file,
	OPT_trace_format,
	OPT_no_sandbox,
	OPT_wait
};

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
	{ "console",     required_argument, NULL, OPT_console     },
	{ "debug-exit",  required_argument, NULL, OPT_debug_exit  },
	{ "test-device", no_argument,       NULL, OPT_test_device },
	{ "gdb",         required_argument, NULL, OPT_gdb         },
	{ "bt-cache",    required_argument, NULL, OPT_bt_cache    },
	{ "trace",       required_argument, NULL, OPT_trace       },
	{ "perf-map",    no_argument,       NULL, OPT_perf_map    },
	{ "irqchip",     required_argument, NULL, OPT_irqchip     },
	{ "stats",       optional_argument, NULL, OPT_stats       },
	{ "counted-clock", no_argument,     NULL, OPT_counted_clock },
	{ "engines",     required_argument, NULL, OPT_engines     },
	{ "limit",       required_argument, NULL, OPT_limit       },
	{ "compare-memory", required_argument, NULL, OPT_compare_memory },
	{ "disk",        required_argument, NULL, OPT_disk        },
	{ "net",         required_argument, NULL, OPT_net         },
	{ "rng",         no_argument,       NULL, OPT_rng         },
	{ "share",       required_argument, NULL, OPT_share       },
	{ "vsock",       required_argument, NULL, OPT_vsock       },
	{ "balloon",     no_argument,       NULL, OPT_balloon     },
	{ "name",        required_argument, NULL, OPT_name        },
	{ "policy",      required_argument, NULL, OPT_policy      },
	{ "policy-rule", required_argument, NULL, OPT_policy_rule },
	{ "trace-regs",  required_argument, NULL, OPT_trace_regs  },
	{ "trace-file",  required_argument, NULL, OPT_trace_file  },
	{ "trace-format", required_argument, NULL, OPT_trace_format },
	{ "no-sandbox",  no_argument,       NULL, OPT_no_sandbox  },
	{ "wait",        no_argument,       NULL, OPT_wait        },
	{ NULL, 0, NULL, 0 },
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
		return cli_fail(STATUS_usage,
				"--serial %s: unknown; choose stdio, file:FILE or null", s);
	}
	return 0;
}

static int
parse_sized(const char *option, uint64_t *val, bool suffix, const char *example)
{
	if (parse_number(optarg, suffix, val))
		return 0;
	return cli_fail(STATUS_usage, "%s %s: is no number; write it like %s", option, optarg,
			example);
}

/* One more of those that may be repeated. */
static int
add_word(const char *option, const char **list, unsigned *n, unsigned max)
{
	if (*n == max)
		return cli_fail(STATUS_usage, "%s %s: is one too many; at most %u", option, optarg, max);
	list[(*n)++] = optarg;
	return 0;
}

/* One option; 0 or an exit status. */
static int
parse_option(struct options *q, int c)
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
			return cli_fail(STATUS_usage, "--module %s: is one too many; at most %d",
					optarg, MODULES_MAX);
		q->modules[q->nmodules++] = optarg;
		return 0;
	case OPT_disk:
		return add_word("--disk", q->disks, &q->ndisks, DEVICES_MAX);
	case OPT_net:
		return add_word("--net", q->nets, &q->nnets, DEVICES_MAX);
	case OPT_share:
		return add_word("--share", q->shares, &q->nshares, DEVICES_MAX);
	case OPT_vsock:
		cfg->vsock = optarg;
		return 0;
	case OPT_balloon:
		cfg->balloon = 1;
		return 0;
	case OPT_rng:
		cfg->rng = 1;
		return 0;
	case OPT_name:
		cfg->name = optarg;
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
	case OPT_console:
		cfg->console = optarg;
		return 0;
	case OPT_debug_exit:
		rc = parse_sized("--debug-exit", &val, false, "0xf4");
		if (rc == 0 && (val == 0 || val > UINT16_MAX))
			return cli_fail(STATUS_usage,
					"--debug-exit %s: choose a port from 0x1 to 0xffff",
					optarg);
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
	case OPT_trace:
		cfg->trace = optarg;
		return 0;
	case OPT_irqchip:
		cfg->irqchip = optarg;
		return 0;
	case OPT_perf_map:
		cfg->perf_map = 1;
		return 0;
	case OPT_stats:
		if (optarg != NULL && strcmp(optarg, "json") != 0 && strcmp(optarg, "text") != 0)
			return cli_fail(STATUS_usage, "--stats=%s: unknown; choose json or text",
					optarg);
		q->stats = optarg != NULL && strcmp(optarg, "json") == 0 ? STATS_json : STATS_text;
		return 0;
	case OPT_counted_clock:
		cfg->counted_clock = 1;
		return 0;
	case OPT_policy:
		return add_word("--policy", q->policies, &q->npolicies, POLICIES_MAX);
	case OPT_policy_rule:
		return add_word("--policy-rule", q->policy_rules, &q->npolicy_rules, POLICIES_MAX);
	case OPT_trace_regs:
		q->trace_regs = optarg;
		return 0;
	case OPT_trace_file:
		q->trace_file = optarg;
		return 0;
	case OPT_trace_format:
		if (strcmp(optarg, "json") != 0 && strcmp(optarg, "text") != 0)
			return cli_fail(STATUS_usage, "--trace-format %s: unknown; choose text or json", optarg);
		q->trace_json = strcmp(optarg, "json") == 0;
		return 0;
	case OPT_no_sandbox:
		q->no_sandbox = true;
		return 0;
	case OPT_wait:
		cfg->wait = 1;
		return 0;
	case OPT_engines:
		q->engines = optarg;
		return 0;
	case OPT_limit:
		return parse_sized("--limit", &q->limit, true, "100M");
	case OPT_compare_memory:
		return parse_sized("--compare-memory", &q->compare_memory, true, "10M");
	default:
		if (regent_log(optarg) != 0)
			return cli_fail(
			    STATUS_usage,
			    "-v %s: unknown; write it like io=debug, with subsystems of regent(1)",
			    optarg);
		return 0;
	}
}

int
options_parse_words(struct options *q, const char *command, int argc, char **argv, int *rest)
{
	int c, rc = 0;

	opterr = 0;
	optind = 1;
	while (rc == 0 && (c = getopt_long(argc, argv, ":v:", options, NULL)) != -1)
		rc = c == '?' || c == ':' ? cli_bad_option(command, c, argv) : parse_option(q, c);
	options_finish(q);
	*rest = optind;
	return rc;
}

static const struct option *
option_find(const char *name)
{
	for (const struct option *o = options; o->name != NULL; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

int
options_takes(const char *name)
{
	const struct option *o = option_find(name);

	return o == NULL ? -1 : o->has_arg != no_argument;
}

int
options_set(struct options *q, const char *name, const char *value)
{
	optarg = (char *)(uintptr_t)value;
	return parse_option(q, option_find(name)->val);
}

void
options_finish(struct options *q)
{
	q->cfg.modules = q->modules;
	q->cfg.disks = q->disks;
	q->cfg.nets = q->nets;
	q->cfg.shares = q->shares;
	q->cfg.policies = q->policies;
	q->cfg.policy_rules = q->policy_rules;
}

int
options_parse(struct options *q, const char *command, int argc, char **argv)
{
	int rest, rc = options_parse_words(q, command, argc, argv, &rest);

	if (rc == 0 && rest < argc && strcmp(command, "run") == 0)
		q->cfg.image = argv[rest++];
	if (rc == 0 && rest < argc)
		rc = cli_fail(STATUS_usage, "%s: is no option; see `regent %s --help`", argv[rest], command);
	return rc;
}
