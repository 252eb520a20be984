/* SPDX-License-Identifier: Apache-2.0 */
/* control/gdb.c - gdb's remote serial protocol (gdb manual, appendix E) for one VM.
 *
 * A thread of its own: waits for packets and for vCPUs that stopped. All-stop mode: while gdb is
 * asking, the VM is paused; a step lets one vCPU go and holds the others.
 */
#include "control/gdb.h"

#include "control/gdb_regs.h"
#include "cpu/access.h"
#include "cpu/debug.h"
#include "host/leftover.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PACKET_MAX = 16384, MEM_MAX = (PACKET_MAX - 64) / 2, INTERRUPT = 0x03, SIG_int = 2, SIG_trap = 5 };

struct gdb {
	struct vm *vm;			/* borrowed */
	struct gdb_regs regs;
	int listen_fd, fd;		/* fd -1: nobody connected */
	int stopped_fd, quit_fd;	/* eventfds: a vCPU stopped; gdb_close */
	struct leftover *socket;	/* owned: removes a Unix socket; or NULL */
	pthread_t thread;
	bool running;			/* gdb let the VM go and waits for a stop */
	bool no_ack, physical;
	unsigned cpu;			/* of g, m, p and the like: Hg */
	_Atomic unsigned stop_cpu;	/* who stopped last */
	struct debug_state *debug;	/* one per vCPU; owned */
	char in[PACKET_MAX], out[PACKET_MAX];
	size_t out_len;
};

/* ---- replies ---- */

static void
put(struct gdb *g, const char *fmt, ...)
{
	size_t room = sizeof(g->out) - g->out_len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(g->out + g->out_len, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		g->out_len += (size_t)n < room ? (size_t)n : room - 1;
}

static void
put_hex(struct gdb *g, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put(g, "%02x", bytes[i]);
}

static bool
send_all(struct gdb *g, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = send(g->fd, bytes, n, MSG_NOSIGNAL);

		if (done <= 0 && errno != EINTR)
			return false;
		if (done > 0)
			bytes += done, n -= (size_t)done;
	}
	return true;
}

static bool
reply(struct gdb *g)
{
	char frame[4];
	uint8_t sum = 0;

	for (size_t i = 0; i < g->out_len; i++)
		sum = (uint8_t)(sum + (uint8_t)g->out[i]);
	snprintf(frame, sizeof(frame), "#%02x", sum);
	return send_all(g, "$", 1) && send_all(g, g->out, g->out_len) && send_all(g, frame, 3);
}

static unsigned
hex_bytes(const char *s, uint8_t *to, size_t max)
{
	unsigned n = 0, byte;

	while (n < max && sscanf(s, "%2x", &byte) == 1 && s[0] != '\0' && s[1] != '\0') {
		to[n++] = (uint8_t)byte;
		s += 2;
	}
	return n;
}

/* ---- memory and registers ---- */

static struct cpu *
cpu_of(struct gdb *g)
{
	return &g->vm->vcpu[g->cpu]->cpu;
}

/* Copy to or from guest memory by pages, virtual as the selected vCPU maps it, or physical. */
static size_t
mem_copy(struct gdb *g, uint64_t addr, uint8_t *buf, size_t len, bool write)
{
	size_t done = 0, n;
	gpa_t gpa;

	while (done < len) {
		n = PAGE_SIZE - ((addr + done) & (PAGE_SIZE - 1));
		if (n > len - done)
			n = len - done;
		gpa = addr + done;
		if (!g->physical && !paging_peek(cpu_of(g), addr + done, &gpa))
			break;
		if (!(write ? mem_write(g->vm->mem, gpa, buf + done, n) : mem_read(g->vm->mem, gpa, buf + done, n)))
			break;
		done += n;
	}
	return done;
}

static void
cmd_mem_read(struct gdb *g, const char *p)
{
	uint8_t buf[MEM_MAX];
	unsigned long long addr;
	size_t len, got;

	if (sscanf(p, "%llx,%zx", &addr, &len) != 2) {
		put(g, "E16");
		return;
	}
	got = mem_copy(g, addr, buf, len < sizeof(buf) ? len : sizeof(buf), false);
	if (got == 0 && len != 0)
		put(g, "E0e");
	put_hex(g, buf, got);
}

