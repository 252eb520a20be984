/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/machine/boot.c - every boot protocol on tiny kernels, and what damaged ones come to. */
#include "check.h"
#include "unit/machine/fake_vm.h"
#include "unit/machine/guest_image.h"
#include "regent.h"

enum { MIB = 1 << 20 };
static struct image im;
static struct fake_vm f;

static uint64_t
ram64(uint64_t gpa)
{
	uint64_t v = 0;

	CHECK(mem_read(f.vm.mem, gpa, &v, 8));
	return v;
}

static uint32_t
ram32(uint64_t gpa)
{
	return (uint32_t)ram64(gpa);
}

static void
check_text_loaded(void)
{
	CHECK_EQ(ram64(IMAGE_AT), 0x9090909090909090);
	CHECK_EQ(ram64(IMAGE_AT + IMAGE_TEXT - 8), 0x9090909090909090);
	CHECK_EQ(ram64(IMAGE_AT + IMAGE_TEXT), 0);
}

static void
check_linux64(const char *append)
{
	const union regfile *r = &f.vcpu->cpu.r;
	struct boot_params bp;
	char line[64] = "";

	check_text_loaded();
	CHECK_EQ(r->rip, IMAGE_AT);
	CHECK_EQ(f.vcpu->cpu.mode, MODE_long64);
	CHECK_EQ(r->cs, 0x10);
	CHECK_EQ(r->ds, 0x18);
	CHECK_EQ(r->rflags, 2);
	CHECK(mem_read(f.vm.mem, r->rsi, &bp, sizeof(bp)));
	CHECK_EQ(bp.hdr.header, 0x53726448);
	CHECK_EQ(bp.hdr.type_of_loader, 0xff);
	CHECK_EQ(bp.acpi_rsdp_addr, 0xe0000);
	CHECK_EQ(bp.e820_entries, 3);
	CHECK_EQ(bp.e820_table[2].addr, 0x100000);
	CHECK(mem_read(f.vm.mem, bp.hdr.cmd_line_ptr, line, strlen(append) + 1));
	CHECK(strcmp(line, append) == 0);
	/* identity map: PML4[0] -> PDPT[0..3] -> 2 MiB pages */
	CHECK_EQ(ram64((ram64((ram64(r->cr3) & ~0xfffull) + 8 * 3) & ~0xfffull) + 8 * 5), 0xc0a00083);
	/* the descriptor behind CS is the one that is loaded */
	CHECK_EQ(ram64(r->gdtr_base + 0x10), 0x00af9b000000ffff);
}

static void
bzimage_of_every_compression(void)
{
	for (enum image_pack how = PACK_gzip; how < PACK__COUNT; how++) {
		struct boot_config cfg = { .append = "console=ttyS0", .rsdp = 0xe0000 };

		fake_open(&f, 64 * MIB);
		image_bzimage(&im, how);
		CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
		check_linux64("console=ttyS0");
		fake_close(&f);
	}
}

static void
bzimage_of_unknown_compression_unpacks_itself(void)
{
	struct boot_config cfg = { .append = "" };

	fake_open(&f, 64 * MIB);
	image_bzimage(&im, PACK_none);
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
	CHECK_EQ(f.vcpu->cpu.r.rip, IMAGE_AT + 0x200);
	CHECK_EQ(f.vcpu->cpu.mode, MODE_long64);
	CHECK_EQ(ram32(IMAGE_AT + 0x400), 0x464c457f);
	fake_close(&f);
}

/* memtest86+ and old kernels: no 64-bit entry, not relocatable. */
static void
bzimage_with_32_bit_entry(void)
{
	struct boot_config cfg = { .append = "" };

	fake_open(&f, 64 * MIB);
	image_bzimage(&im, PACK_none);
	im.bytes[0x234] = 0;
	im.bytes[0x236] = 0;
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
	CHECK_EQ(f.vcpu->cpu.r.rip, 0x100000);
	CHECK_EQ(f.vcpu->cpu.mode, MODE_prot32);
	CHECK(f.vcpu->cpu.r.rsi != 0);
	fake_close(&f);
}

static void
vmlinux_enters_long_mode(void)
{
	struct boot_config cfg = { .append = "quiet", .rsdp = 0xe0000 };

	fake_open(&f, 64 * MIB);
	image_elf64(&im, IMAGE_NOTE_NONE);
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
	check_linux64("quiet");
	fake_close(&f);
}

