/* SPDX-License-Identifier: Apache-2.0 */
/* engine/kvm/state.c - the register file to KVM's structures and back, by place.
 *
 * The `kvm` column of registers.def says in which structure a row lives; a group may lie in several
 * (EFER is an MSR kept in kvm_sregs). General registers, segments and events travel in the run page
 * (KVM_CAP_SYNC_REGS) and cost no ioctl.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#define PLACE_BIT(p) (1u << (p))

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
	{ REG_cr8, offsetof(struct kvm_sregs, cr8) }, { REG_ia32_efer, offsetof(struct kvm_sregs, efer) },
	{ REG_ia32_apic_base, offsetof(struct kvm_sregs, apic_base) },
	{ REG_gdtr_base, offsetof(struct kvm_sregs, gdt.base) }, { REG_idtr_base, offsetof(struct kvm_sregs, idt.base) },
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
	s->gdt.limit = (uint16_t)c->r.gdtr_limit;
	s->idt.limit = (uint16_t)c->r.idtr_limit;
}

static void
get_sregs(struct cpu *c, const struct kvm_sregs *s)
{
	for (unsigned i = 0; i < SEG__COUNT; i++)
		get_segment(&c->r.seg[i], (const struct kvm_segment *)(const void *)((const uint8_t *)s + seg_at[i]));
	get(c, sregs_map, COUNT(sregs_map), s);
	c->r.gdtr_limit = s->gdt.limit;
	c->r.idtr_limit = s->idt.limit;
}

static void
put_events(const struct cpu *c, struct kvm_vcpu_events *e)
{
	e->nmi.pending = (uint8_t)c->r.nmi_pending;
	e->nmi.masked = (uint8_t)c->r.nmi_blocked;
	e->interrupt.shadow = (uint8_t)((c->r.interruptibility & SHADOW_sti ? KVM_X86_SHADOW_INT_STI : 0) |
		(c->r.interruptibility & SHADOW_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0));
	e->flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
}

static void
get_events(struct cpu *c, const struct kvm_vcpu_events *e)
{
	c->r.nmi_pending = e->nmi.pending;
	c->r.nmi_blocked = e->nmi.masked;
	c->r.interruptibility = (e->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? SHADOW_sti : 0u) |
		(e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? SHADOW_mov_ss : 0u);
}

/* The rows that are MSRs to KVM, or -1 behind the last; derived ones have another owner. */
static int
next_msr(const struct cpu *c, int id)
{
	while (++id < REG__COUNT)
		if (reg_desc[id].kvm == KVM_msr && reg_desc[id].kind == KIND_saved &&
		    reg_desc[id].msr - KVM_OUR_MSR_BASE >= KVM_OUR_MSRS && cpu_has(c->model, reg_desc[id].since))
			return id;
	return -1;
}

/* A struct kvm_msrs with room for one. */
struct one_msr {
	__u32 nmsrs, pad;
	struct kvm_msr_entry entry[1];
};
static_assert(offsetof(struct one_msr, entry) == sizeof(struct kvm_msrs), "the kernel's layout");

static int
msrs(struct cpu *c, bool store)
{
	struct one_msr one;

	/* One by one: an MSR that this kernel does not know must not hide the rest; it stays ours. */
	for (int id = next_msr(c, -1); id >= 0; id = next_msr(c, id)) {
		memset(&one, 0, sizeof(one));
		one.nmsrs = 1;
		one.entry[0].index = reg_desc[id].msr;
		one.entry[0].data = c->r.v[id];
		if (kvm_do(c->kvm, store ? KVM_SET_MSRS : KVM_GET_MSRS, &one) < 0)
			return -1;
		if (!store)
			c->r.v[id] = one.entry[0].data;
	}
	return 0;
}

static int
fpu(struct cpu *c, bool store)
{
	struct kvm_xsave x;

	memset(&x, 0, sizeof(x));
	if (store)
		memcpy(&x, &c->fpu, sizeof(c->fpu));
	if (kvm_do(c->kvm, store ? KVM_SET_XSAVE : KVM_GET_XSAVE, &x) < 0)
		return -1;
	if (!store)
		memcpy(&c->fpu, &x, sizeof(c->fpu));
	return 0;
}

static int
xcrs(struct cpu *c, bool store)
{
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = c->r.xcr0 } } };

	if (!cpu_has(c->model, CPUF_xsave))
		return 0;
	if (kvm_do(c->kvm, store ? KVM_SET_XCRS : KVM_GET_XCRS, &x) < 0)
		return -1;
	c->r.xcr0 = x.xcrs[0].value;
	return 0;
}

static int
dregs(struct cpu *c, bool store)
{
	struct kvm_debugregs d = { 0 };

	put(c, dregs_map, COUNT(dregs_map), &d);
	if (kvm_do(c->kvm, store ? KVM_SET_DEBUGREGS : KVM_GET_DEBUGREGS, &d) < 0)
		return -1;
	if (!store)
		get(c, dregs_map, COUNT(dregs_map), &d);
	return 0;
}

/* The places that rows of these groups lie in. */
static uint32_t
places(uint32_t groups)
{
	static uint32_t of[GROUP__COUNT];	/* the same whoever fills it */
	uint32_t all = groups & GROUP_BIT(GROUP_fpu) ? PLACE_BIT(KVM_fpu) : 0;

	if (of[GROUP_gpr] == 0)
		for (unsigned id = REG__COUNT; id-- > 0;)
			of[reg_desc[id].group] |= PLACE_BIT(reg_desc[id].kvm);
	for (unsigned g = 0; g < GROUP__COUNT; g++)
		if (groups & GROUP_BIT(g))
			all |= of[g];
	return all;
}

int
kvm_store(struct cpu *c, uint32_t groups)
{
	struct kvm_run *run = c->kvm->run;
	uint32_t at = places(groups);

	if (at & PLACE_BIT(KVM_regs)) {
		put(c, regs_map, COUNT(regs_map), &run->s.regs.regs);
		run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	}
	if (at & PLACE_BIT(KVM_sregs)) {
		put_sregs(c, &run->s.regs.sregs);
		run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	}
	if (at & PLACE_BIT(KVM_events)) {
		put_events(c, &run->s.regs.events);
		run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
	}
	if ((at & PLACE_BIT(KVM_xcrs) && xcrs(c, true) != 0) || (at & PLACE_BIT(KVM_fpu) && fpu(c, true) != 0) ||
	    (at & PLACE_BIT(KVM_dregs) && dregs(c, true) != 0) || (at & PLACE_BIT(KVM_msr) && msrs(c, true) != 0))
		return -1;
	return 0;
}

void
kvm_carry(struct cpu *c)
{
	struct kvm_run *run = c->kvm->run;

	get(c, regs_map, COUNT(regs_map), &run->s.regs.regs);
	get_sregs(c, &run->s.regs.sregs);
	get_events(c, &run->s.regs.events);
}

int
kvm_fetch(struct cpu *c, uint32_t groups)
{
	uint32_t at = places(groups);

	if ((at & PLACE_BIT(KVM_xcrs) && xcrs(c, false) != 0) || (at & PLACE_BIT(KVM_fpu) && fpu(c, false) != 0) ||
	    (at & PLACE_BIT(KVM_dregs) && dregs(c, false) != 0) || (at & PLACE_BIT(KVM_msr) && msrs(c, false) != 0))
		return -1;
	return 0;
}