static void
cmd_mem_write(struct gdb *g, const char *p)
{
	uint8_t buf[MEM_MAX];
	unsigned long long addr;
	size_t len;
	const char *hex = strchr(p, ':');

	if (hex == NULL || sscanf(p, "%llx,%zx", &addr, &len) != 2 || len > sizeof(buf) ||
	    hex_bytes(hex + 1, buf, len) != len)
		put(g, "E16");
	else
		put(g, mem_copy(g, addr, buf, len, true) == len ? "OK" : "E0e");
}

static void
cmd_regs_read(struct gdb *g)
{
	uint8_t val[GDB_REG_BYTES];

	for (unsigned n = 0; n < g->regs.count; n++)
		put_hex(g, val, gdb_reg_get(&g->regs, cpu_of(g), n, val));
}

static void
cmd_regs_write(struct gdb *g, const char *p)
{
	uint8_t val[GDB_REG_BYTES];

	for (unsigned n = 0; n < g->regs.count; n++) {
		unsigned bytes = g->regs.reg[n].bits / 8u;

		if (hex_bytes(p, val, bytes) != bytes)
			break;
		gdb_reg_set(&g->regs, cpu_of(g), n, val);
		p += 2 * bytes;
	}
	put(g, "OK");
}

static void
cmd_reg_read(struct gdb *g, const char *p)
{
	uint8_t val[GDB_REG_BYTES];
	unsigned long n = strtoul(p, NULL, 16);

	if (n >= g->regs.count)
		put(g, "E16");
	else
		put_hex(g, val, gdb_reg_get(&g->regs, cpu_of(g), (unsigned)n, val));
}

static void
cmd_reg_write(struct gdb *g, const char *p)
{
	uint8_t val[GDB_REG_BYTES];
	char *eq;
	unsigned long n = strtoul(p, &eq, 16);

	if (n >= g->regs.count || *eq != '=' ||
	    hex_bytes(eq + 1, val, sizeof(val)) < g->regs.reg[n].bits / 8u ||
	    !gdb_reg_set(&g->regs, cpu_of(g), (unsigned)n, val))
		put(g, "E16");
	else
		put(g, "OK");
}

/* ---- breakpoints: the same list in every vCPU ---- */

static bool
break_change(struct debug_state *d, uint64_t lin, bool insert)
{
	for (unsigned i = 0; i < d->nbreaks; i++)
		if (d->breaks[i] == lin) {
			if (!insert)
				d->breaks[i] = d->breaks[--d->nbreaks];
			return true;
		}
	if (!insert)
		return true;
	if (d->nbreaks == DEBUG_BREAKS_MAX)
		return false;
	d->breaks[d->nbreaks++] = lin;
	return true;
}

static bool
watch_change(struct debug_state *d, struct debug_watch w, bool insert)
{
	for (unsigned i = 0; i < d->nwatches; i++)
		if (memcmp(&d->watches[i], &w, sizeof(w)) == 0) {
			if (!insert)
				d->watches[i] = d->watches[--d->nwatches];
			return true;
		}
	if (!insert)
		return true;
	if (d->nwatches == DEBUG_WATCHES_MAX)
		return false;
	d->watches[d->nwatches++] = w;
	return true;
}

/* Z0, Z1: software and hardware breakpoints are one thing here; Z2 write, Z3 read, Z4 access. */
static void
cmd_break(struct gdb *g, const char *p, bool insert)
{
	unsigned long long lin;
	unsigned kind, len;
	struct debug_watch w;
	bool ok = true;

	if (sscanf(p, "%u,%llx,%x", &kind, &lin, &len) != 3) {
		put(g, "E16");
		return;
	}
	if (kind > 4)
		return;
	memset(&w, 0, sizeof(w));
	w.lin = lin;
	w.len = len;
	w.write = kind != 3;
	w.read = kind >= 3;
	for (unsigned i = 0; i < g->vm->cpus; i++)
		ok &= kind < 2 ? break_change(&g->debug[i], lin, insert) : watch_change(&g->debug[i], w, insert);
	put(g, ok ? "OK" : "E1c");
}

/* ---- running and stopping ---- */

/* Let go: `step` is the vCPU to step (the others stand), or -1 for all. */
static void
run(struct gdb *g, int step)
{
	for (unsigned i = 0; i < g->vm->cpus; i++) {
		g->debug[i].step = step == (int)i;
		g->debug[i].resumed = true;
		g->debug[i].hit = false;
		g->vm->vcpu[i]->held = step >= 0 && step != (int)i;
	}
	g->running = true;
	vm_resume(g->vm);
}

