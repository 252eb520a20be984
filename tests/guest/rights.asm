; SPDX-License-Identifier: Apache-2.0
; tests/guest/rights.asm - page rights in long mode: SMEP, SMAP, NX, WP, reserved bits, PCID, INVPCID, A and D.
%include "lib.inc"
%include "long.inc"

WIN	equ 0x40000000
PDW	equ PT			; page directory and table of the window
PTW	equ PT + 0x1000
PTB	equ PT + 0x2000		; a second address space: its own tables
PDB	equ PT + 0x3000
PDPTB	equ PT + 0x4000
PML4B	equ PT + 0x5000
FRAME	equ 0x600000
SUPERVISOR equ 0x83

P equ 1
W equ 2
U equ 4
A equ 0x20
D equ 0x40

%ifdef QEMU
RSVD	equ 8
%else
RSVD	equ 9
%endif

%macro MAP 2		; page of the window, flags
	mov rax, (FRAME + (%1) * 0x1000) | (%2)
	mov [PTW + (%1) * 8], rax
	invlpg [WIN + (%1) * 0x1000]
%endmacro
%macro PF 3+		; error code, CR2, instruction
	FAULTS64 14, %1, %3
	EQ64 [x_cr2], %2
%endmacro
; Fetch from a page: a call that faults there.
%macro PF_EXEC 2	; error code, address
	mov rcx, %2
	mov qword [x_vec], -1
	mov qword [x_resume], %%after
	call rcx
%%after:
	add rsp, 8
	EQ64 [x_vec], 14
	EQ64 [x_err], %1
	EQ64 [x_rip], %2
	mov qword [x_resume], 0
%endmacro
; The same instruction at CPL 3, from the window's page 0; rbx is its address operand.
%macro USER_PF 3	; error code or -1 for none, address, offset of the code in user_code
	mov rbx, %2
	mov rax, WIN + %3 - user_code
	call user
	EQ64 [x_err], %1
%endmacro

main64:
	mov ecx, 16			; the identity map becomes the supervisor's
	mov rdi, PD
.super:	mov byte [rdi], SUPERVISOR
	add rdi, 8
	loop .super
	mov qword [PDPT + 8], PDW | 7
	mov qword [PDW], PTW | 7
	mov rax, cr3
	mov cr3, rax
	mov rsi, user_code
	mov rdi, FRAME
	mov ecx, user_end - user_code
	rep movsb
	MAP 0, P | U
	MAP 1, P | W | U
	MAP 2, P | W
	MAP 3, P | W | U
	mov byte [FRAME + 0x3000], 0xc3
	mov byte [FRAME + 0x2000], 0xc3

	TEST64 "user and supervisor"
	USER_PF -1, WIN + 0x1000, u_read
	USER_PF -1, WIN + 0x1000, u_write
	USER_PF 5, WIN + 0x2000, u_read
	USER_PF 7, WIN + 0x2000, u_write
	USER_PF 5, 0x100000, u_read
	USER_PF 7, WIN, u_write			; read only
	mov eax, [WIN + 0x1000]
	PF 3, WIN, mov [WIN], eax		; CR0.WP
	mov rax, cr0
	and eax, ~0x10000
	mov cr0, rax
	mov eax, [WIN + 0x80]
	mov [WIN + 0x80], eax
	mov rax, cr0
	or eax, 0x10000
	mov cr0, rax

	TEST64 "NX"
	mov rcx, WIN + 0x2000
	call rcx
	mov rax, 0x8000000000000000 | (FRAME + 0x2000) | P | W
	mov [PTW + 16], rax
	invlpg [WIN + 0x2000]
	PF_EXEC 0x11, WIN + 0x2000
	mov eax, [WIN + 0x2000]			; reading is fine
	mov rax, 0x8000000000000000 | PTW | 7	; NX of a directory entry
	MAP 2, P | W
	mov rax, 0x8000000000000000 | PTW | 7
	mov [PDW], rax
	mov rax, cr3
	mov cr3, rax
	PF_EXEC 0x11, WIN + 0x2000
	mov qword [PDW], PTW | 7
	mov rax, cr3
	mov cr3, rax

	TEST64 "SMEP"
	mov rcx, WIN + 0x3000
	call rcx
	mov rax, cr4
	or eax, 1 << 20
	mov cr4, rax
	PF_EXEC 0x11, WIN + 0x3000
	mov eax, [WIN + 0x3000]
	and qword [PDW], ~U			; one supervisor level makes it the supervisor's
	mov rax, cr3
	mov cr3, rax
	mov rcx, WIN + 0x3000
	call rcx
	or qword [PDW], U
	mov rax, cr4
	and eax, ~(1 << 20)
	mov cr4, rax

	TEST64 "SMAP"
	mov rax, cr4
	or eax, 1 << 21
	mov cr4, rax
	PF 1, WIN + 0x1000, mov eax, [WIN + 0x1000]
	PF 3, WIN + 0x1000, mov [WIN + 0x1000], eax
	stac
	mov eax, [WIN + 0x1000]
	mov [WIN + 0x1000], eax
	clac
	PF 1, WIN + 0x1000, mov eax, [WIN + 0x1000]
	pushfq
	or dword [rsp], 0x40000
	popfq
	mov eax, [WIN + 0x1000]
	pushfq
	and dword [rsp], ~0x40000
	popfq
	PF 1, WIN + 0x1000, mov eax, [WIN + 0x1000]
	mov eax, [WIN + 0x2000]			; the supervisor's own
	USER_PF -1, WIN + 0x1000, u_read
	USER_PF -1, WIN + 0x1000, u_stac	; a fault: but see below
	mov rcx, WIN + 0x3000			; execution is SMEP's matter
	call rcx
