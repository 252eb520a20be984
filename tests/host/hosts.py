# SPDX-License-Identifier: Apache-2.0
"""What the tests of many machines share: tiny guests, host files, requests to control sockets."""
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "boot"))
import guests  # noqa: E402
from guests import REGENT, SLOW  # noqa: E402

CONTROL = 0x604         # PM1a_CNT; S5's type is 5


def out(port, al):
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([al]) + b"\xee"


def prints(text):
    return b"".join(out(0x3F8, c) for c in text)


HALT = b"\xfa\xf4\xeb\xfd"                                  # cli; hlt; again
SPIN = b"\xfa\xeb\xfe"                                      # cli; jmp to itself
COUNT = b"\xfa\x31\xdb\x31\xc9" + b"\x83\xc3\x01\x83\xd1\x00\xeb\xf8"   # cli; ecx:ebx := 0; add 1 to it, again
# in al, 3fd; test al, 1; jz; in al, 3f8; inc al; out 3f8; again
ECHO = bytes.fromhex("66bafd03eca80174f7" "66baf803ecfec0ee" "ebed")
RESET = out(0x64, 0xFE) + HALT


class Host:
    """A running `regent host` with a runtime directory of its own."""

    def __init__(self, files, vms, **top):
        self.files = files
        self.env = dict(os.environ, XDG_RUNTIME_DIR=files.dir.name)
        path = files.write("host.json", json.dumps(dict(vms=vms, **top)).encode())
        self.p = subprocess.Popen([REGENT, "host", path], env=self.env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def regent(self, *args, timeout=30, stdin=""):
        p = subprocess.run([REGENT, *args], env=self.env, input=stdin, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout * SLOW)
        return p.returncode, p.stdout, p.stderr

    def names(self):
        return self.regent("ps", "-q")[1].split()

    def infos(self):
        return {i["name"]: i for i in json.loads(self.regent("ps", "--json")[1])}

    def cpu_seconds(self):
        """What the process has used of the host's processors."""
        with open("/proc/%d/stat" % self.p.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_for(self, what, seconds=20):
        """Until what() holds; whether it did."""
        end = time.monotonic() + seconds * SLOW
        while not what():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def wait(self, seconds=20):
        """(status, stderr) at its end; status None: it has to be killed."""
        try:
            _, err = self.p.communicate(timeout=seconds * SLOW)
            return self.p.returncode, err.decode(errors="replace")
        except subprocess.TimeoutExpired:
            self.p.kill()
            return None, self.p.communicate()[1].decode(errors="replace")

    def request(self, name, method, path, body=None):
        """(status, decoded reply) of a request to NAME's socket."""
        c = http.client.HTTPConnection("localhost", timeout=20 * SLOW)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.settimeout(20 * SLOW)
        c.sock.connect(os.path.join(self.files.dir.name, "regent", name + ".sock"))
        c.request(method, path, body)
        r = c.getresponse()
        text = r.read()
        c.close()
        return r.status, json.loads(text) if text else None


def vm(files, name, code, **keys):
    """A machine of the host file that runs this code."""
    kernel = files.write(name + ".elf", guests.multiboot(code))
    return dict(dict(name=name, kernel=kernel, memory="4M", engine="bt", serial="file:" + files.path(name + ".log")),
                **keys)


def log(files, name):
    try:
        with open(files.path(name + ".log"), "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""
