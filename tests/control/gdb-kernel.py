# SPDX-License-Identifier: Apache-2.0
"""tests/control/gdb-kernel.py - gdb's side of run-gdb-kernel: a Debian kernel from its first C function to user space.

Run inside gdb, with SOCKET, ENGINE and CONSOLE set. The kernel's names are known, its types and lines are not.
"""
import os
import re
import signal
import threading
import time

import gdb

ALL = 2**64 - 1
KERNEL_MAP = 0xFFFFFFFF80000000     # where physical address 0 is mapped for the kernel's image


def check(name, got, want=True):
    name = "gdb_kernel_%s: %s" % (ENGINE, name)
    print(("ok " + name) if got == want else "not ok %s: got %s, want %s" % (name, got, want))


def number(expression):
    return int(gdb.parse_and_eval(expression)) & ALL


def reg(name):
    return number("$" + name)


def sym(name):
    return number("(unsigned long)&" + name)


def text(command):
    return gdb.execute(command, to_string=True)


def string(at):
    return text("x/s %d" % at).split("\t", 1)[-1]


def word(at):
    return number("*(unsigned long *)%d" % at)


def go():
    gdb.execute("continue")


def interrupt_when(word):
    """As if someone typed Ctrl-C when the guest's console has shown word."""
    def wait():
        while word not in open(CONSOLE, "rb").read():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=wait, daemon=True).start()


gdb.execute("target remote " + SOCKET)
check("one thread per vCPU", len(gdb.selected_inferior().threads()), 2)

# Hardware breakpoint in the first C function.
gdb.execute("hbreak *start_kernel")
go()
gdb.execute("delete")
check("hardware breakpoint at start_kernel", reg("rip"), sym("start_kernel"))
check("backtrace names the caller", "secondary_startup_64" in text("backtrace 2"))
check("control registers", (reg("cr0") & 0x80000001, reg("ia32_efer") & 0x500, reg("cr3") & 0xFFF), (0x80000001, 0x500, 0))
check("segments", (reg("cs"), reg("cs_attr") & 0x2000), (0x10, 0x2000))
check("virtual memory", string(sym("linux_banner")).startswith('"Linux version '))
banner = string(sym("linux_banner"))
gdb.execute("monitor phys on")
check("physical memory", string(sym("linux_banner") - KERNEL_MAP), banner)
gdb.execute("monitor phys off")
gdb.execute("thread 2")
check("the second processor waits for its start", reg("activity"), 2)
gdb.execute("thread 1")

# One instruction. (Over calls gdb is unsure: there are no unwind tables.)
before = reg("rip")
gdb.execute("stepi")
check("stepi", 0 < reg("rip") - before <= 15 or "call" in text("x/i %d" % before))

# A watchpoint on a variable of the kernel: the clock's tick.
ticks = sym("jiffies")
before = word(ticks)
gdb.execute("watch *(unsigned long *)%d" % ticks)
go()
gdb.execute("delete")
check("watchpoint stops after the write", word(ticks), before + 1)

# Ctrl-C once user space is up: with a breakpoint set a guest runs too slowly to boot on.
interrupt_when(b"READY")
go()
check("interrupted", b"READY" in open(CONSOLE, "rb").read())

# Software breakpoint, arguments, finish.
gdb.execute("break *do_sys_openat2")
go()
check("software breakpoint at do_sys_openat2", reg("rip"), sym("do_sys_openat2"))
check("an argument in the process's memory", re.match(r'"[-_./a-zA-Z0-9]+"', string(reg("rsi"))) is not None)
check("backtrace below a system call", "sys_open" in text("backtrace 2"))
check("a kernel stack", reg("rsp") >= 0xFFFF800000000000)
check("the syscall entry in LSTAR", "entry_SYSCALL_64" in text("info symbol %d" % reg("ia32_lstar")))
back = word(reg("rsp"))
gdb.execute("delete")
gdb.execute("finish")
check("finish returns to the caller", reg("rip"), back)
check("with a file or an error", reg("rax") < 64 or reg("rax") > ALL - 4096)

# The other processor is up by now.
gdb.execute("thread 2")
check("the second processor runs", reg("activity") in (0, 1))
check("in the kernel or a process", reg("cs") in (0x10, 0x33))
check("on page tables", reg("cr3") != 0)
check("info threads", len(re.findall(r"^[* ] [12] +Thread", text("info threads"), re.M)), 2)

# A variable changed, read back, put back.
old = word(sym("panic_timeout"))
gdb.execute("set var *(int *)%d = 77" % sym("panic_timeout"))
check("memory written", word(sym("panic_timeout")) & 0xFFFFFFFF, 77)
gdb.execute("set var *(int *)%d = %d" % (sym("panic_timeout"), old & 0xFFFFFFFF))
gdb.execute("detach")
check("detached", True)
