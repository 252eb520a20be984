# SPDX-License-Identifier: Apache-2.0
"""tests/system/virtio_guest.py - what tests/system/run-* share: a small guest with Debian's kernel and virtio modules."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
sys.path.insert(0, "tests/boot")
import guests  # noqa: E402
from guests import REGENT, SLOW, case, engines  # noqa: E402,F401

SECONDS = 90 * SLOW
MODULES = ("virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover "
           "virtio_net rng-core virtio-rng virtio_balloon vsock vmw_vsock_virtio_transport_common "
           "vmw_vsock_virtio_transport fuse virtiofs virtio_console").split()
DHCP = """#!/bin/sh
[ "$1" != bound ] || ifconfig "$interface" "$ip" netmask "$subnet"
[ "$1" != bound ] || route add default gw "$router"
"""


def initrd(kernel, out, tmp):
    """Busybox, tests/system/init and the modules."""
    root = os.path.join(tmp, "root")
    for d in ("bin", "lib", "dev", "proc", "sys"):
        os.makedirs(os.path.join(root, d))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for applet in subprocess.run(["/bin/busybox", "--list"], stdout=subprocess.PIPE, text=True).stdout.split():
        if applet != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", applet))
    shutil.copy("tests/system/init", os.path.join(root, "init"))
    os.chmod(os.path.join(root, "init"), 0o755)
    with open(os.path.join(root, "lib/dhcp"), "w") as f:
        f.write(DHCP)
    os.chmod(os.path.join(root, "lib/dhcp"), 0o755)
    for tool in ("vsock", "pump"):
        subprocess.run(["cc", "-O2", "-static", "-o", os.path.join(root, "bin", tool), "tests/system/%s.c" % tool], check=True)
    for top, _, names in os.walk(os.path.join(os.path.dirname(kernel), "lib")):
        for n in names:
            if n.endswith(".ko") and n[:-3] in MODULES:
                shutil.copy(os.path.join(top, n), os.path.join(root, "lib", n))
    with open(out, "wb") as f:
        find = subprocess.Popen(["find", "."], cwd=root, stdout=subprocess.PIPE)
        cpio = subprocess.Popen(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root, stdin=find.stdout,
                                stdout=subprocess.PIPE)
        subprocess.run(["gzip", "-1"], stdin=cpio.stdout, stdout=f, check=True)


class Guest:
    """A running guest whose console is read line by line."""

    def __init__(self, session, *args):
        if "--engine" not in args:
            args += ("--engine", "bt")
        self.p = subprocess.Popen([REGENT, "run", "--kernel", KERNEL, "--initrd", INITRD, "--memory", "256M", "--append",
                                   "console=ttyS0 panic=-1 quiet " + session, *args], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out = b""
        self.err = b""
        self.threads = [threading.Thread(target=self.read, args=(self.p.stdout, "out")),
                        threading.Thread(target=self.read, args=(self.p.stderr, "err"))]
        for t in self.threads:
            t.start()

    def read(self, stream, name):
        while True:
            piece = os.read(stream.fileno(), 65536)
            if not piece:
                return
            setattr(self, name, getattr(self, name) + piece)

    def expect(self, what, seconds=SECONDS):
        end = time.monotonic() + seconds
        while what not in self.out and time.monotonic() < end and (self.p.poll() is None or time.monotonic() < end - 1):
            if self.p.poll() is not None and what not in self.out:
                time.sleep(0.3)
                break
            time.sleep(0.05)
        return what in self.out

    def wait(self, seconds=SECONDS):
        try:
            rc = self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            rc = "timeout"
        for t in self.threads:
            t.join()
        return rc

    def text(self):
        return self.out.decode(errors="replace").replace("\r", "")

    def tail(self):
        return " ".join(re.findall(r"GUEST .*", self.text()))[-500:] + self.err.decode(errors="replace")[-300:]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def helper_of(g, name):
    """The process id of the guest's helper program; None: there is none."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                stat = f.read()
        except OSError:
            continue
        if "(%s)" % name in stat and int(stat.rsplit(")", 1)[1].split()[1]) == g.p.pid:
            return int(pid)
    return None


def helper_kill(g, name):
    pid = helper_of(g, name)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    return pid is not None


def setup(tmp):
    """The kernel and the initrd; without a kernel the test is skipped."""
    global KERNEL, INITRD
    p = subprocess.run(["tools/guest-kernel", "virtio"], stdout=subprocess.PIPE, text=True)
    if p.returncode != 0:
        print("skip virtio: no Debian kernel to be had")
        sys.exit(0)
    KERNEL = p.stdout.strip()
    INITRD = os.path.join(tmp, "initrd.gz")
    initrd(KERNEL, INITRD, tmp)
    return KERNEL
