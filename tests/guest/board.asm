; SPDX-License-Identifier: Apache-2.0
; tests/guest/board.asm - the board as a guest meets it: IOAPIC, UART, RTC, PM timer, PCI, fw_cfg, tables, test device.
; options: --test-device
%include "lib.inc"

APIC	equ 0xfee00000
IOAPIC	equ 0xfec00000
TESTMEM	equ 0xff000000
LINE14	equ 0x200e		; the test device's hand on ISA line 14
COM1	equ 0x3f8
count	equ guest_data		; interrupts by vector

%macro COUNTS 2			; vector, expected
	EQ [count + (%1) * 4], %2
%endmacro
%macro RTE 2			; pin, low half; to APIC 0
	mov dword [IOAPIC], 0x11 + 2 * (%1)
	mov dword [IOAPIC + 0x10], 0
	mov dword [IOAPIC], 0x10 + 2 * (%1)
	mov dword [IOAPIC + 0x10], %2
%endmacro
%macro LINE 1
	mov dx, LINE14
	mov al, %1
	out dx, al
%endmacro
%macro OUTB 2
	mov dx, %1
	mov al, %2
	out dx, al
%endmacro
%macro INB 1			; zero-extended into eax
	mov dx, %1
	xor eax, eax
	in al, dx
%endmacro
%macro WINDOW 0			; take what is pending
	sti
	nop
	nop
	cli
%endmacro
%macro SPIN 1			; until a vector was counted, or patience ends
	sti
	mov ecx, 50000000
%%wait:	pause
	cmp dword [count + (%1) * 4], 0
	jne %%done
	loop %%wait
%%done:	cli
%endmacro

main:
	mov al, 0xff
	out 0x21, al
	out 0xa1, al
	SETGATE IDT(0x81), SEL_CODE, on_edge, 0x8e, 0
	SETGATE IDT(0x82), SEL_CODE, on_level, 0x8e, 0
	SETGATE IDT(0x83), SEL_CODE, on_uart, 0x8e, 0
	SETGATE IDT(0x84), SEL_CODE, on_rtc, 0x8e, 0
	mov dword [APIC + 0xf0], 0x1ff

	TEST "test device: echo in three widths, slow memory"
	mov dx, 0xe0
	mov eax, 0x12345678
	out dx, eax
	xor eax, eax
	in eax, dx
	EQ eax, 0x12345678
	xor eax, eax
	mov dx, 0xe2
	in ax, dx
	EQ eax, 0x1234
	INB 0xe1
	EQ eax, 0x56
	mov dword [TESTMEM], 0x11223344
	add byte [TESTMEM + 1], 0x11
	EQ [TESTMEM], 0x11224444
	mov esi, TESTMEM
	mov edi, TESTMEM + 0x100
	mov ecx, 1
	rep movsd
	EQ [TESTMEM + 0x100], 0x11224444

	TEST "IOAPIC edge"
	RTE 14, 0x10081			; masked: this edge is lost
	LINE 1
	LINE 0
	RTE 14, 0x81
	WINDOW
	COUNTS 0x81, 0
	LINE 1
	WINDOW
	COUNTS 0x81, 1
	LINE 1
	WINDOW
	COUNTS 0x81, 1
	LINE 0
	LINE 1
	WINDOW
	COUNTS 0x81, 2
	LINE 0

	TEST "IOAPIC level, until the line falls"
	mov dword [level_left], 3
	RTE 14, 0x18082
	LINE 1
	WINDOW
	COUNTS 0x82, 0
	RTE 14, 0x8082			; unmasked while high
	sti
	times 12 nop
	cli
	COUNTS 0x82, 3
	mov dword [IOAPIC], 0x10 + 2 * 14
	EQ [IOAPIC + 0x10], 0x8082	; remote IRR is clear again
	RTE 14, 0x10000

	TEST "8259 takes the same line"
	mov al, 0x11
	out 0x20, al
	out 0xa0, al
	mov al, 0x40
	out 0x21, al
	mov al, 0x48
	out 0xa1, al
	mov al, 4
	out 0x21, al
	mov al, 2
	out 0xa1, al
	mov al, 1
	out 0x21, al
	out 0xa1, al
	mov al, 0xff
	out 0x21, al
	out 0xa1, al
	LINE 1
	mov al, 0x0a
	out 0xa0, al
	INB 0xa0
	EQ eax, 0x40			; IRR
	LINE 0

	TEST "UART in loopback, by interrupt"
	RTE 4, 0x83
	OUTB COM1 + 4, 0x18		; loop: nothing of this leaves; OUT2's gate is closed in loopback
	OUTB COM1 + 2, 0x07
	OUTB COM1 + 1, 0x01
	OUTB COM1, 0x5a
	INB COM1 + 5
	EQ eax, 0x61
	INB COM1
	EQ eax, 0x5a
	OUTB COM1 + 1, 0x00
	OUTB COM1 + 4, 0x0b
	OUTB COM1 + 1, 0x02		; transmitter empty
	SPIN 0x83
	COUNTS 0x83, 1
	OUTB COM1 + 1, 0x00
	RTE 4, 0x10000

	TEST "RTC: time, memory, periodic interrupt"
	RTE 8, 0x84
	OUTB 0x70, 0x0d
	INB 0x71
	EQ eax, 0x80
	OUTB 0x70, 0x32
	INB 0x71
	EQ eax, 0x20
	OUTB 0x70, 0x0a
	OUTB 0x71, 0x26			; 1024 Hz
	OUTB 0x70, 0x0b
	OUTB 0x71, 0x42
	SPIN 0x84
	OUTB 0x70, 0x0b
	OUTB 0x71, 0x02
	cmp dword [count + 0x84 * 4], 0
	setne al
	movzx eax, al
	EQ eax, 1
	RTE 8, 0x10000

	TEST "PM timer runs"
	mov dx, 0x608
	in eax, dx
	mov ebx, eax
	mov ecx, 1000000
