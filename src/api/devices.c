/* SPDX-License-Identifier: Apache-2.0 */
/* api/devices.c - disks, networks and the like: from the words of the command line to devices on the board. */
#include "api/devices.h"
#include "machine/machine.h"
#include "virtio/blk.h"
#include "virtio/balloon.h"
#include "virtio/fs.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MAX = 16, SPEC_MAX = 4096, LINE_MAX_ = 400, NET_FORWARDS_MAX = 32 };

__attribute__((format(printf, 4, 5))) static int
fail(int code, char *err, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, size, fmt, ap);
	va_end(ap);
	return -code;
}

static int
attach(struct vm *vm, struct virtio *v, const char *what, char *err, size_t size)
{
	if (v == NULL)
		return fail(REGENT_E_memory, err, size, "%s: no memory for the device", what);
	if (machine_attach(vm, v) != 0)
		return fail(REGENT_E_usage, err, size, "%s: the board has no slot left; take a device away", what);
	return 0;
}

struct disk_spec {
	bool read_only, split;
	const char *how, *format;	/* io=, format=; NULL: not given */
};

/* What qemu-nbd calls the formats that it shall read for us. */
static bool
known_format(const char *name)
{
	static const char *const names[] = { "raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc" };

	for (unsigned n = 0; n < sizeof(names) / sizeof(*names); n++)
		if (strcmp(name, names[n]) == 0)
			return true;
	return false;
}

/* The words behind the first comma. false: one is unknown; it is in *word. */
static bool
disk_words(char *spec, struct disk_spec *s, char **word)
{
	char *save = NULL;

	strtok_r(spec, ",", &save);
	while ((*word = strtok_r(NULL, ",", &save)) != NULL) {
		if (strcmp(*word, "ro") == 0)
			s->read_only = true;
		else if (strcmp(*word, "ring=split") == 0)
			s->split = true;
		else if (strcmp(*word, "io=auto") == 0 || strcmp(*word, "io=uring") == 0 ||
		    strcmp(*word, "io=threads") == 0)
			s->how = *word + 3;
		else if (strncmp(*word, "format=", 7) == 0 && known_format(*word + 7))
			s->format = *word + 7;
		else
			return false;
	}
	return true;
}

/* A server's name, as libnbd takes it: nbd://, nbds+unix:// and so on. */
static bool
is_uri(const char *spec)
{
	size_t scheme = strcspn(spec, ":");

	return strncmp(spec, "nbd", 3) == 0 && strncmp(spec + scheme, "://", 3) == 0;
}

/* A raw file is ours to read and write; all else is the helper's. */
static struct disk *
disk_of(const char *spec, const struct disk_spec *s, char *err, size_t size)
{
	bool uri = is_uri(spec), raw = !uri && (s->format == NULL || strcmp(s->format, "raw") == 0);

	if (raw)
		return disk_open(spec, s->read_only, s->how != NULL ? s->how : "auto", err, size);
	if (uri && s->format != NULL)
		snprintf(err, size, "%.200s: its server knows the format; leave out format=", spec);
	else if (s->how != NULL)
		snprintf(err, size, "%.200s: is no raw file; leave out io=", spec);
	else
		return disk_open_remote(spec, uri ? NULL : s->format, s->read_only, err, size);
	return NULL;
}

static int
disk_add(struct vm *vm, unsigned n, const char *given, char *err, size_t size)
{
	char spec[SPEC_MAX], id[ID_MAX], line[LINE_MAX_], *word;
	struct disk_spec s = { .how = NULL };
	struct virtio *v;
	struct disk *disk;

	snprintf(id, sizeof(id), "disk%u", n);
	if (snprintf(spec, sizeof(spec), "%s", given) >= (int)sizeof(spec) || spec[0] == '\0' || spec[0] == ',')
		return fail(REGENT_E_usage, err, size, "--disk %.40s: names no file; write FILE or FILE,ro", given);
	if (!disk_words(spec, &s, &word))
		return fail(REGENT_E_usage, err, size, "--disk %.80s: %.40s is unknown; there are ro, format=, io= and ring=split", spec, word);
	if ((disk = disk_of(spec, &s, line, sizeof(line))) == NULL)
		return fail(REGENT_E_io, err, size, "--disk %s", line);
	if (disk_start(disk) != 0) {
		disk_close(disk);
		return fail(REGENT_E_host, err, size, "--disk %.80s: cannot start its threads: %s", spec, strerror(errno));
	}
	if ((v = blk_open(vm, id, disk, vm->cpus)) != NULL && s.split)
		v->offered &= ~VIRTIO_F_ring_packed;
	return attach(vm, v, "--disk", err, size);
}

