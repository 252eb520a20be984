/* SPDX-License-Identifier: Apache-2.0 */
/* dev/acpi_pm.c - ACPI fixed hardware (ACPI 6.4, chapter 4.8). There is no SMM: ACPI is always on. */
#include "dev/acpi_pm.h"
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

enum { R_status = 0, R_enable = 2, R_control = 4, R_timer = 8 };
enum { EV_TIMER = 1 << 0, EV_GLOBAL = 1 << 5, EV_POWER = 1 << 8, EV_SLEEP = 1 << 9, EV_RTC = 1 << 10,
	EV_WAKE = 1 << 15, EV_STATUS = EV_TIMER | EV_GLOBAL | EV_POWER | EV_SLEEP | EV_RTC | EV_WAKE,
	EV_ENABLE = EV_TIMER | EV_GLOBAL | EV_POWER | EV_SLEEP | EV_RTC };
enum { CTL_SCI = 1 << 0, CTL_BUS_MASTER = 1 << 1, CTL_TYPE_SHIFT = 10, CTL_TYPE = 7, CTL_SLEEP = 1 << 13,
	CTL_KEPT = CTL_BUS_MASTER | CTL_TYPE << CTL_TYPE_SHIFT };
enum { NS_PER_S = 1000000000, TIMER_MSB = 31 };

struct acpi_pm {
	struct dev dev;			/* first */
	struct vm *vm;			/* borrowed */
	struct irq_line *sci;		/* borrowed; source 0 */
	struct timer timer;		/* the PM timer's overflow, when asked for */

	/* state by table */
	uint16_t status, enable, control;
	uint64_t half;			/* half turns of the PM timer that status knows of */
};

static uint64_t
ticks(const struct acpi_pm *p)
{
	return (uint64_t)((uint128)clock_now(p->vm->clock) * ACPI_PM_TIMER_HZ / NS_PER_S);
}

static void
update(struct acpi_pm *p)
{
	irq_set(p->sci, 0, (p->status & p->enable) != 0);
}

/* TMR_STS: the counter's highest bit has changed. */
static void
catch_up(struct acpi_pm *p)
{
	uint64_t half = ticks(p) >> TIMER_MSB;

	if (half != p->half)
		p->status |= EV_TIMER;
	p->half = half;
	update(p);
}

static void
arm(struct acpi_pm *p)
{
	uint64_t next = ((ticks(p) >> TIMER_MSB) + 1) << TIMER_MSB;

	if (p->enable & EV_TIMER)
		timer_set(p->vm->clock, &p->timer,
		    (uint64_t)((uint128)next * NS_PER_S / ACPI_PM_TIMER_HZ) + 1);
	else
		timer_cancel(p->vm->clock, &p->timer);
}

static void
timer_fired(void *ctx)
{
	struct acpi_pm *p = ctx;

	catch_up(p);
	arm(p);
}

void
acpi_pm_power_button(struct dev *d)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	p->status |= EV_POWER;
	update(p);
}

/* Only S5 exists; other sleeping types go on running. */
static enum io_result
write_control(struct acpi_pm *p, uint16_t val)
{
	p->control = (val & CTL_KEPT) | CTL_SCI;
	if ((val & CTL_SLEEP) == 0 || (val >> CTL_TYPE_SHIFT & CTL_TYPE) != ACPI_S5_TYPE)
		return IO_done;
	vm_request_end(p->vm, VM_poweroff);
	return IO_stop;
}

static uint32_t
pm_read(struct acpi_pm *p, unsigned at)
{
	switch (at) {
	case R_status:
		catch_up(p);
		return p->status | (uint32_t)p->enable << 16;
	case R_enable:
		return p->enable;
	case R_control:
		return p->control;
	case R_timer:
		return (uint32_t)ticks(p);
	default:
		return 0;
	}
}

static enum io_result
pm_write(struct acpi_pm *p, unsigned at, uint16_t val)
{
	switch (at) {
	case R_status:
		catch_up(p);
		p->status &= (uint16_t)~(val & EV_STATUS);
		update(p);
		break;
	case R_enable:
		catch_up(p);
		p->enable = val & EV_ENABLE;
		update(p);
		arm(p);
		break;
	case R_control:
		return write_control(p, val);
	default:
		break;
	}
	return IO_done;
}

/* The registers are 16 bits wide, the timer 32; bytes of them can be read. */
static enum io_result
acpi_pm_io(struct dev *d, struct io *io)
{
	struct acpi_pm *p = (struct acpi_pm *)d;
	unsigned at = (unsigned)(io->addr - ACPI_PM_BASE), skip;
	enum io_result res;

	if (!io->port)
		return IO_none;
	if (at >= ACPI_PM_PORTS || io->size > 4)
		return IO_none;
	if (!io->write) {
		skip = at >= R_timer ? at & 3 : at & 1;
		io->data = pm_read(p, at - skip) >> (8 * skip);
		return IO_done;
	}
	if (io->size == 1 || at & 1)
		return IO_done;		/* nobody writes half a register */
	res = pm_write(p, at, (uint16_t)io->data);
	if (io->size == 4 && at == R_status)
		res = pm_write(p, R_enable, (uint16_t)(io->data >> 16));
	return res;
}

static void
acpi_pm_reset(struct dev *d)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	timer_cancel(p->vm->clock, &p->timer);
	p->half = ticks(p) >> TIMER_MSB;
	update(p);
}

static void
acpi_pm_loaded(struct dev *d)
{
	update((struct acpi_pm *)d);
	arm((struct acpi_pm *)d);
}

static void
acpi_pm_close(struct dev *d)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	timer_cancel(p->vm->clock, &p->timer);
	free(p);
}

static const struct dev_field acpi_pm_fields[] = {
	DEV_FIELD(struct acpi_pm, status, 1, 0),
	DEV_FIELD(struct acpi_pm, enable, 1, 0),
	DEV_FIELD(struct acpi_pm, control, 1, CTL_SCI),
	DEV_FIELD(struct acpi_pm, half, 1, 0),
	{ .name = NULL },
};

static const struct dev_ops acpi_pm_ops = {
	.name = "acpi-pm", .io = acpi_pm_io, .reset = acpi_pm_reset, .loaded = acpi_pm_loaded,
	.close = acpi_pm_close, .fields = acpi_pm_fields,
};

struct dev *
acpi_pm_open(struct vm *vm, struct irq_line *sci)
{
	struct acpi_pm *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->dev.ops = &acpi_pm_ops;
	strcpy(p->dev.id, "acpi-pm");
	p->vm = vm;
	p->sci = sci;
	p->timer = (struct timer){ .fire = timer_fired, .ctx = p };
	dev_reset(&p->dev);
	return &p->dev;
}
