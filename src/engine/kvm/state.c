/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/state.c - the register file to KVM's structures and back, by place.
 *
 * The `kvm` column of registers.def says in which structure a row lives; a group may lie in several
 * (EFER is an MSR kept in kvm_sregs). `have` is the set of places that are current in the register
 * file: a fetch asks the kernel for the others only, a store gives what is there. General registers,
 * segments and events are given in the run page (KVM_CAP_SYNC_REGS) and cost no ioctl.
 */
#include "engine/kvm/kvm.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* kvm_regs names its fields as the table does. */
#define REGS_regs(name) { REG_##name, offsetof(struct kvm_regs, name) },
#define REGS_sregs(name)
#define REGS_dregs(name)
#define REGS_msr(name)
#define REGS_xcrs(name)
#define REGS_events(name)
#define REGS_fpu(name)
#define REGS_none(name)
static const struct place {
	uint16_t id, at;
} regs_map[] = {
#define R(name, group, bits, reset, init, writable, rest, since, policy, msr, kvm, ...) REGS_##kvm(name)
#include "cpu/registers.def"
#undef R
}, sregs_map[] = {
	{ REG_cr0, offsetof(struct kvm_sregs, cr0) }, { REG_cr2, offsetof(struct kvm_sregs, cr2) },
	{ REG_cr3, offsetof(struct kvm_sregs, cr3) }, { REG_cr4, offsetof(struct kvm_sregs, cr4) },
	{ REG_ia32_efer, offsetof(struct kvm_sregs, efer) },
	{ REG_gdtr_base, offsetof(struct kvm_sregs, gdt.base) }, { REG_idtr_base, offsetof(struct kvm_sregs, idt.base) },
}, apic_map[] = {			/* with the board's own APICs these are the board's */
	{ REG_cr8, offsetof(struct kvm_sregs, cr8) }, { REG_ia32_apic_base, offsetof(struct kvm_sregs, apic_base) },
}, dregs_map[] = {
	{ REG_dr0, offsetof(struct kvm_debugregs, db[0]) }, { REG_dr1, offsetof(struct kvm_debugregs, db[1]) },
	{ REG_dr2, offsetof(struct kvm_debugregs, db[2]) }, { REG_dr3, offsetof(struct kvm_debugregs, db[3]) },
	{ REG_dr6, offsetof(struct kvm_debugregs, dr6) }, { REG_dr7, offsetof(struct kvm_debugregs, dr7) },
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* kvm_sregs keeps segments in another order. */
static const uint16_t seg_at[SEG__COUNT] = {
	[SEG_es] = offsetof(struct kvm_sregs, es), [SEG_cs] = offsetof(struct kvm_sregs, cs),
	[SEG_ss] = offsetof(struct kvm_sregs, ss), [SEG_ds] = offsetof(struct kvm_sregs, ds),
	[SEG_fs] = offsetof(struct kvm_sregs, fs), [SEG_gs] = offsetof(struct kvm_sregs, gs),
	[SEG_ldtr] = offsetof(struct kvm_sregs, ldt), [SEG_tr] = offsetof(struct kvm_sregs, tr),
};

static void
put(const struct cpu *c, const struct place *map, size_t n, void *to)
{
	while (n-- > 0)
		memcpy((uint8_t *)to + map[n].at, &c->r.v[map[n].id], sizeof(uint64_t));
}

static void
get(struct cpu *c, const struct place *map, size_t n, const void *from)
{
	while (n-- > 0)
		memcpy(&c->r.v[map[n].id], (const uint8_t *)from + map[n].at, sizeof(uint64_t));
}

static void
put_segment(const struct segreg *s, struct kvm_segment *k)
{
	k->selector = (uint16_t)s->sel;
	k->base = s->base;
	k->limit = (uint32_t)s->limit;
	k->type = s->attr & ATTR_type;
	k->s = (s->attr & ATTR_s) != 0;
	k->dpl = (s->attr & ATTR_dpl) >> ATTR_dpl_shift;
	k->present = (s->attr & ATTR_p) != 0;
	k->avl = (s->attr & ATTR_avl) != 0;
	k->l = (s->attr & ATTR_l) != 0;
	k->db = (s->attr & ATTR_db) != 0;
	k->g = (s->attr & ATTR_g) != 0;
	k->unusable = (s->attr & ATTR_unusable) != 0;
}

static void
get_segment(struct segreg *s, const struct kvm_segment *k)
{
	s->sel = k->selector;
	s->base = k->base;
	s->limit = k->limit;
	s->attr = k->type | (k->s ? ATTR_s : 0u) | (unsigned)k->dpl << ATTR_dpl_shift | (k->present ? ATTR_p : 0u) |
		(k->avl ? ATTR_avl : 0u) | (k->l ? ATTR_l : 0u) | (k->db ? ATTR_db : 0u) | (k->g ? ATTR_g : 0u) |
		(k->unusable ? ATTR_unusable : 0u);
}

static void
put_sregs(const struct cpu *c, struct kvm_sregs *s)
{
	for (unsigned i = 0; i < SEG__COUNT; i++)
		put_segment(&c->r.seg[i], (struct kvm_segment *)(void *)((uint8_t *)s + seg_at[i]));
	put(c, sregs_map, COUNT(sregs_map), s);
	s->apic_base = reg_desc[REG_ia32_apic_base].reset;
	if (c->kernel_chips)
		put(c, apic_map, COUNT(apic_map), s);
	s->gdt.limit = (uint16_t)c->r.gdtr_limit;
	s->idt.limit = (uint16_t)c->r.idtr_limit;
}

static void
get_sregs(struct cpu *c, const struct kvm_sregs *s)
{
	for (unsigned i = 0; i < SEG__COUNT; i++)
		get_segment(&c->r.seg[i], (const struct kvm_segment *)(const void *)((const uint8_t *)s + seg_at[i]));
	get(c, sregs_map, COUNT(sregs_map), s);
	if (c->kernel_chips)
		get(c, apic_map, COUNT(apic_map), s);
	c->r.gdtr_limit = s->gdt.limit;
	c->r.idtr_limit = s->idt.limit;
	cpu_mode_update(c);
}

static void
put_events(const struct cpu *c, struct kvm_vcpu_events *e)
{
	e->nmi.pending = (uint8_t)c->r.nmi_pending;
	e->nmi.masked = (uint8_t)c->r.nmi_blocked;
	e->interrupt.shadow = (uint8_t)((c->r.interruptibility & SHADOW_sti ? KVM_X86_SHADOW_INT_STI : 0) |
		(c->r.interruptibility & SHADOW_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0));
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
}

/* Something that KVM is about to deliver must not be overtaken. */
static bool
busy(const struct kvm_vcpu_events *e)
{
	return e->exception.injected != 0 || e->interrupt.injected != 0 || e->nmi.injected != 0;
}

static void
get_events(struct cpu *c, const struct kvm_vcpu_events *e)
{
	c->r.nmi_pending = e->nmi.pending;
	c->r.nmi_blocked = e->nmi.masked;
	c->r.interruptibility = (e->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? SHADOW_sti : 0u) |
		(e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? SHADOW_mov_ss : 0u) |
		(busy(e) ? SHADOW_event : 0u);
}

/* ---- places that cost an ioctl ---- */

static int
regs_get(struct cpu *c)
{
	struct kvm_regs *regs = &c->kvm->run->s.regs.regs;

	if (VCPU_CALL(c->kvm, KVM_GET_REGS, regs) < 0)
		return -1;
	get(c, regs_map, COUNT(regs_map), regs);
	return 0;
}

static int
sregs_get(struct cpu *c)
{
	struct kvm_sregs *sregs = &c->kvm->run->s.regs.sregs;

	if (VCPU_CALL(c->kvm, KVM_GET_SREGS, sregs) < 0)
		return -1;
	get_sregs(c, sregs);
	return 0;
}

static int
events_get(struct cpu *c)
{
	struct kvm_vcpu_events *events = &c->kvm->run->s.regs.events;

	if (VCPU_CALL(c->kvm, KVM_GET_VCPU_EVENTS, events) < 0)
		return -1;
	get_events(c, events);
	return 0;
}

static int
fpu(struct cpu *c, bool store)
{
	struct kvm_vcpu *k = c->kvm;
	int res;

	if (store) {
		memset(k->xsave, 0, k->vm->xsave_size);
		memcpy(k->xsave, &c->fpu, sizeof(c->fpu));
		return VCPU_CALL(k, KVM_SET_XSAVE, k->xsave);
	}
	if (k->vm->xsave_size > sizeof(struct kvm_xsave))
		res = VCPU_CALL(k, KVM_GET_XSAVE2, k->xsave);
	else
		res = VCPU_CALL(k, KVM_GET_XSAVE, k->xsave);
	if (res == 0)
		memcpy(&c->fpu, k->xsave, sizeof(c->fpu));
	return res;
}

static int
xcrs(struct cpu *c, bool store)
{
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = c->r.xcr0 } } };

	if (!cpu_has(c->model, CPUF_xsave))
		return 0;
	if ((store ? VCPU_CALL(c->kvm, KVM_SET_XCRS, &x) : VCPU_CALL(c->kvm, KVM_GET_XCRS, &x)) < 0)
		return -1;
	c->r.xcr0 = x.xcrs[0].value;
	return 0;
}

