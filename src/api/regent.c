/* SPDX-License-Identifier: Apache-2.0 */
/* api/regent.c - the library's virtual machine: config in, one struct vm with its console out. */
#include "api/vm.h"
#include "api/devices.h"
#include "api/image.h"
#include "cpu/access.h"
#include "cpu/sysreg.h"
#include "host/log.h"
#include "host/sandbox.h"
#include "machine/boot.h"
#include "machine/machine.h"
#include "virtio/balloon.h"
#include "vm/sched.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND_LINE_MAX = 8192 };
static const uint64_t MEMORY_MIN = 2 << 20, MEMORY_MAX = 1ull << 39;
static const uint64_t CODE_CACHE_MIN = 1 << 20, CODE_CACHE_MAX = 1 << 30;

static _Thread_local char open_error[ERROR_MAX];

static const struct { const char *what, *advice; } error_rows[] = {
#define E(name, what, advice) [REGENT_E_##name] = { what, advice },
#include "api/errors.def"
#undef E
};

const char *
regent_version(void)
{
	return REGENT_VERSION;
}

static unsigned
error_row(int err)
{
	unsigned n = err < 0 ? 0u - (unsigned)err : (unsigned)err;

	return n < sizeof(error_rows) / sizeof(*error_rows) ? n : REGENT_E_internal;
}

const char *
regent_strerror(int err)
{
	return error_rows[error_row(err)].what;
}

const char *
regent_advice(int err)
{
	return error_rows[error_row(err)].advice;
}

const char *
regent_open_error(void)
{
	return open_error;
}

const char *
regent_error(const struct regent_vm *vm)
{
	return vm->error[0] != '\0' ? vm->error : vm->vm->error;
}

int
regent_failure(const struct regent_vm *vm)
{
	return vm->failure;
}

int
regent_log(const char *spec)
{
	return log_choose(spec) == 0 ? 0 : -REGENT_E_usage;
}

const char *
regent_log_subsystem(unsigned n, const char **about)
{
	return log_subsys_name(n, about);
}

/* ---- opening ---- */

struct vm *
regent_vm_of(struct regent_vm *v)
{
	return v->vm;
}

struct register_ask *
regent_ask_of(struct regent_vm *v)
{
	return &v->ask;
}

int
regent_open_line(int code, const char *line)
{
	snprintf(open_error, sizeof(open_error), "%s", line);
	return -code;
}

int
regent_open_fail(int code, const char *what, const char *why)
{
	snprintf(open_error, sizeof(open_error), "%s: %s", what, why);
	return -code;
}

/* What can be judged before anything is opened. */
static int
config_check(const struct regent_config *cfg)
{
	if (cfg->kernel == NULL && cfg->image == NULL)
		return regent_open_fail(REGENT_E_usage, "--kernel",
					"is missing; name the kernel to boot, or a disk image with one inside");
	if (cfg->memory < MEMORY_MIN || cfg->memory > MEMORY_MAX || cfg->memory % PAGE_SIZE != 0)
		return regent_open_fail(REGENT_E_usage, "--memory",
					"choose 2M to 512G, in whole pages of 4 KiB");
	if (cfg->cpus < 1 || cfg->cpus > VM_CPUS_MAX)
		return regent_open_fail(REGENT_E_usage, "--cpus", "choose 1 to 64");
	if (cfg->debug_exit_port < -1 || cfg->debug_exit_port > UINT16_MAX)
		return regent_open_fail(REGENT_E_usage, "--debug-exit",
					"choose a port from 0x1 to 0xffff");
	if (cfg->bt_cache != 0 &&
	    (cfg->bt_cache < CODE_CACHE_MIN || cfg->bt_cache > CODE_CACHE_MAX))
		return regent_open_fail(REGENT_E_usage, "--bt-cache", "choose 1M to 1G");
	if (cfg->pool != NULL && (cfg->weight > SCHED_WEIGHT_MAX || cfg->counted_clock))
		return regent_open_fail(REGENT_E_usage, "weight", "choose 1 to 1000; and no counted clock on a pool");
	if (cfg->pool != NULL && cfg->serial == REGENT_SERIAL_stdio)
		return regent_open_fail(REGENT_E_usage, "--serial", "machines of a pool share no terminal; choose file:FILE or null");
	if (cfg->console != NULL && strcmp(cfg->console, "serial") != 0 && strcmp(cfg->console, "virtio") != 0)
		return regent_open_fail(REGENT_E_usage, "--console", "is unknown; choose serial or virtio");
	if (cfg->machine != NULL && strcmp(cfg->machine, "regent-1") != 0)
		return regent_open_fail(REGENT_E_usage, "--machine",
					"is unknown; there is regent-1");
	return 0;
}

