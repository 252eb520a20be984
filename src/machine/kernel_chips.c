/* SPDX-License-Identifier: Apache-2.0 */
/* machine/kernel_chips.c - the board's interrupt controllers and PIT as the host kernel's, and back.
 *
 * A chip shows its state by its field table (vm/bus.h); the tables here say where KVM's structures have
 * the same. The kernel's pictures are Linux' asm/kvm.h.
 */
#include "machine/kernel_chips.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

/* ---- a chip's field by name ---- */

static const struct dev_field *
field_find(const struct dev *d, const char *name)
{
	const struct dev_field *f = d->ops->fields;

	while (f->name != NULL && strcmp(f->name, name) != 0)
		f++;
	assert(f->name != NULL);
	return f;
}

static uint64_t
field_get(const struct dev *d, const char *name, unsigned n)
{
	const struct dev_field *f = field_find(d, name);
	uint64_t val = 0;

	memcpy(&val, (const uint8_t *)d + f->offset + n * f->size, f->size);
	return val;
}

static void
field_put(struct dev *d, const char *name, unsigned n, uint64_t val)
{
	const struct dev_field *f = field_find(d, name);

	memcpy((uint8_t *)d + f->offset + n * f->size, &val, f->size);
}

/* A field of the chip, count of them side by side, at some offset of the kernel's structure. */
struct same {
	const char *name;
	uint16_t at, size, count, stride;
};

static void
to_kernel(const struct dev *d, const struct same *t, size_t rows, unsigned first, void *s)
{
	for (; rows-- > 0; t++)
		for (unsigned n = 0; n < t->count; n++) {
			uint64_t val = field_get(d, t->name, first + n);

			memcpy((uint8_t *)s + t->at + n * t->stride, &val, t->size);
		}
}

static void
from_kernel(struct dev *d, const struct same *t, size_t rows, unsigned first, const void *s)
{
	for (; rows-- > 0; t++)
		for (unsigned n = 0; n < t->count; n++) {
			uint64_t val = 0;

			memcpy(&val, (const uint8_t *)s + t->at + n * t->stride, t->size);
			field_put(d, t->name, first + n, val);
		}
}
#define ROWS(t) (t), sizeof(t) / sizeof((t)[0])

/* ---- local APIC: its page of registers (SDM vol. 3A, table 10-1) ---- */

enum { LAPIC_STEP = 0x10, LAPIC_ID = 0x20, LAPIC_VERSION = 0x30, LAPIC_ICR = 0x300, LAPIC_ICR2 = 0x310,
	LAPIC_INITIAL = 0x380, LAPIC_COUNT = 0x390, VERSION = 0x14 | 5 << 16 };
enum { LVT_TIMER_MODE_SHIFT = 17, MODE_PERIODIC = 1, MODE_DEADLINE = 2, BASE_X2 = 1 << 10 };

static const struct same lapic_same[] = {
	{ "tpr", 0x80, 4, 1, 0 }, { "ldr", 0xd0, 4, 1, 0 }, { "dfr", 0xe0, 4, 1, 0 }, { "svr", 0xf0, 4, 1, 0 },
	{ "isr", 0x100, 4, 8, LAPIC_STEP }, { "tmr", 0x180, 4, 8, LAPIC_STEP }, { "irr", 0x200, 4, 8, LAPIC_STEP },
	{ "esr_seen", 0x280, 4, 1, 0 }, { "lvt", 0x320, 4, 6, LAPIC_STEP }, { "count0", LAPIC_INITIAL, 4, 1, 0 },
	{ "divide", 0x3e0, 4, 1, 0 },
};

static uint32_t
page_get(const struct kvm_lapic_state *s, unsigned at)
{
	uint32_t val;

	memcpy(&val, s->regs + at, sizeof(val));
	return val;
}

static void
page_put(struct kvm_lapic_state *s, unsigned at, uint32_t val)
{
	memcpy(s->regs + at, &val, sizeof(val));
}

/* ns a count of the timer: its bus runs at 1 GHz, here and there. */
static uint64_t
count_ns(const struct dev *d)
{
	uint64_t divide = field_get(d, "divide", 0), code = (divide & 3) | (divide >> 1 & 4);

	return code == 7 ? 1 : 1ull << (code + 1);
}

