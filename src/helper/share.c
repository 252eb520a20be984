/* SPDX-License-Identifier: Apache-2.0 */
/* helper/share.c - regent-share: a folder of the host for one guest, in a process of its own (FUSE over virtio).
 *
 *	regent-share FD DIR rw|ro
 *
 * A message on FD is a number of the monitor's (4 bytes, given back in front of the answer) and a FUSE request. The
 * guest names nothing but single components within directories that it was given: each is opened beneath its parent
 * without following any link (openat2), so no name, symlink or rename leads out of DIR. With the rights to do so the
 * process locks itself into DIR as well.
 */
#include "helper/confine.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fuse.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NODES_MAX = 1 << 16, FILES_MAX = 1 << 12, HASH = 1 << 12, PAGES_MAX = 15, WRITE_MAX = PAGES_MAX * 4096, NAME_LIMIT = 255,
	MESSAGE_MAX = 65536, TTL_S = 1, STATUS_failed = 1, MEMORY_MAX = 256 << 20 };
/* What of root acting for all users of the guest takes: no device nodes, nothing beside files. */
#define KEPT ((uint64_t)1 << CAP_CHOWN | 1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER | 1 << CAP_FSETID)

struct node {			/* a file that the guest knows; its number is the index */
	int fd;			/* O_PATH; -1: free */
	dev_t dev;
	ino_t ino;
	uint64_t lookups;
	uint32_t next;		/* in its hash chain, or of the free ones; 0 ends */
};

struct request {
	const struct fuse_in_header *h;
	const uint8_t *arg;	/* behind the header */
	size_t len;		/* of arg */
	uint8_t *out;		/* the answer, behind its header */
	size_t out_len;
};

static struct node node[NODES_MAX];
static uint32_t hash[HASH], node_free, nodes = FUSE_ROOT_ID + 1;
static int file_fd[FILES_MAX];
static DIR *file_dir[FILES_MAX];
static bool read_only, is_root;
static int proc_fd;		/* /proc/self/fd */

/* ---- nodes ---- */

static struct node *
node_get(uint64_t id)
{
	return id > 0 && id < nodes && node[id].fd >= 0 ? &node[id] : NULL;
}

static uint32_t *
bucket(dev_t dev, ino_t ino)
{
	return &hash[(ino ^ dev * 31) % HASH];
}

/* The node of an O_PATH descriptor, which is taken over; 0: there are too many. */
static uint32_t
node_put(int fd, const struct stat *st)
{
	uint32_t *b = bucket(st->st_dev, st->st_ino), n;

	for (n = *b; n != 0; n = node[n].next)
		if (node[n].dev == st->st_dev && node[n].ino == st->st_ino)
			break;
	if (n != 0) {
		close(fd);
	} else if (node_free != 0 || nodes < NODES_MAX) {
		n = node_free != 0 ? node_free : nodes++;
		node_free = n == node_free ? node[n].next : node_free;
		node[n] = (struct node){ .fd = fd, .dev = st->st_dev, .ino = st->st_ino, .next = *b };
		*b = n;
	} else {
		close(fd);
		return 0;
	}
	node[n].lookups++;
	return n;
}

static void
node_forget(uint64_t id, uint64_t count)
{
	struct node *k = node_get(id);
	uint32_t *p;

	if (k == NULL || id == FUSE_ROOT_ID)
		return;
	k->lookups -= count < k->lookups ? count : k->lookups;
	if (k->lookups > 0)
		return;
	for (p = bucket(k->dev, k->ino); *p != 0 && *p != id; p = &node[*p].next)
		;
	if (*p == id)
		*p = k->next;
	close(k->fd);
	k->fd = -1;
	k->next = node_free;
	node_free = (uint32_t)id;
}

/* ---- names ---- */

