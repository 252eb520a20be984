/* SPDX-License-Identifier: Apache-2.0 */
/* dev/lapic.c - one local APIC: registers in both modes, priorities, timer (SDM vol. 3A, chapter 10).
 *
 * The register at MMIO offset n * 16 is MSR 0x800 + n in x2APIC mode; both go through reg_read and
 * reg_write by that number n. Interrupt messages are apics.c's.
 */
#include "dev/lapic_state.h"
#include <stdio.h>
#include <stdlib.h>

enum reg {
	R_id = 0x2, R_version = 0x3, R_tpr = 0x8, R_apr = 0x9, R_ppr = 0xa, R_eoi = 0xb, R_rrd = 0xc,
	R_ldr = 0xd, R_dfr = 0xe, R_svr = 0xf, R_isr = 0x10, R_tmr = 0x18, R_irr = 0x20, R_esr = 0x28,
	R_icr = 0x30, R_icr2 = 0x31, R_lvt_timer = 0x32, R_lvt_error = 0x37, R_initial = 0x38,
	R_current = 0x39, R_divide = 0x3e, R_self_ipi = 0x3f
};
enum { MSR_X2APIC = 0x800, REGS = 0x40, MMIO_SIZE = 0x1000 };
enum { VERSION = 0x14 | (LVT__COUNT - 1) << 16 | 1 << 24 /* EOI broadcast can be suppressed */ };
enum { MODE_oneshot, MODE_periodic, MODE_deadline };
#define FAR_TICKS (1ull << 60)		/* later than this is never */
enum { TICK_NS = 1, SHORTEST_PERIOD_NS = 20000 /* so that no guest keeps the service thread busy */ };
#define LDR_X2(id) (((id) >> 4) << 16 | 1u << ((id) & 15))

/* Bits that a write to an LVT entry can set. */
static const uint32_t lvt_mask[LVT__COUNT] = {
	[LVT_timer] = 0x700ff, [LVT_thermal] = 0x107ff, [LVT_perf] = 0x107ff,
	[LVT_lint0] = 0x1a7ff, [LVT_lint1] = 0x1a7ff, [LVT_error] = 0x100ff,
};

/* ---- priorities ---- */

static int
highest(const uint32_t set[8])
{
	for (int i = 7; i >= 0; i--)
		if (set[i] != 0)
			return 32 * i + 31 - __builtin_clz(set[i]);
	return -1;
}

static void set_bit(uint32_t set[8], uint8_t n) { set[n / 32] |= 1u << (n % 32); }
static void clear_bit(uint32_t set[8], uint8_t n) { set[n / 32] &= ~(1u << (n % 32)); }
static bool has_bit(const uint32_t set[8], uint8_t n) { return set[n / 32] >> (n % 32) & 1; }

/* Processor priority (SDM vol. 3A, 10.8.3.1). */
uint32_t
lapic_ppr(const struct lapic *l)
{
	int isr = highest(l->isr);
	uint32_t in_service = isr < 0 ? 0 : (uint32_t)isr & 0xf0;

	return (l->tpr & 0xf0) >= in_service ? l->tpr : in_service;
}

/* The vector that would be taken from the IRR now, or -1. */
static int
deliverable(const struct lapic *l)
{
	int v = lapic_on(l) ? highest(l->irr) : -1;

	return v >= 0 && ((uint32_t)v & 0xf0) > (lapic_ppr(l) & 0xf0) ? v : -1;
}

static bool
extint_ready(const struct lapic *l)
{
	return l->bus->pic_ack != NULL && (l->extint != 0 || (l->bus->intr && lapic_takes_intr(l)));
}

static int
lapic_pending(void *apic)
{
	const struct lapic *l = apic;

	return extint_ready(l) ? 0 : deliverable(l);
}

static int
lapic_ack(void *apic)
{
	struct lapic *l = apic;
	int v;

	if (l->fired) {			/* the MSR reads 0 from then on; it is the processor's own */
		l->vc->cpu.r.ia32_tsc_deadline = 0;
		l->fired = 0;
	}
	if (extint_ready(l)) {
		l->extint = 0;
		return l->bus->pic_ack(l->bus->ctx);
	}
	if ((v = deliverable(l)) >= 0) {
		clear_bit(l->irr, (uint8_t)v);
		set_bit(l->isr, (uint8_t)v);
	}
	return v;
}

