/* SPDX-License-Identifier: Apache-2.0 */
/* isa/map_0.c - the one-byte opcodes. */
#include "isa/opcodes.h"

/* Six rows of an arithmetic instruction; what follows them differs. */
#define ALU(at, name, acc) \
	[(at) + 0] = OP(name, acc, Eb, Gb), [(at) + 1] = OP(name, acc, Ev, Gv), \
	[(at) + 2] = OP(name, acc, Gb, Eb), [(at) + 3] = OP(name, acc, Gv, Ev), \
	[(at) + 4] = OP(name, acc, AL, Ib), [(at) + 5] = OP(name, acc, rAX, Iz)
/* The same row eight times, for a register in the opcode or for jcc. */
#define SEVEN(at, ...) \
	[(at) + 0] = __VA_ARGS__, [(at) + 1] = __VA_ARGS__, [(at) + 2] = __VA_ARGS__, \
	[(at) + 3] = __VA_ARGS__, [(at) + 4] = __VA_ARGS__, [(at) + 5] = __VA_ARGS__, \
	[(at) + 6] = __VA_ARGS__
#define EIGHT(at, ...) [at] = __VA_ARGS__, SEVEN((at) + 1, __VA_ARGS__)

#define GROUP1(E, I, extra) REG( \
	OP(add, RW | (extra), E, I), OP(or, RW | (extra), E, I), OP(adc, RW | (extra), E, I), \
	OP(sbb, RW | (extra), E, I), OP(and, RW | (extra), E, I), OP(sub, RW | (extra), E, I), \
	OP(xor, RW | (extra), E, I), OP(cmp, R | (extra), E, I))
#define GROUP2(E, count) REG( \
	OP(rol, RW, E, count), OP(ror, RW, E, count), OP(rcl, RW, E, count), OP(rcr, RW, E, count), \
	OP(shl, RW, E, count), OP(shr, RW, E, count), OP(shl, RW, E, count), OP(sar, RW, E, count))
#define GROUP3(E, I) REG( \
	OP(test, R, E, I), OP(test, R, E, I), OP(not, RW, E), OP(neg, RW, E), \
	OP(mul, R, E), OP(imul, R, E), OP(div, R, E), OP(idiv, R, E))

/* x87 with a memory operand, or with a register of the stack. */
#define FARITH_MEM(m) REG( \
	OP(fadd, R, m), OP(fmul, R, m), OP(fcom, R, m), OP(fcomp, R, m), \
	OP(fsub, R, m), OP(fsubr, R, m), OP(fdiv, R, m), OP(fdivr, R, m))
#define FIARITH_MEM(m) REG( \
	OP(fiadd, R, m), OP(fimul, R, m), OP(ficom, R, m), OP(ficomp, R, m), \
	OP(fisub, R, m), OP(fisubr, R, m), OP(fidiv, R, m), OP(fidivr, R, m))
#define FARITH_REG REG( \
	OP(fadd, RW, ST0, STi), OP(fmul, RW, ST0, STi), OP(fcom, R, STi), OP(fcomp, R, STi), \
	OP(fsub, RW, ST0, STi), OP(fsubr, RW, ST0, STi), \
	OP(fdiv, RW, ST0, STi), OP(fdivr, RW, ST0, STi))

const struct opdef isa_map0[256] = {
	ALU(0x00, add, RW),
	[0x06] = OP(push_seg, R | N64, ES),
	[0x07] = OP(pop_seg, W | N64, ES),
	ALU(0x08, or, RW),
	[0x0e] = OP(push_seg, R | N64, CS),
	ALU(0x10, adc, RW),
	[0x16] = OP(push_seg, R | N64, SS),
	[0x17] = OP(pop_seg, W | N64, SS),
	ALU(0x18, sbb, RW),
	[0x1e] = OP(push_seg, R | N64, DS),
	[0x1f] = OP(pop_seg, W | N64, DS),
	ALU(0x20, and, RW),
	[0x27] = OP(daa, N64, _),
	ALU(0x28, sub, RW),
	[0x2f] = OP(das, N64, _),
	ALU(0x30, xor, RW),
	[0x37] = OP(aaa, N64, _),
	ALU(0x38, cmp, R),
	[0x3f] = OP(aas, N64, _),
	EIGHT(0x40, OP(inc, RW | N64, Zv)),
	EIGHT(0x48, OP(dec, RW | N64, Zv)),
	EIGHT(0x50, OP(push, R | D64, Zv)),
	EIGHT(0x58, OP(pop, W | D64, Zv)),
	[0x60] = OP(pusha, N64, _),
	[0x61] = OP(popa, N64, _),
	[0x62] = OP(bound, R | N64, Gv, Ma),	/* EVEX is not decoded */
	[0x63] = MODE(OP(arpl, RW, Ew, Gw), OP(movsxd, W, Gv, Ez)),
	[0x68] = OP(push, R | D64, Iz),
	[0x69] = OP(imul, W, Gv, Ev, Iz),
	[0x6a] = OP(push, R | D64, Ibs),
	[0x6b] = OP(imul, W, Gv, Ev, Ibs),
	[0x6c] = OP(ins, W, Yb, DX),
	[0x6d] = OP(ins, W, Yz, DX),
	[0x6e] = OP(outs, R, DX, Xb),
	[0x6f] = OP(outs, R, DX, Xz),
	EIGHT(0x70, OP(jcc, R | NEAR, Jb)),
	EIGHT(0x78, OP(jcc, R | NEAR, Jb)),
	[0x80] = GROUP1(Eb, Ib, 0),
	[0x81] = GROUP1(Ev, Iz, 0),
	[0x82] = GROUP1(Eb, Ib, N64),
	[0x83] = GROUP1(Ev, Ibs, 0),
	[0x84] = OP(test, R, Eb, Gb),
	[0x85] = OP(test, R, Ev, Gv),
	[0x86] = OP(xchg, RW | RW1, Eb, Gb),
	[0x87] = OP(xchg, RW | RW1, Ev, Gv),
	[0x88] = OP(mov, W, Eb, Gb),
	[0x89] = OP(mov, W, Ev, Gv),
	[0x8a] = OP(mov, W, Gb, Eb),
	[0x8b] = OP(mov, W, Gv, Ev),
	[0x8c] = OP(mov_from_seg, W | CHECK, RvMw, Sw),
	[0x8d] = OP(lea, W | NOACC, Gv, M),
	[0x8e] = OP(mov_to_seg, W | CHECK, Sw, Ew),
	[0x8f] = REG(OP(pop, W | D64, Ev), UD, UD, UD, UD, UD, UD, UD),	/* XOP is not decoded */
	[0x90] = OP(xchg, RW | RW1 | CHECK, Zv, rAX),	/* or NOP, or PAUSE */
	SEVEN(0x91, OP(xchg, RW | RW1, Zv, rAX)),
	[0x98] = OP(cbw, 0, _),
	[0x99] = OP(cwd, 0, _),
	[0x9a] = OP(call_far, R | N64, Ap),
	[0x9b] = OP(fwait, 0, _),
	[0x9c] = OP(pushf, D64, _),
	[0x9d] = OP(popf, D64, _),
	[0x9e] = OP(sahf, 0, _),
	[0x9f] = OP(lahf, 0, _),
	[0xa0] = OP(mov, W, AL, Ob),
	[0xa1] = OP(mov, W, rAX, Ov),
	[0xa2] = OP(mov, W, Ob, AL),
	[0xa3] = OP(mov, W, Ov, rAX),
	[0xa4] = OP(movs, W, Yb, Xb),
	[0xa5] = OP(movs, W, Yv, Xv),
	[0xa6] = OP(cmps, R, Xb, Yb),
	[0xa7] = OP(cmps, R, Xv, Yv),
	[0xa8] = OP(test, R, AL, Ib),
	[0xa9] = OP(test, R, rAX, Iz),
	[0xaa] = OP(stos, W, Yb, AL),
	[0xab] = OP(stos, W, Yv, rAX),
	[0xac] = OP(lods, W, AL, Xb),
	[0xad] = OP(lods, W, rAX, Xv),
	[0xae] = OP(scas, R, AL, Yb),
	[0xaf] = OP(scas, R, rAX, Yv),
	EIGHT(0xb0, OP(mov, W, Zb, Ib)),
	EIGHT(0xb8, OP(mov, W, Zv, Iv)),
	[0xc0] = GROUP2(Eb, Ib),
	[0xc1] = GROUP2(Ev, Ib),
	[0xc2] = OP(ret, R | NEAR, Iw),
	[0xc3] = OP(ret, NEAR, _),
	[0xc4] = OP(les, W | N64, Gv, Mp),	/* or VEX */
	[0xc5] = OP(lds, W | N64, Gv, Mp),	/* or VEX */
	[0xc6] = REG(OP(mov, W, Eb, Ib), UD, UD, UD, UD, UD, UD, UD),
	[0xc7] = REG(OP(mov, W, Ev, Iz), UD, UD, UD, UD, UD, UD, UD),
	[0xc8] = OP(enter, R | D64, Iw, Ib2),
	[0xc9] = OP(leave, D64, _),
	[0xca] = OP(ret_far, R, Iw),
	[0xcb] = OP(ret_far, 0, _),
	[0xcc] = OP(int3, 0, _),
	[0xcd] = OP(int, R, Ib),
	[0xce] = OP(into, N64, _),
	[0xcf] = OP(iret, 0, _),
	[0xd0] = GROUP2(Eb, I1),
	[0xd1] = GROUP2(Ev, I1),
	[0xd2] = GROUP2(Eb, CL),
	[0xd3] = GROUP2(Ev, CL),
	[0xd4] = OP(aam, R | N64, Ib),
	[0xd5] = OP(aad, R | N64, Ib),
	[0xd6] = OP(salc, N64, _),
	[0xd7] = OP(xlat, R, mBX),
	[0xd8] = MOD(FARITH_MEM(Md), FARITH_REG),
	[0xd9] = MOD(
		REG(OP(fld, R, Md), UD, OP(fst, W, Md), OP(fstp, W, Md),
		    OP(fldenv, R, Me), OP(fldcw, R, Mw), OP(fnstenv, W, Me), OP(fnstcw, W, Mw)),
		REG(OP(fld, R, STi), OP(fxch, RW, STi),
		    RM(OP(fnop, 0, _), UD, UD, UD, UD, UD, UD, UD),
		    OP(fstp, W, STi),
		    RM(OP(fchs, 0, _), OP(fabs, 0, _), UD, UD,
		       OP(ftst, 0, _), OP(fxam, 0, _), UD, UD),
		    RM(OP(fld1, 0, _), OP(fldl2t, 0, _), OP(fldl2e, 0, _), OP(fldpi, 0, _),
		       OP(fldlg2, 0, _), OP(fldln2, 0, _), OP(fldz, 0, _), UD),
		    RM(OP(f2xm1, 0, _), OP(fyl2x, 0, _), OP(fptan, 0, _), OP(fpatan, 0, _),
		       OP(fxtract, 0, _), OP(fprem1, 0, _), OP(fdecstp, 0, _), OP(fincstp, 0, _)),
		    RM(OP(fprem, 0, _), OP(fyl2xp1, 0, _), OP(fsqrt, 0, _), OP(fsincos, 0, _),
		       OP(frndint, 0, _), OP(fscale, 0, _), OP(fsin, 0, _), OP(fcos, 0, _)))),
	[0xda] = MOD(
		FIARITH_MEM(Md),
		REG(OP(fcmovb, RW, ST0, STi), OP(fcmove, RW, ST0, STi),
		    OP(fcmovbe, RW, ST0, STi), OP(fcmovu, RW, ST0, STi), UD,
		    RM(UD, OP(fucompp, 0, _), UD, UD, UD, UD, UD, UD), UD, UD)),
	[0xdb] = MOD(
		REG(OP(fild, R, Md), OP(fisttp, W, Md), OP(fist, W, Md), OP(fistp, W, Md),
		    UD, OP(fld, R, Mt), UD, OP(fstp, W, Mt)),
		REG(OP(fcmovnb, RW, ST0, STi), OP(fcmovne, RW, ST0, STi),
		    OP(fcmovnbe, RW, ST0, STi), OP(fcmovnu, RW, ST0, STi),
		    RM(OP(fneni, 0, _), OP(fndisi, 0, _), OP(fnclex, 0, _), OP(fninit, 0, _),
		       OP(fnsetpm, 0, _), UD, UD, UD),
		    OP(fucomi, R, ST0, STi), OP(fcomi, R, ST0, STi), UD)),
	[0xdc] = MOD(
		FARITH_MEM(Mq),
		REG(OP(fadd, RW, STi, ST0), OP(fmul, RW, STi, ST0),
		    OP(fcom, R, STi), OP(fcomp, R, STi),
		    OP(fsubr, RW, STi, ST0), OP(fsub, RW, STi, ST0),
		    OP(fdivr, RW, STi, ST0), OP(fdiv, RW, STi, ST0))),
	[0xdd] = MOD(
		REG(OP(fld, R, Mq), OP(fisttp, W, Mq), OP(fst, W, Mq), OP(fstp, W, Mq),
		    OP(frstor, R, Mf), UD, OP(fnsave, W, Mf), OP(fnstsw, W, Mw)),
		REG(OP(ffree, W, STi), OP(fxch, RW, STi), OP(fst, W, STi),
		    OP(fstp, W, STi), OP(fucom, R, STi), OP(fucomp, R, STi), UD, UD)),
	[0xde] = MOD(
		FIARITH_MEM(Mw),
		REG(OP(faddp, RW, STi, ST0), OP(fmulp, RW, STi, ST0), OP(fcomp, R, STi),
		    RM(UD, OP(fcompp, 0, _), UD, UD, UD, UD, UD, UD),
		    OP(fsubrp, RW, STi, ST0), OP(fsubp, RW, STi, ST0),
		    OP(fdivrp, RW, STi, ST0), OP(fdivp, RW, STi, ST0))),
	[0xdf] = MOD(
		REG(OP(fild, R, Mw), OP(fisttp, W, Mw), OP(fist, W, Mw), OP(fistp, W, Mw),
		    OP(fbld, R, Mt), OP(fild, R, Mq), OP(fbstp, W, Mt), OP(fistp, W, Mq)),
		REG(OP(ffreep, W, STi), OP(fxch, RW, STi), OP(fstp, W, STi),
		    OP(fstp, W, STi),
		    RM(OP(fnstsw, W, AX), UD, UD, UD, UD, UD, UD, UD),
		    OP(fucomip, R, ST0, STi), OP(fcomip, R, ST0, STi), UD)),
	[0xe0] = OP(loopne, R | NEAR, Jb),
	[0xe1] = OP(loope, R | NEAR, Jb),
	[0xe2] = OP(loop, R | NEAR, Jb),
	[0xe3] = OP(jcxz, R | NEAR, Jb),
	[0xe4] = OP(in, W, AL, Ib),
	[0xe5] = OP(in, W, eAX, Ib),
	[0xe6] = OP(out, R, Ib, AL),
	[0xe7] = OP(out, R, Ib, eAX),
	[0xe8] = OP(call, R | NEAR, Jz),
	[0xe9] = OP(jmp, R | NEAR, Jz),
	[0xea] = OP(jmp_far, R | N64, Ap),
	[0xeb] = OP(jmp, R | NEAR, Jb),
	[0xec] = OP(in, W, AL, DX),
	[0xed] = OP(in, W, eAX, DX),
	[0xee] = OP(out, R, DX, AL),
	[0xef] = OP(out, R, DX, eAX),
	[0xf1] = OP(int1, 0, _),
	[0xf4] = OP(hlt, 0, _),
	[0xf5] = OP(cmc, 0, _),
	[0xf6] = GROUP3(Eb, Ib),
	[0xf7] = GROUP3(Ev, Iz),
	[0xf8] = OP(clc, 0, _),
	[0xf9] = OP(stc, 0, _),
	[0xfa] = OP(cli, 0, _),
	[0xfb] = OP(sti, 0, _),
	[0xfc] = OP(cld, 0, _),
	[0xfd] = OP(std, 0, _),
	[0xfe] = REG(OP(inc, RW, Eb), OP(dec, RW, Eb), UD, UD, UD, UD, UD, UD),
	[0xff] = REG(OP(inc, RW, Ev), OP(dec, RW, Ev), OP(call, R | NEAR, Ev),
		     OP(call_far, R | FARPTR, Mp), OP(jmp, R | NEAR, Ev), OP(jmp_far, R | FARPTR, Mp),
		     OP(push, R | D64, Ev), UD),
};
