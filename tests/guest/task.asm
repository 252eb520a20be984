; SPDX-License-Identifier: Apache-2.0
; tests/guest/task.asm - hardware tasks: JMP, CALL, IRET, gates, exceptions, 16-bit, V86 task, bad TSSs.
%include "lib.inc"
%include "low.inc"

B	equ SEL_FREE
B16	equ SEL_FREE + 8
GATE	equ SEL_FREE + 16
BAD	equ SEL_FREE + 24
LDT	equ SEL_FREE + 32
tss_b	equ guest_data
tss_b16	equ guest_data + 0x100
tss_bad	equ guest_data + 0x200
stack_b	equ guest_data + 0x2000

main:
	call low_copy
	SETDESC B, tss_b, 0x67, 0x89
	SETDESC B16, tss_b16, 0x2b, 0x81

	TEST "JMP and JMP back"
	mov eax, tss_b
	mov ebx, .b_jumped
	call fill
	mov dword [tss + 0x1c], 0
	mov ebx, 0x1234
	mov [main_esp], esp
	jmp B:0
.back:	EQ ebx, 0x1234
	mov eax, esp
	EQ eax, [main_esp]
	EQ [tss_b + 0x20], .b_after
	EQ [tss_b + 0x30], 0xbbbb
	movzx eax, byte [gdt + B + 5]
	EQ eax, 0x89
	movzx eax, byte [gdt + SEL_TSS + 5]
	EQ eax, 0x8b
	jmp .done
.b_jumped:
	str ax
	movzx eax, ax
	EQ eax, B
	EQ [tss + 0x20], .back
	movzx eax, byte [gdt + SEL_TSS + 5]
	EQ eax, 0x89
	movzx eax, byte [gdt + B + 5]
	EQ eax, 0x8b
	mov eax, cr0
	and eax, 8
	EQ eax, 8
	clts
	pushfd
	pop eax
	and eax, 0xff00
	EQ eax, 0
	mov edx, 0xbbbb
	jmp SEL_TSS:0
.b_after: jmp finish
.done:
	clts

	TEST "CALL and IRET"
	mov eax, tss_b
	mov ebx, .b_called
	call fill
	SETGATE gdt + GATE, B, 0, 0x85, 0
	call GATE:0
	clts
	EQ [tss_b + 0x20], .b_called		; IRET was at the end of a loop: it resumes behind it
	movzx eax, byte [gdt + B + 5]
	EQ eax, 0x89
	mov eax, [tss_b + 0x24]
	and eax, 0x4000
	EQ eax, 0				; NT went with IRET
	call B:0				; again, directly
	clts
	jmp .called
.b_iret:
	iret
.b_called:
	pushfd
	pop eax
	and eax, 0x4000
	EQ eax, 0x4000
	movzx eax, word [tss_b]
	EQ eax, SEL_TSS
	movzx eax, byte [gdt + SEL_TSS + 5]
	EQ eax, 0x8b
	FAULTS 13, SEL_TSS, call SEL_TSS:0	; busy
	jmp .b_iret
.called:

	TEST "an exception's task gate"
	mov eax, tss_b
	mov ebx, .b_np
	call fill
	SETGATE IDT(11), B, 0, 0x85, 0
	SETDESC BAD, 0, 0xfffff, 0xc013
	mov ax, BAD
	mov dword [0x740], 0
	mov es, ax
	clts
	mov ax, SEL_DATA
	mov es, ax
	EQ [0x740], BAD
	jmp .np_done
.b_np:	pop dword [0x740]			; the error code
	add dword [tss + 0x20], 2		; step over `mov es, ax`
	iret