void
lapic_changed(struct lapic *l)
{
	if (lapic_pending(l) >= 0)
		vcpu_kick(l->vc, ATT_intr);
}

void
lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	if (!lapic_on(l))
		return;
	if (vector < VECTOR_FIRST) {
		lapic_error(l, ESR_RECEIVE_VECTOR);
		return;
	}
	set_bit(l->irr, vector);
	if (level)
		set_bit(l->tmr, vector);
	else
		clear_bit(l->tmr, vector);
	lapic_changed(l);
}

void
lapic_error(struct lapic *l, uint32_t bit)
{
	bool news = (l->esr & bit) == 0;

	l->esr |= bit;
	/* An error vector that is illegal itself must not come back here for ever. */
	if (news && (uint8_t)l->lvt[LVT_error] >= VECTOR_FIRST)
		lapic_local(l, LVT_error);
}

static void
end_of_interrupt(struct lapic *l)
{
	int v = highest(l->isr);

	if (v < 0)
		return;
	clear_bit(l->isr, (uint8_t)v);
	if (has_bit(l->tmr, (uint8_t)v) && (l->svr & SVR_NO_BROADCAST) == 0 && l->bus->eoi != NULL)
		l->bus->eoi(l->bus->ctx, (uint8_t)v);
	lapic_changed(l);
}

/* ---- timer ---- */

static unsigned
timer_mode(const struct lapic *l)
{
	return l->lvt[LVT_timer] >> LVT_MODE_SHIFT & 3;
}

/* ns a count: the bus clock is 1 GHz. */
static uint64_t
count_ns(const struct lapic *l)
{
	unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

	return code == 7 ? TICK_NS : (uint64_t)TICK_NS << (code + 1);
}

static void
timer_arm_deadline(struct lapic *l)
{
	struct clock *k = l->bus->clock;
	uint64_t tsc = clock_tsc(k), now = tsc + l->vc->tsc_offset;
	uint64_t left = l->deadline <= now ? 0 : l->deadline - now;

	if (l->deadline == 0)
		timer_cancel(k, &l->timer);
	else
		timer_set(k, &l->timer, clock_ns_of_tsc(k, tsc + (left < FAR_TICKS ? left : FAR_TICKS)));
}

static void
timer_arm(struct lapic *l)
{
	struct clock *k = l->bus->clock;

	if (timer_mode(l) == MODE_deadline) {
		timer_arm_deadline(l);
	} else if (!l->running) {
		timer_cancel(k, &l->timer);
	} else {
		timer_set(k, &l->timer, l->started + l->count0 * count_ns(l));
	}
}

static void
timer_start(struct lapic *l)
{
	l->started = clock_now(l->bus->clock);
	l->running = l->count0 != 0;
	timer_arm(l);
}

/* A period that can't be kept up with loses interrupts, never its phase. */
static void
timer_next_period(struct lapic *l)
{
	uint64_t period = l->count0 * count_ns(l), now = clock_now(l->bus->clock);

	l->started += period;
	if (l->started + period < now + SHORTEST_PERIOD_NS)
		l->started += (now + SHORTEST_PERIOD_NS - l->started) / period * period;
	timer_arm(l);
}

static void
timer_fired(void *ctx)
{
	struct lapic *l = ctx;

	if (timer_mode(l) == MODE_deadline) {
		l->deadline = 0;
		l->fired = 1;
	} else if (timer_mode(l) == MODE_periodic) {
		timer_next_period(l);
	} else {
		l->running = 0;		/* stays at 0, also when it is made periodic now */
	}
	if (l->base & APIC_BASE_ENABLE && (l->lvt[LVT_timer] & LVT_MASKED) == 0)
		lapic_accept(l, (uint8_t)l->lvt[LVT_timer], false);
}

static uint32_t
timer_current(const struct lapic *l)
{
	uint64_t gone;

	if (!l->running || timer_mode(l) == MODE_deadline)
		return 0;
	gone = (clock_now(l->bus->clock) - l->started) / count_ns(l);
	if (gone >= l->count0)
		return timer_mode(l) == MODE_periodic ? l->count0 - (uint32_t)(gone % l->count0) : 0;
	return l->count0 - (uint32_t)gone;
}