/* Whether only a software engine has this CPU model; a model that nobody has is found out later. */
static bool
needs_software(const char *spec)
{
	char err[ERROR_MAX], lost[ERROR_MAX];
	struct cpu_model m;

	return cpu_model_make(&m, spec, false, err, sizeof(err), lost, sizeof(lost)) != 0;
}

/* "auto" is kvm where it can run an unmodified kernel, else what is best without; choice gets why. */
static const char *
engine_auto(const struct regent_config *cfg, char *choice, size_t size)
{
	const char *other = regent_engine_name(0);
	struct kvm_answer kvm;

	if (cfg->counted_clock)
		snprintf(choice, size, "%s (a counted clock needs a software engine)", other);
	else if (cfg->pool != NULL)
		snprintf(choice, size, "%s (kvm on a pool of threads is to be asked for)", other);
	else if (needs_software(cfg->cpu))
		snprintf(choice, size, "%s (CPU model %.64s needs a software engine)", other, cfg->cpu);
	else if (cfg->trace != NULL || cfg->perf_map)
		snprintf(choice, size, "%s (it is the translator that is to be watched)", other);
	else if (kvm_usable(&kvm) != 0)
		snprintf(choice, size, "%s (/dev/kvm: %s)", other, kvm.why);
	else {
		snprintf(choice, size, "kvm (/dev/kvm runs unmodified kernels)");
		other = "kvm";
	}
	return other;
}

static int
engine_choose(const struct regent_config *cfg, const struct engine **engine, char *choice, size_t size)
{
	const char *name = cfg->engine != NULL ? cfg->engine : "auto";

	choice[0] = '\0';
	if (strcmp(name, "auto") == 0)
		name = engine_auto(cfg, choice, size);
	if ((*engine = engine_by_name(name)) == NULL)
		return regent_open_fail(REGENT_E_engine, "--engine",
					"is not built in; see `regent cpus` for what is");
	if (cfg->irqchip != NULL && strcmp(cfg->irqchip, "board") != 0 && strcmp(cfg->irqchip, "kernel") != 0)
		return regent_open_fail(REGENT_E_usage, "--irqchip", "is unknown; choose kernel or board");
	return 0;
}

static int
machine_open(struct regent_vm *v, const struct regent_config *cfg, const struct engine *engine,
	     struct policy *policy)
{
	struct vm_config vc = { .memory = cfg->memory,
				.cpus = cfg->cpus,
				.engine = engine,
				.cpu_spec = cfg->cpu,
				.code_cache = cfg->bt_cache,
				.code_log = v->code_log.trace != NULL || v->code_log.perf != NULL ? &v->code_log : NULL,
				.kernel_chips = cfg->pool == NULL && (cfg->irqchip == NULL || strcmp(cfg->irqchip, "kernel") == 0),
				.counted_clock = cfg->counted_clock != 0,
				.policy = policy };
	struct machine_config mc = { .test_device = cfg->test_device != 0,
		.debug_exit_port = cfg->debug_exit_port > 0 ? cfg->debug_exit_port : 0 };
	struct cpu_model probe;
	char err[ERROR_MAX - 64] = "", lost[512];
	int rc;

	if (cpu_model_make(&probe, cfg->cpu, engine->software, err, sizeof(err), lost,
			   sizeof(lost)) != 0) {
		policy_free(policy);
		return regent_open_fail(REGENT_E_usage, "--cpu", err);
	}
	console_board(v, &mc);
	if ((v->vm = vm_open(&vc, err, sizeof(err))) == NULL)
		return strncmp(err, "engine ", 7) == 0 ? regent_open_fail(REGENT_E_engine, "--engine", err)
		       : regent_open_fail(REGENT_E_memory, "--memory, --cpus", err);
	if (v->vm->lost[0] != '\0')
		LOG(cpu, warn, "this host lacks what the CPU model has: %s", v->vm->lost);
	if (machine_build(v->vm, &mc, err, sizeof(err)) != 0)
		return regent_open_fail(REGENT_E_host, "--machine", err);
	if ((rc = devices_open(v->vm, cfg, open_error, sizeof(open_error))) != 0)
		return rc;
	return console_attach(v);
}

