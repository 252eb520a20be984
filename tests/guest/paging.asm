; SPDX-License-Identifier: Apache-2.0
; tests/guest/paging.asm - 32-bit and PAE paging: rights, error codes, A and D, PSE, WP, NX, INVLPG, page boundaries.
%include "lib.inc"

pd	equ 0x200000		; tables, outside of the guest's own image
pt	equ 0x201000		; maps the window
pt0	equ 0x202000		; identity for 0..4 MiB
pdpt	equ 0x203000
WIN	equ 0x40000000		; linear addresses under test
frame	equ 0x300000		; physical pages behind it

P equ 1
W equ 2
U equ 4
A equ 0x20
D equ 0x40
PS equ 0x80

%ifdef QEMU
RESERVED equ 8			; QEMU 7.2 forgets P
%else
RESERVED equ 9
%endif
; A read-modify-write of a page that may not be written: QEMU reads first and says so.
%macro PF_RMW 3+
%ifndef QEMU
	PF %1, %2, %3
%endif
%endmacro

; #PF with error code and address.
%macro PF 3+		; error code, CR2, instruction
	FAULTS 14, %1, %3
	EQ [ex_cr2], %2
%endmacro
; Page n of the window: flags, or the whole entry.
%macro MAP 2
	mov dword [pt + (%1) * 4], (frame + (%1) * 0x1000) | (%2)
	invlpg [WIN + (%1) * 0x1000]
%endmacro

main:
	TEST "32-bit tables"
	mov edi, pd
	xor eax, eax
	mov ecx, 0x4000 / 4
	rep stosd
	mov edi, pt0
	mov eax, P | W | U
	mov ecx, 1024
.fill:	stosd
	add eax, 0x1000
	loop .fill
	mov dword [pd], pt0 | P | W | U
	mov dword [pd + (WIN >> 22) * 4], pt | P | W | U
	mov eax, pd
	mov cr3, eax
	mov eax, cr0
	or eax, 0x80000000
	mov cr0, eax
	MAP 0, P | W
	mov dword [WIN], 0x12345678
	EQ [frame], 0x12345678

	TEST "accessed and dirty"
	MAP 1, P | W
	mov eax, [WIN + 0x1000]
	EQ [pt + 4], (frame + 0x1000) | P | W | A
	mov [WIN + 0x1000], eax
	EQ [pt + 4], (frame + 0x1000) | P | W | A | D
	MAP 1, P
	mov eax, [WIN + 0x1000]
	EQ [pt + 4], (frame + 0x1000) | P | A
	mov eax, [pd + (WIN >> 22) * 4]
	and eax, A
	EQ eax, A

	TEST "error codes"
	PF 0, WIN + 0x5004, mov eax, [WIN + 0x5004]
	PF 2, WIN + 0x5004, mov [WIN + 0x5004], eax
	PF_RMW 2, WIN + 0x5004, inc dword [WIN + 0x5004]
	PF_RMW 2, WIN + 0x5004, lock inc dword [WIN + 0x5004]
	PF 0, WIN + 0x800000, mov eax, [WIN + 0x800000]	; no directory entry
	mov ecx, WIN + 0x5000
	mov dword [ex_vec], -1
	mov dword [resume], .exec
	call ecx