static void
stop_reply(struct gdb *g, int sig)
{
	const struct debug_state *d = &g->debug[g->stop_cpu];

	g->out_len = 0;
	put(g, "T%02xthread:%x;", sig, g->stop_cpu + 1);
	if (d->hit)
		put(g, "%s:%llx;", d->hit_write ? "watch" : "rwatch", (unsigned long long)d->hit_lin);
}

static void
stopped(struct gdb *g, int sig)
{
	vm_pause(g->vm);
	g->running = false;
	g->cpu = g->stop_cpu;
	stop_reply(g, sig);
	reply(g);
}

/* On the vCPU's thread: stand still and say so. */
static void
on_debug(void *ctx, struct vcpu *vc, const struct vexit *x)
{
	struct gdb *g = ctx;
	uint64_t one = 1;

	(void)x;
	pthread_mutex_lock(&vc->vm->lock);
	vc->vm->pause = true;
	cpu_ask(&vc->cpu, ATT_kick);	/* its next turn looks at that */
	pthread_mutex_unlock(&vc->vm->lock);
	g->stop_cpu = vc->cpu.index;
	if (write(g->stopped_fd, &one, sizeof(one)) < 0)
		return;		/* full: it is signalled already */
}

/* vCont;ACTION[:TID]..: a step wins; actions for all are a continue. */
static void
cmd_vcont(struct gdb *g, const char *p)
{
	int step = -1;
	unsigned tid;

	for (; *p == ';'; p += strcspn(p + 1, ";") + 1) {
		if (p[1] != 's' && p[1] != 'S')
			continue;
		step = (int)g->cpu;
		if (sscanf(p + 1, "%*[^:;]:%x", &tid) == 1 && tid >= 1 && tid <= g->vm->cpus)
			step = (int)tid - 1;
	}
	run(g, step);
}

/* ---- queries ---- */

static void
cmd_features(struct gdb *g, const char *p)
{
	size_t off, len, size = strlen(g->regs.xml);

	if (sscanf(p, "%zx,%zx", &off, &len) != 2 || off > size) {
		put(g, "E16");
		return;
	}
	if (len > MEM_MAX)
		len = MEM_MAX;
	if (len > size - off)
		len = size - off;
	put(g, "%c%.*s", off + len < size ? 'm' : 'l', (int)len, g->regs.xml + off);
}

/* `monitor devices` names them all, `monitor NAME` shows the state of one. */
static void
show_devices(struct gdb *g, const char *name, char *text, size_t n)
{
	size_t len = 0;

	pthread_mutex_lock(&g->vm->lock);
	for (unsigned i = 0; i < g->vm->ndevs && len < n; i++) {
		const struct dev *d = g->vm->devs[i];

		if (strcmp(name, "devices") == 0)
			len += (size_t)snprintf(text + len, n - len, "%s\n", d->id);
		else if (strcmp(name, d->id) == 0)
			len += dev_show(d, text, n);
	}
	pthread_mutex_unlock(&g->vm->lock);
	if (len == 0)
		snprintf(text, n, "phys on|off: addresses are physical|virtual\n"
			"devices: their names; NAME: the state of one\n");
}

static void
cmd_monitor(struct gdb *g, const char *hex)
{
	char cmd[64] = "", text[MEM_MAX] = "";

	hex_bytes(hex, (uint8_t *)cmd, sizeof(cmd) - 1);
	if (strcmp(cmd, "phys on") == 0 || strcmp(cmd, "phys off") == 0) {
		g->physical = strcmp(cmd, "phys on") == 0;
		snprintf(text, sizeof(text), "%s addresses\n", g->physical ? "physical" : "virtual");
	} else {
		show_devices(g, cmd, text, sizeof(text));
	}
	put_hex(g, (const uint8_t *)text, strlen(text));
}