%ifndef QEMU
	mov rax, (0x82 << 40) | ((WIN & 0xffffff) + 0x1000) << 16 | 0xff | (WIN >> 24) << 56
	mov [gdt + SEL_FREE], rax		; implicit accesses ignore AC: an LDT on a user page
	mov qword [gdt + SEL_FREE + 8], 0
	mov ax, SEL_FREE
	lldt ax
	stac
	mov ax, 0xc
	PF 1, WIN + 0x1008, mov fs, ax
	xor eax, eax
	lldt ax
%endif
	clac
	mov rax, cr4
	and eax, ~(1 << 21)
	mov cr4, rax

	TEST64 "accessed and dirty at every level"
	mov qword [PML4], PDPT | 7
	mov qword [PDPT + 8], PDW | 7
	mov qword [PDW], PTW | 7
	MAP 4, P | W
	mov rax, cr3
	mov cr3, rax
	mov eax, [WIN + 0x4000]
	EQ64 [PML4], PDPT | 7 | A
	EQ64 [PDPT + 8], PDW | 7 | A
	EQ64 [PDW], PTW | 7 | A
	EQ64 [PTW + 32], (FRAME + 0x4000) | P | W | A
	mov [WIN + 0x4000], eax
	EQ64 [PTW + 32], (FRAME + 0x4000) | P | W | A | D
	EQ64 [PDW], PTW | 7 | A

	TEST64 "reserved bits"
	mov rax, (1 << 51) | FRAME | P | W
	mov [PTW + 40], rax
	PF RSVD, WIN + 0x5000, mov eax, [WIN + 0x5000]
	mov qword [PTW + 40], 0
	mov qword [PML4 + 8], PDPT | 0x87	; PS in a PML4 entry
	mov rbx, 1 << 39
	PF RSVD, rbx, mov eax, [rbx]
	mov qword [PML4 + 8], 0
	mov qword [PDW + 8], 0x2000 | 0x83	; a 2 MiB page that is not aligned
	PF RSVD, WIN + 0x200000, mov eax, [WIN + 0x200000]
	mov qword [PDW + 8], 0
	mov ecx, 0xc0000080			; without NXE, bit 63 is reserved
	rdmsr
	and eax, ~0x800
	wrmsr
	mov rax, (1 << 63) | FRAME | P | W
	mov [PTW + 40], rax
	PF RSVD, WIN + 0x5000, mov eax, [WIN + 0x5000]
	mov qword [PTW + 40], 0
	mov ecx, 0xc0000080
	rdmsr
	or eax, 0x800
	wrmsr

	TEST64 "2 MiB pages and INVLPG"
	mov qword [PDW + 8], 0x600000 | 0x83
	mov eax, [WIN + 0x200000 + 0x2000]
	EQ64 [PDW + 8], 0x600000 | 0x83 | A
	mov [WIN + 0x200000 + 0x2000], eax
	EQ64 [PDW + 8], 0x600000 | 0x83 | A | D
	mov dword [FRAME + 0x5000], 0x5555
	mov dword [FRAME + 0x205000], 0x7777
	mov qword [PDW + 8], 0x800000 | 0x83
	invlpg [WIN + 0x200000 + 0x100]		; any address of it
	mov eax, [WIN + 0x200000 + 0x5000]
	EQ64 rax, 0x7777
	mov qword [PDW + 8], 0
	mov rax, 0x0000900000000000
	invlpg [rax]				; not canonical: nothing

	TEST64 "PCID"
	mov eax, 1
	cpuid
	test ecx, 1 << 17
	jz no_pcid
	call pcid
no_pcid:
	TEST64 "INVPCID"
	mov eax, 7
	xor ecx, ecx
	cpuid
	test ebx, 1 << 10
	jz no_invpcid
	call invpcids
no_invpcid:
	TEST64 "illegal control values"
%ifndef QEMU
	mov rax, cr4
	and eax, ~0x20
	FAULTS64 13, 0, mov cr4, rax		; PAE off in long mode
	mov rax, cr0
	and eax, 0x7ffffffe
	FAULTS64 13, 0, mov cr0, rax		; PG without PE; PG off in 64-bit mode
	mov rax, cr0
	and eax, ~1
	FAULTS64 13, 0, mov cr0, rax
	mov rax, cr0
	or eax, 0x20000000			; NW without CD
	FAULTS64 13, 0, mov cr0, rax
	mov rax, cr0
	bts rax, 40
	FAULTS64 13, 0, mov cr0, rax
	mov rax, cr3
	bts rax, 60
	FAULTS64 13, 0, mov cr3, rax
	mov ecx, 0xc0000080
	rdmsr
	bts eax, 9
	FAULTS64 13, 0, wrmsr
	mov eax, 0x100
	FAULTS64 13, 0, mov cr8, rax
%endif
	ret

pcid:	mov rax, cr4
	bts eax, 17
	mov cr4, rax
	mov rsi, PML4				; a second space with its own window
	mov rdi, PML4B
	mov ecx, 512
	rep movsq
	mov rsi, PDPT
	mov rdi, PDPTB
	mov ecx, 512
	rep movsq
	mov qword [PML4B], PDPTB | 7
	mov qword [PDPTB + 8], PDB | 7
	mov qword [PDB], PTB | 7
	mov qword [PTB], (FRAME + 0x8000) | P | W
	mov dword [FRAME + 0x8000], 0x8888
	MAP 6, P | W
	mov dword [FRAME + 0x6000], 0x6666
	mov rax, PML4 | 1
	mov cr3, rax
	mov ebx, [WIN + 0x6000]
	EQ64 rbx, 0x6666
	mov rax, PML4B | 2
	mov cr3, rax
	mov ebx, [WIN]
	EQ64 rbx, 0x8888
	mov rax, 0x8000000000000000 | PML4 | 1	; back without a flush
	mov cr3, rax
	mov ebx, [WIN + 0x6000]
	EQ64 rbx, 0x6666
	mov rax, cr3
	EQ64 rax, PML4 | 1
	mov qword [PTW + 48], (FRAME + 0x8000) | P | W
	mov rax, PML4 | 1			; and with one
	mov cr3, rax
	mov ebx, [WIN + 0x6000]
	EQ64 rbx, 0x8888
	MAP 6, P | W
	mov rax, PML4
	mov cr3, rax
	mov rax, cr4
	btr eax, 17
	mov cr4, rax
	ret

invpcids:
	xor eax, eax
	FAULTS64 13, 0, invpcid rax, [bad_pcid]
	mov eax, 4
	FAULTS64 13, 0, invpcid rax, [some_pcid]
	MAP 6, P | W
	mov dword [FRAME + 0x6000], 0x6666
	mov dword [FRAME + 0x7000], 0x7777
	mov ebx, [WIN + 0x6000]
	xor r12d, r12d
.next:	mov rax, (FRAME + 0x7000) | P | W
	test r12d, 1
	jz .set
	mov rax, (FRAME + 0x6000) | P | W
.set:	mov [PTW + 48], rax
	and eax, 0xf000
	shr eax, 12
	imul r13d, eax, 0x1111
	invpcid r12, [some_pcid]
	mov ebx, [WIN + 0x6000]
	EQ64 rbx, r13
	inc r12d
	cmp r12d, 4
	jb .next
	ret
some_pcid: dq 0, WIN + 0x6000
bad_pcid: dq 0x1000, 0

; Run user code at rax with rbx; x_err is -1 when it met no fault.
user:	push rbp
	mov [x_user], rsp
	mov rbp, rax
	GATE64 0x30, .back, 0xee, 0
	mov qword [x_vec], -1
	mov qword [x_err], -1
	mov qword [x_resume], WIN + u_end - user_code
	push SEL_UDATA
	push WIN + 0x1800
	push 2
	push SEL_UCODE64
	push rbp
	iretq
.back:	mov rsp, [x_user]
	mov qword [x_resume], 0
	xor eax, eax
	mov ss, ax
	pop rbp
	ret

user_code:
u_read:	mov eax, [rbx]
	jmp u_end
u_write: mov [rbx], eax
	jmp u_end
u_stac:	pushfq
	or dword [rsp], 0x40000
	popfq
	mov eax, [rbx]
u_end:	int 0x30
user_end:

FINISH
