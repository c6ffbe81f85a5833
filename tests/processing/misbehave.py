"""What a parser child may do at worst, chosen by a word in the request; a target for Child and Deriver in tests."""

import ctypes
import json
import os
import socket
import sys
from pathlib import Path


def answer(request: bytes) -> bytes:
    deeds = {
        b"exit": lambda: os._exit(3),
        b"segfault": lambda: ctypes.string_at(0),
        b"hang": lambda: hang(request),
        b"bomb": lambda: str(len(bytearray(3 * 1024**3))).encode(),
        b"raise": lambda: 1 / 0,
        b"noise": noise,
        b"environment": lambda: json.dumps(dict(os.environ)).encode(),
        b"interfaces": lambda: json.dumps([name for _, name in socket.if_nameindex()]).encode(),
        b"pid": lambda: str(os.getpid()).encode(),
        b"tell": lambda: tell(request),
        b"garbage": lambda: b"\xc1",
    }
    for word, deed in deeds.items():
        if word in request:
            return deed() or b""
    return request


def hang(request: bytes) -> None:
    if request.startswith(b"hang:"):
        Path(request.partition(b":")[2].decode()).touch()  # to say that it has begun
    while True:
        pass


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