static void
initrd_lies_above_the_kernel(void)
{
	static const char bytes[5000] = "initrd";
	struct boot_config cfg = { .append = "" };
	struct boot_params bp;
	char path[32];
	int fd = fake_file(bytes, sizeof(bytes), path);

	fake_open(&f, 64 * MIB);
	image_bzimage(&im, PACK_gzip);
	cfg.initrd = path;
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
	CHECK(mem_read(f.vm.mem, f.vcpu->cpu.r.rsi, &bp, sizeof(bp)));
	CHECK_EQ(bp.hdr.ramdisk_size, sizeof(bytes));
	CHECK_EQ(bp.hdr.ramdisk_image % 4096, 0);
	CHECK(bp.hdr.ramdisk_image >= IMAGE_AT + 0x100000);
	CHECK_EQ(ram32(bp.hdr.ramdisk_image), 0x74696e69);
	fake_close(&f);
	close(fd);
}

static void
pvh_enters_protected_mode(void)
{
	struct boot_config cfg = { .append = "abc", .rsdp = 0xe0000 };
	const union regfile *r;

	fake_open(&f, 64 * MIB);
	image_elf64(&im, IMAGE_NOTE_PVH);
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
	r = &f.vcpu->cpu.r;
	check_text_loaded();
	CHECK_EQ(r->rip, IMAGE_AT + 0x10);
	CHECK_EQ(f.vcpu->cpu.mode, MODE_prot32);
	CHECK_EQ(ram32(r->rbx), 0x336ec578);
	CHECK_EQ(ram32(ram64(r->rbx + 24)), 0x636261);
	CHECK_EQ(ram64(r->rbx + 32), 0xe0000);
	CHECK_EQ(ram32(r->rbx + 48), 3);
	fake_close(&f);
}

static void
multiboot_by_elf_with_modules(void)
{
	const char *modules[3] = { NULL };
	struct boot_config cfg = { .append = "one two", .modules = modules };
	char path[32], spec[64];
	int fd = fake_file("module", 6, path);
	const union regfile *r;
	uint64_t mods;

	snprintf(spec, sizeof(spec), "%s with words", path);
	modules[0] = spec;
	modules[1] = path;
	fake_open(&f, 64 * MIB);
	image_multiboot(&im, 3);
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
	r = &f.vcpu->cpu.r;
	CHECK_EQ(r->rip, IMAGE_AT);
	CHECK_EQ(r->rax, 0x2badb002);
	CHECK_EQ(ram32(r->rbx) & 0x24d, 0x24d);
	CHECK_EQ(ram32(r->rbx + 4), 639);
	CHECK_EQ(ram32(r->rbx + 8), 63 * 1024);
	CHECK_EQ(ram32(r->rbx + 20), 2);
	mods = ram32(r->rbx + 24);
	CHECK_EQ(ram32(ram32(mods)), 0x75646f6d);
	CHECK_EQ(ram32(mods + 4) - ram32(mods), 6);
	CHECK_EQ(ram32(ram32(mods + 8) + strlen(path)), 0x74697720);
	CHECK_EQ(ram32(mods + 16) % 4096, 0);
	/* memory map: entries of { 20, base, length, type } */
	CHECK_EQ(ram32(r->rbx + 44), 3 * 24);
	CHECK_EQ(ram32(ram32(r->rbx + 48)), 20);
	fake_close(&f);
	close(fd);
}

static void
multiboot_by_addresses(void)
{
	struct boot_config cfg = { .append = "" };

	fake_open(&f, 64 * MIB);
	image_multiboot(&im, 0x10000);
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), 0);
	CHECK_EQ(f.vcpu->cpu.r.rip, IMAGE_AT + 0x200);
	CHECK_EQ(ram32(IMAGE_AT), 0x464c457f);
	CHECK_EQ(ram32(IMAGE_AT + 0x100), 0x1badb002);
	fake_close(&f);
}

/* One line, that begins with the file's name. */
static void
check_line(void)
{
	CHECK(strncmp(f.err, "/proc/self/fd/", 14) == 0 || strstr(f.err, "--") != NULL || strchr(f.err, ':') != NULL);
	CHECK(strchr(f.err, '\n') == NULL);
	CHECK(strlen(f.err) > 10);
}

static void
refuse(const char *say, uint64_t memory)
{
	struct boot_config cfg = { .append = "" };

	fake_open(&f, memory);
	CHECK(fake_boot(&f, &cfg, im.bytes, im.size) < 0);
	check_line();
	if (strstr(f.err, say) == NULL) {
		printf("# %s\n", f.err);
		CHECK(strstr(f.err, say) != NULL);
	}
	fake_close(&f);
}