/* A component at `at` of the arguments, with its NUL; NULL: it is none that may be. */
static const char *
name_at(const struct request *q, size_t at)
{
	const char *s = (const char *)q->arg + at;
	size_t n;

	if (at >= q->len)
		return NULL;
	n = strnlen(s, q->len - at);
	if (n == 0 || n == q->len - at || n > NAME_LIMIT || memchr(s, '/', n) != NULL || strcmp(s, ".") == 0 ||
	    strcmp(s, "..") == 0)
		return NULL;
	return s;
}

static int
open_beneath(int dir, const char *name, uint64_t flags, uint64_t mode)
{
	struct open_how how = { .flags = flags | O_CLOEXEC | O_NOFOLLOW, .mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

	if (flags & O_PATH)	/* a link itself, but nothing through one */
		how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
	return (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
}

/* The same file, opened anew with other rights. */
static int
reopen(int fd, int flags)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", fd);
	return openat(proc_fd, name, flags | O_CLOEXEC);
}

/* ---- answers ---- */

static void
fill_attr(struct fuse_attr *a, const struct stat *st)
{
	*a = (struct fuse_attr){ .ino = st->st_ino, .size = (uint64_t)st->st_size, .blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec, .mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec, .atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec, .ctimensec = (uint32_t)st->st_ctim.tv_nsec, .mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink, .uid = st->st_uid, .gid = st->st_gid, .rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize };
}

static int
answer_attr(struct request *q, int fd)
{
	struct fuse_attr_out *o = (void *)q->out;
	struct stat st;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0)
		return errno;
	*o = (struct fuse_attr_out){ .attr_valid = TTL_S };
	fill_attr(&o->attr, &st);
	q->out_len = sizeof(*o);
	return 0;
}

static int
answer_entry(struct request *q, int dir, const char *name, struct fuse_entry_out *o)
{
	struct stat st;
	int fd = open_beneath(dir, name, O_PATH, 0);

	if (fd < 0)
		return errno;
	if (fstatat(fd, "", &st, AT_EMPTY_PATH) != 0) {
		close(fd);
		return EIO;
	}
	*o = (struct fuse_entry_out){ .nodeid = node_put(fd, &st), .entry_valid = TTL_S, .attr_valid = TTL_S };
	fill_attr(&o->attr, &st);
	q->out_len = sizeof(*o);
	return o->nodeid == 0 ? ENFILE : 0;
}

/* What the guest made is its user's, when we may say so. */
static void
give_to(const struct request *q, int dir, const char *name)
{
	if (is_root && fchownat(dir, name, q->h->uid, q->h->gid, AT_SYMLINK_NOFOLLOW) != 0)
		return;
}

static int
file_add(int fd, DIR *dir, uint64_t *handle)
{
	for (unsigned i = 0; i < FILES_MAX; i++) {
		if (file_fd[i] >= 0 || file_dir[i] != NULL)
			continue;
		file_fd[i] = fd;
		file_dir[i] = dir;
		*handle = i;
		return 0;
	}
	if (dir != NULL)
		closedir(dir);
	else
		close(fd);
	return ENFILE;
}

static int handle_fd(uint64_t h) { return h < FILES_MAX ? file_fd[h] : -1; }
static DIR *handle_dir(uint64_t h) { return h < FILES_MAX ? file_dir[h] : NULL; }

/* ---- requests: each returns 0 or errno ---- */

static int
do_init(struct request *q, struct node *k)
{
	const struct fuse_init_in *i = (const void *)q->arg;
	struct fuse_init_out *o = (void *)q->out;

	(void)k;
	if (q->len < 16 || i->major != FUSE_KERNEL_VERSION)
		return EPROTO;
	*o = (struct fuse_init_out){ .major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = i->max_readahead,
		.flags = i->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS | FUSE_ATOMIC_O_TRUNC | FUSE_ASYNC_READ),
		.max_background = 16, .congestion_threshold = 12, .max_write = WRITE_MAX, .time_gran = 1,
		.max_pages = PAGES_MAX };
	q->out_len = sizeof(*o);
	return 0;
}

