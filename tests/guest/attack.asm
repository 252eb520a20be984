; SPDX-License-Identifier: Apache-2.0
; tests/guest/attack.asm - user code on its way to kernel code: jumps, calls, returns, forged return addresses; stale mappings.
;
; Kernel and user code at hand is run often first, so that a translator has it linked, cached and predicted.
%include "lib.inc"
%include "long.inc"

WIN	equ 0x40000000			; user code | user data | kernel code | ... by 4 KiB pages
PDW	equ PT
PTW	equ PT + 0x1000
PTV	equ PT + 0x2000			; another page table for the window
PDB	equ PT + 0x3000			; a second address space: the same but for its window
PDPTB	equ PT + 0x4000
PML4B	equ PT + 0x5000
FRAME	equ 0x600000
SUPERVISOR equ 0x83
KCODE	equ WIN + 0x2000
V	equ WIN + 0x4000		; the page that is remapped
KCOUNT	equ FRAME + 0x20000		; how often kernel code ran
PAGES_V	equ FRAME + 0x30000		; frames for V
HOT	equ 300

P equ 1
W equ 2
U equ 4
G equ 0x100
NX equ 1 << 63

%macro MAPTO 3			; page of the window, frame, flags
	mov rax, (%2) | (%3)
	mov [PTW + (%1) * 8], rax
	invlpg [WIN + (%1) * 0x1000]
%endmacro
%macro ATTACK 2			; name, offset in the user's page
	TEST64 %1
	mov r14, WIN + %2 - user_code
	call attack
%endmacro
%macro ATTACK_ONE 3		; name, where it starts, RIP of the fault
	TEST64 %1
	mov r14, %2
	mov rbx, KCODE
	mov r15, %3
	call attack_one
%endmacro
%macro V_IS 1			; user code at V gives this, reached in every way
	mov r15, %1
	call v_is
%endmacro
%macro V_FAULTS 1		; error code of the fetch
	mov r15, %1
	call v_faults
%endmacro

main64:
	mov ecx, 16			; the identity map becomes the supervisor's
	mov rdi, PD
