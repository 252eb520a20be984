; SPDX-License-Identifier: Apache-2.0
; tests/guest/long.asm - 64-bit and compatibility mode: frames, IST, canonical addresses, IRETQ, SYSCALL, SWAPGS.
%include "lib.inc"
%include "long.inc"

NONCANON equ 0x0000800000000000
S0	equ SEL_FREE
GATE	equ SEL_FREE + 16
%ifdef QEMU
%define IDTERR(vec) ((vec) * 16 + 2)		; QEMU counts in 16-byte entries
EXT	equ 0
RF	equ 0
%else
%define IDTERR(vec) ((vec) * 8 + 2)
EXT	equ 1
RF	equ 0x10000
%endif

%macro SETDESC64 2
	mov rax, %2
	mov [gdt + %1], rax
%endmacro

main64:
	TEST64 "exceptions"
	xor ecx, ecx
	FAULTS64 0, 0, div ecx
	TRAPS64 3, int3
	FAULTS64 6, 0, ud2
	EQ64 [x_cs], SEL_CODE64
	EQ64 [x_ss], 0
	lea rbx, [rsp]
	EQ64 [x_rsp], rbx
	mov rax, [x_flags]
	and eax, 0x10000
	EQ64 rax, RF
	FAULTS64 13, IDTERR(0x40), int 0x40
	FAULTS64 6, 0, db 0x06			; push es
	FAULTS64 6, 0, db 0x60			; pusha
	FAULTS64 6, 0, db 0xce			; into
	FAULTS64 6, 0, db 0x27			; daa
	FAULTS64 6, 0, db 0xd4, 10		; aam
	FAULTS64 6, 0, db 0x9a, 0, 0, 0, 0, 8, 0 ; call far
	FAULTS64 6, 0, db 0xea, 0, 0, 0, 0, 8, 0
	FAULTS64 6, 0, db 0x0f, 0x34		; sysenter: AMD
	FAULTS64 6, 0, db 0x82, 0xc0, 1
	FAULTS64 6, 0, db 0xc4, 0x00		; les

	TEST64 "canonical addresses"
	mov rbx, NONCANON
	FAULTS64 13, 0, mov rax, [rbx]
	FAULTS64 13, 0, mov [rbx], rax
%ifndef QEMU			; which jumps first, and knows no #SS here
	mov qword [x_vec], -1
	mov qword [x_resume], .jumped
	jmp rbx				; the manuals blame JMP, some processors the fetch after it
.jumped: EQ64 [x_vec], 13
	EQ64 [x_err], 0
	mov rbp, NONCANON
	FAULTS64 12, 0, mov rax, [rbp]
	mov rsi, rsp
	GATE64 12, (stubs64 + 12 * 16), 0x8e, 1	; on a stack of its own
	mov rsp, NONCANON + 8
	mov qword [x_vec], -1
	mov qword [x_resume], .pushed
	push rax
.pushed: mov rsp, rsi
	EQ64 [x_vec], 12
	EQ64 [x_err], 0
%endif
%ifndef QEMU
	mov rbx, 0x00007ffffffffffc
	FAULTS64 13, 0, mov rax, [rbx]
%endif
	mov rbx, NONCANON
	FAULTS64 13, 0, lgdt [rbx]
	mov rcx, 0xc0000100
	xor eax, eax
	mov edx, 0x8000
%ifndef QEMU
	FAULTS64 13, 0, wrmsr
