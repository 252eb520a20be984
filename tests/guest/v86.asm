; SPDX-License-Identifier: Apache-2.0
; tests/guest/v86.asm - virtual-8086 mode: sensitive instructions by IOPL, frames, I/O map, VME.
%include "lib.inc"
%include "low.inc"

main:
	call low_copy
	TEST "segments and frames"
	xor ebx, ebx
	mov eax, L(v_frames)
	call v86
	EQ [ex_cs], 0
	mov eax, [ex_flags]
	and eax, 0x20000
	EQ eax, 0x20000

	TEST "a ring-0 handler sees the frame"
	SETGATE IDT(0x31), SEL_CODE, see_frame, 0xee, 0
	mov ebx, 0x3000
	mov eax, L(v_int31)
	call v86
	EQ [0x740], 1

	TEST "IOPL 0"
	xor ebx, ebx
	mov eax, L(v_iopl0)
	call v86

	TEST "IOPL 3"
	mov ebx, 0x3000
	mov eax, L(v_iopl3)
	call v86

	TEST "privileged and protected-mode instructions"
	mov ebx, 0x3000
	mov eax, L(v_system)
	call v86

	TEST "I/O map"
	mov byte [io_map + 0x61 / 8], 2
	mov ebx, 0x3000
	mov eax, L(v_io)
	call v86
	mov byte [io_map + 0x61 / 8], 0

	TEST "a handler outside ring 0"
	SETGATE IDT(0x33), SEL_UCODE, see_frame, 0xee, 0
	mov ebx, 0x3000
	mov eax, L(v_int33)
	call v86

	TEST "limits"
	mov ebx, 0x3000
	mov eax, L(v_limits)
	call v86

%ifndef QEMU			; QEMU's translator has no VME
	TEST "VME"
	mov eax, 1
	cpuid
	test dl, 2
	jz no_vme
	mov eax, cr4
	or eax, 1
	mov cr4, eax
	mov word [tss + 0x66], 0x68 + 0x20	; the redirection map stands below
	mov byte [tss + 0x68 + 0x41 / 8], 2	; 0x41 is not redirected, 0x40 is
	mov word [0x40 * 4], L(v_handler)
	mov word [0x40 * 4 + 2], 0
	SETGATE IDT(0x41), SEL_CODE, see_frame, 0xee, 0
	mov dword [ex_count], 0
	xor ebx, ebx
	mov eax, L(v_vme)
	call v86
	mov word [tss + 0x66], 0x68
	mov eax, cr4
	and al, 0xfe
	mov cr4, eax
no_vme:
%endif
	ret

see_frame:
	push eax
	mov eax, [esp + 8]		; CS
	EQ eax, 0x10
	mov eax, [esp + 12]
	and eax, 0x23000
	EQ eax, 0x23000
	mov eax, [esp + 16]
	EQ eax, 0x7000
	mov eax, [esp + 20]		; SS
	EQ eax, 0x20
	mov eax, [esp + 24]		; ES
	EQ eax, 0x1111
	mov eax, [esp + 28]
	EQ eax, 0x2222
	mov eax, [esp + 32]
	EQ eax, 0x3333
	mov eax, [esp + 36]
	EQ eax, 0x4444
	mov ax, ds
	movzx eax, ax
	EQ eax, 0
	mov ax, SEL_DATA
	mov ds, ax
	mov dword [0x740], 1
	pop eax
	iret

; Run 16-bit code at 0:eax with flags ebx; it leaves by `ud2` while no fault is expected.
v86:	pushad
	mov [v86_esp], esp
	mov dword [leave_to], .back
	push dword 0
	push dword 0
	push dword 0
	push dword 0
	push dword 0
	push dword 0x7f00
	or ebx, 0x20002
	push ebx
	push dword 0
	push eax
	iretd
.back:	mov ax, SEL_DATA
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov esp, [v86_esp]
	mov dword [leave_to], 0
	EQ [ex_vec], 6			; nothing but the agreed end
	popad
	ret
v86_esp: dd 0

