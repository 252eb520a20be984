/* SPDX-License-Identifier: Apache-2.0 */
/* tests/engine/borders.c - every kind of access at every border of the address space, on translator and interpreter.
 *
 * Borders: canonical and not, 2 and 4 GiB, the wrap at 2^64, page there and not, RAM and device, rights. For each
 * address within 16 bytes the two engines must agree in registers, memory, frames and device accesses, with a
 * cold and with a warm TLB, and the translator must not need the host's protection to notice: it takes no fault.
 */
#include "engine/bt/bt.h"
#include "engine/rig.h"

enum kind { BASE, STACK, FRAME, SOURCE, TARGET, BOTH, INDEX, FS, BRANCH };
enum { ALIGNED = 1 /* the host checks alignment, and may fault */ };

#define CASES(X) \
	X(BASE, 0, "movb (%rbx), %al") \
	X(BASE, 0, "movw (%rbx), %ax") \
	X(BASE, 0, "movl (%rbx), %eax") \
	X(BASE, 0, "movq (%rbx), %r9") \
	X(BASE, 0, "movzbl 1(%rbx), %r10d") \
	X(BASE, 0, "movslq -4(%rbx), %r11") \
	X(BASE, 0, "addq (%rbx), %rax") \
	X(BASE, 0, "cmpb $7, (%rbx)") \
	X(BASE, 0, "testl $7, (%rbx)") \
	X(BASE, 0, "imulq (%rbx), %rax") \
	X(BASE, 0, "mulq (%rbx)") \
	X(BASE, 0, "movbe (%rbx), %eax") \
	X(BASE, 0, "cmovzl (%rbx), %eax") \
	X(BASE, 0, "popcntq (%rbx), %rax") \
	X(BASE, 0, "mulx (%rbx), %rax, %r10") \
	X(BASE, 0, "movl (%ebx), %eax") \
	X(BASE, 0, "movups (%rbx), %xmm0") \
	X(BASE, ALIGNED, "movaps (%rbx), %xmm0") \
	X(BASE, ALIGNED, "paddd (%rbx), %xmm1") \
	X(BASE, 0, "vmovups (%rbx), %ymm0") \
	X(BASE, ALIGNED, "vmovaps (%rbx), %ymm0") \
	X(BASE, 0, "vpaddd (%rbx), %ymm1, %ymm2") \
	X(BASE, 0, "vbroadcastss (%rbx), %ymm3") \
	X(BASE, 0, "vpgatherdd %xmm6, (%rbx,%xmm7,1), %xmm5") \
	X(BASE, 0, "vmaskmovps (%rbx), %ymm6, %ymm5") \
	X(BASE, 0, "movss (%rbx), %xmm0") \
	X(BASE, 0, "movsd (%rbx), %xmm0") \
	X(BASE, 0, "cvtsi2sdq (%rbx), %xmm0") \
	X(BASE, 0, "flds (%rbx)") \
	X(BASE, 0, "fldl (%rbx)") \
	X(BASE, 0, "fldt (%rbx)") \
	X(BASE, 0, "fildll (%rbx)") \
	X(BASE, 0, "movq (%rbx), %mm0") \
	X(BASE, 0, "fldcw (%rbx)") \
	X(BASE, 0, "prefetcht0 (%rbx)") \
	X(BASE, 0, "clflush (%rbx)") \
	X(BASE, 0, "leaq (%rbx), %rax") \
	X(BASE, 0, "movb %al, (%rbx)") \
	X(BASE, 0, "movw %r10w, (%rbx)") \
	X(BASE, 0, "movl $0x12345678, (%rbx)") \
	X(BASE, 0, "movq %r11, (%rbx)") \
	X(BASE, 0, "movnti %rax, (%rbx)") \
	X(BASE, 0, "movbe %rax, (%rbx)") \
	X(BASE, 0, "setc (%rbx)") \
	X(BASE, 0, "movups %xmm0, (%rbx)") \
	X(BASE, ALIGNED, "movntdq %xmm0, (%rbx)") \
	X(BASE, 0, "vmovups %ymm0, (%rbx)") \
	X(BASE, 0, "vextracti128 $1, %ymm0, (%rbx)") \
	X(BASE, 0, "vmaskmovps %ymm5, %ymm6, (%rbx)") \
	X(BASE, 0, "movsd %xmm0, (%rbx)") \
	X(BASE, 0, "fld1; fstpt (%rbx)") \
	X(BASE, 0, "fld1; fstps (%rbx)") \
	X(BASE, 0, "fnstcw (%rbx)") \
	X(BASE, 0, "stmxcsr (%rbx)") \
	X(BASE, ALIGNED, "fxsave (%rbx)") \
	X(BASE, 0, "fnstenv (%rbx)") \
	X(BASE, 0, "addb %al, (%rbx)") \
	X(BASE, 0, "addw $5, (%rbx)") \
	X(BASE, 0, "subl %eax, (%rbx)") \
	X(BASE, 0, "adcq %r9, (%rbx)") \
	X(BASE, 0, "notq (%rbx)") \
	X(BASE, 0, "incl (%rbx)") \
	X(BASE, 0, "shlq $3, (%rbx)") \
	X(BASE, 0, "shldq $3, %rax, (%rbx)") \
	X(BASE, 0, "xchgl %eax, (%rbx)") \
	X(BASE, 0, "lock xaddq %rax, (%rbx)") \
	X(BASE, 0, "lock cmpxchgl %ecx, (%rbx)") \
	X(BASE, 0, "lock cmpxchg8b (%rbx)") \
	X(BASE, ALIGNED, "lock cmpxchg16b (%rbx)") \
	X(BASE, 0, "btsq %rax, (%rbx)") \
	X(BASE, 0, "btl $5, (%rbx)") \
	X(BASE, 0, "pushq (%rbx)") \
	X(BASE, 0, "popq (%rbx)") \
	X(BASE, 0, "sgdt (%rbx)") \
	X(BASE, 0, "xlatb") \
	X(INDEX, 0, "movq (%rbx,%rcx,8), %rax") \
	X(INDEX, 0, "movl %eax, (%rbx,%rcx,8)") \
	X(INDEX, 0, "addw %ax, (%rbx,%rcx,8)") \
	X(FS, 0, "movq %fs:(%rbx), %rax") \
	X(FS, 0, "movl %eax, %fs:(%rbx)") \
	X(FS, 0, "movups %fs:(%rbx), %xmm0") \
	X(STACK, 0, "pushq %rax") \
	X(STACK, 0, "pushq %r11") \
	X(STACK, 0, "pushw %ax") \
	X(STACK, 0, "pushq $-5") \
	X(STACK, 0, "pushq %rsp") \
	X(STACK, 0, "popq %rax") \
	X(STACK, 0, "popq %rsp") \
	X(STACK, 0, "popw %r9w") \
	X(STACK, 0, "pushfq") \
	X(STACK, 0, "pushq %rax; pushq %rcx; pushq %rdx") \
	X(STACK, 0, "popq %rax; popq %rcx; popq %rdx") \
	X(STACK, 0, "movq %rax, 8(%rsp)") \
	X(STACK, 0, "movq -8(%rsp), %rax") \
	X(STACK, 0, "movups (%rsp), %xmm0") \
	X(STACK, 0, "addl $1, (%rsp)") \
	X(STACK, 0, "call 1f; 1:") \
	X(STACK, 0, "ret") \
	X(STACK, 0, "ret $24") \
	X(STACK, 0, "iretq") \
	X(STACK, 0, "lretq") \
	X(STACK, 0, "enter $16, $0") \
	X(STACK, 0, "callq *%rdx") \
	X(STACK, 0, "pushq %fs") \
	X(FRAME, 0, "leave") \
	X(FRAME, 0, "movq -8(%rbp), %rax") \
	X(SOURCE, 0, "lodsb") \
	X(SOURCE, 0, "lodsq") \
	X(SOURCE, 0, "movsb") \
	X(SOURCE, 0, "movsq") \
	X(SOURCE, 0, "rep movsb") \
	X(SOURCE, 0, "rep movsl") \
	X(SOURCE, 0, "rep lodsw") \
	X(SOURCE, 0, "std; rep movsb; cld") \
	X(SOURCE, 0, "repe cmpsb") \
	X(TARGET, 0, "stosb") \
	X(TARGET, 0, "stosq") \
	X(TARGET, 0, "rep stosb") \
	X(TARGET, 0, "rep stosq") \
	X(TARGET, 0, "rep movsb") \
	X(TARGET, 0, "rep movsq") \
	X(TARGET, 0, "std; rep stosl; cld") \
	X(TARGET, 0, "repne scasw") \
	X(TARGET, 0, "maskmovdqu %xmm0, %xmm1") \
	X(BOTH, 0, "rep movsb") \
	X(BOTH, 0, "cmpsq") \
	X(BRANCH, 0, "jmp *%rbx") \
	X(BRANCH, 0, "call *%rbx") \
	X(BRANCH, 0, "pushq %rbx; ret") \
	X(BASE, 0, "jmp *(%rbx)") \
	X(BASE, 0, "call *(%rbx)")

