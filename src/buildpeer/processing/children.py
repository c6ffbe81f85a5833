"""Child processes for work that may crash, hang or eat all memory: one request at a time, over pipes.

A child runs one target, `module:function` from bytes to bytes, until its owner goes. Its environment holds
what the owner gives and nothing else. What is wrong with a request costs that request: the child is then
replaced.
"""

import contextlib
import ctypes
import errno
import importlib
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO

import msgspec

START_TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024  # no file that a limited child writes may grow larger
MAX_OPEN_FILES = 128

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# What a child without a network is refused by the kernel itself: a socket of any kind, another program, a look into
# another process, and the door around all of these (io_uring). By machine: its number in a filter, and the calls
# socket, socketpair, execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup
# (arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux).
_REFUSED = {
    "x86_64": (0xC000003E, (41, 53, 59, 322, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 199, 221, 281, 117, 270, 271, 425)),
}
_SECCOMP_MODE_FILTER = 2
_LOAD, _EQUALS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # of the filter's language (linux/bpf_common.h)
_CALL_AT, _MACHINE_AT = 0, 4  # in what a filter is given (struct seccomp_data)
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_X32 = 0x40000000  # the same calls by other numbers

Target = Callable[[bytes], bytes]


class ChildError(Exception):
    """The child gave no answer to this request; the next one gets a new child."""


class ChildCrashedError(ChildError):
    """The child died over this request, or raised; the text says how."""


class ChildTimeoutError(ChildError):
    """The child was killed, since it took too long."""


class ChildStartError(OSError):
    """No child could be started, which is nobody's request's fault."""


class Limits(msgspec.Struct, frozen=True):
    """What a child may have.

    Address space in bytes (0: all of it), seconds of CPU for one request (0: any), and a network or none. Without one
    it can start no other program either. All but memory and CPU need Linux.
    """

    memory_bytes: int = 0
    cpu_s: float = 0
    network: bool = True


class _Start(msgspec.Struct, frozen=True):
    target: str
    owner: int
    limits: Limits


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    body: bytes


class Child:
    """A long-lived child process of one owner; safe to share between threads, which then take turns.

    The thread that calls first must outlive the child: Linux ends a child together with the thread that
    started it.
    """

    def __init__(
        self, target: str, *, env: Mapping[str, str], limits: Limits | None = None, max_calls: int = 0
    ) -> None:
        """`max_calls` is after how many requests the child is replaced.

        0: never. Nothing starts before a call.
        """
        self._target = target
        self._env = dict(env)
        self._limits = limits or Limits()
        self._max_calls = max_calls
        self._calls = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now."""
        return self._process.pid if self._process else None

    def call(self, request: bytes, *, timeout_s: float) -> bytes:
        """The target's answer.

        Raises ChildTimeoutError, ChildCrashedError, or ChildStartError when there is no child to be had.
        """
        with self._lock:
            if self._process and (self._process.poll() is not None or self._calls == self._max_calls > 0):
                self._end()
            process = self._process or self._start()
            self._calls += 1
            try:
                answer = _exchange(process, request, time.monotonic() + timeout_s)
            except ChildError as exc:
                if self._end() == -signal.SIGXCPU:
                    raise ChildTimeoutError("Too much CPU") from exc
                raise
            if not answer.ok:
                self._end()
                raise ChildCrashedError(answer.body.decode("utf-8", "replace"))
            return answer.body

    def kill(self) -> None:
        """End the child at once, from any thread; a call under way raises ChildCrashedError or ChildStartError."""
        if process := self._process:
            process.kill()

    def stop(self) -> None:
        """End the child, after the call under way."""
        with self._lock:
            self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        start = _Start(self._target, os.getpid(), self._limits)
        try:
            process = subprocess.Popen(  # noqa: S603 # our own interpreter and module
                [sys.executable, "-P", "-m", __name__, msgspec.json.encode(start).decode()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._env,
                cwd="/",
                bufsize=0,
                start_new_session=True,  # a Ctrl-C in the terminal is the owner's to handle
            )
        except OSError as exc:
            raise ChildStartError(f"{self._target}: {exc}") from exc
        self._process, self._calls = process, 0
        os.set_blocking(_pipe(process.stdin), False)
        try:
            _read_frame(_pipe(process.stdout), time.monotonic() + START_TIMEOUT_S)
        except ChildError as exc:
            self._end()
            raise ChildStartError(f"{self._target}: {exc}") from exc
        return process

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()  # which changes nothing for one that has died of something else
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        return process.wait()


def minimal_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which this Python runs and finds this package: no credentials, no settings."""
    kept = ("PATH", "LANG", "LD_LIBRARY_PATH")  # on Lambda, Python itself needs the last
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return env | dict(extra or {})


def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> _Answer:
    try:
        _write(_pipe(process.stdin), struct.pack("!I", len(request)) + request, deadline)
        return msgspec.msgpack.decode(_read_frame(_pipe(process.stdout), deadline), type=_Answer)
    except (OSError, msgspec.DecodeError) as exc:
        raise ChildCrashedError(str(exc)) from exc


def _read_frame(pipe: int, deadline: float) -> bytes:
    (size,) = struct.unpack("!I", _read(pipe, 4, deadline))
    if size > MAX_ANSWER_BYTES:
        raise ChildCrashedError(f"An answer of {size} bytes")
    return _read(pipe, size, deadline)


def _read(pipe: int, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        _wait(pipe, select.POLLIN, deadline)
        piece = os.read(pipe, size - len(data))
        if not piece:
            raise ChildCrashedError("The child died")
        data += piece
    return bytes(data)


def _write(pipe: int, data: bytes, deadline: float) -> None:
    rest = memoryview(data)
    while rest:
        _wait(pipe, select.POLLOUT, deadline)
        rest = rest[os.write(pipe, rest) :]


def _wait(pipe: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise ChildTimeoutError("No answer in time")


def _pipe(pipe: IO[bytes] | None) -> int:
    assert pipe is not None  # noqa: S101 # Popen was asked for it
    return pipe.fileno()


# From here on: what runs in the child.


def serve(argv: list[str]) -> None:
    """The child's main: answer requests until the owner closes the pipe."""
    start = msgspec.json.decode(argv[1], type=_Start)
    _die_with(start.owner)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the owner decides when a child ends
    requests, answers = _take_pipes()
    module, _, name = start.target.partition(":")
    target: Target = getattr(importlib.import_module(module), name)
    _limit(start.limits)
    _put(answers, b"")  # ready
    while header := requests.read(4):
        _limit_cpu(start.limits.cpu_s)
        _put(answers, msgspec.msgpack.encode(_answer(target, requests.read(*struct.unpack("!I", header)))))


def _answer(target: Target, request: bytes) -> _Answer:
    try:
        return _Answer(ok=True, body=target(request))
    except Exception as exc:  # whatever it is, the owner is told and replaces this child
        return _Answer(ok=False, body=f"{type(exc).__name__}: {exc}"[:2000].encode())


def _put(answers: IO[bytes], body: bytes) -> None:
    answers.write(struct.pack("!I", len(body)) + body)
    answers.flush()


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the pipes for ourselves, so that nothing a library prints lands among the answers."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _die_with(owner: int) -> None:
    """Have Linux kill us when the owner dies, even in the middle of a request.

    Elsewhere the closed pipe does.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:  # it was quicker
        os._exit(1)


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if limits.network:
        return
    # As root, or else as nobody in a namespace of our own. Where neither is allowed, the filter below is what there is.
    with contextlib.suppress(OSError):
        _ = libc.unshare(_CLONE_NEWNET) and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    _refuse_calls(libc)


def _limit_cpu(seconds: float) -> None:
    """Have Linux end us (SIGXCPU) should this request take more; what earlier ones took doesn't count."""
    if seconds:
        used = resource.getrusage(resource.RUSAGE_SELF)
        most = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _refuse_calls(libc: ctypes.CDLL) -> None:
    """Give up, for ever, the calls that a reader of files never needs; raises OSError where Linux takes no filter.

    See seccomp(2): a program of 8-byte instructions looks at every call's machine and number.
    """
    machine = os.uname().machine
    if machine not in _REFUSED:
        return
    number, calls = _REFUSED[machine]
    last = len(calls) + 5  # where what is refused ends; jumps count from the next instruction
    rules = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUALS, 0, last - 2, number),
        (_LOAD, 0, 0, _CALL_AT),
        (_AT_LEAST, last - 4, 0, _X32),
        *((_EQUALS, last - 5 - place, 0, call) for place, call in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    program = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    held = ctypes.create_string_buffer(program, len(program))
    filters = struct.pack("@HP", len(rules), ctypes.addressof(held))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filters, 0, 0):
        raise OSError(ctypes.get_errno(), "No filter for calls")


if __name__ == "__main__":
    serve(sys.argv)