static void
errors_say_what_to_do(void)
{
	image_bzimage(&im, PACK_gzip);
	refuse("raise --memory", 4 * MIB);
	refuse("raise --memory", 16 * MIB + 8192);	/* the segment fits, init_size does not */
	im.size = 0x600;
	refuse("cut short", 64 * MIB);
	image_bzimage(&im, PACK_zstd);
	im.bytes[0x840] ^= 0xff;
	refuse("damaged zstd", 64 * MIB);
	image_elf32(&im);
	refuse("neither a multiboot header", 64 * MIB);
	memset(im.bytes, 'x', im.size);
	refuse("no kernel that can be booted", 64 * MIB);
	image_multiboot(&im, 0x8);
	refuse("features", 64 * MIB);
	im.size = 0;
	refuse("is empty", 64 * MIB);
}

static void
missing_files_are_named(void)
{
	struct boot_config cfg = { .kernel = "/does/not/exist", .append = "" };

	fake_open(&f, 64 * MIB);
	CHECK_EQ(boot_load(&f.vm, &cfg, f.err, sizeof(f.err)), -REGENT_E_io);
	CHECK(strstr(f.err, "/does/not/exist: No such file") == f.err);
	cfg.kernel = "/";
	CHECK_EQ(boot_load(&f.vm, &cfg, f.err, sizeof(f.err)), -REGENT_E_io);
	CHECK(strstr(f.err, "not a regular file") != NULL);
	image_bzimage(&im, PACK_gzip);
	cfg.initrd = "/does/not/exist";
	CHECK_EQ(fake_boot(&f, &cfg, im.bytes, im.size), -REGENT_E_io);
	CHECK(strstr(f.err, "/does/not/exist: No such file") == f.err);
	fake_close(&f);
}

static void
image_make(unsigned kind)
{
	switch (kind) {
	case 0: image_elf64(&im, IMAGE_NOTE_PVH); break;
	case 1: image_multiboot(&im, 3); break;
	case 2: image_multiboot(&im, 0x10003); break;
	default: image_bzimage(&im, (enum image_pack)(kind - 3)); break;
	}
}
enum { KINDS = 3 + PACK__COUNT };

/* Every length, as far as headers go, then in steps. */
static void
truncation_never_crashes(void)
{
	struct boot_config cfg = { .append = "" };

	for (unsigned kind = 0; kind < KINDS; kind++) {
		image_make(kind);
		for (size_t n = 0; n < im.size; n += n < 0x240 ? 7 : 509) {
			fake_open(&f, 32 * MIB);
			if (fake_boot(&f, &cfg, im.bytes, n) != 0)
				check_line();
			fake_close(&f);
		}
	}
}

static uint64_t
rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	return *s ^= *s << 17;
}

/* A few bytes of the headers changed, often to extreme values. */
static void
mutation_never_crashes(void)
{
	static const uint8_t extremes[] = { 0, 1, 0x7f, 0x80, 0xff, 0xfe };
	struct boot_config cfg = { .append = "" };
	uint64_t s = 88172645463325252;

	for (unsigned round = 0; round < 3000; round++) {
		image_make((unsigned)(rnd(&s) % KINDS));
		for (uint64_t k = rnd(&s) % 8 + 1; k > 0; k--) {
			size_t at = rnd(&s) % (rnd(&s) % 2 ? 0x280 : im.size);

			for (uint64_t len = rnd(&s) % 8 + 1, v = rnd(&s) % 6; len > 0 && at < im.size; len--, at++)
				im.bytes[at] = rnd(&s) % 2 ? extremes[v] : (uint8_t)rnd(&s);
		}
		fake_open(&f, 32 * MIB);
		if (fake_boot(&f, &cfg, im.bytes, im.size) != 0)
			check_line();
		fake_close(&f);
	}
}

int
main(void)
{
	RUN(bzimage_of_every_compression);
	RUN(bzimage_of_unknown_compression_unpacks_itself);
	RUN(bzimage_with_32_bit_entry);
	RUN(vmlinux_enters_long_mode);
	RUN(initrd_lies_above_the_kernel);
	RUN(pvh_enters_protected_mode);
	RUN(multiboot_by_elf_with_modules);
	RUN(multiboot_by_addresses);
	RUN(errors_say_what_to_do);
	RUN(missing_files_are_named);
	RUN(truncation_never_crashes);
	RUN(mutation_never_crashes);
	return check_done();
}
