# SPDX-License-Identifier: Apache-2.0
"""Tiny multiboot guests made of a few bytes of machine code, and how the tests start Regent."""
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

REGENT = os.path.join(os.environ.get("B", "build"), "regent")
LOAD = 0x200000
SLOW = int(os.environ.get("CHECK_SLOW", "1"))     # how many times longer than usual it may take
# What an idle guest may use of a processor: promised is 2 % of a quiet machine's (CHECK_EXACT=1). A loaded
# one, whose wake-ups cost several times as much, can only show that nobody spins.
EXACT = os.environ.get("CHECK_EXACT") == "1"
IDLE_PERCENT = 2.0 if EXACT else 20.0
failures = 0


def case(name, ok, why=""):
    """Prints the line that tools/check counts."""
    global failures
    if ok:
        print("ok", name)
    else:
        failures += 1
        print("not ok %s: %s" % (name, " ".join(str(why).split())[:300]))
    sys.stdout.flush()


def done():
    sys.exit(failures != 0)


def engines():
    """The software engines that are built in, or those of BOOT_ENGINES."""
    if "BOOT_ENGINES" in os.environ:
        return os.environ["BOOT_ENGINES"].split()
    _, out, _ = run("cpus")
    return [w for w in out.splitlines()[1].replace("(auto)", "").split() if w != "kvm"]


def multiboot(code):
    """A kernel: 32-bit protected mode, flat segments, paging off, interrupts off; code is entered first."""
    flags = 1 << 16
    header = struct.pack("<8I", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF,
                         LOAD, LOAD, 0, 0, LOAD + 32)
    return header + code


class Files:
    """A directory of our own for what a test writes."""

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_):
        self.dir.cleanup()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)


def run(*args, timeout=60, stdin=subprocess.DEVNULL):
    """(status, stdout, stderr); status is "timeout" when it had to be ended."""
    p = subprocess.Popen([REGENT, *args], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = p.communicate(timeout=timeout * SLOW)
        return p.returncode, out.decode(errors="replace"), err.decode(errors="replace")
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
        return "timeout", out.decode(errors="replace"), err.decode(errors="replace")


class Window:
    """Regent on a terminal of its own."""

    def __init__(self, *args):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.close(self.master)
            import fcntl
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(self.slave, fd)
            os.execv(REGENT, [REGENT, *args])
        self.text = b""

    def read(self, seconds):
        """Collects output for a while; false when there was none."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            try:
                self.text += os.read(self.master, 65536)
            except OSError:
                return False
        return bool(ready)

    def expect(self, what, seconds=20):
        end = time.monotonic() + seconds * SLOW
        while what not in self.text and time.monotonic() < end:
            self.read(0.1)
        return what in self.text

    def wait_raw(self, seconds=10):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            if not termios.tcgetattr(self.slave)[3] & termios.ICANON:
                return True
            time.sleep(0.05)
        return False

    def type(self, text):
        os.write(self.master, text)

    def restored(self, seconds=3):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            if termios.tcgetattr(self.slave) == self.before:
                return True
            time.sleep(0.05)
        return False

    def wait(self, seconds=10):
        """The exit status, negative for a signal, None when it still runs."""
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            self.read(0.05)
        return None

    def close(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.master)
        os.close(self.slave)
