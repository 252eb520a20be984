; SPDX-License-Identifier: Apache-2.0
; tests/guest/real.asm - real-address mode: there and back, vectors, limits, 16-bit addressing, decimal arithmetic.
%include "lib.inc"
%include "low.inc"

main:
	TEST "entering real-address mode"
	call low_copy
	mov dword [low_test], L(r_entered)
	call real
	EQ [seen], 0x1234

	TEST "vectors"
	mov dword [low_test], L(r_vectors)
	call real

	TEST "faults"
	mov dword [low_test], L(r_faults)
	call real

	TEST "segment limits"
	mov dword [low_test], L(r_limits)
	call real

	TEST "beyond one MiB"
	mov dword [low_test], L(r_high)
	call real

	TEST "far transfers"
	mov dword [low_test], L(r_far)
	call real

	TEST "flags"
	mov dword [low_test], L(r_flags)
	call real

	TEST "unreal mode"
	mov dword [low_test], L(r_unreal)
	mov dword [big], 1
	call real

	TEST "16-bit strings and stack wrap"
	mov dword [low_test], L(r_wrap)
	call real

	TEST "decimal arithmetic"
	mov dword [low_test], L(r_decimal)
	call real

	TEST "system registers"
	mov dword [low_test], L(r_system)
	call real
	ret

; Run the test at low_test in real-address mode and come back.
real:	pushad
	mov [real_esp], esp
	jmp SEL_CODE16:L(to_real)
from_real:
	mov ax, SEL_DATA
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov esp, [real_esp]
	lidt [idtr]
	popad
	ret
real_esp: dd 0

low_test equ 0x700
seen	equ 0x704
big	equ 0x708
low_gdtr equ 0x710

LOW_BEGIN
to_real:
	mov ax, SEL_DATA16
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov gs, ax
	cmp dword [big], 0
	je .small
	mov ax, SEL_DATA
.small:	mov fs, ax
	sgdt [low_gdtr]
	mov eax, cr0
	and al, 0xfe
	mov cr0, eax
	jmp 0:L(.real)
.real:	xor ax, ax
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov sp, 0x7f00
	lidt [L(real_idtr)]
	mov cx, 32			; every vector leads to its stub
	xor di, di
	mov eax, L(real_stubs)