enum { SLOT = 16 };
__asm__(".pushsection .rodata\n.balign 16\ncode_begin:\n"
#define X(kind, flags, text) text "\nhlt\n.balign 16, 0xf4\n"
	CASES(X)
#undef X
	"code_end:\n.popsection\n");
extern const uint8_t code_begin[], code_end[];

static const struct form { enum kind kind; unsigned flags; const char *text; } cases[] = {
#define X(kind, flags, text) { kind, flags, text },
	CASES(X)
#undef X
};
enum { NCASES = sizeof(cases) / sizeof(*cases) };

/* ---- the guest ---- */

enum { TABLES = 0x100000, FRAMES = 0x200000, IST = RIG_STACK + 0x3000, NEAR = 16, COUNT = 5, P = 1, W = 2, U = 4, AD = 0x60,
	BESIDE = 0x40000000 };

/* A page on each side of each border: where it is mapped, at what rights (0: not), to which frame (-1: one of its own). */
static const struct side { uint64_t lin; unsigned rights; int64_t gpa; } sides[] = {
	{ 0xfffffffffffff000, P | W | U, -1 },	/* page 0 is there anyway */
	{ 0x00007ffffffff000, P | W | U, -1 },
	{ 0xffff800000000000, P | W | U, -1 },
	{ 0x000000007ffff000, P | W | U, -1 }, { 0x0000000080000000, P | W | U, -1 },
	{ 0x00000000fffff000, P | W | U, -1 }, { 0x0000000100000000, P | W | U, -1 },
	{ 0xffffffff7ffff000, P | W | U, -1 }, { 0xffffffff80000000, P | W | U, -1 },
	{ BESIDE + 0x0000, P | W | U, -1 }, { BESIDE + 0x1000, 0, -1 },
	{ BESIDE + 0x2000, P | W | U, -1 }, { BESIDE + 0x3000, P | U, -1 },
	{ BESIDE + 0x4000, P | W | U, -1 }, { BESIDE + 0x5000, P | W, -1 },
	{ BESIDE + 0x6000, P | W | U, RIG_MEMORY - 0x1000 }, { BESIDE + 0x7000, P | W | U, RIG_MEMORY },	/* a device */
};
enum { SIDES = sizeof(sides) / sizeof(*sides) };
static const uint64_t borders[] = { 0, 0x0000800000000000, 0xffff800000000000, 0x8000000000000000, 0x80000000, 0x100000000,
	0xffffffff80000000, BESIDE, BESIDE + 0x1000, BESIDE + 0x2000, BESIDE + 0x3000, BESIDE + 0x4000, BESIDE + 0x5000,
	BESIDE + 0x6000, BESIDE + 0x7000, BESIDE + 0x8000 };