static int
do_lookup(struct request *q, struct node *k)
{
	const char *name = name_at(q, 0);

	return name == NULL ? EINVAL : answer_entry(q, k->fd, name, (void *)q->out);
}

static int
do_getattr(struct request *q, struct node *k)
{
	return answer_attr(q, k->fd);
}

static int
set_times(const struct fuse_setattr_in *s, int fd)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	char path[32];

	if (s->valid & FATTR_ATIME)
		t[0] = s->valid & FATTR_ATIME_NOW ? (struct timespec){ .tv_nsec = UTIME_NOW }
						  : (struct timespec){ (time_t)s->atime, (long)s->atimensec };
	if (s->valid & FATTR_MTIME)
		t[1] = s->valid & FATTR_MTIME_NOW ? (struct timespec){ .tv_nsec = UTIME_NOW }
						  : (struct timespec){ (time_t)s->mtime, (long)s->mtimensec };
	snprintf(path, sizeof(path), "%d", fd);
	return utimensat(proc_fd, path, t, 0) == 0 ? 0 : errno;
}

static int
do_setattr(struct request *q, struct node *k)
{
	const struct fuse_setattr_in *s = (const void *)q->arg;
	char path[16];
	struct stat st;
	int fd, err = 0;

	if (q->len < sizeof(*s))
		return EINVAL;
	/* Through /proc a link would be followed to where it points in our world. */
	if (fstatat(k->fd, "", &st, AT_EMPTY_PATH) != 0 || S_ISLNK(st.st_mode))
		return EOPNOTSUPP;
	snprintf(path, sizeof(path), "%d", k->fd);
	if ((s->valid & FATTR_MODE) && fchmodat(proc_fd, path, s->mode & 07777, 0) != 0)
		return errno;
	if ((s->valid & (FATTR_UID | FATTR_GID)) && fchownat(k->fd, "", s->valid & FATTR_UID ? s->uid : (uid_t)-1,
	    s->valid & FATTR_GID ? s->gid : (gid_t)-1, AT_EMPTY_PATH) != 0)
		return errno;
	if (s->valid & FATTR_SIZE) {
		if (!S_ISREG(st.st_mode) || (fd = reopen(k->fd, O_WRONLY | O_NONBLOCK)) < 0)
			return S_ISREG(st.st_mode) ? errno : EINVAL;
		err = ftruncate(fd, (off_t)s->size) == 0 ? 0 : errno;
		close(fd);
	}
	if (err == 0 && (s->valid & (FATTR_ATIME | FATTR_MTIME)))
		err = set_times(s, k->fd);
	return err != 0 ? err : answer_attr(q, k->fd);
}

static int
do_readlink(struct request *q, struct node *k)
{
	ssize_t n = readlinkat(k->fd, "", (char *)q->out, 4096);

	if (n < 0)
		return errno;
	q->out_len = (size_t)n;
	return 0;
}

static int
do_symlink(struct request *q, struct node *k)
{
	const char *name = name_at(q, 0), *target;
	size_t at;

	if (name == NULL)
		return EINVAL;
	at = strlen(name) + 1;
	target = (const char *)q->arg + at;
	if (at >= q->len || strnlen(target, q->len - at) == q->len - at)
		return EINVAL;
	if (symlinkat(target, k->fd, name) != 0)
		return errno;
	give_to(q, k->fd, name);
	return answer_entry(q, k->fd, name, (void *)q->out);
}

static int
do_mknod(struct request *q, struct node *k)
{
	const struct fuse_mknod_in *m = (const void *)q->arg;
	const char *name = name_at(q, sizeof(*m));

	/* Files, FIFOs and sockets; no guest makes a device for the host. */
	if (name == NULL || (!S_ISREG(m->mode) && !S_ISFIFO(m->mode) && !S_ISSOCK(m->mode)))
		return name == NULL ? EINVAL : EPERM;
	if (mknodat(k->fd, name, (m->mode & ~(uint32_t)m->umask) & (S_IFMT | 0777), 0) != 0)
		return errno;
	give_to(q, k->fd, name);
	return answer_entry(q, k->fd, name, (void *)q->out);
}

