/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/kvm.c - the KVM engine itself: every register there and back, how many ioctls, what follows from each
 * one that fails, event descriptors, the dirty log.
 */
#include "engine/engines.h"
#include "engine/kvm/chips.h"
#include "engine/kvm/kvm.h"
#include "machine/kernel_chips.h"
#include "machine/machine.h"
#include "regent.h"
#include "unit/machine/guest_image.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CODE(g, bytes) rig_code(g, bytes, sizeof(bytes) - 1)

/* ---- registers ---- */

/* Something else than after reset that the processor takes: by hand where not any number will do. */
static uint64_t
another_value(int id, unsigned round)
{
	static const struct { uint16_t id; uint64_t val[2]; } special[] = {
		{ REG_rip, { RIG_CODE + 1, RIG_CODE + 2 } }, { REG_rflags, { 0x6, 0x202 } }, { REG_xcr0, { 3, 3 } },
		{ REG_cr0, { 0x80000033, 0x80000031 } }, { REG_cr3, { RIG_TABLES, RIG_TABLES } },
		{ REG_cr4, { 0x6a0, 0x620 } }, { REG_cr8, { 0, 0 } }, { REG_dr6, { 0xffff0ff1, 0xffff4ff0 } },
		{ REG_dr7, { 0x402, 0x401 } }, { REG_ia32_efer, { 0xd01, 0x501 } }, { REG_activity, { 0, 0 } },
		{ REG_ia32_apic_base, { 0xfee00900, 0xfee00900 } }, { REG_ia32_pat, { 0x0606060606060606, 0x0007040600070406 } },
		{ REG_interruptibility, { SHADOW_sti, 0 } }, { REG_nmi_pending, { 0, 0 } }, { REG_nmi_blocked, { 1, 0 } },
		{ REG_sipi_vector, { 0, 0 } }, { REG_ia32_spec_ctrl, { 0, 0 } }, { REG_ia32_xss, { 0, 0 } },
		{ REG_ia32_tsc_deadline, { 0, 0 } },
	};
	unsigned i;

	for (i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if (special[i].id == id)
			return special[i].val[round];
	if (reg_desc[id].kvm == KVM_msr)
		return (uint64_t)(0x1234 + (unsigned)id + round) & reg_desc[id].writable;
	return (uint64_t)(0x10203 + 0x1000 * (unsigned)id + round) & (reg_desc[id].bits == 64 ? UINT64_MAX : (1ull << reg_desc[id].bits) - 1);
}

/* Selectors and rights stay those of a mode that can be entered. */
static bool
in_play(const struct rig *g, int id)
{
	bool apics = id == REG_ia32_apic_base || id == REG_cr8;	/* the board's, when it has them */
	bool segment = reg_desc[id].group == GROUP_seg && (id - REG_es) % 4 != 1;

	return reg_desc[id].kind == KIND_saved && reg_desc[id].kvm != KVM_none && !segment && (!apics || g->cpu.kernel_chips) && id != REG_tr_base &&
		id != REG_ldtr_base && cpu_has(g->cpu.model, reg_desc[id].since);
}

/* Give all groups, enter without running, forget, fetch all. */
static void
there_and_back(struct rig *g)
{
	struct cpu *c = &g->cpu;

	CHECK_EQ(kvm_engine.ready(c), 0);
	c->dirty = 0;
	memset(&c->r, 0xa5, REG_activity * sizeof(uint64_t));
	memset(&c->fpu, 0xa5, sizeof(c->fpu));
	c->kvm->have = 0;
	CHECK_EQ(kvm_engine.fetch(c, GROUP_ALL), 0);
}

static void
every_register_comes_back(void)
{
	for (unsigned round = 0; round < 2; round++) {
		struct rig *g = rig_open(engine, RIG_long);
		struct cpu *c = &g->cpu;
		union regfile want;
		struct fpu_state fpu;
		unsigned compared = 0;

		for (int id = 0; id < REG__COUNT; id++)
			if (in_play(g, id))
				c->r.v[id] = another_value(id, round);
		for (unsigned i = 0; i < sizeof(c->fpu.xmm); i++)
			c->fpu.xmm[i / 16][i % 16] = (uint8_t)(i + round);
		c->fpu.xstate_bv = 3;
		c->fpu.fcw = 0x37f;
		want = c->r;
		fpu = c->fpu;
		c->dirty = GROUP_ALL;
		there_and_back(g);
		for (int id = 0; id < REG__COUNT; id++) {
			if (reg_desc[id].kvm == KVM_none || (!in_play(g, id) && reg_desc[id].group != GROUP_seg) ||
			    (reg_desc[id].kvm == KVM_msr && !kvm_msr_is_kernels(c->kvm->vm, id)))
				continue;
			compared++;
			if (id == REG_interruptibility)	/* AMD's processors have one shadow for both */
				c->r.v[id] = c->r.v[id] != 0 ? want.v[id] : 0;
			if (c->r.v[id] != want.v[id])
				printf("# %s: %#" PRIx64 " became %#" PRIx64 "\n", reg_desc[id].name, want.v[id], c->r.v[id]);
			CHECK_EQ(c->r.v[id], want.v[id]);
		}
		CHECK(compared > 60);
		CHECK_EQ(memcmp(c->fpu.xmm, fpu.xmm, sizeof(fpu.xmm)), 0);
		CHECK_EQ(c->fpu.fcw, fpu.fcw);
		rig_close(g);
	}
}

/* Where state may be larger than struct kvm_xsave it travels by KVM_GET_XSAVE2: here with room that nothing fills. */
static void
a_larger_image_comes_back(void)
{
	enum { LARGER = 2 * sizeof(struct kvm_xsave) };
	struct rig *g = rig_open(engine, RIG_long);
	struct cpu *c = &g->cpu;

	if (ioctl(c->kvm->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2) <= 0) {
		rig_close(g);
		SKIP("this kernel has no KVM_CAP_XSAVE2");
	}
	free(c->kvm->xsave);
	c->kvm->xsave = calloc(1, LARGER);
	c->kvm->vm->xsave_size = LARGER;
	for (unsigned i = 0; i < sizeof(c->fpu.xmm); i++)
		c->fpu.xmm[i / 16][i % 16] = (uint8_t)(i + 7);
	c->fpu.xstate_bv = 3;
	c->fpu.fcw = 0x27f;
	c->dirty = GROUP_ALL;
	there_and_back(g);
	for (unsigned i = 0; i < sizeof(c->fpu.xmm); i++)
		CHECK_EQ(c->fpu.xmm[i / 16][i % 16], (uint8_t)(i + 7));
	CHECK_EQ(c->fpu.fcw, 0x27f);
	c->kvm->have = 0;
	kvm_injection.only = KVM_GET_XSAVE2;	/* that it was this request */
	kvm_injection.after = 0;
	kvm_injection.error = EIO;
	CHECK(kvm_engine.fetch(c, GROUP_BIT(GROUP_fpu)) != 0);
	CHECK(strstr(engine_why(), "KVM_GET_XSAVE2") != NULL);
	kvm_injection.error = 0;
	kvm_injection.only = 0;
	rig_close(g);
}

/* ---- how many ioctls ---- */

/* mov ecx,1000; l: out 0x80,al; dec ecx; jnz l; hlt: one KVM_RUN each, nothing else. */
static void
an_exit_is_one_ioctl(void)
{
	struct rig *g = rig_open(engine, RIG_long);
	struct vexit x;
	uint64_t before;

	CODE(g, "\xb9\xe8\x03\x00\x00\xe6\x80\xff\xc9\x75\xfa\xf4");
	g->cpu.dirty = GROUP_ALL;
	CHECK_EQ(kvm_engine.ready(&g->cpu), 0);
	before = kvm_calls;
	CHECK_EQ(kvm_engine.run(&g->cpu, &x), 0);
	CHECK_EQ(x.kind, EXIT_hlt);
	CHECK_EQ(g->ios, 1000);
	CHECK_EQ(kvm_calls - before, 1001);
	before = kvm_calls;			/* what travels in the run page costs nothing */
	CHECK_EQ(kvm_engine.fetch(&g->cpu, GROUP_BIT(GROUP_gpr) | GROUP_BIT(GROUP_ip)), 0);
	CHECK_EQ(kvm_calls - before, 0);
	CHECK_EQ(kvm_engine.fetch(&g->cpu, GROUP_BIT(GROUP_seg)), 0);
	CHECK_EQ(kvm_calls - before, 1);
	CHECK_EQ(kvm_engine.fetch(&g->cpu, GROUP_BIT(GROUP_seg) | GROUP_BIT(GROUP_table)), 0);
	CHECK_EQ(kvm_calls - before, 1);	/* once is enough */
	CHECK_EQ(kvm_engine.fetch(&g->cpu, GROUP_BIT(GROUP_fpu)), 0);
	CHECK_EQ(kvm_calls - before, 2);
	CHECK_EQ(kvm_engine.store(&g->cpu, GROUP_BIT(GROUP_gpr) | GROUP_BIT(GROUP_ip) | GROUP_BIT(GROUP_seg)), 0);
	CHECK_EQ(kvm_calls - before, 2);	/* they wait in the run page */
	CHECK_EQ(kvm_engine.store(&g->cpu, GROUP_BIT(GROUP_fpu)), 0);
	CHECK_EQ(kvm_calls - before, 3);
	rig_close(g);
}

/* ---- a board in the kernel ---- */

static struct vm *
board(void)
{
	struct vm_config cfg = { .memory = 2 << 20, .cpus = 2, .engine = &kvm_engine, .kernel_chips = true };
	struct machine_config mc = { .debug_exit_port = 0xf4 };
	char err[256] = "";
	struct vm *vm = vm_open(&cfg, err, sizeof(err));

	CHECK(vm != NULL);
	if (vm != NULL)
		CHECK_EQ(machine_build(vm, &mc, err, sizeof(err)), 0);
	return vm;
}

static struct dev *
device(struct vm *vm, const char *id)
{
	for (unsigned i = 0; i < vm->ndevs; i++)
		if (strcmp(vm->devs[i]->id, id) == 0)
			return vm->devs[i];
	return NULL;
}

/* The text of a chip's state, without what can't come back. */
static void
show(struct vm *vm, const char *id, char *text, size_t size)
{
	dev_show(device(vm, id), text, size);
}

/* A field of a chip by name, one element. */
static void
set(struct vm *vm, const char *id, const char *field, unsigned n, uint64_t val)
{
	struct dev *d = device(vm, id);
	const struct dev_field *f = d->ops->fields;

	while (strcmp(f->name, field) != 0)
		f++;
	memcpy((uint8_t *)d + f->offset + n * f->size, &val, f->size);
}

static void
chips_come_back(void)
{
	static const char *const ids[] = { "lapic0", "lapic1", "ioapic", "pic" };
	static char before[4][8192], after[8192];
	struct vm *vm = board();
	char err[128];

	if (vm == NULL)
		return;
	if (!vm->vcpu[0]->cpu.kernel_chips) {
		vm_close(vm);
		SKIP("this KVM has no interrupt controllers");
	}
	for (unsigned n = 0; n < 2; n++) {
		const char *id = ids[n];

		set(vm, id, "svr", 0, 0x1ff);
		set(vm, id, "tpr", 0, 0x20);
		set(vm, id, "ldr", 0, 0x01000000u << n);
		set(vm, id, "isr", 2, 0x10);
		set(vm, id, "irr", 1, 0x80 << n);
		set(vm, id, "tmr", 1, 0x80);
		set(vm, id, "icr", 0, 0x0100000000000cfdull);
		set(vm, id, "divide", 0, 0xb);
		set(vm, id, "lvt", 0, 0x10030);
		set(vm, id, "lvt", 3, 0x10700);
		set(vm, id, "lvt", 4, 0x400);
		set(vm, id, "lvt", 5, 0x100fe);
	}
	set(vm, "ioapic", "select", 0, 0x12);
	set(vm, "ioapic", "id", 0, 0x05000000);
	for (unsigned pin = 0; pin < 24; pin++)
		set(vm, "ioapic", "rte", pin, 0x0100000000010000ull | (0x30 + pin) | (pin & 1 ? 0x8000 : 0));
	for (unsigned c = 0; c < 2; c++) {
		set(vm, "pic", "base", c, 0x30 + 8 * c);
		set(vm, "pic", "imr", c, 0xfa);
		set(vm, "pic", "isr", c, 0x04);
		set(vm, "pic", "irr", c, 0x02);
		set(vm, "pic", "top", c, 3);
		set(vm, "pic", "icw1", c, 1);
		set(vm, "pic", "icw4", c, 2);
		set(vm, "pic", "special_mask", c, 1);
	}
	CHECK_EQ(machine_firmware(vm), 0);
	for (unsigned i = 0; i < 4; i++)
		show(vm, ids[i], before[i], sizeof(before[i]));
	CHECK_EQ(vm_ready(vm, err, sizeof(err)), 0);
	for (unsigned i = 0; i < 4; i++)
		dev_reset(device(vm, ids[i]));
	CHECK_EQ(machine_chips_fetch(vm), 0);
	for (unsigned i = 0; i < 4; i++) {
		show(vm, ids[i], after, sizeof(after));
		if (strcmp(before[i], after) != 0)
			printf("# given:\n%s# came back:\n%s", before[i], after);
		CHECK_EQ(strcmp(before[i], after), 0);
	}
	vm_close(vm);
}

/* The PIT's counts start anew with each store; the rest and the clock come back. */
static void
pit_and_clock_come_back(void)
{
	struct vm *vm = board();
	struct cpu *c;
	struct kvm_pit_state2 given, got;
	uint64_t ns = 5000000000, later = 0;

	if (vm == NULL)
		return;
	c = &vm->vcpu[0]->cpu;
	if (!c->kernel_chips) {
		vm_close(vm);
		SKIP("this KVM has no PIT");
	}
	for (unsigned n = 0; n < 3; n++) {
		set(vm, "pit", "count", n, 10000 + n);
		set(vm, "pit", "mode", n, 2 + (n & 1));
		set(vm, "pit", "rw", n, 3);
		set(vm, "pit", "gate", n, n != 2);
		set(vm, "pit", "write_high", n, n & 1);
		set(vm, "pit", "read_high", n, n == 0);
	}
	pit_to_kernel(device(vm, "pit"), &given);
	CHECK_EQ(kvm_pit_state(c, &given, true), 0);
	CHECK_EQ(kvm_pit_state(c, &got, false), 0);
	dev_reset(device(vm, "pit"));
	pit_from_kernel(device(vm, "pit"), &got, 0, 0);
	pit_to_kernel(device(vm, "pit"), &got);
	CHECK_EQ(memcmp(&given.channels, &got.channels, sizeof(given.channels)), 0);
	CHECK_EQ(kvm_clock_state(c, &ns, true), 0);
	CHECK_EQ(kvm_clock_state(c, &later, false), 0);
	CHECK(later >= ns && later < ns + 2000000000);
	vm_close(vm);
}

/* An eventfd raises a line: the kernel's IOAPIC has it pending. */
static void
event_descriptors_reach_the_chips(void)
{
	struct vm *vm = board();
	struct cpu *c;
	struct kvm_irqchip pic = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	uint64_t one = 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (vm == NULL)
		return;
	c = &vm->vcpu[0]->cpu;
	if (!c->kernel_chips) {
		close(fd);
		vm_close(vm);
		SKIP("this KVM has no interrupt controllers");
	}
	CHECK_EQ(kvm_irqfd(c, fd, 5, true), 0);
	CHECK_EQ(write(fd, &one, sizeof(one)), sizeof(one));
	for (unsigned i = 0; i < 200 && (pic.chip.pic.irr & 1 << 5) == 0; i++) {
		usleep(5000);
		CHECK_EQ(kvm_irqchip_state(c, &pic, false), 0);
	}
	CHECK_EQ(pic.chip.pic.irr & 1 << 5, 1 << 5);	/* an edge, not yet taken */
	CHECK_EQ(kvm_irqfd(c, fd, 5, false), 0);
	close(fd);
	vm_close(vm);
}

/* out 0x80,al; out 0x80,al; out 0x81,al; hlt: the first two count in the descriptor and are no exits. */
static void
event_descriptors_take_writes(void)
{
	struct rig *g = rig_open(engine, RIG_long);
	struct io at = { .addr = 0x80, .size = 1, .port = true };
	uint64_t n = 0;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	CODE(g, "\xe6\x80\xe6\x80\xe6\x81\xf4");
	CHECK_EQ(kvm_ioeventfd(&g->cpu, fd, &at, true, true), 0);
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->ios, 1);
	CHECK_EQ(g->last.addr, 0x81);
	CHECK_EQ(read(fd, &n, sizeof(n)), sizeof(n));
	CHECK_EQ(n, 2);
	CHECK_EQ(kvm_ioeventfd(&g->cpu, fd, &at, true, false), 0);
	g->cpu.r.rip = RIG_CODE;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(g->ios, 4);
	close(fd);
	rig_close(g);
}