static void
lapic_deadline(void *apic, uint64_t tsc)
{
	struct lapic *l = apic;

	if (timer_mode(l) != MODE_deadline)
		return;
	l->deadline = tsc;
	l->fired = 0;
	timer_arm(l);
}

static void
write_divide(struct lapic *l, uint32_t val)
{
	uint32_t left = timer_current(l);
	bool runs = l->running && timer_mode(l) != MODE_deadline;

	l->divide = val & 0xb;
	if (!runs)
		return;
	/* What is left of the count goes on at the new rate. */
	l->started = clock_now(l->bus->clock) - (l->count0 - left) * count_ns(l);
	timer_arm(l);
}

/* ---- registers ---- */

static void
write_lvt(struct lapic *l, enum lvt n, uint32_t val)
{
	unsigned before = timer_mode(l);

	l->lvt[n] = val & lvt_mask[n];
	if ((l->svr & SVR_ENABLE) == 0)
		l->lvt[n] |= LVT_MASKED;
	if (n == LVT_timer && (before == MODE_deadline) != (timer_mode(l) == MODE_deadline)) {
		l->count0 = 0;
		l->running = 0;
		l->deadline = 0;
		timer_cancel(l->bus->clock, &l->timer);
	}
	if (n == LVT_lint0)
		lapic_changed(l);
}

static void
write_svr(struct lapic *l, uint32_t val)
{
	l->svr = val & (0xff | SVR_ENABLE | SVR_NO_BROADCAST);
	if ((l->svr & SVR_ENABLE) == 0)
		for (unsigned i = 0; i < LVT__COUNT; i++)
			l->lvt[i] |= LVT_MASKED;
	lapic_changed(l);
}

static bool
in_table(unsigned n, unsigned first, unsigned count)
{
	return n - first < count;
}

/* False: no such register. */
static bool
single_read(struct lapic *l, unsigned n, uint64_t *val)
{
	switch (n) {
	case R_id:	*val = lapic_x2(l) ? l->id : l->xid; return true;
	case R_version:	*val = VERSION; return true;
	case R_tpr:	*val = l->tpr; return true;
	case R_apr:
	case R_ppr:	*val = lapic_ppr(l); return true;
	case R_rrd:	return !lapic_x2(l);
	case R_eoi:	return !lapic_x2(l);
	case R_ldr:	*val = l->ldr; return true;
	case R_dfr:	*val = l->dfr; return !lapic_x2(l);
	case R_svr:	*val = l->svr; return true;
	case R_esr:	*val = l->esr_seen; return true;
	case R_icr:	*val = lapic_x2(l) ? l->icr : (uint32_t)l->icr; return true;
	case R_icr2:	*val = l->icr >> 32; return !lapic_x2(l);
	case R_initial:	*val = l->count0; return true;
	case R_current:	*val = timer_current(l); return true;
	case R_divide:	*val = l->divide; return true;
	default:	return false;
	}
}

static bool
reg_read(struct lapic *l, unsigned n, uint64_t *val)
{
	*val = 0;
	if (in_table(n, R_isr, 8))
		*val = l->isr[n - R_isr];
	else if (in_table(n, R_tmr, 8))
		*val = l->tmr[n - R_tmr];
	else if (in_table(n, R_irr, 8))
		*val = l->irr[n - R_irr];
	else if (in_table(n, R_lvt_timer, LVT__COUNT))
		*val = l->lvt[n - R_lvt_timer];
	else
		return single_read(l, n, val);
	return true;
}

/* The bits of x2APIC registers that are not reserved; 0: not writable there (SDM table 10-6). */
static uint64_t
x2_writable(unsigned n)
{
	if (in_table(n, R_lvt_timer, LVT__COUNT))
		return lvt_mask[n - R_lvt_timer] | 1 << 12 | 1 << 14;
	switch (n) {
	case R_tpr:	return 0xff;
	case R_svr:	return 0xff | SVR_ENABLE | SVR_NO_BROADCAST | 1 << 9;
	case R_icr:	return 0xffffffff000ccfff;
	case R_initial:	return 0xffffffff;
	case R_divide:	return 0xb;
	case R_self_ipi: return 0xff;
	default:	return 0;
	}
}

