; SPDX-License-Identifier: Apache-2.0
; tests/boot/compat.asm - a 32-bit program for Linux, alone in its file: /init of a 64-bit guest, or a host's process.
;
; Prints `ok NAME` or `not ok NAME` for each of its tests; as process 1 it switches the machine off.
; Linux's ways into the kernel from 32-bit code, signals, segments of its own, 64-bit code and back.
bits 32
org 0x8048000

SYS_exit	equ 1
SYS_write	equ 4
SYS_getpid	equ 20
SYS_signal	equ 48
SYS_reboot	equ 88
SYS_set_thread_area equ 243
SIGFPE		equ 8
SIGSEGV		equ 11
AT_SYSINFO	equ 32
USER_CS64	equ 0x33

ehdr:	db 0x7f, "ELF", 1, 1, 1
	times 9 db 0
	dw 2, 3			; executable, 386
	dd 1, start, phdr - $$, 0, 0
	dw 52, 32, 1, 0, 0, 0
phdr:	dd 1, 0, $$, $$, file_end - $$, mem_end - $$, 7, 0x1000

; IS name, got, want: both are operands of 32 bits
%macro IS 3
	pushad
	push dword %2
	push dword %3
	pop edx
	pop eax
	mov esi, %%name
	mov ecx, %%end - %%name
	call verdict
	popad
	jmp %%end
%%name:	db %1, 10
%%end:
%endmacro

start:	mov [at_start], esp
	mov eax, SYS_getpid
	int 0x80
	mov [pid], eax

	; the vDSO's way: SYSCALL or SYSENTER
	mov eax, [at_start]
	mov ecx, [eax]
	lea eax, [eax + ecx * 4 + 8]	; behind the arguments: the environment
.env:	add eax, 4
	cmp dword [eax - 4], 0
	jne .env
.auxv:	cmp dword [eax], 0
	je .none
	cmp dword [eax], AT_SYSINFO
	je .found
	add eax, 8
	jmp .auxv
.found:	mov esi, [eax + 4]
	mov eax, SYS_getpid
	call esi
	IS "system call by the vDSO", eax, [pid]
.none:

	; registers and stack
	mov esp, [at_start]
	mov eax, 0x11111111
	mov edi, 0x77777777
	pusha
	xor eax, eax
	xor edi, edi
	popa
	add eax, edi
	IS "pusha and popa", eax, 0x88888888
	mov eax, esp
	push ds
	pop es
	sub eax, esp
	IS "push and pop of a segment", eax, 0
	xor ecx, ecx
	mov eax, 0x7fffffff
	inc eax
	seto cl
	IS "inc of one byte, its flags", ecx, 1
	mov eax, [moffs]
	add eax, [ehdr]
	IS "mov without ModRM", eax, 0x464c457f + 0x1234

	; strings
	mov esi, text
	mov edi, buffer
	mov ecx, 5
	rep movsd
	movsb
	mov edi, buffer
	mov al, "z"
	mov ecx, 100
	repne scasb
	IS "rep movs, repne scas", ecx, 100 - 21
	mov esi, text
	mov edi, buffer
	mov ecx, 21
	repe cmpsb
	IS "repe cmps", ecx, 0

	; a segment of our own, and addresses before its base
	mov eax, SYS_set_thread_area
	mov ebx, area
	int 0x80
	mov eax, [area]
	lea eax, [eax * 8 + 3]
	mov gs, ax
	mov dword [thread], 0x600d
	mov eax, [gs:0]
	mov dword [gs:-4], 0xbeef
	IS "thread area", eax, 0x600d
	IS "thread area, before its base", [thread - 4], 0xbeef

	; 64-bit code and back, with all of a register
	mov eax, 1
	call USER_CS64:code64
	IS "64-bit code and back", eax, 42

	; signals
	mov eax, SYS_signal
	mov ebx, SIGFPE
	mov ecx, on_signal
	int 0x80
	mov dword [resume], .after_div
	xor edx, edx
	xor ecx, ecx
	div ecx
.after_div:
	IS "SIGFPE", [signals], SIGFPE
	mov eax, SYS_signal
	mov ebx, SIGSEGV
	mov ecx, on_signal
	int 0x80
	mov dword [resume], .after_store
	mov [0xfffff000], eax		; the kernel's
.after_store:
	IS "SIGSEGV at the top", [signals], SIGFPE + SIGSEGV
	mov eax, SYS_signal
	mov ebx, SIGSEGV
	mov ecx, on_signal
	int 0x80
	mov dword [resume], .after_wrap
	mov ebx, -1
	mov eax, [gs:ebx]		; its limit, though the base takes it to memory of ours
.after_wrap:
	IS "SIGSEGV by a limit", [signals], SIGFPE + SIGSEGV + SIGSEGV

	; work: a generator, its sum in two registers
	mov ecx, 3000000
	mov eax, 12345
	xor ebx, ebx
	xor esi, esi
.more:	imul eax, eax, 1664525
	add eax, 1013904223
	mov [buffer + 32], eax
	add ebx, [buffer + 32]
	adc esi, 0
	call leaf
	loop .more
	IS "work, low", ebx, 0x721ba860
	IS "work, high", esi, 1499546

	cmp dword [pid], 1
	jne .leave
	mov eax, SYS_reboot
	mov ebx, 0xfee1dead
	mov ecx, 672274793
	mov edx, 0x4321fedc
	int 0x80
.leave:	mov eax, SYS_exit
	mov ebx, [bad]
	int 0x80

leaf:	push ebp
	mov ebp, esp
	xor edi, [ebp + 4]
	leave
	ret

; eax is got, edx wanted; esi, ecx the name
verdict:
	mov edi, line
	cmp eax, edx
	je .ok
	mov dword [edi], "not "
	add edi, 4
	mov dword [bad], 1
.ok:	mov word [edi], "ok"
	mov byte [edi + 2], " "
	add edi, 3
	rep movsb
	mov edx, edi
	mov ecx, line
	sub edx, ecx
	mov ebx, 1
	mov eax, SYS_write
	int 0x80
	ret

; the old signal frame: return address, number, then struct sigcontext with EIP at 56
on_signal:
	mov eax, [esp + 4]
	add [signals], eax
	mov eax, [resume]
	mov [esp + 8 + 56], eax
	ret

bits 64
code64:	mov r8, 1 << 40
	mov rcx, r8
	shr rcx, 40
	add eax, 40
	add eax, ecx
	retf

	align 4
moffs	dd 0x1234
text	db "abcdefghijklmnopqrst"
	db "z"
	align 4
area:	dd -1, thread, 0xfffff
	dd 0x51			; 32 bits, limit in pages, usable
before	dd 0
thread	dd 0
file_end:
absolute 0x8050000		; not in a page with code
at_start resd 1
pid	resd 1
resume	resd 1
signals	resd 1
bad	resd 1
line	resb 80
buffer	resb 64
mem_end:
