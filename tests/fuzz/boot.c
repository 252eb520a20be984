/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/boot.c - libFuzzer target: any bytes as a kernel file. tests/fuzz/run-fuzz builds and runs it.
 *
 * The first byte chooses a good image of some kind to which the rest is applied as changes
 * { offset (2 bytes), length (1), bytes }, so that the fuzzer gets past the headers; 255: the bytes
 * themselves are the file.
 */
#include "unit/machine/fake_vm.h"
#include "unit/machine/guest_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct image im;

static void
base_image(uint8_t kind)
{
	switch (kind % (3 + PACK__COUNT)) {
	case 0: image_elf64(&im, IMAGE_NOTE_PVH); break;
	case 1: image_multiboot(&im, 3); break;
	case 2: image_multiboot(&im, 0x10003); break;
	default: image_bzimage(&im, (enum image_pack)(kind % (3 + PACK__COUNT) - 3)); break;
	}
}

static void
apply(const uint8_t *data, size_t n)
{
	while (n > 3) {
		size_t at = ((size_t)data[0] | (size_t)data[1] << 8) % im.size, len = data[2] % 16u;

		data += 3;
		n -= 3;
		len = len < n ? len : n;
		len = len < im.size - at ? len : im.size - at;
		memcpy(im.bytes + at, data, len);
		data += len;
		n -= len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct boot_config cfg = { .append = "console=ttyS0" };
	static struct fake_vm f;

	if (n < 1)
		return 0;
	fake_open(&f, 32 << 20);
	if (data[0] == 255) {
		fake_boot(&f, &cfg, data + 1, n - 1);
	} else {
		base_image(data[0]);
		apply(data + 1, n - 1);
		fake_boot(&f, &cfg, im.bytes, im.size);
	}
	fake_close(&f);
	return 0;
}