static unsigned
timer_mode(const struct dev *d)
{
	return (unsigned)(field_get(d, "lvt", 0) >> LVT_TIMER_MODE_SHIFT & 3);
}

static uint32_t
timer_left(const struct dev *d, uint64_t now)
{
	uint64_t count0 = field_get(d, "count0", 0), gone = (now - field_get(d, "started", 0)) / count_ns(d);

	if (!field_get(d, "running", 0) || timer_mode(d) == MODE_DEADLINE || count0 == 0)
		return 0;
	if (timer_mode(d) == MODE_PERIODIC)
		gone %= count0;
	return (uint32_t)(gone < count0 ? count0 - gone : 0);
}

void
lapic_to_kernel(const struct dev *d, struct kvm_lapic_state *s, uint64_t now)
{
	uint64_t icr = field_get(d, "icr", 0);
	uint32_t xid = (uint32_t)field_get(d, "xid", 0);

	memset(s, 0, sizeof(*s));
	to_kernel(d, ROWS(lapic_same), 0, s);
	page_put(s, LAPIC_ID, field_get(d, "base", 0) & BASE_X2 ? xid >> 24 : xid);
	page_put(s, LAPIC_VERSION, VERSION);
	page_put(s, LAPIC_ICR, (uint32_t)icr);
	page_put(s, LAPIC_ICR2, (uint32_t)(icr >> 32));
	page_put(s, LAPIC_COUNT, timer_left(d, now));
}

void
lapic_from_kernel(struct dev *d, const struct kvm_lapic_state *s, uint64_t now)
{
	uint32_t left = page_get(s, LAPIC_COUNT), id = page_get(s, LAPIC_ID);

	from_kernel(d, ROWS(lapic_same), 0, s);
	field_put(d, "xid", 0, field_get(d, "base", 0) & BASE_X2 ? id << 24 : id);
	field_put(d, "icr", 0, page_get(s, LAPIC_ICR) | (uint64_t)page_get(s, LAPIC_ICR2) << 32);
	field_put(d, "running", 0, left != 0);
	if (left != 0)
		field_put(d, "started", 0, now - (page_get(s, LAPIC_INITIAL) - left) * count_ns(d));
}

/* ---- IOAPIC ---- */

enum { IOAPIC_ID_SHIFT = 24 };
#define IOAPIC_BASE 0xfec00000ull

static const struct same ioapic_same[] = {
	{ "select", offsetof(struct kvm_ioapic_state, ioregsel), 4, 1, 0 },
	{ "up", offsetof(struct kvm_ioapic_state, irr), 4, 1, 0 },
	{ "rte", offsetof(struct kvm_ioapic_state, redirtbl), 8, KVM_IOAPIC_NUM_PINS, 8 },
};

void
ioapic_to_kernel(const struct dev *d, struct kvm_ioapic_state *s)
{
	memset(s, 0, sizeof(*s));
	to_kernel(d, ROWS(ioapic_same), 0, s);
	s->base_address = IOAPIC_BASE;
	s->id = (uint32_t)field_get(d, "id", 0) >> IOAPIC_ID_SHIFT;
}

void
ioapic_from_kernel(struct dev *d, const struct kvm_ioapic_state *s)
{
	from_kernel(d, ROWS(ioapic_same), 0, s);
	field_put(d, "id", 0, s->id << IOAPIC_ID_SHIFT);
}

/* ---- 8259: ours keeps the control words, the kernel what they mean ---- */

enum { ICW1_ICW4 = 1 << 0, ICW4_AUTO_EOI = 1 << 1, ICW4_NESTED = 1 << 4 };
#define PIC_AT(f) offsetof(struct kvm_pic_state, f), 1, 1, 0
static const struct same pic_same[] = {
	{ "line", PIC_AT(last_irr) }, { "irr", PIC_AT(irr) }, { "imr", PIC_AT(imr) }, { "isr", PIC_AT(isr) },
	{ "top", PIC_AT(priority_add) }, { "base", PIC_AT(irq_base) }, { "read_isr", PIC_AT(read_reg_select) },
	{ "poll", PIC_AT(poll) }, { "special_mask", PIC_AT(special_mask) }, { "expect", PIC_AT(init_state) },
	{ "rotate_auto", PIC_AT(rotate_on_auto_eoi) }, { "elcr", PIC_AT(elcr) },
};

