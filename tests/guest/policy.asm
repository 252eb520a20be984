; SPDX-License-Identifier: Apache-2.0
; tests/guest/policy.asm - what a kernel rootkit would do first, under the shipped profile `hardened`:
; all of it works before user space has run, none of it afterwards.
;
; options: --policy hardened
%include "lib.inc"
%include "long.inc"

UPAGE	equ 0x800000		; the only user page: SMEP and SMAP are on
CR0_WP	equ 1 << 16
CR4_UMIP equ 1 << 11
CR4_SMEP equ 1 << 20
CR4_SMAP equ 1 << 21
GUARDS	equ CR4_UMIP | CR4_SMEP | CR4_SMAP
LSTAR	equ 0xc0000082
EFER	equ 0xc0000080

main64:
	call own_pages
	TEST64 "before user space nothing is refused"
	mov rax, cr4
	or eax, GUARDS
	mov cr4, rax
	and eax, ~GUARDS
	mov cr4, rax
	mov rcx, cr4
	EQ64 rcx, rax
	or eax, GUARDS
	mov cr4, rax
	mov rax, cr0
	and eax, ~CR0_WP
	mov cr0, rax
	or eax, CR0_WP
	mov cr0, rax
	lidt [other_idtr]
	lidt [idtr64]
	mov ecx, LSTAR
	mov eax, 0x2000
	xor edx, edx
	wrmsr
	mov eax, 0x1000
	wrmsr

	TEST64 "user space runs"
	call user
	EQ64 [x_user_ran], 1

	TEST64 "CR0.WP can't be cleared"
	mov rax, cr0
	and eax, ~CR0_WP
	FAULTS64 13, 0, mov cr0, rax
	mov rcx, cr0
	or eax, CR0_WP
	EQ64 rcx, rax

	TEST64 "CR0.TS can be set and cleared"
	mov rax, cr0
	or eax, 8
	mov cr0, rax
	clts
	mov rcx, cr0
	and eax, ~8
	EQ64 rcx, rax

%macro KEEPS 1
	mov rax, cr4
	mov rbx, rax
	and eax, ~(%1)
	FAULTS64 13, 0, mov cr4, rax
	mov rcx, cr4
	EQ64 rcx, rbx
%endmacro
	TEST64 "CR4.SMEP, SMAP, UMIP can't be cleared, alone or together"
	KEEPS CR4_SMEP
	KEEPS CR4_SMAP
	KEEPS CR4_UMIP
	KEEPS GUARDS

	TEST64 "other bits of CR4 may change"
	mov rax, cr4
	mov rbx, rax
	or eax, 4			; TSD
	mov cr4, rax
	mov rcx, cr4
	EQ64 rcx, rax
	mov cr4, rbx

	TEST64 "LSTAR can't be rewritten, but with its own value"
	mov ecx, LSTAR
	mov eax, 0x2000
	xor edx, edx
	FAULTS64 13, 0, wrmsr
	rdmsr
	EQ64 rax, 0x1000
	mov eax, 0x1000
	wrmsr

	TEST64 "EFER.NXE can't be cleared"
	mov ecx, EFER
	rdmsr
	mov ebx, eax
	and eax, ~0x800
	FAULTS64 13, 0, wrmsr
	rdmsr
	EQ64 rax, rbx

	TEST64 "IDTR can't be moved, shortened or grown"
	FAULTS64 13, 0, lidt [other_idtr]
	FAULTS64 13, 0, lidt [short_idtr]
	lidt [idtr64]
	sidt [seen_idtr]
	EQ64 [seen_idtr + 2], IDT64

	TEST64 "the APIC's page can't be moved"
	mov ecx, 0x1b
	rdmsr
	mov ebx, eax
	mov eax, 0x400000 | 0x900
	FAULTS64 13, 0, wrmsr
	rdmsr
	EQ64 rax, rbx

	TEST64 "INIT to itself changes nothing"
	mov edi, 0xfee00000
	mov dword [rdi + 0x310], 0
	mov dword [rdi + 0x300], 0x4500	; INIT, assert, physical: APIC 0
	mov ecx, 1000
.wait:	loop .wait
	mov rax, cr0
	shr eax, 31
	EQ64 rax, 1
	ret

; Supervisor pages but for UPAGE; the APIC's page beside them.
own_pages:
	mov edi, PD
	mov ecx, 16
.next:	and dword [rdi], ~4
	add edi, 8
	loop .next
	or dword [PD + (UPAGE >> 21) * 8], 4
	mov dword [PDPT + 3 * 8], (PT | 7)
	mov edi, PT			; 3 GiB to 4 GiB: only the 2 MiB page of the APIC
	xor eax, eax
	mov ecx, 1024
	rep stosd
	mov dword [PT + (0xfee00000 >> 21 & 511) * 8], 0xfee00000 | 0x83
	mov rax, cr3
	mov cr3, rax
	mov rsi, user_code
	mov edi, UPAGE
	mov ecx, user_end - user_code
	rep movsb
	ret

user:	mov [x_user], rsp
	GATE64 0x30, .back, 0xee, 0
	push SEL_UDATA
	push UPAGE + 0x1000
	push 2
	push SEL_UCODE64
	push UPAGE
	iretq
.back:	mov rsp, [x_user]
	xor eax, eax
	mov ss, ax
	mov qword [x_user_ran], 1
	ret
user_code:
	int 0x30
user_end:

align 8
x_user_ran: dq 0
other_idtr: dw 0xfff
	dq IDT64 + 8
short_idtr: dw 0x7ff
	dq IDT64
seen_idtr: dw 0
	dq 0

FINISH