/* mov [rsi],al; hlt: the page, and no other, is dirty; once collected it is not. */
static void
logs_what_the_guest_writes(void)
{
	struct rig *g = rig_open(engine, RIG_long);

	CODE(g, "\x88\x06\xf4");
	g->cpu.r.rsi = RIG_DATA;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(kvm_dirty_log(&g->cpu, true), 0);
	CHECK_EQ(kvm_dirty_collect(&g->cpu), 0);
	for (uint64_t at = 0; at < RIG_MEMORY; at += PAGE_SIZE)
		mem_page_clear(g->mem, at, MEM_dirty);
	g->cpu.r.rip = RIG_CODE;
	g->cpu.r.rsi = RIG_DATA + 0x3000;
	CHECK_EQ(rig_run(g), EXIT_hlt);
	CHECK_EQ(kvm_dirty_collect(&g->cpu), 0);
	CHECK_EQ(mem_page_flags(g->mem, RIG_DATA + 0x3000) & MEM_dirty, MEM_dirty);
	CHECK_EQ(mem_page_flags(g->mem, RIG_DATA) & MEM_dirty, 0);
	mem_page_clear(g->mem, RIG_DATA + 0x3000, MEM_dirty);
	CHECK_EQ(kvm_dirty_collect(&g->cpu), 0);
	CHECK_EQ(mem_page_flags(g->mem, RIG_DATA + 0x3000) & MEM_dirty, 0);
	CHECK_EQ(kvm_dirty_log(&g->cpu, false), 0);
	rig_close(g);
}

