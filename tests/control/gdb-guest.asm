; SPDX-License-Identifier: Apache-2.0
; tests/control/gdb-guest.asm - what the debugger's test looks at: a long-mode loop that counts.
;
; Multiboot 1; 64-bit from `wide` on. Symbols: start, tick (called for ever), counter, spin.
	section .text
	align 4
	dd 0x1badb002, 0, -0x1badb002		; multiboot header: magic, flags, checksum

	bits 32
	global start
start:	mov edi, tables
	mov eax, tables + 0x1003		; PML4[0] -> PDPT
	mov [edi], eax
	mov dword [edi + 0x1000], 0x83		; PDPT[0]: 1 GiB page, present, writable
	mov cr3, edi
	mov eax, cr4
	or eax, 0x220				; PAE, OSFXSR
	mov cr4, eax
	mov ecx, 0xc0000080
	rdmsr
	or eax, 0x100				; EFER.LME
	wrmsr
	mov eax, cr0
	or eax, 0x80000001			; PG, PE
	mov cr0, eax
	lgdt [gdtr]
	jmp 8:wide

	bits 64
	global wide, tick, spin, counter
wide:	mov ax, 16
	mov ds, ax
	mov ss, ax
	mov rsp, stack
	mov rbx, 0x1122334455667788
spin:	call tick
	jmp spin
tick:	inc qword [counter]
	movq xmm3, [counter]
	ret

	section .data
	align 8
gdt:	dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:	dw 23
	dd gdt
	align 8
counter: dq 0

	section .bss
	align 4096
tables:	resb 8192
	resb 4096
stack:
