/* SPDX-License-Identifier: Apache-2.0 */
/* engine/interp/fpu_cache.c - shapes of instructions and their stubs, made once and kept.
 *
 * One table for the process, only ever added to: readers take no lock, a pointer to a shape stays
 * good. When a guest has used up the table (it would have to try thousands of shapes), each thread
 * makes further shapes anew in a place of its own.
 */
#include "engine/interp/fpu.h"
#include "host/code.h"
#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { SLOTS_BITS = 13, SLOTS = 1 << SLOTS_BITS, OPS_MAX = SLOTS / 2, CODE_SIZE = 1 << 19 };

static struct fpu_op *_Atomic slots[SLOTS];
static struct fpu_op ops[OPS_MAX];
static unsigned nops;				/* under lock, as all below */
static struct code_map code;
static size_t code_used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool ready;			/* fpu_keymask is filled, code is mapped */

/* Per thread, for when the table is full. Never freed: at most a page of code a thread. */
static _Thread_local struct code_map spare_code;
static _Thread_local struct fpu_op spare_op;

static uint64_t
shape_key(const struct cpu *c, const struct insn *in)
{
	unsigned pp = in->pp & 3u;
	const struct fpu_keymask *k = &fpu_keymask[in->map & 3][in->opcode][pp];
	uint64_t key = in->opcode | (in->map & 3u) << 8 | pp << 10 | 1u << 31;
	bool w = in->rex & 8 && !(k->gpr && c->mode != MODE_long64);

	if (in->prefixes & PFX_vex)
		key |= 1u << 12 | (in->vex_l ? 1u << 13 : 0u);
	if (w)
		key |= 1u << 14;
	if (fpu_is_mem(in))
		key |= 1u << 15;
	key |= ((uint32_t)in->imm & k->imm) << 16;
	key |= (uint64_t)(in->modrm & (fpu_is_mem(in) ? k->modrm & 0x38u : k->modrm)) << 32;
	if (k->regs)
		key |= (uint64_t)(in->rex & 5) << 40;
	return key;
}

static inline unsigned
slot_of(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15u) >> (64 - SLOTS_BITS));
}

/* Describes `in` into op and writes its stub into m at `at`, when it needs one. */
static bool
make(struct fpu_op *op, const struct cpu *c, const struct insn *in, struct code_map *m, size_t at,
	size_t *used)
{
	struct insn narrow = *in;

	if (c->mode != MODE_long64 && fpu_keymask[in->map & 3][in->opcode][in->pp].gpr)
		narrow.rex &= (uint8_t)~8u;
	memset(op, 0, sizeof(*op));
	*used = 0;
	if (!fpu_describe(&narrow, op))
		return false;
	if (op->fn == fpu_run_vector || op->fn == fpu_run_mmx || op->fn == fpu_run_x87) {
		*used = (fpu_stub(m->rw + at, &narrow, op) + 15) & ~(size_t)15;
		op->code = (fpu_code *)(uintptr_t)(m->rx + at);
	}
	return true;
}

static const struct fpu_op *
make_spare(const struct cpu *c, const struct insn *in)
{
	unsigned a, b, cx, d;
	size_t used;

	if (!make(&spare_op, c, in, &spare_code, 0, &used))
		return NULL;
	__cpuid(0, a, b, cx, d);	/* serialize: old code of this place may have been fetched */
	return &spare_op;
}

static const struct fpu_op *
make_new(const struct cpu *c, const struct insn *in, uint64_t key)
{
	unsigned i = slot_of(key);
	const struct fpu_op *op = NULL;
	struct fpu_op *have;
	size_t used;

	pthread_mutex_lock(&lock);
	while ((have = atomic_load(&slots[i])) != NULL && have->key != key)
		i = (i + 1) % SLOTS;
	if (have != NULL) {
		op = have;
	} else if (nops == OPS_MAX || code_used + FPU_STUB_MAX > CODE_SIZE) {
		op = make_spare(c, in);
	} else if (make(&ops[nops], c, in, &code, code_used, &used)) {
		ops[nops].key = key;
		code_used += used;
		atomic_store(&slots[i], &ops[nops]);
		op = &ops[nops++];
	}
	pthread_mutex_unlock(&lock);
	return op;
}

/* False: the host gives no memory. At open: a machine that runs may make nothing executable any more. */
bool
fpu_cache_open(void)
{
	pthread_mutex_lock(&lock);
	if (spare_code.rw == NULL)
		code_map_open(&spare_code, FPU_STUB_MAX);
	if (spare_code.rw != NULL && code.rw == NULL && code_map_open(&code, CODE_SIZE) == 0) {
		fpu_keymask_init();
		atomic_store(&ready, true);
	}
	pthread_mutex_unlock(&lock);
	return atomic_load(&ready);
}

const struct fpu_op *
fpu_lookup(const struct cpu *c, const struct insn *in)
{
	const struct fpu_op *op;
	uint64_t key;
	unsigned i;

	if (!atomic_load_explicit(&ready, memory_order_acquire) && !fpu_cache_open())
		return NULL;
	key = shape_key(c, in);
	i = slot_of(key);
	while ((op = atomic_load_explicit(&slots[i], memory_order_acquire)) != NULL) {
		if (op->key == key)
			return op;
		i = (i + 1) % SLOTS;
	}
	return make_new(c, in, key);
}
