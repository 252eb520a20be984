/* SPDX-License-Identifier: Apache-2.0 */
/* helper/boot.c - regent-boot: finds kernel and initrd in a disk image and hands copies of them over.
 *
 *	regent-boot FD IMAGE
 *
 * An image is a guest's, and so may be hostile: its file system is read (by libext2fs) in this process, which has
 * given up what it could before it looks at files, and not in the monitor. The answer on FD is "ok ROOT", with two
 * memory files by SCM_RIGHTS (kernel, initrd; only one when there is no initrd), or the line that says why not.
 */
#include "helper/confine.h"
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SECTOR = 512, MBR_SLOTS = 4, MBR_TABLE = 446, MBR_ENTRY = 16, MBR_TYPE = 4, MBR_START = 8, TYPE_GPT = 0xee,
	TYPE_LINUX = 0x83, GPT_ENTRIES_MAX = 128, PARTS_MAX = MBR_SLOTS + GPT_ENTRIES_MAX, NAME_MAX_ = 255,
	NOBODY = 65534, SECONDS_MAX = 60, MEMORY_MAX = 512 << 20, STATUS_failed = 1 };
static const uint64_t FILE_MAX_ = 1ull << 29;

struct found {
	char kernel[NAME_MAX_ + 1], initrd[NAME_MAX_ + 1];
};

__attribute__((format(printf, 2, 3))) static int
refuse(int fd, const char *fmt, ...)
{
	char line[240];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	send(fd, line, strlen(line), MSG_NOSIGNAL);
	return STATUS_failed;
}

/* ---- where the file system is: the whole image, or a partition of it ---- */

static uint64_t
little(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

static unsigned
gpt_parts(int fd, uint64_t *offset, unsigned n)
{
	enum { HEADER_AT = 1, ENTRIES_LBA = 72, ENTRIES = 80, ENTRY_SIZE = 84, FIRST_LBA = 32, ENTRY = 128 };
	uint8_t h[SECTOR], e[ENTRY];
	uint64_t at;

	if (pread(fd, h, sizeof(h), HEADER_AT * SECTOR) != sizeof(h) || memcmp(h, "EFI PART", 8) != 0 ||
	    little(h + ENTRY_SIZE, 4) != ENTRY)
		return n;
	at = little(h + ENTRIES_LBA, 8);
	for (uint64_t i = 0; i < little(h + ENTRIES, 4) && i < GPT_ENTRIES_MAX && at < FILE_MAX_; i++) {
		if (pread(fd, e, sizeof(e), (off_t)(at * SECTOR + i * ENTRY)) != sizeof(e))
			break;
		if (little(e, 8) != 0 && little(e + FIRST_LBA, 8) < FILE_MAX_ * SECTOR)
			offset[n++] = little(e + FIRST_LBA, 8) * SECTOR;
	}
	return n;
}

/* Offsets at which a file system may begin; the first is 0. */
static unsigned
parts(int fd, uint64_t offset[1 + PARTS_MAX])
{
	uint8_t mbr[SECTOR];
	unsigned n = 0;

	offset[n++] = 0;
	if (pread(fd, mbr, sizeof(mbr), 0) != sizeof(mbr) || mbr[510] != 0x55 || mbr[511] != 0xaa)
		return n;
	for (unsigned i = 0; i < MBR_SLOTS; i++) {
		const uint8_t *e = mbr + MBR_TABLE + i * MBR_ENTRY;

		if (e[MBR_TYPE] == TYPE_GPT)
			return gpt_parts(fd, offset, n);
		if (e[MBR_TYPE] == TYPE_LINUX)
			offset[n++] = little(e + MBR_START, 4) * SECTOR;
	}
	return n;
}

/* ---- what to boot ---- */

static bool
exists(ext2_filsys fs, const char *path, ext2_ino_t *ino)
{
	return ext2fs_namei_follow(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, ino) == 0;
}

/* /boot/vmlinuz-*: the highest version of them. */
static int
newest(struct ext2_dir_entry *e, int offset, int size, char *buf, void *ctx)
{
	struct found *f = ctx;
	char name[NAME_MAX_ + 1];
	int n = ext2fs_dirent_name_len(e);

	(void)offset, (void)size, (void)buf;
	snprintf(name, sizeof(name), "%.*s", n, e->name);
	if (strncmp(name, "vmlinuz-", 8) == 0 && strverscmp(name, f->kernel) > 0)
		memcpy(f->kernel, name, sizeof(name));
	return 0;
}

static bool
find(ext2_filsys fs, ext2_ino_t *kernel, ext2_ino_t *initrd)
{
	static const char *const pairs[][2] = { { "/vmlinuz", "/initrd.img" }, { "/boot/vmlinuz", "/boot/initrd.img" } };
	struct found f = { .kernel = "" };
	char path[NAME_MAX_ + 32];
	ext2_ino_t boot;

	*initrd = 0;
	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (!exists(fs, pairs[i][0], kernel))
			continue;
		if (!exists(fs, pairs[i][1], initrd))
			*initrd = 0;
		return true;
	}
	if (!exists(fs, "/boot", &boot) || ext2fs_dir_iterate(fs, boot, 0, NULL, newest, &f) != 0 || f.kernel[0] == '\0')
		return false;
	snprintf(path, sizeof(path), "/boot/%s", f.kernel);
	if (!exists(fs, path, kernel))
		return false;
	snprintf(path, sizeof(path), "/boot/initrd.img-%.*s", NAME_MAX_ - 8, f.kernel + 8);
	if (!exists(fs, path, initrd))
		*initrd = 0;
	return true;
}

