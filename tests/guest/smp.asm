; SPDX-License-Identifier: Apache-2.0
; tests/guest/smp.asm - a second processor: INIT and SIPI, IPIs, locked operations, TLBs, code seen by both.
; cpus: 2
%include "lib.inc"
%include "low.inc"

APIC	equ 0xfee00000
count	equ guest_data		; interrupts by vector, on any processor
ap_stack equ guest_data + 0x8000
area	equ guest_data + 0x9000
pd	equ 0x200000
pt	equ 0x201000
WIN	equ 0x40000000

; Let the other processor run a function, and wait for it.
%macro ON_AP 1
	mov dword [ap_work], %1
%endmacro
%macro AP_WAIT 0
%%wait:	pause
	cmp dword [ap_work], 0
	jne %%wait
%endmacro

main:
	call low_copy
	mov dword [APIC + 0xf0], 0x1ff
	SETGATE IDT(0x40), SEL_CODE, on_ipi, 0x8e, 0

	TEST "INIT and SIPI"
	mov dword [ap_alive], 0
	mov eax, [APIC + 0x20]
	shr eax, 24
	mov [bsp_id], eax
	mov dword [APIC + 0x310], 0x01000000
	mov dword [APIC + 0x300], 0x4500
	mov ecx, 100000
.w0:	in al, 0x80
	loop .w0
	mov dword [APIC + 0x310], 0x01000000
	mov dword [APIC + 0x300], 0x4600 | LOW >> 12
	mov ecx, 200000000
.w1:	pause
	cmp dword [ap_alive], 1
	loopne .w1
	EQ [ap_alive], 1
	EQ [ap_sel], LOW >> 4
	EQ [ap_id], 1
	EQ [bsp_id], 0

	TEST "locked increments"
	mov dword [shared], 0
	ON_AP increments
	call increments
	AP_WAIT
	EQ [shared], 200000

	TEST "compare and exchange"
	mov dword [shared], 0
	ON_AP exchanges
	call exchanges
	AP_WAIT
	EQ [shared], 100000

	TEST "a spin lock"
	mov dword [shared], 0
	mov dword [lock_word], 0
	ON_AP locked
	call locked
	AP_WAIT
	EQ [shared], 100000

	TEST "CMPXCHG8B and XADD"
	mov dword [shared], 0
	mov dword [shared + 4], 0
	ON_AP wide
	call wide
	AP_WAIT
	EQ [shared], 0
	EQ [shared + 4], 2		; 8192 steps of 2^20
	mov dword [shared], 0
	ON_AP xadds
	call xadds
	AP_WAIT
	EQ [shared], 100000

	TEST "a locked increment across two cache lines"
	mov dword [guest_data + 0x103e], 0
	ON_AP split
	call split
	AP_WAIT
	EQ [guest_data + 0x103e], 20000

	TEST "interrupts to the other"
	mov dword [count + 0x40 * 4], 0
	ON_AP wait_ipi
	mov ecx, 3
.ipi:	mov dword [APIC + 0x310], 0x01000000
	mov dword [APIC + 0x300], 0x4040
	mov eax, 4
	sub eax, ecx
.seen:	pause
	cmp [count + 0x40 * 4], eax
	jne .seen
	loop .ipi
	AP_WAIT
	EQ [count + 0x40 * 4], 3
	EQ [ipi_cpu], 1

	TEST "interrupts back, and to all"
	mov dword [count + 0x40 * 4], 0
	ON_AP send_ipi
	sti
	mov ecx, 100000000
.back:	pause
	cmp dword [count + 0x40 * 4], 1
	loopne .back
	cli
	AP_WAIT
	EQ [count + 0x40 * 4], 1
	EQ [ipi_cpu], 0
	mov dword [count + 0x40 * 4], 0
	ON_AP wait_ipi_once
.ready:	pause
	cmp dword [ap_ready], 1
	jne .ready
	mov dword [APIC + 0x300], 0xc4040	; all but self
	AP_WAIT
	EQ [count + 0x40 * 4], 1

	TEST "code written by one, run by the other"
	mov byte [area], 0xb8
	mov dword [area + 1], 0
	mov byte [area + 5], 0xc3
	mov dword [ap_sum], 0
	ON_AP run_area
	mov ecx, 200
.code:	mov [area + 1], ecx
	mov [ap_go], ecx
.ran:	pause
	cmp [ap_seen], ecx
	jne .ran
	loop .code
	AP_WAIT
	EQ [ap_sum], 200 * 201 / 2

	TEST "a page taken away from the other"
	mov edi, pd
	xor eax, eax
	mov ecx, 0x2000 / 4
	rep stosd
	mov dword [pd], 0x83
	mov dword [pd + (0xfee00000 >> 22) * 4], 0xfec00083
	mov dword [pd + (WIN >> 22) * 4], pt | 3
	mov dword [pt], 0x300003
	mov dword [0x300000], 0x1111
	mov dword [0x301000], 0x2222
	mov dword [ap_go], 0
	mov dword [ap_seen], 0
	call paging_on
	ON_AP use_window
