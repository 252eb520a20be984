; SPDX-License-Identifier: Apache-2.0
; tests/bench/handoff.asm - two processors hand the turn to each other and note how long that took, for `make bench-switch`.
;
; By PAUSE, at which QEMU's round robin goes on to the next processor of the same thread; with -DIPI by an
; interrupt to the other and HLT, so that one thread wakes the other. Ends by writing the notes to port 0xe9.
%include "lib.inc"
%include "low.inc"

APIC	equ 0xfee00000
NOTES	equ 0x400000
COUNT	equ 20000
ap_stack equ guest_data + 0x8000

main:
	call low_copy
	mov dword [APIC + 0xf0], 0x1ff
	SETGATE IDT(0x40), SEL_CODE, on_ipi, 0x8e, 0
	mov dword [APIC + 0x310], 0x01000000
	mov dword [APIC + 0x300], 0x4500
	mov ecx, 100000
.delay:	in al, 0x80
	loop .delay
	mov dword [APIC + 0x310], 0x01000000
	mov dword [APIC + 0x300], 0x4600 | LOW >> 12
.wait:	pause
	cmp dword [ap_alive], 1
	jne .wait
	xor esi, esi
	jmp turn

ap_main:
	mov ax, SEL_DATA
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov esp, ap_stack
	lidt [idtr]
	mov dword [APIC + 0xf0], 0x1ff
	mov esi, 1
	mov dword [ap_alive], 1
%ifdef IPI
	jmp turn.sleep
%endif

; esi: who I am. The time from where the other left off to here.
turn:	rdtsc
	mov ecx, [left_by]
	xor ecx, esi
	dec ecx
	jnz .go
	sub eax, [left_at]
	mov edx, [noted]
	cmp edx, COUNT
	jae done
	mov [NOTES + edx * 4], eax
	inc dword [noted]
.go:	mov [left_by], esi
%ifdef IPI
	mov ecx, esi
	xor ecx, 1
	shl ecx, 24
	mov [APIC + 0x310], ecx
	rdtsc
	mov [left_at], eax
	mov dword [APIC + 0x300], 0x4040
.sleep:	sti
	hlt
	cli
%else
	rdtsc
	mov [left_at], eax
	pause
%endif
	jmp turn

done:	mov esi, NOTES
	mov ecx, COUNT * 4
	mov dx, 0xe9
	rep outsb
	xor eax, eax
	out 0xf4, al
	hlt

on_ipi:	mov dword [APIC + 0xb0], 0
	iret

align 64
left_at: dd 0
left_by: dd 2
noted:	dd 0
ap_alive: dd 0

align 16
low_begin:
bits 16
	cli				; CS:IP = LOW:0
	xor ax, ax
	mov ds, ax
	o32 lgdt [L(ap_gdtr)]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword SEL_CODE:ap_main
ap_gdtr: dw gdt_end - gdt - 1
	dd gdt
low_end:
bits 32
FINISH