static int
do_mkdir(struct request *q, struct node *k)
{
	const struct fuse_mkdir_in *m = (const void *)q->arg;
	const char *name = name_at(q, sizeof(*m));

	if (name == NULL)
		return EINVAL;
	if (mkdirat(k->fd, name, m->mode & ~m->umask & 01777) != 0)
		return errno;
	give_to(q, k->fd, name);
	return answer_entry(q, k->fd, name, (void *)q->out);
}

static int
do_unlink(struct request *q, struct node *k)
{
	const char *name = name_at(q, 0);
	int flags = q->h->opcode == FUSE_RMDIR ? AT_REMOVEDIR : 0;

	return name == NULL ? EINVAL : unlinkat(k->fd, name, flags) == 0 ? 0 : errno;
}

static int
do_rename(struct request *q, struct node *k)
{
	bool two = q->h->opcode == FUSE_RENAME2;
	size_t at = two ? sizeof(struct fuse_rename2_in) : sizeof(struct fuse_rename_in);
	const struct fuse_rename2_in *r = (const void *)q->arg;
	const char *from = name_at(q, at), *to = from == NULL ? NULL : name_at(q, at + strlen(from) + 1);
	struct node *dir = to == NULL ? NULL : node_get(r->newdir);

	if (dir == NULL)
		return EINVAL;
	return renameat2(k->fd, from, dir->fd, to, two ? r->flags & (RENAME_NOREPLACE | RENAME_EXCHANGE) : 0) == 0 ? 0 : errno;
}

static int
do_link(struct request *q, struct node *k)
{
	const struct fuse_link_in *l = (const void *)q->arg;
	const char *name = name_at(q, sizeof(*l));
	struct node *old = name == NULL ? NULL : node_get(l->oldnodeid);
	char path[16];

	if (old == NULL)
		return EINVAL;
	snprintf(path, sizeof(path), "%d", old->fd);
	if (linkat(proc_fd, path, k->fd, name, AT_SYMLINK_FOLLOW) != 0)
		return errno;
	return answer_entry(q, k->fd, name, (void *)q->out);
}

