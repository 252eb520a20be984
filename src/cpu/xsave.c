/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/xsave.c - XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS (SDM vol. 1, chapter 13).
 *
 * What is in use is worked out when asked: a component is in its initial state when its registers
 * hold the initial values. No memcpy or memset here: they use vector registers, which may be the
 * guest's (engine/bt).
 */
#include "cpu/xsave.h"
#include "cpu/access.h"

enum { XF_x87 = 1, XF_sse = 2, XF_avx = 4, REG_BYTES = 16, ALIGNMENT = 64 };
enum { LEGACY_XMM = offsetof(struct fpu_state, xmm), MXCSR_AT = offsetof(struct fpu_state, mxcsr) };
#define XCOMP_COMPACT (1ull << 63)

/* All sizes here are multiples of eight. */
static void
move(void *to, const void *from, size_t n)
{
	n /= sizeof(uint64_t);
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void
clear(void *at, size_t n)
{
	n /= sizeof(uint64_t);
	__asm__ volatile("rep stosq" : "+D"(at), "+c"(n) : "a"(0ull) : "memory");
}

static bool
all_zero(const void *p, size_t n)
{
	const uint64_t *w = __builtin_assume_aligned(p, sizeof(*w));

	for (n /= sizeof(*w); n > 0; n--)
		if (*w++ != 0)
			return false;
	return true;
}

/* ---- memory: what is in one page at once, else as other accesses of that size are done ---- */

enum { CHUNK = 64 };

static int
image_read(struct cpu *c, uint64_t lin, void *to, unsigned size)
{
	const uint8_t *p;
	unsigned n, done;
	int res;

	if ((p = lin_hva(c, lin, size, ACC_read, &res)) != NULL) {
		move(to, p, size);
		return OK;
	}
	for (done = 0; done < size; done += n) {
		n = size - done < CHUNK ? size - done : CHUNK;
		if (lin_read_slow(c, lin + done, (uint8_t *)to + done, n, ACC_read) != OK)
			return FAULT;
	}
	return OK;
}

static int
image_write(struct cpu *c, uint64_t lin, const void *from, unsigned size)
{
	unsigned n, done;
	uint8_t *p;
	int res;

	if ((p = lin_hva(c, lin, size, ACC_write, &res)) != NULL) {
		move(p, from, size);
		return OK;
	}
	for (done = 0; done < size; done += n) {
		n = size - done < CHUNK ? size - done : CHUNK;
		if (lin_write_slow(c, lin + done, (const uint8_t *)from + done, n, ACC_write) != OK)
			return FAULT;
	}
	return OK;
}

/* ---- x87 ---- */

void
x87_image(const struct cpu *c, bool wide, uint8_t out[X87_IMAGE])
{
	const struct fpu_state *f = &c->fpu;
	uint64_t fip = f->fip, fdp = f->fdp;

	if (!wide && c->mode == MODE_long64) {
		fip = (uint32_t)fip;
		fdp = (uint32_t)fdp;
	}
	move(out, f, sizeof(uint64_t));
	out[offsetof(struct fpu_state, reserved0)] = 0;
	move(out + offsetof(struct fpu_state, fip), &fip, sizeof(fip));
	move(out + offsetof(struct fpu_state, fdp), &fdp, sizeof(fdp));
	move(out + X87_REGS, f->st, sizeof(f->st));
}

void
x87_load(struct cpu *c, bool wide, const uint8_t *from)
{
	enum { USED = 10 };
	struct fpu_state *f = &c->fpu;
	unsigned i, k;

	move(f, from, X87_POINTERS);
	f->reserved0 = 0;
	f->fop &= 0x7ff;
	if (!wide) {
		f->fip &= 0xffffffffffff;
		f->fdp &= 0xffffffffffff;
	}
	move(f->st, from + X87_REGS, sizeof(f->st));
	for (i = 0; i < 8; i++)
		for (k = USED; k < REG_BYTES; k++)
			f->st[i][k] = 0;
	fpu_settle(f);
}

static void
x87_reset(struct fpu_state *f)
{
	clear(f, offsetof(struct fpu_state, mxcsr));
	f->fcw = 0x37f;
	clear(f->st, sizeof(f->st));
}

/* ---- the instructions ---- */

static unsigned
in_use(const struct cpu *c)
{
	const struct fpu_state *f = &c->fpu;
	unsigned use = 0, n = REG_BYTES * fpu_nregs(c);

	if (f->fcw != 0x37f || f->fsw != 0 || f->ftw != 0 || f->fop != 0 || f->fip != 0 || f->fdp != 0 ||
	    !all_zero(f->st, sizeof(f->st)))
		use |= XF_x87;
	if (!all_zero(f->xmm, n))
		use |= XF_sse;
	if (!all_zero(f->ymmh, n))
		use |= XF_avx;
	return use;
}

static unsigned
image_size(const struct cpu *c, unsigned rfbm)
{
	return rfbm & XF_avx ? XSAVE_YMMH + REG_BYTES * fpu_nregs(c) : XSAVE_YMMH;
}

int
xsave_check(struct cpu *c, const struct xsave_form *f, unsigned *rfbm, unsigned *size)
{
	if (!(c->r.cr4 & cr4_osxsave_MASK))
		return cpu_raise(c, VEC_ud);
	if (f->supervisor && c->cpl != 0)
		return cpu_raise_error(c, VEC_gp, 0);
	if (c->r.cr0 & cr0_ts_MASK)
		return cpu_raise(c, VEC_nm);
	*rfbm = (unsigned)(c->r.rax & c->r.xcr0 & (XF_x87 | XF_sse | XF_avx));
	*size = image_size(c, *rfbm);
	return OK;
}

static int
image_out(struct cpu *c, const struct xsave_form *f, unsigned rfbm, unsigned what, uint64_t lin)
{
	uint64_t mxcsr = c->fpu.mxcsr | (uint64_t)MXCSR_writable << 32;
	unsigned n = REG_BYTES * fpu_nregs(c);
	uint8_t x87[X87_IMAGE];

	if (what & XF_x87) {
		x87_image(c, f->wide, x87);
		if (image_write(c, lin, x87, MXCSR_AT) != OK ||
		    image_write(c, lin + X87_REGS, x87 + X87_REGS, X87_IMAGE - X87_REGS) != OK)
			return FAULT;
	}
	if ((f->compact ? what & XF_sse : rfbm & (XF_sse | XF_avx)) &&
	    image_write(c, lin + MXCSR_AT, &mxcsr, sizeof(mxcsr)) != OK)
		return FAULT;
	if (what & XF_sse && image_write(c, lin + LEGACY_XMM, c->fpu.xmm, n) != OK)
		return FAULT;
	return what & XF_avx ? image_write(c, lin + XSAVE_YMMH, c->fpu.ymmh, n) : OK;
}

int
cpu_xsave(struct cpu *c, const struct xsave_form *f, unsigned rfbm, uint64_t lin)
{
	unsigned use, what;
	uint64_t header[2];

	if (lin & (ALIGNMENT - 1))
		return cpu_raise_error(c, VEC_gp, 0);
	if (lin_probe(c, lin, image_size(c, rfbm), ACC_write) != OK)
		return FAULT;
	use = in_use(c);
	if (f->compact && c->fpu.mxcsr != MXCSR_reset)
		use |= XF_sse;
	what = f->skips_initial ? rfbm & use : rfbm;
	if (f->compact) {
		header[0] = rfbm & use;
		header[1] = XCOMP_COMPACT | rfbm;
	} else {
		if (lin_read64(c, lin + XSAVE_LEGACY, &header[0]) != OK)
			return FAULT;
		header[0] = (header[0] & ~(uint64_t)rfbm) | (rfbm & use);
	}
	if (image_out(c, f, rfbm, what, lin) != OK)
		return FAULT;
	return image_write(c, lin + XSAVE_LEGACY, header, f->compact ? sizeof(header) : sizeof(*header));
}

/* Is the header one that XRSTOR takes? SDM vol. 1, 13.8.1. */
static bool
header_valid(const struct cpu *c, const uint64_t h[8])
{
	if (h[0] & ~c->r.xcr0)
		return false;
	if (!(h[1] & XCOMP_COMPACT))
		return h[1] == 0 && h[2] == 0;
	return !(h[1] & ~XCOMP_COMPACT & ~c->r.xcr0) && !(h[0] & ~h[1]) && all_zero(&h[2], 48);
}

static void
component_load(void *to, const void *image, size_t n, unsigned load, unsigned asked)
{
	if (load)
		move(to, image, n);
	else if (asked)
		clear(to, n);
}

int
cpu_xrstor(struct cpu *c, const struct xsave_form *f, unsigned rfbm, uint64_t lin)
{
	unsigned n = REG_BYTES * fpu_nregs(c), load;
	struct fpu_state image;
	uint64_t header[XSAVE_HEADER / sizeof(uint64_t)];
	bool compact, mxcsr_load;

	if (lin & (ALIGNMENT - 1))
		return cpu_raise_error(c, VEC_gp, 0);
	if (image_read(c, lin + XSAVE_LEGACY, header, sizeof(header)) != OK)
		return FAULT;
	compact = header[1] & XCOMP_COMPACT;
	if (!header_valid(c, header) || (f->supervisor && !compact))
		return cpu_raise_error(c, VEC_gp, 0);
	load = rfbm & (unsigned)header[0];
	mxcsr_load = compact ? load & XF_sse : rfbm & (XF_sse | XF_avx);
	if ((load & (XF_x87 | XF_sse) || mxcsr_load) && image_read(c, lin, &image, XSAVE_LEGACY) != OK)
		return FAULT;
	if (load & XF_avx && image_read(c, lin + XSAVE_YMMH, image.ymmh, n) != OK)
		return FAULT;
	if (mxcsr_load && image.mxcsr & ~(uint32_t)MXCSR_writable)
		return cpu_raise_error(c, VEC_gp, 0);
	if (load & XF_x87)
		x87_load(c, f->wide, (const uint8_t *)&image);
	else if (rfbm & XF_x87)
		x87_reset(&c->fpu);
	if (mxcsr_load)
		c->fpu.mxcsr = image.mxcsr;
	else if (compact && rfbm & XF_sse)
		c->fpu.mxcsr = MXCSR_reset;
	component_load(c->fpu.xmm, image.xmm, n, load & XF_sse, rfbm & XF_sse);
	component_load(c->fpu.ymmh, image.ymmh, n, load & XF_avx, rfbm & XF_avx);
	return OK;
}
