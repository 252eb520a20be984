; SPDX-License-Identifier: Apache-2.0
; tests/leak/probe.asm - writes all that it can read of its processor to memory, again and again: tests/leak/leak.c
; then looks for what is not its own.
%include "lib.inc"
%include "long.inc"

DUMPS	equ 0x1000000		; 256 slots of 4 KiB
ROUNDS	equ 0x800000		; counts them, for the test

%macro SEE_MSR 1
	mov ecx, %1
	rdmsr
	shl rdx, 32
	or rax, rdx
	stosq
%endmacro

main64:
	mov rax, cr4
	or eax, 0x40600
	mov cr4, rax
	xor ecx, ecx
	mov eax, 7
	xor edx, edx
	xsetbv
	xor ebx, ebx			; the first look is at what it was started with

.round:
	mov r11, rdi			; what the registers held
	mov edi, ebx
	and edi, 255
	shl edi, 12
	add edi, DUMPS
	mov eax, 7
	xor edx, edx
	xsave64 [rdi]
	fnstenv [rdi + 0x3c0]
	fldenv [rdi + 0x3c0]
	add edi, 0x400
%macro SEE 1-*
%rep %0
	mov [rdi], %1
	add edi, 8
%rotate 1
%endrep
%endmacro
	SEE rax, rcx, rdx, rbx, rsp, rbp, rsi, r11, r8, r9, r10, r11, r12, r13, r14, r15
	mov rax, cr0
	stosq
	mov rax, cr2
	stosq
	mov rax, cr3
	stosq
	mov rax, cr4
	stosq
	mov rax, dr0
	stosq
	mov rax, dr1
	stosq
	mov rax, dr2
	stosq
	mov rax, dr3
	stosq
	mov rax, dr6
	stosq
	sgdt [rdi]
	sidt [rdi + 16]
	add edi, 32
	SEE_MSR 0xc0000081
	SEE_MSR 0xc0000082
	SEE_MSR 0xc0000083
	SEE_MSR 0xc0000084
	SEE_MSR 0xc0000100
	SEE_MSR 0xc0000101
	SEE_MSR 0xc0000102
	SEE_MSR 0x175
	SEE_MSR 0x176
	SEE_MSR 0x402
	xor ecx, ecx
	xgetbv
	stosq
	inc ebx
	mov [ROUNDS], ebx
	; Long enough that every quantum ends somewhere in here, in registers of any kind.
	mov ecx, 20000
.wait:	vxorps ymm3, ymm3, ymm4
	add r8, r9
	dec ecx
	jnz .wait
	fnop				; x87 registers, too, are its own now
	jmp .round

FINISH