.fill:	mov [di], eax
	add di, 4
	add ax, 8
	loop .fill
	call [low_test]
	cli
	xor ax, ax
	mov ds, ax
	o32 lgdt [low_gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword SEL_CODE:from_real

real_idtr: dw 0x3ff
	dd 0

align 8
real_stubs:
%assign v 0
%rep 32
	align 8
	push word v
	jmp real_trap
%assign v v + 1
%endrep
real_trap:			; [sp]: vector, ip, cs, flags
	push eax
	push bp
	mov bp, sp
	movzx eax, word [bp + 6]
	mov [cs:ex_vec], eax
	movzx eax, word [bp + 8]
	mov [cs:ex_eip], eax
	movzx eax, word [bp + 10]
	mov [cs:ex_cs], eax
	movzx eax, word [bp + 12]
	mov [cs:ex_flags], eax
	mov eax, [cs:resume]
	mov [bp + 8], ax
	pop bp
	pop eax
	add sp, 2
	iret

r_entered:
	mov dword [seen], 0x1234
	mov eax, cr0
	and eax, 1
	EQ16 eax, 0
	ret

r_vectors:
	mov word [0x40 * 4], L(.int)
	mov word [0x40 * 4 + 2], 0
	sti
	stc
	mov bx, sp
	int 0x40
.back:	pushf
	pop ax
	cli
	EQ16 ecx, L(.back)
	EQ16 edx, 0x203			; what was pushed
	EQ16 esi, 0x003			; IF off in the handler
	and eax, 0x201
	EQ16 eax, 0x201			; and on again
	movzx ebx, bx
	movzx eax, sp
	EQ16 eax, ebx
	ret
.int:	pushf
	pop si
	movzx esi, si
	and esi, 0x203
	push bp
	mov bp, sp
	movzx ecx, word [bp + 2]
	movzx edx, word [bp + 6]
	and edx, 0x203
	pop bp
	iret

r_faults:
	xor bx, bx
	xor dx, dx
	mov ax, 1
	FAULTS16 0, div bx
	TRAPS16 3, int3
	mov al, 0x7f
	inc al
	TRAPS16 4, into
	mov word [0x720], 5
	mov word [0x722], 9
	mov ax, 10
	FAULTS16 5, bound ax, [0x720]
	FAULTS16 6, ud2
	FAULTS16 6, lar ax, bx
	FAULTS16 6, verr bx
	FAULTS16 6, lldt bx
	FAULTS16 6, ltr bx
	FAULTS16 6, arpl bx, ax
	FAULTS16 6, sldt ax
	EQ16 [cs:ex_cs], 0
	ret

r_limits:
	FAULTS16_SEG 13, mov ax, [0xffff]
	FAULTS16_SEG 13, mov eax, [0xfffd]
	mov al, [0xffff]
	mov eax, [0xfffc]
	mov ebx, 0x10000
	FAULTS16_SEG 13, mov al, [ebx]
	mov bp, 0xffff
	FAULTS16_SEG 12, mov ax, [bp]
	FAULTS16_SEG 13, jmp dword 0:0x10000
	ret

r_high:
	mov ax, 0xffff
	mov es, ax
	mov eax, [es:0x10]
	EQ16 eax, 0x464c457f		; the ELF header of this guest, at 1 MiB
	xor ax, ax
	mov es, ax
	ret

r_far:
	call 0:L(.far)
.back:	EQ16 ecx, L(.back)
	mov word [0x720], L(.far)
	mov word [0x722], 0
	call far [0x720]
.back2:	EQ16 ecx, L(.back2)
	push word 0x55
	call 0x10:L(.other) - 0x100	; CS = 0x10
	push dword 0
	push dword L(.wide)
	o32 retf
.wide:	push dword 0x202
	push dword 0
	push dword L(.iretd)
	iretd
.iretd:	pushf
	pop ax
	movzx eax, ax
	and eax, 0x200
	EQ16 eax, 0x200
	cli
	ret
.far:	push bp
	mov bp, sp
	movzx ecx, word [bp + 2]
	pop bp
	retf
.other:	mov ax, cs
	movzx eax, ax
	cmp eax, 0x10
	jne .wrong
	retf 2
.wrong:	xor bx, bx
	div bx

r_flags:
	push word 0x7000
	popf
	pushf
	pop ax
	movzx eax, ax
	EQ16 eax, 0x7002
	push word 0
	popf
	ret

r_unreal:
	mov dword [big], 0
	mov ebx, header
	mov eax, [fs:ebx]
	EQ16 eax, 0x464c457f
	mov ax, 0
	mov fs, ax			; a load keeps the limit
	mov eax, [fs:ebx]
	EQ16 eax, 0x464c457f
	FAULTS16_SEG 13, mov eax, [gs:ebx]
	ret

r_wrap:
	mov byte [0xffff], 0xaa
	mov si, 0xffff
	cld
	lodsb
	movzx eax, al
	EQ16 eax, 0xaa
	movzx eax, si
	EQ16 eax, 0
	mov esi, 0x1ffff		; 16-bit addressing uses SI only
	lodsb
	EQ16 esi, 0x10000
	mov si, 0x1000
	mov di, 0x1100
	mov dword [si], 0x44332211
	mov ecx, 0x10004
	rep movsb
	EQ16 ecx, 0x10000
	EQ16 [0x1100], 0x44332211
	mov bx, sp
	mov esp, 0x10000		; SP = 0
	push word 0x1357
	mov eax, esp
	mov sp, bx
	EQ16 eax, 0x1fffe
	movzx eax, word [0xfffe]
	EQ16 eax, 0x1357
	movzx esp, sp
	mov bx, 0xfff0			; BX + SI wraps
	mov si, 0x1010
	mov eax, [bx + si + 0x100]
	EQ16 eax, 0x44332211
	enter 8, 0
	movzx eax, bp
	sub ax, sp
	leave
	EQ16 eax, 8
	ret

%macro DECIMAL 4		; instruction, AX and AF|CF before, AX after (flags checked for AF and CF)
	mov ah, (%2) >> 16
	sahf
	mov ax, (%2) & 0xffff
	%1
	movzx ebx, ax
	lahf
	and ah, %4
	movzx ecx, ah
	shl ecx, 16
	or ecx, ebx
	EQ16 ecx, %3
%endmacro
r_decimal:
	DECIMAL daa, 0x00000f, 0x100015, 0x11
	DECIMAL daa, 0x00009a, 0x110000, 0x11
	DECIMAL daa, 0x100012, 0x100018, 0x11
	DECIMAL das, 0x100013, 0x10000d, 0x11
	DECIMAL das, 0x010005, 0x0100a5, 0x11
	DECIMAL aaa, 0x00020b, 0x110301, 0x11
	DECIMAL aas, 0x000205, 0x000205, 0x11
	DECIMAL aas, 0x10020f, 0x110109, 0x11
	DECIMAL aam, 0x00003f, 0x000603, 0
	DECIMAL aad, 0x000603, 0x00003f, 0
	xor ax, ax
	FAULTS16 0, {aam 0}
	stc
	salc
	movzx eax, al
	EQ16 eax, 0xff
	ret

r_system:
	smsw ax
	and eax, 1
	EQ16 eax, 0
	sidt [0x730]
	movzx eax, word [0x730]
	EQ16 eax, 0x3ff
	EQ16 [0x732], 0
	o32 sgdt [0x730]
	EQ16 [0x732], gdt
	ret
LOW_END
FINISH
