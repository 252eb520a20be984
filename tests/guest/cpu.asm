; SPDX-License-Identifier: Apache-2.0
; tests/guest/cpu.asm - what instructions need to be allowed: CR0.EM/TS/NE/AM, CR4, alignment, MSRs, XCR0, CPUID, TSC.
; (QEMU 7.2's translator fails many of these; real processors do not.)
%include "lib.inc"
%include "long.inc"

buf	equ 0x600000

%macro CR0_SET 1
	mov rax, cr0
	or eax, %1
	mov cr0, rax
%endmacro
%macro CR0_CLEAR 1
	mov rax, cr0
	and eax, ~(%1)
	mov cr0, rax
%endmacro
%macro CR4_SET 1
	mov rax, cr4
	or eax, %1
	mov cr4, rax
%endmacro
%macro CR4_CLEAR 1
	mov rax, cr4
	and eax, ~(%1)
	mov cr4, rax
%endmacro
MP equ 2
EM equ 4
TS equ 8
NE equ 0x20
AM equ 0x40000

main64:
	CR0_CLEAR EM | TS
	CR0_SET MP | NE
	fninit

	TEST64 "x87 by CR0"
	CR0_SET TS
	FAULTS64 7, 0, fld1
	FAULTS64 7, 0, fwait
	CR0_CLEAR MP
	fwait					; TS alone does not stop it
	FAULTS64 7, 0, fnstcw [buf]
	CR0_SET MP
	CR0_CLEAR TS
	CR0_SET EM
	FAULTS64 7, 0, fld1
	fwait
	CR0_CLEAR EM
	fninit

	TEST64 "SSE and AVX by CR0, CR4 and XCR0"
	CR0_SET TS
	FAULTS64 7, 0, addps xmm0, xmm1
	FAULTS64 7, 0, movq mm0, [buf]
	FAULTS64 7, 0, fxsave [buf]
	clts
	CR0_SET EM
	FAULTS64 6, 0, addps xmm0, xmm1
	FAULTS64 6, 0, movq mm0, [buf]
	FAULTS64 7, 0, fxsave [buf]
	CR0_CLEAR EM
	CR4_CLEAR 0x200
	FAULTS64 6, 0, addps xmm0, xmm1
	CR4_SET 0x200
	addps xmm0, xmm1
	mov eax, 1
	cpuid
	bt ecx, 26
	jnc .no_xsave
	CR4_CLEAR 1 << 18
	xor ecx, ecx
	FAULTS64 6, 0, xgetbv
	FAULTS64 6, 0, xsave [buf]
	mov eax, 1
	cpuid
	and ecx, 1 << 27
	EQ64 rcx, 0				; CPUID shows CR4.OSXSAVE
	CR4_SET 1 << 18
	mov eax, 1
	cpuid
	bt ecx, 27
	sbb eax, eax
	EQ64 rax, 0xffffffff
	xor ecx, ecx
	xor edx, edx
	mov eax, 2
	FAULTS64 13, 0, xsetbv			; x87 is a must
	mov eax, 5
	FAULTS64 13, 0, xsetbv			; AVX without SSE
	mov eax, 3
	mov ecx, 1
	FAULTS64 13, 0, xsetbv
	xor ecx, ecx
	xsetbv
	xgetbv
	EQ64 rax, 3
	mov eax, 1
	cpuid
	bt ecx, 28
	jnc .no_avx
	FAULTS64 6, 0, vaddps ymm0, ymm1, ymm2	; XCR0 lacks AVX
	xor ecx, ecx
	xor edx, edx
	mov eax, 7
	xsetbv
	vaddps ymm0, ymm1, ymm2
	CR0_SET TS
	FAULTS64 7, 0, vaddps ymm0, ymm1, ymm2
	clts
	CR4_CLEAR 1 << 18
	FAULTS64 6, 0, vaddps ymm0, ymm1, ymm2
	CR4_SET 1 << 18
.no_avx:
	mov eax, 7
	xor edx, edx
	FAULTS64 13, 0, xsave [buf + 8]		; 64-byte alignment
	xsave [buf]
	mov qword [buf + 512 + 8], 1		; XCOMP_BV
	FAULTS64 13, 0, xrstor [buf]
	mov qword [buf + 512 + 8], 0
	mov dword [buf + 24], 0xffff0000	; MXCSR
	or qword [buf + 512], 2
	FAULTS64 13, 0, xrstor [buf]
.no_xsave:
	mov rax, cr0
	and eax, EM | TS
	EQ64 rax, 0

	TEST64 "alignment of operands"
%ifndef QEMU
	FAULTS64 13, 0, movaps xmm0, [buf + 8]
	FAULTS64 13, 0, movntps [buf + 4], xmm0
	FAULTS64 13, 0, addps xmm0, [buf + 4]
	FAULTS64 13, 0, fxsave [buf + 8]
%endif
	movups xmm0, [buf + 1]
	FAULTS64 13, 0, cmpxchg16b [buf + 8]
	cmpxchg16b [buf + 16]
	mov dword [buf + 32], 0x10000
	FAULTS64 13, 0, ldmxcsr [buf + 32]

	TEST64 "x87 and SSE exceptions"
	fninit
	mov word [buf], 0x37b			; unmask division by zero
	fldcw [buf]
	fld1
	fldz
.div:	fdivp
.fpu:	FAULTS64 16, 0, fwait
	fnstsw ax
	and eax, 0x8084
	EQ64 rax, 0x8084
	FAULTS64 16, 0, fld1
	fnclex
	fninit
	mov dword [buf], 0x1f80 & ~0x200
	ldmxcsr [buf]
	xorps xmm1, xmm1
	mov rax, 0x3f800000
	movd xmm0, eax
	FAULTS64 19, 0, divss xmm0, xmm1
	movd eax, xmm0
	EQ64 rax, 0x3f800000			; unchanged
	stmxcsr [buf]
	mov eax, [buf]
	and eax, 4
	EQ64 rax, 4
	CR4_CLEAR 0x400
	FAULTS64 6, 0, divss xmm0, xmm1		; without OSXMMEXCPT
	CR4_SET 0x400
	mov dword [buf], 0x1f80
	ldmxcsr [buf]

	TEST64 "alignment check at CPL 3"
%ifndef QEMU
	CR0_SET AM
	mov rax, user_ac
	call ring3_64
	CR0_CLEAR AM
%endif

	TEST64 "user limits by CR4"
	mov rax, user_cr4_off
	call ring3_64
	CR4_SET 1 << 2 | 1 << 11		; TSD, UMIP
	mov rax, user_cr4_on
	call ring3_64
	CR4_CLEAR 1 << 2 | 1 << 11
	rdtsc
	FAULTS64 6, 0, rdfsbase rax
	CR4_SET 1 << 16
	mov rbx, 0x1234567
	wrgsbase rbx
	rdgsbase rax
	EQ64 rax, 0x1234567
	xor ebx, ebx
	wrgsbase rbx
	mov rbx, 0x800000000000
	FAULTS64 13, 0, wrfsbase rbx
	CR4_CLEAR 1 << 16

	TEST64 "MSRs"
%ifndef QEMU
	mov ecx, 0xc0000082
	xor eax, eax
	mov edx, 0x8000
	FAULTS64 13, 0, wrmsr			; LSTAR is an address
	mov ecx, 0xc0000080
	mov eax, -1
	mov edx, -1
	FAULTS64 13, 0, wrmsr
	mov ecx, 0x277
	mov eax, 0x02
	xor edx, edx
	FAULTS64 13, 0, wrmsr			; PAT: type 2 is reserved
	mov ecx, 0xfe
	FAULTS64 13, 0, wrmsr			; MTRRcap is read only
	mov ecx, 0x4fff0000
	FAULTS64 13, 0, rdmsr
	mov ecx, 0x200				; MTRR physbase0
	mov eax, 0x02
	xor edx, edx
	FAULTS64 13, 0, wrmsr
%endif
	mov ecx, 0xc0000080			; LMA can't be written
	rdmsr
	mov ebx, eax
	and eax, ~0x400
	wrmsr
	rdmsr
	EQ64 rax, rbx
	mov ecx, 0xc0000103
	mov eax, 0x55
	xor edx, edx
	wrmsr
	rdtscp
	EQ64 rcx, 0x55

	TEST64 "TSC"
	rdtsc
	shl rdx, 32
	or rax, rdx
	mov rbx, rax
	mov r8d, 1000
.tsc:	rdtsc
	shl rdx, 32
	or rax, rdx
	cmp rax, rbx
	jb .backwards
	mov rbx, rax
	dec r8d
	jnz .tsc
.backwards:
	EQ64 r8, 0
	mov ecx, 0x10
	rdmsr
	shl rdx, 32
	or rax, rdx
	cmp rax, rbx
	sbb rax, rax
	EQ64 rax, 0

	TEST64 "CPUID"
	xor eax, eax
	cpuid
	EQ64 rbx, 'Auth'
	EQ64 rdx, 'enti'
	EQ64 rcx, 'cAMD'
	mov eax, 0x80000000
	cpuid
	cmp eax, 0x80000008
	sbb eax, eax
	EQ64 rax, 0
	mov rax, -1
	mov rcx, -1
	mov eax, 0x80000001
	cpuid
	shr rax, 32
	EQ64 rax, 0				; upper halves are zero
	shr rbx, 32
	EQ64 rbx, 0
	mov eax, 0x80000001
	cpuid
	bt edx, 29
	sbb eax, eax
	EQ64 rax, 0xffffffff			; long mode

	TEST64 "reserved and undefined opcodes"
	FAULTS64 6, 0, db 0x0f, 0xff, 0xc0
	FAULTS64 6, 0, db 0x0f, 0xb9, 0xc0
	FAULTS64 6, 0, db 0x0f, 0x0a
	FAULTS64 6, 0, db 0xfe, 0xf8
	FAULTS64 6, 0, db 0xff, 0xf8
	FAULTS64 6, 0, db 0xc6, 0xc8, 0
	FAULTS64 6, 0, db 0x8f, 0xc8
	FAULTS64 6, 0, db 0x8c, 0xf0		; mov eax, sreg 6
	FAULTS64 6, 0, db 0x8e, 0xc8		; mov cs, eax
	FAULTS64 6, 0, db 0x0f, 0x20, 0xc8	; mov rax, cr1
	FAULTS64 6, 0, db 0x0f, 0x22, 0xe8	; mov cr5, rax
	FAULTS64 6, 0, db 0xf0, 0x89, 0x03	; lock mov
	FAULTS64 6, 0, db 0xf0, 0x0f, 0xa3, 0x03 ; lock bt
	FAULTS64 6, 0, db 0x8d, 0xc0		; lea eax, eax
	FAULTS64 6, 0, db 0x0f, 0xc7, 0x08 | 0xc0 ; cmpxchg8b eax
	FAULTS64 6, 0, db 0x62, 0, 0, 0, 0, 0	; EVEX, not ours
	FAULTS64 6, 0, db 0x66, 0xc5, 0xf8, 0x58, 0xc0 ; VEX behind 66
	FAULTS64 6, 0, db 0x40, 0xc5, 0xf8, 0x58, 0xc0 ; VEX behind REX

	TEST64 "monitor, pause, prefetch, fences"
	mov rax, buf
	xor ecx, ecx
	xor edx, edx
	pause
	prefetchnta [0x70000000]		; never faults
	prefetchw [buf]
	mfence
	lfence
	sfence
	clflush [buf]
	FAULTS64 14, 0, clflush [0x70000000]
	nop dword [0x70000000]			; neither
	ret

user_ac:
	pushfq
	or dword [rsp], 0x40000
	popfq
	mov eax, [buf + 4]
	FAULTS64 17, 0, mov eax, [buf + 1]
	FAULTS64 17, 0, mov [buf + 2], eax
	FAULTS64 17, 0, mov ax, [buf + 1]
	FAULTS64 17, 0, add [buf + 4 + 1], rax
	mov al, [buf + 1]
	movups xmm0, [buf + 16]
	pushfq
	and dword [rsp], ~0x40000
	popfq
	mov eax, [buf + 1]
	int 0x30

user_cr4_off:
	rdtsc
	sgdt [buf]
	smsw ax
	str ax
	int 0x30
user_cr4_on:
	FAULTS64 13, 0, rdtsc
	FAULTS64 13, 0, rdtscp
%ifndef QEMU
	FAULTS64 13, 0, sgdt [buf]
	FAULTS64 13, 0, sidt [buf]
	FAULTS64 13, 0, sldt ax
	FAULTS64 13, 0, smsw ax
	FAULTS64 13, 0, str ax
%endif
	FAULTS64 13, 0, rdpmc
	int 0x30
FINISH