.pm:	in eax, dx
	cmp eax, ebx
	jne .ran
	loop .pm
.ran:	cmp eax, ebx
	setne al
	movzx eax, al
	EQ eax, 1

	TEST "PCI: host bridge by ports and by memory, nobody else"
	mov dx, 0xcf8
	mov eax, 0x80000000
	out dx, eax
	mov dx, 0xcfc
	in eax, dx
	mov ebx, eax
	EQ [0xe0000000], ebx
	EQ [0xe0008000], -1
	mov dx, 0xcf8
	mov eax, 0x80000800
	out dx, eax
	mov dx, 0xcfc
	in eax, dx
	EQ eax, -1

	TEST "fw_cfg: signature and number of processors"
	mov dx, 0x510
	xor eax, eax
	out dx, ax
	mov ecx, 4
.fw:	shl ebx, 8
	INB 0x511
	mov bl, al
	loop .fw
	EQ ebx, 0x51454d55		; "QEMU"
	mov dx, 0x510
	mov eax, 5
	out dx, ax
	INB 0x511
	EQ eax, 1

	TEST "ACPI: a root pointer with right sums"
	mov esi, 0xe0000
.look:	cmp dword [esi], "RSD "
	jne .next
	cmp dword [esi + 4], "PTR "
	je .found
.next:	add esi, 16
	cmp esi, 0x100000
	jb .look
.found:	mov ecx, 20
	call sum
	EQ eax, 0
	mov ecx, 36
	call sum
	EQ eax, 0
	mov esi, [esi + 24]
	EQ [esi], "XSDT"
	mov ecx, [esi + 4]
	call sum
	EQ eax, 0
	ret

sum:	push esi			; of ecx bytes at esi
	xor eax, eax
.add:	add al, [esi]
	inc esi
	loop .add
	pop esi
	ret

on_edge:
	inc dword [count + 0x81 * 4]
	mov dword [APIC + 0xb0], 0
	iret

on_level:				; lets the line go when it has come often enough
	push eax
	push edx
	inc dword [count + 0x82 * 4]
	dec dword [level_left]
	jnz .eoi
	LINE 0
.eoi:	mov dword [APIC + 0xb0], 0
	pop edx
	pop eax
	iret

on_uart:				; reading IIR takes the interrupt
	push eax
	push edx
	inc dword [count + 0x83 * 4]
	INB COM1 + 2
	mov dword [APIC + 0xb0], 0
	pop edx
	pop eax
	iret

on_rtc:
	push eax
	inc dword [count + 0x84 * 4]
	mov al, 0x0c
	out 0x70, al
	in al, 0x71
	mov dword [APIC + 0xb0], 0
	pop eax
	iret

level_left: dd 0
FINISH