static void
cmd_query(struct gdb *g, const char *p)
{
	unsigned tid;
	char text[64];

	if (strncmp(p, "qSupported", 10) == 0) {
		put(g, "PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak-;hwbreak-",
		    PACKET_MAX - 8);
	} else if (strncmp(p, "qXfer:features:read:target.xml:", 31) == 0) {
		cmd_features(g, p + 31);
	} else if (strcmp(p, "qfThreadInfo") == 0) {
		for (unsigned i = 0; i < g->vm->cpus; i++)
			put(g, "%c%x", i == 0 ? 'm' : ',', i + 1);
	} else if (strcmp(p, "qsThreadInfo") == 0) {
		put(g, "l");
	} else if (strcmp(p, "qC") == 0) {
		put(g, "QC%x", g->cpu + 1);
	} else if (strncmp(p, "qAttached", 9) == 0) {
		put(g, "1");
	} else if (sscanf(p, "qThreadExtraInfo,%x", &tid) == 1 && tid >= 1 && tid <= g->vm->cpus) {
		const struct cpu *c = &g->vm->vcpu[tid - 1]->cpu;

		snprintf(text, sizeof(text), "vCPU %u, CPL %u%s", tid - 1, c->cpl,
		    c->r.activity == ACTIVITY_hlt ? ", halted" : "");
		put_hex(g, (const uint8_t *)text, strlen(text));
	} else if (strncmp(p, "qRcmd,", 6) == 0) {
		cmd_monitor(g, p + 6);
	} else if (strncmp(p, "Qqemu.PhyMemMode:", 17) == 0) {
		g->physical = p[17] == '1';
		put(g, "OK");
	} else if (strcmp(p, "QStartNoAckMode") == 0) {
		g->no_ack = true;
		put(g, "OK");
	}
}

static void
cmd_thread(struct gdb *g, const char *p)
{
	long tid = strtol(p + 1, NULL, 16);

	if (tid > (long)g->vm->cpus) {
		put(g, "E16");
		return;
	}
	if (tid > 0 && p[0] == 'g')
		g->cpu = (unsigned)tid - 1;
	put(g, "OK");
}

/* One packet; false: the connection is over. No reply is sent for what lets the VM go. */
static bool
command(struct gdb *g, const char *p)
{
	long tid;

	g->out_len = 0;
	g->out[0] = '\0';
	switch (p[0]) {
	case '?':
		stop_reply(g, SIG_trap);
		break;
	case 'g':
		cmd_regs_read(g);
		break;
	case 'G':
		cmd_regs_write(g, p + 1);
		break;
	case 'p':
		cmd_reg_read(g, p + 1);
		break;
	case 'P':
		cmd_reg_write(g, p + 1);
		break;
	case 'm':
		cmd_mem_read(g, p + 1);
		break;
	case 'M':
		cmd_mem_write(g, p + 1);
		break;
	case 'Z':
	case 'z':
		cmd_break(g, p + 1, p[0] == 'Z');
		break;
	case 'H':
		cmd_thread(g, p + 1);
		break;
	case 'T':
		tid = strtol(p + 1, NULL, 16);
		put(g, tid >= 1 && tid <= (long)g->vm->cpus ? "OK" : "E16");
		break;
	case 'q':
	case 'Q':
		cmd_query(g, p);
		break;
	case 'v':
		if (strcmp(p, "vCont?") == 0) {
			put(g, "vCont;c;C;s;S");
		} else if (strncmp(p, "vCont;", 6) == 0) {
			cmd_vcont(g, p + 5);
			return true;
		} else if (strncmp(p, "vKill", 5) == 0) {
			put(g, "OK");
			reply(g);
			vm_request_end(g->vm, VM_stopped);
			return false;
		}
		break;
	case 'c':
		run(g, -1);
		return true;
	case 's':
		run(g, (int)g->cpu);
		return true;
	case 'k':
		vm_request_end(g->vm, VM_stopped);
		return false;
	case 'D':
		put(g, "OK");
		reply(g);
		return false;
	default:
		break;
	}
	return reply(g);
}

/* ---- the connection ---- */

/* Takes whole packets out of the bytes received so far; returns what remains, or -1 at the end. */
static ssize_t
feed(struct gdb *g, size_t have)
{
	char *start, *hash;

	for (;;) {
		size_t used;

		if (have > 0 && g->in[0] == INTERRUPT) {
			if (g->running)
				stopped(g, SIG_int);
			used = 1;
		} else if (have > 0 && g->in[0] != '$') {
			used = 1;
		} else if ((hash = memchr(g->in, '#', have)) != NULL && hash + 2 < g->in + have) {
			start = g->in + 1;
			*hash = '\0';
			used = (size_t)(hash + 3 - g->in);
			if (!g->no_ack && !send_all(g, "+", 1))
				return -1;
			if (!command(g, start))
				return -1;
		} else {
			return have == sizeof(g->in) ? -1 : (ssize_t)have;
		}
		memmove(g->in, g->in + used, have - used);
		have -= used;
	}
}

/* Nobody debugs any more: forget everything asked and let the VM go. */
static void
let_go(struct gdb *g)
{
	vm_pause(g->vm);
	for (unsigned i = 0; i < g->vm->cpus; i++)
		g->debug[i].nbreaks = g->debug[i].nwatches = 0;
	run(g, -1);
}

