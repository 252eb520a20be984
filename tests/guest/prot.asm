; SPDX-License-Identifier: Apache-2.0
; tests/guest/prot.asm - 32-bit protected mode: exceptions, segments, rings, call gates.
%include "lib.inc"

S0	equ SEL_FREE
S1	equ SEL_FREE + 8
S2	equ SEL_FREE + 16
GATE	equ SEL_FREE + 24
LDT	equ SEL_FREE + 32
SMALL	equ SEL_FREE + 40

%ifdef QEMU		; QEMU 7.2 has no RF in frames, no EXT for nested faults, no limits
RF	equ 0
EXT	equ 0
%else
RF	equ 0x10000
EXT	equ 1
%endif

main:
	TEST "exceptions"
	xor edx, edx
	xor ecx, ecx
	mov eax, 1
	FAULTS 0, 0, div ecx
	mov eax, 0x80000000
	cdq
	mov ecx, -1
	FAULTS 0, 0, idiv ecx
	TRAPS 3, int3
	mov al, 0x7f
	add al, 1
	TRAPS 4, into
	mov eax, 11
	FAULTS 5, 0, bound eax, [bounds]
	mov eax, 10
	bound eax, [bounds]
	FAULTS 6, 0, ud2
	mov eax, cr0
	or eax, 8
	mov cr0, eax
	FAULTS 7, 0, fninit
	clts
	FAULTS 13, 0x40 * 8 + 2, int 0x40		; an empty gate
	FAULTS 6, 0, db 0xf0, 0x90
	FAULTS 6, 0, db 0xf0, 0x01, 0xd8
	FAULTS 13, 0, db 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
	EQ [ex_cs], SEL_CODE

%ifndef QEMU	; QEMU 7.2 doesn't know these faults
	TEST "exceptions II"
	TRAPS 1, db 0xf1				; INT1
	mov eax, 0x80000000
	FAULTS 13, 0, mov cr4, eax			; a reserved bit
	mov ecx, 0x12345678
	FAULTS 13, 0, rdmsr