.exec:	EQ [ex_vec], 14
	EQ [ex_err], 0
	EQ [ex_eip], WIN + 0x5000
	EQ [ex_cr2], WIN + 0x5000
	add esp, 4
	mov eax, user_codes
	call ring3

	TEST "write protect"
	MAP 2, P
	mov eax, cr0
	and eax, ~0x10000
	mov cr0, eax
	mov dword [WIN + 0x2000], 1		; CR0.WP = 0: ring 0 may
	EQ [pt + 8], (frame + 0x2000) | P | A | D
	or eax, 0x10000
	mov cr0, eax
	PF 3, WIN + 0x2000, mov dword [WIN + 0x2000], 1
	MAP 2, P | W
	and dword [pd + (WIN >> 22) * 4], ~W
	mov eax, cr3
	mov cr3, eax
	PF 3, WIN + 0x2000, mov dword [WIN + 0x2000], 1
	or dword [pd + (WIN >> 22) * 4], W
	mov cr3, eax
	mov dword [WIN + 0x2000], 1

	TEST "INVLPG and CR3 see new entries"
	MAP 3, P | W
	MAP 4, P | W
	mov dword [WIN + 0x3000], 0x33333333
	mov dword [WIN + 0x4000], 0x44444444
	mov dword [pt + 12], (frame + 0x4000) | P | W
	invlpg [WIN + 0x3000]
	EQ [WIN + 0x3000], 0x44444444
	mov dword [pt + 12], 0
	mov eax, cr3
	mov cr3, eax
	PF 0, WIN + 0x3000, mov eax, [WIN + 0x3000]
	mov dword [pt + 12], (frame + 0x3000) | P | W	; from not present: no flush needed
	EQ [WIN + 0x3000], 0x33333333

	TEST "global pages"
	mov eax, cr4
	or eax, 0x80
	mov cr4, eax
	MAP 3, P | W | 0x100
	EQ [WIN + 0x3000], 0x33333333
	mov eax, cr4				; toggling PGE flushes them
	xor eax, 0x80
	mov dword [pt + 12], (frame + 0x4000) | P | W
	mov cr4, eax
	EQ [WIN + 0x3000], 0x44444444

	TEST "across a page boundary"
	MAP 6, P | W
	MAP 7, P | W
	mov dword [WIN + 0x6ffe], 0x11223344
	EQ [WIN + 0x6ffe], 0x11223344
	mov dword [pt + 6 * 4], (frame + 0x7000) | P | W	; swap: pages need not be neighbours
	mov dword [pt + 7 * 4], (frame + 0x6000) | P | W
	invlpg [WIN + 0x6000]
	invlpg [WIN + 0x7000]
	mov dword [WIN + 0x6ffe], 0x55667788
	movzx eax, word [frame + 0x7ffe]
	EQ eax, 0x7788
	movzx eax, word [frame + 0x6000]
	EQ eax, 0x5566
	MAP 6, P | W
	MAP 7, 0
	mov dword [WIN + 0x6ffc], 0x01010101
	PF 2, WIN + 0x7000, mov dword [WIN + 0x6ffe], 0x22222222
	EQ [WIN + 0x6ffc], 0x01010101			; nothing written
	PF 0, WIN + 0x7000, mov eax, [WIN + 0x6ffd]
	PF_RMW 2, WIN + 0x7000, inc dword [WIN + 0x6ffe]
	PF_RMW 2, WIN + 0x7000, xchg eax, [WIN + 0x6fff]
	fninit
	fldpi
	PF 2, WIN + 0x7000, fstp tword [WIN + 0x6ffc]
	fstp st0
	mov edx, WIN + 0x6ffe
	xor eax, eax
	PF_RMW 2, WIN + 0x7000, bts [edx], eax

	TEST "strings stop at the bad page"
	mov esi, header
	mov edi, WIN + 0x6ff0
	mov ecx, 64
	cld
	PF 2, WIN + 0x7000, rep movsb
	EQ ecx, 48
	EQ edi, WIN + 0x7000
	EQ esi, header + 16
	EQ [WIN + 0x6ff0], 0x464c457f
	mov edi, WIN + 0x6ff2
	mov ecx, 16
	PF 2, WIN + 0x7000, rep stosd
	EQ ecx, 13
	EQ edi, WIN + 0x6ffe
	mov edi, WIN + 0x6ff0
	mov al, 0x99
	mov ecx, 100
	PF 0, WIN + 0x7000, repne scasb
	EQ ecx, 84
	mov esi, WIN + 0x6ffc
	mov edi, frame
	mov ecx, 2
	PF 0, WIN + 0x7000, rep movsd
	EQ ecx, 1
	EQ edi, frame + 4
	std
	MAP 5, 0
	mov esi, header + 15
	mov edi, WIN + 0x6007
	mov ecx, 16
	PF 2, WIN + 0x5fff, rep movsb
	cld
	EQ ecx, 8

	TEST "code across a page boundary"
	mov byte [WIN + 0x6fff], 0xb8			; mov eax, imm32 / ret
	MAP 7, P | W
	mov dword [WIN + 0x7000], 0xcafe1234
	mov byte [WIN + 0x7004], 0xc3
	mov eax, WIN + 0x6fff
	call eax
	EQ eax, 0xcafe1234
	MAP 7, 0
	mov dword [ex_vec], -1
	mov dword [resume], .across
	mov eax, WIN + 0x6fff
	call eax
