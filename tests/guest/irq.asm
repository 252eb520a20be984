; SPDX-License-Identifier: Apache-2.0
; tests/guest/irq.asm - interrupts: 8259, 8254, local APIC; HLT, shadows, NMI, priorities, IF.
%include "lib.inc"

APIC	equ 0xfee00000
count	equ guest_data		; interrupts by vector
at_eip	equ guest_data + 0x1000	; where the last one came

%macro COUNTS 2			; vector, expected
	EQ [count + (%1) * 4], %2
%endmacro
%macro SELF 1			; a fixed IPI to ourselves; wait until it is sent
	mov dword [APIC + 0x300], 0x44000 | (%1)
%endmacro
%macro CLEAR 0
	mov edi, count
	xor eax, eax
	push ecx
	mov ecx, 256
	rep stosd
	pop ecx
%endmacro
%macro SPIN 1			; until a vector was counted, or patience ends
	mov ecx, 50000000
%%wait:	pause
	cmp dword [count + (%1) * 4], 0
	jne %%done
	loop %%wait
%%done:
%endmacro

main:
	mov ecx, 0x20		; gates 0x20..0xff count and acknowledge
	mov eax, irq_stubs
.gate:	push eax
	push ecx
	lea edx, [idt + ecx * 8]
	SETGATE edx, SEL_CODE, eax, 0x8e, 0
	pop ecx
	pop eax
	add eax, 16
	inc ecx
	cmp ecx, 0x100
	jb .gate
	SETGATE IDT(2), SEL_CODE, on_nmi, 0x8e, 0
	mov al, 0x11			; 8259s at 0x20 and 0x28
	out 0x20, al
	out 0xa0, al
	mov al, 0x20
	out 0x21, al
	mov al, 0x28
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
	mov dword [APIC + 0xf0], 0x1ff	; APIC on, spurious vector 0xff
	mov dword [APIC + 0x350], 0x700	; LINT0: the 8259

	TEST "timer interrupts end HLT"
	CLEAR
	mov al, 0x34			; channel 0, rate generator
	out 0x43, al
	mov al, 0x9c			; 1 kHz
	out 0x40, al
	mov al, 0x04
	out 0x40, al
	mov al, 0xfe
	out 0x21, al
	mov ecx, 5
.tick:	sti
	hlt
	cli
	loop .tick
	mov al, 0xff
	out 0x21, al
	cmp dword [count + 0x20 * 4], 5
	jae .ticked
	COUNTS 0x20, 5
.ticked:
	sti
	nop
	cli
	CLEAR

	TEST "IPI to oneself"
	SELF 0x50
	nop
	COUNTS 0x50, 0			; IF is clear
	sti
	nop
	nop
	cli
	COUNTS 0x50, 1
	sti
	SELF 0x50
	SPIN 0x50
	SELF 0x51
	SPIN 0x51
	cli
	COUNTS 0x50, 2
	COUNTS 0x51, 1

	TEST "the shadow of STI"
	CLEAR
	SELF 0x52
	sti
	cli				; no room between
	nop
	COUNTS 0x52, 0
	sti
	nop
.sti1:	cli
	COUNTS 0x52, 1
	EQ [at_eip], .sti1
	CLEAR
	sti				; IF set already: no shadow
	nop
	SELF 0x52
	SPIN 0x52
	cli
	COUNTS 0x52, 1

	TEST "the shadow of MOV SS"
	CLEAR
	mov bx, ss
	cli
	SELF 0x53
	pushfd
	or dword [esp], 0x200
	popfd				; no shadow here: the interrupt comes now