static int
writes(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

enum { OPEN_KEPT = O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC };

static int
do_open(struct request *q, struct node *k)
{
	const struct fuse_open_in *i = (const void *)q->arg;
	struct fuse_open_out *o = (void *)q->out;
	struct stat st;
	int fd;

	if (q->len < sizeof(*i) || fstatat(k->fd, "", &st, AT_EMPTY_PATH) != 0)
		return EINVAL;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? EISDIR : EPERM;	/* FIFOs and devices are the guest's own affair */
	if (read_only && writes(i->flags))
		return EROFS;
	/* The guest appends by itself: it says where each byte goes. */
	if ((fd = reopen(k->fd, (int)(i->flags & OPEN_KEPT & ~(uint32_t)O_APPEND) | O_NONBLOCK)) < 0)
		return errno;
	*o = (struct fuse_open_out){ .fh = 0 };
	q->out_len = sizeof(*o);
	return file_add(fd, NULL, &o->fh);
}

static int
do_create(struct request *q, struct node *k)
{
	const struct fuse_create_in *i = (const void *)q->arg;
	const char *name = name_at(q, sizeof(*i));
	struct fuse_entry_out *e = (void *)q->out;
	struct fuse_open_out *o = (void *)(q->out + sizeof(*e));
	int fd, err;

	if (name == NULL)
		return EINVAL;
	fd = open_beneath(k->fd, name, (i->flags & OPEN_KEPT & ~(uint32_t)O_APPEND) | O_CREAT | O_NONBLOCK | (i->flags & O_EXCL),
	    i->mode & ~i->umask & 0777);
	if (fd < 0)
		return errno;
	give_to(q, k->fd, name);
	if ((err = answer_entry(q, k->fd, name, e)) != 0) {
		close(fd);
		return err;
	}
	*o = (struct fuse_open_out){ .fh = 0 };
	q->out_len = sizeof(*e) + sizeof(*o);
	return file_add(fd, NULL, &o->fh);
}

static int
do_read(struct request *q, struct node *k)
{
	const struct fuse_read_in *r = (const void *)q->arg;
	ssize_t n;

	(void)k;
	if (q->len < sizeof(*r) || handle_fd(r->fh) < 0)
		return EBADF;
	n = pread(handle_fd(r->fh), q->out, r->size < WRITE_MAX ? r->size : WRITE_MAX, (off_t)r->offset);
	if (n < 0)
		return errno;
	q->out_len = (size_t)n;
	return 0;
}

static int
do_write(struct request *q, struct node *k)
{
	const struct fuse_write_in *w = (const void *)q->arg;
	struct fuse_write_out *o = (void *)q->out;
	ssize_t n;

	(void)k;
	if (q->len < sizeof(*w) || w->size > q->len - sizeof(*w) || handle_fd(w->fh) < 0)
		return EBADF;
	if ((n = pwrite(handle_fd(w->fh), q->arg + sizeof(*w), w->size, (off_t)w->offset)) < 0)
		return errno;
	*o = (struct fuse_write_out){ .size = (uint32_t)n };
	q->out_len = sizeof(*o);
	return 0;
}

static int
do_statfs(struct request *q, struct node *k)
{
	struct fuse_statfs_out *o = (void *)q->out;
	struct statvfs v;
	int fd = reopen(k->fd, O_RDONLY | O_NONBLOCK);

	if (fd < 0 || fstatvfs(fd, &v) != 0)
		return errno;
	close(fd);
	*o = (struct fuse_statfs_out){ .st = { .blocks = v.f_blocks, .bfree = v.f_bfree, .bavail = v.f_bavail, .files = v.f_files,
		.ffree = v.f_ffree, .bsize = (uint32_t)v.f_bsize, .frsize = (uint32_t)v.f_frsize, .namelen = NAME_LIMIT } };
	q->out_len = sizeof(*o);
	return 0;
}

static int
do_release(struct request *q, struct node *k)
{
	const struct fuse_release_in *r = (const void *)q->arg;

	(void)k;
	if (q->len < sizeof(*r) || r->fh >= FILES_MAX)
		return EBADF;
	if (file_dir[r->fh] != NULL)
		closedir(file_dir[r->fh]);
	else if (file_fd[r->fh] >= 0)
		close(file_fd[r->fh]);
	file_dir[r->fh] = NULL;
	file_fd[r->fh] = -1;
	return 0;
}

static int
do_fsync(struct request *q, struct node *k)
{
	const struct fuse_fsync_in *f = (const void *)q->arg;
	int fd;

	(void)k;
	if (q->len < sizeof(*f))
		return EINVAL;
	fd = handle_dir(f->fh) != NULL ? dirfd(handle_dir(f->fh)) : handle_fd(f->fh);
	return fsync(fd) == 0 ? 0 : errno;
}

static int do_nothing(struct request *q, struct node *k) { (void)q, (void)k; return 0; }

static int
do_opendir(struct request *q, struct node *k)
{
	struct fuse_open_out *o = (void *)q->out;
	int fd = reopen(k->fd, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL)
		return errno;
	*o = (struct fuse_open_out){ .fh = 0 };
	q->out_len = sizeof(*o);
	return file_add(-1, d, &o->fh);
}

static int
do_readdir(struct request *q, struct node *k)
{
	const struct fuse_read_in *r = (const void *)q->arg;
	size_t room = r->size < WRITE_MAX ? r->size : WRITE_MAX;
	struct dirent *e;
	DIR *d;

	(void)k;
	if (q->len < sizeof(*r) || (d = handle_dir(r->fh)) == NULL)
		return EBADF;
	seekdir(d, (long)r->offset);
	while ((e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name), need = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + n);
		struct fuse_dirent *o = (void *)(q->out + q->out_len);

		if (q->out_len + need > room)
			break;
		memset(o, 0, need);
		o->ino = e->d_ino;
		o->off = (uint64_t)e->d_off;
		o->namelen = (uint32_t)n;
		o->type = e->d_type;
		memcpy(o->name, e->d_name, n);
		q->out_len += need;
	}
	return 0;
}

