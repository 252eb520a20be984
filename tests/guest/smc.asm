; SPDX-License-Identifier: Apache-2.0
; tests/guest/smc.asm - code that changes: the next instruction, loops, other pages and addresses, copies, shared pages.
%include "lib.inc"

area	equ guest_data + 0x2000		; two pages for code that is written
area2	equ guest_data + 0x3000
pd	equ 0x200000
pt	equ 0x201000
WIN	equ 0x40000000

; Write `mov eax, imm / ret` at an address.
%macro EMIT 2
	mov byte [%1], 0xb8
	mov dword [%1 + 1], %2
	mov byte [%1 + 5], 0xc3
%endmacro

main:
	TEST "the next instruction"
	mov ecx, 100
	xor ebx, ebx
.n1:	mov [.n2 + 1], ecx
.n2:	mov eax, 0
	add ebx, eax
	loop .n1
	EQ ebx, 5050

	TEST "an instruction further on in the block"
	mov byte [.patched], 0x90
	mov byte [.patched + 1], 0x90
	xor eax, eax
	mov byte [.patched], 0x40	; inc eax
	nop
	mov byte [.patched + 1], 0x40
	nop
	lea ebx, [ebx]
.patched: nop
	nop
	EQ eax, 2

	TEST "an opcode of another length"
	mov ecx, 10
	xor edx, edx
.l0:	xor dword [.l1], 0x90909090 ^ 0x0005c283	; add edx, 5 / nops
	mov byte [.l1 + 3], 0x90
.l1:	times 4 nop
	loop .l0
	EQ edx, 25

	TEST "called code rewritten"
	mov ecx, 1000
	xor ebx, ebx
	mov edi, area
.c1:	EMIT edi, ecx
	call edi
	add ebx, eax
	loop .c1
	EQ ebx, 500500

	TEST "copied code"
	mov ecx, 200
	xor ebx, ebx
.m1:	push ecx
	mov esi, .f1
	test cl, 1
	jz .even
	mov esi, .f2
.even:	mov edi, area
	mov ecx, 8
	rep movsb
	mov edi, area
	call edi
	add ebx, eax
	pop ecx
	loop .m1
	EQ ebx, 100 * 3 + 100 * 7
	jmp .copied
.f1:	mov eax, 3
	ret
	times 2 nop
.f2:	mov eax, 7
	ret
	times 2 nop
.copied:

	TEST "rep stosb over itself"
	mov edi, area
	mov byte [edi], 0xf3		; rep stosb: writes nops over what follows
	mov byte [edi + 1], 0xaa
	mov dword [edi + 2], 0x0b0f0b0f	; ud2 ud2
	mov byte [edi + 6], 0xc3
	mov al, 0x90
	mov ecx, 4
	mov edx, edi
	add edi, 2
	call edx
	EQ ecx, 0

	TEST "data beside code"
	EMIT area, 0x1234
	mov ecx, 2000
	xor ebx, ebx
.d1:	mov [area + 0x100], ecx
	inc dword [area + 0x104]
	mov edi, area
	call edi
	add ebx, eax
	loop .d1
	EQ ebx, 2000 * 0x1234
	EQ [area + 0x100], 1

	TEST "an instruction across two pages"
	mov ecx, 100
	xor ebx, ebx
.x1:	EMIT area2 - 3, ecx
	mov edi, area2 - 3
	call edi
	add ebx, eax
	mov byte [area2 - 1], 1		; only the first page
	call edi
	sub ebx, eax
	loop .x1
	mov edx, ebx
	EMIT area2 - 3, 0x11223344
	mov edi, area2 - 3
	call edi
	EQ eax, 0x11223344
	mov word [area2], 0x5566		; only the second page
	call edi
	EQ eax, 0x55663344

	TEST "through another address"
	mov edi, pd
	xor eax, eax
	mov ecx, 0x2000 / 4
	rep stosd
	mov dword [pd], 0x83		; 4 MiB identity
	mov dword [pd + (WIN >> 22) * 4], pt | 3
	mov eax, area
	or eax, 3
	mov [pt], eax
	add eax, 0x1000
	mov [pt + 4], eax
	mov eax, cr4
	or eax, 0x10
	mov cr4, eax
	mov eax, pd
	mov cr3, eax
	mov eax, cr0
	or eax, 0x80000000
	mov cr0, eax
	mov ecx, 300
	xor ebx, ebx