static int
dregs(struct cpu *c, bool store)
{
	struct kvm_debugregs d = { 0 };

	put(c, dregs_map, COUNT(dregs_map), &d);
	if ((store ? VCPU_CALL(c->kvm, KVM_SET_DEBUGREGS, &d) : VCPU_CALL(c->kvm, KVM_GET_DEBUGREGS, &d)) < 0)
		return -1;
	if (!store)
		get(c, dregs_map, COUNT(dregs_map), &d);
	return 0;
}

/* Only with the kernel's APICs does the kernel know who waits; else activity is the loop's own. */
static int
activity(struct cpu *c, bool store)
{
	static const uint32_t of[] = { [ACTIVITY_run] = KVM_MP_STATE_RUNNABLE, [ACTIVITY_hlt] = KVM_MP_STATE_HALTED,
		[ACTIVITY_wait_sipi] = KVM_MP_STATE_INIT_RECEIVED };
	struct kvm_mp_state m;

	if (!c->kernel_chips || c->r.activity >= COUNT(of))
		return 0;
	m.mp_state = of[c->r.activity];
	if (store)
		return VCPU_CALL(c->kvm, KVM_SET_MP_STATE, &m);
	if (VCPU_CALL(c->kvm, KVM_GET_MP_STATE, &m) < 0)
		return -1;
	c->r.activity = m.mp_state == KVM_MP_STATE_HALTED ? ACTIVITY_hlt :
		m.mp_state == KVM_MP_STATE_INIT_RECEIVED || m.mp_state == KVM_MP_STATE_UNINITIALIZED ? ACTIVITY_wait_sipi :
		ACTIVITY_run;
	return 0;
}