/* A copy in a memory file of ours; -1: it cannot be read. */
static int
copy(ext2_filsys fs, ext2_ino_t ino, const char *name)
{
	static char piece[1 << 16];
	uint64_t left, size = 0;
	unsigned got;
	ext2_file_t f;
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 || ext2fs_file_open(fs, ino, 0, &f) != 0)
		return -1;
	if (ext2fs_file_get_lsize(f, (__u64 *)&size) != 0 || size == 0 || size > FILE_MAX_)
		return -1;
	for (left = size; left > 0; left -= got)
		if (ext2fs_file_read(f, piece, sizeof(piece), &got) != 0 || got == 0 || got > left ||
		    write(fd, piece, got) != (ssize_t)got)
			return -1;
	ext2fs_file_close(f);
	return fd;
}

static int
answer(int fd, ext2_filsys fs, const int *files, unsigned n)
{
	const uint8_t *u = fs->super->s_uuid;
	char line[80];
	union { struct cmsghdr h; char room[CMSG_SPACE(2 * sizeof(int))]; } c;
	struct iovec iov = { line, 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	iov.iov_len = (size_t)snprintf(line, sizeof(line), "ok UUID=%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
	    u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	memset(&c, 0, sizeof(c));
	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&c.h), files, n * sizeof(int));
	return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? STATUS_failed : 0;
}

/* Before anything of the image is understood. */
static int
drop_rights(void)
{
	struct confine c = { .who = CONFINE_boot, .own_user = true, .dir = -1, .memory = MEMORY_MAX };
	bool rooted;
	struct rlimit time = { SECONDS_MAX, SECONDS_MAX }, size = { FILE_MAX_, FILE_MAX_ };

	setrlimit(RLIMIT_CPU, &time);	/* a file system that goes round in circles */
	setrlimit(RLIMIT_FSIZE, &size);
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) != 0))
		return -1;
	return confine(&c, &rooted);
}

int
main(int argc, char **argv)
{
	uint64_t offset[1 + PARTS_MAX];
	ext2_ino_t kernel, initrd;
	ext2_filsys fs = NULL;
	char name[12];
	unsigned count;
	int fd, image, files[2];

	if (argc != 3) {
		fprintf(stderr, "regent-boot is for the monitor to start\n");
		return STATUS_failed;
	}
	fd = atoi(argv[1]);
	if ((image = open(argv[2], O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0)
		return refuse(fd, "%s; name a raw disk image", strerror(errno));
	if (drop_rights() != 0)
		return refuse(fd, "cannot be looked into safely here: %s", strerror(errno));
	snprintf(name, sizeof(name), "%d", image);
	count = parts(image, offset);
	for (unsigned i = 0; i < count; i++) {
		char options[40];

		snprintf(options, sizeof(options), "offset=%llu", (unsigned long long)offset[i]);
		/* 64BITS: what mke2fs makes today. Nothing is written. */
		if (ext2fs_open2(name, options, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP,
		    0, 0, unixfd_io_manager, &fs) != 0)
			continue;
		if (find(fs, &kernel, &initrd))
			break;
		ext2fs_close_free(&fs);
	}
	if (fs == NULL)
		return refuse(fd, "has no kernel in an ext2, ext3 or ext4 file system (/vmlinuz or /boot/vmlinuz-*); use --kernel");
	if ((files[0] = copy(fs, kernel, "kernel")) < 0)
		return refuse(fd, "its kernel cannot be read; check the file system with fsck");
	if (initrd != 0 && (files[1] = copy(fs, initrd, "initrd")) < 0)
		return refuse(fd, "its initrd cannot be read; check the file system with fsck");
	return answer(fd, fs, files, initrd != 0 ? 2 : 1);
}
