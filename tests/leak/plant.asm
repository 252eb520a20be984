; SPDX-License-Identifier: Apache-2.0
; tests/leak/plant.asm - puts a secret into every register that can hold one and into memory, and stays so.
;
; The secret is the six bytes ee ff c0 e7 c2 5e: as the upper part of 64-bit values, or as a canonical address.
%include "lib.inc"
%include "long.inc"

SECRET	equ 0x5ec2e7c0ffee0000
ADDRESS equ 0x00005ec2e7c0ffee
HOARD	equ 0x1000000		; 1 MiB of it in memory

%macro PLANT_MSR 2		; number, value
	mov ecx, %1
	mov rax, %2
	mov rdx, rax
	shr rdx, 32
	wrmsr
%endmacro

main64:
	mov rax, cr4
	or eax, 0x40600		; OSXSAVE, OSFXSR, OSXMMEXCPT
	mov cr4, rax
	xor ecx, ecx
	mov eax, 7
	xor edx, edx
	xsetbv

	mov rax, SECRET | 1
	mov edi, HOARD
	mov ecx, 0x100000 / 8
	rep stosq

	PLANT_MSR 0xc0000081, SECRET | 2	; STAR
	PLANT_MSR 0xc0000082, ADDRESS		; LSTAR
	PLANT_MSR 0xc0000083, ADDRESS		; CSTAR
	PLANT_MSR 0xc0000084, ADDRESS & 0xffffffff	; FMASK
	PLANT_MSR 0xc0000100, ADDRESS		; FS base
	PLANT_MSR 0xc0000102, ADDRESS		; kernel GS base
	PLANT_MSR 0xc0000101, ADDRESS		; GS base
	PLANT_MSR 0x175, ADDRESS		; SYSENTER_ESP
	PLANT_MSR 0x176, ADDRESS		; SYSENTER_EIP
	PLANT_MSR 0x402, SECRET | 3		; MC0_ADDR
	mov rax, ADDRESS
	mov cr2, rax
	mov dr0, rax
	mov dr1, rax
	mov dr2, rax
	mov dr3, rax

	finit
%assign n 0
%rep 8
	fld tword [fp_secret]		; loads the bytes as they are
%assign n n + 1
%endrep
%assign n 0
%rep 16
	vbroadcastsd ymm %+ n, [vector_secret]
%assign n n + 1
%endrep
	ldmxcsr [odd_mxcsr]

	; The last: all general registers but RSP, of which only the upper bits would fit.
	mov dword [planted], 1
	mov rax, SECRET | 0x10
	mov rbx, rax
	mov rcx, rax
	mov rdx, rax
	mov rsi, rax
	mov rdi, rax
	mov rbp, rax
	mov r8, rax
	mov r9, rax
	mov r10, rax
	mov r11, rax
	mov r12, rax
	mov r13, rax
	mov r14, rax
	mov r15, rax
.stay:	vaddpd ymm0, ymm1, ymm2		; so that the unit is the guest's
	vmovapd ymm0, ymm15
	fnop
	pause
	jmp .stay

align 8
fp_secret: dq 0x8000000000000000 | ADDRESS
	dw 0x3fff
align 8
vector_secret: dq SECRET | 5
odd_mxcsr: dd 0x7fa0
planted: dd 0

FINISH