static bool
reg_write(struct lapic *l, unsigned n, uint64_t val64)
{
	uint32_t val = (uint32_t)val64;

	if (in_table(n, R_lvt_timer, LVT__COUNT)) {
		write_lvt(l, n - R_lvt_timer, val);
		return true;
	}
	switch (n) {
	case R_id:	l->xid = val & 0xff000000; return true;
	case R_tpr:	l->tpr = val & 0xff; lapic_changed(l); return true;
	case R_eoi:	end_of_interrupt(l); return true;
	case R_ldr:	l->ldr = val & 0xff000000; return true;
	case R_dfr:	l->dfr = val | 0x0fffffff; return true;
	case R_svr:	write_svr(l, val); return true;
	case R_esr:	l->esr_seen = l->esr; l->esr = 0; return true;
	case R_icr:
		l->icr = (lapic_x2(l) ? val64 : (l->icr & ~0xffffffffull) | val) & ~(1ull << 12);
		lapic_send_icr(l);
		return true;
	case R_icr2:	l->icr = (uint32_t)l->icr | (uint64_t)(val & 0xff000000) << 32; return true;
	case R_initial:
		if (timer_mode(l) != MODE_deadline) {
			l->count0 = val;
			timer_start(l);
		}
		return true;
	case R_divide:	write_divide(l, val); return true;
	case R_self_ipi:
		if ((uint8_t)val < VECTOR_FIRST)
			lapic_error(l, ESR_SEND_VECTOR);
		else
			lapic_accept(l, (uint8_t)val, false);
		return true;
	default:	return false;
	}
}

/* x2APIC: false is #GP for registers that are missing, read-only or given reserved bits. */
static bool
lapic_msr(void *apic, uint32_t msr, bool write, uint64_t *val)
{
	struct lapic *l = apic;
	unsigned n = msr - MSR_X2APIC;

	if (!lapic_x2(l) || n >= REGS)
		return false;
	if (!write)
		return n != R_self_ipi && reg_read(l, n, val);
	if (n == R_eoi || n == R_esr)
		return *val == 0 && reg_write(l, n, 0);
	if (x2_writable(n) == 0 || (*val & ~x2_writable(n)) != 0)
		return false;
	return reg_write(l, n, *val);
}

/* xAPIC page. Registers are 32 bits wide, 16 bytes apart; other accesses are undefined: reads see the
 * bytes of the register, writes of other widths do nothing. */
static enum io_result
lapic_mmio(void *apic, struct io *io)
{
	struct lapic *l = apic;
	uint64_t offset = io->addr - (l->base & PAGE_MASK), val = 0;
	unsigned n = (unsigned)offset >> 4, byte = (unsigned)offset & 15;

	if (offset >= MMIO_SIZE || (l->base & APIC_BASE_ENABLE) == 0 || lapic_x2(l))
		return IO_none;
	if (n >= REGS || n == R_self_ipi || (io->write && (n == R_version || n == R_ppr))) {
		if (n >= REGS || n == R_self_ipi)
			lapic_error(l, ESR_REGISTER);
		io->data = io->write ? io->data : 0;
		return IO_done;
	}
	if (!io->write) {
		if (byte < 4 && !reg_read(l, n, &val))
			lapic_error(l, ESR_REGISTER);
		io->data = byte < 4 ? (val & 0xffffffff) >> (8 * byte) : 0;
	} else if (byte == 0 && io->size == 4 && !reg_write(l, n, io->data)) {
		lapic_error(l, ESR_REGISTER);
	}
	return IO_done;
}

/* ---- modes and life ---- */

/* All but the IDs and IA32_APIC_BASE, which INIT keeps. */
static void
lapic_init(void *apic)
{
	struct lapic *l = apic;
	uint64_t base = l->base;
	uint32_t xid = l->xid;

	dev_reset(&l->dev);
	l->base = base;
	l->xid = xid;
	if (lapic_x2(l))
		l->ldr = LDR_X2(l->id);
}

/* IA32_APIC_BASE; the processor has refused illegal transitions already (SDM vol. 3A, 10.12.5). */
static void
lapic_base(void *apic, uint64_t val)
{
	struct lapic *l = apic;
	uint64_t changed = l->base ^ val;

	l->base = val;
	if (changed & APIC_BASE_ENABLE && (val & APIC_BASE_ENABLE) == 0)
		lapic_init(l);
	if (changed & APIC_BASE_X2) {
		l->ldr = lapic_x2(l) ? LDR_X2(l->id) : 0;
		l->icr = 0;
		l->xid = l->id << 24;
	}
	lapic_changed(l);
}