static int
place_get(struct cpu *c, unsigned place)
{
	switch (place) {
	case KVM_regs: return regs_get(c);
	case KVM_sregs: return sregs_get(c);
	case KVM_events: return events_get(c);
	case KVM_dregs: return dregs(c, false);
	case KVM_msr: return kvm_msr_move(c, false);
	case KVM_xcrs: return xcrs(c, false);
	case KVM_fpu: return fpu(c, false);
	case PLACE_activity: return activity(c, false);
	default: return 0;
	}
}

static int
place_put(struct cpu *c, unsigned place)
{
	struct kvm_run *run = c->kvm->run;

	switch (place) {
	case KVM_regs:
		put(c, regs_map, COUNT(regs_map), &run->s.regs.regs);
		run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
		return 0;
	case KVM_sregs:
		put_sregs(c, &run->s.regs.sregs);
		run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
		return 0;
	case KVM_events:
		put_events(c, &run->s.regs.events);
		run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
		return 0;
	case KVM_dregs: return dregs(c, true);
	case KVM_msr: return kvm_msr_move(c, true);
	case KVM_xcrs: return xcrs(c, true);
	case KVM_fpu: return fpu(c, true);
	case PLACE_activity: return activity(c, true);
	default: return 0;
	}
}

/* ---- groups ---- */

/* The places that rows of these groups lie in. */
static uint32_t
places(uint32_t groups)
{
	static _Atomic uint32_t of[GROUP__COUNT];	/* the same whoever fills it */
	uint32_t all = 0;

	if (of[GROUP_gpr] == 0) {
		of[GROUP_fpu] = PLACE_BIT(KVM_fpu);
		of[GROUP_event] = PLACE_BIT(PLACE_activity);
		for (unsigned id = REG__COUNT; id-- > 0;)
			of[reg_desc[id].group] |= PLACE_BIT(reg_desc[id].kvm);
	}
	for (unsigned g = 0; g < GROUP__COUNT; g++)
		if (groups & GROUP_BIT(g))
			all |= of[g];
	return all & ~PLACE_BIT(KVM_none);
}

/* XCR0 before the XSAVE image that must fit it; the MSRs last, when sregs may still be in the run page. */
int
kvm_store(struct cpu *c, uint32_t groups)
{
	uint32_t at = places(groups);

	assert((at & ~c->kvm->have) == 0);	/* who changes a register has fetched its group */
	if (at & PLACE_BIT(KVM_xcrs) && place_put(c, KVM_xcrs) != 0)
		return -1;
	at &= ~PLACE_BIT(KVM_xcrs);
	for (unsigned place = 0; place < PLACE__COUNT; place++)
		if (at & PLACE_BIT(place) && place_put(c, place) != 0)
			return -1;
	return 0;
}

int
kvm_fetch(struct cpu *c, uint32_t groups)
{
	uint32_t at = places(groups) & ~c->kvm->have;

	for (unsigned place = 0; place < PLACE__COUNT; place++)
		if (at & PLACE_BIT(place) && place_get(c, place) != 0)
			return -1;
	c->kvm->have |= at;
	return 0;
}

/* What KVM_RUN put into the run page; the rest is stale from now on. */
void
kvm_carry(struct cpu *c)
{
	struct kvm_run *run = c->kvm->run;

	c->kvm->have = 0;
	if (run->kvm_valid_regs & KVM_SYNC_X86_REGS) {
		get(c, regs_map, COUNT(regs_map), &run->s.regs.regs);
		c->kvm->have |= PLACE_BIT(KVM_regs);
	}
	if (run->kvm_valid_regs & KVM_SYNC_X86_SREGS) {
		get_sregs(c, &run->s.regs.sregs);
		c->kvm->have |= PLACE_BIT(KVM_sregs);
	}
	if (run->kvm_valid_regs & KVM_SYNC_X86_EVENTS) {
		get_events(c, &run->s.regs.events);
		c->kvm->have |= PLACE_BIT(KVM_events);
	}
	if (!c->kernel_chips)
		c->kvm->have |= PLACE_BIT(PLACE_activity);
}