/* What the image says is made part of the configuration; append is room for the command line. */
static int
image_use(struct regent_config *cfg, struct image_boot *b, char *append, size_t size)
{
	char path[PATH_SHOWN * 16];

	snprintf(path, sizeof(path), "%.*s", (int)strcspn(cfg->image, ","), cfg->image);
	if (image_open(b, path, open_error, sizeof(open_error)) != 0)
		return -REGENT_E_io;
	cfg->kernel = b->kernel;
	if (cfg->initrd == NULL && b->initrd[0] != '\0')
		cfg->initrd = b->initrd;
	/* The last one is the console; the one before has the time before its driver is there. */
	snprintf(append, size, "root=%s ro console=ttyS0 %s%s", b->root, console_is_virtio(cfg) ? "console=hvc0 " : "", cfg->append != NULL ? cfg->append : "");
	cfg->append = append;
	return 0;
}

static int
tools_open(struct regent_vm *v, const struct regent_config *cfg)
{
	char err[ERROR_MAX - 64];
	bool usage;

	if (code_log_open(&v->code_log, cfg->trace, cfg->perf_map != 0, &usage, err, sizeof(err)) == 0)
		return 0;
	return regent_open_fail(usage ? REGENT_E_usage : REGENT_E_io, usage ? "--trace" : "--trace, --perf-map", err);
}

static int
kernel_load(struct regent_vm *v, const struct regent_config *cfg)
{
	struct machine_range map[MACHINE_MAP_MAX];
	struct boot_config bc = { .kernel = cfg->kernel,
				  .initrd = cfg->initrd,
				  .append = cfg->append,
				  .modules = cfg->modules,
				  .protocol = cfg->boot,
				  .rsdp = machine_rsdp(v->vm),
				  .map = map };
	char err[ERROR_MAX - 64];
	int rc;

	bc.nmap = machine_memory_map(v->vm, map);
	if ((rc = boot_load(v->vm, &bc, open_error, sizeof(open_error))) != 0)
		return rc;
	if (machine_firmware(v->vm) != 0)
		return regent_open_fail(REGENT_E_engine, "--engine", engine_why());
	if (vm_ready(v->vm, err, sizeof(err)) != 0)
		return regent_open_fail(REGENT_E_engine, "--engine", err);
	return 0;
}

/* The kernel that was named, or the image's own. */
static int
guest_load(struct regent_vm *v, const struct regent_config *given)
{
	struct regent_config cfg = *given;
	struct image_boot image;
	char append[COMMAND_LINE_MAX];
	int rc;

	if (cfg.kernel != NULL)
		return kernel_load(v, &cfg);
	if ((rc = image_use(&cfg, &image, append, sizeof(append))) != 0)
		return rc;
	rc = kernel_load(v, &cfg);
	image_close(&image);
	return rc;
}

/* Everything that has a name is open; threads come after this. */
static void
sandbox_begin(struct regent_vm *v, const struct regent_config *cfg)
{
	struct sandbox_config *s = &v->sandbox;
	bool unix_socket = v->gdb_where != NULL && strncmp(v->gdb_where, "unix:", 5) == 0;

	v->sandboxed = cfg->sandbox != 0;
	if (!v->sandboxed)
		return;
	s->roles = SANDBOX_all | (v->terminal != NULL ? SANDBOX_terminal : 0) | (v->gdb_where != NULL ? SANDBOX_gdb : 0) |
		((cfg->disks != NULL && cfg->disks[0] != NULL) || cfg->image != NULL ? SANDBOX_disk : 0) |
		(devices_have_helpers(cfg) ? SANDBOX_net : 0) |
		(strcmp(v->engine, "kvm") == 0 ? SANDBOX_kvm : 0) | (v->control != NULL ? SANDBOX_control : 0);
	s->socket_path = unix_socket ? v->gdb_where + 5 : NULL;
	s->keep_net = v->gdb_where != NULL && !unix_socket;
	if (v->pool != NULL)
		pool_sandbox(v->pool, s);
	else
		sandbox_prepare(s);
}

/* Listens, and has the machine wait for the debugger. */
static int
debugger_open(struct regent_vm *v, char *err, size_t size)
{
	if (v->gdb_where == NULL || v->gdb != NULL)
		return 0;
	v->gdb = gdb_open(v->vm, v->gdb_where, err, size);
	return v->gdb == NULL ? -REGENT_E_usage : 0;
}

static int
open_with(struct regent_vm **vm, const struct regent_config *cfg, const struct engine *engine, const char *choice,
	struct control *awaited)
{
	char err[ERROR_MAX - 16];
	struct policy *policy;
	struct regent_vm *v;
	int rc;