.np_done:
	SETGATE IDT(11), SEL_CODE, (stubs + 11 * 16), 0x8e, 0

	TEST "16-bit TSS"
	mov edi, tss_b16
	xor eax, eax
	mov ecx, 11
	rep stosd
	mov word [tss_b16 + 0x0e], L(t16)
	mov word [tss_b16 + 0x10], 2
	mov word [tss_b16 + 0x1a], 0x7f00
	mov word [tss_b16 + 0x22], SEL_DATA16
	mov word [tss_b16 + 0x24], SEL_CODE16
	mov word [tss_b16 + 0x26], SEL_DATA16
	mov word [tss_b16 + 0x28], SEL_DATA16
	mov dword [0x740], 0
	mov ebx, 0x12345678
	call B16:0
	clts
	EQ [0x740], 0x4002
	EQ ebx, 0x12345678
	movzx eax, word [tss_b16 + 0x18]
	EQ eax, 0x9999

	TEST "a task in ring 3 with an LDT"
	SETDESC LDT, guest_data + 0x800, 0xf, 0x82
	mov eax, [gdt + (SEL_UDATA & ~7)]
	mov [guest_data + 0x808], eax
	mov eax, [gdt + (SEL_UDATA & ~7) + 4]
	mov [guest_data + 0x80c], eax
	mov eax, tss_b
	mov ebx, .b_user
	call fill
	mov word [tss_b + 0x60], LDT
	mov word [tss_b + 0x58], 0xf		; FS from the LDT
	mov word [tss_b + 0x4c], SEL_UCODE
	mov word [tss_b + 0x50], SEL_UDATA
	mov word [tss_b + 0x54], SEL_UDATA
	mov word [tss_b + 0x48], SEL_UDATA
	mov word [tss_b + 0x5c], 0
	mov dword [tss_b + 4], stack_b + 0x1000
	mov word [tss_b + 8], SEL_DATA
	call B:0
	clts
	sldt ax
	movzx eax, ax
	EQ eax, 0
	jmp .user_done
.b_user:
	mov ax, cs
	movzx eax, ax
	EQ eax, SEL_UCODE
	EQ [fs:header], 0x464c457f
	FAULTS 13, 0, cli
	iret					; NT: back to ring 0 through the link
.user_done:

	TEST "a virtual-8086 task"
	mov eax, tss_b
	mov ebx, L(tv86)
	call fill
	mov dword [tss_b + 0x24], 0x20002
	mov edi, tss_b + 0x48
	mov ecx, 6
	xor eax, eax
	rep stosd
	mov dword [tss_b + 0x38], 0x7f00	; SP
	mov dword [tss_b + 4], stack_b + 0x1000
	mov word [tss_b + 8], SEL_DATA
	SETGATE IDT(6), SEL_CODE, .v86_ud, 0x8e, 0
	mov dword [0x740], 0
	call B:0
	clts
	EQ [0x740], 0x8086
	SETGATE IDT(6), SEL_CODE, (stubs + 6 * 16), 0x8e, 0
	jmp .v86_done
.v86_ud:				; ring 0 of that task
	mov ax, SEL_DATA
	mov ds, ax
	pushfd
	or dword [esp], 0x4000
	popfd
	iret
.v86_done:

	TEST "refused"
	SETDESC BAD, tss_bad, 0x66, 0x89
	FAULTS 10, BAD, jmp BAD:0
	SETDESC BAD, tss_bad, 0x67, 0x09
	FAULTS 11, BAD, jmp BAD:0
	SETDESC BAD, tss_bad, 0x67, 0x89
	FAULTS 13, BAD, jmp BAD | 3:0
	SETGATE gdt + GATE, SEL_DATA, 0, 0x85, 0
	FAULTS 13, SEL_DATA, jmp GATE:0
	SETGATE gdt + GATE, B, 0, 0x05, 0
	FAULTS 11, GATE, jmp GATE:0
	mov eax, tss_b
	mov ebx, finish
	call fill
	mov word [tss], B
	mov [old_flags], esp
	mov dword [resume], .not_busy
	mov dword [ex_vec], -1
	pushfd
	or dword [esp], 0x4000
	popfd
	iret					; back link to a task that is not busy
.not_busy:
	EQ [ex_vec], 10
	EQ [ex_err], B
	pushfd
	and dword [esp], ~0x4000
	popfd

	TEST "bad selectors fault in the new task"
	mov esi, bad_cases