/* opcode, what does it, whether it changes anything, bytes that its arguments have at least */
static const struct op {
	int (*fn)(struct request *q, struct node *k);
	bool changes;
	size_t least;
} ops[64] = {
	[FUSE_INIT] = { do_init, false, 16 }, [FUSE_LOOKUP] = { do_lookup, false, 2 }, [FUSE_GETATTR] = { do_getattr, false, 0 },
	[FUSE_SETATTR] = { do_setattr, true, sizeof(struct fuse_setattr_in) }, [FUSE_READLINK] = { do_readlink, false, 0 },
	[FUSE_SYMLINK] = { do_symlink, true, 4 }, [FUSE_MKNOD] = { do_mknod, true, sizeof(struct fuse_mknod_in) },
	[FUSE_MKDIR] = { do_mkdir, true, sizeof(struct fuse_mkdir_in) }, [FUSE_UNLINK] = { do_unlink, true, 2 },
	[FUSE_RMDIR] = { do_unlink, true, 2 }, [FUSE_RENAME] = { do_rename, true, sizeof(struct fuse_rename_in) },
	[FUSE_RENAME2] = { do_rename, true, sizeof(struct fuse_rename2_in) }, [FUSE_LINK] = { do_link, true, sizeof(struct fuse_link_in) },
	[FUSE_OPEN] = { do_open, false, sizeof(struct fuse_open_in) }, [FUSE_READ] = { do_read, false, sizeof(struct fuse_read_in) },
	[FUSE_WRITE] = { do_write, true, sizeof(struct fuse_write_in) }, [FUSE_STATFS] = { do_statfs, false, 0 },
	[FUSE_RELEASE] = { do_release, false, sizeof(struct fuse_release_in) }, [FUSE_FSYNC] = { do_fsync, false, sizeof(struct fuse_fsync_in) },
	[FUSE_FLUSH] = { do_nothing, false, 0 }, [FUSE_OPENDIR] = { do_opendir, false, 0 },
	[FUSE_READDIR] = { do_readdir, false, sizeof(struct fuse_read_in) },
	[FUSE_RELEASEDIR] = { do_release, false, sizeof(struct fuse_release_in) },
	[FUSE_FSYNCDIR] = { do_fsync, false, sizeof(struct fuse_fsync_in) }, [FUSE_CREATE] = { do_create, true, sizeof(struct fuse_create_in) },
	[FUSE_DESTROY] = { do_nothing, false, 0 },
};

static void
forget(const struct request *q)
{
	const struct fuse_batch_forget_in *b = (const void *)q->arg;
	const struct fuse_forget_one *one = (const void *)(q->arg + sizeof(*b));

	if (q->h->opcode == FUSE_FORGET && q->len >= sizeof(struct fuse_forget_in))
		node_forget(q->h->nodeid, ((const struct fuse_forget_in *)(const void *)q->arg)->nlookup);
	else if (q->h->opcode == FUSE_BATCH_FORGET && q->len >= sizeof(*b))
		for (size_t i = 0; i < b->count && i < (q->len - sizeof(*b)) / sizeof(*one); i++)
			node_forget(one[i].nodeid, one[i].nlookup);
}