%endif

	TEST64 "IST and stack alignment"
	GATE64 6, (stubs64 + 6 * 16), 0x8e, 2
	FAULTS64 6, 0, ud2
	EQ64 [x_at], IST2 - 64
	GATE64 6, (stubs64 + 6 * 16), 0x8e, 0
	mov rbx, rsp
	sub rsp, 3
	FAULTS64 6, 0, ud2
	lea rcx, [rbx - 3]
	mov rsp, rbx
	EQ64 [x_rsp], rcx
	and rcx, ~15
	sub rcx, 64
	EQ64 [x_at], rcx

	TEST64 "gates"
	SETDESC64 S0, 0x00209a0000000000 & ~(1 << 47)	; not present
	mov word [IDT64 + 0x41 * 16 + 2], S0
	mov word [IDT64 + 0x41 * 16 + 4], 0x8e00
	FAULTS64 11, S0, int 0x41
	mov word [IDT64 + 0x41 * 16 + 2], SEL_CODE
	FAULTS64 13, SEL_CODE, int 0x41		; 32-bit code
	mov word [IDT64 + 0x41 * 16 + 2], SEL_CODE64
	mov word [IDT64 + 0x41 * 16 + 4], 0x8600	; a 16-bit gate
	FAULTS64 13, IDTERR(0x41), int 0x41
	mov word [IDT64 + 0x41 * 16 + 4], 0x8500
	FAULTS64 13, IDTERR(0x41), int 0x41
	mov word [IDT64 + 0x41 * 16 + 4], 0x0e00
	FAULTS64 11, IDTERR(0x41), int 0x41
	mov word [IDT64 + 6 * 16 + 4], 0x0e00		; #UD's own: #NP with EXT
	mov qword [x_resume], .np
	ud2
.np:	EQ64 [x_vec], 11
	EQ64 [x_err], IDTERR(6) + EXT
	mov word [IDT64 + 6 * 16 + 4], 0x8e00

	TEST64 "double fault"
	GATE64 8, .double, 0x8e, 1
	mov word [IDT64 + 13 * 16 + 4], 0x0e00
	mov rsi, rsp
	xor edi, edi
	mov rbx, NONCANON
	mov rax, [rbx]
.double:
	pop rdi
	pop rcx
	mov rax, rsp
	mov rsp, rsi
	EQ64 rdi, 0
	EQ64 rax, IST1 - 32
	EQ64 rcx, (.double - 3)
	mov word [IDT64 + 13 * 16 + 4], 0x8e00
	GATE64 8, (stubs64 + 8 * 16), 0x8e, 0

	TEST64 "IRETQ forms"
	mov rbx, rsp
	push 0
	push rbx
	pushfq
	push SEL_CODE64
	push .null_ss
	iretq
.null_ss:
	mov ax, ss
	movzx eax, ax
	EQ64 rax, 0
	push SEL_DATA
	push rbx
	pushfq
	push SEL_CODE64
	push .with_ss
	iretq
.with_ss:
	mov ax, ss
	movzx eax, ax
	EQ64 rax, SEL_DATA
	push 3
	push rbx
	push 2
	push SEL_UCODE64
	push .null_ss
	FAULTS64 13, 0, iretq			; null SS for CPL 3
	mov rsp, rbx
	push SEL_DATA
	push rbx
	push 2
	push SEL_UCODE64
	push .null_ss
	FAULTS64 13, SEL_DATA, iretq		; SS of the wrong level
	mov rsp, rbx
	push 0
	push rbx
	push 2
	push SEL_CODE64
	mov rax, NONCANON
	push rax
%ifndef QEMU
	FAULTS64 13, 0, iretq
%endif
	mov rsp, rbx
	push 0
	push rbx
	push 2
	push SEL_DATA
	push .null_ss
	FAULTS64 13, SEL_DATA, iretq
	mov rsp, rbx
	pushfq
	or dword [rsp], 0x4000
	popfq
	FAULTS64 13, 0, iretq			; NT
	pushfq
	and dword [rsp], ~0x4000
	popfq
	xor eax, eax
	mov ss, ax

	TEST64 "segments"
	mov ax, SEL_UDATA
	mov ds, ax
	mov es, ax
	mov fs, ax
%ifndef QEMU
	mov ax, 3
	FAULTS64 13, 0, mov ss, ax		; RPL of a null SS