%endif

	TEST "pushed flags"
	stc
	FAULTS 6, 0, ud2
	mov eax, [ex_flags]
	and eax, 1 | RF
	EQ eax, 1 | RF					; RF is set by faults,
	TRAPS 3, int3
	mov eax, [ex_flags]
	and eax, 0x10000
	EQ eax, 0					; not by traps

	TEST "segment loads"
	mov ax, 0x200
	FAULTS 13, 0x200, mov ds, ax
	SETDESC S0, 0, 0xfffff, 0xc013			; not present
	mov ax, S0
	FAULTS 11, S0, mov es, ax
	FAULTS 12, S0, mov ss, ax
	xor eax, eax
	FAULTS 13, 0, mov ss, ax
	mov ax, 3
	mov es, ax
	FAULTS_SEG 13, 0, mov [es:0], al
	mov ax, SEL_CODE
	FAULTS 13, SEL_CODE, mov ss, ax
	mov es, ax
	FAULTS_SEG 13, 0, mov [es:guest_data], al		; code is not writable
	mov ax, SEL_DATA | 3
	FAULTS 13, SEL_DATA, mov es, ax			; RPL
	mov ax, S1 | 4
	FAULTS 13, S1 | 4, mov es, ax			; no LDT
	SETDESC S1, 0, 0xfffff, 0xc092
	mov ax, S1
	mov es, ax
	movzx eax, byte [gdt + S1 + 5]
	EQ eax, 0x93					; accessed
	SETDESC S1, 0, 0xfffff, 0xc090
	mov ax, S1
	mov es, ax
	mov eax, [es:guest_data]
	FAULTS_SEG 13, 0, mov [es:guest_data], eax		; read only
	SETDESC S1, 0, 0xfffff, 0xc098
	mov ax, S1
	FAULTS 13, S1, mov es, ax			; execute only

	TEST "limits"
	SETDESC SMALL, guest_data, 0xfff, 0x4093
	mov ax, SMALL
	mov es, ax
	mov eax, [es:0xffc]
	FAULTS_SEG 13, 0, mov eax, [es:0xffd]
	FAULTS_SEG 13, 0, mov al, [es:0x1000]
	FAULTS_SEG 13, 0, mov al, [es:-1]
	SETDESC SMALL, guest_data, 0xfff, 0x4097	; expand down
	mov ax, SMALL
	mov es, ax
	FAULTS_SEG 13, 0, mov al, [es:0xfff]
	mov al, [es:0x1000]
	FAULTS_SEG 13, 0, mov eax, [es:0xfffffffd]
	SETDESC SMALL, guest_data, 0xfff, 0x0097
	mov ax, SMALL
	mov es, ax
	mov al, [es:0xffff]
	FAULTS_SEG 13, 0, mov ax, [es:0xffff]
	FAULTS_SEG 13, 0, mov al, [es:0x10000]
	SETDESC SMALL, guest_data, 0xfff, 0x4093
	mov edx, esp
	mov ax, SMALL
	mov ss, ax
	mov esp, 0xffc
	mov dword [ss:0xff8], 0x1234
	pop ecx						; fine: 0xffc..0xfff
	mov eax, SEL_DATA
	mov ss, ax
	mov esp, edx
	mov ax, SEL_DATA
	mov es, ax

	TEST "stack faults"
	SETDESC SMALL, guest_data, 0xfff, 0x4093
	mov [old_esp], esp
	mov ax, SMALL
	mov ss, ax
	mov esp, 0x1000
	FAULTS_SEG 12, 0, pop eax				; the frame fits below
	mov ebp, 0x1000
	FAULTS_SEG 12, 0, mov al, [ebp]
	FAULTS_SEG 12, 0, mov eax, [ebp - 3]
	mov ax, SEL_DATA
	mov ss, ax
	mov esp, [old_esp]

	TEST "LAR LSL VERR VERW"
	mov eax, 0
	mov cx, SEL_UDATA
	lar eax, cx
	EQ eax, 0x00c0f300
	lsl eax, cx
	EQ eax, 0xffffffff
	mov cx, 0x3f8
	mov eax, 0x55
	lar eax, cx
	setz cl
	EQ eax, 0x55
	movzx eax, cl
	EQ eax, 0
	mov cx, SEL_CODE
	verw cx
	setz al
	verr cx
	setz ah
	movzx eax, ax
	EQ eax, 0x100
	mov cx, SEL_TSS
	lar eax, cx
	EQ eax, 0x00008b00
	lsl eax, cx
	EQ eax, (tss_end - tss - 1)

	TEST "LDT"
	SETDESC LDT, guest_data, 0xff, 0x82
	mov eax, [gdt + SEL_UDATA - 3]
	mov [guest_data + 8], eax
	mov eax, [gdt + SEL_UDATA + 1]
	mov [guest_data + 12], eax
	mov ax, LDT
	lldt ax
	mov ax, 0xc | 3
	mov fs, ax
	mov eax, [fs:bounds]
	EQ eax, -10
	sldt ax
	movzx eax, ax
	EQ eax, LDT
	mov ax, SEL_DATA
	FAULTS 13, SEL_DATA, lldt ax
	mov ax, SEL_TSS
	FAULTS 13, SEL_TSS, ltr ax			; busy
	xor eax, eax
	lldt ax
	mov fs, ax

	TEST "far jumps"
	FAULTS 13, SEL_DATA, jmp SEL_DATA:0
	FAULTS 13, 0, jmp 0:0
	FAULTS 13, 0x3f8, jmp 0x3f8:0
	SETDESC S0, 0, 0xfffff, 0x401b
	FAULTS 11, S0, jmp S0:0
	SETDESC S0, 0, 0xfffff, 0xc0fb
	FAULTS 13, S0, jmp S0:0				; DPL 3
	SETDESC S0, 0, 0xfff, 0x409b
	FAULTS 13, 0, jmp S0:0x1000			; limit
	call SEL_CODE:.far
	jmp .over
.far:	mov eax, [esp + 4]
	EQ eax, SEL_CODE
	retf
.over:
	SETGATE gdt + GATE, SEL_CODE, .gate, 0x8c, 0
	call GATE:0
	jmp GATE:.gate
.gate:	cmp dword [esp + 4], SEL_CODE
	jne .gone
	retf
.gone:

	TEST "ring 3"
	mov eax, user_basics
	call ring3
	mov ax, SEL_DATA
	mov es, ax

	TEST "call gates"
	SETGATE gdt + GATE, SEL_CODE, gate_target, 0xec, 2
	mov eax, user_gates
	call ring3

	TEST "conforming code"
	SETDESC S2, 0, 0xfffff, 0xc09f
	mov eax, user_conforming
	call ring3

	TEST "return nulls inner segments"
	mov ax, SEL_DATA
	mov fs, ax
	mov ax, SEL_UDATA
	mov gs, ax
	mov eax, user_nulls
	call ring3

	TEST "IO bitmap"
	mov eax, user_io
	call ring3

	TEST "double fault"
	SETGATE IDT(8), SEL_CODE, on_double, 0x8e, 0
	mov byte [IDT(13) + 5], 0x0e			; #GP's gate not present
	mov [old_esp], esp
	mov dword [ex_count], 0
	mov ax, 0x3f8
	mov es, ax
	EQ 1, 0						; not reached