	if ((policy = policy_of_config(cfg, &rc)) == NULL)
		return rc;
	if ((rc = policy_suits(policy, engine->name)) != 0) {
		policy_free(policy);
		return rc;
	}
	if ((v = calloc(1, sizeof(*v))) == NULL) {
		policy_free(policy);
		return regent_open_fail(REGENT_E_memory, "regent", "no memory for a machine");
	}
	v->engine = engine->name;
	snprintf(v->choice, sizeof(v->choice), "%s", choice);
	v->gdb_where = cfg->gdb != NULL ? strdup(cfg->gdb) : NULL;
	v->pool = cfg->pool;
	v->weight = cfg->weight == 0 ? 1 : cfg->weight;
	if ((rc = console_open_host(v, cfg)) != 0 || (rc = tools_open(v, cfg)) != 0) {
		policy_free(policy);
		regent_close(v);
		return rc;
	}
	if ((rc = machine_open(v, cfg, engine, policy)) != 0 || (rc = guest_load(v, cfg)) != 0 ||
	    (cfg->control && awaited == NULL && (rc = control_open(v, cfg)) != 0)) {
		regent_close(v);
		return rc;
	}
	if (awaited != NULL)
		control_adopt(awaited, v);
	sandbox_begin(v, cfg);
	if (v->sandboxed && v->pool != NULL && debugger_open(v, err, sizeof(err)) != 0) {	/* later it could not listen */
		regent_close(v);
		return regent_open_line(REGENT_E_usage, err);
	}
	*vm = v;
	return 0;
}

/* awaited: its control socket, when that was there before; NULL: it has to be made. */
static int
open_checked(struct regent_vm **vm, const struct regent_config *cfg, struct control *awaited)
{
	const struct engine *engine;
	char choice[ERROR_MAX];
	int rc;

	if ((rc = config_check(cfg)) != 0 || (rc = engine_choose(cfg, &engine, choice, sizeof(choice))) != 0)
		return rc;
	rc = open_with(vm, cfg, engine, choice, awaited);
	if (rc == -REGENT_E_engine && choice[0] != '\0' && engine == &kvm_engine) {
		/* Nothing has run: what the kernel refused, the translator does. */
		snprintf(choice, sizeof(choice), "%s (/dev/kvm: %.300s)", regent_engine_name(0), engine_why());
		rc = open_with(vm, cfg, engine_by_name(regent_engine_name(0)), choice, awaited);
	}
	return rc;
}

/* As requests describe it, when one of them says so. What can't be opened is told to who asked, who may try again. */
static int
open_when_told(struct regent_vm **vm, const struct regent_config *cfg)
{
	struct regent_config told;
	struct control *k;
	int rc;

	if (cfg->pool != NULL)
		return regent_open_fail(REGENT_E_usage, "--wait", "is not for machines of a pool");
	if ((rc = control_await(&k, cfg)) != 0)
		return rc;
	while (control_told(k, &told) == 0) {
		if (open_checked(vm, &told, k) == 0)
			return 0;
		control_refuse(k, regent_open_error());
	}
	control_leave(k);
	return regent_open_fail(REGENT_E_state, "--wait", "was ended before the machine started");
}

int
regent_open(struct regent_vm **vm, const struct regent_config *given)
{
	struct regent_config cfg = REGENT_CONFIG_INIT;

	*vm = NULL;
	memcpy(&cfg, given, given->size < sizeof(cfg) ? given->size : sizeof(cfg));
	return cfg.control && cfg.wait ? open_when_told(vm, &cfg) : open_checked(vm, &cfg, NULL);
}

const char *
regent_engine_choice(const struct regent_vm *v)
{
	return v->choice[0] != '\0' ? v->choice : NULL;
}

int
regent_engine_failed(const struct regent_vm *v)
{
	return v->vm->end == VM_failed && v->error[0] == '\0';
}

/* ---- running ---- */

static int
start_fail(struct regent_vm *v, int code, const char *what)
{
	if (what != NULL)
		snprintf(v->error, sizeof(v->error), "%s", what);
	v->failure = -code;
	return -code;
}

/* The vCPUs' threads stand still until the filter is there. */
static int
start_closed(struct regent_vm *v)
{
	struct vm *vm = v->vm;
	bool debugged = vm->pause;
	int rc;

	vm->pause = true;
	if (vm_start(vm) != 0)
		return start_fail(v, REGENT_E_host, NULL);
	if ((rc = sandbox_close(&v->sandbox)) != 0) {
		snprintf(v->error, sizeof(v->error), "sandbox: %s; choose --no-sandbox to go without", strerror(errno));
		vm_request_end(vm, VM_failed);
		return start_fail(v, REGENT_E_host, NULL);
	}
	if (!debugged)
		vm_resume(vm);
	return 0;
}