%endif
	mov ax, 0x3f8
	FAULTS64 13, 0x3f8, mov fs, ax
	mov ecx, 0xc0000100			; FS base
	mov eax, 0x5678
	mov edx, 0xffff8000
	wrmsr
	rdmsr
	EQ64 rdx, 0xffff8000
	mov ax, SEL_UDATA			; a load sets the base from the descriptor
	mov fs, ax
	rdmsr
	EQ64 rax, 0
	EQ64 rdx, 0
	mov eax, header
	wrmsr
	mov eax, [fs:0]
	EQ64 rax, 0x464c457f
	mov eax, [gs:header]
	EQ64 rax, 0x464c457f
	mov eax, [ds:header]			; limits and null do not matter
	EQ64 rax, 0x464c457f

	TEST64 "SWAPGS"
	mov ecx, 0xc0000102
	mov eax, header
	xor edx, edx
	wrmsr
	swapgs
	mov eax, [gs:0]
	EQ64 rax, 0x464c457f
	swapgs
	mov ecx, 0xc0000101
	rdmsr
	EQ64 rax, 0

	TEST64 "ring 3"
	mov rax, user
	call ring3_64

	TEST64 "SYSCALL and SYSRET"
	FAULTS64 6, 0, syscall			; EFER.SCE is off
	FAULTS64 6, 0, o64 sysret
	mov ecx, 0xc0000080
	rdmsr
	or eax, 1
	wrmsr
	mov ecx, 0xc0000082
	mov rax, on_syscall
	mov rdx, rax
	shr rdx, 32
	wrmsr
	inc ecx
	mov rax, on_syscall32
	wrmsr
	inc ecx
	mov eax, 0x40300			; AC, IF, TF
	xor edx, edx
	wrmsr
	mov rax, user_syscall
	call ring3_64

	TEST64 "SYSRET to a bad address"
	mov qword [x_vec], -1
	mov [x_user], rsp
	GATE64 13, .bad, 0x8e, 0
	mov rcx, NONCANON
	mov r11, 2
	mov rbx, rsp
	mov rsp, STACK64U
	o64 sysret
.bad:	pop rdx					; error code
	pop rcx
	pop rdi					; CS: AMD faults at CPL 3, behind SYSRET
	mov rsp, rbx
	xor eax, eax
	mov ss, ax
	EQ64 rdx, 0
%ifndef QEMU
	EQ64 rcx, NONCANON
	EQ64 rdi, SEL_UCODE64
%endif
	GATE64 13, (stubs64 + 13 * 16), 0x8e, 0

	TEST64 "compatibility mode"
	mov [x_user], rsp
	GATE64 0x31, .compat_back, 0xee, 0
	push SEL_UDATA
	push stack3
	push 2
	push SEL_UCODE
	push user32
	iretq
.compat_back:
	mov rax, [rsp + 8]
	mov rcx, [rsp + 24]
	mov rsp, [x_user]
	EQ64 rax, SEL_UCODE
	EQ64 rcx, stack3
	xor eax, eax
	mov ss, ax
	mov ds, ax
	mov es, ax

	TEST64 "call gate"
	mov qword [gdt + GATE], 0
	mov qword [gdt + GATE + 8], 0
	mov eax, gate_target
	mov [gdt + GATE], ax
	mov word [gdt + GATE + 2], SEL_CODE64
	mov word [gdt + GATE + 4], 0xec00
	shr eax, 16
	mov [gdt + GATE + 6], ax
	call dword far [gate_ptr]
	EQ64 rbx, 0x6666
	mov rax, user_gate
	call ring3_64
	mov byte [gdt + GATE + 13], 0x0c	; the second half may have no type
	FAULTS64 13, GATE, call dword far [gate_ptr]
	mov byte [gdt + GATE + 13], 0
	mov word [gdt + GATE + 2], SEL_CODE
	FAULTS64 13, SEL_CODE, call dword far [gate_ptr]

	TEST64 "INT in 64-bit mode keeps what it should"
	GATE64 0x32, .int, 0x8f, 0
	push 0x246
	popfq
	stc
	std
	int 0x32
	cld
	EQ64 rdx, 0x647
	ret