.a1:	mov edi, WIN
	EMIT edi, ecx
	mov edi, area
	call edi
	add ebx, eax
	mov dword [area + 1], 5
	mov edi, WIN
	call edi
	add ebx, eax
	loop .a1
	EQ ebx, 300 * 301 / 2 + 1500

	TEST "another page at the same address"
	EMIT area, 1
	EMIT area2, 2
	mov ecx, 50
	xor ebx, ebx
.p1:	mov eax, [pt]
	xchg eax, [pt + 4]
	mov [pt], eax
	invlpg [WIN]
	invlpg [WIN + 0x1000]
	mov edi, WIN
	call edi
	imul ebx, ebx, 3
	add ebx, eax
	loop .p1
	xor edx, edx
	mov ecx, 50
	mov esi, 2			; the same, worked out
.p2:	imul edx, edx, 3
	add edx, esi
	xor esi, 3
	loop .p2
	EQ ebx, edx
	mov ecx, 50			; by CR3 instead
.p3:	mov eax, [pt]
	xchg eax, [pt + 4]
	mov [pt], eax
	mov eax, cr3
	mov cr3, eax
	mov edi, WIN
	call edi
	EQ eax, esi
	xor esi, 3
	loop .p3

	TEST "code that loses its page"
	mov dword [pt], 0
	invlpg [WIN]
	mov edi, WIN
	mov dword [ex_vec], -1
	mov dword [resume], .gone
	call edi
.gone:	EQ [ex_vec], 14
	EQ [ex_eip], WIN
	add esp, 4
	mov eax, cr0
	and eax, 0x7fffffff
	mov cr0, eax

	TEST "a locked patch and an exchange"
	EMIT area, 0
	mov edi, area
	mov ecx, 100
	xor ebx, ebx
.k1:	lock inc dword [area + 1]
	call edi
	add ebx, eax
	lock inc dword [area + 1]
	call edi
	add ebx, eax
	mov eax, 3
	xchg eax, [area + 1]
	call edi
	add ebx, eax
	mov dword [area + 1], 0
	loop .k1
	EQ ebx, 100 * (1 + 2 + 3)

	TEST "a stack in the code's page"
	EMIT area, 0x77
	mov [saved_esp], esp
	mov esp, area + 0x800
	mov ecx, 500
.s1:	push ecx
	mov edi, area
	call edi
	pop edx
	cmp edx, ecx
	jne .s2
	loop .s1
.s2:	mov esp, [saved_esp]
	EQ ecx, 0
	EQ eax, 0x77

	TEST "SSE and string stores over code"
	mov eax, cr4
	or eax, 0x600
	mov cr4, eax
	EMIT area, 1
	EMIT area + 16, 2
	mov edi, area
	movups xmm0, [area]
	movups xmm1, [area + 16]
	mov ecx, 20
	xor ebx, ebx
.v1:	movups [area], xmm1
	call edi
	add ebx, eax
	movups [area], xmm0
	call edi
	add ebx, eax
	loop .v1
	EQ ebx, 60

	TEST "a thousand pages of code"
	mov edi, 0x400000
	mov ecx, 1000
.g1:	EMIT edi, ecx
	add edi, 0x1000
	loop .g1
	mov edx, 3
.g2:	mov edi, 0x400000
	mov ecx, 1000
	xor ebx, ebx
.g3:	call edi
	add ebx, eax
	add edi, 0x1000
	loop .g3
	EQ ebx, 500500
	dec edx
	jnz .g2
	ret
saved_esp: dd 0
FINISH
