; SPDX-License-Identifier: Apache-2.0
; tests/leak/hostile.asm - a guest that tries everything: every port, MSR numbers (-DFULL: all 2^32), every hole of the
; address space, wild bytes as code, page tables that point everywhere. It must come to its own end.
%include "lib.inc"
%include "long.inc"

UPAGE	equ 0x1c00000		; the only page that user code needs; everything else is out of its reach
UDATA	equ 0x1c01000
WINDOW	equ 0x1e00000		; where wild mappings are looked through
%ifdef FULL
WILD	equ 3000000
TABLES_TRIED equ 1000000
%else
WILD	equ 30000
TABLES_TRIED equ 30000
%endif

main64:
	rdtsc
	or eax, 1
	mov [seed], eax

	TEST64 "every port is read and written"
	xor r12d, r12d
.port:	mov edx, r12d
	in al, dx
	in ax, dx
	in eax, dx
	mov edi, ports_not_written
.skip:	movzx ecx, word [rdi]
	add edi, 2
	cmp ecx, 0xffff
	je .write
	sub ecx, r12d			; an access of four bytes reaches it from up to three below
	jb .skip
	cmp ecx, 3
	ja .skip
	jmp .next
.write:	xor eax, eax
	out dx, al
	out dx, ax
	out dx, eax
	dec eax
	out dx, al
	out dx, ax
	out dx, eax
.next:	inc r12d
	cmp r12d, 0x10000
	jb .port
	EQ64 r12, 0x10000

	TEST64 "MSR numbers: read, and written with what was read, or with zero"
	GATE64 13, msr_refused, 0x8e, 0
	xor r11d, r11d
	mov rbp, rsp
	mov r13, ranges
.range:	mov r12, [r13]
	mov r14, [r13 + 8]
	cmp r12, r14
	je .msrs
.msr:	mov ecx, r12d
	mov ebx, .unread
	rdmsr
	cmp ecx, 0x10			; time goes on: not set back
	je .next_msr
	cmp ecx, 0x3b
	je .next_msr
	cmp ecx, 0x830			; no interrupts to itself
	je .next_msr
	jmp .write_msr
.unread: xor eax, eax			; some can only be written
	xor edx, edx
.write_msr:
	mov ebx, .next_msr
	wrmsr
.next_msr:
	inc r12
	cmp r12, r14
	jb .msr
	add r13, 16
	jmp .range
.msrs:	call make_idt64
	cmp r11, 2000
	setae al
	movzx eax, al
	EQ64 rax, 1

	TEST64 "every hole of the address space is looked at"
	; 1 GiB at a time through 2 MiB pages of one page directory: 3 GiB to 4 GiB, and above what there is of RAM
	mov r12, 0xc0000000
.hole:	mov edi, PT
	mov rax, r12
	or eax, 0x83
	mov ecx, 512
.map:	mov [rdi], rax
	add rax, 0x200000
	add edi, 8
	loop .map
	mov dword [PDPT + 8], PT | 3
	mov rax, cr3
	mov cr3, rax
	mov rdi, 0x40000000
	mov ecx, 0x40000000 >> 12
.look:	mov al, [rdi]
	mov rax, [rdi + 0xff8]
	add rdi, 0x1000
	dec ecx
	jnz .look
	mov rax, 0x40000000
	add r12, rax
	mov rax, 0x180000000
	cmp r12, rax
	jb .hole
	EQ64 rcx, 0

	TEST64 "page tables that point everywhere"
	xor r12d, r12d
.entry:	call random
	mov rdi, rax
	call random
	shl rax, 32
	or rax, rdi
	mov [PD + (WINDOW >> 21) * 8], rax
	invlpg [WINDOW]
	mov qword [x_resume], .missed
	mov eax, r12d
	and eax, 0x1ffff8
	mov rcx, [WINDOW + rax]
.missed: mov qword [x_resume], 0
	inc r12d
	cmp r12d, TABLES_TRIED
	jb .entry
	mov qword [PD + (WINDOW >> 21) * 8], WINDOW | 0x83
	mov rax, cr3
	mov cr3, rax
	EQ64 r12, TABLES_TRIED

	TEST64 "wild bytes as user code"
	call user_pages
	xor r12d, r12d
.wild:	call wild
	inc r12d
	cmp r12d, WILD
	jb .wild
	call make_idt64
	EQ64 r12, WILD
	ret

; No IRET: millions of times a second. rbx: where to go on, rbp: rsp there.
msr_refused:
	inc r11
	mov rsp, rbp
	jmp rbx

; PCI's reset, ACPI's sleep and reset, the 8042's and port 92h's reset, panic, debug exit, our own console and IRQ masks.
ports_not_written: dw 0xcf9, 0xcf8, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x606, 0x607, 0x64, 0x60, 0x92, 0x505, 0xf4
	dw 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x20, 0x21, 0xa0, 0xa1, 0xffff
align 8
%ifdef FULL
ranges:	dq 0, 0x100000000
%else
ranges:	dq 0, 0x3000, 0x17fff00, 0x1800100, 0x40000000, 0x40000100, 0x4b564d02, 0x4b564e00, 0x7fffff00, 0x80000100
	dq 0xc0000000, 0xc0000080, 0xc0000085, 0xc0000100, 0xc0000103, 0xc0002000, 0xc0010000, 0xc0012000, 0xffffff00, 0x100000000
%endif
	dq 0, 0
seed:	dd 0

random:	mov eax, [seed]			; xorshift
	mov ecx, eax
	shl ecx, 13
	xor eax, ecx
	mov ecx, eax
	shr ecx, 17
	xor eax, ecx
	mov ecx, eax
	shl ecx, 5
	xor eax, ecx
	mov [seed], eax
	ret

user_pages:
	mov edi, PD
	mov ecx, 16
.next:	and dword [rdi], ~4
	add edi, 8
	loop .next
	mov dword [PD + (UPAGE >> 21) * 8], PT + 0x1000 | 7
	mov edi, PT + 0x1000
	xor eax, eax
	mov ecx, 1024
	rep stosd
	mov dword [PT + 0x1000], UPAGE | 7
	mov dword [PT + 0x1008], UDATA | 7
	mov rax, cr3
	mov cr3, rax
	mov word [tss + 0x66], 0xffff	; no ports for user code
%assign v 0
%rep 20
	GATE64 v, wild.out, 0x8e, 0
%assign v v + 1
%endrep
	ret

; One instruction of random bytes at UPAGE: TF bounds it. Whatever happens comes out at .out.
wild:	push rbp
	push r12
	mov [x_user], rsp
	mov r8d, UPAGE
.fill:	call random
	mov [r8], eax
	add r8d, 4
	cmp r8d, UPAGE + 32
	jb .fill
	push SEL_UDATA
	push UDATA + 0x800
	push 0x102			; TF
	push SEL_UCODE64
	push UPAGE
	mov ebx, UDATA + 0x100
	mov esi, ebx
	mov edi, ebx
	xor eax, eax
	mov ecx, 3
	iretq
.out:	mov rsp, [x_user]
	cld
	xor eax, eax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov dr7, rax
	pop r12
	pop rbp
	ret

FINISH