/* ---- what fails ---- */

/* Build a board, make it ready, run `out 0xf4,al`. The line of what went wrong, or NULL. */
static const char *
whole_life(char *line, size_t size)
{
	struct vm_config cfg = { .memory = 2 << 20, .cpus = 1, .engine = &kvm_engine, .kernel_chips = true };
	struct machine_config mc = { .debug_exit_port = 0xf4 };
	struct vm *vm = vm_open(&cfg, line, size);
	bool failed = true;

	if (vm == NULL)
		return line;
	mem_write(vm->mem, 0x800, "\xb0\x01\xe6\xf4\xf4\xeb\xfd", 7);
	vm->vcpu[0]->cpu.r.cs = vm->vcpu[0]->cpu.r.cs_base = 0;
	vm->vcpu[0]->cpu.r.rip = 0x800;
	if (machine_build(vm, &mc, line, size) == 0) {
		if (machine_firmware(vm) != 0)
			snprintf(line, size, "%s", engine_why());
		else if (vm_ready(vm, line, size) == 0) {
			vm_start(vm);
			failed = vm_wait(vm) != VM_debug_exit;
			if (failed)
				snprintf(line, size, "%s", vm->error);
		}
	}
	vm_close(vm);
	return failed ? line : NULL;
}

/* Each ioctl of a VM's life in turn, with each errno that KVM is known for: one line with the request's
 * name and a remedy, and nothing left behind; without the injection all is well again. */
