; SPDX-License-Identifier: Apache-2.0
; tests/guest/debug.asm - single step, breakpoints on code, data and ports, RF, DR6, GD, INT1, MOV SS.
%include "lib.inc"

steps	equ guest_data		; what the #DB handler saw: count, then EIP and DR6 of each
logged	equ guest_data + 8

%macro DR 3			; register number, address, R/W and LEN bits (4)
	mov eax, %2
	mov dr%1, eax
	mov eax, dr7
	and eax, ~((15 << (16 + %1 * 4)) | (3 << (%1 * 2)))
	or eax, ((%3) << (16 + %1 * 4)) | (2 << (%1 * 2))
	mov dr7, eax
%endmacro
%macro DR_OFF 0
	mov eax, 0x400
	mov dr7, eax
	xor eax, eax
	mov dr6, eax
%endmacro
%macro LOG_CLEAR 0
	mov dword [steps], 0
%endmacro
%define LOG_EIP(n) [logged + (n) * 8]
%define LOG_DR6(n) [logged + (n) * 8 + 4]

main:
	SETGATE IDT(1), SEL_CODE, on_db, 0x8e, 0
	LOG_CLEAR
	DR_OFF

	TEST "DR6 and DR7 read what they must"
	mov eax, -1
	mov dr6, eax
	mov eax, dr6
%ifndef QEMU
	EQ eax, 0xffffefff
%endif
	xor eax, eax
	mov dr6, eax
	mov eax, dr6
	EQ eax, 0xffff0ff0
	xor eax, eax
	mov dr7, eax
	mov eax, dr7
	EQ eax, 0x400
	mov eax, 0x12345
	mov dr2, eax
	mov eax, dr2
	EQ eax, 0x12345
	mov eax, dr4				; DR6's other name, without CR4.DE
	EQ eax, 0xffff0ff0
	mov eax, cr4
	or eax, 8
	mov cr4, eax
	FAULTS 6, 0, mov eax, dr4
	FAULTS 6, 0, mov dr5, eax

	TEST "single step"
	LOG_CLEAR
	pushfd
	or dword [esp], 0x100
	popfd					; the next instruction is the first to trap
	nop
.s1:	inc eax
.s2:	pushfd
.s3:	and dword [esp], ~0x100
.s4:	popfd
.s5:	nop
	EQ [steps], 5
	EQ LOG_EIP(0), .s1
	EQ LOG_EIP(1), .s2
	EQ LOG_EIP(2), .s3
	EQ LOG_EIP(3), .s4
	EQ LOG_EIP(4), .s5
	mov eax, LOG_DR6(0)
	and eax, 0xe00f
	EQ eax, 0x4000

	TEST "single step: branches, strings, MOV SS"
	DR_OFF
	LOG_CLEAR
	mov esi, header
	mov edi, guest_data + 0x1000
	mov ecx, 3
	mov bx, ss
	pushfd
	pushfd
	or dword [esp], 0x100
	popfd
	jmp .t1
	nop
.t1:	rep movsb				; a trap after each iteration
.t2:	mov ss, bx				; none here,
	nop					; but here
.t3:	popfd
.t4:	nop
	EQ [steps], 6
	EQ LOG_EIP(0), .t1
	EQ LOG_EIP(1), .t1
	EQ LOG_EIP(2), .t1
	EQ LOG_EIP(3), .t2
	EQ LOG_EIP(4), .t3
	EQ LOG_EIP(5), .t4

	TEST "single step: a fault and INT"
	LOG_CLEAR
	DR_OFF
	SETGATE IDT(0x31), SEL_CODE, .int, 0x8e, 0
	mov dword [resume], .f1
	mov dword [ex_vec], -1
	pushfd
	or dword [esp], 0x100
	popfd
	ud2					; the frame has TF; the handler runs without
.f1:	nop					; (the framework clears TF)
	mov eax, [ex_flags]
	and eax, 0x100
	EQ eax, 0x100
	EQ [steps], 0
	pushfd
	or dword [esp], 0x100
	popfd
	int 0x31
.f2:	nop
.f3:	pushfd
	and dword [esp], ~0x100
	popfd
	nop
	EQ LOG_EIP(0), .f3			; INT traps into the handler, not at .f2
	jmp .int_done
.int:	iret
.int_done:

	TEST "code breakpoints"
	LOG_CLEAR
	DR_OFF
	DR 0, .c1, 0
	xor eax, eax