LOW_BEGIN
v_frames:
	mov ax, 0x1000
	mov es, ax
	mov dword [es:0x20], 0x87654321
	EQ16 [0x720], [0x720]
	mov ax, 0x1002
	mov fs, ax
	EQ16 [fs:0], 0x87654321
	TRAPS16 3, int3
	FAULTS16 6, ud2
	mov ax, 1
	xor dx, dx
	xor bx, bx
	FAULTS16 0, div bx
	ud2

v_int31:
	mov ax, 0x1111
	mov es, ax
	mov ax, 0x2222
	mov ds, ax
	mov ax, 0x3333
	mov fs, ax
	mov ax, 0x4444
	mov gs, ax
	mov cx, sp
	mov dx, ss
	mov ax, 0x20
	mov ss, ax
	mov sp, 0x7000
	jmp 0x10:L(.here) - 0x100
.here:	int 0x31
	jmp 0:L(.on)
.on:	mov ss, dx
	mov sp, cx
	mov ax, ds
	movzx eax, ax
	EQ16 eax, 0x2222
	ud2

v_iopl0:
	FAULTS16 13, cli
	FAULTS16 13, sti
	FAULTS16 13, pushf
	FAULTS16 13, popf
	FAULTS16 13, pushfd
	FAULTS16 13, iret
	FAULTS16 13, int 0x31
	ud2

v_iopl3:
	sti
	pushf
	pop ax
	and eax, 0x3200
	EQ16 eax, 0x3200
	cli
	push word 0x0202		; IOPL does not change
	popf
	pushf
	pop ax
	and eax, 0x3200
	EQ16 eax, 0x3200
	cli
	push word 0x3002
	push word 0
	push word L(.back)
	iret
.back:	pushf
	pop ax
	and eax, 0x200
	EQ16 eax, 0
	pushfd
	pop eax
	and eax, 0x30000		; neither VM nor RF in the image
	EQ16 eax, 0
	FAULTS16 13, int 0x35		; no gate there
	EQ16 [cs:ex_err], 0x35 * 8 + 2
	ud2

v_system:
	FAULTS16 13, hlt
	FAULTS16 13, mov eax, cr0
	FAULTS16 13, clts
	FAULTS16 13, lgdt [0x720]
	FAULTS16 13, lmsw ax
	FAULTS16 13, mov eax, dr7
	FAULTS16 13, rdmsr
	FAULTS16 13, invd
	FAULTS16 6, lldt ax
	FAULTS16 6, str ax
	FAULTS16 6, lar ax, ax
	FAULTS16 6, arpl ax, ax
	smsw ax
	and eax, 1
	EQ16 eax, 1
	ud2

v_io:	in al, 0x62
	FAULTS16 13, in al, 0x61
	FAULTS16 13, in ax, 0x60
	mov dx, 0x61
	mov di, 0x720
	FAULTS16 13, insb
	FAULTS16 13, out dx, al
	ud2

v_int33:
	FAULTS16 13, int 0x33
	EQ16 [cs:ex_err], SEL_UCODE & ~3
	ud2

v_limits:
	FAULTS16_SEG 13, mov ax, [0xffff]
	mov bp, 0xffff
	FAULTS16_SEG 12, mov ax, [bp]
	mov al, [bp]
	ud2

v_vme:	sti				; VIF
	pushf
	pop ax
	and eax, 0x3200
	EQ16 eax, 0x3200		; shown as IF with IOPL 3
	int 0x40
	EQ16 ecx, 0x40
	EQ16 ebx, 0x3200
	pushf
	pop ax
	and eax, 0x200
	EQ16 eax, 0x200			; IRET brought VIF back
	cli
	pushf
	pop ax
	and eax, 0x200
	EQ16 eax, 0
	FAULTS16 13, pushfd
	FAULTS16 13, int 0x41
	push word 0x102			; TF
	FAULTS16 13, popf
	ud2
v_handler:
	mov ecx, 0x40
	push bp
	mov bp, sp
	movzx ebx, word [bp + 6]
	and ebx, 0x3200
	pop bp
	iret
LOW_END
FINISH
