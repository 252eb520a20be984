/* SPDX-License-Identifier: Apache-2.0 */
/* regent.h - the library: virtual machines whose registers the host program can see and govern.
 *
 *	struct regent_config cfg = REGENT_CONFIG_INIT;
 *	cfg.kernel = "vmlinuz"; cfg.initrd = "initrd.cpio"; cfg.append = "console=ttyS0";
 *	if ((err = regent_open(&vm, &cfg)) != 0) ... regent_strerror(err), regent_error(vm)
 *	regent_start(vm); end = regent_wait(vm); regent_close(vm);
 *
 * Handles are opaque; structs begin with their size, so that old programs run with new libraries.
 * Functions return 0 or a negative REGENT_E_* unless they say otherwise. A handle may be used from
 * any thread; registers can be read and written only while the VM is paused or has ended.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Error numbers are negative in results: -REGENT_E_io. The rows are in src/api/errors.def. */
enum regent_error {
	REGENT_E_ok = 0, REGENT_E_usage, REGENT_E_io, REGENT_E_memory, REGENT_E_format, REGENT_E_engine,
	REGENT_E_host, REGENT_E_state, REGENT_E_noreg, REGENT_E_internal
};

struct regent_vm;

enum regent_serial { REGENT_SERIAL_null, REGENT_SERIAL_stdio, REGENT_SERIAL_file, REGENT_SERIAL_fd };

struct regent_config {
	size_t size;			/* sizeof(struct regent_config) */
	const char *engine;		/* "auto", "interp", "bt", "kvm" */
	const char *cpu;		/* "regent-v1,+feature,-feature"; NULL: the default */
	const char *machine;		/* "regent-1"; NULL: the default */
	uint64_t memory;		/* bytes; a multiple of 4096 */
	unsigned cpus;
	const char *kernel, *initrd, *append;	/* files; NULL: none */
	const char *const *modules;	/* multiboot modules, "FILE ARGUMENTS"; NULL-terminated; NULL: none */
	enum regent_serial serial;
	const char *serial_path;	/* REGENT_SERIAL_file */
	int serial_in, serial_out;	/* REGENT_SERIAL_fd; -1: none */
	int debug_exit_port;		/* -1: none */
	int test_device;		/* 1: QEMU-compatible pc-testdev */
	int counted_clock;		/* 1: time is counted instructions (deterministic) */
	const char *gdb;		/* "unix:PATH" or "tcp:127.0.0.1:PORT"; NULL: none */
	uint64_t bt_cache;		/* bytes of code cache; 0: default */
	const char *boot;		/* "auto", "linux", "decompress", "pvh", "multiboot"; NULL: auto */
	const char *const *disks;	/* "FILE or URI[,ro][,format=F][,io=auto|uring|threads]"; NULL-terminated; NULL: none */
	const char *const *nets;	/* "user[,hostfwd=tcp:ADDR:PORT-[ADDR]:PORT][,mac=MAC]", "tap=NAME[,mac=MAC]" */
	int rng;			/* 1: a source of entropy */
	const char *const *shares;	/* "DIR[:TAG][:ro]", by virtio-fs; NULL-terminated; NULL: none */
	int balloon;			/* 1: a balloon, by which free memory goes back to the host */
	const char *vsock;		/* "PATH[,cid=N]": a socket of the host that leads to the guest's; NULL: none */
	const char *image;		/* as one of disks: the first; without a kernel its own is booted; NULL: none */
	const char *name;		/* of the machine: MAC addresses come from it; NULL: "regent" */
	const char *trace;		/* "blocks" (stderr) or "blocks=FILE": each translation; NULL: none */
	int perf_map;			/* 1: name translations for perf in /tmp/perf-PID.map */
	const char *const *policies;	/* shipped profiles or files, in order; NULL-terminated; NULL: "default" */
	const char *const *policy_rules;	/* single rules above them; NULL-terminated; NULL: none */
	int sandbox;			/* 1: regent_open and regent_start close this process off for good: no files by
					   name, no sockets, no programs; descriptors that are not close-on-exec are closed.
					   On a pool: when the first of its machines is started; open all before */
	const char *irqchip;		/* "kernel", "board": whose interrupt controllers and PIT (engine kvm); NULL: auto */
	struct regent_pool *pool;	/* runs on its threads; NULL: on threads of its own. Closed before it */
	unsigned weight;		/* on a pool: each vCPU's share, 1 to 1000; 0: 1 */
	int control;			/* 1: a control socket of that name, while it is open (doc/control.md) */
	const char *console;		/* "serial", or "virtio": a console that knows its window's size has stdin and stdout
					   and the control socket, the serial port only its file; NULL: serial */
	int wait;			/* 1, with control: requests to the socket describe the machine further, and regent_open
					   returns when one wants it started. That is answered by regent_start */
};
#define REGENT_CONFIG_INIT { .size = sizeof(struct regent_config), .engine = "auto", \
	.memory = 512ull << 20, .cpus = 1, .serial = REGENT_SERIAL_stdio, .serial_in = -1, \
	.serial_out = -1, .debug_exit_port = -1 }