void
pic_to_kernel(const struct dev *d, unsigned chip, struct kvm_pic_state *s)
{
	static const uint8_t elcr_mask[2] = { 0xf8, 0xde };
	uint64_t icw4 = field_get(d, "icw4", chip);

	memset(s, 0, sizeof(*s));
	to_kernel(d, ROWS(pic_same), chip, s);
	s->auto_eoi = (icw4 & ICW4_AUTO_EOI) != 0;
	s->special_fully_nested_mode = (icw4 & ICW4_NESTED) != 0;
	s->init4 = field_get(d, "icw1", chip) & ICW1_ICW4;
	s->elcr_mask = elcr_mask[chip];
}

void
pic_from_kernel(struct dev *d, unsigned chip, const struct kvm_pic_state *s)
{
	uint64_t icw1 = field_get(d, "icw1", chip) & ~(uint64_t)ICW1_ICW4;
	uint64_t icw4 = field_get(d, "icw4", chip) & ~(uint64_t)(ICW4_AUTO_EOI | ICW4_NESTED);

	from_kernel(d, ROWS(pic_same), chip, s);
	field_put(d, "icw1", chip, icw1 | s->init4);
	field_put(d, "icw4", chip, icw4 | (s->auto_eoi ? ICW4_AUTO_EOI : 0u) |
		(s->special_fully_nested_mode ? ICW4_NESTED : 0u));
}

/* ---- 8254 ---- */

/* How the kernel says which byte of a count is next. */
enum rw_state { STATE_low = 1, STATE_high, STATE_word0, STATE_word1 };
enum { RW_both = 3, NO_MODE = 0xff, SPEAKER_ON = 1 << 1, PORT_B_SPEAKER = 1 << 1 };
#define PIT_AT(f) offsetof(struct kvm_pit_channel_state, f)
static const struct same pit_same[] = {
	{ "count", PIT_AT(count), 4, 1, 0 }, { "latch", PIT_AT(latched_count), 2, 1, 0 },
	{ "status_latched", PIT_AT(status_latched), 1, 1, 0 }, { "status", PIT_AT(status), 1, 1, 0 },
	{ "low", PIT_AT(write_latch), 1, 1, 0 }, { "rw", PIT_AT(rw_mode), 1, 1, 0 }, { "mode", PIT_AT(mode), 1, 1, 0 },
	{ "bcd", PIT_AT(bcd), 1, 1, 0 }, { "gate", PIT_AT(gate), 1, 1, 0 },
};

static uint8_t
byte_state(uint64_t rw, bool high)
{
	return (uint8_t)(rw != RW_both ? rw : high ? STATE_word1 : STATE_word0);
}

void
pit_to_kernel(const struct dev *d, struct kvm_pit_state2 *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned c = 0; c < 3; c++) {
		struct kvm_pit_channel_state *k = &s->channels[c];
		uint64_t rw = field_get(d, "rw", c), latched = field_get(d, "latched", c);

		to_kernel(d, ROWS(pit_same), c, k);
		k->read_state = byte_state(rw, field_get(d, "read_high", c));
		k->write_state = byte_state(rw, field_get(d, "write_high", c));
		k->count_latched = latched == 0 ? 0 : latched == 2 ? STATE_word0 : rw == RW_both ? STATE_high : (uint8_t)rw;
		if (k->count == 0)
			k->mode = NO_MODE;	/* no count, no ticks */
	}
	s->flags = field_get(d, "port_b", 0) & PORT_B_SPEAKER ? SPEAKER_ON : 0;
}