.next:	lodsd
	test eax, eax
	jz .bad_done
	push eax
	mov eax, tss_b
	mov ebx, finish
	call fill
	pop eax
	movzx ebx, ax				; offset
	shr eax, 16
	mov [tss_b + ebx], ax
	mov [case_sel], eax
	lodsd
	mov [case_vec], eax
	mov [case_esi], esi
	; the fault's handler is a task: it goes back to the main one by JMP
	mov [main_esp], esp
	mov dword [leave_to], .caught
	mov dword [resume], 0
	mov edi, tss_bad
	mov ecx, 26
	xor eax, eax
	rep stosd
	mov dword [tss_bad + 0x20], .handler_task
	mov dword [tss_bad + 0x24], 2
	mov dword [tss_bad + 0x38], stack_b + 0x1800
	mov dword [tss_bad + 0x4c], SEL_CODE
	mov dword [tss_bad + 0x48], SEL_DATA
	mov dword [tss_bad + 0x50], SEL_DATA
	mov dword [tss_bad + 0x54], SEL_DATA
	SETDESC BAD, tss_bad, 0x67, 0x89
	SETGATE IDT(10), BAD, 0, 0x85, 0
	SETGATE IDT(11), BAD, 0, 0x85, 0
	SETGATE IDT(12), BAD, 0, 0x85, 0
	jmp B:0
.caught:
	mov esi, [case_esi]
	EQ [0x740], [case_sel]
	movzx eax, word [tss_bad]
	EQ eax, B				; the new task was current
%ifndef QEMU				; QEMU 7.2 loses EIP here
	EQ [tss_b + 0x20], finish
%endif
	mov byte [gdt + B + 5], 0x89
	clts
	jmp .next
.handler_task:
	pop eax
	mov [0x740], eax
	mov dword [tss + 0x20], .caught
	jmp SEL_TSS:0
.bad_done:
	SETGATE IDT(10), SEL_CODE, (stubs + 10 * 16), 0x8e, 0
	SETGATE IDT(11), SEL_CODE, (stubs + 11 * 16), 0x8e, 0
	SETGATE IDT(12), SEL_CODE, (stubs + 12 * 16), 0x8e, 0
	mov dword [leave_to], 0

%ifndef QEMU
	TEST "debug trap"
	mov eax, tss_b
	mov ebx, .trapped
	call fill
	mov word [tss_b + 0x64], 1
	mov dword [resume], -1
	mov dword [ex_vec], -1
	call B:0
	jmp .trap_done
.trapped:
	EQ [ex_vec], 1
	EQ [ex_eip], .trapped
	mov eax, [ex_dr6]
	and eax, 0xe000
	EQ eax, 0x8000
	xor eax, eax
	mov dr6, eax
	mov dword [resume], 0
	iret
.trap_done:
	clts
%endif
	ret

bad_cases:		; offset in the TSS, selector; vector
	dw 0x60, SEL_DATA
	dd 10
	dw 0x4c, SEL_DATA
	dd 10
	dw 0x50, SEL_CODE
	dd 10
	dw 0x54, 0x3f8
	dd 10
	dw 0x48, SEL_TSS
	dd 10
	dd 0

; A flat ring-0 task in the TSS at eax, to begin at ebx.
fill:	pushad
	mov edi, eax
	mov edx, eax
	mov ecx, 26
	xor eax, eax
	rep stosd
	mov [edx + 0x20], ebx
	mov dword [edx + 0x24], 2
	mov dword [edx + 0x38], stack_b
	mov dword [edx + 0x4c], SEL_CODE
	mov dword [edx + 0x48], SEL_DATA
	mov dword [edx + 0x50], SEL_DATA
	mov dword [edx + 0x54], SEL_DATA
	mov dword [edx + 0x58], SEL_DATA
	mov dword [edx + 0x5c], SEL_DATA
	popad
	ret

main_esp: dd 0
old_flags: dd 0
case_sel: dd 0
case_vec: dd 0
case_esi: dd 0

LOW_BEGIN
t16:	pushf
	pop ax
	movzx eax, ax
	mov [0x740], eax
	mov bx, 0x9999
	iret
tv86:	mov dword [0x740], 0x8086
	ud2
LOW_END
FINISH