enum { BORDERS = sizeof(borders) / sizeof(*borders) };

/* What a case may change, beside page tables: these pages are compared and put back. */
static const gpa_t scratch[] = { 0, RIG_DATA, RIG_DATA + 0x1000, RIG_STACK - 0x1000, RIG_STACK, IST - 0x1000, RIG_MEMORY - 0x1000 };
enum { SCRATCH = sizeof(scratch) / sizeof(*scratch), PAGES_SEEN = SCRATCH + SIDES };

static struct rig *twin[2];		/* the translator's, the interpreter's */
static uint8_t fresh[PAGES_SEEN][PAGE_SIZE];

static gpa_t
page_seen(unsigned n)
{
	return n < SCRATCH ? scratch[n] : FRAMES + (n - SCRATCH) * PAGE_SIZE;
}

static void
map_page(struct rig *g, uint64_t lin, gpa_t gpa, unsigned rights, gpa_t *next)
{
	gpa_t at = RIG_TABLES;
	int shift;

	for (shift = 39; shift > 12; shift -= 9) {
		gpa_t entry = at + (lin >> shift & 511) * 8;

		if (!(rig_get(g, entry, 8) & P)) {
			rig_put(g, entry, *next | P | W | U | AD, 8);
			*next += PAGE_SIZE;
		}
		at = rig_get(g, entry, 8) & 0xffffff000;
	}
	rig_put(g, at + (lin >> 12 & 511) * 8, gpa | rights | (rights ? AD : 0), 8);
}