void
pit_from_kernel(struct dev *d, const struct kvm_pit_state2 *s, uint64_t now, uint64_t host_now)
{
	uint64_t port_b = field_get(d, "port_b", 0) & ~(uint64_t)(PORT_B_SPEAKER | 1);

	for (unsigned c = 0; c < 3; c++) {
		const struct kvm_pit_channel_state *k = &s->channels[c];

		from_kernel(d, ROWS(pit_same), c, k);
		if (k->mode == NO_MODE) {
			field_put(d, "mode", c, 0);
			field_put(d, "count", c, 0);
		}
		if (k->rw_mode == 0)		/* as after reset: no control word yet */
			field_put(d, "rw", c, RW_both);
		field_put(d, "read_high", c, k->read_state == STATE_word1);
		field_put(d, "write_high", c, k->write_state == STATE_word1);
		field_put(d, "latched", c, k->count_latched == 0 ? 0 : k->count_latched == STATE_word0 ? 2 : 1);
		field_put(d, "start", c, now - (host_now - (uint64_t)k->count_load_time));
	}
	field_put(d, "port_b", 0, port_b | (s->flags & SPEAKER_ON ? PORT_B_SPEAKER : 0u) | s->channels[2].gate);
}

/* ---- all of a board ---- */

static uint64_t
host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int
irqchip(const struct kernel_chips *k, uint32_t id, bool store)
{
	struct kvm_irqchip s = { .chip_id = id };

	if (store && id == KVM_IRQCHIP_IOAPIC)
		ioapic_to_kernel(k->ioapic, &s.chip.ioapic);
	else if (store)
		pic_to_kernel(k->pic, id == KVM_IRQCHIP_PIC_SLAVE, &s.chip.pic);
	if (kvm_irqchip_state(&k->vm->vcpu[0]->cpu, &s, store) != 0)
		return -1;
	if (!store && id == KVM_IRQCHIP_IOAPIC)
		ioapic_from_kernel(k->ioapic, &s.chip.ioapic);
	else if (!store)
		pic_from_kernel(k->pic, id == KVM_IRQCHIP_PIC_SLAVE, &s.chip.pic);
	return 0;
}

static int
irqchips(const struct kernel_chips *k, bool store)
{
	for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_IOAPIC; id++)
		if (irqchip(k, id, store) != 0)
			return -1;
	return 0;
}

/* What a local APIC has in the register file, too. */
static int
lapic_registers(struct vcpu *vc, const struct dev *d)
{
	struct cpu *c = &vc->cpu;

	if (vc->engine->fetch(c, GROUP_BIT(GROUP_ctl) | GROUP_BIT(GROUP_msr)) != 0)
		return -1;
	c->r.cr8 = field_get(d, "tpr", 0) >> 4;
	c->r.ia32_apic_base = field_get(d, "base", 0);
	c->r.ia32_tsc_deadline = field_get(d, "deadline", 0);
	c->dirty |= GROUP_BIT(GROUP_ctl) | GROUP_BIT(GROUP_msr);
	return 0;
}

int
kernel_chips_store(const struct kernel_chips *k)
{
	uint64_t now = clock_now(k->vm->clock);
	struct kvm_pit_state2 pit;
	struct kvm_lapic_state page;

	for (unsigned i = 0; i < k->vm->cpus; i++) {
		lapic_to_kernel(k->lapic[i], &page, now);
		if (lapic_registers(k->vm->vcpu[i], k->lapic[i]) != 0 ||
		    kvm_lapic_state(&k->vm->vcpu[i]->cpu, &page, true) != 0)
			return -1;
	}
	pit_to_kernel(k->pit, &pit);
	if (irqchips(k, true) != 0 || kvm_pit_state(&k->vm->vcpu[0]->cpu, &pit, true) != 0)
		return -1;
	return kvm_clock_state(&k->vm->vcpu[0]->cpu, &now, true);
}

int
kernel_chips_fetch(const struct kernel_chips *k)
{
	uint64_t now = clock_now(k->vm->clock);
	struct kvm_pit_state2 pit;
	struct kvm_lapic_state page;

	for (unsigned i = 0; i < k->vm->cpus; i++) {
		struct cpu *c = &k->vm->vcpu[i]->cpu;

		if (kvm_lapic_state(c, &page, false) != 0)
			return -1;
		field_put(k->lapic[i], "base", 0, c->r.ia32_apic_base);
		lapic_from_kernel(k->lapic[i], &page, now);
		field_put(k->lapic[i], "deadline", 0, c->r.ia32_tsc_deadline);
	}
	if (irqchips(k, false) != 0 || kvm_pit_state(&k->vm->vcpu[0]->cpu, &pit, false) != 0)
		return -1;
	pit_from_kernel(k->pit, &pit, now, host_ns());
	return 0;
}