.super:	mov byte [rdi], SUPERVISOR
	add rdi, 8
	loop .super
	mov qword [PDPT + 8], PDW | 7
	mov qword [PDW], PTW | 7
	mov rax, cr3
	mov cr3, rax
	mov rax, cr4
	or eax, 1 << 20 | 1 << 7	; SMEP, PGE
	mov cr4, rax
	mov rsi, user_code
	mov rdi, FRAME
	mov ecx, user_end - user_code
	rep movsb
	mov rsi, kernel_code
	mov rdi, FRAME + 0x2000
	mov ecx, kernel_end - kernel_code
	rep movsb
	mov qword [KCOUNT], 0
	MAPTO 0, FRAME, P | U
	MAPTO 1, FRAME + 0x1000, P | W | U
	MAPTO 2, FRAME + 0x2000, P | W
	MAPTO 3, FRAME + 0x3000, P | W | U
	call frames_for_v
	call syscalls_on

	ATTACK "jump to the kernel", a_jmp
	ATTACK "jump through memory", a_jmpmem
	ATTACK "call of the kernel", a_call
	ATTACK "call through memory", a_callmem
	ATTACK "return to the kernel", a_ret
	ATTACK "return that pops more", a_retimm
	ATTACK "far return", a_retf
	ATTACK "IRETQ to the same privilege", a_iret
	ATTACK "forged return address", a_forge
	ATTACK "forged return addresses, nested", a_deep
	ATTACK "return behind a system call", a_syscall
	ATTACK "return behind a breakpoint", a_int3
	ATTACK "a loop that ends in the kernel", a_spin
	ATTACK_ONE "direct jump", WIN + a_direct - user_code, KCODE
	ATTACK_ONE "direct call", WIN + a_dcall - user_code, KCODE
	ATTACK_ONE "conditional jump", WIN + a_cond - user_code, KCODE
	mov word [FRAME + 0x1ffe], 0x9090	; into the kernel's page from the one before
	ATTACK_ONE "fall into the kernel", WIN + 0x1ffe, KCODE
	mov word [FRAME + 0x1ffe], 0x05c7		; mov dword [rip + ...
	ATTACK_ONE "an instruction that ends in the kernel", WIN + 0x1ffe, WIN + 0x1ffe

	TEST64 "the kernel does not run the user's code"
	MAPTO 4, PAGES_V, P | W | U
	V_IS 1
	mov qword [x_vec], -1
	mov qword [x_resume], .smep
	mov rcx, V
	call rcx
.smep:	add rsp, 8
	EQ64 [x_vec], 14
	EQ64 [x_err], 0x11
	EQ64 [x_rip], V

	TEST64 "privileged code of a page that both run"
	MAPTO 4, PAGES_V + 0x6000, P | W | U		; mov rax, cr0; ret
	mov rax, cr4
	and eax, ~(1 << 20)
	mov cr4, rax
	mov r12d, HOT
.both:	mov rcx, V
	call rcx
	dec r12d
	jnz .both
	mov rax, cr4
	or eax, 1 << 20
	mov cr4, rax
	mov rbx, V
	mov rax, WIN + a_jmp - user_code
	call user
	EQ64 [x_vec], 13
	EQ64 [x_rip], V

	TEST64 "INVLPG"
	MAPTO 4, PAGES_V, P | W | U
	V_IS 1
	MAPTO 4, PAGES_V + 0x1000, P | W | U
	V_IS 2
	MAPTO 4, PAGES_V, P | U
	V_IS 1
	TEST64 "a page taken away"
	MAPTO 4, 0, 0
	V_FAULTS 0x14
	MAPTO 4, PAGES_V + 0x1000, P | U
	V_IS 2
	TEST64 "a page made the supervisor's"
	MAPTO 4, PAGES_V + 0x1000, P
	V_FAULTS 0x15
	MAPTO 4, PAGES_V, P | U
	V_IS 1
	TEST64 "a page made no code"
	MAPTO 4, PAGES_V, NX | P | U
	V_FAULTS 0x15
	MAPTO 4, PAGES_V + 0x1000, P | U
	V_IS 2
	TEST64 "CR3 written"
	mov qword [PTW + 32], PAGES_V | P | U
	mov rax, cr3
	mov cr3, rax
	V_IS 1
	TEST64 "a table exchanged"
	mov rsi, PTW
	mov rdi, PTV
	mov ecx, 512
	rep movsq
	mov qword [PTV + 32], (PAGES_V + 0x1000) | P | U
	mov qword [PDW], PTV | 7
	mov rax, cr3
	mov cr3, rax
	V_IS 2
	mov qword [PDW], PTW | 7
	mov rax, cr3
	mov cr3, rax
	V_IS 1
	TEST64 "a whole level made the supervisor's"
	and qword [PDW], ~U
	mov rax, cr3
	mov cr3, rax
	GATE64 14, level_pf, 0x8e, 0		; all of the user's pages are gone: back by hand
	mov rbx, V
	mov rax, WIN + a_jmp - user_code
	call user
	EQ64 r14, 0x15
	EQ64 r15, WIN + a_jmp - user_code
	GATE64 14, (stubs64 + 14 * 16), 0x8e, 0
	or qword [PDW], U
	mov rax, cr3
	mov cr3, rax
	V_IS 1
	TEST64 "global pages"
	mov qword [PTW + 32], PAGES_V | P | U | G
	invlpg [V]
	V_IS 1
	mov qword [PTW + 32], (PAGES_V + 0x1000) | P | U | G
	invlpg [V]
	V_IS 2
	mov qword [PTW + 32], PAGES_V | P | U | G
	mov rax, cr4			; all of them
	btr eax, 7
	mov cr4, rax
	bts eax, 7
	mov cr4, rax
	V_IS 1
	MAPTO 4, PAGES_V, P | U
	TEST64 "two address spaces"
	call second_space
	mov r13d, 20
.turn:	mov rax, PML4B
	mov cr3, rax
	V_IS 2
	mov rax, PML4
	mov cr3, rax
	V_IS 1
	dec r13d
	jnz .turn
	TEST64 "two address spaces with PCIDs"
	mov eax, 1
	cpuid
	test ecx, 1 << 17
	jz no_pcid
	call pcids
no_pcid:
	TEST64 "INVPCID"
	mov eax, 7
	xor ecx, ecx
	cpuid
	test ebx, 1 << 10
	jz no_invpcid
	call invpcids
no_invpcid:
	TEST64 "code written through another address"
	MAPTO 4, PAGES_V, P | U
	V_IS 1
	mov dword [PAGES_V + VALUE], 77
	V_IS 77
	mov dword [PAGES_V + VALUE], 1
	V_IS 1
	TEST64 "an instruction across a page that is remapped"
	mov word [PAGES_V + 0xffd], 0xbd41		; mov r13d, 1 begins in V's last bytes
	mov byte [PAGES_V + 0xfff], 1
	mov dword [PAGES_V + 0x2000], 0xc3000000	; its end, ret
	mov dword [PAGES_V + 0x3000], 0xc3110000	; another
	MAPTO 4, PAGES_V, P | U
	MAPTO 5, PAGES_V + 0x2000, P | U
	mov r12d, 0xffd
	mov r15d, 1
	call v_at
	MAPTO 5, PAGES_V + 0x3000, P | U
	mov r15d, 0x11000001
	call v_at
	MAPTO 5, PAGES_V + 0x2000, P | U
	mov r15d, 1
	call v_at
	MAPTO 5, PAGES_V + 0x3000, P			; the supervisor's
	mov rbx, V + 0xffd
	mov rax, WIN + u_callv - user_code
	call user
	EQ64 [x_vec], 14
	EQ64 [x_err], 0x15
	EQ64 [x_cr2], WIN + 0x5000
	EQ64 [x_rip], V + 0xffd
	ret

level_pf:
	pop r14
	pop r15
	jmp user.back

; ---- the attacks ----

; Form r14 with every target, twice, the kernel's code hot before each.
attack:	mov r13, targets
.next:	mov rbx, [r13]
	mov r15, rbx
	call attack_one
	call attack_one
	add r13, 8
	cmp r13, targets_end
	jb .next
	ret

; User code at r14 with target rbx must take a page fault for fetching it, at RIP r15, and run nothing of it.
attack_one:
	call warm
	push qword [KCOUNT]
	mov rax, r14
	call user
	EQ64 [x_vec], 14
	EQ64 [x_err], 0x15
	EQ64 [x_cr2], rbx
	EQ64 [x_rip], r15
	EQ64 [x_cs], SEL_UCODE64
	pop rax
	EQ64 [KCOUNT], rax
	ret

; Everything that users are to be kept from becomes hot.
warm:	mov r12d, HOT
warm_more:
	mov rcx, KCODE
	call rcx
	call direct
	mov rcx, direct
	call rcx
kernel_return:
	dec r12d
	jnz warm_more
	ret
direct:	mov rcx, KCODE + kernel_inner - kernel_code
	push .back
	push rcx
	ret				; as a return thunk does
.back:	inc qword [KCOUNT]
	ret

align 8
targets: dq KCODE, KCODE + kernel_inner - kernel_code, kernel_return, direct, direct.back, attack_one, on_syscall,
	dq syscall_return, trap64, user.back
targets_end:

kernel_code:
	inc qword [KCOUNT]
	mov rax, cr0
kernel_inner:
	inc qword [KCOUNT]
	ret
kernel_end:

; ---- remapping ----

VALUE	equ 2
; Frames for V: mov r13d, n; ret - and mov rax, cr0; ret.
frames_for_v:
	mov rdi, PAGES_V
	xor ecx, ecx
.next:	inc ecx
	mov word [rdi], 0xbd41
	mov [rdi + VALUE], ecx
	mov byte [rdi + 6], 0xc3
	add rdi, 0x1000
	cmp ecx, 6
	jb .next
	mov dword [rdi], 0xc3c0200f
	ret

; User code at V + r12 gives r15: called directly, through a register, returned to, often.
v_is:	xor r12d, r12d
v_at:	push r13
	mov rbx, V
	add rbx, r12
	mov rax, WIN + u_callv - user_code
	call user
	EQ64 [x_err], -1
	mov eax, r13d
	EQ64 rax, r15
	test r12, r12
	jnz .out
	mov rax, WIN + u_directv - user_code
	call user
	EQ64 [x_err], -1
	mov eax, r13d
	EQ64 rax, r15
.out:	pop r13
	ret

v_faults:
	mov r14, WIN + u_callv - user_code
	call .form
	mov r14, WIN + u_directv - user_code
	call .form
	mov r14, WIN + a_jmp - user_code
	call .form
	mov r14, WIN + a_ret - user_code
.form:	mov rbx, V
	mov rax, r14
	call user
	EQ64 [x_vec], 14
	EQ64 [x_err], r15
	EQ64 [x_cr2], V
	EQ64 [x_rip], V
	ret

; The same but for the frame at V.
second_space:
	mov rsi, PML4
	mov rdi, PML4B
	mov ecx, 512
	rep movsq
	mov rsi, PDPT
	mov rdi, PDPTB
	mov ecx, 512
	rep movsq
	mov qword [PML4B], PDPTB | 7
	mov qword [PDPTB + 8], PDB | 7
	mov qword [PDB], PTV | 7
	mov qword [PTV + 32], (PAGES_V + 0x1000) | P | U
	ret

pcids:	mov rax, cr4
	bts eax, 17
	mov cr4, rax
	mov r13d, 20
	mov rax, PML4B | 2
	mov cr3, rax
	mov rax, PML4 | 1
	mov cr3, rax
.turn:	mov rax, NX | PML4B | 2		; without a flush
	mov cr3, rax
	V_IS 2
	mov rax, NX | PML4 | 1
	mov cr3, rax
	V_IS 1
	dec r13d
	jnz .turn
	mov qword [PTV + 32], (PAGES_V + 0x2000) | P | U
	mov rax, PML4B | 2		; with one
	mov cr3, rax
	V_IS 3
	mov qword [PTV + 32], (PAGES_V + 0x1000) | P | U
	invlpg [V]
	V_IS 2
	mov rax, PML4
	mov cr3, rax
	mov rax, cr4
	btr eax, 17
	mov cr4, rax
	ret

invpcids:
	xor r13d, r13d
.next:	mov rax, r13
	and eax, 1
	shl eax, 12
	lea rax, [rax + PAGES_V + 0x1000 + (P | U)]
	mov [PTW + 32], rax
	invpcid r13, [this_pcid]
	mov r15d, r13d
	and r15d, 1
	add r15d, 2
	push r13
	call v_is
	pop r13
	inc r13d
	cmp r13d, 4
	jb .next
	ret
this_pcid: dq 0, V

; ---- the user's side ----

syscalls_on:
	mov ecx, 0xc0000080
	rdmsr
	or eax, 1
	wrmsr
	mov ecx, 0xc0000082
	mov rax, on_syscall
	mov rdx, rax
	shr rdx, 32
	wrmsr
	mov ecx, 0xc0000084
	mov eax, 0x40300
	xor edx, edx
	wrmsr
	ret

on_syscall:
	mov [x_gs], rsp
	mov rsp, STACK64I
	call syscall_leaf
syscall_return:
	mov rsp, [x_gs]
	o64 sysret
syscall_leaf:
	ret

; Run user code at rax with rbx, r12 = its data; x_err is -1 when it met no fault.
user:	push rbp
	push r12
	mov [x_user], rsp
	mov rbp, rax
	GATE64 0x30, .back, 0xee, 0
	mov qword [x_vec], -1
	mov qword [x_err], -1
	mov qword [x_resume], WIN + u_end - user_code
	mov r12, WIN + 0x1100
	push SEL_UDATA
	push WIN + 0x1800
	push 2
	push SEL_UCODE64
	push rbp
	iretq
.back:	mov rsp, [x_user]
	mov qword [x_resume], 0
	xor eax, eax
	mov ss, ax
	pop r12
	pop rbp
	ret

user_code:
a_jmp:	jmp rbx
a_jmpmem:
	mov [r12], rbx
	jmp [r12]
a_call:	call rbx
a_callmem:
	mov [r12], rbx
	call [r12]
a_ret:	push rbx
	ret
a_retimm:
	push rbx
	ret 16
a_retf:	mov eax, cs
	push rax
	push rbx
	o64 retf
a_iret:	mov rcx, rsp
	mov eax, ss
	push rax
	push rcx
	pushfq
	mov eax, cs
	push rax
	push rbx
	iretq
a_forge:
	call .next
	nop
.next:	mov [rsp], rbx
	ret
a_deep:	mov ecx, 40
.down:	call .down1
	ret
.down1:	dec ecx
	jnz .down
	mov ecx, 120
	mov rax, rsp
.paint:	mov [rax], rbx
	add rax, 8
	dec ecx
	jnz .paint
	ret
a_syscall:
	mov rdi, rcx
	syscall
	push rbx
	ret
a_int3:	push rbx
	call .leaf
	ret
.leaf:	ret
a_spin:	mov ecx, HOT
	lea rdx, [rel .leaf]
	mov r8, rdx
.more:	call r8
	dec ecx
	jnz .more
	mov r8, rbx			; the same call instruction, another target
	inc ecx
	jmp .more
.leaf:	ret
a_direct:
	jmp $ + KCODE - (WIN + a_direct - user_code)
a_dcall:
	call $ + KCODE - (WIN + a_dcall - user_code)
a_cond:	cmp eax, eax
.j:	je $ + KCODE - (WIN + .j - user_code)
u_callv:
	mov ecx, HOT
.more:	call rbx
	dec ecx
	jnz .more
	lea rax, [rel .returned]
	push rax
	push rbx
	ret				; a return instead of a call
.returned:
	jmp u_end
u_directv:
	mov ecx, HOT
.more:
.c:	call $ + V - (WIN + .c - user_code)
	dec ecx
	jnz .more
u_end:	int 0x30
user_end:

FINISH
