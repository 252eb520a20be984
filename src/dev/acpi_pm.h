/* SPDX-License-Identifier: Apache-2.0 */
/* dev/acpi_pm.h - ACPI power management: PM1a event and control blocks, PM timer. */
#pragma once
#include "vm/vm.h"

enum { ACPI_PM_BASE = 0x600, ACPI_PM_EVENT = 0, ACPI_PM_CONTROL = 4, ACPI_PM_TIMER = 8, ACPI_PM_PORTS = 12 };
enum { ACPI_S5_TYPE = 5, ACPI_PM_TIMER_HZ = 3579545 };

struct dev *acpi_pm_open(struct vm *vm, struct irq_line *sci);
void acpi_pm_power_button(struct dev *d);