enum regent_end { REGENT_END_running, REGENT_END_poweroff, REGENT_END_reset, REGENT_END_panic,
	REGENT_END_shutdown, REGENT_END_debug_exit, REGENT_END_stopped, REGENT_END_failed };

const char *regent_version(void);
const char *regent_strerror(int err);		/* what went wrong, in general */
const char *regent_advice(int err);		/* what to do about it */

/* On failure *vm is NULL and the line is in regent_open_error(), per thread. */
int regent_open(struct regent_vm **vm, const struct regent_config *cfg);
const char *regent_open_error(void);
void regent_open_cancel(void);			/* any thread: a regent_open that waits fails with -REGENT_E_state */
const char *regent_error(const struct regent_vm *vm);
void regent_close(struct regent_vm *vm);	/* NULL is fine; stops a running VM */

/* Which engine it is and why, one line "bt (/dev/kvm: ...)"; NULL: it was asked for by name. */
const char *regent_engine_choice(const struct regent_vm *vm);
/* Whether the engine, not the guest or its devices, made the VM fail. */
int regent_engine_failed(const struct regent_vm *vm);
int regent_failure(const struct regent_vm *vm);	/* REGENT_END_failed: the error, as -REGENT_E_* */

/* Threads that many machines share: each gets a share by weight, slices of quantum_us (0: 4000) while
 * others wait, and none while it idles. threads 0: one per processor. */
struct regent_pool;
int regent_pool_open(struct regent_pool **pool, unsigned threads, unsigned quantum_us);
void regent_pool_close(struct regent_pool *pool);	/* after its machines; NULL is fine */
/* Blocks until one of its machines has ended, and names each once (regent_wait then tells how); NULL:
 * no machine that was started is left. */
struct regent_vm *regent_pool_wait(struct regent_pool *pool);
uint64_t regent_pool_switches(const struct regent_pool *pool);	/* from one vCPU to another */

enum regent_state { REGENT_STATE_not_started, REGENT_STATE_running, REGENT_STATE_paused, REGENT_STATE_ended };
enum regent_state regent_state(struct regent_vm *vm);
int regent_power_button(struct regent_vm *vm);		/* asks the guest to power off */

/* The control sockets of this user's machines: $XDG_RUNTIME_DIR/regent/NAME.sock. */
int regent_control_dir(char *buf, size_t size);		/* their directory; -REGENT_E_io: there is none */
int regent_control_path(const char *name, char *buf, size_t size);	/* regent_open_error() on failure */

int regent_start(struct regent_vm *vm);
enum regent_end regent_wait(struct regent_vm *vm);	/* blocks until it ends */
int regent_exit_status(const struct regent_vm *vm);	/* the value of the debug-exit port */
int regent_stop(struct regent_vm *vm);
int regent_pause(struct regent_vm *vm);
int regent_resume(struct regent_vm *vm);
/* How many bytes of its memory the guest shall give back; *given (may be NULL): what it has given so far. */
int regent_balloon(struct regent_vm *vm, uint64_t bytes, uint64_t *given);
int regent_serial_send(struct regent_vm *vm, const void *bytes, size_t n);	/* to the console; bytes taken */
int regent_console_size(struct regent_vm *vm, unsigned columns, unsigned rows);	/* of the window; -REGENT_E_state: it is
										   a serial port, which has none */

/* What is printed on stderr: "debug", "io=debug,vm=info"; for all VMs of the process. */
int regent_log(const char *spec);
const char *regent_log_subsystem(unsigned n, const char **about);	/* NULL behind the last */

/* What this library and host offer; each returns NULL behind the last. */
const char *regent_engine_name(unsigned n);
const char *regent_cpu_model(unsigned n, const char **about);
const char *regent_cpu_feature(unsigned n, int *on_host);
/* Whether the model "NAME[,+feature][,-feature]" (NULL: the default) shows the feature; -REGENT_E_usage. */
int regent_cpu_shows(const char *model, const char *feature);

/* Registers by the names of registers.def ("rax", "cr4", "ia32_lstar"). */
unsigned regent_reg_count(void);
const char *regent_reg_name(unsigned id);
int regent_reg_id(const char *name);		/* or -REGENT_E_noreg */
const char *regent_reg_group(unsigned id);	/* "gpr", "ctl", ... */
unsigned regent_reg_bits(unsigned id);
uint64_t regent_reg_reset(unsigned id);		/* the value after RESET */
uint64_t regent_reg_writable(unsigned id);	/* bits that a guest may change */
const char *regent_reg_feature(unsigned id);	/* CPU feature that makes it exist; NULL: always there */
int64_t regent_reg_msr(unsigned id);		/* its MSR number, or -1 */
int regent_reg_get(struct regent_vm *vm, unsigned cpu, unsigned id, uint64_t *val);
int regent_reg_set(struct regent_vm *vm, unsigned cpu, unsigned id, uint64_t val);
int regent_mem_read(struct regent_vm *vm, uint64_t gpa, void *to, size_t n);
int regent_mem_write(struct regent_vm *vm, uint64_t gpa, const void *from, size_t n);