.across:
	add esp, 4
	EQ [ex_vec], 14
	EQ [ex_eip], WIN + 0x6fff
	EQ [ex_cr2], WIN + 0x7000
	MAP 7, P | W
	mov dword [WIN + 0x7000], 0x5678abcd
	mov eax, WIN + 0x6fff
	call eax
	EQ eax, 0x5678abcd

	TEST "4 MiB pages"
	mov eax, cr4
	or eax, 0x10
	mov cr4, eax
	mov dword [pd + ((WIN >> 22) + 1) * 4], PS | P | W
	mov eax, cr3
	mov cr3, eax
	EQ [WIN + 0x400000 + header], 0x464c457f
	EQ [pd + ((WIN >> 22) + 1) * 4], PS | P | W | A
	mov dword [WIN + 0x400000 + frame], 7
	EQ [pd + ((WIN >> 22) + 1) * 4], PS | P | W | A | D
	mov dword [pd + ((WIN >> 22) + 1) * 4], PS | P | W | 0x200000
	invlpg [WIN + 0x400000]
	PF RESERVED, WIN + 0x400000, mov eax, [WIN + 0x400000]		; reserved bit 21
	mov dword [pd + ((WIN >> 22) + 1) * 4], 0

	TEST "user and supervisor pages"
	MAP 8, P | W | U
	MAP 9, P | W
	mov dword [WIN + 0x8000], 0x88888888
	mov eax, user_pages
	call ring3

	TEST "PAE"
	mov eax, cr0
	and eax, 0x7fffffff
	mov cr0, eax
	mov eax, cr4
	or eax, 0x20
	mov cr4, eax
	mov edi, pd
	xor eax, eax
	mov ecx, 0x4000 / 4
	rep stosd
	mov dword [pdpt], pt0 | P
	mov dword [pdpt + 8], pd | P			; 1 GiB: WIN
	mov dword [pt0], PS | P | W | U			; 2 MiB pages
	mov dword [pt0 + 8], 0x200000 | PS | P | W | U
	mov dword [pd], pt | P | W | U
	mov eax, pdpt
	mov cr3, eax
	mov eax, cr0
	or eax, 0x80000000
	mov cr0, eax
	mov dword [pt], frame | P | W
	mov dword [WIN], 0xabcdef01
	EQ [frame], 0xabcdef01
	EQ [pt], frame | P | W | A | D
	EQ [pt0 + 8], 0x200000 | PS | P | W | U | A | D
	mov dword [pt + 8], (frame + 0x1000) | P
	PF 3, WIN + 0x1000, mov dword [WIN + 0x1000], 5
	mov dword [pdpt + 8], 0
	mov eax, cr3
	mov cr3, eax
	PF 0, WIN, mov eax, [WIN]
	mov dword [pdpt + 8], pd | P
	mov cr3, eax
	mov dword [pt + 20], 0x100000			; beyond the physical width
	mov dword [pt + 16], frame | P
	PF RESERVED, WIN + 0x2000, mov eax, [WIN + 0x2000]
%ifndef QEMU
	mov dword [pdpt + 16], pd | P | 2		; a reserved bit: judged when CR3 is loaded
	mov eax, pdpt
	FAULTS 13, 0, mov cr3, eax
%endif
	mov dword [pdpt + 16], 0
	mov cr3, eax

	TEST "NX"
	mov ecx, 0xc0000080
	rdmsr
	or eax, 0x800
	wrmsr
	mov dword [pt + 24], (frame + 0x3000) | P | W
	mov dword [pt + 28], 0x80000000
	mov byte [WIN + 0x3000], 0xc3
	mov eax, WIN + 0x3000
	mov dword [ex_vec], -1
	mov dword [resume], .nx
	call eax
.nx:	add esp, 4
	EQ [ex_vec], 14
	EQ [ex_err], 0x11
	EQ [ex_cr2], WIN + 0x3000
	mov dword [pt + 28], 0
	invlpg [WIN + 0x3000]
	mov eax, WIN + 0x3000
	call eax

	TEST "paging off"
	mov eax, cr0
	and eax, 0x7fffffff
	mov cr0, eax
	EQ [frame], 0xabcdef01
	ret

user_codes:
	PF 4, WIN + 0x5004, mov eax, [WIN + 0x5004]
	PF 6, WIN + 0x5004, mov [WIN + 0x5004], eax
	mov ecx, WIN + 0x5000
	mov dword [ex_vec], -1
	mov dword [resume], .exec
	call ecx
.exec:	add esp, 4
	EQ [ex_err], 4
	EQ [ex_eip], WIN + 0x5000
	int 0x30

user_pages:
	EQ [WIN + 0x8000], 0x88888888
	mov dword [WIN + 0x8000], 1
	PF 5, WIN + 0x9000, mov eax, [WIN + 0x9000]
	PF 7, WIN + 0x9000, mov [WIN + 0x9000], eax
	PF 5, WIN + 0x9000, mov eax, [WIN + 0x8ffe]
	int 0x30
FINISH