.c1:	inc eax
.c2:	nop
	EQ [steps], 1
	EQ LOG_EIP(0), .c1			; a fault; RF in the handler's frame lets it run
	EQ eax, 1
	mov eax, LOG_DR6(0)
	and eax, 0xe00f
	EQ eax, 1
	xor ecx, ecx
	mov ecx, 3
	LOG_CLEAR
	DR 0, .c3, 0
.c3:	loop .c3				; at every arrival
	EQ [steps], 3

	TEST "data breakpoints"
	LOG_CLEAR
	DR_OFF
	DR 1, guest_data + 0x100, 1 | 12	; write, four bytes
	mov eax, [guest_data + 0x100]
	mov [guest_data + 0x104], eax
	EQ [steps], 0
	mov [guest_data + 0x100], eax
.d1:	nop
	EQ [steps], 1
	EQ LOG_EIP(0), .d1
	mov eax, LOG_DR6(0)
	and eax, 0xe00f
	EQ eax, 2
	mov byte [guest_data + 0x103], 1
.d2:	EQ LOG_EIP(1), .d2
	mov dword [guest_data + 0xfe], 1	; overlaps
.d3:	EQ LOG_EIP(2), .d3
	LOG_CLEAR
	DR 1, guest_data + 0x100, 3 | 4		; read or write, two bytes
	mov al, [guest_data + 0x101]
	mov al, [guest_data + 0x102]
	inc word [guest_data + 0x100]
	EQ [steps], 2
	LOG_CLEAR
	push dword [guest_data + 0x100]
	pop eax
	EQ [steps], 1
	LOG_CLEAR
	DR_OFF
	mov eax, guest_data + 0x100		; not enabled: no trap
	mov dr1, eax
	mov [guest_data + 0x100], eax
	EQ [steps], 0

	TEST "a string stops at its breakpoint"
	LOG_CLEAR
	DR_OFF
	DR 2, guest_data + 0x202, 1
	mov edi, guest_data + 0x200
	mov ecx, 8
	rep stosb
.r1:	nop
	EQ [steps], 1
	EQ ecx, 0
	EQ [seen_ecx], 5

	TEST "port breakpoints"
	LOG_CLEAR
	DR_OFF
	DR 3, 0x61, 2
	in al, 0x62
	EQ [steps], 0
	in al, 0x61
.p1:	EQ [steps], 1
	EQ LOG_EIP(0), .p1
	mov eax, LOG_DR6(0)
	and eax, 0xe00f
	EQ eax, 8

%ifndef QEMU
	TEST "general detect"
	LOG_CLEAR
	DR_OFF
	mov eax, 0x2400
	mov dr7, eax
.g1:	mov eax, dr0				; a fault; the handler finds GD clear
	EQ [steps], 1
	EQ LOG_EIP(0), .g1
	mov eax, LOG_DR6(0)
	and eax, 0x2000
	EQ eax, 0x2000
	mov eax, dr7
	and eax, 0x2000
	EQ eax, 0

	TEST "INT1"
	LOG_CLEAR
	DR_OFF
	db 0xf1
.i1:	EQ [steps], 1
	EQ LOG_EIP(0), .i1
	EQ LOG_DR6(0), 0xffff0ff0
%endif

	TEST "a breakpoint held back by MOV SS"
	LOG_CLEAR
	DR_OFF
	DR 1, guest_data + 0x100, 3 | 12
	mov word [guest_data + 0x100], SEL_DATA
	LOG_CLEAR
	mov ss, [guest_data + 0x100]
	nop
.m1:	EQ [steps], 1
%ifndef QEMU
	EQ LOG_EIP(0), .m1
%endif

	DR_OFF
	SETGATE IDT(1), SEL_CODE, (stubs + 16), 0x8e, 0
	ret

on_db:					; log and go on; RF for faults on code
	push eax
	push ebx
	push edx
	mov ebx, [steps]
	cmp ebx, 100
	jae .full
	mov eax, [esp + 12]
	mov [logged + ebx * 8], eax
	mov eax, dr6
	mov [logged + ebx * 8 + 4], eax
.full:	inc dword [steps]
	mov [seen_ecx], ecx
	and eax, 15
	jz .no_code
	mov edx, dr7			; does the breakpoint that was met stand on code?
	test eax, 1
	jz .no_code
	test edx, 0xf0000
	jnz .no_code
	or dword [esp + 20], 0x10000
.no_code:
	xor eax, eax
	mov dr6, eax
	pop edx
	pop ebx
	pop eax
	iret
seen_ecx: dd 0
FINISH
