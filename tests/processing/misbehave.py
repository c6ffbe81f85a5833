"""What a parser child may do at worst, chosen by a word in the request; a target for Child and Deriver in tests."""

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def answer(request: bytes) -> bytes:
    deeds = {
        b"exit": lambda: os._exit(3),
        b"segfault": lambda: ctypes.string_at(0),
        b"spin": spin,
        b"files": lambda: str([os.open("/dev/null", os.O_RDONLY) for _ in range(1000)]).encode(),
        b"hang": lambda: hang(request),
        b"bomb": lambda: str(len(bytearray(3 * 1024**3))).encode(),
        b"raise": lambda: 1 / 0,
        b"noise": noise,
        b"environment": lambda: json.dumps(dict(os.environ)).encode(),
        b"interfaces": lambda: Path("/proc/self/net/dev").read_bytes(),
        b"escape": lambda: json.dumps([name for name, way in WAYS_OUT.items() if is_open(way)]).encode(),
        b"pid": lambda: str(os.getpid()).encode(),
        b"tell": lambda: tell(request),
        b"garbage": lambda: b"\xc1",
    }
    for word, deed in deeds.items():
        if word in request:
            return deed() or b""
    return request


WAYS_OUT = {
    "internet": lambda: socket.socket(socket.AF_INET).close(),
    "unix": lambda: socket.socket(socket.AF_UNIX).close(),
    "pair": lambda: [end.close() for end in socket.socketpair()],
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "program": lambda: subprocess.run(["true"], check=True),
    "exec": lambda: os.execv("/nowhere", ["x"]),
    "trace": lambda: trace(),  # noqa: PLW0108 # it is defined below
}


def is_open(way: Callable[[], object]) -> bool:
    try:
        way()
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def trace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, 2**22 + 1, 0, 0):  # PTRACE_ATTACH to nobody
        raise OSError(ctypes.get_errno(), "no")


def hang(request: bytes) -> None:
    if request.startswith(b"hang:"):
        Path(request.partition(b":")[2].decode()).touch()  # to say that it has begun
    while True:
        pass


def spin() -> bytes:
    until = time.process_time() + 0.6
    while time.process_time() < until:
        pass
    return b"spun"


def tell(request: bytes) -> None:
    told, _, path = json.loads(request)["path"].rpartition("/tell")[2].replace("|", "/").rpartition(":")
    Path(path).write_text(told)
    os._exit(3)


def noise() -> bytes:
    print("a library that prints")
    os.write(1, b"\xff\xff\xff\xff")
    sys.stdout.flush()
    return b"heard"


if os.environ.get("NEVER_START"):
    raise SystemExit("no")