.w_1:	pause
	cmp dword [ap_seen], 0x1111
	jne .w_1
	mov dword [pt], 0x301003		; and tell it by IPI, which does INVLPG
	mov dword [ap_go], 1
.w_2:	pause
	cmp dword [ap_seen], 0x2222
	jne .w_2
	mov dword [ap_go], 2
	AP_WAIT
	call paging_off

	TEST "HLT until INIT"
	mov dword [ap_alive], 0
	mov dword [APIC + 0x310], 0x01000000
	mov dword [APIC + 0x300], 0x4500
	mov ecx, 100000
.w2:	in al, 0x80
	loop .w2
	mov dword [APIC + 0x310], 0x01000000
	mov dword [APIC + 0x300], 0x4600 | LOW >> 12
	mov ecx, 200000000
.w3:	pause
	cmp dword [ap_alive], 1
	loopne .w3
	EQ [ap_alive], 1
	ret

paging_on:
	mov eax, cr4
	or eax, 0x10
	mov cr4, eax
	mov eax, pd
	mov cr3, eax
	mov eax, cr0
	or eax, 0x80000000
	mov cr0, eax
	ret
paging_off:
	mov eax, cr0
	and eax, 0x7fffffff
	mov cr0, eax
	ret

increments:
	mov ecx, 100000
.next:	lock inc dword [shared]
	loop .next
	ret
exchanges:
	mov ecx, 50000
.next:	mov eax, [shared]
.again:	lea edx, [eax + 1]
	lock cmpxchg [shared], edx
	jne .again
	loop .next
	ret
locked:
	mov ecx, 50000
.next:	mov eax, 1
.spin:	xchg eax, [lock_word]
	test eax, eax
	jz .mine
	pause
	jmp .spin
.mine:	inc dword [shared]
	mov dword [lock_word], 0
	loop .next
	ret
wide:	mov esi, 4096
.next:	mov eax, [shared]
	mov edx, [shared + 4]
.again:	mov ebx, eax
	mov ecx, edx
	add ebx, 0x100000
	adc ecx, 0
	lock cmpxchg8b [shared]
	jne .again
	dec esi
	jnz .next
	ret
xadds:	mov ecx, 50000
.next:	mov eax, 1
	lock xadd [shared], eax
	loop .next
	ret
split:	mov ecx, 10000
.next:	lock inc dword [guest_data + 0x103e]
	loop .next
	ret
wait_ipi:				; the last one may come between a look and HLT
.next:	cli
	cmp dword [count + 0x40 * 4], 3
	je .done
	sti
	hlt
	jmp .next
.done:	ret
send_ipi:
	mov dword [APIC + 0x310], 0
	mov dword [APIC + 0x300], 0x4040
	ret
wait_ipi_once:
	mov dword [ap_ready], 1
	sti
	hlt
	cli
	mov dword [ap_ready], 0
	ret
run_area:
	mov edx, 200
.next:	pause
	cmp [ap_go], edx
	jne .next
	mov eax, area
	call eax
	add [ap_sum], eax
	mov [ap_seen], edx
	dec edx
	jnz .next
	ret
use_window:
	call paging_on
	mov eax, [WIN]
	mov [ap_seen], eax
.w1:	pause
	cmp dword [ap_go], 1
	jne .w1
	invlpg [WIN]
	mov eax, [WIN]
	mov [ap_seen], eax
.w2:	pause
	cmp dword [ap_go], 2
	jne .w2
	call paging_off
	ret

on_ipi:	push eax
	mov eax, [APIC + 0x20]
	shr eax, 24
	mov [ipi_cpu], eax
	lock inc dword [count + 0x40 * 4]
	mov dword [APIC + 0xb0], 0
	pop eax
	iret

ap_main:
	mov ax, SEL_DATA
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov esp, ap_stack
	lidt [idtr]
	mov dword [APIC + 0xf0], 0x1ff
	mov eax, [APIC + 0x20]
	shr eax, 24
	mov [ap_id], eax
	mov dword [ap_work], 0
	mov dword [ap_alive], 1
.idle:	pause
	mov eax, [ap_work]
	test eax, eax
	jz .idle
	call eax
	mov dword [ap_work], 0
	jmp .idle

align 64
shared:	dd 0, 0
align 64
lock_word: dd 0
align 64
ap_work: dd 0
ap_alive: dd 0
ap_id:	dd 0
bsp_id:	dd 0
ap_ready: dd 0
ap_go:	dd 0
ap_seen: dd 0
ap_sum:	dd 0
ipi_cpu: dd 0
ap_sel	equ 0x740

align 16
low_begin:
bits 16
	cli				; CS:IP = LOW:0
	xor ax, ax
	mov ds, ax
	mov ax, cs
	movzx eax, ax
	mov [ap_sel], eax
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