static void
guest_open(unsigned n, const struct engine *engine)
{
	struct rig *g = twin[n] = rig_open(engine, RIG_long);
	gpa_t next = TABLES;
	unsigned i, k;

	mem_write(g->mem, RIG_CODE, code_begin, (size_t)(code_end - code_begin));
	for (i = 0; i < SIDES; i++)
		map_page(g, sides[i].lin, sides[i].gpa >= 0 ? (gpa_t)sides[i].gpa : FRAMES + i * PAGE_SIZE, sides[i].rights, &next);
	for (i = 0; i < 32; i++)	/* every handler on a stack of its own */
		rig_put(g, RIG_IDT + 16 * i + 4, 1, 1);
	rig_put(g, RIG_TSS + 36, IST, 8);
	for (i = 0; i < PAGES_SEEN; i++)
		for (k = 0; k < PAGE_SIZE; k++)
			fresh[i][k] = i < SCRATCH ? (uint8_t)(k * 7 + i) : k % 64 == 40 ? 0xf4 : 0x90;	/* may be run */
}

static void
pages_renew(struct rig *g)
{
	for (unsigned i = 0; i < PAGES_SEEN; i++)
		if (memcmp(mem_get(g->mem, page_seen(i), PAGE_SIZE), fresh[i], PAGE_SIZE) != 0)
			mem_write(g->mem, page_seen(i), fresh[i], PAGE_SIZE);
}

static void
place_address(union regfile *r, enum kind kind, uint64_t addr)
{
	switch (kind) {
	case BASE: case BRANCH: r->rbx = addr; break;
	case STACK: r->rsp = addr; break;
	case FRAME: r->rbp = addr; break;
	case SOURCE: r->rsi = addr; break;
	case TARGET: r->rdi = addr; break;
	case BOTH: r->rsi = addr, r->rdi = addr + 3; break;
	case INDEX: r->rbx = addr - 8 * r->rcx; break;
	case FS: r->fs_base = (uint64_t)((int64_t)(addr << 16) >> 16) & PAGE_MASK, r->rbx = addr - r->fs_base; break;
	}
}

static void
guest_set(struct rig *g, unsigned n, uint64_t addr, bool user)
{
	union regfile *r = &g->cpu.r;
	struct fpu_state *f = &g->cpu.fpu;
	unsigned i;

	pages_renew(g);
	reg_reset(r, f);
	rig_mode_set(g, RIG_long);
	if (user) {
		rig_segment(g, SEG_cs, RIG_UCS64, 0xa0fb);
		rig_segment(g, SEG_ss, RIG_UDS, 0xc0f3);
	}
	r->cr0 |= cr0_wp_MASK;
	r->cr4 |= cr4_osxsave_MASK | cr4_osxmmexcpt_MASK;
	r->xcr0 = 7;
	for (i = 0; i < 16; i++)
		r->gpr[i] = 0x1111111111111111ull * i;
	r->rax = 5;
	r->rcx = COUNT;
	r->rdx = RIG_CODE + NCASES * SLOT;
	r->rsi = r->rdi = RIG_DATA + 0x800;
	r->rsp = RIG_STACK;
	r->rip = RIG_CODE + n * SLOT;
	place_address(r, cases[n].kind, addr);
	f->fcw = 0x37f;
	f->mxcsr = 0x1f80;
	f->xstate_bv = 7;
	for (i = 0; i < 16; i++)
		memset(f->xmm[i], 0xd0 + (int)i, 16);
	memset(f->xmm[7], 0, 16);
	atomic_store(&g->cpu.attention, 0);
	g->cpu.retire_limit = UINT64_MAX;
	g->ios = 0;
	memset(&g->last, 0, sizeof(g->last));
	cpu_mode_update(&g->cpu);
}

/* ---- comparing ---- */