static int
dispatch(struct request *q)
{
	const struct op *op = q->h->opcode < 64 ? &ops[q->h->opcode] : &ops[0];
	struct node *k = node_get(q->h->nodeid);

	if (op->fn == NULL)
		return ENOSYS;
	if (q->len < op->least)
		return EINVAL;
	if (op->changes && read_only)
		return EROFS;
	if (k == NULL && op->fn != do_init && op->fn != do_nothing)
		return ESTALE;
	return op->fn(q, k);
}

/* ---- the socket ---- */

static void
run(int fd)
{
	static uint8_t in[MESSAGE_MAX] __attribute__((aligned(8))), out[MESSAGE_MAX] __attribute__((aligned(8)));
	uint32_t number;
	struct iovec iov[2] = { { &number, sizeof(number) }, { in, sizeof(in) } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	for (;;) {
		struct fuse_out_header *o = (void *)out;
		struct request q = { .h = (const void *)in, .arg = in + sizeof(*q.h), .out = out + sizeof(*o) };
		int err;

		iov[1] = (struct iovec){ in, sizeof(in) };
		n = recvmsg(fd, &m, 0);
		if (n == 0 || (n < 0 && errno != EINTR))
			return;
		if (n < (ssize_t)(sizeof(number) + sizeof(*q.h)))
			continue;
		q.len = (size_t)n - sizeof(number) - sizeof(*q.h);
		if (q.h->opcode == FUSE_FORGET || q.h->opcode == FUSE_BATCH_FORGET) {
			forget(&q);
			continue;
		}
		if ((err = dispatch(&q)) != 0)
			q.out_len = 0;
		*o = (struct fuse_out_header){ .len = (uint32_t)(sizeof(*o) + q.out_len), .error = -err, .unique = q.h->unique };
		iov[1] = (struct iovec){ out, o->len };
		if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
			return;
	}
}

static int
refuse(int fd, const char *dir, const char *why)
{
	char line[200];

	snprintf(line, sizeof(line), "%.120s: %s", dir, why);
	send(fd, line, strlen(line), MSG_NOSIGNAL);
	return STATUS_failed;
}

#ifdef __SANITIZE_ADDRESS__
/* The leak checker looks into /proc, which is not there where this process ends. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }
#endif

int
main(int argc, char **argv)
{
	struct rlimit files = { NODES_MAX, NODES_MAX };
	struct confine c = { .who = CONFINE_share, .memory = MEMORY_MAX, .capabilities = KEPT };
	struct stat st;
	int fd, dir;
	bool rooted;

	if (argc != 4) {
		fprintf(stderr, "regent-share is for the monitor to start; see --share in `regent run --help`\n");
		return STATUS_failed;
	}
	fd = atoi(argv[1]);
	read_only = strcmp(argv[3], "ro") == 0;
	is_root = geteuid() == 0;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "regent-share");
	if (setrlimit(RLIMIT_NOFILE, &files) != 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(0);
	for (unsigned i = 0; i < FILES_MAX; i++)
		file_fd[i] = -1;
	if ((dir = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 || fstat(dir, &st) != 0)
		return refuse(fd, argv[2], strerror(errno));
	if ((proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return refuse(fd, argv[2], "no /proc here");
	if (is_root && (fchdir(dir) != 0 || chroot(".") != 0))
		return refuse(fd, argv[2], "cannot be made our root");
	c.dir = dir;
	c.dir_read_only = read_only;
	c.proc_fd = proc_fd;
	if (confine(&c, &rooted) != 0)
		return refuse(fd, argv[2], "this host's kernel does not take its seccomp filter");
	node[FUSE_ROOT_ID] = (struct node){ .fd = dir, .dev = st.st_dev, .ino = st.st_ino, .lookups = 1 };
	node[0].fd = -1;
	*bucket(st.st_dev, st.st_ino) = FUSE_ROOT_ID;
	if (send(fd, "ok", 2, MSG_NOSIGNAL) == 2)
		run(fd);
	return 0;
}