static void
session(struct gdb *g)
{
	size_t have = 0;
	uint64_t count;

	g->no_ack = g->physical = false;
	vm_pause(g->vm);
	g->running = false;
	for (;;) {
		struct pollfd p[] = { { g->fd, POLLIN, 0 }, { g->stopped_fd, POLLIN, 0 }, { g->quit_fd, POLLIN, 0 } };
		ssize_t n;

		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[2].revents) {
			g->out_len = 0;
			put(g, "W00");
			reply(g);
			return;
		}
		if (p[1].revents && read(g->stopped_fd, &count, sizeof(count)) > 0 && g->running)
			stopped(g, SIG_trap);
		if (!p[0].revents)
			continue;
		n = recv(g->fd, g->in + have, sizeof(g->in) - have, 0);
		if (n <= 0 || (n = feed(g, have + (size_t)n)) < 0)
			break;
		have = (size_t)n;
	}
	let_go(g);
}

static void *
gdb_thread(void *arg)
{
	struct gdb *g = arg;
	int one = 1;

	for (;;) {
		struct pollfd p[] = { { g->listen_fd, POLLIN, 0 }, { g->quit_fd, POLLIN, 0 } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[1].revents)
			return NULL;
		if (!p[0].revents || (g->fd = accept4(g->listen_fd, NULL, NULL, SOCK_CLOEXEC)) < 0)
			continue;
		setsockopt(g->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		session(g);
		close(g->fd);
		g->fd = -1;
	}
}

static int
listen_unix(struct gdb *g, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	g->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (g->listen_fd < 0 || bind(g->listen_fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		return -1;
	if ((g->socket = leftover_open(path)) == NULL) {
		unlink(path);
		return -1;
	}
	return listen(g->listen_fd, 1);
}

/* Numeric IPv4 addresses only: a name could resolve to the world. */
static int
listen_tcp(struct gdb *g, const char *where)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	char host[64];
	unsigned port;
	int one = 1;

	if (sscanf(where, "%63[0-9.]:%u", host, &port) != 2 || port > UINT16_MAX ||
	    inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	a.sin_port = htons((uint16_t)port);
	g->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (g->listen_fd < 0)
		return -1;
	setsockopt(g->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(g->listen_fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		return -1;
	return listen(g->listen_fd, 1);
}

static int
gdb_listen(struct gdb *g, const char *where)
{
	if (strncmp(where, "unix:", 5) == 0)
		return listen_unix(g, where + 5);
	if (strncmp(where, "tcp:", 4) == 0)
		return listen_tcp(g, where + 4);
	errno = EINVAL;
	return -1;
}

static void
gdb_free(struct gdb *g)
{
	int fds[] = { g->listen_fd, g->stopped_fd, g->quit_fd };

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	leftover_close(g->socket);
	gdb_regs_close(&g->regs);
	for (unsigned i = 0; i < g->vm->cpus; i++)
		g->vm->vcpu[i]->cpu.debug = NULL;
	free(g->debug);
	free(g);
}

struct gdb *
gdb_open(struct vm *vm, const char *where, char *err, size_t err_size)
{
	struct gdb *g = calloc(1, sizeof(*g));

	if (g == NULL) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	g->vm = vm;
	g->fd = g->listen_fd = -1;
	g->stopped_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->quit_fd = eventfd(0, EFD_CLOEXEC);
	g->debug = calloc(vm->cpus, sizeof(*g->debug));
	if (g->debug == NULL || g->stopped_fd < 0 || g->quit_fd < 0 || gdb_regs_open(&g->regs) != 0) {
		snprintf(err, err_size, "--gdb %s: %s", where, strerror(errno));
	} else if (gdb_listen(g, where) != 0) {
		snprintf(err, err_size, "--gdb %s: %s; use unix:PATH or tcp:127.0.0.1:PORT", where, strerror(errno));
	} else if (pthread_create(&g->thread, NULL, gdb_thread, g) != 0) {
		snprintf(err, err_size, "--gdb: can't start a thread");
	} else {
		for (unsigned i = 0; i < vm->cpus; i++)
			vm->vcpu[i]->cpu.debug = &g->debug[i];
		vm->on_debug = on_debug;
		vm->on_debug_ctx = g;
		vm->pause = true;
		return g;
	}
	gdb_free(g);
	return NULL;
}

void
gdb_close(struct gdb *g)
{
	uint64_t one = 1;

	if (g == NULL)
		return;
	if (write(g->quit_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		pthread_join(g->thread, NULL);
	gdb_free(g);
}