/* Register policy (doc/policy.md). Lines go to a function of the caller's, without their end. */
typedef void regent_line_fn(void *ctx, const char *line);
/* What the engine of cfg keeps of each rule: 0; -REGENT_E_engine when a `must` rule is not kept. */
int regent_policy_check(const struct regent_config *cfg, regent_line_fn *line, void *ctx);
/* Which rule decides about the object ("cr4.smep", "msr:0x10"), by access, before and after user space begins. */
int regent_policy_why(const struct regent_config *cfg, const char *object, regent_line_fn *line, void *ctx);
int regent_policy_why_vm(struct regent_vm *vm, const char *object, regent_line_fn *line, void *ctx);
int regent_policy_words(regent_line_fn *line, void *ctx);	/* everything that a rule may name */
const char *regent_policy_profile(unsigned n, const char **about, const char **text);	/* NULL behind the last */

/* `ask` rules: the guest wants to do this; the vCPU stands still until the answer. Called on the vCPU's
 * thread, with no lock held; may be set until regent_start. Without it the answer is no. */
struct regent_access {
	size_t size;
	unsigned cpu, cpl;
	const char *object, *rule;	/* "cr4"; "ask write cr4.smep" */
	const char *access;		/* "read", "write", "execute" */
	uint64_t rip, old, val;		/* of a write: the value before, and that to be written */
	uint64_t id;			/* for regent_answer */
};
enum regent_answer { REGENT_ALLOW, REGENT_DENY, REGENT_LATER /* regent_answer will be called, by any thread */ };
typedef enum regent_answer regent_register_fn(void *ctx, struct regent_vm *vm, const struct regent_access *a);
int regent_on_register(struct regent_vm *vm, regent_register_fn *fn, void *ctx);
int regent_answer(struct regent_vm *vm, unsigned cpu, uint64_t id, enum regent_answer answer);

/* Register trace: records of accesses that the policy's `log` rules name or that it refused; a ring of 4096. */
int regent_trace(struct regent_vm *vm, const char *what);	/* "cr*,msr:*,idtr" beside those; "": no more */
const char *regent_trace_error(void);				/* the line of regent_trace that failed; per thread */
/* The record *next as a line of text or JSON: 1; 0: not there yet. Then *next is the number of the one
 * behind, and *dropped (may be NULL) grows by those that were overwritten before they were read. */
int regent_trace_read(struct regent_vm *vm, uint64_t *next, int json, char *buf, size_t size, uint64_t *dropped);
uint64_t regent_trace_count(struct regent_vm *vm);		/* records so far: the next one's number */
int regent_trace_wait(struct regent_vm *vm, uint64_t next, unsigned ms);	/* 1: there is a record next */

struct regent_stats {
	size_t size;
	const char *engine;
	double seconds;			/* host seconds since start */
	uint64_t instructions;		/* retired, 0 when the engine does not count */
	unsigned nexits;
	struct { const char *kind; uint64_t count; } exits[16];
	unsigned ncounters;		/* the engine's own (translations, TLB misses, ...) */
	struct { const char *name; uint64_t count; } counters[128];
	double cpu_seconds;		/* of the host's processors, by its vCPUs */
	uint64_t switches;		/* on a pool: times a thread went from another vCPU to one of it */
};
int regent_stats(struct regent_vm *vm, struct regent_stats *st);

/* What decides about engines on this host, a row each: what is looked at, how it is, and what to do about
 * it ("" when nothing is to be done). 0 behind the last. */
struct regent_finding {
	size_t size;			/* sizeof(struct regent_finding) */
	int ok;				/* 1 good, 0 in the way of an engine, -1 a matter of speed or features only */
	char what[64], how[512], remedy[160];
};
int regent_doctor(unsigned n, struct regent_finding *f);
/* Every register of a processor of that engine and model (NULL: the default) after RESET, as the engine
 * gives it back; regent_reg_count() values. 0 or negative, with regent_open_error(). */
int regent_reset_state(const char *engine, const char *model, uint64_t *values);

/* The same guest on two engines (one vCPU, time counted in instructions, no input), registers compared at
 * every block boundary of the second and RAM every memory_every instructions (0: at the end). */
struct regent_lockstep {
	size_t size;			/* sizeof(struct regent_lockstep) */
	uint64_t limit, memory_every;	/* instructions */
	uint64_t instructions, boundaries;	/* results from here on */
	int differs;			/* 1: text tells how */
	enum regent_end end;
	char text[8192];
};
int regent_lockstep(const struct regent_config *cfg, const char *ref, const char *test, struct regent_lockstep *io);

#ifdef __cplusplus
}
#endif