/* The same name has the same addresses for ever: 02 says that nobody's factory gave them. */
static void
mac_by_name(const char *name, unsigned n, uint8_t mac[NET_MAC])
{
	const uint64_t basis = 0xcbf29ce484222325, prime = 0x100000001b3;	/* FNV-1a */
	uint64_t h = basis;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * prime;
	h = (h ^ n) * prime;
	mac[0] = 0x02;
	for (unsigned i = 1; i < NET_MAC; i++)
		mac[i] = (uint8_t)(h >> 8 * i);
}

static bool
mac_parse(const char *s, uint8_t mac[NET_MAC])
{
	unsigned m[NET_MAC];
	char more;

	if (sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%c", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &more) != NET_MAC)
		return false;
	for (unsigned i = 0; i < NET_MAC; i++)
		mac[i] = (uint8_t)m[i];
	return (mac[0] & 1) == 0;	/* a station, not a group */
}

struct net_spec {
	const char *forward[NET_FORWARDS_MAX + 1];
	unsigned forwards;
	uint8_t mac[NET_MAC];
	bool split;
};

/* NULL, or why the word cannot be. */
static const char *
net_word(struct net_spec *s, const char *word, bool user)
{
	if (strncmp(word, "mac=", 4) == 0)
		return mac_parse(word + 4, s->mac) ? NULL : "is no address; write it like mac=02:00:00:00:00:01";
	if (strcmp(word, "ring=split") == 0)
		return s->split = true, NULL;
	if (!user || strncmp(word, "hostfwd=", 8) != 0)
		return "is unknown; there are hostfwd= (of user), mac= and ring=split";
	if (s->forwards == NET_FORWARDS_MAX)
		return "is one too many";
	s->forward[s->forwards++] = word + 8;
	return NULL;
}

static int
net_add(struct vm *vm, unsigned n, const char *given, const char *name, char *err, size_t size)
{
	char spec[SPEC_MAX], id[ID_MAX], line[LINE_MAX_], *word, *save = NULL;
	struct net_spec s = { .forwards = 0 };
	struct wire *wire[NET_PAIRS_MAX];
	struct net_setup setup = { .wire = wire, .pairs = vm->cpus < NET_PAIRS_MAX ? vm->cpus : NET_PAIRS_MAX };
	const char *why;
	struct virtio *v;
	bool user;

	snprintf(id, sizeof(id), "net%u", n);
	snprintf(spec, sizeof(spec), "%s", given);
	mac_by_name(name != NULL ? name : "regent", n, s.mac);
	word = strtok_r(spec, ",", &save);
	user = word != NULL && strcmp(word, "user") == 0;
	if (word == NULL || (!user && strncmp(word, "tap=", 4) != 0))
		return fail(REGENT_E_usage, err, size, "--net %.80s: is unknown; there are user and tap=NAME", given);
	while ((word = strtok_r(NULL, ",", &save)) != NULL)
		if ((why = net_word(&s, word, user)) != NULL)
			return fail(REGENT_E_usage, err, size, "--net: %.80s %s", word, why);
	if (user)
		setup.wires = (wire[0] = wire_open_user(s.forward, NET_USER_MTU, line, sizeof(line))) != NULL;
	else
		setup.wires = wire_open_tap(spec + 4, wire, setup.pairs, line, sizeof(line));
	if (setup.wires == 0)
		return fail(REGENT_E_usage, err, size, "--net %s: %s", user ? "user" : "tap", line);
	if (setup.wires > 1)		/* as many queues as were to be had */
		setup.pairs = setup.wires;
	setup.mtu = user ? NET_USER_MTU : 0;
	memcpy(setup.mac, s.mac, NET_MAC);
	if ((v = net_open(vm, id, &setup)) != NULL && s.split)
		v->offered &= ~VIRTIO_F_ring_packed;
	return attach(vm, v, "--net", err, size);
}

/* DIR[:TAG][:ro]: a DIR with a colon is given with a tag behind it. */
static int
share_add(struct vm *vm, unsigned n, const char *given, char *err, size_t size)
{
	char spec[SPEC_MAX], id[ID_MAX], tag[FS_TAG], line[LINE_MAX_], *colon;
	bool read_only = false;
	struct wire *wire;

	snprintf(id, sizeof(id), "share%u", n);
	snprintf(tag, sizeof(tag), "%s", id);
	snprintf(spec, sizeof(spec), "%s", given);
	if ((colon = strrchr(spec, ':')) != NULL && strcmp(colon, ":ro") == 0) {
		read_only = true;
		*colon = '\0';
	}
	if ((colon = strrchr(spec, ':')) != NULL) {
		if (colon[1] == '\0' || strchr(colon, '/') != NULL || strlen(colon + 1) >= sizeof(tag))
			return fail(REGENT_E_usage, err, size, "--share %.80s: has no tag that can be; write DIR:TAG", given);
		snprintf(tag, sizeof(tag), "%s", colon + 1);
		*colon = '\0';
	}
	if ((wire = wire_open_share(spec, read_only, line, sizeof(line))) == NULL)
		return fail(REGENT_E_usage, err, size, "--share %s", line);
	return attach(vm, fs_open(vm, id, wire, tag), "--share", err, size);
}

/* PATH[,cid=N] */
static int
vsock_add(struct vm *vm, const char *given, char *err, size_t size)
{
	enum { CID_FIRST = 3 };
	char spec[SPEC_MAX], line[LINE_MAX_], *word, *end = NULL;
	unsigned long cid = CID_FIRST;
	struct wire *wire;

	if (snprintf(spec, sizeof(spec), "%s", given) >= (int)sizeof(spec) || spec[0] == '\0' || spec[0] == ',')
		return fail(REGENT_E_usage, err, size, "--vsock %.40s: names no socket; write PATH or PATH,cid=N", given);
	if ((word = strchr(spec, ',')) != NULL) {
		*word++ = '\0';
		if (strncmp(word, "cid=", 4) != 0 || word[4] < '0' || word[4] > '9')
			return fail(REGENT_E_usage, err, size, "--vsock: %.80s is unknown; there is cid=N", word);
		cid = strtoul(word + 4, &end, 10);
		if (*end != '\0' || cid < CID_FIRST || cid >= UINT32_MAX)
			return fail(REGENT_E_usage, err, size, "--vsock: %.80s cannot be; a guest's is 3 or more", word);
	}
	if ((wire = wire_open_vsock(spec, (uint32_t)cid, line, sizeof(line))) == NULL)
		return fail(REGENT_E_usage, err, size, "--vsock %s", line);
	return attach(vm, vsock_open(vm, "vsock0", wire, (uint32_t)cid), "--vsock", err, size);
}

/* Whether a process stands behind the disk. */
static bool
disk_is_remote(const char *given)
{
	const char *format = strstr(given, ",format=");

	return is_uri(given) || (format != NULL && strncmp(format, ",format=raw", 11) != 0);
}

bool
devices_have_helpers(const struct regent_config *cfg)
{
	bool any = (cfg->nets != NULL && cfg->nets[0] != NULL) || (cfg->shares != NULL && cfg->shares[0] != NULL) ||
	    cfg->vsock != NULL || (cfg->image != NULL && disk_is_remote(cfg->image));

	for (unsigned n = 0; cfg->disks != NULL && cfg->disks[n] != NULL; n++)
		any = any || disk_is_remote(cfg->disks[n]);
	return any;
}

struct virtio *
devices_find(struct vm *vm, const char *kind)
{
	for (unsigned n = 0; n < vm->ndevs; n++)
		if (strcmp(vm->devs[n]->ops->name, kind) == 0)
			return (struct virtio *)vm->devs[n];
	return NULL;
}

int
devices_open(struct vm *vm, const struct regent_config *cfg, char *err, size_t size)
{
	unsigned first = cfg->image != NULL;
	int rc = first ? disk_add(vm, 0, cfg->image, err, size) : 0;

	for (unsigned n = 0; rc == 0 && cfg->disks != NULL && cfg->disks[n] != NULL; n++)
		rc = disk_add(vm, first + n, cfg->disks[n], err, size);
	for (unsigned n = 0; rc == 0 && cfg->nets != NULL && cfg->nets[n] != NULL; n++)
		rc = net_add(vm, n, cfg->nets[n], cfg->name, err, size);
	for (unsigned n = 0; rc == 0 && cfg->shares != NULL && cfg->shares[n] != NULL; n++)
		rc = share_add(vm, n, cfg->shares[n], err, size);
	if (rc == 0 && cfg->balloon)
		rc = attach(vm, balloon_open(vm, "balloon0"), "--balloon", err, size);
	if (rc == 0 && (cfg->rng || first))
		rc = attach(vm, rng_open(vm, "rng0"), "--rng", err, size);
	if (rc == 0 && cfg->vsock != NULL)
		rc = vsock_add(vm, cfg->vsock, err, size);
	return rc;
}