static void
every_ioctl_may_fail(void)
{
	static const int errors[] = { EINVAL, EPERM };
	char line[512];
	unsigned n, calls = 0, lines = 0, stride = getenv("KVM_SHORT") != NULL ? 16 : 1;	/* a life takes long in an emulator */

	for (unsigned e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
		for (n = e % stride; n < 300; n += stride) {
			const char *what;

			kvm_injection.done = false;
			kvm_injection.after = n;
			kvm_injection.error = errors[e];
			line[0] = '\0';
			what = whole_life(line, sizeof(line));
			kvm_injection.error = 0;
			if (!kvm_injection.done)
				break;
			calls++;
			if (what == NULL)
				continue;	/* an optional one: it did without */
			lines++;
			if ((strstr(what, "KVM_") == NULL && strstr(what, "/dev/kvm") == NULL) || strstr(what, ";") == NULL ||
			    strchr(what, '\n') != NULL) {
				printf("# call %u, %s: %s\n", n, strerror(errors[e]), what);
				CHECK(false);
			}
		}
	printf("# %u calls failed on order, %u ended the machine with a line\n", calls, lines);
	CHECK(calls > 40 / stride && lines > 30 / stride);
	CHECK(whole_life(line, sizeof(line)) == NULL);
}

/* The line of a certain failure holds these words. */
static void
says(unsigned long request, int error, const char *a, const char *b)
{
	char line[512] = "";
	const char *what;

	kvm_injection.done = false;
	kvm_injection.after = 0;
	kvm_injection.only = request;
	kvm_injection.error = error;
	what = whole_life(line, sizeof(line));
	kvm_injection.error = 0;
	kvm_injection.only = 0;
	CHECK(what != NULL);
	if (what != NULL && (strstr(what, a) == NULL || strstr(what, b) == NULL)) {
		printf("# %s\n", what);
		CHECK(false);
	}
}

static void
failures_have_names_and_remedies(void)
{
	says(KVM_CREATE_VM, EBUSY, "KVM_CREATE_VM", "another hypervisor");
	says(KVM_CREATE_VM, ENOMEM, "KVM_CREATE_VM", "free memory");
	says(KVM_CREATE_VCPU, EINVAL, "KVM_CREATE_VCPU", "--engine bt");
	says(KVM_SET_CPUID2, EINVAL, "KVM_SET_CPUID2", "leaf");
	says(KVM_X86_SET_MSR_FILTER, EINVAL, "KVM_X86_SET_MSR_FILTER", "update the kernel");
	says(KVM_SET_MSRS, EINVAL, "KVM_SET_MSRS", "--engine bt");
	says(KVM_RUN, EINVAL, "KVM_RUN", "cr0");
}

/* A processor state that KVM cannot enter, and an MSR value that it refuses. */
static void
a_refused_register_is_named(void)
{
	struct rig *g = rig_open(engine, RIG_long);
	struct vexit x;

	g->cpu.r.ia32_pat = 0x0202020202020202;
	g->cpu.dirty = GROUP_ALL;
	CHECK(kvm_engine.ready(&g->cpu) != 0);
	CHECK(strstr(engine_why(), "ia32_pat") != NULL && strstr(engine_why(), "0x277") != NULL);
	rig_close(g);
	g = rig_open(engine, RIG_long);
	g->cpu.r.cr4 |= 1ull << 40;
	CHECK(kvm_engine.store(&g->cpu, GROUP_ALL) != 0 || kvm_engine.run(&g->cpu, &x) != 0);
	CHECK(strstr(engine_why(), "cr4 0x100") != NULL);
	rig_close(g);
}

/* "auto" and a KVM that refuses something: bt, with the reason; asked for by name: an error. */
static void
auto_falls_back(void)
{
	static struct image im;
	char name[] = "/tmp/regent-kvm-XXXXXX";
	struct regent_config cfg = REGENT_CONFIG_INIT;
	struct regent_vm *vm;
	int fd = mkstemp(name);

	image_elf64(&im, IMAGE_NOTE_PVH);
	CHECK_EQ(write(fd, im.bytes, im.size), im.size);
	close(fd);
	cfg.kernel = name;
	cfg.serial = REGENT_SERIAL_null;
	cfg.engine = "bt";
	if (regent_open(&vm, &cfg) != 0) {
		unlink(name);
		SKIP("bt can't run here (a processor without XSAVE)");
	}
	regent_close(vm);
	cfg.engine = "auto";
	CHECK_EQ(regent_open(&vm, &cfg), 0);
	CHECK(strcmp(regent_engine_choice(vm), "kvm (/dev/kvm runs unmodified kernels)") == 0);
	regent_close(vm);
	kvm_injection.only = KVM_SET_CPUID2;
	kvm_injection.after = 0;
	kvm_injection.error = EBUSY;
	CHECK_EQ(regent_open(&vm, &cfg), 0);
	CHECK(strncmp(regent_engine_choice(vm), "bt (/dev/kvm: KVM_SET_CPUID2: ", 30) == 0);
	regent_close(vm);
	cfg.engine = "kvm";
	kvm_injection.after = 0;
	CHECK_EQ(regent_open(&vm, &cfg), -REGENT_E_engine);
	CHECK(strstr(regent_open_error(), "KVM_SET_CPUID2") != NULL);
	kvm_injection.error = 0;
	kvm_injection.only = 0;
	unlink(name);
}

int
main(void)
{
	static const struct engine_case cases[] = {
		HARD(every_register_comes_back), CASE(a_larger_image_comes_back), CASE(an_exit_is_one_ioctl), CASE(chips_come_back), CASE(pit_and_clock_come_back),
		CASE(event_descriptors_reach_the_chips), CASE(event_descriptors_take_writes), CASE(logs_what_the_guest_writes),
		CASE(every_ioctl_may_fail), CASE(failures_have_names_and_remedies), HARD(a_refused_register_is_named), HARD(auto_falls_back),
	};

	setenv("ENGINES", "kvm", 1);
	alarm(300);
	run_on_engines(cases, sizeof(cases) / sizeof(cases[0]));
	return check_done();
}