static uint8_t
lapic_tpr_get(void *apic)
{
	return (uint8_t)(((struct lapic *)apic)->tpr >> 4);
}

static void
lapic_tpr_set(void *apic, uint8_t tpr)
{
	struct lapic *l = apic;

	l->tpr = (uint32_t)(tpr & 0xf) << 4;
	lapic_changed(l);
}

static void
lapic_reset(struct dev *d)
{
	struct lapic *l = (struct lapic *)d;

	timer_cancel(l->bus->clock, &l->timer);
	l->xid = l->id << 24;
	if (l->id == 0)
		l->base |= APIC_BASE_BSP;
}

static void
lapic_loaded(struct dev *d)
{
	struct lapic *l = (struct lapic *)d;

	l->running = l->running && l->count0 != 0;
	timer_arm(l);
}

void
lapic_firmware(struct lapic *l)
{
	write_svr(l, SVR_ENABLE | 0xff);
	if (l->id == 0)
		write_lvt(l, LVT_lint0, APIC_extint << LVT_DELIVERY_SHIFT);
	write_lvt(l, LVT_lint1, APIC_nmi << LVT_DELIVERY_SHIFT);
}

/* The bus reaches a local APIC only through its own processor. */
static enum io_result
lapic_io(struct dev *d, struct io *io)
{
	return io->port ? IO_none : lapic_mmio(d, io);
}

static void
lapic_close(struct dev *d)
{
	struct lapic *l = (struct lapic *)d;

	timer_cancel(l->bus->clock, &l->timer);
	free(l);
}

static const struct dev_field lapic_fields[] = {
	DEV_FIELD(struct lapic, base, 1, 0xfee00000 | APIC_BASE_ENABLE),
	DEV_FIELD(struct lapic, xid, 1, 0),
	DEV_FIELD(struct lapic, tpr, 1, 0),
	DEV_FIELD(struct lapic, ldr, 1, 0),
	DEV_FIELD(struct lapic, dfr, 1, 0xffffffff),
	DEV_FIELD(struct lapic, svr, 1, 0xff),
	DEV_FIELD(struct lapic, esr, 1, 0),
	DEV_FIELD(struct lapic, esr_seen, 1, 0),
	DEV_FIELD(struct lapic, isr, 8, 0),
	DEV_FIELD(struct lapic, tmr, 8, 0),
	DEV_FIELD(struct lapic, irr, 8, 0),
	DEV_FIELD(struct lapic, icr, 1, 0),
	DEV_FIELD(struct lapic, lvt, LVT__COUNT, LVT_MASKED),
	DEV_FIELD(struct lapic, count0, 1, 0),
	DEV_FIELD(struct lapic, divide, 1, 0),
	DEV_FIELD(struct lapic, running, 1, 0),
	DEV_FIELD(struct lapic, started, 1, 0),
	DEV_FIELD(struct lapic, deadline, 1, 0),
	DEV_FIELD(struct lapic, extint, 1, 0),
	DEV_FIELD(struct lapic, fired, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops lapic_dev_ops = {
	.name = "lapic", .io = lapic_io, .reset = lapic_reset, .loaded = lapic_loaded,
	.close = lapic_close, .fields = lapic_fields,
};

static const struct vcpu_apic_ops lapic_vcpu_ops = {
	.pending = lapic_pending, .ack = lapic_ack, .msr = lapic_msr, .mmio = lapic_mmio,
	.base = lapic_base, .tpr_get = lapic_tpr_get, .tpr_set = lapic_tpr_set,
	.deadline = lapic_deadline, .init = lapic_init,
};

struct dev *
lapic_open(struct apics *bus, struct vcpu *vc)
{
	struct lapic *l;

	if (bus->count == VM_CPUS_MAX || (l = calloc(1, sizeof(*l))) == NULL)
		return NULL;
	l->dev.ops = &lapic_dev_ops;
	snprintf(l->dev.id, sizeof(l->dev.id), "lapic%u", bus->count);
	l->bus = bus;
	l->vc = vc;
	l->id = bus->count;
	l->timer = (struct timer){ .fire = timer_fired, .ctx = l };
	bus->apic[bus->count++] = l;
	vc->apic = l;
	vc->apic_ops = &lapic_vcpu_ops;
	dev_reset(&l->dev);
	return &l->dev;
}