static int
start(struct regent_vm *v)
{
	char err[ERROR_MAX - 16];

	if (debugger_open(v, err, sizeof(err)) != 0) {
		snprintf(v->error, sizeof(v->error), "%s", err);
		return start_fail(v, REGENT_E_usage, NULL);
	}
	clock_gettime(CLOCK_MONOTONIC, &v->start);
	v->started = true;
	if (console_start(v) != 0)
		return start_fail(v, REGENT_E_host, "cannot start the threads of the serial port");
	if (v->sandboxed && v->pool == NULL)
		return start_closed(v);
	if (v->pool != NULL ? pool_start(v->pool, v) != 0 : vm_start(v->vm) != 0)
		return start_fail(v, REGENT_E_host, NULL);
	return 0;
}

int
regent_start(struct regent_vm *v)
{
	int rc;

	if (v->started)
		return -REGENT_E_state;
	rc = start(v);
	control_started(v, rc);
	return rc;
}

enum regent_end
regent_wait(struct regent_vm *v)
{
	enum vm_end end = vm_wait(v->vm);

	if (!v->ended)
		clock_gettime(CLOCK_MONOTONIC, &v->end);
	v->ended = true;
	control_close(v);
	gdb_close(v->gdb);
	v->gdb = NULL;
	/* The board may not call a serial port that is gone: nothing runs any more. */
	console_close_host(v);
	if (v->failure != 0)
		return REGENT_END_failed;
	if (end == VM_failed)
		v->failure = strcmp(v->engine, "kvm") == 0 ? -REGENT_E_host : -REGENT_E_internal;
	return (enum regent_end)end;
}
_Static_assert(REGENT_END_running == (int)VM_running && REGENT_END_failed == (int)VM_failed &&
		   REGENT_END_debug_exit == (int)VM_debug_exit && REGENT_END_panic == (int)VM_panic,
	       "one order of ends");

void
regent_close(struct regent_vm *v)
{
	if (v == NULL)
		return;
	if (v->started && !v->ended) {
		regent_stop(v);
		regent_wait(v);
	}
	control_close(v);
	gdb_close(v->gdb);
	pool_forget(v->pool, v);
	vm_close(v->vm);
	console_close_host(v);
	code_log_close(&v->code_log);
	free(v->gdb_where);
	free(v);
}

int
regent_exit_status(const struct regent_vm *v)
{
	return v->vm->exit_status;
}

int
regent_stop(struct regent_vm *v)
{
	vm_request_end(v->vm, VM_stopped);
	return 0;
}

int
regent_power_button(struct regent_vm *v)
{
	machine_power_button(v->vm);
	return 0;
}

enum regent_state
regent_state(struct regent_vm *v)
{
	enum regent_state st;

	pthread_mutex_lock(&v->vm->lock);
	st = v->ended || v->vm->end != VM_running ? REGENT_STATE_ended
	     : !v->started                        ? REGENT_STATE_not_started
	     : v->vm->pause                       ? REGENT_STATE_paused
						  : REGENT_STATE_running;
	pthread_mutex_unlock(&v->vm->lock);
	return st;
}

int
regent_pause(struct regent_vm *v)
{
	vm_pause(v->vm);
	return 0;
}

int
regent_resume(struct regent_vm *v)
{
	vm_resume(v->vm);
	return 0;
}

int
regent_balloon(struct regent_vm *v, uint64_t bytes, uint64_t *given)
{
	struct virtio *b = devices_find(v->vm, "virtio-balloon");

	if (b == NULL || bytes >= mem_size(v->vm->mem))
		return -(b == NULL ? REGENT_E_state : REGENT_E_usage);
	pthread_mutex_lock(&v->vm->lock);
	balloon_target(b, bytes);
	if (given != NULL)
		*given = balloon_size(b);
	pthread_mutex_unlock(&v->vm->lock);
	return 0;
}

int
regent_mem_read(struct regent_vm *v, uint64_t gpa, void *to, size_t n)
{
	return mem_read(v->vm->mem, gpa, to, n) ? 0 : -REGENT_E_usage;
}

int
regent_mem_write(struct regent_vm *v, uint64_t gpa, const void *from, size_t n)
{
	return mem_write(v->vm->mem, gpa, from, n) ? 0 : -REGENT_E_usage;
}