double_back:
	mov byte [IDT(13) + 5], 0x8e
	EQ [ex_count], 100
	mov byte [IDT(6) + 5], 0x0e
	mov dword [ex_vec], -1
	mov dword [resume], .after
	ud2						; benign + #NP: #NP
.after:	EQ [ex_vec], 11
	EQ [ex_err], 6 * 8 + 2 + EXT
	mov byte [IDT(6) + 5], 0x8e

	TEST "interrupt flag"
	SETGATE IDT(0x31), SEL_CODE, .int, 0x8e, 0
	SETGATE IDT(0x32), SEL_CODE, .int, 0x8f, 0
	sti
	int 0x31
	EQ eax, 0
	int 0x32
	EQ eax, 0x200
	cli
	ret
.int:	pushfd
	pop eax
	and eax, 0x200
	iret

on_double:
	pop eax
	EQ eax, 0
	mov dword [ex_count], 100
	mov esp, [old_esp]
	jmp double_back

gate_target:
	mov eax, [esp]
	EQ eax, user_gates.back
	mov eax, [esp + 4]
	EQ eax, SEL_UCODE
	mov eax, [esp + 8]
	EQ eax, 0x22222222
	mov eax, [esp + 12]
	EQ eax, 0x11111111
	mov eax, [esp + 16]
	EQ eax, [user_esp]
	mov eax, [esp + 20]
	EQ eax, SEL_UDATA
	mov ax, cs
	movzx eax, ax
	EQ eax, SEL_CODE
	retf 8

user_basics:
	FAULTS 13, 0, cli
	FAULTS 13, 0, sti
	FAULTS 13, 0, hlt
	FAULTS 13, 0, mov eax, cr0
	FAULTS 13, 0, lgdt [gdtr]
	FAULTS 13, 0, clts
	FAULTS 13, 0, invlpg [0]
	FAULTS 13, 0, rdmsr
	FAULTS 13, 0, mov eax, dr0
	mov ax, SEL_DATA
	FAULTS 13, SEL_DATA, mov es, ax
	FAULTS 13, 0x31 * 8 + 2, int 0x31
	FAULTS 13, 14 * 8 + 2, int 14
	FAULTS 13, SEL_CODE, jmp SEL_CODE:0
	FAULTS 13, SEL_TSS, jmp SEL_TSS:0
	TRAPS 3, int3
	EQ [ex_cs], SEL_UCODE
	EQ [ex_sp], stack3
	pushfd
	or dword [esp], 0x3200
	popfd
	pushfd
	pop eax
	and eax, 0x3200
	EQ eax, 0					; neither IF nor IOPL
	push dword SEL_CODE
	push dword .at
	FAULTS 13, SEL_CODE, retf			; inwards
.at:	int 0x30

user_gates:
	push dword 0x11111111
	push dword 0x22222222
	mov [user_esp], esp
	call GATE | 3:0
.back:	mov eax, esp
	EQ eax, stack3
	mov ax, cs
	movzx eax, ax
	EQ eax, SEL_UCODE
	FAULTS 13, SEL_CODE, jmp GATE | 3:0		; no JMP inwards
	int 0x30

user_conforming:
	call S2:.conf
	jmp S2:.conf2
.conf:	mov ax, cs
	movzx eax, ax
	EQ eax, S2 | 3
	retf
.conf2:	FAULTS 13, 0, cli
	int 0x30

user_nulls:
	mov ax, fs
	movzx eax, ax
	EQ eax, 0
	mov ax, gs
	movzx eax, ax
	EQ eax, SEL_UDATA
	FAULTS_SEG 13, 0, mov eax, [fs:0]
	int 0x30

user_io:				; the map is zeros: all allowed
	in al, 0x61
	mov byte [io_map + 0x61 / 8], 2
	FAULTS 13, 0, in al, 0x61
	FAULTS 13, 0, in ax, 0x60
	FAULTS 13, 0, in eax, 0x5e
	in al, 0x62
	mov byte [io_map + 0x61 / 8], 0
	int 0x30

align 4
bounds:	dd -10, 10
old_esp: dd 0
user_esp: dd 0
FINISH
