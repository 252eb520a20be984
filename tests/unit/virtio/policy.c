/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/virtio/policy.c - rules about the registers of virtio devices. */
#include "check.h"
#include "unit/virtio/rig.h"
#include "cpu/sysreg.h"

enum { BLK = 1 };		/* the disk's slot */

static struct policy_record last;
static unsigned records;

static void
note(struct cpu *c, struct policy_record *r)
{
	(void)c;
	last = *r;
	records++;
}
static const struct cpu_ops ops = { .policy_event = note };

static struct policy *
obey(const char *text)
{
	struct policy *p = policy_new();
	char err[256];

	rig_open();
	CHECK_EQ(policy_add_text(p, "t", text, true, err, sizeof(err)), 0);
	policy_seal(p);
	policy_adopt(&fake_vm.vcpu[0]->cpu, p);
	fake_vm.vcpu[0]->cpu.ops = &ops;
	fake_vm.accessing = fake_vm.vcpu[0];
	records = 0;
	return p;
}

static void
done(struct policy *p)
{
	fake_vm.accessing = NULL;
	rig_close();
	policy_free(p);
}

static void
refused_writes_are_lost(void)
{
	struct policy *p = obey("deny write virtio.status virtio.queue_d*\nfix virtio.num_queues = 9\nhide virtio.generation");

	reg_put(BLK, 0x14, 1, 1);
	CHECK_EQ(reg_get(BLK, 0x14, 1), 0);
	CHECK_EQ(records, 1);
	CHECK_EQ(last.kind, OBJ_device);
	CHECK_EQ(last.val, 1);
	CHECK_EQ(last.verdict, VERDICT_deny);
	reg_put(BLK, 0x20, 8, 0x5000);
	CHECK_EQ(reg_get(BLK, 0x20, 8), 0);
	reg_put(BLK, 0x16, 2, 3);
	CHECK_EQ(reg_get(BLK, 0x16, 2), 3);
	CHECK_EQ(reg_get(BLK, 0x12, 2), 9);
	CHECK_EQ(reg_get(BLK, 0x15, 1), 0xff);
	done(p);
}

/* Pinned: what was given once stays. Halves of 64-bit registers are judged as the whole. */
static void
pinned(void)
{
	struct policy *p = obey("pin virtio.queue_desc\nlog write virtio.queue_select");

	reg_put(BLK, 0x16, 2, 0);
	CHECK_EQ(records, 1);
	CHECK_EQ(last.verdict, VERDICT_allow);
	reg_put(BLK, 0x20, 4, 0x5000);
	CHECK_EQ(reg_get(BLK, 0x20, 8), 0x5000);
	reg_put(BLK, 0x24, 4, 1);
	CHECK_EQ(reg_get(BLK, 0x20, 8), 0x5000);
	CHECK_EQ(last.old, 0x5000);
	CHECK_EQ(last.val, 0x100005000);
	reg_put(BLK, 0x20, 4, 0x5000);
	CHECK_EQ(records, 2);
	done(p);
}

/* No rule, no vCPU: as ever. */
static void
ungoverned(void)
{
	struct policy *p = obey("deny cr4");

	reg_put(BLK, 0x14, 1, 1);
	CHECK_EQ(reg_get(BLK, 0x14, 1), 1);
	fake_vm.accessing = NULL;
	reg_put(BLK, 0x14, 1, 3);
	CHECK_EQ(reg_get(BLK, 0x14, 1), 3);
	CHECK_EQ(records, 0);
	done(p);
}

int
main(void)
{
	RUN(refused_writes_are_lost);
	RUN(pinned);
	RUN(ungoverned);
	return check_done();
}