.ss0:	mov ss, bx
	cli
	COUNTS 0x53, 1
	EQ [at_eip], .ss0
	CLEAR
	SELF 0x53
	sti
	mov ss, bx			; may come behind this or the next; never between
	cli
	sti
	nop
	cli
	COUNTS 0x53, 1

	TEST "priorities and TPR"
	CLEAR
	mov dword [APIC + 0x80], 0x60
	SELF 0x61
	SELF 0x55
	SELF 0x75
	sti
	nop
	nop
	COUNTS 0x75, 1
	COUNTS 0x61, 0
	COUNTS 0x55, 0
	cli
	EQ [APIC + 0x220], 0x200000	; IRR: 0x55 waits
	mov dword [APIC + 0x80], 0x50
	sti
	nop
	nop
	cli
	COUNTS 0x61, 1
	COUNTS 0x55, 0
	mov dword [APIC + 0x80], 0
	sti
	nop
	nop
	cli
	COUNTS 0x55, 1

	TEST "a higher one interrupts a handler, a lower one waits"
	CLEAR
	SETGATE IDT(0x80), SEL_CODE, nesting, 0x8e, 0
	sti
	SELF 0x80
	SPIN 0x80
	cli
	sti
	nop
	nop
	cli
	COUNTS 0x80, 1
	COUNTS 0x90, 1
	COUNTS 0x70, 1
	EQ [nest_seen], 1

	TEST "APIC timer"
	CLEAR
	mov dword [APIC + 0x3e0], 0xb		; divide by 1
	mov dword [APIC + 0x320], 0x60		; one shot
	mov dword [APIC + 0x380], 100000
	sti
	SPIN 0x60
	cli
	COUNTS 0x60, 1
	EQ [APIC + 0x390], 0
	CLEAR
	mov dword [APIC + 0x320], 0x20060	; periodic
	mov dword [APIC + 0x380], 100000
	mov ebx, 3
.per:	sti
	hlt
	cli
	dec ebx
	jnz .per
	mov dword [APIC + 0x320], 0x10060
	mov dword [APIC + 0x380], 0
	cmp dword [count + 0x60 * 4], 3
	jae .per_ok
	COUNTS 0x60, 3
.per_ok:

	TEST "NMI"
	CLEAR
	mov dword [APIC + 0x300], 0x44400	; NMI to ourselves, IF clear
	mov ecx, 1000000
.nmi:	cmp dword [count + 8], 0
	loope .nmi
	COUNTS 2, 1
	mov dword [nmi_more], 1			; one sent by the handler waits for its IRET
	mov dword [APIC + 0x300], 0x44400
	mov ecx, 1000000
.nmi2:	cmp dword [count + 8], 3
	loopne .nmi2
	COUNTS 2, 3
	EQ [nmi_nested], 0

	TEST "a software interrupt is none to acknowledge"
	CLEAR
	int 0x54
	COUNTS 0x54, 1
	EQ [APIC + 0x120], 0			; ISR

	TEST "interrupts at string instructions"
	CLEAR
	mov dword [APIC + 0x320], 0x20061
	mov dword [APIC + 0x380], 20000
	mov edx, 30
.str:	mov edi, 0x400000
	mov ecx, 0x40000
	mov eax, edx
	sti
	rep stosd
	cli
	EQ ecx, 0
	EQ edi, 0x500000
	dec edx
	jnz .str
	mov dword [APIC + 0x320], 0x10061
	mov dword [APIC + 0x380], 0
	EQ [0x4ffffc], 1
	EQ [0x400000], 1
	sti
	nop
	cli
	ret

nesting:
	pushad
	mov dword [APIC + 0x300], 0x44070
	mov dword [APIC + 0x300], 0x44090
	sti
	mov ecx, 10000000
.wait:	cmp dword [count + 0x90 * 4], 0
	loope .wait
	cli
	mov eax, [count + 0x90 * 4]
	sub eax, [count + 0x70 * 4]
	mov [nest_seen], eax
	inc dword [count + 0x80 * 4]
	mov dword [APIC + 0xb0], 0
	popad
	iret
nest_seen: dd 0

on_nmi:
	pushad
	inc dword [count + 8]
	inc dword [nmi_depth]
	cmp dword [nmi_depth], 1
	je .first
	inc dword [nmi_nested]
.first:	cmp dword [nmi_more], 0
	je .done
	dec dword [nmi_more]
	mov dword [APIC + 0x300], 0x44400
	mov ecx, 10000
.wait:	loop .wait
.done:	dec dword [nmi_depth]
	popad
	iret
nmi_more: dd 0
nmi_nested: dd 0
nmi_depth: dd 0

align 16
irq_stubs:
%assign v 0x20
%rep 0xe0
	align 16
	push dword v
	jmp irq_common
%assign v v + 1
%endrep
irq_common:
	push eax
	mov eax, [esp + 4]
	lock inc dword [count + eax * 4]
	cmp eax, 0x54
	je .soft
	cmp eax, 0xff
	je .soft
	cmp eax, 0x30
	jae .apic
	mov al, 0x20
	out 0x20, al
	jmp .soft
.apic:	mov dword [APIC + 0xb0], 0
.soft:	mov eax, [esp + 8]
	mov [at_eip], eax
	pop eax
	add esp, 4
	iret
FINISH