static const char *
difference(unsigned n)
{
	struct rig *a = twin[0], *b = twin[1];
	unsigned i;

	if (a->ios != b->ios || a->last.addr != b->last.addr || a->last.data != b->last.data)
		return "device accesses";
	for (i = 0; i < REG__COUNT; i++) {
		if (i == REG_rflags && rig_vector(b) >= 0)
			continue;		/* arithmetic flags at faults: CAVEATS.md */
		if (a->cpu.r.v[i] != b->cpu.r.v[i])
			return reg_desc[i].name;
	}
	if (memcmp(a->cpu.fpu.st, b->cpu.fpu.st, sizeof(a->cpu.fpu.st)) != 0 ||
	    memcmp(a->cpu.fpu.xmm, b->cpu.fpu.xmm, sizeof(a->cpu.fpu.xmm)) != 0 ||
	    memcmp(a->cpu.fpu.ymmh, b->cpu.fpu.ymmh, sizeof(a->cpu.fpu.ymmh)) != 0 ||
	    a->cpu.fpu.fsw != b->cpu.fpu.fsw || a->cpu.fpu.ftw != b->cpu.fpu.ftw)
		return "FPU";
	if (strcmp(cases[n].text, "fnstenv (%rbx)") == 0)
		return NULL;			/* its pointers: fpu.c of this directory */
	for (i = 0; i < PAGES_SEEN; i++)
		if (page_seen(i) != IST - 0x1000 &&
		    memcmp(mem_get(a->mem, page_seen(i), PAGE_SIZE), mem_get(b->mem, page_seen(i), PAGE_SIZE), PAGE_SIZE) != 0)
			return "memory";
	return NULL;
}

/* The frame that a fault pushed, without its arithmetic flags. */
static const char *
frame_difference(void)
{
	uint64_t rsp = twin[1]->cpu.r.rsp, at;

	if (rig_vector(twin[1]) < 0)
		return NULL;
	for (at = rsp; at < IST; at += 8)
		if ((rig_get(twin[0], at, 8) ^ rig_get(twin[1], at, 8)) & ~(at == IST - 24 ? (uint64_t)RFLAGS_arith : 0))
			return "the frame";
	return NULL;
}

/* The translator branches to addresses that are not canonical and faults there (CAVEATS.md). */
static bool
is_known(unsigned n)
{
	const char *t = cases[n].text;

	return (strstr(t, "jmp") || strstr(t, "call") || strstr(t, "ret")) && rig_vector(twin[0]) == VEC_gp &&
		rig_vector(twin[1]) == VEC_gp;
}

static unsigned bad;

static void
tell(unsigned n, uint64_t addr, bool user, bool warm, const char *why)
{
	if (bad++ < 20)
		printf("# %s at %#" PRIx64 " CPL %d, TLB %s: %s; vectors bt %d, interp %d, rip %#" PRIx64 " %#" PRIx64 "\n", cases[n].text, addr,
			user ? 3 : 0, warm ? "warm" : "cold", why, rig_vector(twin[0]), rig_vector(twin[1]), twin[0]->cpu.r.rip,
			twin[1]->cpu.r.rip);
}

static void
try(unsigned n, uint64_t addr, bool user)
{
	const char *why;
	int kind[2], turn;

	guest_set(twin[1], n, addr, user);
	kind[1] = rig_run(twin[1]);
	tlb_flush_all(&twin[0]->cpu, true);
	for (turn = 0; turn < 2; turn++) {
		uint64_t faults = twin[0]->cpu.bt->stats.host_faults;

		guest_set(twin[0], n, addr, user);
		kind[0] = rig_run(twin[0]);
		if (twin[0]->cpu.bt->stats.host_faults != faults && !(cases[n].flags & ALIGNED) && (addr + NEAR) >> 48 != TLB_EMPTY >> 48)
			tell(n, addr, user, turn, "a fault on the host");
		why = kind[0] != kind[1] ? "exit" : difference(n);
		why = why == NULL ? frame_difference() : why;
		if (why != NULL && !is_known(n))
			tell(n, addr, user, turn, why);
	}
}

static void
try_all(bool user, bool warm)
{
	unsigned n, i;
	int off;

	bt_warm_all(twin[0]->cpu.bt, warm);
	bad = 0;
	for (n = 0; n < NCASES; n++)
		for (i = 0; i < BORDERS; i++)
			for (off = -NEAR; off <= NEAR; off++)
				try(n, borders[i] + (uint64_t)(int64_t)off, user);
	printf("# %u accesses%s, %u at odds\n", (unsigned)(NCASES * BORDERS * (2 * NEAR + 1)), warm ? " in warm pages" : "", bad);
	CHECK_EQ(bad, 0);
}

static void
supervisor(void)
{
	try_all(false, false);
}

static void
user(void)
{
	try_all(true, false);
	try_all(true, true);
}

int
main(void)
{
	guest_open(0, &bt_engine);
	guest_open(1, &interp_engine);
	RUN(supervisor);
	RUN(user);
	rig_close(twin[0]);
	rig_close(twin[1]);
	return check_done();
}