.int:	mov rdx, [rsp + 16]
	iretq

gate_ptr: dd 0
	dw GATE | 3

gate_target:
	mov rbx, 0x6666
	mov ax, ss
	movzx r12d, ax
	mov ax, cs
	movzx r13d, ax
	mov r14, [rsp + 16]
	mov r15, [rsp + 8]
	retfq

user_gate:
	call dword far [gate_ptr]
	EQ64 rbx, 0x6666
	EQ64 r12, 0				; a null SS
	EQ64 r13, SEL_CODE64
	EQ64 r14, STACK64U
	EQ64 r15, SEL_UCODE64
	int 0x30

on_syscall:
	mov rsi, rsp
	mov rsp, IST2
	mov [x_gs], rcx
	pushfq
	pop rbx
	mov ax, cs
	movzx r12d, ax
	mov ax, ss
	movzx r13d, ax
	mov rsp, rsi
	cmp rdi, 1
	je .compat
	o64 sysret
.compat:
	mov ecx, .user32
	o32 sysret
bits 32
.user32:
	mov ax, cs
	movzx edi, ax
	mov ecx, 0x55
	syscall
bits 64
on_syscall32:
	mov r14, rcx
	mov ax, cs
	movzx r15d, ax
	mov rcx, user_syscall.back32
	o64 sysret

user_syscall:
	xor edi, edi
	push 0x40ed7
	popfq
	syscall
.back:	pushfq
	pop rax
	and eax, 0x40ed7
	EQ64 rax, 0x40cd7			; IF can't be set at CPL 3
	push 2
	popfq
	EQ64 [x_gs], .back
	EQ64 rcx, .back
	and ebx, 0x40300
	EQ64 rbx, 0				; masked
	EQ64 r12, SEL_CODE64
	EQ64 r13, SEL_CODE64 + 8
	mov ax, cs
	movzx eax, ax
	EQ64 rax, SEL_UCODE64
	mov ax, ss
	movzx eax, ax
	EQ64 rax, SEL_UDATA
	mov edi, 1
	syscall
.back32: EQ64 r14, (on_syscall32)		; the address behind the 32-bit SYSCALL
	EQ64 rdi, SEL_UCODE
	EQ64 r15, SEL_CODE64
	int 0x30

user:
	FAULTS64 13, 0, cli
	FAULTS64 13, 0, hlt
	FAULTS64 13, 0, swapgs
	FAULTS64 13, 0, rdmsr
	FAULTS64 13, 0, mov rax, cr8
	FAULTS64 6, 0, o64 sysret		; EFER.SCE comes first
	FAULTS64 13, 0, invlpg [0]
	FAULTS64 13, IDTERR(14), int 14
	xor eax, eax
	FAULTS64 13, 0, mov ss, ax
	EQ64 [x_ss], SEL_UDATA
	EQ64 [x_cs], SEL_UCODE64
	EQ64 [x_at], STACK64I - 64
	FAULTS64 14, 4, mov rax, [0x40000000]
	EQ64 [x_cr2], 0x40000000
	FAULTS64 14, 6, mov [0x40000000], rax
	mov rbx, 0xffff800000000000
	FAULTS64 14, 4, mov rax, [rbx]
	EQ64 [x_cr2], rbx
	int 0x30

bits 32
user32:
	mov ax, SEL_UDATA
	mov ds, ax
	mov es, ax
	mov eax, 1
	inc eax					; 0x40: a REX prefix in 64-bit mode
	EQ eax, 2
	push es					; legal here
	pop es
	aam
	pusha
	popa
	EQ [header], 0x464c457f
	mov edx, 0xffffffff
	lea eax, [edx + 2]			; 32-bit wrap
	EQ eax, 1
	int 0x31
bits 64
FINISH
